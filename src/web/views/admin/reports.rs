//! One agent and one person: what can still be done, and by whom.

use askama::Template;

use crate::kernel::text::Lang;
use crate::model::agent::AgentKind;
use crate::web::texts;
use crate::web::views::admin::agents::AgentRow;
use crate::web::views::admin::credentials::{CERTIFICATE_NAMES, Credentials};
use crate::web::views::page::{Notice, Page, Section, Tone};
use crate::web::views::shown::{Shown, When};

/// A grant in a report.
#[derive(Clone, Debug)]
pub struct GrantRow {
    /// Identifier.
    pub id: String,
    /// The agent, or the person: whom the report is not about.
    pub other: Shown,
    /// Where.
    pub provider: Shown,
    /// Which scopes.
    pub scopes: String,
    /// When it ends.
    pub ends: When,
    /// Whether it holds.
    pub holds: bool,
    /// Why it is of no use at present.
    pub refused: Option<Shown>,
    /// Provider tokens that have left: what they open, and until when.
    pub tokens: Vec<(String, When)>,
}

impl GrantRow {
    fn sample(page: &Page, other: &str) -> Self {
        Self {
            id: format!("gnt_{:0>32}", 7),
            other: Shown::name(other),
            provider: Shown::name("Microsoft Entra ID"),
            scopes: "Mail.Read".to_owned(),
            ends: page.sample_when(90_000),
            holds: true,
            refused: Some(Shown::sentence(&texts::reason(page.lang, "the agent is suspended"))),
            tokens: vec![("Mail.Read".to_owned(), page.sample_when(1_800))],
        }
    }
}

/// An internal service in a report.
#[derive(Clone, Debug)]
pub struct ReachRow {
    /// As tokens name it.
    pub identifier: Shown,
    /// The agent, or for whom.
    pub other: Shown,
    /// Which scopes.
    pub scopes: String,
    /// After how many seconds a token that has left ends.
    pub life_s: u64,
}

impl ReachRow {
    fn sample(other: &str) -> Self {
        Self {
            identifier: Shown::name("https://people.example.com"),
            other: Shown::name(other),
            scopes: "leave.read".to_owned(),
            life_s: 300,
        }
    }
}

/// Tokens that have left for an internal service.
#[derive(Clone, Debug)]
pub struct LeftRow {
    /// The service, as tokens name it.
    pub identifier: Shown,
    /// The agent, or the person: whom the report is not about.
    pub other: Shown,
    /// When the last of them ends.
    pub ends: When,
}

impl LeftRow {
    fn sample(page: &Page, other: &str) -> Self {
        Self {
            identifier: Shown::name("https://people.example.com"),
            other: Shown::name(other),
            ends: page.sample_when(240),
        }
    }
}

/// One change of an agent.
#[derive(Clone, Debug)]
pub struct ChangeRow {
    /// What was done, in words.
    pub words: String,
    /// By whom.
    pub by: Shown,
    /// When.
    pub at: When,
    /// What is different since.
    pub changes: Vec<Shown>,
}

/// One agent.
#[derive(Template)]
#[template(path = "admin/agent.html")]
pub struct AgentPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// What was wrong.
    pub problem: Option<String>,
    /// The agent.
    pub agent: AgentRow,
    /// What the register holds of it: name and value.
    pub facts: Vec<(&'static str, Shown)>,
    /// Why everything is refused at present.
    pub refused: Option<Shown>,
    /// How it signs in.
    pub credentials: Credentials,
    /// Grants.
    pub grants: Vec<GrantRow>,
    /// Internal services.
    pub reach: Vec<ReachRow>,
    /// Tokens that may be alive at internal services.
    pub left: Vec<LeftRow>,
    /// Who changed what, the newest first.
    pub history: Vec<ChangeRow>,
}

impl AgentPage {
    /// The kinds of names that a certificate of an authority can be known by.
    fn certificate_names(&self) -> [(&'static str, &'static str); 5] {
        CERTIFICATE_NAMES
    }

    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Agents);
        Self {
            notice: None,
            problem: None,
            agent: AgentRow::sample(lang, "Weekly Digest", AgentKind::Personal, true),
            facts: vec![
                (texts::text(lang, "admin.platform"), Shown::name("LangChain")),
                (texts::text(lang, "admin.labels"), Shown::name("legal, internal")),
            ],
            refused: Some(Shown::sentence(&texts::reason(lang, "the agent is suspended"))),
            credentials: Credentials::sample(&page),
            grants: vec![GrantRow::sample(&page, "alice@example.com")],
            reach: vec![ReachRow::sample("everyone")],
            left: vec![LeftRow::sample(&page, "alice@example.com")],
            history: vec![ChangeRow {
                words: texts::find(lang, "event.agent.suspended").unwrap_or("agent.suspended").to_owned(),
                by: Shown::name("admin@example.com"),
                at: page.sample_when(-600),
                changes: vec![Shown::sentence("state: active → suspended")],
            }],
            page,
        }
    }
}

/// One person.
#[derive(Template)]
#[template(path = "admin/user.html")]
pub struct UserPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: Shown,
    /// E-mail, or a word for none.
    pub email: Shown,
    /// State, in words.
    pub state: &'static str,
    /// And in colour.
    pub tone: Tone,
    /// Whether the person may act.
    pub is_active: bool,
    /// What the record holds: name and value.
    pub facts: Vec<(&'static str, Shown)>,
    /// Grants.
    pub grants: Vec<GrantRow>,
    /// Accounts: label and provider.
    pub accounts: Vec<(Shown, Shown)>,
    /// Internal services.
    pub reach: Vec<ReachRow>,
    /// Tokens that may be alive at internal services.
    pub left: Vec<LeftRow>,
    /// Agents that the person answers for: id and name.
    pub agents: Vec<(String, Shown)>,
}

impl UserPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Users);
        Self {
            notice: None,
            id: format!("usr_{:0>32}", 1),
            name: Shown::name("Alice Example"),
            email: Shown::name("alice@example.com"),
            state: texts::text(lang, "state.active"),
            tone: Tone::Good,
            is_active: true,
            facts: vec![(texts::text(lang, "admin.department"), Shown::name("Sales"))],
            grants: vec![GrantRow::sample(&page, "Weekly Digest")],
            accounts: vec![(Shown::name("alice@example.com"), Shown::name("Microsoft Entra ID"))],
            reach: vec![ReachRow::sample("Weekly Digest")],
            left: vec![LeftRow::sample(&page, "Weekly Digest")],
            agents: vec![(format!("agt_{:0>32}", 1), Shown::name("Weekly Digest"))],
            page,
        }
    }
}
