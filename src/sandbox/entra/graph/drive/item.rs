//! Drives and items in Graph's shape, and the addresses at the storage host that need no token.

use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::sandbox::entra::graph::{Call, context};
use crate::sandbox::entra::object_id;
use crate::sandbox::world::{File, guid, in_2026, iso, opaque};

use super::Drive;

/// For how long an address that needs no token works.
const ADDRESS_LIVES_S: i64 = 3600;

/// The id of a person's drive; 0 stands for the team's library.
pub(super) fn drive_id(owner: u64) -> String {
    format!("b!{}", opaque("entra:drive", owner, 60))
}

pub(in crate::sandbox::entra) fn item_id(id: u64) -> String {
    format!("01{}", opaque("entra:item", id, 32).to_ascii_uppercase())
}

pub(super) fn root_id(drive: &Drive) -> String {
    let owner = drive.owner.as_ref().map_or(0, |owner| owner.id);
    format!("01{}", opaque("entra:root", owner, 32).to_ascii_uppercase())
}

/// Where people find a drive.
fn site_of(drive: &Drive) -> String {
    match drive.owner {
        Some(_) => format!("https://example-my.sharepoint.com/personal/{}", drive.key),
        None => format!("https://example.sharepoint.com/sites/{}", drive.key),
    }
}

pub(super) fn web_url(drive: &Drive, file: &File) -> String {
    format!("{}/Documents/{}", site_of(drive), drive.path_of(file).replace(' ', "%20"))
}

/// What the storage host checks: made of the item and the moment at which it ends.
pub(in crate::sandbox::entra) fn tempauth(file: &File, ends: i64) -> String {
    format!("v1.{ends}.{}", opaque(&format!("entra:tempauth:{ends}"), file.id, 40))
}

fn presigned(call: &Call<'_>, drive: &Drive, file: &File, page: &str) -> String {
    let ends = call.desk.now().secs() + ADDRESS_LIVES_S;
    let (id, auth) = (item_id(file.id), tempauth(file, ends));
    format!("{}/_layouts/15/{page}?UniqueId={id}&tempauth={auth}", site_of(drive))
}

/// Opens without any token for about an hour: a way around whoever guards the API.
pub(super) fn download_url(call: &Call<'_>, drive: &Drive, file: &File) -> String {
    presigned(call, drive, file, "download.aspx")
}

/// The same for a picture of the file.
pub(super) fn preview_url(call: &Call<'_>, drive: &Drive, file: &File) -> String {
    presigned(call, drive, file, "getpreview.ashx")
}

fn owner_json(drive: &Drive) -> Value {
    match &drive.owner {
        Some(person) => {
            json!({"user": {"displayName": person.name, "email": person.email, "id": object_id(person)}})
        }
        None => json!({"group": {"displayName": "Team", "id": guid("entra:group", 1)}}),
    }
}

fn drive_type(drive: &Drive) -> &'static str {
    if drive.owner.is_some() { "business" } else { "documentLibrary" }
}

pub(super) fn drive_json(drive: &Drive) -> Value {
    json!({
        "@odata.context": context("users('me')/drive/$entity"),
        "id": drive.id,
        "driveType": drive_type(drive),
        "name": if drive.owner.is_some() { "OneDrive" } else { "Documents" },
        "webUrl": format!("{}/Documents", site_of(drive)),
        "owner": owner_json(drive),
        "quota": {"total": 1_099_511_627_776_u64, "used": 123_456, "remaining": 1_099_511_504_320_u64, "state": "normal"},
    })
}

pub(super) fn root_json(drive: &Drive) -> Value {
    json!({
        "id": root_id(drive),
        "name": "root",
        "root": {},
        "createdDateTime": iso(in_2026(1, 2, 8, 0)),
        "lastModifiedDateTime": iso(in_2026(11, 2, 8, 0)),
        "webUrl": format!("{}/Documents", site_of(drive)),
        "folder": {"childCount": drive.children(None).count()},
        "parentReference": {"driveId": drive.id, "driveType": drive_type(drive)},
    })
}

fn parent_reference(drive: &Drive, file: &File) -> Value {
    let path = drive.path_of(file);
    let parent_path = path.rsplit_once('/').map_or(String::new(), |(parent, _)| format!("/{parent}"));
    json!({
        "driveId": drive.id,
        "driveType": drive_type(drive),
        "id": file.parent.map_or_else(|| root_id(drive), item_id),
        "path": format!("/drives/{}/root:{parent_path}", drive.id),
    })
}

/// An item in Graph's shape.
pub(in crate::sandbox::entra::graph) fn item_json(call: &Call<'_>, drive: &Drive, file: &File) -> Value {
    let user = owner_json(drive);
    let mut item = json!({
        "id": item_id(file.id),
        "name": file.name,
        "size": file.content.as_ref().map_or(0, Vec::len),
        "eTag": format!("\"{{{}}},1\"", opaque("entra:etag", file.id, 16)),
        "createdDateTime": iso(file.modified),
        "lastModifiedDateTime": iso(file.modified),
        "webUrl": web_url(drive, file),
        "createdBy": user,
        "lastModifiedBy": user,
        "parentReference": parent_reference(drive, file),
    });
    let Some(members) = item.as_object_mut() else { return item };
    if let Some(target) = file.target {
        let library = call.desk.world(|world| Drive::library(world));
        if let Some(target) = library.file(target) {
            members.insert("remoteItem".to_owned(), facet(&library, target));
        }
    } else if file.content.is_some() {
        members.insert("file".to_owned(), json!({"mimeType": media_type(&file.name)}));
        let url = download_url(call, drive, file);
        members.insert("@microsoft.graph.downloadUrl".to_owned(), json!(url));
    } else {
        members.insert("folder".to_owned(), json!({"childCount": drive.children(Some(file.id)).count()}));
    }
    item
}

/// What a shortcut says of what it points to, in another drive.
fn facet(drive: &Drive, file: &File) -> Value {
    json!({
        "id": item_id(file.id),
        "name": file.name,
        "webUrl": web_url(drive, file),
        "folder": {"childCount": drive.children(Some(file.id)).count()},
        "parentReference": parent_reference(drive, file),
    })
}

/// Something in another drive as lists of one's own show it.
pub(super) fn remote(call: &Call<'_>, drive: &Drive, file: &File) -> Value {
    let mut shown = item_json(call, drive, file);
    if let Some(members) = shown.as_object_mut() {
        members.remove("parentReference");
        members.remove("@microsoft.graph.downloadUrl");
        members.insert("remoteItem".to_owned(), facet(drive, file));
    }
    shown
}

pub(super) fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}

/// Whether an address at the storage host still works.
pub(in crate::sandbox::entra) fn opens(file: &File, auth: &str, now: Timestamp) -> bool {
    let ends = auth.split('.').nth(1).and_then(|ends| ends.parse::<i64>().ok());
    ends.is_some_and(|ends| ends > now.secs() && tempauth(file, ends) == auth)
}
