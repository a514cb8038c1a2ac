//! The lint: everything that is wrong with a template, each with file, line, key and what to write.

mod account;
mod api;
mod company;
mod flow;
mod keys;
mod limits;
mod routes;
mod scopes;
mod shape;
mod texts;
mod tree;

use std::fmt;

use toml::de::{DeTable, DeValue};

use crate::providers::check::texts::Samples;
use crate::providers::check::tree::{Node, Report};
use crate::providers::load::MAX_BYTES;
use crate::providers::template::Template;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key's path, list items counted from 0: `scope[3].title.zh`. Empty = the whole file.
    pub key: String,
    /// What is wrong: `is missing`.
    pub problem: String,
    /// What to write instead; may be empty.
    pub instead: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if !self.instead.is_empty() {
            write!(f, "; {}", self.instead)?;
        }
        Ok(())
    }
}

impl Finding {
    /// A finding about the file as a whole.
    pub fn whole_file(file: &str, problem: String) -> Self {
        Self { file: file.to_owned(), line: 1, key: String::new(), problem, instead: String::new() }
    }

    /// What the TOML reader says.
    pub fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        let mut finding = Self::whole_file(file, error.message().to_owned());
        finding.line = line_at(text, at);
        if error.message().contains("duplicate key") {
            finding.key = error.span().and_then(|span| text.get(span)).unwrap_or_default().to_owned();
            finding.problem = "stands here a second time".to_owned();
            finding.instead = "remove one of the two, or write [[…]] for one more item of a list".to_owned();
        }
        finding
    }
}

/// A file's bytes as text.
///
/// # Errors
/// When it is too large, or no UTF-8.
pub fn text_of<'d>(file: &str, data: &'d [u8]) -> Result<&'d str, Finding> {
    if data.len() > MAX_BYTES {
        return Err(Finding::whole_file(file, format!("is larger than {} KiB", MAX_BYTES / 1024)));
    }
    std::str::from_utf8(data).map_err(|error| {
        let mut finding = Finding::whole_file(file, "is not UTF-8 text".to_owned());
        finding.line = 1 + data.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count();
        finding
    })
}

/// Everything that is wrong with a template, in the order of its lines.
///
/// A text that is no TOML (also one with a key given twice) is one finding; everything else is found in
/// one pass.
pub fn lint(file: &str, text: &str) -> Vec<Finding> {
    if let Err(finding) = text_of(file, text.as_bytes()) {
        return vec![finding];
    }
    let document = match DeTable::parse(text) {
        Ok(document) => DeValue::Table(document.into_inner()),
        Err(error) => return vec![Finding::from_toml(file, text, &error)],
    };
    let root = Node::root(&document);
    let mut report = Report::new(file, text);
    keys::TEMPLATE.judge(&root, &mut report);
    let samples = Samples::of(&root);
    company::judge(&root, &mut report);
    flow::judge(&root, &samples, &mut report);
    account::judge(&root, &samples, &mut report);
    api::judge(&root, &samples, &mut report);
    scopes::judge(&root, &samples, &mut report);
    routes::judge(&root, &mut report);
    limits::judge(&root, &mut report);
    let findings = report.into_findings();
    if !findings.is_empty() {
        return findings;
    }
    // What is left is what the types know better than this lint; nothing should be.
    match toml::from_str::<Template>(text) {
        Ok(_) => Vec::new(),
        Err(error) => vec![Finding::from_toml(file, text, &error)],
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}
