//! The employee's own page, and what an admin does on theirs.

use std::time::Duration;

use valetkey::kernel::ids::UserId;
use valetkey::model::agent::{Agent, AgentState};
use valetkey::model::grant::{Grant, GrantState};
use valetkey::model::user::Role;

use crate::world::{Browser, World, all_scopes};

struct Granted {
    world: World,
    browser: Browser,
    alice: UserId,
    grant: String,
    connection: String,
}

async fn granted() -> Granted {
    let world = World::new();
    world.provider().await;
    let alice = world.user("alice@example.com").await;
    let agent = world.agent(&alice).await;
    let connection = world.connection(&alice, all_scopes()).await.to_string();
    let id = world.question(&agent, &alice).await;
    let mut browser = world.browser_of(&alice).await;
    let path = format!("/i/{id}");
    let waiting = browser.get(&world, "/").await.html;
    for words in ["Waiting for your answer", "Look up users", "Let me &#60;b&#62;tidy&#60;/b&#62; up"] {
        assert!(waiting.contains(words), "{words}: {waiting}");
    }
    let csrf = browser.get(&world, &path).await.token(&path);
    let fields =
        [("csrf", csrf.as_str()), ("decision", "agree"), ("duration", "86400"), ("scope", "okta.users.read")];
    assert_eq!(browser.post(&world, &path, &fields).await.status, 303);
    let agreed = browser.get(&world, &path).await.html;
    let (_, left_out) = agreed.split_once("Not included:").unwrap();
    assert!(left_out.contains("Manage groups") && !left_out.contains("Look up users"), "{agreed}");
    let grants = world.state.connections.grants_of_user(&alice).await.unwrap();
    let grant = grants[0].id.to_string();
    Granted { world, browser, alice, grant, connection }
}

#[actix_web::test]
async fn the_page_lists_accounts_grants_and_deeds() {
    let mut case = granted().await;
    let seen = case.browser.get(&case.world, "/").await;
    for words in [
        "alice@okta.example",
        "Group Keeper",
        "Look up users",
        "in 1 day",
        "Not used yet",
        "Permission given",
    ] {
        assert!(seen.html.contains(words), "{words}: {}", seen.html);
    }
    assert!(!seen.html.contains("Waiting for your answer"));
    let bob = case.world.user("bob@example.com").await;
    let other = case.world.browser_of(&bob).await.get(&case.world, "/").await;
    assert!(!other.html.contains("Group Keeper") && other.html.contains("No agent acts for you"));
}

#[actix_web::test]
async fn a_grant_is_withdrawn_by_its_owner_only() {
    let mut case = granted().await;
    let path = format!("/grants/{}/revoke", case.grant);
    let csrf = case.browser.get(&case.world, "/").await.token(&path);
    let bob = case.world.user("bob@example.com").await;
    let agent = case.world.agent(&bob).await;
    case.world.connection(&bob, all_scopes()).await;
    case.world.question(&agent, &bob).await;
    let mut other = case.world.browser_of(&bob).await;
    assert_eq!(other.post(&case.world, &path, &[("csrf", &csrf)]).await.status, 403);
    let seen = case.browser.post(&case.world, &path, &[("csrf", &csrf)]).await;
    assert_eq!(seen.location.as_deref(), Some("/?done=revoked"));
    let grant = case.world.state.store.get::<Grant>(&case.grant).await.unwrap().unwrap();
    assert!(matches!(grant.state, GrantState::Revoked { .. }));
    let home = case.browser.get(&case.world, "/?done=revoked").await;
    assert!(home.html.contains("the agent is refused") && home.html.contains("It has no access at present"));
}

#[actix_web::test]
async fn disconnecting_ends_the_grants() {
    let mut case = granted().await;
    let path = format!("/connections/{}/disconnect", case.connection);
    let csrf = case.browser.get(&case.world, "/").await.token(&path);
    let seen = case.browser.post(&case.world, &path, &[("csrf", &csrf)]).await;
    assert!(seen.location.unwrap().starts_with("/?done=disconnected_"));
    let grant = case.world.state.store.get::<Grant>(&case.grant).await.unwrap().unwrap();
    assert!(matches!(grant.state, GrantState::Revoked { .. }));
    assert!(case.world.state.connections.of_user(&case.alice).await.unwrap().is_empty());
    assert_eq!(case.browser.post(&case.world, &path, &[("csrf", &csrf)]).await.status, 404);
}

