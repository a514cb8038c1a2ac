use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use valetkey::kernel::encode::base64url;
use valetkey::upstream::{Cause, IdTokenProblem, UpstreamError};

use crate::world::{CLIENT_ID, OIDC, Reply, World, configured, form, oidc};

fn problem(error: &UpstreamError) -> IdTokenProblem {
    match error.cause {
        Cause::IdToken(problem) => problem,
        other => panic!("{other:?}: {error}"),
    }
}

#[actix_web::test]
async fn a_code_is_redeemed_and_the_account_is_named_by_its_stable_key() {
    let world = World::new().await;
    let redeemed = world.redeem_with(&world.claims()).await.unwrap();
    assert_eq!(redeemed.account.subject, "user-1");
    assert_eq!(redeemed.account.company, "acme");
    assert_eq!(redeemed.account.label, "alice@example.com");
    assert_eq!(redeemed.tokens.scopes.unwrap().to_string(), "mail.read offline_access");
    let claims = redeemed.id_claims.unwrap();
    assert_eq!((claims.issuer.as_str(), claims.subject.as_str()), ("https://id.example.com", "user-1"));
    assert_eq!(claims.email.as_deref(), Some("alice@example.com"));
    assert_eq!(claims.issued_at.secs(), world.now());
    let sent = form(&world.asked("/token")[0].body);
    assert_eq!(sent["grant_type"], "authorization_code");
    assert_eq!(sent["code"], "canary-code");
    assert_eq!(sent["redirect_uri"], "https://vault.example.com/callback/example");
    assert!(sent["code_verifier"].starts_with("canary-verifier"));
    assert_eq!(sent["client_secret"], "canary-client-secret");
    assert!(world.asked("/revoke").is_empty());
}

#[actix_web::test]
async fn each_claim_that_is_wrong_is_refused_and_the_tokens_are_given_back() {
    use IdTokenProblem as P;
    let world = World::new().await;
    let now = world.now();
    let other = |value: &str| json!(value);
    for (claim, value, expected) in [
        ("nonce", other("nonce-2"), P::Nonce),
        ("nonce", Value::Null, P::Nonce),
        ("aud", other("client-2"), P::Audience),
        ("aud", json!([CLIENT_ID, "client-2"]), P::Audience),
        ("aud", json!([]), P::Audience),
        ("aud", Value::Null, P::Malformed),
        ("azp", other("client-2"), P::Audience),
        ("iss", other("https://evil.example"), P::Issuer),
        ("iss", other("https://id.example.com/"), P::Issuer),
        ("exp", json!(now - 31), P::Time),
        ("exp", json!("tomorrow"), P::Malformed),
        ("exp", Value::Null, P::Malformed),
        ("iat", json!(now + 60), P::Time),
        ("nbf", json!(now + 60), P::Time),
        // A logout token of the same provider.
        ("events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} }), P::Malformed),
        ("at_hash", other("AAAAAAAAAAAAAAAAAAAAAA"), P::AccessToken),
    ] {
        let mut claims = world.claims();
        claims[claim] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        }
        let before = world.asked("/revoke").len();
        let error = world.redeem_with(&claims).await.unwrap_err();
        assert_eq!(problem(&error), expected, "{claim} = {value}");
        let given_back = world.asked("/revoke");
        assert_eq!(given_back.len(), before + 1, "{claim} = {value}");
        assert_eq!(form(&given_back[before].body)["token"], "canary-refresh");
    }
}

#[actix_web::test]
async fn clocks_may_differ_by_half_a_minute() {
    let world = World::new().await;
    let mut claims = world.claims();
    claims["exp"] = json!(world.now() - 29);
    claims["iat"] = json!(world.now() + 29);
    assert!(world.redeem_with(&claims).await.is_ok());
}

#[actix_web::test]
async fn the_right_at_hash_is_taken() {
    let world = World::new().await;
    let hash = digest::digest(&digest::SHA256, b"canary-access");
    let mut claims = world.claims();
    claims["at_hash"] = json!(base64url(&hash.as_ref()[..16]));
    assert!(world.redeem_with(&claims).await.is_ok());
}

