//! Drives: `/me/drive`, `/drives/{id}`, a site's drive. Items by id, by path (`root:/A/B:`), by share.

pub(in crate::sandbox::entra) mod item;
mod share;
pub(in crate::sandbox::entra) mod write;

use serde_json::{Value, json};

use crate::sandbox::entra::graph::mail::delta;
use crate::sandbox::entra::graph::odata::{list, single};
use crate::sandbox::entra::graph::{Answer, Call, Path, access_denied, error, not_allowed, not_found};
use crate::sandbox::wire::Reply;
use crate::sandbox::world::{File, Person, World};

use item::{drive_json, item_id, item_json, media_type, root_id, root_json};

pub(in crate::sandbox::entra) use share::is_link;
pub(super) use share::shared;

const READ: &[&str] =
    &["Files.Read", "Files.ReadWrite", "Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All"];
/// What reaches drives that are not one's own.
const READ_ALL: &[&str] = &["Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All"];
const WRITE: &[&str] = &["Files.ReadWrite", "Files.ReadWrite.All"];
const WHAT: &str = "users('me')/drive/items";

/// A drive as one person sees it.
pub(in crate::sandbox::entra) struct Drive {
    /// Its id.
    pub(in crate::sandbox::entra) id: String,
    /// What stands for its owner in addresses.
    pub(in crate::sandbox::entra) key: String,
    /// The owner; a site's library has none.
    owner: Option<Person>,
    /// What lies in it and may be seen.
    pub(in crate::sandbox::entra) files: Vec<File>,
    mine: bool,
}

impl Drive {
    fn of(person: &Person, mine: bool) -> Self {
        let (id, key) = (item::drive_id(person.id), person.key.to_owned());
        Self { id, key, owner: Some(person.clone()), files: person.files.clone(), mine }
    }

    /// The document library of the company's team site.
    fn library(world: &World) -> Self {
        let (id, key) = (item::drive_id(0), "team".to_owned());
        Self { id, key, owner: None, files: world.library.clone(), mine: false }
    }

    /// Every drive, whoever may see what of it.
    pub(in crate::sandbox::entra) fn all(world: &World) -> Vec<Self> {
        let mut drives: Vec<Self> = world.people.iter().map(|person| Self::of(person, false)).collect();
        drives.push(Self::library(world));
        drives
    }

    fn file(&self, id: u64) -> Option<&File> {
        self.files.iter().find(|file| file.id == id)
    }

    fn children(&self, parent: Option<u64>) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.parent == parent)
    }

    /// The path of a file from the root, without a leading slash.
    fn path_of(&self, file: &File) -> String {
        let mut names = vec![file.name.as_str()];
        let mut parent = file.parent;
        while let Some(folder) = parent.and_then(|id| self.file(id)) {
            names.push(&folder.name);
            parent = folder.parent;
        }
        names.reverse();
        names.join("/")
    }

    fn is_below(&self, file: &File, folder: Option<u64>) -> bool {
        let Some(folder) = folder else { return true };
        let mut parent = file.parent;
        while let Some(id) = parent {
            if id == folder {
                return true;
            }
            parent = self.file(id).and_then(|f| f.parent);
        }
        false
    }

    /// What somebody else shows to `email`: what they shared, and what lies in it.
    fn shown_to(mut self, email: &str) -> Self {
        let shared = |file: &File| file.readers.iter().any(|reader| reader == email);
        let is_shown = |file: &File| {
            shared(file) || self.files.iter().any(|f| shared(f) && self.is_below(file, Some(f.id)))
        };
        let shown = self.files.iter().filter(|file| is_shown(file)).cloned().collect();
        self.files = shown;
        self
    }
}

