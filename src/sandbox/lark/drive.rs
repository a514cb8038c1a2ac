//! The drive: folders, metadata, downloads, uploads, exports and search.

use serde_json::{Value, json};

use crate::sandbox::office::{Kind, Node, Papers, Place};
use crate::sandbox::wire::Reply;

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::{mint, open_id, user_id, wiki};

const LIST: &[&str] = &["space:document:retrieve", "drive:drive:readonly"];
const META: &[&str] = &["drive:drive.metadata:readonly"];
const STATISTICS: &[&str] = &["drive:drive.metadata:readonly", "drive:drive:readonly"];
const DOWNLOAD: &[&str] = &["drive:file:download", "drive:drive:readonly"];
const EXPORT: &[&str] = &["docs:document:export"];

pub(super) const ROUTES: &[Route] = &[
    route("GET /drive/v1/files", LIST, files),
    route("POST /drive/v1/metas/batch_query", META, metas),
    route("GET /drive/v1/files/{file_token}/statistics", STATISTICS, statistics),
    route("GET /drive/explorer/v2/root_folder/meta", META, root),
    route("GET /drive/explorer/v2/folder/{folderToken}/meta", META, folder),
    route("GET /drive/v1/files/{file_token}/download", DOWNLOAD, download),
    route("POST /drive/v1/files/create_folder", &["space:folder:create"], create_folder),
    route("POST /drive/v1/export_tasks", EXPORT, export),
    route("GET /drive/v1/export_tasks/{ticket}", EXPORT, exported),
    route("GET /drive/v1/export_tasks/file/{file_token}/download", EXPORT, exported_file),
    route("POST /drive/v1/files/{file_token}/copy", &["docs:document:copy", "drive:drive"], copy),
    route("POST /drive/v1/files/{file_token}/move", &["space:document:move", "drive:drive"], relocate),
    route("DELETE /drive/v1/files/{file_token}", &["space:document:delete", "drive:drive"], delete),
    route("GET /drive/v1/files/task_check", META, task),
    route("POST /search/v2/doc_wiki/search", &["search:docs:read"], search),
    route("POST /suite/docs-api/search/object", &["search:docs:read"], old_search),
];

fn forbidden() -> Refusal {
    Refusal::new(403, 1_061_004, "forbidden.")
}

fn not_found() -> Refusal {
    Refusal::new(404, 1_061_003, "not found.")
}

/// A node that the user may read.
pub(super) fn readable(call: &Call<'_>, token: &str) -> Result<Node, Refusal> {
    let papers = call.office.papers();
    let node = papers.node(token).ok_or_else(not_found)?;
    let may = call.person.employee && node.readable_by(call.me());
    if may { Ok(node.clone()) } else { Err(forbidden()) }
}

/// A folder of the user's own; without a token the root.
pub(super) fn folder_of(call: &Call<'_>, token: &str) -> Result<Node, Refusal> {
    if token.is_empty() {
        return call.office.papers().root(call.me()).cloned().ok_or_else(not_found);
    }
    let node = readable(call, token)?;
    if node.kind == Kind::Folder { Ok(node) } else { Err(not_found()) }
}

const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Folder => "folder",
        Kind::Document => "docx",
        Kind::File => "file",
        Kind::Sheet => "sheet",
        Kind::Base => "bitable",
        Kind::Shortcut => "shortcut",
    }
}

fn shown_name(node: &Node) -> &str {
    if node.kind == Kind::File || node.kind == Kind::Shortcut { &node.name } else { node.title() }
}

fn address(node: &Node) -> String {
    let part = match node.kind {
        Kind::Folder => "drive/folder",
        Kind::Document => "docx",
        Kind::File | Kind::Shortcut => "file",
        Kind::Sheet => "sheets",
        Kind::Base => "base",
    };
    format!("https://example.feishu.cn/{part}/{}", node.id)
}

fn files(call: &Call<'_>) -> Answer {
    let token = call.query.get("folder_token").unwrap_or_default();
    let folder = folder_of(call, token)?;
    let items: Vec<Value> = {
        let papers = call.office.papers();
        let entry = |node: &Node| {
            let mut entry = json!({
                "name": shown_name(node),
                "parent_token": node.parent,
                "token": node.id,
                "type": type_of(node.kind),
                "created_time": node.created.secs().to_string(),
                "modified_time": node.modified.secs().to_string(),
                "owner_id": open_id(&node.owner),
                "url": address(node),
            });
            let target = node.target.as_deref().and_then(|id| papers.node(id));
            if let (Some(target), Some(members)) = (target, entry.as_object_mut()) {
                let info = json!({"target_token": target.id, "target_type": type_of(target.kind)});
                members.insert("shortcut_info".to_owned(), info);
            }
            entry
        };
        papers.children(&folder.id).map(entry).collect()
    };
    if token.is_empty() {
        // The root is not paged.
        return ok(json!({"files": items, "has_more": false}));
    }
    let page = call.page(items, 200, 200)?;
    let mut data = json!({"files": page.items, "has_more": page.next.is_some()});
    if let (Some(next), Some(members)) = (page.next, data.as_object_mut()) {
        members.insert("next_page_token".to_owned(), json!(next));
    }
    ok(data)
}