#[actix_web::test]
async fn algorithms_that_prove_nothing_are_refused() {
    let world = World::new().await;
    let claims = world.claims();
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    for alg in ["none", "None", "nOnE"] {
        for signature in ["", "AAAA"] {
            let token = format!("{}.{}.{signature}", part(&json!({"alg": alg})), part(&claims));
            world.answer_tokens(&token);
            let error = world.redeem(&oidc()).await.unwrap_err();
            assert!(
                matches!(problem(&error), IdTokenProblem::Signature | IdTokenProblem::Malformed),
                "{alg}"
            );
        }
    }
    // The public key, in every form an attacker could guess, as a shared secret.
    let jwk = world.jwk("k1");
    let secrets = [
        jwk.to_string().into_bytes(),
        jwk["x"].as_str().unwrap().as_bytes().to_vec(),
        b"canary-client-secret".to_vec(),
    ];
    for secret in secrets {
        let text = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "k1"})), part(&claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text.as_bytes());
        world.answer_tokens(&format!("{text}.{}", base64url(tag.as_ref())));
        assert_eq!(problem(&world.redeem(&oidc()).await.unwrap_err()), IdTokenProblem::Signature);
    }
    // ECDSA with r = s = 0, a signature of another text, and keys that the token brings along.
    let good = world.id_token(&claims);
    let (text, _) = good.rsplit_once('.').unwrap();
    world.answer_tokens(&format!("{text}.{}", base64url(&[0; 64])));
    assert_eq!(problem(&world.redeem(&oidc()).await.unwrap_err()), IdTokenProblem::Signature);
    let stranger = World::new().await;
    for header in [
        json!({"alg": "ES256", "kid": "k1"}),
        json!({"alg": "ES256", "kid": "k1", "jwk": stranger.jwk("k1")}),
        json!({"alg": "ES256", "kid": "k1", "jku": "https://api.example.com/keys"}),
    ] {
        world.answer_tokens(&stranger.signed(&header, &claims));
        assert_eq!(problem(&world.redeem(&oidc()).await.unwrap_err()), IdTokenProblem::Signature);
    }
    assert_eq!(world.asked("/keys").len(), 1, "no other keys were fetched");
    world.answer_tokens(&world.signed(&json!({"alg": "ES256", "kid": "k1", "crit": ["exp"]}), &claims));
    assert!(world.redeem(&oidc()).await.is_err());
}

#[actix_web::test]
async fn tokens_that_are_none_are_refused() {
    let world = World::new().await;
    let good = world.id_token(&world.claims());
    let twice = r#"{"iss":"https://id.example.com","aud":"client-1","aud":"client-2"}"#;
    let twice = format!("e30.{}.AA", base64url(twice.as_bytes()));
    for token in [
        "x",
        "a.b",
        "a.b.c.d",
        "e30.e30.",
        "e30.W10.AA",
        &format!("{good}.x"),
        &good[..good.len() / 2],
        &twice,
    ] {
        world.answer_tokens(token);
        assert_eq!(problem(&world.redeem(&oidc()).await.unwrap_err()), IdTokenProblem::Malformed, "{token}");
    }
    world.replies("/token", vec![Reply::json(&json!({"access_token": "a", "refresh_token": "r"}))]);
    assert_eq!(problem(&world.redeem(&oidc()).await.unwrap_err()), IdTokenProblem::Missing);
}

#[actix_web::test]
async fn rsa_signatures_are_checked_too() {
    let world = World::new().await;
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let key = RsaKeyPair::from_pkcs8(der.as_ref()).unwrap();
    let public = key.public_key().as_ref();
    let jwk = json!({"kty": "RSA", "kid": "r1", "n": base64url(&public[9..265]), "e": "AQAB"});
    world.replies("/keys", vec![Reply::json(&json!({"keys": [jwk, world.jwk("k1")]}))]);
    let claims = world.claims();
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let text = format!("{}.{}", part(&json!({"alg": "RS256", "kid": "r1"})), part(&claims));
    let mut signature = vec![0; 256];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    world.answer_tokens(&format!("{text}.{}", base64url(&signature)));
    assert!(world.redeem(&oidc()).await.is_ok());
    signature[7] ^= 1;
    world.answer_tokens(&format!("{text}.{}", base64url(&signature)));
    assert_eq!(problem(&world.redeem(&oidc()).await.unwrap_err()), IdTokenProblem::Signature);
}

