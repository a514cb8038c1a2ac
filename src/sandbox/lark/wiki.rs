//! The wiki's nodes, and bases (tables of records).

use serde_json::{Map, Value, json};

use crate::sandbox::office::{Kind, Node, Papers, Place};

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::{mint, open_id};

/// The only space: the company's handbook.
pub(super) const SPACE: &str = "7012345678901234567";

const BASE: &[&str] = &["bitable:app:readonly"];

pub(super) const ROUTES: &[Route] = &[
    route("GET /wiki/v2/spaces/get_node", &["wiki:node:read"], node),
    route("GET /wiki/v2/spaces", &["wiki:space:retrieve"], spaces),
    route("GET /wiki/v2/spaces/{space_id}/nodes", &["wiki:node:retrieve"], nodes),
    route("GET /bitable/v1/apps/{app_token}", BASE, base),
    route("GET /bitable/v1/apps/{app_token}/tables", BASE, tables),
    route("GET /bitable/v1/apps/{app_token}/tables/{table_id}/fields", BASE, fields),
    route("GET /bitable/v1/apps/{app_token}/tables/{table_id}/views", BASE, views),
    route("POST /bitable/v1/apps/{app_token}/tables/{table_id}/records/search", BASE, search),
    route("POST /bitable/v1/apps/{app_token}/tables/{table_id}/records/batch_get", BASE, batch_get),
];

fn not_found() -> Refusal {
    Refusal::new(400, 131_005, "not found")
}

fn member(call: &Call<'_>) -> Result<(), Refusal> {
    if call.person.employee { Ok(()) } else { Err(Refusal::new(400, 131_006, "permission denied")) }
}

/// A document's token as a node of the wiki.
fn node_token(document: &str) -> String {
    mint("wiki", document)
}

fn rendered(papers: &Papers, page: &Node) -> Value {
    let time = page.created.secs().to_string();
    json!({
        "space_id": SPACE,
        "node_token": node_token(&page.id),
        "obj_token": page.id,
        "obj_type": "docx",
        "parent_node_token": page.parent.as_deref().map(node_token).unwrap_or_default(),
        "node_type": "origin",
        "origin_node_token": node_token(&page.id),
        "origin_space_id": SPACE,
        "has_child": papers.children(&page.id).next().is_some(),
        "title": page.title(),
        "obj_create_time": time,
        "obj_edit_time": page.modified.secs().to_string(),
        "node_create_time": time,
        "creator": open_id(&page.owner),
        "owner": open_id(&page.owner),
        "node_creator": open_id(&page.owner),
    })
}

fn node(call: &Call<'_>) -> Answer {
    member(call)?;
    let token = call.query.filled("token").ok_or_else(|| Refusal::new(400, 131_002, "param err"))?;
    let by_document = call.query.get("obj_type").is_some_and(|kind| kind != "wiki");
    let papers = call.office.papers();
    let mut pages = papers.nodes.iter().filter(|node| node.place == Place::Wiki);
    let page = pages.find(|page| if by_document { page.id == token } else { node_token(&page.id) == token });
    ok(json!({"node": rendered(&papers, page.ok_or_else(not_found)?)}))
}

fn spaces(call: &Call<'_>) -> Answer {
    member(call)?;
    let space = json!({"name": "Company handbook", "description": "How we work together", "space_id": SPACE});
    call.list("items", vec![space], 20, 50)
}

fn nodes(call: &Call<'_>) -> Answer {
    member(call)?;
    if call.path.get("space_id") != SPACE {
        return Err(not_found());
    }
    let parent = call.query.filled("parent_node_token");
    let items = {
        let papers = call.office.papers();
        let below = |page: &&Node| {
            page.place == Place::Wiki && page.parent.as_deref().map(node_token).as_deref() == parent
        };
        papers.nodes.iter().filter(below).map(|page| rendered(&papers, page)).collect()
    };
    call.list("items", items, 20, 50)
}

/// A base that the user may read.
fn readable_base(call: &Call<'_>) -> Result<Node, Refusal> {
    let papers = call.office.papers();
    let node = papers.node(call.path.get("app_token")).filter(|node| node.kind == Kind::Base);
    let node = node.ok_or_else(|| Refusal::new(400, 1_254_040, "BaseTokenNotFound"))?;
    if node.readable_by(call.me()) {
        Ok(node.clone())
    } else {
        Err(Refusal::new(403, 1_254_302, "RolePermNotAllow"))
    }
}

