//! What holds for every address: who may, from where, and how.

use std::convert::Infallible;

use actix_web::test::TestRequest;
use valetkey::kernel::clock::Clock as _;
use valetkey::model::connection::{Connection, ConnectionState, ReauthReason};
use valetkey::model::user::Role;

use crate::world::{Browser, World, all_scopes, form};

const ADMIN_PAGES: [&str; 13] = [
    "/admin",
    "/admin/agents",
    "/admin/agents/new",
    "/admin/agents?q=x&kind=personal&state=active&label=y&owner=team:z&data_class=mail&flagged=true",
    "/admin/audiences",
    "/admin/providers",
    "/admin/providers/new/okta",
    "/admin/interactions",
    "/admin/stops",
    "/admin/events",
    "/admin/users",
    "/admin/tokens",
    "/admin/trust",
];

const ADMIN_FORMS: [&str; 25] = [
    "/admin/agents/agt_00000000000000000000000000000000/edit",
    "/admin/agents",
    "/admin/agents/agt_00000000000000000000000000000000/suspend",
    "/admin/agents/agt_00000000000000000000000000000000/rotate",
    "/admin/agents/agt_00000000000000000000000000000000/hand-over",
    "/admin/users/usr_00000000000000000000000000000000/depart",
    "/admin/users/usr_00000000000000000000000000000000/restore",
    "/admin/audiences",
    "/admin/audiences/aud_00000000000000000000000000000000/disable",
    "/admin/agents/agt_00000000000000000000000000000000/retire",
    "/admin/providers/new/okta",
    "/admin/providers/okta/test",
    "/admin/providers/okta/disable",
    "/admin/stops",
    "/admin/stops/stp_00000000000000000000000000000000/resume",
    "/admin/tokens",
    "/admin/tokens/tok_00000000000000000000000000000000/revoke",
    "/admin/agents/agt_00000000000000000000000000000000/end-secret",
    "/admin/agents/agt_00000000000000000000000000000000/binding",
    "/admin/agents/agt_00000000000000000000000000000000/sign-in/key",
    "/admin/trust/platform",
    "/admin/trust/authority",
    "/admin/trust/sources/tru_00000000000000000000000000000000/remove",
    "/admin/trust/transmitter",
    "/admin/trust/transmitters/trm_00000000000000000000000000000000/remove",
];

const EMPLOYEE_FORMS: [&str; 6] = [
    "/grants/gnt_00000000000000000000000000000000/tighten",
    "/grants/gnt_00000000000000000000000000000000/revoke",
    "/connections/con_00000000000000000000000000000000/disconnect",
    "/connections/con_00000000000000000000000000000000/default",
    "/connections/con_00000000000000000000000000000000/reconnect",
    "/logout",
];

#[actix_web::test]
async fn the_administration_is_for_admins() {
    let world = World::new();
    world.admin("admin@example.com", Role::Admin).await;
    world.admin("audit@example.com", Role::Auditor).await;
    let alice = world.user("alice@example.com").await;
    let mut employee = world.browser_of(&alice).await;
    let mut admin = world.browser_of_admin("admin@example.com", Role::Admin).await;
    let mut auditor = world.browser_of_admin("audit@example.com", Role::Auditor).await;
    for path in ADMIN_PAGES {
        assert_eq!(Browser::default().get(&world, path).await.location.as_deref(), Some("/login"), "{path}");
        assert_eq!(employee.get(&world, path).await.status, 403, "{path}");
        assert_eq!(admin.get(&world, path).await.status, 200, "{path}");
        let seen = auditor.get(&world, path).await;
        assert_eq!(seen.status, if path.contains("new") { 403 } else { 200 }, "{path}");
    }
    for path in ADMIN_FORMS {
        assert_eq!(Browser::default().post(&world, path, &[]).await.status, 303, "{path}");
        assert_eq!(employee.post(&world, path, &[]).await.status, 403, "{path}");
        let seen = auditor.post(&world, path, &[]).await;
        assert!(seen.status == 403 && seen.html.contains("You may not do this"), "{path}");
    }
    assert_eq!(admin.get(&world, "/").await.location.as_deref(), Some("/admin"));
}

