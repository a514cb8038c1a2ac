//! `/admin/trust`: whom we believe, as to who agents are and as to what happens to people.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::Value;

use crate::agents::{AgentError, NewTokenIssuer, NewTrust, Place, presets};
use crate::kernel::ids::{TransmitterId, TrustSourceId};
use crate::model::credential::{IssuerKeys, TrustSource, Vouches};
use crate::model::transmitter::{Transmitter, TransmitterKeys};
use crate::web::admin::agents::agent_failure;
use crate::web::admin::credentials::sources;
use crate::web::admin::notice;
use crate::web::admin::sign_in::pins;
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::security_events;
use crate::web::texts::text;
use crate::web::transmitters::{Stated, TransmitterError, Transmitters};
use crate::web::views::admin::trust::{Open, PresetChoice, SourceRow, TransmitterRow, TrustForm, TrustPage};
use crate::web::views::{Page, Section, Shown, Tone};
use crate::web::visit::{Visit, answer_with, go};

/// The purpose of the forms here.
const PURPOSE: &str = "admin.trust";
/// No company has more.
const TRANSMITTERS_MAX: usize = 500;

/// What was sent, and why it could not be taken.
struct Refused<'f> {
    form: &'f Form,
    open: Open,
    problem: String,
}

/// `GET /admin/trust`.
pub async fn list(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    show(&visit, None).await
}

async fn show(visit: &Visit, refused: Option<Refused<'_>>) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Trust);
    let found = visit.state.store.page::<Transmitter>(None, TRANSMITTERS_MAX).await?;
    let status = if refused.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let form = refused.as_ref().map(|refused| refused.form);
    let written = |name: &str| form.map(|form| form.text(name)).unwrap_or_default();
    let typed = |name: &str| Shown::name(written(name));
    let trust = TrustPage {
        notice: notice(visit),
        sources: sources(visit).await?.iter().map(|source| source_row(&page, source)).collect(),
        transmitters: found.iter().map(|found| transmitter_row(&page, found)).collect(),
        presets: choices(written("preset")),
        push_to: format!("{}{}", visit.inbound.issuer.as_str().trim_end_matches('/'), security_events::PATH),
        open: refused.as_ref().map_or(Open::None, |refused| refused.open),
        typed: TrustForm {
            name: typed("name"),
            issuer: typed("issuer"),
            audience: typed("audience"),
            pins: written("pins").to_owned(),
            jwks_uri: typed("jwks_uri"),
            jwks: written("jwks").to_owned(),
            ca_pem: written("ca_pem").to_owned(),
            subject_issuer: typed("subject_issuer"),
        },
        problem: refused.map(|refused| refused.problem),
        page,
    };
    answer_with(status, &trust)
}

fn choices(chosen: &str) -> Vec<PresetChoice> {
    let choice = |preset: &'static crate::agents::Preset| {
        let pins = preset.pin.iter().filter(|pin| pin.on == Place::Source);
        let pins: Vec<String> =
            pins.map(|pin| format!("{}{}", pin.name, if pin.required { "*" } else { "" })).collect();
        let title = if pins.is_empty() {
            preset.title.clone()
        } else {
            format!("{}: {}", preset.title, pins.join(", "))
        };
        PresetChoice { name: &preset.name, title, chosen: preset.name == chosen }
    };
    presets().iter().map(choice).collect()
}

