//! What browsers, bookmarks and other sites can get wrong.

use serde_json::Value;

use crate::agent::Answer;
use crate::broker::Broker;

const FORM: &str = "application/x-www-form-urlencoded";

fn assert_page(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.body);
    let content_type = answer.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("text/html"), "{what}: {content_type}");
    assert!(answer.body.contains("<h1") && answer.body.contains("</html>"), "{what}: a whole page");
    assert!(answer.header("content-security-policy").is_some(), "{what}");
    for inside in ["src/", "panick", "serde", "Error("] {
        assert!(!answer.body.contains(inside), "{what}: {inside}");
    }
}

#[actix_web::test]
async fn wrong_turns_end_at_pages_that_say_so() {
    let broker = Broker::start().await;
    let get = |path: &'static str| Answer::of(broker.request("GET", path));
    for path in ["/nowhere", "/favicon.txt", "/assets/nosuch.css", "/admin/nowhere", "/i/", "/callback"] {
        assert_page(&get(path).await, 404, path);
    }
    for (method, path) in [
        ("PUT", "/login"),
        ("DELETE", "/"),
        ("GET", "/logout"),
        ("GET", "/grants/gnt_x/revoke"),
        ("POST", "/admin"),
    ] {
        assert_page(&Answer::of(broker.request(method, path)).await, 405, path);
    }
    for path in [
        "/callback/okta",
        "/callback/okta?state=x&code=y",
        "/callback/okta?state=a&state=b",
        "/callback/okta?error=access_denied",
        "/callback/nosuch?state=x&code=y",
        "/login/callback?code=%ff",
        "/login/callback?state=x&code=y",
        "/login/callback",
    ] {
        let answer = get(path).await;
        assert_page(&answer, 400, path);
    }
    assert_page(&get("/setup?token=x").await, 410, "/setup");
    // Whether a question exists is told to nobody who is not signed in.
    for path in ["/i/int_nosuch", "/", "/admin"] {
        let answer = get(path).await;
        assert!([303, 404].contains(&answer.status), "{path}: {}", answer.status);
    }
    let chinese = broker.request("GET", "/nowhere").header("accept-language", "zh-CN");
    assert!(Answer::of(chinese).await.body.contains("<html lang=\"zh"));
    broker.stop().await;
}

#[actix_web::test]
async fn forms_of_others_and_broken_forms_change_nothing() {
    let mut broker = Broker::start().await;
    let home = broker.home().await;
    assert!(!home.contains("/grants/gnt_"));
    let uri = broker.ask("entra").await;
    let page = broker.browser.open(&uri).await;
    let form = page.form_with("decision").unwrap();
    let agree = ("decision", "agree");
    // Each of these is a slip or an attack that leaves the question as open as it was.
    let table: Vec<(Vec<(&str, &str)>, u16)> = vec![
        (vec![agree, ("scope", "User.Read"), ("csrf", "forged")], 403),
        (vec![agree, ("scope", "User.Read"), ("csrf", "")], 403),
        (vec![agree], 400),
        (vec![agree, ("scope", "Mail.ReadWrite")], 400),
        (vec![agree, ("scope", "no such scope")], 400),
        (vec![agree, ("scope", "User.Read"), ("duration", "-1")], 400),
        (vec![agree, ("scope", "User.Read"), ("duration", "99999999999")], 400),
        (vec![agree, ("scope", "User.Read"), ("connection", "con_nosuch")], 400),
        (vec![agree, ("decision", "refuse"), ("scope", "User.Read")], 400),
        (vec![agree, ("scope", "User.Read"), ("surprise", "1")], 400),
        (vec![("decision", "perhaps"), ("scope", "User.Read")], 400),
        (vec![("scope", "User.Read")], 400),
    ];
    for (set, status) in table {
        let answer = broker.browser.submit(&page, &form, &set).await;
        assert_eq!(answer.status, status, "{set:?}: {}", answer.title());
        assert!(answer.html.contains("<h1"), "{set:?}");
    }
    let action = page.url.path().to_owned();
    for (content_type, body, status) in [
        (FORM, "decision=agree&scope=%ff".to_owned(), 303),
        ("application/json", "{\"decision\": \"agree\"}".to_owned(), 303),
    ] {
        let other = broker.request("POST", &action).header("content-type", content_type).body(body);
        let answer = Answer::of(other).await;
        assert_eq!(answer.status, status, "a browser that is not signed in: {}", answer.body);
    }
    let long = "x".repeat(70_000);
    let oversized = broker.browser.submit(&page, &form, &[agree, ("scope", &long)]).await;
    assert_eq!(oversized.status, 413, "{}", oversized.title());

    assert!(!broker.home().await.contains("/grants/gnt_"), "nothing was granted by any of these");
    let page = broker.agree(&uri).await;
    assert_eq!(page.status, 200, "the question was open all along: {}", page.title());
    let home = broker.browser.open(&format!("{}/", broker.base)).await;
    let revoke = home.forms().into_iter().find(|form| form.action.ends_with("/revoke")).unwrap();
    let forged = broker.browser.submit(&home, &revoke, &[("csrf", "forged")]).await;
    assert_eq!(forged.status, 403, "{}", forged.title());
    assert_eq!(broker.call("entra").await.status, 200);
    broker.stop().await;
}

