//! `/{tenant}/oauth2/v2.0/authorize`: the request's checks, the pages, the code.

use std::time::Duration;

use crate::kernel::encode;
use crate::sandbox::desk::Desk;
use crate::sandbox::entra::{
    Asked, LOOK, TENANT, describe, needs_admin, object_id, read_scopes, spelled, tenant_of,
};
use crate::sandbox::sign_in::{self, Prompt, Step};
use crate::sandbox::tokens::{Challenge, CodeTerms, Facts, Scopes};
use crate::sandbox::wire::{Params, Reply, Request, escape, with_query};
use crate::sandbox::world::{Person, guid};

const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// Where and how the client wants its answer.
struct Way<'w> {
    redirect_uri: &'w str,
    mode: &'w str,
    state: Option<&'w str>,
}

/// Answers the browser.
pub(super) fn answer(desk: &Desk, request: &Request, tenant: &str) -> Reply {
    let params = request.params();
    let error =
        |text: &str| sign_in::error_page(&LOOK, 400, "Sorry, but we're having trouble signing you in.", text);
    if params.repeated().is_some() {
        return error("AADSTS9000411: The request is not properly formatted. A parameter is duplicated.");
    }
    let Some(client) = params.filled("client_id").and_then(|id| desk.client(id)) else {
        return error("AADSTS700016: Application was not found in the directory.");
    };
    let redirect_uri = params.filled("redirect_uri").unwrap_or_default();
    if !client.allows_redirect(redirect_uri) {
        return error(
            "AADSTS50011: The redirect URI specified in the request does not match the redirect URIs \
                      configured for the application.",
        );
    }
    let way = Way {
        redirect_uri,
        mode: params.get("response_mode").unwrap_or("query"),
        state: params.get("state"),
    };
    let (asked, challenge) = match check(&params) {
        Ok(checked) => checked,
        Err((error, detail)) => return way.refuse(error, &detail),
    };
    let prompt_value = params.get("prompt").unwrap_or_default();
    let session = sign_in::signed_in(desk, request);
    let step = match (prompt_value, session) {
        ("none", None) => {
            return way.refuse(
                "login_required",
                "AADSTS50058: A silent sign-in request was sent but no user is signed in.",
            );
        }
        ("none", Some((email, auth_time))) => {
            if !asked.graph.is_subset(&desk.consented(&email, &client.id)) {
                return way.refuse(
                    "interaction_required",
                    "AADSTS65001: The user or administrator has not consented to use the application.",
                );
            }
            Step::Agreed { email, auth_time, cookie: None }
        }
        _ => sign_in::step(desk, request, &prompt(&params, &client.name, &asked)),
    };
    let (email, auth_time, cookie) = match step {
        Step::Page(page) => return page,
        Step::Refused => {
            return way.refuse("access_denied", "AADSTS65004: User declined to consent to access the app.");
        }
        Step::Agreed { email, auth_time, cookie } => (email, auth_time, cookie),
    };
    let Some(person) = desk.person(&email) else {
        return error("AADSTS50034: The user account does not exist in the directory.");
    };
    if !person.employee && [TENANT, "example.com"].contains(&tenant) {
        return error("AADSTS50020: User account from another identity provider does not exist in tenant and cannot access \
                      the application in that tenant.").with_cookie(cookie.as_deref());
    }
    if needs_admin(&asked.graph) {
        return way
            .refuse(
                "access_denied",
                "AADSTS90094: Admin consent is required for the permissions requested by this application.",
            )
            .with_cookie(cookie.as_deref());
    }
    desk.consent(&email, &client.id, &asked.graph);
    // Graph permissions stay as they were spelled: the token's answer spells them so.
    let graph = asked.graph.iter().map(|short| spelled(short, asked.by_uri));
    let scopes: Scopes = asked.oidc.iter().cloned().chain(graph).collect();
    let facts = Facts {
        email: Some(email),
        client_id: client.id.clone(),
        scopes,
        auth_time,
        nonce: params.filled("nonce").map(str::to_owned),
        family: desk.book.new_family(),
    };
    let terms = CodeTerms { redirect_uri: redirect_uri.to_owned(), challenge, lifetime: CODE_LIFETIME };
    let code = format!("1.{}", desk.book.issue_code(facts, terms));
    let session_state = guid("entra:session", person.id);
    let mut answer = vec![("code", code.as_str())];
    let client_info = client_info(&person);
    if params.get("client_info") == Some("1") {
        answer.push(("client_info", client_info.as_str()));
    }
    if let Some(state) = way.state {
        answer.push(("state", state));
    }
    answer.push(("session_state", session_state.as_str()));
    way.send(&answer).with_cookie(cookie.as_deref())
}

