//! Sentences of ours that are kept and told again later, in the reader's language: a stable key, and what is
//! filled in. The words of each key are in `said/en.toml` and `said/zh.toml`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::kernel::text::{self, Lang};

type Catalogue = BTreeMap<String, String>;

static EN: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("said/en.toml")));
static ZH: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("said/zh.toml")));

fn read(text: &str) -> Catalogue {
    // INVARIANT: both files are compiled in, and a test reads them.
    toml::from_str(text).unwrap_or_default()
}

/// A sentence, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    key: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<Value>,
}

/// What is filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// The same in every language.
    Text(String),
    /// A part with words of its own.
    Said(Said),
}

impl Said {
    /// The sentence of a key; what is filled in follows by [`Said::and`].
    pub const fn of(key: &'static str) -> Self {
        Self { key: Cow::Borrowed(key), values: Vec::new() }
    }

    /// Words that have no key: they are told as they are.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::of("").and(text.into())
    }

    /// A noun of a template, in words where there are some.
    pub fn noun(name: &str) -> Self {
        let key = format!("noun_{name}");
        if EN.contains_key(&key) {
            Self { key: Cow::Owned(key), values: Vec::new() }
        } else {
            Self::plain(name.replace('_', " "))
        }
    }

    /// The same, with the next value filled in.
    #[must_use]
    pub fn and(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Its key; empty where it has none and can be told in no other language.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether it can be told in another language.
    pub fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// Whether it tells an agent what to do next: nothing for people to read.
    pub fn is_for_agents(&self) -> bool {
        ["remedy", "ask_by_exchange"].contains(&self.key())
    }

    /// In English, as agents and logs get it.
    pub fn english(&self) -> String {
        self.tell(Lang::En, &|text| text.to_owned())
    }

    /// In a language. `shown` makes each text that is filled in fit for where it is shown.
    pub fn tell(&self, lang: Lang, shown: &dyn Fn(&str) -> String) -> String {
        self.tell_as(self.pattern(lang), lang, shown)
    }

    /// The same in other words than those of its key.
    pub fn tell_as(&self, pattern: &str, lang: Lang, shown: &dyn Fn(&str) -> String) -> String {
        let told = |value: &Value| match value {
            Value::Text(text) => shown(text),
            Value::Said(part) => part.tell(lang, shown),
        };
        let values: Vec<String> = self.values.iter().map(told).collect();
        text::fill(pattern, &values)
    }

    fn pattern(&self, lang: Lang) -> &str {
        if self.key.is_empty() {
            return "{1}";
        }
        let catalogue = match lang {
            Lang::En => &EN,
            Lang::Zh => &ZH,
        };
        // A key of a later version still says something.
        catalogue.get(self.key.as_ref()).map_or(self.key.as_ref(), String::as_str)
    }
}

/// Sentences in English, as one text.
pub fn english(all: &[Said]) -> String {
    all.iter().map(Said::english).collect::<Vec<_>>().join("; ")
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Said> for Value {
    fn from(said: Said) -> Self {
        Self::Said(said)
    }
}

/// Every key of a language with its words, for tests that compare them.
pub fn catalogue(lang: Lang) -> &'static BTreeMap<String, String> {
    match lang {
        Lang::En => &EN,
        Lang::Zh => &ZH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_told_in_both_languages_and_what_is_filled_in_is_not_read_again() {
        let said = Said::of("outside_named").and(Said::noun("message")).and(Said::of("compared_folder"));
        assert_eq!(said.english(), "the message that this call names lies outside, by its mail folder");
        assert_eq!(
            said.tell(Lang::Zh, &|text| text.to_owned()),
            "此次调用所指的邮件在范围之外（依据：所在邮件文件夹）"
        );
        assert_eq!(Said::plain("{1} x").english(), "{1} x");
        assert_eq!(Said::noun("odd_thing").english(), "odd thing");
    }

    #[test]
    fn a_kept_sentence_is_read_back() {
        let said = Said::of("inside").and("mail_folders").and(Said::of("compared_id"));
        let text = serde_json::to_string(&said).unwrap();
        assert_eq!(text, r#"{"key":"inside","values":["mail_folders",{"key":"compared_id"}]}"#);
        assert_eq!(serde_json::from_str::<Said>(&text).unwrap(), said);
    }

    #[test]
    fn both_languages_say_everything_with_the_same_values() {
        let keys = |lang| catalogue(lang).keys().collect::<Vec<_>>();
        assert_eq!(keys(Lang::En), keys(Lang::Zh));
        for (key, en) in catalogue(Lang::En) {
            let zh = &catalogue(Lang::Zh)[key];
            for slot in ["{1}", "{2}", "{3}", "{4}", "{5}"] {
                assert_eq!(en.contains(slot), zh.contains(slot), "{key} {slot}");
            }
            assert!(!en.trim().is_empty() && !zh.trim().is_empty(), "{key}");
        }
    }
}
