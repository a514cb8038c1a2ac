//! Workloads whose platform vouches for them: every preset with a token as that platform makes it.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::bends::{OF_CLAIMS, OF_KEYS};
use crate::draft::{Draft, Signer, fresh};
use crate::stage::Row;

const TENANT: &str = "11111111-2222-4333-8444-555555555555";
const OTHER_UUID: &str = "99999999-2222-4333-8444-555555555555";
const ACCOUNT: &str = "123456789012";

/// A platform: how it is registered, what its tokens say, and what can be wrong with them.
pub struct Platform {
    pub preset: &'static str,
    issuer: Option<&'static str>,
    pub alg: &'static str,
    source_pins: Value,
    pub pins: Value,
    claims: fn() -> Value,
    bends: &'static [Row],
    /// What may vary.
    straight: &'static [Row],
}

fn remove(claims: &mut Value, name: &str) {
    claims.as_object_mut().unwrap().remove(name).unwrap();
}

fn of_cluster() -> Value {
    json!({
        "sub": "system:serviceaccount:agents:mail",
        "kubernetes.io": {
            "namespace": "agents",
            "serviceaccount": {"name": "mail", "uid": "aaaaaaaa-2222-4333-8444-555555555555"},
            "pod": {"name": "mail-0", "uid": "bbbbbbbb-2222-4333-8444-555555555555"},
            "node": {"name": "node-1"},
        },
    })
}

/// Kubernetes' own tokens, and those of clouds that are the same.
const CLUSTER: &[Row] = &[
    ("another namespace", |t| t.claims["kubernetes.io"]["namespace"] = json!("other"), "namespace"),
    (
        "another namespace in the subject",
        |t| t.claims["sub"] = json!("system:serviceaccount:other:mail"),
        "/sub",
    ),
    (
        "another namespace, both",
        |t| {
            t.claims["kubernetes.io"]["namespace"] = json!("other");
            t.claims["sub"] = json!("system:serviceaccount:other:mail");
        },
        "namespace",
    ),
    (
        "another service account",
        |t| t.claims["kubernetes.io"]["serviceaccount"]["name"] = json!("root"),
        "service_account",
    ),
    ("another subject", |t| t.claims["sub"] = json!("system:serviceaccount:agents:root"), "/sub"),
    (
        "a subject with more behind it",
        |t| t.claims["sub"] = json!("system:serviceaccount:agents:mail:x"),
        "/sub",
    ),
    ("a node's subject", |t| t.claims["sub"] = json!("system:node:node-1"), "/sub"),
    (
        "the account, made anew",
        |t| t.claims["kubernetes.io"]["serviceaccount"]["uid"] = json!(OTHER_UUID),
        "uid",
    ),
    ("no cluster claims", |t| remove(&mut t.claims, "kubernetes.io"), "namespace"),
    ("cluster claims that are a text", |t| t.claims["kubernetes.io"] = json!("agents"), "namespace"),
    (
        "the claims of an account's own secret",
        |t| {
            remove(&mut t.claims, "kubernetes.io");
            t.claims["kubernetes.io/serviceaccount/namespace"] = json!("agents");
            t.claims["kubernetes.io/serviceaccount/service-account.name"] = json!("mail");
        },
        "namespace",
    ),
    ("no subject", |t| remove(&mut t.claims, "sub"), "/sub"),
    (
        "another cluster's issuer",
        |t| t.claims["iss"] = json!("https://other.example.com/cluster-b"),
        "issuer",
    ),
    (
        "the API server's audience",
        |t| t.claims["aud"] = json!(["https://kubernetes.default.svc.cluster.local"]),
        "aud",
    ),
    ("the cloud's own audience", |t| t.claims["aud"] = json!(["sts.amazonaws.com"]), "aud"),
];

const LIST_OF_ONE: Row = ("a list of one audience", |t| t.claims["aud"] = json!([t.claims["aud"]]), "");

fn clusters() -> Vec<Platform> {
    let of = |preset, issuer, alg| Platform {
        preset,
        issuer: Some(issuer),
        alg,
        source_pins: json!({}),
        pins: json!({"namespace": "agents", "service_account": "mail",
            "service_account_uid": "aaaaaaaa-2222-4333-8444-555555555555"}),
        claims: of_cluster,
        bends: CLUSTER,
        straight: &[
            LIST_OF_ONE,
            ("without a type", |t| remove(&mut t.header, "typ"), ""),
            ("another pod", |t| t.claims["kubernetes.io"]["pod"]["name"] = json!("mail-1"), ""),
        ],
    };
    vec![
        of("kubernetes", "https://kubernetes.default.svc.cluster.local", "ES256"),
        of(
            "aws-eks",
            "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
            "RS256",
        ),
        of("alibaba-rrsa", "https://oidc-ack-cn-hangzhou.oss-cn-hangzhou.aliyuncs.com/c0123456789", "RS256"),
    ]
}

