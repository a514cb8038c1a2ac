//! What a registration may state beside what it must: once stated, a token must say exactly that.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::draft::Signer;
use crate::platforms::{Platform, github_actions, google_cloud, managed_identity, outbound_web_identity};

const ENTRA: &str = "https://sts.windows.net/11111111-2222-4333-8444-555555555555/";

/// A pin, the claim that it holds (a JSON pointer), the value that is pinned, and another one of the same form.
type Pin = (&'static str, &'static str, &'static str, &'static str);

const OF_ENTRA: &[Pin] = &[(
    "resource_id",
    "/xms_mirid",
    "/subscriptions/1/resourcegroups/agents/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mail",
    "/subscriptions/1/resourcegroups/agents/providers/Microsoft.ManagedIdentity/userAssignedIdentities/root",
)];
const OF_AWS: &[Pin] = &[
    ("source_region", "/https:~1~1sts.amazonaws.com~1/source_region", "eu-central-1", "us-east-1"),
    (
        "lambda_function_arn",
        "/https:~1~1sts.amazonaws.com~1/lambda_source_function_arn",
        "arn:aws:lambda:eu-central-1:123456789012:function:mail",
        "arn:aws:lambda:eu-central-1:123456789012:function:root",
    ),
];
const OF_GOOGLE: &[Pin] = &[("instance_id", "/google/compute_engine/instance_id", "4242", "7")];
const OF_GITHUB: &[Pin] = &[
    ("ref", "/ref", "refs/heads/main", "refs/heads/mine"),
    (
        "workflow_ref",
        "/workflow_ref",
        "example/agents/.github/workflows/run.yml@refs/heads/main",
        "example/agents/.github/workflows/run.yml@refs/heads/mine",
    ),
    (
        "subject",
        "/sub",
        "repo:example/agents:environment:production",
        "repo:example/agents:environment:staging",
    ),
    ("repository", "/repository", "example/agents", "example/others"),
    ("event_name", "/event_name", "workflow_dispatch", "pull_request"),
    ("runner_environment", "/runner_environment", "github-hosted", "self-hosted"),
];

fn place<'v>(claims: &'v mut Value, pointer: &str) -> (&'v mut Value, String) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    (claims.pointer_mut(parent).unwrap(), last.to_owned())
}

async fn each_pin_holds(app: &TestApp, platform: &Platform, pins: &[Pin]) {
    let signer = Signer::new(platform.alg, "k1");
    let source = app.trusts(&platform.source(&[&signer])).await;
    for (pin, claim, pinned, other) in pins {
        let mut stated = platform.pins.clone();
        stated[*pin] = json!(pinned);
        let agent = app.agent_with(&json!({"workloads": [{"trust_source": source, "pins": stated}]})).await;
        let says = |value: Option<Value>| {
            let mut draft = platform.draft(app, &signer, &agent);
            let (parent, name) = place(&mut draft.claims, claim);
            match value {
                Some(value) => parent[&name] = value,
                None => drop(parent.as_object_mut().unwrap().remove(&name)),
            }
            draft
        };
        let name = format!("{}: {pin}", platform.preset);
        assert!(app.is_let_in(&says(Some(json!(pinned)))).await, "{name}");
        let bends = [
            ("another value", Some(json!(other))),
            ("in a list", Some(json!([pinned]))),
            ("with more behind it", Some(json!(format!("{pinned}x")))),
            ("left out", None),
        ];
        for (what, value) in bends {
            assert!(!app.is_let_in(&says(value)).await, "{name}: {what}");
            let why = app.last_reason(&agent).await;
            assert!(why.contains(&format!("the token's {pin} ")), "{name}: {what}: {why}");
        }
        assert!(app.is_let_in(&says(Some(json!(pinned)))).await, "{name}: again");
    }
}

#[actix_web::test]
async fn what_may_be_pinned_is_held_to_once_it_is() {
    let app = TestApp::start().await;
    each_pin_holds(&app, &managed_identity(ENTRA), OF_ENTRA).await;
    each_pin_holds(&app, &outbound_web_identity(), OF_AWS).await;
    each_pin_holds(&app, &google_cloud(), OF_GOOGLE).await;
    each_pin_holds(&app, &github_actions(), OF_GITHUB).await;
    app.stops().await;
}
