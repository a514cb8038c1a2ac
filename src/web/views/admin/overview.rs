//! The administration's first page.

use askama::Template;

use crate::kernel::text::Lang;
use crate::web::views::events::EventRow;
use crate::web::views::page::{Notice, Page, Section};

/// One number and where it leads.
#[derive(Clone, Debug)]
pub struct Figure {
    /// How many.
    pub number: usize,
    /// Of what.
    pub title: &'static str,
    /// Where they are listed.
    pub href: &'static str,
}

/// Something that an admin should do next.
#[derive(Clone, Debug)]
pub struct Step {
    /// What.
    pub title: &'static str,
    /// Why.
    pub words: &'static str,
    /// Where.
    pub href: &'static str,
    /// The button's text.
    pub button: &'static str,
}

/// What is registered, what is going on.
#[derive(Template)]
#[template(path = "admin/overview.html")]
pub struct OverviewPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// How many stops are in force.
    pub stops: usize,
    /// Numbers.
    pub figures: Vec<Figure>,
    /// What to do next, while there is something.
    pub todo: Vec<Step>,
    /// The newest entries of the log.
    pub events: Vec<EventRow>,
}

impl OverviewPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        use crate::web::texts::text;
        let page = Page::admin_sample(lang, Section::Overview);
        let figure = |number, key, href| Figure { number, title: text(lang, key), href };
        Self {
            notice: None,
            stops: 1,
            figures: vec![
                figure(12, "admin.agents", "/admin/agents"),
                figure(5, "admin.providers", "/admin/providers"),
                figure(248, "admin.users", "/admin/users"),
                figure(3, "admin.interactions", "/admin/interactions"),
            ],
            todo: vec![Step {
                title: text(lang, "admin.step_agent"),
                words: text(lang, "admin.step_agent_words"),
                href: "/admin/agents/new",
                button: text(lang, "admin.agent_new"),
            }],
            events: EventRow::samples(&page),
            page,
        }
    }
}
