//! Limits on the consent page: what a person adds, keeps and lifts.

use valetkey::kernel::ids::{InteractionId, UserId};
use valetkey::kernel::scope::ScopeSet;
use valetkey::model::grant::Grant;
use valetkey::model::interaction::{InteractionState, Question, RequestedToken};
use valetkey::model::limit::Limit;

use crate::world::{Browser, Seen, World, all_scopes, slug};

struct Case {
    world: World,
    browser: Browser,
    alice: UserId,
    agent: valetkey::kernel::ids::AgentId,
}

async fn case() -> Case {
    let world = World::new();
    world.provider().await;
    let alice = world.user("alice@example.com").await;
    let agent = world.agent(&alice).await;
    world.connection(&alice, all_scopes()).await;
    let browser = world.browser_of(&alice).await;
    Case { world, browser, alice, agent }
}

fn limits(text: &str) -> Vec<Limit> {
    Limit::parse_all(text).unwrap()
}

impl Case {
    async fn asks(&self, scopes: &str, suggested: &str) -> InteractionId {
        let question = Question {
            agent: self.agent.clone(),
            user: self.alice.clone(),
            provider: slug("okta"),
            connection: None,
            scopes: ScopeSet::parse(scopes).unwrap(),
            limits: limits(suggested),
            token: RequestedToken::Gateway,
            widens: None,
        };
        let missing = question.scopes.clone();
        let wording = valetkey::interactions::Wording::default();
        self.world.state.interactions.open(question, &missing, wording).await.unwrap().interaction.id
    }

    async fn opens(&mut self, id: &InteractionId) -> Seen {
        self.browser.get(&self.world, &format!("/i/{id}")).await
    }

    async fn answers(&mut self, id: &InteractionId, fields: &[(&str, &str)]) -> Seen {
        let path = format!("/i/{id}");
        let csrf = self.opens(id).await.token(&path);
        let mut all = vec![("csrf", csrf.as_str()), ("decision", "agree"), ("duration", "3600")];
        all.extend(fields);
        self.browser.post(&self.world, &path, &all).await
    }

    async fn grant_of(&self, id: &InteractionId) -> Grant {
        let InteractionState::Granted { grant, .. } = self.world.interaction(id).await.state else {
            panic!("nothing was granted")
        };
        self.world.state.store.get::<Grant>(grant.as_str()).await.unwrap().unwrap().record().clone()
    }
}

const READ: (&str, &str) = ("scope", "okta.users.read");

#[actix_web::test]
async fn what_is_entered_becomes_the_limits_of_the_grant() {
    let mut case = case().await;
    let id = case.asks("okta.users.read", "[]").await;
    let seen = case.opens(&id).await;
    assert!(seen.html.contains("Days and hours are those of UTC+08:00."), "{}", seen.html);
    let fields = [
        READ,
        ("limit.read_only", "1"),
        ("limit.calls.most", "100"),
        ("limit.calls.per", "day"),
        ("limit.items.most", "200"),
        ("limit.bytes.most", "50"),
        ("limit.bytes.unit", "MB"),
        ("limit.hours.from", "09:00"),
        ("limit.hours.until", "18:00"),
        ("limit.hours.days", "1"),
        ("limit.hours.days", "5"),
        ("limit.once", "1"),
    ];
    assert_eq!(case.answers(&id, &fields).await.status, 303);
    let expected = limits(
        r#"[{"type":"valetkey_limit","kind":"read_only"},
            {"type":"valetkey_limit","kind":"calls","most":100,"per":"day"},
            {"type":"valetkey_limit","kind":"items","most":200},
            {"type":"valetkey_limit","kind":"bytes","most":50000000},
            {"type":"valetkey_limit","kind":"hours","from":"09:00","until":"18:00","utc_offset_min":480,"days":[1,5]},
            {"type":"valetkey_limit","kind":"once"}]"#,
    );
    assert_eq!(case.grant_of(&id).await.limits, expected);
    let done = case.opens(&id).await.html;
    for words in [
        "It may only look",
        "At most 100 calls a day.",
        "At most 50 MB of data a day.",
        "Only between 09:00 and 18:00 (UTC+08:00), beginning on Mon, Fri.",
    ] {
        assert!(done.contains(words), "{words}: {done}");
    }
    case.browser.language = Some("zh");
    assert!(case.browser.get(&case.world, "/").await.html.contains("每天最多 100 次调用"));
}

