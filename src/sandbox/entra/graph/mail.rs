//! `/me/messages`, `/me/mailFolders`, `/me/sendMail`.

mod send;

use serde_json::{Value, json};

use crate::kernel::encode;
use crate::sandbox::entra::graph::odata::{count, list, single};
use crate::sandbox::entra::graph::{Answer, Call, Path, error, not_allowed, not_found, text};
use crate::sandbox::wire::Reply;
use crate::sandbox::world::{Address, Attachment, Folder, Mail, Person, iso, opaque};

const READ: &[&str] = &["Mail.Read", "Mail.ReadWrite"];
const READ_BASIC: &[&str] = &["Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite"];
const WRITE: &[&str] = &["Mail.ReadWrite"];
const WHAT: &str = "users('me')/messages";

/// Names that stand for folders in every mailbox: as a key, in the world, and as people see them.
const WELL_KNOWN: &[(&str, &str, &str)] = &[
    ("inbox", "Inbox", "Inbox"),
    ("drafts", "Drafts", "Drafts"),
    ("sentitems", "Sent", "Sent Items"),
    ("archive", "Archive", "Archive"),
    ("deleteditems", "Trash", "Deleted Items"),
];

fn message_id(mail: &Mail) -> String {
    format!("AAMk{}", opaque("entra:mail", mail.id, 64))
}

fn folder_id(id: u64) -> String {
    format!("AQMk{}", opaque("entra:folder", id, 44))
}

fn attachment_id(attachment: &Attachment) -> String {
    format!("AAMkAt{}", opaque("entra:attachment", attachment.id, 50))
}

pub(super) fn route(call: &Call<'_>, path: &Path) -> Answer {
    match (call.method(), path.low().as_slice()) {
        ("POST", ["sendmail"]) => send::new(call),
        ("GET", ["messages", "$count"]) => {
            call.need(READ_BASIC)?;
            count(call, render(call, &call.me.mail.iter().collect::<Vec<_>>()))
        }
        ("GET", ["messages"]) => {
            call.need(READ_BASIC)?;
            list(call, WHAT, render(call, &call.me.mail.iter().collect::<Vec<_>>()), 10)
        }
        ("POST", ["messages"]) => create(call, "Drafts"),
        (_, ["messages", _, ..]) => message(call, &path.below(1)),
        ("GET", ["mailfolders"]) => {
            call.need(READ_BASIC)?;
            list(call, "users('me')/mailFolders", listed_folders(call, None), 10)
        }
        ("GET", ["mailfolders", "delta" | "delta()"]) => {
            call.need(READ_BASIC)?;
            let all = call.me.folders.iter().map(|folder| folder_json(&call.me, folder)).collect();
            list(call, "users('me')/mailFolders", all, 1000).map(|page| delta(&page, &call.request.path))
        }
        ("POST", ["mailfolders"]) => create_folder(call, None),
        (_, ["mailfolders", ..]) => {
            call.need(&["Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite"])?;
            let folder = find_folder(&call.me, path.raw(1)).ok_or_else(not_found)?.clone();
            in_folder(call, &folder, &path.below(2))
        }
        _ => Err(not_allowed()),
    }
}

