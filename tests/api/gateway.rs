//! What passes the gateway, and what never does.

use serde_json::json;
use valetkey::app::demo::people::BOB;

use crate::app::{Ask, TestApp};
use crate::capture::Tap;
use crate::wire::refused;

const MAIL: &str = "entra/graph/v1.0/me/messages";

#[actix_web::test]
async fn credentials_and_forwarding_headers_do_not_pass_and_the_provider_token_does_not_come_back() {
    let (tap, mut app) = Tap::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    tap.forgets();
    let headers = [
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=10.0.0.1"),
        ("X-Real-IP", "10.0.0.1"),
        ("Via", "1.1 evil"),
        ("Cookie", "canary=crumbs"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method-Override", "DELETE"),
        ("X-Original-URL", "/v1.0/me/sendMail"),
        ("X-Rewrite-URL", "/v1.0/me/sendMail"),
        ("Proxy-Authorization", "Basic Y2FuYXJ5"),
        ("Proxy-Connection", "keep-alive"),
        ("X-Ms-Effective-Token", "canary"),
        ("X-Client-Cert", "canary"),
        ("Origin", "https://evil.example"),
        ("Referer", "https://evil.example"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("Accept", "application/json"),
        ("Prefer", "outlook.body-content-type=\"text\""),
    ];
    let answer = app.calls_with(&token, "GET", MAIL, &headers, b"").await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    assert!(answer.header("x-valetkey-event").is_some_and(|event| event.starts_with("evt_")));
    let sent = tap.sent().to_ascii_lowercase();
    assert!(sent.contains("get /entra/graph/v1.0/me/messages"), "{sent}");
    for (name, value) in headers.iter().take(headers.len() - 2) {
        let line = format!("\n{}:", name.to_ascii_lowercase());
        assert!(!sent.contains(&line), "{name} reached the provider");
        if value.len() > 8 && *name != "Proxy-Connection" {
            assert!(!sent.contains(&value.to_ascii_lowercase()), "{name}'s value reached the provider");
        }
    }
    assert!(sent.contains("\nprefer:") && sent.contains("\naccept:"), "what a call needs does pass");
    assert!(!tap.sent().contains(&token), "the gateway token reached the provider");
    let whole = tap.sent();
    let bearers: Vec<&str> =
        whole.lines().filter(|line| line.to_ascii_lowercase().starts_with("authorization:")).collect();
    assert_eq!(bearers.len(), 1, "{bearers:?}");
    let provider_token = bearers[0].split_whitespace().last().unwrap();
    assert!(!answer.body_text().contains(provider_token) && !answer.head.contains(provider_token));
    app.stops().await;
}

#[actix_web::test]
async fn what_reaches_beyond_the_call_is_refused_before_the_provider_sees_it() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "User.Read Mail.Read").await.token();
    let before = app.data_calls_at("entra").await.len();
    for (path, status, code) in [
        (format!("{MAIL}?$expand=attachments"), 403, "route_not_allowed"),
        (format!("{MAIL}?%24expand=attachments"), 403, "route_not_allowed"),
        (format!("{MAIL}?$EXPAND=attachments"), 403, "route_not_allowed"),
        (format!("{MAIL}?expand=attachments"), 403, "route_not_allowed"),
        (format!("{MAIL}?a=1&$expand=attachments"), 403, "route_not_allowed"),
        ("entra/graph/v1.0/$batch".to_owned(), 403, "route_not_allowed"),
        ("entra/graph/v1.0/users".to_owned(), 403, "route_not_allowed"),
        ("entra/graph/v1.0/users/bob@example.com/messages".to_owned(), 403, "route_not_allowed"),
        ("entra/graph/beta/me/messages".to_owned(), 403, "route_not_allowed"),
        ("entra/login/oauth2/token".to_owned(), 403, "route_not_allowed"),
        ("entra/nothing/v1.0/me".to_owned(), 403, "route_not_allowed"),
        ("entra/graph/v1.0/me/drive/root/children".to_owned(), 403, "insufficient_scope"),
        ("okta/mgmt/api/v1/groups".to_owned(), 403, "route_not_allowed"),
        ("nobody/graph/v1.0/me".to_owned(), 403, "route_not_allowed"),
    ] {
        let answer = app.calls(&token, "GET", &path).await;
        assert_eq!(answer.refusal(), refused(status, code), "{path}: {}", answer.body_text());
        assert_eq!(answer.header("x-valetkey-decision"), Some("deny"), "{path}");
        assert!(answer.header("x-valetkey-event").is_some(), "{path}: a denial is written down");
        assert!(!answer.text("error_description").is_empty());
    }
    for method in ["DELETE", "PATCH", "PUT", "POST"] {
        let answer =
            app.calls_with(&token, method, MAIL, &[("Content-Type", "application/json")], b"{}").await;
        assert_eq!(answer.status, 403, "{method}");
    }
    let anonymous = app.traffic.send("GET", &app.at(&format!("/gateway/{MAIL}")), &[], b"").await;
    assert_eq!(anonymous.refusal(), refused(401, "invalid_token"));
    assert!(anonymous.header("x-valetkey-event").is_none(), "anonymous refusals are not logged one by one");
    let basic = app.personal.basic();
    let headers = [("Authorization", basic.as_str())];
    let answer = app.traffic.send("GET", &app.at(&format!("/gateway/{MAIL}")), &headers, b"").await;
    assert_eq!(answer.status, 401, "an agent's secret is no token");
    assert_eq!(app.data_calls_at("entra").await.len(), before, "the provider has seen a refused call");
    app.stops().await;
}

