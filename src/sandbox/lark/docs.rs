//! Documents: `docx`, their blocks, their text, and who may see them.

use serde_json::{Value, json};

use crate::sandbox::office::{Kind, Node};

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::mint;

const READ: &[&str] = &["docx:document:readonly", "docx:document"];
const WRITE: &[&str] = &["docx:document", "docx:document:write_only"];
const ALL: &[&str] = &["docx:document"];

pub(super) const ROUTES: &[Route] = &[
    route("GET /docx/v1/documents/{document_id}", READ, document),
    route("GET /docx/v1/documents/{document_id}/raw_content", READ, raw_content),
    route("GET /docx/v1/documents/{document_id}/blocks", READ, blocks),
    route("GET /docx/v1/documents/{document_id}/blocks/{block_id}", READ, block),
    route("GET /docx/v1/documents/{document_id}/blocks/{block_id}/children", READ, children),
    route("POST /docx/v1/documents", &["docx:document", "docx:document:create"], create),
    route("PATCH /docx/v1/documents/{document_id}/blocks/batch_update", WRITE, update_blocks),
    route("PATCH /docx/v1/documents/{document_id}/blocks/{block_id}", WRITE, update_block),
    route("POST /docx/v1/documents/{document_id}/blocks/{block_id}/children", WRITE, add_children),
    route("POST /docx/v1/documents/{document_id}/blocks/{block_id}/descendant", WRITE, add_children),
    route(
        "DELETE /docx/v1/documents/{document_id}/blocks/{block_id}/children/batch_delete",
        ALL,
        remove_children,
    ),
    route("GET /docs/v1/content", &["docs:document.content:read"], content),
    route("GET /doc/v2/{doc_token}/content", &["docs:document.content:read"], old_document),
    route("GET /doc/v2/{doc_token}/raw_content", &["docs:document.content:read"], old_document),
    route("GET /drive/v2/permissions/{token}/public", ALL, sharing),
    route("PATCH /drive/v2/permissions/{token}/public", ALL, share),
];

/// A document that the user may read.
fn readable(call: &Call<'_>, id: &str) -> Result<Node, Refusal> {
    let papers = call.office.papers();
    let node = papers.node(id).filter(|node| node.kind == Kind::Document);
    let node = node.ok_or_else(|| Refusal::new(404, 1_770_002, "not found"))?;
    if call.person.employee && node.readable_by(call.me()) {
        Ok(node.clone())
    } else {
        Err(Refusal::new(403, 1_770_032, "forbidden"))
    }
}

/// A document that the user may change.
fn writable(call: &Call<'_>) -> Result<Node, Refusal> {
    let node = readable(call, call.path.get("document_id"))?;
    if node.owner == call.me() { Ok(node) } else { Err(Refusal::new(403, 1_770_032, "forbidden")) }
}

fn document(call: &Call<'_>) -> Answer {
    let node = readable(call, call.path.get("document_id"))?;
    ok(json!({"document": {"document_id": node.id, "revision_id": node.revision, "title": node.title()}}))
}

fn raw_content(call: &Call<'_>) -> Answer {
    ok(json!({"content": readable(call, call.path.get("document_id"))?.text()}))
}

fn content(call: &Call<'_>) -> Answer {
    if call.query.get("doc_type") != Some("docx") || call.query.get("content_type") != Some("markdown") {
        return Err(Refusal::new(400, 2_889_904, "invalid param"));
    }
    let node = readable(call, call.query.get("doc_token").unwrap_or_default());
    let node = node.map_err(|refusal| match refusal.reply().status {
        403 => Refusal::new(403, 2_889_902, "no permission"),
        _ => Refusal::new(400, 2_889_914, "doc token not found"),
    })?;
    ok(json!({"content": node.text()}))
}

/// Documents of the former format do not exist here.
fn old_document(_call: &Call<'_>) -> Answer {
    Err(Refusal::new(400, 91402, "NOTEXIST"))
}

fn text(content: &str) -> Value {
    json!({"elements": [{"text_run": {"content": content, "text_element_style": {}}}], "style": {}})
}

