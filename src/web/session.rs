//! Sessions of browsers: the cookie holds a random secret, the store its digest.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;

use crate::kernel::bearer::{self, BearerKind, TokenDigest};
use crate::kernel::clock::Timestamp;
use crate::model::session::{ABSOLUTE, Principal, Session};
use crate::model::user::{LocalAdmin, User, UserState};
use crate::server::{Inbound, cookies};
use crate::store::{Committed, StoreError, Stored, Tx, UpdateError};
use crate::web::failure::Failure;
use crate::web::forms;
use crate::web::state::WebState;
use crate::web::visit::Who;

/// The base name of the session cookie.
const SESSION_COOKIE: &str = "sid";
/// The base name of the cookie that marks a browser before anyone has signed in.
const BROWSER_COOKIE: &str = "pre";
/// How exactly the last use is written down; every write is a sync to disk.
const SEEN_EVERY: Duration = Duration::from_secs(60);
/// How long a browser may stay on the sign-in page and at the provider.
const BROWSER_LIFE: Duration = Duration::from_secs(3600);

/// A live session, and who it belongs to now.
pub struct Found {
    /// The session.
    pub session: Session,
    /// Whose it is.
    pub who: Who,
}

/// The session of a request's cookie. The person behind it is read anew: who was switched off or lost a
/// role meanwhile has it no more.
///
/// # Errors
/// When a cookie is repeated, or the store cannot be read.
pub async fn find(
    state: &WebState,
    inbound: &Inbound,
    request: &HttpRequest,
) -> Result<Option<Found>, Failure> {
    let cookie = cookies::read(request, inbound, SESSION_COOKIE).map_err(|_| Failure::BadRequest)?;
    let Some(text) = cookie.filter(|text| bearer::is_well_formed(BearerKind::Session, text)) else {
        return Ok(None);
    };
    let digest = state.vault.digest(BearerKind::Session, text);
    let Some(stored) = state.store.get::<Session>(&digest.hex()).await? else { return Ok(None) };
    let now = state.clock.now();
    if !stored.is_live(now) {
        remove(state, &stored).await?;
        return Ok(None);
    }
    let Some(who) = holder(state, &stored).await? else { return Ok(None) };
    if now.since(stored.seen_at) >= SEEN_EVERY {
        touch(state, &digest, now).await?;
    }
    Ok(Some(Found { session: stored.record().clone(), who }))
}

async fn holder(state: &WebState, session: &Session) -> Result<Option<Who>, StoreError> {
    match &session.principal {
        Principal::User { user } => {
            let user = state.store.get::<User>(user.as_str()).await?;
            let active = user.filter(|user| {
                user.state == UserState::Active && !user.was_signed_out_since(session.created_at)
            });
            Ok(active.map(|user| Who::Employee(Box::new(user.record().clone()))))
        }
        Principal::Admin { email, .. } => {
            let admin = state.store.get::<LocalAdmin>(&crate::model::user::email_index(email)).await?;
            // Whoever was given a new password since is signed out.
            let admin = admin.filter(|admin| admin.created_at <= session.created_at);
            Ok(admin.map(|admin| Who::Admin { email: admin.email.clone(), role: admin.role }))
        }
    }
}

async fn touch(state: &WebState, digest: &TokenDigest, now: Timestamp) -> Result<(), StoreError> {
    let seen = state
        .store
        .update::<Session, Infallible>(&digest.hex(), |session| {
            Ok(Some(Session { seen_at: now, ..session.clone() }))
        })
        .await;
    match seen {
        Ok(_) => Ok(()),
        Err(UpdateError::Store(error)) => Err(error),
        Err(UpdateError::Refused(never)) => match never {},
    }
}

async fn remove(state: &WebState, stored: &Stored<Session>) -> Result<(), StoreError> {
    let mut tx = Tx::new();
    tx.delete(stored);
    // A conflict means that it was used or removed at this moment.
    state.store.commit(tx).await.map(|_| ())
}

/// Signs someone in: always a new session, so that nobody can have planted it; the former one ends.
///
/// # Errors
/// When it cannot be stored.
pub async fn start(
    state: &WebState,
    inbound: &Inbound,
    principal: Principal,
    former: Option<&Session>,
) -> Result<[Cookie<'static>; 2], Failure> {
    let secret = bearer::generate(BearerKind::Session, &*state.entropy);
    let digest = state.vault.digest(BearerKind::Session, secret.expose());
    let now = state.clock.now();
    let mut tx = Tx::new();
    tx.insert(&Session { digest, principal, created_at: now, seen_at: now });
    if state.store.commit(tx).await? == Committed::Conflict {
        return Err(Failure::Internal);
    }
    if let Some(former) = former {
        end(state, former).await?;
    }
    let session = cookies::set(inbound, SESSION_COOKIE, secret.expose(), Some(ABSOLUTE));
    Ok([session, cookies::clear(inbound, BROWSER_COOKIE)])
}

/// Ends a session.
///
/// # Errors
/// When the store cannot be used.
pub async fn end(state: &WebState, session: &Session) -> Result<(), StoreError> {
    match state.store.get::<Session>(&session.digest.hex()).await? {
        Some(stored) => remove(state, &stored).await,
        None => Ok(()),
    }
}

/// The cookies that make a browser forget its session.
pub fn forget(inbound: &Inbound) -> [Cookie<'static>; 2] {
    [cookies::clear(inbound, SESSION_COOKIE), cookies::clear(inbound, BROWSER_COOKIE)]
}

/// The mark of a browser in which nobody has signed in yet: what binds a sign-in to it.
pub fn browser_mark(state: &WebState, inbound: &Inbound, request: &HttpRequest) -> Option<TokenDigest> {
    let text = cookies::read(request, inbound, BROWSER_COOKIE).ok()??;
    (text.len() == 43).then(|| state.vault.state_digest("browser", text))
}

/// Marks a browser that has no mark yet: the digest, and the cookie to set.
pub fn mark_browser(state: &WebState, inbound: &Inbound) -> (TokenDigest, Cookie<'static>) {
    let mark = forms::random_mark(state);
    let digest = state.vault.state_digest("browser", mark.expose());
    (digest, cookies::set(inbound, BROWSER_COOKIE, mark.expose(), Some(BROWSER_LIFE)))
}
