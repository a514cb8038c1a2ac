//! Tokens of the app itself, as the vendor's own SDKs obtain them.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::desk::Desk;
use crate::sandbox::tokens::{Facts, Scopes};
use crate::sandbox::wire::{Reply, Request};

use super::Lark;

/// The path of `tenant_access_token` for self-built apps.
pub(super) const TENANT: &str = "/open-apis/auth/v3/tenant_access_token/internal";
/// The path of `app_access_token` for self-built apps.
pub(super) const APP: &str = "/open-apis/auth/v3/app_access_token/internal";

const LIFETIME_S: u64 = 7200;
/// With at least this much left, the same token comes again.
const HANDED_OUT_AGAIN: Duration = Duration::from_secs(30 * 60);

/// Answers both paths.
pub(super) fn answer(lark: &Lark, desk: &Desk, request: &Request) -> Reply {
    // The official SDK sends this JSON without a content type.
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return Reply::json(400, &json!({"code": 10003, "msg": "invalid param"}));
    };
    let member = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(id), Some(secret)) = (member("app_id"), member("app_secret")) else {
        return Reply::json(400, &json!({"code": 10003, "msg": "invalid param"}));
    };
    if desk.check_client(id, secret).is_err() {
        return Reply::json(400, &json!({"code": 99_991_543, "msg": "app id or app secret is invalid"}));
    }
    let (tenant, expire) = token(lark, desk, request, id, "t-");
    let mut document = json!({"code": 0, "msg": "ok", "tenant_access_token": tenant, "expire": expire});
    if request.path == APP {
        let (app, expire) = token(lark, desk, request, id, "a-");
        if let Some(members) = document.as_object_mut() {
            members.insert("app_access_token".to_owned(), json!(app));
            members.insert("expire".to_owned(), json!(expire));
        }
    }
    Reply::json(200, &document)
}

fn token(lark: &Lark, desk: &Desk, request: &Request, app: &str, prefix: &'static str) -> (String, u64) {
    let mut issued = lark.app_tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{prefix}{app}");
    if let Some((token, ends)) = issued.get(&key)
        && desk.now().until(*ends) >= HANDED_OUT_AGAIN
    {
        return (token.clone(), desk.now().until(*ends).as_secs());
    }
    let lifetime = desk.lifetime(request, LIFETIME_S);
    let facts = Facts {
        email: None,
        client_id: app.to_owned(),
        scopes: Scopes::new(),
        auth_time: desk.now(),
        nonce: None,
        family: desk.book.new_family(),
    };
    let token = desk.book.issue_access(facts, lifetime, prefix);
    issued.insert(key, (token.clone(), desk.now().plus(lifetime)));
    (token, lifetime.as_secs())
}
