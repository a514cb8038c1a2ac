//! How the gateway holds calls and answers within limits, one mechanism at a time.

use serde_json::{Value, json};

use crate::app::{Ask, Credentials, TestApp};
use crate::wire::{Answer, refused};

const GRAPH: &str = "entra/graph/v1.0/me";
const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// Alice has granted all of that without limits; the agent takes tokens with limits of their own.
async fn granted(scopes: &str) -> (TestApp, String) {
    let mut app = TestApp::start().await;
    let wanted = json!({
        "kind": "personal", "name": "Clerk", "purpose": "Keeps within limits", "owner": "alice@example.com",
        "ceiling": {"entra": scopes},
    });
    let made = app.admin_does("/agents", &wanted).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    app.personal = Credentials { id: text("id"), secret: text("client_secret") };
    let token = app.alice_has_granted("entra", scopes).await.token();
    (app, token)
}

async fn limited(app: &TestApp, limit: Value) -> String {
    let mut limit = limit;
    limit["type"] = json!("valetkey_limit");
    limit["api"] = json!("graph");
    let ask = Ask::at("entra").with("authorization_details", &json!([limit]).to_string());
    let answer = app.agent_asks(&ask).await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    answer.token()
}

async fn lists(app: &TestApp, token: &str, path: &str) -> Vec<Value> {
    let answer = app.calls(token, "GET", &format!("{GRAPH}/{path}")).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body_text());
    answer.json()["value"].as_array().cloned().unwrap()
}

fn id_of(items: &[Value], member: &str, value: &str) -> String {
    let found = items.iter().find(|item| item[member] == value).unwrap_or_else(|| panic!("no {value}"));
    found["id"].as_str().unwrap().to_owned()
}

fn assert_exceeds(answer: &Answer, kind: &str) {
    assert_eq!(answer.refusal(), refused(403, "limit_exceeded"), "{}", answer.body_text());
    let limit = &answer.json()["limit"];
    assert_eq!(limit["kind"], kind, "{limit}");
    assert!(!limit["allowed"].as_str().unwrap().is_empty() && limit["asked"].is_string(), "{limit}");
    assert!(answer.header("x-valetkey-event").is_some());
}

/// What the provider was asked, from that many calls on.
async fn asked_since(app: &TestApp, before: usize) -> Vec<String> {
    let calls = app.data_calls_at("entra").await;
    let told = |call: &Value| {
        let query = call["query"].as_str().unwrap_or_default();
        format!("{} {}?{query}", call["method"].as_str().unwrap(), call["path"].as_str().unwrap())
    };
    calls[before..].iter().map(told).collect()
}

#[actix_web::test]
async fn mail_from_a_date_on_is_all_that_lists_and_single_messages_show() {
    let (app, all) = granted("Mail.Read").await;
    let every = lists(&app, &all, "messages?$top=50").await;
    let token = limited(&app, json!({"kind": "mail_dates", "from": "2026-10-01"})).await;
    let inside = |item: &Value| item["receivedDateTime"].as_str().unwrap() >= "2026-10-01";
    let expected = every.iter().filter(|item| inside(item)).count();
    assert!(expected > 2 && expected < every.len());

    let before = app.data_calls_at("entra").await.len();
    let shown = lists(&app, &token, "messages?$top=50&$count=true").await;
    assert_eq!(shown.len(), expected);
    assert!(shown.iter().all(inside));
    assert!(asked_since(&app, before).await[0].contains("receivedDateTime"), "the filter is joined");

    // A search cannot be filtered: by what is missing it would tell of what lies outside.
    let found = app.calls(&token, "GET", &format!("{GRAPH}/messages?$search=%22e%22&$top=50")).await;
    assert_exceeds(&found, "mail_dates");
    let before = app.data_calls_at("entra").await.len();
    let unread = app.calls(&token, "GET", &format!("{GRAPH}/messages?$filter=isRead%20eq%20false")).await;
    assert_eq!(unread.status, 200, "{}", unread.body_text());
    assert!(asked_since(&app, before).await[0].contains("receivedDateTime"), "the filter is joined");

    // What is compared is asked for, whatever the agent picks.
    let picked = lists(&app, &token, "messages?$select=subject&$top=50").await;
    assert_eq!(picked.len(), expected);

    let old = every.iter().find(|item| !inside(item)).unwrap();
    let (id, subject) = (old["id"].as_str().unwrap(), old["subject"].as_str().unwrap());
    let answer = app.calls(&token, "GET", &format!("{GRAPH}/messages/{id}")).await;
    assert_exceeds(&answer, "mail_dates");
    assert!(!answer.body_text().contains(subject));
    let attachments = app.calls(&token, "GET", &format!("{GRAPH}/messages/{id}/attachments")).await;
    assert_exceeds(&attachments, "mail_dates");
    let new = shown[0]["id"].as_str().unwrap();
    assert_eq!(app.calls(&token, "GET", &format!("{GRAPH}/messages/{new}")).await.status, 200);
    let head = app.calls(&token, "HEAD", &format!("{GRAPH}/messages/{new}")).await;
    assert_eq!((head.status, head.header("x-valetkey-decision")), (403, Some("deny")));
    app.stops().await;
}

