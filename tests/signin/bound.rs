//! Tokens that are bound to a client certificate (RFC 8705, section 3): got over a connection with it, they work
//! over a connection with it and nowhere else.

use serde_json::{Value, json};
use valetkey::app::demo::people::ALICE;
use valetkey::kernel::encode::{base64url, from_base64url};
use valetkey::tokens::{GRANT_CIBA, GRANT_CLIENT, GRANT_EXCHANGE, TYPE_ACCESS, TYPE_GATEWAY, TYPE_USER};

use crate::app::{Ask, Credentials, TestApp};
use crate::certificates::{
    Held, Secured, authority, behind_a_proxy, forwarded, issued, of_agent, self_signed, thumbprint,
};
use crate::draft::{Draft, Signer, fresh};
use crate::wire::{Answer, refused};

const PEOPLE: &str = "https://people.example.com";
const ME: &str = "okta/mgmt/api/v1/users/me";
const MINE: &str = "okta.users.read.self";

/// What Alice's personal agent asks for at a provider, with nothing but its certificate to say who it is.
fn for_alice<'a>(agent: &'a Credentials, audience: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("client_id", &agent.id),
        ("grant_type", GRANT_EXCHANGE),
        ("subject_token", ALICE),
        ("subject_token_type", TYPE_USER),
        ("audience", audience),
    ]
}

impl Secured {
    async fn asks(&self, held: &Held, fields: &[(&str, &str)]) -> Answer {
        self.form(Some(held), "/oauth2/token", fields).await.unwrap()
    }

    async fn calls(&self, held: Option<&Held>, authorization: &str, proof: Option<&str>) -> Option<Answer> {
        let mut headers = vec![("Authorization", authorization)];
        headers.extend(proof.map(|proof| ("DPoP", proof)));
        self.send(held, ("GET", &format!("/gateway/{ME}")), &headers, "").await
    }
}

impl TestApp {
    /// The agent signs in with those certificates from now on, as well as with its secret.
    async fn knows(&self, agent: &Credentials, certificates: &[&Held]) {
        let thumbprints: Vec<String> = certificates.iter().map(|held| thumbprint(held)).collect();
        let ways = json!({"certificates": {"self_signed": {"thumbprints": thumbprints}}});
        let answer = self.states_sign_in(&agent.id, &ways).await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
    }

    async fn demands_bound_tokens_of(&self, agent: &Credentials) {
        let path = format!("/agents/{}", agent.id);
        let changed = self.admin("PATCH", &path, &json!({"sender_constrained": true})).await;
        assert_eq!(changed.status, 200, "{}", changed.body_text());
    }

    /// A proof of possession of a key (RFC 9449), for a token or for a call with one.
    fn proof(&self, key: &Signer, method: &str, path: &str, token: Option<&str>) -> String {
        let mut claims = json!({
            "jti": fresh(), "htm": method, "htu": self.at(path).as_str(), "iat": self.now(),
            "nonce": self.demo.services.tokens.proofs.nonce(),
        });
        if let Some(token) = token {
            claims["ath"] = json!(sha256(token));
        }
        let mut draft = Draft::new(key, claims, "nobody");
        draft.header = json!({"typ": "dpop+jwt", "alg": key.alg, "jwk": bare(&key.jwk())});
        draft.token()
    }
}