#[actix_web::test]
async fn unknown_providers_and_paths_at_the_gateway_are_refused_in_json() {
    let mut broker = Broker::start().await;
    broker.connect("okta").await;
    let token = broker.agent.exchange("alice@example.com", "okta").await.text("access_token");
    let call = |method: &'static str, path: &'static str, token: String| {
        Answer::of(broker.request(method, path).bearer_auth(token))
    };
    let good = "/gateway/okta/mgmt/api/v1/users/me";
    for (method, path, status) in [
        ("GET", "/gateway/nosuch/mgmt/api/v1/users/me", 403),
        ("GET", "/gateway/entra/graph/v1.0/me", 403),
        ("GET", "/gateway/okta/nosuch/api/v1/users/me", 403),
        ("GET", "/gateway/okta/mgmt/api/v1/nosuch", 403),
        ("DELETE", good, 403),
        ("GET", "/gateway/okta/mgmt/api/v1/users%2fme", 400),
        ("GET", "/gateway/okta/mgmt/api/v1/users//me", 400),
        ("GET", "/gateway/okta/mgmt/api/v1/users/me;a=b", 400),
        ("GET", "/gateway/okta", 400),
        ("GET", "/gateway/", 400),
    ] {
        let answer = call(method, path, token.clone()).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        let body = answer.json();
        assert!(body["error"].is_string() && body["error_description"].is_string(), "{path}: {body}");
        assert_eq!(answer.header("x-valetkey-decision"), Some("deny"), "{path}");
        assert!(![401, 403].contains(&status) || answer.header("www-authenticate").is_some(), "{path}");
    }
    for bad in ["", "x", "vkg_", "vkg_AAAA", &broker.agent.secret, &format!("{token}A")] {
        let answer = call("GET", good, bad.to_owned()).await;
        assert_eq!(answer.error(), (401, "invalid_token".to_owned()), "{bad}: {}", answer.body);
    }
    let twice = broker.request("GET", good).bearer_auth(&token).bearer_auth(&token);
    assert_eq!(Answer::of(twice).await.error().0, 400, "two Authorization headers");
    assert_eq!(call("GET", good, token.clone()).await.status, 200);
    let seen = broker.state("okta").await;
    let calls: Vec<&Value> = seen["api_calls"].as_array().unwrap().iter().collect();
    assert!(calls.iter().all(|call| call["path"].as_str().unwrap().ends_with("/users/me")), "{calls:?}");
    broker.stop().await;
}
