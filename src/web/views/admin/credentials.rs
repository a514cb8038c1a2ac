//! How an agent signs in, as its page shows it.

use crate::kernel::text::Lang;
use crate::web::texts;
use crate::web::views::page::Page;
use crate::web::views::shown::{Shown, When};

/// A client secret, by its name.
#[derive(Clone, Debug)]
pub struct SecretRow {
    /// Its short name.
    pub name: String,
    /// When it was made.
    pub made: When,
    /// When it stops working.
    pub ends: Option<When>,
    /// When it was last used.
    pub used: Option<When>,
}

/// A way to sign in without a secret.
#[derive(Clone, Debug)]
pub struct WayRow {
    /// What it is, in words.
    pub kind: &'static str,
    /// What tells it apart.
    pub title: Shown,
    /// More about it: name and value.
    pub facts: Vec<(Shown, Shown)>,
    /// As the form that removes it names it.
    pub value: String,
}

/// A trust source to choose.
#[derive(Clone, Debug)]
pub struct SourceChoice {
    /// Its id.
    pub id: String,
    /// Its name, and for platforms the pins that an agent states.
    pub title: Shown,
}

/// How an agent signs in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Its secrets.
    pub secrets: Vec<SecretRow>,
    /// Keys, workloads and certificates.
    pub ways: Vec<WayRow>,
    /// When each of these kinds was last used: the kind in words, and when.
    pub used: Vec<(&'static str, When)>,
    /// Platforms that vouch for workloads.
    pub platforms: Vec<SourceChoice>,
    /// Private authorities.
    pub authorities: Vec<SourceChoice>,
}

/// The names that a certificate of an authority can be known by: value and words.
pub const CERTIFICATE_NAMES: [(&str, &str); 5] = [
    ("san_uri", "URI (SPIFFE)"),
    ("san_dns", "DNS"),
    ("san_email", "e-mail"),
    ("san_ip", "IP"),
    ("subject_dn", "subject"),
];

impl Credentials {
    /// For looking at.
    pub fn sample(page: &Page) -> Self {
        let lang: Lang = page.lang;
        let fact = |name: &str, value: &str| (Shown::name(name), Shown::name(value));
        let way = |kind, title: &str, facts: Vec<(Shown, Shown)>| WayRow {
            kind: texts::text(lang, kind),
            title: Shown::name(title),
            facts,
            value: title.to_owned(),
        };
        Self {
            secrets: vec![
                SecretRow {
                    name: "3f9a01c2".to_owned(),
                    made: page.sample_when(-9_000_000),
                    ends: Some(page.sample_when(80_000)),
                    used: Some(page.sample_when(-7_200)),
                },
                SecretRow {
                    name: "77b0d4e1".to_owned(),
                    made: page.sample_when(-600),
                    ends: None,
                    used: None,
                },
            ],
            ways: vec![
                way("admin.way_key", "k1", vec![fact("alg", "ES256")]),
                way(
                    "admin.way_workload",
                    "cluster",
                    vec![fact("namespace", "agents"), fact("service_account", "mail")],
                ),
                way("admin.way_certificate", "uU0nuZNNPgilLlLX2n2r-sSE7-N6U4DukIj3rOLvzek", Vec::new()),
            ],
            used: vec![(texts::text(lang, "admin.way_workload"), page.sample_when(-3_600))],
            platforms: vec![SourceChoice {
                id: format!("tru_{:0>32}", 1),
                title: Shown::name("cluster: namespace, service_account"),
            }],
            authorities: vec![SourceChoice {
                id: format!("tru_{:0>32}", 2),
                title: Shown::name("Agents CA"),
            }],
        }
    }
}
