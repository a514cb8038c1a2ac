//! What every page has: language, who is signed in, forms, navigation.

use std::fmt::Display;
use std::sync::Arc;

use crate::kernel::clock::Timestamp;
use crate::kernel::offset::UtcOffset;
use crate::kernel::text::Lang;
use crate::model::user::Role;
use crate::web::views::shown::{CsrfField, Moment, Shown, When};
use crate::web::{assets, texts};

/// Makes the token of a form from its purpose; bound to the browser that the page is for.
#[derive(Clone)]
pub struct Forms(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl Forms {
    /// A maker of form tokens.
    pub fn new(make: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }
}

/// Who is signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Name or e-mail.
    pub label: Shown,
    /// What they may administer, if anything.
    pub role: Option<Role>,
}

/// A page of the administration, or none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its page")]
pub enum Section {
    None,
    Overview,
    Agents,
    Providers,
    Stops,
    Users,
    Audiences,
    Interactions,
    Events,
    Tokens,
    Trust,
}

/// How something is coloured; never the only sign of what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
}

impl Display for Tone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        })
    }
}

/// A word about what was just done.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Colour.
    pub tone: Tone,
    /// The words.
    pub words: String,
}

/// One entry of the administration's navigation.
#[derive(Clone, Debug)]
pub struct Tab {
    /// Where it leads.
    pub href: &'static str,
    /// What it says.
    pub title: &'static str,
    /// Whether this is the page.
    pub current: bool,
}

/// What every page has.
#[derive(Clone)]
pub struct Page {
    /// Language.
    pub lang: Lang,
    /// Who is signed in.
    pub user: Option<SignedIn>,
    /// Whether simulated providers are allowed, which every page then says.
    pub sandbox: bool,
    /// This page's own path and query without `lang`, for the language switch.
    pub here: String,
    /// The present moment.
    pub now: Timestamp,
    /// Where the company is: days and hours are read there.
    pub utc_offset: UtcOffset,
    /// Which page of the administration it is.
    pub section: Section,
    /// Makes form tokens.
    pub forms: Forms,
}

impl Page {
    /// A text of this page's language.
    pub fn t<'k>(&self, key: &'k str) -> &'k str {
        texts::text(self.lang, key)
    }

    /// A text with one value filled in.
    pub fn f1(&self, key: &str, value: impl Display) -> String {
        texts::filled(self.lang, key, &[&value])
    }

    /// A text with two values filled in.
    pub fn f2(&self, key: &str, first: impl Display, second: impl Display) -> String {
        texts::filled(self.lang, key, &[&first, &second])
    }

    /// A moment as seen from now.
    pub fn when(&self, at: Timestamp) -> When {
        When::new(at, self.now, self.lang)
    }

    /// A text with a moment filled in.
    pub fn moment(&self, key: &str, when: &When) -> Moment {
        when.within(self.lang, key)
    }

    /// The hidden field of a form with that purpose.
    pub fn csrf(&self, purpose: &str) -> CsrfField {
        CsrfField { token: (self.forms.0)(purpose) }
    }

    /// The address of an asset.
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }

    /// The language that this page is not in.
    pub fn other_lang(&self) -> Lang {
        match self.lang {
            Lang::En => Lang::Zh,
            Lang::Zh => Lang::En,
        }
    }

    /// This page in the other language.
    pub fn switch_url(&self) -> String {
        let lang = match self.other_lang() {
            Lang::En => "en",
            Lang::Zh => "zh",
        };
        let sign = if self.here.contains('?') { '&' } else { '?' };
        format!("{}{sign}lang={lang}", self.here)
    }

    /// Whether an admin or auditor is signed in.
    pub fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.role.is_some())
    }

    /// Whether who is signed in may change things in the administration.
    pub fn may_write(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.role == Some(Role::Admin))
    }

    /// The administration's navigation.
    pub fn tabs(&self) -> Vec<Tab> {
        const TABS: [(&str, &str, Section); 10] = [
            ("/admin", "admin.overview", Section::Overview),
            ("/admin/agents", "admin.agents", Section::Agents),
            ("/admin/providers", "admin.providers", Section::Providers),
            ("/admin/audiences", "admin.back_ends", Section::Audiences),
            ("/admin/interactions", "admin.interactions", Section::Interactions),
            ("/admin/stops", "admin.stops", Section::Stops),
            ("/admin/events", "admin.events", Section::Events),
            ("/admin/users", "admin.users", Section::Users),
            ("/admin/trust", "admin.trust", Section::Trust),
            ("/admin/tokens", "admin.tokens", Section::Tokens),
        ];
        TABS.iter()
            .map(|(href, key, section)| Tab {
                href,
                title: texts::text(self.lang, key),
                current: *section == self.section,
            })
            .collect()
    }

    /// A page for looking at, signed in as an employee.
    pub fn sample(lang: Lang) -> Self {
        Self {
            lang,
            user: Some(SignedIn { label: Shown::name("alice@example.com"), role: None }),
            sandbox: true,
            here: "/".to_owned(),
            now: Timestamp::from_secs(1_795_310_000),
            utc_offset: UtcOffset::from_minutes(480).unwrap_or_default(),
            section: Section::None,
            forms: Forms::new(|purpose| format!("sample-token-for-{purpose}")),
        }
    }

    /// A page for looking at, signed in as an admin.
    pub fn admin_sample(lang: Lang, section: Section) -> Self {
        let user = Some(SignedIn { label: Shown::name("admin@example.com"), role: Some(Role::Admin) });
        Self { user, section, here: "/admin".to_owned(), ..Self::sample(lang) }
    }

    /// A page for looking at, with nobody signed in.
    pub fn anonymous_sample(lang: Lang) -> Self {
        Self { user: None, here: "/login".to_owned(), ..Self::sample(lang) }
    }

    /// A moment some seconds from now, for samples.
    pub fn sample_when(&self, secs: i64) -> When {
        self.when(Timestamp::from_secs(self.now.secs().saturating_add(secs)))
    }
}
