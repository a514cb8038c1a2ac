//! Look-ups as templates state them: the call filled in, and what its answer holds. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::providers::template::{Api, Field, ObjectEntry, ObjectList, Place};

/// One call for one JSON document, filled in but for the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupCall {
    /// Whether it is a POST; else a GET.
    pub is_post: bool,
    /// Path and query, percent-encoded.
    pub target: String,
    /// The JSON body of a POST.
    pub body: Option<String>,
}

/// What placeholders stand for.
struct Values<'v> {
    id: &'v str,
    pins: &'v BTreeMap<String, String>,
}

impl LookupCall {
    /// The call that looks one object up. None where the template has none, or the identifier or a pin
    /// cannot be put into it.
    pub fn of_object(object: &ObjectEntry, id: &str, pins: &BTreeMap<String, String>) -> Option<Self> {
        let values = Values { id, pins };
        let mut call = Self::filled(object.get.as_deref()?, object.body.as_deref(), &values)?;
        for (name, value) in &object.query {
            call.target.push(if call.target.contains('?') { '&' } else { '?' });
            call.target.push_str(&encoded(name));
            call.target.push('=');
            call.target.push_str(&expand(value, &values, &encoded)?);
        }
        Some(call)
    }

    /// The call that lists what lies in an object; without one, the outermost.
    pub fn of_list(list: &ObjectList, inside: Option<&str>, pins: &BTreeMap<String, String>) -> Option<Self> {
        let pattern = if inside.is_some() { list.children.as_deref()? } else { &list.roots };
        Self::filled(pattern, list.body.as_deref(), &Values { id: inside.unwrap_or_default(), pins })
    }

    /// The call for the next page of a list, where an answer to this call or a later page says that there is
    /// one. A link has to lead to the same API.
    pub fn next_page(&self, list: &ObjectList, api: Option<&Api>, answer: &Value) -> Option<Self> {
        if let Some((parameter, member)) = list.next.as_deref().and_then(|next| next.split_once('=')) {
            let value = text_of(find(answer, member).first()?)?;
            let sign = if self.target.contains('?') { '&' } else { '?' };
            let target = format!("{}{sign}{}={}", self.target, encoded(parameter), encoded(&value));
            return Some(Self { target, ..self.clone() });
        }
        let api = api?;
        // The first link is the one to the next page; others lead on later (Graph's delta links).
        let link = answer.get(api.links.first()?)?.as_str()?;
        let target = link.strip_prefix(&api.base)?;
        let is_path = target.starts_with('/') && !target.starts_with("//");
        is_path.then(|| Self { target: target.to_owned(), ..self.clone() })
    }

    fn filled(pattern: &str, body: Option<&str>, values: &Values<'_>) -> Option<Self> {
        let (method, target) = pattern.split_once(' ')?;
        let is_post = method == "POST";
        let target = expand(target, values, &encoded)?;
        // A segment that URLs give another meaning would reach another call.
        let path = target.split('?').next().unwrap_or_default();
        let climbs = path.split('/').any(|part| matches!(part, "." | ".."));
        let body = match body.filter(|_| is_post) {
            Some(body) => Some(expand_json(body, values)?),
            None => None,
        };
        (!climbs).then_some(Self { is_post, target, body })
    }
}

/// Fills a text's placeholders, each value passed through `write`.
fn expand(text: &str, values: &Values<'_>, write: &dyn Fn(&str) -> String) -> Option<String> {
    let mut whole = String::with_capacity(text.len() + values.id.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}')?;
        whole.push_str(before);
        whole.push_str(&write(value_of(name, values)?));
        rest = behind;
    }
    whole.push_str(rest);
    Some(whole)
}

fn value_of<'v>(name: &str, values: &Values<'v>) -> Option<&'v str> {
    if name == "id" {
        return Some(values.id);
    }
    if let Some(at) = name.strip_prefix("id.") {
        return values.id.split('/').nth(at.parse().ok()?).filter(|part| !part.is_empty());
    }
    values.pins.get(name).map(String::as_str)
}

/// Fills the placeholders inside a JSON document's strings: braces outside of them are the document's own.
fn expand_json(body: &str, values: &Values<'_>) -> Option<String> {
    fn visit(value: &mut Value, values: &Values<'_>) -> Option<()> {
        match value {
            Value::String(text) => *text = expand(text, values, &str::to_owned)?,
            Value::Array(items) => items.iter_mut().try_for_each(|item| visit(item, values))?,
            Value::Object(members) => members.values_mut().try_for_each(|member| visit(member, values))?,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Some(())
    }
    let mut document: Value = serde_json::from_str(body).ok()?;
    visit(&mut document, values)?;
    Some(document.to_string())
}

/// Percent-encodes everything but unreserved characters (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut whole = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            whole.push(char::from(byte));
        } else {
            let _ = write!(whole, "%{byte:02X}");
        }
    }
    whole
}

/// What a dotted path finds in a document; `*` goes into every item of a list, a number into one, an empty
/// path is the document itself.
pub fn find<'v>(document: &'v Value, path: &str) -> Vec<&'v Value> {
    let mut found = vec![document];
    for step in path.split('.').filter(|step| !step.is_empty()) {
        found = found
            .into_iter()
            .flat_map(|value| match (step, value) {
                ("*", Value::Array(items)) => items.iter().collect(),
                (_, Value::Array(items)) => {
                    step.parse::<usize>().ok().and_then(|at| items.get(at)).into_iter().collect::<Vec<_>>()
                }
                (_, Value::Object(members)) => members.get(step).into_iter().collect(),
                _ => Vec::new(),
            })
            .collect();
    }
    found
}