pub fn managed_identity(issuer: &'static str) -> Platform {
    Platform {
        preset: "entra-managed-identity",
        issuer: Some(issuer),
        alg: "RS256",
        source_pins: json!({"tenant": TENANT}),
        pins: json!({"object_id": "cccccccc-2222-4333-8444-555555555555"}),
        claims: || {
            json!({
                "sub": "cccccccc-2222-4333-8444-555555555555",
                "oid": "cccccccc-2222-4333-8444-555555555555",
                "tid": TENANT,
                "azp": "dddddddd-2222-4333-8444-555555555555",
                "idtyp": "app",
                "ver": "2.0",
            })
        },
        bends: &[
            ("another tenant", |t| t.claims["tid"] = json!(OTHER_UUID), "tenant"),
            (
                "another tenant's issuer",
                |t| t.claims["iss"] = json!(format!("https://login.microsoftonline.com/{OTHER_UUID}/v2.0")),
                "issuer",
            ),
            (
                "the issuer of all tenants",
                |t| t.claims["iss"] = json!("https://login.microsoftonline.com/common/v2.0"),
                "issuer",
            ),
            ("no tenant", |t| remove(&mut t.claims, "tid"), "tenant"),
            (
                "another identity",
                |t| (t.claims["oid"], t.claims["sub"]) = (json!(OTHER_UUID), json!(OTHER_UUID)),
                "object_id",
            ),
            ("no object id", |t| remove(&mut t.claims, "oid"), "object_id"),
            ("an object id in a list", |t| t.claims["oid"] = json!([t.claims["oid"]]), "object_id"),
            (
                "a pairwise subject: a person's",
                |t| t.claims["sub"] = json!("AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ"),
                "differ",
            ),
            ("delegated scopes: a person's", |t| t.claims["scp"] = json!("User.Read"), "scp"),
            ("empty delegated scopes", |t| t.claims["scp"] = json!(""), "scp"),
            ("a person's type", |t| t.claims["idtyp"] = json!("user"), "idtyp"),
            (
                "the management API's audience",
                |t| t.claims["aud"] = json!("https://management.azure.com/"),
                "aud",
            ),
            (
                "the default exchange audience",
                |t| t.claims["aud"] = json!("api://AzureADTokenExchange"),
                "aud",
            ),
        ],
        straight: &[("without idtyp", |t| remove(&mut t.claims, "idtyp"), "")],
    }
}

pub fn outbound_web_identity() -> Platform {
    const AWS: &str = "https://sts.amazonaws.com/";
    Platform {
        preset: "aws-web-identity",
        issuer: Some("https://a1b2c3d4.tokens.sts.global.api.aws"),
        alg: "ES384",
        source_pins: json!({"aws_account": ACCOUNT, "org_id": "o-abcdefghij"}),
        pins: json!({"role_arn": "arn:aws:iam::123456789012:role/agents/Mail"}),
        claims: || {
            json!({
                "sub": "arn:aws:iam::123456789012:role/agents/Mail",
                (AWS): {"aws_account": ACCOUNT, "source_region": "eu-central-1", "org_id": "o-abcdefghij",
                    "principal_tags": {"team": "mail"}},
            })
        },
        bends: &[
            ("another account", |t| t.claims[AWS]["aws_account"] = json!("999999999999"), "aws_account"),
            (
                "another account's role",
                |t| t.claims["sub"] = json!("arn:aws:iam::999999999999:role/agents/Mail"),
                "role_arn",
            ),
            (
                "another role",
                |t| t.claims["sub"] = json!("arn:aws:iam::123456789012:role/agents/Admin"),
                "role_arn",
            ),
            (
                "a user of that name",
                |t| t.claims["sub"] = json!("arn:aws:iam::123456789012:user/agents/Mail"),
                "role_arn",
            ),
            (
                "a session's ARN",
                |t| t.claims["sub"] = json!("arn:aws:sts::123456789012:assumed-role/Mail/s"),
                "role_arn",
            ),
            ("another organisation", |t| t.claims[AWS]["org_id"] = json!("o-zzzzzzzzzz"), "org_id"),
            (
                "an account that is a number",
                |t| t.claims[AWS]["aws_account"] = json!(123_456_789_012_u64),
                "aws_account",
            ),
            ("no AWS claims", |t| remove(&mut t.claims, AWS), "aws_account"),
            (
                "what the caller has chosen itself",
                |t| {
                    let claims = t.claims[AWS].take();
                    t.claims[AWS] = json!({"request_tags": claims});
                },
                "aws_account",
            ),
            (
                "another issuer of AWS",
                |t| t.claims["iss"] = json!("https://ffffffff.tokens.sts.global.api.aws"),
                "issuer",
            ),
            ("the audience of AWS", |t| t.claims["aud"] = json!("sts.amazonaws.com"), "aud"),
            ("a day long", |t| t.claims["exp"] = json!(t.claims["iat"].as_i64().unwrap() + 86_400), "longer"),
        ],
        straight: &[("another region", |t| t.claims[AWS]["source_region"] = json!("us-east-1"), "")],
    }
}

