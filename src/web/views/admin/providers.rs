//! Providers: the list, and configuring one from a template.

use askama::Template;

use crate::kernel::text::Lang;
use crate::providers::template::Template as ProviderTemplate;
use crate::web::texts;
use crate::web::views::page::{Notice, Page, Section, Tone};
use crate::web::views::shown::{Shown, letter};

/// One configured provider.
#[derive(Clone, Debug)]
pub struct ProviderRow {
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: Shown,
    /// Its first letter.
    pub letter: String,
    /// How many scopes its template offers.
    pub scopes: usize,
    /// Whether employees sign in there.
    pub signs_in: bool,
    /// Whether it can be used.
    pub is_enabled: bool,
    /// State, in words.
    pub state: &'static str,
    /// And in colour.
    pub tone: Tone,
    /// The OAuth client id there.
    pub client_id: Shown,
    /// The callback address.
    pub callback: String,
    /// What was stated about the company.
    pub company: Vec<(Shown, Shown)>,
}

/// A template that can be configured.
#[derive(Clone, Debug)]
pub struct TemplateRow {
    /// Its file name.
    pub slug: String,
    /// Its name.
    pub name: Shown,
    /// Its first letter.
    pub letter: String,
    /// How many scopes it offers.
    pub scopes: usize,
}

impl TemplateRow {
    /// A template as the list shows it.
    pub fn new(lang: Lang, slug: &str, template: &ProviderTemplate) -> Self {
        let name = template.name.get(lang);
        Self {
            slug: slug.to_owned(),
            name: Shown::name(name),
            letter: letter(name),
            scopes: template.grantable().len(),
        }
    }
}

/// All providers.
#[derive(Template)]
#[template(path = "admin/providers.html")]
pub struct ProvidersPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// The providers.
    pub providers: Vec<ProviderRow>,
    /// The templates.
    pub templates: Vec<TemplateRow>,
}

impl ProvidersPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let template = |name: &str, scopes| TemplateRow {
            slug: name.to_lowercase(),
            name: Shown::name(name),
            letter: letter(name),
            scopes,
        };
        let row = |name: &str, signs_in| ProviderRow {
            slug: name.to_lowercase(),
            name: Shown::name(name),
            letter: letter(name),
            scopes: 9,
            signs_in,
            is_enabled: true,
            state: texts::text(lang, "state.enabled"),
            tone: Tone::Good,
            client_id: Shown::name("0oa5h2xk1qExampleClient"),
            callback: format!("https://valetkey.example.com/callback/{}", name.to_lowercase()),
            company: vec![(Shown::name("Issuer"), Shown::name("https://example.okta.com"))],
        };
        Self {
            page: Page::admin_sample(lang, Section::Providers),
            notice: None,
            providers: vec![row("Okta", true), row("Lark", false)],
            templates: vec![template("DingTalk", 9), template("WeCom", 5), template("Entra", 10)],
        }
    }
}

/// One thing to state about the company.
#[derive(Clone, Debug)]
pub struct CompanyInput {
    /// Its placeholder's name.
    pub key: String,
    /// What to ask for.
    pub title: Shown,
    /// An example.
    pub example: Shown,
    /// Whether it must be stated.
    pub required: bool,
    /// What was typed.
    pub value: Shown,
}

/// Configuring a provider.
#[derive(Template)]
#[template(path = "admin/provider_new.html")]
pub struct ProviderNewPage {
    /// Frame.
    pub page: Page,
    /// What was wrong.
    pub problems: Vec<String>,
    /// The template's file name.
    pub template: String,
    /// Its name.
    pub name: Shown,
    /// The vendor's documentation.
    pub docs: String,
    /// What was typed as slug.
    pub slug: Shown,
    /// The callback address to register.
    pub callback: String,
    /// What was typed as client id.
    pub client_id: Shown,
    /// The company's fields.
    pub fields: Vec<CompanyInput>,
}

impl ProviderNewPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page::admin_sample(lang, Section::Providers);
        Self {
            problems: vec![page.f1("admin.field_required", "Tenant id")],
            template: "entra".to_owned(),
            name: Shown::name("Microsoft Entra ID"),
            docs: "https://learn.microsoft.com/entra/identity-platform/".to_owned(),
            slug: Shown::name("entra"),
            callback: "https://valetkey.example.com/callback/entra".to_owned(),
            client_id: Shown::default(),
            fields: vec![CompanyInput {
                key: "tenant".to_owned(),
                title: Shown::name("Tenant id"),
                example: Shown::name("11111111-2222-4333-8444-555555555555"),
                required: true,
                value: Shown::default(),
            }],
            page,
        }
    }
}
