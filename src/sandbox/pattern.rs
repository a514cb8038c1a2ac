//! Path patterns of the vendors' route tables: `GET /docx/v1/documents/{document_id}`.

/// What a pattern's `{names}` matched, decoded once.
#[derive(Clone, Debug, Default)]
pub struct Captures<'r>(Vec<(&'static str, &'r str)>);

impl<'r> Captures<'r> {
    /// The segment of that name; empty when the pattern has none.
    pub fn get(&self, name: &str) -> &'r str {
        self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }
}

/// Matches `METHOD /path/{name}` against a request; a name stands for exactly one segment, not an empty one.
pub fn capture<'r>(pattern: &'static str, method: &str, segments: &'r [String]) -> Option<Captures<'r>> {
    let (wanted, path) = pattern.split_once(" /")?;
    if wanted != method {
        return None;
    }
    let mut left = segments.iter();
    let mut captures = Captures::default();
    for part in path.split('/') {
        let segment = left.next()?;
        match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(_) if segment.is_empty() => return None,
            Some(name) => captures.0.push((name, segment)),
            None if part != segment => return None,
            None => {}
        }
    }
    left.next().is_none().then_some(captures)
}

/// The first entry of a route table that fits; literal routes stand above those with a name in the same place.
pub fn find<'r, 't, R>(
    table: &'t [R],
    call: impl Fn(&R) -> &'static str,
    method: &str,
    segments: &'r [String],
) -> Option<(&'t R, Captures<'r>)> {
    table.iter().find_map(|route| Some((route, capture(call(route), method, segments)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.trim_start_matches('/').split('/').map(str::to_owned).collect()
    }

    #[test]
    fn a_name_stands_for_one_segment_that_is_not_empty() {
        let path = segments("/a/7/b");
        assert_eq!(capture("GET /a/{id}/b", "GET", &path).unwrap().get("id"), "7");
        assert!(capture("GET /a/{id}", "GET", &path).is_none());
        assert!(capture("GET /a/{id}/b", "GET", &segments("/a//b")).is_none());
        assert!(capture("POST /a/{id}/b", "GET", &path).is_none());
    }
}
