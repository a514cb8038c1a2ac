use std::collections::BTreeMap;

use url::Url;
use valetkey::kernel::scope::ScopeSet;
use valetkey::kernel::secret::SecretString;
use valetkey::providers::Configured;
use valetkey::upstream::{AuthorizeRequest, Cause};

use crate::world::{OIDC, World, configured, oidc, secret};

async fn url(world: &World, configured: &Configured, verifier: Option<&SecretString>, login: bool) -> Url {
    let redirect_uri = "https://vault.example.com/callback/example".parse().unwrap();
    let scopes = ScopeSet::parse("mail.read").unwrap();
    let request = AuthorizeRequest {
        redirect_uri: &redirect_uri,
        state: "State1",
        nonce: Some("nonce-1"),
        pkce_verifier: verifier,
        scopes: &scopes,
        login,
    };
    world.upstream.authorize_url(configured, &request).await.unwrap()
}

fn pairs(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

#[actix_web::test]
async fn the_request_has_state_nonce_pkce_and_the_vendors_scope_names() {
    let world = World::new().await;
    // The example of RFC 7636, appendix B.
    let verifier = secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let url = url(&world, &oidc(), Some(&verifier), false).await;
    assert!(url.as_str().starts_with(&format!("http://localhost:{}/authorize?", world.port)), "{url}");
    assert!(!url.as_str().contains('+') && url.as_str().contains("%20"));
    let sent = pairs(&url);
    assert_eq!(sent["response_type"], "code");
    assert_eq!(sent["client_id"], "client-1");
    assert_eq!(sent["redirect_uri"], "https://vault.example.com/callback/example");
    assert_eq!((sent["state"].as_str(), sent["nonce"].as_str()), ("State1", "nonce-1"));
    assert_eq!(sent["code_challenge"], "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    assert_eq!(sent["code_challenge_method"], "S256");
    assert_eq!(sent["scope"], "openid offline_access https://api.example.com/mail.read");
    assert_eq!(sent.len(), 8);
    assert!(!url.as_str().contains("canary"));
}

#[actix_web::test]
async fn a_sign_in_asks_for_who_it_is_and_nothing_lasting() {
    let world = World::new().await;
    let verifier = world.upstream.new_verifier();
    let sent = pairs(&url(&world, &oidc(), Some(&verifier), true).await);
    assert_eq!(sent["scope"], "openid profile email");
}

#[actix_web::test]
async fn a_vendors_own_names_fragment_and_limits_are_kept() {
    let world = World::new().await;
    let odd = OIDC
        .replace(
            "url = \"https://id.example.com/authorize\"",
            "url = \"https://id.example.com/authorize\"\nclient_id_param = \"appid\"\npkce = \"off\"\nfragment = \"app_redirect\"\n\
             params = { agentid = \"7\", prompt = \"consent\" }",
        )
        .replace("[authorize.scopes]", "[authorize.scopes]\nseparator = \",\"\nmax = 3");
    let odd = configured(&odd, &[("tenant", "acme")]);
    let built = url(&world, &odd, None, false).await;
    assert_eq!(built.fragment(), Some("app_redirect"));
    let sent = pairs(&built);
    assert_eq!(sent["appid"], "client-1");
    assert_eq!(sent["agentid"], "7");
    assert_eq!(sent["scope"], "openid,offline_access,https://api.example.com/mail.read");
    assert!(!sent.contains_key("client_id") && !sent.contains_key("code_challenge"));
    assert!(!pairs(&url(&world, &odd, None, true).await).contains_key("prompt"));
    let unnamed = OIDC.replace(
        "[authorize.scopes]",
        "client_id_param = \"\"\npkce = \"off\"\nparams = { app = \"{tenant}\" }\n\n[authorize.scopes]",
    );
    let sent = pairs(&url(&world, &configured(&unnamed, &[("tenant", "acme")]), None, false).await);
    assert!(!sent.contains_key("client_id") && !sent.contains_key("") && sent["app"] == "acme");
}

#[actix_web::test]
async fn pkce_cannot_be_left_out_by_forgetting_it() {
    let world = World::new().await;
    let redirect_uri = "https://vault.example.com/callback/example".parse().unwrap();
    let scopes = ScopeSet::new();
    let request = AuthorizeRequest {
        redirect_uri: &redirect_uri,
        state: "s",
        nonce: None,
        pkce_verifier: None,
        scopes: &scopes,
        login: false,
    };
    let error = world.upstream.authorize_url(&oidc(), &request).await.unwrap_err();
    assert_eq!(error.cause, Cause::NotOffered);
}

#[actix_web::test]
async fn fresh_values_are_long_random_and_plain() {
    let world = World::new().await;
    let configured = oidc();
    let state = world.upstream.new_state(&configured);
    assert!(state.expose().len() >= 43 && state.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_ne!(state.expose(), world.upstream.new_state(&configured).expose());
    assert_eq!(world.upstream.new_verifier().expose().len(), 43);
    assert_ne!(world.upstream.new_nonce(), world.upstream.new_nonce());
}
