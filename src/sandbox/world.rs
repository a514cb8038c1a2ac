//! The people of the sandbox and what they have: one copy per vendor, each vendor renders it in its own shapes.
//!
//! The content is fixed, so that tests can name it; what calls change stays changed until the end of the run.

pub mod content;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::kernel::encode;

/// A name with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The display name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
}

/// A mail folder.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Unique in the world.
    pub id: u64,
    /// `Inbox`, `Sent`, `Drafts`, `Archive`, `Trash`, or a folder of the person's own.
    pub name: String,
    /// The folder it lies in.
    pub parent: Option<u64>,
}

/// A file attached to a mail.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Unique in the world.
    pub id: u64,
    /// The file name.
    pub name: String,
    /// The media type.
    pub content_type: String,
    /// The content.
    pub content: Vec<u8>,
}

/// One mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Unique in the world.
    pub id: u64,
    /// The folder it is in.
    pub folder: u64,
    /// When it came, in seconds since the epoch.
    pub received: i64,
    /// The subject.
    pub subject: String,
    /// The sender.
    pub from: Address,
    /// The recipients.
    pub to: Vec<Address>,
    /// Plain text.
    pub body: String,
    /// Whether it was read.
    pub read: bool,
    /// Attached files.
    pub attachments: Vec<Attachment>,
}

/// A file, a document or a folder in a drive.
#[derive(Clone, Debug)]
pub struct File {
    /// Unique in the world.
    pub id: u64,
    /// The folder it lies in; `None` for what lies in the root.
    pub parent: Option<u64>,
    /// The name, with its extension.
    pub name: String,
    /// The content; `None` for a folder.
    pub content: Option<Vec<u8>>,
    /// When it was changed, in seconds since the epoch.
    pub modified: i64,
    /// Who else may read it and what lies in it, by e-mail.
    pub readers: Vec<String>,
    /// What a shortcut stands for: a folder of the team's library.
    pub target: Option<u64>,
}

impl File {
    /// Something in the root that nobody else may read; without content it is a folder.
    pub fn new(id: u64, name: &str, content: Option<Vec<u8>>, modified: i64) -> Self {
        let name = name.to_owned();
        Self { id, parent: None, name, content, modified, readers: Vec::new(), target: None }
    }
}

/// A calendar.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Unique in the world.
    pub id: u64,
    /// The name; the first one is the person's own.
    pub name: String,
}

/// An entry of a calendar.
#[derive(Clone, Debug)]
pub struct Event {
    /// Unique in the world.
    pub id: u64,
    /// The calendar it is in.
    pub calendar: u64,
    /// The subject.
    pub subject: String,
    /// Notes.
    pub body: String,
    /// Where.
    pub location: String,
    /// Begin, in seconds since the epoch.
    pub start: i64,
    /// End, in seconds since the epoch.
    pub end: i64,
    /// Who is invited.
    pub attendees: Vec<Address>,
}

/// An entry of the address book.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Unique in the world.
    pub id: u64,
    /// Who.
    pub address: Address,
    /// Where they work.
    pub company: String,
    /// Telephone.
    pub phone: String,
}

/// A task.
#[derive(Clone, Debug)]
pub struct Todo {
    /// Unique in the world.
    pub id: u64,
    /// What to do.
    pub title: String,
    /// Whether it is done.
    pub done: bool,
    /// When it is due, in seconds since the epoch.
    pub due: i64,
}

/// One message of a chat.
#[derive(Clone, Debug)]
pub struct ChatMessage {
    /// Unique in the world.
    pub id: u64,
    /// The sender's e-mail.
    pub from: String,
    /// When, in seconds since the epoch.
    pub sent: i64,
    /// Plain text.
    pub text: String,
}

/// A conversation.
#[derive(Clone, Debug)]
pub struct Chat {
    /// Unique in the world.
    pub id: u64,
    /// The topic.
    pub topic: String,
    /// Whether it has two members only.
    pub one_on_one: bool,
    /// The members' e-mails.
    pub members: Vec<String>,
    /// Oldest first.
    pub messages: Vec<ChatMessage>,
}

/// Someone with an account.
#[derive(Clone, Debug)]
pub struct Person {
    /// Unique in the world.
    pub id: u64,
    /// A short name: `alice`.
    pub key: String,
    /// The e-mail, which is also the user name at every vendor.
    pub email: String,
    /// The full name.
    pub name: String,
    /// The full name in Chinese.
    pub name_zh: String,
    /// The given name.
    pub given: String,
    /// The family name.
    pub family: String,
    /// What they do.
    pub title: String,
    /// Where they do it.
    pub department: String,
    /// Mobile number, in E.164.
    pub mobile: String,
    /// Whether they work at the company that the broker is set up for.
    pub employee: bool,
    /// Mail folders.
    pub folders: Vec<Folder>,
    /// Mail, newest first.
    pub mail: Vec<Mail>,
    /// The drive, parents before children.
    pub files: Vec<File>,
    /// Calendars; the first is the person's own.
    pub calendars: Vec<Calendar>,
    /// Calendar entries, earliest first.
    pub events: Vec<Event>,
    /// The address book.
    pub contacts: Vec<Contact>,
    /// Tasks.
    pub todos: Vec<Todo>,
}