#[actix_web::test]
async fn mistakes_are_told_at_their_field_and_nothing_is_lost() {
    let mut case = case().await;
    let id = case.asks("okta.users.read", "[]").await;
    for (field, value, words) in [
        ("limit.calls.most", "0", "Write a whole number above zero."),
        ("limit.calls.most", "-3", "Write a whole number above zero."),
        ("limit.items.most", "many", "Write a whole number above zero."),
        ("limit.bytes.most", "1.5", "Write a whole number above zero."),
        ("limit.hours.from", "09:00", "Write both times"),
        ("limit.hours.days", "2", "Write both times"),
    ] {
        let seen = case.answers(&id, &[READ, ("limit.read_only", "1"), (field, value)]).await;
        assert_eq!(seen.status, 400, "{field}");
        assert!(seen.html.contains(words), "{field}: {}", seen.html);
        assert!(seen.html.contains("name=\"limit.read_only\" value=\"1\" checked"), "{field}");
        assert!(seen.html.contains("class=\"limits\" open"), "{field}");
        assert_eq!(case.world.interaction(&id).await.state, InteractionState::Pending);
    }
    let seen = case.answers(&id, &[READ, ("limit.calls.most", "x\"y"), ("limit.calls.per", "minute")]).await;
    assert!(seen.html.contains("value=\"x&#34;y\"") && seen.html.contains("value=\"minute\" selected"));
    // The Enter key in a field sends the first button.
    let seen = case.answers(&id, &[READ]).await;
    assert_eq!(seen.status, 303);
}

#[actix_web::test]
async fn the_enter_key_agrees_to_nothing() {
    let mut case = case().await;
    let id = case.asks("okta.users.read", "[]").await;
    let path = format!("/i/{id}");
    let page = case.opens(&id).await;
    let first = page.html.split("<button").nth(1).unwrap();
    let main = page.html.split("action=\"/i/").nth(1).unwrap().split("<button").nth(1).unwrap();
    assert!(main.contains("value=\"look\""), "{first}");
    let csrf = page.token(&path);
    let fields = [("csrf", csrf.as_str()), ("decision", "look"), READ, ("limit.calls.most", "7")];
    let seen = case.browser.post(&case.world, &path, &fields).await;
    assert!(seen.status == 200 && seen.html.contains("value=\"7\""));
    assert_eq!(case.world.interaction(&id).await.state, InteractionState::Pending);
}

#[actix_web::test]
async fn what_the_agent_suggests_cannot_be_taken_away() {
    let mut case = case().await;
    let suggested = r#"[{"type":"valetkey_limit","kind":"calls","most":5,"per":"hour"}]"#;
    let id = case.asks("okta.users.read", suggested).await;
    let seen = case.opens(&id).await.html;
    assert!(seen.contains("class=\"limits\" open") && seen.contains("At most 5 calls an hour."), "{seen}");
    let mark = limits(suggested)[0].mark();
    let fields = [READ, ("limit.lift", mark.as_str()), ("limit.calls.most", "50")];
    assert_eq!(case.answers(&id, &fields).await.status, 303);
    let granted = case.grant_of(&id).await.limits;
    assert_eq!(granted[0], limits(suggested)[0]);
    assert_eq!(granted.len(), 2, "both apply: {granted:?}");
}

#[actix_web::test]
async fn a_new_consent_keeps_the_limits_of_the_former_one_unless_they_are_lifted() {
    let mut case = case().await;
    let first = case.asks("okta.users.read", "[]").await;
    let fields = [READ, ("limit.read_only", "1"), ("limit.calls.most", "9")];
    assert_eq!(case.answers(&first, &fields).await.status, 303);
    let before = case.grant_of(&first).await.limits;

    let second = case.asks("okta.groups.read", "[]").await;
    let seen = case.opens(&second).await.html;
    assert!(
        seen.contains("These limits hold already") && seen.contains("At most 9 calls an hour."),
        "{seen}"
    );
    assert_eq!(case.answers(&second, &[("scope", "okta.groups.read")]).await.status, 303);
    assert_eq!(case.grant_of(&second).await.limits, before);

    let third = case.asks("okta.groups.manage", "[]").await;
    let mark = before[0].mark();
    let fields = [("scope", "okta.groups.manage"), ("limit.lift", mark.as_str())];
    assert_eq!(case.answers(&third, &fields).await.status, 303);
    assert_eq!(case.grant_of(&third).await.limits, before[1..]);
}

#[actix_web::test]
async fn a_field_that_the_page_does_not_have_is_refused() {
    let mut case = case().await;
    let id = case.asks("okta.users.read", "[]").await;
    for name in ["limit.mail_dates.from", "limit.graph.folders.pick", "limit", "limit.calls.mosT"] {
        assert_eq!(case.answers(&id, &[READ, (name, "1")]).await.status, 400, "{name}");
    }
    assert_eq!(case.world.interaction(&id).await.state, InteractionState::Pending);
}

