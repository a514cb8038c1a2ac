//! Filters: `attribute eq "value"`, as directories send them to find a resource (RFC 7644, section 3.4.2.2).

use serde_json::Deserializer;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The attribute in lower case, without its schema.
    pub attribute: String,
    /// What it is to be equal to.
    pub value: String,
}

/// Reads conditions joined by `and`; nothing for anything that is not offered.
pub fn terms(text: &str, schema: &str) -> Option<Vec<Term>> {
    let (mut terms, mut rest) = (Vec::new(), text.trim());
    loop {
        let (attribute, after) = rest.split_once(' ')?;
        let (operator, after) = after.trim_start().split_once(' ')?;
        // The value is a JSON string, with its escapes.
        let mut values = Deserializer::from_str(after).into_iter::<String>();
        let value = values.next()?.ok()?;
        if !operator.eq_ignore_ascii_case("eq") {
            return None;
        }
        let attribute = attribute.to_ascii_lowercase();
        let own = attribute.strip_prefix(&schema.to_ascii_lowercase()).and_then(|own| own.strip_prefix(':'));
        terms.push(Term { attribute: own.unwrap_or(&attribute).to_owned(), value });
        let after = after.get(values.byte_offset()..)?;
        if after.is_empty() {
            return Some(terms);
        }
        let (and, after) = after.strip_prefix(' ')?.trim_start().split_once(' ')?;
        if !and.eq_ignore_ascii_case("and") {
            return None;
        }
        rest = after.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

    fn one(text: &str) -> Option<(String, String)> {
        match terms(text, CORE)?.as_slice() {
            [term] => Some((term.attribute.clone(), term.value.clone())),
            _ => None,
        }
    }

    #[test]
    fn filters_are_read_as_directories_send_them() {
        let found = |attribute: &str, value: &str| Some((attribute.to_owned(), value.to_owned()));
        assert_eq!(one(r#"userName eq "alice@example.com""#), found("username", "alice@example.com"));
        assert_eq!(one(r#"USERNAME Eq  "a \"b\" and c" "#), found("username", "a \"b\" and c"));
        assert_eq!(one(r#"externalId eq "00u1""#), found("externalid", "00u1"));
        assert_eq!(one(&format!(r#"{CORE}:userName eq "a""#)), found("username", "a"));
        let both = terms(r#"id eq "grp_1" and members.value eq "usr_1""#, CORE).unwrap();
        let both: Vec<_> = both.iter().map(|term| (term.attribute.as_str(), term.value.as_str())).collect();
        assert_eq!(both, [("id", "grp_1"), ("members.value", "usr_1")]);
        for bad in [
            "",
            "userName",
            "userName eq",
            "userName eq alice",
            "userName pr",
            r#"userName ne "a""#,
            r#"userName eq "a" or userName eq "b""#,
            r#"userName eq "a"and id eq "b""#,
            r#"userName eq "a" and"#,
            r#"userName eq "a" x"#,
            r#"not (userName eq "a")"#,
            r#"userName eq "a" and active eq true"#,
        ] {
            assert_eq!(terms(bad, CORE), None, "{bad}");
        }
    }
}
