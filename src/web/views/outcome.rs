//! How an interaction ended: granted, or not, and what that means.

use askama::Template;

use crate::kernel::text::Lang;
use crate::web::views::consent::ScopeRow;
use crate::web::views::limit_fields::LimitSection;
use crate::web::views::page::Page;
use crate::web::views::shown::{Shown, When};

/// What was granted.
#[derive(Template)]
#[template(path = "interaction/granted.html")]
pub struct GrantedPage {
    /// Frame.
    pub page: Page,
    /// The grant's id.
    pub id: String,
    /// The agent's name.
    pub agent: Shown,
    /// The provider's name.
    pub provider: Shown,
    /// The account's label.
    pub account: Shown,
    /// What the agent may do.
    pub scopes: Vec<ScopeRow>,
    /// What it is bound to, in words.
    pub limits: Vec<String>,
    /// What was asked for and is not granted.
    pub left_out: Vec<ScopeRow>,
    /// When it ends.
    pub until: When,
}

impl GrantedPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::sample(lang);
        Self {
            id: "gnt_0f8b2c".to_owned(),
            agent: Shown::name("Weekly Digest"),
            provider: Shown::name("Microsoft Entra ID"),
            account: Shown::name("alice@example.com"),
            scopes: ScopeRow::samples(lang).into_iter().take(4).collect(),
            limits: LimitSection::sample(lang).fixed,
            left_out: ScopeRow::samples(lang).into_iter().skip(4).collect(),
            until: page.sample_when(604_800),
            page,
        }
    }
}

/// How an interaction ended without a grant, or why it cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Refused on our page.
    Refused,
    /// Refused at the provider.
    ProviderRefused,
    /// Too late.
    Expired,
    /// The page was open too long.
    Stale,
    /// Made for another person.
    WrongPerson,
    /// Answered before.
    Answered,
    /// The account that it is about was disconnected.
    AccountGone,
}

/// A page that says how it ended.
#[derive(Template)]
#[template(path = "interaction/message.html")]
pub struct MessagePage {
    /// Frame.
    pub page: Page,
    /// Which cut the card has.
    pub tone: &'static str,
    /// In a few words.
    pub title: String,
    /// What it means.
    pub lead: String,
    /// What else to know.
    pub lines: Vec<String>,
    /// Whether signing in as someone else could help.
    pub sign_out: bool,
}

impl MessagePage {
    /// The page for an ending.
    pub fn new(page: Page, ending: Ending) -> Self {
        let (key, tone) = match ending {
            Ending::Refused => ("refused", "is-warn"),
            Ending::ProviderRefused => ("provider_refused", "is-warn"),
            Ending::Expired => ("expired", "is-warn"),
            Ending::Stale => ("stale", "is-warn"),
            Ending::WrongPerson => ("wrong_person", "is-bad"),
            Ending::Answered => ("answered", ""),
            Ending::AccountGone => ("account_gone", "is-warn"),
        };
        Self::with_texts(page, &format!("message.{key}"), tone, ending == Ending::WrongPerson)
    }

    /// The page for a set-up link that does not work.
    pub fn setup_gone(page: Page) -> Self {
        Self::with_texts(page, "setup.gone", "is-bad", false)
    }

    fn with_texts(page: Page, key: &str, tone: &'static str, sign_out: bool) -> Self {
        let find = |suffix: &str| page.t(&format!("{key}{suffix}")).to_owned();
        let (title, lead, lines) = (find(""), find("_lead"), vec![find("_hint")]);
        Self { page, tone, title, lead, lines, sign_out }
    }

    /// For looking at.
    pub fn sample(lang: Lang, ending: Ending) -> Self {
        Self::new(Page::sample(lang), ending)
    }
}