fn in_folder(call: &Call<'_>, folder: &Folder, path: &Path) -> Answer {
    let messages = || call.me.mail.iter().filter(|mail| mail.folder == folder.id).collect::<Vec<_>>();
    match (call.method(), path.low().as_slice()) {
        ("GET", []) => single(call, "users('me')/mailFolders", folder_json(&call.me, folder)),
        ("PATCH", []) => {
            call.need(WRITE)?;
            let name = text(&call.body()?, "/displayName").map(str::to_owned);
            call.change(|person, _| {
                let found = person.folders.iter_mut().find(|f| f.id == folder.id).ok_or_else(not_found)?;
                found.name = name.unwrap_or_else(|| found.name.clone());
                let changed = found.clone();
                Ok(Reply::json(200, &folder_json(person, &changed)))
            })
        }
        ("DELETE", []) => {
            call.need(WRITE)?;
            if WELL_KNOWN.iter().any(|(_, name, _)| *name == folder.name) {
                return Err(error(
                    400,
                    "ErrorDeleteDistinguishedFolder",
                    "Distinguished folders cannot be deleted.",
                ));
            }
            call.change(|person, _| {
                person.folders.retain(|f| f.id != folder.id);
                person.mail.retain(|m| m.folder != folder.id);
                Ok(Reply::empty(204))
            })
        }
        ("GET", ["childfolders"]) => {
            list(call, "users('me')/mailFolders/childFolders", children(&call.me, Some(folder.id)), 10)
        }
        ("POST", ["childfolders"]) => create_folder(call, Some(folder.id)),
        ("GET", ["messages"]) => list(call, WHAT, render(call, &messages()), 10),
        ("GET", ["messages", "$count"]) => count(call, render(call, &messages())),
        ("POST", ["move"]) => {
            call.need(WRITE)?;
            let body = call.body()?;
            let into = find_folder(&call.me, text(&body, "/destinationId").unwrap_or_default());
            let into = into.ok_or_else(not_found)?.id;
            call.change(|person, _| {
                let found = person.folders.iter_mut().find(|f| f.id == folder.id).ok_or_else(not_found)?;
                found.parent = Some(into);
                let changed = found.clone();
                Ok(Reply::json(201, &folder_json(person, &changed)))
            })
        }
        ("GET", ["messages", "delta" | "delta()"]) => {
            list(call, WHAT, render(call, &messages()), 1000).map(|page| delta(&page, &call.request.path))
        }
        ("POST", ["messages"]) => create(call, &folder.name),
        (_, ["messages", _, ..]) => message(call, &path.below(1)),
        _ => Err(not_allowed()),
    }
}

/// A full answer to a first delta query, with the link for the next round.
pub(super) fn delta(page: &Reply, path: &str) -> Reply {
    let mut document: Value = serde_json::from_slice(&page.body).unwrap_or_default();
    if let Some(members) = document.as_object_mut() {
        members.remove("@odata.nextLink");
        let link = format!("https://graph.microsoft.com{path}?$deltatoken=latest");
        members.insert("@odata.deltaLink".to_owned(), json!(link));
    }
    Reply::json(200, &document)
}

/// An id is good in the whole mailbox: that the folder before it is not looked at is the worse case.
fn message(call: &Call<'_>, path: &Path) -> Answer {
    let verb = path.low().get(1).copied().unwrap_or_default().to_owned();
    match (call.method(), verb.as_str()) {
        ("GET", "") => call.need(READ_BASIC)?,
        ("GET", _) => call.need(READ)?,
        (_, "send" | "reply" | "replyall" | "forward") => call.need(send::SEND)?,
        _ => call.need(WRITE)?,
    }
    // Ids are case-sensitive.
    let found = call.me.mail.iter().find(|mail| message_id(mail) == path.raw(0));
    let mail = found.ok_or_else(not_found)?.clone();
    match (call.method(), path.low().as_slice()) {
        ("GET", [_]) => {
            let rendered = render(call, &[&mail]).into_iter().next().unwrap_or_default();
            single(call, WHAT, rendered)
        }
        ("PATCH", [_]) => patch(call, &mail),
        ("DELETE", [_]) => move_to(call, &mail, "deleteditems").map(|_| Reply::empty(204)),
        ("GET", [_, "attachments"]) => list(
            call,
            &format!("{WHAT}/attachments"),
            mail.attachments.iter().map(attachment_json).collect(),
            100,
        ),
        ("GET", [_, "attachments", _]) => {
            let found =
                mail.attachments.iter().find(|a| attachment_id(a) == path.raw(2)).ok_or_else(not_found)?;
            single(call, &format!("{WHAT}/attachments"), attachment_json(found))
        }
        ("GET", [_, "attachments", _, "$value"]) => {
            let found =
                mail.attachments.iter().find(|a| attachment_id(a) == path.raw(2)).ok_or_else(not_found)?;
            Ok(Reply::bytes(200, &found.content_type, found.content.clone()))
        }
        ("POST", [_, "attachments"]) => attach(call, &mail),
        ("POST", [_, "move"]) => {
            let body = call.body()?;
            move_to(call, &mail, text(&body, "/destinationId").unwrap_or_default())
        }
        ("POST", [_, "copy"]) => copy(call, &mail),
        ("GET", [_, "$value"]) => Ok(Reply::bytes(200, "text/plain", mime(&mail))),
        ("POST", [_, "permanentdelete"]) => call.change(|person, _| {
            person.mail.retain(|m| m.id != mail.id);
            Ok(Reply::empty(204))
        }),
        ("POST", [_, verb]) => send::about(call, mail, verb),
        _ => Err(not_allowed()),
    }
}

