//! Authorisation, token v2, revocation and `user_info`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::desk::{Client, ClientRefusal, Desk};
use crate::sandbox::sign_in::{self, Look, Prompt, Step};
use crate::sandbox::tokens::{
    Challenge, CodeRefusal, CodeTerms, Facts, Redemption, RefreshRefusal, Renewal, Rotation, Scopes, joined,
    scopes,
};
use crate::sandbox::wire::{BroaderScope, Params, Reply, Request, with_query};

use super::api::{self, Refusal};
use super::{open_id, tenant, union_id, user_id};

/// The page that asks the user.
pub(super) const AUTHORIZE: &str = "/open-apis/authen/v1/authorize";
/// The token endpoint, v2.
pub(super) const TOKEN: &str = "/open-apis/authen/v2/oauth/token";
/// The revocation endpoint, on the accounts host.
pub(super) const REVOKE: &str = "/oauth/v1/revoke";
/// Whose token it is.
pub(super) const USER_INFO: &str = "/open-apis/authen/v1/user_info";

const OFFLINE: &str = "offline_access";
const CODE_LIFETIME: Duration = Duration::from_secs(300);
const ACCESS_LIFETIME_S: u64 = 7200;
const REFRESH_LIFETIME: Duration = Duration::from_secs(604_800);
/// After this long only a new consent helps.
const CONSENT_LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// The most scopes that one authorisation request may name.
const MOST_SCOPES: usize = 50;
/// What the vendor's tokens, which are signed, start with.
const TOKEN_PREFIX: &str = "eyJhbGciOiJFUzI1NiIsImZlYXR1cmVfY29kZSI6IkZlYXR1cmVPQXV0aEpXVFNpZ25fQ04ifQ.";

const LOOK: Look = Look {
    brand: "Feishu",
    colour: "#3370ff",
    sign_in: "Log in to Feishu",
    consent: "{app} wants to access your Feishu account",
    allow: "Authorize",
    deny: "Decline",
    lang: "en",
};

/// The token endpoint's error codes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Problem {
    Missing,
    Secret,
    CodeUnknown,
    CodeExpired,
    OtherClient,
    RefreshInvalid,
    GrantType,
    RefreshExpired,
    NoSuchApp,
    Pkce,
    Server,
    Malformed,
    RefreshRevoked,
    CodeUsed,
    DuplicateScopes,
    ScopesNotGranted,
    TwoAuthMethods,
    Redirect,
    Unavailable,
    RefreshUsed,
}

impl Problem {
    const fn parts(self) -> (u16, i64, &'static str, &'static str) {
        match self {
            Self::Missing => (400, 20001, "invalid_request", "The request is missing a required parameter."),
            Self::Secret => (400, 20002, "invalid_client", "The client secret is invalid."),
            Self::CodeUnknown => (400, 20003, "invalid_grant", "The authorization code is not found."),
            Self::CodeExpired => (400, 20004, "invalid_grant", "The authorization code has expired."),
            Self::OtherClient => (
                400,
                20024,
                "invalid_grant",
                "The code or refresh token does not match the provided client ID.",
            ),
            Self::RefreshInvalid => (400, 20026, "invalid_grant", "The refresh token passed is invalid."),
            Self::GrantType => (400, 20036, "unsupported_grant_type", "The grant_type is not supported."),
            Self::RefreshExpired => (400, 20037, "invalid_grant", "The refresh token passed has expired."),
            Self::NoSuchApp => (400, 20048, "invalid_client", "The specified app does not exist."),
            Self::Pkce => (400, 20049, "invalid_grant", "PKCE code challenge failed."),
            Self::Server => (500, 20050, "server_error", "An unexpected server error occurred."),
            Self::Malformed => (400, 20063, "invalid_request", "The request is malformed."),
            Self::RefreshRevoked => (400, 20064, "invalid_grant", "The refresh token has been revoked."),
            Self::CodeUsed => (400, 20065, "invalid_grant", "The authorization code has been used."),
            Self::DuplicateScopes => {
                (400, 20067, "invalid_scope", "The scope list contains duplicate scopes.")
            }
            Self::ScopesNotGranted => {
                (400, 20068, "invalid_scope", "The scope list contains scopes that are not permitted.")
            }
            Self::TwoAuthMethods => {
                (400, 20070, "invalid_request", "Multiple authentication methods were provided.")
            }
            Self::Redirect => (400, 20071, "invalid_grant", "The redirect URI does not match."),
            Self::Unavailable => {
                (503, 20072, "temporarily_unavailable", "The server is temporarily unavailable.")
            }
            Self::RefreshUsed => (400, 20073, "invalid_grant", "The refresh token has been used."),
        }
    }
}

