//! The head of a template: version, names, documentation, company fields.

use url::Url;

use crate::providers::check::texts::localized;
use crate::providers::check::tree::{Node, Report};
use crate::providers::placeholder;
use crate::providers::template::CompanyFormat;

/// Judges it.
pub fn judge(root: &Node<'_>, report: &mut Report<'_>) {
    if root.get("schema").is_some_and(|node| node.as_number() == Some(0)) {
        report.key(root, "schema", "is a version that does not exist", "write schema = 1");
    }
    localized(root, "name", 80, report);
    if let Some(docs) = root.stated("docs")
        && !(docs.starts_with("https://") && Url::parse(docs).is_ok())
    {
        report.key(root, "docs", "is not an https URL", "write where the vendor documents this");
    }
    for (name, field) in root.entries_of("company") {
        if !placeholder::is_name(name) || name == "client_id" {
            let problem = "is no name for a company field";
            report.at(&field, problem, "write lower-case letters, digits and `_`; `client_id` is taken");
        }
        localized(&field, "title", 80, report);
        let stated = field.text("format").unwrap_or_default();
        let Some((_, format)) = CompanyFormat::ALL.iter().find(|(known, _)| *known == stated) else {
            continue;
        };
        for key in ["example", "default"] {
            if field.stated(key).is_some_and(|value| format.accept(value).is_none()) {
                let problem = format!("does not fit the format \"{stated}\"");
                report.key(&field, key, problem, format!("write {}", format.rule()));
            }
        }
    }
}
