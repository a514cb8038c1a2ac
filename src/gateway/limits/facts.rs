//! What is known of an object, and whether it lies inside a bound.

use std::borrow::Cow;

use crate::gateway::limits::json::Json;
use crate::gateway::limits::moments::{self, Read};
use crate::gateway::limits::places::{self, Misshapen};
use crate::model::limit::{Bound, Span};
use crate::providers::template::{Field, ObjectEntry, Place, Test};

/// The fields of one object, as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    fields: Vec<(Field, Known)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Values(Vec<String>),
    /// Something is there that is no such value.
    Unreadable,
}

/// Who wrote an object down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The provider: in an answer, or looked up.
    Provider,
    /// The agent, as a whole object.
    Agent,
    /// The agent, as a change or in an object that may be left out: what is not there is not compared.
    AgentsChange,
}

/// Where an object lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Inside.
    Inside,
    /// Outside; what was found instead.
    Outside(String),
    /// The field that decides is not there, or is no such value.
    Missing(Field),
}

impl Facts {
    /// Reads the fields of an object.
    pub fn of(object: &Json<'_>, entry: &ObjectEntry, source: Source) -> Self {
        let strict = source != Source::Provider;
        let read = |(field, place): (&Field, &Place)| Some((*field, known(object, *field, place, strict)?));
        Self { fields: entry.fields.iter().filter_map(read).collect() }
    }

    /// The values of a field; none where it is absent.
    ///
    /// # Errors
    /// When something unreadable is in its place.
    pub fn values(&self, field: Field) -> Result<&[String], Held> {
        match self.fields.iter().find(|(own, _)| *own == field) {
            None => Ok(&[]),
            Some((_, Known::Values(values))) => Ok(values),
            Some((_, Known::Unreadable)) => Err(Held::Missing(field)),
        }
    }

    /// Whether a field is there at all.
    pub fn has(&self, field: Field) -> bool {
        self.fields.iter().any(|(own, _)| *own == field)
    }

    /// The same, of an object that was listed in a folder.
    #[must_use]
    pub fn lying_in(mut self, folder: &str) -> Self {
        if !self.has(Field::Parent) {
            self.fields.push((Field::Parent, Known::Values(vec![folder.to_owned()])));
        }
        self
    }

    /// How much memory its texts take.
    pub fn size(&self) -> usize {
        let len = |known: &Known| match known {
            Known::Values(values) => values.iter().map(|value| value.len() + 24).sum(),
            Known::Unreadable => 0,
        };
        self.fields.iter().map(|(_, known)| len(known) + 32).sum()
    }

    /// Tests all that needs no look-up; a tree is climbed elsewhere.
    pub fn test(&self, test: Test, bound: &Bound, entry: &ObjectEntry, source: Source) -> Held {
        let all = |field: Field, is_inside: &dyn Fn(&str) -> bool| self.all(field, source, is_inside);
        match test {
            Test::Id | Test::Tree => all(Field::Id, &|id| bound.names(id)),
            Test::Folder => all(Field::Folder, &|id| bound.names(id)),
            Test::Calendar => all(Field::Calendar, &|id| bound.names(id)),
            Test::Chat => all(Field::Chat, &|id| bound.names(id)),
            Test::Sender => all(Field::Sender, &|address| bound.allows_address(address)),
            Test::Recipients => all(Field::Recipients, &|address| bound.allows_address(address)),
            Test::Time => {
                let holds = |read: Read, span: Span| match source {
                    Source::Provider => span.holds(read.at),
                    _ => moments::touches(span, read, read),
                };
                let moment = |text: &str| moments::read(text, form(entry, Field::Time));
                all(Field::Time, &|text| {
                    moment(text).zip(bound.span()).is_some_and(|(read, span)| holds(read, span))
                })
            }
            Test::Span => self.span(bound, entry, source),
        }
    }

