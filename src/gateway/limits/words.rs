//! The words of limits: what is allowed, what was asked, and what may be done instead.

use crate::gateway::denial::{Denial, LimitShown};
use crate::gateway::limits::moments;
use crate::kernel::said::Said;
use crate::kernel::text::clean;
use crate::model::limit::{Bound, Limit, Moment, Named, Span};
use crate::providers::template::{Field, Test, TimeForm};

/// No denial repeats more of what was asked.
const LONGEST_ASKED: usize = 200;

/// What a limit allows, in words that an agent can act on.
pub fn allowed(limit: &Limit) -> Said {
    match &limit.bound {
        Bound::Folders { items } => Said::of("allowed_folders").and(named(items)),
        Bound::Documents { items } => Said::of("allowed_documents").and(named(items)),
        Bound::MailFolders { items } => Said::of("allowed_mail_folders").and(named(items)),
        Bound::MailDates(span) => Said::of("allowed_mail_dates").and(within(*span)),
        Bound::Senders { allow } => Said::of("allowed_senders").and(listed(allow.iter().map(String::as_str))),
        Bound::Recipients { domains } => {
            Said::of("allowed_recipients").and(listed(domains.iter().map(String::as_str)))
        }
        Bound::Calendars { items } => Said::of("allowed_calendars").and(named(items)),
        Bound::Events(span) => Said::of("allowed_events").and(within(*span)),
        Bound::Chats { items } => Said::of("allowed_chats").and(named(items)),
        other => Said::plain(other.kind().as_str()),
    }
}

fn named(items: &[Named]) -> String {
    listed(items.iter().map(|item| item.name.as_deref().unwrap_or(&item.id)))
}

fn listed<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let all: Vec<String> = texts.map(quoted).collect();
    all.join(", ")
}

/// A text of the agent's, as a denial repeats it.
pub fn quoted(text: &str) -> String {
    format!("`{}`", clean(text, LONGEST_ASKED))
}

fn within(span: Span) -> Said {
    let at = |moment: Moment| moments::write(moment.0, TimeForm::Rfc3339);
    match (span.from.map(at), span.until.map(at)) {
        (Some(from), Some(until)) => Said::of("within_both").and(from).and(until),
        (Some(from), None) => Said::of("within_from").and(from),
        (None, Some(until)) => Said::of("within_until").and(until),
        (None, None) => Said::of("within_any"),
    }
}

/// What a test compares, as a part of a sentence.
pub const fn compared(test: Test) -> Said {
    Said::of(match test {
        Test::Id => "compared_id",
        Test::Tree => "compared_tree",
        Test::Folder => "compared_folder",
        Test::Time => "compared_time",
        Test::Span => "compared_span",
        Test::Sender => "compared_sender",
        Test::Recipients => "compared_recipients",
        Test::Calendar => "compared_calendar",
        Test::Chat => "compared_chat",
    })
}

/// A field's name in words.
pub const fn field(field: Field) -> Said {
    Said::of(match field {
        Field::Id => "field_id",
        Field::Parent => "field_parent",
        Field::Folder => "field_folder",
        Field::Time => "field_time",
        Field::Start => "field_start",
        Field::End => "field_end",
        Field::Sender => "field_sender",
        Field::Recipients => "field_recipients",
        Field::Calendar => "field_calendar",
        Field::Chat => "field_chat",
        Field::Elsewhere => "field_elsewhere",
        Field::Target => "field_target",
    })
}

/// A refusal by a limit. `problem` says what is wrong with `asked`; what is allowed follows it.
pub fn refusal(limit: &Limit, asked: &str, problem: Said) -> Denial {
    let allowed = allowed(limit);
    let shown = LimitShown {
        kind: limit.kind().as_str().to_owned(),
        allowed: allowed.english(),
        asked: clean(asked, LONGEST_ASKED),
    };
    Denial::limit(vec![problem, Said::of("only_allows").and(allowed)], shown)
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
            assert_eq!(allowed(&Limit::parse_all(&limits).unwrap()[0]).english(), words);
        }
    }
}