/// The token endpoint's error answer.
pub(super) fn error(code: Problem) -> Reply {
    let (status, code, error, description) = code.parts();
    Reply::json(status, &json!({"code": code, "error": error, "error_description": description}))
}

/// The members of a token request, from JSON or a form; `None` when it is neither, or a member is no text.
pub(super) fn fields(request: &Request) -> Option<BTreeMap<String, String>> {
    if let Ok(form) = request.form() {
        if form.repeated().is_some() {
            return None;
        }
        return Some(form.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
    }
    let document = request.json().ok()?;
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    document.as_object()?.iter().map(text).collect()
}

/// The authorisation page.
pub(super) fn authorize(desk: &Desk, request: &Request) -> Reply {
    let query = request.params();
    let (client, redirect_uri, challenge, asked) = match authorization(desk, &query) {
        Ok(checked) => checked,
        Err((code, detail)) => {
            return sign_in::error_page(&LOOK, 400, &format!("Error code: {code}"), detail);
        }
    };
    let state = query.get("state");
    let with_state = |name: &'static str, value: &str| {
        let mut params = vec![(name, value)];
        params.extend(state.map(|state| ("state", state)));
        with_query(redirect_uri, &params)
    };
    let prompt = Prompt {
        look: &LOOK,
        app: &client.name,
        scopes: asked.iter().map(|scope| (scope.clone(), api::title(scope).to_owned())).collect(),
        login_hint: None,
        force_password: false,
        sign_in_only: false,
    };
    match sign_in::step(desk, request, &prompt) {
        Step::Page(page) => page,
        Step::Refused => Reply::redirect(&with_state("error", "access_denied")),
        Step::Agreed { email, auth_time, cookie } => {
            // Consents add up: a later one with fewer scopes takes nothing away.
            let scopes = desk.consent(&email, &client.id, &asked);
            let family = desk.book.new_family();
            let facts = Facts {
                email: Some(email),
                client_id: client.id.clone(),
                scopes,
                auth_time,
                nonce: None,
                family,
            };
            let terms =
                CodeTerms { redirect_uri: redirect_uri.to_owned(), challenge, lifetime: CODE_LIFETIME };
            let code = desk.book.issue_code(facts, terms);
            Reply::redirect(&with_state("code", &code)).with_cookie(cookie.as_deref())
        }
    }
}

type Checked<'a> = (&'a Client, &'a str, Option<Challenge>, Scopes);

fn authorization<'a>(desk: &'a Desk, query: &'a Params) -> Result<Checked<'a>, (i64, &'static str)> {
    if query.repeated().is_some() {
        return Err((20063, "A parameter was sent twice."));
    }
    let id = query.filled("client_id").ok_or((20001, "client_id is missing."))?;
    let client = desk.client(id).ok_or((20048, "The specified app does not exist."))?;
    let uri = query.filled("redirect_uri").filter(|uri| client.allows_redirect(uri));
    let uri = uri.ok_or((20029, "The redirect_uri is not in the app's list."))?;
    if query.get("response_type") != Some("code") {
        return Err((20001, "response_type must be code."));
    }
    let challenge = match query.filled("code_challenge") {
        Some(challenge) => {
            let read = Challenge::read(challenge, query.filled("code_challenge_method"));
            Some(read.ok_or((20063, "The code_challenge_method is unknown."))?)
        }
        None => None,
    };
    let named: Vec<&str> =
        query.get("scope").unwrap_or_default().split(' ').filter(|s| !s.is_empty()).collect();
    if named.len() > MOST_SCOPES {
        return Err((20063, "More than 50 scopes were requested at once."));
    }
    if !named.iter().all(|scope| *scope == OFFLINE || api::knows_scope(scope)) {
        return Err((20027, "A requested scope is not enabled for this app."));
    }
    Ok((client, uri, challenge, named.into_iter().map(str::to_owned).collect()))
}

