//! `/{tenant}/oauth2/v2.0/token`: codes and renewals. A Graph token always carries everything that the person ever
//! consented to for the client; a subset in `scope` never narrows it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::desk::{ClientRefusal, Desk};
use crate::sandbox::entra::authorize::client_info;
use crate::sandbox::entra::{Asked, GRAPH, LOGIN, oauth_error, object_id, read_scopes, spelled, tenant_of};
use crate::sandbox::tokens::{
    CodeRefusal, Facts, Redemption, RefreshRefusal, Renewal, Rotation, Scopes, scopes, sha256,
};
use crate::sandbox::wire::{BroaderScope, Params, Reply, Request};
use crate::sandbox::world::{Person, guid};

/// Really a random value from 60 to 90 minutes; what is written on the wire says it.
const ACCESS_LIFETIME_S: u64 = 3599;
/// 90 days without use.
const REFRESH_LIFETIME: Duration = Duration::from_secs(90 * 86_400);
const REFRESH_PREFIX: &str = "1.AX0A";

/// `POST /{tenant}/oauth2/v2.0/token`.
pub(super) fn answer(desk: &Desk, request: &Request) -> Reply {
    let Ok(form) = request.form() else {
        let text = "The request body must contain the following parameter: 'grant_type'.";
        return oauth_error(desk, 400, "invalid_request", 900_144, text, None);
    };
    if form.repeated().is_some() {
        return oauth_error(desk, 400, "invalid_request", 9_000_411, "A parameter is duplicated.", None);
    }
    if form.get("resource").is_some() {
        let text = "The 'resource' request parameter is not supported.";
        return oauth_error(desk, 400, "invalid_request", 901_002, text, None);
    }
    let client = match client(desk, request, &form) {
        Ok(client) => client,
        Err(refusal) => return refusal,
    };
    match form.get("grant_type") {
        Some("authorization_code") => redeem(desk, request, &form, &client),
        Some("refresh_token") => renew(desk, request, &form, &client),
        Some(_) => {
            let text = "The app requested an unsupported grant type.";
            oauth_error(desk, 400, "unsupported_grant_type", 70003, text, None)
        }
        None => {
            let text = "The request body must contain the following parameter: 'grant_type'.";
            oauth_error(desk, 400, "invalid_request", 900_144, text, None)
        }
    }
}

fn client(desk: &Desk, request: &Request, form: &Params) -> Result<String, Reply> {
    let (id, secret) = match request.basic() {
        Some(pair) => pair,
        None => {
            let id = form.get("client_id").unwrap_or_default().to_owned();
            let Some(secret) = form.filled("client_secret") else {
                let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
                return Err(oauth_error(desk, 401, "invalid_client", 7_000_218, text, None));
            };
            (id, secret.to_owned())
        }
    };
    if request.header("origin").is_some() {
        // A browser-based redemption is for the `spa` redirect type only; our clients are registered as `web`.
        let text = "Tokens issued for the 'Web' client-type may not be redeemed by a cross-origin request.";
        return Err(oauth_error(desk, 400, "invalid_request", 9_002_327, text, None));
    }
    match desk.check_client(&id, &secret) {
        Ok(client) => Ok(client.id.clone()),
        Err(ClientRefusal::Unknown) => {
            let text = "Application was not found in the directory.";
            Err(oauth_error(desk, 400, "unauthorized_client", 700_016, text, None))
        }
        Err(ClientRefusal::WrongSecret) => {
            let text = "Invalid client secret provided.";
            Err(oauth_error(desk, 401, "invalid_client", 7_000_215, text, None))
        }
    }
}

fn asked_scopes(desk: &Desk, form: &Params) -> Result<Option<Asked>, Reply> {
    let Some(text) = form.filled("scope") else { return Ok(None) };
    read_scopes(text).map(Some).map_err(|unknown| {
        let text = format!("The provided value for the input parameter 'scope' is not valid. The scope {unknown} does not exist.");
        oauth_error(desk, 400, "invalid_scope", 70011, &text, None)
    })
}

fn redeem(desk: &Desk, request: &Request, form: &Params, client: &str) -> Reply {
    let (Some(code), Some(redirect_uri)) = (form.filled("code"), form.filled("redirect_uri")) else {
        let text = "The request body must contain the following parameter: 'code', 'redirect_uri'.";
        return oauth_error(desk, 400, "invalid_request", 900_144, text, None);
    };
    if let Err(refusal) = asked_scopes(desk, form) {
        return refusal;
    }
    let redemption = Redemption {
        client_id: client,
        redirect_uri: Some(redirect_uri),
        verifier: form.get("code_verifier"),
    };
    match desk.book.redeem_code(code.strip_prefix("1.").unwrap_or(code), &redemption) {
        Ok(facts) => {
            let refresh = facts
                .scopes
                .contains("offline_access")
                .then(|| desk.book.issue_refresh(facts.clone(), REFRESH_LIFETIME, REFRESH_PREFIX));
            tokens(desk, request, form, &facts, refresh)
        }
        Err(refusal) => {
            let (number, text) = match refusal {
                CodeRefusal::Used => (54005, "OAuth2 Authorization code was already redeemed."),
                CodeRefusal::Expired => (70008, "The provided authorization code has expired."),
                CodeRefusal::Verifier => (
                    501_481,
                    "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
                ),
                CodeRefusal::Redirect => {
                    (500_112, "The reply address does not match the one used for the code.")
                }
                CodeRefusal::OtherClient | CodeRefusal::Unknown => {
                    (70000, "The provided value for the 'code' parameter is not valid.")
                }
            };
            oauth_error(desk, 400, "invalid_grant", number, text, None)
        }
    }
}

