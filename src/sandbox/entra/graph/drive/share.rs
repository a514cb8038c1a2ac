//! What gives other people a file: links, invitations, previews; and `/shares`, which opens a link.

use serde_json::{Value, json};

use crate::kernel::encode;
use crate::sandbox::entra::graph::odata::single;
use crate::sandbox::entra::graph::{Answer, Call, Path, context, error, not_allowed, text};
use crate::sandbox::wire::Reply;
use crate::sandbox::world::{File, opaque};

use super::item::{item_json, preview_url, web_url};
use super::{Drive, Item, WHAT, no_item, on_item, open_to};

/// The address of a file's sharing link.
pub(super) fn link(drive: &Drive, file: &File) -> String {
    let link = opaque("entra:link", file.id, 30);
    format!("https://example-my.sharepoint.com/:t:/g/personal/{}/{link}", drive.key)
}

/// Whether a sharing link's last part is that of a file.
pub(in crate::sandbox::entra) fn is_link(file: &File, last: &str) -> bool {
    opaque("entra:link", file.id, 30) == last
}

fn file_of(item: &Item) -> Result<&File, Reply> {
    match item {
        Item::File(file) => Ok(file),
        Item::Root => Err(error(400, "invalidRequest", "The root cannot be shared.")),
    }
}

fn admit(call: &Call<'_>, file: &File, readers: Vec<String>) -> Result<(), Reply> {
    call.change(|person, _| {
        let found = person.files.iter_mut().find(|f| f.id == file.id).ok_or_else(no_item)?;
        found.readers.extend(readers);
        Ok(())
    })
}

pub(super) fn create_link(call: &Call<'_>, drive: &Drive, item: &Item) -> Answer {
    let (file, body) = (file_of(item)?, call.body()?);
    let scope = text(&body, "/scope").unwrap_or("organization");
    // `anonymous` opens for whoever has the link.
    admit(call, file, vec![if scope == "anonymous" { "anyone" } else { "organization" }.to_owned()])?;
    let link = json!({
        "type": text(&body, "/type").unwrap_or("view"),
        "scope": scope,
        "webUrl": link(drive, file),
    });
    let id = opaque("entra:permission", file.id, 20);
    Ok(Reply::json(201, &json!({"id": id, "roles": ["read"], "link": link})))
}

pub(super) fn invite(call: &Call<'_>, item: &Item) -> Answer {
    let (file, body) = (file_of(item)?, call.body()?);
    let recipients = body.get("recipients").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let emails: Vec<String> =
        (recipients.iter()).filter_map(|recipient| text(recipient, "/email").map(str::to_owned)).collect();
    if emails.is_empty() {
        return Err(error(400, "invalidRequest", "At least one recipient is needed."));
    }
    let permissions: Vec<Value> = (emails.iter())
        .map(|email| json!({"id": opaque("entra:permission", file.id, 20), "roles": ["read"], "grantedToV2": {"user": {"email": email}}}))
        .collect();
    admit(call, file, emails)?;
    Ok(Reply::json(200, &json!({"@odata.context": context("permission"), "value": permissions})))
}

/// A page that shows the file to whoever has its address.
pub(super) fn preview(call: &Call<'_>, drive: &Drive, item: &Item) -> Answer {
    let file = file_of(item)?;
    Ok(Reply::json(200, &json!({"getUrl": preview_url(call, drive, file), "postParameters": null})))
}

pub(super) fn permissions(drive: &Drive, item: &Item) -> Vec<Value> {
    let Item::File(file) = item else { return Vec::new() };
    let owner = drive.owner.as_ref().map(|owner| owner.email.as_str());
    let role = |email: &str, role: &str| {
        json!({"id": opaque(&format!("entra:permission:{email}"), file.id, 20), "roles": [role],
            "grantedToV2": {"user": {"email": email}}})
    };
    let readers = file.readers.iter().map(|reader| role(reader, "read"));
    owner.into_iter().map(|owner| role(owner, "owner")).chain(readers).collect()
}

/// `/shares/{encoded}`: `u!` and the base64url of a link, or of the address at which people see the file.
pub(in crate::sandbox::entra::graph) fn shared(call: &Call<'_>, path: &Path) -> Answer {
    call.need(super::READ)?;
    let none = || {
        error(
            404,
            "itemNotFound",
            "The sharing link no longer exists, or you do not have permission to access it.",
        )
    };
    let bytes = path.raw(1).strip_prefix("u!").and_then(encode::from_base64url).ok_or_else(none)?;
    let url = String::from_utf8(bytes).map_err(|_| none())?;
    let drives = open_to(call);
    let found = drives.iter().find_map(|drive| {
        let file = drive.files.iter().find(|f| web_url(drive, f) == url || link(drive, f) == url)?;
        Some((drive, file.clone()))
    });
    let (drive, file) = found.ok_or_else(none)?;
    let below = path.below(2);
    match (call.method(), below.low().as_slice()) {
        ("GET", []) => single(
            call,
            "shares",
            json!({"id": path.raw(1), "name": file.name, "owner": {"user": {"email": drive.owner.as_ref().map(|o| &o.email)}}}),
        ),
        ("GET" | "POST", ["driveitem" | "root", rest @ ..]) => {
            if rest.is_empty() {
                return single(call, WHAT, item_json(call, drive, &file));
            }
            let rest: Vec<String> = rest.iter().map(|part| (*part).to_owned()).collect();
            on_item(call, drive, &Item::File(file), &rest, &below)
        }
        _ => Err(not_allowed()),
    }
}
