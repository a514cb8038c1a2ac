//! What changes a drive: folders, uploads, moving, copying, deleting, sharing.

use serde_json::{Value, json};

use crate::kernel::encode;
use crate::sandbox::desk::Desk;
use crate::sandbox::entra::graph::{Answer, Call, error, not_allowed, text};
use crate::sandbox::tokens::sha256;
use crate::sandbox::wire::Reply;
use crate::sandbox::world::{File, Person, iso, opaque};

use super::item::{item_id, item_json};
use super::{Drive, Item, named, no_item, share};

const STORAGE: &str = "https://example-my.sharepoint.com";

pub(super) fn on_item(call: &Call<'_>, drive: &Drive, item: &Item, rest: &[&str]) -> Answer {
    match (call.method(), rest) {
        ("POST", ["children"]) => create_folder(call, drive, item),
        ("PUT", ["content"]) => overwrite(call, item),
        ("PUT", ["new", _]) => {
            let name = rest.get(1).copied().unwrap_or_default();
            add(call, drive, folder_of(item)?, name, Some(call.request.body.clone()))
        }
        ("POST", ["new", _]) => {
            upload_session(call, folder_of(item)?, rest.get(1).copied().unwrap_or_default())
        }
        ("POST", ["createuploadsession"]) => match item {
            Item::File(file) if file.content.is_some() => upload_session(call, file.parent, &file.name),
            _ => Err(error(400, "invalidRequest", "The item is not a file.")),
        },
        ("PATCH", []) => patch(call, drive, item),
        ("DELETE", []) => delete(call, item),
        ("POST", ["copy"]) => copy(call, drive, item),
        ("POST", ["createlink"]) => share::create_link(call, drive, item),
        ("POST", ["invite"]) => share::invite(call, item),
        ("POST", ["preview"]) => share::preview(call, drive, item),
        ("POST", ["checkout" | "checkin" | "follow" | "unfollow" | "permanentdelete"]) => {
            Ok(Reply::empty(204))
        }
        ("POST", ["versions", _, "restoreversion"]) => Ok(Reply::empty(204)),
        _ => Err(not_allowed()),
    }
}

fn folder_of(item: &Item) -> Result<Option<u64>, Reply> {
    match item {
        Item::File(file) if file.content.is_some() || file.target.is_some() => {
            Err(error(400, "invalidRequest", "The item is not a folder."))
        }
        item => Ok(item.inside()),
    }
}

fn create_folder(call: &Call<'_>, drive: &Drive, parent: &Item) -> Answer {
    let parent = folder_of(parent)?;
    let body = call.body()?;
    let name = text(&body, "/name").filter(|name| !name.is_empty() && body.get("folder").is_some());
    let name =
        name.ok_or_else(|| error(400, "invalidRequest", "A name and the 'folder' facet are required."))?;
    add(call, drive, parent, name, None)
}

/// Shows an item as it is after a change.
fn changed(call: &Call<'_>, person: &Person, file: &File) -> Value {
    item_json(call, &Drive::of(person, true), file)
}

fn add(call: &Call<'_>, drive: &Drive, parent: Option<u64>, name: &str, content: Option<Vec<u8>>) -> Answer {
    if drive.children(parent).any(|file| file.name.eq_ignore_ascii_case(name)) {
        return Err(error(409, "nameAlreadyExists", "An item with this name already exists."));
    }
    let now = call.desk.now().secs();
    let (person, file) = call.change(|person, fresh| {
        let file = File { parent, ..File::new(fresh, name, content, now) };
        person.files.push(file.clone());
        Ok((person.clone(), file))
    })?;
    Ok(Reply::json(201, &changed(call, &person, &file)))
}

fn overwrite(call: &Call<'_>, item: &Item) -> Answer {
    let Item::File(file) = item else {
        return Err(error(400, "invalidRequest", "The root has no content."));
    };
    let (now, body) = (call.desk.now().secs(), call.request.body.clone());
    edit(call, file.id, |found| {
        found.content = Some(body);
        found.modified = now;
    })
}

/// Changes one of the caller's files and shows it.
fn edit(call: &Call<'_>, id: u64, work: impl FnOnce(&mut File)) -> Answer {
    let (person, file) = call.change(|person, _| {
        let found = person.files.iter_mut().find(|f| f.id == id).ok_or_else(no_item)?;
        work(found);
        let file = found.clone();
        Ok((person.clone(), file))
    })?;
    Ok(Reply::json(200, &changed(call, &person, &file)))
}

