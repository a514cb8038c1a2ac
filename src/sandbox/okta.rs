//! Okta: the org authorization server and the management API of one organisation.

mod api;
mod authorize;
mod directory;
mod filter;
mod token;

use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::desk::{Client, ClientRefusal, Desk, Service, Vendor};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::okta::directory::Groups;
use crate::sandbox::record::IdNames;
use crate::sandbox::sign_in::Look;
use crate::sandbox::tokens::{Facts, Rotation, Scopes};
use crate::sandbox::wire::{Params, Reply, Request};
use crate::sandbox::world::{Person, World};

/// The organisation's issuer, which every ID token carries.
pub const ISSUER: &str = "https://example.okta.com";

const LOOK: Look = Look {
    brand: "Okta",
    colour: "#3f59e4",
    sign_in: "Sign in",
    consent: "{app} wants to access your account",
    allow: "Allow access",
    deny: "Don't allow",
    lang: "en",
};

/// OpenID Connect scopes that the organisation's server knows.
const OIDC_SCOPES: &[(&str, &str)] = &[
    ("openid", "Sign you in"),
    ("profile", "View your name and profile"),
    ("email", "View your e-mail address"),
    ("address", "View your postal address"),
    ("phone", "View your telephone number"),
    ("groups", "View your groups"),
    ("offline_access", "Keep access while you are away"),
    ("device_sso", "Single sign-on between apps on a device"),
];

/// Management scopes that a super admin granted to the app.
const API_SCOPES: &[(&str, &str)] = &[
    ("okta.users.read", "Read users and their profiles"),
    ("okta.users.read.self", "Read your own user profile"),
    ("okta.users.manage", "Create and change users"),
    ("okta.users.manage.self", "Change your own user profile"),
    ("okta.groups.read", "Read groups and their members"),
    ("okta.groups.manage", "Change groups and their members"),
    ("okta.apps.read", "Read applications"),
    ("okta.apps.manage", "Change applications"),
    ("okta.logs.read", "Read the system log"),
];

fn describe(scope: &str) -> Option<&'static str> {
    OIDC_SCOPES.iter().chain(API_SCOPES).find(|(name, _)| *name == scope).map(|(_, text)| *text)
}

/// Okta's dialect.
pub struct Okta {
    /// What a renewal does to the old refresh token: an app's `rotation_type` and `leeway`.
    pub rotation: Rotation,
    groups: Groups,
}

impl Default for Okta {
    fn default() -> Self {
        Self { rotation: Rotation::Grace(Duration::from_secs(30)), groups: Groups::default() }
    }
}

impl Vendor for Okta {
    fn name(&self) -> &'static str {
        "okta"
    }

    fn services(&self) -> &'static [Service] {
        &[Service { name: "org", hosts: &["example.okta.com"] }]
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match request.path.as_str() {
            "/oauth2/v1/token" => match request.form().unwrap_or_default().get("grant_type") {
                Some("refresh_token") => Endpoint::Refresh,
                _ => Endpoint::Token,
            },
            "/oauth2/v1/revoke" => Endpoint::Revoke,
            "/oauth2/v1/userinfo" => Endpoint::Userinfo,
            path if path.starts_with("/api/") => Endpoint::Api,
            _ => Endpoint::Other,
        }
    }

    fn answer(&self, desk: &Desk, request: &Request) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server") => {
                Reply::json(200, &metadata())
            }
            ("GET", "/oauth2/v1/keys") => {
                Reply::json(200, &json!({"keys": [desk.signer.jwk(&json!({"alg": "RS256"}))]}))
            }
            ("GET" | "POST", "/oauth2/v1/authorize") => authorize::answer(desk, request),
            ("POST", "/oauth2/v1/token") => token::answer(self.rotation, desk, request),
            ("POST", "/oauth2/v1/revoke") => token::revoke(desk, request),
            ("POST", "/oauth2/v1/introspect") => token::introspect(desk, request),
            ("GET" | "POST", "/oauth2/v1/userinfo") => token::userinfo(&self.groups, desk, request),
            (_, path) if path.starts_with("/api/v1/") => api::answer(&self.groups, desk, request),
            _ => api_error(404, "E0000022", "The endpoint does not support the provided HTTP method"),
        }
    }

    fn id_names(&self) -> IdNames {
        IdNames { own: &["id", "uuid"], other: &["actor", "target", "_links", "credentials"], lists: &[] }
    }

    fn renew(&self, desk: &Desk) {
        desk.world(|world| *world = World::new());
        self.groups.renew();
    }

    fn throttled(&self, request: &Request, after_s: u64) -> Reply {
        let reply = if request.path.starts_with("/oauth2/") {
            oauth_error(429, "too_many_requests", "API call exceeded rate limit due to too many requests.")
        } else {
            api_error(429, "E0000047", "API call exceeded rate limit due to too many requests.")
        };
        reply
            .with("retry-after", &after_s.to_string())
            .with("x-rate-limit-limit", "600")
            .with("x-rate-limit-remaining", "0")
    }

    fn failing(&self, request: &Request, status: u16) -> Reply {
        if request.path.starts_with("/oauth2/") {
            oauth_error(status, "server_error", "The server encountered an unexpected condition.")
        } else {
            api_error(status, "E0000009", "Internal Server Error")
        }
    }
}