    fn all(&self, field: Field, source: Source, is_inside: &dyn Fn(&str) -> bool) -> Held {
        match self.values(field) {
            Err(missing) => missing,
            Ok([]) if source == Source::AgentsChange => Held::Inside,
            Ok([]) => Held::Missing(field),
            Ok(values) => match values.iter().find(|value| !is_inside(value)) {
                Some(outside) => Held::Outside(outside.clone()),
                None => Held::Inside,
            },
        }
    }

    fn span(&self, bound: &Bound, entry: &ObjectEntry, source: Source) -> Held {
        let (starts, ends) = match (self.values(Field::Start), self.values(Field::End)) {
            (Ok(starts), Ok(ends)) => (starts, ends),
            (Err(missing), _) | (_, Err(missing)) => return missing,
        };
        // A change may name one of the two only; and what states no end is over as it begins.
        let (starts, ends) = match (starts, ends) {
            ([], []) if source == Source::AgentsChange => return Held::Inside,
            ([], ends) if source == Source::AgentsChange => (ends, ends),
            ([], _) => return Held::Missing(Field::Start),
            (starts, []) => (starts, starts),
            both => both,
        };
        let read = |texts: &[String], field| -> Option<Vec<Read>> {
            texts.iter().map(|text| moments::read(text, form(entry, field))).collect()
        };
        let Some(span) = bound.span() else { return Held::Missing(Field::Start) };
        let (Some(starts_at), Some(ends_at)) = (read(starts, Field::Start), read(ends, Field::End)) else {
            return Held::Missing(Field::Start);
        };
        let touches = |start: Read, end: Read| match source {
            Source::Provider => span.touches(start.at, end.at),
            _ => moments::touches(span, start, end),
        };
        if starts_at.iter().all(|start| ends_at.iter().all(|end| touches(*start, *end))) {
            Held::Inside
        } else {
            Held::Outside(starts.first().cloned().unwrap_or_default())
        }
    }
}

fn form(entry: &ObjectEntry, field: Field) -> crate::providers::template::TimeForm {
    entry.fields.get(&field).map(|place| place.form).unwrap_or_default()
}

/// What is at a field's place; `None` = nothing.
fn known(object: &Json<'_>, field: Field, place: &Place, strict: bool) -> Option<Known> {
    let mut found = Vec::with_capacity(place.at.len());
    for path in &place.at {
        match places::find(object, path, strict) {
            Ok(values) => found.push(values),
            Err(_) => return Some(Known::Unreadable),
        }
    }
    let zone = place.zone.as_deref().map_or(Ok(false), |zone| says_utc(object, zone, strict));
    let Ok(says_utc) = zone else { return Some(Known::Unreadable) };
    if field == Field::Elsewhere {
        // A sign, whatever it is; some vendors write that it is none.
        let is_sign = |value: &&Json<'_>| match value {
            Json::Plain(text) => text != "false",
            other => other.scalar().is_none_or(|text| !text.is_empty()),
        };
        let is_there = found.iter().flatten().any(is_sign);
        return is_there.then(|| Known::Values(Vec::new()));
    }
    let text = |value: &Json<'_>| {
        let text = value.scalar().map(Cow::into_owned).filter(|text| !text.is_empty())?;
        let lacks_offset = says_utc && moments::read(&text, place.form).is_some_and(|read| read.is_local);
        Some(if lacks_offset && text.contains('T') { text + "Z" } else { text })
    };
    if is_identifier(field) && place.at.len() > 1 {
        return joined(&found);
    }
    let values: Option<Vec<String>> = found.into_iter().flatten().map(text).collect();
    match values {
        None => Some(Known::Unreadable),
        Some(values) if values.is_empty() => None,
        Some(values) => Some(Known::Values(values)),
    }
}

