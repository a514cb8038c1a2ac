//! Workbooks and bases, for the app's token: the person is whoever stands in `operatorId`.

use serde_json::{Map, Value, json};

use crate::sandbox::office::{Kind, Node};
use crate::sandbox::world::Person;

use super::api::{Answer, Call, Refusal, Route, app, ok};
use super::{mint, union_id};

pub(super) const ROUTES: &[Route] = &[
    app("GET /v1.0/doc/workbooks/{workbookId}/sheets", sheets),
    app("POST /v1.0/doc/workbooks/{workbookId}/sheets", create_sheet),
    app("GET /v1.0/doc/workbooks/{workbookId}/sheets/{sheetId}", sheet),
    app("PUT /v1.0/doc/workbooks/{workbookId}/sheets/{sheetId}", rename_sheet),
    app("DELETE /v1.0/doc/workbooks/{workbookId}/sheets/{sheetId}", delete_sheet),
    app("GET /v1.0/doc/workbooks/{workbookId}/sheets/{sheetId}/ranges/{rangeAddress}", range),
    app("PUT /v1.0/doc/workbooks/{workbookId}/sheets/{sheetId}/ranges/{rangeAddress}", write_range),
    app("POST /v1.0/doc/workbooks/{workbookId}/sheets/{sheetId}/findAll", find_all),
    app("GET /v1.0/notable/bases/{baseId}/sheets", base_sheets),
    app("GET /v1.0/notable/bases/{baseId}/sheets/{sheetIdOrName}/fields", fields),
    app("POST /v1.0/notable/bases/{baseId}/sheets/{sheetIdOrName}/records/list", records),
    app("POST /v1.0/notable/bases/{baseId}/sheets/{sheetIdOrName}/records", add_records),
];

/// The first sheet of every workbook and base has this name; others lie under the workbook as nodes of their own.
const SHEET: &str = "Sheet1";

const fn invalid(message: &'static str) -> Refusal {
    Refusal::new(400, "invalidRequest.inputArgs.invalid", message)
}

/// The sheet's id, made of that of its file.
fn sheet_id(node: &Node) -> String {
    mint("worksheet", &node.id)
}

/// A workbook or base that the operator may read.
fn open(call: &Call<'_>, parameter: &str, kind: Kind) -> Result<(Node, Person), Refusal> {
    let operator = call.operator("operatorId")?;
    let node = call.node_by_uuid(call.path.get(parameter), &operator)?;
    if node.kind == kind {
        Ok((node, operator))
    } else {
        Err(Refusal::new(400, "invalidRequest.resource.notWorkbook", "The document is of another type."))
    }
}

/// The same, then its sheet by id or name.
fn open_sheet(call: &Call<'_>, parameter: &str, kind: Kind, sheet: &str) -> Result<(Node, Person), Refusal> {
    let (node, operator) = open(call, parameter, kind)?;
    let wanted = call.path.get(sheet);
    if wanted == SHEET || wanted == sheet_id(&node) {
        return Ok((node, operator));
    }
    let papers = call.office.papers();
    let found =
        papers.children(&node.id).find(|child| child.name == wanted || sheet_id(child) == wanted).cloned();
    let missing = Refusal::new(404, "invalidRequest.resource.notFound", "The sheet does not exist.");
    Ok((found.ok_or(missing)?, operator))
}

fn sheets(call: &Call<'_>) -> Answer {
    let (node, _) = open(call, "workbookId", Kind::Sheet)?;
    let papers = call.office.papers();
    let mut list = vec![json!({"id": sheet_id(&node), "name": SHEET})];
    list.extend(papers.children(&node.id).map(|child| json!({"id": sheet_id(child), "name": child.name})));
    ok(json!({"value": list}))
}

fn sheet_name(call: &Call<'_>) -> Result<String, Refusal> {
    let body = call.body()?;
    let name = body.get("name").and_then(Value::as_str).filter(|name| !name.is_empty() && *name != SHEET);
    name.map(str::to_owned).ok_or(invalid("The name is missing or taken."))
}

