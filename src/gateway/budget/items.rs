//! Items in an answer.

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use crate::gateway::budget::{Released, Tab};
use crate::gateway::denial::Denial;
use crate::model::usage::Measure;
use crate::providers::template::ObjectPlace;

const ITEMS: Measure = Measure::ItemsPerDay;
/// How deep the lists of an answer may lie when the template does not say where they are.
const DEEPEST: usize = 3;
/// The longest answer whose items are counted.
const LARGEST_COUNTED: usize = 8 * 1024 * 1024;

impl Tab {
    /// Pays for the items of an answer before any of it is released.
    pub(super) async fn pay_for_items(
        &self,
        released: Released,
        gives: &[ObjectPlace],
    ) -> Result<Released, Denial> {
        let (status, headers, mut chunks) = released;
        if !self.counts(ITEMS) || !(200..300).contains(&status) {
            return Ok((status, headers, chunks));
        }
        let header = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| String::from_utf8_lossy(value).to_ascii_lowercase())
        };
        let is_list = gives.iter().any(|place| place.at.contains('*'));
        if !is_list && !header("content-type").is_some_and(|kind| kind.contains("json")) {
            self.take_items(u64::from(header("content-length").as_deref() != Some("0"))).await?;
            return Ok((status, headers, chunks));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk?);
            if body.len() > LARGEST_COUNTED {
                return Err(uncounted("it is longer than 8 MiB: ask for fewer"));
            }
        }
        // A part of a document, or a compressed one, cannot be read either.
        let items = count(&body, gives).ok_or_else(|| uncounted("it is not whole, plain JSON"))?;
        self.take_items(items).await?;
        let body: Bytes = body.freeze();
        Ok((status, headers, stream::iter([Ok(body)]).boxed()))
    }

    async fn take_items(&self, count: u64) -> Result<(), Denial> {
        if count == 0 {
            return Ok(());
        }
        let taken = self.take(ITEMS, count, count).await;
        taken.map_err(|refused| self.denial(refused))?.spend(count);
        Ok(())
    }
}

fn uncounted(why: &str) -> Denial {
    Denial::upstream(502, format!("the items of the provider's answer cannot be counted: {why}"))
}

/// How many items an answer releases: those of its lists, and one for an answer without a list. Where the
/// template says what the call gives, only that is looked at.
fn count(body: &[u8], gives: &[ObjectPlace]) -> Option<u64> {
    if body.is_empty() {
        return Some(0);
    }
    let document: Value = serde_json::from_slice(body).ok()?;
    let stated: Vec<u64> = gives.iter().filter_map(|place| at(&document, &place.at)).collect();
    let count = if stated.is_empty() { outermost_lists(&document, 0) } else { Some(stated.iter().sum()) };
    Some(count.unwrap_or(1))
}

/// How many values are at a path; `None` where its list is not there.
fn at(value: &Value, path: &str) -> Option<u64> {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    match (step, value) {
        ("", _) => Some(1),
        ("*", Value::Array(items)) => Some(items.iter().map(|item| at(item, rest).unwrap_or(1)).sum()),
        (_, Value::Object(members)) => at(members.get(step).filter(|value| !value.is_null())?, rest),
        _ => None,
    }
}

/// The length of all lists of objects that are in no other list.
fn outermost_lists(value: &Value, depth: usize) -> Option<u64> {
    match value {
        Value::Array(items) => Some(items.len() as u64),
        Value::Object(members) if depth < DEEPEST => {
            let lists = members.values().filter_map(|member| outermost_lists(member, depth + 1));
            lists.reduce(u64::saturating_add)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(body: &str, gives: &[&str]) -> Option<u64> {
        let place =
            |at: &&str| ObjectPlace { object: "thing".to_owned(), at: (*at).to_owned(), optional: false };
        count(body.as_bytes(), &gives.iter().map(place).collect::<Vec<_>>())
    }

    #[test]
    fn what_the_template_says_is_counted() {
        let page = r#"{"value":[{"id":1,"to":[1,2,3]},{"id":2}],"more":[1]}"#;
        assert_eq!(items(page, &["value.*"]), Some(2));
        assert_eq!(items(r#"{"id":1,"to":[1,2,3]}"#, &[""]), Some(1));
        assert_eq!(items(r#"{"data":{"items":[{"file":{}},{"file":{}}]}}"#, &["data.items.*.file"]), Some(2));
        assert_eq!(items(r#"{"value":[]}"#, &["value.*"]), Some(0));
    }

    #[test]
    fn without_a_word_of_it_every_list_counts_and_anything_else_is_one() {
        for (body, expected) in [
            (r#"{"value":[1,2],"other":{"list":[3]}}"#, Some(3)),
            (r#"[1,2,3,4]"#, Some(4)),
            (r#"{"id":1}"#, Some(1)),
            ("", Some(0)),
            ("{", None),
        ] {
            assert_eq!(items(body, &[]), expected, "{body}");
        }
        // An answer that is not built as the template says is counted as if it said nothing.
        assert_eq!(items(r#"{"list":[1,2]}"#, &["value.*"]), Some(2));
    }
}
