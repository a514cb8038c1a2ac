//! What pages say, in both languages. The words are in `texts/en.toml` and `texts/zh.toml`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::LazyLock;

use crate::kernel::said::Said;
use crate::kernel::text::{Lang, clean, fill};

/// No text that is filled into a kept sentence is shown longer.
const LONGEST_VALUE: usize = 200;

type Catalogue = BTreeMap<String, BTreeMap<String, String>>;

static EN: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("texts/en.toml")));
static ZH: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("texts/zh.toml")));

fn read(text: &str) -> Catalogue {
    // INVARIANT: both files are compiled in, and a test reads them.
    toml::from_str(text).unwrap_or_default()
}

fn catalogue(lang: Lang) -> &'static Catalogue {
    match lang {
        Lang::En => &EN,
        Lang::Zh => &ZH,
    }
}

/// The text of a key such as `consent.agree`, or nothing when there is none. The section ends at the
/// first dot: `event.grant.revoked` is the key `grant.revoked` of `[event]`.
pub fn find(lang: Lang, key: &str) -> Option<&'static str> {
    let (section, name) = key.split_once('.')?;
    catalogue(lang).get(section)?.get(name).map(String::as_str)
}

/// The text of a key; the key itself where a text is missing, so that a page never has a hole.
pub fn text(lang: Lang, key: &str) -> &str {
    find(lang, key).unwrap_or(key)
}

/// The text of a key with `{1}` and `{2}` filled in, once: what is filled in is not read again.
pub fn filled(lang: Lang, key: &str, values: &[&dyn Display]) -> String {
    let values: Vec<String> = values.iter().map(|value| isolated(&value.to_string())).collect();
    let whole = fill(text(lang, key), &values);
    if lang == Lang::Zh { without_gaps(&whole) } else { whole }
}

/// A sentence that was kept by its key, in the language of the page. One without a key is known by its
/// English words, or told as it is.
pub fn told(lang: Lang, said: &Said) -> String {
    let shown = |text: &str| isolated(&clean(text, LONGEST_VALUE));
    let whole = match said.key() {
        "" => reason(lang, &said.english()),
        // The log has the limit's code, a page its title.
        "inside" => said.tell_as(text(lang, "reason.inside"), lang, &|kind| {
            find(lang, &format!("bound.name_{kind}")).map_or_else(|| shown(kind), str::to_owned)
        }),
        _ => said.tell(lang, &shown),
    };
    if lang == Lang::Zh { without_gaps(&whole) } else { whole }
}

/// A reason that was written down in English, in the language of the page; as it is where it is not one of
/// ours.
pub fn reason(lang: Lang, sentence: &str) -> String {
    rendered(lang, "reason", sentence).unwrap_or_else(|| sentence.to_owned())
}

/// A sentence of ours that was written down in English, in the language of the page. The English texts of
/// the section say which sentence it is and what was filled in; nothing for any other sentence.
pub fn rendered(lang: Lang, section: &str, sentence: &str) -> Option<String> {
    let patterns = catalogue(Lang::En).get(section)?.iter();
    let fitting = patterns.filter_map(|(name, pattern)| Some((name, filled_in(pattern, sentence)?)));
    // Of several the one that says the most itself.
    let (name, values) =
        fitting.min_by_key(|(_, values)| values.iter().map(|value| value.len()).sum::<usize>())?;
    let values: Vec<&dyn Display> = values.iter().map(|value| value as &dyn Display).collect();
    Some(filled(lang, &format!("{section}.{name}"), &values))
}

/// What stands at `{1}`, `{2}` … of a pattern, where a sentence is made by it.
fn filled_in<'s>(pattern: &str, sentence: &'s str) -> Option<Vec<&'s str>> {
    let mut pieces = pattern.split('{');
    let mut left = sentence.strip_prefix(pieces.next()?)?;
    let slots: Vec<&str> = pieces.collect();
    let mut values = vec![""; slots.len()];
    for (at, slot) in slots.iter().enumerate() {
        let (number, literal) = slot.split_once('}')?;
        let end = if at + 1 == slots.len() { left.strip_suffix(literal)?.len() } else { left.find(literal)? };
        *values.get_mut(number.parse::<usize>().ok()?.checked_sub(1)?)? = left.get(..end)?;
        left = left.get(end + literal.len()..)?;
    }
    left.is_empty().then_some(values)
}

