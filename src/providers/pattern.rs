//! Route patterns: `METHOD /path/{id}`.

/// Methods that a route may name. CONNECT, TRACE and OPTIONS are never forwarded.
pub const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

const MAX_SEGMENTS: usize = 32;

/// A pattern, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern<'t> {
    /// The method, upper case.
    pub method: &'t str,
    /// The path's segments.
    pub segments: Vec<Segment<'t>>,
}

/// One segment of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'t> {
    /// Exactly this text.
    Literal(&'t str),
    /// Any one segment that is not empty.
    Param(&'t str),
}

/// A text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternProblem {
    /// Not two words.
    #[error("is not a method, one space and a path")]
    NotTwoWords,
    /// Not a method that can be forwarded.
    #[error("has the unknown method `{0}`")]
    Method(String),
    /// No slash at the start.
    #[error("has a path that does not start with `/`")]
    NoSlash,
    /// `?` or `#`.
    #[error("has a query or fragment")]
    Query,
    /// `//`, or a slash at the end.
    #[error("has an empty segment")]
    EmptySegment,
    /// `.` or `..`.
    #[error("has a dot segment")]
    DotSegment,
    /// A character that needs encoding, or that servers read in different ways.
    #[error("has the character `{0}` in its path")]
    Character(char),
    /// Braces that are not a whole segment, or no name in them.
    #[error("has a parameter that is not a whole segment with a plain name")]
    Param,
    /// The same name twice.
    #[error("has the parameter `{0}` twice")]
    Twice(String),
    /// More segments than any vendor has.
    #[error("has more than {MAX_SEGMENTS} segments")]
    TooLong,
}

impl PatternProblem {
    /// What to write instead.
    pub fn instead(&self) -> &'static str {
        match self {
            Self::NotTwoWords | Self::NoSlash => "write for example `GET /v1.0/me/messages/{id}`",
            Self::Method(_) => "write one of GET, HEAD, POST, PUT, PATCH, DELETE in capitals",
            Self::Query => "leave it out; a route is judged by its path, and `pin_query` fixes parameters",
            Self::EmptySegment => "write exactly one `/` before each segment and none at the end",
            Self::DotSegment => "write the path that is really called",
            Self::Character(_) => {
                "write only letters, digits and -._~!$&'()*+,=:@ in a segment, as the gateway does not decode"
            }
            Self::Param => "write `/{name}/` with letters, digits, `_` or `-` between the braces",
            Self::Twice(_) => "give each parameter a name of its own",
            Self::TooLong => "check the path; no vendor's is that long",
        }
    }
}

impl<'t> Pattern<'t> {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When the text is none.
    pub fn parse(text: &'t str) -> Result<Self, PatternProblem> {
        let (method, path) = text.split_once(' ').ok_or(PatternProblem::NotTwoWords)?;
        if path.contains(char::is_whitespace) || path.is_empty() {
            return Err(PatternProblem::NotTwoWords);
        }
        if !METHODS.contains(&method) {
            return Err(PatternProblem::Method(method.chars().take(20).collect()));
        }
        let inner = path.strip_prefix('/').ok_or(PatternProblem::NoSlash)?;
        if inner.contains(['?', '#']) {
            return Err(PatternProblem::Query);
        }
        let mut segments = Vec::new();
        for part in inner.split('/') {
            let segment = Segment::parse(part)?;
            if let Segment::Param(name) = segment
                && segments.contains(&segment)
            {
                return Err(PatternProblem::Twice(name.to_owned()));
            }
            segments.push(segment);
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(PatternProblem::TooLong);
        }
        Ok(Self { method, segments })
    }

