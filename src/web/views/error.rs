//! The page for everything that did not work.

use askama::Template;

use crate::kernel::text::Lang;
use crate::web::texts;
use crate::web::views::page::Page;

/// Something did not work: what, what it means, and what to do.
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// Frame.
    pub page: Page,
    /// Stable code.
    pub code: &'static str,
    /// In a few words.
    pub title: String,
    /// What happened and what did not.
    pub what: String,
    /// What the reader can do.
    pub remedy: String,
    /// The request's id, for whoever helps.
    pub request: String,
}

impl ErrorPage {
    /// The page for a code that has texts.
    pub fn new(page: Page, code: &'static str, request: &str) -> Self {
        let find = |suffix: &str| {
            texts::find(page.lang, &format!("error.{code}{suffix}"))
                .unwrap_or_else(|| {
                    texts::find(page.lang, &format!("error.internal{suffix}")).unwrap_or_default()
                })
                .to_owned()
        };
        let (title, what, remedy) = (find(""), find("_what"), find("_remedy"));
        Self { page, code, title, what, remedy, request: request.to_owned() }
    }

    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        Self::new(Page::sample(lang), "callback", "req_7f3a9c21d0b84e55")
    }
}
