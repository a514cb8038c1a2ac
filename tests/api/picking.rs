//! Limits that name things: picked from the provider's real lists, after its consent and before the grant.

use serde_json::json;
use valetkey::app::demo::headless::browser::{Form, Page};

use crate::app::{Ask, TestApp, page_of};
use crate::browser::{Answers, Arrived};
use crate::wire::Answer;

impl TestApp {
    /// Alice agrees, consents at the vendor, and comes to the list.
    async fn alice_comes_to_the_list(&mut self, ask: &Ask, limits: &[(&str, &str)]) -> (Answer, Page) {
        let question = self.agent_asks(ask).await;
        assert_eq!(question.error(), "interaction_required", "{}", question.body_text());
        let answers =
            Answers { ticks: &["Files.Read", "Mail.Read"], limits, lasts: Some(3_600), ..Answers::default() };
        let page = self.alice_answers(&question, answers).await;
        assert!(page.html.contains("name=\"step\" value=\"pick\""), "{}: {}", page.status, page.html);
        (question, page)
    }

    /// Presses a button of the list, with some more boxes ticked.
    async fn alice_presses(&mut self, page: &Page, button: (&str, &str), ticks: &[&str]) -> Page {
        let form = page.form_with("step").unwrap();
        let mut fields = fields_of(&form);
        fields.push((button.0.to_owned(), button.1.to_owned()));
        for id in ticks {
            fields.retain(|(name, value)| name != "item" || value != id);
            fields.push(("item".to_owned(), (*id).to_owned()));
        }
        let to = page.url.join(&form.action).unwrap();
        self.alice.sends(&to, &fields).await
    }

    async fn limits_of_the_grant(&self) -> serde_json::Value {
        let grants = self.live_grants().await;
        assert_eq!(grants.len(), 1, "{grants:?}");
        grants[0]["limits"].clone()
    }
}

fn fields_of(form: &Form) -> Vec<(String, String)> {
    let mut fields: Vec<_> = form.fields.iter().filter(|(name, _)| !name.is_empty()).cloned().collect();
    let ticked = form.boxes.iter().filter(|(.., ticked)| *ticked);
    fields.extend(ticked.map(|(name, value, _)| (name.clone(), value.clone())));
    fields
}

/// The identifier behind a name on the list.
fn id_of(page: &Page, name: &str) -> String {
    open_of(page, name).split('\t').next().unwrap().to_owned()
}

/// What the button for opening a folder sends.
fn open_of(page: &Page, name: &str) -> String {
    let form = page.form_with("step").unwrap();
    let found = form
        .buttons
        .iter()
        .find(|(button, value)| button == "open" && value.split('\t').nth(1) == Some(name));
    found.unwrap_or_else(|| panic!("no folder {name}: {}", page.html)).1.clone()
}

const FOLDERS: [(&str, &str); 1] = [("limit.folders.pick", "1")];

fn ask() -> Ask {
    Ask::at("entra").scope("Files.Read Mail.Read")
}

