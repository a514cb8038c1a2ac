//! Signing in, user tokens, and the app's own tokens.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::desk::{Client, Desk};
use crate::sandbox::sign_in::{self, Look, Prompt, Step};
use crate::sandbox::tokens::{CodeTerms, Facts, Redemption, Renewal, Rotation, Scopes, scopes};
use crate::sandbox::wire::{Params, Reply, Request, with_query};

use super::{CORP, DingTalk, api, corp, oapi};

/// The page that asks the user.
pub(super) const AUTHORIZE: &str = "/oauth2/auth";
/// User tokens: codes and renewals.
pub(super) const USER_TOKEN: &str = "/v1.0/oauth2/userAccessToken";
/// The app's own token.
const APP_TOKEN: &str = "/v1.0/oauth2/accessToken";
/// The app's own token, at the old API.
pub(super) const OLD_APP_TOKEN: &str = "/gettoken";

const CODE_LIFETIME: Duration = Duration::from_secs(300);
const ACCESS_LIFETIME_S: u64 = 7200;
const REFRESH_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

const LOOK: Look = Look {
    brand: "DingTalk",
    colour: "#1677ff",
    sign_in: "Log in to DingTalk",
    consent: "{app} requests access to your DingTalk account",
    allow: "Agree",
    deny: "Cancel",
    lang: "en",
};

/// Whether a path issues the app's own token.
pub(super) fn is_app_token(path: &str) -> bool {
    path == APP_TOKEN || corp_in(path).is_some()
}

/// The company in `/v1.0/oauth2/{corpId}/token`.
fn corp_in(path: &str) -> Option<&str> {
    path.strip_prefix("/v1.0/oauth2/")?.strip_suffix("/token").filter(|corp| !corp.contains('/'))
}

/// The authorisation page.
pub(super) fn authorize(desk: &Desk, request: &Request) -> Reply {
    let query = request.params();
    let (client, redirect_uri, asked) = match authorization(desk, &query) {
        Ok(checked) => checked,
        Err(detail) => return sign_in::error_page(&LOOK, 400, "The link is not valid", detail),
    };
    let state = query.get("state");
    let with_state = |name: &'static str, value: &str| {
        let mut params = vec![(name, value)];
        params.extend(state.map(|state| ("state", state)));
        with_query(redirect_uri, &params)
    };
    let words = |scope: &String| match scope.as_str() {
        "corpid" => (scope.clone(), "The organization that you choose".to_owned()),
        _ => (scope.clone(), "Your name, avatar and identity".to_owned()),
    };
    let prompt = Prompt {
        look: &LOOK,
        app: &client.name,
        scopes: asked.iter().map(words).collect(),
        login_hint: None,
        force_password: false,
        sign_in_only: false,
    };
    match sign_in::step(desk, request, &prompt) {
        Step::Page(page) => page,
        Step::Refused => Reply::redirect(&with_state("error", "access_denied")),
        Step::Agreed { email, auth_time, cookie } => {
            let chosen = query.filled("corpId");
            let elsewhere =
                desk.person(&email).is_none_or(|person| chosen.is_some_and(|c| c != corp(&person)));
            if elsewhere {
                return sign_in::error_page(
                    &LOOK,
                    403,
                    "Not a member",
                    "You do not belong to that organization.",
                );
            }
            desk.consent(&email, &client.id, &asked);
            let family = desk.book.new_family();
            let client_id = client.id.clone();
            let facts =
                Facts { email: Some(email), client_id, scopes: asked, auth_time, nonce: None, family };
            let terms =
                CodeTerms { redirect_uri: redirect_uri.to_owned(), challenge: None, lifetime: CODE_LIFETIME };
            let code = desk.book.issue_code(facts, terms);
            Reply::redirect(&with_state("authCode", &code)).with_cookie(cookie.as_deref())
        }
    }
}

fn authorization<'a>(
    desk: &'a Desk,
    query: &'a Params,
) -> Result<(&'a Client, &'a str, Scopes), &'static str> {
    if query.repeated().is_some() {
        return Err("A parameter was sent twice.");
    }
    let client =
        query.filled("client_id").and_then(|id| desk.client(id)).ok_or("The client_id is unknown.")?;
    let uri = query.filled("redirect_uri").filter(|uri| client.allows_redirect(uri));
    let uri = uri.ok_or("The redirect_uri is not registered in the app's security settings.")?;
    if query.get("response_type") != Some("code") {
        return Err("response_type must be code.");
    }
    if query.get("prompt") != Some("consent") {
        return Err("prompt must be consent.");
    }
    let asked = match query.get("scope") {
        Some(scope @ ("openid" | "openid corpid")) => scopes(scope),
        _ => return Err("scope must be openid, or openid corpid."),
    };
    let needs_corp = query.filled("corpId").is_some() || query.filled("org_type").is_some();
    if needs_corp && !asked.contains("corpid") {
        return Err("corpId and org_type need the scope corpid.");
    }
    Ok((client, uri, asked))
}