#[actix_web::test]
async fn a_redirect_of_the_provider_is_not_followed() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    for status in [301, 302, 303, 307, 308] {
        let before = app.data_calls_at("entra").await.len();
        app.provider_will("entra", json!({"endpoint": "api", "kind": "status", "value": status})).await;
        let answer = app.calls(&token, "GET", MAIL).await;
        assert_eq!(answer.status, 502, "{status}");
        assert!(answer.header("location").is_none());
        assert_eq!(app.data_calls_at("entra").await.len(), before + 1);
    }
    app.stops().await;
}

#[actix_web::test]
async fn where_the_app_token_would_reach_everybody_the_user_is_pinned() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("wecom").scope("wecom.contact.read wecom.message.send")).await;
    app.alice_agrees_to(&question, &["wecom.contact.read", "wecom.message.send"]).await;
    let token = app.polls(&question.text("auth_req_id")).await.token();
    for query in [
        "",
        "?userid=bob",
        "?userid=alice&userid=bob",
        "?UserId=bob&userid=bob",
        "?%75serid=bob",
        "?userid=bob%26userid=alice",
    ] {
        let before = app.data_calls_at("wecom").await.len();
        let answer = app.calls(&token, "GET", &format!("wecom/qyapi/cgi-bin/user/get{query}")).await;
        assert!(!answer.body_text().contains("\"bob\""), "{query}: {}", answer.body_text());
        if answer.status == 200 {
            assert_eq!(answer.text("userid"), "alice", "{query}: {}", answer.body_text());
            let seen = app.data_calls_at("wecom").await;
            let last = seen[before]["query"].as_str().unwrap().to_ascii_lowercase();
            assert_eq!(last.matches("userid=").count(), 1, "{query} became {last}");
        }
    }
    for name in ["access_token", "ACCESS_TOKEN", "%61ccess_token"] {
        let path = format!("wecom/qyapi/cgi-bin/user/get?{name}=stolen");
        let answer = app.calls(&token, "GET", &path).await;
        assert!(answer.status == 400 || answer.status == 403, "{name}: {}", answer.status);
    }
    let json = [("Content-Type", "application/json")];
    let send = "wecom/qyapi/cgi-bin/message/send";
    let before = app.data_calls_at("wecom").await.len();
    for (body, why) in [
        (
            r#"{"touser":"alice","toparty":"1","msgtype":"text","agentid":1000002,"text":{"content":"x"}}"#,
            "a department",
        ),
        (
            r#"{"touser":"alice","totag":"1","msgtype":"text","agentid":1000002,"text":{"content":"x"}}"#,
            "a tag",
        ),
        (
            r#"{"touser":"alice","ToParty":"1","msgtype":"text","agentid":1000002,"text":{"content":"x"}}"#,
            "another spelling",
        ),
        (r#"{"touser":"alice","touser":"bob","msgtype":"text"}"#, "a name twice"),
        (r#"[{"touser":"bob"}]"#, "a list"),
        (r#"{"touser":"bob""#, "half JSON"),
    ] {
        let answer = app.calls_with(&token, "POST", send, &json, body.as_bytes()).await;
        assert!(answer.status == 400 || answer.status == 403, "{why}: {}", answer.status);
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(app.calls_with(&token, "POST", send, &form, b"touser=bob").await.status, 415);
    assert_eq!(app.data_calls_at("wecom").await.len(), before, "the provider has seen a refused call");
    for touser in ["bob", "@all", "alice|bob"] {
        let body =
            json!({"touser": touser, "msgtype": "text", "agentid": 1_000_002, "text": {"content": "hello"}});
        let sent = app.calls_with(&token, "POST", send, &json, body.to_string().as_bytes()).await;
        assert_eq!((sent.status, sent.json()["errcode"].as_i64()), (200, Some(0)), "{}", sent.body_text());
    }
    app.stops().await;
}

#[actix_web::test]
async fn another_persons_id_in_a_pinned_path_is_refused() {
    let (tap, mut app) = Tap::on_a_new_app().await;
    let question = app.agent_asks(&Ask::at("dingtalk").scope("Calendar.Event.Read Storage.File.Read")).await;
    app.alice_agrees_to(&question, &["Calendar.Event.Read", "Storage.File.Read"]).await;
    let token = app.polls(&question.text("auth_req_id")).await.token();
    let events = |who: &str| format!("dingtalk/api/v1.0/calendar/users/{who}/calendars/primary/events");
    assert_eq!(app.calls(&token, "GET", &events("me")).await.status, 200);
    let sent = tap.sent();
    let own = sent.split("/v1.0/calendar/users/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    assert_ne!(own, "me");
    assert_eq!(app.calls(&token, "GET", &events(&own)).await.status, 200);

    // Bob connects too, so that his id is a real one.
    let as_bob =
        Ask::at("dingtalk").scope("Calendar.Event.Read").by(&app.assistant).showing(&app.id_token_of(BOB));
    let question = app.agent_asks(&as_bob).await;
    let answers = crate::browser::Answers { ticks: &["Calendar.Event.Read"], ..Default::default() };
    app.bob.walks(&crate::app::page_of(&question), answers).await;
    let assistant = app.assistant.clone();
    let bobs = app.polls_as(&assistant, &question.text("auth_req_id")).await.token();
    tap.forgets();
    assert_eq!(app.calls(&bobs, "GET", &events("me")).await.status, 200);
    let sent = tap.sent();
    let bob = sent.split("/v1.0/calendar/users/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    assert_ne!(bob, own);

    let before = app.data_calls_at("dingtalk").await.len();
    for who in [bob.as_str(), "bob", "ME", &own.to_ascii_uppercase(), "*", "me,bob"] {
        let answer = app.calls(&token, "GET", &events(who)).await;
        assert_eq!(answer.refusal(), refused(403, "limit_exceeded"), "{who}: {}", answer.body_text());
        assert_eq!(answer.json()["limit"]["kind"], "user");
    }
    assert_eq!(app.data_calls_at("dingtalk").await.len(), before);
    // In a query it is overwritten.
    tap.forgets();
    app.calls(
        &token,
        "GET",
        &format!("dingtalk/api/v1.0/storage/spaces/1/dentries?unionId={bob}&UNIONID={bob}"),
    )
    .await;
    assert!(!tap.sent().contains(&bob), "Bob's id reached the provider");
    app.stops().await;
}

#[actix_web::test]
async fn the_employee_reads_how_each_call_ended_in_their_language() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    assert_eq!(app.calls(&token, "GET", "entra/graph/v1.0/me/messages").await.status, 200);
    assert_eq!(app.calls(&token, "POST", "entra/graph/v1.0/me/sendMail").await.status, 403);
    // Outcomes are written without anybody waiting for them.
    let mut english = String::new();
    for _ in 0..200 {
        english = app.alice.opens(&app.at("/?lang=en")).await.html;
        if english.contains("HTTP 200") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(english.contains("HTTP 200"), "{english}");
    assert!(english.contains("this call needs one of these scopes: Mail.Send"), "{english}");
    let chinese = app.alice.opens(&app.at("/?lang=zh")).await.html;
    assert!(chinese.contains("此次调用需要以下权限之一：Mail.Send"), "{chinese}");
    assert!(!chinese.contains("this call needs"), "{chinese}");
    app.stops().await;
}
