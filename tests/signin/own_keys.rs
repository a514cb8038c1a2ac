//! `private_key_jwt`: an agent signs with its own key.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::bends::{OF_CLAIMS, OF_KEYS};
use crate::draft::{Draft, Signer, fresh};
use crate::stage::Row;
use crate::wire::refused;

const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

/// The agent's own key, and another one of its: a token has to say which.
pub struct Keys {
    pub signer: Signer,
    second: Signer,
}

impl Keys {
    pub fn of(alg: &'static str) -> Self {
        Self { signer: Signer::new(alg, "k1"), second: Signer::new(alg, "k2") }
    }

    pub fn ways(&self) -> Value {
        json!({"keys": {"jwks": {"keys": [self.signer.jwk(), self.second.jwk()]}}})
    }
}

pub fn claims(app: &TestApp, agent: &str) -> Value {
    let now = app.now();
    json!({"iss": agent, "sub": agent, "aud": app.issuer(), "iat": now, "exp": now + 60, "jti": fresh()})
}

pub fn draft<'a>(app: &TestApp, keys: &'a Keys, agent: &str) -> Draft<'a> {
    Draft::new(&keys.signer, claims(app, agent), agent)
}

const BENDS: &[Row] = &[
    ("no kid, and two keys", |t| drop(t.header.as_object_mut().unwrap().remove("kid")), "kid"),
    ("another subject", |t| t.claims["sub"] = json!("agt_00000000000000000000000000000000"), "sub"),
    ("no subject", |t| drop(t.claims.as_object_mut().unwrap().remove("sub")), "sub"),
    ("another issuer", |t| t.claims["iss"] = json!("agt_00000000000000000000000000000000"), "workload"),
    ("no issuer", |t| drop(t.claims.as_object_mut().unwrap().remove("iss")), "workload"),
    (
        "an issuer in capitals",
        |t| t.claims["iss"] = json!(t.claims["iss"].as_str().unwrap().to_uppercase()),
        "workload",
    ),
    ("a list of our issuer", |t| t.claims["aud"] = json!([t.claims["aud"]]), "aud"),
    (
        "the token endpoint",
        |t| t.claims["aud"] = json!(format!("{}/oauth2/token", t.claims["aud"].as_str().unwrap())),
        "aud",
    ),
    ("no name", |t| drop(t.claims.as_object_mut().unwrap().remove("jti")), "jti"),
    ("an empty name", |t| t.claims["jti"] = json!(""), "jti"),
    ("a name that is no text", |t| t.claims["jti"] = json!(7), "jti"),
    ("a name of 257 letters", |t| t.claims["jti"] = json!("x".repeat(257)), "jti"),
    (
        "more than an hour ahead",
        |t| t.claims["exp"] = json!(t.claims["exp"].as_i64().unwrap() + 3700),
        "too far",
    ),
    (
        "an hour ahead without saying since when",
        |t| {
            t.claims["exp"] = json!(t.claims["exp"].as_i64().unwrap() + 3000);
            t.claims.as_object_mut().unwrap().remove("iat");
        },
        "too far",
    ),
    (
        "issued six minutes ago",
        |t| t.claims["iat"] = json!(t.claims["iat"].as_i64().unwrap() - 360),
        "too long ago",
    ),
    ("longer than 8 KiB", |t| t.claims["filler"] = json!("x".repeat(9000)), "too long"),
];

#[actix_web::test]
async fn an_agents_own_key_proves_it_and_nothing_that_is_bent_does() {
    let app = TestApp::start().await;
    let mut cases = 0;
    for alg in ALGORITHMS {
        let keys = Keys::of(alg);
        for (what, bend, reason) in OF_KEYS.iter().chain(OF_CLAIMS).chain(BENDS) {
            // The table once over; what depends on keys, for every kind of key.
            if alg != "ES256" && !OF_KEYS.iter().any(|(name, ..)| name == what) {
                continue;
            }
            let agent = app.agent_with(&keys.ways()).await;
            let mut bent = draft(&app, &keys, &agent);
            bend(&mut bent);
            assert!(!app.is_let_in(&bent).await, "{alg}: {what}");
            let why = app.last_reason(&agent).await;
            assert!(why.contains(reason), "{alg}: {what}: {why}");
            assert!(app.is_let_in(&draft(&app, &keys, &agent)).await, "{alg}: straight, after {what}");
            cases += 1;
        }
    }
    println!("private_key_jwt: {cases} bent assertions refused");
    assert!(cases >= 150, "{cases}");
    app.stops().await;
}

