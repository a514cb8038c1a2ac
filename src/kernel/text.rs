//! Texts for people, in English and Chinese.

use serde::{Deserialize, Serialize};

/// A language that pages are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese, simplified.
    Zh,
}

impl Lang {
    /// The value of an HTML `lang` attribute.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-CN",
        }
    }

    /// The better of the two for an `Accept-Language` header (RFC 9110, section 12.5.4).
    pub fn negotiate(header: &str) -> Self {
        let weight = |wanted: &str| {
            header
                .split(',')
                .filter_map(|part| {
                    let mut fields = part.split(';').map(str::trim);
                    let tag = fields.next()?.to_ascii_lowercase();
                    let primary = tag.split('-').next().unwrap_or_default().to_owned();
                    let quality =
                        fields.find_map(|f| f.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
                    (primary == wanted).then_some(quality)
                })
                .fold(0.0_f32, f32::max)
        };
        if weight("zh") > weight("en") { Self::Zh } else { Self::En }
    }
}

/// A text in both languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Localized {
    /// English.
    pub en: String,
    /// Chinese, simplified.
    pub zh: String,
}

impl Localized {
    /// The text in one language.
    pub fn get(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Zh => &self.zh,
        }
    }
}

/// Text from outside, made fit to be shown or logged: control characters (also the ones that turn
/// the reading direction, which can make a name look like another) become spaces, and it is cut
/// after `max` characters.
pub fn clean(text: &str, max: usize) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().take(max).map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}

/// The ASCII form of a text for `error_description` (RFC 6749, section 5.2 allows no more).
pub fn ascii(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '?' }).collect()
}

/// A pattern with `{1}`, `{2}` … filled in, once: what is filled in is not read again.
pub fn fill(pattern: &str, values: &[String]) -> String {
    let mut rest = pattern;
    let mut whole = String::with_capacity(rest.len() + 32);
    while let Some(at) = rest.find('{') {
        let (before, after) = rest.split_at(at);
        whole.push_str(before);
        let slot = after
            .get(1..2)
            .and_then(|digit| digit.parse::<usize>().ok())
            .filter(|_| after.get(2..3) == Some("}"));
        match slot.and_then(|n| values.get(n.checked_sub(1)?)) {
            Some(value) => {
                whole.push_str(value);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                whole.push('{');
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    whole.push_str(rest);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_with_the_higher_weight_wins_and_english_is_the_default() {
        assert_eq!(Lang::negotiate("zh-CN,zh;q=0.9,en;q=0.8"), Lang::Zh);
        assert_eq!(Lang::negotiate("en-US,en;q=0.9,zh;q=0.8"), Lang::En);
        assert_eq!(Lang::negotiate(""), Lang::En);
        assert_eq!(Lang::negotiate("fr"), Lang::En);
    }

    #[test]
    fn hidden_characters_are_replaced() {
        assert_eq!(clean("a\u{202e}b\nc", 3), "a b");
    }
}