fn create_sheet(call: &Call<'_>) -> Answer {
    let (node, operator) = open(call, "workbookId", Kind::Sheet)?;
    if node.owner != operator.email {
        return Err(Refusal::new(403, "forbidden.accessDenied", "The operator has no permission."));
    }
    let name = sheet_name(call)?;
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "sheet");
    let mut made = Node::new(id, Kind::Sheet, &name, &operator.email, call.office.now());
    made.parent = Some(node.id);
    let document = json!({"visibility": "visible", "name": name, "id": sheet_id(&made)});
    papers.nodes.push(made);
    ok(document)
}

/// A sheet that was added; the first one keeps its name and its place.
fn added_sheet(call: &Call<'_>) -> Result<(Node, Person), Refusal> {
    let (node, operator) = open_sheet(call, "workbookId", Kind::Sheet, "sheetId")?;
    if super::uuid(&node.id) == call.path.get("workbookId") {
        return Err(invalid("The first sheet cannot be changed."));
    }
    Ok((node, operator))
}

fn rename_sheet(call: &Call<'_>) -> Answer {
    let ((node, operator), name) = (added_sheet(call)?, sheet_name(call)?);
    let changed = call.change(&node.id, &operator, |node| node.name = name)?;
    ok(json!({"id": sheet_id(&changed)}))
}

fn delete_sheet(call: &Call<'_>) -> Answer {
    let (node, operator) = added_sheet(call)?;
    call.change(&node.id, &operator, |_| {})?;
    call.office.papers().remove(&node.id);
    ok(json!({"success": true}))
}

fn sheet(call: &Call<'_>) -> Answer {
    let (node, _) = open_sheet(call, "workbookId", Kind::Sheet, "sheetId")?;
    let columns = node.rows.iter().map(Vec::len).max().unwrap_or_default();
    let first = super::uuid(&node.id) == call.path.get("workbookId");
    ok(json!({
        "id": sheet_id(&node), "name": if first { SHEET } else { node.name.as_str() }, "visibility": "visible",
        "rowCount": node.rows.len(), "columnCount": columns,
    }))
}

