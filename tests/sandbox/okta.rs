//! The sandbox's reading of Okta: codes, renewals within the leeway, ends of tokens.

use serde_json::Value;
use valetkey::kernel::encode;
use valetkey::sandbox::tokens::sha256;

use crate::stage::{ALICE, Answer, MALLORY, REDIRECT, SECRET, Stage, claims, form, text};

pub const OKTA: &str = "/okta/org/oauth2/v1";

pub const VERIFIER: &str = "0123456789012345678901234567890123456789abc";

/// The page of an authorization request with PKCE.
pub fn page(endpoint: &str, scope: &str) -> String {
    let challenge = encode::base64url(&encode::from_hex(&sha256(VERIFIER)).unwrap());
    let query = form(&[
        ("client_id", "valetkey-sandbox"),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("state", "st-1"),
        ("nonce", "n-1"),
        ("scope", scope),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    format!("{endpoint}/authorize?{query}")
}
pub const OKTA_SCOPES: &str = "openid profile email offline_access okta.users.read okta.groups.read";

impl Stage {
    pub async fn okta_token(&self, pairs: &[(&str, &str)]) -> Result<Answer, reqwest::Error> {
        let basic = format!("Basic {}", encode::base64(format!("valetkey-sandbox:{SECRET}").as_bytes()));
        self.try_form("/okta/org/oauth2/v1/token", &[("authorization", &basic)], pairs).await
    }

    pub async fn okta_login(&self, scope: &str) -> Value {
        let back = self.decide(&page(OKTA, scope), ALICE, "allow").await;
        let code = back.param("code").expect("a code");
        let answer = self
            .okta_token(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", REDIRECT),
                ("code_verifier", VERIFIER),
            ])
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    pub async fn renew(&self, token: &str) -> Result<Answer, reqwest::Error> {
        self.okta_token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }
}

#[tokio::test]
async fn a_code_is_redeemed_once_with_its_verifier_and_a_replay_revokes_its_tokens() {
    let stage = Stage::open().await;
    let back = stage.decide(&page(OKTA, OKTA_SCOPES), ALICE, "allow").await;
    assert_eq!(back.param("state").as_deref(), Some("st-1"));
    let code = back.param("code").unwrap();
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    let tokens = stage.okta_token(&redeem).await.unwrap().json();
    let id = claims(text(&tokens, "id_token"));
    assert_eq!((text(&id, "iss"), text(&id, "nonce")), ("https://example.okta.com", "n-1"));
    assert_eq!(stage.get_as(text(&tokens, "access_token"), "/okta/org/api/v1/users/me").await.status, 200);
    let replay = stage.okta_token(&redeem).await.unwrap();
    assert_eq!((replay.status, text(&replay.json(), "error")), (400, "invalid_grant"));
    assert_eq!(stage.get_as(text(&tokens, "access_token"), "/okta/org/api/v1/users/me").await.status, 401);
    assert_eq!(stage.renew(text(&tokens, "refresh_token")).await.unwrap().status, 400);
}

#[tokio::test]
async fn a_wrong_verifier_redirect_or_secret_brings_nothing() {
    let stage = Stage::open().await;
    for (name, value) in [("code_verifier", "x".repeat(43)), ("redirect_uri", format!("{REDIRECT}/"))] {
        let back = stage.decide(&page(OKTA, OKTA_SCOPES), ALICE, "allow").await;
        let code = back.param("code").unwrap();
        let mut pairs = vec![("grant_type", "authorization_code"), ("code", code.as_str())];
        pairs.push(("redirect_uri", if name == "redirect_uri" { value.as_str() } else { REDIRECT }));
        pairs.push(("code_verifier", if name == "code_verifier" { value.as_str() } else { VERIFIER }));
        assert_eq!(text(&stage.okta_token(&pairs).await.unwrap().json(), "error"), "invalid_grant", "{name}");
    }
    let wrong = [("client_id", "valetkey-sandbox"), ("client_secret", "no"), ("grant_type", "refresh_token")];
    let answer = stage.post_form("/okta/org/oauth2/v1/token", &[], &wrong).await;
    assert_eq!((answer.status, text(&answer.json(), "error")), (401, "invalid_client"));
    let page = stage
        .get("/okta/org/oauth2/v1/authorize?client_id=valetkey-sandbox&redirect_uri=http://evil.example/x&state=s&scope=openid&response_type=code", &[])
        .await;
    assert_eq!(page.status, 400);
}

#[tokio::test]
async fn the_person_may_refuse_and_an_outsider_has_no_account_in_the_organisation() {
    let stage = Stage::open().await;
    let refused = stage.decide(&page(OKTA, OKTA_SCOPES), ALICE, "deny").await;
    assert_eq!(refused.param("error").as_deref(), Some("access_denied"));
    let outsider = stage.decide(&page(OKTA, OKTA_SCOPES), MALLORY, "allow").await;
    assert_eq!((outsider.param("error").as_deref(), outsider.param("code")), (Some("access_denied"), None));
}

#[tokio::test]
async fn a_spent_refresh_token_works_within_the_leeway_and_ends_the_family_after_it() {
    let stage = Stage::open().await;
    let first = text(&stage.okta_login(OKTA_SCOPES).await, "refresh_token").to_owned();
    let second = stage.renew(&first).await.unwrap().json();
    stage.advance(20).await;
    let again = stage.renew(&first).await.unwrap();
    assert_eq!(again.status, 200, "{}", again.body);
    stage.advance(20).await;
    let late = stage.renew(&first).await.unwrap().json();
    assert_eq!(text(&late, "error_description"), "The refresh token is invalid or expired.");
    assert_eq!(stage.renew(text(&second, "refresh_token")).await.unwrap().status, 400);
    assert_eq!(stage.get_as(text(&second, "access_token"), "/okta/org/api/v1/users/me").await.status, 401);
    let state = stage.state("okta").await;
    assert_eq!(
        (state["reuse_detected"].as_u64(), state["live_refresh"].as_array().unwrap().len()),
        (Some(1), 0)
    );
    assert_eq!(state["refreshes"][ALICE], 2);
}

#[tokio::test]
async fn a_renewal_narrows_and_returns_a_refresh_token_only_for_offline_access() {
    let stage = Stage::open().await;
    let refresh = text(&stage.okta_login(OKTA_SCOPES).await, "refresh_token").to_owned();
    let ask = |token: String, scope: &'static str| {
        let stage = &stage;
        async move {
            let pairs =
                [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("scope", scope)];
            stage.okta_token(&pairs).await.unwrap()
        }
    };
    let narrow = ask(refresh, "offline_access okta.groups.read").await.json();
    assert_eq!(text(&narrow, "scope"), "offline_access okta.groups.read");
    let access = text(&narrow, "access_token");
    assert_eq!(stage.get_as(access, "/okta/org/api/v1/groups").await.status, 200);
    assert_eq!(stage.get_as(access, "/okta/org/api/v1/users").await.status, 403);
    let wider = ask(text(&narrow, "refresh_token").to_owned(), "offline_access okta.logs.read").await;
    assert_eq!(text(&wider.json(), "error"), "invalid_scope");
    let back_to_all =
        ask(text(&narrow, "refresh_token").to_owned(), "offline_access okta.users.read").await.json();
    assert_eq!(stage.get_as(text(&back_to_all, "access_token"), "/okta/org/api/v1/users").await.status, 200);
    let without = ask(text(&back_to_all, "refresh_token").to_owned(), "okta.users.read").await.json();
    assert!(without.get("refresh_token").is_none());
}

#[tokio::test]
async fn tokens_end_with_the_clock_and_with_revocation() {
    let stage = Stage::open().await;
    let tokens = stage.okta_login(OKTA_SCOPES).await;
    stage.advance(3601).await;
    assert_eq!(stage.get_as(text(&tokens, "access_token"), "/okta/org/api/v1/users/me").await.status, 401);
    let fresh = stage.renew(text(&tokens, "refresh_token")).await.unwrap().json();
    let basic = format!("Basic {}", encode::base64(format!("valetkey-sandbox:{SECRET}").as_bytes()));
    let pairs = [("token", text(&fresh, "refresh_token")), ("token_type_hint", "refresh_token")];
    let revoked = stage.post_form("/okta/org/oauth2/v1/revoke", &[("authorization", &basic)], &pairs).await;
    assert_eq!(revoked.status, 200);
    assert_eq!(stage.get_as(text(&fresh, "access_token"), "/okta/org/api/v1/users/me").await.status, 401);
    let stage = Stage::open().await;
    let tokens = stage.okta_login(OKTA_SCOPES).await;
    stage.advance(91 * 86_400).await;
    assert_eq!(stage.renew(text(&tokens, "refresh_token")).await.unwrap().status, 400);
}
