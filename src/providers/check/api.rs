//! APIs, how they take tokens, and what errors mean.

use crate::providers::check::texts::{self, Samples};
use crate::providers::check::tree::{Node, Report};

/// Headers that are never an agent's to set, nor a place for a token.
const OWN_HEADERS: [&str; 20] = [
    "host",
    "cookie",
    "set-cookie",
    "authorization",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
];

/// Judges it.
pub fn judge(root: &Node<'_>, samples: &Samples<'_>, report: &mut Report<'_>) {
    for (name, api) in root.entries_of("api") {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts_well || name.len() > 32 || !name.bytes().all(is_plain) {
            report.at(&api, "is no name for an api", "write 1 to 32 lower-case letters, digits or hyphens");
        }
        samples.origin(&api, "base", report);
        if let Some(send) = api.get("send") {
            judge_send(&send, report);
        }
        if let Some(ok) = api.get("ok") {
            texts::member(&ok, "member", report);
        }
        judge_headers(&api, report);
        judge_storage(&api, report);
        let refused = api.items_of("refuse_query");
        texts::unique(&refused, report);
        for node in refused.iter().filter(|node| node.as_text().is_some_and(|t| !texts::is_param_name(t))) {
            report.at(node, "is no name of a parameter", "write it as the vendor does: \"$expand\"");
        }
    }
    for rule in root.items_of("errors") {
        judge_error(&rule, report);
    }
}

/// The hosts of storage: whole names, or all names below one that is not a public suffix by itself.
fn judge_storage(api: &Node<'_>, report: &mut Report<'_>) {
    let hosts = api.items_of("storage_hosts");
    texts::unique(&hosts, report);
    for node in &hosts {
        let Some(host) = node.as_text() else { continue };
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_label = |label: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !label.is_empty() && label.bytes().all(plain)
        };
        let ends_in_letters =
            name.rsplit('.').next().is_some_and(|top| !top.bytes().any(|b| b.is_ascii_digit()));
        if !(name.contains('.') && name.split('.').all(is_label) && ends_in_letters) {
            let instead = "write `files.example.com`, or `*.example.com` for all names below it";
            report.at(node, "is no host name in lower case", instead);
        }
    }
}

/// Judges how a token is sent.
pub fn judge_send(send: &Node<'_>, report: &mut Report<'_>) {
    let (header, query) = (send.stated("header"), send.stated("query"));
    if send.is_table() && header.is_some() == query.is_some() {
        let problem =
            if header.is_some() { "has both header and query" } else { "has neither header nor query" };
        report.at(send, problem, "write { header = \"Authorization\" } or { query = \"access_token\" }");
    }
    let is_bad = |name: &str| {
        let lower = name.to_ascii_lowercase();
        !is_header(&lower) || (lower != "authorization" && is_own(&lower))
    };
    if header.is_some_and(is_bad) {
        let instead = "write for example \"Authorization\" or \"x-access-token\"";
        report.key(send, "header", "is no header that can carry a token", instead);
    }
    if query.is_some_and(|name| !texts::is_param_name(name)) {
        report.key(send, "query", "is no name of a parameter", "write for example \"access_token\"");
    }
}

fn judge_headers(api: &Node<'_>, report: &mut Report<'_>) {
    let headers = api.items_of("request_headers");
    texts::unique(&headers, report);
    let token_header = api.text_in("send", "header").unwrap_or("Authorization");
    for node in &headers {
        let Some(name) = node.as_text() else { continue };
        if !is_header(name) {
            report.at(node, "is no header's name in lower case", "write for example \"prefer\"");
        } else if is_own(name) || name.eq_ignore_ascii_case(token_header) {
            report.at(node, "is a header that agents must not set", "remove it");
        }
    }
}

fn is_header(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

fn is_own(name: &str) -> bool {
    OWN_HEADERS.contains(&name) || name.starts_with("proxy-") || name.starts_with("x-forwarded-")
}

fn judge_error(rule: &Node<'_>, report: &mut Report<'_>) {
    let (status, member) = (rule.get("status"), rule.get("member"));
    if status.is_none() && member.is_none() {
        let instead = "write status = 429, or member = \"error\" with values";
        report.at(rule, "has no condition, so it would match every answer", instead);
    }
    if let Some(status) = status
        && status.as_number().is_some_and(|number| number < 200)
    {
        report.at(&status, "is no status that an answer has", "write a number from 200 to 599");
    }
    if rule.get("values").is_some() && member.is_none() {
        report.key(rule, "member", "is missing, but `values` are its values", "write member = \"error\"");
    }
    if rule.get("values").is_some_and(|node| node.is_list()) && rule.items_of("values").is_empty() {
        let instead = "list the values, or remove the key to mean any value";
        report.key(rule, "values", "is empty", instead);
    }
    texts::unique(&rule.items_of("values"), report);
    texts::member(rule, "member", report);
    let is_success = rule.get("status").is_some_and(|node| node.as_number().is_some_and(|n| n < 400));
    if is_success && member.is_none() {
        report.key(rule, "status", "would make every success an error", "add `member` and `values`");
    }
}
