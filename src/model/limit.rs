//! Limits: bounds on a grant that scopes cannot express, as RFC 9396 details.
//!
//! All limits in force apply; the values inside one are alternatives. Adding a limit can therefore only
//! narrow, and that is how a token narrows its grant.

mod check;
mod hours;
#[cfg(test)]
mod tests;
mod wire;

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::model::limit::check::{is_domain, is_local};

/// The RFC 9396 type of every limit.
pub const DETAIL_TYPE: &str = "valetkey_limit";

/// No limit lists more folders, people or chats.
pub const MOST_VALUES: usize = 50;

/// No grant and no token holds more limits.
pub const MOST_LIMITS: usize = 32;

const LONGEST_TEXT: usize = 512;

/// A bound on what a grant or a token reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The provider's API that it bounds. A general bound names none and holds at all of them.
    pub api: Option<String>,
    /// What it allows.
    pub bound: Bound,
}

/// What a limit allows. The vocabulary is closed: an unknown kind is refused, never passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Bound {
    /// Items of these folder trees.
    Folders {
        /// The folders.
        items: Vec<Named>,
    },
    /// These documents.
    Documents {
        /// The documents.
        items: Vec<Named>,
    },
    /// Mail in these folders.
    MailFolders {
        /// The folders.
        items: Vec<Named>,
    },
    /// Mail received in a span of time.
    MailDates(Span),
    /// Mail from these people.
    Senders {
        /// Addresses, or domains written `@example.com`.
        allow: Vec<String>,
    },
    /// Sending to these domains.
    Recipients {
        /// Domains, without `@`. A domain does not include those below it.
        domains: Vec<String>,
    },
    /// These calendars.
    Calendars {
        /// The calendars.
        items: Vec<Named>,
    },
    /// Events that touch a span of time.
    Events(Span),
    /// These chats.
    Chats {
        /// The chats.
        items: Vec<Named>,
    },
    /// Calls that only look.
    ReadOnly {},
    /// So many calls.
    Calls {
        /// At most.
        most: u64,
        /// In each such period.
        per: Period,
    },
    /// So many list items a day.
    Items {
        /// At most.
        most: u64,
    },
    /// So many bytes of answers a day.
    Bytes {
        /// At most.
        most: u64,
    },
    /// At these hours.
    Hours(Hours),
    /// One call, ever.
    Once {},
}

/// Something at the provider, with the name that a person knows it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The provider's identifier. One of several parts is joined with `/`.
    pub id: String,
    /// For people; it decides nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A span of time; an end that is left out is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// From this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Moment>,
    /// Before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

/// A moment; written in RFC 3339, read from that or from a date, which is its first moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

/// Hours of the day at which calls are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// From, `HH:MM`.
    pub from: ClockTime,
    /// Until, `HH:MM`, not included. Earlier than `from` = past midnight.
    pub until: ClockTime,
    /// Minutes by which the clock that is meant is ahead of UTC.
    #[serde(default)]
    pub utc_offset_min: i16,
    /// Days of the week on which they begin, 1 = Monday. None = every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<u8>,
}

/// A time of day in minutes since midnight; written `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockTime(u16);

/// A period that calls are counted in. Periods are those of the clock, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// The kinds of limits, without their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the bound of the same name")]
pub enum LimitKind {
    Folders,
    Documents,
    MailFolders,
    MailDates,
    Senders,
    Recipients,
    Calendars,
    Events,
    Chats,
    ReadOnly,
    Calls,
    Items,
    Bytes,
    Hours,
    Once,
}

/// Why a limit is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitProblem {
    /// The object has another type, an unknown kind, or members that the kind does not have.
    #[error("not a limit: {0}")]
    Shape(String),
    /// A bound of an API that names none.
    #[error("`{0}` needs `api`: the API of the provider that it bounds")]
    NoApi(&'static str),
    /// A general bound that names an API.
    #[error("`{0}` bounds the whole grant: leave `api` out")]
    NeedlessApi(&'static str),
    /// An empty list, or too many values.
    #[error("`{0}` takes 1 to {MOST_VALUES} values")]
    Values(&'static str),
    /// A value that is empty, too long or of the wrong form.
    #[error("`{kind}` has a value that is {problem}")]
    Value {
        /// The kind.
        kind: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// Too many limits.
    #[error("there are more than {MOST_LIMITS} limits")]
    TooMany,
}

impl LimitKind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Folders,
        Self::Documents,
        Self::MailFolders,
        Self::MailDates,
        Self::Senders,
        Self::Recipients,
        Self::Calendars,
        Self::Events,
        Self::Chats,
        Self::ReadOnly,
        Self::Calls,
        Self::Items,
        Self::Bytes,
        Self::Hours,
        Self::Once,
    ];

    /// The kind's name on the wire and in templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Folders => "folders",
            Self::Documents => "documents",
            Self::MailFolders => "mail_folders",
            Self::MailDates => "mail_dates",
            Self::Senders => "senders",
            Self::Recipients => "recipients",
            Self::Calendars => "calendars",
            Self::Events => "events",
            Self::Chats => "chats",
            Self::ReadOnly => "read_only",
            Self::Calls => "calls",
            Self::Items => "items",
            Self::Bytes => "bytes",
            Self::Hours => "hours",
            Self::Once => "once",
        }
    }

    /// Whether it bounds every call alike, whatever the API: then no template has to say where it bites.
    pub const fn is_general(self) -> bool {
        matches!(self, Self::ReadOnly | Self::Calls | Self::Items | Self::Bytes | Self::Hours | Self::Once)
    }
}

