//! `/api/v1/keys/vault` and what is below it: key terms, rotation, and what a restored store waits for.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::custody::Status;
use crate::custody::backup::Sealing;
use crate::kernel::clock::Timestamp;
use crate::server::body::{self, BodyError};
use crate::server::problem::Problem;
use crate::web::api::{ApiState, auth, errors};

/// Where keys and data stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct VaultView {
    /// What the root key comes from.
    seal: &'static str,
    /// The term that seals.
    active_term: u32,
    terms: Vec<TermView>,
    /// Records, as last counted.
    records: Option<u64>,
    /// When that was.
    counted_at: Option<String>,
    /// The rotation that is under way.
    rotation: Option<RotationView>,
    /// That the store came out of a backup, until an admin has confirmed it.
    restored: Option<RestoredView>,
}

/// A key term.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermView {
    term: u32,
    active: bool,
    /// Values in the store that are sealed under it, as last counted.
    values: Option<u64>,
    /// Values that this process has sealed under it.
    sealed: u64,
}

/// A rotation that is under way.
#[derive(Debug, Serialize, ToSchema)]
pub struct RotationView {
    to: u32,
    began_at: String,
    /// `walking`, `counting`, or `settling` before the old term is retired.
    stage: &'static str,
    /// Records when it began.
    records: u64,
    /// Records that were looked at.
    walked: u64,
    /// Values that were sealed anew.
    resealed: u64,
    /// Values that are left under older terms, from the last count on.
    remaining: Option<u64>,
}

/// That the store came out of a backup.
#[derive(Debug, Serialize, ToSchema)]
pub struct RestoredView {
    /// When the backup was taken.
    taken_at: String,
    restored_at: String,
}

/// What a store is that was restored by other means than ours.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarkRestored {
    /// Until when it knows what happened, in RFC 3339; now, where nothing is stated.
    taken_at: Option<String>,
}

/// How to take a backup.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TakeBackup {
    /// An age recipient (`age1…`); without one it is sealed under the vault's own key.
    recipient: Option<String>,
}

impl VaultView {
    fn of(status: Status) -> Self {
        let counted = status.counted.as_ref();
        let values = |term| counted.map(|(census, _)| census.values.get(&term).copied().unwrap_or(0));
        let remaining = counted.map(|(census, _)| census.remaining());
        let rotation = status.rotation.as_ref().map(|rotation| RotationView {
            to: rotation.to,
            began_at: rotation.began_at.rfc3339(),
            stage: match (rotation.cursor.is_some() || rotation.walked == 0, rotation.counted_zero_at) {
                (true, _) => "walking",
                (false, None) => "counting",
                (false, Some(_)) => "settling",
            },
            records: rotation.records,
            walked: rotation.walked,
            resealed: rotation.resealed,
            remaining: remaining.map(|remaining| remaining.saturating_sub(rotation.resealed)),
        });
        Self {
            seal: status.seal,
            active_term: status.terms.iter().find(|term| term.is_active).map_or(0, |term| term.term),
            terms: status
                .terms
                .iter()
                .map(|term| TermView {
                    term: term.term,
                    active: term.is_active,
                    values: values(term.term),
                    sealed: term.sealed,
                })
                .collect(),
            records: counted.map(|(census, _)| census.records),
            counted_at: counted.map(|(_, at)| at.rfc3339()),
            rotation,
            restored: status.restored.map(|restored| RestoredView {
                taken_at: restored.taken_at.rfc3339(),
                restored_at: restored.restored_at.rfc3339(),
            }),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/keys/vault", params(("count" = Option<bool>, Query)),
    responses((status = 200, body = VaultView)))]
pub async fn show(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let query = body::read_query(&request).map_err(Problem::from)?;
    if query.flag("count").map_err(BodyError::from)? {
        state.custody.count().await.map_err(errors::custody)?;
    }
    view(&state).await
}

#[utoipa::path(post, path = "/api/v1/keys/vault/rotate",
    responses((status = 202, body = VaultView)))]
pub async fn rotate(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    state.custody.rotate(&caller.name).await.map_err(errors::custody)?;
    let status = state.custody.status().await.map_err(errors::custody)?;
    Ok(HttpResponse::Accepted().json(VaultView::of(status)))
}

#[utoipa::path(post, path = "/api/v1/keys/vault/backup", request_body = TakeBackup,
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub async fn backup(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let wanted: TakeBackup = body::read_json(&request, payload).await?;
    let sealing = wanted.recipient.map_or(Sealing::Vault, Sealing::Age);
    let pieces = state.custody.backup(sealing, &caller.name).await.map_err(errors::backup)?;
    let stream = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?.inspect_err(|error| tracing::error!(%error, "a backup broke off"));
        // Who reads it sees the answer break off, not why.
        Some((piece.map_err(|_| std::io::Error::other("the backup broke off")), pieces))
    });
    Ok(HttpResponse::Ok().content_type("application/octet-stream").streaming(stream))
}

#[utoipa::path(post, path = "/api/v1/keys/vault/restored/confirm",
    responses((status = 200, body = VaultView)))]
pub async fn confirm_restored(
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    state.custody.confirm_restored(&caller.name).await.map_err(errors::custody)?;
    view(&state).await
}

#[utoipa::path(post, path = "/api/v1/keys/vault/restored/mark", request_body = MarkRestored,
    responses((status = 200, body = VaultView)))]
pub async fn mark_restored(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let wanted: MarkRestored = body::read_json(&request, payload).await?;
    let taken_at = match &wanted.taken_at {
        None => state.clock.now(),
        Some(text) => Timestamp::parse(text)
            .ok_or_else(|| Problem::bad_request("invalid_time", "taken_at is no time in RFC 3339"))?,
    };
    state.custody.mark_restored(&caller.name, taken_at).await.map_err(errors::custody)?;
    view(&state).await
}

async fn view(state: &ApiState) -> Result<HttpResponse, Problem> {
    let status = state.custody.status().await.map_err(errors::custody)?;
    Ok(HttpResponse::Ok().json(VaultView::of(status)))
}