    /// Names of the parameters, in order.
    pub fn params(&self) -> impl Iterator<Item = &'t str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(*name),
            Segment::Literal(_) => None,
        })
    }

    /// How the calls that two patterns describe relate.
    pub fn overlap(&self, other: &Pattern<'_>, case_insensitive: bool) -> Overlap {
        if self.method != other.method || self.segments.len() != other.segments.len() {
            return Overlap::Apart;
        }
        let (mut narrower, mut wider) = (false, false);
        for pair in self.segments.iter().zip(&other.segments) {
            match pair {
                (Segment::Literal(a), Segment::Literal(b)) => {
                    if !(a == b || (case_insensitive && a.eq_ignore_ascii_case(b))) {
                        return Overlap::Apart;
                    }
                }
                (Segment::Literal(_), Segment::Param(_)) => narrower = true,
                (Segment::Param(_), Segment::Literal(_)) => wider = true,
                (Segment::Param(_), Segment::Param(_)) => {}
            }
        }
        match (narrower, wider) {
            (false, false) => Overlap::Same,
            (true, true) => Overlap::Crossing,
            _ => Overlap::Contained,
        }
    }
}

/// How the calls of two patterns relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// No call matches both.
    Apart,
    /// All calls match both.
    Same,
    /// One is a special case of the other, and wins where both match.
    Contained,
    /// Some calls match both, and neither is a special case of the other.
    Crossing,
}

impl<'t> Segment<'t> {
    fn parse(part: &'t str) -> Result<Self, PatternProblem> {
        if part.is_empty() {
            return Err(PatternProblem::EmptySegment);
        }
        if matches!(part, "." | "..") {
            return Err(PatternProblem::DotSegment);
        }
        if part.contains(['{', '}']) {
            let name = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let is_name = |name: &&str| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            };
            return name.filter(is_name).map(Segment::Param).ok_or(PatternProblem::Param);
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,=:@".contains(c);
        match part.chars().find(|c| !is_plain(*c)) {
            Some(odd) => Err(PatternProblem::Character(odd)),
            None => Ok(Segment::Literal(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pattern_is_named() {
        use PatternProblem as P;
        for (text, problem) in [
            ("/me", P::NotTwoWords),
            ("GET  /me", P::NotTwoWords),
            ("GET /a b", P::NotTwoWords),
            ("get /me", P::Method("get".to_owned())),
            ("TRACE /me", P::Method("TRACE".to_owned())),
            ("GET me", P::NoSlash),
            ("GET /me?x=1", P::Query),
            ("GET /me#x", P::Query),
            ("GET /a//b", P::EmptySegment),
            ("GET /a/", P::EmptySegment),
            ("GET /a/../b", P::DotSegment),
            ("GET /a%2fb", P::Character('%')),
            ("GET /a;b", P::Character(';')),
            ("GET /a\\b", P::Character('\\')),
            ("GET /x{id}", P::Param),
            ("GET /{}", P::Param),
            ("GET /{a b}", P::NotTwoWords),
            ("GET /{a}/{a}", P::Twice("a".to_owned())),
        ] {
            assert_eq!(Pattern::parse(text), Err(problem), "{text}");
        }
        assert!(Pattern::parse("GET /v1.0/me/drive/root:/x:/children").is_ok());
        assert!(Pattern::parse("GET /v1.0/me/calendarView/delta()").is_ok());
    }

    #[test]
    fn overlap_is_told_apart() {
        let of = |a: &'static str, b: &'static str, any_case| {
            Pattern::parse(a).unwrap().overlap(&Pattern::parse(b).unwrap(), any_case)
        };
        assert_eq!(of("GET /a/{x}", "GET /a/{y}", false), Overlap::Same);
        assert_eq!(of("GET /a/{x}", "GET /a/me", false), Overlap::Contained);
        assert_eq!(of("GET /a/{x}/c", "GET /a/b/{y}", false), Overlap::Crossing);
        assert_eq!(of("GET /a/b", "POST /a/b", false), Overlap::Apart);
        assert_eq!(of("GET /a/b", "GET /A/b", false), Overlap::Apart);
        assert_eq!(of("GET /a/b", "GET /A/b", true), Overlap::Same);
    }
}
