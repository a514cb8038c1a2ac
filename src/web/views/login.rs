//! Signing in, and making the first admin.

use askama::Template;

use crate::kernel::ids::InteractionId;
use crate::kernel::text::Lang;
use crate::web::views::page::Page;
use crate::web::views::shown::Shown;

/// The employees' sign-in page.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    /// Frame.
    pub page: Page,
    /// The sign-in provider's name, when one is configured.
    pub provider: Option<Shown>,
    /// The interaction to return to.
    pub then: Option<InteractionId>,
    /// Whether someone came here to answer a request.
    pub for_interaction: bool,
    /// What went wrong.
    pub problem: Option<String>,
    /// What was just done.
    pub notice: Option<String>,
}

impl LoginPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        Self {
            page: Page::anonymous_sample(lang),
            provider: Some(Shown::name("Okta")),
            then: None,
            for_interaction: true,
            problem: None,
            notice: None,
        }
    }
}

/// The admins' sign-in page.
#[derive(Template)]
#[template(path = "login_local.html")]
pub struct LocalLoginPage {
    /// Frame.
    pub page: Page,
    /// What was typed as e-mail.
    pub email: Shown,
    /// What went wrong.
    pub problem: Option<String>,
    /// What was just done.
    pub notice: Option<String>,
}

impl LocalLoginPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page { here: "/login?local=1".to_owned(), ..Page::anonymous_sample(lang) };
        let problem = Some(page.t("login.wrong").to_owned());
        Self { page, email: Shown::name("admin@example.com"), problem, notice: None }
    }
}

/// The page behind the one-time link for the first admin, or for another one.
#[derive(Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    /// Frame.
    pub page: Page,
    /// Whether there is an admin already.
    pub another: bool,
    /// The link's secret, sent back with the form so that it need not stay in the address bar.
    pub link: String,
    /// What was typed as e-mail.
    pub email: Shown,
    /// What went wrong.
    pub problem: Option<String>,
}

impl SetupPage {
    fn title(&self) -> &str {
        self.page.t(if self.another { "setup.another_title" } else { "setup.title" })
    }

    fn lead(&self) -> &str {
        self.page.t(if self.another { "setup.another_lead" } else { "setup.lead" })
    }

    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        Self {
            page: Page { sandbox: false, ..Page::anonymous_sample(lang) },
            another: false,
            link: "vki_sample".to_owned(),
            email: Shown::default(),
            problem: None,
        }
    }
}