/// A text, or a number as text.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An object's identifier: its parts joined with `/`.
pub fn identifier(object: &Value, fields: &BTreeMap<Field, Place>) -> Option<String> {
    let place = fields.get(&Field::Id)?;
    let parts: Option<Vec<String>> =
        place.at.iter().map(|path| find(object, path).first().and_then(|value| text_of(value))).collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/"))
}

/// Whether a listed object is one that is offered: the template's `only` names a member that must be there,
/// or the value that it must have.
pub fn is_offered(object: &Value, list: &ObjectList) -> bool {
    let Some(only) = &list.only else { return true };
    match only.split_once('=') {
        None => find(object, only).iter().any(|value| !value.is_null()),
        Some((path, wanted)) => find(object, path).iter().any(|value| match value {
            Value::Bool(flag) => flag.to_string() == wanted,
            value => text_of(value).as_deref() == Some(wanted),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(text: &str) -> ObjectEntry {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_look_up_is_filled_and_cannot_be_turned_into_another() {
        let entry = object(
            "api = \"a\"\nget = \"GET /v1/items/{id}\"\nquery = { user = \"{uid}\", of = \"{id}\" }\n\
             [fields]\nid = \"id\"",
        );
        let pins = BTreeMap::from([("uid".to_owned(), "u 1".to_owned())]);
        let call = LookupCall::of_object(&entry, "b!x/y?z", &pins).unwrap();
        assert_eq!(call.target, "/v1/items/b%21x%2Fy%3Fz?of=b%21x%2Fy%3Fz&user=u%201");
        for wrong in ["..", "."] {
            assert_eq!(LookupCall::of_object(&entry, wrong, &pins), None);
        }
        assert_eq!(LookupCall::of_object(&entry, "x", &BTreeMap::new()), None, "a pin that is not known");
    }

    #[test]
    fn identifiers_of_several_parts_and_bodies_are_filled() {
        let entry = object(
            "api = \"a\"\nget = \"POST /v1/{id.0}/find\"\nbody = '{\"ids\": [\"{id.1}\"], \"n\": {\"k\": 1}}'\n\
             [fields]\nid = [\"space\", \"node\"]",
        );
        let call = LookupCall::of_object(&entry, "s/n\"}", &BTreeMap::new()).unwrap();
        assert_eq!(call.target, "/v1/s/find");
        assert_eq!(call.body.as_deref(), Some(r#"{"ids":["n\"}"],"n":{"k":1}}"#));
        assert_eq!(LookupCall::of_object(&entry, "s", &BTreeMap::new()), None);
        let found = json!({"space": "s", "node": 7});
        assert_eq!(identifier(&found, &entry.fields).as_deref(), Some("s/7"));
    }

    #[test]
    fn a_next_page_stays_at_the_api() {
        let list: ObjectList =
            toml::from_str("roots = \"GET /v1/f?size=2\"\nitems = \"value.*\"\nname = \"name\"").unwrap();
        let api: Api = toml::from_str("base = \"https://a.example\"\nlinks = [\"@odata.nextLink\"]").unwrap();
        let call = LookupCall::of_list(&list, None, &BTreeMap::new()).unwrap();
        let next = |list: &ObjectList, answer: &Value| Some(call.next_page(list, Some(&api), answer)?.target);
        let at = |link: &str| next(&list, &json!({"@odata.nextLink": link}));
        assert_eq!(at("https://a.example/v1/f?$skip=9").as_deref(), Some("/v1/f?$skip=9"));
        for elsewhere in ["https://a.example.evil/v1", "https://b.example/v1", "https://a.example//b", "/v1"]
        {
            assert_eq!(at(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(next(&list, &json!({"other": "https://a.example/v1"})), None);
        let by_token = ObjectList { next: Some("page_token=data.next".to_owned()), ..list };
        let answer = json!({"data": {"next": "a&b"}, "@odata.nextLink": "https://a.example/v1"});
        assert_eq!(next(&by_token, &answer).as_deref(), Some("/v1/f?size=2&page_token=a%26b"));
        for last in [json!({"data": {"next": ""}}), json!({"data": {"next": null}}), json!({})] {
            assert_eq!(next(&by_token, &last), None, "{last}");
        }
    }

    #[test]
    fn lists_offer_what_the_template_says() {
        let list: ObjectList = toml::from_str(
            "roots = \"GET /v1/f\"\nchildren = \"GET /v1/f/{id}\"\nitems = \"value.*\"\nname = \"name\"\n\
             only = \"type=folder\"",
        )
        .unwrap();
        let none = BTreeMap::new();
        assert_eq!(LookupCall::of_list(&list, Some("a/b"), &none).unwrap().target, "/v1/f/a%2Fb");
        let answer = json!({"value": [{"type": "folder"}, {"type": "file"}, {}]});
        let offered: Vec<bool> =
            find(&answer, &list.items).into_iter().map(|item| is_offered(item, &list)).collect();
        assert_eq!(offered, [true, false, false]);
        let present = ObjectList { only: Some("folder".to_owned()), ..list };
        assert!(is_offered(&json!({"folder": {"childCount": 0}}), &present));
        assert!(!is_offered(&json!({"folder": null}), &present));
    }
}
