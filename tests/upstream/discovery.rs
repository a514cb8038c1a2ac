use serde_json::{Value, json};
use valetkey::providers::Configured;
use valetkey::upstream::{CallbackError, Cause, Revoked, TokenHint};

use crate::world::{OIDC, Reply, World, configured, form, secret};

/// Nothing stated but the issuer.
fn discovered() -> Configured {
    let head = OIDC.split("[company.tenant]").next().unwrap();
    let template = format!(
        r#"{head}
[discovery]
issuer = "https://id.example.com"

[revoke]

[identity]
source = "id_token"
subject = "sub"
company = "config"
label = ["email"]
"#
    );
    configured(&template, &[])
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

fn document() -> Value {
    json!({
        "issuer": "https://id.example.com",
        "authorization_endpoint": "https://id.example.com/authorize",
        "token_endpoint": "https://id.example.com/token",
        "revocation_endpoint": "https://id.example.com/revoke",
        "jwks_uri": "https://id.example.com/keys",
    })
}

#[actix_web::test]
async fn endpoints_are_discovered_once_an_hour() {
    let world = World::new().await;
    world.replies(WELL_KNOWN, vec![Reply::json(&document())]);
    let configured = discovered();
    world.answer_tokens(&world.id_token(&world.claims()));
    let redeemed = world.redeem(&configured).await.unwrap();
    assert_eq!(redeemed.account.subject, "pairwise");
    assert_eq!(redeemed.account.company, "https://id.example.com");
    assert!(world.asked("/token")[0].headers["authorization"].starts_with("Basic "));
    assert!(!form(&world.asked("/token")[0].body).contains_key("client_secret"));
    let revoked = world.upstream.revoke(&configured, &secret("r"), TokenHint::RefreshToken).await;
    assert_eq!(revoked, Ok(Revoked::Done));
    assert_eq!(world.asked(WELL_KNOWN).len(), 1);
    world.advance(3601);
    world.upstream.probe(&configured).await.unwrap();
    assert_eq!(world.asked(WELL_KNOWN).len(), 2);
}

#[actix_web::test]
async fn a_document_that_cannot_be_believed_is_not_used() {
    let changes: [(&str, Value); 4] = [
        ("issuer", json!("https://evil.example")),
        ("token_endpoint", json!("http://id.example.com/token")),
        ("jwks_uri", json!("https://169.254.169.254/keys")),
        ("token_endpoint", Value::Null),
    ];
    for (member, value) in changes {
        let world = World::new().await;
        let mut document = document();
        document[member] = value;
        world.replies(WELL_KNOWN, vec![Reply::json(&document)]);
        let error = world.redeem(&discovered()).await.unwrap_err();
        assert_eq!(error.cause, Cause::Metadata, "{member}");
        assert!(world.asked("/token").is_empty());
    }
}

#[actix_web::test]
async fn a_token_endpoint_that_moves_to_another_host_is_not_followed() {
    let world = World::new().await;
    world.replies(WELL_KNOWN, vec![Reply::json(&document())]);
    let configured = discovered();
    world.upstream.probe(&configured).await.unwrap();
    let mut moved = document();
    moved["token_endpoint"] = json!("https://api.example.com/moved");
    world.replies(WELL_KNOWN, vec![Reply::json(&moved)]);
    world.advance(3601);
    world.answer_tokens(&world.id_token(&world.claims()));
    assert!(world.redeem(&configured).await.is_ok());
    assert!(world.asked("/moved").is_empty());
    assert_eq!(world.asked("/token").len(), 1);
}

#[actix_web::test]
async fn a_provider_that_promises_its_issuer_is_held_to_it() {
    let world = World::new().await;
    let mut document = document();
    document["authorization_response_iss_parameter_supported"] = json!(true);
    world.replies(WELL_KNOWN, vec![Reply::json(&document)]);
    let configured = discovered();
    let params = [("code".to_owned(), "c1".to_owned())];
    let read = world.upstream.callback_code(&configured, &params).await.map(|_| ());
    assert_eq!(read, Err(CallbackError::NoIssuer));
}