fn source_row(page: &Page, source: &TrustSource) -> SourceRow {
    let (state, tone) =
        if source.enabled { ("state.active", Tone::Good) } else { ("state.disabled", Tone::Bad) };
    let (kind, facts) = match &source.vouches {
        Vouches::Certificates { .. } => (page.t("admin.authority").to_owned(), Vec::new()),
        Vouches::Tokens(issuer) => {
            let pins = issuer.pins.iter().map(|(name, value)| format!("{name}={value}"));
            let keys = match &issuer.keys {
                IssuerKeys::Discovery => page.t("admin.keys_discovered").to_owned(),
                IssuerKeys::Url(url) => url.clone(),
                IssuerKeys::Uploaded(_) => page.t("admin.keys_here").to_owned(),
            };
            let facts = [
                ("admin.issuer", issuer.issuer.clone()),
                ("admin.audience", Some(issuer.audience.clone())),
                ("admin.pins", Some(pins.collect::<Vec<_>>().join(", ")).filter(|pins| !pins.is_empty())),
                ("admin.keys", Some(keys)),
            ];
            let facts = facts.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            let preset = presets().iter().find(|preset| preset.name == issuer.preset);
            (preset.map_or_else(|| issuer.preset.clone(), |preset| preset.title.clone()), facts)
        }
    };
    SourceRow {
        id: source.id.to_string(),
        name: Shown::name(&source.name),
        kind: Shown::name(&kind),
        state: text(page.lang, state),
        tone,
        enabled: source.enabled,
        facts: shown(page, facts),
    }
}

fn transmitter_row(page: &Page, found: &Transmitter) -> TransmitterRow {
    let keys = match &found.keys {
        TransmitterKeys::Url(url) => url.clone(),
        TransmitterKeys::Set(_) => page.t("admin.keys_here").to_owned(),
    };
    let facts = vec![
        ("admin.audience", found.audience.clone()),
        ("admin.subject_issuer", found.subject_issuer.clone()),
        ("admin.keys", keys),
    ];
    TransmitterRow {
        id: found.id.to_string(),
        name: Shown::name(&found.name),
        issuer: Shown::name(&found.issuer),
        facts: shown(page, facts),
    }
}

fn shown(page: &Page, facts: Vec<(&'static str, String)>) -> Vec<(&'static str, Shown)> {
    facts.into_iter().map(|(key, value)| (text(page.lang, key), Shown::name(&value))).collect()
}

/// What was typed, if anything.
fn word(form: &Form, name: &str) -> Option<String> {
    Some(form.text(name).to_owned()).filter(|text| !text.is_empty())
}

/// A JWK set, if one was pasted.
fn key_set(form: &Form, name: &str) -> Result<Option<Value>, &'static str> {
    let read = |text: String| serde_json::from_str(&text).map_err(|_| "jwks: paste a JWK set, as JSON");
    word(form, name).map(read).transpose()
}

/// `POST /admin/trust/platform`.
pub async fn add_platform(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let fields = ["name", "preset", "issuer", "audience", "pins", "jwks_uri", "jwks"];
    let form = visit.form(payload, PURPOSE, &fields, &[]).await?;
    let new = match token_issuer(&form) {
        Ok(new) => NewTrust::Tokens(new),
        Err(problem) => {
            return show(&visit, Some(Refused { form: &form, open: Open::Platform, problem })).await;
        }
    };
    let made = visit.state.agents.add_trust_source(form.text("name"), new, &by).await;
    source_added(&visit, made, &form, Open::Platform).await
}

fn token_issuer(form: &Form) -> Result<NewTokenIssuer, String> {
    let keys = match (word(form, "jwks_uri"), key_set(form, "jwks")?) {
        (None, None) => IssuerKeys::Discovery,
        (Some(url), None) => IssuerKeys::Url(url),
        (None, Some(set)) => IssuerKeys::Uploaded(set),
        (Some(_), Some(_)) => return Err("keys: name a URL, or paste the keys, not both".to_owned()),
    };
    Ok(NewTokenIssuer {
        preset: form.text("preset").to_owned(),
        issuer: word(form, "issuer"),
        keys,
        audience: word(form, "audience"),
        pins: pins(form.text("pins")).map_err(|error| error.to_string())?,
    })
}

/// `POST /admin/trust/authority`.
pub async fn add_authority(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let form = visit.form(payload, PURPOSE, &["name", "ca_pem"], &[]).await?;
    let new = NewTrust::Certificates(form.text("ca_pem").to_owned());
    let made = visit.state.agents.add_trust_source(form.text("name"), new, &by).await;
    source_added(&visit, made, &form, Open::Authority).await
}