/// Whether the member beside a time says that it is in UTC; it may be absent.
fn says_utc(object: &Json<'_>, zone: &str, strict: bool) -> Result<bool, Misshapen> {
    const NAMES: [&str; 4] = ["UTC", "Etc/UTC", "GMT", "Z"];
    let found = places::find(object, zone, strict)?;
    let is_name = |text: &str| NAMES.iter().any(|name| name.eq_ignore_ascii_case(text));
    if found.iter().all(|value| value.scalar().is_some_and(|text| is_name(&text))) {
        Ok(!found.is_empty())
    } else {
        Err(Misshapen::Shape)
    }
}

/// An identifier of several parts; with one of them missing it is none.
fn joined(parts: &[Vec<&Json<'_>>]) -> Option<Known> {
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        match part.as_slice() {
            [] => return None,
            [one] => match one.scalar() {
                Some(text) if !text.is_empty() && !text.contains('/') => texts.push(text),
                _ => return Some(Known::Unreadable),
            },
            _ => return Some(Known::Unreadable),
        }
    }
    Some(Known::Values(vec![texts.join("/")]))
}

const fn is_identifier(field: Field) -> bool {
    matches!(field, Field::Id | Field::Parent | Field::Folder | Field::Calendar | Field::Chat | Field::Target)
}

