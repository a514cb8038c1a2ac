//! Limits in plain words, in both languages.

use std::fmt::Display;

use crate::kernel::clock::Timestamp;
use crate::kernel::offset::UtcOffset;
use crate::kernel::text::Lang;
use crate::model::limit::{Bound, Hours, Limit, LimitKind, Named, Period, Span};
use crate::web::texts;
use crate::web::views::shown::Shown;

/// How many names a sentence holds before it counts the rest.
const NAMES: usize = 8;

/// The days of the week, Monday first.
pub const WEEK: [&str; 7] =
    ["bound.mon", "bound.tue", "bound.wed", "bound.thu", "bound.fri", "bound.sat", "bound.sun"];

/// Units of data, the largest first.
pub const UNITS: [(&str, u64); 4] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];

/// What limits leave open, a sentence each. What bounds the same things is said in one.
pub fn sentences(lang: Lang, offset: UtcOffset, limits: &[Limit]) -> Vec<String> {
    let words = Words { lang, offset };
    let mut rest: Vec<&Limit> = limits.iter().collect();
    let mut said = Vec::new();
    while let Some(first) = rest.first().copied() {
        let mut together = vec![first];
        if let Some(group) = Group::of(first.kind()) {
            // Of two limits of the same kind each gets a sentence of its own: both apply.
            for limit in rest.iter().skip(1) {
                let is_same = limit.api == first.api && Group::of(limit.kind()) == Some(group);
                if is_same && together.iter().all(|other| other.kind() != limit.kind()) {
                    together.push(limit);
                }
            }
        }
        rest.retain(|limit| !together.iter().any(|other| std::ptr::eq(*other, *limit)));
        together.sort_by_key(|limit| limit.kind());
        said.push(words.sentence(&together));
    }
    said
}

/// Kinds that bound the same things and read best together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Mail,
    Calendar,
}

impl Group {
    const fn of(kind: LimitKind) -> Option<Self> {
        match kind {
            LimitKind::MailFolders | LimitKind::MailDates | LimitKind::Senders => Some(Self::Mail),
            LimitKind::Calendars | LimitKind::Events => Some(Self::Calendar),
            _ => None,
        }
    }
}

struct Words {
    lang: Lang,
    offset: UtcOffset,
}

