//! The wiki and documents, for the app's token; two routes take the user's own.

use serde_json::{Value, json};

use crate::sandbox::office::{Kind, Node, Papers, Place};
use crate::sandbox::world::Person;

use super::api::{Answer, Call, Refusal, Route, app, ok, user};
use super::{CORP, mint, storage, union_id, user_id, uuid};

pub(super) const ROUTES: &[Route] = &[
    app("GET /v2.0/wiki/workspaces", workspaces),
    app("GET /v2.0/wiki/workspaces/{workspaceId}", workspace),
    app("POST /v2.0/wiki/workspaces/batchQuery", several_workspaces),
    app("GET /v2.0/wiki/mineWorkspaces", own_workspace),
    app("GET /v2.0/wiki/nodes", nodes),
    app("GET /v2.0/wiki/nodes/{nodeId}", node),
    app("POST /v2.0/wiki/nodes/queryByUrl", node_by_url),
    app("POST /v2.0/wiki/nodes/batchQuery", several_nodes),
    app("POST /v1.0/doc/workspaces/{workspaceId}/docs", create),
    app("DELETE /v1.0/doc/workspaces/{workspaceId}/docs/{nodeId}", delete),
    app("GET /v2.0/doc/dentries/{dentryId}/queryDentryUuid", to_uuid),
    app("GET /v2.0/doc/dentries/{dentryUuid}/queryDentryId", from_uuid),
    app("GET /v1.0/doc/suites/documents/{docKey}/blocks", blocks),
    app("POST /v1.0/doc/suites/documents/{docKey}/blocks", add_block),
    app("PUT /v1.0/doc/suites/documents/{docKey}/blocks/{blockId}", update_block),
    app("DELETE /v1.0/doc/suites/documents/{docKey}/blocks/{blockId}", remove_block),
    app("POST /v1.0/doc/suites/documents/{docKey}/overwriteContent", overwrite),
    user("POST /v2.0/doc/me/suites/documents/{docKey}/overwriteContent", overwrite_own),
    user("POST /v2.0/doc/dentries/copy", copy),
];

/// The wiki that everybody in the company reads, and each person's own documents.
#[derive(Clone, Copy)]
enum Space<'a> {
    Company,
    Of(&'a Person),
}

impl Space<'_> {
    fn id(self) -> String {
        match self {
            Self::Company => mint("workspace", "company"),
            Self::Of(person) => mint("workspace", &person.email),
        }
    }

    fn shown(self, papers: &Papers) -> Value {
        let (root, name) = match self {
            Self::Company => (papers.wiki(), "Company handbook"),
            Self::Of(person) => (papers.root(&person.email), "My documents"),
        };
        let id = self.id();
        json!({
            "workspaceId": id, "corpId": CORP, "rootNodeId": root.map(|root| uuid(&root.id)), "name": name,
            "type": if matches!(self, Self::Company) { "TEAM" } else { "PERSONAL" }, "description": "",
            "url": format!("https://alidocs.dingtalk.com/i/spaces/{id}/overview"), "permissionRole": "READER",
        })
    }
}

fn spaces_of(operator: &Person) -> [Space<'_>; 2] {
    [Space::Company, Space::Of(operator)]
}

fn workspaces(call: &Call<'_>) -> Answer {
    call.operator("operatorId")?;
    let shown = Space::Company.shown(&call.office.papers());
    call.list("workspaces", vec![shown], 30)
}

fn workspace(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let found = spaces_of(&operator).into_iter().find(|space| space.id() == call.path.get("workspaceId"));
    let found = found.ok_or(Refusal::new(404, "workspaceNotExist", "The workspace does not exist."))?;
    ok(json!({"workspace": found.shown(&call.office.papers())}))
}

fn several_workspaces(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let body = call.body()?;
    let ids = body.get("workspaceIds").and_then(Value::as_array).ok_or(Refusal::parameter("workspaceIds"))?;
    let papers = call.office.papers();
    let found = spaces_of(&operator).into_iter().filter(|space| ids.contains(&json!(space.id())));
    ok(json!({"workspaces": found.map(|space| space.shown(&papers)).collect::<Vec<_>>()}))
}

fn own_workspace(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    ok(json!({"workspace": Space::Of(&operator).shown(&call.office.papers())}))
}