/// The page block and one text block for each paragraph.
fn rendered(node: &Node) -> Vec<Value> {
    let ids: Vec<String> = (0..node.paragraphs.len()).map(|at| block_id(node, at)).collect();
    let page = json!({
        "block_id": node.id, "block_type": 1, "parent_id": "", "children": ids, "page": text(node.title()),
    });
    let paragraphs = ids.iter().zip(&node.paragraphs);
    let paragraphs = paragraphs.map(|(id, paragraph)| match paragraph.strip_prefix("![") {
        // A picture is a file of its own: whoever has its token and may read the document can fetch it.
        Some(_) => json!({
            "block_id": id, "block_type": 27, "parent_id": node.id, "image": {"token": media_token(node)},
        }),
        None => json!({"block_id": id, "block_type": 2, "parent_id": node.id, "text": text(paragraph)}),
    });
    std::iter::once(page).chain(paragraphs).collect()
}

/// The token of the picture in a document.
pub(super) fn media_token(node: &Node) -> String {
    mint("file", &format!("media/{}", node.id))
}

fn block_id(node: &Node, at: usize) -> String {
    mint("document", &format!("{}/{at}", node.id))
}

fn blocks(call: &Call<'_>) -> Answer {
    let node = readable(call, call.path.get("document_id"))?;
    call.list("items", rendered(&node), 500, 500)
}

fn block(call: &Call<'_>) -> Answer {
    let node = readable(call, call.path.get("document_id"))?;
    let wanted = call.path.get("block_id");
    let found = rendered(&node).into_iter().find(|block| block.get("block_id") == Some(&json!(wanted)));
    ok(json!({"block": found.ok_or_else(|| Refusal::new(404, 1_770_002, "not found"))?}))
}

fn children(call: &Call<'_>) -> Answer {
    let node = readable(call, call.path.get("document_id"))?;
    let parent = json!(call.path.get("block_id"));
    let items = rendered(&node).into_iter().filter(|block| block.get("parent_id") == Some(&parent)).collect();
    call.list("items", items, 500, 500)
}

fn create(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let title = body.get("title").and_then(Value::as_str).unwrap_or("Untitled");
    let mut papers = call.office.papers();
    let parent = match body.get("folder_token").and_then(Value::as_str).filter(|token| !token.is_empty()) {
        Some(token) => papers.node(token).filter(|n| n.kind == Kind::Folder && n.owner == call.me()),
        None => papers.root(call.me()),
    };
    let parent = parent.map(|node| node.id.clone());
    let parent = parent.ok_or_else(|| Refusal::new(403, 1_770_040, "no folder permission"))?;
    let id = call.office.id(&mut papers, "document");
    let mut node = Node::new(id.clone(), Kind::Document, title, call.me(), call.office.now());
    node.parent = Some(parent);
    papers.nodes.push(node);
    ok(json!({"document": {"document_id": id, "revision_id": 1, "title": title}}))
}

/// The text of a block in a request.
fn text_of(block: &Value) -> String {
    let kinds = ["text", "heading1", "heading2", "heading3", "bullet", "ordered", "todo", "quote"];
    let body = kinds.iter().find_map(|kind| block.get(kind)).or_else(|| block.get("update_text_elements"));
    let elements = body.and_then(|text| text.get("elements")).and_then(Value::as_array);
    let runs = elements.into_iter().flatten();
    runs.filter_map(|element| element.pointer("/text_run/content")?.as_str()).collect()
}

fn add_children(call: &Call<'_>) -> Answer {
    let node = writable(call)?;
    let body = call.body()?;
    let added = body.get("children").or_else(|| body.get("descendants")).and_then(Value::as_array);
    let added = added.filter(|list| !list.is_empty() && list.iter().all(Value::is_object));
    let added = added.ok_or_else(|| Refusal::new(400, 1_770_001, "invalid param"))?;
    let at = body.get("index").and_then(Value::as_i64).and_then(|at| usize::try_from(at).ok());
    let at = at.unwrap_or(node.paragraphs.len()).min(node.paragraphs.len());
    let changed = change(call, &node.id, |paragraphs| {
        paragraphs.splice(at..at, added.iter().map(text_of));
    })?;
    let made: Vec<Value> = rendered(&changed).into_iter().skip(1 + at).take(added.len()).collect();
    ok(json!({"children": made, "document_revision_id": changed.revision}))
}

