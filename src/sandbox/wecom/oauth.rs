//! The web sign-in, the app's token, and whom a code stands for.

use std::time::Duration;

use serde_json::json;

use crate::sandbox::desk::{Client, ClientRefusal, Desk};
use crate::sandbox::sign_in::{self, Look, Prompt, Step};
use crate::sandbox::tokens::{CodeTerms, Facts, Redemption, Scopes};
use crate::sandbox::wire::{Params, Reply, Request, with_query};

use super::{AGENT, CORP, api, mint};

/// The sign-in page.
pub(super) const LOGIN: &str = "/wwlogin/sso/login";
/// The app's token.
pub(super) const APP_TOKEN: &str = "/cgi-bin/gettoken";
/// Whom a code stands for.
pub(super) const WHO: &str = "/cgi-bin/auth/getuserinfo";

const CODE_LIFETIME: Duration = Duration::from_secs(300);
const ACCESS_LIFETIME_S: u64 = 7200;
const LONGEST_STATE: usize = 128;

const LOOK: Look = Look {
    brand: "WeCom",
    colour: "#0082ef",
    sign_in: "Log in to WeCom",
    consent: "Log in to {app} with WeCom",
    allow: "Log in",
    deny: "Cancel",
    lang: "en",
};

/// The sign-in page. There are no scopes: the code only says who came.
pub(super) fn login(desk: &Desk, request: &Request) -> Reply {
    let query = request.params();
    let (client, redirect_uri) = match checked(desk, &query) {
        Ok(checked) => checked,
        Err((code, detail)) => {
            return sign_in::error_page(&LOOK, 400, &format!("Error code: {code}"), detail);
        }
    };
    let state = query.get("state");
    let prompt = Prompt {
        look: &LOOK,
        app: &client.name,
        scopes: Vec::new(),
        login_hint: None,
        force_password: false,
        sign_in_only: false,
    };
    match sign_in::step(desk, request, &prompt) {
        Step::Page(page) => page,
        // A refusal is told by what is missing: the state comes back without a code.
        Step::Refused => {
            let params: Vec<(&str, &str)> = state.map(|state| ("state", state)).into_iter().collect();
            Reply::redirect(&with_query(redirect_uri, &params))
        }
        Step::Agreed { email, auth_time, cookie } => {
            let facts = Facts {
                email: Some(email),
                client_id: client.id.clone(),
                scopes: Scopes::new(),
                auth_time,
                nonce: None,
                family: desk.book.new_family(),
            };
            let terms =
                CodeTerms { redirect_uri: redirect_uri.to_owned(), challenge: None, lifetime: CODE_LIFETIME };
            let code = desk.book.issue_code(facts, terms);
            let mut params = vec![("code", code.as_str())];
            params.extend(state.map(|state| ("state", state)));
            Reply::redirect(&with_query(redirect_uri, &params)).with_cookie(cookie.as_deref())
        }
    }
}

fn checked<'a>(desk: &'a Desk, query: &'a Params) -> Result<(&'a Client, &'a str), (i64, &'static str)> {
    if query.repeated().is_some() {
        return Err((40058, "A parameter was sent twice."));
    }
    if query.get("login_type") != Some("CorpApp") {
        return Err((40058, "login_type must be CorpApp."));
    }
    if query.get("appid") != Some(CORP) {
        return Err((40013, "The appid is not that of a company."));
    }
    if query.get("agentid") != Some(AGENT) {
        return Err((40056, "The agentid is not that of an app."));
    }
    let client = desk.clients.first().ok_or((40056, "The agentid is not that of an app."))?;
    let uri = query.filled("redirect_uri").filter(|uri| client.allows_redirect(uri));
    let uri = uri.ok_or((50001, "The redirect_uri is not in the trusted domain."))?;
    let state = query.get("state").unwrap_or_default();
    if state.len() > LONGEST_STATE || !state.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err((40058, "state holds letters and digits only, at most 128."));
    }
    Ok((client, uri))
}

/// The app's token, for the company's id and the app's secret.
pub(super) fn app_token(desk: &Desk, request: &Request) -> Reply {
    let query = request.params();
    let Some(corp) = query.filled("corpid") else { return api::error(41002, "corpid missing") };
    let Some(secret) = query.filled("corpsecret") else { return api::error(41004, "corpsecret missing") };
    if corp != CORP {
        return api::error(40013, "invalid corpid");
    }
    let Some(client) = desk.clients.first() else { return api::error(40001, "invalid credential") };
    if let Err(ClientRefusal::WrongSecret | ClientRefusal::Unknown) = desk.check_client(&client.id, secret) {
        return api::error(40001, "invalid credential");
    }
    let lifetime = desk.lifetime(request, ACCESS_LIFETIME_S);
    let facts = Facts {
        email: None,
        client_id: client.id.clone(),
        scopes: Scopes::new(),
        auth_time: desk.now(),
        nonce: None,
        family: desk.book.new_family(),
    };
    let token = desk.book.issue_access(facts, lifetime, "");
    Reply::json(
        200,
        &json!({"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": lifetime.as_secs()}),
    )
}

/// Whom a code stands for: a member's `userid`, or an outsider's `openid` with the same `errcode` 0.
pub(super) fn who(desk: &Desk, request: &Request) -> Reply {
    if let Err(refusal) = api::app_token(desk, request) {
        return refusal.reply();
    }
    let query = request.params();
    let Some(code) = query.filled("code") else { return api::error(41008, "missing code") };
    let client = desk.clients.first().map(|client| client.id.as_str()).unwrap_or_default();
    let redemption = Redemption { client_id: client, redirect_uri: None, verifier: None };
    let Ok(facts) = desk.book.redeem_code(code, &redemption) else {
        return api::error(40029, "invalid code");
    };
    let email = facts.email.unwrap_or_default();
    let document = match desk.person(&email).filter(|person| person.employee) {
        Some(member) => json!({"errcode": 0, "errmsg": "ok", "userid": member.key}),
        None => json!({"errcode": 0, "errmsg": "ok", "openid": mint("openid", &email)}),
    };
    Reply::json(200, &document)
}