/// A node as the wiki shows it.
fn shown(call: &Call<'_>, papers: &Papers, node: &Node) -> Value {
    let owner = call.desk.person(&node.owner);
    let space = match (&owner, node.place) {
        (Some(owner), Place::Drive) => Space::Of(owner).id(),
        _ => Space::Company.id(),
    };
    let (kind, category, extension) = match node.kind {
        Kind::Folder => ("FOLDER", "OTHER", ""),
        Kind::Document => ("FILE", "ALIDOC", "adoc"),
        Kind::Sheet => ("FILE", "ALIDOC", "axls"),
        Kind::Base => ("FILE", "ALIDOC", "able"),
        Kind::File | Kind::Shortcut => ("FILE", "OTHER", node.extension()),
    };
    let id = uuid(&node.id);
    json!({
        "nodeId": id, "workspaceId": space, "name": storage::name(node), "size": node.text().len(), "type": kind,
        "category": category, "extension": extension, "url": address(&id),
        "creatorId": owner.as_ref().map(user_id), "modifierId": owner.as_ref().map(user_id),
        "createTime": node.created.rfc3339(), "modifiedTime": node.modified.rfc3339(),
        "hasChildren": papers.children(&node.id).next().is_some(),
    })
}

fn address(id: &str) -> String {
    format!("https://alidocs.dingtalk.com/i/nodes/{id}")
}

fn nodes(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let parent = call.query.filled("parentNodeId").ok_or(Refusal::parameter("parentNodeId is needed"))?;
    let parent = call.node_by_uuid(parent, &operator)?;
    let items = {
        let papers = call.office.papers();
        let below = papers.children(&parent.id).filter(|node| node.readable_by(&operator.email));
        below.map(|node| shown(call, &papers, node)).collect()
    };
    call.list("nodes", items, 50)
}

fn answer_node(call: &Call<'_>, id: &str) -> Answer {
    let operator = call.operator("operatorId")?;
    let node = call.node_by_uuid(id, &operator)?;
    ok(json!({"node": shown(call, &call.office.papers(), &node)}))
}

fn node(call: &Call<'_>) -> Answer {
    answer_node(call, call.path.get("nodeId"))
}

fn node_by_url(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let url = body.get("url").and_then(Value::as_str).unwrap_or_default();
    let id = url.strip_prefix("https://alidocs.dingtalk.com/i/nodes/");
    let id = id.ok_or(Refusal::parameter("url is no link to a node"))?;
    answer_node(call, id.split(['?', '#', '/']).next().unwrap_or_default())
}

fn several_nodes(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let body = call.body()?;
    let ids = body.get("nodeIds").and_then(Value::as_array).ok_or(Refusal::parameter("nodeIds is needed"))?;
    let mut found = Vec::new();
    for id in ids.iter().filter_map(Value::as_str) {
        if let Ok(node) = call.node_by_uuid(id, &operator) {
            found.push(shown(call, &call.office.papers(), &node));
        }
    }
    ok(json!({"nodes": found}))
}

/// A new document; here the body says for whom.
fn create(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let operator =
        text("operatorId").and_then(|id| super::employee(call.desk, id)).ok_or(Refusal::denied())?;
    let (name, kind) = text("name").zip(text("docType")).ok_or(Refusal::parameter("name and docType"))?;
    let (sort, kind) = match kind {
        "DOC" => ("document", Kind::Document),
        "WORKBOOK" => ("sheet", Kind::Sheet),
        _ => return Err(Refusal::parameter("docType is unknown")),
    };
    let workspace = call.path.get("workspaceId");
    let space = spaces_of(&operator).into_iter().find(|space| space.id() == workspace);
    let space = space.ok_or(Refusal::new(404, "workspaceNotExist", "The workspace does not exist."))?;
    let parent = match text("parentNodeId") {
        Some(id) => call.node_by_uuid(id, &operator)?,
        None => {
            let papers = call.office.papers();
            let root =
                if matches!(space, Space::Company) { papers.wiki() } else { papers.root(&operator.email) };
            root.cloned().ok_or(Refusal::denied())?
        }
    };
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, sort);
    let mut node = Node::new(id, kind, name, &operator.email, call.office.now());
    node.place = parent.place;
    node.parent = Some(parent.id);
    let key = uuid(&node.id);
    papers.nodes.push(node);
    ok(json!({"workspaceId": workspace, "nodeId": key, "docKey": key, "url": address(&key)}))
}

fn delete(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let node = call.node_by_uuid(call.path.get("nodeId"), &operator)?;
    if node.owner != operator.email || node.parent.is_none() {
        return Err(Refusal::denied());
    }
    call.office.papers().remove(&node.id);
    ok(json!({}))
}

fn ids(node: &Node) -> Value {
    json!({"dentryUuid": uuid(&node.id), "dentryId": node.id, "spaceId": mint("space", &node.owner)})
}

fn to_uuid(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let node = call.node_by_uuid(&uuid(call.path.get("dentryId")), &operator)?;
    if call.query.get("spaceId") == Some(mint("space", &node.owner).as_str()) {
        ok(ids(&node))
    } else {
        Err(Refusal::parameter("spaceId is not that of the dentry"))
    }
}

fn from_uuid(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    ok(ids(&call.node_by_uuid(call.path.get("dentryUuid"), &operator)?))
}

