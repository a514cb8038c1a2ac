//! `/me/drive`: items by id, by path (`root:/A/B:`), listing, search, content, writing and sharing.

use serde_json::{Value, json};

use crate::sandbox::entra::GRAPH;
use crate::sandbox::entra::graph::mail::delta;
use crate::sandbox::entra::graph::odata::{list, single};
use crate::sandbox::entra::graph::{Answer, Call, Path, context, error, not_allowed, text};
use crate::sandbox::entra::object_id;
use crate::sandbox::wire::Reply;
use crate::sandbox::world::{File, Person, in_2026, iso, opaque};

const READ: &[&str] = &["Files.Read", "Files.ReadWrite", "Files.Read.All", "Files.ReadWrite.All"];
const WRITE: &[&str] = &["Files.ReadWrite", "Files.ReadWrite.All"];
const WHAT: &str = "users('me')/drive/items";

/// A person's drive.
pub(super) fn drive_id(person: &Person) -> String {
    format!("b!{}", opaque("entra:drive", person.id, 60))
}

fn item_id(id: u64) -> String {
    format!("01{}", opaque("entra:item", id, 32).to_ascii_uppercase())
}

fn root_id(person: &Person) -> String {
    format!("01{}", opaque("entra:root", person.id, 32).to_ascii_uppercase())
}

/// An item that a request names: the root has no file of its own.
#[derive(Clone)]
enum Item {
    Root,
    File(File),
}

impl Item {
    /// What files lying in it have as their parent.
    fn inside(&self) -> Option<u64> {
        match self {
            Self::Root => None,
            Self::File(file) => Some(file.id),
        }
    }
}

fn no_item() -> Reply {
    error(404, "itemNotFound", "The resource could not be found.")
}

/// The path below `drive`.
pub(super) fn route(call: &Call<'_>, path: &Path) -> Answer {
    call.need(if call.method() == "GET" { READ } else { WRITE })?;
    let what = "users('me')/drive";
    match (call.method(), path.low().as_slice()) {
        ("GET", []) => Ok(Reply::json(200, &drive_json(call))),
        ("GET", ["root", "delta" | "delta()"]) => {
            let all = call.me.files.iter().map(|file| item_json(&call.me, file)).collect();
            list(call, what, all, 1000).map(|page| delta(&page, &call.request.path))
        }
        ("GET", ["recent"]) => {
            let mut files: Vec<&File> = call.me.files.iter().filter(|file| file.content.is_some()).collect();
            files.sort_by_key(|file| std::cmp::Reverse(file.modified));
            list(call, what, files.into_iter().map(|file| item_json(&call.me, file)).collect(), 200)
        }
        ("GET", ["sharedwithme"]) => list(call, what, Vec::new(), 200),
        ("GET", ["special", name, rest @ ..]) => {
            let folder =
                call.me.file_at(name).filter(|file| file.content.is_none()).ok_or_else(no_item)?.clone();
            on_item(
                call,
                &Item::File(folder),
                &rest.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>(),
                path,
            )
        }
        (_, [start, ..]) if start.starts_with("root") => {
            let (item, rest) = by_path(call, Item::Root, path, 0)?;
            on_item(call, &item, &rest, path)
        }
        (_, ["items", ..]) => {
            let id = path.raw(1).trim_end_matches(':');
            let item = if id == root_id(&call.me) {
                Item::Root
            } else {
                let found = call.me.files.iter().find(|file| item_id(file.id) == id);
                Item::File(found.ok_or_else(no_item)?.clone())
            };
            let (item, rest) = by_path(call, item, path, 1)?;
            on_item(call, &item, &rest, path)
        }
        _ => Err(not_allowed()),
    }
}

/// Follows `…:/A/B:/rest` from `start`, whose segment is at `at`; the rest comes back in lower case. A new file's
/// name may stand at the end of the path of an upload.
fn by_path(call: &Call<'_>, start: Item, path: &Path, at: usize) -> Result<(Item, Vec<String>), Reply> {
    let after = |from: usize| path.low.get(from..).unwrap_or_default().to_vec();
    if !path.raw(at).ends_with(':') {
        return Ok((start, after(at + 1)));
    }
    let mut item = start;
    let mut next = at + 1;
    let mut ended = false;
    while !ended && next < path.raw.len() {
        let segment = path.raw(next);
        ended = segment.ends_with(':');
        let name = segment.trim_end_matches(':');
        next += 1;
        let found =
            call.me.children(item.inside()).find(|file| file.name.eq_ignore_ascii_case(name)).cloned();
        match found {
            Some(file) => item = Item::File(file),
            None if call.method() == "PUT" && ended && after(next) == ["content"] => {
                return Ok((item, vec!["new".to_owned(), name.to_owned()]));
            }
            None => return Err(no_item()),
        }
    }
    Ok((item, after(next)))
}

