//! Work in the background: sweeping what has lapsed.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::app::services::Services;
use crate::app::witness::Witness;
use crate::kernel::clock::Timestamp;
use crate::kernel::entropy;
use crate::model::credential::UsedAssertion;
use crate::model::grant::Grant;
use crate::model::interaction::Interaction;
use crate::model::record::Record;
use crate::model::session::Session;
use crate::model::token::{DelegatedTokens, RevokedToken};
use crate::model::transmitter::SpentEvent;
use crate::model::usage::Usage;
use crate::store::{Committed, Store, StoreError, Tx};

const EVERY: Duration = Duration::from_secs(60);
/// Refresh tokens that are of no use any more are revoked when they are due; what could not be is tried again.
const DISCARDED_EVERY: Duration = Duration::from_secs(60);
/// Provider tokens that were handed out end within the hour, and their revocation is tried again: both
/// to the second rather than to the minute.
const GRANT_TOKENS_EVERY: Duration = Duration::from_secs(5);
/// Answers wait here for a disk that was full.
const SPOOL_EVERY: Duration = Duration::from_secs(10);
/// The shortest life that is known, seven days, leaves hours of room.
const ALIVE_EVERY: Duration = Duration::from_secs(1800);
/// How long a node's newest signed head waits to be seen by the others.
const WITNESS_EVERY: Duration = Duration::from_secs(10);
/// Uses of credentials that are noted meanwhile are one commit, or a few.
const USES_EVERY: Duration = Duration::from_secs(5);
const PAGE: usize = 200;
/// What was used up, revoked or listed is remembered for this much longer: a node whose clock is behind still takes it,
/// and issues what it believes to be listed.
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

/// The tasks that run beside the listener.
pub struct Jobs(Vec<JoinHandle<()>>);

impl Jobs {
    /// Ends them.
    pub fn stop(self) {
        for job in self.0 {
            job.abort();
        }
    }
}

/// Starts them.
pub(super) fn start(services: &Services, witness: Witness) -> Jobs {
    let sweeping = services.clone();
    let sweep = tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = sweep(&sweeping).await {
                tracing::warn!(error = %error, "sweeping lapsed records failed; it is tried again");
            }
        }
    });
    let connections = services.connections.clone();
    let grant_tokens = tokio::spawn(async move {
        loop {
            tokio::time::sleep(GRANT_TOKENS_EVERY).await;
            if let Err(error) = connections.sweep_grant_tokens().await {
                tracing::warn!(error = %error, "ending provider tokens failed; it is tried again");
            }
        }
    });
    let custody = services.custody.clone();
    let rotation = tokio::spawn(async move { custody.work().await });
    let mut jobs = vec![
        sweep,
        grant_tokens,
        rotation,
        spooled(services),
        alive(services),
        uses(services),
        discarded(services),
    ];
    jobs.extend(services.node.clone().map(|node| witnessing(services, node, witness)));
    Jobs(jobs)
}

/// Refresh tokens whose revocation is outstanding. A job of its own, as a provider may be slow; in each round one that
/// fails is asked once, so that it does not hold up those of others.
fn discarded(services: &Services) -> JoinHandle<()> {
    let connections = services.connections.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(DISCARDED_EVERY).await;
            if let Err(error) = connections.sweep_discarded().await {
                tracing::warn!(error = %error, "revoking refresh tokens failed; it is tried again");
            }
        }
    })
}

/// Answers that could not be stored when they came, such as on a full disk.
fn spooled(services: &Services) -> JoinHandle<()> {
    let connections = services.connections.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SPOOL_EVERY).await;
            if let Err(error) = connections.empty_spool().await {
                tracing::warn!(error = %error, "the spool could not be looked through; it is tried again");
            }
        }
    })
}

/// When credentials were last used.
fn uses(services: &Services) -> JoinHandle<()> {
    let agents = services.agents.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(USES_EVERY).await;
            if let Err(error) = agents.write_uses().await {
                tracing::debug!(error = %error, "the use of some credentials was not written down");
            }
        }
    })
}

