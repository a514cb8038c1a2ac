//! Spreadsheets, comments and media, as `drive:drive:readonly` reads them.

use serde_json::json;

use crate::sandbox::office::{Kind, Node, Office};
use crate::sandbox::wire::{Reply, Request};

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::{STORAGE, docs, drive, mint, open_id};

const READ: &[&str] = &["drive:drive:readonly"];

pub(super) const ROUTES: &[Route] = &[
    route("GET /sheets/v3/spreadsheets/{spreadsheet_token}", READ, spreadsheet),
    route("GET /sheets/v3/spreadsheets/{spreadsheet_token}/sheets/query", READ, sheets),
    route("GET /sheets/v2/spreadsheets/{spreadsheet_token}/values/{range}", READ, values),
    route("GET /drive/v1/files/{file_token}/comments", READ, comments),
    route("GET /drive/v1/files/{file_token}/comments/{comment_id}", READ, comment),
    route("GET /drive/v1/files/{file_token}/comments/{comment_id}/replies", READ, comment),
    route("POST /drive/v1/files/{file_token}/comments", READ, add_comment),
    route("POST /drive/v1/files/{file_token}/subscriptions", READ, subscribe),
    route("GET /drive/v1/medias/batch_get_tmp_download_url", READ, media_addresses),
    route("GET /drive/v1/medias/{file_token}/download", READ, media),
];

fn readable(call: &Call<'_>) -> Result<Node, Refusal> {
    let token = call.path.get("spreadsheet_token");
    let papers = call.office.papers();
    let node = papers.node(token).filter(|node| node.kind == Kind::Sheet);
    let node = node.ok_or_else(|| Refusal::new(400, 1_310_214, "SpreadSheet Not Found"))?;
    if node.readable_by(call.me()) {
        Ok(node.clone())
    } else {
        Err(Refusal::new(400, 1_310_213, "Permission Fail"))
    }
}

/// The id of the one sheet that a spreadsheet has here.
fn sheet_id(node: &Node) -> String {
    mint("sheet_id", &node.id).chars().take(6).collect()
}

fn spreadsheet(call: &Call<'_>) -> Answer {
    let node = readable(call)?;
    ok(json!({"spreadsheet": {
        "title": node.title(), "owner_id": open_id(&node.owner), "token": node.id,
        "url": format!("https://example.feishu.cn/sheets/{}", node.id),
    }}))
}

fn sheets(call: &Call<'_>) -> Answer {
    let node = readable(call)?;
    let columns = node.rows.iter().map(Vec::len).max().unwrap_or_default();
    let grid = json!({
        "frozen_row_count": 0, "frozen_column_count": 0, "row_count": node.rows.len(), "column_count": columns,
    });
    ok(json!({"sheets": [{
        "sheet_id": sheet_id(&node), "title": node.title(), "index": 0, "hidden": false, "grid_properties": grid,
        "resource_type": "sheet",
    }]}))
}

/// `B12` as column and row, both from 0.
fn cell(address: &str) -> Option<(usize, usize)> {
    let (letter, digits) = address.split_at_checked(1)?;
    let column = letter.bytes().next().filter(u8::is_ascii_uppercase)? - b'A';
    let row: usize = digits.parse().ok().filter(|row| *row >= 1)?;
    Some((usize::from(column), row - 1))
}

fn values(call: &Call<'_>) -> Answer {
    let node = readable(call)?;
    let range = call.path.get("range");
    let invalid = || Refusal::new(400, 90202, "validate RangeVal fail");
    let (sheet, cells) = range.split_once('!').map_or((range, None), |(sheet, cells)| (sheet, Some(cells)));
    if sheet != sheet_id(&node) {
        return Err(Refusal::new(400, 90215, "not found sheetId"));
    }
    let bottom = node.rows.len().saturating_sub(1);
    let right = node.rows.iter().map(Vec::len).max().unwrap_or_default().saturating_sub(1);
    let ((left, top), (right, bottom)) = match cells {
        None => ((0, 0), (right, bottom)),
        Some(cells) => {
            let (from, to) = cells.split_once(':').unwrap_or((cells, cells));
            cell(from).zip(cell(to)).ok_or_else(invalid)?
        }
    };
    let value = |row: usize, column: usize| node.rows.get(row).and_then(|cells| cells.get(column)).cloned();
    let rows: Vec<Vec<Option<String>>> = (top..=bottom.min(top + 5000))
        .map(|row| (left..=right).map(|column| value(row, column)).collect())
        .collect();
    let shown = json!({"majorDimension": "ROWS", "range": range, "revision": node.revision, "values": rows});
    ok(json!({"revision": node.revision, "spreadsheetToken": node.id, "valueRange": shown}))
}

/// One comment on each document, which quotes its last line.
fn comments(call: &Call<'_>) -> Answer {
    let node = drive::readable(call, call.path.get("file_token"))?;
    let comment = json!({
        "comment_id": mint("comment", &node.id), "user_id": open_id(&node.owner), "is_whole": false,
        "is_solved": false, "quote": node.paragraphs.last(), "reply_list": {"replies": []},
    });
    ok(json!({"items": [comment], "has_more": false}))
}

fn comment(call: &Call<'_>) -> Answer {
    drive::readable(call, call.path.get("file_token"))?;
    Err(Refusal::new(404, 1_069_307, "not exist"))
}

/// The document that a picture stands in, when the user may read it.
fn with_media(call: &Call<'_>, token: &str) -> Result<Node, Refusal> {
    let found = call.office.papers().nodes.iter().find(|node| docs::media_token(node) == token).cloned();
    drive::readable(call, &found.ok_or_else(|| Refusal::new(404, 1_061_003, "not found."))?.id)
}

fn media(call: &Call<'_>) -> Answer {
    let node = with_media(call, call.path.get("file_token"))?;
    Ok(Reply::bytes(200, "image/png", node.text()))
}

/// Addresses that open for a day without any token.
fn media_addresses(call: &Call<'_>) -> Answer {
    let mut addresses = Vec::new();
    for (_, token) in call.query.iter().filter(|(name, _)| *name == "file_tokens") {
        let node = with_media(call, token)?;
        let url =
            format!("https://{STORAGE}/space/api/box/stream/download/authcode/?code={}", address_code(&node));
        addresses.push(json!({"file_token": token, "tmp_download_url": url}));
    }
    ok(json!({"tmp_download_urls": addresses}))
}

fn address_code(node: &Node) -> String {
    mint("authcode", &node.id)
}

/// Answers at the storage host whoever has the address.
pub(super) fn stored(office: &Office, request: &Request) -> Reply {
    let code = request.params().get("code").map(str::to_owned).unwrap_or_default();
    let papers = office.papers();
    match papers.nodes.iter().find(|node| address_code(node) == code) {
        Some(node) => Reply::bytes(200, "image/png", node.text()),
        None => Reply::bytes(403, "text/plain", "403 Forbidden"),
    }
}

/// Reading the drive opens writing comments as well, whatever the scope's name says.
fn add_comment(call: &Call<'_>) -> Answer {
    let node = drive::readable(call, call.path.get("file_token"))?;
    let body = call.body()?;
    body.get("reply_list")
        .or_else(|| body.get("content"))
        .ok_or_else(|| Refusal::new(400, 1_069_301, "fail"))?;
    ok(json!({"comment_id": mint("comment", &node.id), "is_whole": true}))
}

/// And watching a document for changes.
fn subscribe(call: &Call<'_>) -> Answer {
    let node = drive::readable(call, call.path.get("file_token"))?;
    ok(json!({"subscription_id": mint("subscription", &node.id), "is_subscribe": true}))
}