fn on_item(call: &Call<'_>, item: &Item, rest: &[String], path: &Path) -> Answer {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (call.method(), rest.as_slice()) {
        ("GET", []) => single(call, WHAT, render(call, item)),
        ("GET", ["children"]) => {
            let children = call.me.children(item.inside()).map(|file| item_json(&call.me, file)).collect();
            list(call, &format!("{WHAT}('children')"), children, 200)
        }
        ("GET", ["content"]) => {
            let Item::File(File { content: Some(content), name, .. }) = item else {
                return Err(error(400, "invalidRequest", "You cannot get content for a folder"));
            };
            Ok(Reply::bytes(200, media_type(name), content.clone()))
        }
        ("GET", ["versions" | "thumbnails" | "permissions"]) => list(call, WHAT, Vec::new(), 200),
        ("GET", [search]) if search.starts_with("search(q=") || *search == "search" => {
            let word = search_word(path.raw.last().map(String::as_str).unwrap_or_default());
            let hits = call.me.files.iter().filter(|file| {
                file.name.to_lowercase().contains(&word) && is_below(&call.me, file, item.inside())
            });
            list(call, WHAT, hits.map(|file| item_json(&call.me, file)).collect(), 200)
        }
        ("POST", ["children"]) => create_folder(call, item),
        ("PUT", ["content"]) => write(call, item),
        ("PUT", ["new", _]) => create_file(call, item, rest.get(1).copied().unwrap_or_default()),
        ("PATCH", []) => patch(call, item),
        ("DELETE", []) => delete(call, item),
        ("POST", ["createlink"]) => share(call, item),
        ("POST", ["invite"]) => {
            Ok(Reply::json(200, &json!({"@odata.context": context("permission"), "value": []})))
        }
        ("POST", ["copy"]) => {
            let monitor = format!("{GRAPH}/v1.0/monitor/{}", opaque("entra:copy", 1, 20));
            Ok(Reply::empty(202).with("location", &monitor))
        }
        ("POST", ["checkout" | "checkin"]) => Ok(Reply::empty(204)),
        _ => Err(not_allowed()),
    }
}

