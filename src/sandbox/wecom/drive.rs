//! Drive spaces that the app made.

use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::sandbox::office::{Kind, Node, Office, Papers};
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::content::BEYOND_TREE;
use crate::sandbox::world::in_2026;

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::{STORAGE, mint};

pub(super) const ROUTES: &[Route] = &[
    route("POST /wedrive/space_create", create_space),
    route("POST /wedrive/space_info", space),
    route("POST /wedrive/file_list", files),
    route("POST /wedrive/file_info", file),
    route("POST /wedrive/file_download", download),
    route("POST /wedrive/file_upload", upload),
    route("POST /wedrive/file_move", relocate),
];

/// The spaces that the app made before, with folders and files.
pub(super) fn seed(office: &Office) {
    let at = Timestamp::from_secs(in_2026(10, 5, 9, 0));
    let node = |sort: &str, kind: Kind, name: &str, parent: Option<&str>, text: &str| {
        let mut node = Node::new(mint(sort, name), kind, name, "", at);
        node.parent = parent.map(str::to_owned);
        node.paragraphs = text.lines().map(str::to_owned).collect();
        node
    };
    let space = node("space", Kind::Folder, "Team files", None, "");
    let folder = node("folder", Kind::Folder, "Invoices", Some(&space.id), "");
    let invoice =
        node("file", Kind::File, "invoice-1107.txt", Some(&folder.id), "Invoice 2026-1107\nTotal: 4200");
    let paid = node("folder", Kind::Folder, "Paid", Some(&folder.id), "");
    let receipt = node("file", Kind::File, "receipt.txt", Some(&paid.id), "Receipt 2026-0609");
    let beyond = |text: &str| format!("{text}\n{BEYOND_TREE}");
    let notes = node("file", Kind::File, "notes.txt", Some(&space.id), &beyond("Notes of the team"));
    let salaries = node("folder", Kind::Folder, "Salaries", Some(&space.id), "");
    let list = node("file", Kind::File, "salaries.txt", Some(&salaries.id), &beyond("Salaries of the team"));
    let board = node("space", Kind::Folder, "Board", None, "");
    let minutes = node("file", Kind::File, "board.txt", Some(&board.id), &beyond("Minutes of the board"));
    let made = [space, folder, invoice, paid, receipt, notes, salaries, list, board, minutes];
    office.papers().nodes.extend(made);
}

/// A space of the app's.
fn known_space(papers: &Papers, id: &str) -> Result<Node, Refusal> {
    let space = papers.node(id).filter(|node| node.kind == Kind::Folder && node.parent.is_none());
    space.cloned().ok_or(Refusal::parameter())
}

/// The space that a node lies in.
fn space_of(papers: &Papers, node: &Node) -> String {
    let mut at = node;
    while let Some(parent) = at.parent.as_deref().and_then(|id| papers.node(id)) {
        at = parent;
    }
    at.id.clone()
}

fn shown(papers: &Papers, node: &Node) -> Value {
    json!({
        "fileid": node.id, "file_name": node.name, "spaceid": space_of(papers, node), "fatherid": node.parent,
        "file_size": node.text().len(), "ctime": node.created.secs(), "mtime": node.modified.secs(),
        "file_type": if node.kind == Kind::Folder { 1 } else { 2 }, "file_status": 1,
    })
}

fn create_space(call: &Call<'_>) -> Answer {
    let name = call.text("/space_name")?;
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "space");
    papers.nodes.push(Node::new(id.clone(), Kind::Folder, name, "", call.office.now()));
    ok(json!({"spaceid": id}))
}

fn space(call: &Call<'_>) -> Answer {
    let space = known_space(&call.office.papers(), call.text("/spaceid")?)?;
    ok(json!({"space_info": {
        "spaceid": space.id, "space_name": space.name, "auth_list": {"auth_info": [], "quit_userid": []},
    }}))
}

