//! What an employee changes on their own page.

use actix_web::{HttpResponse, web};

use crate::connections::{Begin, DisconnectError, GrantError};
use crate::kernel::ids::{ConnectionId, GrantId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::connection::Connection;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::session::Purpose;
use crate::store::Stored;
use crate::web::failure::Failure;
use crate::web::login::begin_failure;
use crate::web::portal::grant;
use crate::web::visit::{Visit, go};

/// `POST /grants/{id}/revoke`. With the person's yes, the last grant on an account takes the account with it: that is
/// revoked at the provider, too.
pub async fn revoke(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let user = visit.employee_id()?;
    let form = visit.form(payload, "grant.revoke", &["disconnect"], &[]).await?;
    if form.get("disconnect").is_some() {
        let grant = grant::own(&visit, &user, &id).await?;
        // Another agent may have been given something since the page was shown.
        if grant.is_live(visit.page.now) && visit.state.connections.is_last(&grant).await? {
            return cut_off(&visit, &user, &grant.connection).await;
        }
    }
    let id: GrantId = id.parse().map_err(|_| Failure::NotFound)?;
    match visit.state.connections.revoke_own(&user, &id).await {
        Ok(_) => Ok(go("/?done=revoked")),
        Err(GrantError::NotFound) => Err(Failure::NotFound),
        Err(error) => Err(Failure::unavailable(&error)),
    }
}

/// `POST /connections/{id}/disconnect`.
pub async fn disconnect(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let user = visit.employee_id()?;
    visit.form(payload, "connection.disconnect", &[], &[]).await?;
    let id: ConnectionId = id.parse().map_err(|_| Failure::NotFound)?;
    cut_off(&visit, &user, &id).await
}

async fn cut_off(visit: &Visit, user: &UserId, id: &ConnectionId) -> Result<HttpResponse, Failure> {
    match visit.state.connections.disconnect(user, id).await {
        Ok(done) if done.revoked_upstream => Ok(go("/?done=disconnected_upstream")),
        Ok(_) => Ok(go("/?done=disconnected_here")),
        Err(DisconnectError::NotFound) => Err(Failure::NotFound),
        Err(error) => Err(Failure::unavailable(&error)),
    }
}

/// `POST /connections/{id}/default`.
pub async fn make_default(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let user = visit.employee_id()?;
    visit.form(payload, "connection.default", &[], &[]).await?;
    let connection = own(&visit, &user, &id).await?;
    let mut event = EventDraft::new(EventKind::Connection, "connection.default");
    event.user = Some(user.clone());
    event.provider = Some(connection.provider.clone());
    event.connection = Some(connection.id.clone());
    event.outcome = Some(Outcome::Done);
    visit.state.audit.record(event).await?;
    match visit.state.connections.set_default(&user, &connection.id).await? {
        true => Ok(go("/?done=default_set")),
        false => Err(Failure::Conflict),
    }
}

/// `POST /connections/{id}/reconnect`: to the provider's own consent, for what the connection held.
pub async fn reconnect(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let (user, browser) = visit.employee().map(|(user, browser)| (user.id.clone(), browser))?;
    visit.form(payload, "connection.reconnect", &[], &[]).await?;
    let connection = own(&visit, &user, &id).await?;
    let scopes: ScopeSet = connection.scopes.clone();
    let begin = Begin {
        provider: &connection.provider,
        purpose: Purpose::Reconnect { connection: connection.id.clone() },
        browser,
        user: Some(user),
        opened_at: visit.page.now,
        scopes: &scopes,
    };
    let url = visit.state.connections.begin(begin).await.map_err(begin_failure)?;
    Ok(go(url.as_str()))
}

async fn own(visit: &Visit, user: &UserId, id: &str) -> Result<Stored<Connection>, Failure> {
    let id: ConnectionId = id.parse().map_err(|_| Failure::NotFound)?;
    let all = visit.state.connections.of_user(user).await?;
    all.into_iter().find(|connection| connection.id == id).ok_or(Failure::NotFound)
}