fn metas(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let asked = body.get("request_docs").and_then(Value::as_array);
    let asked = asked.filter(|list| (1..=200).contains(&list.len()));
    let asked = asked.ok_or_else(|| Refusal::new(400, 1_069_702, "invalid param"))?;
    let with_url = body.get("with_url").and_then(Value::as_bool).unwrap_or_default();
    let (mut metas, mut failed) = (Vec::new(), Vec::new());
    for doc in asked {
        let token = doc.get("doc_token").and_then(Value::as_str).unwrap_or_default();
        match readable(call, token) {
            Ok(node) => {
                let mut meta = json!({
                    "doc_token": node.id,
                    "doc_type": type_of(node.kind),
                    "title": shown_name(&node),
                    "owner_id": open_id(&node.owner),
                    "create_time": node.created.secs().to_string(),
                    "latest_modify_user": open_id(&node.owner),
                    "latest_modify_time": node.modified.secs().to_string(),
                });
                if let (true, Some(members)) = (with_url, meta.as_object_mut()) {
                    members.insert("url".to_owned(), json!(address(&node)));
                }
                metas.push(meta);
            }
            Err(_) => failed.push(json!({"token": token, "code": 970_005})),
        }
    }
    ok(json!({"metas": metas, "failed_list": failed}))
}

fn statistics(call: &Call<'_>) -> Answer {
    let node = readable(call, call.path.get("file_token"))?;
    let statistics = json!({
        "uv": 2, "pv": 5, "like_count": 0, "timestamp": call.office.now().secs(),
        "uv_today": 1, "pv_today": 1, "like_count_today": 0,
    });
    ok(json!({"file_token": node.id, "file_type": type_of(node.kind), "statistics": statistics}))
}

fn number(text: &str) -> String {
    text.bytes()
        .fold(7_000_000_000_000_000_000u64, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(b)))
        .to_string()
}

fn root(call: &Call<'_>) -> Answer {
    let node = folder_of(call, "")?;
    ok(json!({"token": node.id, "id": number(&node.id), "user_id": number(&user_id(call.me()))}))
}

fn folder(call: &Call<'_>) -> Answer {
    let node = folder_of(call, call.path.get("folderToken"))?;
    let owner = number(&user_id(&node.owner));
    let parent = node.parent.as_deref().map_or_else(|| "0".to_owned(), number);
    ok(json!({
        "id": number(&node.id), "name": node.name, "token": node.id,
        "createUid": owner, "editUid": owner, "ownUid": owner, "parentId": parent,
    }))
}

fn download(call: &Call<'_>) -> Answer {
    let node = readable(call, call.path.get("file_token"))?;
    if node.kind != Kind::File {
        return Err(not_found());
    }
    let disposition = format!("attachment; filename=\"{}\"", node.name.replace('"', ""));
    Ok(Reply::bytes(200, "application/octet-stream", node.text()).with("content-disposition", &disposition))
}

fn create_folder(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let name = body.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::new(400, 1_061_002, "params error."))?;
    let parent = folder_of(call, body.get("folder_token").and_then(Value::as_str).unwrap_or_default())?;
    if parent.owner != call.me() {
        return Err(forbidden());
    }
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "folder");
    let mut node = Node::new(id.clone(), Kind::Folder, name, call.me(), call.office.now());
    node.parent = Some(parent.id);
    let url = address(&node);
    papers.nodes.push(node);
    ok(json!({"token": id, "url": url}))
}

/// What a request names, and the folder that it is to go to, both the user's to change.
fn source_and_folder(call: &Call<'_>) -> Result<(Node, Node), Refusal> {
    let body = call.body()?;
    let node = readable(call, call.path.get("file_token"))?;
    let folder = folder_of(call, body.get("folder_token").and_then(Value::as_str).unwrap_or_default())?;
    if folder.owner == call.me() { Ok((node, folder)) } else { Err(forbidden()) }
}

fn copy(call: &Call<'_>) -> Answer {
    let (node, folder) = source_and_folder(call)?;
    let body = call.body()?;
    let name = body.get("name").and_then(Value::as_str).unwrap_or(&node.name).to_owned();
    if node.kind == Kind::Folder {
        return Err(Refusal::new(400, 1_061_002, "params error."));
    }
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "document");
    let (owner, created) = (call.me().to_owned(), call.office.now());
    let parent = Some(folder.id);
    let made = Node { id, name, owner, parent, created, place: Place::Drive, readers: Vec::new(), ..node };
    let data = json!({"file": {"name": made.name, "parent_token": made.parent, "token": made.id, "type": type_of(made.kind), "url": address(&made)}});
    papers.nodes.push(made);
    ok(data)
}

fn relocate(call: &Call<'_>) -> Answer {
    let (node, folder) = source_and_folder(call)?;
    let mut papers = call.office.papers();
    if node.owner != call.me() || papers.lies_in(&folder.id, &node.id) {
        return Err(forbidden());
    }
    if let Some(node) = papers.node_mut(&node.id) {
        node.parent = Some(folder.id);
    }
    ok(json!({}))
}