impl Words {
    fn t(&self, key: &'static str) -> &'static str {
        texts::find(self.lang, key).unwrap_or(key)
    }

    fn f(&self, key: &str, values: &[&dyn Display]) -> String {
        texts::filled(self.lang, key, values)
    }

    fn sentence(&self, together: &[&Limit]) -> String {
        let parts = |key: &str| {
            let parts: Vec<String> = together.iter().filter_map(|limit| self.part(&limit.bound)).collect();
            self.f(key, &[&parts.join(self.t("bound.join"))])
        };
        let Some(limit) = together.first() else { return String::new() };
        match &limit.bound {
            Bound::MailFolders { .. } | Bound::MailDates(_) | Bound::Senders { .. } => parts("bound.mail"),
            Bound::Calendars { .. } | Bound::Events(_) => parts("bound.calendar"),
            Bound::Folders { items } => self.f("bound.folders", &[&self.names(items)]),
            Bound::Documents { items } => self.f("bound.documents", &[&self.names(items)]),
            Bound::Chats { items } => self.f("bound.chats", &[&self.names(items)]),
            Bound::Recipients { domains } => {
                let domains = domains.iter().map(|domain| Shown::name(domain).to_string()).collect();
                self.f("bound.recipients", &[&self.either(domains)])
            }
            Bound::ReadOnly {} => self.t("bound.read_only").to_owned(),
            Bound::Calls { most, per } => self.f("bound.calls", &[most, &self.per(*per)]),
            Bound::Items { most } => self.f("bound.items", &[most]),
            Bound::Bytes { most } => self.f("bound.bytes", &[&data(*most)]),
            Bound::Hours(hours) => self.hours(hours),
            Bound::Once {} => self.t("bound.once").to_owned(),
        }
    }

    /// A limit's part of a sentence that says several.
    fn part(&self, bound: &Bound) -> Option<String> {
        Some(match bound {
            Bound::MailFolders { items } => self.f("bound.in_mail_folders", &[&self.names(items)]),
            Bound::MailDates(span) => self.f("bound.received", &[&self.span(*span)]),
            Bound::Senders { allow } => {
                let who = allow.iter().map(|sender| match sender.strip_prefix('@') {
                    Some(domain) => self.f("bound.anyone_at", &[&Shown::name(domain)]),
                    None => Shown::name(sender).to_string(),
                });
                self.f("bound.sent_by", &[&self.either(who.collect())])
            }
            Bound::Calendars { items } => self.f("bound.in_calendars", &[&self.names(items)]),
            Bound::Events(span) => self.f("bound.on_days", &[&self.span(*span)]),
            _ => return None,
        })
    }

    fn names(&self, items: &[Named]) -> String {
        let name = |item: &Named| {
            let name = Shown::name(item.name.as_deref().unwrap_or(&item.id));
            self.f("bound.quoted", &[&name])
        };
        self.either(items.iter().map(name).collect())
    }

    fn either(&self, mut all: Vec<String>) -> String {
        if all.len() > NAMES {
            let more = all.len() - (NAMES - 1);
            all.truncate(NAMES - 1);
            all.push(self.f("bound.more", &[&more]));
        }
        match all.split_last() {
            Some((last, rest)) if !rest.is_empty() => {
                format!("{}{}{last}", rest.join(self.t("bound.join")), self.t("bound.or"))
            }
            _ => all.concat(),
        }
    }

    fn span(&self, span: Span) -> String {
        let from = span.from.map(|from| self.moment(from.0, false));
        let until = span.until.map(|until| self.moment(until.0, true));
        match (from, until) {
            (Some(from), Some(until)) => self.f("bound.span_both", &[&from, &until]),
            (Some(from), None) => self.f("bound.span_from", &[&from]),
            (None, Some(until)) => self.f("bound.span_until", &[&until]),
            (None, None) => String::new(),
        }
    }

    /// A day, as the company reads it; the time as well where it is not the day's border. An end that is a
    /// day's beginning is read as the day before: it is the last one.
    fn moment(&self, at: Timestamp, is_end: bool) -> String {
        let (_, minute) = self.offset.read(at);
        let is_border = minute == 0 && at.millis().rem_euclid(60_000) == 0;
        let shown =
            if is_border && is_end { Timestamp::from_millis(at.millis().saturating_sub(1)) } else { at };
        let (day, _) = self.offset.read(shown);
        let form = match self.lang {
            Lang::En => "%-d %B %Y",
            Lang::Zh => "%Y年%-m月%-d日",
        };
        let day = day.strftime(form).to_string();
        if is_border {
            return day;
        }
        format!("{day} {:02}:{:02} ({})", minute / 60, minute % 60, self.offset)
    }

    fn per(&self, per: Period) -> &'static str {
        self.t(match per {
            Period::Minute => "bound.per_minute",
            Period::Hour => "bound.per_hour",
            Period::Day => "bound.per_day",
        })
    }

    fn hours(&self, hours: &Hours) -> String {
        let clock = UtcOffset::from_minutes(hours.utc_offset_min).unwrap_or_default();
        if hours.days.is_empty() {
            return self.f("bound.hours", &[&hours.from, &hours.until, &clock]);
        }
        let mut days = hours.days.clone();
        days.sort_unstable();
        days.dedup();
        let named = days.iter().filter_map(|day| WEEK.get(usize::from(*day).checked_sub(1)?));
        let days: Vec<&str> = named.map(|key| self.t(key)).collect();
        self.f("bound.hours_on", &[&hours.from, &hours.until, &clock, &days.join(self.t("bound.join"))])
    }
}

/// An amount of data in the largest unit that holds it whole.
fn data(bytes: u64) -> String {
    let (unit, size) = unit_of(bytes);
    format!("{} {unit}", bytes / size)
}

