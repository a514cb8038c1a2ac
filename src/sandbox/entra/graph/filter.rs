//! `$filter`: comparisons, `contains`, `startswith`, `endswith`, `and`, `or`, `not`, parentheses and `any`.
//! What is not known here is refused, as Graph does.

use std::cmp::Ordering;

use serde_json::Value;

use crate::sandbox::world::from_iso;

/// The nesting that is read; deeper is refused.
const DEEPEST: usize = 20;

/// One condition on an item.
#[derive(Debug)]
enum Expression {
    All(Vec<Expression>),
    One(Vec<Expression>),
    Not(Box<Expression>),
    Compare {
        path: String,
        holds: fn(Ordering) -> bool,
        value: String,
    },
    Function {
        path: String,
        test: fn(&str, &str) -> bool,
        value: String,
    },
    /// `path/any(x: …)`: the paths inside begin with the variable.
    Any {
        path: String,
        variable: String,
        inside: Box<Expression>,
    },
}

/// A filter that was understood.
#[derive(Debug)]
pub(super) struct Filter(Expression);

/// The filter is not one, or names what this reading does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Filter {
    /// Reads the text of `$filter`.
    pub(super) fn read(text: &str) -> Result<Self, Unknown> {
        let words = words(text)?;
        let mut reader = Reader { words: &words, at: 0, depth: 0 };
        let whole = reader.either()?;
        if reader.at == words.len() { Ok(Self(whole)) } else { Err(Unknown) }
    }

    /// Whether an item meets it.
    pub(super) fn holds(&self, item: &Value) -> bool {
        self.0.holds(item)
    }

    /// The property that stands first.
    pub(super) fn first_property(&self) -> Option<&str> {
        self.0.first_property()
    }

    /// The paths that an item must have for the filter to make sense.
    pub(super) fn properties(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.0.properties(&mut found);
        found
    }
}

impl Expression {
    fn holds(&self, item: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(item)),
            Self::One(parts) => parts.iter().any(|part| part.holds(item)),
            Self::Not(part) => !part.holds(item),
            Self::Compare { path, holds, value } => holds(compare(&property(item, path), value)),
            Self::Function { path, test, value } => {
                test(&property(item, path).to_lowercase(), &value.to_lowercase())
            }
            Self::Any { path, variable, inside } => {
                let list = find(item, path).and_then(Value::as_array);
                let named = |entry: &Value| {
                    let mut scope = serde_json::Map::new();
                    scope.insert(variable.clone(), entry.clone());
                    inside.holds(&Value::Object(scope))
                };
                list.is_some_and(|list| list.iter().any(named))
            }
        }
    }

    fn first_property(&self) -> Option<&str> {
        match self {
            Self::All(parts) | Self::One(parts) => parts.first()?.first_property(),
            Self::Not(part) => part.first_property(),
            Self::Compare { path, .. } | Self::Function { path, .. } | Self::Any { path, .. } => Some(path),
        }
    }

    fn properties<'e>(&'e self, found: &mut Vec<&'e str>) {
        match self {
            Self::All(parts) | Self::One(parts) => parts.iter().for_each(|part| part.properties(found)),
            Self::Not(part) => part.properties(found),
            Self::Compare { path, .. } | Self::Function { path, .. } | Self::Any { path, .. } => {
                found.push(path);
            }
        }
    }
}

/// Cuts a filter into words, texts in quotes, and the signs `( ) , :`.
fn words(text: &str) -> Result<Vec<String>, Unknown> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                word.push('\'');
                loop {
                    match letters.next() {
                        Some('\'') if letters.peek() == Some(&'\'') => {
                            letters.next();
                            word.push('\'');
                        }
                        Some('\'') => break,
                        Some(other) => word.push(other),
                        None => return Err(Unknown),
                    }
                }
                words.push(std::mem::take(&mut word));
            }
            // A colon ends a lambda's variable; inside a moment it is part of it.
            ':' if word.chars().all(char::is_alphabetic) => {
                words.push(std::mem::take(&mut word));
                words.push(":".to_owned());
            }
            ' ' | '\t' | '(' | ')' | ',' => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if !letter.is_whitespace() {
                    words.push(letter.to_string());
                }
            }
            other => word.push(other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

struct Reader<'w> {
    words: &'w [String],
    at: usize,
    depth: usize,
}

