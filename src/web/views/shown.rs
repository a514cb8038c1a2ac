//! Pieces of pages: outside text, moments, hidden form fields.

use std::fmt;

use askama::Template;
use askama::filters::HtmlSafe;

use crate::kernel::clock::Timestamp;
use crate::kernel::text::{self, Lang};
use crate::web::texts;

/// Text from outside (names, an agent's words, labels of accounts) made fit to be shown: nothing
/// hidden in it, nothing that turns the reading direction, not endless. Escaping is askama's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// A short text such as a name or an e-mail.
    pub fn name(text: &str) -> Self {
        Self(text::clean(text, 120).trim().to_owned())
    }

    /// A sentence or two.
    pub fn sentence(text: &str) -> Self {
        Self(text::clean(text, 400).trim().to_owned())
    }

    /// A list that has to be seen to its end, such as scopes.
    pub fn whole(text: &str) -> Self {
        Self(text::clean(text, 16_384).trim().to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The letter that stands for a name on a tile.
pub fn letter(name: &str) -> String {
    name.chars()
        .find(|c| c.is_alphanumeric())
        .map_or_else(|| "·".to_owned(), |c| c.to_uppercase().to_string())
}

/// A moment: in words relative to now, with the exact time at hand.
#[derive(Clone, Debug, Template)]
#[template(ext = "html", source = r#"<time datetime="{{ iso }}" title="{{ exact }}">{{ words }}</time>"#)]
pub struct When {
    iso: String,
    exact: String,
    words: String,
}

impl HtmlSafe for When {}

impl When {
    /// A moment as seen from `now`.
    pub fn new(at: Timestamp, now: Timestamp, lang: Lang) -> Self {
        let iso = at.rfc3339();
        let readable: String = iso.get(..16).unwrap_or(&iso).replace('T', " ");
        let exact = texts::filled(lang, "time.utc", &[&readable]);
        let words = Self::words(at, now, lang).unwrap_or_else(|| exact.clone());
        Self { iso, exact, words }
    }

    /// The text of a key with this moment filled in.
    pub fn within(&self, lang: Lang, key: &str) -> Moment {
        let whole = texts::filled(lang, key, &[&self.words]);
        let (before, after) = whole.split_once(&self.words).unwrap_or((&whole, ""));
        Moment { before: before.to_owned(), when: self.clone(), after: after.to_owned() }
    }

    /// Relative words for moments within about three months; further away the date says more.
    fn words(at: Timestamp, now: Timestamp, lang: Lang) -> Option<String> {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let (prefix, secs) =
            if at > now { ("in", now.until(at).as_secs()) } else { ("ago", now.since(at).as_secs()) };
        let some = |unit: &str, n: u64| texts::filled(lang, &format!("time.{prefix}_{unit}"), &[&n]);
        // The future is rounded to the nearest, so that "7 days" does not read as 6 right after choosing it.
        let rounded = |unit: u64| if at > now { (secs + unit / 2) / unit } else { secs / unit };
        Some(match secs {
            0..MINUTE if at > now => texts::text(lang, "time.in_moment").to_owned(),
            0..MINUTE => texts::text(lang, "time.now").to_owned(),
            MINUTE..HOUR => some("minutes", rounded(MINUTE)),
            HOUR..DAY if rounded(HOUR) < 24 => some("hours", rounded(HOUR)),
            _ => match rounded(DAY).max(1) {
                1 => some("day", 1),
                days if days <= 100 => some("days", days),
                _ => return None,
            },
        })
    }
}

/// A sentence with a moment in it.
#[derive(Clone, Debug, Template)]
#[template(ext = "html", source = "{{ before }}{{ when }}{{ after }}")]
pub struct Moment {
    before: String,
    when: When,
    after: String,
}

impl HtmlSafe for Moment {}

/// The hidden field that proves that a form was made for this browser.
#[derive(Clone, Debug, Template)]
#[template(ext = "html", source = r#"<input type="hidden" name="csrf" value="{{ token }}">"#)]
pub struct CsrfField {
    /// The token.
    pub token: String,
}

impl HtmlSafe for CsrfField {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_text_cannot_turn_direction_or_hide() {
        assert_eq!(Shown::name("gro.elpmaxe\u{202e}\u{200b}").as_str(), "gro.elpmaxe");
        assert_eq!(Shown::name(&"x".repeat(1000)).as_str().len(), 120);
    }

    #[test]
    fn moments_read_as_people_say_them() {
        let now = Timestamp::from_secs(1_800_000_000);
        let words = |secs: i64| {
            When::words(Timestamp::from_secs(1_800_000_000 + secs), now, Lang::En).unwrap_or_default()
        };
        assert_eq!(words(0), "just now");
        assert_eq!(words(-90), "1 min ago");
        assert_eq!(words(7 * 86_400 - 1), "in 7 days");
        assert_eq!(words(86_400 - 1), "in 1 day");
        assert_eq!(words(-86_400 * 3), "3 days ago");
        assert_eq!(words(86_400 * 900), "");
    }

    #[test]
    fn a_moment_stands_in_its_sentence_as_the_language_has_it() {
        let now = Timestamp::from_secs(1_800_000_000);
        let told = |lang, key, secs: i64| {
            let moment = When::new(Timestamp::from_secs(1_800_000_000 + secs), now, lang).within(lang, key);
            format!("{}|{}|{}", moment.before, moment.when.words, moment.after)
        };
        assert_eq!(told(Lang::En, "consent.link_ends", 86_400), "This request ends |in 1 day|");
        assert_eq!(told(Lang::Zh, "consent.link_ends", 86_400), "此请求将在 |1 天后|结束");
        assert_eq!(told(Lang::Zh, "home.connected", 0), "|刚刚|连接");
        assert_eq!(told(Lang::Zh, "home.connected", 86_400 * 900), "|2029-07-03 08:00 UTC| 连接");
    }
}
