//! Calls that reach past their own path: `/$batch` and `/search/query`.

use serde_json::{Value, json};

use crate::sandbox::entra::graph::calendar::event_json;
use crate::sandbox::entra::graph::drive::item_json;
use crate::sandbox::entra::graph::mail::render;
use crate::sandbox::entra::graph::{Answer, Call, answer, error, text};
use crate::sandbox::wire::{Reply, Request};

/// At most 20 calls travel in one.
const LARGEST_BATCH: usize = 20;

pub(super) fn batch(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let calls = body.get("requests").and_then(Value::as_array);
    let calls = calls.filter(|calls| (1..=LARGEST_BATCH).contains(&calls.len()));
    let calls = calls.ok_or_else(|| error(400, "BadRequest", "A batch holds 1 to 20 requests."))?;
    let responses: Vec<Value> = calls.iter().map(|inner| one(call, inner)).collect();
    Ok(Reply::json(200, &json!({"responses": responses})))
}

fn one(call: &Call<'_>, inner: &Value) -> Value {
    let url = text(inner, "/url").unwrap_or_default();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let path = format!("/v1.0/{}", path.trim_start_matches('/'));
    let is_batch = path.to_ascii_lowercase().contains("$batch");
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend(
        call.request.header("authorization").map(|value| ("authorization".to_owned(), value.to_owned())),
    );
    let request = Request {
        method: text(inner, "/method").unwrap_or("GET").to_ascii_uppercase(),
        path,
        query: query.to_owned(),
        headers,
        body: inner.get("body").map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        ..call.request.clone()
    };
    let reply = if is_batch {
        error(400, "BadRequest", "A batch cannot be nested.")
    } else {
        answer(call.desk, &request)
    };
    let body = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
    json!({"id": inner.get("id"), "status": reply.status, "headers": {"Content-Type": "application/json"}, "body": body})
}

/// Searches everything of a kind at once, whatever folder or range a caller was meant to stay in.
pub(super) fn query(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let asked = body.pointer("/requests/0").cloned().unwrap_or_default();
    let word = text(&asked, "/query/queryString").unwrap_or_default().trim_matches('*').to_lowercase();
    let kind = text(&asked, "/entityTypes/0").unwrap_or_default();
    let found: Vec<Value> = match kind {
        "message" => {
            call.need(&["Mail.Read", "Mail.ReadWrite"])?;
            render(call, &call.me.mail.iter().collect::<Vec<_>>())
        }
        "event" => {
            call.need(&["Calendars.Read", "Calendars.ReadWrite"])?;
            call.me.events.iter().map(|event| event_json(call, event)).collect()
        }
        "driveItem" => {
            call.need(&["Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All"])?;
            call.me.files.iter().map(|file| item_json(&call.me, file)).collect()
        }
        _ => return Err(error(400, "BadRequest", "This entity type cannot be searched.")),
    };
    let hits: Vec<Value> = (found.into_iter())
        .filter(|item| item.to_string().to_lowercase().contains(&word))
        .enumerate()
        .map(|(at, item)| json!({"hitId": item.get("id"), "rank": at + 1, "resource": item}))
        .collect();
    let container = json!({"total": hits.len(), "moreResultsAvailable": false, "hits": hits});
    Ok(Reply::json(200, &json!({"value": [{"searchTerms": [word], "hitsContainers": [container]}]})))
}