fn files(call: &Call<'_>) -> Answer {
    let papers = call.office.papers();
    let space = known_space(&papers, call.text("/spaceid")?)?;
    let father = call.text("/fatherid")?;
    if !papers.lies_in(father, &space.id) {
        return Err(Refusal::parameter());
    }
    let number = |name: &str| call.number(name).and_then(|n| usize::try_from(n).ok());
    let start = number("/start").unwrap_or_default();
    let limit = number("/limit").filter(|limit| (1..=1000).contains(limit)).ok_or(Refusal::parameter())?;
    let all: Vec<Value> = papers.children(father).map(|node| shown(&papers, node)).collect();
    let has_more = all.len() > start + limit;
    let items: Vec<Value> = all.into_iter().skip(start).take(limit).collect();
    let next = start + items.len();
    ok(json!({"has_more": has_more, "next_start": next, "file_list": {"item": items}}))
}

fn known_file(papers: &Papers, id: &str) -> Result<Node, Refusal> {
    papers.node(id).filter(|node| node.parent.is_some()).cloned().ok_or(Refusal::parameter())
}

fn file(call: &Call<'_>) -> Answer {
    let papers = call.office.papers();
    let node = known_file(&papers, call.text("/fileid")?)?;
    ok(json!({"file_info": shown(&papers, &node)}))
}

/// Where to fetch the bytes, which is not part of this API.
fn download(call: &Call<'_>) -> Answer {
    let node = known_file(&call.office.papers(), call.text("/fileid")?)?;
    if node.kind != Kind::File {
        return Err(Refusal::parameter());
    }
    let url = format!("https://{STORAGE}/download/{}", mint("download", &node.id));
    ok(json!({"download_url": url, "cookie_name": "ticket", "cookie_value": mint("cookie", &node.id)}))
}

/// Answers at the download host whoever shows the cookie that was given out.
pub(super) fn stored(office: &Office, request: &Request) -> Reply {
    let key = request.path.trim_start_matches("/download/");
    let papers = office.papers();
    let node = papers.nodes.iter().find(|node| mint("download", &node.id) == key);
    match node.filter(|node| request.cookie("ticket") == Some(mint("cookie", &node.id).as_str())) {
        Some(node) => Reply::bytes(200, "application/octet-stream", node.text()),
        None => Reply::bytes(403, "text/plain", "403 Forbidden"),
    }
}

fn upload(call: &Call<'_>) -> Answer {
    let content = encode::from_base64(call.text("/file_base64_content")?).ok_or(Refusal::parameter())?;
    let (space, father) = (call.text("/spaceid")?, call.text("/fatherid")?);
    let name = call.text("/file_name")?;
    let mut papers = call.office.papers();
    known_space(&papers, space)?;
    let folder = papers.node(father).filter(|node| node.kind == Kind::Folder);
    if folder.is_none() || !papers.lies_in(father, space) {
        return Err(Refusal::parameter());
    }
    let id = call.office.id(&mut papers, "file");
    let mut node = Node::new(id.clone(), Kind::File, name, "", call.office.now());
    node.parent = Some(father.to_owned());
    node.paragraphs = String::from_utf8_lossy(&content).lines().map(str::to_owned).collect();
    papers.nodes.push(node);
    ok(json!({"fileid": id}))
}

fn relocate(call: &Call<'_>) -> Answer {
    let ids = call.texts("/fileid")?;
    let father = call.text("/fatherid")?;
    let mut papers = call.office.papers();
    let into = papers.node(father).filter(|node| node.kind == Kind::Folder).is_some();
    let free = ids.iter().all(|id| known_file(&papers, id).is_ok() && !papers.lies_in(father, id));
    if !into || !free {
        return Err(Refusal::parameter());
    }
    for id in &ids {
        if let Some(node) = papers.node_mut(id) {
            node.parent = Some(father.to_owned());
        }
    }
    let moved = papers.nodes.iter().filter(|node| ids.contains(&node.id.as_str()));
    let items: Vec<Value> = moved.map(|node| shown(&papers, node)).collect();
    ok(json!({"file_list": {"item": items}}))
}
