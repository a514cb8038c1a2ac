//! Tokens that are bound to a key (RFC 9449): nobody but its holder makes anything of them, and every part of a
//! proof counts.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;
use valetkey::app::demo::people::ALICE;
use valetkey::tokens::dpop::{Problem, Proof, Proofs, Spending, Unproven};
use valetkey::tokens::{GRANT_CIBA, GRANT_CLIENT, TYPE_GATEWAY, TYPE_JWT};

use crate::app::{Ask, TestApp};
use crate::wire::{Answer, refused};

const PEOPLE: &str = "https://people.example.com";
const ME: &str = "okta/mgmt/api/v1/users/me";

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of an agent.
pub enum HeldKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl HeldKey {
    pub fn ed25519(seed: u8) -> Self {
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    pub fn p256() -> Self {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap())
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
        }
    }

    pub fn jwk(&self) -> Value {
        match self {
            Self::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()) })
            }
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..]) })
            }
        }
    }

    /// RFC 7638: the members that make the key, in the order of their names.
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let names = ["crv", "kty", "x", "y"].into_iter().filter(|name| jwk.get(*name).is_some());
        let members: Vec<String> = names.map(|name| format!("\"{name}\":{}", jwk[name])).collect();
        base64url(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()))
    }

    fn signs(&self, text: &str) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec(),
        }
    }

    pub fn signed(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        format!("{signed}.{}", base64url(self.signs(&signed)))
    }
}

/// A proof: valid until a test bends one field.
pub struct Draft<'k> {
    key: &'k HeldKey,
    header: Value,
    claims: Value,
}

impl<'k> Draft<'k> {
    fn new(app: &TestApp, key: &'k HeldKey, method: &str, url: &str) -> Self {
        let id = base64url(app.demo.services.entropy_bytes());
        Self {
            key,
            header: json!({ "typ": "dpop+jwt", "alg": key.alg(), "jwk": key.jwk() }),
            claims: json!({
                "jti": id, "htm": method, "htu": url, "iat": app.demo.services.clock.now().secs(),
                "nonce": app.demo.services.tokens.proofs.nonce(),
            }),
        }
    }

    fn for_token(app: &TestApp, key: &'k HeldKey) -> Self {
        Self::new(app, key, "POST", app.at("/oauth2/token").as_str())
    }

    fn for_call(app: &TestApp, key: &'k HeldKey, token: &str, method: &str, url: &Url) -> Self {
        Self::new(app, key, method, url.as_str())
            .claim("ath", json!(base64url(digest(&SHA256, token.as_bytes()))))
    }

    fn claim(mut self, name: &str, value: Value) -> Self {
        match value {
            Value::Null => drop(self.claims.as_object_mut().unwrap().remove(name)),
            value => self.claims[name] = value,
        }
        self
    }

    fn header(mut self, name: &str, value: Value) -> Self {
        match value {
            Value::Null => drop(self.header.as_object_mut().unwrap().remove(name)),
            value => self.header[name] = value,
        }
        self
    }

    fn text(&self) -> String {
        self.key.signed(&self.header.to_string(), &self.claims.to_string())
    }
}

trait Randomly {
    fn entropy_bytes(&self) -> [u8; 16];
}

impl Randomly for valetkey::app::services::Services {
    fn entropy_bytes(&self) -> [u8; 16] {
        valetkey::kernel::entropy::bytes::<16>(self.entropy.as_ref())
    }
}

impl TestApp {
    /// Asks with a fresh proof of that key.
    pub async fn asks_proving(&self, key: &HeldKey, ask: &Ask) -> Answer {
        self.agent_asks_with(ask, &[("DPoP", &Draft::for_token(self, key).text())]).await
    }

    async fn calls_proving(&self, key: &HeldKey, token: &str, method: &str, path: &str) -> Answer {
        let url = self.at(&format!("/gateway/{path}"));
        self.calls_showing(token, method, path, &Draft::for_call(self, key, token, method, &url).text()).await
    }

