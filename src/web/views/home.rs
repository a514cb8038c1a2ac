//! The employee's own page: accounts, agents, what they did.

use askama::Template;

use crate::kernel::text::Lang;
use crate::model::agent::AgentKind;
use crate::model::connection::{Connection, ConnectionState, ReauthReason};
use crate::web::texts;
use crate::web::views::consent::{ScopeRow, kind_words};
use crate::web::views::events::EventRow;
use crate::web::views::limit_fields::LimitSection;
use crate::web::views::page::{Notice, Page, Tone};
use crate::web::views::shown::{Shown, When, letter};

/// A request that waits for an answer.
#[derive(Clone, Debug)]
pub struct WaitingItem {
    /// The interaction's id.
    pub id: String,
    /// The agent's first letter.
    pub letter: String,
    /// The agent's name.
    pub agent: Shown,
    /// The provider's name.
    pub provider: Shown,
    /// What it asks for.
    pub scopes: Vec<ScopeRow>,
    /// The agent's own words.
    pub words: Option<Shown>,
    /// When the link ends.
    pub ends: When,
}

/// A grant that the employee has not seen here yet.
#[derive(Clone, Debug)]
pub struct NewGrantItem {
    /// The grant's id.
    pub id: String,
    /// The agent's name.
    pub agent: Shown,
    /// The provider's name.
    pub provider: Shown,
    /// The account's label.
    pub account: Shown,
}

/// One connected account.
#[derive(Clone, Debug)]
pub struct ConnectionCard {
    /// Identifier.
    pub id: String,
    /// The provider's first letter.
    pub letter: String,
    /// The provider's name.
    pub provider: Shown,
    /// The account's label.
    pub account: Shown,
    /// Whether it is the default account there.
    pub is_default: bool,
    /// Its state in a word.
    pub state: &'static str,
    /// And in colour.
    pub tone: Tone,
    /// What the state means, when there is something to say.
    pub why: Option<&'static str>,
    /// Since when.
    pub since: When,
    /// How many agents may use it.
    pub agents: usize,
    /// Whether connecting again helps.
    pub can_reconnect: bool,
    /// Whether it could be made the default.
    pub can_default: bool,
}

impl ConnectionCard {
    /// An account as the page shows it. `siblings` counts the user's accounts at that provider.
    pub fn new(
        page: &Page,
        connection: &Connection,
        provider: Shown,
        agents: usize,
        siblings: usize,
    ) -> Self {
        let (state, tone, why) = connection_state(page.lang, connection);
        Self {
            id: connection.id.to_string(),
            letter: letter(provider.as_str()),
            provider,
            account: Shown::name(&connection.account.label),
            is_default: connection.is_default,
            state,
            tone,
            why,
            since: page.when(connection.created_at),
            agents,
            can_reconnect: matches!(connection.state, ConnectionState::NeedsReauth { .. }),
            can_default: siblings > 1 && !connection.is_default,
        }
    }

    fn sample(
        page: &Page,
        provider: &str,
        account: &str,
        state: &'static str,
        tone: Tone,
        why: Option<&str>,
    ) -> Self {
        Self {
            id: format!("con_{}", letter(provider)),
            letter: letter(provider),
            provider: Shown::name(provider),
            account: Shown::name(account),
            is_default: tone == Tone::Good,
            state: texts::text(page.lang, state),
            tone,
            why: why.and_then(|key| texts::find(page.lang, key)),
            since: page.sample_when(-1_200_000),
            agents: 1,
            can_reconnect: tone == Tone::Bad,
            can_default: tone == Tone::Bad,
        }
    }
}

/// The state of a connection in a word, a colour, and what it means for its owner.
pub fn connection_state(lang: Lang, connection: &Connection) -> (&'static str, Tone, Option<&'static str>) {
    let (state, tone, why) = match &connection.state {
        ConnectionState::Active if connection.backoff.failures > 0 => {
            ("connection.active", Tone::Warn, Some("connection.retrying"))
        }
        ConnectionState::Active => ("connection.active", Tone::Good, None),
        ConnectionState::InDoubt { .. } => {
            ("connection.in_doubt", Tone::Warn, Some("connection.in_doubt_why"))
        }
        ConnectionState::NeedsReauth { reason, .. } => {
            let why = match reason {
                ReauthReason::RefreshTokenRefused => "connection.refresh_token_refused",
                ReauthReason::StepUp => "connection.step_up",
                ReauthReason::AnswerLost => "connection.answer_lost",
                ReauthReason::ConsentExpired => "connection.consent_expired",
                ReauthReason::NoRefreshToken => "connection.no_refresh_token",
                ReauthReason::AccountGone => "connection.account_gone",
                ReauthReason::ScopesLeftOut => "connection.scopes_left_out",
            };
            ("connection.needs_reauth", Tone::Bad, Some(why))
        }
        ConnectionState::Disconnected { .. } => ("connection.disconnected", Tone::Plain, None),
    };
    (texts::text(lang, state), tone, why.and_then(|key| texts::find(lang, key)))
}

/// One grant of an agent.
#[derive(Clone, Debug)]
pub struct GrantCard {
    /// Identifier.
    pub id: String,
    /// The provider's name.
    pub provider: Shown,
    /// The account's label.
    pub account: Shown,
    /// What the agent may do.
    pub scopes: Vec<ScopeRow>,
    /// What it is bound to, in words.
    pub limits: Vec<String>,
    /// When it ends.
    pub until: When,
    /// When it was last used, if that is known.
    pub used: Option<When>,
    /// Whether no other agent uses the account.
    pub is_last: bool,
}

