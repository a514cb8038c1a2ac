//! `/chats` and `/me/chats`.

use serde_json::{Value, json};

use crate::sandbox::entra::graph::odata::{list, single};
use crate::sandbox::entra::graph::{Answer, Call, Path, error, not_allowed, text};
use crate::sandbox::entra::{TENANT, object_id};
use crate::sandbox::wire::Reply;
use crate::sandbox::world::{Chat, ChatMessage, guid, iso};

const READ: &[&str] = &["Chat.Read", "Chat.ReadWrite"];
const READ_BASIC: &[&str] = &["Chat.ReadBasic", "Chat.Read", "Chat.ReadWrite"];
const SEND: &[&str] = &["ChatMessage.Send", "Chat.ReadWrite"];

fn chat_id(chat: &Chat) -> String {
    let kind = if chat.one_on_one { "unq.gbl.spaces" } else { "thread.v2" };
    format!("19:{}@{kind}", guid("entra:chat", chat.id).replace('-', ""))
}

/// Answers `/chats/…`, and `/me/chats/…`, which is the same.
pub(super) fn route(call: &Call<'_>, path: &Path) -> Answer {
    if path.low.len() == 1 {
        if call.method() != "GET" {
            return Err(not_allowed());
        }
        call.need(READ_BASIC)?;
        let own: Vec<Chat> = call.desk.world(|world| world.chats_of(&call.me.email).cloned().collect());
        return list(call, "chats", own.iter().map(|chat| expanded(call, chat)).collect(), 20);
    }
    let mine = |chat: &&Chat| chat_id(chat) == path.raw(1);
    let chat = call.desk.world(|world| world.chats_of(&call.me.email).find(mine).cloned());
    // A chat that one is not in reads as one that does not exist.
    let missing = || error(404, "NotFound", "NotFound: the chat was not found, or the user is not in it.");
    match (call.method(), path.below(2).low().as_slice()) {
        ("GET", []) => {
            call.need(READ_BASIC)?;
            single(call, "chats", expanded(call, &chat.ok_or_else(missing)?))
        }
        ("GET", ["members"]) => {
            call.need(READ_BASIC)?;
            list(call, "chats/members", members(call, &chat.ok_or_else(missing)?), 100)
        }
        ("GET", ["pinnedmessages"]) => {
            call.need(READ)?;
            chat.ok_or_else(missing)?;
            list(call, "chats/pinnedMessages", Vec::new(), 100)
        }
        ("GET", ["messages"]) => {
            call.need(READ)?;
            let chat = chat.ok_or_else(missing)?;
            let newest_first = chat.messages.iter().rev().map(|m| message_json(call, &chat, m)).collect();
            list(call, "chats/messages", newest_first, 20)
        }
        ("GET", ["messages", _]) => {
            call.need(READ)?;
            let chat = chat.ok_or_else(missing)?;
            let found = chat.messages.iter().find(|m| m.id.to_string() == path.raw(3)).ok_or_else(missing)?;
            single(call, "chats/messages", message_json(call, &chat, found))
        }
        ("POST", ["messages"]) => {
            call.need(SEND)?;
            post(call, &chat.ok_or_else(missing)?)
        }
        _ => Err(not_allowed()),
    }
}

fn post(call: &Call<'_>, chat: &Chat) -> Answer {
    let body = call.body()?;
    let content = text(&body, "/body/content").filter(|content| !content.is_empty());
    let content = content.ok_or_else(|| error(400, "BadRequest", "Missing body content."))?;
    let now = call.desk.now().secs();
    let message = call.desk.world(|world| {
        let message = ChatMessage {
            id: world.next_id(),
            from: call.me.email.clone(),
            sent: now,
            text: content.to_owned(),
        };
        if let Some(found) = world.chats.iter_mut().find(|c| c.id == chat.id) {
            found.messages.push(message.clone());
        }
        message
    });
    Ok(Reply::json(201, &message_json(call, chat, &message)))
}

fn chat_json(chat: &Chat) -> Value {
    json!({
        "id": chat_id(chat),
        "topic": (!chat.one_on_one).then_some(&chat.topic),
        "chatType": if chat.one_on_one { "oneOnOne" } else { "group" },
        "createdDateTime": iso(chat.messages.first().map_or(0, |m| m.sent)),
        "lastUpdatedDateTime": iso(chat.messages.last().map_or(0, |m| m.sent)),
        "tenantId": TENANT,
    })
}

/// A chat with what `$expand` brings along.
fn expanded(call: &Call<'_>, chat: &Chat) -> Value {
    let mut shown = chat_json(chat);
    if let Some(members_of) = shown.as_object_mut() {
        if call.expands("members") {
            members_of.insert("members".to_owned(), Value::Array(members(call, chat)));
        }
        if let (true, Some(last)) = (call.expands("lastmessagepreview"), chat.messages.last()) {
            members_of.insert("lastMessagePreview".to_owned(), message_json(call, chat, last));
        }
    }
    shown
}

/// Every message of every chat that the caller is in.
pub(super) fn all_messages(call: &Call<'_>) -> Vec<Value> {
    let own: Vec<Chat> = call.desk.world(|world| world.chats_of(&call.me.email).cloned().collect());
    own.iter().flat_map(|chat| chat.messages.iter().map(|m| message_json(call, chat, m))).collect()
}

fn members(call: &Call<'_>, chat: &Chat) -> Vec<Value> {
    chat.members
        .iter()
        .filter_map(|email| call.desk.person(email))
        .map(|person| {
            json!({
                "@odata.type": "#microsoft.graph.aadUserConversationMember",
                "id": guid("entra:member", person.id),
                "roles": ["owner"],
                "displayName": person.name,
                "userId": object_id(&person),
                "email": person.email,
                "tenantId": TENANT,
            })
        })
        .collect()
}

fn message_json(call: &Call<'_>, chat: &Chat, message: &ChatMessage) -> Value {
    let from = call.desk.person(&message.from);
    let user = from.map(
        |person| json!({"id": object_id(&person), "displayName": person.name, "userIdentityType": "aadUser"}),
    );
    json!({
        "id": message.id.to_string(),
        "messageType": "message",
        "createdDateTime": iso(message.sent),
        "chatId": chat_id(chat),
        "importance": "normal",
        "from": {"user": user},
        "body": {"contentType": "text", "content": message.text},
        "attachments": [],
    })
}
