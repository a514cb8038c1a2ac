//! The back channel: `/token`, `/revoke`, `/introspect`, `/userinfo`.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::kernel::encode;
use crate::sandbox::desk::Desk;
use crate::sandbox::okta::directory::{self, Groups};
use crate::sandbox::okta::{ISSUER, client, oauth_error};
use crate::sandbox::tokens::{
    CodeRefusal, Facts, Redemption, RefreshRefusal, Renewal, Rotation, Scopes, joined, scopes,
};
use crate::sandbox::wire::{BroaderScope, Params, Reply, Request};
use crate::sandbox::world::Person;

/// Fixed at the org authorization server.
const ACCESS_LIFETIME_S: u64 = 3600;
const REFRESH_LIFETIME: Duration = Duration::from_secs(90 * 86_400);
const INVALID_REFRESH: &str = "The refresh token is invalid or expired.";

/// `POST /oauth2/v1/token`.
pub(super) fn answer(rotation: Rotation, desk: &Desk, request: &Request) -> Reply {
    let Ok(form) = request.form() else {
        return oauth_error(
            400,
            "invalid_request",
            "The content type must be application/x-www-form-urlencoded.",
        );
    };
    if form.repeated().is_some() {
        return oauth_error(400, "invalid_request", "A parameter was sent more than once.");
    }
    let client = match client(desk, request, &form) {
        Ok(client) => client.id.clone(),
        Err(refusal) => return refusal,
    };
    match form.get("grant_type") {
        Some("authorization_code") => redeem(desk, request, &form, &client),
        Some("refresh_token") => renew(rotation, desk, request, &form, &client),
        Some(_) => oauth_error(
            400,
            "unsupported_grant_type",
            "The authorization grant type is not supported by the authorization server.",
        ),
        None => oauth_error(400, "invalid_request", "The token request must specify a 'grant_type'."),
    }
}

fn redeem(desk: &Desk, request: &Request, form: &Params, client: &str) -> Reply {
    let (Some(code), Some(redirect_uri)) = (form.filled("code"), form.filled("redirect_uri")) else {
        return oauth_error(400, "invalid_request", "'code' and 'redirect_uri' are required.");
    };
    let redemption = Redemption {
        client_id: client,
        redirect_uri: Some(redirect_uri),
        verifier: form.get("code_verifier"),
    };
    match desk.book.redeem_code(code, &redemption) {
        Ok(facts) => {
            let refresh = (facts.scopes.contains("offline_access"))
                .then(|| desk.book.issue_refresh(facts.clone(), REFRESH_LIFETIME, ""));
            let granted = facts.scopes.clone();
            tokens(desk, request, &facts, granted, refresh)
        }
        Err(CodeRefusal::Verifier) => oauth_error(400, "invalid_grant", "PKCE verification failed."),
        Err(CodeRefusal::Redirect) => oauth_error(
            400,
            "invalid_grant",
            "The 'redirect_uri' does not match the redirection URI used in the authorization request.",
        ),
        Err(_) => oauth_error(400, "invalid_grant", "The authorization code is invalid or has expired."),
    }
}

fn renew(rotation: Rotation, desk: &Desk, request: &Request, form: &Params, client: &str) -> Reply {
    let Some(token) = form.filled("refresh_token") else {
        return oauth_error(400, "invalid_request", "'refresh_token' is required.");
    };
    let asked = form.filled("scope").map(scopes);
    if let Ok(facts) = desk.book.peek_refresh(token)
        && asked.as_ref().is_some_and(|asked| !asked.is_subset(&facts.scopes))
    {
        // Checked before the rotation: a refused request must not cost the token.
        return oauth_error(400, "invalid_scope", "The requested scope is invalid, unknown, or malformed.");
    }
    // A refresh token comes back only where `offline_access` is asked for; the old one is spent all the same.
    let returns_token = asked.as_ref().is_none_or(|asked| asked.contains("offline_access"));
    let renewal = Renewal { rotation, lifetime: None, returns_token, prefix: "" };
    match desk.book.renew(token, client, &renewal) {
        Ok((facts, refresh)) => {
            let granted = asked.unwrap_or_else(|| facts.scopes.clone());
            tokens(desk, request, &facts, granted, refresh)
        }
        Err(RefreshRefusal::OtherClient) => {
            oauth_error(400, "invalid_grant", "The refresh token was issued to another client.")
        }
        Err(_) => oauth_error(400, "invalid_grant", INVALID_REFRESH),
    }
}