fn sha256(text: &str) -> String {
    base64url(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
}

/// The members that make the key, and no others.
fn bare(jwk: &Value) -> Value {
    let members =
        ["crv", "kty", "x", "y"].into_iter().filter_map(|name| Some((name, jwk.get(name)?.clone())));
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&from_base64url(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[actix_web::test]
async fn a_token_got_with_a_certificate_works_with_that_certificate_and_no_other() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", MINE).await;
    let secured = Secured::start(&app).await;
    let (held, successor) = (self_signed(&of_agent()), self_signed(&of_agent()));
    app.knows(&app.personal, &[&held, &successor]).await;

    let answer = secured.asks(&held, &for_alice(&app.personal, "provider:okta")).await;
    assert_eq!(
        (answer.status, answer.text("token_type")),
        (200, "Bearer".to_owned()),
        "{}",
        answer.body_text()
    );
    let token = answer.token();
    let told = app.introspects(&app.personal, &token).await;
    assert_eq!(
        (&told["active"], &told["token_type"], &told["cnf"]),
        (&json!(true), &json!("Bearer"), &json!({"x5t#S256": thumbprint(&held)}))
    );

    let before = app.data_calls_at("okta").await.len();
    let called = secured.calls(Some(&held), &bearer(&token), None).await.unwrap();
    assert_eq!(called.status, 200, "{}", called.body_text());
    let key = Signer::new("ES256", "k");
    let proof = app.proof(&key, "GET", &format!("/gateway/{ME}"), Some(&token));
    let by_proof = format!("DPoP {token}");
    let stranger = self_signed(&of_agent());
    for (what, with, authorization, proof) in [
        ("no certificate", None, bearer(&token), None),
        ("the agent's own next certificate", Some(&successor), bearer(&token), None),
        ("somebody else's", Some(&stranger), bearer(&token), None),
        ("a proof in its place", None, by_proof.clone(), Some(proof.as_str())),
        ("a proof beside no certificate", None, bearer(&token), Some(proof.as_str())),
        (
            "the certificate, and a proof of a key that it is not bound to",
            Some(&held),
            by_proof,
            Some(&proof),
        ),
    ] {
        let answer = secured.calls(with, &authorization, proof).await.unwrap();
        assert_eq!(answer.refusal(), refused(401, "invalid_token"), "{what}: {}", answer.body_text());
    }
    assert_eq!(app.calls(&token, "GET", ME).await.refusal(), refused(401, "invalid_token"), "without TLS");
    let stolen = Held { chain: held.chain.clone(), key: successor.key.clone() };
    assert!(
        secured.calls(Some(&stolen), &bearer(&token), None).await.is_none(),
        "the certificate without its key"
    );
    assert_eq!(app.data_calls_at("okta").await.len(), before + 1, "a refused call reached the provider");

    // The next certificate is as good for the next token, and the secret binds to nothing.
    let next = secured.asks(&successor, &for_alice(&app.personal, "provider:okta")).await.token();
    assert_eq!(secured.calls(Some(&successor), &bearer(&next), None).await.unwrap().status, 200);
    let free = app.agent_asks(&Ask::at("okta")).await.token();
    assert_eq!(app.introspects(&app.personal, &free).await.get("cnf"), None);
    app.stops().await;
}

#[actix_web::test]
async fn a_collected_token_is_bound_to_the_certificate_that_collects_it() {
    let mut app = TestApp::start().await;
    let secured = Secured::start(&app).await;
    let ours = authority("Agents CA");
    let source = app.trusts(&json!({"name": "agents", "ca_pem": ours.pem()})).await;
    let ways = json!({"certificates": {"issued": {
        "authority": source, "name": {"san_uri": "spiffe://example.org/agents/mail"}}}});
    assert_eq!(app.states_sign_in(&app.personal.id, &ways).await.status, 200);
    // Short-lived certificates with the same name: one has asked, the next one collects.
    let (asking, collecting) = (issued(&ours, &of_agent()), issued(&ours, &of_agent()));
    let mut question = for_alice(&app.personal, "provider:okta");
    question.push(("scope", MINE));
    let question = secured.asks(&asking, &question).await;
    assert_eq!(question.refusal(), refused(400, "interaction_required"));
    app.alice_agrees_to(&question, &[MINE]).await;
    let handle = question.text("auth_req_id");
    let poll =
        [("client_id", app.personal.id.as_str()), ("grant_type", GRANT_CIBA), ("auth_req_id", &handle)];
    let token = secured.asks(&collecting, &poll).await.token();
    assert_eq!(
        app.introspects(&app.personal, &token).await["cnf"],
        json!({"x5t#S256": thumbprint(&collecting)})
    );
    assert_eq!(secured.calls(Some(&collecting), &bearer(&token), None).await.unwrap().status, 200);
    assert_eq!(secured.calls(Some(&asking), &bearer(&token), None).await.unwrap().status, 401);
    app.stops().await;
}

#[actix_web::test]
async fn a_token_may_be_bound_to_a_key_as_well_and_then_needs_both() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", MINE).await;
    let secured = Secured::start(&app).await;
    let held = self_signed(&of_agent());
    app.knows(&app.personal, &[&held]).await;
    let key = Signer::new("EdDSA", "k");
    let proof = app.proof(&key, "POST", "/oauth2/token", None);
    let fields: Vec<(String, String)> = for_alice(&app.personal, "provider:okta")
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("DPoP", proof.as_str())];
    let body = crate::browser::encoded(&fields);
    let answer = secured.send(Some(&held), ("POST", "/oauth2/token"), &headers, &body).await.unwrap();
    assert_eq!(answer.text("token_type"), "DPoP", "{}", answer.body_text());
    let token = answer.token();
    let cnf = app.introspects(&app.personal, &token).await["cnf"].clone();
    assert_eq!(cnf["x5t#S256"], json!(thumbprint(&held)));
    assert!(cnf["jkt"].is_string());
    let proof = || app.proof(&key, "GET", &format!("/gateway/{ME}"), Some(&token));
    let by_proof = format!("DPoP {token}");
    assert_eq!(secured.calls(Some(&held), &by_proof, Some(&proof())).await.unwrap().status, 200);
    assert_eq!(secured.calls(None, &by_proof, Some(&proof())).await.unwrap().status, 401, "the key alone");
    assert_eq!(
        secured.calls(Some(&held), &bearer(&token), None).await.unwrap().status,
        401,
        "the certificate alone"
    );
    app.stops().await;
}

