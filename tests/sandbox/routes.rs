//! Every call that the shipped templates open is one that the sandbox knows.

use reqwest::Method;

use crate::stage::{Stage, text};

/// Every call that the shipped template opens, with made-up ids: the sandbox knows the route.
async fn unknown_routes(stage: &Stage, file: &str, prefix: &str, token: &str) -> Vec<String> {
    let path = format!("{}/providers/{file}", env!("CARGO_MANIFEST_DIR"));
    let template: toml::Value = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut unknown = Vec::new();
    let scopes = template["scope"].as_array().unwrap();
    let routes = scopes.iter().filter_map(|scope| scope.get("routes")?.as_array()).flatten();
    for call in routes.map(|route| route["call"].as_str().unwrap()) {
        let (method, path) = call.split_once(' ').unwrap();
        let path = path.replace(['{', '}'], "");
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = stage.call(method, &format!("{prefix}{path}"), &headers, "{}".to_owned()).await;
        if [401, 403, 405].contains(&answer.status) || answer.body.contains("for the segment") {
            unknown.push(format!("{call}: {} {}", answer.status, answer.body));
        }
    }
    unknown
}

#[tokio::test]
async fn every_route_that_the_templates_open_is_known() {
    let stage = Stage::open().await;
    let scopes = "openid offline_access okta.users.read okta.users.manage okta.groups.manage okta.apps.read okta.logs.read";
    let okta = stage.okta_login(scopes).await;
    let unknown = unknown_routes(&stage, "okta.toml", "/okta/org", text(&okta, "access_token")).await;
    assert!(unknown.is_empty(), "{unknown:#?}");
    let scopes = "openid offline_access User.Read Mail.ReadWrite Mail.Send Calendars.ReadWrite Files.ReadWrite Sites.Read.All Chat.Read ChatMessage.Send Contacts.Read People.Read Tasks.Read";
    let entra = stage.entra_login(scopes, "alice@example.com").await;
    let unknown = unknown_routes(&stage, "entra.toml", "/entra/graph", text(&entra, "access_token")).await;
    // Channel messages need an admin's consent, which nobody can give here.
    let unknown: Vec<String> = unknown.into_iter().filter(|call| !call.contains("/teams/")).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

fn template(file: &str) -> toml::Table {
    let text = std::fs::read_to_string(format!("{}/providers/{file}.toml", env!("CARGO_MANIFEST_DIR")));
    text.unwrap().parse().unwrap()
}

/// The calls that a template lists: API name, method, path with example values.
fn template_calls(file: &str) -> Vec<(String, Method, String)> {
    let template = template(file);
    let scopes = template["scope"].as_array().unwrap();
    let routes = scopes.iter().filter_map(|scope| scope.get("routes")?.as_array()).flatten();
    routes
        .map(|route| {
            let (method, path) = route["call"].as_str().unwrap().split_once(' ').unwrap();
            let filled: Vec<&str> =
                path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            (route["api"].as_str().unwrap().to_owned(), method.parse().unwrap(), filled.join("/"))
        })
        .collect()
}

impl Stage {
    /// Whether the vendor has such a route, whatever it says to a call without a token.
    async fn has(&self, provider: &str, api: &str, method: &Method, path: &str) -> bool {
        let answer = self.call(method.clone(), &format!("/{provider}/{api}{path}"), &[], String::new()).await;
        !["404", "InvalidAction.NotFound", "48002"].iter().any(|unknown| answer.body.contains(unknown))
    }
}

#[actix_web::test]
async fn every_call_that_a_template_lists_exists_here() {
    let stage = Stage::open().await;
    let invented =
        [("lark", "open", "/open-apis/no/v1"), ("dingtalk", "api", "/v1.0/no"), ("dingtalk", "oapi", "/no")];
    for (provider, api, path) in invented {
        assert!(!stage.has(provider, api, &Method::GET, path).await, "{provider}");
    }
    assert!(!stage.has("wecom", "qyapi", &Method::GET, "/cgi-bin/no").await);
    let mut missing = Vec::new();
    for provider in ["lark", "dingtalk", "wecom"] {
        for (api, method, path) in template_calls(provider) {
            if !stage.has(provider, &api, &method, &path).await {
                missing.push(format!("{method} {api}{path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[actix_web::test]
async fn every_scope_of_larks_template_is_enabled_for_the_app() {
    let stage = Stage::open().await;
    for scope in template("lark")["scope"].as_array().unwrap() {
        let name = scope.get("vendor").or_else(|| scope.get("name")).unwrap().as_str().unwrap();
        let page = stage.get(&Stage::lark_page(name), &[]).await;
        assert_eq!(page.status, 200, "{name}");
    }
}
