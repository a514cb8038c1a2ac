//! Mailboxes: `me`, or the user's own address.

use serde_json::{Value, json};

use crate::kernel::encode;
use crate::sandbox::office::Mail;

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::mint;

const READ: &[&str] = &["mail:user_mailbox.message:readonly"];
const FOLDERS: &[&str] = &["mail:user_mailbox.folder:read"];
const MODIFY: &[&str] = &["mail:user_mailbox.message:modify"];

pub(super) const ROUTES: &[Route] = &[
    route("GET /mail/v1/user_mailboxes/{user_mailbox_id}/messages", READ, messages),
    route("GET /mail/v1/user_mailboxes/{user_mailbox_id}/messages/{message_id}", READ, message),
    route("POST /mail/v1/user_mailboxes/{user_mailbox_id}/messages/batch_get", READ, several),
    route("GET /mail/v1/user_mailboxes/{user_mailbox_id}/threads", READ, threads),
    route("GET /mail/v1/user_mailboxes/{user_mailbox_id}/threads/{thread_id}", READ, thread),
    route("GET /mail/v1/user_mailboxes/{user_mailbox_id}/labels", READ, labels),
    route("GET /mail/v1/user_mailboxes/{user_mailbox_id}/drafts", READ, drafts),
    route("GET /mail/v1/user_mailboxes/{user_mailbox_id}/drafts/{draft_id}", READ, draft),
    route("GET /mail/v1/user_mailboxes/{user_mailbox_id}/folders", FOLDERS, folders),
    route("GET /mail/v1/user_mailboxes/{user_mailbox_id}/folders/{folder_id}", FOLDERS, folder),
    route(
        "POST /mail/v1/user_mailboxes/{user_mailbox_id}/messages/send",
        &["mail:user_mailbox.message:send"],
        send,
    ),
    route(
        "POST /mail/v1/user_mailboxes/{user_mailbox_id}/drafts/{draft_id}/send",
        &["mail:user_mailbox.message:send"],
        send_draft,
    ),
    route("POST /mail/v1/user_mailboxes/{user_mailbox_id}/messages/batch_modify", MODIFY, modify_several),
    route("POST /mail/v1/user_mailboxes/{user_mailbox_id}/messages/{message_id}/trash", MODIFY, trash),
    route("POST /mail/v1/user_mailboxes/{user_mailbox_id}/messages/batch_trash", MODIFY, trash_several),
    route("PUT /mail/v1/user_mailboxes/{user_mailbox_id}/messages/{message_id}/modify", MODIFY, modify),
];

const SYSTEM: [(&str, &str); 6] = [
    ("INBOX", "Inbox"),
    ("SENT", "Sent"),
    ("DRAFT", "Drafts"),
    ("TRASH", "Trash"),
    ("SPAM", "Spam"),
    ("ARCHIVED", "Archive"),
];

fn invalid() -> Refusal {
    Refusal::new(400, 1_234_008, "wrong parameters")
}

fn no_message() -> Refusal {
    Refusal::new(404, 1_234_034, "message not found")
}

/// The mailbox must be the user's own: with a user's token there is no other.
fn own_mailbox(call: &Call<'_>) -> Result<(), Refusal> {
    let id = call.path.get("user_mailbox_id");
    if id == "me" || id.eq_ignore_ascii_case(call.me()) {
        Ok(())
    } else if call.employee(id).is_some() {
        Err(Refusal::new(403, 1_234_017, "permission denied"))
    } else {
        Err(Refusal::new(404, 1_235_013, "mailbox not found"))
    }
}

fn folder_id(name: &str) -> String {
    SYSTEM
        .iter()
        .find(|(_, known)| *known == name)
        .map_or_else(|| mint("folder", name), |(id, _)| (*id).to_owned())
}

fn own_mails(call: &Call<'_>) -> Result<Vec<Mail>, Refusal> {
    own_mailbox(call)?;
    let mut own: Vec<Mail> =
        call.office.papers().mails.iter().filter(|m| m.owner == call.me()).cloned().collect();
    own.sort_by_key(|mail| std::cmp::Reverse(mail.at));
    Ok(own)
}

fn page_size(call: &Call<'_>) -> Result<(), Refusal> {
    // The size has no default here.
    if call.query.filled("page_size").is_some() { Ok(()) } else { Err(invalid()) }
}

fn listed(call: &Call<'_>) -> Result<Vec<Mail>, Refusal> {
    page_size(call)?;
    let mut mails = own_mails(call)?;
    if let Some(folder) = call.query.filled("folder_id") {
        mails.retain(|mail| folder_id(&mail.folder) == folder);
    } else if call.query.filled("label_id").is_some() {
        mails.clear();
    }
    if call.query.get("only_unread") == Some("true") {
        mails.retain(|mail| mail.unread);
    }
    Ok(mails)
}

