//! Sites and teams: a small team site with its document library, and no channels.

use serde_json::json;

use crate::sandbox::entra::graph::odata::{list, single};
use crate::sandbox::entra::graph::{Answer, Call, Path, access_denied, drive, error, text};
use crate::sandbox::world::guid;

pub(super) fn teams(call: &Call<'_>) -> Answer {
    call.need(&["ChannelMessage.Read.All"])?;
    Err(error(404, "NotFound", "No team found with the given id."))
}

pub(super) fn route(call: &Call<'_>, path: &Path) -> Answer {
    if call.method() != "GET" {
        return Err(access_denied());
    }
    let site = json!({
        "id": format!("example.sharepoint.com,{},{}", guid("entra:site", 1), guid("entra:web", 1)),
        "name": "team",
        "displayName": "Team",
        "webUrl": "https://example.sharepoint.com/sites/team",
    });
    call.need(&["Sites.Read.All"])?;
    let is_it = text(&site, "/id") == Some(path.raw(1));
    match path.low().as_slice() {
        ["sites"] => list(call, "sites", vec![site], 100),
        ["sites", _] if is_it => single(call, "sites", site),
        ["sites", _, "lists" | "pages"] if is_it => list(call, "sites/lists", Vec::new(), 100),
        ["sites", _, "drives"] if is_it => drive::drives(call, true),
        ["sites", _, "drive", ..] if is_it => drive::of_site(call, &path.below(3)),
        _ => Err(error(404, "itemNotFound", "The resource could not be found.")),
    }
}