fn patch(call: &Call<'_>, mail: &Mail) -> Answer {
    let body = call.body()?;
    let changed = call.change(|person, _| {
        let found = person.mail.iter_mut().find(|m| m.id == mail.id).ok_or_else(not_found)?;
        if let Some(read) = body.get("isRead").and_then(Value::as_bool) {
            found.read = read;
        }
        if let Some(subject) = text(&body, "/subject") {
            found.subject = subject.to_owned();
        }
        if let Some(content) = text(&body, "/body/content") {
            found.body = content.to_owned();
        }
        Ok(found.clone())
    })?;
    Ok(Reply::json(200, &render(call, &[&changed]).into_iter().next().unwrap_or_default()))
}

/// A moved message gets another id, unless immutable ids were asked for.
fn move_to(call: &Call<'_>, mail: &Mail, destination: &str) -> Answer {
    let folder = find_folder(&call.me, destination).ok_or_else(not_found)?.id;
    let immutable = call.request.header("prefer").is_some_and(|prefer| prefer.contains("ImmutableId"));
    let moved = call.change(|person, fresh| {
        let found = person.mail.iter_mut().find(|m| m.id == mail.id).ok_or_else(not_found)?;
        found.folder = folder;
        if !immutable {
            found.id = fresh;
        }
        Ok(found.clone())
    })?;
    Ok(Reply::json(201, &render(call, &[&moved]).into_iter().next().unwrap_or_default()))
}

fn copy(call: &Call<'_>, mail: &Mail) -> Answer {
    let body = call.body()?;
    let folder =
        find_folder(&call.me, text(&body, "/destinationId").unwrap_or_default()).ok_or_else(not_found)?.id;
    let copied = call.change(|person, fresh| {
        let copied = Mail { id: fresh, folder, ..mail.clone() };
        person.mail.insert(0, copied.clone());
        Ok(copied)
    })?;
    Ok(Reply::json(201, &render(call, &[&copied]).into_iter().next().unwrap_or_default()))
}

fn attach(call: &Call<'_>, mail: &Mail) -> Answer {
    let body = call.body()?;
    let content = text(&body, "/contentBytes").and_then(encode::from_base64).unwrap_or_default();
    let attachment = call.change(|person, fresh| {
        let found = person.mail.iter_mut().find(|m| m.id == mail.id).ok_or_else(not_found)?;
        let attachment = Attachment {
            id: fresh,
            name: text(&body, "/name").unwrap_or("attachment").to_owned(),
            content_type: text(&body, "/contentType").unwrap_or("application/octet-stream").to_owned(),
            content,
        };
        found.attachments.push(attachment.clone());
        Ok(attachment)
    })?;
    Ok(Reply::json(201, &attachment_json(&attachment)))
}

fn create(call: &Call<'_>, folder: &str) -> Answer {
    call.need(WRITE)?;
    let draft = send::draft(call, &call.body()?, folder)?;
    enter(call, draft)
}

/// Puts a message into the mailbox and shows it.
fn enter(call: &Call<'_>, draft: Mail) -> Answer {
    let made = call.change(|person, fresh| {
        let made = Mail { id: fresh, ..draft };
        person.mail.insert(0, made.clone());
        Ok(made)
    })?;
    Ok(Reply::json(201, &render(call, &[&made]).into_iter().next().unwrap_or_default()))
}

/// The message as it came over the wire (RFC 5322), attachments and all.
fn mime(mail: &Mail) -> String {
    let to: Vec<&str> = mail.to.iter().map(|to| to.email.as_str()).collect();
    let files: String = (mail.attachments.iter())
        .map(|a| format!("\r\n--{}\r\n{}", a.name, String::from_utf8_lossy(&a.content)))
        .collect();
    let (from, subject, body) = (&mail.from.email, &mail.subject, &mail.body);
    format!("From: <{from}>\r\nTo: <{}>\r\nSubject: {subject}\r\n\r\n{body}{files}", to.join(">, <"))
}

fn create_folder(call: &Call<'_>, parent: Option<u64>) -> Answer {
    call.need(WRITE)?;
    let body = call.body()?;
    let name = text(&body, "/displayName").filter(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| error(400, "ErrorInvalidParameter", "The 'displayName' parameter is required."))?;
    call.change(|person, fresh| {
        let folder = Folder { id: fresh, name: name.to_owned(), parent };
        person.folders.push(folder.clone());
        Ok(Reply::json(201, &folder_json(person, &folder)))
    })
}