fn messages(call: &Call<'_>) -> Answer {
    let ids = listed(call)?.iter().map(|mail| json!(mail.id)).collect();
    call.list("items", ids, 20, 20)
}

/// A mail with the fields that the token's scopes open.
fn shown(call: &Call<'_>, mail: &Mail) -> Value {
    let address = |email: &String| json!({"mail_address": email, "name": email.split('@').next()});
    let mut shown = json!({
        "message_id": mail.id,
        "thread_id": mail.thread,
        "internal_date": mail.at.millis().to_string(),
        "message_state": if mail.folder == "Sent" { 2 } else { 1 },
        "smtp_message_id": format!("{}@example.com", mail.id),
        "folder_id": folder_id(&mail.folder),
        "label_ids": if mail.unread { vec!["UNREAD"] } else { Vec::new() },
    });
    let text = encode::base64url(mail.body.as_bytes());
    let by_scope = [
        ("subject", "subject", json!(mail.subject)),
        ("address", "head_from", address(&mail.from)),
        ("address", "to", mail.to.iter().map(address).collect()),
        ("address", "cc", json!([])),
        ("address", "bcc", json!([])),
        ("body", "body_html", json!(text)),
        ("body", "body_plain_text", json!(text)),
        ("body", "body_preview", json!(mail.body.chars().take(40).collect::<String>())),
        ("body", "attachments", json!([])),
    ];
    if let Some(members) = shown.as_object_mut() {
        for (part, name, value) in by_scope {
            if call.scopes.contains(&format!("mail:user_mailbox.message.{part}:read")) {
                members.insert(name.to_owned(), value);
            }
        }
    }
    shown
}

fn find(call: &Call<'_>) -> Result<Mail, Refusal> {
    let id = call.path.get("message_id");
    own_mails(call)?.into_iter().find(|mail| mail.id == id).ok_or_else(no_message)
}

fn message(call: &Call<'_>) -> Answer {
    ok(json!({"message": shown(call, &find(call)?)}))
}

