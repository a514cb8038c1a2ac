//! Whom we believe: trust sources for agents, and transmitters of security events.

use askama::Template;

use crate::kernel::text::Lang;
use crate::web::texts;
use crate::web::views::page::{Notice, Page, Section, Tone};
use crate::web::views::shown::Shown;

/// A trust source.
#[derive(Clone, Debug)]
pub struct SourceRow {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: Shown,
    /// What it vouches with, in words.
    pub kind: Shown,
    /// State, in words.
    pub state: &'static str,
    /// And in colour.
    pub tone: Tone,
    /// Whether it is believed.
    pub enabled: bool,
    /// More about it: name and value.
    pub facts: Vec<(&'static str, Shown)>,
}

/// Somebody who may push security events.
#[derive(Clone, Debug)]
pub struct TransmitterRow {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: Shown,
    /// Its `iss`.
    pub issuer: Shown,
    /// More about it: name and value.
    pub facts: Vec<(&'static str, Shown)>,
}

/// A platform to choose.
#[derive(Clone, Debug)]
pub struct PresetChoice {
    /// Its name.
    pub name: &'static str,
    /// Its title, with the pins of a source.
    pub title: String,
    /// Whether it is picked.
    pub chosen: bool,
}

/// What was typed.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TrustForm {
    pub name: Shown,
    pub issuer: Shown,
    pub audience: Shown,
    pub pins: String,
    pub jwks_uri: Shown,
    pub jwks: String,
    pub ca_pem: String,
    pub subject_issuer: Shown,
}

/// Which form was sent and could not be taken: that one is shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Open {
    None,
    Platform,
    Authority,
    Transmitter,
}

/// All of them, and forms for more.
#[derive(Template)]
#[template(path = "admin/trust.html")]
pub struct TrustPage {
    /// Frame.
    pub page: Page,
    /// What was just done.
    pub notice: Option<Notice>,
    /// What was wrong.
    pub problem: Option<String>,
    /// Trust sources.
    pub sources: Vec<SourceRow>,
    /// Transmitters.
    pub transmitters: Vec<TransmitterRow>,
    /// Platforms.
    pub presets: Vec<PresetChoice>,
    /// Where transmitters push to.
    pub push_to: String,
    /// The form that is open.
    pub open: Open,
    /// What was typed in it.
    pub typed: TrustForm,
}

impl TrustPage {
    /// What was typed, in the form that it was typed in.
    fn typed_in(&self, form: Open) -> TrustForm {
        if self.open == form { self.typed.clone() } else { TrustForm::default() }
    }

    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let text = |key| texts::text(lang, key);
        Self {
            page: Page::admin_sample(lang, Section::Trust),
            notice: None,
            problem: Some(text("admin.correct_these").to_owned()),
            sources: vec![
                SourceRow {
                    id: format!("tru_{:0>32}", 1),
                    name: Shown::name("cluster"),
                    kind: Shown::name("Kubernetes"),
                    state: text("state.active"),
                    tone: Tone::Good,
                    enabled: true,
                    facts: vec![
                        (text("admin.issuer"), Shown::name("https://kubernetes.example.com")),
                        (text("admin.audience"), Shown::name("https://valetkey.example.com")),
                    ],
                },
                SourceRow {
                    id: format!("tru_{:0>32}", 2),
                    name: Shown::name("Agents CA"),
                    kind: Shown::name(text("admin.authority")),
                    state: text("state.disabled"),
                    tone: Tone::Bad,
                    enabled: false,
                    facts: Vec::new(),
                },
            ],
            transmitters: vec![TransmitterRow {
                id: format!("trm_{:0>32}", 1),
                name: Shown::name("Company sign-in"),
                issuer: Shown::name("https://idp.example.com"),
                facts: vec![(text("admin.keys"), Shown::name("https://idp.example.com/keys"))],
            }],
            presets: vec![PresetChoice {
                name: "spiffe",
                title: "SPIFFE JWT-SVID: trust_domain*".to_owned(),
                chosen: true,
            }],
            push_to: "https://valetkey.example.com/security-events".to_owned(),
            open: Open::Platform,
            typed: TrustForm { name: Shown::name("cluster"), ..TrustForm::default() },
        }
    }
}
