//! One grant: what it allows, what was done with it, and how it can be made narrower.

use askama::Template;

use crate::kernel::text::Lang;
use crate::web::views::consent::{DurationChoice, ScopeRow, durations};
use crate::web::views::events::EventRow;
use crate::web::views::limit_fields::{LimitInput, LimitSection};
use crate::web::views::page::{Notice, Page, Tone};
use crate::web::views::shown::{Shown, When};

/// The form that makes a grant narrower.
#[derive(Clone, Debug)]
pub struct GrantChange {
    /// What is granted; unticking takes it away.
    pub scopes: Vec<ScopeRow>,
    /// Ends that are earlier than the present one.
    pub ends: Vec<DurationChoice>,
    /// Limits that can be added.
    pub limits: LimitSection,
    /// Lists that limits can be picked from: address and name.
    pub lists: Vec<(String, String)>,
    /// What was wrong with the last answer.
    pub problem: Option<String>,
}

/// One grant.
#[derive(Template)]
#[template(path = "grant.html")]
pub struct GrantPage {
    /// Frame.
    pub page: Page,
    /// The grant's id.
    pub id: String,
    /// Whose agent and account it is about.
    pub title: String,
    /// What was just done.
    pub notice: Option<Notice>,
    /// The account's label.
    pub account: Shown,
    /// What the agent may do.
    pub scopes: Vec<ScopeRow>,
    /// What it is bound to, in words.
    pub limits: Vec<String>,
    /// When it was agreed.
    pub created: When,
    /// When it ends.
    pub until: When,
    /// When it ended, if it has.
    pub over: Option<When>,
    /// The agent's words when it asked.
    pub words: Option<Shown>,
    /// Its task.
    pub task: Option<Shown>,
    /// How many provider tokens live on, and until when.
    pub alive: Option<(usize, When)>,
    /// Whether no other agent uses the account.
    pub is_last: bool,
    /// How it can be changed; nothing for whoever may only look, and when it has ended.
    pub change: Option<GrantChange>,
    /// What was done with it.
    pub events: Vec<EventRow>,
}

impl GrantPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page { here: "/grants/gnt_0f8b2c".to_owned(), ..Page::sample(lang) };
        let section = LimitSection::sample(lang);
        let scopes: Vec<ScopeRow> = ScopeRow::samples(lang).into_iter().take(4).collect();
        let ticked = scopes.iter().map(|row| ScopeRow { ticked: true, ..row.clone() });
        let change = GrantChange {
            scopes: ticked.collect(),
            ends: durations(lang, 0).into_iter().take(2).collect(),
            limits: LimitSection { fixed: Vec::new(), held: Vec::new(), ..section.clone() },
            lists: vec![
                ("/grants/gnt_0f8b2c/pick/graph/folders".to_owned(), page.t("bound.name_folders").to_owned()),
                (
                    "/grants/gnt_0f8b2c/pick/graph/mail_folders".to_owned(),
                    page.t("bound.name_mail_folders").to_owned(),
                ),
            ],
            problem: Some(page.t("grant.nothing_left").to_owned()),
        };
        Self {
            id: "gnt_0f8b2c".to_owned(),
            notice: Some(Notice { tone: Tone::Good, words: page.t("grant.tightened").to_owned() }),
            title: page.f2("grant.title", "Weekly Digest", "Microsoft Entra ID"),
            account: Shown::name("alice@example.com"),
            scopes,
            limits: section.fixed,
            created: page.sample_when(-90_000),
            until: page.sample_when(500_000),
            over: None,
            words: Some(Shown::sentence("I need last week's mail to write Friday's digest.")),
            task: Some(Shown::name("digest-2026-47")),
            alive: Some((1, page.sample_when(1_800))),
            is_last: true,
            change: Some(change),
            events: EventRow::samples(&page),
            page,
        }
    }

    /// For looking at: after its end.
    pub fn over_sample(lang: Lang) -> Self {
        let sample = Self::sample(lang);
        let over = Some(sample.page.sample_when(-3_600));
        Self { over, notice: None, alive: None, is_last: false, change: None, limits: Vec::new(), ..sample }
    }
}
