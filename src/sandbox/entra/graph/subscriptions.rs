//! `/subscriptions`: Graph pushes what changes to an address of the caller's choice.

use serde_json::json;

use crate::sandbox::entra::graph::{Answer, Call, Path, error, not_allowed, not_found, text};
use crate::sandbox::entra::object_id;
use crate::sandbox::wire::Reply;
use crate::sandbox::world::guid;

/// A resource that can be watched: how its path begins, and the permissions that open it.
const WATCHED: &[(&str, &[&str])] = &[
    ("me/messages", &["Mail.Read", "Mail.ReadWrite"]),
    ("me/mailfolders", &["Mail.Read", "Mail.ReadWrite"]),
    ("me/events", &["Calendars.Read", "Calendars.ReadWrite"]),
    ("me/drive/root", &["Files.Read", "Files.ReadWrite"]),
    ("me/chats", &["Chat.Read", "Chat.ReadWrite"]),
    ("chats", &["Chat.Read", "Chat.ReadWrite"]),
];

pub(super) fn route(call: &Call<'_>, path: &Path) -> Answer {
    match (call.method(), path.low().as_slice()) {
        ("POST", ["subscriptions"]) => create(call),
        ("GET" | "PATCH" | "DELETE", ["subscriptions", _]) => Err(not_found()),
        ("GET", ["subscriptions"]) => Ok(Reply::json(200, &json!({"value": []}))),
        _ => Err(not_allowed()),
    }
}

fn create(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let wanted = |name: &str| text(&body, name).filter(|text| !text.is_empty());
    let named = (wanted("/resource"), wanted("/notificationUrl"), wanted("/expirationDateTime"));
    let (Some(resource), Some(address), Some(expires)) = named else {
        return Err(error(
            400,
            "InvalidRequest",
            "resource, notificationUrl and expirationDateTime are needed.",
        ));
    };
    let plain = resource.trim_start_matches('/').to_ascii_lowercase();
    let found = WATCHED.iter().find(|(path, _)| plain.starts_with(path));
    let (_, scopes) = found.ok_or_else(|| error(400, "InvalidRequest", "The resource cannot be watched."))?;
    call.need(scopes)?;
    let id = guid("entra:subscription", call.desk.world(|world| world.next_id()));
    Ok(Reply::json(
        201,
        &json!({
            "id": id, "resource": resource, "changeType": body.get("changeType"), "notificationUrl": address,
            "expirationDateTime": expires, "creatorId": object_id(&call.me),
        }),
    ))
}