/// A document by its key that somebody may read.
fn document(call: &Call<'_>, reader: &Person) -> Result<Node, Refusal> {
    let node = call.node_by_uuid(call.path.get("docKey"), reader)?;
    if node.kind == Kind::Document {
        Ok(node)
    } else {
        Err(Refusal::new(400, "invalidRequest.inputArgs.invalid", "The docKey is that of no document."))
    }
}

fn block_id(node: &Node, at: usize) -> String {
    mint("block", &format!("{}/{at}", node.id))
}

fn blocks(call: &Call<'_>) -> Answer {
    let node = document(call, &call.operator("operatorId")?)?;
    let bound = |name: &str, usual: usize| match call.query.filled(name).map(str::parse::<usize>) {
        None => Ok(usual),
        Some(Ok(at)) => Ok(at),
        Some(Err(_)) => Err(Refusal::parameter("an index is no number")),
    };
    let (start, end) = (bound("startIndex", 0)?, bound("endIndex", usize::MAX)?);
    let data: Vec<Value> = (node.paragraphs.iter().enumerate())
        .filter(|(at, _)| (start..=end).contains(at))
        .map(|(at, text)| {
            json!({
                "blockType": "paragraph", "paragraph": {"text": text}, "id": block_id(&node, at), "index": at,
            })
        })
        .collect();
    ok(json!({"success": true, "result": {"data": data}}))
}

/// The text of the one block that a request carries.
fn block_text(call: &Call<'_>) -> Result<String, Refusal> {
    let body = call.body()?;
    let element = body.get("element").unwrap_or(&body);
    let text = element.pointer("/paragraph/text").or_else(|| element.pointer("/heading/text"));
    let text = text.and_then(Value::as_str).map(str::to_owned);
    text.ok_or(Refusal::new(400, "invalidRequest.inputArgs.invalid", "The block has no text."))
}

fn add_block(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let (node, text) = (document(call, &operator)?, block_text(call)?);
    let changed = call.change(&node.id, &operator, |node| node.paragraphs.push(text))?;
    let at = changed.paragraphs.len().saturating_sub(1);
    ok(json!({"success": true, "result": {"id": block_id(&changed, at)}}))
}

/// The document and the paragraph that a block id names.
fn paragraph(call: &Call<'_>, operator: &Person) -> Result<(Node, usize), Refusal> {
    let node = document(call, operator)?;
    let id = call.path.get("blockId");
    let at = (0..node.paragraphs.len()).find(|at| block_id(&node, *at) == id);
    let at = at.ok_or(Refusal::new(404, "invalidRequest.resource.notFound", "The block does not exist."))?;
    Ok((node, at))
}

fn update_block(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let ((node, at), text) = (paragraph(call, &operator)?, block_text(call)?);
    call.change(&node.id, &operator, |node| {
        if let Some(paragraph) = node.paragraphs.get_mut(at) {
            *paragraph = text;
        }
    })?;
    ok(json!({"success": true}))
}

fn remove_block(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let (node, at) = paragraph(call, &operator)?;
    call.change(&node.id, &operator, |node| {
        node.paragraphs.remove(at);
    })?;
    ok(json!({"success": true}))
}

fn replace(call: &Call<'_>, by: &Person) -> Result<(), Refusal> {
    let node = document(call, by)?;
    let body = call.body()?;
    let content = body.get("content").and_then(Value::as_str);
    let content = content.filter(|_| body.get("dataType").is_none_or(|kind| kind == "markdown"));
    let content = content.ok_or(Refusal::parameter("content is needed, in markdown"))?;
    call.change(&node.id, by, |node| node.paragraphs = content.lines().map(str::to_owned).collect())?;
    Ok(())
}

fn overwrite(call: &Call<'_>) -> Answer {
    replace(call, &call.operator("operatorId")?)?;
    ok(json!({"success": true}))
}

fn overwrite_own(call: &Call<'_>) -> Answer {
    replace(call, call.user()?)?;
    ok(json!({"data": {"key": "success:true"}}))
}

/// Copies a document of the token's user into that user's top folder.
fn copy(call: &Call<'_>) -> Answer {
    let me = call.user()?;
    let body = call.body()?;
    let source = body.get("dentryUuid").or_else(|| body.get("sourceDentryUuid")).and_then(Value::as_str);
    let node = call.node_by_uuid(source.ok_or(Refusal::parameter("dentryUuid is needed"))?, me)?;
    let mut papers = call.office.papers();
    let root = papers.root(&me.email).map(|root| root.id.clone()).ok_or(Refusal::denied())?;
    let id = call.office.id(&mut papers, "document");
    let mut made = Node::new(id, node.kind, &node.name, &me.email, call.office.now());
    made.parent = Some(root);
    made.paragraphs = node.paragraphs;
    made.rows = node.rows;
    let uuid = uuid(&made.id);
    papers.nodes.push(made);
    ok(json!({"dentryUuid": uuid, "creatorId": union_id(&me.email)}))
}