/// The folder that a body's `parentReference` names, in the same drive.
fn destination(drive: &Drive, body: &Value) -> Result<Option<Option<u64>>, Reply> {
    let Some(id) = text(body, "/parentReference/id") else { return Ok(None) };
    if text(body, "/parentReference/driveId").is_some_and(|other| other != drive.id) {
        return Err(error(400, "invalidRequest", "Moves stay within a drive."));
    }
    Ok(Some(folder_of(&named(drive, id).ok_or_else(no_item)?)?))
}

fn patch(call: &Call<'_>, drive: &Drive, item: &Item) -> Answer {
    let Item::File(file) = item else { return Err(not_allowed()) };
    let body = call.body()?;
    let parent = destination(drive, &body)?;
    let name = text(&body, "/name").map(str::to_owned);
    edit(call, file.id, |found| {
        found.name = name.unwrap_or_else(|| found.name.clone());
        found.parent = parent.unwrap_or(found.parent);
    })
}

fn delete(call: &Call<'_>, item: &Item) -> Answer {
    let Item::File(file) = item else { return Err(not_allowed()) };
    call.change(|person, _| {
        let drive = Drive::of(person, true);
        person.files.retain(|f| f.id != file.id && !drive.is_below(f, Some(file.id)));
        Ok(Reply::empty(204))
    })
}

/// Copies a file, or a folder with the files that lie directly in it.
fn copy(call: &Call<'_>, drive: &Drive, item: &Item) -> Answer {
    let Item::File(file) = item else { return Err(not_allowed()) };
    let body = call.body()?;
    let parent = destination(drive, &body)?.unwrap_or(file.parent);
    let name = text(&body, "/name").unwrap_or(&file.name).to_owned();
    let inside: Vec<File> = drive.children(Some(file.id)).cloned().collect();
    call.desk.world(|world| {
        let copied = world.next_id();
        let fresh: Vec<u64> = inside.iter().map(|_| world.next_id()).collect();
        if let Some(person) = world.person_mut(&call.me.email) {
            person.files.push(File { id: copied, parent, name, readers: Vec::new(), ..file.clone() });
            let below = inside.into_iter().zip(fresh);
            person.files.extend(below.map(|(f, id)| File { id, parent: Some(copied), ..f }));
        }
    });
    let monitor = format!("{STORAGE}/_api/v2.0/monitor/{}", opaque("entra:copy", file.id, 20));
    Ok(Reply::empty(202).with("location", &monitor))
}

/// An address that takes a file without any token: it says itself whose, where and under which name.
fn upload_session(call: &Call<'_>, parent: Option<u64>, name: &str) -> Answer {
    let plan = json!({"who": call.me.email, "parent": parent, "name": name}).to_string();
    let ends = iso(call.desk.now().secs() + 86_400);
    let guid = encode::base64url(plan.as_bytes());
    let url = format!(
        "{STORAGE}/_api/v2.0/uploadSession?guid={guid}&tempauth={}",
        sha256(&format!("entra:upload:{guid}"))
    );
    let session = json!({"uploadUrl": url, "expirationDateTime": ends, "nextExpectedRanges": ["0-"]});
    Ok(Reply::json(200, &session))
}

/// Takes a file at such an address, in one piece.
pub(in crate::sandbox::entra) fn upload(desk: &Desk, guid: &str, auth: &str, body: &[u8]) -> Reply {
    let plan: Option<Value> = (sha256(&format!("entra:upload:{guid}")) == auth)
        .then(|| serde_json::from_slice(&encode::from_base64url(guid)?).ok())
        .flatten();
    let Some(plan) = plan else {
        return error(401, "unauthenticated", "The upload session is not known.");
    };
    let (now, parent) = (desk.now().secs(), plan.get("parent").and_then(Value::as_u64));
    let name = text(&plan, "/name").unwrap_or_default();
    desk.world(|world| {
        let fresh = world.next_id();
        let Some(person) = world.person_mut(text(&plan, "/who").unwrap_or_default()) else {
            return error(404, "itemNotFound", "The resource could not be found.");
        };
        person.files.retain(|f| f.parent != parent || !f.name.eq_ignore_ascii_case(name));
        let file = File { parent, ..File::new(fresh, name, Some(body.to_vec()), now) };
        let shown = json!({"id": item_id(fresh), "name": file.name, "size": body.len()});
        person.files.push(file);
        Reply::json(201, &shown)
    })
}
