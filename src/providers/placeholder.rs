//! Placeholders: `{name}` in a template's texts. One pass, no nesting, no other syntax; what a value
//! brings is never looked at again.

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Literal text.
    Text(&'t str),
    /// The name inside braces.
    Name(&'t str),
}

/// A text whose braces are not placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderProblem {
    /// `${…}`, `%{…}`, `#{…}`.
    #[error("uses a placeholder syntax that this is not")]
    Foreign,
    /// `{{…}}` or `{a{b}}`.
    #[error("has braces inside braces")]
    Nested,
    /// One brace without the other.
    #[error("has an unpaired brace")]
    Unpaired,
    /// Something that is no name between the braces.
    #[error("has a placeholder whose name is not lower-case letters, digits and `_`")]
    BadName,
}

/// Splits a text at its placeholders.
///
/// # Errors
/// When a brace is not part of a plain `{name}`.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, PlaceholderProblem> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, from_brace)) = rest.split_once('{') {
        if before.contains('}') {
            return Err(PlaceholderProblem::Unpaired);
        }
        if before.ends_with(['$', '%', '#']) {
            return Err(PlaceholderProblem::Foreign);
        }
        let (name, after) = from_brace.split_once('}').ok_or(PlaceholderProblem::Unpaired)?;
        if name.contains('{') || (name.is_empty() && after.starts_with('}')) {
            return Err(PlaceholderProblem::Nested);
        }
        if !is_name(name) {
            return Err(PlaceholderProblem::BadName);
        }
        if !before.is_empty() {
            found.push(Piece::Text(before));
        }
        found.push(Piece::Name(name));
        rest = after;
    }
    if rest.contains('}') {
        return Err(PlaceholderProblem::Unpaired);
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest));
    }
    Ok(found)
}

/// Whether a text can be the name of a placeholder: `[a-z][a-z0-9_]{0,31}`.
pub fn is_name(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A text with values put in.
///
/// # Errors
/// The first name that has no value, or the reason why the text has no readable placeholders.
pub fn expand<'v>(
    text: &str,
    value_of: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, Result<String, PlaceholderProblem>> {
    let mut filled = String::with_capacity(text.len() + 32);
    for piece in pieces(text).map_err(Err)? {
        match piece {
            // An issuer may end with a slash, which is part of its identity; the text goes on with its own.
            Piece::Text(literal) if filled.ends_with('/') && literal.starts_with('/') => {
                filled.push_str(literal.trim_start_matches('/'));
            }
            Piece::Text(literal) => filled.push_str(literal),
            Piece::Name(name) => filled.push_str(value_of(name).ok_or_else(|| Ok(name.to_owned()))?),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_once_and_not_read_again() {
        let value_of = |name: &str| match name {
            "a" => Some("{b}"),
            "b" => Some("never"),
            _ => None,
        };
        assert_eq!(expand("x/{a}/y", value_of), Ok("x/{b}/y".to_owned()));
        assert_eq!(expand("x/{c}", value_of), Err(Ok("c".to_owned())));
    }

    #[test]
    fn an_issuer_that_ends_with_a_slash_does_not_double_it() {
        assert_eq!(
            expand("{i}/token", |_| Some("https://a.example/")),
            Ok("https://a.example/token".to_owned())
        );
        assert_eq!(expand("{i}", |_| Some("https://a.example/")), Ok("https://a.example/".to_owned()));
    }

    #[test]
    fn other_syntaxes_are_refused() {
        use PlaceholderProblem as P;
        for (text, problem) in [
            ("{{a}}", P::Nested),
            ("{a{b}}", P::Nested),
            ("${a}", P::Foreign),
            ("%{a}", P::Foreign),
            ("#{a}", P::Foreign),
            ("{a", P::Unpaired),
            ("a}", P::Unpaired),
            ("}{", P::Unpaired),
            ("{}", P::BadName),
            ("{A}", P::BadName),
            ("{a.b}", P::BadName),
            ("{ a }", P::BadName),
        ] {
            assert_eq!(pieces(text), Err(problem), "{text}");
        }
    }
}