/// The fields that a test looks at.
pub const fn fields_of(test: Test) -> &'static [Field] {
    match test {
        Test::Id => &[Field::Id],
        Test::Tree => &[Field::Id, Field::Parent, Field::Elsewhere, Field::Target],
        Test::Folder => &[Field::Folder],
        Test::Time => &[Field::Time],
        Test::Span => &[Field::Start, Field::End],
        Test::Sender => &[Field::Sender],
        Test::Recipients => &[Field::Recipients],
        Test::Calendar => &[Field::Calendar],
        Test::Chat => &[Field::Chat],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limit::Limit;

    fn entry() -> ObjectEntry {
        toml::from_str(
            r#"
            api = "main"
            [fields]
            id = ["drive", "id"]
            folder = "parent"
            time = "received"
            start = { at = ["start.stamp", "start.date"], as = "unix_s", zone = "start.zone" }
            end = { at = ["end.stamp", "end.date"], as = "unix_s" }
            sender = "from.address"
            recipients = ["to.*.address", "cc.*.address"]
            elsewhere = "remote"
            "#,
        )
        .unwrap()
    }

    fn bound(rest: &str) -> Bound {
        let text = format!(r#"[{{"type":"valetkey_limit","api":"main",{rest}}}]"#);
        Limit::parse_all(&text).unwrap().remove(0).bound
    }

    fn held(object: &str, test: Test, rest: &str, source: Source) -> Held {
        let entry = entry();
        let json = Json::parse(object.as_bytes()).unwrap();
        Facts::of(&json, &entry, source).test(test, &bound(rest), &entry, source)
    }

    #[test]
    fn all_recipients_count_and_an_entry_without_an_address_is_none_to_pass_over() {
        let to = r#""kind":"recipients","domains":["example.com"]"#;
        let mail = |object: &str, source| held(object, Test::Recipients, to, source);
        let alice = r#"{"to":[{"address":"alice@example.com"}],"cc":[{"address":"bob@Example.com"}]}"#;
        assert_eq!(mail(alice, Source::Agent), Held::Inside);
        let mixed = r#"{"to":[{"address":"alice@example.com"}],"cc":[{"address":"x@evil.example"}]}"#;
        assert_eq!(mail(mixed, Source::Agent), Held::Outside("x@evil.example".to_owned()));
        for object in [
            r#"{"to":[]}"#,
            "{}",
            r#"{"to":[{"address":"alice@example.com"},{"name":"Mallory"}]}"#,
            r#"{"to":[{"address":"alice@example.com"},"x@evil.example"]}"#,
            r#"{"to":[{"address":["alice@example.com"]}]}"#,
            r#"{"to":[{"address":"alice@example.com"}],"Cc":[]}"#,
            r#"{"to":[{"address":"alice@example.com","Address":"x@evil.example"}]}"#,
        ] {
            assert_eq!(mail(object, Source::Agent), Held::Missing(Field::Recipients), "{object}");
        }
        assert_eq!(mail(r#"{"subject":"x"}"#, Source::AgentsChange), Held::Inside);
        assert_eq!(mail(r#"{"to":[{}]}"#, Source::AgentsChange), Held::Missing(Field::Recipients));
    }

    #[test]
    fn an_identifier_of_several_parts_is_compared_whole() {
        let items = r#""kind":"documents","items":["d1/f1"]"#;
        let file = |object: &str| held(object, Test::Id, items, Source::Provider);
        assert_eq!(file(r#"{"drive":"d1","id":"f1"}"#), Held::Inside);
        assert_eq!(file(r#"{"drive":"d2","id":"f1"}"#), Held::Outside("d2/f1".to_owned()));
        assert_eq!(file(r#"{"id":"f1"}"#), Held::Missing(Field::Id));
        assert_eq!(file(r#"{"drive":"d1/f1","id":""}"#), Held::Missing(Field::Id));
    }

    #[test]
    fn times_and_spans_are_read_in_their_forms() {
        let from = r#""kind":"mail_dates","from":"2026-10-01""#;
        let mail = |object: &str| held(object, Test::Time, from, Source::Provider);
        assert_eq!(mail(r#"{"received":"2026-10-01T00:00:00Z"}"#), Held::Inside);
        assert_eq!(
            mail(r#"{"received":"2026-09-30T23:59:59Z"}"#),
            Held::Outside("2026-09-30T23:59:59Z".to_owned())
        );
        assert_eq!(mail(r#"{"received":"soon"}"#), Held::Outside("soon".to_owned()));
        assert_eq!(mail(r#"{"subject":"x"}"#), Held::Missing(Field::Time));
        let span = r#""kind":"events","from":"2026-10-01","until":"2026-11-01""#;
        let event = |object: &str, source| held(object, Test::Span, span, source);
        let october = r#"{"start":{"stamp":"1791200000"},"end":{"stamp":"1791203600"}}"#;
        assert_eq!(event(october, Source::Provider), Held::Inside);
        assert_eq!(event(r#"{"start":{"date":"2026-10-05"}}"#, Source::Provider), Held::Inside);
        assert!(matches!(event(r#"{"start":{"date":"2026-12-05"}}"#, Source::Provider), Held::Outside(_)));
        let with_zone = |zone: &str| {
            event(
                &october.replace(
                    "\"stamp\":\"1791200000\"",
                    &format!("\"stamp\":\"1791200000\",\"zone\":{zone}"),
                ),
                Source::Provider,
            )
        };
        assert_eq!(with_zone("\"utc\""), Held::Inside);
        assert_eq!(with_zone("\"Asia/Shanghai\""), Held::Missing(Field::Start));
        assert_eq!(with_zone("{}"), Held::Missing(Field::Start));
        assert_eq!(event("{}", Source::Provider), Held::Missing(Field::Start));
        assert_eq!(event("{}", Source::AgentsChange), Held::Inside);
        assert!(matches!(event(r#"{"end":{"date":"2027-01-05"}}"#, Source::AgentsChange), Held::Outside(_)));
    }

    #[test]
    fn a_sign_that_says_no_is_none() {
        let has = |object: &str| {
            Facts::of(&Json::parse(object.as_bytes()).unwrap(), &entry(), Source::Provider)
                .has(Field::Elsewhere)
        };
        assert!(has(r#"{"remote":{}}"#) && has(r#"{"remote":true}"#) && has(r#"{"remote":"x"}"#));
        assert!(
            !has(r#"{"remote":false}"#)
                && !has(r#"{"remote":null}"#)
                && !has(r#"{"remote":""}"#)
                && !has("{}")
        );
    }
}