impl<'w> Reader<'w> {
    fn peek(&self) -> &'w str {
        self.words.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> &'w str {
        let word = self.peek();
        self.at += 1;
        word
    }

    fn expect(&mut self, sign: &str) -> Result<(), Unknown> {
        if self.next() == sign { Ok(()) } else { Err(Unknown) }
    }

    fn either(&mut self) -> Result<Expression, Unknown> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Unknown);
        }
        let mut parts = vec![self.both()?];
        while self.peek().eq_ignore_ascii_case("or") {
            self.at += 1;
            parts.push(self.both()?);
        }
        self.depth -= 1;
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::One(parts) })
    }

    fn both(&mut self) -> Result<Expression, Unknown> {
        let mut parts = vec![self.one()?];
        while self.peek().eq_ignore_ascii_case("and") {
            self.at += 1;
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn one(&mut self) -> Result<Expression, Unknown> {
        if self.peek().eq_ignore_ascii_case("not") {
            self.at += 1;
            self.depth += 1;
            if self.depth > DEEPEST {
                return Err(Unknown);
            }
            let inner = self.one()?;
            self.depth -= 1;
            return Ok(Expression::Not(Box::new(inner)));
        }
        if self.peek() == "(" {
            self.at += 1;
            let inner = self.either()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let name = self.next();
        if self.peek() == "(" {
            self.at += 1;
            return self.function(name);
        }
        self.comparison(name)
    }

    fn function(&mut self, name: &str) -> Result<Expression, Unknown> {
        if let Some(path) = name.strip_suffix("/any") {
            let variable = self.next().to_owned();
            self.expect(":")?;
            let inside = Box::new(self.either()?);
            self.expect(")")?;
            return Ok(Expression::Any { path: dotted(path)?, variable, inside });
        }
        let test: fn(&str, &str) -> bool = match name.to_ascii_lowercase().as_str() {
            "contains" => |text, part| text.contains(part),
            "startswith" => |text, part| text.starts_with(part),
            "endswith" => |text, part| text.ends_with(part),
            _ => return Err(Unknown),
        };
        let path = dotted(self.next())?;
        self.expect(",")?;
        let value = literal(self.next())?;
        self.expect(")")?;
        Ok(Expression::Function { path, test, value })
    }

    fn comparison(&mut self, path: &str) -> Result<Expression, Unknown> {
        let path = dotted(path)?;
        let holds: fn(Ordering) -> bool = match self.next().to_ascii_lowercase().as_str() {
            "eq" => Ordering::is_eq,
            "ne" => Ordering::is_ne,
            "ge" => Ordering::is_ge,
            "gt" => Ordering::is_gt,
            "le" => Ordering::is_le,
            "lt" => Ordering::is_lt,
            _ => return Err(Unknown),
        };
        Ok(Expression::Compare { path, holds, value: literal(self.next())? })
    }
}

/// A property's path with dots.
fn dotted(path: &str) -> Result<String, Unknown> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '@' | '.');
    let fits = !path.is_empty() && path.chars().all(plain) && path.starts_with(|c: char| c.is_alphabetic());
    if fits { Ok(path.replace('/', ".")) } else { Err(Unknown) }
}

/// A text, a number, a moment, `true`, `false` or `null`.
fn literal(word: &str) -> Result<String, Unknown> {
    if let Some(text) = word.strip_prefix('\'') {
        return Ok(text.to_owned());
    }
    let is_number = word.parse::<f64>().is_ok();
    if is_number || matches!(word, "true" | "false" | "null") || from_iso(word).is_some() {
        Ok(word.to_owned())
    } else {
        Err(Unknown)
    }
}

fn find<'v>(item: &'v Value, path: &str) -> Option<&'v Value> {
    let mut found = item;
    for name in path.split('.') {
        found = found.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1;
    }
    Some(found)
}

/// A property by its dotted path, in any case, as text.
pub(super) fn property(item: &Value, path: &str) -> String {
    match find(item, path) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "null".to_owned(),
    }
}

/// Moments by time, numbers by size, everything else by letters in any case.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    if let (Some(left), Some(right)) = (from_iso(left), from_iso(right)) {
        return left.cmp(&right);
    }
    match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(left), Ok(right)) => left.total_cmp(&right),
        _ => left.to_lowercase().cmp(&right.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(filter: &str) -> bool {
        let item = json!({
            "receivedDateTime": "2026-10-05T09:00:00Z", "subject": "It's due (today)", "isRead": false,
            "from": {"emailAddress": {"address": "carol@example.com"}}, "categories": ["red", "blue"],
            "toRecipients": [{"emailAddress": {"address": "a@b.example"}}],
        });
        Filter::read(filter).unwrap_or_else(|_| panic!("not read: {filter}")).holds(&item)
    }

    #[test]
    fn conditions_join_as_odata_joins_them() {
        assert!(holds("receivedDateTime ge 2026-10-01T00:00:00Z and receivedDateTime lt 2026-11-01"));
        assert!(holds("(receivedDateTime ge 2026-10-01) and (isRead eq true or isRead eq false)"));
        assert!(!holds("receivedDateTime ge 2026-11-01 and (isRead eq true) or isRead eq true"));
        // `and` binds tighter than `or`: this is the hole of joining a filter without parentheses.
        assert!(holds("receivedDateTime ge 2026-11-01 and isRead eq false or isRead eq false"));
        assert!(holds("not (from/emailAddress/address eq 'bank@bank.example')"));
        assert!(holds("from/emailAddress/address eq 'CAROL@example.com'"));
        assert!(holds("contains(subject,'it''s due (to') and startswith(subject, 'It')"));
        assert!(holds("toRecipients/any(r: r/emailAddress/address eq 'a@b.example')"));
        assert!(holds("endswith(from/emailAddress/address,'@example.com')"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for filter in [
            "",
            "subject",
            "subject eq",
            "subject eq due",
            "subject has 'x'",
            "(subject eq 'x'",
            "subject eq 'x')",
            "subject eq 'x",
            "length(subject) eq 3",
            "subject eq 'x' xor isRead eq true",
            "subject eq 'x' and",
            "1 eq 1",
            "tolower(subject) eq 'x'",
        ] {
            assert_eq!(Filter::read(filter).err(), Some(Unknown), "{filter}");
        }
        assert_eq!(Filter::read(&"not ".repeat(5000)).err(), Some(Unknown));
        assert_eq!(Filter::read(&"(".repeat(5000)).err(), Some(Unknown));
    }
}