/// The base of a call that names its one table.
fn readable_table(call: &Call<'_>) -> Result<Node, Refusal> {
    let base = readable_base(call)?;
    if table_id(&base) == call.path.get("table_id") {
        Ok(base)
    } else {
        Err(Refusal::new(400, 1_254_041, "TableIdNotFound"))
    }
}

fn table_id(base: &Node) -> String {
    mint("table", &base.id)
}

fn base(call: &Call<'_>) -> Answer {
    let base = readable_base(call)?;
    ok(json!({"app": {"app_token": base.id, "name": base.title(), "revision": base.revision}}))
}

fn tables(call: &Call<'_>) -> Answer {
    let base = readable_base(call)?;
    call.list(
        "items",
        vec![json!({"table_id": table_id(&base), "revision": 1, "name": base.title()})],
        20,
        100,
    )
}

fn header(base: &Node) -> &[String] {
    base.rows.first().map(Vec::as_slice).unwrap_or_default()
}

fn fields(call: &Call<'_>) -> Answer {
    let base = readable_table(call)?;
    let field = |(at, name): (usize, &String)| {
        json!({
            "field_id": mint("field", &format!("{}/{at}", base.id)),
            "field_name": name, "type": 1, "is_primary": at == 0,
        })
    };
    call.list("items", header(&base).iter().enumerate().map(field).collect(), 20, 100)
}

fn views(call: &Call<'_>) -> Answer {
    let base = readable_table(call)?;
    let view = json!({"view_id": mint("view", &base.id), "view_name": "Grid", "view_type": "grid"});
    call.list("items", vec![view], 20, 100)
}

fn records(base: &Node, wanted: Option<&[Value]>) -> Vec<Value> {
    let names = header(base);
    let named = |name: &str| wanted.is_none_or(|list| list.iter().any(|w| w.as_str() == Some(name)));
    let row = |(at, cells): (usize, &Vec<String>)| {
        let fields: Map<String, Value> = (names.iter().zip(cells))
            .filter(|(name, _)| named(name))
            .map(|(name, cell)| (name.clone(), json!([{"text": cell, "type": "text"}])))
            .collect();
        json!({"record_id": mint("record", &format!("{}/{at}", base.id)), "fields": fields})
    };
    base.rows.iter().skip(1).enumerate().map(row).collect()
}

/// Whether a record meets the request's filter: `is` and `contains` on text.
fn meets(record: &Value, filter: &Value) -> bool {
    let conditions =
        filter.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let met = |condition: &Value| {
        let text = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
        let wanted = condition.pointer("/value/0").and_then(Value::as_str).unwrap_or_default();
        let cell = record.get("fields").and_then(|fields| fields.get(text("field_name")));
        let cell = cell.and_then(|cell| cell.pointer("/0/text")).and_then(Value::as_str).unwrap_or_default();
        match text("operator") {
            "is" => cell == wanted,
            "isNot" => cell != wanted,
            "contains" => cell.contains(wanted),
            _ => false,
        }
    };
    if filter.get("conjunction").and_then(Value::as_str) == Some("or") {
        conditions.is_empty() || conditions.iter().any(met)
    } else {
        conditions.iter().all(met)
    }
}

fn search(call: &Call<'_>) -> Answer {
    let base = readable_table(call)?;
    let body = call.body()?;
    let mut found = records(&base, None);
    if let Some(filter) = body.get("filter") {
        found.retain(|record| meets(record, filter));
    }
    let kept: Vec<Value> = match body.get("field_names").and_then(Value::as_array) {
        Some(names) => {
            let all = records(&base, Some(names));
            let is_found = |r: &Value| found.iter().any(|f| f.get("record_id") == r.get("record_id"));
            all.into_iter().filter(is_found).collect()
        }
        None => found,
    };
    let total = kept.len();
    let page = call.page(kept, 20, 500)?;
    let has_more = page.next.is_some();
    ok(json!({
        "items": page.items, "has_more": has_more, "page_token": page.next.unwrap_or_default(), "total": total,
    }))
}

fn batch_get(call: &Call<'_>) -> Answer {
    let base = readable_table(call)?;
    let body = call.body()?;
    let ids = body.get("record_ids").and_then(Value::as_array).filter(|ids| (1..=100).contains(&ids.len()));
    let ids = ids.ok_or_else(|| Refusal::new(400, 1_254_001, "WrongRequestBody"))?;
    let mut found = records(&base, None);
    found.retain(|record| record.get("record_id").is_some_and(|id| ids.contains(id)));
    ok(json!({"records": found, "forbidden_record_ids": [], "absent_record_ids": []}))
}