/// The largest unit that holds an amount whole.
pub fn unit_of(bytes: u64) -> (&'static str, u64) {
    UNITS.into_iter().find(|(_, size)| bytes.is_multiple_of(*size)).unwrap_or(("B", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let limits = Limit::parse_all(text).unwrap();
        let offset: UtcOffset = "+08:00".parse().unwrap();
        let said = [Lang::En, Lang::Zh].map(|lang| sentences(lang, offset, &limits).join("\n"));
        said.join("\n")
    }

    fn at(api: &str, rest: &str) -> String {
        format!(r#"{{"type":"valetkey_limit",{api}{rest}}}"#)
    }

    #[test]
    fn every_kind_is_said_in_both_languages() {
        let graph = r#""api":"graph","#;
        let one = |rest: &str| words(&format!("[{}]", at(graph, rest)));
        let general = |rest: &str| words(&format!("[{}]", at("", rest)));
        let all = [
            one(r#""kind":"folders","items":[{"id":"1","name":"Projects"},"id-2"]"#),
            one(r#""kind":"documents","items":[{"id":"1","name":"Plan.docx"}]"#),
            one(
                r#""kind":"mail_folders","items":[{"id":"1","name":"Inbox"},{"id":"2","name":"Archive"},{"id":"3","name":"Travel"}]"#,
            ),
            one(r#""kind":"mail_dates","from":"2026-09-30T16:00:00Z""#),
            one(r#""kind":"mail_dates","until":"2026-10-31T16:00:00Z""#),
            one(r#""kind":"mail_dates","from":"2026-10-01","until":"2026-10-31T16:00:00Z""#),
            one(r#""kind":"senders","allow":["bob@example.com","@elsewhere.example"]"#),
            one(r#""kind":"recipients","domains":["example.com"]"#),
            one(r#""kind":"calendars","items":[{"id":"1","name":"Team"}]"#),
            one(r#""kind":"events","from":"2026-09-30T16:00:00Z","until":"2026-10-31T16:00:00Z""#),
            one(r#""kind":"chats","items":[{"id":"1","name":"Lunch"}]"#),
            general(r#""kind":"read_only""#),
            general(r#""kind":"calls","most":100,"per":"hour""#),
            general(r#""kind":"items","most":200"#),
            general(r#""kind":"bytes","most":50000000"#),
            general(r#""kind":"hours","from":"09:00","until":"18:00","utc_offset_min":480"#),
            general(r#""kind":"hours","from":"09:00","until":"18:00","days":[1,2,3]"#),
            general(r#""kind":"once""#),
        ];
        insta::assert_snapshot!(all.join("\n\n"));
    }

    #[test]
    fn what_bounds_mail_is_one_sentence_and_two_of_a_kind_are_two() {
        let graph = r#""api":"graph","#;
        let text = format!(
            "[{},{},{},{}]",
            at(graph, r#""kind":"mail_dates","from":"2026-09-30T16:00:00Z""#),
            at("", r#""kind":"read_only""#),
            at(graph, r#""kind":"mail_folders","items":[{"id":"1","name":"Inbox"}]"#),
            at(graph, r#""kind":"mail_folders","items":[{"id":"2","name":"Archive"}]"#),
        );
        let limits = Limit::parse_all(&text).unwrap();
        let said = sentences(Lang::En, "+08:00".parse().unwrap(), &limits);
        assert_eq!(
            said,
            [
                "Only mail in “Inbox”, received from 1 October 2026 on; no other mail.",
                "It may only look: nothing is changed, sent or deleted.",
                "Only mail in “Archive”; no other mail.",
            ]
        );
    }

    #[test]
    fn a_long_list_is_counted_and_a_hostile_name_stays_a_name() {
        let items: Vec<String> = (0..20).map(|n| format!("\"f{n}\"")).collect();
        let text = format!(
            r#"[{{"type":"valetkey_limit","api":"graph","kind":"folders","items":[{}]}}]"#,
            items.join(",")
        );
        let said = sentences(Lang::En, UtcOffset::default(), &Limit::parse_all(&text).unwrap());
        assert!(said[0].contains("“f6” or 13 others"), "{said:?}");
        let hostile = Limit::at(
            "graph",
            Bound::Folders {
                items: vec![Named { id: "1".to_owned(), name: Some("{2}\u{202e}x".to_owned()) }],
            },
        );
        let said = sentences(Lang::En, UtcOffset::default(), &[hostile]);
        assert!(said[0].contains("“{2} x”") && !said[0].contains('\u{202e}'), "{said:?}");
    }
}
