//! The identifiers by which a request names objects.

use std::collections::BTreeMap;

use crate::gateway::limits::json::Json;
use crate::gateway::limits::places::{self, Misshapen};
use crate::gateway::limits::query::{Query, Unclear, percent_decode};
use crate::kernel::said::Said;
use crate::providers::template::NameRef;

/// No call names more objects: each may have to be looked up.
const MOST_NAMED: usize = 100;

/// The parts of a request that identifiers are read from.
pub struct Request<'a, 'j> {
    /// Path parameters, as they were sent.
    pub params: &'a BTreeMap<&'a str, String>,
    /// The query.
    pub query: &'a mut Query,
    /// The JSON body.
    pub body: Option<&'a Json<'j>>,
}

/// Why it cannot be said what a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// Nothing is named where something must be.
    Absent(String),
    /// Only a part of the identifier is there, or the parts do not pair.
    InPart,
    /// A parameter without a single meaning.
    Query(String, Unclear),
    /// A body that is built otherwise.
    Body(Misshapen),
    /// What is there is no identifier.
    NotPlain(String),
    /// Too many.
    TooMany,
}

impl Unnamed {
    /// The same as a sentence about that kind of object.
    pub fn said(&self, object: &str) -> Said {
        let about = |key| Said::of(key).and(Said::noun(object));
        match self {
            Self::Absent(places) => about("unnamed_absent").and(places.as_str()),
            Self::InPart => about("unnamed_in_part"),
            Self::Query(name, unclear) => about("unnamed_query").and(name.as_str()).and(unclear.said()),
            Self::Body(misshapen) => about("unnamed_body").and(misshapen.said()),
            Self::NotPlain(_) => about("unnamed_odd"),
            Self::TooMany => about("unnamed_many").and(MOST_NAMED.to_string()),
        }
    }
}

/// The identifiers of one kind of object that a request names; those of several parts are joined with `/`.
///
/// # Errors
/// When that cannot be said for sure.
pub fn identifiers(name: &NameRef, request: &mut Request<'_, '_>) -> Result<Vec<String>, Unnamed> {
    let mut parts = Vec::with_capacity(name.id.len());
    for place in &name.id {
        parts.push(request.values(place)?);
    }
    let longest = parts.iter().map(Vec::len).max().unwrap_or_default();
    if longest == 0 || parts.iter().flatten().all(String::is_empty) {
        return match &name.absent {
            Some(id) => Ok(vec![id.clone()]),
            None if name.optional && longest == 0 => Ok(Vec::new()),
            None => Err(Unnamed::Absent(name.id.join(", "))),
        };
    }
    if longest > MOST_NAMED {
        return Err(Unnamed::TooMany);
    }
    if parts.iter().any(|values| values.len() != longest && values.len() != 1) {
        return Err(Unnamed::InPart);
    }
    let joined = |at: usize| {
        let part = |values: &Vec<String>| values.get(at).or(values.first()).cloned().unwrap_or_default();
        let texts: Vec<String> = parts.iter().map(part).collect();
        match texts.iter().find(|text| !is_plain(text)) {
            Some(odd) => Err(Unnamed::NotPlain(odd.clone())),
            None => Ok(texts.join("/")),
        }
    };
    (0..longest).map(joined).collect()
}

impl Request<'_, '_> {
    fn values(&mut self, place: &str) -> Result<Vec<String>, Unnamed> {
        let (kind, at) = place.split_once(':').unwrap_or(("", place));
        match kind {
            "fixed" => Ok(vec![at.to_owned()]),
            "path" => {
                let raw = self.params.get(at).map(String::as_str).unwrap_or_default();
                Ok(vec![percent_decode(raw).unwrap_or_else(|| raw.to_owned())])
            }
            "query" => {
                let value =
                    self.query.judged(at).map_err(|unclear| Unnamed::Query(at.to_owned(), unclear))?;
                Ok(value.into_iter().collect())
            }
            "body" => {
                let Some(body) = self.body else { return Ok(Vec::new()) };
                let found = places::find(body, at, true).map_err(Unnamed::Body)?;
                let text = |value: &&Json<'_>| value.scalar().map(std::borrow::Cow::into_owned);
                let values: Option<Vec<String>> = found.iter().map(text).collect();
                values.ok_or(Unnamed::Body(Misshapen::Shape))
            }
            // INVARIANT: the lint knows these four; a place that cannot be read names nothing that passes.
            _ => Err(Unnamed::Absent(place.to_owned())),
        }
    }
}

