//! `/admin/agents/{id}/sign-in/…` and its neighbours: how an agent signs in is changed on its page.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::agents::{AgentError, NewAgent};
use crate::kernel::ids::{AgentId, TrustSourceId};
use crate::model::agent::Entry;
use crate::model::credential::{CertificateName, Certificates, ClientKeys, SignIn, Workload};
use crate::web::admin::agents::agent_failure;
use crate::web::admin::credentials::{keys_in, parts};
use crate::web::admin::reports::agent_page;
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::visit::{Visit, go};

/// The purpose of the forms here.
const PURPOSE: &str = "admin.credential";
const FIELDS: [&str; 9] =
    ["way", "jwk", "jwks_uri", "source", "pins", "thumbprint", "authority", "name_kind", "certificate_name"];

/// `POST /admin/agents/{id}/sign-in/{key,workload,certificate,issued,remove}`.
pub async fn change(
    visit: Visit,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let (id, what) = path.into_inner();
    let form = visit.form(payload, PURPOSE, &FIELDS, &[]).await?;
    let id: AgentId = id.parse().map_err(|_| Failure::NotFound)?;
    let change: fn(&Form, SignIn) -> Result<SignIn, AgentError> = match what.as_str() {
        "key" => with_key,
        "workload" => with_workload,
        "certificate" => with_thumbprint,
        "issued" => with_authority,
        "remove" => without,
        _ => return Err(Failure::NotFound),
    };
    let changed = visit.state.agents.alter_sign_in(&id, &by, |ways| change(&form, ways)).await;
    answered(&visit, &id, changed.map(drop), "sign_in_changed").await
}

/// `POST /admin/agents/{id}/end-secret`.
pub async fn end_secret(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let form = visit.form(payload, PURPOSE, &["name"], &[]).await?;
    let id: AgentId = id.parse().map_err(|_| Failure::NotFound)?;
    let ended = visit.state.agents.end_secret(&id, form.text("name"), &by).await;
    answered(&visit, &id, ended.map(drop), "secret_ended").await
}

/// `POST /admin/agents/{id}/binding`: whether its tokens have to be bound.
pub async fn binding(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let form = visit.form(payload, PURPOSE, &["demand"], &[]).await?;
    let id: AgentId = id.parse().map_err(|_| Failure::NotFound)?;
    let (sender_constrained, done) = match form.text("demand") {
        "yes" => (true, "binding_on"),
        "no" => (false, "binding_off"),
        _ => return Err(Failure::BadRequest),
    };
    let change =
        |stated: NewAgent| NewAgent { entry: Entry { sender_constrained, ..stated.entry.clone() }, ..stated };
    let changed = visit.state.agents.restate(&id, &by, None, change).await;
    answered(&visit, &id, changed.map(drop), done).await
}

async fn answered(
    visit: &Visit,
    id: &AgentId,
    changed: Result<(), AgentError>,
    done: &str,
) -> Result<HttpResponse, Failure> {
    match changed {
        Ok(()) => Ok(go(&format!("/admin/agents/{id}?done={done}"))),
        Err(error @ AgentError::Invalid { .. }) => {
            agent_page(visit, id, StatusCode::BAD_REQUEST, Some(error.to_string())).await
        }
        Err(error) => Err(agent_failure(&error)),
    }
}

fn invalid(field: &'static str, problem: &str) -> AgentError {
    AgentError::Invalid { field, problem: problem.to_owned() }
}

/// A key beside those that are there, or the place where all of them are.
fn with_key(form: &Form, ways: SignIn) -> Result<SignIn, AgentError> {
    let (jwk, url) = (form.text("jwk"), form.text("jwks_uri"));
    let keys = match (jwk.is_empty(), url.is_empty(), &ways.keys) {
        (true, false, _) => ClientKeys::Remote(url.to_owned()),
        (false, true, Some(ClientKeys::Remote(_))) => {
            return Err(invalid("keys", "its keys are at a URL: remove that first"));
        }
        (false, true, before) => {
            let stated: Value = serde_json::from_str(jwk)
                .map_err(|_| invalid("keys", "paste one public key, or a set of them, as JSON"))?;
            let added = match stated.get("keys") {
                Some(_) => keys_in(&stated),
                None => vec![stated],
            };
            let mut keys = match before {
                Some(ClientKeys::Inline(set)) => keys_in(set),
                Some(ClientKeys::Remote(_)) | None => Vec::new(),
            };
            keys.extend(added);
            ClientKeys::Inline(json!({ "keys": keys }))
        }
        _ => return Err(invalid("keys", "paste a public key, or name the URL where the keys are")),
    };
    Ok(SignIn { keys: Some(keys), ..ways })
}

fn with_workload(form: &Form, mut ways: SignIn) -> Result<SignIn, AgentError> {
    let workload = Workload { trust_source: source_of(form, "source")?, pins: pins(form.text("pins"))? };
    if ways.workloads.contains(&workload) {
        return Err(invalid("workloads", "the agent has this one already"));
    }
    ways.workloads.push(workload);
    Ok(ways)
}

fn with_thumbprint(form: &Form, mut ways: SignIn) -> Result<SignIn, AgentError> {
    let added = form.text("thumbprint").to_owned();
    match &mut ways.certificates {
        Some(Certificates::SelfSigned { thumbprints }) => thumbprints.push(added),
        Some(Certificates::Issued { .. }) => {
            return Err(invalid("certificates", "its certificates are an authority's: remove that first"));
        }
        none => *none = Some(Certificates::SelfSigned { thumbprints: vec![added] }),
    }
    Ok(ways)
}

fn with_authority(form: &Form, ways: SignIn) -> Result<SignIn, AgentError> {
    if ways.certificates.is_some() {
        return Err(invalid("certificates", "it has certificates already: remove them first"));
    }
    let stated = json!({ form.text("name_kind"): form.text("certificate_name") });
    let name: CertificateName = serde_json::from_value(stated)
        .map_err(|_| invalid("certificates.name", "write one exact name of that kind"))?;
    let certificates = Certificates::Issued { authority: source_of(form, "authority")?, name };
    Ok(SignIn { certificates: Some(certificates), ..ways })
}

/// All but one; what is gone already is no mistake.
fn without(form: &Form, ways: SignIn) -> Result<SignIn, AgentError> {
    let stays = |value: String| value != form.text("way");
    let mut kept = SignIn::default();
    for part in parts(&ways).into_iter().filter(|part| stays(part.value())) {
        part.put_into(&mut kept);
    }
    Ok(kept)
}

fn source_of(form: &Form, name: &'static str) -> Result<TrustSourceId, AgentError> {
    form.text(name).parse().map_err(|_| invalid("trust_source", "pick one of the list"))
}

/// `name=value`, a line each.
pub(super) fn pins(text: &str) -> Result<BTreeMap<String, String>, AgentError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let pair = |line: &str| {
        let (name, value) =
            line.split_once('=').ok_or_else(|| invalid("pins", "write name=value, a line each"))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    lines.map(pair).collect()
}