/// One agent: what it may do, and what it did.
#[derive(Clone, Debug)]
pub struct AgentCard {
    /// Identifier, also the anchor of its heading.
    pub id: String,
    /// Its first letter.
    pub letter: String,
    /// Name.
    pub name: Shown,
    /// What it is for.
    pub purpose: Shown,
    /// Kind, in words.
    pub kind: &'static str,
    /// A word when it may not act at all.
    pub state: Option<&'static str>,
    /// Its live grants.
    pub grants: Vec<GrantCard>,
    /// What it did lately.
    pub events: Vec<EventRow>,
    /// Whether the list of deeds starts open.
    pub open: bool,
}

/// An internal back end that agents reach for the employee.
#[derive(Clone, Debug)]
pub struct ServiceCard {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: Shown,
    /// What it holds.
    pub purpose: Shown,
    /// The agents that may act there, each with its scopes.
    pub agents: Vec<(Shown, String)>,
    /// Whether the employee has left it on.
    pub is_on: bool,
}

/// The employee's own page.
#[derive(Template)]
#[template(path = "home.html")]
pub struct HomePage {
    /// Frame.
    pub page: Page,
    /// The employee's name.
    pub name: Shown,
    /// What was just done.
    pub notice: Option<Notice>,
    /// What was permitted since the last visit.
    pub news: Vec<NewGrantItem>,
    /// Requests that wait for an answer.
    pub waiting: Vec<WaitingItem>,
    /// Connected accounts.
    pub connections: Vec<ConnectionCard>,
    /// Agents.
    pub agents: Vec<AgentCard>,
    /// Internal back ends.
    pub services: Vec<ServiceCard>,
}

impl HomePage {
    /// For looking at: everything that can be on it.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::sample(lang);
        let grant = |provider: &str, account: &str, used: bool, take: usize| GrantCard {
            id: format!("gnt_{provider}"),
            provider: Shown::name(provider),
            account: Shown::name(account),
            scopes: ScopeRow::samples(lang).into_iter().skip(5 - take).collect(),
            limits: if used { LimitSection::sample(lang).fixed } else { Vec::new() },
            until: page.sample_when(500_000),
            used: used.then(|| page.sample_when(-120)),
            is_last: used,
        };
        let agent = |name: &str, kind, purpose: [&str; 2], grants, events| AgentCard {
            id: format!("agt_{}", letter(name)),
            letter: letter(name),
            name: Shown::name(name),
            purpose: Shown::sentence(match lang {
                Lang::En => purpose[0],
                Lang::Zh => purpose[1],
            }),
            kind: kind_words(lang, kind),
            state: None,
            grants,
            events,
            open: true,
        };
        let agents = vec![
            agent(
                "Weekly Digest",
                AgentKind::Personal,
                ["Summarises the week's mail and appointments every Friday.", "每周五汇总一周的邮件和日程。"],
                vec![
                    grant("Microsoft Entra ID", "alice@example.com", true, 4),
                    grant("Lark", "Alice Example", false, 2),
                ],
                EventRow::samples(&page),
            ),
            AgentCard {
                state: Some(texts::text(lang, "state.suspended")),
                open: false,
                ..agent(
                    "会议助理",
                    AgentKind::Assistant,
                    ["Finds time for meetings.", "协调会议时间。"],
                    Vec::new(),
                    Vec::new(),
                )
            },
        ];
        Self {
            name: Shown::name("Alice Example"),
            notice: Some(Notice { tone: Tone::Good, words: page.t("home.revoked").to_owned() }),
            news: vec![NewGrantItem {
                id: "gnt_0f8b2c".to_owned(),
                agent: Shown::name("Weekly Digest"),
                provider: Shown::name("Microsoft Entra ID"),
                account: Shown::name("alice@example.com"),
            }],
            waiting: vec![WaitingItem {
                id: "int_0f8b2c".to_owned(),
                letter: "T".to_owned(),
                agent: Shown::name("Travel Desk"),
                provider: Shown::name("DingTalk"),
                scopes: ScopeRow::samples(lang).into_iter().skip(1).take(2).collect(),
                words: Some(Shown::sentence("I need to see when you are free on Thursday.")),
                ends: page.sample_when(50_000),
            }],
            connections: vec![
                ConnectionCard::sample(
                    &page,
                    "Microsoft Entra ID",
                    "alice@example.com",
                    "connection.active",
                    Tone::Good,
                    None,
                ),
                ConnectionCard::sample(
                    &page,
                    "Lark",
                    "Alice Example",
                    "connection.needs_reauth",
                    Tone::Bad,
                    Some("connection.refresh_token_refused"),
                ),
                ConnectionCard::sample(
                    &page,
                    "WeCom",
                    "alice",
                    "connection.in_doubt",
                    Tone::Warn,
                    Some("connection.in_doubt_why"),
                ),
            ],
            agents,
            services: vec![ServiceCard {
                id: "aud_people".to_owned(),
                name: Shown::name("People service"),
                purpose: Shown::sentence("Leave and salary of employees; each sees their own."),
                agents: vec![(Shown::name("Weekly Digest"), "leave.read".to_owned())],
                is_on: true,
            }],
            page,
        }
    }

    /// For looking at: before anything has happened.
    pub fn empty_sample(lang: Lang) -> Self {
        let page = Page { sandbox: false, ..Page::sample(lang) };
        let name = Shown::name("Bob");
        Self {
            page,
            name,
            notice: None,
            news: Vec::new(),
            waiting: Vec::new(),
            connections: Vec::new(),
            agents: Vec::new(),
            services: Vec::new(),
        }
    }
}