pub fn google_cloud() -> Platform {
    Platform {
        preset: "gcp",
        issuer: Some("https://accounts.google.com"),
        alg: "RS256",
        source_pins: json!({}),
        pins: json!({"subject": "103724819283746551234", "email": "mail@agents.iam.gserviceaccount.com", "project_id": "agents"}),
        claims: || {
            json!({
                "sub": "103724819283746551234",
                "azp": "103724819283746551234",
                "email": "mail@agents.iam.gserviceaccount.com",
                "email_verified": true,
                "google": {"compute_engine": {"project_id": "agents", "instance_id": "4242", "zone": "europe-west3-a"}},
            })
        },
        bends: &[
            (
                "another service account",
                |t| (t.claims["sub"], t.claims["azp"]) = (json!("999"), json!("999")),
                "subject",
            ),
            (
                "a person who signed in to an application",
                |t| t.claims["azp"] = json!("1234.apps.googleusercontent.com"),
                "differ",
            ),
            ("no azp", |t| remove(&mut t.claims, "azp"), "differ"),
            ("a subject that is a number", |t| t.claims["sub"] = json!(103_724_819_u64), "subject"),
            ("no subject", |t| remove(&mut t.claims, "sub"), "subject"),
            ("another e-mail", |t| t.claims["email"] = json!("root@agents.iam.gserviceaccount.com"), "email"),
            (
                "an e-mail that is not verified",
                |t| t.claims["email_verified"] = json!(false),
                "email_verified",
            ),
            ("an e-mail verified in words", |t| t.claims["email_verified"] = json!("true"), "email_verified"),
            ("nothing said of the e-mail", |t| remove(&mut t.claims, "email_verified"), "email_verified"),
            (
                "another project",
                |t| t.claims["google"]["compute_engine"]["project_id"] = json!("other"),
                "project_id",
            ),
            ("no machine", |t| remove(&mut t.claims, "google"), "project_id"),
            ("the issuer without its scheme", |t| t.claims["iss"] = json!("accounts.google.com"), "issuer"),
            (
                "the command line's audience",
                |t| t.claims["aud"] = json!("32555940559.apps.googleusercontent.com"),
                "aud",
            ),
        ],
        straight: &[(
            "another machine",
            |t| t.claims["google"]["compute_engine"]["instance_id"] = json!("7"),
            "",
        )],
    }
}

