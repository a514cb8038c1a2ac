//! The first admin, passwords, sessions.

use std::time::Duration;

use valetkey::model::user::{LocalAdmin, Role, User, UserState};

use crate::world::{Browser, PASSWORD, World};

async fn local_login(
    world: &World,
    browser: &mut Browser,
    email: &str,
    password: &str,
) -> crate::world::Seen {
    let page = browser.get(world, "/login?local=1").await;
    let csrf = page.token("/login/local");
    browser.post(world, "/login/local", &[("csrf", &csrf), ("email", email), ("password", password)]).await
}

#[actix_web::test]
async fn the_setup_link_makes_one_admin_who_can_then_sign_in() {
    let world = World::new();
    let link = world.setup_link().await;
    let mut browser = Browser::default();
    let page = browser.get(&world, &format!("/setup?token={link}")).await;
    assert_eq!(page.status, 200);
    let csrf = page.token("/setup");
    let fill = |email: &'static str, password: &'static str, again: &'static str| {
        [
            ("csrf", csrf.clone()),
            ("link", link.clone()),
            ("email", email.to_owned()),
            ("password", password.to_owned()),
            ("again", again.to_owned()),
        ]
    };
    for (email, password, again, problem) in [
        ("admin", PASSWORD, PASSWORD, "does not look like an e-mail"),
        ("admin@example.com", PASSWORD, "something else entirely", "The two passwords differ"),
        ("admin@example.com", "q7!z", "q7!z", "shorter than 12 characters"),
    ] {
        let fields = fill(email, password, again);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let seen = browser.post(&world, "/setup", &fields).await;
        assert_eq!(seen.status, 400);
        assert!(seen.html.contains(problem) && !seen.html.contains(password), "{problem}");
    }
    let fields = fill("admin@example.com", PASSWORD, PASSWORD);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let made = browser.post(&world, "/setup", &fields).await;
    assert_eq!((made.status, made.location.as_deref()), (303, Some("/login?local=1&done=setup")));
    assert_eq!(browser.post(&world, "/setup", &fields).await.status, 410, "a link works once");
    assert_eq!(browser.get(&world, &format!("/setup?token={link}")).await.status, 410);
    let seen = local_login(&world, &mut browser, "Admin@example.com", PASSWORD).await;
    assert_eq!(seen.location.as_deref(), Some("/admin"));
    assert_eq!(browser.get(&world, "/admin").await.status, 200);
}

#[actix_web::test]
async fn a_setup_link_ends_after_fifteen_minutes_and_a_wrong_one_says_the_same() {
    let world = World::new();
    let link = world.setup_link().await;
    world.clock.advance(Duration::from_secs(901));
    let late = Browser::default().get(&world, &format!("/setup?token={link}")).await;
    let wrong = Browser::default().get(&world, "/setup?token=vki_rubbish").await;
    assert_eq!((late.status, wrong.status), (410, 410));
    let without_address =
        |html: &str| html.lines().filter(|line| !line.contains("hreflang")).collect::<String>();
    assert_eq!(without_address(&late.html), without_address(&wrong.html));
}

#[actix_web::test]
async fn an_unknown_name_and_a_wrong_password_get_the_same_answer() {
    let world = World::new();
    world.admin("admin@example.com", Role::Admin).await;
    let mut browser = Browser::default();
    let wrong = local_login(&world, &mut browser, "admin@example.com", "not the password").await;
    let unknown = local_login(&world, &mut browser, "nobody@example.com", "not the password").await;
    assert_eq!((wrong.status, unknown.status), (401, 401));
    let neutral = |html: &str, email: &str| html.replace(email, "");
    assert_eq!(neutral(&wrong.html, "admin@example.com"), neutral(&unknown.html, "nobody@example.com"));
    assert!(wrong.set_cookies.is_empty() && !wrong.html.contains("not the password"));
    let huge = local_login(&world, &mut browser, "admin@example.com", &"x".repeat(40_000)).await;
    assert_eq!(huge.status, 401);
}

