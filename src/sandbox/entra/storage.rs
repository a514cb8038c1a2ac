//! The storage hosts: what opens here needs no token, only an address that Graph has given out.

use crate::sandbox::desk::Desk;
use crate::sandbox::entra::graph::drive::item::{item_id, opens};
use crate::sandbox::entra::graph::drive::{Drive, is_link, type_of, write};
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::File;

/// Answers whoever has the address.
pub(super) fn answer(desk: &Desk, request: &Request) -> Reply {
    let segments = request.segments();
    let params = request.params();
    let auth = params.get("tempauth").unwrap_or_default();
    match (request.method.as_str(), segments.last().map(String::as_str)) {
        ("GET" | "HEAD", Some("download.aspx" | "getpreview.ashx")) => {
            let id = params.get("UniqueId").unwrap_or_default();
            let found = find(desk, |_, file| item_id(file.id) == id && opens(file, auth, desk.now()));
            sent(found)
        }
        ("PUT", Some("uploadSession")) => {
            write::upload(desk, params.get("guid").unwrap_or_default(), auth, &request.body)
        }
        ("GET", Some(last)) if segments.first().is_some_and(|first| first.starts_with(':')) => {
            let found =
                find(desk, |_, file| is_link(file, last) && file.readers.iter().any(|r| r == "anyone"));
            sent(found)
        }
        ("GET", Some(_)) if request.path.contains("/_api/v2.0/monitor/") => {
            Reply::bytes(200, "application/json", r#"{"status": "completed", "percentageComplete": 100}"#)
        }
        _ => Reply::empty(404),
    }
}

fn find(desk: &Desk, is_it: impl Fn(&Drive, &File) -> bool) -> Option<File> {
    let drives = desk.world(|world| Drive::all(world));
    drives.iter().find_map(|drive| drive.files.iter().find(|file| is_it(drive, file)).cloned())
}

fn sent(file: Option<File>) -> Reply {
    match file {
        Some(file) => {
            let disposition = format!("attachment; filename=\"{}\"", file.name.replace('"', ""));
            let content = file.content.clone().unwrap_or_default();
            Reply::bytes(200, type_of(&file), content).with("content-disposition", &disposition)
        }
        None => Reply::bytes(401, "text/plain", "401 UNAUTHORIZED"),
    }
}
