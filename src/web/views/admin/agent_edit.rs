//! Changing what the register holds of an agent.

use askama::Template;

use crate::kernel::clock::Timestamp;
use crate::kernel::text::Lang;
use crate::model::agent::Agent;
use crate::web::texts;
use crate::web::views::page::{Page, Section};
use crate::web::views::shown::Shown;

/// What stands in the form, as it is stored or as it was typed: nothing is cut off or made fit to be shown, as it
/// comes back.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AgentFields {
    pub name: String,
    pub purpose: String,
    pub platform: String,
    pub environment: String,
    pub expires_at: String,
    pub review_at: String,
    pub audiences: String,
    pub labels: String,
    pub data_classes: String,
    pub users: String,
    pub groups: String,
    /// Whether it serves certain people only.
    pub some: bool,
}

impl AgentFields {
    /// What is stored.
    pub fn of(agent: &Agent) -> Self {
        let entry = &agent.entry;
        let date = |at: Option<Timestamp>| at.map(|at| at.rfc3339()).unwrap_or_default();
        let people = entry.people.clone().unwrap_or_default();
        Self {
            name: agent.name.clone(),
            purpose: agent.purpose.clone(),
            platform: entry.platform.clone().unwrap_or_default(),
            environment: entry.environment.clone().unwrap_or_default(),
            expires_at: date(entry.expires_at),
            review_at: date(entry.review_at),
            audiences: agent.subject_audiences.join("\n"),
            labels: lines(&entry.labels),
            data_classes: lines(&entry.data_classes),
            users: lines(&people.users),
            groups: lines(&people.groups),
            some: entry.people.is_some(),
        }
    }
}

fn lines<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join("\n")
}

/// One field.
pub struct Field<'p> {
    /// Its name in the form.
    pub name: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// What to write.
    pub hint: &'static str,
    /// What stands there.
    pub typed: &'p str,
}

/// The form.
#[derive(Template)]
#[template(path = "admin/agent_edit.html")]
pub struct AgentEditPage {
    /// Frame.
    pub page: Page,
    /// What was wrong.
    pub problem: Option<String>,
    /// Which agent.
    pub id: String,
    /// What it is called.
    pub name: Shown,
    /// The record that was read: a change of another one is not overwritten.
    pub version: String,
    /// Whether it serves people that can be chosen.
    pub serves: bool,
    /// What stands there.
    pub typed: AgentFields,
}

impl AgentEditPage {
    fn field<'p>(&self, name: &'static str, [label, hint]: [&'static str; 2], typed: &'p str) -> Field<'p> {
        let text = |key| texts::text(self.page.lang, key);
        Field { name, label: text(label), hint: text(hint), typed }
    }

    /// Fields of one line.
    fn words(&self) -> [Field<'_>; 4] {
        let typed = &self.typed;
        [
            self.field("platform", ["admin.platform", "admin.platform_hint"], &typed.platform),
            self.field("environment", ["admin.environment", "admin.environment_hint"], &typed.environment),
            self.field("expires_at", ["admin.expires_at", "admin.date_hint"], &typed.expires_at),
            self.field("review_at", ["admin.review_at", "admin.date_hint"], &typed.review_at),
        ]
    }

    /// Lists.
    fn lists(&self) -> [Field<'_>; 3] {
        let typed = &self.typed;
        [
            self.field("labels", ["admin.labels", "admin.labels_hint"], &typed.labels),
            self.field(
                "data_classes",
                ["admin.data_classes", "admin.data_classes_lines"],
                &typed.data_classes,
            ),
            self.field("audiences", ["admin.audiences", "admin.audiences_lines"], &typed.audiences),
        ]
    }

    /// For whom.
    fn circle(&self) -> [Field<'_>; 2] {
        let typed = &self.typed;
        [
            self.field("groups", ["admin.edit_groups", "admin.edit_groups_hint"], &typed.groups),
            self.field("users", ["admin.edit_users", "admin.edit_users_hint"], &typed.users),
        ]
    }

    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Agents);
        Self {
            problem: Some(page.t("admin.edited_meanwhile").to_owned()),
            id: format!("agt_{:0>32}", 1),
            name: Shown::name("Contract reader"),
            version: "0".repeat(32),
            serves: true,
            typed: AgentFields {
                name: "Contract reader".to_owned(),
                purpose: "Reads contracts and answers questions about them.".to_owned(),
                platform: "Model Studio".to_owned(),
                environment: "production".to_owned(),
                review_at: "2030-01-31T00:00:00.000Z".to_owned(),
                labels: "legal\ninternal".to_owned(),
                data_classes: "files\npayroll".to_owned(),
                groups: "Legal".to_owned(),
                some: true,
                ..AgentFields::default()
            },
            page,
        }
    }
}
