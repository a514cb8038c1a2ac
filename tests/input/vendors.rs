//! Providers that are down, slow, throttle, answer nonsense or not at all: what the agent is told, what the
//! employee reads, and that a connection is lost only where the vendor's rules leave no way out.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use valetkey::app::demo::people::ALICE;
use valetkey::kernel::text::Lang;
use valetkey::web::texts::text;

use crate::broker::{Broker, assert_clear};

const UNAVAILABLE: &str = "temporarily_unavailable";

fn words(key: &'static str) -> &'static str {
    text(Lang::En, key)
}

#[actix_web::test]
async fn trouble_at_a_provider_costs_nobody_a_connection() {
    let mut broker = Broker::start().await;
    for provider in ["lark", "okta", "entra"] {
        broker.connect(provider).await;
        let troubles: [(&str, Value); 5] = [
            ("status", json!(500)),
            ("status", json!(503)),
            ("rate_limit", json!(40)),
            ("html", Value::Null),
            ("garbage", Value::Null),
        ];
        for (kind, value) in troubles {
            broker.outlive_the_token(provider);
            broker.fault(provider, "refresh", kind, value.clone()).await;
            let refused = broker.call(provider).await;
            let what = format!("{provider}: {kind} {value}");
            // Where the vendor's rules allow it, an answer that cannot be read is asked for again at once.
            if refused.status != 200 {
                assert_eq!(refused.error(), (503, UNAVAILABLE.to_owned()), "{what}: {}", refused.body);
                assert_clear(&refused, &what);
                let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
                assert!(kind != "rate_limit" || (30..=60).contains(&wait), "{what}: {wait}");
                let home = broker.home().await;
                // An answer that cannot be read may follow a change at the vendor, so it is in doubt;
                // being throttled cannot.
                let doubted = home.contains(words("connection.in_doubt_why")) && kind != "rate_limit";
                assert!(doubted || home.contains(words("connection.retrying")), "{what}: nothing is shown");
            }
            broker.wait(600);
            let again = broker.call(provider).await;
            assert_eq!(again.status, 200, "{what}: nothing was lost: {}", again.body);
            let home = broker.home().await;
            assert!(!home.contains(words("connection.retrying")), "{what}");
            assert!(!home.contains(words("connection.in_doubt_why")), "{what}");
        }
        assert_eq!(broker.state(provider).await["reuse_detected"], 0, "{provider}");
    }
    broker.stop().await;
}

#[actix_web::test]
async fn an_answer_lost_after_the_vendor_has_acted_is_settled_as_its_rules_allow() {
    let mut broker = Broker::start().await;
    for provider in ["okta", "entra", "lark"] {
        broker.connect(provider).await;
        broker.outlive_the_token(provider);
        broker.fault(provider, "refresh", "drop_after_commit", Value::Null).await;
    }
    // Within the grace, or where the old token goes on working, the caller does not even notice.
    for provider in ["okta", "entra"] {
        let call = broker.call(provider).await;
        assert_eq!(call.status, 200, "{provider}: {}", call.body);
        assert_eq!(broker.refreshes(provider).await, 2, "{provider}: the lost one and its repetition");
    }
    // Single use: the new token was in the answer that nobody got.
    let lost = broker.call("lark").await;
    assert_eq!(lost.error(), (503, UNAVAILABLE.to_owned()), "{}", lost.body);
    assert!(broker.home().await.contains(words("connection.in_doubt_why")));
    broker.wait(120);
    let refused = broker.call("lark").await;
    assert_eq!(refused.error(), (403, "interaction_required".to_owned()), "{}", refused.body);
    assert_clear(&refused, "lark");
    let home = broker.home().await;
    assert!(home.contains(words("connection.answer_lost")), "why she is asked is said in words");
    assert!(home.contains(words("connection.needs_reauth")));

    let reconnect = broker.browser.open(&format!("{}/", broker.base)).await;
    let form = reconnect.forms().into_iter().find(|form| form.action.ends_with("/reconnect")).unwrap();
    let page = broker.browser.submit(&reconnect, &form, &[]).await;
    let page = broker.go_on(page).await;
    assert_eq!((page.status, page.url.path()), (200, "/"), "{}", page.title());
    let call = broker.call("lark").await;
    assert_eq!(call.status, 200, "the grant goes on where it was: {}", call.body);
    broker.stop().await;
}

#[actix_web::test]
async fn a_slow_provider_keeps_nobody_longer_than_ten_seconds_and_its_late_answer_counts() {
    let mut broker = Broker::start().await;
    broker.connect("okta").await;
    broker.outlive_the_token("okta");
    broker.fault("okta", "refresh", "latency", json!(10_700)).await;
    let began = Instant::now();
    let refused = broker.call("okta").await;
    let took = began.elapsed();
    assert_eq!(refused.error(), (503, UNAVAILABLE.to_owned()), "{}", refused.body);
    assert!(took > Duration::from_secs(9) && took < Duration::from_millis(10_600), "{took:?}");
    assert!(refused.header("retry-after").is_some());
    // The refresh goes on by itself, and whoever comes next has its token.
    actix_web::rt::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(broker.call("okta").await.status, 200);
    assert_eq!(broker.refreshes("okta").await, 1, "one refresh in all");
    broker.stop().await;
}

#[actix_web::test]
async fn a_consent_that_fails_at_the_provider_can_be_given_again() {
    let mut broker = Broker::start().await;
    let troubles = [
        ("lark", "token", "html", Value::Null),
        ("entra", "token", "garbage", Value::Null),
        ("okta", "token", "status", json!(500)),
        ("dingtalk", "token", "rate_limit", json!(3)),
        ("wecom", "userinfo", "html", Value::Null),
        ("lark", "userinfo", "status", json!(502)),
    ];
    let mut open: std::collections::BTreeMap<&str, String> = std::collections::BTreeMap::new();
    for (provider, ..) in &troubles {
        open.insert(provider, broker.ask(provider).await);
    }
    // Signing in is not what is tried here.
    broker.home().await;
    for (provider, endpoint, kind, value) in troubles {
        broker.fault(provider, endpoint, kind, value).await;
        let page = broker.agree(&open[provider]).await;
        assert_eq!(page.status, 502, "{provider} {endpoint} {kind}: {}", page.title());
        let said = page.text();
        for inside in ["src/", "panick", "serde", "access_token", "client_secret"] {
            assert!(!said.contains(inside), "{provider} {kind}: {inside}");
        }
        assert!(broker.agent.exchange(ALICE, provider).await.error().1 == "interaction_required");
    }
    for (provider, uri) in open {
        // App tokens back off after trouble.
        broker.wait(60);
        let page = broker.agree(&uri).await;
        assert_eq!(page.status, 200, "{provider}: {}", page.title());
        let call = broker.call(provider).await;
        assert_eq!(call.status, 200, "{provider}: the same question was still open: {}", call.body);
    }
    broker.stop().await;
}

#[actix_web::test]
async fn what_the_api_answers_is_passed_on_and_what_it_does_not_is_said() {
    let mut broker = Broker::start().await;
    broker.connect("entra").await;
    for (kind, value, status) in [("status", json!(500), 500), ("rate_limit", json!(7), 429)] {
        broker.fault("entra", "api", kind, value).await;
        let passed = broker.call("entra").await;
        assert_eq!(passed.status, status, "{kind}: {}", passed.body);
        assert!(passed.header("x-valetkey-decision").is_none(), "{kind}: it is the vendor's own answer");
        assert!(status != 429 || passed.header("retry-after") == Some("7"));
    }
    broker.fault("entra", "api", "drop_after_commit", Value::Null).await;
    let lost = broker.call("entra").await;
    assert_eq!(lost.error(), (502, "upstream_error".to_owned()), "{}", lost.body);
    assert_eq!(lost.header("x-valetkey-decision"), Some("deny"));
    assert!(lost.header("x-valetkey-event").is_some());
    assert_clear(&lost, "a dropped answer");
    assert_eq!(broker.call("entra").await.status, 200);
    broker.stop().await;
}

#[actix_web::test]
async fn app_tokens_survive_trouble_too() {
    let mut broker = Broker::start().await;
    for provider in ["dingtalk", "wecom"] {
        broker.connect(provider).await;
        for (kind, value) in [("status", json!(500)), ("html", Value::Null), ("garbage", Value::Null)] {
            broker.outlive_the_token(provider);
            broker.fault(provider, "token", kind, value).await;
            let refused = broker.call(provider).await;
            assert_eq!(refused.error(), (503, UNAVAILABLE.to_owned()), "{provider} {kind}: {}", refused.body);
            assert_clear(&refused, kind);
            broker.wait(60);
            let again = broker.call(provider).await;
            assert_eq!(again.status, 200, "{provider} {kind}: {}", again.body);
        }
    }
    broker.stop().await;
}
