//! Lists to read: users, interactions, events; and API tokens.

use askama::Template;

use crate::kernel::text::Lang;
use crate::model::user::{AdminToken, Role, User, UserState};
use crate::web::texts;
use crate::web::views::events::EventRow;
use crate::web::views::page::{Notice, Page, Section, Tone};
use crate::web::views::shown::{Shown, When, letter};

/// One user.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// Identifier.
    pub id: String,
    /// First letter.
    pub letter: String,
    /// Name.
    pub name: Shown,
    /// E-mail, or a word for none.
    pub email: Shown,
    /// Last sign-in in a browser.
    pub last_sign_in: Option<When>,
    /// State, in words.
    pub state: &'static str,
    /// And in colour.
    pub tone: Tone,
}

impl UserRow {
    /// A user as the list shows them.
    pub fn new(page: &Page, user: &User) -> Self {
        let (state, tone) = match user.state {
            UserState::Active => ("state.active", Tone::Good),
            UserState::Disabled => ("state.disabled", Tone::Bad),
        };
        Self {
            id: user.id.to_string(),
            letter: letter(&user.name),
            name: Shown::name(&user.name),
            email: Shown::name(user.email.as_deref().unwrap_or(page.t("admin.no_email"))),
            last_sign_in: user.last_sign_in.map(|at| page.when(at)),
            state: texts::text(page.lang, state),
            tone,
        }
    }
}

/// All users.
#[derive(Template)]
#[template(path = "admin/users.html")]
pub struct UsersPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// The users.
    pub users: Vec<UserRow>,
    /// The address of the next part of the list.
    pub next: Option<String>,
}

impl UsersPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Users);
        let row = |name: &str, email: &str, ago: Option<i64>| UserRow {
            id: format!("usr_{:0>32}", email.len()),
            letter: letter(name),
            name: Shown::name(name),
            email: Shown::name(email),
            last_sign_in: ago.map(|ago| page.sample_when(-ago)),
            state: texts::text(lang, if ago.is_some() { "state.active" } else { "state.disabled" }),
            tone: if ago.is_some() { Tone::Good } else { Tone::Bad },
        };
        let users = vec![
            row("Alice Example", "alice@example.com", Some(4_000)),
            row("示例乙", "bob@example.com", None),
        ];
        Self { page, notice: None, users, next: Some("/admin/users?after=usr_1".to_owned()) }
    }
}

/// One interaction.
#[derive(Clone, Debug)]
pub struct InteractionRow {
    /// Identifier.
    pub id: String,
    /// Who asks.
    pub agent: Shown,
    /// For what provider.
    pub provider: Shown,
    /// Whom.
    pub user: Shown,
    /// Which scopes.
    pub scopes: String,
    /// When.
    pub asked: When,
    /// When the link ends, while it can still be answered.
    pub ends: Option<When>,
    /// The grant that came of it.
    pub grant: Option<String>,
    /// Where it stands, in words.
    pub state: &'static str,
    /// And in colour.
    pub tone: Tone,
}

/// All interactions.
#[derive(Template)]
#[template(path = "admin/interactions.html")]
pub struct InteractionsPage {
    /// Frame.
    pub page: Page,
    /// The interactions.
    pub interactions: Vec<InteractionRow>,
    /// The address of the next part of the list.
    pub next: Option<String>,
}

impl InteractionsPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Interactions);
        let row = |id: u8, state: &'static str, tone| InteractionRow {
            id: format!("int_{id:0>32}"),
            agent: Shown::name("Weekly Digest"),
            provider: Shown::name("Microsoft Entra ID"),
            user: Shown::name("alice@example.com"),
            scopes: "Calendars.Read Mail.Read Mail.Send".to_owned(),
            asked: page.sample_when(-4_000),
            ends: (tone == Tone::Warn).then(|| page.sample_when(80_000)),
            grant: (tone == Tone::Good).then(|| "gnt_0f8b2c".to_owned()),
            state: texts::text(lang, state),
            tone,
        };
        let interactions = vec![row(1, "state.pending", Tone::Warn), row(2, "state.granted", Tone::Good)];
        Self { page, interactions, next: None }
    }
}

/// The newest entries of the log.
#[derive(Template)]
#[template(path = "admin/events.html")]
pub struct EventsPage {
    /// Frame.
    pub page: Page,
    /// The entries.
    pub events: Vec<EventRow>,
    /// The address of older ones.
    pub next: Option<String>,
}

impl EventsPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Events);
        let events = EventRow::samples(&page);
        Self { page, events, next: Some("/admin/events?before=4711".to_owned()) }
    }
}

/// One API token.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// Identifier.
    pub id: String,
    /// What it is for.
    pub name: Shown,
    /// What it may do.
    pub role: &'static str,
    /// A word when it no longer works.
    pub ended: Option<&'static str>,
    /// When it was made.
    pub made: When,
}

impl TokenRow {
    /// A token as the list shows it.
    pub fn new(page: &Page, token: &AdminToken) -> Self {
        let role = match token.role {
            Role::Admin => "admin.role_admin",
            Role::Auditor => "admin.role_auditor",
            Role::Provisioner => "admin.role_provisioner",
        };
        let ended = token.expires_at.is_some_and(|at| at <= page.now);
        Self {
            id: token.id.to_string(),
            name: Shown::name(&token.name),
            role: texts::text(page.lang, role),
            ended: ended.then(|| texts::text(page.lang, "state.revoked")),
            made: page.when(token.created_at),
        }
    }
}

/// All API tokens.
#[derive(Template)]
#[template(path = "admin/tokens.html")]
pub struct TokensPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// What was wrong.
    pub problem: Option<String>,
    /// The tokens.
    pub tokens: Vec<TokenRow>,
    /// The address of the next part of the list.
    pub next: Option<String>,
}

impl TokensPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Tokens);
        let row = |name: &str, role, ended: bool| TokenRow {
            id: format!("tok_{:0>32}", name.len()),
            name: Shown::name(name),
            role: texts::text(lang, role),
            ended: ended.then(|| texts::text(lang, "state.revoked")),
            made: page.sample_when(-400_000),
        };
        let tokens =
            vec![row("Terraform", "admin.role_admin", false), row("SIEM export", "admin.role_auditor", true)];
        Self { notice: None, problem: None, tokens, next: None, page }
    }
}