/// User tokens: a code is redeemed, or a refresh token spent.
pub(super) fn user_token(desk: &Desk, request: &Request) -> Reply {
    let Ok(body) = request.json() else {
        return api::error(400, "invalidParameter", "The body must be a JSON object.");
    };
    let member = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(id), Some(secret)) = (member("clientId"), member("clientSecret")) else {
        return api::error(400, "invalidClientIdOrSecret", "clientId and clientSecret are needed.");
    };
    if desk.check_client(id, secret).is_err() {
        return api::error(400, "invalidClientIdOrSecret", "The clientId or clientSecret is invalid.");
    }
    let rejected = || {
        api::error(
            400,
            "invalidParameter.authCode.notFound",
            "The code or token does not exist or has expired.",
        )
    };
    let (facts, refresh) = match member("grantType") {
        Some("authorization_code") => {
            let Some(code) = member("code") else {
                return api::error(400, "invalidParameter", "code is needed.");
            };
            let redemption = Redemption { client_id: id, redirect_uri: None, verifier: None };
            let Ok(facts) = desk.book.redeem_code(code, &redemption) else { return rejected() };
            let refresh = desk.book.issue_refresh(facts.clone(), REFRESH_LIFETIME, "");
            (facts, Some(refresh))
        }
        Some("refresh_token") => {
            let Some(token) = member("refreshToken") else {
                return api::error(400, "invalidParameter", "refreshToken is needed.");
            };
            // The documents are silent about a token that comes twice; the vendor's own client stores each new
            // one and says that the old one is dead, so here it is.
            let renewal = Renewal {
                rotation: Rotation::SingleUse,
                lifetime: Some(REFRESH_LIFETIME),
                returns_token: true,
                prefix: "",
            };
            let Ok(renewed) = desk.book.renew(token, id, &renewal) else { return rejected() };
            renewed
        }
        Some(_) => return api::error(400, "unsupported.grant.type", "The grantType is not supported."),
        None => return api::error(400, "invalidParameter", "grantType is needed."),
    };
    let lifetime = desk.lifetime(request, ACCESS_LIFETIME_S);
    let company = facts.email.as_deref().and_then(|email| desk.person(email)).map(|person| corp(&person));
    let company = company.filter(|_| facts.scopes.contains("corpid"));
    let access = desk.book.issue_access(facts, lifetime, "");
    let mut document =
        json!({"accessToken": access, "refreshToken": refresh, "expireIn": lifetime.as_secs()});
    if let (Some(company), Some(members)) = (company, document.as_object_mut()) {
        members.insert("corpId".to_owned(), json!(company));
    }
    Reply::json(200, &document)
}

/// The app's own token, in both of the new API's forms.
pub(super) fn app_token(vendor: &DingTalk, desk: &Desk, request: &Request) -> Reply {
    let Ok(body) = request.json() else {
        return api::error(400, "invalidParameter", "The body must be a JSON object.");
    };
    let member = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if let Some(corp) = corp_in(&request.path) {
        if member("grant_type") != "client_credentials" {
            return api::error(400, "unsupported.grant.type", "grant_type must be client_credentials.");
        }
        let known = desk.check_client(member("client_id"), member("client_secret")).is_ok();
        if !known || corp != CORP {
            return api::error(400, "invalid.client", "The client is invalid.");
        }
        let (token, expires_in) = issue(vendor, desk, request, member("client_id"));
        return Reply::json(200, &json!({"access_token": token, "expires_in": expires_in}));
    }
    if desk.check_client(member("appKey"), member("appSecret")).is_err() {
        return api::error(400, "invalidClientIdOrSecret", "The appKey or appSecret is invalid.");
    }
    let (token, expires_in) = issue(vendor, desk, request, member("appKey"));
    Reply::json(200, &json!({"accessToken": token, "expireIn": expires_in}))
}

/// The app's own token at the old API.
pub(super) fn old_app_token(vendor: &DingTalk, desk: &Desk, request: &Request) -> Reply {
    let query = request.params();
    let (key, secret) = (query.get("appkey").unwrap_or_default(), query.get("appsecret").unwrap_or_default());
    if desk.check_client(key, secret).is_err() {
        return oapi::error(40089, "invalid corpid or corpsecret");
    }
    let (token, expires_in) = issue(vendor, desk, request, key);
    Reply::json(200, &json!({"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": expires_in}))
}

fn issue(vendor: &DingTalk, desk: &Desk, request: &Request, app: &str) -> (String, u64) {
    let lifetime = desk.lifetime(request, ACCESS_LIFETIME_S);
    let facts = Facts {
        email: None,
        client_id: app.to_owned(),
        scopes: Scopes::new(),
        auth_time: desk.now(),
        nonce: None,
        family: desk.book.new_family(),
    };
    let mut tokens = vendor.app_tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let token = match tokens.get(app).filter(|token| desk.book.access(token).is_ok()) {
        Some(token) => token.clone(),
        None => desk.book.random(""),
    };
    desk.book.adopt_access(&token, facts, lifetime);
    tokens.insert(app.to_owned(), token.clone());
    (token, lifetime.as_secs())
}