fn update_block(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let changed = set_text(call, call.path.get("block_id"), &body)?;
    let wanted = json!(call.path.get("block_id"));
    let block = rendered(&changed).into_iter().find(|block| block.get("block_id") == Some(&wanted));
    ok(json!({"block": block, "document_revision_id": changed.revision}))
}

fn update_blocks(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let requests = body.get("requests").and_then(Value::as_array).filter(|list| !list.is_empty());
    let requests = requests.ok_or_else(|| Refusal::new(400, 1_770_001, "invalid param"))?;
    let mut revision = 0;
    for request in requests {
        let id = request.get("block_id").and_then(Value::as_str).unwrap_or_default();
        revision = set_text(call, id, request)?.revision;
    }
    let node = writable(call)?;
    ok(json!({"blocks": rendered(&node), "document_revision_id": revision}))
}

fn set_text(call: &Call<'_>, block: &str, request: &Value) -> Result<Node, Refusal> {
    let node = writable(call)?;
    if request.get("update_text_elements").is_none() {
        return Err(Refusal::new(400, 1_770_001, "invalid param"));
    }
    let at = (0..node.paragraphs.len()).find(|at| block_id(&node, *at) == block);
    let at = at.ok_or_else(|| Refusal::new(404, 1_770_002, "not found"))?;
    change(call, &node.id, |paragraphs| {
        if let Some(paragraph) = paragraphs.get_mut(at) {
            *paragraph = text_of(request);
        }
    })
}

fn remove_children(call: &Call<'_>) -> Answer {
    let node = writable(call)?;
    let body = call.body()?;
    let index = |name: &str| body.get(name).and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
    let range = index("start_index").zip(index("end_index"));
    let range = range.filter(|(start, end)| start < end && *end <= node.paragraphs.len());
    let (start, end) = range.ok_or_else(|| Refusal::new(400, 1_770_001, "invalid param"))?;
    let changed = change(call, &node.id, |paragraphs| {
        paragraphs.drain(start..end);
    })?;
    ok(json!({"document_revision_id": changed.revision}))
}

fn change(call: &Call<'_>, id: &str, edit: impl FnOnce(&mut Vec<String>)) -> Result<Node, Refusal> {
    let now = call.office.now();
    let mut papers = call.office.papers();
    let node = papers.node_mut(id).ok_or_else(|| Refusal::new(404, 1_770_002, "not found"))?;
    edit(&mut node.paragraphs);
    node.touch(now);
    Ok(node.clone())
}

fn sharing(call: &Call<'_>) -> Answer {
    let node = owned(call)?;
    ok(json!({"permission_public": public(&node)}))
}

fn share(call: &Call<'_>) -> Answer {
    let node = owned(call)?;
    let body = call.body()?;
    let whole_tenant = body.get("link_share_entity").and_then(Value::as_str);
    let colleagues: Vec<String> = call.desk.world(|w| w.employees().map(|p| p.email.clone()).collect());
    let now = call.office.now();
    let mut papers = call.office.papers();
    let node = papers.node_mut(&node.id).ok_or_else(|| Refusal::new(404, 1_063_005, "not found"))?;
    match whole_tenant {
        Some("tenant_readable" | "tenant_editable" | "anyone_readable" | "anyone_editable") => {
            node.readers = colleagues;
        }
        Some("closed") => node.readers.clear(),
        _ => {}
    }
    node.touch(now);
    let data = json!({"permission_public": public(node)});
    ok(data)
}

fn owned(call: &Call<'_>) -> Result<Node, Refusal> {
    let papers = call.office.papers();
    let node = papers.node(call.path.get("token")).filter(|node| node.owner == call.me()).cloned();
    node.ok_or_else(|| Refusal::new(403, 1_063_002, "Permission denied"))
}

fn public(node: &Node) -> Value {
    let link = if node.readers.is_empty() { "closed" } else { "tenant_readable" };
    json!({"link_share_entity": link, "share_entity": "same_tenant", "security_entity": "anyone_can_view"})
}