/// Chinese texts set spaces around what is filled in, as is done beside Latin letters; between two
/// Chinese characters there is none.
fn without_gaps(text: &str) -> String {
    let is_cjk =
        |c: &char| matches!(c, '\u{3000}'..='\u{303f}' | '\u{4e00}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}');
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let between = kept.chars().next_back().is_some_and(|c| is_cjk(&c)) && rest.peek().is_some_and(is_cjk);
        if c != ' ' || !between {
            kept.push(c);
        }
    }
    kept
}

/// A name written from right to left would pull the punctuation around it to its other side.
/// Such a name is wrapped in isolating marks; others stay as they are.
fn isolated(value: &str) -> String {
    let is_rtl = |c: char| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}');
    if value.chars().any(is_rtl) { format!("\u{2068}{value}\u{2069}") } else { value.to_owned() }
}

/// Every key of a language, for the test that compares them.
pub fn keys(lang: Lang) -> Vec<String> {
    catalogue(lang)
        .iter()
        .flat_map(|(section, texts)| texts.keys().map(move |name| format!("{section}.{name}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_have_the_same_keys_and_the_same_slots() {
        assert!(keys(Lang::En).len() > 300, "the English texts were read");
        assert_eq!(keys(Lang::En), keys(Lang::Zh));
        for key in keys(Lang::En) {
            let (en, zh) = (text(Lang::En, &key), text(Lang::Zh, &key));
            for slot in ["{1}", "{2}", "{3}", "{4}"] {
                assert_eq!(en.contains(slot), zh.contains(slot), "{key} {slot}");
            }
            assert!(!en.trim().is_empty() && !zh.trim().is_empty(), "{key}");
        }
    }

    #[test]
    fn what_is_filled_in_is_not_read_again_and_cannot_turn_the_sentence() {
        assert_eq!(filled(Lang::En, "consent.title", &[&"{2}", &"B"]), "May {2} use your B account?");
        let hebrew = filled(Lang::En, "home.hello", &[&"שלום"]);
        assert_eq!(hebrew, "Hello \u{2068}שלום\u{2069}");
    }

    #[test]
    fn chinese_names_stand_in_chinese_sentences_without_gaps() {
        assert_eq!(filled(Lang::Zh, "consent.title", &[&"周报", &"飞书"]), "允许周报使用你的飞书账号吗？");
        assert_eq!(
            filled(Lang::Zh, "consent.title", &[&"Digest", &"Lark"]),
            "允许 Digest 使用你的 Lark 账号吗？"
        );
    }

    #[test]
    fn a_sentence_that_was_written_down_in_english_is_told_in_the_language_of_the_page() {
        let told = |sentence| rendered(Lang::Zh, "reason", sentence);
        assert_eq!(told("the user revoked it").as_deref(), Some("由用户撤回"));
        assert_eq!(told("not granted by the user: {1} a").as_deref(), Some("用户未同意：{1} a"));
        let two = "this provider offers no limit `chats` at the api `graph`";
        assert_eq!(told(two).as_deref(), Some("此服务商在接口 `graph` 没有限制 `chats`"));
        for unknown in ["", "the user revoked it ", "not granted by the user", "{1}"] {
            assert_eq!(told(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_limit_that_held_is_named_as_people_know_it() {
        let inside = Said::of("inside").and("mail_dates");
        assert_eq!(inside.english(), "inside the limit `mail_dates`");
        assert_eq!(told(Lang::En, &inside), "inside the limit “Dates of mail”");
        assert_eq!(told(Lang::Zh, &inside), "在限制“邮件日期”之内");
    }

    #[test]
    fn a_missing_text_shows_its_key() {
        assert_eq!(text(Lang::Zh, "no.such"), "no.such");
    }
}