#[actix_web::test]
async fn an_agent_whose_tokens_must_be_bound_gets_them_with_any_certificate_and_none_without() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", MINE).await;
    let secured = Secured::start(&app).await;
    let loose = app.agent_asks(&Ask::at("okta")).await.token();
    assert_eq!(app.calls(&loose, "GET", ME).await.status, 200);
    app.demands_bound_tokens_of(&app.personal).await;
    assert_eq!(app.calls(&loose, "GET", ME).await.status, 401, "what it has ends");

    // It signs in with its secret; what it gets is bound to whatever certificate the connection has.
    let mesh = self_signed(&of_agent());
    let secret = app.personal.secret.clone();
    let asks = async |held: Option<&Held>, requested: &str| {
        let mut fields = for_alice(&app.personal, "provider:okta");
        fields.extend([("client_secret", secret.as_str()), ("requested_token_type", requested)]);
        secured.form(held, "/oauth2/token", &fields).await.unwrap()
    };
    for requested in [TYPE_GATEWAY, TYPE_ACCESS] {
        let answer = asks(None, requested).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_dpop_proof"), "{}", answer.body_text());
        let answer = asks(Some(&mesh), requested).await;
        // A provider's own token cannot be bound.
        assert_eq!(answer.text("issued_token_type"), TYPE_GATEWAY, "{}", answer.body_text());
        let token = answer.token();
        let cnf = &app.introspects(&app.personal, &token).await["cnf"];
        assert_eq!(*cnf, json!({"x5t#S256": thumbprint(&mesh)}));
        assert_eq!(secured.calls(Some(&mesh), &bearer(&token), None).await.unwrap().status, 200);
        assert_eq!(secured.calls(None, &bearer(&token), None).await.unwrap().status, 401);
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_back_ends_token_says_which_certificate_it_wants() {
    let app = TestApp::start().await;
    let secured = Secured::start(&app).await;
    let held = self_signed(&of_agent());
    app.knows(&app.autonomous, &[&held]).await;
    app.demands_bound_tokens_of(&app.autonomous).await;
    let terms = json!({
        "identifier": "https://ledger.example.com", "name": "Ledger", "purpose": "Invoices",
        "scopes": "invoice.read", "algorithm": "ES256",
        "admissions": [{"agents": [app.autonomous.id], "for": "itself", "scopes": ["invoice.read"]}],
    });
    let made = app.admin_does("/audiences", &terms).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let ledger = Credentials { id: text("id"), secret: text("client_secret") };
    let as_itself = |audience: &'static str| {
        [
            ("client_id", app.autonomous.id.clone()),
            ("grant_type", GRANT_CLIENT.to_owned()),
            ("audience", audience.to_owned()),
        ]
    };
    let asks = async |held: Option<&Held>, audience: &'static str| {
        let mut fields = as_itself(audience).to_vec();
        if held.is_none() {
            fields.push(("client_secret", app.autonomous.secret.clone()));
        }
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        secured.form(held, "/oauth2/token", &fields).await.unwrap()
    };
    let cnf = json!({"x5t#S256": thumbprint(&held)});
    let answer = asks(Some(&held), "https://ledger.example.com").await;
    assert_eq!(
        (answer.status, answer.text("token_type")),
        (200, "Bearer".to_owned()),
        "{}",
        answer.body_text()
    );
    let token = answer.text("access_token");
    assert_eq!(claims_of(&token)["cnf"], cnf);
    for asking in [&ledger, &app.autonomous] {
        // The agent itself signs in with its secret here: who asks about a token need not hold it.
        let told = app.introspects(asking, &token).await;
        assert_eq!(
            (&told["active"], &told["token_type"], &told["cnf"]),
            (&json!(true), &json!("Bearer"), &cnf)
        );
    }
    for audience in ["https://ledger.example.com", PEOPLE] {
        let answer = asks(None, audience).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_dpop_proof"), "{}", answer.body_text());
    }

    // A service that has no TLS of its own cannot tell who holds the certificate, and takes nobody's word for it.
    let token = asks(Some(&held), PEOPLE).await.text("access_token");
    let url = url::Url::parse(&app.demo.backend).unwrap().join("/headcount").unwrap();
    let shown = app.traffic.send("GET", &url, &[("Authorization", &bearer(&token))], b"").await;
    assert_eq!(shown.refusal(), refused(401, "invalid_token"), "{}", shown.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn a_sub_agent_needs_something_of_its_own_to_use_a_bound_token() {
    let app = TestApp::start().await;
    let secured = Secured::start(&app).await;
    let (parents, subs) = (self_signed(&of_agent()), self_signed(&of_agent()));
    app.knows(&app.assistant, &[&parents]).await;
    app.knows(&app.personal, &[&subs]).await;
    let (issuer, id_token) = (app.issuer(), app.id_token_of(ALICE));
    let sent = secured
        .asks(
            &parents,
            &[
                ("client_id", &app.assistant.id),
                ("grant_type", GRANT_EXCHANGE),
                ("subject_token", &id_token),
                ("subject_token_type", valetkey::tokens::TYPE_ID_TOKEN),
                ("audience", &issuer),
                ("scope", "leave.read"),
                ("may_act", &app.personal.id),
            ],
        )
        .await
        .text("access_token");
    assert_eq!(claims_of(&sent)["cnf"], json!({"x5t#S256": thumbprint(&parents)}));
    let used = [
        ("grant_type", GRANT_EXCHANGE),
        ("subject_token", sent.as_str()),
        ("subject_token_type", valetkey::tokens::TYPE_JWT),
        ("audience", PEOPLE),
    ];
    let mut with_its_secret = used.to_vec();
    with_its_secret
        .extend([("client_id", app.personal.id.as_str()), ("client_secret", &app.personal.secret)]);
    let answer = app.form("/oauth2/token", &with_its_secret).await;
    assert_eq!(answer.refusal(), refused(400, "invalid_dpop_proof"), "{}", answer.body_text());
    let mut with_its_own = used.to_vec();
    with_its_own.push(("client_id", &app.personal.id));
    let token = secured.asks(&subs, &with_its_own).await.text("access_token");
    let claims = claims_of(&token);
    assert_eq!(claims["cnf"], json!({"x5t#S256": thumbprint(&subs)}));
    assert_eq!(claims["act"]["act"]["sub"], json!(app.assistant.id));
    app.stops().await;
}

#[actix_web::test]
async fn behind_a_proxy_the_forwarded_certificate_is_what_counts() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", MINE).await;
    let (held, other) = (self_signed(&of_agent()), self_signed(&of_agent()));
    app.knows(&app.personal, &[&held]).await;
    let (listed, unlisted) =
        (behind_a_proxy(&app, Some("127.0.0.1/32")).await, behind_a_proxy(&app, Some("10.0.0.1/32")).await);
    let fields: Vec<(String, String)> = for_alice(&app.personal, "provider:okta")
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let headers =
        [("Content-Type", "application/x-www-form-urlencoded"), ("Client-Cert", &*forwarded(&held))];
    let url = format!("{listed}/oauth2/token").parse().unwrap();
    let body = crate::browser::encoded(&fields);
    let token = app.traffic.send("POST", &url, &headers, body.as_bytes()).await.token();
    assert_eq!(app.introspects(&app.personal, &token).await["cnf"], json!({"x5t#S256": thumbprint(&held)}));
    for (what, proxy, certificate, status) in [
        ("its certificate", &listed, Some(&held), 200),
        ("another one", &listed, Some(&other), 401),
        ("none", &listed, None, 401),
        ("its certificate, from a proxy that is not listed", &unlisted, Some(&held), 401),
    ] {
        let url = format!("{proxy}/gateway/{ME}").parse().unwrap();
        let (authorization, shown) = (bearer(&token), certificate.map(forwarded));
        let mut headers = vec![("Authorization", authorization.as_str())];
        headers.extend(shown.as_deref().map(|text| ("Client-Cert", text)));
        let answer = app.traffic.send("GET", &url, &headers, b"").await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body_text());
    }
    app.stops().await;
}
