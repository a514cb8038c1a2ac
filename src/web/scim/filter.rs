//! Filters: `attribute eq "value"`, as directories send them to find a person (RFC 7644, section 3.4.2.2).

/// What is looked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Filter {
    /// Our identifier.
    Id(String),
    /// The directory's user name; case does not matter.
    UserName(String),
    /// The directory's own identifier.
    ExternalId(String),
}

impl Filter {
    /// Reads one; `None` for anything that is not offered.
    pub fn parse(text: &str) -> Option<Self> {
        let (attribute, rest) = text.trim().split_once(' ')?;
        let (operator, value) = rest.trim_start().split_once(' ')?;
        // The value is a JSON string, with its escapes.
        let value: String = serde_json::from_str(value.trim()).ok()?;
        if !operator.eq_ignore_ascii_case("eq") {
            return None;
        }
        let attribute =
            attribute.strip_prefix("urn:ietf:params:scim:schemas:core:2.0:User:").unwrap_or(attribute);
        match attribute.to_ascii_lowercase().as_str() {
            "id" => Some(Self::Id(value)),
            "username" => Some(Self::UserName(value)),
            "externalid" => Some(Self::ExternalId(value)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_as_directories_send_them() {
        let name = |name: &str| Some(Filter::UserName(name.to_owned()));
        assert_eq!(Filter::parse(r#"userName eq "alice@example.com""#), name("alice@example.com"));
        assert_eq!(Filter::parse(r#"USERNAME Eq "a \"b\"""#), name("a \"b\""));
        assert_eq!(Filter::parse(r#"externalId eq "00u1""#), Some(Filter::ExternalId("00u1".to_owned())));
        let full = r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a""#;
        assert_eq!(Filter::parse(full), name("a"));
        for bad in [
            "",
            "userName",
            "userName eq",
            "userName eq alice",
            r#"userName ne "a""#,
            r#"title eq "x""#,
            r#"userName eq "a" or userName eq "b""#,
            r#"not (userName eq "a")"#,
            r#"userName eq "a" and active eq true"#,
        ] {
            assert_eq!(Filter::parse(bad), None, "{bad}");
        }
    }
}