/// An ID token of the organisation, as it issues it to `audience` at sign-in.
pub fn id_token(desk: &Desk, person: &Person, audience: &str) -> String {
    let now = desk.now();
    let facts = Facts {
        email: Some(person.email.clone()),
        client_id: audience.to_owned(),
        scopes: ["openid", "profile", "email"].map(str::to_owned).into(),
        auth_time: now,
        nonce: None,
        family: desk.book.new_family(),
    };
    token::id_token(desk, person, &facts, None)
}

fn metadata() -> Value {
    let scopes: Vec<&str> = OIDC_SCOPES.iter().chain(API_SCOPES).map(|(name, _)| *name).collect();
    let at = |path: &str| format!("{ISSUER}/oauth2/v1/{path}");
    let auth = ["client_secret_basic", "client_secret_post"];
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "userinfo_endpoint": at("userinfo"),
        "jwks_uri": at("keys"),
        "revocation_endpoint": at("revoke"),
        "introspection_endpoint": at("introspect"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": scopes,
        "token_endpoint_auth_methods_supported": auth,
        "revocation_endpoint_auth_methods_supported": auth,
        "introspection_endpoint_auth_methods_supported": auth,
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "auth_time", "amr", "nonce", "name", "email",
            "email_verified", "preferred_username", "given_name", "family_name"],
    })
}

/// The client of a back-channel call, by `client_secret_basic` or `client_secret_post`, never both.
fn client<'d>(desk: &'d Desk, request: &Request, form: &Params) -> Result<&'d Client, Reply> {
    let posted = form.get("client_secret");
    let (id, secret) = match (request.basic(), posted) {
        (Some(_), Some(_)) => {
            return Err(oauth_error(
                400,
                "invalid_request",
                "Cannot supply multiple client credentials. Use one of the following: credentials in the \
                 Authorization header, credentials in the post body, or a client_assertion in the post body.",
            ));
        }
        (Some((id, secret)), None) => (id, secret),
        (None, Some(secret)) => (form.get("client_id").unwrap_or_default().to_owned(), secret.to_owned()),
        (None, None) => (String::new(), String::new()),
    };
    desk.check_client(&id, &secret).map_err(|refusal| {
        let detail = match refusal {
            ClientRefusal::Unknown => "Invalid value for 'client_id' parameter.",
            ClientRefusal::WrongSecret => "The client secret supplied for a confidential client is invalid.",
        };
        oauth_error(401, "invalid_client", detail)
    })
}

/// An OAuth endpoint's error.
fn oauth_error(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(status, &json!({"error": error, "error_description": description}))
        .with("cache-control", "no-cache, no-store")
}

/// The management API's error.
fn api_error(status: u16, code: &str, summary: &str) -> Reply {
    let document = json!({
        "errorCode": code,
        "errorSummary": summary,
        "errorLink": code,
        "errorId": "sandbox",
        "errorCauses": [],
    });
    Reply::json(status, &document)
}

/// Whether each scope is one that the app may ask for.
fn unknown_scope(scopes: &Scopes) -> Option<&str> {
    scopes.iter().map(String::as_str).find(|scope| describe(scope).is_none())
}