/// The token endpoint.
pub(super) fn token(desk: &Desk, request: &Request) -> Reply {
    redeem_or_renew(desk, request).unwrap_or_else(error)
}

fn redeem_or_renew(desk: &Desk, request: &Request) -> Result<Reply, Problem> {
    let fields = fields(request).ok_or(Problem::Malformed)?;
    let field = |name: &str| fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let grant_type = field("grant_type").ok_or(Problem::Missing)?;
    if request.header("authorization").is_some() {
        return Err(if field("client_secret").is_some() {
            Problem::TwoAuthMethods
        } else {
            Problem::Missing
        });
    }
    let id = field("client_id").ok_or(Problem::Missing)?;
    let secret = field("client_secret").ok_or(Problem::Missing)?;
    desk.check_client(id, secret).map_err(|refusal| match refusal {
        ClientRefusal::Unknown => Problem::NoSuchApp,
        ClientRefusal::WrongSecret => Problem::Secret,
    })?;
    match grant_type {
        "authorization_code" => {
            let redemption = Redemption {
                client_id: id,
                redirect_uri: field("redirect_uri"),
                verifier: field("code_verifier"),
            };
            let facts = desk.book.redeem_code(field("code").ok_or(Problem::Missing)?, &redemption)?;
            let narrowed = narrowed(field("scope"), &facts.scopes)?;
            let refresh = (narrowed.contains(OFFLINE))
                .then(|| desk.book.issue_refresh(facts.clone(), REFRESH_LIFETIME, TOKEN_PREFIX));
            Ok(success(desk, request, facts, narrowed, refresh))
        }
        "refresh_token" => {
            let token = field("refresh_token").ok_or(Problem::Missing)?;
            let facts = desk.book.peek_refresh(token).inspect_err(|_| desk.book.count_reuse(token))?;
            if desk.now().since(facts.auth_time) >= CONSENT_LIFETIME {
                return Err(Problem::RefreshExpired);
            }
            let narrowed = narrowed(field("scope"), &facts.scopes)?;
            let renewal = Renewal {
                rotation: Rotation::SingleUse,
                lifetime: Some(REFRESH_LIFETIME),
                // Whether a token without `offline_access` keeps the grant alive is not documented; here it
                // does not, the reading that a client can lose by.
                returns_token: narrowed.contains(OFFLINE),
                prefix: TOKEN_PREFIX,
            };
            let (facts, refresh) = desk.book.renew(token, id, &renewal)?;
            Ok(success(desk, request, facts, narrowed, refresh))
        }
        _ => Err(Problem::GrantType),
    }
}

/// The scopes that this token gets: those named, which must be granted and named once, or all.
fn narrowed(named: Option<&str>, granted: &Scopes) -> Result<Scopes, Problem> {
    let Some(named) = named else { return Ok(granted.clone()) };
    let list: Vec<&str> = named.split(' ').filter(|scope| !scope.is_empty()).collect();
    let set: BTreeSet<&str> = list.iter().copied().collect();
    if set.len() != list.len() {
        return Err(Problem::DuplicateScopes);
    }
    if set.iter().all(|scope| granted.contains(*scope)) {
        Ok(set.into_iter().map(str::to_owned).collect())
    } else {
        Err(Problem::ScopesNotGranted)
    }
}

fn success(desk: &Desk, request: &Request, facts: Facts, narrowed: Scopes, refresh: Option<String>) -> Reply {
    let scopes = match &request.twist.broader_scope {
        Some(BroaderScope::AllGranted) => facts.scopes.clone(),
        Some(BroaderScope::These(more)) => narrowed.union(&scopes(more)).cloned().collect(),
        None => narrowed,
    };
    let scope = joined(&scopes);
    let lifetime = desk.lifetime(request, ACCESS_LIFETIME_S);
    let access = desk.book.issue_access(Facts { scopes, ..facts }, lifetime, TOKEN_PREFIX);
    let mut document = json!({
        "code": 0,
        "access_token": access,
        "expires_in": lifetime.as_secs(),
        "token_type": "Bearer",
        "scope": scope,
    });
    if let (Some(refresh), Some(members)) = (refresh, document.as_object_mut()) {
        members.insert("refresh_token".to_owned(), json!(refresh));
        members.insert("refresh_token_expires_in".to_owned(), json!(REFRESH_LIFETIME.as_secs()));
    }
    Reply::json(200, &document).with("cache-control", "no-store")
}

