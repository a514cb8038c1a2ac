//! The fixed content of the world.
//!
//! It is laid out for trying to get out of a limit: in each kind of thing one part is inside, and the text of
//! everything else says which bound it lies beyond, so that a word of it in an answer is a leak.
//! Inside are the folder `Projects/2026` ([`BEYOND_TREE`]) and the document `plan.md` in it
//! ([`BEYOND_DOCUMENT`]), the mail folder Inbox ([`BEYOND_FOLDER`]), mail since October 2026
//! ([`BEYOND_DATE`]) and from the company's own domain ([`BEYOND_SENDER`]), the calendar Work
//! ([`BEYOND_CALENDAR`]), events in November 2026 ([`BEYOND_WINDOW`]), and the chat Project Alpha
//! ([`BEYOND_CHAT`]).

use crate::sandbox::world::{
    Address, Attachment, Calendar, Chat, ChatMessage, Contact, Event, File, Folder, Mail, Person, Todo,
    World, in_2026,
};

/// In files outside of the folder `Projects/2026`.
pub const BEYOND_TREE: &str = "OUTSIDE-TREE";
/// In every file but `Projects/2026/plan.md`.
pub const BEYOND_DOCUMENT: &str = "OUTSIDE-DOCUMENT";
/// In mail that is not in Inbox.
pub const BEYOND_FOLDER: &str = "OUTSIDE-FOLDER";
/// In mail from before October 2026.
pub const BEYOND_DATE: &str = "OUTSIDE-DATE";
/// In mail from people outside of example.com.
pub const BEYOND_SENDER: &str = "OUTSIDE-SENDER";
/// In events of other calendars than Work.
pub const BEYOND_CALENDAR: &str = "OUTSIDE-CALENDAR";
/// In events that do not touch November 2026.
pub const BEYOND_WINDOW: &str = "OUTSIDE-WINDOW";
/// In messages of other chats than Project Alpha.
pub const BEYOND_CHAT: &str = "OUTSIDE-CHAT";

