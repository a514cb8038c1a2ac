//! What leaves a mailbox: sending, answering, forwarding, and drafts of those.

use serde_json::Value;

use crate::sandbox::entra::graph::{Answer, Call, access_denied, error, not_allowed, text};
use crate::sandbox::wire::Reply;
use crate::sandbox::world::{Address, Mail};

use super::enter;

pub(super) const SEND: &[&str] = &["Mail.Send"];

/// A verb on a message that is there: each of these carries its text and, when forwarding, its attachments along.
pub(super) fn about(call: &Call<'_>, mail: Mail, verb: &str) -> Answer {
    match verb {
        "send" => send(call, mail),
        "reply" | "replyall" => deliver(call, answering(&mail, &call.body()?, verb == "replyall")),
        "forward" => {
            let forwarded = forwarding(mail, &call.body()?);
            if forwarded.to.is_empty() {
                return Err(error(400, "ErrorInvalidRecipients", "At least one recipient is not valid."));
            }
            deliver(call, forwarded)
        }
        "createreply" | "createreplyall" | "createforward" => {
            let body = if call.request.body.is_empty() { Value::Null } else { call.body()? };
            let mut draft = match verb {
                "createforward" => forwarding(mail, &body),
                _ => answering(&mail, &body, verb == "createreplyall"),
            };
            draft.folder = call.me.folder("Drafts").ok_or_else(access_denied)?.id;
            draft.from = call.me.address();
            enter(call, draft)
        }
        _ => Err(not_allowed()),
    }
}

/// An answer quotes what it answers; the request may name more recipients.
fn answering(mail: &Mail, body: &Value, all: bool) -> Mail {
    let comment = text(body, "/comment").unwrap_or_default();
    let mut to = vec![mail.from.clone()];
    if all {
        to.extend(mail.to.iter().cloned());
    }
    to.extend(recipients(body, "/message/toRecipients"));
    to.extend(recipients(body, "/message/ccRecipients"));
    Mail {
        subject: format!("RE: {}", mail.subject),
        body: format!("{comment}\n\n{}", mail.body),
        to,
        attachments: Vec::new(),
        ..mail.clone()
    }
}

fn forwarding(mail: Mail, body: &Value) -> Mail {
    let mut to = recipients(body, "/toRecipients");
    to.extend(recipients(body, "/message/toRecipients"));
    let comment = text(body, "/comment").unwrap_or_default();
    Mail { subject: format!("FW: {}", mail.subject), body: format!("{comment}\n\n{}", mail.body), to, ..mail }
}

/// `/me/sendMail`.
pub(super) fn new(call: &Call<'_>) -> Answer {
    call.need(SEND)?;
    let body = call.body()?;
    let message = body
        .get("message")
        .ok_or_else(|| error(400, "ErrorInvalidParameter", "The 'message' parameter is required."))?;
    let draft = draft(call, message, "Sent")?;
    if draft.to.is_empty() {
        return Err(error(400, "ErrorInvalidRecipients", "At least one recipient is not valid."));
    }
    deliver(call, draft)
}

fn send(call: &Call<'_>, mail: Mail) -> Answer {
    call.change(|person, _| {
        person.mail.retain(|m| m.id != mail.id);
        Ok(())
    })?;
    deliver(call, mail)
}

/// Puts a message into the sender's sent items and into the inboxes of recipients who live here.
fn deliver(call: &Call<'_>, mail: Mail) -> Answer {
    let now = call.desk.now().secs();
    call.desk.world(|world| {
        let recipients: Vec<String> = mail.to.iter().map(|to| to.email.clone()).collect();
        let boxes = std::iter::once((call.me.email.clone(), "Sent"))
            .chain(recipients.into_iter().map(|to| (to, "Inbox")));
        for (email, folder) in boxes {
            let fresh = world.next_id();
            if let Some(person) = world.person_mut(&email)
                && let Some(folder) = person.folder(folder).map(|f| f.id)
            {
                let from = call.me.address();
                person.mail.insert(0, Mail { id: fresh, folder, received: now, from, ..mail.clone() });
            }
        }
    });
    Ok(Reply::empty(202))
}

pub(super) fn draft(call: &Call<'_>, message: &Value, folder: &str) -> Result<Mail, Reply> {
    let folder = call.me.folder(folder).ok_or_else(access_denied)?.id;
    Ok(Mail {
        id: 0,
        folder,
        received: call.desk.now().secs(),
        subject: text(message, "/subject").unwrap_or_default().to_owned(),
        from: call.me.address(),
        to: recipients(message, "/toRecipients"),
        body: text(message, "/body/content").unwrap_or_default().to_owned(),
        read: true,
        attachments: Vec::new(),
    })
}

fn recipients(message: &Value, pointer: &str) -> Vec<Address> {
    let list = message.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|entry| {
            let email = text(entry, "/emailAddress/address").filter(|email| email.contains('@'))?;
            let name = text(entry, "/emailAddress/name").unwrap_or(email);
            Some(Address { name: name.to_owned(), email: email.to_owned() })
        })
        .collect()
}
