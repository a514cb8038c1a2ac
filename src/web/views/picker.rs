//! The page on which a person picks from a provider's list.

use askama::Template;

use crate::kernel::text::Lang;
use crate::web::views::page::Page;
use crate::web::views::shown::{Shown, When, letter};

/// Something that can be picked.
#[derive(Clone, Debug)]
pub struct PickRow {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub label: Shown,
    /// Whether it is ticked.
    pub ticked: bool,
    /// Whether the provider knows it.
    pub found: bool,
    /// What its button for opening it sends; none where there is nothing inside.
    pub open: Option<String>,
}

/// A step of the way to where the person is.
#[derive(Clone, Debug)]
pub struct Crumb {
    /// How deep it lies.
    pub depth: usize,
    /// Its name.
    pub label: Shown,
    /// Whether it is where the person is.
    pub current: bool,
}

/// The list.
#[derive(Template)]
#[template(path = "interaction/picker.html")]
pub struct PickerPage {
    /// Frame.
    pub page: Page,
    /// Where the form goes.
    pub action: String,
    /// The form's purpose.
    pub purpose: String,
    /// The question at the top.
    pub title: String,
    /// The agent's first letter.
    pub agent_letter: String,
    /// The provider's name.
    pub provider: Shown,
    /// Its first letter.
    pub provider_letter: String,
    /// The account's label.
    pub account: Shown,
    /// What was agreed so far, in words.
    pub settled: Vec<String>,
    /// What the agent has named.
    pub suggested: Vec<PickRow>,
    /// Whether some of that is not there.
    pub some_absent: bool,
    /// What was ticked in other places.
    pub chosen: Vec<PickRow>,
    /// Whether there is a list.
    pub is_listed: bool,
    /// The way to where the person is, from the top.
    pub trail: Vec<Crumb>,
    /// The same as hidden fields.
    pub at: Vec<String>,
    /// Names of what was ticked in other places, as hidden fields.
    pub known: Vec<String>,
    /// What lies here.
    pub rows: Vec<PickRow>,
    /// Whether more lies here than is listed.
    pub cut: bool,
    /// Whether another list follows.
    pub more: bool,
    /// Whether there is anything to confirm.
    pub can_confirm: bool,
    /// What was wrong with the last answer.
    pub problem: Option<String>,
    /// Until when it has to be confirmed.
    pub ends: Option<When>,
    /// The page to go back to, where it is not a question.
    pub back: Option<String>,
}

impl PickerPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page { here: "/i/int_0f8b2c".to_owned(), ..Page::sample(lang) };
        let [agent, projects, year, offers, travel, minutes, settled] = match lang {
            Lang::En => [
                "Weekly Digest",
                "Projects",
                "2026",
                "Offers",
                "Travel",
                "Minutes",
                "Only mail received from 1 October 2026 on; no other mail.",
            ],
            Lang::Zh => [
                "每周摘要",
                "项目",
                "2026",
                "报价",
                "差旅",
                "会议纪要",
                "仅限2026年10月1日起收到的邮件，其他邮件一律不可。",
            ],
        };
        let row = |id: &str, label: &str, ticked| PickRow {
            id: id.to_owned(),
            label: Shown::name(label),
            ticked,
            found: true,
            open: Some(format!("{id}\t{label}")),
        };
        let crumb = |depth, label: &str, current| Crumb { depth, label: Shown::name(label), current };
        Self {
            action: "/i/int_0f8b2c".to_owned(),
            purpose: "pick:int_0f8b2c".to_owned(),
            title: page.f1("picker.title_folders", agent),
            agent_letter: letter(agent),
            provider: Shown::name("Microsoft Entra ID"),
            provider_letter: "M".to_owned(),
            account: Shown::name("alice@example.com"),
            settled: vec![settled.to_owned()],
            suggested: Vec::new(),
            some_absent: false,
            chosen: vec![PickRow { open: None, ..row("1", travel, true) }],
            is_listed: true,
            trail: vec![
                crumb(0, page.t("picker.top"), false),
                crumb(1, projects, false),
                crumb(2, year, true),
            ],
            at: vec![format!("7\t{projects}"), format!("8\t{year}")],
            known: vec![format!("1\t{travel}")],
            rows: vec![row("2", offers, true), row("3", minutes, false)],
            cut: true,
            more: false,
            can_confirm: true,
            problem: None,
            ends: Some(page.sample_when(400)),
            back: None,
            page,
        }
    }

    /// For looking at: for a limit that is put on a grant later.
    pub fn grant_sample(lang: Lang) -> Self {
        let sample = Self::sample(lang);
        Self {
            action: "/grants/gnt_0f8b2c/pick/graph/folders".to_owned(),
            ends: None,
            back: Some("/grants/gnt_0f8b2c".to_owned()),
            ..sample
        }
    }

    /// For looking at: what the agent has named, some of which is not there.
    pub fn suggested_sample(lang: Lang) -> Self {
        let sample = Self::sample(lang);
        let suggested = vec![
            PickRow { found: true, ..sample.rows[..].first().cloned().unwrap_or_else(PickRow::nothing) },
            PickRow { label: Shown::name("01ABCDEF"), ticked: false, found: false, ..PickRow::nothing() },
        ];
        Self {
            suggested,
            some_absent: true,
            chosen: Vec::new(),
            known: Vec::new(),
            at: Vec::new(),
            trail: Vec::new(),
            rows: Vec::new(),
            is_listed: false,
            cut: false,
            more: true,
            problem: Some(sample.page.t("picker.nothing").to_owned()),
            ..sample
        }
    }
}

impl PickRow {
    fn nothing() -> Self {
        Self { id: String::new(), label: Shown::default(), ticked: false, found: true, open: None }
    }
}