fn find_folder<'p>(person: &'p Person, key: &str) -> Option<&'p Folder> {
    let well_known = WELL_KNOWN.iter().find(|(known, _, _)| known.eq_ignore_ascii_case(key));
    match well_known {
        Some((_, name, _)) => person.folder(name),
        None => person.folders.iter().find(|folder| folder_id(folder.id) == key),
    }
}

/// The folders in a folder, with theirs when `$expand` asks for them.
fn listed_folders(call: &Call<'_>, parent: Option<u64>) -> Vec<Value> {
    let mut folders = children(&call.me, parent);
    if call.expands("childfolders") {
        let own = call.me.folders.iter().filter(|folder| folder.parent == parent);
        for (shown, folder) in folders.iter_mut().zip(own) {
            if let Some(members) = shown.as_object_mut() {
                let below = children(&call.me, Some(folder.id));
                members.insert("childFolders".to_owned(), Value::Array(below));
            }
        }
    }
    folders
}

fn children(person: &Person, parent: Option<u64>) -> Vec<Value> {
    person.folders.iter().filter(|f| f.parent == parent).map(|f| folder_json(person, f)).collect()
}

fn folder_json(person: &Person, folder: &Folder) -> Value {
    let inside = || person.mail.iter().filter(|mail| mail.folder == folder.id);
    let shown = WELL_KNOWN.iter().find(|(_, name, _)| *name == folder.name).map(|(_, _, shown)| *shown);
    json!({
        "id": folder_id(folder.id),
        "displayName": shown.unwrap_or(&folder.name),
        "parentFolderId": folder_id(folder.parent.unwrap_or(0)),
        "childFolderCount": person.folders.iter().filter(|f| f.parent == Some(folder.id)).count(),
        "unreadItemCount": inside().filter(|mail| !mail.read).count(),
        "totalItemCount": inside().count(),
        "isHidden": false,
    })
}

/// Messages in Graph's shape; without a permission that reads bodies they have none.
pub(super) fn render(call: &Call<'_>, mail: &[&Mail]) -> Vec<Value> {
    let bodies = call.need(READ).is_ok();
    let expand = bodies && call.expands("attachments");
    mail.iter()
        .map(|mail| {
            let mut message = message_json(&call.me, mail);
            if let Some(members) = message.as_object_mut() {
                if bodies {
                    let preview: String = mail.body.chars().take(255).collect();
                    members.insert("bodyPreview".to_owned(), json!(preview));
                    members.insert("body".to_owned(), json!({"contentType": "text", "content": mail.body}));
                }
                if expand {
                    let attachments: Vec<Value> = mail.attachments.iter().map(attachment_json).collect();
                    members.insert("attachments".to_owned(), Value::Array(attachments));
                }
            }
            message
        })
        .collect()
}

fn message_json(person: &Person, mail: &Mail) -> Value {
    let address = |a: &Address| json!({"emailAddress": {"name": a.name, "address": a.email}});
    let is_draft = person.folder("Drafts").is_some_and(|folder| folder.id == mail.folder);
    let id = message_id(mail);
    json!({
        "id": id,
        "createdDateTime": iso(mail.received),
        "lastModifiedDateTime": iso(mail.received),
        "receivedDateTime": iso(mail.received),
        "sentDateTime": iso(mail.received),
        "hasAttachments": !mail.attachments.is_empty(),
        "internetMessageId": format!("<{}@example.com>", opaque("entra:internet", mail.id, 24)),
        "subject": mail.subject,
        "importance": "normal",
        "parentFolderId": folder_id(mail.folder),
        "conversationId": format!("AAQk{}", opaque("entra:conversation", mail.id, 40)),
        "isRead": mail.read,
        "isDraft": is_draft,
        "webLink": format!("https://outlook.office365.com/owa/?ItemID={id}&viewmodel=ReadMessageItem"),
        "sender": address(&mail.from),
        "from": address(&mail.from),
        "toRecipients": mail.to.iter().map(address).collect::<Vec<_>>(),
        "ccRecipients": [],
        "bccRecipients": [],
    })
}

fn attachment_json(attachment: &Attachment) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.fileAttachment",
        "id": attachment_id(attachment),
        "name": attachment.name,
        "contentType": attachment.content_type,
        "size": attachment.content.len(),
        "isInline": false,
        "contentBytes": encode::base64(&attachment.content),
    })
}