/// An item that a request names: the root has no file of its own.
#[derive(Clone)]
pub(super) enum Item {
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

/// The drives that the caller may open: their own, what colleagues share, and the team's library.
fn open_to(call: &Call<'_>) -> Vec<Drive> {
    call.desk.world(|world| {
        let mut drives = vec![Drive::of(&call.me, true)];
        if call.need(READ_ALL).is_ok() && call.me.employee {
            let others = world.employees().filter(|person| person.id != call.me.id);
            drives.extend(others.map(|person| Drive::of(person, false).shown_to(&call.me.email)));
            drives.push(Drive::library(world));
        }
        drives
    })
}

/// The caller's own drive.
pub(super) fn mine(call: &Call<'_>, path: &Path) -> Answer {
    route(call, &Drive::of(&call.me, true), path)
}

/// `/drives/{id}`.
pub(super) fn by_id(call: &Call<'_>, path: &Path) -> Answer {
    call.need(READ)?;
    let found = open_to(call).into_iter().find(|drive| drive.id == path.raw(1));
    route(call, &found.ok_or_else(no_item)?, &path.below(2))
}

/// `/me/drives`, or those of a site.
pub(super) fn drives(call: &Call<'_>, of_site: bool) -> Answer {
    call.need(READ)?;
    let drives =
        open_to(call).into_iter().filter(|drive| if of_site { drive.owner.is_none() } else { drive.mine });
    list(call, "drives", drives.map(|drive| drive_json(&drive)).collect(), 100)
}

/// The drive of the team's site.
pub(super) fn of_site(call: &Call<'_>, path: &Path) -> Answer {
    let found = open_to(call).into_iter().find(|drive| drive.owner.is_none());
    route(call, &found.ok_or_else(access_denied)?, path)
}

/// Every file that a search of the whole company finds for the caller.
pub(super) fn found_everywhere(call: &Call<'_>, word: &str) -> Vec<(Value, String)> {
    let mut found = Vec::new();
    for drive in open_to(call) {
        for file in drive.files.iter().filter(|file| holds(file, word)) {
            let text = String::from_utf8_lossy(file.content.as_deref().unwrap_or_default()).into_owned();
            found.push((item_json(call, &drive, file), text));
        }
    }
    found
}

/// Whether a word stands in a file's name or text.
fn holds(file: &File, word: &str) -> bool {
    let text = String::from_utf8_lossy(file.content.as_deref().unwrap_or_default()).to_lowercase();
    file.name.to_lowercase().contains(word) || text.contains(word)
}

/// The path below a drive.
fn route(call: &Call<'_>, drive: &Drive, path: &Path) -> Answer {
    let reads = call.method() == "GET" || path.low().last() == Some(&"preview");
    call.need(if reads { READ } else { WRITE })?;
    if !reads && !drive.mine {
        return Err(access_denied());
    }
    let what = "users('me')/drive";
    let shown = |files: Vec<&File>| files.into_iter().map(|file| item_json(call, drive, file)).collect();
    match (call.method(), path.low().as_slice()) {
        ("GET", []) => single(call, "drives", drive_json(drive)),
        ("GET", ["recent"]) => {
            let mut files: Vec<&File> = drive.files.iter().filter(|file| file.content.is_some()).collect();
            files.sort_by_key(|file| std::cmp::Reverse(file.modified));
            list(call, what, shown(files), 200)
        }
        ("GET", ["sharedwithme"]) => {
            call.need(READ_ALL)?;
            let others = open_to(call).into_iter().filter(|other| !other.mine && other.owner.is_some());
            let files = others.flat_map(|other| {
                let render = |file: &File| item::remote(call, &other, file);
                other.files.iter().filter(|f| !f.readers.is_empty()).map(render).collect::<Vec<_>>()
            });
            list(call, what, files.collect(), 200)
        }
        ("GET", ["special", name, rest @ ..]) => {
            let folder = drive.children(None).find(|file| file.name.eq_ignore_ascii_case(name));
            let folder = folder.filter(|file| file.content.is_none()).ok_or_else(no_item)?.clone();
            let rest: Vec<String> = rest.iter().map(|part| (*part).to_owned()).collect();
            on_item(call, drive, &Item::File(folder), &rest, path)
        }
        ("GET", [search]) if is_search(search) => on_item(call, drive, &Item::Root, &path.low, path),
        (_, [start, ..]) if *start == "root" || *start == "root:" => {
            let (item, rest) = by_path(call, drive, Item::Root, path, 0)?;
            on_item(call, drive, &item, &rest, path)
        }
        (_, ["items", ..]) => {
            let id = path.raw(1).trim_end_matches(':');
            let item = named(drive, id).ok_or_else(no_item)?;
            let (item, rest) = by_path(call, drive, item, path, 1)?;
            on_item(call, drive, &item, &rest, path)
        }
        _ => Err(not_allowed()),
    }
}

/// An item by its id.
pub(super) fn named(drive: &Drive, id: &str) -> Option<Item> {
    if id == root_id(drive) || id.eq_ignore_ascii_case("root") {
        return Some(Item::Root);
    }
    drive.files.iter().find(|file| item_id(file.id) == id).cloned().map(Item::File)
}

fn is_search(segment: &str) -> bool {
    segment.starts_with("search(q=") || segment == "search"
}

/// Follows `…:/A/B:/rest` from `start`, whose segment is at `at`; the rest comes back in lower case. A new file's
/// name may stand at the end of the path of an upload.
fn by_path(
    call: &Call<'_>,
    drive: &Drive,
    start: Item,
    path: &Path,
    at: usize,
) -> Result<(Item, Vec<String>), Reply> {
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
        let found = drive.children(item.inside()).find(|file| file.name.eq_ignore_ascii_case(name)).cloned();
        let rest = after(next);
        let uploads = matches!(
            (call.method(), rest.as_slice()),
            ("PUT", [verb]) if verb == "content"
        ) || matches!((call.method(), rest.as_slice()), ("POST", [verb]) if verb == "createuploadsession");
        match found {
            Some(file) => item = Item::File(file),
            None if ended && uploads => return Ok((item, vec!["new".to_owned(), name.to_owned()])),
            None => return Err(no_item()),
        }
    }
    Ok((item, after(next)))
}