fn renew(desk: &Desk, request: &Request, form: &Params, client: &str) -> Reply {
    let Some(token) = form.filled("refresh_token") else {
        let text = "The request body must contain the following parameter: 'refresh_token'.";
        return oauth_error(desk, 400, "invalid_request", 900_144, text, None);
    };
    let asked = match asked_scopes(desk, form) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            let text = "The request body must contain the following parameter: 'scope'.";
            return oauth_error(desk, 400, "invalid_request", 900_144, text, None);
        }
        Err(refusal) => return refusal,
    };
    if let Ok(facts) = desk.book.peek_refresh(token) {
        let consented = desk.consented(facts.email.as_deref().unwrap_or_default(), client);
        if !asked.graph.is_subset(&consented) {
            let text = "The user or administrator has not consented to use the application.";
            return oauth_error(desk, 400, "invalid_grant", 65001, text, Some("consent_required"));
        }
    }
    let renewal = Renewal {
        rotation: Rotation::OldStays,
        lifetime: Some(REFRESH_LIFETIME),
        returns_token: true,
        prefix: REFRESH_PREFIX,
    };
    match desk.book.renew(token, client, &renewal) {
        Ok((facts, refresh)) => tokens(desk, request, form, &facts, refresh),
        Err(refusal) => {
            let (number, text) = match refusal {
                RefreshRefusal::Expired => (700_082, "The refresh token has expired due to inactivity."),
                RefreshRefusal::Revoked | RefreshRefusal::Used => (
                    50173,
                    "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
                ),
                RefreshRefusal::Unknown | RefreshRefusal::OtherClient => {
                    (70000, "The provided value for the 'refresh_token' parameter is not valid.")
                }
            };
            oauth_error(desk, 400, "invalid_grant", number, text, None)
        }
    }
}

fn tokens(desk: &Desk, request: &Request, form: &Params, facts: &Facts, refresh: Option<String>) -> Reply {
    let email = facts.email.as_deref().unwrap_or_default();
    let Some(person) = desk.person(email) else {
        return oauth_error(desk, 400, "invalid_grant", 50034, "The user account does not exist.", None);
    };
    let mut graph: Scopes = desk.consented(email, &facts.client_id);
    if let Some(BroaderScope::These(more)) = &request.twist.broader_scope {
        graph.extend(
            scopes(more).iter().map(|s| s.trim_start_matches("https://graph.microsoft.com/").to_owned()),
        );
    }
    let oidc = ["openid", "profile", "email"].into_iter().filter(|name| facts.scopes.contains(*name));
    // `offline_access` never appears in the answer.
    let by_uri = match asked_scopes(desk, form) {
        Ok(Some(asked)) if asked.names_graph() => asked.by_uri,
        _ => facts.scopes.iter().any(|scope| scope.starts_with(GRAPH)),
    };
    let shown: Vec<String> =
        oidc.map(str::to_owned).chain(graph.iter().map(|name| spelled(name, by_uri))).collect();
    let lifetime = desk.lifetime(request, ACCESS_LIFETIME_S);
    let access = access_token(desk, &person, &Facts { scopes: graph, ..facts.clone() }, lifetime);
    let mut answer = json!({
        "token_type": "Bearer",
        "scope": shown.join(" "),
        "expires_in": lifetime.as_secs(),
        "ext_expires_in": lifetime.as_secs(),
        "access_token": access,
    });
    if let Some(answer) = answer.as_object_mut() {
        if let Some(refresh) = refresh {
            answer.insert("refresh_token".to_owned(), Value::String(refresh));
        }
        if facts.scopes.contains("openid") {
            answer.insert("id_token".to_owned(), Value::String(id_token(desk, &person, facts)));
        }
        if form.get("client_info") == Some("1") {
            answer.insert("client_info".to_owned(), Value::String(client_info(&person)));
        }
    }
    Reply::json(200, &answer).with("cache-control", "no-store, no-cache").with("pragma", "no-cache")
}

fn access_token(desk: &Desk, person: &Person, facts: &Facts, lifetime: Duration) -> String {
    let now = desk.now();
    let token = desk.signer.jwt(&json!({
        "aud": GRAPH,
        "iss": format!("https://sts.windows.net/{}/", tenant_of(person)),
        "iat": now.secs(),
        "nbf": now.secs(),
        "exp": now.plus(lifetime).secs(),
        "appid": facts.client_id,
        "oid": object_id(person),
        "tid": tenant_of(person),
        "upn": person.email,
        "scp": facts.scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
        "uti": desk.book.random(""),
        "ver": "1.0",
    }));
    desk.book.adopt_access(&token, facts.clone(), lifetime);
    token
}

fn id_token(desk: &Desk, person: &Person, facts: &Facts) -> String {
    let now = desk.now().secs();
    let tenant = tenant_of(person);
    let mut claims = json!({
        "aud": facts.client_id,
        "iss": format!("{LOGIN}/{tenant}/v2.0"),
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        // Pairwise: another client sees another subject for the same person.
        "sub": sha256(&format!("entra:sub:{}:{}", facts.client_id, guid("entra:user", person.id))),
        "tid": tenant,
        "uti": desk.book.random(""),
        "ver": "2.0",
    });
    if let Some(claims) = claims.as_object_mut() {
        if facts.scopes.contains("profile") {
            claims.insert("name".to_owned(), json!(person.name));
            claims.insert("oid".to_owned(), json!(object_id(person)));
            claims.insert("preferred_username".to_owned(), json!(person.email));
        }
        if facts.scopes.contains("email") {
            claims.insert("email".to_owned(), json!(person.email));
        }
        if let Some(nonce) = &facts.nonce {
            claims.insert("nonce".to_owned(), json!(nonce));
        }
    }
    desk.signer.jwt(&claims)
}