fn ids(body: &Value, name: &str) -> Result<Vec<String>, Refusal> {
    let list = body.get(name).and_then(Value::as_array).filter(|list| (1..=20).contains(&list.len()));
    Ok(list.ok_or_else(invalid)?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn several(call: &Call<'_>) -> Answer {
    let ids = ids(&call.body()?, "message_ids")?;
    let mails = own_mails(call)?;
    let found = mails.iter().filter(|mail| ids.contains(&mail.id)).map(|mail| shown(call, mail));
    ok(json!({"messages": found.collect::<Vec<_>>()}))
}

fn threads(call: &Call<'_>) -> Answer {
    let mut ids: Vec<String> = listed(call)?.into_iter().map(|mail| mail.thread).collect();
    ids.dedup();
    call.list("items", ids.into_iter().map(Value::from).collect(), 20, 20)
}

fn thread(call: &Call<'_>) -> Answer {
    let id = call.path.get("thread_id");
    let mails = own_mails(call)?;
    let found: Vec<Value> =
        mails.iter().filter(|mail| mail.thread == id).map(|mail| shown(call, mail)).collect();
    if found.is_empty() {
        Err(no_message())
    } else {
        ok(json!({"thread": {"thread_id": id, "messages": found}}))
    }
}

fn labels(call: &Call<'_>) -> Answer {
    own_mailbox(call)?;
    ok(json!({"items": []}))
}

fn drafts(call: &Call<'_>) -> Answer {
    page_size(call)?;
    let drafts = own_mails(call)?.into_iter().filter(|mail| mail.folder == "Drafts");
    call.list("items", drafts.map(|mail| json!(mail.id)).collect(), 20, 20)
}

fn draft(call: &Call<'_>) -> Answer {
    let id = call.path.get("draft_id");
    let mails = own_mails(call)?;
    let found = mails.iter().find(|mail| mail.id == id && mail.folder == "Drafts").ok_or_else(no_message)?;
    ok(json!({"draft": {"draft_id": id, "message": shown(call, found)}}))
}

fn all_folders(call: &Call<'_>) -> Result<Vec<Value>, Refusal> {
    let mails = own_mails(call)?;
    let mut names: Vec<&str> = SYSTEM.iter().map(|(_, name)| *name).collect();
    for mail in &mails {
        if !names.contains(&mail.folder.as_str()) {
            names.push(&mail.folder);
        }
    }
    let folder = |name: &str| {
        let unread = mails.iter().filter(|mail| mail.folder == name && mail.unread).count();
        json!({
            "id": folder_id(name), "name": name, "parent_folder_id": "0",
            "folder_type": if SYSTEM.iter().any(|(_, known)| *known == name) { 1 } else { 2 },
            "unread_message_count": unread, "unread_thread_count": unread,
        })
    };
    Ok(names.into_iter().map(folder).collect())
}

fn folders(call: &Call<'_>) -> Answer {
    ok(json!({"items": all_folders(call)?}))
}

fn folder(call: &Call<'_>) -> Answer {
    let id = json!(call.path.get("folder_id"));
    let found = all_folders(call)?.into_iter().find(|folder| folder.get("id") == Some(&id));
    ok(json!({"folder": found.ok_or_else(|| Refusal::new(404, 1_234_034, "folder not found"))?}))
}

/// Subject, receivers and text of a request to send, from its members or from a raw message (RFC 5322).
fn composed(body: &Value) -> Option<(String, Vec<String>, String)> {
    if let Some(raw) = body.get("raw").and_then(Value::as_str) {
        let raw = String::from_utf8(encode::from_base64url(raw.trim_end_matches('='))?).ok()?;
        let (head, text) = raw.split_once("\r\n\r\n").or_else(|| raw.split_once("\n\n"))?;
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let to = header("to")?;
        let address =
            |part: &str| part.rsplit('<').next().unwrap_or(part).trim_end_matches('>').trim().to_owned();
        return Some((
            header("subject").unwrap_or_default(),
            to.split(',').map(address).collect(),
            text.to_owned(),
        ));
    }
    let to = body.get("to")?.as_array()?;
    let to: Vec<String> =
        to.iter().filter_map(|t| t.get("mail_address")?.as_str().map(str::to_owned)).collect();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    Some((text("subject").unwrap_or_default(), to, text("body_plain_text").or_else(|| text("body_html"))?))
}

fn send(call: &Call<'_>) -> Answer {
    own_mailbox(call)?;
    let composed = composed(&call.body()?).filter(|(_, to, _)| !to.is_empty());
    let (subject, to, body) = composed.ok_or_else(invalid)?;
    let colleagues: Vec<String> = call.desk.world(|w| w.employees().map(|p| p.email.clone()).collect());
    let mut papers = call.office.papers();
    let mut mail = Mail {
        id: call.office.id(&mut papers, "mail"),
        thread: call.office.id(&mut papers, "thread"),
        owner: call.me().to_owned(),
        folder: "Sent".to_owned(),
        from: call.me().to_owned(),
        to,
        subject,
        body,
        at: call.office.now(),
        unread: false,
    };
    let data = json!({"message_id": mail.id, "thread_id": mail.thread});
    papers.mails.push(mail.clone());
    for receiver in mail.to.clone().into_iter().filter(|to| colleagues.contains(to)) {
        mail.id = call.office.id(&mut papers, "mail");
        papers.mails.push(Mail { owner: receiver, folder: "Inbox".to_owned(), unread: true, ..mail.clone() });
    }
    ok(data)
}

fn send_draft(call: &Call<'_>) -> Answer {
    let id = call.path.get("draft_id");
    let mails = own_mails(call)?;
    let draft = mails.iter().find(|mail| mail.id == id && mail.folder == "Drafts").ok_or_else(no_message)?;
    move_to(call, std::slice::from_ref(&draft.id), "Sent");
    ok(json!({"message_id": draft.id, "thread_id": draft.thread}))
}

fn move_to(call: &Call<'_>, ids: &[String], folder: &str) {
    let mut papers = call.office.papers();
    for mail in papers.mails.iter_mut().filter(|mail| mail.owner == call.me() && ids.contains(&mail.id)) {
        folder.clone_into(&mut mail.folder);
    }
}

fn trash(call: &Call<'_>) -> Answer {
    let mail = find(call)?;
    move_to(call, &[mail.id], "Trash");
    ok(json!({}))
}

fn trash_several(call: &Call<'_>) -> Answer {
    own_mailbox(call)?;
    move_to(call, &ids(&call.body()?, "message_ids")?, "Trash");
    ok(json!({}))
}

fn modify(call: &Call<'_>) -> Answer {
    let mail = find(call)?;
    change(call, &[mail.id], &call.body()?)
}

fn modify_several(call: &Call<'_>) -> Answer {
    own_mailbox(call)?;
    let body = call.body()?;
    change(call, &ids(&body, "message_ids")?, &body)
}

/// Moves the user's mails and turns the label that marks the unread ones.
fn change(call: &Call<'_>, ids: &[String], body: &Value) -> Answer {
    let folder = match body.get("add_folder").and_then(Value::as_str) {
        Some(id) => Some(SYSTEM.iter().find(|(known, _)| *known == id).ok_or_else(invalid)?.1),
        None => None,
    };
    let has = |name: &str| {
        body.get(name).and_then(Value::as_array).is_some_and(|labels| labels.contains(&json!("UNREAD")))
    };
    if let Some(folder) = folder {
        move_to(call, ids, folder);
    }
    let mut papers = call.office.papers();
    for own in papers.mails.iter_mut().filter(|own| own.owner == call.me() && ids.contains(&own.id)) {
        own.unread = (own.unread || has("add_label_ids")) && !has("remove_label_ids");
    }
    ok(json!({}))
}
