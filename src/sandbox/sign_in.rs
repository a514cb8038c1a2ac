//! A vendor's own pages: sign in, pick the account, agree. Plain forms, no script.

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::entropy;
use crate::sandbox::desk::{Desk, Session};
use crate::sandbox::tokens::sha256;
use crate::sandbox::wire::{Params, Reply, Request, escape};

/// How long a browser stays signed in at a vendor.
const SESSION: Duration = Duration::from_secs(8 * 3600);

/// A vendor's wording and colour.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The vendor's name, as on its page.
    pub brand: &'static str,
    /// A CSS colour.
    pub colour: &'static str,
    /// The sign-in page's heading.
    pub sign_in: &'static str,
    /// The consent page's heading; `{app}` stands for the application's name.
    pub consent: &'static str,
    /// The label of the button that agrees.
    pub allow: &'static str,
    /// The label of the button that refuses.
    pub deny: &'static str,
    /// The `lang` attribute of the pages.
    pub lang: &'static str,
}

/// What one authorisation request asks of the person.
#[derive(Clone, Debug)]
pub struct Prompt<'a> {
    /// Wording and colour.
    pub look: &'a Look,
    /// The application's name.
    pub app: &'a str,
    /// Scope names with their descriptions, in the order of the page.
    pub scopes: Vec<(String, String)>,
    /// Fills in the user name.
    pub login_hint: Option<&'a str>,
    /// Ask for the password although the browser is signed in.
    pub force_password: bool,
    /// No consent page right after the password was typed: for requests that only sign in.
    pub sign_in_only: bool,
}

/// How far the person has come.
pub enum Step {
    /// Show this page; the person is not done.
    Page(Reply),
    /// The person refused.
    Refused,
    /// The person agreed.
    Agreed {
        /// Who it is.
        email: String,
        /// When the password was typed.
        auth_time: Timestamp,
        /// A cookie that the redirect has to set.
        cookie: Option<String>,
    },
}

/// The person behind a browser's session cookie, if it is signed in.
pub fn signed_in(desk: &Desk, request: &Request) -> Option<(String, Timestamp)> {
    let key = sha256(request.cookie(&cookie_name(desk))?);
    let now = desk.now();
    let sessions = desk.sessions();
    sessions.get(&key).filter(|s| s.expires_at > now).map(|s| (s.email.clone(), s.auth_time))
}

/// Takes the person one step further. Call it for `GET` and `POST` of the authorisation endpoint alike, after
/// the request's own parameters were checked.
pub fn step(desk: &Desk, request: &Request, prompt: &Prompt<'_>) -> Step {
    let form = if request.method == "POST" { request.form().unwrap_or_default() } else { Params::default() };
    let session = signed_in(desk, request);
    if let Some(username) = form.get("username") {
        let Some(email) = password_matches(desk, username, form.get("password").unwrap_or_default()) else {
            return Step::Page(sign_in_page(request, prompt, username, true));
        };
        let auth_time = desk.now();
        let cookie = open_session(desk, &email, auth_time);
        if prompt.sign_in_only {
            return Step::Agreed { email, auth_time, cookie: Some(cookie) };
        }
        return Step::Page(consent_page(request, prompt, &email).with_cookie(Some(&cookie)));
    }
    let Some((email, auth_time)) = session else {
        return Step::Page(sign_in_page(request, prompt, prompt.login_hint.unwrap_or_default(), false));
    };
    match form.get("decision") {
        Some("allow") => Step::Agreed { email, auth_time, cookie: None },
        Some("deny") => Step::Refused,
        Some("switch") => Step::Page(sign_in_page(request, prompt, "", false)),
        _ if prompt.force_password => Step::Page(sign_in_page(request, prompt, &email, false)),
        _ => Step::Page(consent_page(request, prompt, &email)),
    }
}

/// A page that says why the request is refused, for errors that must not be redirected.
pub fn error_page(look: &Look, status: u16, heading: &str, detail: &str) -> Reply {
    let body = format!("<h1>{}</h1><p class=\"warn\">{}</p>", escape(heading), escape(detail));
    Reply::html(status, page(look, heading, &body))
}

fn password_matches(desk: &Desk, username: &str, password: &str) -> Option<String> {
    let username = username.trim().to_ascii_lowercase();
    let (email, expected) = desk.accounts.iter().find(|(email, _)| *email == username)?;
    let same: bool = expected.expose().as_bytes().ct_eq(password.as_bytes()).into();
    same.then(|| email.clone())
}

