//! Dotted paths into JSON documents, as templates write them: `a.b`, `value.*.id`, `items.0`; empty = the
//! document.

use std::borrow::Cow;

use crate::gateway::limits::json::Json;
use crate::kernel::said::Said;

/// A document that is not built as the template says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misshapen {
    /// Something else is where an object or a list should be, or an item of a list lacks what its
    /// neighbours have: what was not found there cannot be judged.
    #[error("is not built as expected")]
    Shape,
    /// A member whose name differs in case only. Some servers would take it for the one that is judged.
    #[error("has a member that differs from the documented one in upper and lower case only")]
    Lookalike,
}

impl Misshapen {
    /// The same as a part of a sentence about the document.
    pub const fn said(self) -> Said {
        Said::of(match self {
            Self::Shape => "misshapen",
            Self::Lookalike => "misshapen_lookalike",
        })
    }
}

/// Everything at a path. What is absent or null as a whole is nowhere; but an item of a list without it is
/// no item that can be judged.
///
/// # Errors
/// When the document is built otherwise. `strict` also refuses look-alikes, for documents that an agent wrote.
pub fn find<'j, 'a>(root: &'j Json<'a>, path: &str, strict: bool) -> Result<Vec<&'j Json<'a>>, Misshapen> {
    let mut found = vec![root];
    let mut in_list = false;
    for step in path.split('.').filter(|_| !path.is_empty()) {
        let mut next = Vec::with_capacity(found.len());
        for value in found {
            match (step, value) {
                ("*", Json::List(items)) => next.extend(items),
                (at, Json::List(items)) if at.bytes().all(|b| b.is_ascii_digit()) => {
                    next.extend(at.parse::<usize>().ok().and_then(|at| items.get(at)));
                }
                ("*", value) if value.is_null() && !in_list => {}
                (_, Json::Object(members)) if step != "*" => match named(members, step, strict)? {
                    Some(value) if !value.is_null() => next.push(value),
                    _ if in_list => return Err(Misshapen::Shape),
                    _ => {}
                },
                _ => return Err(Misshapen::Shape),
            }
        }
        in_list |= step == "*";
        found = next;
    }
    if in_list && found.iter().any(|value| value.is_null()) {
        return Err(Misshapen::Shape);
    }
    Ok(found)
}

fn named<'j, 'a>(
    members: &'j [(Cow<'a, str>, Json<'a>)],
    name: &str,
    strict: bool,
) -> Result<Option<&'j Json<'a>>, Misshapen> {
    if strict && members.iter().any(|(own, _)| own != name && own.eq_ignore_ascii_case(name)) {
        return Err(Misshapen::Lookalike);
    }
    Ok(members.iter().find(|(own, _)| own == name).map(|(_, value)| value))
}

/// Puts a value at a path without `*`; objects on the way are made where there are none.
///
/// # Errors
/// When something else than an object is on the way.
pub fn put<'a>(root: &mut Json<'a>, path: &str, value: Json<'a>) -> Result<(), Misshapen> {
    let Some((name, rest)) = path.split_once('.') else {
        let members = root.members_mut().ok_or(Misshapen::Shape)?;
        members.retain(|(own, _)| own != path);
        members.push((Cow::Owned(path.to_owned()), value));
        return Ok(());
    };
    let members = root.members_mut().ok_or(Misshapen::Shape)?;
    if members.iter().all(|(own, held)| own != name || held.is_null()) {
        members.retain(|(own, _)| own != name);
        members.push((Cow::Owned(name.to_owned()), Json::Object(Vec::new())));
    }
    match members.iter_mut().find(|(own, _)| own == name) {
        Some((_, inner)) => put(inner, rest, value),
        None => Err(Misshapen::Shape),
    }
}

/// Splits a path at its last `*`: the list, and where in an item the object is. None = no list.
pub fn split_at_list(path: &str) -> Option<(&str, &str)> {
    if path == "*" {
        return Some(("", ""));
    }
    if let Some(list) = path.strip_suffix(".*") {
        return Some((list, ""));
    }
    match path.rsplit_once(".*.") {
        Some((list, rest)) => Some((list, rest)),
        None => path.strip_prefix("*.").map(|rest| ("", rest)),
    }
}