/// The successful answer: what is granted, widened where a fault says so.
fn tokens(
    desk: &Desk,
    request: &Request,
    facts: &Facts,
    mut granted: Scopes,
    refresh: Option<String>,
) -> Reply {
    let email = facts.email.as_deref().unwrap_or_default();
    match &request.twist.broader_scope {
        Some(BroaderScope::AllGranted) => granted.extend(desk.consented(email, &facts.client_id)),
        Some(BroaderScope::These(more)) => granted.extend(scopes(more)),
        None => {}
    }
    let Some(person) = desk.person(email) else {
        return oauth_error(400, "invalid_grant", INVALID_REFRESH);
    };
    let lifetime = desk.lifetime(request, ACCESS_LIFETIME_S);
    let narrowed = Facts { scopes: granted.clone(), ..facts.clone() };
    let access = access_token(desk, &person, &narrowed, lifetime);
    let mut answer = json!({
        "token_type": "Bearer",
        "expires_in": lifetime.as_secs(),
        "access_token": access,
        "scope": joined(&granted),
    });
    if let Some(answer) = answer.as_object_mut() {
        if let Some(refresh) = refresh {
            answer.insert("refresh_token".to_owned(), Value::String(refresh));
        }
        if granted.contains("openid") {
            let id_token = id_token(desk, &person, &narrowed, Some(&access));
            answer.insert("id_token".to_owned(), Value::String(id_token));
        }
    }
    Reply::json(200, &answer).with("cache-control", "no-cache, no-store").with("pragma", "no-cache")
}

fn access_token(desk: &Desk, person: &Person, facts: &Facts, lifetime: Duration) -> String {
    let now = desk.now();
    let token = desk.signer.jwt(&json!({
        "ver": 1,
        "jti": desk.book.random("AT."),
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": person.email,
        "iat": now.secs(),
        "exp": now.plus(lifetime).secs(),
        "cid": facts.client_id,
        "uid": directory::user_id(person),
        "scp": facts.scopes,
        "auth_time": facts.auth_time.secs(),
    }));
    desk.book.adopt_access(&token, facts.clone(), lifetime);
    token
}

/// An ID token for the client of `facts`.
pub(super) fn id_token(desk: &Desk, person: &Person, facts: &Facts, access: Option<&str>) -> String {
    let now = desk.now().secs();
    let mut claims = json!({
        "sub": directory::user_id(person),
        "ver": 1,
        "iss": ISSUER,
        "aud": facts.client_id,
        "iat": now,
        "exp": now + 3600,
        "jti": desk.book.random("ID."),
        "amr": ["pwd"],
        "idp": "00oexample0000000001",
        "auth_time": facts.auth_time.secs(),
    });
    if let Some(claims) = claims.as_object_mut() {
        if facts.scopes.contains("profile") {
            claims.insert("name".to_owned(), json!(person.name));
            claims.insert("preferred_username".to_owned(), json!(person.email));
        }
        if facts.scopes.contains("email") {
            claims.insert("email".to_owned(), json!(person.email));
            claims.insert("email_verified".to_owned(), json!(true));
        }
        if let Some(nonce) = &facts.nonce {
            claims.insert("nonce".to_owned(), json!(nonce));
        }
        if let Some(access) = access {
            let hash = digest(&SHA256, access.as_bytes());
            let left_half = hash.as_ref().get(..16).unwrap_or_default();
            claims.insert("at_hash".to_owned(), json!(encode::base64url(left_half)));
        }
    }
    desk.signer.jwt(&claims)
}

