//! One call of a table, and what is expected of it.

/// What the agent is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The call passes.
    Allowed,
    /// It passes, and what lies outside is left out.
    Clipped,
    /// Whatever the provider says to it, nothing outside is reached: the gateway put the user's own identity in.
    Harmless,
    /// It says two things at once: 400, and the provider never sees it.
    Malformed,
    /// It is refused with this code.
    Refused(&'static str),
}

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The class of attempt, for the figures; empty for what is allowed.
    pub class: &'static str,
    /// The limits in force, by the name that the table gives them.
    pub limits: &'static str,
    /// `METHOD /path?query`, with `{placeholders}` for identifiers.
    pub call: &'static str,
    /// The body, with placeholders; empty for none.
    pub body: &'static str,
    /// Another header.
    pub header: Option<(&'static str, &'static str)>,
    /// What is expected.
    pub expect: Expect,
    /// Whether it changes something although its address looks like a search.
    pub acts: bool,
    /// Whether the vendor's documentation says that the call would be served.
    pub documented: bool,
}

impl Row {
    /// With a body.
    pub fn body(self, body: &'static str) -> Self {
        Self { body, ..self }
    }

    /// With another header.
    pub fn header(self, name: &'static str, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// The vendor does not document that it would serve this: tried, not counted.
    pub const fn undocumented(self) -> Self {
        Self { documented: false, ..self }
    }

    /// It changes something, whatever its address looks like.
    pub fn acting(self) -> Self {
        Self { acts: true, ..self }
    }

    pub fn method(&self) -> &'static str {
        self.call.split_once(' ').unwrap().0
    }

    pub fn path(&self) -> &'static str {
        self.call.split_once(' ').unwrap().1
    }

    /// Whether the call is meant to change something.
    pub fn writes(&self) -> bool {
        const READS: [&str; 17] = [
            "search",
            "query",
            "batch",
            "list",
            "get",
            "mget",
            "info",
            "retrieval",
            "schedule",
            "primary",
            "find",
            "view",
            "value",
            "batch_get",
            "export",
            "download",
            "read",
        ];
        let last = self.path().split('?').next().unwrap().rsplit('/').next().unwrap().to_ascii_lowercase();
        self.acts
            || self.method() != "GET"
                && !(self.method() == "POST" && READS.iter().any(|word| last.contains(word)))
    }
}

const fn row(class: &'static str, limits: &'static str, call: &'static str, expect: Expect) -> Row {
    Row { class, limits, call, body: "", header: None, expect, acts: false, documented: true }
}

/// A call that stays inside.
pub const fn allowed(limits: &'static str, call: &'static str) -> Row {
    row("", limits, call, Expect::Allowed)
}

/// A call that reaches further than the limits and comes back without what lies outside.
pub const fn clipped(limits: &'static str, class: &'static str, call: &'static str) -> Row {
    row(class, limits, call, Expect::Clipped)
}

/// An attempt that the gateway turns into a call for the user's own sake.
pub const fn harmless(limits: &'static str, class: &'static str, call: &'static str) -> Row {
    row(class, limits, call, Expect::Harmless)
}

/// An attempt to be read one way here and another way there.
pub const fn malformed(limits: &'static str, class: &'static str, call: &'static str) -> Row {
    row(class, limits, call, Expect::Malformed).undocumented()
}

/// A call for which nothing is left, or for which it is not the time: no way out, but it must not pass.
pub const fn spent(limits: &'static str, call: &'static str) -> Row {
    row("budget", limits, call, Expect::Refused("limit_exceeded")).undocumented()
}

/// An attempt that a limit stops.
pub const fn stopped(limits: &'static str, class: &'static str, call: &'static str) -> Row {
    row(class, limits, call, Expect::Refused("limit_exceeded"))
}

/// An attempt at a call that the template does not open at all.
pub const fn closed(limits: &'static str, class: &'static str, call: &'static str) -> Row {
    row(class, limits, call, Expect::Refused("route_not_allowed"))
}

/// Limits by a name, as RFC 9396 details with placeholders, and the words that they keep out.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    pub details: &'static str,
    pub words: &'static [&'static str],
}

/// A provider's table.
pub struct Table {
    pub provider: &'static str,
    /// `entra/graph`.
    pub api: &'static str,
    pub scopes: &'static str,
    pub bounds: &'static [Bounds],
    pub rows: Vec<Row>,
}

impl Table {
    pub fn bounds_of(&self, row: &Row) -> &'static Bounds {
        self.bounds
            .iter()
            .find(|b| b.name == row.limits)
            .unwrap_or_else(|| panic!("no bounds {}", row.limits))
    }
}
