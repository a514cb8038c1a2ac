//! Consent and tokens: discovery, authorize, token, refresh, revoke, app_token.

use std::collections::BTreeSet;

use crate::kernel::scope::Scope;
use crate::providers::check::texts::{self, Samples};
use crate::providers::check::tree::{Node, Report, nearest};
use crate::providers::dialect::STANDARD_NAMES;

/// What is part of every authorization request already.
const AUTHORIZE_RESERVED: [&str; 9] = [
    "client_id",
    "client_secret",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

/// Judges it.
pub fn judge(root: &Node<'_>, samples: &Samples<'_>, report: &mut Report<'_>) {
    let is_discovered = root.get("discovery").is_some();
    let has_user_token = root.text_in("identity", "source") != Some("code");
    if let Some(discovery) = root.get("discovery") {
        samples.endpoint(&discovery, "issuer", report);
    }
    if !is_discovered && root.get("authorize").is_none() {
        report.key(root, "authorize", "is missing", "add [authorize] with url, or [discovery] with issuer");
    }
    if !is_discovered && has_user_token && root.get("token").is_none() {
        let instead = "add [token] with url, or [discovery], or identity.source = \"code\"";
        report.key(root, "token", "is missing", instead);
    }
    if !has_user_token && root.get("app_token").is_none() {
        let instead = "add [app_token], which identity.source = \"code\" is asked with";
        report.key(root, "app_token", "is missing", instead);
    }
    if let Some(authorize) = root.get("authorize") {
        judge_authorize(root, &authorize, samples, is_discovered, report);
    }
    for section in ["token", "app_token"] {
        if let Some(endpoint) = root.get(section) {
            // Discovery states the token endpoint, which is the app's as well.
            judge_token(&endpoint, samples, is_discovered, report);
        }
    }
    let has_token = is_discovered || root.get("token").is_some();
    if let Some(refresh) = root.get("refresh") {
        judge_refresh(root, &refresh, has_token, report);
    }
    if let Some(revoke) = root.get("revoke") {
        need_url(&revoke, "revoke", is_discovered, report);
        samples.endpoint(&revoke, "url", report);
        if let Some(ok) = revoke.get("ok") {
            texts::member(&ok, "member", report);
        }
        if !has_token {
            report.at(&revoke, "has no token to revoke", "add [token], or remove [revoke]");
        }
    }
}

fn need_url(section: &Node<'_>, name: &str, is_discovered: bool, report: &mut Report<'_>) {
    if !is_discovered && section.get("url").is_none() {
        report.key(section, "url", "is missing", format!("write url = \"https://login.example.com/{name}\""));
    }
}

fn judge_authorize(
    root: &Node<'_>,
    authorize: &Node<'_>,
    samples: &Samples<'_>,
    is_discovered: bool,
    report: &mut Report<'_>,
) {
    need_url(authorize, "authorize", is_discovered, report);
    samples.endpoint(authorize, "url", report);
    let id_param = authorize.text("client_id_param").unwrap_or("client_id");
    if id_param.is_empty() && !names_app(authorize) {
        let instead = "name the parameter, or put {client_id} or a company field into one of `params`";
        report.key(authorize, "client_id_param", "is empty, so nothing names the app", instead);
    } else if !id_param.is_empty() && !texts::is_param_name(id_param) {
        report.key(authorize, "client_id_param", "is no name of a parameter", "write for example \"appid\"");
    }
    let mut reserved = AUTHORIZE_RESERVED.to_vec();
    reserved.push(id_param);
    samples.params(authorize, &reserved, report);
    let is_fragment = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if authorize.stated("fragment").is_some_and(|text| text.len() > 64 || !is_fragment(text)) {
        let instead = "write letters, digits, `_` and `-` only, without `#`";
        report.key(authorize, "fragment", "is no plain fragment", instead);
    }
    let names = authorize.items_of("code_params");
    texts::unique(&names, report);
    if authorize.get("code_params").is_some_and(|node| node.is_list()) && names.is_empty() {
        report.key(authorize, "code_params", "is empty", "write code_params = [\"code\"], or remove it");
    }
    for name in &names {
        let stated = name.as_text().unwrap_or("code");
        if !texts::is_param_name(stated) || ["state", "error", "iss"].contains(&stated) {
            report.at(name, "is no parameter that can hold a code", "write for example \"code\"");
        }
    }
    judge_scopes(root, authorize, report);
}

/// Whether a fixed parameter holds what an admin stated, and so can name the app in the vendor's own way.
fn names_app(section: &Node<'_>) -> bool {
    section
        .entries_of("params")
        .iter()
        .any(|(_, value)| value.as_text().is_some_and(|text| text.contains('{')))
}

fn judge_scopes(root: &Node<'_>, authorize: &Node<'_>, report: &mut Report<'_>) {
    let is_fixed = authorize.text_in("scopes", "send") == Some("fixed");
    let is_whole = authorize.text("consent") == Some("whole");
    if is_fixed && !is_whole {
        let instead =
            "write consent = \"whole\", because with fixed scopes nobody agrees to single ones there";
        report.key(authorize, "consent", "does not go with scopes.send = \"fixed\"", instead);
    }
    if is_whole && !is_fixed {
        let instead = "write scopes.send = \"fixed\", or \"replaces\" or \"accumulates\" here";
        report.key(
            authorize,
            "consent",
            "says that the vendor has no scopes at consent, but they are sent",
            instead,
        );
    }
    let needs_openid = root.text_in("identity", "source") == Some("id_token");
    let Some(scopes) = authorize.get("scopes") else {
        if needs_openid {
            let instead = "write scopes = { always = [\"openid\"] }, or no ID token will come";
            report.key(authorize, "scopes", "is missing", instead);
        }
        return;
    };
    if let Some(separator) = scopes.text("separator")
        && ![" ", ","].contains(&separator)
    {
        let problem = format!("is `{separator}`, which is no separator");
        report.key(&scopes, "separator", problem, "write \" \" or \",\"");
    }
    let always = scopes.items_of("always");
    judge_scope_texts(&always, report);
    let has_openid = always.iter().any(|scope| scope.as_text() == Some("openid"));
    if needs_openid && !has_openid {
        report.key(&scopes, "always", "lacks \"openid\", without which no ID token comes", "add \"openid\"");
    }
    let max = scopes.number("max");
    if max > 0 && always.len() as u64 >= max && !is_fixed {
        report.key(&scopes, "max", "leaves no room beside `always`", "write how many the vendor takes");
    }
}

fn judge_scope_texts(items: &[Node<'_>], report: &mut Report<'_>) {
    texts::unique(items, report);
    for item in items {
        if item.as_text().is_some_and(|text| text.parse::<Scope>().is_err()) {
            let instead = "write printable ASCII without space, quote or backslash, one scope per item";
            report.at(item, "is not a scope", instead);
        }
    }
}

fn judge_token(endpoint: &Node<'_>, samples: &Samples<'_>, is_discovered: bool, report: &mut Report<'_>) {
    need_url(endpoint, "token", is_discovered, report);
    samples.endpoint(endpoint, "url", report);
    let names = endpoint.entries_of("names");
    let mut sent: BTreeSet<&str> = BTreeSet::new();
    for (name, value) in &names {
        let Some(wire) = value.as_text() else { continue };
        if !STANDARD_NAMES.contains(name) {
            let near = nearest(name, STANDARD_NAMES).map(|near| format!("write `{near}`"));
            let instead = near.unwrap_or_else(|| format!("the names are {}", STANDARD_NAMES.join(", ")));
            report.at(value, "is not a parameter that OAuth sends here", instead);
        }
        if !wire.is_empty() && !texts::is_param_name(wire) {
            report.at(value, "is no name of a parameter", "write letters, digits, `_`, `-` and `.`");
        }
        if !sent.insert(wire) && !wire.is_empty() {
            report.at(value, "is sent under a name that another parameter has", "give each its own");
        }
    }
    let stays = STANDARD_NAMES.iter().filter(|name| !names.iter().any(|(renamed, _)| renamed == *name));
    // A fixed scope is how client credentials name theirs; the others would be sent twice.
    let reserved: Vec<&str> = stays.copied().chain(sent).filter(|name| *name != "scope").collect();
    samples.params(endpoint, &reserved, report);
    let is_post = endpoint.text("client_auth") != Some("basic");
    let is_omitted =
        |name: &str| names.iter().any(|(key, value)| *key == name && value.as_text() == Some(""));
    for name in ["client_id", "client_secret"] {
        let is_named_otherwise = name == "client_id" && names_app(endpoint);
        if is_post && is_omitted(name) && !is_named_otherwise {
            let instead = "name the parameter, or write client_auth = \"basic\"";
            let table = endpoint.get("names").unwrap_or_else(|| endpoint.clone());
            report.key(&table, name, "is not sent, so the client would not be authenticated", instead);
        }
    }
    let Some(answer) = endpoint.get("answer") else { return };
    for key in ["access_token", "refresh_token", "refresh_expires_in", "expires_in", "scope", "id_token"] {
        texts::member(&answer, key, report);
    }
    if answer.get("default_expires_in").is_some_and(|node| node.as_number() == Some(0)) {
        let instead = "write how many seconds a token may be believed in, for example 300";
        report.key(&answer, "default_expires_in", "is 0, so every token would be over at once", instead);
    }
    if let Some(ok) = answer.get("ok") {
        texts::member(&ok, "member", report);
    }
}

fn judge_refresh(root: &Node<'_>, refresh: &Node<'_>, has_token: bool, report: &mut Report<'_>) {
    if !has_token {
        report.at(refresh, "has no token endpoint to go to", "add [token], or remove [refresh]");
    }
    let is_grace = refresh.text("rotation") == Some("grace");
    let grace = refresh.number("grace_s");
    if is_grace && grace == 0 {
        let instead = "write for how many seconds a spent token still works, or rotation = \"strict\"";
        report.key(refresh, "grace_s", "is missing, but rotation = \"grace\" needs it", instead);
    }
    if !is_grace && grace > 0 {
        report.key(
            refresh,
            "grace_s",
            "goes only with rotation = \"grace\"",
            "remove it, or change `rotation`",
        );
    }
    let answer = root.get("token").and_then(|token| token.get("answer"));
    let lacks = |key: &str| answer.as_ref().is_some_and(|answer| answer.text(key) == Some(""));
    if lacks("refresh_token") {
        let instead = "name the member in token.answer.refresh_token, or remove [refresh]";
        report.at(refresh, "needs a refresh token, but the answer is said to have none", instead);
    }
    let narrows = refresh.text("narrowing") == Some("narrows");
    if narrows && lacks("scope") {
        let instead =
            "name the member in token.answer.scope; without it nothing shows that a token is narrow";
        report.key(refresh, "narrowing", "needs the answer's scopes", instead);
    }
    let sends_scope = refresh.is_set("send_scope");
    if sends_scope && refresh.text("narrowing") == Some("rejected") {
        report.key(refresh, "send_scope", "contradicts narrowing = \"rejected\"", "remove one of the two");
    }
    let always = refresh.items_of("always");
    if !always.is_empty() && !narrows && !sends_scope {
        let instead = "remove it, or write narrowing = \"narrows\" or send_scope = true";
        report.key(refresh, "always", "has no effect, because no scopes are sent", instead);
    }
    judge_scope_texts(&always, report);
}