fn cookie_name(desk: &Desk) -> String {
    format!("sandbox_{}", desk.provider)
}

fn open_session(desk: &Desk, email: &str, auth_time: Timestamp) -> String {
    let value = encode::base64url(&entropy::bytes::<32>(desk.entropy.as_ref()));
    let session = Session { email: email.to_owned(), auth_time, expires_at: auth_time.plus(SESSION) };
    desk.sessions().insert(sha256(&value), session);
    format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", cookie_name(desk))
}

fn sign_in_page(request: &Request, prompt: &Prompt<'_>, username: &str, failed: bool) -> Reply {
    let warning = if failed {
        "<p class=\"warn\" role=\"alert\">We could not sign you in: the user name or password is wrong.</p>"
    } else {
        ""
    };
    let body = format!(
        "<h1>{heading}</h1>{warning}<p>to continue to <strong>{app}</strong></p>\
         <form method=\"post\" action=\"{action}\">\
         <label for=\"username\">E-mail</label>\
         <input id=\"username\" name=\"username\" type=\"email\" autocomplete=\"username\" required value=\"{username}\">\
         <label for=\"password\">Password</label>\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required>\
         <button type=\"submit\">{heading}</button></form>",
        heading = escape(prompt.look.sign_in),
        app = escape(prompt.app),
        action = escape(&request.here()),
        username = escape(username),
    );
    Reply::html(200, page(prompt.look, prompt.look.sign_in, &body))
}

fn consent_page(request: &Request, prompt: &Prompt<'_>, email: &str) -> Reply {
    let heading = prompt.look.consent.replace("{app}", prompt.app);
    let scopes: String = (prompt.scopes.iter())
        .map(|(name, description)| format!("<li>{} <code>{}</code></li>", escape(description), escape(name)))
        .collect();
    let list = if scopes.is_empty() { String::new() } else { format!("<ul>{scopes}</ul>") };
    let body = format!(
        "<h1>{heading}</h1><p>Continue as <strong>{email}</strong></p>{list}\
         <form method=\"post\" action=\"{action}\">\
         <button type=\"submit\" name=\"decision\" value=\"allow\">{allow}</button>\
         <button type=\"submit\" class=\"plain\" name=\"decision\" value=\"deny\">{deny}</button>\
         <button type=\"submit\" class=\"link\" name=\"decision\" value=\"switch\">Use another account</button></form>",
        heading = escape(&heading),
        email = escape(email),
        action = escape(&request.here()),
        allow = escape(prompt.look.allow),
        deny = escape(prompt.look.deny),
    );
    Reply::html(200, page(prompt.look, &heading, &body))
}

fn page(look: &Look, title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"{lang}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title} · {brand}</title>\
         <style>{style}:root{{--brand:{colour}}}</style></head><body><main><p class=\"brand\">{brand}</p>{body}\
         </main><footer>Valetkey provider sandbox. This is not {brand}: nothing here leaves this machine.</footer>\
         </body></html>",
        lang = look.lang,
        title = escape(title),
        brand = escape(look.brand),
        style = STYLE,
        colour = look.colour,
    )
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2129;--paper:#f3f5f8;--card:#fff;--line:#cfd5dd}\
@media(prefers-color-scheme:dark){:root{--ink:#e8ebf0;--paper:#14171c;--card:#1e2229;--line:#3c434f}}\
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-content:center;gap:1rem;padding:1rem;\
font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
main{width:min(26rem,92vw);padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:8px}\
.brand{margin:0 0 1rem;font-weight:700;color:var(--brand)}h1{margin:0 0 .5rem;font-size:1.35rem}\
label{display:block;margin:.9rem 0 .25rem;font-weight:600}\
input{width:100%;padding:.6rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:4px}\
button{width:100%;margin-top:1rem;padding:.65rem;font:inherit;font-weight:600;color:#fff;background:var(--brand);\
border:1px solid var(--brand);border-radius:4px;cursor:pointer}\
button.plain{color:inherit;background:transparent;border-color:var(--line)}\
button.link{color:inherit;background:transparent;border-color:transparent;text-decoration:underline;font-weight:400}\
:focus-visible{outline:3px solid var(--brand);outline-offset:2px}ul{padding-left:1.1rem}li{margin:.3rem 0}\
code{font-size:.8rem;opacity:.75;overflow-wrap:anywhere}.warn{padding:.6rem;border-left:4px solid #c62828}\
footer{width:min(26rem,92vw);font-size:.8rem;opacity:.7;text-align:center}";
