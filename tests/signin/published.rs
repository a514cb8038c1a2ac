//! Keys that are fetched: from an agent's own URL, and from where an issuer's metadata say.

use serde_json::{Value, json};

use crate::draft::{Draft, Signer, fresh};
use crate::own_keys::claims;
use crate::publisher::{Published, app_that_reads};

fn set(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()})
}

#[actix_web::test]
async fn keys_at_a_url_are_kept_and_fetched_anew_for_a_key_that_is_not_known() {
    let published = Published::start();
    let app = app_that_reads(&published, "https://agents.example.com").await;
    let (first, second) = (Signer::new("ES256", "k1"), Signer::new("ES256", "k2"));
    published.publishes("/jwks.json", &set(&[&first]));
    let agent = app.agent_with(&json!({"keys": {"jwks_uri": "https://agents.example.com/jwks.json"}})).await;
    let shows =
        async |signer: &Signer| app.is_let_in(&Draft::new(signer, claims(&app, &agent), &agent)).await;
    assert!(shows(&first).await);
    assert!(shows(&first).await);
    assert_eq!(published.fetched(), 1, "kept");
    assert!(!shows(&second).await, "not published yet");
    assert_eq!(published.fetched(), 2, "looked for");
    for _ in 0..5 {
        assert!(!shows(&second).await);
    }
    assert_eq!(published.fetched(), 2, "not again within a minute, whoever asks");
    published.publishes("/jwks.json", &set(&[&first, &second]));
    app.pass(61);
    assert!(shows(&second).await, "rotated without telling us");
    assert_eq!(published.fetched(), 3);
    // A key that is withdrawn ends within the hour.
    published.publishes("/jwks.json", &set(&[&second]));
    app.pass(3601);
    assert!(!shows(&first).await);
    assert!(shows(&second).await);
    // While nothing can be fetched, what is known serves on.
    published.withdraws_everything();
    app.pass(3601);
    assert!(shows(&second).await);
    app.stops().await;
}

#[actix_web::test]
async fn an_issuers_metadata_say_where_its_keys_are_and_speak_for_nobody_else() {
    let published = Published::start();
    let issuer = "https://cluster.example.com";
    let app = app_that_reads(&published, issuer).await;
    let signer = Signer::new("RS256", "k1");
    let source = json!({"name": "cluster", "preset": "kubernetes", "issuer": issuer, "audience": "https://valetkey.example.com"});
    let source = app.trusts(&source).await;
    let pins = json!({"namespace": "agents", "service_account": "mail"});
    let agent = app.agent_with(&json!({"workloads": [{"trust_source": source, "pins": pins}]})).await;
    let shows = async || {
        let now = app.now();
        let claims = json!({"iss": issuer, "aud": ["https://valetkey.example.com"], "iat": now, "exp": now + 600, "jti": fresh(),
            "sub": "system:serviceaccount:agents:mail",
            "kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "mail"}}});
        app.is_let_in(&Draft::new(&signer, claims, &agent)).await
    };
    assert!(!shows().await, "no metadata");
    assert!(app.last_reason(&agent).await.contains("cannot be fetched"));
    published.publishes("/keys", &set(&[&signer]));
    let metadata = "/.well-known/openid-configuration";
    for (what, document) in [
        (
            "another issuer",
            json!({"issuer": "https://mallory.elsewhere.example", "jwks_uri": format!("{issuer}/keys")}),
        ),
        ("keys over plain http", json!({"issuer": issuer, "jwks_uri": "http://cluster.example.com/keys"})),
        ("keys on this machine", json!({"issuer": issuer, "jwks_uri": "https://127.0.0.1/keys"})),
        ("no keys", json!({"issuer": issuer})),
    ] {
        published.publishes(metadata, &document);
        app.pass(6);
        assert!(!shows().await, "{what}");
    }
    published.publishes(
        metadata,
        &json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "authorization_endpoint": "urn:x"}),
    );
    app.pass(6);
    assert!(shows().await);
    app.stops().await;
}

#[actix_web::test]
async fn an_issuers_keys_are_where_its_registration_says() {
    let published = Published::start();
    let issuer = "https://cluster.example.com";
    let app = app_that_reads(&published, issuer).await;
    let (first, second) = (Signer::new("RS256", "k1"), Signer::new("RS256", "k2"));
    published.publishes("/openid/v1/jwks", &set(&[&first]));
    let source = json!({"name": "cluster", "preset": "kubernetes", "issuer": issuer,
        "audience": "https://valetkey.example.com", "keys": {"jwks_uri": format!("{issuer}/openid/v1/jwks")}});
    let source = app.trusts(&source).await;
    let pins = json!({"namespace": "agents", "service_account": "mail"});
    let agent = app.agent_with(&json!({"workloads": [{"trust_source": source, "pins": pins}]})).await;
    let shows = async |signer: &Signer| {
        let now = app.now();
        let claims = json!({"iss": issuer, "aud": ["https://valetkey.example.com"], "iat": now, "exp": now + 600, "jti": fresh(),
            "sub": "system:serviceaccount:agents:mail",
            "kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "mail"}}});
        app.is_let_in(&Draft::new(signer, claims, &agent)).await
    };
    assert!(shows(&first).await, "no metadata are asked for");
    assert_eq!(published.fetched(), 1);
    assert!(!shows(&second).await, "not published");
    published.publishes("/openid/v1/jwks", &set(&[&first, &second]));
    app.pass(61);
    assert!(shows(&second).await);
    app.stops().await;
}