#[actix_web::test]
async fn an_unknown_key_is_looked_up_once_a_minute_and_old_keys_outlive_trouble() {
    let world = World::new().await;
    let configured = oidc();
    let audience = [CLIENT_ID.to_owned()];
    let verify = |kid: &str| {
        let token = world.signed(&json!({"alg": "ES256", "kid": kid}), &world.claims());
        let (upstream, configured, audience) = (&world.upstream, &configured, &audience);
        async move { upstream.verify_id_token(configured, &token, audience, None).await.is_ok() }
    };
    assert!(verify("k1").await);
    assert_eq!(world.asked("/keys").len(), 1);
    assert!(!verify("k2").await);
    assert_eq!(world.asked("/keys").len(), 2);
    for kid in ["k2", "k3", "k4"] {
        assert!(!verify(kid).await);
    }
    assert_eq!(world.asked("/keys").len(), 2, "attackers cannot make us fetch");
    world.replies("/keys", vec![Reply::json(&json!({"keys": [world.jwk("k2")]}))]);
    world.advance(61);
    assert!(verify("k2").await);
    for broken in [Reply::raw(500, "<html>"), Reply::raw(200, "{\"keys\":[]}"), Reply::raw(200, "half {")] {
        world.replies("/keys", vec![broken]);
        world.advance(3700);
        assert!(verify("k2").await, "the keys that were there still serve");
    }
    world.advance(25 * 3600);
    assert!(!verify("k2").await);
}

#[actix_web::test]
async fn an_account_of_another_company_is_refused_and_its_tokens_are_given_back() {
    let world = World::new().await;
    for company in [json!("elsewhere"), json!(""), Value::Null, json!(["acme"]), json!("ACME")] {
        let mut claims = world.claims();
        claims["tid"] = company.clone();
        let error = world.redeem_with(&claims).await.unwrap_err();
        assert_eq!(error.cause, Cause::CompanyMismatch, "{company}");
    }
    assert_eq!(world.asked("/revoke").len(), 5);
    let mut guest = world.claims();
    guest.as_object_mut().unwrap().remove("oid");
    assert_eq!(world.redeem_with(&guest).await.unwrap_err().cause, Cause::Identity);
}

#[actix_web::test]
async fn presented_tokens_are_checked_for_audience_and_company() {
    let world = World::new().await;
    let configured = configured(OIDC, &[("tenant", "acme")]);
    let agents = ["agent-app".to_owned(), "agent-web".to_owned()];
    let mut claims = world.claims();
    claims["aud"] = json!("agent-app");
    claims["email_verified"] = json!(false);
    claims["auth_time"] = json!(world.now() - 5);
    let verify = |claims: &Value| {
        let token = world.id_token(claims);
        let (upstream, configured, agents) = (&world.upstream, &configured, &agents);
        async move { upstream.verify_id_token(configured, &token, agents, None).await }
    };
    let seen = verify(&claims).await.unwrap();
    assert_eq!(seen.auth_time.map(|at| at.secs()), Some(world.now() - 5));
    assert_eq!(seen.email, None, "an unverified address is no label");
    claims["aud"] = json!(["agent-web", "agent-app"]);
    claims["azp"] = json!("agent-web");
    assert!(verify(&claims).await.is_ok());
    claims["aud"] = json!(CLIENT_ID);
    assert_eq!(problem(&verify(&claims).await.unwrap_err()), IdTokenProblem::Audience);
    claims["aud"] = json!("agent-app");
    claims["azp"] = json!("agent-app");
    claims["tid"] = json!("elsewhere");
    assert_eq!(verify(&claims).await.unwrap_err().cause, Cause::CompanyMismatch);
}
