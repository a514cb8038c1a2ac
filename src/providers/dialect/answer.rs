//! Token answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::scope::{Scope, ScopeSet};
use crate::kernel::secret::{SecretBytes, SecretString};
use crate::providers::dialect::classify;
use crate::providers::dialect::members::{self, Members, Unreadable};
use crate::providers::dialect::scopes::read_scopes;
use crate::providers::template::{ErrorClass, ErrorPlace, Identity, Template, TokenAnswer};

/// No access token is believed to live longer.
const MAX_LIFE_S: u64 = 24 * 3600;
/// No refresh token is believed to live longer: ten years.
const MAX_REFRESH_LIFE_S: u64 = 10 * 365 * 24 * 3600;
/// No token is longer; it has to fit into a header.
const MAX_TOKEN: usize = 16 * 1024;

/// What a provider gave.
#[derive(Debug)]
pub struct TokenSet {
    /// The access token.
    pub access_token: SecretString,
    /// A new refresh token. `None` = keep the one there is.
    pub refresh_token: Option<SecretString>,
    /// How long the access token lives; 0 when the provider says that it is over already.
    pub expires_in: Duration,
    /// How long the refresh token lives, where the answer or the template says.
    pub refresh_expires_in: Option<Duration>,
    /// What the access token may do, in Valetkey's names; `None` = not stated.
    pub scopes: Option<ScopeSet>,
    /// The ID token.
    pub id_token: Option<SecretString>,
    /// Members that the template's identity wants as `token:<member>`, by that member's path.
    pub extra: BTreeMap<String, String>,
}

/// A token call that was answered, but not with tokens. Holds nothing of the body but a short code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words} (HTTP {status}{})", code.as_deref().map(|code| format!(", `{code}`")).unwrap_or_default())]
pub struct TokenFailure {
    /// What it asks for.
    pub class: ErrorClass,
    /// The HTTP status.
    pub status: u16,
    /// The provider's own code, cleaned.
    pub code: Option<String>,
    /// Whether the provider said no, so that what was presented has not been spent. When `false` (an
    /// unreadable success, a 5xx), a single-use token may be gone.
    pub is_refusal: bool,
    /// What happened, in words.
    pub words: &'static str,
}

/// Reads the answer of a token endpoint.
///
/// # Errors
/// When it holds no usable tokens.
pub fn parse_token_answer(
    answer: &TokenAnswer,
    template: &Template,
    status: u16,
    body: &SecretBytes,
) -> Result<TokenSet, TokenFailure> {
    let bytes = body.expose().as_slice();
    let ok = answer.ok.as_ref();
    if !(200..300).contains(&status) {
        return Err(refused(template, status, bytes, answer));
    }
    let unreadable =
        |words| TokenFailure { class: ErrorClass::Unknown, status, code: None, is_refusal: false, words };
    let members = Members::parse(bytes)
        .map_err(|Unreadable| unreadable("the provider's answer is not a JSON object"))?;
    if ok.is_some_and(|rule| !members.is_ok(rule)) {
        return Err(refused(template, status, bytes, answer));
    }
    let secret = |member: &str| match member {
        "" => Ok(None),
        member => members.secret(member),
    };
    let access_token = match secret(&answer.access_token) {
        Ok(Some(token)) if is_token(&token) => token,
        Ok(Some(_)) | Err(Unreadable) => return Err(unreadable("the access token is not a token")),
        // Some vendors put an error into a 200 without a member for success.
        Ok(None) => {
            let mut failure = refused(template, status, bytes, answer);
            failure.is_refusal &= failure.code.is_some();
            return Err(failure);
        }
    };
    if !is_bearer(&members, &answer.access_token) {
        return Err(unreadable("the token is not a bearer token"));
    }
    let refresh_token = secret(&answer.refresh_token)
        .map_err(|Unreadable| unreadable("the refresh token is not a text"))?
        .map(|token| if is_token(&token) { Ok(token) } else { Err(()) })
        .transpose()
        .map_err(|()| unreadable("the refresh token is not a token"))?;
    // An ID token that cannot be read must not cost the refresh token that came with it.
    let id_token = secret(&answer.id_token).ok().flatten().filter(is_token);
    let stated_life = seconds(&members, &answer.expires_in).unwrap_or(answer.default_expires_in);
    let refresh_life = seconds(&members, &answer.refresh_expires_in)
        .or_else(|| {
            // Where it is fixed it counts from the consent, not from here.
            let refresh = template.refresh.as_ref().filter(|refresh| !refresh.fixed_life);
            refresh.map(|refresh| refresh.lifetime_s)
        })
        // Zero is how some vendors write that there is no end.
        .filter(|life| *life > 0);
    Ok(TokenSet {
        access_token,
        refresh_token,
        expires_in: Duration::from_secs(stated_life.min(MAX_LIFE_S)),
        refresh_expires_in: refresh_life.map(|life| Duration::from_secs(life.min(MAX_REFRESH_LIFE_S))),
        scopes: scopes(template, &members, &answer.scope),
        id_token,
        extra: extra(&template.identity, &members),
    })
}

