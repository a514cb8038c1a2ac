//! Messages of the app: sending only, nobody's chats can be read.

use serde_json::{Value, json};

use crate::sandbox::office::{Chat, Message, Papers};

use super::AGENT;
use super::api::{Answer, Call, Refusal, Route, ok, route};

pub(super) const ROUTES: &[Route] = &[
    route("POST /message/send", send),
    route("POST /message/recall", recall),
    route("POST /appchat/create", create_chat),
    route("GET /appchat/get", chat),
    route("POST /appchat/send", send_to_chat),
];

/// The app's name as a sender.
const APP: &str = "app";

/// The text of a message; other types are not known here.
fn content<'a>(call: &'a Call<'_>) -> Result<&'a str, Refusal> {
    match call.text("/msgtype")? {
        "text" => call.text("/text/content"),
        "markdown" => call.text("/markdown/content"),
        _ => Err(Refusal::new(40008, "invalid message type")),
    }
}

fn enter(call: &Call<'_>, papers: &mut Papers, to: &str, text: &str) -> String {
    let id = call.office.id(papers, "message");
    let (chat, from, text) = (to.to_owned(), APP.to_owned(), text.to_owned());
    let at = call.office.now();
    papers.messages.push(Message { id: id.clone(), chat, from, text, at, parent: None, recalled: false });
    id
}

/// The app may write to everybody in its range, also to all at once.
fn send(call: &Call<'_>) -> Answer {
    let agent = call.body.get("agentid");
    let agent =
        agent.and_then(|id| id.as_str().map(str::to_owned).or_else(|| Some(id.as_i64()?.to_string())));
    if agent.as_deref() != Some(AGENT) {
        return Err(Refusal::new(40056, "invalid agentid"));
    }
    let text = content(call)?;
    let (people, parties) = (call.text_or_empty("/touser"), call.text_or_empty("/toparty"));
    if people.is_empty() && parties.is_empty() && call.text_or_empty("/totag").is_empty() {
        return Err(Refusal::new(40003, "invalid userid"));
    }
    let everybody = people == "@all" || !parties.is_empty();
    let members: Vec<String> =
        call.desk.world(|world| world.employees().map(|person| person.key.clone()).collect());
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let named: Vec<&str> = people.split('|').filter(|id| !id.is_empty() && *id != "@all").collect();
    let (known, unknown): (Vec<&str>, Vec<&str>) = named.into_iter().partition(|id| members.contains(id));
    let receivers = if everybody { members } else { known };
    if receivers.is_empty() {
        return Err(Refusal::new(81013, "user & party & tag all invalid"));
    }
    let mut papers = call.office.papers();
    let id = enter(call, &mut papers, &receivers.join("|"), text);
    ok(json!({"msgid": id, "invaliduser": unknown.join("|")}))
}

fn recall(call: &Call<'_>) -> Answer {
    let id = call.text("/msgid")?;
    let mut papers = call.office.papers();
    let own = papers.messages.iter_mut().find(|message| message.id == id);
    own.ok_or(Refusal::parameter())?.recalled = true;
    ok(json!({}))
}

fn create_chat(call: &Call<'_>) -> Answer {
    let ids = call.texts("/userlist")?;
    let known: Option<Vec<String>> =
        ids.iter().map(|id| call.member(id).map(|person| person.key.to_owned())).collect();
    let members =
        known.filter(|members| members.len() >= 2).ok_or(Refusal::new(86215, "invalid userlist"))?;
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "chat");
    let name = call.text_or_empty("/name");
    papers.chats.push(Chat { id: id.clone(), name, members, direct: false });
    ok(json!({"chatid": id}))
}

fn chat(call: &Call<'_>) -> Answer {
    let id = call.query.filled("chatid").ok_or(Refusal::parameter())?;
    let papers = call.office.papers();
    let chat = papers.chats.iter().find(|chat| chat.id == id).ok_or(Refusal::new(86003, "invalid chatid"))?;
    let info: Value = json!({
        "chatid": chat.id, "name": chat.name, "owner": chat.members.first(), "userlist": chat.members,
    });
    ok(json!({"chat_info": info}))
}

fn send_to_chat(call: &Call<'_>) -> Answer {
    let id = call.text("/chatid")?;
    let text = content(call)?;
    let mut papers = call.office.papers();
    if !papers.chats.iter().any(|chat| chat.id == id) {
        return Err(Refusal::new(86003, "invalid chatid"));
    }
    enter(call, &mut papers, id, text);
    ok(json!({}))
}
