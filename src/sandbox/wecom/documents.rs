//! Documents that the app made.

use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::sandbox::office::{Kind, Node, Office, Papers};
use crate::sandbox::world::content::BEYOND_DOCUMENT;
use crate::sandbox::world::in_2026;

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::mint;

pub(super) const ROUTES: &[Route] = &[
    route("POST /wedoc/create_doc", create),
    route("POST /wedoc/get_doc_base_info", info),
    route("POST /wedoc/rename_doc", rename),
    route("POST /wedoc/del_doc", delete),
    route("POST /wedoc/doc_share", share),
    route("POST /wedoc/doc_get_auth", access),
    route("POST /wedoc/document/get", content),
    route("POST /wedoc/document/batch_update", update),
];

/// Two documents that the app made before.
pub(super) fn seed(office: &Office) {
    let at = Timestamp::from_secs(in_2026(10, 12, 9, 0));
    let mut node = Node::new(mint("document", "minutes"), Kind::Document, "Minutes", "", at);
    node.paragraphs = ["Minutes", "We agreed on the milestones."].map(str::to_owned).to_vec();
    let mut other = Node::new(mint("document", "severance"), Kind::Document, "Severance", "", at);
    other.paragraphs = ["Severance", "Three months each.", BEYOND_DOCUMENT].map(str::to_owned).to_vec();
    office.papers().nodes.extend([node, other]);
}

/// The document of a call: only what this app made can be named.
fn known(call: &Call<'_>, papers: &Papers) -> Result<Node, Refusal> {
    let id = call.text("/docid")?;
    let node = papers.node(id).filter(|node| matches!(node.kind, Kind::Document | Kind::Sheet));
    node.cloned().ok_or(Refusal::parameter())
}

fn address(node: &Node) -> String {
    format!("https://doc.weixin.qq.com/doc/{}", node.id)
}

fn create(call: &Call<'_>) -> Answer {
    let (sort, kind) = match call.number("/doc_type") {
        Some(3) => ("document", Kind::Document),
        Some(4) => ("sheet", Kind::Sheet),
        _ => return Err(Refusal::parameter()),
    };
    let name = call.text("/doc_name")?;
    if let Ok(admins) = call.texts("/admin_users")
        && admins.iter().any(|id| call.member(id).is_none())
    {
        return Err(Refusal::new(60111, "userid not found"));
    }
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, sort);
    let node = Node::new(id.clone(), kind, name, "", call.office.now());
    let url = address(&node);
    papers.nodes.push(node);
    ok(json!({"url": url, "docid": id}))
}

fn info(call: &Call<'_>) -> Answer {
    let node = known(call, &call.office.papers())?;
    ok(json!({"doc_base_info": {
        "docid": node.id, "doc_name": node.name, "create_time": node.created.secs(),
        "modify_time": node.modified.secs(), "doc_type": if node.kind == Kind::Document { 3 } else { 4 },
    }}))
}

fn rename(call: &Call<'_>) -> Answer {
    let name = call.text("/new_name")?;
    change(call, |node| name.clone_into(&mut node.name))?;
    ok(json!({}))
}

fn delete(call: &Call<'_>) -> Answer {
    let mut papers = call.office.papers();
    let node = known(call, &papers)?;
    papers.remove(&node.id);
    ok(json!({}))
}

fn share(call: &Call<'_>) -> Answer {
    let node = known(call, &call.office.papers())?;
    ok(json!({"share_url": address(&node)}))
}

fn access(call: &Call<'_>) -> Answer {
    known(call, &call.office.papers())?;
    ok(json!({
        "access_rule": {"enable_corp_internal": true, "corp_internal_auth": 1, "enable_corp_external": false},
        "secure_setting": {"enable_readonly_copy": false},
        "doc_member_list": [], "co_auth_list": [],
    }))
}

fn content(call: &Call<'_>) -> Answer {
    let node = known(call, &call.office.papers())?;
    let mut at = 0;
    let mut children = Vec::new();
    for paragraph in &node.paragraphs {
        let end = at + paragraph.chars().count() + 1;
        children.push(json!({
            "begin": at, "end": end, "type": "Paragraph",
            "children": [{"begin": at, "end": end, "type": "Text", "text": paragraph}],
        }));
        at = end;
    }
    let document = json!({"begin": 0, "end": at, "type": "Document", "children": children});
    ok(json!({"version": node.revision, "document": document}))
}

/// Texts are added at the end or in the place of all that was there; other requests are not known here.
fn update(call: &Call<'_>) -> Answer {
    let requests = call.body.get("requests").and_then(Value::as_array).filter(|list| !list.is_empty());
    let requests = requests.ok_or(Refusal::parameter())?;
    let text = |request: &Value| {
        let text = request.pointer("/insert_text/text").or_else(|| request.pointer("/replace_text/text"));
        Some((request.get("replace_text").is_some(), text?.as_str()?.to_owned()))
    };
    let edits: Vec<(bool, String)> =
        requests.iter().map(text).collect::<Option<_>>().ok_or(Refusal::parameter())?;
    let node = change(call, |node| {
        for (replaces, text) in edits {
            if replaces {
                node.paragraphs.clear();
            }
            node.paragraphs.extend(text.lines().map(str::to_owned));
        }
    })?;
    ok(json!({"version": node.revision}))
}

fn change(call: &Call<'_>, edit: impl FnOnce(&mut Node)) -> Result<Node, Refusal> {
    let now = call.office.now();
    let mut papers = call.office.papers();
    let id = known(call, &papers)?.id;
    let node = papers.node_mut(&id).ok_or(Refusal::parameter())?;
    edit(node);
    node.touch(now);
    Ok(node.clone())
}
