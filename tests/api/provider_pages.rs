//! Providers in the administration: a registration is tried, switched off and on.

use serde_json::{Value, json};
use valetkey::app::demo::headless::browser::Page;
use valetkey::app::demo::people::ADMIN;

use crate::app::{Ask, TestApp};
use crate::browser::Browser;
use crate::canary::signs_in_as_admin;

async fn admin_of(app: &TestApp) -> Browser {
    let mut admin = app.another_browser_of(ADMIN);
    signs_in_as_admin(app, &mut admin).await;
    admin
}

/// Presses a button of the list, as the page offers it.
async fn presses(app: &TestApp, admin: &mut Browser, path: &str) -> Page {
    let list = admin.opens(&app.at("/admin/providers")).await;
    let form = list.forms().into_iter().find(|form| form.action == path);
    let form = form.unwrap_or_else(|| panic!("no button {path}: {}", list.html));
    let page = admin.sends(&app.at(path), &form.fields).await;
    assert_eq!(page.status, 200, "{}: {}", page.title(), page.html);
    page
}

async fn state_of(app: &TestApp, provider: &str) -> Value {
    let all = app.admin("GET", "/providers", &json!(null)).await.json();
    let found = all["items"].as_array().unwrap().iter().find(|one| one["slug"] == provider).cloned();
    found.unwrap()["enabled"].clone()
}

#[actix_web::test]
async fn an_admin_tries_a_registration_and_reads_what_the_provider_says() {
    let app = TestApp::start().await;
    let wrong = json!({"slug": "ding-two", "template": "dingtalk", "client_id": "valetkey-sandbox",
        "client_secret": "wrong", "company": {"corp_id": "dingcorp0001"}});
    app.admin_does("/providers", &wrong).await;
    let mut admin = admin_of(&app).await;
    for provider in ["okta", "lark", "dingtalk", "wecom", "entra"] {
        let page = presses(&app, &mut admin, &format!("/admin/providers/{provider}/test")).await;
        let good = page.html.contains("notice good") && page.html.contains("our registration is accepted");
        assert!(good, "{provider}: {}", page.html);
    }
    let page = presses(&app, &mut admin, "/admin/providers/ding-two/test").await;
    assert!(page.html.contains("notice bad"), "{}", page.html);
    assert!(page.html.contains("the registration or secret at the provider is wrong"), "{}", page.html);
    let chinese = admin.opens(&app.at("/admin/providers?lang=zh")).await;
    assert!(chinese.html.contains("测试"), "{}", chinese.html);
    app.stops().await;
}

#[actix_web::test]
async fn a_provider_is_switched_off_and_on_again() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "User.Read").await;
    let mut admin = admin_of(&app).await;
    // With a token of another form, or none, nothing changes.
    for csrf in ["", "1.x"] {
        let fields = [("csrf".to_owned(), csrf.to_owned())];
        let forged = admin.sends(&app.at("/admin/providers/entra/disable"), &fields).await;
        assert_eq!(forged.status, 403, "{}", forged.title());
    }
    assert_eq!(state_of(&app, "entra").await, json!(true));
    let ask = Ask::at("entra").scope("User.Read");
    assert_eq!(app.agent_asks(&ask).await.status, 200);

    let off = presses(&app, &mut admin, "/admin/providers/entra/disable").await;
    assert!(!off.html.contains("/admin/providers/entra/test"), "what is switched off cannot be tried");
    assert_eq!(state_of(&app, "entra").await, json!(false));
    assert_ne!(app.agent_asks(&ask).await.status, 200, "a provider that is off gives tokens");
    presses(&app, &mut admin, "/admin/providers/entra/enable").await;
    assert_eq!(app.agent_asks(&ask).await.status, 200);
    app.stops().await;
}
