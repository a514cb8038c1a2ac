//! A template as a tree whose nodes know their key's path and their line.

use toml::de::{DeTable, DeValue};

use crate::providers::check::Finding;

/// A value with its place.
#[derive(Clone)]
pub struct Node<'s> {
    /// The key's path: `scope[3].title`. Empty at the root.
    pub path: String,
    /// The offset in the text.
    at: usize,
    value: &'s DeValue<'s>,
}

impl<'s> Node<'s> {
    /// The whole document.
    pub fn root(document: &'s DeValue<'s>) -> Self {
        Self { path: String::new(), at: 0, value: document }
    }

    fn table(&self) -> Option<&'s DeTable<'s>> {
        self.value.as_table()
    }

    /// The path of a key in here.
    pub fn path_of(&self, key: &str) -> String {
        let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let is_plain = !key.is_empty() && key.bytes().all(is_bare);
        let key = if is_plain { key.to_owned() } else { format!("{key:?}") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Node<'s>> {
        let value = self.table()?.get(key)?;
        Some(Node { path: self.path_of(key), at: value.span().start, value: value.get_ref() })
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&'s str> {
        self.table()?.get(key)?.get_ref().as_str()
    }

    /// The text of a key of the table under another key.
    pub fn text_in(&self, table: &str, key: &str) -> Option<&'s str> {
        self.get(table)?.text(key)
    }

    /// The text of a key where it is not empty.
    pub fn stated(&self, key: &str) -> Option<&'s str> {
        self.text(key).filter(|text| !text.is_empty())
    }

    /// Whether a key is `true`.
    pub fn is_set(&self, key: &str) -> bool {
        self.table().and_then(|table| table.get(key)?.get_ref().as_bool()).unwrap_or(false)
    }

    /// The number of a key; what is no number that fits is 0.
    pub fn number(&self, key: &str) -> u64 {
        self.get(key).and_then(|node| node.as_number()).unwrap_or(0)
    }

    /// Keys and values of a table.
    pub fn entries(&self) -> Vec<(&'s str, Node<'s>)> {
        let Some(table) = self.table() else { return Vec::new() };
        table
            .iter()
            .map(|(key, value)| {
                let key: &'s str = key.get_ref();
                (key, Node { path: self.path_of(key), at: value.span().start, value: value.get_ref() })
            })
            .collect()
    }

    /// Entries of the table under a key.
    pub fn entries_of(&self, key: &str) -> Vec<(&'s str, Node<'s>)> {
        self.get(key).map(|node| node.entries()).unwrap_or_default()
    }

    /// Items of the list under a key.
    pub fn items_of(&self, key: &str) -> Vec<Node<'s>> {
        self.get(key).map(|node| node.items()).unwrap_or_default()
    }

    /// Items of a list.
    pub fn items(&self) -> Vec<Node<'s>> {
        let Some(list) = self.value.as_array() else { return Vec::new() };
        list.iter()
            .enumerate()
            .map(|(at, item)| Node {
                path: format!("{}[{at}]", self.path),
                at: item.span().start,
                value: item.get_ref(),
            })
            .collect()
    }

    /// The text that it is.
    pub fn as_text(&self) -> Option<&'s str> {
        self.value.as_str()
    }

    /// The number that it is.
    pub fn as_number(&self) -> Option<u64> {
        let number = self.value.as_integer()?;
        u64::from_str_radix(number.as_str(), number.radix()).ok()
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// Whether it is `true` or `false`.
    pub fn is_bool(&self) -> bool {
        self.value.is_bool()
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }
}

/// Collects findings.
pub struct Report<'s> {
    file: &'s str,
    lines: Vec<usize>,
    findings: Vec<Finding>,
}

impl<'s> Report<'s> {
    /// An empty report about a text.
    pub fn new(file: &'s str, text: &str) -> Self {
        let lines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect();
        Self { file, lines, findings: Vec::new() }
    }

    /// Something is wrong with a value.
    pub fn at(&mut self, node: &Node<'_>, problem: impl Into<String>, instead: impl Into<String>) {
        self.push(node.path.clone(), node.at, problem.into(), instead.into());
    }

    /// Something is wrong with a key of a table, which is there or missing.
    pub fn key(
        &mut self,
        table: &Node<'_>,
        key: &str,
        problem: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let at = table.get(key).map_or(table.at, |node| node.at);
        self.push(table.path_of(key), at, problem.into(), instead.into());
    }

    /// The line of a value.
    pub fn line(&self, node: &Node<'_>) -> usize {
        self.line_at(node.at)
    }

    /// All findings, in the order of their lines.
    pub fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings;
        findings.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        findings
    }

    fn line_at(&self, at: usize) -> usize {
        1 + self.lines.partition_point(|end| *end < at)
    }

    fn push(&mut self, key: String, at: usize, problem: String, instead: String) {
        let line = self.line_at(at);
        self.findings.push(Finding { file: self.file.to_owned(), line, key, problem, instead });
    }
}

/// The known word that is nearest to another, if one is near.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word: String = word.chars().take(64).collect();
    let scored = known
        .into_iter()
        .map(|candidate| (distance(&word.to_ascii_lowercase(), &candidate.to_ascii_lowercase()), candidate));
    scored.min().filter(|(distance, near)| *distance <= 1 + near.len() / 4).map(|(_, near)| near)
}

/// Levenshtein's distance, in characters; the same letters in another order are at distance 1.
fn distance(a: &str, b: &str) -> usize {
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    if a != b && sorted(a) == sorted(b) {
        return 1;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((other, diagonal), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or_default();
            let replaced = diagonal + usize::from(*other != c);
            next.push(replaced.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["grace_s", "rotation", "url"];
        assert_eq!(nearest("grace", known), Some("grace_s"));
        assert_eq!(nearest("Rotaton", known), Some("rotation"));
        assert_eq!(nearest("unheard", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