#[actix_web::test]
async fn guessing_is_slowed_down() {
    let world = World::new();
    let mut browser = Browser::default();
    let mut last = 0;
    for _ in 0..12 {
        last = local_login(&world, &mut browser, "admin@example.com", "guess").await.status;
    }
    assert_eq!(last, 429);
}

#[actix_web::test]
async fn a_session_is_new_at_sign_in_and_its_cookie_has_every_flag() {
    let world = World::new();
    world.admin("admin@example.com", Role::Admin).await;
    let mut browser = Browser::default();
    let seen = local_login(&world, &mut browser, "admin@example.com", PASSWORD).await;
    let session = seen.set_cookies.iter().find(|cookie| cookie.starts_with("__Host-sid=vkw_")).unwrap();
    for flag in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(session.contains(flag), "{flag}");
    }
    assert!(!session.contains("Domain"));
    let mut former = browser.clone();
    let again = local_login(&world, &mut browser, "admin@example.com", PASSWORD).await;
    assert_eq!(again.status, 303);
    assert_ne!(former.cookies["__Host-sid"], browser.cookies["__Host-sid"]);
    assert_eq!(former.get(&world, "/admin").await.status, 303, "the former session has ended");
    let mut planted = Browser::default();
    planted.cookies.insert("__Host-sid".to_owned(), "vkw_planted".to_owned());
    assert_eq!(planted.get(&world, "/admin").await.status, 303);
}

#[actix_web::test]
async fn signing_out_ends_the_session_everywhere() {
    let world = World::new();
    let alice = world.user("alice@example.com").await;
    let mut browser = world.browser_of(&alice).await;
    let mut copy = browser.clone();
    let csrf = browser.get(&world, "/").await.token("/logout");
    let out = browser.post(&world, "/logout", &[("csrf", &csrf)]).await;
    assert_eq!(out.location.as_deref(), Some("/login?done=signed_out"));
    assert_eq!(copy.get(&world, "/").await.status, 303);
}

#[actix_web::test]
async fn a_session_ends_after_thirty_idle_minutes_and_after_eight_hours() {
    let world = World::new();
    let alice = world.user("alice@example.com").await;
    let mut idle = world.browser_of(&alice).await;
    world.clock.advance(Duration::from_secs(29 * 60));
    assert_eq!(idle.get(&world, "/").await.status, 200);
    world.clock.advance(Duration::from_secs(31 * 60));
    assert_eq!(idle.get(&world, "/").await.status, 303);
    let mut busy = world.browser_of(&alice).await;
    for _ in 0..23 {
        world.clock.advance(Duration::from_secs(20 * 60));
        assert_eq!(busy.get(&world, "/").await.status, 200);
    }
    world.clock.advance(Duration::from_secs(20 * 60));
    assert_eq!(busy.get(&world, "/").await.status, 303);
}

#[actix_web::test]
async fn a_change_of_role_or_state_takes_effect_on_the_next_request() {
    let world = World::new();
    world.admin("admin@example.com", Role::Admin).await;
    let mut admin = world.browser_of_admin("admin@example.com", Role::Admin).await;
    assert_eq!(admin.get(&world, "/admin/agents/new").await.status, 200);
    let store = &world.state.store;
    let lowered = |admin: &LocalAdmin| Ok::<_, ()>(Some(LocalAdmin { role: Role::Auditor, ..admin.clone() }));
    store.update::<LocalAdmin, ()>("admin@example.com", lowered).await.unwrap();
    assert_eq!(admin.get(&world, "/admin/agents/new").await.status, 403);
    assert_eq!(admin.get(&world, "/admin/agents").await.status, 200);
    let alice = world.user("alice@example.com").await;
    let mut browser = world.browser_of(&alice).await;
    let disabled = |user: &User| Ok::<_, ()>(Some(User { state: UserState::Disabled, ..user.clone() }));
    store.update::<User, ()>(alice.as_str(), disabled).await.unwrap();
    assert_eq!(browser.get(&world, "/").await.status, 303);
}
