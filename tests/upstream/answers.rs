use serde_json::json;
use valetkey::kernel::scope::ScopeSet;
use valetkey::net::{HttpClient, NetSettings};
use valetkey::providers::template::ErrorClass;
use valetkey::upstream::{Cause, Delivered, Revoked, TokenHint, Upstream};

use crate::world::{OIDC, Reply, World, form, oidc, refreshed, secret};

#[actix_web::test]
async fn every_kind_of_bad_answer_is_told_apart_and_leaks_nothing() {
    let world = World::new().await;
    let (yes, unknown) = (Delivered::Yes, Delivered::Unknown);
    for (status, body, class, delivered) in [
        (200, "<html>canary</html>", ErrorClass::Unknown, unknown),
        (200, "{\"access_token\":\"canary", ErrorClass::Unknown, unknown),
        (200, "", ErrorClass::Unknown, unknown),
        (200, "[\"canary\"]", ErrorClass::Unknown, unknown),
        (200, "{\"access_token\":{\"canary\":1}}", ErrorClass::Unknown, unknown),
        (200, "{\"access_token\":\"ca nary\"}", ErrorClass::Unknown, unknown),
        (200, "{\"access_token\":\"canary\",\"token_type\":\"mac\"}", ErrorClass::Unknown, unknown),
        (500, "<html>canary</html>", ErrorClass::Retry, unknown),
        (502, "", ErrorClass::Retry, unknown),
        (429, "{\"error\":\"slow\"}", ErrorClass::Retry, yes),
        (307, "canary", ErrorClass::Unknown, unknown),
        (400, "{\"error\":\"invalid_grant\",\"error_description\":\"canary\"}", ErrorClass::Reauth, yes),
        (401, "{\"error\":\"invalid_client\"}", ErrorClass::Config, yes),
        (400, "{\"error\":\"canary canary\"}", ErrorClass::Unknown, yes),
        (200, "{\"error\":\"invalid_grant\"}", ErrorClass::Reauth, yes),
    ] {
        world.replies("/token", vec![Reply::raw(status, body)]);
        let error = refreshed(&world.upstream, &oidc(), &secret("canary-refresh"), None).await.unwrap_err();
        assert_eq!((error.class, error.delivered), (class, delivered), "{status} {body}");
        assert_eq!(error.cause, Cause::Provider);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[actix_web::test]
async fn no_connection_outlives_the_refresh_whose_tokens_it_has_read() {
    let world = World::new().await;
    world.answer_tokens("x.y.z");
    for _ in 0..2 {
        refreshed(&world.upstream, &oidc(), &secret("r"), None).await.unwrap();
    }
    let asked = world.asked("/token");
    assert_ne!(asked[0].from, asked[1].from);
}

#[actix_web::test]
async fn a_provider_says_when_to_come_back() {
    let world = World::new().await;
    let mut busy = Reply::raw(503, "");
    busy.headers.push(("retry-after", "17".to_owned()));
    world.replies("/token", vec![busy]);
    let error = refreshed(&world.upstream, &oidc(), &secret("r"), None).await.unwrap_err();
    assert_eq!(error.retry_after.map(|wait| wait.as_secs()), Some(17));
}

#[actix_web::test]
async fn a_refresh_narrows_and_keeps_what_must_be_kept() {
    let world = World::new().await;
    world.answer_tokens("x.y.z");
    let scopes = ScopeSet::parse("mail.read").unwrap();
    let tokens = refreshed(&world.upstream, &oidc(), &secret("canary-refresh"), Some(&scopes)).await.unwrap();
    assert_eq!(tokens.refresh_token.unwrap().expose(), "canary-refresh");
    let sent = form(&world.asked("/token")[0].body);
    assert_eq!(sent["refresh_token"], "canary-refresh");
    assert_eq!(sent["scope"], "offline_access https://api.example.com/mail.read");
    assert_eq!(world.asked("/token")[0].headers["accept"], "application/json");
}

#[actix_web::test]
async fn a_provider_that_is_down_has_seen_no_token() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let origins = vec![("https://id.example.com".to_owned(), format!("http://localhost:{port}"))];
    let net = HttpClient::new(NetSettings { origins, ..NetSettings::default() }).unwrap();
    let world = World::new().await;
    let entropy = std::sync::Arc::new(valetkey::kernel::entropy::SeededEntropy::new(1));
    let upstream = Upstream::new(net, world.clock.clone(), entropy);
    let error = refreshed(&upstream, &oidc(), &secret("r"), None).await.unwrap_err();
    assert_eq!(
        (error.class, error.delivered, error.cause),
        (ErrorClass::Retry, Delivered::No, Cause::Network)
    );
}

#[actix_web::test]
async fn a_revocation_is_done_or_told_apart() {
    let world = World::new().await;
    let configured = oidc();
    let done = world.upstream.revoke(&configured, &secret("canary-refresh"), TokenHint::RefreshToken).await;
    assert_eq!(done, Ok(Revoked::Done));
    let sent = form(&world.asked("/revoke")[0].body);
    assert_eq!(
        (sent["token"].as_str(), sent["token_type_hint"].as_str()),
        ("canary-refresh", "refresh_token")
    );
    world.replies("/revoke", vec![Reply::raw(503, "")]);
    let error = world.upstream.revoke(&configured, &secret("x"), TokenHint::AccessToken).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Retry);
    world.replies("/revoke", vec![Reply::json(&json!({"error": "invalid_client"}))]);
    let error = world.upstream.revoke(&configured, &secret("x"), TokenHint::AccessToken).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Config);
    let odd = OIDC
        .replace("access_tokens = true", "access_tokens = true\nok = { member = \"code\", equals = \"0\" }");
    let odd = crate::world::configured(&odd, &[("tenant", "acme")]);
    for (body, is_done) in [("", true), ("{\"code\":0}", true), ("{\"code\":7}", false)] {
        world.replies("/revoke", vec![Reply::raw(200, body)]);
        let revoked = world.upstream.revoke(&odd, &secret("x"), TokenHint::RefreshToken).await;
        assert_eq!(revoked.is_ok(), is_done, "{body}");
    }
}
