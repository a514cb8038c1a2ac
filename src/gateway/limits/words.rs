//! The words of limits: what is allowed, what was asked, and what may be done instead.

use std::fmt::Write as _;

use crate::gateway::denial::{Denial, LimitShown};
use crate::gateway::limits::moments;
use crate::kernel::text::clean;
use crate::model::limit::{Bound, Limit, Named, Span};
use crate::providers::template::{Field, Test, TimeForm};

/// No denial repeats more of what was asked.
const LONGEST_ASKED: usize = 200;

/// What a limit allows, in words that an agent can act on.
pub fn allowed(limit: &Limit) -> String {
    match &limit.bound {
        Bound::Folders { items } => format!("what lies under {}", named(items)),
        Bound::Documents { items } => format!("the documents {}", named(items)),
        Bound::MailFolders { items } => format!("mail in {}", named(items)),
        Bound::MailDates(span) => format!("mail received {}", within(*span)),
        Bound::Senders { allow } => format!("mail from {}", listed(allow.iter().map(String::as_str))),
        Bound::Recipients { domains } => {
            format!("sending to addresses at {}", listed(domains.iter().map(String::as_str)))
        }
        Bound::Calendars { items } => format!("the calendars {}", named(items)),
        Bound::Events(span) => format!("events {}", within(*span)),
        Bound::Chats { items } => format!("the chats {}", named(items)),
        other => other.kind().as_str().to_owned(),
    }
}

fn named(items: &[Named]) -> String {
    listed(items.iter().map(|item| item.name.as_deref().unwrap_or(&item.id)))
}

fn listed<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut out = String::new();
    for (at, text) in texts.enumerate() {
        let _ = write!(out, "{}`{}`", if at == 0 { "" } else { ", " }, clean(text, LONGEST_ASKED));
    }
    out
}

fn within(span: Span) -> String {
    let at = |moment: crate::model::limit::Moment| moments::write(moment.0, TimeForm::Rfc3339);
    match (span.from.map(at), span.until.map(at)) {
        (Some(from), Some(until)) => format!("from {from} and before {until}"),
        (Some(from), None) => format!("from {from} on"),
        (None, Some(until)) => format!("before {until}"),
        (None, None) => "at any time".to_owned(),
    }
}

/// What a test compares, as a part of a sentence.
pub const fn compared(test: Test) -> &'static str {
    match test {
        Test::Id => "its identifier",
        Test::Tree => "the folder that it lies under",
        Test::Folder => "its mail folder",
        Test::Time => "when it was received",
        Test::Span => "when it takes place",
        Test::Sender => "its sender",
        Test::Recipients => "all of its recipients",
        Test::Calendar => "its calendar",
        Test::Chat => "its chat",
    }
}

/// A field's name in words.
pub const fn field(field: Field) -> &'static str {
    match field {
        Field::Id => "identifier",
        Field::Parent => "folder",
        Field::Folder => "mail folder",
        Field::Time => "time of receipt",
        Field::Start => "start",
        Field::End => "end",
        Field::Sender => "sender",
        Field::Recipients => "recipients",
        Field::Calendar => "calendar",
        Field::Chat => "chat",
        Field::Elsewhere => "mark of a shortcut",
        Field::Target => "target",
    }
}

/// A refusal by a limit. `problem` says what is wrong with `asked`; what is allowed follows it.
pub fn refusal(limit: &Limit, asked: &str, problem: &str, instead: &str) -> Denial {
    let allowed = allowed(limit);
    let shown = LimitShown {
        kind: limit.kind().as_str().to_owned(),
        allowed: allowed.clone(),
        asked: clean(asked, LONGEST_ASKED),
    };
    let mut words = format!("{problem}; this grant allows only {allowed}");
    if !instead.is_empty() {
        let _ = write!(words, ". {instead}");
    }
    Denial::limit(words, shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_names_and_plain_times() {
        for (text, words) in [
            (
                r#""kind":"folders","items":[{"id":"01A","name":"Projects/2026"},"01B"]"#,
                "what lies under `Projects/2026`, `01B`",
            ),
            (r#""kind":"mail_dates","from":"2026-10-01""#, "mail received from 2026-10-01T00:00:00Z on"),
            (
                r#""kind":"events","from":"2026-10-01","until":"2026-11-01""#,
                "events from 2026-10-01T00:00:00Z and before 2026-11-01T00:00:00Z",
            ),
            (r#""kind":"recipients","domains":["example.com"]"#, "sending to addresses at `example.com`"),
        ] {
            let limits = format!(r#"[{{"type":"valetkey_limit","api":"main",{text}}}]"#);
            assert_eq!(allowed(&Limit::parse_all(&limits).unwrap()[0]), words);
        }
    }
}
