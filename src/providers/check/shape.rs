//! What a table of known keys is, and how a table of the file is held against it.

use crate::providers::check::tree::{Node, Report, nearest};

/// A table of known keys.
pub struct Shape(pub &'static [Key]);

/// One key.
pub struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
    /// What to write, as an example.
    example: &'static str,
}

/// What a value is.
pub enum Kind {
    /// A text that says something.
    Text,
    /// A text that may be empty.
    AnyText,
    /// `true` or `false`.
    Bool,
    /// A whole number up to this.
    Number(u64),
    /// A list of texts.
    Texts,
    /// A table of texts, with any keys.
    TextMap,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of these words.
    Words(&'static [&'static str]),
    /// A table.
    Table(&'static Shape),
    /// A list of tables.
    Tables(&'static Shape),
    /// Tables by names that the file chooses.
    Named(&'static Shape),
    /// A value of several forms, which the lint of its section judges.
    Other,
}

use Kind::{AnyText, Bool, Named, Number, OneOf, Other, Table, Tables, Text, TextMap, Texts, Words};

pub(super) const fn need(name: &'static str, kind: Kind, example: &'static str) -> Key {
    Key { name, kind, is_required: true, example }
}

pub(super) const fn may(name: &'static str, kind: Kind, example: &'static str) -> Key {
    Key { name, kind, is_required: false, example }
}

impl Shape {
    /// Names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|key| key.name)
    }

    /// Reports unknown, missing and mistyped keys of a table, and goes into what is inside.
    pub fn judge(&self, table: &Node<'_>, report: &mut Report<'_>) {
        for (name, node) in table.entries() {
            match self.0.iter().find(|key| key.name == name) {
                Some(key) => key.kind.judge(&node, key.example, report),
                None => report.at(&node, "is not a known key", self.suggest(name)),
            }
        }
        for key in self.0.iter().filter(|key| key.is_required && table.get(key.name).is_none()) {
            report.key(table, key.name, "is missing", format!("write {}", key.example));
        }
    }

    fn suggest(&self, name: &str) -> String {
        if let Some(near) = nearest(name, self.names()) {
            return format!("write `{near}`");
        }
        let known: Vec<&str> = self.names().collect();
        format!("remove it; the keys here are {}", known.join(", "))
    }
}

impl Kind {
    fn judge(&self, node: &Node<'_>, example: &str, report: &mut Report<'_>) {
        match self {
            Other => {}
            AnyText if node.as_text().is_some() => {}
            Text if node.as_text().is_some_and(|text| !text.trim().is_empty()) => {}
            Text if node.as_text().is_some() => report.at(node, "is empty", format!("write {example}")),
            Bool if node.is_bool() => {}
            Number(max) if node.as_number().is_some_and(|number| number <= *max) => {}
            Number(max) if node.as_number().is_some() => {
                report.at(node, format!("is larger than {max}"), format!("write {example}"));
            }
            Texts if node.is_list() => each_is_text(node.items(), report),
            TextMap if node.is_table() => {
                each_is_text(node.entries().into_iter().map(|(_, value)| value).collect(), report);
            }
            OneOf(words) if node.as_text().is_some() => one_of(node, words, report),
            Words(words) if node.is_list() => {
                each_is_text(node.items(), report);
                for item in node.items().iter().filter(|item| item.as_text().is_some()) {
                    one_of(item, words, report);
                }
            }
            Table(shape) if node.is_table() => shape.judge(node, report),
            Tables(shape) if node.is_list() => {
                for item in node.items() {
                    Table(shape).judge(&item, example, report);
                }
            }
            Named(shape) if node.is_table() => {
                for (_, entry) in node.entries() {
                    Table(shape).judge(&entry, example, report);
                }
            }
            _ => {
                let problem = format!("is {}, but must be {}", node.kind(), self.words());
                report.at(node, problem, format!("write {example}"));
            }
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Text | AnyText => "a text in quotes",
            Bool => "true or false",
            Number(_) => "a whole number without quotes",
            Texts => "a list of texts",
            TextMap => "a table of texts",
            OneOf(_) => "one of a few words in quotes",
            Words(_) => "a list of a few words in quotes",
            Table(_) => "a table",
            Tables(_) => "a list of tables",
            Named(_) => "a table of named tables",
            Other => "a text, a list or a table",
        }
    }
}

fn each_is_text(nodes: Vec<Node<'_>>, report: &mut Report<'_>) {
    for node in nodes.iter().filter(|node| node.as_text().is_none()) {
        let instead = "put it into quotes, numbers too";
        report.at(node, format!("is {}, but must be a text in quotes", node.kind()), instead);
    }
}

fn one_of(node: &Node<'_>, words: &[&'static str], report: &mut Report<'_>) {
    let stated = node.as_text().unwrap_or_default();
    if words.contains(&stated) {
        return;
    }
    let shown: String = stated.chars().take(60).collect();
    let list: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let near = nearest(stated, words.iter().copied()).map(|near| format!(", perhaps \"{near}\""));
    let instead = format!("write one of {}{}", list.join(", "), near.unwrap_or_default());
    report.at(node, format!("is `{shown}`, which has no meaning here"), instead);
}