#[actix_web::test]
async fn a_withheld_answer_is_written_down_as_that() {
    let (app, all) = granted("Mail.Read").await;
    let every = lists(&app, &all, "messages?$top=50").await;
    let old = every.last().unwrap()["id"].as_str().unwrap().to_owned();
    let token = limited(&app, json!({"kind": "mail_dates", "from": "2026-10-01"})).await;
    let answer = app.calls(&token, "GET", &format!("{GRAPH}/messages/{old}")).await;
    let event = answer.header("x-valetkey-event").unwrap().to_owned();
    // The log is written in order: once the next call is in it, the outcome of this one is.
    assert_eq!(app.calls(&token, "GET", &format!("{GRAPH}/mailFolders")).await.status, 200);
    let events = app.admin("GET", "/events", &json!(null)).await.json()["items"].as_array().cloned().unwrap();
    let decision = events.iter().find(|entry| entry["id"] == event.as_str()).unwrap();
    assert!(decision["reasons"].to_string().contains("`mail_dates`"), "{decision}");
    let outcome = events.iter().find(|entry| entry["refers_to"] == event.as_str()).unwrap();
    assert_eq!(
        (outcome["outcome"].as_str(), outcome["bytes"].as_u64()),
        (Some("withheld"), Some(0)),
        "{outcome}"
    );
    app.stops().await;
}

#[actix_web::test]
async fn further_pages_are_followed_at_the_gateway_and_counts_are_left_out() {
    let (app, all) = granted("Mail.Read").await;
    let inbox = id_of(&lists(&app, &all, "mailFolders?$top=50").await, "displayName", "Inbox");
    let page = app.calls(&all, "GET", &format!("{GRAPH}/messages?$top=5")).await.json();
    let ours = format!("{}gateway/entra/graph/v1.0/me/messages?", app.demo.issuer);
    assert!(page["@odata.nextLink"].as_str().unwrap().starts_with(&ours), "without limits too: {page}");

    let token = limited(&app, json!({"kind": "mail_folders", "items": [inbox]})).await;
    let mut seen = Vec::new();
    let mut next = format!("{GRAPH}/messages?$top=5&$count=true");
    loop {
        let answer = app.calls(&token, "GET", &next).await;
        assert_eq!(answer.status, 200, "{next}: {}", answer.body_text());
        let page = answer.json();
        assert!(page["@odata.count"].is_null());
        seen.extend(page["value"].as_array().cloned().unwrap());
        let Some(link) = page["@odata.nextLink"].as_str() else { break };
        next = link.strip_prefix(&format!("{}gateway/", app.demo.issuer)).unwrap().to_owned();
    }
    let expected = lists(&app, &all, "mailFolders/inbox/messages?$top=50").await;
    assert_eq!(seen.len(), expected.len());
    assert!(seen.iter().all(|item| item["parentFolderId"] == inbox.as_str()));
    app.stops().await;
}

