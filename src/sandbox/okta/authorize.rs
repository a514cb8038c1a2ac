//! `/oauth2/v1/authorize`: the request's checks, the pages, the code.

use std::time::Duration;

use crate::sandbox::desk::Desk;
use crate::sandbox::okta::{LOOK, describe, unknown_scope};
use crate::sandbox::sign_in::{self, Prompt, Step};
use crate::sandbox::tokens::{Challenge, CodeTerms, Facts, Scopes, scopes};
use crate::sandbox::wire::{Params, Reply, Request, escape, with_query};

const CODE_LIFETIME: Duration = Duration::from_secs(300);

/// Answers the browser.
pub(super) fn answer(desk: &Desk, request: &Request) -> Reply {
    let params = request.params();
    let error = |detail: &str| sign_in::error_page(&LOOK, 400, "400: Bad Request", detail);
    if let Some(name) = params.repeated() {
        return error(&format!("The parameter '{name}' was sent more than once."));
    }
    let Some(client) = params.filled("client_id").and_then(|id| desk.client(id)) else {
        return error("Invalid value for 'client_id' parameter.");
    };
    let redirect_uri = params.filled("redirect_uri").unwrap_or_default();
    if !client.allows_redirect(redirect_uri) {
        return error(
            "The 'redirect_uri' parameter must be a Login redirect URI in the client app settings.",
        );
    }
    let Some(state) = params.filled("state") else {
        return refuse(
            &params,
            redirect_uri,
            "",
            "invalid_request",
            "The authentication request has an invalid 'state' parameter.",
        );
    };
    let asked = scopes(params.get("scope").unwrap_or_default());
    let challenge = match check(&params, state, &asked) {
        Ok(challenge) => challenge,
        Err((error, detail)) => return refuse(&params, redirect_uri, state, error, detail),
    };
    let prompts: Vec<&str> = params.get("prompt").unwrap_or_default().split(' ').collect();
    let session = sign_in::signed_in(desk, request);
    if prompts.contains(&"none") && session.is_none() {
        let detail = "The client specified not to prompt, but the user is not logged in.";
        return refuse(&params, redirect_uri, state, "login_required", detail);
    }
    let too_old = params.get("max_age").and_then(|age| age.parse().ok()).is_some_and(|age: u64| {
        session.as_ref().is_some_and(|(_, at)| desk.now().since(*at) >= Duration::from_secs(age))
    });
    let step = match session {
        Some((email, auth_time)) if prompts.contains(&"none") => {
            Step::Agreed { email, auth_time, cookie: None }
        }
        _ => sign_in::step(
            desk,
            request,
            &prompt(&params, &client.name, &asked, too_old || prompts.contains(&"login")),
        ),
    };
    let (email, auth_time, cookie) = match step {
        Step::Page(page) => return page,
        Step::Refused => {
            let detail = "Resource owner did not consent to the request.";
            return refuse(&params, redirect_uri, state, "access_denied", detail);
        }
        Step::Agreed { email, auth_time, cookie } => (email, auth_time, cookie),
    };
    if !desk.person(&email).is_some_and(|person| person.employee) {
        // The issuer is the organisation: someone of another company can have no account in it.
        let detail = "User is not assigned to the client application.";
        return refuse(&params, redirect_uri, state, "access_denied", detail);
    }
    desk.consent(&email, &client.id, &asked);
    let facts = Facts {
        email: Some(email),
        client_id: client.id.clone(),
        scopes: asked,
        auth_time,
        nonce: params.filled("nonce").map(str::to_owned),
        family: desk.book.new_family(),
    };
    let terms = CodeTerms { redirect_uri: redirect_uri.to_owned(), challenge, lifetime: CODE_LIFETIME };
    let code = desk.book.issue_code(facts, terms);
    send(&params, redirect_uri, &[("code", &code), ("state", state)]).with_cookie(cookie.as_deref())
}

fn check(
    params: &Params,
    state: &str,
    asked: &Scopes,
) -> Result<Option<Challenge>, (&'static str, &'static str)> {
    if !state.bytes().all(|b| b.is_ascii_alphanumeric() || b",._-".contains(&b)) {
        return Err(("invalid_request", "The authentication request has an invalid 'state' parameter."));
    }
    if params.get("response_type") != Some("code") {
        return Err((
            "unsupported_response_type",
            "The response type is not supported by the authorization server.",
        ));
    }
    if !matches!(params.get("response_mode"), None | Some("query" | "form_post")) {
        return Err(("invalid_request", "The response mode is not supported by the authorization server."));
    }
    if asked.is_empty() {
        return Err(("invalid_scope", "The authentication request must have a 'scope' parameter."));
    }
    if unknown_scope(asked).is_some() {
        return Err((
            "invalid_scope",
            "One or more scopes are not configured for the authorization server resource.",
        ));
    }
    match (params.filled("code_challenge"), params.get("code_challenge_method")) {
        (None, None) => Ok(None),
        (Some(challenge), Some("S256")) => Ok(Challenge::read(challenge, Some("S256"))),
        (Some(_), _) => Err(("invalid_request", "PKCE code challenge method must be 'S256'.")),
        (None, Some(_)) => Err(("invalid_request", "PKCE code challenge is required with its method.")),
    }
}

fn prompt<'p>(params: &'p Params, app: &'p str, asked: &Scopes, force_password: bool) -> Prompt<'p> {
    let only_sign_in = asked.iter().all(|s| matches!(s.as_str(), "openid" | "profile" | "email"));
    Prompt {
        look: &LOOK,
        app,
        scopes: (asked.iter())
            .filter(|scope| *scope != "openid")
            .map(|scope| (scope.clone(), describe(scope).unwrap_or_default().to_owned()))
            .collect(),
        login_hint: params.filled("login_hint"),
        force_password,
        sign_in_only: only_sign_in,
    }
}

fn refuse(params: &Params, redirect_uri: &str, state: &str, error: &str, detail: &str) -> Reply {
    send(params, redirect_uri, &[("state", state), ("error", error), ("error_description", detail)])
}

/// The answer to the client, by the response mode that it asked for.
fn send(params: &Params, redirect_uri: &str, answer: &[(&str, &str)]) -> Reply {
    if params.get("response_mode") != Some("form_post") {
        return Reply::redirect(&with_query(redirect_uri, answer));
    }
    let fields: String = (answer.iter())
        .map(|(name, value)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value)))
        .collect();
    Reply::html(
        200,
        format!(
            "<!doctype html><html lang=\"en\"><title>Okta</title><form method=\"post\" action=\"{}\">{fields}\
             <button type=\"submit\">Continue</button></form></html>",
            escape(redirect_uri)
        ),
    )
}
