//! The world's content as one vendor files it: folders, documents, wiki pages, sheets, calendars, mail, chats and
//! to-dos under that vendor's ids, with owners and readers. The Chinese vendors' dialects render it.

mod seed;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernel::clock::{Clock, Timestamp};
use crate::sandbox::world::World;

/// What a node of a drive or a wiki is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// An online document, in paragraphs.
    Document,
    /// An uploaded file, as text.
    File,
    /// A spreadsheet, in rows.
    Sheet,
    /// A table of records; the first row holds the names of the fields.
    Base,
    /// A pointer to another node, which may lie in another folder.
    Shortcut,
}

/// Where a node hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its owner's own drive.
    Drive,
    /// In the company's wiki, which every member reads.
    Wiki,
}

/// A folder, document, file, sheet, base or shortcut.
#[derive(Clone, Debug)]
pub struct Node {
    /// The vendor's id of it.
    pub id: String,
    /// The folder or wiki page above; `None` at the top.
    pub parent: Option<String>,
    /// Where it hangs.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
    /// Its name, with an extension for files.
    pub name: String,
    /// The owner's e-mail.
    pub owner: String,
    /// Others who may read it, by e-mail.
    pub readers: Vec<String>,
    /// What a shortcut points to.
    pub target: Option<String>,
    /// The text of a document or file.
    pub paragraphs: Vec<String>,
    /// The cells of a sheet or base.
    pub rows: Vec<Vec<String>>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub modified: Timestamp,
    /// Grows with each change.
    pub revision: u64,
}

impl Node {
    /// A new empty node.
    pub fn new(id: String, kind: Kind, name: &str, owner: &str, at: Timestamp) -> Self {
        Self {
            id,
            parent: None,
            place: Place::Drive,
            kind,
            name: name.to_owned(),
            owner: owner.to_owned(),
            readers: Vec::new(),
            target: None,
            paragraphs: Vec::new(),
            rows: Vec::new(),
            created: at,
            modified: at,
            revision: 1,
        }
    }

    /// Whether that member of the company may read it.
    pub fn readable_by(&self, email: &str) -> bool {
        self.place == Place::Wiki || self.owner == email || self.readers.iter().any(|reader| reader == email)
    }

    /// Its name without the extension, as online documents are titled.
    pub fn title(&self) -> &str {
        self.name.rsplit_once('.').map_or(self.name.as_str(), |(title, _)| title)
    }

    /// Its text, one paragraph a line.
    pub fn text(&self) -> String {
        let mut text = self.paragraphs.join("\n");
        text.push('\n');
        text
    }

    /// Its name's extension, without the dot.
    pub fn extension(&self) -> &str {
        self.name.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// Notes a change.
    pub fn touch(&mut self, at: Timestamp) {
        self.modified = at;
        self.revision += 1;
    }
}

/// A calendar.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// The vendor's id of it.
    pub id: String,
    /// Whose it is, by e-mail; nobody's when an app made it.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// Whether it is its owner's own first one.
    pub primary: bool,
}

/// Somebody's access to somebody else's calendar.
#[derive(Clone, Debug)]
pub struct Access {
    /// The vendor's id of it.
    pub id: String,
    /// The calendar.
    pub calendar: String,
    /// Who may, by e-mail.
    pub who: String,
    /// What they may, in the vendor's word.
    pub privilege: String,
}

/// An appointment in its owner's calendar.
#[derive(Clone, Debug)]
pub struct Event {
    /// The vendor's id of it.
    pub id: String,
    /// Whose it is, by e-mail; nobody's in a calendar that an app made.
    pub owner: String,
    /// The vendor's id of the calendar that holds it.
    pub calendar: String,
    /// Its title.
    pub summary: String,
    /// More about it.
    pub description: String,
    /// Where it is.
    pub location: String,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// Who else is invited, by e-mail.
    pub attendees: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
}

/// One mail in one mailbox.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The vendor's id of it.
    pub id: String,
    /// The vendor's id of its thread.
    pub thread: String,
    /// Whose mailbox holds it, by e-mail.
    pub owner: String,
    /// The name of the folder that it is in.
    pub folder: String,
    /// The sender's address.
    pub from: String,
    /// The receivers' addresses.
    pub to: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub body: String,
    /// When it came or went.
    pub at: Timestamp,
    /// Whether nobody has opened it.
    pub unread: bool,
}

/// A chat.
#[derive(Clone, Debug)]
pub struct Chat {
    /// The vendor's id of it.
    pub id: String,
    /// Its name; empty between two people.
    pub name: String,
    /// Who is in it, by e-mail.
    pub members: Vec<String>,
    /// Whether it is between two people.
    pub direct: bool,
}

/// One message of a chat.
#[derive(Clone, Debug)]
pub struct Message {
    /// The vendor's id of it.
    pub id: String,
    /// The chat it is in, or whom it was sent to.
    pub chat: String,
    /// Who wrote it, by e-mail; the app's name when the app did.
    pub from: String,
    /// The text.
    pub text: String,
    /// When it was written.
    pub at: Timestamp,
    /// Which message it answers.
    pub parent: Option<String>,
    /// Whether it was taken back.
    pub recalled: bool,
}

