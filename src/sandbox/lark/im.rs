//! Chats and messages, as the user.

use serde_json::{Value, json};

use crate::sandbox::office::{Chat, Message};

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::{TENANT, mint, open_id};

const CHATS: &[&str] = &["im:chat:read"];
const MEMBERS: &[&str] = &["im:chat.members:read"];
const SEND: &[&str] = &["im:message"];
const AS_USER: &[&str] = &["im:message.send_as_user"];

/// Reading as the user needs one of these beside the scope that opens the route.
const HISTORY: &[&str] = &["im:message.p2p_msg:get_as_user", "im:message.group_msg:get_as_user"];

pub(super) const ROUTES: &[Route] = &[
    read("GET /im/v1/messages", messages),
    read("GET /im/v1/messages/{message_id}", message),
    read("GET /im/v1/messages/{message_id}/reactions", reactions),
    read("GET /im/v1/pins", pins),
    send("POST /im/v1/messages", post),
    send("POST /im/v1/messages/{message_id}/reply", answer),
    send("DELETE /im/v1/messages/{message_id}", recall),
    route("GET /im/v1/chats", CHATS, chats),
    route("GET /im/v1/chats/search", CHATS, search_chats),
    route("GET /im/v1/chats/{chat_id}", CHATS, chat),
    route("POST /im/v1/chats/{chat_id}/link", CHATS, invitation),
    route("GET /im/v1/chats/{chat_id}/members", MEMBERS, members),
    route("GET /im/v1/chats/{chat_id}/members/is_in_chat", MEMBERS, is_in_chat),
    route("POST /search/v2/message", &["search:message"], search),
];

const fn read(call: &'static str, run: fn(&Call<'_>) -> Answer) -> Route {
    Route { call, scopes: &["im:message:readonly", "im:message"], also: HISTORY, run }
}

const fn send(call: &'static str, run: fn(&Call<'_>) -> Answer) -> Route {
    Route { call, scopes: SEND, also: AS_USER, run }
}

fn invalid() -> Refusal {
    Refusal::new(400, 230_001, "Your request contains an invalid request parameter.")
}

fn outside() -> Refusal {
    Refusal::new(400, 230_002, "The user can not be outside the group.")
}

fn own_chat(call: &Call<'_>, id: &str) -> Result<Chat, Refusal> {
    let papers = call.office.papers();
    let found = papers.chats.iter().find(|chat| chat.id == id && chat.members.iter().any(|m| m == call.me()));
    found.cloned().ok_or_else(outside)
}

/// Whether the token's scopes reach that sort of chat.
fn reached(call: &Call<'_>, chat: &Chat) -> Result<(), Refusal> {
    let [direct, group] = ["im:message.p2p_msg:get_as_user", "im:message.group_msg:get_as_user"];
    let needed = if chat.direct { direct } else { group };
    if call.scopes.contains(needed) {
        Ok(())
    } else {
        Err(Refusal::new(
            400,
            230_027,
            &format!("Lack of necessary permissions, ext=requires {needed} scope."),
        ))
    }
}

fn shown(message: &Message) -> Value {
    let mut shown = json!({
        "message_id": message.id,
        "msg_type": "text",
        "create_time": message.at.millis().to_string(),
        "update_time": message.at.millis().to_string(),
        "deleted": message.recalled,
        "updated": false,
        "chat_id": message.chat,
        "sender": {
            "id": open_id(&message.from), "id_type": "open_id", "sender_type": "user", "tenant_key": TENANT,
        },
        "body": {"content": json!({"text": message.text}).to_string()},
    });
    if let (Some(parent), Some(members)) = (&message.parent, shown.as_object_mut()) {
        members.insert("parent_id".to_owned(), json!(parent));
        members.insert("root_id".to_owned(), json!(parent));
    }
    shown
}

