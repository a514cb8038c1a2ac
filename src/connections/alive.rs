//! Renewing what would end from lack of use.
//!
//! Many refresh tokens end when they are not used for a while: 7 days, 30, 90. An agent that works once a month
//! must not send its employee back to consent, so such tokens are renewed ahead of time: only those that a live
//! grant stands on, a few at a time, spread over a part of their life, and after whoever waits for an answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use crate::connections::flight::Landed;
use crate::connections::judge;
use crate::connections::refresh::Want;
use crate::connections::{Connections, Inner, LeaseError};
use crate::kernel::ids::{ConnectionId, ProviderSlug};
use crate::model::connection::{Connection, ConnectionState};
use crate::model::grant::Grant;
use crate::store::StoreError;

/// What came of one round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptAlive {
    /// How many would have ended soon.
    pub due: usize,
    /// How many were renewed.
    pub renewed: usize,
    /// How many are left for the next round: the provider asks for a pause, or has trouble.
    pub put_off: usize,
    /// How many need their user.
    pub needs_reauth: usize,
}

const PAGE: usize = 200;
/// Of the eight refreshes that a provider is given at the same time, at most these are ahead of time.
const AT_ONCE: usize = 2;
/// After each one: four a second at most, far below any token endpoint's limit that is known.
pub(super) const PACE: Duration = Duration::from_millis(500);
/// No token is renewed earlier than this before its end.
const EARLIEST: Duration = Duration::from_secs(3 * 24 * 3600);

impl Connections {
    /// Renews the refresh tokens that end soon. Run it about once an hour.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn keep_alive(&self) -> Result<KeptAlive, StoreError> {
        let mut round = KeptAlive::default();
        let mut tired = BTreeSet::new();
        let mut after: Option<ConnectionId> = None;
        loop {
            let page =
                self.inner.store.page::<Connection>(after.as_ref().map(ConnectionId::as_str), PAGE).await?;
            let Some(last) = page.last() else { return Ok(round) };
            after = Some(last.id.clone());
            let mut due = Vec::new();
            for connection in &page {
                if self.inner.is_fading(connection) && self.inner.is_worth_keeping(connection).await? {
                    due.push((connection.id.clone(), connection.provider.clone()));
                }
            }
            self.renew(due, &mut tired, &mut round).await;
            // Reading from files never waits, and there may be a million connections.
            tokio::task::yield_now().await;
        }
    }

    async fn renew(
        &self,
        due: Vec<(ConnectionId, ProviderSlug)>,
        tired: &mut BTreeSet<ProviderSlug>,
        round: &mut KeptAlive,
    ) {
        round.due += due.len();
        let (later, now): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|(_, provider)| tired.contains(provider));
        round.put_off += later.len();
        let mut renewals = futures_util::stream::iter(now)
            .map(|(id, provider)| {
                let inner = Arc::clone(&self.inner);
                async move {
                    let done = inner.fly(format!("alive/{id}"), |inner| renewed(inner, id)).await;
                    tokio::time::sleep(inner.waits.pace).await;
                    (provider, done)
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((provider, done)) = renewals.next().await {
            match done {
                Ok(_) => round.renewed += 1,
                Err(LeaseError::NeedsReauth(_)) => round.needs_reauth += 1,
                Err(error) => {
                    round.put_off += 1;
                    if matches!(error, LeaseError::RetryLater { .. } | LeaseError::Refused { .. }) {
                        tired.insert(provider);
                    }
                }
            }
        }
    }
}

async fn renewed(inner: Arc<Inner>, id: ConnectionId) -> Result<Landed, LeaseError> {
    inner.refresh(&id, &Want::Alive).await.map(|_| Landed::Settled)
}

impl Inner {
    /// Whether a refresh token ends soon: in the last quarter of its life, three days before its end at the
    /// earliest. Which moment of that it is differs from one connection to the next, so that those that were
    /// made together are not renewed together.
    pub(super) fn is_fading(&self, connection: &Connection) -> bool {
        let Some(end) = connection.refresh_expires_at.filter(|_| connection.refresh_token.is_some()) else {
            return false;
        };
        let now = self.clock.now();
        let last = (end.since(connection.refreshed_at) / 4).min(EARLIEST);
        let margin = last / 2 + last / 2 * spread(&connection.id) / SPREAD;
        now < end && now.until(end) < margin
    }

    async fn is_worth_keeping(&self, connection: &Connection) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let is_quiet = connection.state == ConnectionState::Active
            && connection.intent.is_none()
            && judge::still_waits(&connection.backoff, now).is_none();
        if !is_quiet {
            return Ok(false);
        }
        // Where the life is fixed, renewing gains nothing.
        let configured = self.configured(&connection.provider).await;
        let refresh = configured.as_ref().ok().and_then(|c| c.loaded.template.refresh.as_ref());
        if refresh.is_none_or(|refresh| refresh.fixed_life) {
            return Ok(false);
        }
        let grants = self.store.find::<Grant>("connection", connection.id.as_str()).await?;
        Ok(grants.iter().any(|grant| grant.is_live(now)))
    }
}

/// [`spread`] is below this.
pub(super) const SPREAD: u32 = 1024;

/// A number of a connection that is the same each time.
pub(super) fn spread(id: &ConnectionId) -> u32 {
    crc32fast::hash(id.as_str().as_bytes()) % SPREAD
}