pub fn github_actions() -> Platform {
    Platform {
        preset: "github-actions",
        issuer: Some("https://token.actions.githubusercontent.com"),
        alg: "RS256",
        source_pins: json!({}),
        pins: json!({"repository_id": "74", "repository_owner_id": "65", "environment": "production",
            "job_workflow_ref": "example/agents/.github/workflows/run.yml@refs/heads/main"}),
        claims: || {
            json!({
                "sub": "repo:example/agents:environment:production",
                "repository": "example/agents",
                "repository_id": "74",
                "repository_owner": "example",
                "repository_owner_id": "65",
                "environment": "production",
                "ref": "refs/heads/main",
                "job_workflow_ref": "example/agents/.github/workflows/run.yml@refs/heads/main",
                "event_name": "workflow_dispatch",
                "runner_environment": "github-hosted",
            })
        },
        bends: &[
            (
                "another repository that has taken the name",
                |t| t.claims["repository_id"] = json!("75"),
                "repository_id",
            ),
            (
                "another owner who has taken the name",
                |t| t.claims["repository_owner_id"] = json!("66"),
                "repository_owner_id",
            ),
            (
                "a fork",
                |t| {
                    t.claims["repository_id"] = json!("99");
                    t.claims["repository_owner_id"] = json!("98");
                    t.claims["repository"] = json!("mallory/agents");
                },
                "repository_id",
            ),
            ("no repository id", |t| remove(&mut t.claims, "repository_id"), "repository_id"),
            ("a repository id that is a number", |t| t.claims["repository_id"] = json!(74), "repository_id"),
            ("no owner id", |t| remove(&mut t.claims, "repository_owner_id"), "repository_owner_id"),
            ("another environment", |t| t.claims["environment"] = json!("staging"), "environment"),
            ("no environment", |t| remove(&mut t.claims, "environment"), "environment"),
            (
                "another workflow",
                |t| {
                    t.claims["job_workflow_ref"] =
                        json!("example/agents/.github/workflows/x.yml@refs/heads/main")
                },
                "job_workflow_ref",
            ),
            (
                "the workflow on another branch",
                |t| {
                    t.claims["job_workflow_ref"] =
                        json!("example/agents/.github/workflows/run.yml@refs/heads/mine")
                },
                "job_workflow_ref",
            ),
            (
                "another server's issuer",
                |t| t.claims["iss"] = json!("https://token.actions.mallory.ghe.com"),
                "issuer",
            ),
            ("the default audience", |t| t.claims["aud"] = json!("https://github.com/example"), "aud"),
        ],
        straight: &[
            // Ids are what is pinned: a new name changes nothing.
            (
                "the repository, renamed",
                |t| {
                    t.claims["repository"] = json!("example/agents-2");
                    t.claims["sub"] = json!("repo:example@65/agents-2@74:environment:production");
                },
                "",
            ),
        ],
    }
}

fn spiffe() -> Platform {
    Platform {
        preset: "spiffe",
        issuer: None,
        alg: "ES256",
        source_pins: json!({"trust_domain": "prod.example.org"}),
        pins: json!({"spiffe_id": "spiffe://prod.example.org/agents/mail"}),
        claims: || json!({"sub": "spiffe://prod.example.org/agents/mail"}),
        bends: &[
            (
                "another workload",
                |t| t.claims["sub"] = json!("spiffe://prod.example.org/agents/root"),
                "spiffe_id",
            ),
            (
                "another trust domain",
                |t| t.claims["sub"] = json!("spiffe://test.example.org/agents/mail"),
                "spiffe_id",
            ),
            (
                "a workload below",
                |t| t.claims["sub"] = json!("spiffe://prod.example.org/agents/mail/x"),
                "spiffe_id",
            ),
            (
                "the trust domain itself",
                |t| t.claims["sub"] = json!("spiffe://prod.example.org"),
                "spiffe_id",
            ),
            (
                "in capitals",
                |t| t.claims["sub"] = json!("spiffe://PROD.example.org/agents/mail"),
                "spiffe_id",
            ),
            (
                "another scheme",
                |t| t.claims["sub"] = json!("https://prod.example.org/agents/mail"),
                "spiffe_id",
            ),
            ("no subject", |t| remove(&mut t.claims, "sub"), "spiffe_id"),
            ("no kid, and two keys", |t| remove(&mut t.header, "kid"), "kid"),
        ],
        straight: &[
            LIST_OF_ONE,
            ("without iat", |t| remove(&mut t.claims, "iat"), ""),
            ("without a type", |t| remove(&mut t.header, "typ"), ""),
            ("another of its types", |t| t.header["typ"] = json!("JOSE"), ""),
            ("with an issuer", |t| t.claims["iss"] = json!("https://oidc.prod.example.org"), ""),
        ],
    }
}

const AUDIENCE: &str = "https://valetkey.example.com";

impl Platform {
    pub fn draft<'a>(&self, app: &TestApp, signer: &'a Signer, agent: &str) -> Draft<'a> {
        let mut claims = (self.claims)();
        let now = app.now();
        (claims["iat"], claims["exp"], claims["jti"]) = (json!(now), json!(now + 600), json!(fresh()));
        claims["aud"] = json!(AUDIENCE);
        if let Some(issuer) = self.issuer {
            claims["iss"] = json!(issuer);
        }
        Draft::new(signer, claims, agent)
    }

    pub fn source(&self, signers: &[&Signer]) -> Value {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        json!({"name": format!("{} {}", self.preset, fresh()), "preset": self.preset, "issuer": self.issuer,
            "audience": AUDIENCE, "keys": {"jwks": {"keys": keys}}, "pins": self.source_pins})
    }
}

