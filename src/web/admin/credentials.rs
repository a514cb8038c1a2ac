//! What an agent's page shows of how it signs in.

use serde_json::{Value, json};

use crate::agents::{Place, presets, secret_name};
use crate::jose;
use crate::kernel::ids::TrustSourceId;
use crate::model::agent::Agent;
use crate::model::credential::{
    CertificateName, Certificates, ClientKeys, SignIn, TrustSource, Vouches, Workload,
};
use crate::web::failure::Failure;
use crate::web::texts::text;
use crate::web::views::admin::credentials::{Credentials, SecretRow, SourceChoice, WayRow};
use crate::web::views::{Page, Shown};
use crate::web::visit::Visit;

/// As the log of uses names them, and in words.
const WAYS: [(&str, &str); 3] = [
    ("private_key_jwt", "admin.way_key"),
    ("workload", "admin.way_workload"),
    ("certificate", "admin.way_certificate"),
];
/// No company has more.
const SOURCES_MAX: usize = 500;

/// All of it.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn of(visit: &Visit, page: &Page, agent: &Agent) -> Result<Credentials, Failure> {
    let agents = &visit.state.agents;
    let mut secrets = Vec::new();
    for secret in &agent.secrets {
        let name = secret_name(secret);
        let used = agents.last_used(&agent.id, &name).await?.map(|at| page.when(at));
        let (made, ends) = (page.when(secret.created_at), secret.expires_at.map(|at| page.when(at)));
        secrets.push(SecretRow { name, made, ends, used });
    }
    let mut used = Vec::new();
    for (way, words) in WAYS {
        if let Some(at) = agents.last_used(&agent.id, way).await? {
            used.push((text(page.lang, words), page.when(at)));
        }
    }
    let sources = sources(visit).await?;
    let (mut platforms, mut authorities) = (Vec::new(), Vec::new());
    for source in &sources {
        let id = source.id.to_string();
        match &source.vouches {
            Vouches::Tokens(issuer) => {
                let title = format!("{}: {}", source.name, pins_of(&issuer.preset).join(", "));
                platforms.push(SourceChoice { id, title: Shown::name(&title) });
            }
            Vouches::Certificates { .. } => {
                authorities.push(SourceChoice { id, title: Shown::name(&source.name) });
            }
        }
    }
    let ways = parts(&agent.sign_in).into_iter().map(|part| part.row(page, &sources)).collect();
    Ok(Credentials { secrets, ways, used, platforms, authorities })
}

/// The trust sources.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn sources(visit: &Visit) -> Result<Vec<TrustSource>, Failure> {
    let found = visit.state.store.page::<TrustSource>(None, SOURCES_MAX).await?;
    Ok(found.iter().map(|source| source.record().clone()).collect())
}

/// The pins that an agent states with that preset, the required ones with a mark.
fn pins_of(name: &str) -> Vec<String> {
    let pins = presets().iter().filter(|preset| preset.name == name).flat_map(|preset| &preset.pin);
    let stated = pins.filter(|pin| pin.on == Place::Agent);
    stated.map(|pin| if pin.required { format!("{}*", pin.name) } else { pin.name.clone() }).collect()
}

/// One way to sign in that can be taken away by itself.
pub(super) enum Part {
    /// A key in the registration.
    Key(Value),
    /// Where the keys are.
    KeysAt(String),
    /// A workload.
    Workload(Workload),
    /// A certificate.
    Thumbprint(String),
    /// Certificates of an authority.
    Issued(TrustSourceId, CertificateName),
}

/// The ways, one by one.
pub(super) fn parts(ways: &SignIn) -> Vec<Part> {
    let mut parts = Vec::new();
    match &ways.keys {
        None => {}
        Some(ClientKeys::Inline(set)) => parts.extend(keys_in(set).into_iter().map(Part::Key)),
        Some(ClientKeys::Remote(url)) => parts.push(Part::KeysAt(url.clone())),
    }
    parts.extend(ways.workloads.iter().cloned().map(Part::Workload));
    match &ways.certificates {
        None => {}
        Some(Certificates::SelfSigned { thumbprints }) => {
            parts.extend(thumbprints.iter().cloned().map(Part::Thumbprint));
        }
        Some(Certificates::Issued { authority, name }) => {
            parts.push(Part::Issued(authority.clone(), name.clone()));
        }
    }
    parts
}