impl Case {
    async fn granted(&mut self, scopes: &str) -> Grant {
        let id = self.asks(scopes, "[]").await;
        let ticks: Vec<(&str, &str)> = scopes.split(' ').map(|scope| ("scope", scope)).collect();
        assert_eq!(self.answers(&id, &ticks).await.status, 303);
        self.grant_of(&id).await
    }

    async fn tightens(&mut self, grant: &Grant, fields: &[(&str, &str)]) -> Seen {
        let page = self.browser.get(&self.world, &format!("/grants/{}", grant.id)).await;
        let path = format!("/grants/{}/tighten", grant.id);
        let csrf = page.token(&path);
        let mut all = vec![("csrf", csrf.as_str()), ("decision", "tighten")];
        all.extend(fields);
        self.browser.post(&self.world, &path, &all).await
    }

    async fn now(&self, grant: &Grant) -> Grant {
        self.world.state.store.get::<Grant>(grant.id.as_str()).await.unwrap().unwrap().record().clone()
    }
}

#[actix_web::test]
async fn a_grant_is_made_narrower_on_its_page() {
    let mut case = case().await;
    let grant = case.granted("okta.users.read okta.groups.read").await;
    let seen = case.browser.get(&case.world, &format!("/grants/{}", grant.id)).await;
    for words in
        ["What Group Keeper may do with your Okta account", "Look up users", "No limits", "Permission given"]
    {
        assert!(seen.html.contains(words), "{words}: {}", seen.html);
    }
    let fields = [READ, ("limit.calls.most", "5"), ("ends", ""), ("limit.calls.per", "minute")];
    let done = case.tightens(&grant, &fields).await;
    assert_eq!(done.location, Some(format!("/grants/{}?done=tightened", grant.id)));
    let narrower = case.now(&grant).await;
    assert_eq!(narrower.scopes, ScopeSet::parse("okta.users.read").unwrap());
    assert_eq!(
        narrower.limits,
        limits(r#"[{"type":"valetkey_limit","kind":"calls","most":5,"per":"minute"}]"#)
    );
    assert_eq!(narrower.expires_at, grant.expires_at);
    let again = case.tightens(&grant, &fields).await;
    assert_eq!(again.location, Some(format!("/grants/{}?done=unchanged", grant.id)));
    let page = case.browser.get(&case.world, &again.location.unwrap()).await.html;
    assert!(page.contains("At most 5 calls a minute.") && page.contains("Nothing was changed."), "{page}");
    assert_eq!(page.matches("Permission made narrower").count(), 1, "{page}");
    assert!(page.contains("no longer granted: okta.groups.read"), "{page}");
}

#[actix_web::test]
async fn nothing_can_be_widened_there() {
    let mut case = case().await;
    let grant = case.granted("okta.users.read").await;
    case.tightens(&grant, &[READ, ("limit.read_only", "1")]).await;
    let before = case.now(&grant).await;
    let mark = before.limits[0].mark();
    // A scope that was never granted, a later end, and lifting what holds.
    for fields in [
        vec![READ, ("scope", "okta.groups.manage")],
        vec![READ, ("ends", "7776000")],
        vec![READ, ("limit.lift", mark.as_str())],
    ] {
        let seen = case.tightens(&grant, &fields).await;
        assert_eq!(seen.location, Some(format!("/grants/{}?done=unchanged", grant.id)), "{fields:?}");
        assert!(case.now(&grant).await.allows_as(&before), "{fields:?}");
    }
    for (fields, words) in [
        (vec![], "At least one permission must stay"),
        (vec![("scope", "okta.logs.read")], "At least one permission must stay"),
        (vec![READ, ("limit.calls.most", "0")], "Write a whole number above zero."),
        (vec![READ, ("ends", "-1")], "Pick one of the durations"),
    ] {
        let seen = case.tightens(&grant, &fields).await;
        assert!(seen.status == 400 && seen.html.contains(words), "{fields:?}: {}", seen.html);
        assert!(case.now(&grant).await.allows_as(&before), "{fields:?}");
    }
}

#[actix_web::test]
async fn a_grant_page_is_its_givers_alone_and_the_admins_to_look_at() {
    use valetkey::model::user::Role;
    let mut case = case().await;
    let grant = case.granted("okta.users.read").await;
    let path = format!("/grants/{}", grant.id);
    let csrf = case.browser.get(&case.world, &path).await.token(&format!("{path}/tighten"));
    let bob = case.world.user("bob@example.com").await;
    let mut other = case.world.browser_of(&bob).await;
    assert_eq!(other.get(&case.world, &path).await.status, 404);
    let fields = [("csrf", csrf.as_str()), ("decision", "tighten"), READ];
    assert_eq!(other.post(&case.world, &format!("{path}/tighten"), &fields).await.status, 403);
    case.world.admin("audit@example.com", Role::Auditor).await;
    let mut auditor = case.world.browser_of_admin("audit@example.com", Role::Auditor).await;
    assert_eq!(auditor.get(&case.world, &path).await.status, 403);
    let seen = auditor.get(&case.world, &format!("/admin{path}")).await;
    assert!(seen.status == 200 && seen.html.contains("Group Keeper") && !seen.html.contains("/tighten"));
    assert!(seen.html.contains("with alice@example.com&#39;s Okta account"), "{}", seen.html);
    assert_eq!(case.browser.get(&case.world, &format!("/admin{path}")).await.status, 403);
    assert_eq!(Browser::default().get(&case.world, &path).await.location.as_deref(), Some("/login"));

    let revoke = format!("{path}/revoke");
    let csrf = case.browser.get(&case.world, &path).await.token(&revoke);
    case.browser.post(&case.world, &revoke, &[("csrf", &csrf)]).await;
    let over = case.browser.get(&case.world, &path).await.html;
    assert!(over.contains("This permission ended") && !over.contains("/tighten"), "{over}");
}

impl Case {
    /// Alice tries a call out on the page below `path`.
    async fn tries(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let path = format!("{path}/try");
        let csrf = self.browser.get(&self.world, &path).await.token(&path);
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        self.browser.post(&self.world, &path, &all).await
    }
}

#[actix_web::test]
async fn a_call_can_be_tried_out_by_who_gave_the_grant_and_by_admins() {
    use valetkey::model::user::Role;
    let mut case = case().await;
    let grant = case.granted("okta.users.read okta.groups.manage").await;
    case.tightens(&grant, &[READ, ("scope", "okta.groups.manage"), ("limit.read_only", "1")]).await;
    let path = format!("/grants/{}", grant.id);
    let page = case.browser.get(&case.world, &path).await.html;
    assert!(page.contains(&format!("href=\"{path}/try\"")), "{page}");
    let passes = case.tries(&path, &[("method", "GET"), ("path", "/api/v1/users/me")]).await.html;
    for words in ["This call would be let through.", "GET /api/v1/users/me", "What the provider would get"] {
        assert!(passes.contains(words), "{words}: {passes}");
    }
    let group = [("method", "POST"), ("path", "/api/v1/groups"), ("data", "{}")];
    let refused = case.tries(&path, &group).await.html;
    for words in ["This call would be refused.", "only reading is allowed", "Looking only"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let nowhere = case.tries(&path, &[("method", "GET"), ("path", "/api/v1/<i>")]).await.html;
    assert!(nowhere.contains("This call would be refused.") && !nowhere.contains("<i>"), "{nowhere}");
    assert_eq!(case.tries(&path, &[("method", "GET")]).await.status, 400);

    let csrf = case.browser.get(&case.world, &format!("{path}/try?lang=zh")).await;
    let csrf = csrf.token(&format!("{path}/try"));
    let mut fields = vec![("csrf", csrf.as_str())];
    fields.extend(group);
    let chinese = case.browser.post(&case.world, &format!("{path}/try?lang=zh"), &fields).await.html;
    for words in ["此次调用会被拒绝。", "仅允许查看：`POST /api/v1/groups` 会更改内容", "被拒绝"]
    {
        assert!(chinese.contains(words), "{words}: {chinese}");
    }

    let bob = case.world.user("bob@example.com").await;
    let mut other = case.world.browser_of(&bob).await;
    assert_eq!(other.get(&case.world, &format!("{path}/try")).await.status, 404);
    let fields = [("csrf", csrf.as_str()), ("method", "GET"), ("path", "/api/v1/users/me")];
    assert_eq!(other.post(&case.world, &format!("{path}/try"), &fields).await.status, 403);
    assert_eq!(case.browser.get(&case.world, &format!("/admin{path}/try")).await.status, 403);
    case.world.admin("audit@example.com", Role::Auditor).await;
    case.browser = case.world.browser_of_admin("audit@example.com", Role::Auditor).await;
    assert_eq!(case.browser.get(&case.world, &format!("{path}/try")).await.status, 403);
    let seen = case.tries(&format!("/admin{path}"), &group).await;
    assert!(seen.status == 200 && seen.html.contains("This call would be refused."), "{}", seen.html);
}
