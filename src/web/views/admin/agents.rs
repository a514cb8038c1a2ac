//! Agents: the list, registering one, and the page that shows a secret once.

use askama::Template;

use crate::agents::Flag;
use crate::kernel::secret::{Secret, SecretString};
use crate::kernel::text::Lang;
use crate::model::agent::{Agent, AgentKind, AgentState};
use crate::web::texts;
use crate::web::views::consent::{ScopeRow, kind_words};
use crate::web::views::page::{Notice, Page, Section, Tone};
use crate::web::views::shown::{Shown, letter};

/// One agent of the list.
#[derive(Clone, Debug)]
pub struct AgentRow {
    /// Identifier.
    pub id: String,
    /// Its first letter.
    pub letter: String,
    /// Name.
    pub name: Shown,
    /// What it is for.
    pub purpose: Shown,
    /// Kind, in words.
    pub kind: &'static str,
    /// State, in words.
    pub state: &'static str,
    /// And in colour.
    pub tone: Tone,
    /// Whether it may act.
    pub is_active: bool,
    /// Whether its state can still change.
    pub can_change: bool,
    /// Who answers for it.
    pub owner: Shown,
    /// Where it may be granted something.
    pub providers: Vec<String>,
    /// Whether its tokens have to be bound.
    pub is_bound: bool,
    /// Platform, environment and labels.
    pub labels: Vec<Shown>,
    /// What needs a look, in words.
    pub flags: Vec<&'static str>,
}

impl AgentRow {
    /// An agent as the list shows it.
    pub fn new(lang: Lang, agent: &Agent, owner: Shown, flags: &[Flag]) -> Self {
        let (state, tone) = match agent.state {
            AgentState::Active => ("state.active", Tone::Good),
            AgentState::Suspended => ("state.suspended", Tone::Bad),
            AgentState::Retired => ("state.retired", Tone::Plain),
        };
        Self {
            id: agent.id.to_string(),
            letter: letter(&agent.name),
            name: Shown::name(&agent.name),
            purpose: Shown::sentence(&agent.purpose),
            kind: kind_words(lang, agent.kind),
            state: texts::text(lang, state),
            tone,
            is_active: agent.state == AgentState::Active,
            can_change: agent.state != AgentState::Retired,
            owner,
            providers: agent.ceiling.keys().map(ToString::to_string).collect(),
            is_bound: agent.entry.sender_constrained,
            labels: {
                let entry = &agent.entry;
                let labels = entry.platform.iter().chain(&entry.environment).chain(&entry.labels);
                labels.map(|label| Shown::name(label)).collect()
            },
            flags: flags.iter().map(|flag| flag_words(lang, *flag)).collect(),
        }
    }

    /// For looking at.
    pub fn sample(lang: Lang, name: &str, kind: AgentKind, active: bool) -> Self {
        Self {
            id: format!("agt_{:0>32}", letter(name).to_lowercase()),
            letter: letter(name),
            name: Shown::name(name),
            purpose: Shown::sentence("Summarises the week's mail and appointments every Friday."),
            kind: kind_words(lang, kind),
            state: texts::text(lang, if active { "state.active" } else { "state.suspended" }),
            tone: if active { Tone::Good } else { Tone::Bad },
            is_active: active,
            can_change: true,
            owner: Shown::name("alice@example.com"),
            providers: vec!["entra".to_owned(), "lark".to_owned()],
            is_bound: active,
            labels: vec![Shown::name("LangChain")],
            flags: vec![flag_words(lang, Flag::ReviewDue)],
        }
    }
}

/// A flag in words.
fn flag_words(lang: Lang, flag: Flag) -> &'static str {
    texts::text(
        lang,
        match flag {
            Flag::NoActiveOwner => "admin.flag_no_active_owner",
            Flag::Expired => "admin.flag_expired",
            Flag::ReviewDue => "admin.flag_review_due",
        },
    )
}

/// One choice of a filter.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Its value.
    pub value: &'static str,
    /// Its name.
    pub title: &'static str,
    /// Whether it is picked.
    pub chosen: bool,
}

/// The choices of a filter, by their words.
pub fn choices(lang: Lang, of: &str, values: &[&'static str], chosen: Option<&str>) -> Vec<Choice> {
    let choice = |value: &&'static str| Choice {
        value,
        title: texts::find(lang, &format!("{of}.{value}")).unwrap_or(value),
        chosen: chosen == Some(*value),
    };
    values.iter().map(choice).collect()
}

/// What was looked for.
#[derive(Clone, Debug)]
pub struct SearchForm {
    /// Part of the name, purpose or id.
    pub q: Shown,
    /// Kinds.
    pub kinds: Vec<Choice>,
    /// States.
    pub states: Vec<Choice>,
    /// A label.
    pub label: Shown,
    /// Who answers for it.
    pub owner: Shown,
    /// A class of data.
    pub data_class: Shown,
    /// Whether only those that need a look are wanted.
    pub flagged: bool,
    /// Whether anything was looked for.
    pub is_used: bool,
}

/// Further fields of a new agent: name, label, hint.
pub const FURTHER: [(&str, &str, &str); 7] = [
    ("platform", "admin.platform", "admin.platform_hint"),
    ("environment", "admin.environment", "admin.environment_hint"),
    ("labels", "admin.labels", "admin.commas_hint"),
    ("data_classes", "admin.data_classes", "admin.data_classes_hint"),
    ("groups", "admin.serves", "admin.serves_hint"),
    ("expires_at", "admin.expires_at", "admin.date_hint"),
    ("review_at", "admin.review_at", "admin.date_hint"),
];

