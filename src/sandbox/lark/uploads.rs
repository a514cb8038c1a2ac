//! Uploads, whole or in parts.

use serde_json::{Value, json};

use crate::kernel::encode;
use crate::sandbox::office::{Kind, Node};

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::{drive, mint};

const UPLOAD: &[&str] = &["drive:file:upload"];
/// The size of every part but the last.
const BLOCK: usize = 4 * 1024 * 1024;

pub(super) const ROUTES: &[Route] = &[
    route("POST /drive/v1/files/upload_all", UPLOAD, whole),
    route("POST /drive/v1/files/upload_prepare", UPLOAD, prepare),
    route("POST /drive/v1/files/upload_part", UPLOAD, part),
    route("POST /drive/v1/files/upload_finish", UPLOAD, finish),
];

fn invalid() -> Refusal {
    Refusal::new(400, 1_061_002, "params error.")
}

/// The parts of a `multipart/form-data` body (RFC 7578): name and text.
fn multipart(call: &Call<'_>) -> Option<Vec<(String, String)>> {
    let header = call.request.header("content-type")?;
    let boundary = header.strip_prefix("multipart/form-data")?.split_once("boundary=")?.1.trim_matches('"');
    let body = String::from_utf8_lossy(&call.request.body);
    let read = |part: &str| {
        let (head, value) = part.split_once("\r\n\r\n")?;
        let name = head.split_once("name=\"")?.1.split('"').next()?;
        Some((name.to_owned(), value.strip_suffix("\r\n").unwrap_or(value).to_owned()))
    };
    Some(body.split(&format!("--{boundary}")).filter_map(read).collect())
}

fn find<'p>(parts: &'p [(String, String)], name: &str) -> Option<&'p str> {
    parts.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// A folder that the user may write to.
fn own_folder(call: &Call<'_>, token: &str) -> Result<Node, Refusal> {
    let folder = drive::folder_of(call, token)?;
    if folder.owner == call.me() { Ok(folder) } else { Err(Refusal::new(403, 1_061_004, "forbidden.")) }
}

fn enter(call: &Call<'_>, name: &str, parent: String, text: &str) -> Answer {
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "file");
    let mut node = Node::new(id.clone(), Kind::File, name, call.me(), call.office.now());
    node.parent = Some(parent);
    node.paragraphs = text.lines().map(str::to_owned).collect();
    papers.nodes.push(node);
    ok(json!({"file_token": id}))
}

fn whole(call: &Call<'_>) -> Answer {
    let parts = multipart(call).ok_or_else(invalid)?;
    let (name, file) = find(&parts, "file_name").zip(find(&parts, "file")).ok_or_else(invalid)?;
    let sized = find(&parts, "size") == Some(file.len().to_string().as_str());
    if find(&parts, "parent_type") != Some("explorer") || !sized {
        return Err(invalid());
    }
    let folder = own_folder(call, find(&parts, "parent_node").unwrap_or_default())?;
    enter(call, name, folder.id, file)
}

/// An upload's id carries what it is for, so that nothing has to be remembered until its parts come.
fn prepare(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let size = body.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
    let (name, size) = text("file_name").zip(size).ok_or_else(invalid)?;
    if text("parent_type") != Some("explorer") {
        return Err(invalid());
    }
    let folder = own_folder(call, text("parent_node").unwrap_or_default())?;
    let now = call.office.now().millis();
    let plan = json!({"name": name, "parent": folder.id, "size": size, "owner": call.me(), "at": now});
    let id = encode::base64url(plan.to_string().as_bytes());
    ok(json!({"upload_id": id, "block_size": BLOCK, "block_num": size.div_ceil(BLOCK).max(1)}))
}

/// What an upload's id says; it must be the user's own.
fn plan(call: &Call<'_>, id: &str) -> Result<Value, Refusal> {
    let plan: Option<Value> =
        encode::from_base64url(id).and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let plan = plan.ok_or_else(|| Refusal::new(400, 1_061_021, "upload id expire."))?;
    if plan.get("owner").and_then(Value::as_str) == Some(call.me()) {
        Ok(plan)
    } else {
        Err(Refusal::new(400, 1_062_007, "upload user not match."))
    }
}

/// Parts wait under a parent that is no folder, out of every listing.
fn waiting(upload: &str) -> String {
    mint("upload", upload)
}

fn part(call: &Call<'_>) -> Answer {
    let parts = multipart(call).ok_or_else(invalid)?;
    let id = find(&parts, "upload_id").ok_or_else(invalid)?;
    plan(call, id)?;
    let (seq, file) = find(&parts, "seq").zip(find(&parts, "file")).ok_or_else(invalid)?;
    let seq: usize = seq.parse().map_err(|_| invalid())?;
    let name = format!("{seq:08}");
    let mut papers = call.office.papers();
    let token = call.office.id(&mut papers, "part");
    let mut node = Node::new(token, Kind::File, &name, call.me(), call.office.now());
    node.parent = Some(waiting(id));
    node.paragraphs = vec![file.to_owned()];
    papers.nodes.push(node);
    ok(json!({}))
}

fn finish(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let id = body.get("upload_id").and_then(Value::as_str).ok_or_else(invalid)?;
    let plan = plan(call, id)?;
    let text = |name: &str| plan.get(name).and_then(Value::as_str).unwrap_or_default();
    let content = {
        let mut papers = call.office.papers();
        let parent = waiting(id);
        let mut parts: Vec<Node> = papers.children(&parent).cloned().collect();
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        papers.nodes.retain(|node| node.parent.as_deref() != Some(parent.as_str()));
        if body.get("block_num").and_then(Value::as_u64) != u64::try_from(parts.len()).ok() {
            return Err(invalid());
        }
        parts.into_iter().flat_map(|part| part.paragraphs).collect::<String>()
    };
    if plan.get("size").and_then(Value::as_u64) != u64::try_from(content.len()).ok() {
        return Err(invalid());
    }
    enter(call, text("name"), text("parent").to_owned(), &content)
}