#[actix_web::test]
async fn the_last_grant_takes_its_account_with_it_only_with_the_persons_yes() {
    for (yes, is_last) in [(true, true), (false, true), (true, false)] {
        let mut case = granted().await;
        let path = format!("/grants/{}/revoke", case.grant);
        let home = case.browser.get(&case.world, "/").await;
        assert!(home.html.contains("Disconnect the account too"), "{}", home.html);
        assert!(
            case.browser
                .get(&case.world, &format!("/grants/{}", case.grant))
                .await
                .html
                .contains("name=\"disconnect\"")
        );
        let csrf = home.token(&path);
        if !is_last {
            // Another agent is given the account while the page is open: no such box then, and no such end.
            let agent = case.world.agent(&case.alice).await;
            let link = format!("/i/{}", case.world.question(&agent, &case.alice).await);
            let csrf = case.browser.get(&case.world, &link).await.token(&link);
            let fields = [("csrf", csrf.as_str()), ("decision", "agree"), ("scope", "okta.users.read")];
            assert_eq!(case.browser.post(&case.world, &link, &fields).await.status, 303);
            assert!(!case.browser.get(&case.world, "/").await.html.contains("name=\"disconnect\""));
        }
        let mut fields = vec![("csrf", csrf.as_str())];
        fields.extend(yes.then_some(("disconnect", "1")));
        let seen = case.browser.post(&case.world, &path, &fields).await;
        let connected = case.world.state.connections.of_user(&case.alice).await.unwrap().len();
        let to = seen.location.unwrap();
        if yes && is_last {
            assert!(to.starts_with("/?done=disconnected_"), "{to}");
            assert_eq!(connected, 0);
        } else {
            assert_eq!((to.as_str(), connected), ("/?done=revoked", 1), "yes: {yes}, last: {is_last}");
        }
        let grant = case.world.state.store.get::<Grant>(&case.grant).await.unwrap().unwrap();
        assert!(matches!(grant.state, GrantState::Revoked { .. }));
    }
}

#[actix_web::test]
async fn nobody_ends_somebody_elses_account_with_its_last_grant() {
    let case = granted().await;
    let bob = case.world.user("bob@example.com").await;
    let agent = case.world.agent(&bob).await;
    case.world.connection(&bob, all_scopes()).await;
    let mut browser = case.world.browser_of(&bob).await;
    let link = format!("/i/{}", case.world.question(&agent, &bob).await);
    let csrf = browser.get(&case.world, &link).await.token(&link);
    let fields = [("csrf", csrf.as_str()), ("decision", "agree"), ("scope", "okta.users.read")];
    assert_eq!(browser.post(&case.world, &link, &fields).await.status, 303);
    let home = browser.get(&case.world, "/").await;
    let own = home.html.split("action=\"/grants/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let csrf = home.token(&format!("/grants/{own}"));
    let fields = [("csrf", csrf.as_str()), ("disconnect", "1")];
    let seen = browser.post(&case.world, &format!("/grants/{}/revoke", case.grant), &fields).await;
    assert_eq!(seen.status, 404);
    assert_eq!(case.world.state.connections.of_user(&case.alice).await.unwrap().len(), 1);
}

#[actix_web::test]
async fn an_admin_registers_suspends_and_stops() {
    let case = granted().await;
    let world = &case.world;
    world.admin("admin@example.com", Role::Admin).await;
    let mut admin = world.browser_of_admin("admin@example.com", Role::Admin).await;
    let csrf = admin.get(world, "/admin/agents/new").await.token("/admin/agents");
    let fields = [
        ("csrf", csrf.as_str()),
        ("name", "Nightly <Indexer>"),
        ("purpose", "Indexes."),
        ("kind", "personal"),
        ("owner", "Alice@example.com"),
        ("ceiling", "okta okta.users.read"),
        ("ceiling", "okta okta.groups.manage"),
    ];
    let made = admin.post(world, "/admin/agents", &fields).await;
    assert_eq!(made.status, 200);
    assert!(made.html.contains("vks_") && made.html.contains("Nightly &#60;Indexer&#62;"));
    let agents = world.state.agents.list(None, 10).await.unwrap();
    let agent = agents.iter().find(|agent| agent.name.starts_with("Nightly")).unwrap();
    let slug = crate::world::slug("okta");
    assert_eq!(agent.ceiling_at(&slug).to_string(), "okta.groups.manage okta.users.read");
    assert_eq!(agent.defaults_at(&slug).to_string(), "okta.users.read");
    let unknown = [&fields[..4], &[("owner", "nobody@example.com")]].concat();
    let refused = admin.post(world, "/admin/agents", &unknown).await;
    assert!(refused.status == 400 && refused.html.contains("No single active employee"));

    let path = format!("/admin/agents/{}/suspend", agent.id);
    let csrf = admin.get(world, "/admin/agents").await.token(&path);
    assert_eq!(admin.post(world, &path, &[("csrf", &csrf)]).await.status, 303);
    let after = world.state.store.get::<Agent>(agent.id.as_str()).await.unwrap().unwrap();
    assert_eq!(after.state, AgentState::Suspended);

    let csrf = admin.get(world, "/admin/stops").await.token("/admin/stops");
    let stop = |reason| [("csrf", csrf.as_str()), ("target", "provider:okta"), ("reason", reason)];
    assert_eq!(admin.post(world, "/admin/stops", &stop(" ")).await.status, 400);
    assert_eq!(admin.post(world, "/admin/stops", &stop("odd traffic")).await.status, 303);
    let listed = admin.get(world, "/admin/stops").await;
    assert!(listed.html.contains("odd traffic"));
    let id = world.state.kill_switch.active().await.unwrap()[0].id.to_string();
    let path = format!("/admin/stops/{id}/resume");
    assert_eq!(admin.post(world, &path, &[("csrf", &listed.token(&path))]).await.status, 303);
    assert!(world.state.kill_switch.active().await.unwrap().is_empty());
    let events = admin.get(world, "/admin/events").await;
    for words in ["Agent suspended", "Stopped", "Stop lifted", "admin@example.com"] {
        assert!(events.html.contains(words), "{words}");
    }
}

#[actix_web::test]
async fn an_admin_configures_a_provider_and_makes_an_api_token() {
    let world = World::new();
    world.admin("admin@example.com", Role::Admin).await;
    let mut admin = world.browser_of_admin("admin@example.com", Role::Admin).await;
    let path = "/admin/providers/new/okta";
    let page = admin.get(&world, path).await;
    assert!(page.html.contains("https://valetkey.example.com/callback/okta"));
    let csrf = page.token(path);
    let fields = |issuer: &'static str| {
        [
            ("csrf", csrf.clone()),
            ("slug", "okta".to_owned()),
            ("client_id", "c".to_owned()),
            ("client_secret", "canary".to_owned()),
            ("company.issuer", issuer.to_owned()),
        ]
    };
    for (issuer, status) in
        [("http://10.0.0.1", 400), ("https://example.okta.com", 303), ("https://example.okta.com", 400)]
    {
        let fields = fields(issuer);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let seen = admin.post(&world, path, &fields).await;
        assert_eq!(seen.status, status, "{issuer}: {}", seen.html);
        assert!(!seen.html.contains("canary"));
    }
    assert!(admin.get(&world, "/admin/providers").await.html.contains("employees sign in here"));

    let csrf = admin.get(&world, "/admin/tokens").await.token("/admin/tokens");
    let made =
        admin.post(&world, "/admin/tokens", &[("csrf", &csrf), ("name", "SIEM"), ("role", "auditor")]).await;
    assert!(made.html.contains("vka_"));
    let listed = admin.get(&world, "/admin/tokens").await;
    assert!(listed.html.contains("SIEM") && !listed.html.contains("vka_"));
    let start = listed.html.find("/admin/tokens/tok_").unwrap();
    let revoke = listed.html[start..].split('"').next().unwrap().to_owned();
    assert_eq!(admin.post(&world, &revoke, &[("csrf", &listed.token(&revoke))]).await.status, 303);
    assert!(admin.get(&world, "/admin/tokens").await.html.contains("revoked"));
}