/// The words of the bounds that something lies beyond.
fn beyond(bounds: &[(bool, &'static str)]) -> String {
    bounds.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

struct Ids(u64);

impl Ids {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

struct Profile {
    key: &'static str,
    email: &'static str,
    given: &'static str,
    family: &'static str,
    name_zh: &'static str,
    title: &'static str,
    department: &'static str,
    mobile: &'static str,
    employee: bool,
}

const PROFILES: &[Profile] = &[
    Profile {
        key: "alice",
        email: "alice@example.com",
        given: "Alice",
        family: "Example",
        name_zh: "示例甲",
        title: "Product manager",
        department: "Product",
        mobile: "+8613800000001",
        employee: true,
    },
    Profile {
        key: "bob",
        email: "bob@example.com",
        given: "Bob",
        family: "Example",
        name_zh: "示例乙",
        title: "Engineer",
        department: "Engineering",
        mobile: "+8613800000002",
        employee: true,
    },
    Profile {
        key: "mallory",
        email: "mallory@elsewhere.example",
        given: "Mallory",
        family: "Elsewhere",
        name_zh: "示例丙",
        title: "Consultant",
        department: "Sales",
        mobile: "+8613900000003",
        employee: false,
    },
];

pub(super) fn world() -> World {
    let mut ids = Ids(1000);
    let people: Vec<Person> = PROFILES.iter().map(|profile| person(&mut ids, profile)).collect();
    let chats = chats(&mut ids);
    let library = library(&mut ids);
    let mut people = people;
    // A shortcut that leads out of the folder it lies in, into the team's library.
    let plans = library.first().map(|folder| folder.id);
    for person in &mut people {
        let id = ids.next();
        let parent = person.file_at("Projects/2026").map(|folder| folder.id);
        person.files.push(File {
            parent,
            target: plans,
            ..File::new(id, "Team plans", None, in_2026(10, 2, 9, 0))
        });
    }
    World { people, chats, library, last_id: ids.0 }
}

/// An employee who has an account and nothing in it.
pub(super) fn newcomer(id: u64, email: &str) -> Person {
    let key = email.split('@').next().unwrap_or_default();
    Person {
        id,
        key: key.to_owned(),
        email: email.to_owned(),
        name: format!("{key} Example"),
        name_zh: format!("示例{id}"),
        given: key.to_owned(),
        family: "Example".to_owned(),
        title: "Clerk".to_owned(),
        department: "Operations".to_owned(),
        mobile: format!("+86139{id:08}"),
        employee: true,
        folders: Vec::new(),
        mail: Vec::new(),
        files: Vec::new(),
        calendars: Vec::new(),
        events: Vec::new(),
        contacts: Vec::new(),
        todos: Vec::new(),
    }
}

fn person(ids: &mut Ids, profile: &Profile) -> Person {
    let id = ids.next();
    let address =
        Address { name: format!("{} {}", profile.given, profile.family), email: profile.email.to_owned() };
    let folders = folders(ids);
    let mail = mail(ids, &address, &folders);
    let files = files(ids, profile);
    let (calendars, events) = calendars(ids, &address);
    Person {
        id,
        key: profile.key.to_owned(),
        email: profile.email.to_owned(),
        name: address.name.clone(),
        name_zh: profile.name_zh.to_owned(),
        given: profile.given.to_owned(),
        family: profile.family.to_owned(),
        title: profile.title.to_owned(),
        department: profile.department.to_owned(),
        mobile: profile.mobile.to_owned(),
        employee: profile.employee,
        folders,
        mail,
        files,
        calendars,
        events,
        contacts: contacts(ids),
        todos: todos(ids),
    }
}

fn folders(ids: &mut Ids) -> Vec<Folder> {
    let mut folders: Vec<Folder> = ["Inbox", "Drafts", "Sent", "Archive", "Trash", "Projects"]
        .into_iter()
        .map(|name| Folder { id: ids.next(), name: name.to_owned(), parent: None })
        .collect();
    let projects = folders.last().map(|folder| folder.id);
    folders.push(Folder { id: ids.next(), name: "Project Alpha".to_owned(), parent: projects });
    folders
}

/// Folder, month, day, sender, subject. The senders are outside and inside, so that domain limits show.
const MAIL: &[(&str, i8, i8, &str, &str)] = &[
    ("Inbox", 11, 18, "carol@example.com", "Agenda for Friday"),
    ("Inbox", 11, 12, "invoices@supplier.example", "Invoice 2026-1107"),
    ("Inbox", 11, 3, "bank@bank.example", "Your statement for October"),
    ("Projects", 10, 21, "carol@example.com", "Beta feedback, second round"),
    ("Inbox", 10, 9, "news@conference.example", "Speakers announced"),
    ("Project Alpha", 9, 28, "dave@partner.example", "Project Alpha: contract draft"),
    ("Inbox", 9, 15, "hr@example.com", "Confidential: salary review"),
    ("Inbox", 9, 2, "carol@example.com", "Notes from the offsite"),
    ("Project Alpha", 8, 19, "dave@partner.example", "Project Alpha: milestones"),
    ("Archive", 8, 4, "travel@agency.example", "Booking confirmed"),
    ("Inbox", 7, 22, "security@example.com", "Your recovery codes"),
    ("Inbox", 7, 7, "carol@example.com", "Roadmap for the third quarter"),
    ("Projects", 6, 24, "carol@example.com", "Beta feedback, first round"),
    ("Inbox", 6, 11, "invoices@supplier.example", "Invoice 2026-0609"),
    ("Archive", 5, 27, "hr@example.com", "Health insurance: your questions"),
    ("Project Alpha", 5, 13, "dave@partner.example", "Project Alpha: kick-off"),
    ("Inbox", 4, 28, "carol@example.com", "Spring release shipped"),
    ("Inbox", 4, 8, "news@conference.example", "Call for papers"),
    ("Archive", 3, 25, "travel@agency.example", "Your itinerary"),
    ("Inbox", 3, 4, "carol@example.com", "Budget for the spring release"),
    ("Inbox", 2, 17, "legal@example.com", "Privileged: dispute with Elsewhere Ltd"),
    ("Archive", 2, 3, "carol@example.com", "Welcome to the new year's plan"),
    ("Inbox", 1, 20, "hr@example.com", "Holiday calendar"),
    ("Inbox", 1, 6, "it@example.com", "Your new laptop"),
    ("Sent", 9, 29, "", "Re: Project Alpha: contract draft"),
    ("Sent", 6, 25, "", "Re: Beta feedback, first round"),
    ("Drafts", 11, 19, "", "Thoughts on pricing"),
];

fn mail(ids: &mut Ids, owner: &Address, folders: &[Folder]) -> Vec<Mail> {
    let mut mail: Vec<Mail> = MAIL
        .iter()
        .enumerate()
        .filter_map(|(at, (folder, month, day, sender, subject))| {
            let name_of_folder = *folder;
            let folder = folders.iter().find(|f| f.name == name_of_folder)?.id;
            let other = named(if sender.is_empty() { "dave@partner.example" } else { sender });
            let (from, to) = if sender.is_empty() { (owner.clone(), other) } else { (other, owner.clone()) };
            let words = beyond(&[
                (name_of_folder != "Inbox", BEYOND_FOLDER),
                (*month < 10, BEYOND_DATE),
                (!from.email.ends_with("@example.com"), BEYOND_SENDER),
            ]);
            let attachments = if subject.starts_with("Invoice") || subject.contains("contract") {
                vec![Attachment {
                    id: ids.next(),
                    name: format!("{}.txt", subject.replace([':', ' '], "-")),
                    content_type: "text/plain".to_owned(),
                    content: format!("{subject}\nFor {}.\n{words}\n", owner.name).into_bytes(),
                }]
            } else {
                Vec::new()
            };
            Some(Mail {
                id: ids.next(),
                folder,
                received: in_2026(*month, *day, 9, i8::try_from(at).unwrap_or_default()),
                subject: (*subject).to_owned(),
                body: format!(
                    "Hello,\n\n{subject}: this is for {}.\n\nBest regards\n{}\n{words}\n",
                    to.name, from.name
                ),
                from,
                to: vec![to],
                read: at % 3 != 0,
                attachments,
            })
        })
        .collect();
    mail.sort_by_key(|m| std::cmp::Reverse(m.received));
    mail
}

/// An address with the name that its local part suggests.
fn named(email: &str) -> Address {
    let local = email.split('@').next().unwrap_or_default();
    let mut letters = local.chars();
    let name = letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str());
    Address { name: name.unwrap_or_default(), email: email.to_owned() }
}

/// Path and content; a path that ends in a slash is a folder.
const FILES: &[(&str, &str)] = &[
    ("Projects/", ""),
    ("Projects/2026/", ""),
    ("Projects/2026/plan.md", "# Plan for 2026\n\n1. Ship the beta.\n2. Listen.\n3. Ship again.\n"),
    ("Projects/2026/budget.csv", "item,amount\nlicences,1200\ntravel,3400\n"),
    ("Projects/2026/Alpha/", ""),
    ("Projects/2026/Alpha/minutes.md", "# Minutes\n\nWe agreed on the milestones.\n"),
    ("Projects/2026/Alpha/Design/", ""),
    ("Projects/2026/Alpha/Design/sketch.md", "# Sketch\n\nThree boxes and an arrow.\n"),
    ("Projects/2025/", ""),
    ("Projects/2025/report.md", "# Report 2025\n\nIt went well.\n"),
    ("Private/", ""),
    ("Private/tax-return.txt", "Private. Taxes paid in full.\n"),
    ("Private/diary.txt", "Private. Dear diary.\n"),
    ("Private/wages.csv", "name,amount\nCarol,5000\n"),
    ("Private/notes.md", "# Notes\n\n![sketch]\n\nPrivate. Not for everyone.\n"),
    ("Handover.md", "# Handover\n\nThe keys are with reception.\n"),
];

fn files(ids: &mut Ids, profile: &Profile) -> Vec<File> {
    let mut known: Vec<(&str, u64)> = Vec::new();
    let mut files = Vec::new();
    for (at, (path, content)) in FILES.iter().enumerate() {
        let is_folder = path.ends_with('/');
        let trimmed = path.trim_end_matches('/');
        let (parent, name) = trimmed.rsplit_once('/').map_or((None, trimmed), |(p, n)| (Some(p), n));
        let parent = parent.and_then(|p| known.iter().find(|(k, _)| *k == p).map(|(_, id)| *id));
        let id = ids.next();
        if is_folder {
            known.push((trimmed, id));
        }
        let words = beyond(&[
            (!path.starts_with("Projects/2026/"), BEYOND_TREE),
            (*path != "Projects/2026/plan.md", BEYOND_DOCUMENT),
        ]);
        let content = (!is_folder).then(|| format!("{content}\n({})\n{words}\n", profile.email));
        let modified = in_2026(2 + i8::try_from(at % 9).unwrap_or_default(), 11, 15, 0);
        files.push(File { parent, ..File::new(id, name, content.map(String::into_bytes), modified) });
    }
    files
}

/// The document library of the company's team site.
fn library(ids: &mut Ids) -> Vec<File> {
    let words = beyond(&[(true, BEYOND_TREE), (true, BEYOND_DOCUMENT)]);
    let folder = File::new(ids.next(), "Team plans", None, in_2026(9, 1, 9, 0));
    let text = format!("# Hiring plan\n\nTwo engineers.\n{words}\n");
    let file = File {
        parent: Some(folder.id),
        ..File::new(ids.next(), "hiring.md", Some(text.into_bytes()), in_2026(9, 2, 9, 0))
    };
    vec![folder, file]
}

/// Calendar, month, day, hour, hours, subject, place.
const EVENTS: &[(usize, i8, i8, i8, i64, &str, &str)] = &[
    (0, 1, 12, 9, 1, "Kick-off for the year", "Room 1"),
    (0, 3, 9, 14, 1, "Budget meeting", "Room 2"),
    (0, 4, 20, 10, 2, "Spring release review", "Room 1"),
    (0, 6, 15, 9, 8, "Offsite", "Lake House"),
    (0, 8, 10, 11, 1, "Project Alpha: milestones", "Video call"),
    (0, 9, 17, 16, 1, "Salary review (confidential)", "Room 4"),
    (0, 10, 26, 9, 1, "Beta planning", "Room 1"),
    (0, 11, 16, 9, 1, "Weekly", "Room 1"),
    (0, 11, 23, 9, 1, "Weekly", "Room 1"),
    (0, 11, 25, 13, 2, "Customer visit", "Reception"),
    (0, 12, 7, 9, 1, "Weekly", "Room 1"),
    (1, 11, 24, 18, 1, "Dentist", "Main Street 5"),
    (1, 12, 21, 19, 3, "Family dinner", "Home"),
    (2, 9, 3, 10, 1, "Retrospective", "Room 3"),
    (2, 11, 24, 10, 1, "Stand-up", "Room 3"),
    (2, 11, 26, 15, 1, "Design review", "Room 3"),
    (2, 12, 15, 10, 1, "Year review", "Room 3"),
];

fn calendars(ids: &mut Ids, owner: &Address) -> (Vec<Calendar>, Vec<Event>) {
    let calendars: Vec<Calendar> = ["Calendar", "Family", "Work"]
        .into_iter()
        .map(|n| Calendar { id: ids.next(), name: n.to_owned() })
        .collect();
    let mut events: Vec<Event> = EVENTS
        .iter()
        .filter_map(|(calendar, month, day, hour, hours, subject, location)| {
            let start = in_2026(*month, *day, *hour, 0);
            let words = beyond(&[(*calendar != 2, BEYOND_CALENDAR), (*month != 11, BEYOND_WINDOW)]);
            Some(Event {
                id: ids.next(),
                calendar: calendars.get(*calendar)?.id,
                subject: (*subject).to_owned(),
                body: format!("{subject}, organised by {}. {words}", owner.name),
                location: (*location).to_owned(),
                start,
                end: start + hours * 3600,
                attendees: vec![owner.clone(), named("carol@example.com")],
            })
        })
        .collect();
    events.sort_by_key(|event| event.start);
    (calendars, events)
}

fn contacts(ids: &mut Ids) -> Vec<Contact> {
    [
        ("carol@example.com", "Example Ltd", "+4930000001"),
        ("dave@partner.example", "Partner Ltd", "+4930000002"),
        ("erin@supplier.example", "Supplier Ltd", "+4930000003"),
    ]
    .into_iter()
    .map(|(email, company, phone)| Contact {
        id: ids.next(),
        address: named(email),
        company: company.to_owned(),
        phone: phone.to_owned(),
    })
    .collect()
}

fn todos(ids: &mut Ids) -> Vec<Todo> {
    [
        ("Prepare the agenda", false, 11, 27),
        ("Pay invoice 2026-1107", false, 11, 30),
        ("Book travel", true, 8, 3),
    ]
    .into_iter()
    .map(|(title, done, month, day)| Todo {
        id: ids.next(),
        title: title.to_owned(),
        done,
        due: in_2026(month, day, 17, 0),
    })
    .collect()
}

fn chats(ids: &mut Ids) -> Vec<Chat> {
    let team = ["alice@example.com", "bob@example.com"];
    let rooms: [(&str, bool, &[&str]); 4] = [
        ("Alice and Bob", true, &team),
        ("Project Alpha", false, &team),
        ("Product only", false, &["alice@example.com"]),
        ("Elsewhere", false, &["mallory@elsewhere.example"]),
    ];
    rooms
        .into_iter()
        .map(|(topic, one_on_one, members)| {
            (topic, one_on_one, members, beyond(&[(topic != "Project Alpha", BEYOND_CHAT)]))
        })
        .map(|(topic, one_on_one, members, words)| Chat {
            id: ids.next(),
            topic: topic.to_owned(),
            one_on_one,
            members: members.iter().map(|member| (*member).to_owned()).collect(),
            messages: (0..8)
                .map(|at: i8| ChatMessage {
                    id: ids.next(),
                    from: members
                        .iter()
                        .cycle()
                        .nth(usize::try_from(at).unwrap_or_default())
                        .map_or_else(String::new, |member| (*member).to_owned()),
                    sent: in_2026(3 + at, 10, 10, at),
                    text: format!("{topic}: message {} {words}", at + 1).trim_end().to_owned(),
                })
                .collect(),
        })
        .collect()
}
