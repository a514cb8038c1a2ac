//! How the world's content is filed when the sandbox starts.

use super::{Calendar, Chat, Event, Kind, Mail, Message, Mint, Node, Papers, Place, Todo};
use crate::kernel::clock::Timestamp;
use crate::sandbox::world::content::{BEYOND_DOCUMENT, BEYOND_TREE};
use crate::sandbox::world::{File, Person, World, in_2026};

/// Files everything of the company's people; outsiders' things lie at their own company.
pub(super) fn papers(world: &World, mint: Mint) -> Papers {
    let mut seed = Seed { papers: Papers::default(), mint };
    let employees: Vec<&Person> = world.employees().collect();
    for person in &employees {
        seed.drive(person);
        seed.calendars(person);
        seed.mailbox(person);
        seed.todos(person);
    }
    if let [first, second, ..] = employees.as_slice() {
        seed.share(&first.email, "Handover.md", &second.email);
        seed.share(&second.email, "report.md", &first.email);
        seed.wiki(&first.email);
    }
    for chat in &world.chats {
        if chat.members.iter().any(|m| employees.iter().any(|e| e.email == *m)) {
            seed.chat(chat);
        }
    }
    seed.papers
}

struct Seed {
    papers: Papers,
    mint: Mint,
}

impl Seed {
    fn id(&self, sort: &str, of: impl std::fmt::Display) -> String {
        (self.mint)(sort, &of.to_string())
    }

    fn drive(&mut self, person: &Person) {
        let start = Timestamp::from_secs(in_2026(1, 2, 9, 0));
        let root_id = self.id("folder", format_args!("root/{}", person.email));
        self.papers.nodes.push(Node::new(root_id.clone(), Kind::Folder, "My Space", &person.email, start));
        // Shortcuts into a team site's library are another vendor's.
        for file in person.files.iter().filter(|file| file.target.is_none()) {
            let mut node = Node::new(
                self.file_id(file),
                kind_of(file),
                &file.name,
                &person.email,
                Timestamp::from_secs(file.modified),
            );
            node.parent = match file.parent.and_then(|p| person.files.iter().find(|f| f.id == p)) {
                Some(folder) => Some(self.file_id(folder)),
                None => Some(root_id.clone()),
            };
            node.created = start;
            let text = String::from_utf8_lossy(file.content.as_deref().unwrap_or_default()).into_owned();
            let lines = text.lines().filter(|line| !line.is_empty());
            if node.kind == Kind::Sheet {
                node.rows = lines.map(|line| line.split(',').map(str::to_owned).collect()).collect();
            } else {
                node.paragraphs = lines.map(str::to_owned).collect();
            }
            self.papers.nodes.push(node);
        }
        self.extras(person, start);
    }

    fn file_id(&self, file: &File) -> String {
        let sort = match kind_of(file) {
            Kind::Folder => "folder",
            Kind::Document => "document",
            Kind::Sheet => "sheet",
            _ => "file",
        };
        self.id(sort, file.id)
    }

    /// What the world has no shape for: a base, and a shortcut that leads out of its folder.
    fn extras(&mut self, person: &Person, at: Timestamp) {
        let find = |name: &str| person.files.iter().find(|file| file.name == name);
        let (Some(project), Some(diary)) = (find("2026"), find("diary.txt")) else { return };
        let (project, diary) = (self.file_id(project), self.file_id(diary));
        let id = self.id("shortcut", format_args!("diary/{}", person.email));
        let mut shortcut = Node::new(id, Kind::Shortcut, "diary.txt", &person.email, at);
        shortcut.parent = Some(project.clone());
        shortcut.target = Some(diary);
        let id = self.id("base", format_args!("vendors/{}", person.email));
        let mut base = Node::new(id, Kind::Base, "Vendors", &person.email, at);
        base.parent = Some(project);
        let mut payroll = base.clone();
        base.rows = [["Vendor", "Rating"], ["Supplier Ltd", "A"], ["Partner Ltd", "B"]]
            .map(|row| row.map(str::to_owned).to_vec())
            .to_vec();
        payroll.id = self.id("base", format_args!("payroll/{}", person.email));
        payroll.name = "Payroll".to_owned();
        payroll.parent = find("Private").map(|folder| self.file_id(folder));
        payroll.rows = [["Name", "Salary"], ["Carol", BEYOND_TREE], ["Dave", BEYOND_DOCUMENT]]
            .map(|row| row.map(str::to_owned).to_vec())
            .to_vec();
        self.papers.nodes.extend([shortcut, base, payroll]);
    }

