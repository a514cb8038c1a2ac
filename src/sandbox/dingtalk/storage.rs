//! The drive, for the app's token: the person is whoever stands in `unionId` or `operatorId`.

use serde_json::{Value, json};

use crate::sandbox::office::{Kind, Node, Office, Papers, Place};
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::Person;

use super::api::{Answer, Call, Refusal, Route, app, ok};
use super::{CORP, STORAGE, mint, union_id, user_id, uuid};

pub(super) const ROUTES: &[Route] = &[
    app("GET /v1.0/storage/spaces/{spaceId}", space),
    app("GET /v1.0/storage/spaces/{spaceId}/dentries", list),
    app("POST /v1.0/storage/spaces/{spaceId}/dentries/listAll", list_all),
    app("POST /v1.0/storage/spaces/{spaceId}/dentries/query", several),
    app("POST /v1.0/storage/spaces/{spaceId}/dentries/{dentryId}/query", one),
    app("GET /v1.0/storage/spaces/{spaceId}/dentries/{dentryId}/versions", versions),
    app("POST /v1.0/storage/spaces/{spaceId}/dentries/{dentryId}/downloadInfos/query", download),
    app("POST /v1.0/storage/spaces/{spaceId}/dentries/{parentId}/folders", create_folder),
    app("POST /v1.0/storage/spaces/{spaceId}/dentries/{dentryId}/rename", rename),
    app("POST /v1.0/storage/spaces/{spaceId}/dentries/{dentryId}/move", relocate),
    app("POST /v1.0/storage/spaces/{spaceId}/dentries/{dentryId}/copy", copy),
    app("DELETE /v1.0/storage/spaces/{spaceId}/dentries/{dentryId}", delete),
    app("POST /v2.0/storage/spaces/files/{dentryUuid}/uploadInfos/query", upload_address),
    app("POST /v2.0/storage/spaces/files/{dentryUuid}/commit", commit_upload),
    app("POST /v2.0/storage/dentries/search", search),
    app("POST /v2.0/storage/spaces/dentries/{dentryUuid}/permissions/query", permissions),
    app("POST /v2.0/storage/spaces/dentries/{dentryUuid}/permissions", permit),
    app("PUT /v2.0/storage/spaces/dentries/{dentryUuid}/permissions", permit),
    app("POST /v2.0/storage/spaces/dentries/{dentryUuid}/permissions/remove", forbid),
];

const NO_DENTRY: Refusal = Refusal::new(404, "dentryNotExist", "The dentry does not exist.");

/// Whose drive a space is.
fn owner_of_space(call: &Call<'_>) -> Result<Person, Refusal> {
    let id = call.path.get("spaceId");
    let owner = call.desk.world(|w| w.employees().find(|p| mint("space", &p.email) == id).cloned());
    owner.ok_or(Refusal::new(404, "spaceNotExist", "The space does not exist."))
}

/// A node of that space which the operator may read; `0` is the space's top folder.
fn readable(call: &Call<'_>, id: &str) -> Result<(Node, Person), Refusal> {
    let operator = call.operator("unionId")?;
    let owner = owner_of_space(call)?;
    let papers = call.office.papers();
    let node = if id == "0" { papers.root(&owner.email) } else { papers.node(id) };
    let node = node.filter(|n| n.place == Place::Drive && n.owner == owner.email).ok_or(NO_DENTRY)?;
    if node.readable_by(&operator.email) { Ok((node.clone(), operator)) } else { Err(Refusal::denied()) }
}

/// A node that the operator may change.
fn writable(call: &Call<'_>, id: &str) -> Result<Node, Refusal> {
    let (node, operator) = readable(call, id)?;
    if node.owner == operator.email { Ok(node) } else { Err(Refusal::denied()) }
}

/// A node as this API shows it.
fn dentry(papers: &Papers, node: &Node) -> Value {
    let parent = node.parent.as_deref().and_then(|id| papers.node(id));
    let parent = parent.filter(|parent| parent.parent.is_some());
    let (kind, extension) = match node.kind {
        Kind::Folder => ("FOLDER", ""),
        Kind::Document => ("FILE", "adoc"),
        Kind::Sheet => ("FILE", "axls"),
        Kind::Base => ("FILE", "able"),
        Kind::File | Kind::Shortcut => ("FILE", node.extension()),
    };
    json!({
        "id": node.id,
        "spaceId": mint("space", &node.owner),
        "parentId": parent.map_or("0", |parent| parent.id.as_str()),
        "type": kind,
        "name": name(node),
        "size": node.text().len(),
        "path": path(papers, node),
        "version": node.revision,
        "status": "NORMAL",
        "extension": extension,
        "creatorId": union_id(&node.owner),
        "modifierId": union_id(&node.owner),
        "createTime": node.created.rfc3339(),
        "modifiedTime": node.modified.rfc3339(),
        "uuid": uuid(&node.id),
    })
}