fn delete(call: &Call<'_>) -> Answer {
    let node = readable(call, call.path.get("file_token"))?;
    if node.owner != call.me() || node.parent.is_none() {
        return Err(forbidden());
    }
    call.office.papers().remove(&node.id);
    ok(json!({}))
}

/// Exports are ready at once; their ticket is made of the document's token.
fn ticket(node: &Node) -> String {
    mint("ticket", &node.id)
}

fn export(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let node = readable(call, body.get("token").and_then(Value::as_str).unwrap_or_default())?;
    ok(json!({"ticket": ticket(&node)}))
}

fn exported(call: &Call<'_>) -> Answer {
    let node = readable(call, call.query.get("token").unwrap_or_default())?;
    if ticket(&node) != call.path.get("ticket") {
        return Err(not_found());
    }
    let result = json!({
        "file_extension": "docx", "type": type_of(node.kind), "file_name": node.title(),
        "file_token": mint("export", &node.id), "file_size": node.text().len(),
        "job_error_msg": "success", "job_status": 0,
    });
    ok(json!({"result": result}))
}

fn exported_file(call: &Call<'_>) -> Answer {
    let token = call.path.get("file_token");
    let found = call.office.papers().nodes.iter().find(|node| mint("export", &node.id) == token).cloned();
    let node = readable(call, &found.ok_or_else(not_found)?.id)?;
    Ok(Reply::bytes(200, "application/octet-stream", node.text()))
}

/// Whether a node hangs somewhere: parts of an upload do not yet.
fn listed(papers: &Papers, node: &Node) -> bool {
    node.parent.as_deref().is_none_or(|parent| papers.node(parent).is_some())
}

/// Nothing here takes long enough to become a task.
fn task(call: &Call<'_>) -> Answer {
    match call.query.filled("task_id") {
        Some(_) => Err(not_found()),
        None => Err(Refusal::new(400, 1_061_002, "params error.")),
    }
}

fn old_search(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let wanted = body.get("search_key").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let number = |name: &str| body.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let (count, offset) = (number("count").unwrap_or(50).min(50), number("offset").unwrap_or_default());
    let types = body.get("docs_types").and_then(Value::as_array).filter(|types| !types.is_empty());
    let papers = call.office.papers();
    let fits = |node: &&Node| {
        !matches!(node.kind, Kind::Folder | Kind::Shortcut)
            && listed(&papers, node)
            && call.person.employee
            && node.readable_by(call.me())
            && node.name.to_lowercase().contains(&wanted)
            && types.is_none_or(|types| types.contains(&json!(type_of(node.kind))))
    };
    let entity = |node: &Node| {
        json!({
            "docs_token": node.id, "docs_type": type_of(node.kind), "owner_id": open_id(&node.owner),
            "title": shown_name(node),
        })
    };
    let all: Vec<Value> = papers.nodes.iter().filter(fits).map(entity).collect();
    let total = all.len();
    let page: Vec<Value> = all.into_iter().skip(offset).take(count).collect();
    ok(json!({"has_more": offset + page.len() < total, "docs_entities": page, "total": total}))
}

fn search(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let wanted = body.get("query").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let list = |pointer: &str| -> Option<Vec<String>> {
        let list = body.pointer(pointer)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    };
    let folders = list("/doc_filter/folder_tokens");
    if folders.as_ref().is_some_and(|list| list.len() > 50) {
        return Err(Refusal::new(400, 99_992_402, "field validation failed: folder_tokens"));
    }
    let spaces = list("/wiki_filter/space_ids");
    let papers = call.office.papers();
    let fits = |node: &&Node| {
        let searched = !matches!(node.kind, Kind::Folder | Kind::Shortcut) && listed(&papers, node);
        let place = match node.place {
            Place::Drive => folders.as_ref().is_none_or(|f| f.iter().any(|f| papers.lies_in(&node.id, f))),
            Place::Wiki => spaces.as_ref().is_none_or(|s| s.iter().any(|space| space == wiki::SPACE)),
        };
        let text = format!("{}\n{}", node.name, node.text()).to_lowercase();
        searched && place && call.person.employee && node.readable_by(call.me()) && text.contains(&wanted)
    };
    let units: Vec<Value> = (papers.nodes.iter().filter(fits))
        .map(|node| {
            json!({
                "title_highlighted": shown_name(node),
                "summary_highlighted": node.paragraphs.first(),
                "entity_type": if node.place == Place::Wiki { "WIKI" } else { "DOC" },
                "result_meta": {
                    "doc_types": type_of(node.kind).to_uppercase(),
                    "update_time": node.modified.secs(),
                    "create_time": node.created.secs(),
                    "url": address(node),
                    "owner_id": open_id(&node.owner),
                    "is_cross_tenant": false,
                    "token": node.id,
                },
            })
        })
        .collect();
    let total = units.len();
    ok(json!({"total": total, "has_more": false, "res_units": units}))
}