fn search_word(segment: &str) -> String {
    let inner = segment.split_once("(q='").map_or(segment, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_end_matches('\'').replace("''", "'").to_lowercase()
}

fn is_below(person: &Person, file: &File, folder: Option<u64>) -> bool {
    let Some(folder) = folder else { return true };
    let mut parent = file.parent;
    while let Some(id) = parent {
        if id == folder {
            return true;
        }
        parent = person.files.iter().find(|f| f.id == id).and_then(|f| f.parent);
    }
    false
}

fn folder_of(item: &Item) -> Result<Option<u64>, Reply> {
    match item {
        Item::File(file) if file.content.is_some() => {
            Err(error(400, "invalidRequest", "The item is not a folder."))
        }
        item => Ok(item.inside()),
    }
}

fn create_folder(call: &Call<'_>, parent: &Item) -> Answer {
    let parent = folder_of(parent)?;
    let body = call.body()?;
    let name = text(&body, "/name").filter(|name| !name.is_empty() && body.get("folder").is_some());
    let name =
        name.ok_or_else(|| error(400, "invalidRequest", "A name and the 'folder' facet are required."))?;
    add(call, parent, name, None)
}

fn create_file(call: &Call<'_>, parent: &Item, name: &str) -> Answer {
    let parent = folder_of(parent)?;
    add(call, parent, name, Some(call.request.body.clone()))
}

fn add(call: &Call<'_>, parent: Option<u64>, name: &str, content: Option<Vec<u8>>) -> Answer {
    if call.me.children(parent).any(|file| file.name.eq_ignore_ascii_case(name)) {
        return Err(error(409, "nameAlreadyExists", "An item with this name already exists."));
    }
    let now = call.desk.now().secs();
    call.change(|person, fresh| {
        let file = File { id: fresh, parent, name: name.to_owned(), content, modified: now };
        person.files.push(file.clone());
        Ok(Reply::json(201, &item_json(person, &file)))
    })
}

fn write(call: &Call<'_>, item: &Item) -> Answer {
    let Item::File(file) = item else {
        return Err(error(400, "invalidRequest", "The root has no content."));
    };
    let (now, body) = (call.desk.now().secs(), call.request.body.clone());
    call.change(|person, _| {
        let found =
            person.files.iter_mut().find(|f| f.id == file.id && f.content.is_some()).ok_or_else(no_item)?;
        found.content = Some(body);
        found.modified = now;
        let written = found.clone();
        Ok(Reply::json(200, &item_json(person, &written)))
    })
}

fn patch(call: &Call<'_>, item: &Item) -> Answer {
    let Item::File(file) = item else { return Err(not_allowed()) };
    let body = call.body()?;
    let name = text(&body, "/name").map(str::to_owned);
    let parent = match text(&body, "/parentReference/id") {
        None => file.parent,
        Some(id) if id == root_id(&call.me) => None,
        Some(id) => Some(call.me.files.iter().find(|f| item_id(f.id) == id).ok_or_else(no_item)?.id),
    };
    call.change(|person, _| {
        let found = person.files.iter_mut().find(|f| f.id == file.id).ok_or_else(no_item)?;
        found.name = name.unwrap_or_else(|| found.name.clone());
        found.parent = parent;
        let changed = found.clone();
        Ok(Reply::json(200, &item_json(person, &changed)))
    })
}

fn delete(call: &Call<'_>, item: &Item) -> Answer {
    let Item::File(file) = item else { return Err(not_allowed()) };
    call.change(|person, _| {
        let gone: Vec<u64> = (person.files.iter())
            .filter(|f| f.id == file.id || is_below(person, f, Some(file.id)))
            .map(|f| f.id)
            .collect();
        person.files.retain(|f| !gone.contains(&f.id));
        Ok(Reply::empty(204))
    })
}

fn share(call: &Call<'_>, item: &Item) -> Answer {
    let body = call.body()?;
    let id = item.inside().unwrap_or_default();
    let link = json!({
        "type": text(&body, "/type").unwrap_or("view"),
        "scope": text(&body, "/scope").unwrap_or("organization"),
        "webUrl": format!("https://example-my.sharepoint.com/:t:/g/personal/{}", opaque("entra:link", id, 30)),
    });
    Ok(Reply::json(201, &json!({"id": opaque("entra:permission", id, 20), "roles": ["read"], "link": link})))
}

fn drive_json(call: &Call<'_>) -> Value {
    let person = &call.me;
    json!({
        "@odata.context": context("users('me')/drive/$entity"),
        "id": drive_id(person),
        "driveType": "business",
        "name": "OneDrive",
        "webUrl": format!("https://example-my.sharepoint.com/personal/{}/Documents", person.key),
        "owner": {"user": {"displayName": person.name, "email": person.email, "id": object_id(person)}},
        "quota": {"total": 1_099_511_627_776_u64, "used": 123_456, "remaining": 1_099_511_504_320_u64, "state": "normal"},
    })
}

fn render(call: &Call<'_>, item: &Item) -> Value {
    let person = &call.me;
    match item {
        Item::File(file) => item_json(person, file),
        Item::Root => json!({
            "id": root_id(person),
            "name": "root",
            "root": {},
            "createdDateTime": iso(in_2026(1, 2, 8, 0)),
            "lastModifiedDateTime": iso(in_2026(11, 2, 8, 0)),
            "webUrl": format!("https://example-my.sharepoint.com/personal/{}/Documents", person.key),
            "folder": {"childCount": person.children(None).count()},
            "parentReference": {"driveId": drive_id(person), "driveType": "business"},
        }),
    }
}

/// An item in Graph's shape.
pub(super) fn item_json(person: &Person, file: &File) -> Value {
    let path = person.path_of(file);
    let parent_path = path.rsplit_once('/').map_or(String::new(), |(parent, _)| format!("/{parent}"));
    let user = json!({"user": {"displayName": person.name, "email": person.email, "id": object_id(person)}});
    let mut item = json!({
        "id": item_id(file.id),
        "name": file.name,
        "size": file.content.as_ref().map_or(0, Vec::len),
        "eTag": format!("\"{{{}}},1\"", opaque("entra:etag", file.id, 16)),
        "createdDateTime": iso(file.modified),
        "lastModifiedDateTime": iso(file.modified),
        "webUrl": format!("https://example-my.sharepoint.com/personal/{}/Documents/{path}", person.key),
        "createdBy": user,
        "lastModifiedBy": user,
        "parentReference": {
            "driveId": drive_id(person),
            "driveType": "business",
            "id": file.parent.map_or_else(|| root_id(person), item_id),
            "path": format!("/drives/{}/root:{parent_path}", drive_id(person)),
        },
    });
    if let Some(members) = item.as_object_mut() {
        if file.content.is_some() {
            members.insert("file".to_owned(), json!({"mimeType": media_type(&file.name)}));
            // Opens without any token for about an hour: a way around whoever guards the API.
            let url = format!(
                "https://example-my.sharepoint.com/personal/{}/_layouts/15/download.aspx?UniqueId={}&tempauth={}",
                person.key,
                item_id(file.id),
                opaque("entra:tempauth", file.id, 40)
            );
            members.insert("@microsoft.graph.downloadUrl".to_owned(), json!(url));
        } else {
            members
                .insert("folder".to_owned(), json!({"childCount": person.children(Some(file.id)).count()}));
        }
    }
    item
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}
