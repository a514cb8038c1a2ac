//! What a limit that could be read may still get wrong.

use crate::model::limit::{Bound, LONGEST_TEXT, LimitProblem, MOST_VALUES, Named};

impl Bound {
    /// Checks its values.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn check(&self) -> Result<(), LimitProblem> {
        let kind = self.kind().as_str();
        let wrong = |problem| LimitProblem::Value { kind, problem };
        let is_text = |text: &str| {
            !text.is_empty() && text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control)
        };
        let count = |count: usize| {
            if (1..=MOST_VALUES).contains(&count) { Ok(()) } else { Err(LimitProblem::Values(kind)) }
        };
        match self {
            Self::Folders { items }
            | Self::Documents { items }
            | Self::MailFolders { items }
            | Self::Calendars { items }
            | Self::Chats { items } => {
                count(items.len())?;
                let is_named = |item: &Named| is_text(&item.id) && item.name.as_deref().is_none_or(is_text);
                if items.iter().all(is_named) { Ok(()) } else { Err(wrong("empty or too long")) }
            }
            Self::MailDates(span) | Self::Events(span) => match (span.from, span.until) {
                (None, None) => Err(wrong("missing: give `from`, `until` or both")),
                (Some(from), Some(until)) if from >= until => Err(wrong("a span that ends before it begins")),
                _ => Ok(()),
            },
            Self::Senders { allow } => {
                count(allow.len())?;
                let is_sender = |text: &String| {
                    let (local, domain) = text.rsplit_once('@').unwrap_or(("", ""));
                    is_domain(domain) && local.bytes().all(is_local)
                };
                let all = allow.iter().all(is_sender);
                if all { Ok(()) } else { Err(wrong("neither an address nor a domain like @example.com")) }
            }
            Self::Recipients { domains } => {
                count(domains.len())?;
                let all = domains.iter().all(|domain| is_domain(domain));
                if all { Ok(()) } else { Err(wrong("no domain like example.com")) }
            }
            Self::Calls { most, .. } | Self::Items { most } | Self::Bytes { most } => {
                if *most > 0 {
                    Ok(())
                } else {
                    Err(wrong("zero: revoke the grant instead"))
                }
            }
            Self::Hours(hours) => {
                let is_days = hours.days.iter().all(|day| (1..=7).contains(day)) && hours.days.len() <= 7;
                let is_offset = hours.utc_offset_min.unsigned_abs() <= 18 * 60;
                if hours.from != hours.until && is_days && is_offset {
                    Ok(())
                } else {
                    Err(wrong("no span of hours, day of the week or offset"))
                }
            }
            Self::ReadOnly {} | Self::Once {} => Ok(()),
        }
    }
}

pub(super) fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte)
}

pub(super) fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)
}