fn messages(call: &Call<'_>) -> Answer {
    if call.query.get("container_id_type") != Some("chat") {
        return Err(invalid());
    }
    let chat = own_chat(call, call.query.get("container_id").unwrap_or_default())?;
    reached(call, &chat)?;
    let bound = |name: &str| {
        call.query.filled(name).map(|text| text.parse::<i64>().map_err(|_| invalid())).transpose()
    };
    let (start, end) = (bound("start_time")?, bound("end_time")?);
    let newest_first = call.query.get("sort_type") == Some("ByCreateTimeDesc");
    let mut found: Vec<Value> = {
        let papers = call.office.papers();
        let within = |m: &&Message| {
            m.chat == chat.id
                && start.is_none_or(|start| m.at.secs() >= start)
                && end.is_none_or(|end| m.at.secs() <= end)
        };
        papers.messages.iter().filter(within).map(shown).collect()
    };
    if newest_first {
        found.reverse();
    }
    call.list("items", found, 20, 50)
}

fn own_message(call: &Call<'_>) -> Result<(Message, Chat), Refusal> {
    let id = call.path.get("message_id");
    let message = call.office.papers().messages.iter().find(|message| message.id == id).cloned();
    let message = message.ok_or_else(invalid)?;
    let chat = own_chat(call, &message.chat)?;
    Ok((message, chat))
}

fn message(call: &Call<'_>) -> Answer {
    let (message, chat) = own_message(call)?;
    reached(call, &chat)?;
    ok(json!({"items": [shown(&message)]}))
}

/// Nobody has reacted to anything here.
fn reactions(call: &Call<'_>) -> Answer {
    let (_, chat) = own_message(call)?;
    reached(call, &chat)?;
    call.list("items", Vec::new(), 10, 50)
}

/// Nothing is pinned here.
fn pins(call: &Call<'_>) -> Answer {
    let chat = own_chat(call, call.query.get("chat_id").unwrap_or_default())?;
    reached(call, &chat)?;
    call.list("items", Vec::new(), 20, 50)
}

/// The text of a request to send: only text messages are known here.
fn text(body: &Value) -> Result<String, Refusal> {
    if body.get("msg_type").and_then(Value::as_str) != Some("text") {
        return Err(invalid());
    }
    let content = body.get("content").and_then(Value::as_str).ok_or_else(invalid)?;
    let content: Value = serde_json::from_str(content).map_err(|_| invalid())?;
    content.get("text").and_then(Value::as_str).map(str::to_owned).ok_or_else(invalid)
}

fn deliver(call: &Call<'_>, chat: String, text: String, parent: Option<String>) -> Answer {
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "message");
    let (from, at) = (call.me().to_owned(), call.office.now());
    let message = Message { id, chat, from, text, at, parent, recalled: false };
    let data = shown(&message);
    papers.messages.push(message);
    ok(data)
}

fn post(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let to = body.get("receive_id").and_then(Value::as_str).ok_or_else(invalid)?;
    let text = text(&body)?;
    let chat = match call.query.get("receive_id_type") {
        Some("chat_id") => own_chat(call, to)?.id,
        Some("open_id" | "union_id" | "user_id" | "email") => {
            let person = call
                .employee(to)
                .ok_or_else(|| Refusal::new(400, 230_013, "NO availability to this user."))?;
            direct_chat(call, &person.email)
        }
        _ => return Err(invalid()),
    };
    deliver(call, chat, text, None)
}

/// The chat between the user and somebody else, made when there is none.
fn direct_chat(call: &Call<'_>, other: &str) -> String {
    let mut papers = call.office.papers();
    let both = |chat: &&Chat| {
        chat.direct && [call.me(), other].iter().all(|who| chat.members.iter().any(|m| m == who))
    };
    if let Some(found) = papers.chats.iter().find(both) {
        return found.id.clone();
    }
    let id = call.office.id(&mut papers, "chat");
    let members = vec![call.me().to_owned(), other.to_owned()];
    papers.chats.push(Chat { id: id.clone(), name: String::new(), members, direct: true });
    id
}