async fn every_bend_is_refused(platform: &Platform, app: &TestApp) -> usize {
    let (signer, second) = (Signer::new(platform.alg, "k1"), Signer::new(platform.alg, "k2"));
    let source = app.trusts(&platform.source(&[&signer, &second])).await;
    let ways = json!({"workloads": [{"trust_source": source, "pins": platform.pins}]});
    let of_all = OF_KEYS.iter().chain(OF_CLAIMS);
    for (what, bend, reason) in of_all.chain(platform.bends) {
        let agent = app.agent_with(&ways).await;
        let mut bent = platform.draft(app, &signer, &agent);
        bend(&mut bent);
        assert!(!app.is_let_in(&bent).await, "{}: {what}", platform.preset);
        let why = app.last_reason(&agent).await;
        assert!(why.contains(reason), "{}: {what}: {why}", platform.preset);
        let straight = platform.draft(app, &signer, &agent);
        assert!(app.is_let_in(&straight).await, "{}: straight, after {what}", platform.preset);
        // Platforms hand the same token out until it expires.
        assert!(app.is_let_in(&straight).await, "{}: again", platform.preset);
    }
    let agent = app.agent_with(&ways).await;
    for (what, change, _) in platform.straight {
        let mut varied = platform.draft(app, &signer, &agent);
        change(&mut varied);
        assert!(app.is_let_in(&varied).await, "{}: {what}", platform.preset);
    }
    // The source vouches for its own agents only, and only while it is believed.
    let (other, _) = app.new_agent().await;
    assert!(
        !app.is_let_in(&platform.draft(app, &signer, &other)).await,
        "{}: another agent",
        platform.preset
    );
    let mut nobody = platform.draft(app, &signer, &agent);
    nobody.client_id = None;
    assert!(!app.is_let_in(&nobody).await, "{}: no client_id", platform.preset);
    app.admin_does(&format!("/trust-sources/{source}/disable"), &Value::Null).await;
    assert!(!app.is_let_in(&platform.draft(app, &signer, &agent)).await, "{}: disabled", platform.preset);
    app.admin_does(&format!("/trust-sources/{source}/enable"), &Value::Null).await;
    assert!(app.is_let_in(&platform.draft(app, &signer, &agent)).await, "{}: enabled", platform.preset);
    let cases = OF_KEYS.len() + OF_CLAIMS.len() + platform.bends.len() + 3;
    println!("{}: {cases} refused, {} variations accepted", platform.preset, platform.straight.len() + 2);
    cases
}

async fn all_of(platforms: &[Platform]) {
    let app = TestApp::start().await;
    for platform in platforms {
        assert!(every_bend_is_refused(platform, &app).await >= 50);
    }
    app.stops().await;
}

#[actix_web::test]
async fn clusters_vouch_for_one_service_account() {
    all_of(&clusters()).await;
}

#[actix_web::test]
async fn managed_identities_are_of_one_tenant_and_no_persons() {
    let v1 = Box::leak(format!("https://sts.windows.net/{TENANT}/").into_boxed_str());
    let v2 = Box::leak(format!("https://login.microsoftonline.com/{TENANT}/v2.0").into_boxed_str());
    all_of(&[managed_identity(v1), managed_identity(v2)]).await;
}

#[actix_web::test]
async fn clouds_vouch_for_one_role_or_account() {
    all_of(&[outbound_web_identity(), google_cloud()]).await;
}

#[actix_web::test]
async fn pipelines_are_of_one_repository_whatever_it_is_called() {
    all_of(&[github_actions()]).await;
}

#[actix_web::test]
async fn workloads_of_one_trust_domain_are_told_apart() {
    all_of(&[spiffe()]).await;
}

#[actix_web::test]
async fn one_agent_may_run_in_two_places() {
    let app = TestApp::start().await;
    let (cluster, pipeline) = (clusters().remove(0), github_actions());
    let (first, second) = (Signer::new(cluster.alg, "k1"), Signer::new(pipeline.alg, "k1"));
    let a = app.trusts(&cluster.source(&[&first])).await;
    let b = app.trusts(&pipeline.source(&[&second])).await;
    let agent = app
        .agent_with(&json!({"workloads": [
            {"trust_source": a, "pins": cluster.pins}, {"trust_source": b, "pins": pipeline.pins}]}))
        .await;
    assert!(app.is_let_in(&cluster.draft(&app, &first, &agent)).await);
    assert!(app.is_let_in(&pipeline.draft(&app, &second, &agent)).await);
    // The keys of one are not the other's.
    let mut crossed = cluster.draft(&app, &second, &agent);
    crossed.header["alg"] = json!("RS256");
    assert!(!app.is_let_in(&crossed).await);
    app.stops().await;
}