/// The keys of a JWK set.
pub(super) fn keys_in(set: &Value) -> Vec<Value> {
    set.get("keys").and_then(Value::as_array).cloned().unwrap_or_default()
}

impl Part {
    /// What tells it from the agent's other ways; the form that removes it brings it back.
    pub(super) fn value(&self) -> String {
        match self {
            Self::Key(jwk) => format!("key:{}", jose::thumbprint(jwk).unwrap_or_default()),
            Self::KeysAt(_) => "keys".to_owned(),
            Self::Workload(workload) => {
                let pins = serde_json::to_string(&workload.pins).unwrap_or_default();
                format!("workload:{}:{pins}", workload.trust_source)
            }
            Self::Thumbprint(thumbprint) => format!("certificate:{thumbprint}"),
            Self::Issued(..) => "issued".to_owned(),
        }
    }

    /// Puts it beside the ways that are there.
    pub(super) fn put_into(self, ways: &mut SignIn) {
        match self {
            Self::Key(jwk) => match &mut ways.keys {
                Some(ClientKeys::Inline(set)) => {
                    if let Some(keys) = set.get_mut("keys").and_then(Value::as_array_mut) {
                        keys.push(jwk);
                    }
                }
                keys => *keys = Some(ClientKeys::Inline(json!({ "keys": [jwk] }))),
            },
            Self::KeysAt(url) => ways.keys = Some(ClientKeys::Remote(url)),
            Self::Workload(workload) => ways.workloads.push(workload),
            Self::Thumbprint(thumbprint) => match &mut ways.certificates {
                Some(Certificates::SelfSigned { thumbprints }) => thumbprints.push(thumbprint),
                certificates => {
                    *certificates = Some(Certificates::SelfSigned { thumbprints: vec![thumbprint] });
                }
            },
            Self::Issued(authority, name) => {
                ways.certificates = Some(Certificates::Issued { authority, name });
            }
        }
    }

    fn row(&self, page: &Page, sources: &[TrustSource]) -> WayRow {
        let named = |id: &TrustSourceId| {
            let found = sources.iter().find(|source| source.id == *id);
            found.map_or_else(|| id.to_string(), |source| source.name.clone())
        };
        let fact = |name: &str, value: &str| (Shown::name(name), Shown::name(value));
        let (kind, title, facts) = match self {
            Self::Key(jwk) => {
                let text = |name: &str| jwk.get(name).and_then(Value::as_str);
                let thumbprint = jose::thumbprint(jwk).unwrap_or_default();
                let title = text("kid").map_or_else(|| thumbprint.clone(), str::to_owned);
                let facts = [("kty", text("kty")), ("alg", text("alg").or_else(|| text("crv")))];
                let facts = facts.into_iter().filter_map(|(name, value)| Some(fact(name, value?)));
                ("admin.way_key", title, facts.chain([fact("SHA-256", &thumbprint)]).collect())
            }
            Self::KeysAt(url) => ("admin.way_key", url.clone(), Vec::new()),
            Self::Workload(workload) => (
                "admin.way_workload",
                named(&workload.trust_source),
                workload.pins.iter().map(|(name, value)| fact(name, value)).collect(),
            ),
            Self::Thumbprint(thumbprint) => ("admin.way_certificate", thumbprint.clone(), Vec::new()),
            Self::Issued(authority, name) => {
                let (kind, value) = name_of(name);
                ("admin.way_certificate", named(authority), vec![fact(kind, &value)])
            }
        };
        WayRow { kind: text(page.lang, kind), title: Shown::name(&title), facts, value: self.value() }
    }
}

/// The kind of a name as forms have it, and the name.
fn name_of(name: &CertificateName) -> (&'static str, String) {
    match name {
        CertificateName::SubjectDn(text) => ("subject_dn", text.clone()),
        CertificateName::SanDns(text) => ("san_dns", text.clone()),
        CertificateName::SanUri(text) => ("san_uri", text.clone()),
        CertificateName::SanEmail(text) => ("san_email", text.clone()),
        CertificateName::SanIp(address) => ("san_ip", address.to_string()),
    }
}