/// All agents.
#[derive(Template)]
#[template(path = "admin/agents.html")]
pub struct AgentsPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// The agents.
    pub agents: Vec<AgentRow>,
    /// What was looked for.
    pub search: SearchForm,
    /// The address of the next part of the list.
    pub next: Option<String>,
}

impl AgentsPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Agents);
        let words = page.t("admin.suspended").to_owned();
        let agents = vec![
            AgentRow::sample(lang, "Weekly Digest", AgentKind::Personal, true),
            AgentRow::sample(lang, "会议助理", AgentKind::Assistant, false),
            AgentRow::sample(lang, "Nightly Indexer", AgentKind::Autonomous, true),
        ];
        let search = SearchForm {
            q: Shown::name("digest"),
            kinds: choices(lang, "kind", &["personal", "assistant", "autonomous"], Some("personal")),
            states: choices(lang, "state", &["active", "suspended", "retired"], None),
            label: Shown::default(),
            owner: Shown::name("alice@example.com"),
            data_class: Shown::name("mail"),
            flagged: true,
            is_used: true,
        };
        Self { page, notice: Some(Notice { tone: Tone::Good, words }), agents, search, next: None }
    }
}

/// One choice of a kind.
#[derive(Clone, Debug)]
pub struct KindChoice {
    /// Its value.
    pub value: &'static str,
    /// Its name.
    pub title: &'static str,
    /// What it means.
    pub words: &'static str,
    /// Whether it is picked.
    pub chosen: bool,
}

/// The kinds to choose from.
pub fn kinds(lang: Lang, chosen: &str) -> Vec<KindChoice> {
    ["personal", "assistant", "autonomous"]
        .into_iter()
        .map(|value| KindChoice {
            value,
            title: texts::find(lang, &format!("kind.{value}")).unwrap_or(value),
            words: texts::find(lang, &format!("kind.{value}_words")).unwrap_or_default(),
            chosen: value == chosen,
        })
        .collect()
}

/// The scopes of one provider, for choosing a ceiling.
#[derive(Clone, Debug)]
pub struct CeilingChoices {
    /// The provider's slug.
    pub slug: String,
    /// Its name.
    pub name: Shown,
    /// Its scopes.
    pub scopes: Vec<ScopeRow>,
}

/// Registering an agent.
#[derive(Template)]
#[template(path = "admin/agent_new.html")]
pub struct AgentNewPage {
    /// Frame.
    pub page: Page,
    /// What was wrong.
    pub problem: Option<String>,
    /// What was typed as name.
    pub name: Shown,
    /// What was typed as purpose.
    pub purpose: Shown,
    /// What was typed as owner.
    pub owner: Shown,
    /// What was typed as audiences.
    pub audiences: Shown,
    /// What was typed in the further fields, in the order of [`FURTHER`].
    pub more: Vec<(&'static str, Shown)>,
    /// Whether its tokens are to be bound.
    pub bound: bool,
    /// The kinds.
    pub kinds: Vec<KindChoice>,
    /// The providers and their scopes.
    pub providers: Vec<CeilingChoices>,
}

impl AgentNewPage {
    /// The further fields: name, label, hint and what was typed.
    fn further(&self) -> Vec<(&'static str, &'static str, &'static str, &Shown)> {
        let typed = self.more.iter().map(|(_, typed)| typed);
        let texts = |key| texts::text(self.page.lang, key);
        FURTHER
            .iter()
            .zip(typed)
            .map(|((name, label, hint), typed)| (*name, texts(label), texts(hint), typed))
            .collect()
    }

    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let mut scopes = ScopeRow::samples(lang);
        scopes.iter_mut().for_each(|scope| scope.ticked = false);
        Self {
            page: Page::admin_sample(lang, Section::Agents),
            problem: None,
            name: Shown::name("Weekly Digest"),
            purpose: Shown::default(),
            owner: Shown::default(),
            audiences: Shown::default(),
            more: FURTHER.map(|(name, _, _)| (name, Shown::default())).into(),
            bound: false,
            kinds: kinds(lang, "personal"),
            providers: vec![CeilingChoices {
                slug: "entra".to_owned(),
                name: Shown::name("Microsoft Entra ID"),
                scopes,
            }],
        }
    }
}

/// A secret that is shown once.
#[derive(Template)]
#[template(path = "admin/secret.html")]
pub struct SecretPage {
    /// Frame.
    pub page: Page,
    /// What was made.
    pub title: String,
    /// What belongs to it: name and value.
    pub facts: Vec<(&'static str, Shown)>,
    /// What the secret is called.
    pub label: &'static str,
    /// The secret.
    pub secret: SecretString,
    /// Where to go on.
    pub back: &'static str,
}

impl SecretPage {
    /// The secret of an agent or of a back end, by its name and client id; `title` is the key of a text.
    pub fn of_client(
        page: Page,
        title: &str,
        (name, id): (&str, &str),
        secret: SecretString,
        back: &'static str,
    ) -> Self {
        Self {
            title: page.t(title).to_owned(),
            facts: vec![
                (texts::text(page.lang, "admin.name"), Shown::name(name)),
                (texts::text(page.lang, "admin.client_id"), Shown::name(id)),
            ],
            label: texts::text(page.lang, "admin.secret_label"),
            secret,
            back,
            page,
        }
    }

    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Agents);
        let secret = Secret::new("vks_this-is-a-sample-and-opens-nothing-000000000".to_owned());
        let agent = ("Weekly Digest", "agt_4be2a90c6d1f4e7b8a3355aa01c2d9e8");
        Self::of_client(page, "admin.secret_title", agent, secret, "/admin/agents")
    }
}
