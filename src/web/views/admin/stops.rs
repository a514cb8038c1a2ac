//! The kill switch.

use askama::Template;

use crate::kernel::text::Lang;
use crate::web::texts;
use crate::web::views::page::{Notice, Page, Section};
use crate::web::views::shown::{Shown, When};

/// One stop in force.
#[derive(Clone, Debug)]
pub struct StopRow {
    /// Identifier.
    pub id: String,
    /// What kind of thing is stopped.
    pub kind: &'static str,
    /// Which one.
    pub target: Shown,
    /// Why.
    pub reason: Shown,
    /// Since when.
    pub at: When,
}

/// One thing that can be stopped.
#[derive(Clone, Debug)]
pub struct StopChoice {
    /// Its value: `agent:agt_…`, `provider:…`, `user:usr_…`.
    pub value: String,
    /// Its name.
    pub title: Shown,
}

/// Things of one kind that can be stopped.
#[derive(Clone, Debug)]
pub struct StopGroup {
    /// The kind.
    pub title: &'static str,
    /// The things.
    pub targets: Vec<StopChoice>,
}

/// Stops in force, and setting one.
#[derive(Template)]
#[template(path = "admin/stops.html")]
pub struct StopsPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// What was wrong.
    pub problem: Option<String>,
    /// The stops.
    pub stops: Vec<StopRow>,
    /// What could be stopped.
    pub targets: Vec<StopGroup>,
}

impl StopsPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Stops);
        let choice =
            |value: &str, title: &str| StopChoice { value: value.to_owned(), title: Shown::name(title) };
        Self {
            notice: None,
            problem: None,
            stops: vec![StopRow {
                id: "stp_71c9e0d34a5b4f66b0a1c2d3e4f50617".to_owned(),
                kind: texts::text(lang, "admin.stop_agent"),
                target: Shown::name("Travel Desk"),
                reason: Shown::sentence("Sends too many messages since this morning; being looked into."),
                at: page.sample_when(-5_000),
            }],
            targets: vec![
                StopGroup {
                    title: texts::text(lang, "admin.agents"),
                    targets: vec![choice("agent:agt_1", "Weekly Digest")],
                },
                StopGroup {
                    title: texts::text(lang, "admin.providers"),
                    targets: vec![choice("provider:okta", "Okta")],
                },
            ],
            page,
        }
    }
}