fn on_item(call: &Call<'_>, drive: &Drive, item: &Item, rest: &[String], path: &Path) -> Answer {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    if call.method() != "GET" {
        return write::on_item(call, drive, item, &rest);
    }
    let beside = |file: &File| item_json(call, drive, file);
    match rest.as_slice() {
        [] => single(call, WHAT, render(call, drive, item)),
        ["children"] => list(call, &format!("{WHAT}('children')"), children(call, drive, item), 200),
        ["delta" | "delta()"] => {
            let inside = item.inside();
            let below = drive.files.iter().filter(|f| Some(f.id) == inside || drive.is_below(f, inside));
            list(call, WHAT, below.map(beside).collect(), 1000).map(|page| delta(&page, &call.request.path))
        }
        ["content" | "contentstream"] => content(call, drive, item),
        ["versions", _, "content"] => content(call, drive, item),
        ["versions"] => list(call, WHAT, versions(call, drive, item), 200),
        ["thumbnails"] => list(call, WHAT, thumbnails(call, drive, item), 200),
        ["permissions"] => list(call, WHAT, share::permissions(drive, item), 200),
        ["parentreference"] => Err(not_found()),
        [search] if is_search(search) => {
            let word = search_word(path.raw.last().map(String::as_str).unwrap_or_default());
            let hits = drive.files.iter().filter(|f| holds(f, &word) && drive.is_below(f, item.inside()));
            list(call, WHAT, hits.map(beside).collect(), 200)
        }
        _ => Err(not_allowed()),
    }
}

/// What lies in a folder. What lies in a shortcut's target is served as well: whether the vendor does is not
/// documented, and the worse case is the one to try.
fn children(call: &Call<'_>, drive: &Drive, item: &Item) -> Vec<Value> {
    if let Item::File(File { target: Some(target), .. }) = item {
        let library = call.desk.world(|world| Drive::library(world));
        return library.children(Some(*target)).map(|file| item_json(call, &library, file)).collect();
    }
    drive.children(item.inside()).map(|file| item_json(call, drive, file)).collect()
}

/// The bytes are not here: the answer leads to an address that needs no token, for whoever has it.
fn content(call: &Call<'_>, drive: &Drive, item: &Item) -> Answer {
    match item {
        Item::File(file) if file.content.is_some() => {
            Ok(Reply::redirect(&item::download_url(call, drive, file)))
        }
        _ => Err(error(400, "invalidRequest", "You cannot get content for a folder")),
    }
}

fn versions(call: &Call<'_>, drive: &Drive, item: &Item) -> Vec<Value> {
    let Item::File(file) = item else { return Vec::new() };
    let shown = item_json(call, drive, file);
    vec![json!({
        "id": "1.0",
        "lastModifiedDateTime": shown.get("lastModifiedDateTime"),
        "size": shown.get("size"),
        "@microsoft.graph.downloadUrl": shown.get("@microsoft.graph.downloadUrl"),
    })]
}

fn thumbnails(call: &Call<'_>, drive: &Drive, item: &Item) -> Vec<Value> {
    let Item::File(file) = item else { return Vec::new() };
    let picture =
        |size: u32| json!({"height": size, "width": size, "url": item::preview_url(call, drive, file)});
    vec![json!({"id": "0", "small": picture(96), "medium": picture(176), "large": picture(800)})]
}

fn render(call: &Call<'_>, drive: &Drive, item: &Item) -> Value {
    let mut shown = match item {
        Item::File(file) => item_json(call, drive, file),
        Item::Root => root_json(drive),
    };
    if call.expands("children")
        && let Some(members) = shown.as_object_mut()
    {
        members.insert("children".to_owned(), Value::Array(children(call, drive, item)));
    }
    shown
}

/// The word of `search(q='word')`.
fn search_word(segment: &str) -> String {
    let inner = segment.split_once("(q='").map_or(segment, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_end_matches('\'').replace("''", "'").to_lowercase()
}

/// What a file is sent as.
pub(in crate::sandbox::entra) fn type_of(file: &File) -> &'static str {
    media_type(&file.name)
}
