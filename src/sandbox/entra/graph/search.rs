//! Calls that reach past their own path: `/$batch` and `/search/query`.

use serde_json::{Value, json};

use crate::sandbox::entra::graph::calendar::event_json;
use crate::sandbox::entra::graph::mail::render;
use crate::sandbox::entra::graph::{Answer, Call, answer, chats, drive, error, text};
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

/// Searches everything of the kinds asked for, whatever folder or range a caller was meant to stay in.
pub(super) fn query(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let requests = body.get("requests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if requests.is_empty() {
        return Err(error(400, "BadRequest", "At least one request is needed."));
    }
    let answers: Vec<Value> =
        requests.iter().map(|asked| one_search(call, asked)).collect::<Result<_, Reply>>()?;
    Ok(Reply::json(200, &json!({"value": answers})))
}

fn one_search(call: &Call<'_>, asked: &Value) -> Result<Value, Reply> {
    let number = |name: &str| asked.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let (from, size) = (number("from").unwrap_or_default(), number("size").unwrap_or(25).min(1000));
    let word = text(asked, "/query/queryString").unwrap_or_default().trim_matches('*').to_lowercase();
    let kinds = asked.get("entityTypes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut found = Vec::new();
    for kind in kinds {
        found.extend(of_kind(call, kind.as_str().unwrap_or_default(), &word)?);
    }
    let total = found.len();
    let hits: Vec<Value> = (found.into_iter().skip(from).take(size).enumerate())
        .map(|(at, (item, summary))| {
            json!({"hitId": item.get("id"), "rank": from + at + 1, "summary": summary, "resource": item})
        })
        .collect();
    let more = from + hits.len() < total;
    let container = json!({"total": total, "moreResultsAvailable": more, "hits": hits});
    Ok(json!({"searchTerms": [word], "hitsContainers": [container]}))
}

fn of_kind(call: &Call<'_>, kind: &str, word: &str) -> Result<Vec<(Value, String)>, Reply> {
    let holds = |item: &Value| item.to_string().to_lowercase().contains(word);
    let all = match kind {
        "message" => {
            call.need(&["Mail.Read", "Mail.ReadWrite"])?;
            render(call, &call.me.mail.iter().collect::<Vec<_>>())
        }
        "event" => {
            call.need(&["Calendars.Read", "Calendars.ReadWrite"])?;
            call.me.events.iter().map(|event| event_json(call, event)).collect()
        }
        "chatMessage" => {
            call.need(&["Chat.Read", "Chat.ReadWrite"])?;
            chats::all_messages(call)
        }
        "driveItem" => {
            call.need(&["Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All"])?;
            return Ok(drive::found_everywhere(call, word));
        }
        _ => return Err(error(400, "BadRequest", "This entity type cannot be searched.")),
    };
    let shown = |item: Value| {
        let summary =
            text(&item, "/bodyPreview").or_else(|| text(&item, "/body/content")).unwrap_or_default();
        let summary = summary.to_owned();
        (item, summary)
    };
    Ok(all.into_iter().filter(holds).map(shown).collect())
}

/// Texts for a language model, from every file that the caller may open.
pub(super) fn copilot(call: &Call<'_>) -> Answer {
    if call.method() != "POST" {
        return Err(error(405, "UnknownError", "The method is not allowed on this resource."));
    }
    call.need(&["Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All"])?;
    let body = call.body()?;
    let asked = text(&body, "/queryString").or_else(|| text(&body, "/query"));
    let asked = asked.ok_or_else(|| error(400, "BadRequest", "A queryString is needed."))?.to_lowercase();
    let hits: Vec<Value> = (drive::found_everywhere(call, &asked).into_iter())
        .map(|(item, extract)| {
            json!({
                "webUrl": item.get("webUrl"),
                "extracts": [{"text": extract, "relevanceScore": 0.8}],
                "resourceType": "listItem",
                "resourceMetadata": {"title": item.get("name"), "id": item.get("id")},
            })
        })
        .collect();
    Ok(Reply::json(200, &json!({"retrievalHits": hits})))
}
