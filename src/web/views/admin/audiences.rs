//! Internal services that accept delegation JWTs.

use askama::Template;

use crate::kernel::text::Lang;
use crate::web::texts;
use crate::web::views::page::{Notice, Page, Section, Tone};
use crate::web::views::shown::Shown;

/// One service.
#[derive(Clone, Debug)]
pub struct AudienceRow {
    /// Identifier here, and client id.
    pub id: String,
    /// Name.
    pub name: Shown,
    /// What it holds.
    pub purpose: Shown,
    /// As tokens name it.
    pub identifier: Shown,
    /// The scopes that it knows.
    pub scopes: String,
    /// The classes of data that it holds.
    pub classes: Vec<Shown>,
    /// State, in words.
    pub state: &'static str,
    /// And in colour.
    pub tone: Tone,
    /// Whether tokens are issued for it.
    pub is_active: bool,
    /// Who may reach it: agents, for whom, and with which scopes.
    pub admissions: Vec<(Shown, Shown, String)>,
}

/// What was typed.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AudienceForm {
    pub identifier: Shown,
    pub name: Shown,
    pub purpose: Shown,
    pub scopes: Shown,
    pub agents: Shown,
    pub groups: Shown,
    pub data_classes: Shown,
}

/// All services, and a form for one more.
#[derive(Template)]
#[template(path = "admin/audiences.html")]
pub struct AudiencesPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// What was wrong.
    pub problem: Option<String>,
    /// The services.
    pub audiences: Vec<AudienceRow>,
    /// What was typed.
    pub typed: AudienceForm,
}

impl AudiencesPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        Self {
            page: Page::admin_sample(lang, Section::Audiences),
            notice: None,
            problem: Some(texts::text(lang, "admin.correct_these").to_owned()),
            audiences: vec![AudienceRow {
                id: format!("aud_{:0>32}", 1),
                name: Shown::name("People service"),
                purpose: Shown::sentence("Leave and salary of employees; each sees their own."),
                identifier: Shown::name("https://people.example.com"),
                scopes: "leave.read salary.read".to_owned(),
                classes: vec![Shown::name("payroll")],
                state: texts::text(lang, "state.active"),
                tone: Tone::Good,
                is_active: true,
                admissions: vec![(
                    Shown::name("Weekly Digest"),
                    Shown::name("staff"),
                    "leave.read".to_owned(),
                )],
            }],
            typed: AudienceForm::default(),
        }
    }
}