#[actix_web::test]
async fn a_form_without_a_token_of_this_browser_and_purpose_changes_nothing() {
    let world = World::new();
    world.admin("admin@example.com", Role::Admin).await;
    let alice = world.user("alice@example.com").await;
    let mut employee = world.browser_of(&alice).await;
    let mut other = world.browser_of(&alice).await;
    let mut admin = world.browser_of_admin("admin@example.com", Role::Admin).await;
    let foreign = other.get(&world, "/").await.token("/logout");
    let other_purpose = admin.get(&world, "/admin/tokens").await.token("/admin/tokens");
    for (browser, paths) in [(&mut employee, &EMPLOYEE_FORMS[..]), (&mut admin, &ADMIN_FORMS[..])] {
        for path in paths {
            for fields in [&[][..], &[("csrf", "")], &[("csrf", "1.x")], &[("csrf", foreign.as_str())]] {
                let seen = browser.post(&world, path, fields).await;
                assert_eq!(seen.status, 403, "{path} {fields:?}");
                assert!(seen.html.contains("form_expired"), "{path}: {}", seen.html);
            }
        }
    }
    let seen = admin.post(&world, "/admin/agents", &[("csrf", &other_purpose)]).await;
    assert_eq!(seen.status, 403);
    let seen = Browser::default().post(&world, "/login/local", &[("email", "a"), ("password", "b")]).await;
    assert_eq!(seen.status, 403);
}

#[actix_web::test]
async fn a_form_from_another_site_is_refused_also_with_the_right_token() {
    let world = World::new();
    let alice = world.user("alice@example.com").await;
    let mut browser = world.browser_of(&alice).await;
    let csrf = browser.get(&world, "/").await.token("/logout");
    for header in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")] {
        let seen = browser.send(&world, form("/logout", &[("csrf", &csrf)]).insert_header(header)).await;
        assert_eq!(seen.status, 403, "{header:?}");
    }
    assert_eq!(browser.post(&world, "/logout", &[("csrf", &csrf)]).await.status, 303);
}

#[actix_web::test]
async fn fields_that_a_form_does_not_have_and_repeated_ones_are_refused() {
    let world = World::new();
    let alice = world.user("alice@example.com").await;
    let mut browser = world.browser_of(&alice).await;
    let csrf = browser.get(&world, "/").await.token("/logout");
    assert_eq!(browser.post(&world, "/logout", &[("csrf", &csrf), ("role", "admin")]).await.status, 400);
    assert_eq!(browser.post(&world, "/logout", &[("csrf", &csrf), ("csrf", &csrf)]).await.status, 400);
    let huge = "x".repeat(70_000);
    assert_eq!(browser.post(&world, "/logout", &[("csrf", &huge)]).await.status, 413);
}

#[actix_web::test]
async fn unknown_addresses_and_other_methods_get_a_page_in_the_readers_language() {
    let world = World::new();
    let mut browser = Browser { language: Some("zh-CN"), ..Browser::default() };
    let seen = browser.get(&world, "/no/such/page").await;
    assert_eq!(seen.status, 404);
    assert!(seen.html.contains("没有这个页面") && seen.html.contains("lang=\"zh-CN\""));
    for path in ["/login/local", "/logout", "/grants/x/revoke"] {
        assert_eq!(browser.get(&world, path).await.status, 405, "{path}");
    }
    for path in ["/callback/okta", "/login/callback"] {
        assert_eq!(browser.post(&world, path, &[]).await.status, 405, "{path}");
    }
}

#[actix_web::test]
async fn the_language_switch_is_remembered() {
    let world = World::new();
    let mut browser = Browser::default();
    let seen = browser.get(&world, "/login?local=1").await;
    assert!(seen.html.contains("href=\"/login?local=1&#38;lang=zh\""), "{}", seen.html);
    let seen = browser.get(&world, "/login?local=1&lang=zh").await;
    assert!(seen.html.contains("管理员登录"));
    assert_eq!(browser.cookies["__Host-lang"], "zh");
    assert!(browser.get(&world, "/login").await.html.contains("<h1 id=\"login-title\">登录</h1>"));
}

#[actix_web::test]
async fn pages_bring_a_policy_that_allows_nothing_inline_and_no_frame() {
    let world = World::new();
    world.provider().await;
    let seen = Browser::default().get(&world, "/login?local=1").await;
    assert!(seen.policy.contains("default-src 'none'") && seen.policy.contains("frame-ancestors 'none'"));
    assert!(seen.policy.contains("form-action 'self';") && !seen.policy.contains("unsafe-inline"));
    let leading_on = Browser::default().get(&world, "/login").await;
    assert!(
        leading_on.policy.contains("form-action 'self' https://example.okta.com;"),
        "{}",
        leading_on.policy
    );
    assert!(leading_on.html.contains("Continue with Okta"));
    let css = Browser::default().get(&world, "/assets/base.css").await;
    assert_eq!(css.status, 200);
    assert_eq!(Browser::default().get(&world, "/assets/..%2f..%2fCargo.toml").await.status, 404);
}