/// The name of a node: online documents go by an extension of this vendor's.
pub(super) fn name(node: &Node) -> String {
    match node.kind {
        Kind::Document => format!("{}.adoc", node.title()),
        Kind::Sheet => format!("{}.axls", node.title()),
        Kind::Base => format!("{}.able", node.title()),
        _ => node.name.clone(),
    }
}

fn path(papers: &Papers, node: &Node) -> String {
    let mut names = vec![name(node)];
    let mut parent = node.parent.as_deref().and_then(|id| papers.node(id));
    while let Some(folder) = parent.filter(|folder| folder.parent.is_some()) {
        names.push(folder.name.clone());
        parent = folder.parent.as_deref().and_then(|id| papers.node(id));
    }
    names.reverse();
    format!("/{}", names.join("/"))
}

fn space(call: &Call<'_>) -> Answer {
    let operator = call.operator("unionId")?;
    let owner = owner_of_space(call)?;
    if operator.email != owner.email {
        return Err(Refusal::denied());
    }
    let id = union_id(&owner.email);
    ok(json!({"space": {
        "id": call.path.get("spaceId"), "corpId": CORP, "creatorId": id, "ownerType": "USER", "ownerId": id,
        "modifierId": id, "usedQuota": 1024, "quota": 1_048_576, "status": "NORMAL", "name": "My files",
    }}))
}

/// What lies in a folder and may be read by the operator.
fn children(call: &Call<'_>, folder: &Node, operator: &Person, deep: bool) -> Vec<Value> {
    let papers = call.office.papers();
    let inside = |node: &&Node| {
        let here = node.parent.as_deref() == Some(folder.id.as_str());
        node.id != folder.id && if deep { papers.lies_in(&node.id, &folder.id) } else { here }
    };
    let shown = papers.nodes.iter().filter(inside).filter(|node| node.readable_by(&operator.email));
    shown.map(|node| dentry(&papers, node)).collect()
}

fn list(call: &Call<'_>) -> Answer {
    let parent = call.query.filled("parentId").unwrap_or("0");
    let (folder, operator) = readable(call, parent)?;
    if folder.kind != Kind::Folder {
        return Err(Refusal::parameter("parentId is no folder"));
    }
    call.list("dentries", children(call, &folder, &operator, false), 50)
}

/// Everything in the space, at any depth.
fn list_all(call: &Call<'_>) -> Answer {
    let (root, operator) = readable(call, "0")?;
    let body = call.body()?;
    let token = body.pointer("/option/nextToken").and_then(Value::as_str);
    let size = body.pointer("/option/maxResults").and_then(Value::as_u64).map(|size| size.to_string());
    call.paged("dentries", children(call, &root, &operator, true), 50, size.as_deref(), token)
}

fn one(call: &Call<'_>) -> Answer {
    let (node, _) = readable(call, call.path.get("dentryId"))?;
    ok(json!({"dentry": dentry(&call.office.papers(), &node)}))
}

fn several(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let ids = body.get("dentryIds").and_then(Value::as_array).filter(|ids| (1..=30).contains(&ids.len()));
    let ids = ids.ok_or(Refusal::parameter("dentryIds holds 1 to 30 ids"))?;
    call.operator("unionId")?;
    let mut items = Vec::new();
    for id in ids.iter().filter_map(Value::as_str) {
        let space = call.path.get("spaceId");
        items.push(match readable(call, id) {
            Ok((node, _)) => {
                let dentry = dentry(&call.office.papers(), &node);
                json!({"spaceId": space, "dentryId": id, "success": true, "dentry": dentry})
            }
            Err(refusal) => {
                json!({"spaceId": space, "dentryId": id, "success": false, "errorCode": refusal.code})
            }
        });
    }
    ok(json!({"resultItems": items}))
}

fn versions(call: &Call<'_>) -> Answer {
    let (node, _) = readable(call, call.path.get("dentryId"))?;
    let shown = dentry(&call.office.papers(), &node);
    call.list("dentries", vec![shown], 50)
}