/// `B12` as column and row, both from 0.
fn cell(address: &str) -> Option<(usize, usize)> {
    let split = address.find(|c: char| c.is_ascii_digit())?;
    let (letters, digits) = address.split_at_checked(split)?;
    if letters.is_empty() || letters.len() > 2 || !letters.bytes().all(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let column = letters.bytes().fold(0usize, |sum, b| sum * 26 + usize::from(b - b'A') + 1);
    let row: usize = digits.parse().ok().filter(|row| (1..=10_000).contains(row))?;
    Some((column - 1, row - 1))
}

/// `A1:B2` as its first and last cell.
fn corners(address: &str) -> Result<[(usize, usize); 2], Refusal> {
    let (from, to) = address.split_once(':').unwrap_or((address, address));
    let corners = cell(from).zip(cell(to)).filter(|(from, to)| from.0 <= to.0 && from.1 <= to.1);
    corners.map(|(from, to)| [from, to]).ok_or(invalid("The rangeAddress is illegal."))
}

fn range(call: &Call<'_>) -> Answer {
    let (node, _) = open_sheet(call, "workbookId", Kind::Sheet, "sheetId")?;
    let [(left, top), (right, bottom)] = corners(call.path.get("rangeAddress"))?;
    let value = |row: usize, column: usize| {
        node.rows.get(row).and_then(|cells| cells.get(column)).cloned().unwrap_or_default()
    };
    let values: Vec<Vec<String>> =
        (top..=bottom).map(|row| (left..=right).map(|column| value(row, column)).collect()).collect();
    ok(json!({"values": values, "displayValues": values}))
}

fn write_range(call: &Call<'_>) -> Answer {
    let (node, operator) = open_sheet(call, "workbookId", Kind::Sheet, "sheetId")?;
    let [(left, top), (right, bottom)] = corners(call.path.get("rangeAddress"))?;
    let body = call.body()?;
    let rows = body.get("values").and_then(Value::as_array);
    let rows: Option<Vec<&Vec<Value>>> = rows.and_then(|rows| rows.iter().map(Value::as_array).collect());
    let rows = rows.filter(|rows| rows.len() == bottom - top + 1);
    let rows = rows.filter(|rows| rows.iter().all(|row| row.len() == right - left + 1));
    let rows = rows.ok_or(invalid("The values do not fill the range."))?;
    call.change(&node.id, &operator, |node| {
        for (row, values) in (top..).zip(rows) {
            if node.rows.len() <= row {
                node.rows.resize(row + 1, Vec::new());
            }
            let Some(cells) = node.rows.get_mut(row) else { continue };
            if cells.len() <= right {
                cells.resize(right + 1, String::new());
            }
            for (cell, value) in cells.iter_mut().skip(left).zip(values) {
                *cell = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            }
        }
    })?;
    ok(json!({"a1Notation": call.path.get("rangeAddress")}))
}

fn find_all(call: &Call<'_>) -> Answer {
    let (node, _) = open_sheet(call, "workbookId", Kind::Sheet, "sheetId")?;
    let body = call.body()?;
    let text = body.get("text").and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = text.ok_or(invalid("text is needed."))?;
    let mut found = Vec::new();
    for (row, cells) in (1..).zip(&node.rows) {
        for (column, cell) in ('A'..='Z').zip(cells) {
            if cell.contains(text) {
                found.push(json!({"a1Notation": format!("{column}{row}")}));
            }
        }
    }
    ok(json!({"value": found}))
}

fn base_sheets(call: &Call<'_>) -> Answer {
    let (node, _) = open(call, "baseId", Kind::Base)?;
    ok(json!({"value": [{"id": sheet_id(&node), "name": SHEET}]}))
}

fn names(node: &Node) -> &[String] {
    node.rows.first().map(Vec::as_slice).unwrap_or_default()
}

fn fields(call: &Call<'_>) -> Answer {
    let (node, _) = open_sheet(call, "baseId", Kind::Base, "sheetIdOrName")?;
    let field = |name: &String| json!({"id": mint("field", &format!("{}/{name}", node.id)), "name": name, "type": "text"});
    ok(json!({"value": names(&node).iter().map(field).collect::<Vec<_>>()}))
}

/// Whether a record meets the request's filter: `equal` and `contain` on text.
fn meets(fields: &Map<String, Value>, filter: Option<&Value>) -> bool {
    let conditions = filter.and_then(|filter| filter.get("conditions")).and_then(Value::as_array);
    conditions.into_iter().flatten().all(|condition| {
        let text = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
        let wanted = condition.pointer("/value/0").and_then(Value::as_str).unwrap_or_default();
        let cell = fields.get(text("field")).and_then(Value::as_str).unwrap_or_default();
        match text("operator") {
            "equal" => cell == wanted,
            "contain" => cell.contains(wanted),
            _ => false,
        }
    })
}

fn records(call: &Call<'_>) -> Answer {
    let (node, _) = open_sheet(call, "baseId", Kind::Base, "sheetIdOrName")?;
    let body = call.body()?;
    let mut items = Vec::new();
    for (at, cells) in node.rows.iter().skip(1).enumerate() {
        let fields: Map<String, Value> =
            names(&node).iter().zip(cells).map(|(name, cell)| (name.clone(), json!(cell))).collect();
        if meets(&fields, body.get("filter")) {
            let by = json!({"unionId": union_id(&node.owner)});
            items.push(json!({
                "id": mint("record", &format!("{}/{at}", node.id)), "fields": fields, "createdBy": by,
                "lastModifiedBy": by, "createdTime": node.created.millis(),
                "lastModifiedTime": node.modified.millis(),
            }));
        }
    }
    let size = body.get("maxResults").and_then(Value::as_u64).map(|size| size.to_string());
    call.paged("records", items, 100, size.as_deref(), body.get("nextToken").and_then(Value::as_str))
}

fn add_records(call: &Call<'_>) -> Answer {
    let (node, operator) = open_sheet(call, "baseId", Kind::Base, "sheetIdOrName")?;
    let body = call.body()?;
    let added = body.get("records").and_then(Value::as_array).filter(|list| (1..=100).contains(&list.len()));
    let added = added.ok_or(invalid("records holds 1 to 100 records."))?;
    let row = |record: &Value| {
        let cell = |name: &String| {
            let value = record.get("fields").and_then(|fields| fields.get(name));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        names(&node).iter().map(cell).collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = added.iter().map(row).collect();
    let first = node.rows.len().saturating_sub(1);
    call.change(&node.id, &operator, |node| node.rows.extend(rows))?;
    let ids =
        (first..first + added.len()).map(|at| json!({"id": mint("record", &format!("{}/{at}", node.id))}));
    ok(json!({"value": ids.collect::<Vec<_>>()}))
}