#[actix_web::test]
async fn a_folder_that_is_named_otherwise_is_looked_up_before_the_call_is_made() {
    let (app, all) = granted("Mail.Read Mail.ReadWrite").await;
    let folders = lists(&app, &all, "mailFolders?$top=50").await;
    let (inbox, archive) =
        (id_of(&folders, "displayName", "Inbox"), id_of(&folders, "displayName", "Archive"));
    let mail =
        lists(&app, &all, "mailFolders/inbox/messages?$top=1").await[0]["id"].as_str().unwrap().to_owned();
    let token =
        limited(&app, json!({"kind": "mail_folders", "items": [{"id": inbox, "name": "Inbox"}]})).await;

    assert!(!lists(&app, &token, "mailFolders/inbox/messages").await.is_empty(), "by its well-known name");
    for name in [archive.as_str(), "archive", "sentitems", "InBoX'", "inbox,archive", "%24count"] {
        let before = app.data_calls_at("entra").await.len();
        let answer = app.calls(&token, "GET", &format!("{GRAPH}/mailFolders/{name}/messages")).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.body_text());
        let asked = asked_since(&app, before).await;
        assert!(asked.iter().all(|call| !call.contains("/messages")), "{name}: {asked:?}");
    }
    let answer = app.calls(&token, "GET", &format!("{GRAPH}/mailFolders/{archive}/messages")).await;
    assert_exceeds(&answer, "mail_folders");
    assert!(answer.text("error_description").contains("`Inbox`"), "by its name: {}", answer.body_text());

    let moves = |to: &str| json!({"destinationId": to}).to_string();
    let path = format!("{GRAPH}/messages/{mail}/move");
    for body in [
        moves("archive"),
        moves(&archive),
        moves("inbox").replace("destinationId", "DestinationId"),
        r#"{"destinationId":"inbox","DestinationId":"archive"}"#.to_owned(),
        r#"{"destinationId":["inbox"]}"#.to_owned(),
        "{}".to_owned(),
    ] {
        let before = app.data_calls_at("entra").await.len();
        let answer = app.calls_with(&token, "POST", &path, &JSON, body.as_bytes()).await;
        assert_exceeds(&answer, "mail_folders");
        assert!(asked_since(&app, before).await.iter().all(|call| call.starts_with("GET")), "{body}");
    }
    let twice = r#"{"destinationId":"inbox","x":{"a":1,"a":2}}"#;
    let answer = app.calls_with(&token, "POST", &path, &JSON, twice.as_bytes()).await;
    assert_eq!(answer.refusal(), refused(400, "invalid_request"), "a member twice, however deep");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(app.calls_with(&token, "POST", &path, &form, b"destinationId=inbox").await.status, 415);
    assert_eq!(app.calls_with(&token, "POST", &path, &JSON, moves("inbox").as_bytes()).await.status, 201);
    app.stops().await;
}

#[actix_web::test]
async fn a_file_is_inside_when_a_folder_above_it_is() {
    let (app, all) = granted("Files.Read Files.ReadWrite").await;
    let root = lists(&app, &all, "drive/root/children").await;
    let (projects, private) = (id_of(&root, "name", "Projects"), id_of(&root, "name", "Private"));
    let within = |folder: &str| format!("drive/items/{folder}/children");
    let years = lists(&app, &all, &within(&projects)).await;
    let (this_year, last_year) = (id_of(&years, "name", "2026"), id_of(&years, "name", "2025"));
    let here = lists(&app, &all, &within(&this_year)).await;
    let (alpha, plan) = (id_of(&here, "name", "Alpha"), id_of(&here, "name", "plan.md"));
    let minutes = id_of(&lists(&app, &all, &within(&alpha)).await, "name", "minutes.md");
    let report = id_of(&lists(&app, &all, &within(&last_year)).await, "name", "report.md");
    let folder = json!({"kind": "folders", "items": [{"id": this_year, "name": "Projects/2026"}]});
    let token = limited(&app, folder).await;

    let content = |id: &str| format!("{GRAPH}/drive/items/{id}/content");
    let before = app.data_calls_at("entra").await.len();
    let read = app.calls(&token, "GET", &content(&minutes)).await;
    assert_eq!((read.status, read.body_text().contains("milestones")), (200, true));
    let first = asked_since(&app, before).await.len();
    let before = app.data_calls_at("entra").await.len();
    assert_eq!(app.calls(&token, "GET", &content(&minutes)).await.status, 200);
    let second = asked_since(&app, before).await.len();
    assert_eq!(first, second + 2, "the file and the folder above it are looked up once");

    for id in [report.as_str(), &last_year, &projects, &private, "root"] {
        let before = app.data_calls_at("entra").await.len();
        let answer = app.calls(&token, "GET", &content(id)).await;
        assert_exceeds(&answer, "folders");
        assert!(answer.text("error_description").contains("`Projects/2026`"));
        assert!(asked_since(&app, before).await.iter().all(|call| !call.contains("/content")), "{id}");
    }
    let recent = lists(&app, &token, "drive/recent").await;
    let names: Vec<&str> = recent.iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"minutes.md") && !names.contains(&"report.md"), "{names:?}");

    let moves = |to: &str| json!({"parentReference": {"id": to}}).to_string();
    let item = format!("{GRAPH}/drive/items/{plan}");
    for body in [
        moves(&last_year),
        moves("root"),
        json!({"parentReference": {"id": alpha, "path": "/drive/root:/Private"}}).to_string(),
        json!({"ParentReference": {"id": last_year}}).to_string(),
    ] {
        let answer = app.calls_with(&token, "PATCH", &item, &JSON, body.as_bytes()).await;
        assert_exceeds(&answer, "folders");
    }
    let answer = app.calls_with(&token, "PATCH", &item, &JSON, moves(&alpha).as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    assert!(!answer.body_text().contains("downloadUrl"));
    app.stops().await;
}

