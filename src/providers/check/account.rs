//! The account: where identity, company and pins come from.

use crate::providers::check::api;
use crate::providers::check::texts::{self, Samples};
use crate::providers::check::tree::{Node, Report};
use crate::providers::placeholder;

/// Judges it.
pub fn judge(root: &Node<'_>, samples: &Samples<'_>, report: &mut Report<'_>) {
    let Some(identity) = root.get("identity") else { return };
    let is_discovered = root.get("discovery").is_some();
    samples.endpoint(&identity, "issuer", report);
    samples.endpoint(&identity, "jwks_url", report);
    samples.endpoint(&identity, "url", report);
    match identity.text("source") {
        Some("id_token") if !is_discovered => {
            for key in ["issuer", "jwks_url"] {
                if identity.stated(key).is_none() {
                    let instead = format!("write {key} = \"https://…\", or add [discovery]");
                    report.key(&identity, key, "is missing, but ID tokens are checked with it", instead);
                }
            }
        }
        Some(source @ ("userinfo" | "code")) if identity.stated("url").is_none() => {
            let problem = format!("is missing, but source = \"{source}\" asks there");
            report.key(&identity, "url", problem, "write url = \"https://api.example.com/me\"");
        }
        _ => {}
    }
    for key in ["send", "ok"] {
        if let Some(node) = identity.get(key) {
            if key == "send" {
                api::judge_send(&node, report)
            } else {
                texts::member(&node, "member", report)
            }
        }
    }
    judge_places(&identity, samples, report);
    judge_pins(root, &identity, samples, report);
}

fn judge_places(identity: &Node<'_>, samples: &Samples<'_>, report: &mut Report<'_>) {
    let place = |node: &Node<'_>, report: &mut Report<'_>| {
        let stated = node.as_text().unwrap_or_default();
        texts::member_text(node, stated.strip_prefix("token:").unwrap_or(stated), report);
        if stated == "token:" {
            report.at(node, "names no member", "write for example \"token:corpId\"");
        }
    };
    for key in ["subject", "company"] {
        if let Some(node) = identity.get(key) {
            place(&node, report);
        }
    }
    let labels = identity.items_of("label");
    if identity.get("label").is_some_and(|node| node.is_list()) && labels.is_empty() {
        report.key(identity, "label", "is empty", "name at least one place: label = [\"name\"]");
    }
    for node in &labels {
        place(node, report);
        if node.as_text() == Some("") {
            report.at(node, "is empty", "remove it");
        }
    }
    let is_config = identity.text("company") == Some("config");
    let equals = identity.stated("company_equals");
    match equals {
        None if !is_config && identity.stated("company").is_some() => {
            let instead = "name the company field that it must equal, or write company = \"config\" where the \
                           endpoint serves one company only";
            report.key(identity, "company_equals", "is missing", instead);
        }
        Some(_) if is_config => {
            let instead = "remove it, or say in `company` where the company is";
            report.key(
                identity,
                "company_equals",
                "has nothing to compare with company = \"config\"",
                instead,
            );
        }
        Some(field) if !samples.has(field) => {
            let problem = format!("names `{field}`, which is no company field");
            report.key(identity, "company_equals", problem, format!("name one; {}", samples.names()));
        }
        _ => {}
    }
}

fn judge_pins(root: &Node<'_>, identity: &Node<'_>, samples: &Samples<'_>, report: &mut Report<'_>) {
    let known = identity.entries_of("pins");
    let name = |name: &str, node: &Node<'_>, report: &mut Report<'_>| {
        if !placeholder::is_name(name) {
            report.at(node, "is no name for a pin", "write lower-case letters, digits and `_`");
        }
        if node.as_text() == Some("") {
            report.at(node, "is empty", "write the claim or member that holds it");
        }
        let place = node.as_text().unwrap_or_default();
        texts::member_text(node, place.strip_prefix("token:").unwrap_or(place), report);
    };
    for (pin, node) in &known {
        name(pin, node, report);
    }
    let Some(lookup) = identity.get("pin_lookup") else { return };
    samples.endpoint(&lookup, "url", report);
    if let Some(send) = lookup.get("send") {
        api::judge_send(&send, report);
    }
    if let Some(ok) = lookup.get("ok") {
        texts::member(&ok, "member", report);
    }
    if root.get("app_token").is_none() {
        report.at(&lookup, "needs the app's token", "add [app_token]");
    }
    for (_, node) in lookup.entries_of("body") {
        let stated = node.as_text().unwrap_or_default();
        if node.as_text().is_some() && !known.iter().any(|(pin, _)| *pin == stated) {
            let problem = format!("names `{stated}`, which identity.pins does not have");
            report.at(&node, problem, "name a pin of identity.pins");
        }
    }
    for (pin, node) in lookup.entries_of("pins") {
        name(pin, &node, report);
        if known.iter().any(|(earlier, _)| *earlier == pin) {
            report.at(&node, "is a pin that identity.pins has already", "give it another name");
        }
    }
}

/// Names of all pins.
pub fn pins<'s>(root: &Node<'s>) -> Vec<&'s str> {
    let Some(identity) = root.get("identity") else { return Vec::new() };
    let looked_up = identity.get("pin_lookup").map(|lookup| lookup.entries_of("pins")).unwrap_or_default();
    identity.entries_of("pins").into_iter().chain(looked_up).map(|(name, _)| name).collect()
}