impl Bound {
    /// Its kind.
    pub const fn kind(&self) -> LimitKind {
        match self {
            Self::Folders { .. } => LimitKind::Folders,
            Self::Documents { .. } => LimitKind::Documents,
            Self::MailFolders { .. } => LimitKind::MailFolders,
            Self::MailDates(_) => LimitKind::MailDates,
            Self::Senders { .. } => LimitKind::Senders,
            Self::Recipients { .. } => LimitKind::Recipients,
            Self::Calendars { .. } => LimitKind::Calendars,
            Self::Events(_) => LimitKind::Events,
            Self::Chats { .. } => LimitKind::Chats,
            Self::ReadOnly {} => LimitKind::ReadOnly,
            Self::Calls { .. } => LimitKind::Calls,
            Self::Items { .. } => LimitKind::Items,
            Self::Bytes { .. } => LimitKind::Bytes,
            Self::Hours(_) => LimitKind::Hours,
            Self::Once {} => LimitKind::Once,
        }
    }

    /// The things that it names, for bounds that name things.
    pub fn items(&self) -> Option<&[Named]> {
        match self {
            Self::Folders { items }
            | Self::Documents { items }
            | Self::MailFolders { items }
            | Self::Calendars { items }
            | Self::Chats { items } => Some(items),
            _ => None,
        }
    }

    /// The span, for bounds in time.
    pub const fn span(&self) -> Option<Span> {
        match self {
            Self::MailDates(span) | Self::Events(span) => Some(*span),
            _ => None,
        }
    }

    /// Whether it names the thing with that identifier. Vendors' identifiers are case-sensitive.
    pub fn names(&self, id: &str) -> bool {
        self.items().is_some_and(|items| items.iter().any(|item| item.id == id))
    }

    /// Whether an e-mail address is among the senders or recipients that it allows. Anything that is not
    /// plainly one address is not.
    pub fn allows_address(&self, address: &str) -> bool {
        let address = address.to_ascii_lowercase();
        let Some((local, domain)) = address.rsplit_once('@') else { return false };
        if local.is_empty() || !is_domain(domain) || !local.bytes().all(is_local) {
            return false;
        }
        match self {
            Self::Senders { allow } => allow.iter().any(|allowed| {
                let allowed = allowed.to_ascii_lowercase();
                allowed.strip_prefix('@').map_or(allowed == address, |of| of == domain)
            }),
            Self::Recipients { domains } => domains.iter().any(|of| of.eq_ignore_ascii_case(domain)),
            _ => false,
        }
    }
}

impl Span {
    /// Whether a moment lies in it.
    pub fn holds(self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from.0) && self.until.is_none_or(|until| at < until.0)
    }

    /// Whether something that lasts from `start` to `end` touches it.
    pub fn touches(self, start: Timestamp, end: Timestamp) -> bool {
        self.until.is_none_or(|until| start < until.0)
            && self.from.is_none_or(|from| end > from.0 || (start == end && start >= from.0))
    }
}

impl Limit {
    /// A limit on one API.
    pub fn at(api: &str, bound: Bound) -> Self {
        Self { api: Some(api.to_owned()), bound }
    }

    /// A limit on all that a grant reaches.
    pub const fn general(bound: Bound) -> Self {
        Self { api: None, bound }
    }

    /// Its kind.
    pub const fn kind(&self) -> LimitKind {
        self.bound.kind()
    }

    /// Whether it bears on calls of that API.
    pub fn is_on(&self, api: &str) -> bool {
        self.api.as_deref().is_none_or(|own| own == api)
    }

    /// Checks what a deserialised limit may still get wrong.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), LimitProblem> {
        let kind = self.kind();
        match (&self.api, kind.is_general()) {
            (None, false) => return Err(LimitProblem::NoApi(kind.as_str())),
            (Some(_), true) => return Err(LimitProblem::NeedlessApi(kind.as_str())),
            _ => {}
        }
        self.bound.check()
    }

    /// Reads `authorization_details` (RFC 9396), whole or not at all.
    ///
    /// # Errors
    /// The first thing that is no limit of ours.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, LimitProblem> {
        let limits: Vec<Self> =
            serde_json::from_str(text).map_err(|error| LimitProblem::Shape(error.to_string()))?;
        if limits.len() > MOST_LIMITS {
            return Err(LimitProblem::TooMany);
        }
        limits.iter().try_for_each(Self::check)?;
        Ok(limits)
    }
}