/// MSAL's extra: the person's home object and tenant ids.
pub(super) fn client_info(person: &Person) -> String {
    let document = serde_json::json!({"uid": object_id(person), "utid": tenant_of(person)});
    encode::base64url(document.to_string().as_bytes())
}

type Checked = (Asked, Option<Challenge>);

fn check(params: &Params) -> Result<Checked, (&'static str, String)> {
    if params.get("resource").is_some() {
        return Err((
            "invalid_request",
            "AADSTS901002: The 'resource' request parameter is not supported.".to_owned(),
        ));
    }
    if params.get("response_type") != Some("code") {
        let detail = "AADSTS70005: response_type is not supported for the application.";
        return Err(("unsupported_response_type", detail.to_owned()));
    }
    if !matches!(params.get("response_mode"), None | Some("query" | "fragment" | "form_post")) {
        return Err(("invalid_request", "AADSTS70007: response_mode is not supported.".to_owned()));
    }
    let Some(scope) = params.filled("scope") else {
        let detail = "AADSTS900144: The request body must contain the following parameter: 'scope'.";
        return Err(("invalid_request", detail.to_owned()));
    };
    let asked = read_scopes(scope).map_err(|unknown| {
        let detail = format!("AADSTS70011: The provided value for the input parameter 'scope' is not valid. The scope {unknown} does not exist.");
        ("invalid_scope", detail)
    })?;
    if asked.default && !asked.graph.is_empty() {
        let detail = "AADSTS70011: .default scope can't be combined with resource-specific scopes.";
        return Err(("invalid_scope", detail.to_owned()));
    }
    if params.get("prompt") == Some("select_account") && params.filled("login_hint").is_some() {
        return Err((
            "invalid_request",
            "AADSTS90005: login_hint and select_account cannot be combined.".to_owned(),
        ));
    }
    let challenge = match params.filled("code_challenge") {
        None => None,
        Some(challenge) => match Challenge::read(challenge, params.get("code_challenge_method")) {
            Some(challenge) => Some(challenge),
            None => {
                let detail = "AADSTS501491: Invalid code_challenge_method parameter.";
                return Err(("invalid_request", detail.to_owned()));
            }
        },
    };
    Ok((asked, challenge))
}

fn prompt<'p>(params: &'p Params, app: &'p str, asked: &Asked) -> Prompt<'p> {
    let only_sign_in = asked.graph.is_empty() && !asked.default && !asked.oidc.contains("offline_access");
    Prompt {
        look: &LOOK,
        app,
        scopes: (asked.oidc.iter().filter(|scope| *scope != "openid").chain(&asked.graph))
            .map(|scope| (scope.clone(), describe(scope).to_owned()))
            .collect(),
        login_hint: params.filled("login_hint"),
        force_password: params.get("prompt") == Some("login"),
        sign_in_only: only_sign_in,
    }
}

impl Way<'_> {
    fn refuse(&self, error: &str, detail: &str) -> Reply {
        let mut answer = vec![("error", error), ("error_description", detail)];
        if let Some(state) = self.state {
            answer.push(("state", state));
        }
        self.send(&answer)
    }

    fn send(&self, answer: &[(&str, &str)]) -> Reply {
        match self.mode {
            "form_post" => {
                let fields: String = (answer.iter())
                    .map(|(name, value)| {
                        format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value))
                    })
                    .collect();
                let action = escape(self.redirect_uri);
                Reply::html(
                    200,
                    format!(
                        "<!doctype html><html lang=\"en\"><title>Working...</title><form method=\"post\" \
                         action=\"{action}\">{fields}<button type=\"submit\">Continue</button></form></html>"
                    ),
                )
            }
            "fragment" => {
                let query = with_query("", answer);
                Reply::redirect(&format!("{}#{}", self.redirect_uri, query.trim_start_matches('?')))
            }
            _ => Reply::redirect(&with_query(self.redirect_uri, answer)),
        }
    }
}
