//! The app's own mailbox; members' mail is out of reach.

use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::sandbox::desk::Desk;
use crate::sandbox::office::{Mail, Office};
use crate::sandbox::paging::Page;

use crate::sandbox::world::content::BEYOND_DATE;
use crate::sandbox::world::in_2026;

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::mint;

pub(super) const ROUTES: &[Route] = &[
    route("POST /exmail/app/get_mail_list", list),
    route("POST /exmail/app/read_mail", read),
    route("POST /exmail/app/compose_send", send),
];

/// The app's address.
const ADDRESS: &str = "assistant@example.com";

fn is_partner(email: &str) -> bool {
    email.ends_with("@partner.example") || email.ends_with("@supplier.example")
}

/// What partners wrote to the app, under the subjects that the world's mail has.
pub(super) fn seed(office: &Office, desk: &Desk) {
    let samples = desk.world(|world| world.employees().next().map(|p| p.mail.clone()).unwrap_or_default());
    let mut papers = office.papers();
    for mail in samples.iter().filter(|mail| is_partner(&mail.from.email)) {
        let beyond = if mail.received < in_2026(10, 1, 0, 0) { BEYOND_DATE } else { "" };
        papers.mails.push(Mail {
            id: mint("mail", &mail.subject),
            thread: mint("thread", &mail.subject),
            owner: ADDRESS.to_owned(),
            folder: "Inbox".to_owned(),
            from: mail.from.email.clone(),
            to: vec![ADDRESS.to_owned()],
            subject: mail.subject.clone(),
            body: format!("{}\n{beyond}\n", mail.subject),
            at: Timestamp::from_secs(mail.received),
            unread: !mail.read,
        });
    }
}

fn list(call: &Call<'_>) -> Answer {
    let window = call.number("/begin_time").zip(call.number("/end_time")).filter(|(begin, end)| begin <= end);
    let (begin, end) = window.ok_or(Refusal::parameter())?;
    let limit = match call.number("/limit") {
        Some(limit) => usize::try_from(limit).ok().filter(|limit| (1..=1000).contains(limit)),
        None => Some(100),
    };
    let limit = limit.ok_or(Refusal::parameter())?;
    let ids: Vec<Value> = {
        let papers = call.office.papers();
        let inbox = papers.mails.iter().filter(|mail| mail.folder == "Inbox");
        let inside = inbox.filter(|mail| (begin..=end).contains(&mail.at.secs()));
        inside.map(|mail| json!({"mail_id": mail.id})).collect()
    };
    let page = Page::cut(ids, limit, Some(&call.text_or_empty("/cursor"))).ok_or(Refusal::parameter())?;
    let has_more = u8::from(page.next.is_some());
    ok(json!({"next_cursor": page.next.unwrap_or_default(), "has_more": has_more, "mail_list": page.items}))
}

fn read(call: &Call<'_>) -> Answer {
    let id = call.text("/mail_id")?;
    let papers = call.office.papers();
    let mail = papers.mails.iter().find(|mail| mail.id == id).ok_or(Refusal::parameter())?;
    let date = jiff::Timestamp::from_second(mail.at.secs())
        .map(|at| at.strftime("%a, %d %b %Y %T +0000").to_string());
    let eml = format!(
        "Date: {}\r\nFrom: <{}>\r\nTo: <{}>\r\nSubject: {}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}",
        date.unwrap_or_default(),
        mail.from,
        mail.to.join(">, <"),
        mail.subject,
        mail.body.replace('\n', "\r\n"),
    );
    ok(json!({"mail_data": eml}))
}

fn send(call: &Call<'_>) -> Answer {
    let (subject, content) = (call.text("/subject")?, call.text("/content")?);
    let emails = call.texts("/to/emails").unwrap_or_default();
    let members = call.texts("/to/userids").unwrap_or_default();
    let members: Option<Vec<String>> = members.iter().map(|id| call.member(id).map(|p| p.email)).collect();
    let mut to = members.ok_or(Refusal::new(60111, "userid not found"))?;
    to.extend(emails.into_iter().map(str::to_owned));
    if to.is_empty() {
        return Err(Refusal::parameter());
    }
    let mut papers = call.office.papers();
    let mail = Mail {
        id: call.office.id(&mut papers, "mail"),
        thread: call.office.id(&mut papers, "thread"),
        owner: ADDRESS.to_owned(),
        folder: "Sent".to_owned(),
        from: ADDRESS.to_owned(),
        to,
        subject: subject.to_owned(),
        body: content.to_owned(),
        at: call.office.now(),
        unread: false,
    };
    papers.mails.push(mail);
    ok(json!({}))
}