impl Person {
    /// Name and e-mail.
    pub fn address(&self) -> Address {
        Address { name: self.name.clone(), email: self.email.clone() }
    }

    /// A mail folder by name, in any case.
    pub fn folder(&self, name: &str) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.name.eq_ignore_ascii_case(name))
    }

    /// What lies in a folder of the drive; `None` is the root.
    pub fn children(&self, parent: Option<u64>) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.parent == parent)
    }

    /// A file by its path from the root, such as `Projects/2026/plan.md`.
    pub fn file_at(&self, path: &str) -> Option<&File> {
        let mut parent = None;
        let mut found = None;
        for name in path.split('/').filter(|part| !part.is_empty()) {
            let file = self.children(parent).find(|file| file.name.eq_ignore_ascii_case(name))?;
            parent = Some(file.id);
            found = Some(file);
        }
        found
    }

    /// The path of a file from the root, without a leading slash.
    pub fn path_of(&self, file: &File) -> String {
        let mut names = vec![file.name.as_str()];
        let mut parent = file.parent;
        while let Some(folder) = parent.and_then(|id| self.files.iter().find(|f| f.id == id)) {
            names.push(&folder.name);
            parent = folder.parent;
        }
        names.reverse();
        names.join("/")
    }
}

/// Everything a vendor knows.
#[derive(Clone, Debug)]
pub struct World {
    /// Everyone with an account: Alice and Bob work at the company, Mallory does not.
    pub people: Vec<Person>,
    /// Conversations.
    pub chats: Vec<Chat>,
    /// The document library of the company's team site, which every member reads; parents before children.
    pub library: Vec<File>,
    last_id: u64,
}

impl World {
    /// The world as it is at the start.
    pub fn new() -> Self {
        content::world()
    }

    /// A fresh id.
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Whoever has an account and is not here yet works at the company too, and has nothing in it.
    pub fn employ<'e>(&mut self, emails: impl Iterator<Item = &'e str>) {
        for email in emails {
            if self.person(email).is_none() {
                let id = self.next_id();
                self.people.push(content::newcomer(id, email));
            }
        }
    }

    /// A person by e-mail, in any case.
    pub fn person(&self, email: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.email.eq_ignore_ascii_case(email))
    }

    /// A person by e-mail, to change.
    pub fn person_mut(&mut self, email: &str) -> Option<&mut Person> {
        self.people.iter_mut().find(|person| person.email.eq_ignore_ascii_case(email))
    }

    /// Adds an employee who has an account and nothing in it.
    pub fn enter(&mut self, email: &str) {
        let id = self.next_id();
        self.people.push(content::newcomer(id, email));
    }

    /// Those who work at the company.
    pub fn employees(&self) -> impl Iterator<Item = &Person> {
        self.people.iter().filter(|person| person.employee)
    }

    /// The chats that someone is in.
    pub fn chats_of<'w>(&'w self, email: &'w str) -> impl Iterator<Item = &'w Chat> {
        self.chats.iter().filter(move |chat| chat.members.iter().any(|member| member == email))
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A vendor's opaque id for something of the world: always the same for the same kind and number, letters and
/// digits, and not to be guessed from another one.
pub fn opaque(kind: &str, id: u64, length: usize) -> String {
    let mut text = String::new();
    let mut round = 0;
    while text.len() < length {
        text.push_str(&encode::base62(digest(&SHA256, format!("{kind}:{id}:{round}").as_bytes()).as_ref()));
        round += 1;
    }
    text.truncate(length);
    text
}

/// A GUID-shaped id, always the same for the same kind and number.
pub fn guid(kind: &str, id: u64) -> String {
    let hash = encode::hex(digest(&SHA256, format!("{kind}:{id}").as_bytes()).as_ref());
    let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// Seconds since the epoch of a moment in 2026, UTC.
pub fn in_2026(month: i8, day: i8, hour: i8, minute: i8) -> i64 {
    let moment =
        date(2026, month.clamp(1, 12), day.clamp(1, 28)).at(hour.clamp(0, 23), minute.clamp(0, 59), 0, 0);
    moment.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp().as_second()).unwrap_or_default()
}

/// `2026-03-04T09:00:00Z` of seconds since the epoch.
pub fn iso(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// Seconds since the epoch of an ISO 8601 text; without an offset it is read as UTC.
pub fn from_iso(text: &str) -> Option<i64> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_second());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}