/// Where to fetch the bytes: at the vendor's object store, which is not part of this API.
fn download(call: &Call<'_>) -> Answer {
    let (node, _) = readable(call, call.path.get("dentryId"))?;
    if node.kind != Kind::File {
        return Err(Refusal::parameter("only uploaded files can be downloaded"));
    }
    let resource = format!("https://{STORAGE}/{}", uuid(&node.id));
    ok(json!({"protocol": "HEADER_SIGNATURE", "headerSignatureInfo": {
        "resourceUrls": [resource],
        "headers": {"x-oss-date": "Thu, 01 Jan 2026 00:00:00 GMT", "Authorization": signature(&node)},
        "expirationSeconds": 900, "region": "ZHANGJIAKOU",
    }}))
}

fn signature(node: &Node) -> String {
    format!("OSS sandbox:{}", mint("oss", &node.id))
}

/// Answers at the object store whoever shows the headers that were given out: no token.
pub(super) fn stored(office: &Office, request: &Request) -> Reply {
    let key = request.path.trim_start_matches('/');
    let papers = office.papers();
    let node = papers.nodes.iter().find(|node| uuid(&node.id) == key);
    match node.filter(|node| request.header("authorization") == Some(signature(node).as_str())) {
        Some(node) => Reply::bytes(200, "application/octet-stream", node.text()),
        None => Reply::bytes(403, "application/xml", "<Error><Code>AccessDenied</Code></Error>"),
    }
}

/// Where to put the bytes of a new file, and the key under which to name it afterwards.
fn upload_address(call: &Call<'_>) -> Answer {
    let operator = call.operator("unionId")?;
    let folder = call.node_by_uuid(call.path.get("dentryUuid"), &operator)?;
    if folder.owner != operator.email {
        return Err(Refusal::denied());
    }
    let resource = format!("https://{STORAGE}/upload/{}", mint("upload", &folder.id));
    ok(
        json!({"uploadKey": mint("upload", &folder.id), "protocol": "HEADER_SIGNATURE", "headerSignatureInfo": {
            "resourceUrls": [resource], "headers": {}, "expirationSeconds": 900, "region": "ZHANGJIAKOU",
        }}),
    )
}

fn commit_upload(call: &Call<'_>) -> Answer {
    let operator = call.operator("unionId")?;
    let folder = call.node_by_uuid(call.path.get("dentryUuid"), &operator)?;
    let body = call.body()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (key, name) = text("uploadKey").zip(text("name")).ok_or(Refusal::parameter("uploadKey and name"))?;
    if folder.owner != operator.email || key != mint("upload", &folder.id) {
        return Err(Refusal::denied());
    }
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "file");
    let mut node = Node::new(id, Kind::File, name, &operator.email, call.office.now());
    node.parent = Some(folder.id);
    papers.nodes.push(node.clone());
    ok(json!({"dentry": dentry(&papers, &node)}))
}

fn create_folder(call: &Call<'_>) -> Answer {
    let parent = writable(call, call.path.get("parentId"))?;
    let body = call.body()?;
    let name =
        body.get("name").and_then(Value::as_str).filter(|name| !name.is_empty() && !name.contains('/'));
    let name = name.ok_or(Refusal::parameter("name is needed"))?;
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "folder");
    let mut node = Node::new(id, Kind::Folder, name, &parent.owner, call.office.now());
    node.parent = Some(parent.id);
    papers.nodes.push(node.clone());
    ok(json!({"dentry": dentry(&papers, &node)}))
}

fn change(call: &Call<'_>, id: &str, edit: impl FnOnce(&mut Node)) -> Answer {
    let now = call.office.now();
    let mut papers = call.office.papers();
    let node = papers.node_mut(id).ok_or(NO_DENTRY)?;
    edit(node);
    node.touch(now);
    let node = node.clone();
    ok(json!({"dentry": dentry(&papers, &node)}))
}

fn rename(call: &Call<'_>) -> Answer {
    let node = writable(call, call.path.get("dentryId"))?;
    let body = call.body()?;
    let name = body.get("newName").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or(Refusal::parameter("newName is needed"))?;
    change(call, &node.id, |node| name.clone_into(&mut node.name))
}