fn refused(template: &Template, status: u16, body: &[u8], answer: &TokenAnswer) -> TokenFailure {
    let ok = answer.ok.as_ref();
    let found = classify::explain(template, ErrorPlace::Token, status, body, ok);
    let class = found.as_ref().map_or(ErrorClass::Unknown, |found| found.class);
    let is_known = found.as_ref().is_some_and(|found| found.is_known);
    // Inside a 2xx only a code that is really there counts as a no.
    let has_code = ok.is_some() && found.as_ref().is_some_and(|found| found.code.is_some());
    let is_refusal = (400..500).contains(&status) || ((200..300).contains(&status) && (is_known || has_code));
    TokenFailure {
        class,
        status,
        code: found.and_then(|found| found.code),
        is_refusal: is_refusal && class != ErrorClass::Retry,
        words: words(class),
    }
}

fn words(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Retry => "the provider is busy or has trouble",
        ErrorClass::Reauth => "the provider wants the user's consent again",
        ErrorClass::StepUp => "the provider wants a stronger sign-in",
        ErrorClass::Admin => "the provider's administrator must act",
        ErrorClass::Config => "the registration or secret at the provider is wrong",
        ErrorClass::Gone => "the account no longer exists at the provider",
        ErrorClass::StaleToken => "the provider no longer takes this token",
        ErrorClass::Request => "the provider does not understand the request",
        ErrorClass::Unknown => "the provider gave no tokens, and no reason that is known",
    }
}

/// Visible ASCII: what fits into a header without changing its meaning (RFC 6750, section 2.1).
fn is_token(token: &SecretString) -> bool {
    let text = token.expose_str();
    text.len() <= MAX_TOKEN && text.bytes().all(|b| b.is_ascii_graphic())
}

/// `token_type` stands beside the access token. Absent or empty counts as bearer.
fn is_bearer(members: &Members<'_>, access_token: &str) -> bool {
    let member = match access_token.rsplit_once('.') {
        Some((parent, _)) => format!("{parent}.token_type"),
        None => "token_type".to_owned(),
    };
    match members.raw(&member) {
        Ok(None | Some("null" | "\"\"")) => true,
        Ok(Some(raw)) => {
            members::unescape(raw).is_some_and(|text| text.expose_str().eq_ignore_ascii_case("bearer"))
        }
        Err(Unreadable) => false,
    }
}

/// A count of seconds, as a number or as digits in a string. What is negative is over.
fn seconds(members: &Members<'_>, member: &str) -> Option<u64> {
    if member.is_empty() {
        return None;
    }
    let text = members.text(member)?;
    let text = text.trim();
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole);
    }
    let number: f64 = text.parse().ok().filter(|number: &f64| !number.is_nan())?;
    if number <= 0.0 {
        return Some(0);
    }
    Some(Duration::try_from_secs_f64(number).map_or(u64::MAX, |life| life.as_secs()))
}

fn scopes(template: &Template, members: &Members<'_>, member: &str) -> Option<ScopeSet> {
    if member.is_empty() {
        return None;
    }
    let unreadable = || Some(ScopeSet::from_iter([Scope::unrecognised("")]));
    let raw = match members.raw(member) {
        Ok(None | Some("null")) => return None,
        Ok(Some(raw)) => raw,
        Err(Unreadable) => return unreadable(),
    };
    let texts =
        if raw.starts_with('[') { Members::list(raw).ok() } else { members::unescape(raw).map(|t| vec![t]) };
    match texts {
        Some(texts) => Some(read_scopes(template, texts.iter().map(|text| text.expose_str()))),
        // Stated, but not readable: must not pass for "not stated", which means "as asked".
        None => unreadable(),
    }
}

fn extra(identity: &Identity, members: &Members<'_>) -> BTreeMap<String, String> {
    let single = [&identity.subject, &identity.company].into_iter();
    single
        .chain(&identity.label)
        .chain(identity.pins.values())
        .filter_map(|place| place.strip_prefix("token:"))
        .filter_map(|member| {
            Some((member.to_owned(), members.text(member).filter(|text| text.len() <= 256)?))
        })
        .collect()
}