/// `POST /oauth2/v1/revoke` (RFC 7009): always 200 for tokens that are unknown.
pub(super) fn revoke(desk: &Desk, request: &Request) -> Reply {
    let form = request.form().unwrap_or_default();
    let client = match client(desk, request, &form) {
        Ok(client) => client.id.as_str(),
        Err(refusal) => return refusal,
    };
    let Some(token) = form.filled("token") else {
        return oauth_error(400, "invalid_request", "The 'token' parameter is required.");
    };
    match form.get("token_type_hint") {
        None | Some("access_token" | "refresh_token" | "device_secret") => {
            desk.book.revoke_refresh(token, client);
            desk.book.revoke_access(token, client);
            Reply::empty(200)
        }
        Some(_) => oauth_error(400, "unsupported_token_type", "The token type is not supported."),
    }
}

/// `POST /oauth2/v1/introspect` (RFC 7662).
pub(super) fn introspect(desk: &Desk, request: &Request) -> Reply {
    let form = request.form().unwrap_or_default();
    let client = match client(desk, request, &form) {
        Ok(client) => client.id.as_str(),
        Err(refusal) => return refusal,
    };
    let token = form.get("token").unwrap_or_default();
    let (facts, kind) = match (desk.book.access(token), desk.book.peek_refresh(token)) {
        (Ok(facts), _) => (facts, "Bearer"),
        (_, Ok(facts)) => (facts, "refresh_token"),
        _ => return Reply::json(200, &json!({"active": false})),
    };
    if facts.client_id != client {
        return Reply::json(200, &json!({"active": false}));
    }
    let mut answer = json!({
        "active": true,
        "token_type": kind,
        "scope": joined(&facts.scopes),
        "client_id": facts.client_id,
        "username": facts.email,
        "sub": facts.email,
        "iss": ISSUER,
    });
    if let (Some(answer), Some(ends)) = (answer.as_object_mut(), desk.book.access_ends(token)) {
        answer.insert("exp".to_owned(), json!(ends.secs()));
    }
    Reply::json(200, &answer)
}

/// `GET /oauth2/v1/userinfo`.
pub(super) fn userinfo(groups: &Groups, desk: &Desk, request: &Request) -> Reply {
    let refused = |error: &str, detail: &str| {
        let challenge = format!("Bearer error=\"{error}\", error_description=\"{detail}\"");
        let status = if error == "insufficient_scope" { 403 } else { 401 };
        Reply::empty(status).with("www-authenticate", &challenge)
    };
    let Some(facts) = request.bearer().and_then(|token| desk.book.access(token).ok()) else {
        return refused("invalid_token", "The access token is invalid.");
    };
    if !facts.scopes.contains("openid") {
        return refused(
            "insufficient_scope",
            "The access token must provide access to at least one of these scopes - profile, email, address, phone",
        );
    }
    let Some(person) = facts.email.as_deref().and_then(|email| desk.person(email)) else {
        return refused("invalid_token", "The access token is invalid.");
    };
    let mut claims = json!({"sub": directory::user_id(&person)});
    if let Some(claims) = claims.as_object_mut() {
        if facts.scopes.contains("profile") {
            claims.insert("name".to_owned(), json!(person.name));
            claims.insert("given_name".to_owned(), json!(person.given));
            claims.insert("family_name".to_owned(), json!(person.family));
            claims.insert("preferred_username".to_owned(), json!(person.email));
            claims.insert("zoneinfo".to_owned(), json!("Europe/Berlin"));
        }
        if facts.scopes.contains("email") {
            claims.insert("email".to_owned(), json!(person.email));
            claims.insert("email_verified".to_owned(), json!(true));
        }
        if facts.scopes.contains("phone") {
            claims.insert("phone_number".to_owned(), json!(person.mobile));
        }
        if facts.scopes.contains("groups") {
            let names: Vec<String> = groups.list(Some(&person)).into_iter().map(|group| group.name).collect();
            claims.insert("groups".to_owned(), json!(names));
        }
    }
    Reply::json(200, &claims)
}