    async fn calls_showing(&self, token: &str, method: &str, path: &str, proof: &str) -> Answer {
        let shown = format!("DPoP {token}");
        let headers = [("Authorization", shown.as_str()), ("DPoP", proof)];
        self.traffic.send(method, &self.at(&format!("/gateway/{path}")), &headers, b"").await
    }

    async fn back_end_answers(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let url = Url::parse(&self.demo.backend).unwrap().join(path).unwrap();
        self.traffic.send("GET", &url, headers, b"").await
    }
}

/// The autonomous agent asks for a token of the people service, as itself.
fn itself(app: &TestApp) -> Ask {
    Ask::at("entra")
        .with("grant_type", GRANT_CLIENT)
        .with("audience", PEOPLE)
        .without("subject_token")
        .without("subject_token_type")
        .by(&app.autonomous)
}

fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[actix_web::test]
async fn a_gateway_token_works_for_the_holder_of_its_key_and_for_nobody_else() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", "okta.users.read.self").await;
    for key in [HeldKey::ed25519(7), HeldKey::p256()] {
        // The nonce comes by being refused for the lack of one.
        let bare = Draft::for_token(&app, &key).claim("nonce", Value::Null).text();
        let refusal = app.agent_asks_with(&Ask::at("okta"), &[("DPoP", &bare)]).await;
        assert_eq!(refusal.refusal(), refused(400, "use_dpop_nonce"));
        let nonce = refusal.header("dpop-nonce").unwrap().to_owned();
        let proof = Draft::for_token(&app, &key).claim("nonce", json!(nonce)).text();
        let answer = app.agent_asks_with(&Ask::at("okta"), &[("DPoP", &proof)]).await;
        assert_eq!(
            (answer.status, answer.text("token_type")),
            (200, "DPoP".to_owned()),
            "{}",
            answer.body_text()
        );
        assert!(answer.header("dpop-nonce").is_some());
        let token = answer.token();
        let told = app.introspects(&app.personal, &token).await;
        assert_eq!(
            (&told["token_type"], &told["cnf"]),
            (&json!("DPoP"), &json!({ "jkt": key.thumbprint() }))
        );

        let called = app.calls_proving(&key, &token, "GET", ME).await;
        assert_eq!(called.status, 200, "{}", called.body_text());
        assert!(called.header("dpop-nonce").is_some());
        let stolen = app.calls(&token, "GET", ME).await;
        assert_eq!(stolen.refusal(), refused(401, "invalid_token"));
        let challenge = stolen.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("DPoP ") && challenge.contains("algs=\"") && challenge.contains("ES256")
        );
        let other = app.calls_proving(&HeldKey::ed25519(8), &token, "GET", ME).await;
        assert_eq!(other.refusal(), refused(401, "invalid_dpop_proof"));
        let (url, shown) = (app.at(&format!("/gateway/{ME}")), format!("DPoP {token}"));
        let no_proof = app.traffic.send("GET", &url, &[("Authorization", &shown)], b"").await;
        assert_eq!(no_proof.refusal(), refused(401, "invalid_dpop_proof"));
    }
    // A token that is bound to nothing is not made better by a proof.
    let free = app.agent_asks(&Ask::at("okta")).await;
    assert_eq!(free.text("token_type"), "Bearer");
    let called = app.calls_proving(&HeldKey::p256(), &free.token(), "GET", ME).await;
    assert_eq!(called.refusal(), refused(401, "invalid_token"));
    assert_eq!(app.calls(&free.token(), "GET", ME).await.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn every_part_of_a_proof_for_a_token_counts() {
    let app = TestApp::start().await;
    let (key, other) = (HeldKey::p256(), HeldKey::ed25519(1));
    let good = || Draft::for_token(&app, &key);
    let now = app.demo.services.clock.now().secs();
    let private = |name: &str| {
        let mut jwk = key.jwk();
        jwk[name] = json!("AAAA");
        jwk
    };
    let of_key = |name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        jwk
    };
    let address = app.at("/oauth2/token").to_string();
    let bad: Vec<(&str, Draft<'_>)> = vec![
        ("typ JWT", good().header("typ", json!("JWT"))),
        ("no typ", good().header("typ", Value::Null)),
        ("typ in capitals", good().header("typ", json!("DPOP+JWT"))),
        ("alg none", good().header("alg", json!("none"))),
        ("alg HS256", good().header("alg", json!("HS256"))),
        ("no alg", good().header("alg", Value::Null)),
        ("alg of another key type", good().header("alg", json!("EdDSA"))),
        ("alg of another hash", good().header("alg", json!("ES384"))),
        ("RSA alg", good().header("alg", json!("RS256"))),
        ("no jwk", good().header("jwk", Value::Null)),
        ("jwk is a text", good().header("jwk", json!("key"))),
        ("private key", good().header("jwk", private("d"))),
        ("shared key", good().header("jwk", private("k"))),
        ("part of a private key", good().header("jwk", private("dp"))),
        ("another key", good().header("jwk", other.jwk()).header("alg", json!("EdDSA"))),
        ("off the curve", good().header("jwk", of_key("y", json!(base64url([1; 32]))))),
        ("for encryption", good().header("jwk", of_key("use", json!("enc")))),
        ("jwk of another alg", good().header("jwk", of_key("alg", json!("ES384")))),
        ("crit", good().header("crit", json!(["exp"]))),
        ("jku", good().header("jku", json!("https://evil.example.com/keys"))),
        ("no jti", good().claim("jti", Value::Null)),
        ("empty jti", good().claim("jti", json!(""))),
        ("long jti", good().claim("jti", json!("j".repeat(257)))),
        ("jti is a number", good().claim("jti", json!(5))),
        ("no htm", good().claim("htm", Value::Null)),
        ("GET", good().claim("htm", json!("GET"))),
        ("post", good().claim("htm", json!("post"))),
        ("no htu", good().claim("htu", Value::Null)),
        ("another path", good().claim("htu", json!(app.at("/oauth2/introspect")))),
        ("one slash more", good().claim("htu", json!(format!("{address}/")))),
        ("another host", good().claim("htu", json!("https://evil.example.com/oauth2/token"))),
        ("another scheme", good().claim("htu", json!(address.replace("http:", "https:")))),
        ("a query", good().claim("htu", json!(format!("{address}?a=1")))),
        ("a fragment", good().claim("htu", json!(format!("{address}#a")))),
        ("a user", good().claim("htu", json!(address.replace("//", "//a@")))),
        ("a path only", good().claim("htu", json!("/oauth2/token"))),
        ("no iat", good().claim("iat", Value::Null)),
        ("iat is a text", good().claim("iat", json!(now.to_string()))),
        ("old", good().claim("iat", json!(now - 130))),
        ("from the future", good().claim("iat", json!(now + 70))),
        ("iat out of range", good().claim("iat", json!(1e30))),
        ("nonce is a number", good().claim("nonce", json!(5))),
    ];
    for (what, draft) in &bad {
        let answer = app.agent_asks_with(&itself(&app), &[("DPoP", &draft.text())]).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_dpop_proof"), "{what}: {}", answer.body_text());
        assert!(answer.header("dpop-nonce").is_some(), "{what}");
    }
    let (header, claims) = (good().header.to_string(), good().claims.to_string());
    let doubled = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let whole = good().text();
    for (what, text) in [
        ("a member twice in the header", key.signed(&doubled(&header, r#""typ":"dpop+jwt""#), &claims)),
        ("a member twice in the claims", key.signed(&header, &doubled(&claims, r#""htm":"POST""#))),
        ("another's signature", format!("{}.{}", whole.rsplit_once('.').unwrap().0, base64url([7; 64]))),
        ("no signature", format!("{}.", whole.rsplit_once('.').unwrap().0)),
        ("too long", good().claim("pad", json!("x".repeat(4000))).text()),
        ("two parts", "a.b".to_owned()),
        ("padding", format!("{whole}=")),
        ("two in one", format!("{whole},{}", good().text())),
    ] {
        let answer = app.agent_asks_with(&itself(&app), &[("DPoP", &text)]).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_dpop_proof"), "{what}: {}", answer.body_text());
    }
    let twice = [("DPoP", &*good().text()), ("DPoP", &*good().text())];
    assert_eq!(
        app.agent_asks_with(&itself(&app), &twice).await.refusal(),
        refused(400, "invalid_dpop_proof")
    );
    let mut old_nonce = good().claims["nonce"].as_str().unwrap().to_owned();
    app.pass(125);
    for nonce in [json!("x"), json!(""), json!(old_nonce), json!(base64url([0; 24])), Value::Null] {
        let proof = good().claim("nonce", nonce.clone()).text();
        let answer = app.agent_asks_with(&itself(&app), &[("DPoP", &proof)]).await;
        assert_eq!(answer.refusal(), refused(400, "use_dpop_nonce"), "{nonce}");
        old_nonce = answer.header("dpop-nonce").unwrap().to_owned();
    }
    // What is well made passes, once.
    for fine in [
        good().claim("nonce", json!(old_nonce)),
        good().claim("htu", json!(address.replace("http://", "HTTP://"))),
        good().claim("ath", json!("of no token")),
        good().header("kid", json!("one")),
        Draft::for_token(&app, &other).header("alg", json!("Ed25519")),
    ] {
        let proof = fine.text();
        let answer = app.agent_asks_with(&itself(&app), &[("DPoP", &proof)]).await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
        let again = app.agent_asks_with(&itself(&app), &[("DPoP", &proof)]).await;
        assert_eq!(again.refusal(), refused(400, "invalid_dpop_proof"), "{}", again.body_text());
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_proof_is_for_one_call_with_one_token() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", "okta.users.read.self").await;
    let key = HeldKey::p256();
    let token = app.asks_proving(&key, &Ask::at("okta")).await.token();
    let second = app.asks_proving(&key, &Ask::at("okta")).await.token();
    let url = app.at(&format!("/gateway/{ME}"));
    let good = || Draft::for_call(&app, &key, &token, "GET", &url);
    let now = app.demo.services.clock.now().secs();
    let ath_of = |text: &str| json!(base64url(digest(&SHA256, text.as_bytes())));
    for (what, draft) in [
        ("no ath", good().claim("ath", Value::Null)),
        ("ath of another token", good().claim("ath", ath_of(&second))),
        ("ath is the token", good().claim("ath", json!(token))),
        ("another method", good().claim("htm", json!("POST"))),
        ("another path", good().claim("htu", json!(app.at("/gateway/okta/mgmt/api/v1/users")))),
        ("the token endpoint", good().claim("htu", json!(app.at("/oauth2/token")))),
        ("a query", good().claim("htu", json!(format!("{url}?limit=1")))),
        ("old", good().claim("iat", json!(now - 130))),
        ("not a proof", good().header("typ", json!("at+jwt"))),
    ] {
        let answer = app.calls_showing(&token, "GET", ME, &draft.text()).await;
        assert_eq!(answer.refusal(), refused(401, "invalid_dpop_proof"), "{what}: {}", answer.body_text());
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("DPoP ") && challenge.contains("error=\"invalid_dpop_proof\""),
            "{challenge}"
        );
    }
    let no_nonce = app.calls_showing(&token, "GET", ME, &good().claim("nonce", Value::Null).text()).await;
    assert_eq!(no_nonce.refusal(), refused(401, "use_dpop_nonce"));
    assert!(no_nonce.header("www-authenticate").unwrap().contains("error=\"use_dpop_nonce\""));
    let nonce = no_nonce.header("dpop-nonce").unwrap().to_owned();
    let before = app.data_calls_at("okta").await.len();
    // The query does not count in htu; the call's own may have one.
    let proof = good().claim("nonce", json!(nonce)).text();
    assert_eq!(app.calls_showing(&token, "GET", ME, &proof).await.status, 200);
    assert_eq!(
        app.calls_showing(&token, "GET", ME, &proof).await.refusal(),
        refused(401, "invalid_dpop_proof")
    );
    assert_eq!(
        app.data_calls_at("okta").await.len(),
        before + 1,
        "a proof that was used again reached the provider"
    );
    app.stops().await;
}

#[actix_web::test]
async fn polling_binds_and_a_providers_own_token_never_leaves_in_place_of_a_bound_one() {
    let mut app = TestApp::start().await;
    let key = HeldKey::ed25519(3);
    let question = app.agent_asks(&Ask::at("lark").scope("space:document:retrieve")).await;
    app.alice_agrees_to(&question, &["space:document:retrieve"]).await;
    let poll = Ask::at("lark")
        .with("grant_type", GRANT_CIBA)
        .with("auth_req_id", &question.text("auth_req_id"))
        .without("audience");
    let bound = app.asks_proving(&key, &poll).await;
    assert_eq!((bound.status, bound.text("token_type")), (200, "DPoP".to_owned()), "{}", bound.body_text());
    assert_eq!(app.introspects(&app.personal, &bound.token()).await["cnf"]["jkt"], json!(key.thumbprint()));
    let ask = Ask::at("lark").for_a_provider_token();
    assert_ne!(app.agent_asks(&ask).await.text("issued_token_type"), TYPE_GATEWAY, "it may leave unbound");
    let bound = app.asks_proving(&key, &ask).await;
    assert_eq!(
        (bound.text("issued_token_type"), bound.text("token_type")),
        (TYPE_GATEWAY.to_owned(), "DPoP".to_owned())
    );
    app.stops().await;
}

#[actix_web::test]
async fn a_back_end_wants_the_same_key_and_a_sub_agents_token_is_bound_as_well() {
    let app = TestApp::start().await;
    let key = HeldKey::p256();
    let ask = Ask::at("entra").with("audience", PEOPLE);
    let answer = app.asks_proving(&key, &ask).await;
    assert_eq!(
        (answer.status, answer.text("token_type")),
        (200, "DPoP".to_owned()),
        "{}",
        answer.body_text()
    );
    let token = answer.text("access_token");
    assert_eq!(claims_of(&token)["cnf"], json!({ "jkt": key.thumbprint() }));
    let told = app.introspects(&app.personal, &token).await;
    assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("DPoP")));
    let url = Url::parse(&app.demo.backend).unwrap().join("/leave").unwrap();
    let proof = |key: &HeldKey| Draft::for_call(&app, key, &token, "GET", &url).text();
    let (mine, others) = (proof(&key), proof(&HeldKey::ed25519(2)));
    let (bearer, dpop) = (format!("Bearer {token}"), format!("DPoP {token}"));
    for (headers, status) in [
        (vec![("Authorization", bearer.as_str())], 401),
        (vec![("Authorization", &bearer), ("DPoP", &mine)], 401),
        (vec![("Authorization", &dpop)], 401),
        (vec![("Authorization", &dpop), ("DPoP", &others)], 401),
        (vec![("Authorization", &dpop), ("DPoP", &mine)], 200),
        (vec![("Authorization", &dpop), ("DPoP", &mine)], 401),
    ] {
        let answer = app.back_end_answers("/leave", &headers).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body_text());
    }
    // A sub-agent has a key of its own; without one it gets nothing out of a bound token.
    let issuer = app.demo.issuer.as_str().trim_end_matches('/').to_owned();
    let send = Ask::at("entra")
        .by(&app.assistant)
        .showing(&app.id_token_of(ALICE))
        .with("audience", &issuer)
        .scope("leave.read")
        .with("may_act", &app.personal.id);
    let sent = app.asks_proving(&key, &send).await.text("access_token");
    let used = ask.with("subject_token", &sent).with("subject_token_type", TYPE_JWT);
    assert_eq!(app.agent_asks(&used).await.refusal(), refused(400, "invalid_dpop_proof"));
    let its_own = HeldKey::ed25519(9);
    let token = app.asks_proving(&its_own, &used).await.text("access_token");
    assert_eq!(claims_of(&token)["cnf"], json!({ "jkt": its_own.thumbprint() }));
    app.stops().await;
}

#[actix_web::test]
async fn an_agent_whose_tokens_must_be_bound_gets_no_others_and_those_it_has_end() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", "okta.users.read.self").await;
    let key = HeldKey::ed25519(5);
    let (loose, jwt) = (
        app.agent_asks(&Ask::at("okta")).await.token(),
        app.agent_asks(&Ask::at("okta").with("audience", PEOPLE)).await.text("access_token"),
    );
    let path = format!("/agents/{}", app.personal.id);
    let changed = app.admin("PATCH", &path, &json!({ "sender_constrained": true })).await;
    assert_eq!((changed.status, &changed.json()["sender_constrained"]), (200, &json!(true)));
    for ask in
        [Ask::at("okta"), Ask::at("okta").for_a_provider_token(), Ask::at("okta").with("audience", PEOPLE)]
    {
        let answer = app.agent_asks(&ask).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_dpop_proof"), "{ask:?}");
        assert!(answer.header("dpop-nonce").is_some());
        let bound = app.asks_proving(&key, &ask).await;
        assert_eq!(
            (bound.status, bound.text("token_type")),
            (200, "DPoP".to_owned()),
            "{}",
            bound.body_text()
        );
    }
    assert_eq!(app.calls(&loose, "GET", ME).await.refusal(), refused(401, "invalid_token"));
    assert_eq!(app.introspects(&app.personal, &jwt).await, json!({ "active": false }));
    app.stops().await;
}

#[actix_web::test]
async fn a_proof_that_was_used_is_used_on_every_node_and_after_a_restart() {
    let app = TestApp::start().await;
    let services = &app.demo.services;
    let key = HeldKey::p256();
    let node = || Proofs::new(services.store.clone(), services.vault.clone(), services.clock.clone());
    let parsed = |text: &str| Proof::parse(text).unwrap();
    let (here, there) = (node(), node());
    let text = Draft::for_token(&app, &key).text();
    assert!(here.spend(parsed(&text), Spending::Everywhere).await.is_ok());
    for node in [&here, &there, &node()] {
        let again = node.spend(parsed(&text), Spending::Everywhere).await;
        assert!(matches!(again, Err(Unproven::Bad(Problem::Used))), "{again:?}");
    }
    // What only reads is remembered by each node for itself, and a node that has forgotten takes no old nonce.
    let text = Draft::for_token(&app, &key).text();
    assert!(here.spend(parsed(&text), Spending::Here).await.is_ok());
    assert!(matches!(here.spend(parsed(&text), Spending::Here).await, Err(Unproven::Bad(Problem::Used))));
    app.pass(1);
    let restarted = node();
    assert!(matches!(restarted.spend(parsed(&text), Spending::Here).await, Err(Unproven::Nonce)));
    let fresh = Draft::for_token(&app, &key).claim("nonce", json!(there.nonce())).text();
    assert!(restarted.spend(parsed(&fresh), Spending::Here).await.is_ok(), "another node's nonce is as good");
    app.stops().await;
}

#[actix_web::test]
async fn proofs_are_spoken_of_in_the_metadata() {
    let app = TestApp::start().await;
    let url = app.at("/.well-known/oauth-authorization-server");
    let metadata = app.traffic.send("GET", &url, &[], b"").await.json();
    let algorithms = metadata["dpop_signing_alg_values_supported"].as_array().unwrap().clone();
    assert!(algorithms.contains(&json!("ES256")) && algorithms.contains(&json!("EdDSA")));
    assert!(!algorithms.iter().any(|name| name == "none" || name.as_str().unwrap().starts_with("HS")));
    app.stops().await;
}