async fn source_added(
    visit: &Visit,
    made: Result<TrustSource, AgentError>,
    form: &Form,
    open: Open,
) -> Result<HttpResponse, Failure> {
    match made {
        Ok(_) => Ok(go("/admin/trust?done=trust_added")),
        Err(error @ AgentError::Invalid { .. }) => {
            show(visit, Some(Refused { form, open, problem: error.to_string() })).await
        }
        Err(error) => Err(agent_failure(&error)),
    }
}

/// `POST /admin/trust/sources/{id}/{enable,disable,remove}`.
pub async fn change_source(
    visit: Visit,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let form = visit.form(payload, PURPOSE, &[], &[]).await?;
    let (id, change) = path.into_inner();
    let id: TrustSourceId = id.parse().map_err(|_| Failure::NotFound)?;
    let agents = &visit.state.agents;
    let (changed, done) = match change.as_str() {
        "enable" => (agents.set_trust_source(&id, true, &by).await.map(drop), "trust_enabled"),
        "disable" => (agents.set_trust_source(&id, false, &by).await.map(drop), "trust_disabled"),
        "remove" => (agents.remove_trust_source(&id, &by).await, "trust_removed"),
        _ => return Err(Failure::NotFound),
    };
    match changed {
        Ok(()) => Ok(go(&format!("/admin/trust?done={done}"))),
        // An agent relies on it.
        Err(error @ AgentError::Invalid { .. }) => {
            show(&visit, Some(Refused { form: &form, open: Open::None, problem: error.to_string() })).await
        }
        Err(error) => Err(agent_failure(&error)),
    }
}

fn register(visit: &Visit) -> Transmitters<'_> {
    let state = &visit.state;
    Transmitters {
        store: &state.store,
        audit: &state.audit,
        clock: state.clock.as_ref(),
        entropy: state.entropy.as_ref(),
    }
}

/// `POST /admin/trust/transmitter`.
pub async fn add_transmitter(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let fields = ["name", "issuer", "audience", "subject_issuer", "jwks_uri", "jwks"];
    let form = visit.form(payload, PURPOSE, &fields, &[]).await?;
    let refused = |problem: String| Some(Refused { form: &form, open: Open::Transmitter, problem });
    let jwks = match key_set(&form, "jwks") {
        Ok(jwks) => jwks,
        Err(problem) => return show(&visit, refused(problem.to_owned())).await,
    };
    let stated = Stated {
        name: form.text("name").to_owned(),
        issuer: form.text("issuer").to_owned(),
        audience: word(&form, "audience"),
        jwks_uri: word(&form, "jwks_uri"),
        jwks,
        subject_issuer: word(&form, "subject_issuer"),
    };
    match register(&visit).add(stated, &visit.inbound.issuer, &by).await {
        Ok(_) => Ok(go("/admin/trust?done=transmitter_added")),
        Err(error @ (TransmitterError::Invalid(_) | TransmitterError::Taken)) => {
            show(&visit, refused(error.to_string())).await
        }
        Err(error) => Err(failure(&error)),
    }
}

/// `POST /admin/trust/transmitters/{id}/remove`.
pub async fn remove_transmitter(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    visit.form(payload, PURPOSE, &[], &[]).await?;
    let id: TransmitterId = id.parse().map_err(|_| Failure::NotFound)?;
    register(&visit).remove(&id, &by).await.map_err(|error| failure(&error))?;
    Ok(go("/admin/trust?done=transmitter_removed"))
}

fn failure(error: &TransmitterError) -> Failure {
    match error {
        TransmitterError::Invalid(_) => Failure::BadRequest,
        TransmitterError::Taken | TransmitterError::Contended => Failure::Conflict,
        TransmitterError::NotFound => Failure::NotFound,
        TransmitterError::Store(_) | TransmitterError::Audit(_) => Failure::unavailable(error),
    }
}