fn answer(call: &Call<'_>) -> Answer {
    let (message, chat) = own_message(call)?;
    deliver(call, chat.id, text(&call.body()?)?, Some(message.id))
}

fn recall(call: &Call<'_>) -> Answer {
    let (message, _) = own_message(call)?;
    if message.from != call.me() {
        return Err(Refusal::new(400, 230_027, "Lack of necessary permissions."));
    }
    let mut papers = call.office.papers();
    for own in papers.messages.iter_mut().filter(|own| own.id == message.id) {
        own.recalled = true;
        own.text.clear();
    }
    ok(json!({}))
}

fn shown_chat(chat: &Chat) -> Value {
    json!({
        "chat_id": chat.id, "avatar": "", "name": chat.name, "description": "",
        "owner_id": chat.members.first().map(|email| open_id(email)), "owner_id_type": "open_id",
        "external": false, "tenant_key": TENANT, "chat_status": "normal",
    })
}

/// The user's group chats; a list of chats never holds those between two people.
fn own_groups(call: &Call<'_>, name: &str) -> Vec<Value> {
    let papers = call.office.papers();
    let own = papers.chats.iter().filter(|c| !c.direct && c.members.iter().any(|m| m == call.me()));
    own.filter(|chat| chat.name.to_lowercase().contains(&name.to_lowercase())).map(shown_chat).collect()
}

fn chats(call: &Call<'_>) -> Answer {
    call.list("items", own_groups(call, ""), 20, 100)
}

fn search_chats(call: &Call<'_>) -> Answer {
    call.list("items", own_groups(call, call.query.get("query").unwrap_or_default()), 20, 100)
}

fn chat(call: &Call<'_>) -> Answer {
    let chat = own_chat(call, call.path.get("chat_id"))?;
    ok(json!({
        "name": chat.name, "description": "", "owner_id_type": "open_id",
        "owner_id": chat.members.first().map(|email| open_id(email)),
        "chat_mode": if chat.direct { "p2p" } else { "group" }, "chat_type": "private",
        "external": false, "tenant_key": TENANT, "user_count": chat.members.len().to_string(), "bot_count": "0",
    }))
}

/// A link by which others join: reading chats opens making one.
fn invitation(call: &Call<'_>) -> Answer {
    let chat = own_chat(call, call.path.get("chat_id"))?;
    let link = format!(
        "https://applink.feishu.cn/client/chat/chatter/add_by_link?link_token={}",
        mint("link", &chat.id)
    );
    ok(json!({"share_link": link, "expire_time": "", "is_permanent": true}))
}

fn members(call: &Call<'_>) -> Answer {
    let chat = own_chat(call, call.path.get("chat_id"))?;
    let member = |email: &String| {
        json!({
            "member_id_type": "open_id", "member_id": open_id(email), "tenant_key": TENANT,
            "name": call.employee(email).map(|person| person.name_zh),
        })
    };
    let items: Vec<Value> = chat.members.iter().map(member).collect();
    let total = items.len();
    let page = call.page(items, 20, 100)?;
    let has_more = page.next.is_some();
    let next = page.next.unwrap_or_default();
    ok(json!({"items": page.items, "page_token": next, "has_more": has_more, "member_total": total}))
}

fn is_in_chat(call: &Call<'_>) -> Answer {
    ok(json!({"is_in_chat": own_chat(call, call.path.get("chat_id")).is_ok()}))
}

fn search(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let wanted = body.get("query").and_then(Value::as_str).filter(|query| !query.is_empty());
    let wanted = wanted.ok_or_else(invalid)?.to_lowercase();
    let found = {
        let papers = call.office.papers();
        let mine = |message: &&Message| {
            papers.chats.iter().any(|c| c.id == message.chat && c.members.iter().any(|m| m == call.me()))
        };
        let hits = papers.messages.iter().filter(mine).filter(|m| m.text.to_lowercase().contains(&wanted));
        hits.map(|message| json!(message.id)).collect()
    };
    call.list("items", found, 20, 50)
}
