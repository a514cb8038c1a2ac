//! What a provider's errors mean, by the template's rules.

use crate::providers::dialect::members::Members;
use crate::providers::template::{ErrorClass, ErrorPlace, ErrorRule, OkMember, Template};

/// An error, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// What it asks for.
    pub class: ErrorClass,
    /// The provider's code, fit to be shown and logged.
    pub code: Option<String>,
    /// Whether a rule of the template names it.
    pub is_known: bool,
}

/// What an answer means; `None` = it is no error. The body may be cut off.
pub fn classify(template: &Template, place: ErrorPlace, status: u16, body: &[u8]) -> Option<ErrorClass> {
    explain(template, place, status, body, None).map(|found| found.class)
}

/// The same for an answer of one API, whose own member for success counts too.
pub fn classify_api(template: &Template, api: &str, status: u16, body: &[u8]) -> Option<ErrorClass> {
    let ok = template.api.get(api).and_then(|api| api.ok.as_ref());
    explain(template, ErrorPlace::Api, status, body, ok).map(|found| found.class)
}

/// Whether a 2xx answer is a success by a member of its own. The body must be whole.
pub fn is_ok(rule: Option<&OkMember>, body: &[u8]) -> bool {
    rule.is_none_or(|rule| Members::parse(body).is_ok_and(|members| members.is_ok(rule)))
}

/// What an answer means, with the provider's code.
pub fn explain(
    template: &Template,
    place: ErrorPlace,
    status: u16,
    body: &[u8],
    ok: Option<&OkMember>,
) -> Option<Classified> {
    let is_success = (200..400).contains(&status);
    let rules = || template.errors.iter().filter(|rule| rule.at == place);
    let reads_body = ok.is_some() || !is_success || rules().any(|rule| rule.member.is_some());
    let members = Members::parse_prefix(if reads_body { body } else { b"" });
    // A body that says success in so many words is judged by that, not by a rule about its other members.
    let says_ok = ok.map(|rule| members.is_ok(rule));
    if is_success && says_ok == Some(true) {
        return None;
    }
    if let Some((rule, code)) = rules().find_map(|rule| Some((rule, matched(rule, status, &members)?))) {
        let code = code.or_else(|| ok.and_then(|ok| members.text(&ok.member))).and_then(|code| plain(&code));
        return Some(Classified { class: rule.class, code, is_known: true });
    }
    if is_success && says_ok.is_none() {
        return None;
    }
    // A 2xx answer without its member for success that is no object either (a file, a picture) is data.
    if is_success && members.is_empty() {
        return None;
    }
    let class = if status == 429 || status >= 500 { ErrorClass::Retry } else { ErrorClass::Unknown };
    let stated =
        ok.map(|ok| ok.member.as_str()).into_iter().chain(rules().filter_map(|r| r.member.as_deref()));
    let code = stated.chain(["error", "code"]).find_map(|member| members.text(member));
    Some(Classified { class, code: code.and_then(|code| plain(&code)), is_known: false })
}

/// `None` = the rule does not hold; otherwise the code that it looked at.
fn matched(rule: &ErrorRule, status: u16, members: &Members<'_>) -> Option<Option<String>> {
    if rule.status.is_some_and(|wanted| wanted != status) {
        return None;
    }
    let Some(member) = &rule.member else {
        return rule.status.map(|_| None);
    };
    let value = members.text(member)?;
    let is_listed = rule.values.is_empty() || rule.values.contains(&value);
    is_listed.then_some(Some(value))
}

/// A code, if it is one: what looks like anything else (a sentence, a token) is left out.
fn plain(code: &str) -> Option<String> {
    let is_code = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
    // Long codes are made of words; long runs with digits in them are how tokens look.
    let looks_like_a_token = code.len() > 20 && code.bytes().any(|b| b.is_ascii_digit());
    let is_plain = (1..=64).contains(&code.len()) && code.bytes().all(is_code) && !looks_like_a_token;
    is_plain.then(|| code.to_owned())
}