#[actix_web::test]
async fn a_page_that_is_not_there_knows_who_asks_for_it() {
    let world = World::new();
    let alice = world.user("alice@example.com").await;
    let mut browser = world.browser_of(&alice).await;
    let seen = browser.get(&world, "/nowhere").await;
    assert_eq!(seen.status, 404);
    assert!(seen.html.contains("alice@example.com") && seen.html.contains("Sign out"), "{}", seen.html);
    let csrf = seen.token("/logout");
    assert_eq!(browser.post(&world, "/logout", &[("csrf", &csrf)]).await.status, 303);
    let seen = Browser::default().get(&world, "/nowhere").await;
    assert!(seen.status == 404 && !seen.html.contains("Sign out"), "{}", seen.html);
}

#[actix_web::test]
async fn long_lists_of_the_administration_go_on_on_another_page() {
    let world = World::new();
    world.admin("admin@example.com", Role::Admin).await;
    let mut browser = world.browser_of_admin("admin@example.com", Role::Admin).await;
    let owner = world.user("alice@example.com").await;
    for _ in 0..51 {
        world.agent(&owner).await;
        world.admin_token().await;
    }
    for (list, row) in
        [("/admin/agents", "<bdi>Group Keeper</bdi></a></h2>"), ("/admin/tokens", "<bdi>Some script")]
    {
        let first = browser.get(&world, list).await.html;
        assert_eq!(first.matches(row).count(), 50, "{list}");
        let link = format!("{list}?after=");
        let next = first.split('"').find(|part| part.starts_with(&link)).unwrap().to_owned();
        let second = browser.get(&world, &next).await.html;
        assert_eq!(second.matches(row).count(), 1, "{next}");
        assert!(!second.contains(&format!("class=\"button\" href=\"{link}")), "{next} is the last part");
    }
}

#[actix_web::test]
async fn forms_lead_to_the_providers_of_their_page_and_nowhere_else() {
    let world = World::new();
    world.provider().await;
    let alice = world.user("alice@example.com").await;
    let agent = world.agent(&alice).await;
    let connection = world.connection(&alice, all_scopes()).await;
    let question = world.question(&agent, &alice).await;
    let mut browser = world.browser_of(&alice).await;
    let to_okta = "form-action 'self' https://example.okta.com;";
    let consent = browser.get(&world, &format!("/i/{question}")).await;
    assert!(consent.policy.contains(to_okta), "{}", consent.policy);
    let home = browser.get(&world, "/").await;
    assert!(home.policy.contains("form-action 'self';"), "{}", home.policy);
    // An account that has to be connected again has a form that leads there.
    let reason = ReauthReason::RefreshTokenRefused;
    let broken = ConnectionState::NeedsReauth { reason, since: world.clock.now() };
    let change = |connection: &Connection| {
        Ok::<_, Infallible>(Some(Connection { state: broken.clone(), ..connection.clone() }))
    };
    world.state.store.update(connection.as_str(), change).await.unwrap();
    let home = browser.get(&world, "/").await;
    assert!(home.html.contains("/reconnect") && home.policy.contains(to_okta), "{}", home.policy);
}

#[actix_web::test]
async fn a_callback_that_nobody_began_here_redeems_nothing() {
    let world = World::new();
    world.provider().await;
    let alice = world.user("alice@example.com").await;
    let mut browser = world.browser_of(&alice).await;
    for query in [
        "",
        "?code=x",
        "?code=x&state=",
        "?code=x&state=random",
        "?error=access_denied&error_description=%3Cscript%3E&state=y&error_uri=javascript:1",
    ] {
        for path in ["/callback/okta", "/login/callback"] {
            let seen = browser.get(&world, &format!("{path}{query}")).await;
            assert_eq!(seen.status, 400, "{path}{query}");
            assert!(!seen.html.contains("<script>") && !seen.html.contains("javascript:"));
            let anonymous = Browser::default().get(&world, &format!("{path}{query}")).await;
            assert_eq!(anonymous.status, 400, "{path}{query}");
        }
    }
    let long = format!("/callback/okta?code=x&state={}", "s".repeat(4096));
    assert_eq!(browser.get(&world, &long).await.status, 400);
    assert_eq!(browser.get(&world, "/callback/okta?code=x&state=%00").await.status, 400);
    assert_eq!(browser.get(&world, "/callback/No%20Provider?code=x&state=y").await.status, 404);
}

#[actix_web::test]
async fn a_head_request_or_preview_sets_no_cookie() {
    let world = World::new();
    let alice = world.user("alice@example.com").await;
    world.provider().await;
    let agent = world.agent(&alice).await;
    let id = world.question(&agent, &alice).await;
    let seen = Browser::default().get(&world, &format!("/i/{id}")).await;
    assert_eq!(seen.location.unwrap(), format!("/login?then={id}"));
    assert!(seen.set_cookies.is_empty());
    let head = TestRequest::default().method(actix_web::http::Method::HEAD).uri(&format!("/i/{id}"));
    assert!(Browser::default().send(&world, head).await.set_cookies.is_empty());
}