/// Refresh tokens that would end from lack of use.
fn alive(services: &Services) -> JoinHandle<()> {
    let services = services.clone();
    tokio::spawn(async move {
        loop {
            // Not all nodes, and not all deployments, at the same moment.
            let jitter = u32::from(u16::from_be_bytes(entropy::bytes::<2>(&*services.entropy)));
            tokio::time::sleep(ALIVE_EVERY + ALIVE_EVERY / u32::from(u16::MAX) * jitter).await;
            match services.connections.keep_alive().await {
                Ok(round) if round.due > 0 => tracing::info!(
                    due = round.due,
                    renewed = round.renewed,
                    put_off = round.put_off,
                    needs_reauth = round.needs_reauth,
                    "refresh tokens that would have ended from lack of use"
                ),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "renewing idle connections failed; it is tried again")
                }
            }
        }
    })
}

/// The signed heads of the nodes' audit logs, each in the logs of the others.
fn witnessing(services: &Services, node: String, mut witness: Witness) -> JoinHandle<()> {
    let services = services.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(WITNESS_EVERY).await;
            if let Err(error) = witness.look(&services, &node).await {
                tracing::warn!(error = %error, "the nodes' audit logs could not be joined; it is tried again");
            }
        }
    })
}

/// Removes what has lapsed, once.
///
/// # Errors
/// When the store cannot be used; the next time goes on from there.
pub async fn sweep(services: &Services) -> Result<(), StoreError> {
    let now = services.clock.now();
    let hours = |n: u64| Duration::from_secs(n * 3600);
    remove::<RevokedToken>(&services.store, |token| token.expires_at.plus(CLOCKS_DIFFER) < now).await?;
    remove::<DelegatedTokens>(&services.store, |tokens| tokens.end_by.plus(CLOCKS_DIFFER) < now).await?;
    sweep_assertions(&services.store, now).await?;
    services.connections.sweep_transactions().await?;
    if let Err(error) = services.tokens.keys.keep_fresh().await {
        tracing::warn!(error = %error, "signing keys could not be kept fresh; it is tried again");
    }
    services.departures.go_on().await?;
    remove::<SpentEvent>(&services.store, |event| event.until < now).await?;
    if let Err(error) = services.agents.suspend_ownerless().await {
        tracing::warn!(error = %error, "agents without an owner are not suspended yet; it is tried again");
    }
    // After that: whom it suspends, and whoever has come to the end of their time, holds nothing at a provider.
    services.connections.revoke_tokens_of_inactive_agents().await?;
    // Until then a poll is told that nobody answered.
    remove::<Interaction>(&services.store, |asked| {
        asked.is_undecided() && lapsed(asked.expires_at, hours(24), now)
            // Nobody was asked, so nothing is to be shown of it.
            || asked.was_granted_before() && lapsed(asked.expires_at, hours(1), now)
    })
    .await?;
    sweep_usage(&services.store, now).await?;
    remove::<Session>(&services.store, |session| lapsed(session.created_at, hours(8), now)).await?;
    Ok(())
}

/// Used assertions lie in the order in which they expire: what has not lapsed is not read.
async fn sweep_assertions(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    loop {
        let page = store.page::<UsedAssertion>(None, PAGE).await?;
        let lapsed: Vec<_> = page.iter().filter(|used| used.expires_at.plus(CLOCKS_DIFFER) < now).collect();
        let is_last = page.len() < PAGE || lapsed.len() < page.len();
        let mut tx = Tx::new();
        for used in lapsed {
            tx.delete(used);
        }
        // A conflict means that another node sweeps too.
        if tx.is_empty() || store.commit(tx).await? == Committed::Conflict || is_last {
            return Ok(());
        }
    }
}

/// Counters end with what they were counted for: a grant or a token that has ended does not come back.
async fn sweep_usage(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let page = store.page::<Usage>(after.as_deref(), PAGE).await?;
        for usage in &page {
            let grant = store.get::<Grant>(usage.grant.as_str()).await?;
            let holds = grant.is_some_and(|grant| grant.is_live(now));
            if !holds || (usage.token.is_some() && usage.ends_at < now) {
                let mut tx = Tx::new();
                tx.delete(usage);
                let _ = store.commit(tx).await?;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.record().key()),
            _ => return Ok(()),
        }
    }
}

fn lapsed(since: Timestamp, life: Duration, now: Timestamp) -> bool {
    now.since(since) > life
}

async fn remove<R: Record>(store: &Store, is_lapsed: impl Fn(&R) -> bool) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let page = store.page::<R>(after.as_deref(), PAGE).await?;
        for record in page.iter().filter(|record| is_lapsed(record)) {
            let mut tx = Tx::new();
            tx.delete(record);
            // A conflict means that someone uses it at this moment: the next sweep looks again.
            let _ = store.commit(tx).await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.record().key()),
            _ => return Ok(()),
        }
    }
}
