//! Scopes and what people read about them.

use crate::kernel::scope::Scope;
use crate::providers::check::keys::DATA_CLASSES;
use crate::providers::check::texts::{Samples, localized, unique};
use crate::providers::check::tree::{Node, Report};

/// More scopes than any vendor's template needs; each is compared with all others.
const MAX_SCOPES: usize = 500;

/// Judges them.
pub fn judge(root: &Node<'_>, samples: &Samples<'_>, report: &mut Report<'_>) {
    let scopes = root.items_of("scope");
    let has_apis = !root.entries_of("api").is_empty();
    let is_sent = root.get("authorize").and_then(|node| node.text_in("scopes", "send")) != Some("fixed");
    // A template says it of all its scopes or of none: one that was forgotten would be closed without a word.
    let is_classified = scopes.iter().any(|scope| scope.get("data_classes").is_some());
    for (at, scope) in scopes.iter().enumerate() {
        if at == MAX_SCOPES {
            report.at(scope, format!("is one of more than {MAX_SCOPES} scopes"), "split the template");
            return;
        }
        judge_name(scope, report);
        if let Some(vendor) = scope.get("vendor").filter(|node| node.as_text().is_some_and(|t| !t.is_empty()))
            && let Some(filled) = samples.filled(&vendor, report)
            && filled.parse::<Scope>().is_err()
        {
            report.at(&vendor, "is not a scope", "write the vendor's name of it, without spaces");
        }
        for earlier in scopes.iter().take(at) {
            judge_pair(earlier, scope, is_sent, report);
        }
        localized(scope, "title", 80, report);
        localized(scope, "description", 400, report);
        let is_bookkeeping = scope.is_set("bookkeeping");
        let routes = scope.items_of("routes");
        if is_bookkeeping && !routes.is_empty() {
            let instead = "remove the routes, or `bookkeeping`: what opens something must be agreed to";
            report.key(scope, "routes", "belong to a bookkeeping scope", instead);
        }
        judge_classes(scope, is_bookkeeping, is_classified, report);
        if !is_bookkeeping && has_apis && routes.is_empty() {
            let instead = "list the calls that it opens, or write bookkeeping = true";
            report.key(scope, "routes", "is missing, so granting it would give nothing", instead);
        }
    }
}

fn judge_classes(scope: &Node<'_>, is_bookkeeping: bool, is_classified: bool, report: &mut Report<'_>) {
    let classes = scope.items_of("data_classes");
    if is_bookkeeping {
        if !classes.is_empty() {
            let instead = "remove the classes, or `bookkeeping`: it opens nothing that an agent is granted";
            report.key(scope, "data_classes", "belong to a bookkeeping scope", instead);
        }
    } else if is_classified && classes.is_empty() {
        let instead = format!("name what it opens: {}", DATA_CLASSES.join(", "));
        report.key(scope, "data_classes", "is missing, while other scopes here have it", instead);
    }
    unique(&classes, report);
}

fn judge_name(scope: &Node<'_>, report: &mut Report<'_>) {
    if scope.stated("name").is_some_and(|name| name.parse::<Scope>().is_err()) {
        let instead = "write printable ASCII without space, quote or backslash";
        report.key(scope, "name", "is not a scope", instead);
    }
}

fn judge_pair(earlier: &Node<'_>, scope: &Node<'_>, is_sent: bool, report: &mut Report<'_>) {
    fn vendor<'s>(scope: &Node<'s>) -> Option<&'s str> {
        scope.stated("vendor").or_else(|| scope.stated("name"))
    }
    let same =
        |a: Option<&str>, b: Option<&str>| matches!((a, b), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b));
    let line = report.line(earlier);
    if same(earlier.text("name"), scope.text("name")) {
        let problem = format!("is the name of the scope in line {line} as well");
        report.key(scope, "name", problem, "give each scope a name of its own, also apart from case");
    } else if is_sent && same(vendor(earlier), vendor(scope)) {
        // Answers name the vendor's scope, so it must be clear which of ours that is.
        let key = if scope.get("vendor").is_some() { "vendor" } else { "name" };
        let problem = format!("is what the scope in line {line} is called at the vendor");
        report.key(scope, key, problem, "make one scope of the two");
    }
}
