//! Texts: placeholders, URLs, both languages, names of parameters and members.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::text;
use crate::providers::check::tree::{Node, Report, nearest};
use crate::providers::placeholder::{self, PlaceholderProblem};
use crate::providers::template::CompanyFormat;
use crate::providers::urls;

/// What placeholders stand for while nobody has stated a value yet.
pub struct Samples<'s>(BTreeMap<&'s str, CompanyFormat>);

impl<'s> Samples<'s> {
    /// The company fields of a template.
    pub fn of(root: &Node<'s>) -> Self {
        let format_of = |node: &Node<'s>| {
            let name = node.text("format").unwrap_or_default();
            let known = CompanyFormat::ALL.iter().find(|(known, _)| *known == name);
            // A field without a readable format is reported where it stands, and guessed here.
            known.map_or(CompanyFormat::Word, |(_, format)| *format)
        };
        Self(root.entries_of("company").into_iter().map(|(name, node)| (name, format_of(&node))).collect())
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Names of the fields, for messages.
    pub fn names(&self) -> String {
        let names: Vec<String> = self.0.keys().map(|name| format!("`{name}`")).collect();
        if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) }
    }

    fn sample(&self, name: &str) -> Option<&'static str> {
        if name == "client_id" { Some("client-id") } else { self.0.get(name).map(|format| format.sample()) }
    }

    /// The text with samples in place of placeholders; what is wrong with those is reported.
    pub fn filled(&self, node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
        match placeholder::expand(node.as_text()?, |name| self.sample(name)) {
            Ok(text) => Some(text),
            Err(Ok(name)) => {
                let known = self.0.keys().copied().chain(["client_id"]);
                let near = nearest(&name, known).map(|near| format!("; perhaps {{{near}}} is meant"));
                let problem = format!("names {{{name}}}, which is no company field");
                let instead =
                    format!("add [company.{name}] or use {{client_id}}{}", near.unwrap_or_default());
                report.at(node, problem, instead);
                None
            }
            Err(Err(problem)) => {
                report.at(node, problem.to_string(), placeholder_instead(problem));
                None
            }
        }
    }

    /// Judges the URL of an endpoint or issuer.
    pub fn endpoint(&self, table: &Node<'_>, key: &str, report: &mut Report<'_>) {
        self.url(table, key, report, |text| urls::endpoint(text).map(drop));
    }

    /// Judges an origin.
    pub fn origin(&self, table: &Node<'_>, key: &str, report: &mut Report<'_>) {
        self.url(table, key, report, |text| urls::origin(text).map(drop));
    }

    fn url(
        &self,
        table: &Node<'_>,
        key: &str,
        report: &mut Report<'_>,
        judge: impl Fn(&str) -> Result<(), urls::UrlProblem>,
    ) {
        let Some(node) = table.get(key).filter(|node| node.as_text().is_some_and(|text| !text.is_empty()))
        else {
            return;
        };
        let stated = node.as_text().unwrap_or_default();
        if let Some(filled) = self.filled(&node, report)
            && let Err(problem) = judge(&filled)
        {
            // What a parser makes of the samples is not what the author wrote.
            let instead = if stated == filled { problem.instead() } else { generic(&problem) };
            report.at(&node, problem.to_string(), instead);
        }
    }

    /// Judges the values of fixed parameters.
    pub fn params(&self, table: &Node<'_>, reserved: &[&str], report: &mut Report<'_>) {
        for (name, value) in table.entries_of("params") {
            if !is_param_name(name) {
                report.at(&value, "is no name of a parameter", "write letters, digits, `_`, `-` and `.`");
            }
            if reserved.contains(&name) {
                report.at(&value, "is a parameter that Valetkey sends itself", "remove it");
            }
            self.filled(&value, report);
        }
    }
}

fn generic(problem: &urls::UrlProblem) -> String {
    match problem {
        urls::UrlProblem::NotCanonical(_) => {
            "write the URL in lower case and without encoded letters".to_owned()
        }
        other => other.instead(),
    }
}

fn placeholder_instead(problem: PlaceholderProblem) -> &'static str {
    match problem {
        PlaceholderProblem::Foreign => "write {name} without a sign before the brace",
        PlaceholderProblem::Nested => "write a single pair of braces: {name}",
        PlaceholderProblem::Unpaired => "write {name} with both braces, or no brace at all",
        PlaceholderProblem::BadName => "write a company field's name in the braces: {tenant}",
    }
}

/// Judges a text in both languages.
pub fn localized(table: &Node<'_>, key: &str, max: usize, report: &mut Report<'_>) {
    let Some(node) = table.get(key) else { return };
    for lang in ["en", "zh"] {
        let Some(value) = node.get(lang) else { continue };
        let Some(stated) = value.as_text().filter(|stated| !stated.trim().is_empty()) else { continue };
        if text::clean(stated, usize::MAX) != stated {
            let problem = "has line breaks or invisible characters, which could hide what it says";
            report.at(&value, problem, "write it on one line, as plain text");
        }
        if stated.chars().count() > max {
            report.at(&value, format!("is longer than {max} characters"), "say it in fewer words");
        }
        let has_chinese = stated.chars().any(is_cjk);
        if lang == "zh" && !has_chinese && key != "name" {
            report.at(&value, "holds no Chinese", "write a Chinese text, for example \"读取你的日历\"");
        }
        if lang == "en" && has_chinese {
            report.at(&value, "holds Chinese", "write the English text here and the Chinese one under `zh`");
        }
    }
}

fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2fa1f}')
}

/// Judges the path of a member in an answer, or the name of a claim.
pub fn member(table: &Node<'_>, key: &str, report: &mut Report<'_>) {
    if let Some(node) = table.get(key) {
        member_text(&node, node.as_text().unwrap_or_default(), report);
    }
}

/// Judges a text that is the path of a member.
pub fn member_text(node: &Node<'_>, path: &str, report: &mut Report<'_>) {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic());
    if path.is_empty() || (path.split('.').all(is_part) && path.split('.').count() <= 6) {
        return;
    }
    let instead = "write names with dots between them, for example \"data.user_id\" or \"error_codes.0\"";
    report.at(node, "is no path of a member", instead);
}

/// Whether a text can be the name of a parameter.
pub fn is_param_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$');
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Judges texts of which each may stand only once.
pub fn unique(items: &[Node<'_>], report: &mut Report<'_>) {
    let mut seen = BTreeSet::new();
    for item in items {
        if item.as_text().is_some_and(|text| !seen.insert(text)) {
            report.at(item, "stands here twice", "remove one");
        }
    }
}