#[actix_web::test]
async fn a_folder_is_picked_from_the_real_list_and_only_then_granted() {
    let mut app = TestApp::start().await;
    let (question, page) = app.alice_comes_to_the_list(&ask(), &FOLDERS).await;
    assert!(page.html.contains("Which folders may"), "{}", page.html);
    assert!(app.live_grants().await.is_empty(), "nothing is granted before the last step");
    let pending = app.polls(&question.text("auth_req_id")).await;
    assert_eq!(pending.error(), "authorization_pending");

    // Looking again, and opening a folder, change nothing.
    let again = app.alice.opens(&page_of(&question)).await;
    let projects = id_of(&again, "Projects");
    let inside = app.alice_presses(&again, ("open", &open_of(&again, "Projects")), &[]).await;
    assert!(inside.html.contains("aria-current=\"location\"><bdi>Projects"), "{}", inside.html);
    assert!(!inside.html.contains(&format!("value=\"{projects}\"")), "it lies not in itself");
    let up = app.alice_presses(&inside, ("up", "0"), &[]).await;
    assert!(app.live_grants().await.is_empty());

    let nothing = app.alice_presses(&up, ("decision", "agree"), &[]).await;
    assert!(nothing.status == 400 && nothing.html.contains("Nothing is ticked"), "{}", nothing.html);
    let done = app.alice_presses(&nothing, ("decision", "agree"), &[&projects]).await;
    assert!(done.html.contains("Only files in “Projects” and the folders inside"), "{}", done.html);
    assert_eq!(
        app.limits_of_the_grant().await,
        json!([{"type": "valetkey_limit", "api": "graph", "kind": "folders",
                "items": [{"id": projects, "name": "Projects"}]}])
    );
    let token = app.polls(&question.text("auth_req_id")).await;
    assert_eq!(token.status, 200, "{}", token.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn ticks_are_kept_while_folders_are_opened() {
    let mut app = TestApp::start().await;
    let (_, page) = app.alice_comes_to_the_list(&ask(), &FOLDERS).await;
    let projects = id_of(&page, "Projects");
    let inside = app.alice_presses(&page, ("open", &open_of(&page, "Projects")), &[&projects]).await;
    assert!(inside.html.contains("Chosen elsewhere") && inside.html.contains("<bdi>Projects</bdi>"));
    let form = inside.form_with("step").unwrap();
    let kept: Vec<_> =
        form.boxes.iter().filter(|(.., ticked)| *ticked).map(|(_, id, _)| id.clone()).collect();
    assert_eq!(kept, std::slice::from_ref(&projects));
    let done = app.alice_presses(&inside, ("decision", "agree"), &[]).await;
    assert_eq!(done.status, 200);
    assert_eq!(app.limits_of_the_grant().await[0]["items"][0]["id"], projects.as_str());
    app.stops().await;
}

#[actix_web::test]
async fn leaving_early_refusing_and_going_back_grant_nothing() {
    let mut app = TestApp::start().await;
    let (question, page) = app.alice_comes_to_the_list(&ask(), &FOLDERS).await;
    let back = app.alice_presses(&page, ("decision", "back"), &[]).await;
    assert!(back.form_with("duration").is_some(), "the question again: {}", back.html);
    assert!(app.live_grants().await.is_empty());
    // The connection holds the scopes by now: no second trip to the vendor.
    let answers = Answers {
        ticks: &["Files.Read", "Mail.Read"],
        limits: &FOLDERS,
        stops_before: Some("/callback/"),
        ..Answers::default()
    };
    let page = app.alice_answers(&question, answers).await;
    let refused = app.alice_presses(&page, ("decision", "refuse"), &[&id_of(&page, "Projects")]).await;
    assert!(refused.html.contains("You refused"), "{}", refused.html);
    assert!(app.live_grants().await.is_empty());
    assert_eq!(app.polls(&question.text("auth_req_id")).await.error(), "access_denied");
    app.stops().await;
}

#[actix_web::test]
async fn the_list_is_one_browsers_for_ten_minutes() {
    let mut app = TestApp::start().await;
    let (question, page) = app.alice_comes_to_the_list(&ask(), &FOLDERS).await;
    let projects = id_of(&page, "Projects");
    // Another browser of the same person sees the question, and the list's form is none of its own.
    let mut other = app.another_browser_of("alice@example.com");
    let Arrived::Page(seen) = other.walks(&page_of(&question), Answers::default()).await else { panic!() };
    assert!(seen.form_with("duration").is_some() && seen.form_with("step").is_none(), "{}", seen.html);
    let form = page.form_with("step").unwrap();
    let mut fields = fields_of(&form);
    fields.extend([("decision".to_owned(), "agree".to_owned()), ("item".to_owned(), projects.clone())]);
    let seen = other.sends(&page.url.join(&form.action).unwrap(), &fields).await;
    assert_eq!(seen.status, 403, "{}", seen.html);

    app.pass(570);
    let late = app.alice_presses(&page, ("open", &open_of(&page, "Projects")), &[]).await;
    assert_eq!(late.status, 200, "{}", late.html);
    app.pass(35);
    // The page is young, but what was agreed on is not.
    let late = app.alice_presses(&late, ("decision", "agree"), &[&projects]).await;
    assert!(late.status == 400 && late.html.contains("open too long"), "{}: {}", late.status, late.html);
    let again = app.alice.opens(&page_of(&question)).await;
    assert!(again.form_with("duration").is_some(), "the question can be answered again: {}", again.html);
    assert!(app.live_grants().await.is_empty());
    app.stops().await;
}

#[actix_web::test]
async fn what_the_provider_does_not_show_to_this_person_cannot_be_picked() {
    let mut app = TestApp::start().await;
    let (_, page) = app.alice_comes_to_the_list(&ask(), &FOLDERS).await;
    for wrong in ["no-such-folder", "..", "../../users", "a/b?c", "root/children"] {
        let seen = app.alice_presses(&page, ("decision", "agree"), &[wrong]).await;
        assert!(seen.status == 400 && seen.html.contains("no longer shows"), "{wrong}: {}", seen.html);
    }
    let many: Vec<String> = (0..51).map(|n| format!("f{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let seen = app.alice_presses(&page, ("decision", "agree"), &many).await;
    assert!(seen.status == 400 && seen.html.contains("More than 50"), "{}", seen.html);
    assert!(app.live_grants().await.is_empty());
    app.stops().await;
}

#[actix_web::test]
async fn what_the_agent_names_is_looked_up_and_can_be_narrowed() {
    let mut app = TestApp::start().await;
    let details = json!([{"type": "valetkey_limit", "api": "graph", "kind": "mail_folders",
                          "items": ["inbox", "no-such-folder"]}]);
    let ask = ask().with("authorization_details", &details.to_string());
    let (_, page) = app.alice_comes_to_the_list(&ask, &[]).await;
    for words in
        ["Named by the agent", "<bdi>Inbox</bdi>", "no-such-folder", "does not exist, or you cannot read it"]
    {
        assert!(page.html.contains(words), "{words}: {}", page.html);
    }
    // What exists is ticked already.
    let done = app.alice_presses(&page, ("decision", "agree"), &[]).await;
    assert!(done.html.contains("Only mail in “Inbox”; no other mail."), "{}", done.html);
    let limits = app.limits_of_the_grant().await;
    assert_eq!(limits[0]["items"][0]["name"], "Inbox", "{limits}");
    assert_ne!(limits[0]["items"][0]["id"], "inbox", "the canonical identifier: {limits}");
    assert_eq!(limits.as_array().unwrap().len(), 1);
    app.stops().await;
}

#[actix_web::test]
async fn names_of_which_nothing_exists_cannot_be_agreed_to() {
    let mut app = TestApp::start().await;
    let details =
        json!([{"type": "valetkey_limit", "api": "graph", "kind": "folders", "items": ["nowhere"]}]);
    let ask = ask().with("authorization_details", &details.to_string());
    let (_, page) = app.alice_comes_to_the_list(&ask, &[]).await;
    assert!(page.html.contains("Nothing of what the agent has named exists"), "{}", page.html);
    let seen = app.alice_presses(&page, ("decision", "agree"), &["nowhere"]).await;
    assert_eq!(seen.status, 400);
    assert!(app.live_grants().await.is_empty());
    app.stops().await;
}

#[actix_web::test]
async fn several_lists_come_one_after_the_other_and_dates_are_the_companys() {
    let mut app = TestApp::start().await;
    let limits = [
        ("limit.folders.pick", "1"),
        ("limit.mail_folders.pick", "1"),
        ("limit.mail_dates.from", "2026-10-01"),
        ("limit.mail_dates.until", "2026-10-31"),
        ("limit.senders.allow", "bob@example.com\n@elsewhere.example"),
    ];
    let (_, page) = app.alice_comes_to_the_list(&ask(), &limits).await;
    assert!(
        page.html.contains("One more list follows.") && page.html.contains("Agreed so far"),
        "{}",
        page.html
    );
    let name =
        if page.html.contains("Which folders may") { ["Projects", "Inbox"] } else { ["Inbox", "Projects"] };
    let next = app.alice_presses(&page, ("decision", "agree"), &[&id_of(&page, name[0])]).await;
    assert!(app.live_grants().await.is_empty(), "one of two lists is not enough");
    assert!(next.html.contains("It holds as soon as you confirm."), "{}", next.html);
    let done = app.alice_presses(&next, ("decision", "agree"), &[&id_of(&next, name[1])]).await;
    let words = "Only mail in “Inbox”, received from 1 October 2026 to 31 October 2026, \
        sent by bob@example.com or anyone at elsewhere.example; no other mail.";
    assert!(done.html.contains(words), "{}", done.html);
    let limits = app.limits_of_the_grant().await;
    let dates = limits.as_array().unwrap().iter().find(|limit| limit["kind"] == "mail_dates").unwrap();
    assert_eq!(dates["from"], "2026-10-01T00:00:00.000Z");
    assert_eq!(dates["until"], "2026-11-01T00:00:00.000Z", "the last day is part of it");
    app.stops().await;
}

#[actix_web::test]
async fn a_list_that_cannot_be_read_is_said_and_can_be_tried_again() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&ask()).await;
    let answers = Answers {
        ticks: &["Files.Read", "Mail.Read"],
        limits: &FOLDERS,
        stops_before: Some("/callback/"),
        ..Answers::default()
    };
    let callback = match app.alice.walks(&page_of(&question), answers).await {
        Arrived::Before(url) => url,
        Arrived::Page(page) => panic!("{}", page.html),
    };
    app.provider_will("entra", json!({"endpoint": "api", "kind": "status", "value": 500, "count": 1})).await;
    let seen = app.alice.opens(&callback).await;
    assert!(
        seen.status == 502 && seen.html.contains("cannot be read at present"),
        "{}: {}",
        seen.status,
        seen.html
    );
    assert!(app.live_grants().await.is_empty());
    let again = app.alice.opens(&page_of(&question)).await;
    let done = app.alice_presses(&again, ("decision", "agree"), &[&id_of(&again, "Projects")]).await;
    assert!(done.html.contains("It is agreed"), "{}", done.html);
    app.stops().await;
}

#[actix_web::test]
async fn tightening_takes_effect_on_the_next_call() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Files.Read Mail.Read").await.token();
    assert_eq!(app.calls(&token, "GET", "entra/graph/v1.0/me/messages").await.status, 200);
    let grant = app.live_grants().await[0]["id"].as_str().unwrap().to_owned();
    let page = app.alice.opens(&app.at(&format!("/grants/{grant}"))).await;
    let form = page.form_with("ends").unwrap();
    let mut fields = form.with("decision", "tighten");
    fields.push(("scope".to_owned(), "Files.Read".to_owned()));
    let done = app.alice.sends(&page.url.join(&form.action).unwrap(), &fields).await;
    assert!(done.html.contains("It holds from the next request on."), "{}", done.html);
    let call = app.calls(&token, "GET", "entra/graph/v1.0/me/messages").await;
    assert_eq!(call.refusal(), (403, "insufficient_scope".to_owned()), "{}", call.body_text());
    assert_eq!(app.calls(&token, "GET", "entra/graph/v1.0/me/drive").await.status, 200);
    assert_eq!(app.agent_asks(&ask()).await.error(), "interaction_required");
    app.stops().await;
}

#[actix_web::test]
async fn a_grant_is_narrowed_later_to_a_folder_from_the_real_list() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Files.Read Mail.Read").await.token();
    let grant = app.live_grants().await[0]["id"].as_str().unwrap().to_owned();
    let at = format!("/grants/{grant}/pick/graph/folders");
    let page = app.alice.opens(&app.at(&format!("/grants/{grant}"))).await;
    assert!(page.html.contains(&format!("href=\"{at}\"")), "{}", page.html);
    let list = app.alice.opens(&app.at(&at)).await;
    let projects = id_of(&list, "Projects");
    let inside = app.alice_presses(&list, ("open", &open_of(&list, "Projects")), &[]).await;
    let year = id_of(&inside, "2026");
    let nothing = app.alice_presses(&inside, ("decision", "agree"), &[]).await;
    assert!(nothing.status == 400 && nothing.html.contains("Nothing is ticked"), "{}", nothing.html);
    let forged = app.alice_presses(&nothing, ("decision", "agree"), &["01NOBODYHASTHIS"]).await;
    assert!(forged.status == 400, "{}", forged.html);
    assert_eq!(app.limits_of_the_grant().await, json!([]), "nothing was confirmed");
    let done = app.alice_presses(&inside, ("decision", "agree"), &[&year]).await;
    assert!(done.html.contains("It holds from the next request on."), "{}", done.html);
    let held = json!([{"type": "valetkey_limit", "api": "graph", "kind": "folders",
                       "items": [{"id": year, "name": "2026"}]}]);
    assert_eq!(app.limits_of_the_grant().await, held);
    let children = |id: &str| format!("entra/graph/v1.0/me/drive/items/{id}/children");
    assert_eq!(app.calls(&token, "GET", &children(&year)).await.status, 200);
    let outside = app.calls(&token, "GET", &children(&projects)).await;
    assert_eq!(outside.refusal(), (403, "limit_exceeded".to_owned()), "{}", outside.body_text());
    // A second list narrows what is left; nothing is lifted.
    let again = app.alice.opens(&app.at(&at)).await;
    assert!(again.html.contains("Only files in “2026”"), "{}", again.html);
    for elsewhere in ["graph/senders", "graph/read_only", "open/folders", "graph/chats"] {
        let page = app.alice.opens(&app.at(&format!("/grants/{grant}/pick/{elsewhere}"))).await;
        assert_eq!(page.status, 404, "{elsewhere}: {}", page.html);
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_folder_within_a_folder_is_picked_at_a_provider_without_look_ups() {
    const SCOPES: &str = "space:document:retrieve";
    let mut app = TestApp::start().await;
    let ticks: Vec<&str> = SCOPES.split(' ').collect();
    let question = app.agent_asks(&Ask::at("lark").scope(SCOPES)).await;
    let answers = Answers { ticks: &ticks, limits: &FOLDERS, lasts: Some(3_600), ..Answers::default() };
    let page = app.alice_answers(&question, answers).await;
    let inside = app.alice_presses(&page, ("open", &open_of(&page, "Projects")), &[]).await;
    let year = id_of(&inside, "2026");
    let up = app.alice_presses(&inside, ("up", "0"), &[&year]).await;
    assert!(up.html.contains("Chosen elsewhere"), "{}", up.html);
    let forged = app.alice_presses(&up, ("decision", "agree"), &["fldcnNobodyHasThis"]).await;
    assert!(forged.status == 400 && forged.html.contains("no longer shows some"), "{}", forged.html);
    let done = app.alice_presses(&up, ("decision", "agree"), &[]).await;
    assert!(done.html.contains("It is agreed"), "{}: {}", done.status, done.html);
    let limits = app.limits_of_the_grant().await;
    assert_eq!(limits[0]["items"], json!([{"id": year, "name": "2026"}]), "{limits}");
    app.stops().await;
}
