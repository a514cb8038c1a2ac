//! What cannot be registered: whatever would vouch for more than one agent.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::draft::Signer;

const TENANT: &str = "11111111-2222-4333-8444-555555555555";

fn jwks() -> Value {
    json!({"jwks": {"keys": [Signer::new("ES256", "k1").jwk()]}})
}

#[actix_web::test]
async fn a_bare_issuer_or_a_default_audience_is_refused() {
    let app = TestApp::start().await;
    let ours = "https://valetkey.example.com";
    let google = "https://accounts.google.com";
    let github = "https://token.actions.githubusercontent.com";
    let entra = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let tenant = json!({"tenant": TENANT});
    // What is wrong, preset, issuer, audience, pins, and the member that the refusal names.
    type Row<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, Value, &'a str);
    let table: &[Row<'_>] = &[
        ("no such preset", "any", Some(google), ours, json!({}), "preset"),
        ("no issuer", "kubernetes", None, ours, json!({}), "issuer"),
        ("plain http", "kubernetes", Some("http://cluster.example.com"), ours, json!({}), "issuer"),
        (
            "the API server's audience",
            "kubernetes",
            Some("https://c.example.com"),
            "https://kubernetes.default.svc",
            json!({}),
            "audience",
        ),
        (
            "the cluster's own audience",
            "kubernetes",
            Some("https://c.example.com"),
            "https://c.example.com",
            json!({}),
            "audience",
        ),
        (
            "the same with a slash",
            "kubernetes",
            Some("https://c.example.com/"),
            "https://c.example.com",
            json!({}),
            "audience",
        ),
        (
            "another platform's audience",
            "kubernetes",
            Some("https://c.example.com"),
            "sts.amazonaws.com",
            json!({}),
            "audience",
        ),
        (
            "an audience with a wildcard",
            "kubernetes",
            Some("https://c.example.com"),
            "https://*",
            json!({}),
            "audience",
        ),
        ("an empty audience", "kubernetes", Some("https://c.example.com"), "", json!({}), "audience"),
        (
            "the cloud's audience",
            "aws-eks",
            Some("https://oidc.eks.eu-central-1.amazonaws.com/id/AB"),
            "sts.amazonaws.com",
            json!({}),
            "audience",
        ),
        (
            "another host",
            "aws-eks",
            Some("https://oidc.eks.eu-central-1.amazonaws.com.evil.example/id/AB"),
            ours,
            json!({}),
            "issuer",
        ),
        (
            "a path before it",
            "aws-eks",
            Some("https://evil.example/oidc.eks.a.amazonaws.com/id/AB"),
            ours,
            json!({}),
            "issuer",
        ),
        (
            "the cloud's audience",
            "alibaba-rrsa",
            Some("https://oidc-ack-cn-hangzhou.oss-cn-hangzhou.aliyuncs.com/c01"),
            "sts.aliyuncs.com",
            json!({}),
            "audience",
        ),
        (
            "another bucket",
            "alibaba-rrsa",
            Some("https://mine.oss-cn-hangzhou.aliyuncs.com/c01"),
            ours,
            json!({}),
            "issuer",
        ),
        ("no tenant", "entra-managed-identity", Some(&entra), ours, json!({}), "pins"),
        (
            "another tenant's issuer",
            "entra-managed-identity",
            Some(&entra),
            ours,
            json!({"tenant": "99999999-2222-4333-8444-555555555555"}),
            "issuer",
        ),
        (
            "all tenants",
            "entra-managed-identity",
            Some("https://login.microsoftonline.com/common/v2.0"),
            ours,
            tenant.clone(),
            "issuer",
        ),
        (
            "a tenant in capitals",
            "entra-managed-identity",
            Some(&entra),
            ours,
            json!({"tenant": "AAAAAAAA-2222-4333-8444-555555555555"}),
            "pins",
        ),
        (
            "the default exchange audience",
            "entra-managed-identity",
            Some(&entra),
            "api://AzureADTokenExchange",
            tenant.clone(),
            "audience",
        ),
        (
            "the management API",
            "entra-managed-identity",
            Some(&entra),
            "https://management.azure.com/",
            tenant.clone(),
            "audience",
        ),
        (
            "an agent's pin on the source",
            "entra-managed-identity",
            Some(&entra),
            ours,
            json!({"tenant": TENANT, "object_id": TENANT}),
            "pins",
        ),
        (
            "no account",
            "aws-web-identity",
            Some("https://a1.tokens.sts.global.api.aws"),
            ours,
            json!({}),
            "pins",
        ),
        (
            "an account of eleven digits",
            "aws-web-identity",
            Some("https://a1.tokens.sts.global.api.aws"),
            ours,
            json!({"aws_account": "12345678901"}),
            "pins",
        ),
        (
            "all accounts",
            "aws-web-identity",
            Some("https://tokens.sts.global.api.aws"),
            ours,
            json!({"aws_account": "123456789012"}),
            "issuer",
        ),
        (
            "another issuer",
            "gcp",
            Some("https://accounts.google.com.evil.example"),
            ours,
            json!({}),
            "issuer",
        ),
        (
            "the command line's audience",
            "gcp",
            Some(google),
            "32555940559.apps.googleusercontent.com",
            json!({}),
            "audience",
        ),
        (
            "a pool's audience",
            "gcp",
            Some(google),
            "https://iam.googleapis.com/projects/1/x",
            json!({}),
            "audience",
        ),
        (
            "the default audience",
            "github-actions",
            Some(github),
            "https://github.com/example",
            json!({}),
            "audience",
        ),
        (
            "another issuer",
            "github-actions",
            Some("https://token.actions.githubusercontent.example"),
            ours,
            json!({}),
            "issuer",
        ),
        ("no trust domain", "spiffe", None, ours, json!({}), "pins"),
        ("a trust domain in capitals", "spiffe", None, ours, json!({"trust_domain": "EXAMPLE.org"}), "pins"),
        ("a wildcard trust domain", "spiffe", None, ours, json!({"trust_domain": "*.example.org"}), "pins"),
        (
            "a workload's id as audience",
            "spiffe",
            None,
            "spiffe://example.org/valetkey",
            json!({"trust_domain": "example.org"}),
            "audience",
        ),
    ];
    for (what, preset, issuer, audience, pins, names) in table {
        let stated = json!({"name": what, "preset": preset, "issuer": issuer, "audience": audience, "pins": pins, "keys": jwks()});
        let answer = app.admin("POST", "/trust-sources", &stated).await;
        assert_eq!(answer.status, 400, "{preset}: {what}: {}", answer.body_text());
        assert_eq!(answer.json()["code"], "invalid_trust_source");
        assert!(answer.text("detail").starts_with(names), "{preset}: {what}: {}", answer.text("detail"));
    }
    println!("{} trust sources refused", table.len());

    let sound =
        json!({"name": "cluster", "preset": "kubernetes", "issuer": "https://c.example.com", "keys": jwks()});
    let made = app.admin_does("/trust-sources", &sound).await;
    assert_eq!(made["vouches"]["tokens"]["audience"], json!(app.issuer()), "our own, where none is stated");
    let twice = app.admin("POST", "/trust-sources", &sound).await;
    assert!(twice.text("detail").contains("name"), "{}", twice.body_text());
    for (what, keys) in [
        ("no keys", json!({"jwks": {"keys": []}})),
        ("a shared secret alone", json!({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}})),
        ("plain http", json!({"jwks_uri": "http://c.example.com/keys"})),
        ("this machine", json!({"jwks_uri": "https://localhost/keys"})),
        ("an address", json!({"jwks_uri": "https://169.254.169.254/keys"})),
    ] {
        let stated =
            json!({"name": what, "preset": "kubernetes", "issuer": "https://c.example.com", "keys": keys});
        assert_eq!(app.admin("POST", "/trust-sources", &stated).await.status, 400, "{what}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn an_agent_states_every_pin_that_tells_it_apart() {
    let app = TestApp::start().await;
    let source = async |preset: &str, issuer: Value, pins: Value| {
        let stated = json!({"name": preset, "preset": preset, "issuer": issuer, "audience": "https://valetkey.example.com",
            "pins": pins, "keys": jwks()});
        app.trusts(&stated).await
    };
    let cluster = source("kubernetes", json!("https://c.example.com"), json!({})).await;
    let github =
        source("github-actions", json!("https://token.actions.githubusercontent.com"), json!({})).await;
    let google = source("gcp", json!("https://accounts.google.com"), json!({})).await;
    let aws = source(
        "aws-web-identity",
        json!("https://a1.tokens.sts.global.api.aws"),
        json!({"aws_account": "123456789012"}),
    )
    .await;
    let spiffe = source("spiffe", Value::Null, json!({"trust_domain": "example.org"})).await;
    let ids = json!({"repository_id": "74", "repository_owner_id": "65"});
    let (agent, _) = app.new_agent().await;
    let table = [
        ("nothing", &cluster, json!({})),
        ("no service account", &cluster, json!({"namespace": "agents"})),
        ("no namespace", &cluster, json!({"service_account": "mail"})),
        ("every account", &cluster, json!({"namespace": "agents", "service_account": "*"})),
        ("every namespace", &cluster, json!({"namespace": "*", "service_account": "mail"})),
        ("an unknown pin", &cluster, json!({"namespace": "agents", "service_account": "mail", "pod": "x"})),
        ("an empty pin", &cluster, json!({"namespace": "", "service_account": "mail"})),
        ("nothing", &github, json!({})),
        ("a name", &github, json!({"repository": "example/agents", "environment": "production"})),
        ("the owner alone", &github, json!({"repository_owner_id": "65", "environment": "production"})),
        ("every branch", &github, ids.clone()),
        (
            "a pattern of branches",
            &github,
            json!({"repository_id": "74", "repository_owner_id": "65", "ref": "refs/heads/*"}),
        ),
        ("nothing", &google, json!({})),
        ("an e-mail alone", &google, json!({"email": "mail@agents.iam.gserviceaccount.com"})),
        ("a subject of letters", &google, json!({"subject": "mail"})),
        ("nothing", &aws, json!({})),
        ("a role's name", &aws, json!({"role_arn": "Mail"})),
        ("nothing", &spiffe, json!({})),
        ("the trust domain", &spiffe, json!({"spiffe_id": "spiffe://example.org"})),
        ("a way up", &spiffe, json!({"spiffe_id": "spiffe://example.org/a/../b"})),
    ];
    for (what, source, pins) in &table {
        let ways = json!({"workloads": [{"trust_source": source, "pins": pins}]});
        let answer = app.states_sign_in(&agent, &ways).await;
        assert_eq!(answer.status, 400, "{what}: {pins}");
        assert!(answer.text("detail").contains("workloads.pins"), "{what}: {}", answer.body_text());
    }
    let private = {
        let mut key = Signer::new("ES256", "k1").jwk();
        key["d"] = json!("AAAA");
        key
    };
    let same = Signer::new("ES256", "k1").jwk();
    for (what, ways) in [
        ("a private key", json!({"keys": {"jwks": {"keys": [private]}}})),
        ("a shared secret", json!({"keys": {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}})),
        ("no key", json!({"keys": {"jwks": {"keys": []}}})),
        ("two keys of one name", json!({"keys": {"jwks": {"keys": [same, same]}}})),
        ("a plain URL", json!({"keys": {"jwks_uri": "http://agents.example.com/jwks"}})),
        ("a URL of this machine", json!({"keys": {"jwks_uri": "https://127.0.0.1/jwks"}})),
        (
            "an unknown source",
            json!({"workloads": [{"trust_source": "tru_00000000000000000000000000000000", "pins": {}}]}),
        ),
        ("no thumbprint", json!({"certificates": {"self_signed": {"thumbprints": []}}})),
        ("half a thumbprint", json!({"certificates": {"self_signed": {"thumbprints": ["AAAA"]}}})),
        (
            "a cluster as authority",
            json!({"certificates": {"issued": {"authority": cluster, "name": {"san_dns": "a.example"}}}}),
        ),
        ("an unknown member", json!({"passwords": []})),
    ] {
        assert_eq!(app.states_sign_in(&agent, &ways).await.status, 400, "{what}");
    }
    println!("{} registrations refused", table.len() + 11);
    let sound = json!({"workloads": [{"trust_source": cluster, "pins": {"namespace": "agents", "service_account": "mail"}}]});
    assert_eq!(app.states_sign_in(&agent, &sound).await.status, 200);
    // Nobody forgets a source that an agent stands on.
    let refused = app.admin("DELETE", &format!("/trust-sources/{cluster}"), &Value::Null).await;
    assert_eq!(refused.status, 400, "{}", refused.body_text());
    assert_eq!(app.states_sign_in(&agent, &json!({})).await.status, 200);
    assert_eq!(app.admin("DELETE", &format!("/trust-sources/{cluster}"), &Value::Null).await.status, 204);
    assert_eq!(app.admin("GET", &format!("/trust-sources/{cluster}"), &Value::Null).await.status, 404);
    app.stops().await;
}