#[actix_web::test]
async fn an_address_that_opens_a_file_without_a_token_never_leaves() {
    let (app, all) = granted("Files.Read").await;
    let recent = app.calls(&all, "GET", &format!("{GRAPH}/drive/recent")).await;
    assert_eq!(recent.status, 200);
    let file = recent.json()["value"][0]["id"].as_str().unwrap().to_owned();
    let one = app.calls(&all, "GET", &format!("{GRAPH}/drive/items/{file}")).await;
    for answer in [recent, one] {
        assert!(!answer.body_text().contains("downloadUrl"), "{}", answer.body_text());
        assert!(!answer.body_text().contains("tempauth"));
    }
    app.stops().await;
}

#[actix_web::test]
async fn mail_goes_to_the_allowed_domains_only() {
    let (app, _) = granted("Mail.Send Mail.ReadWrite").await;
    let token = limited(&app, json!({"kind": "recipients", "domains": ["example.com"]})).await;
    let mail = |to: Value, cc: Value| {
        json!({"message": {"subject": "x", "toRecipients": to, "ccRecipients": cc}}).to_string()
    };
    let to = |address: &str| json!([{"emailAddress": {"address": address}}]);
    let path = format!("{GRAPH}/sendMail");
    let before = app.data_calls_at("entra").await.len();
    for body in [
        mail(to("mallory@elsewhere.example"), json!([])),
        mail(to("bob@example.com"), to("mallory@elsewhere.example")),
        mail(to("bob@example.com.elsewhere.example"), json!([])),
        mail(to("bob@example.com"), json!([{"emailAddress": {"name": "Mallory"}}])),
        mail(json!([]), json!([])),
        json!({"message": {"subject": "x"}}).to_string(),
        json!({"Message": {"toRecipients": to("mallory@elsewhere.example")}}).to_string(),
        mail(to("bob@example.com"), json!([])).replace("\"ccRecipients\"", "\"BccRecipients\""),
    ] {
        let answer = app.calls_with(&token, "POST", &path, &JSON, body.as_bytes()).await;
        assert_exceeds(&answer, "recipients");
    }
    assert_eq!(app.data_calls_at("entra").await.len(), before, "the provider has seen a refused call");
    let body = mail(to("bob@example.com"), json!([]));
    let answer = app.calls_with(&token, "POST", &path, &JSON, body.as_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.body_text());

    // A draft is looked at again when it is sent.
    let draft = json!({"subject": "x", "toRecipients": to("bob@example.com")}).to_string();
    let draft = app.calls_with(&token, "POST", &format!("{GRAPH}/messages"), &JSON, draft.as_bytes()).await;
    let id = draft.text("id");
    let change = json!({"toRecipients": to("mallory@elsewhere.example")}).to_string();
    let message = format!("{GRAPH}/messages/{id}");
    let answer = app.calls_with(&token, "PATCH", &message, &JSON, change.as_bytes()).await;
    assert_exceeds(&answer, "recipients");
    assert_eq!(app.calls_with(&token, "POST", &format!("{message}/send"), &[], b"").await.status, 202);
    app.stops().await;
}