/// Visits every value at a path that is there, and passes over what is not.
pub fn visit_mut<'a>(root: &mut Json<'a>, path: &str, visit: &mut dyn FnMut(&mut Json<'a>)) {
    if path.is_empty() {
        return visit(root);
    }
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    match root {
        Json::List(items) if step == "*" => items.iter_mut().for_each(|item| visit_mut(item, rest, visit)),
        Json::List(items) => {
            if let Some(item) = step.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                visit_mut(item, rest, visit);
            }
        }
        Json::Object(members) if step != "*" => {
            if let Some((_, value)) = members.iter_mut().find(|(own, _)| own == step) {
                visit_mut(value, rest, visit);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn texts(document: &str, path: &str) -> Result<Vec<String>, Misshapen> {
        let root = Json::parse(document.as_bytes()).unwrap();
        Ok(find(&root, path, true)?.into_iter().filter_map(|v| v.scalar().map(Cow::into_owned)).collect())
    }

    #[test]
    fn a_path_finds_all_that_is_there() {
        let document = r#"{"a":{"b":"x"},"l":[{"i":"1"},{"i":"2"}],"n":null,"ids":["p","q"],"e":[]}"#;
        for (path, found) in [
            ("a.b", vec!["x"]),
            ("l.*.i", vec!["1", "2"]),
            ("ids.*", vec!["p", "q"]),
            ("e.*.i", vec![]),
            ("ids.1", vec!["q"]),
            ("ids.2", vec![]),
            ("a.c", vec![]),
            ("n.x", vec![]),
            ("missing.*.x", vec![]),
        ] {
            assert_eq!(texts(document, path).unwrap(), found, "{path}");
        }
    }

    #[test]
    fn an_item_without_the_member_and_another_shape_are_told() {
        for (document, path) in [
            (r#"{"l":[{"i":"1"},{}]}"#, "l.*.i"),
            (r#"{"l":[{"i":"1"},{"i":null}]}"#, "l.*.i"),
            (r#"{"l":["1",null]}"#, "l.*"),
            (r#"{"l":{"i":"1"}}"#, "l.*.i"),
            (r#"{"a":["x"]}"#, "a.b"),
            (r#"{"a":"x"}"#, "a.b"),
        ] {
            assert_eq!(texts(document, path), Err(Misshapen::Shape), "{document}");
        }
        assert_eq!(texts(r#"{"a":{"ID":"x"}}"#, "a.id"), Err(Misshapen::Lookalike));
        assert_eq!(texts(r#"{"A":{},"a":{"id":"x"}}"#, "a.id"), Err(Misshapen::Lookalike));
    }

    proptest! {
        #[test]
        fn either_every_item_is_found_or_none(ids in prop::collection::vec(prop::option::of("[a-z]{1,3}"), 0..6)) {
            let item = |id: &Option<String>| id.as_ref().map_or_else(|| json!({"x": 1}), |id| json!({"i": id}));
            let document = json!({"l": ids.iter().map(item).collect::<Vec<_>>()}).to_string();
            let all: Option<Vec<String>> = ids.into_iter().collect();
            prop_assert_eq!(texts(&document, "l.*.i"), all.ok_or(Misshapen::Shape));
        }
    }

    #[test]
    fn a_value_is_put_where_it_belongs() {
        for (document, path, becomes) in [
            ("{}", "a.b", r#"{"a":{"b":"x"}}"#),
            (r#"{"a":{"b":1,"c":2}}"#, "a.b", r#"{"a":{"c":2,"b":"x"}}"#),
            (r#"{"a":null}"#, "a.b", r#"{"a":{"b":"x"}}"#),
        ] {
            let mut root = Json::parse(document.as_bytes()).unwrap();
            put(&mut root, path, Json::text("x")).unwrap();
            assert_eq!(String::from_utf8(root.to_bytes()).unwrap(), becomes);
        }
        assert!(put(&mut Json::parse(br#"{"a":1}"#).unwrap(), "a.b", Json::text("x")).is_err());
    }

    #[test]
    fn lists_are_told_from_single_objects() {
        for (path, split) in [
            ("value.*", Some(("value", ""))),
            ("data.items.*.file", Some(("data.items", "file"))),
            ("a.*.b.*.c", Some(("a.*.b", "c"))),
            ("*", Some(("", ""))),
            ("*.x", Some(("", "x"))),
            ("data.message", None),
            ("", None),
        ] {
            assert_eq!(split_at_list(path), split, "{path}");
        }
    }
}