#[actix_web::test]
async fn what_was_permitted_since_the_last_visit_is_told_once() {
    let mut case = granted().await;
    let told = "New since your last visit";
    let seen = case.browser.get(&case.world, "/").await.html;
    let (_, news) = seen.split_once(told).unwrap_or_else(|| panic!("it is not told: {seen}"));
    let item = format!("<a href=\"/grants/{}\">Group Keeper may use your Okta account</a>", case.grant);
    assert!(news.contains(&item), "{news}");
    case.world.clock.advance(Duration::from_secs(60));
    let mut elsewhere = case.world.browser_of(&case.alice).await;
    assert!(!elsewhere.get(&case.world, "/").await.html.contains(told), "it is the person who was told");

    // Somebody else at her browser agrees to more: she learns of it, in her language.
    let agent = case.world.agent(&case.alice).await;
    let link = format!("/i/{}", case.world.question(&agent, &case.alice).await);
    let csrf = elsewhere.get(&case.world, &link).await.token(&link);
    let fields = [("csrf", csrf.as_str()), ("decision", "agree"), ("scope", "okta.users.read")];
    assert_eq!(elsewhere.post(&case.world, &link, &fields).await.status, 303);
    case.world.clock.advance(Duration::from_secs(60));
    case.browser.language = Some("zh");
    let seen = case.browser.get(&case.world, "/").await.html;
    let (_, news) = seen.split_once("自你上次访问以来的新许可").unwrap_or_else(|| panic!("{seen}"));
    assert!(news.contains("Group Keeper 可以使用你的 Okta 账号") && !news.contains(&item), "{news}");
    let bob = case.world.user("bob@example.com").await;
    let other = case.world.browser_of(&bob).await.get(&case.world, "/").await;
    assert!(!other.html.contains(told));
}