#[actix_web::test]
async fn a_window_of_time_is_kept_inside() {
    let (app, all) = granted("Calendars.Read").await;
    let token = limited(&app, json!({"kind": "events", "from": "2026-11-01", "until": "2026-12-01"})).await;
    let view = |query: &str| format!("{GRAPH}/calendar/calendarView{query}");
    for (query, sent) in [
        ("", Some(("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"))),
        (
            "?startDateTime=2026-01-01T00:00:00Z&endDateTime=2027-01-01T00:00:00Z",
            Some(("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")),
        ),
        (
            "?startDateTime=2026-11-05T08:00:00%2B08:00&endDateTime=2026-11-06",
            Some(("2026-11-05T00:00:00Z", "2026-11-06T00:00:00Z")),
        ),
        ("?startDateTime=2026-12-05&endDateTime=2026-12-06", None),
        ("?startDateTime=soon&endDateTime=2026-12-06", None),
        ("?startDateTime=2026-11-05&startDateTime=2026-01-05&endDateTime=2026-12-06", None),
        ("?STARTDATETIME=2026-01-05&endDateTime=2026-12-06", None),
    ] {
        let before = app.data_calls_at("entra").await.len();
        let answer = app.calls(&token, "GET", &view(query)).await;
        let asked = asked_since(&app, before).await;
        match sent {
            Some((from, until)) => {
                assert_eq!(answer.status, 200, "{query}: {}", answer.body_text());
                let wanted = format!("startDateTime={from}&endDateTime={until}");
                assert!(asked[0].replace("%3A", ":").contains(&wanted), "{query} became {asked:?}");
            }
            None => assert!(answer.status >= 400 && asked.is_empty(), "{query}: {}", answer.body_text()),
        }
    }
    let every = lists(&app, &all, "events?$top=100").await;
    let shown = lists(&app, &token, "events?$top=100").await;
    assert!(!shown.is_empty() && shown.len() < every.len());
    let starts = |item: &Value| item["start"]["dateTime"].as_str().unwrap().to_owned();
    assert!(shown.iter().all(|item| starts(item).starts_with("2026-11")));
    app.stops().await;
}

#[actix_web::test]
async fn a_call_that_cannot_be_held_says_what_can_be_called_instead() {
    let (app, all) = granted("Mail.Read Mail.ReadWrite").await;
    let inbox = id_of(&lists(&app, &all, "mailFolders?$top=50").await, "displayName", "Inbox");
    let token = limited(&app, json!({"kind": "mail_folders", "items": [inbox]})).await;
    let body = json!({"displayName": "New"}).to_string();
    let answer =
        app.calls_with(&token, "POST", &format!("{GRAPH}/mailFolders"), &JSON, body.as_bytes()).await;
    assert_exceeds(&answer, "mail_folders");
    assert!(answer.text("error_description").contains("instead: `POST /v1.0/me/"), "{}", answer.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn a_page_of_which_nothing_is_left_is_read_on() {
    let (app, all) = granted("Mail.Read").await;
    let every = lists(&app, &all, "messages?$top=50").await;
    let folder = every[0]["parentFolderId"].as_str().unwrap();
    let token = limited(&app, json!({"kind": "mail_folders", "items": [folder]})).await;
    let inside: Vec<bool> = every.iter().map(|item| item["parentFolderId"] == folder).collect();
    assert!(inside.contains(&false) && inside.len() > 8);
    for at in 0..every.len() {
        let shown = lists(&app, &token, &format!("messages?$top=1&$skip={at}")).await;
        // Five further pages are read; whether the sixth holds something is not told.
        let is_near = inside[at..].iter().take(6).any(|is_inside| *is_inside);
        assert_eq!(shown.len(), usize::from(is_near), "{at}: {inside:?}");
        assert!(shown.iter().all(|item| item["parentFolderId"] == folder));
    }
    app.stops().await;
}