/// Whether a text can only be an identifier. Quotes, parentheses, dollar signs, slashes, commas and the like
/// are how vendors write keys, functions, lists and paths; a colon at the end begins a path at some.
pub fn is_plain(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~!=+@:".contains(&b);
    !text.is_empty()
        && text.len() <= 512
        && text.bytes().all(is_plain)
        && !text.starts_with(':')
        && !text.ends_with(':')
        && !text.bytes().all(|b| b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &[&str], extra: &str, query: &str, body: &str) -> Result<Vec<String>, Unnamed> {
        let id: Vec<String> = id.iter().map(|place| format!("\"{place}\"")).collect();
        let name: NameRef =
            toml::from_str(&format!("object = \"file\"\nid = [{}]\n{extra}", id.join(","))).unwrap();
        let params = BTreeMap::from([("drive", "b%21x".to_owned()), ("item", "01A".to_owned())]);
        let mut query = Query::parse(Some(query)).unwrap();
        let body = Json::parse(body.as_bytes()).unwrap();
        identifiers(&name, &mut Request { params: &params, query: &mut query, body: Some(&body) })
    }

    #[test]
    fn identifiers_are_found_wherever_the_template_says() {
        let list = |ids: &[&str]| Ok(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
        assert_eq!(named(&["path:item"], "", "", "{}"), list(&["01A"]));
        assert_eq!(named(&["path:drive", "path:item"], "", "", "{}"), list(&["b!x/01A"]));
        assert_eq!(named(&["query:folder"], "", "folder=f%2D1", "{}"), list(&["f-1"]));
        assert_eq!(named(&["body:a.id"], "", "", r#"{"a":{"id":7}}"#), list(&["7"]));
        assert_eq!(named(&["body:ids.*"], "", "", r#"{"ids":["x","y"]}"#), list(&["x", "y"]));
        assert_eq!(
            named(&["path:drive", "body:ids.*"], "", "", r#"{"ids":["x","y"]}"#),
            list(&["b!x/x", "b!x/y"])
        );
        assert_eq!(named(&["fixed:root"], "", "", "{}"), list(&["root"]));
        assert_eq!(named(&["query:folder"], "absent = \"root\"", "folder=", "{}"), list(&["root"]));
        assert_eq!(named(&["query:folder"], "optional = true", "", "{}"), list(&[]));
    }

    #[test]
    fn what_is_not_named_for_sure_is_refused() {
        assert!(matches!(named(&["query:folder"], "", "", "{}"), Err(Unnamed::Absent(_))));
        assert!(matches!(
            named(&["query:folder"], "optional = true", "folder=", "{}"),
            Err(Unnamed::Absent(_))
        ));
        assert!(matches!(named(&["query:folder"], "", "folder=a&folder=b", "{}"), Err(Unnamed::Query(..))));
        assert!(matches!(
            named(&["query:folder"], "optional = true", "Folder=a", "{}"),
            Err(Unnamed::Query(..))
        ));
        for body in [
            r#"{"A":{"id":"x"}}"#,
            r#"{"a":{"Id":"x"}}"#,
            r#"{"a":"x"}"#,
            r#"{"a":{"id":["x"]}}"#,
            r#"{"a":{"id":true}}"#,
        ] {
            assert!(
                matches!(named(&["body:a.id"], "optional = true", "", body), Err(Unnamed::Body(_))),
                "{body}"
            );
        }
        let odd = r#"{"d":["1","2"],"i":["1","2","3"]}"#;
        assert_eq!(named(&["body:d.*", "body:i.*"], "", "", odd), Err(Unnamed::InPart));
        for id in [
            "root:", ":x", "a/b", "a'b", "f(x)", "$root", "a,b", "a b", "..", ".", "a%2Fb", "é", "a;b", "a|b",
        ] {
            let body = serde_json::json!({"a": {"id": id}}).to_string();
            assert!(matches!(named(&["body:a.id"], "", "", &body), Err(Unnamed::NotPlain(_))), "{id}");
        }
    }
}