#[actix_web::test]
async fn what_may_vary_is_accepted() {
    let app = TestApp::start().await;
    let keys = Keys::of("ES256");
    let agent = app.agent_with(&keys.ways()).await;
    let straight: &[Row] = &[
        ("without a client_id beside it", |t| t.client_id = None, ""),
        ("without a type", |t| drop(t.header.as_object_mut().unwrap().remove("typ")), ""),
        ("with its own type", |t| t.header["typ"] = json!("client-authentication+jwt"), ""),
        (
            "with fractions of seconds",
            |t| t.claims["exp"] = json!(t.claims["exp"].as_f64().unwrap() + 0.5),
            "",
        ),
        ("without iat", |t| drop(t.claims.as_object_mut().unwrap().remove("iat")), ""),
        ("with nbf", |t| t.claims["nbf"] = t.claims["iat"].clone(), ""),
        (
            "an hour ahead, issued now",
            |t| t.claims["exp"] = json!(t.claims["iat"].as_i64().unwrap() + 3600),
            "",
        ),
        (
            "within the clocks' leeway",
            |t| t.claims["iat"] = json!(t.claims["iat"].as_i64().unwrap() + 20),
            "",
        ),
        ("with further claims", |t| t.claims["purpose"] = json!({"a": [1, 2]}), ""),
    ];
    for (what, change, _) in straight {
        let mut varied = draft(&app, &keys, &agent);
        change(&mut varied);
        assert!(app.is_let_in(&varied).await, "{what}");
    }
    // The only key of its kind needs no name.
    let alone = app.agent_with(&json!({"keys": {"jwks": {"keys": [keys.signer.jwk()]}}})).await;
    let mut unnamed = draft(&app, &keys, &alone);
    unnamed.header.as_object_mut().unwrap().remove("kid");
    assert!(app.is_let_in(&unnamed).await);
    app.stops().await;
}

#[actix_web::test]
async fn an_assertion_is_one_agents_own_and_works_at_every_endpoint() {
    let app = TestApp::start().await;
    let keys = Keys::of("ES256");
    let (agent, other) = (app.agent_with(&keys.ways()).await, app.agent_with(&keys.ways()).await);
    let mut as_other = draft(&app, &keys, &agent);
    as_other.client_id = Some(other.clone());
    assert!(!app.is_let_in(&as_other).await, "another agent's id beside it");
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let token = draft(&app, &keys, &agent).token();
        assert_eq!(app.shows_at(path, Some(&agent), &token).await.status, 200, "{path}");
    }
    let token = draft(&app, &keys, &agent).token();
    let answer = app.shows_at("/oauth2/token", Some(&agent), &token).await;
    assert_eq!(answer.refusal(), refused(400, "invalid_request"), "in, and then no grant_type");

    // Two proofs at once, or half of one.
    let token = draft(&app, &keys, &agent).token();
    let kind = crate::stage::ASSERTION_TYPE;
    let whole = [("client_assertion_type", kind), ("client_assertion", token.as_str()), ("token", "x")];
    for fields in [
        [&whole[..], &[("client_secret", "vks_x"), ("client_id", agent.as_str())][..]].concat(),
        whole[..1].to_vec(),
        whole[1..].to_vec(),
        [
            &whole[1..],
            &[("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer")][..],
        ]
        .concat(),
    ] {
        let answer = app.form("/oauth2/introspect", &fields).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_request"), "{fields:?}");
    }

    // A suspended agent is told so with the right proof only.
    app.admin_does(&format!("/agents/{agent}/suspend"), &Value::Null).await;
    let right = app.shows(&draft(&app, &keys, &agent)).await;
    assert_eq!(right.refusal(), refused(400, "unauthorized_client"));
    let mut wrong = draft(&app, &keys, &agent);
    wrong.signing = crate::draft::Signing::Stranger;
    assert!(!app.is_let_in(&wrong).await);
    app.admin_does(&format!("/agents/{agent}/retire"), &Value::Null).await;
    assert!(!app.is_let_in(&draft(&app, &keys, &agent)).await, "a retired agent has no keys any more");
    app.stops().await;
}

#[actix_web::test]
async fn the_metadata_lists_what_is_accepted() {
    let app = TestApp::start().await;
    let answer = app.traffic.send("GET", &app.at("/.well-known/oauth-authorization-server"), &[], b"").await;
    let metadata = answer.json();
    for endpoint in ["token", "introspection", "revocation"] {
        let methods = &metadata[format!("{endpoint}_endpoint_auth_methods_supported")];
        assert!(methods.as_array().unwrap().contains(&json!("private_key_jwt")), "{endpoint}");
        // Plain HTTP on loopback has no certificates.
        assert!(!methods.as_array().unwrap().contains(&json!("tls_client_auth")), "{endpoint}");
        let algorithms = metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")].clone();
        let algorithms: Vec<String> = serde_json::from_value(algorithms).unwrap();
        assert!(ALGORITHMS.iter().all(|alg| algorithms.iter().any(|listed| listed == alg)), "{algorithms:?}");
        assert!(!algorithms.iter().any(|alg| alg == "none" || alg.starts_with("HS")), "{algorithms:?}");
    }
    app.stops().await;
}
