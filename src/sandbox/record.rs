//! What each vendor's own log would show: every data call, by whom, and which objects its answer gave out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};

use crate::sandbox::tokens::sha256;
use crate::sandbox::wire::{Reply, Request};

/// How many data calls are remembered: enough for any test, and a load test cannot fill the memory.
const MOST_CALLS: usize = 100_000;
/// How many ids of one answer are remembered.
const MOST_IDS: usize = 5_000;

/// One data call.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The vendor's host, by its real name.
    pub host: &'static str,
    /// The path as it was sent.
    pub path: String,
    /// The query as it was sent; tokens in it are hashed.
    pub query: String,
    /// The access token's SHA-256, where one was shown.
    pub token_sha256: Option<String>,
    /// Whose token it was, by e-mail; `app` for the app's own, nobody's without a token that works.
    pub who: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// The ids of the objects that the answer gave out.
    pub given: Vec<String>,
}

/// Under which names a vendor's answers give out objects.
#[derive(Clone, Copy, Debug)]
pub struct IdNames {
    /// Members that hold the id of the object they stand in.
    pub own: &'static [&'static str],
    /// Members that speak of another object, or of a person: nothing below them is given out.
    pub other: &'static [&'static str],
    /// Members whose lists hold bare ids.
    pub lists: &'static [&'static str],
}

impl IdNames {
    /// The ids that a document gives out.
    pub fn in_document(&self, document: &Value) -> Vec<String> {
        let mut given = Vec::new();
        self.collect(document, &mut given);
        given
    }

    fn collect(&self, value: &Value, given: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, given)),
            Value::Object(members) => {
                for (name, member) in members {
                    self.collect_member(name, member, given);
                }
            }
            _ => {}
        }
    }

    fn collect_member(&self, name: &str, member: &Value, given: &mut Vec<String>) {
        if self.other.contains(&name) || given.len() >= MOST_IDS {
            return;
        }
        match member {
            Value::String(id) if self.own.contains(&name) => given.push(id.clone()),
            Value::Array(items) if self.lists.contains(&name) => {
                given.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
                self.collect(member, given);
            }
            member => self.collect(member, given),
        }
    }
}

#[derive(Default)]
struct Pages {
    token_calls: u64,
    calls: Vec<Seen>,
}

/// The record of one vendor.
#[derive(Default)]
pub(super) struct Record(Mutex<Pages>);

impl Record {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_token_call(&self) {
        self.pages().token_calls += 1;
    }

    pub(super) fn token_calls(&self) -> u64 {
        self.pages().token_calls
    }

    pub(super) fn calls(&self) -> Vec<Seen> {
        self.pages().calls.clone()
    }

    pub(super) fn enter(&self, seen: Seen) {
        let mut pages = self.pages();
        if pages.calls.len() >= MOST_CALLS {
            pages.calls.drain(..MOST_CALLS / 2);
        }
        pages.calls.push(seen);
    }

    /// The calls, as the state at `/_sandbox/{provider}/state` shows them.
    pub(super) fn summary(&self) -> Vec<Value> {
        let shown = |call: &Seen| {
            json!({
                "method": call.method,
                "path": call.path,
                "query": call.query,
                "token_sha256": call.token_sha256,
                "status": call.status,
            })
        };
        self.pages().calls.iter().map(shown).collect()
    }
}

/// What the record keeps of a call.
pub(super) fn seen(
    request: &Request,
    host: &'static str,
    token: Option<&str>,
    who: Option<String>,
    names: IdNames,
    reply: &Reply,
) -> Seen {
    let document: Option<Value> =
        (reply.status < 400).then(|| serde_json::from_slice(&reply.body).ok()).flatten();
    Seen {
        method: request.method.clone(),
        host,
        path: request.path.clone(),
        query: without_tokens(&request.query),
        token_sha256: token.map(sha256),
        who,
        status: reply.status,
        given: document.map(|document| names.in_document(&document)).unwrap_or_default(),
    }
}

/// Some vendors carry secrets in the query; the record shows their SHA-256 only.
fn without_tokens(query: &str) -> String {
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name @ ("access_token" | "corpsecret" | "appsecret" | "code"), value)) => {
            format!("{name}={}", sha256(value))
        }
        _ => pair.to_owned(),
    };
    query.split('&').map(hide).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_gives_out_its_objects_and_not_the_ones_that_it_speaks_of() {
        let names = IdNames { own: &["id"], other: &["parentReference"], lists: &["items"] };
        let document = json!({
            "value": [{"id": "a", "parentReference": {"id": "above"}, "children": [{"id": "b"}]}],
            "items": ["c", {"id": "d"}],
        });
        let mut given = names.in_document(&document);
        given.sort();
        assert_eq!(given, ["a", "b", "c", "d"]);
    }
}