/// A to-do.
#[derive(Clone, Debug)]
pub struct Todo {
    /// The vendor's id of it.
    pub id: String,
    /// Whose list holds it, by e-mail.
    pub owner: String,
    /// What to do.
    pub subject: String,
    /// More about it.
    pub description: String,
    /// Until when.
    pub due: Timestamp,
    /// Whether it is done.
    pub done: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// Makes a vendor's id from the sort of thing and a text that is unique for it.
pub type Mint = fn(sort: &str, of: &str) -> String;

/// Everything that is filed.
#[derive(Default)]
pub struct Papers {
    /// Folders, documents, files and wiki pages.
    pub nodes: Vec<Node>,
    /// Calendars.
    pub calendars: Vec<Calendar>,
    /// Who may see whose calendar.
    pub accesses: Vec<Access>,
    /// Appointments.
    pub events: Vec<Event>,
    /// Mails.
    pub mails: Vec<Mail>,
    /// Chats.
    pub chats: Vec<Chat>,
    /// Messages.
    pub messages: Vec<Message>,
    /// To-dos.
    pub todos: Vec<Todo>,
    made: u64,
}

impl Papers {
    /// The node of that id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The node of that id, to change it.
    pub fn node_mut(&mut self, id: &str) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    /// What lies directly in a folder or under a wiki page.
    pub fn children<'d>(&'d self, parent: &'d str) -> impl Iterator<Item = &'d Node> {
        self.nodes.iter().filter(move |node| node.parent.as_deref() == Some(parent))
    }

    /// The top folder of a person's own drive.
    pub fn root(&self, email: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.parent.is_none() && n.place == Place::Drive && n.owner == email)
    }

    /// The top page of the company's wiki.
    pub fn wiki(&self) -> Option<&Node> {
        self.nodes.iter().find(|n| n.parent.is_none() && n.place == Place::Wiki)
    }

    /// Whether a node lies in a folder, at any depth, or is that folder.
    pub fn lies_in(&self, id: &str, folder: &str) -> bool {
        let mut at = Some(id);
        // A parent is always older than its child, so that this walk ends.
        while let Some(here) = at {
            if here == folder {
                return true;
            }
            at = self.node(here).and_then(|node| node.parent.as_deref());
        }
        false
    }

    /// Removes a node and what lies in it.
    pub fn remove(&mut self, id: &str) {
        let doomed: Vec<String> =
            self.nodes.iter().filter(|n| self.lies_in(&n.id, id)).map(|n| n.id.clone()).collect();
        self.nodes.retain(|node| !doomed.contains(&node.id));
    }

    /// A text that names the next new thing.
    pub fn next_name(&mut self) -> String {
        self.made += 1;
        format!("made-{}", self.made)
    }
}

/// One vendor's files.
pub struct Office {
    clock: Arc<dyn Clock>,
    mint: Mint,
    papers: Mutex<Papers>,
}

impl Office {
    /// The world's content, filed.
    pub fn of(world: &World, clock: Arc<dyn Clock>, mint: Mint) -> Self {
        Self { clock, mint, papers: Mutex::new(seed::papers(world, mint)) }
    }

    /// Files the world's content anew.
    pub fn renew(&self, world: &World) {
        *self.papers() = seed::papers(world, self.mint);
    }

    /// Empty files, for a vendor whose apps reach nothing but what they made.
    pub fn bare(clock: Arc<dyn Clock>, mint: Mint) -> Self {
        Self { clock, mint, papers: Mutex::default() }
    }

    /// The papers.
    pub fn papers(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new id.
    pub fn id(&self, papers: &mut Papers, sort: &str) -> String {
        (self.mint)(sort, &papers.next_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::clock::ManualClock;

    fn office() -> Office {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_790_000_000)));
        Office::of(&World::new(), clock, |sort, of| format!("{sort}-{of}"))
    }

    #[test]
    fn nobody_reads_another_persons_drive_and_everybody_reads_the_wiki() {
        let office = office();
        let papers = office.papers();
        for node in &papers.nodes {
            let others = ["alice@example.com", "bob@example.com"].into_iter().filter(|e| **e != node.owner);
            for other in others {
                let shared = node.readers.iter().any(|r| r == other);
                assert_eq!(node.readable_by(other), node.place == Place::Wiki || shared, "{}", node.name);
            }
        }
    }

    #[test]
    fn a_shortcut_leads_out_of_its_folder() {
        let office = office();
        let papers = office.papers();
        let shortcut = papers.nodes.iter().find(|n| n.kind == Kind::Shortcut).unwrap();
        let target = shortcut.target.clone().unwrap();
        assert!(!papers.lies_in(&target, shortcut.parent.as_deref().unwrap()));
    }
}