    fn share(&mut self, owner: &str, name: &str, reader: &str) {
        let found = self.papers.nodes.iter_mut().find(|node| node.owner == owner && node.name == name);
        if let Some(node) = found {
            node.readers.push(reader.to_owned());
        }
    }

    fn wiki(&mut self, owner: &str) {
        let pages: [(&str, Option<&str>, &[&str]); 4] = [
            ("Company handbook", None, &["How we work together."]),
            (
                "Travel policy",
                Some("Company handbook"),
                &["Trains before planes.", "Receipts within 30 days."],
            ),
            ("Expenses", Some("Company handbook"), &["Ask before you spend.", BEYOND_TREE, BEYOND_DOCUMENT]),
            ("Visa rules", Some("Travel policy"), &["Apply in time.", BEYOND_TREE, BEYOND_DOCUMENT]),
        ];
        let id_of = |title: &str| self.id("document", format_args!("wiki/{title}"));
        let mut made = Vec::new();
        for (title, parent, text) in pages {
            let at = Timestamp::from_secs(in_2026(1, 15, 9, 0));
            let mut page = Node::new(id_of(title), Kind::Document, title, owner, at);
            page.place = Place::Wiki;
            page.parent = parent.map(id_of);
            page.paragraphs = text.iter().map(|line| (*line).to_owned()).collect();
            made.push(page);
        }
        self.papers.nodes.extend(made);
    }

    fn calendars(&mut self, person: &Person) {
        for (at, calendar) in person.calendars.iter().enumerate() {
            let id = self.id("calendar", calendar.id);
            for event in person.events.iter().filter(|event| event.calendar == calendar.id) {
                self.papers.events.push(Event {
                    id: self.id("event", event.id),
                    owner: person.email.clone(),
                    calendar: id.clone(),
                    summary: event.subject.clone(),
                    description: event.body.clone(),
                    location: event.location.clone(),
                    start: Timestamp::from_secs(event.start),
                    end: Timestamp::from_secs(event.end),
                    attendees: event.attendees.iter().map(|a| a.email.clone()).collect(),
                    created: Timestamp::from_secs(in_2026(1, 2, 9, 0)),
                });
            }
            let (owner, name) = (person.email.clone(), calendar.name.clone());
            self.papers.calendars.push(Calendar { id, owner, name, primary: at == 0 });
        }
    }

    fn mailbox(&mut self, person: &Person) {
        for mail in &person.mail {
            let folder = person.folders.iter().find(|folder| folder.id == mail.folder);
            self.papers.mails.push(Mail {
                id: self.id("mail", mail.id),
                thread: self.id("thread", mail.id),
                owner: person.email.clone(),
                folder: folder.map_or_else(String::new, |f| f.name.clone()),
                from: mail.from.email.clone(),
                to: mail.to.iter().map(|to| to.email.clone()).collect(),
                subject: mail.subject.clone(),
                body: mail.body.clone(),
                at: Timestamp::from_secs(mail.received),
                unread: !mail.read,
            });
        }
    }

    fn todos(&mut self, person: &Person) {
        for todo in &person.todos {
            self.papers.todos.push(Todo {
                id: self.id("todo", todo.id),
                owner: person.email.clone(),
                subject: todo.title.clone(),
                description: String::new(),
                due: Timestamp::from_secs(todo.due),
                done: todo.done,
                created: Timestamp::from_secs(in_2026(1, 2, 9, 0)),
            });
        }
    }

    fn chat(&mut self, chat: &crate::sandbox::world::Chat) {
        let id = self.id("chat", chat.id);
        for message in &chat.messages {
            self.papers.messages.push(Message {
                id: self.id("message", message.id),
                chat: id.clone(),
                from: message.from.clone(),
                text: message.text.clone(),
                at: Timestamp::from_secs(message.sent),
                parent: None,
                recalled: false,
            });
        }
        self.papers.chats.push(Chat {
            id,
            name: chat.topic.clone(),
            members: chat.members.clone(),
            direct: chat.one_on_one,
        });
    }
}

fn kind_of(file: &File) -> Kind {
    if file.content.is_none() {
        return Kind::Folder;
    }
    match file.name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("md") => Kind::Document,
        Some("csv") => Kind::Sheet,
        _ => Kind::File,
    }
}