/// The folder, in the same space, that a request moves or copies to.
fn target(call: &Call<'_>) -> Result<Node, Refusal> {
    let body = call.body()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("targetSpaceId") != call.path.get("spaceId") {
        return Err(Refusal::parameter("targetSpaceId must be the same space"));
    }
    writable(call, text("targetFolderId"))
}

fn copy(call: &Call<'_>) -> Answer {
    let (node, _) = readable(call, call.path.get("dentryId"))?;
    let folder = target(call)?;
    if node.kind == Kind::Folder || folder.kind != Kind::Folder {
        return Err(Refusal::parameter("only files are copied here, into folders"));
    }
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "file");
    let (owner, created) = (folder.owner, call.office.now());
    let made = Node { id, parent: Some(folder.id), owner, readers: Vec::new(), created, ..node };
    papers.nodes.push(made.clone());
    ok(json!({"dentry": dentry(&papers, &made)}))
}

fn relocate(call: &Call<'_>) -> Answer {
    let node = writable(call, call.path.get("dentryId"))?;
    let folder = target(call)?;
    if folder.kind != Kind::Folder || call.office.papers().lies_in(&folder.id, &node.id) {
        return Err(Refusal::parameter("targetFolderId is no folder outside of what moves"));
    }
    change(call, &node.id, |node| node.parent = Some(folder.id))
}

fn delete(call: &Call<'_>) -> Answer {
    let node = writable(call, call.path.get("dentryId"))?;
    if node.parent.is_none() {
        return Err(Refusal::parameter("the top folder stays"));
    }
    call.office.papers().remove(&node.id);
    ok(json!({"async": false}))
}

fn search(call: &Call<'_>) -> Answer {
    let operator = call.operator("operatorId")?;
    let body = call.body()?;
    let keyword = body.get("keyword").and_then(Value::as_str).filter(|keyword| !keyword.is_empty());
    let keyword = keyword.ok_or(Refusal::parameter("keyword is needed"))?.to_lowercase();
    let items = {
        let papers = call.office.papers();
        let fits = |node: &&Node| {
            node.parent.is_some()
                && node.readable_by(&operator.email)
                && format!("{}\n{}", node.name, node.text()).to_lowercase().contains(&keyword)
        };
        let shown = |node: &Node| {
            let owner = call.desk.person(&node.owner);
            let by = json!({"userId": owner.as_ref().map(user_id), "name": owner.map(|owner| owner.name_zh)});
            json!({"dentryUuid": uuid(&node.id), "name": name(node), "creator": by, "modifier": by})
        };
        papers.nodes.iter().filter(fits).map(shown).collect()
    };
    let token = body.pointer("/option/nextToken").and_then(Value::as_str);
    call.paged("items", items, 20, None, token)
}

/// A node by its UUID that the operator may share.
fn shareable(call: &Call<'_>) -> Result<Node, Refusal> {
    let operator = call.operator("unionId").or_else(|_| call.operator("operatorId"))?;
    let node = call.node_by_uuid(call.path.get("dentryUuid"), &operator)?;
    if node.owner == operator.email { Ok(node) } else { Err(Refusal::denied()) }
}

fn permissions(call: &Call<'_>) -> Answer {
    let node = shareable(call)?;
    let role = |email: &String, role: &str| json!({"dentryUuid": uuid(&node.id), "role": {"id": role}, "member": {"type": "USER", "id": union_id(email)}});
    let mut permissions = vec![role(&node.owner, "OWNER")];
    permissions.extend(node.readers.iter().map(|reader| role(reader, "READER")));
    ok(json!({"permissions": permissions}))
}

fn members(call: &Call<'_>) -> Result<Vec<String>, Refusal> {
    let body = call.body()?;
    let invalid = Refusal::parameter("members is a list of people");
    let list =
        body.get("members").and_then(Value::as_array).filter(|list| !list.is_empty()).ok_or(invalid)?;
    let person = |member: &Value| Some(super::employee(call.desk, member.get("id")?.as_str()?)?.email);
    list.iter().map(person).collect::<Option<Vec<String>>>().ok_or(invalid)
}

fn permit(call: &Call<'_>) -> Answer {
    let (node, members) = (shareable(call)?, members(call)?);
    change(call, &node.id, |node| node.readers.extend(members))?;
    ok(json!({"success": true}))
}

fn forbid(call: &Call<'_>) -> Answer {
    let (node, members) = (shareable(call)?, members(call)?);
    change(call, &node.id, |node| node.readers.retain(|reader| !members.contains(reader)))?;
    ok(json!({"success": true}))
}