impl From<CodeRefusal> for Problem {
    fn from(refusal: CodeRefusal) -> Self {
        match refusal {
            CodeRefusal::Unknown => Self::CodeUnknown,
            CodeRefusal::Used => Self::CodeUsed,
            CodeRefusal::Expired => Self::CodeExpired,
            CodeRefusal::OtherClient => Self::OtherClient,
            CodeRefusal::Redirect => Self::Redirect,
            CodeRefusal::Verifier => Self::Pkce,
        }
    }
}

impl From<RefreshRefusal> for Problem {
    fn from(refusal: RefreshRefusal) -> Self {
        match refusal {
            RefreshRefusal::Unknown => Self::RefreshInvalid,
            RefreshRefusal::Expired => Self::RefreshExpired,
            RefreshRefusal::OtherClient => Self::OtherClient,
            RefreshRefusal::Used => Self::RefreshUsed,
            RefreshRefusal::Revoked => Self::RefreshRevoked,
        }
    }
}

/// The revocation endpoint: RFC 7009, form only.
pub(super) fn revoke(desk: &Desk, request: &Request) -> Reply {
    let Ok(form) = request.form() else { return error(Problem::Malformed) };
    let (Some(id), Some(secret)) = (form.filled("client_id"), form.filled("client_secret")) else {
        return error(Problem::Missing);
    };
    match desk.check_client(id, secret) {
        Err(ClientRefusal::Unknown) => return error(Problem::NoSuchApp),
        Err(ClientRefusal::WrongSecret) => return error(Problem::Secret),
        Ok(_) => {}
    }
    let Some(token) = form.filled("token") else { return error(Problem::Missing) };
    // RFC 7009, section 2.1: the hint only says where to look first.
    desk.book.revoke_refresh(token, id);
    desk.book.revoke_access(token, id);
    Reply::json(200, &json!({"code": 0}))
}

/// Whose token it is, with the fields that its scopes open.
pub(super) fn user_info(desk: &Desk, request: &Request) -> Reply {
    let facts = match api::user_token(desk, request) {
        Ok(facts) => facts,
        Err(refusal) => return refusal.reply(),
    };
    let Some(person) = facts.email.as_deref().and_then(|email| desk.person(email)) else {
        return Refusal::new(400, 20008, "The user does not exist.").reply();
    };
    let mut data = json!({
        "name": person.name_zh,
        "en_name": person.name,
        "avatar_url": "https://s1-imfile.feishucdn.com/static-resource/v1/avatar",
        "avatar_thumb": "https://s1-imfile.feishucdn.com/static-resource/v1/avatar_72x72",
        "avatar_middle": "https://s1-imfile.feishucdn.com/static-resource/v1/avatar_240x240",
        "avatar_big": "https://s1-imfile.feishucdn.com/static-resource/v1/avatar_640x640",
        "open_id": open_id(&person.email),
        "union_id": union_id(&person.email),
        "tenant_key": tenant(person.employee),
    });
    let by_scope = [
        ("contact:user.email:readonly", "email", person.email.clone()),
        ("contact:user.employee:readonly", "enterprise_email", person.email.clone()),
        ("contact:user.employee:readonly", "employee_no", person.id.to_string()),
        ("contact:user.employee_id:readonly", "user_id", user_id(&person.email)),
        ("contact:user.phone:readonly", "mobile", person.mobile.clone()),
    ];
    if let Some(members) = data.as_object_mut() {
        for (scope, name, value) in by_scope {
            if facts.scopes.contains(scope) {
                members.insert(name.to_owned(), json!(value));
            }
        }
    }
    Reply::json(200, &json!({"code": 0, "msg": "success", "data": data}))
}
