//! A node's name is one process's at a time.
//!
//! Two brokers with one name, because a data folder was copied to another machine, would take each other's work for
//! their own and dial twice. So the name is claimed in the database, and the claim renewed every few seconds, each time
//! with another random value. Whoever finds another's claim watches it: one that changes is held, one that does not for
//! longer than a renewal takes is left over. No clock is asked. Who finds its own claim replaced ends at once.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::app::serve::ServeError;
use crate::custody::shared_keys::SharedKeys;
use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::store::latch::Latch;
use crate::store::{Backend as _, Batch, Committed, Expect, StoreError};

const EVERY: Duration = Duration::from_secs(3);
/// A claim that has not changed for this long is left over.
const LEASE: Duration = Duration::from_secs(12);
const LOOK: Duration = Duration::from_millis(500);
const PREFIX: &str = "m/node/";

/// What lies in the database.
#[derive(Serialize, Deserialize)]
struct Note {
    /// Random, another one with every renewal.
    renewal: String,
    place: String,
    /// For messages.
    host: String,
    process: u32,
}

struct Inner {
    on: Arc<SharedKeys>,
    entropy: Arc<dyn Entropy>,
    key: Bytes,
    /// The running kernel and the data folder. Whoever starts in the same place is alone there: the folder is locked.
    place: String,
    held: Mutex<Bytes>,
    lost: Latch,
}

/// A claim on a node's name, which is renewed for as long as this lives.
pub(super) struct Claim {
    inner: Arc<Inner>,
    renewing: JoinHandle<()>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Claim {
    /// Claims a name. At once where nobody has it, or a former process in the same place had it; after a while where
    /// whoever had it is gone.
    ///
    /// # Errors
    /// When another process has it, or the database cannot be used.
    pub(super) async fn take(
        on: Arc<SharedKeys>,
        entropy: Arc<dyn Entropy>,
        node: &str,
        data_dir: &Path,
    ) -> Result<Self, ServeError> {
        let inner = Inner {
            key: Bytes::from(format!("{PREFIX}{node}")),
            place: place(data_dir).unwrap_or_else(|| encode::hex(&entropy::bytes::<16>(&*entropy))),
            on,
            entropy,
            held: Mutex::default(),
            lost: Latch::default(),
        };
        inner.take(node).await?;
        let inner = Arc::new(inner);
        let renewing = tokio::spawn(renew(Arc::clone(&inner)));
        Ok(Self { inner, renewing })
    }

    /// Ends when another process has taken the name.
    pub(super) fn lost(&self) -> impl Future<Output = ()> + use<> {
        let inner = Arc::clone(&self.inner);
        async move { inner.lost.wait().await }
    }

    /// Gives the name back: whoever starts next has it at once.
    pub(super) async fn release(self) {
        self.renewing.abort();
        if let Err(error) = self.inner.release().await {
            tracing::warn!(%error, "this node's name could not be given back; the next start elsewhere waits for it");
        }
    }
}

async fn renew(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(EVERY).await;
        match inner.renew().await {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!("another process has taken this node's name: was the data folder copied?");
                inner.lost.set();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the claim on this node's name is not renewed; it is tried again")
            }
        }
    }
}

impl Inner {
    async fn take(&self, node: &str) -> Result<(), ServeError> {
        let mut seen = self.on.get(&self.key).await?;
        let since = Instant::now();
        let mut is_told = false;
        loop {
            let is_free = seen.as_ref().is_none_or(|text| self.is_ours(text)) || since.elapsed() >= LEASE;
            if is_free && self.write(seen.clone()).await? == Committed::Done {
                return Ok(());
            }
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(
                    node,
                    seconds = LEASE.as_secs(),
                    "this node's name is claimed elsewhere: waiting whether whoever has it is still there"
                );
            }
            tokio::time::sleep(LOOK).await;
            let found = self.on.get(&self.key).await?;
            if let Some(text) =
                found.as_ref().filter(|text| seen.as_ref() != Some(*text) && !self.is_ours(text))
            {
                let holder = serde_json::from_slice::<Note>(text);
                return Err(ServeError::Claimed {
                    node: node.to_owned(),
                    holder: holder
                        .map(|note| format!(" (process {} on `{}`)", note.process, note.host))
                        .unwrap_or_default(),
                });
            }
            seen = found;
        }
    }

    /// Renews the claim; says whether it is still ours.
    async fn renew(&self) -> Result<bool, StoreError> {
        let held = self.held.lock().await.clone();
        if self.write(Some(held)).await? == Committed::Done {
            return Ok(true);
        }
        // Gone, or an older one of ours, or one of before our time that nobody renews: the database was put back.
        let found = self.on.get(&self.key).await?;
        if found.as_ref().is_none_or(|text| self.is_ours(text)) {
            return self.write(found).await.map(|_| true);
        }
        let since = Instant::now();
        while since.elapsed() < LEASE {
            tokio::time::sleep(LOOK).await;
            if self.on.get(&self.key).await? != found {
                return Ok(false);
            }
        }
        Ok(self.write(found).await? == Committed::Done)
    }

    async fn write(&self, former: Option<Bytes>) -> Result<Committed, StoreError> {
        let note = Note {
            renewal: encode::hex(&entropy::bytes::<16>(&*self.entropy)),
            place: self.place.clone(),
            host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            process: std::process::id(),
        };
        let text = Bytes::from(serde_json::to_vec(&note).unwrap_or_default());
        let batch = Batch {
            expect: vec![(self.key.clone(), former.map_or(Expect::Absent, Expect::Is))],
            write: vec![(self.key.clone(), Some(text.clone()))],
        };
        let committed = self.on.commit(batch).await?;
        if committed == Committed::Done {
            *self.held.lock().await = text;
        }
        Ok(committed)
    }

    async fn release(&self) -> Result<(), StoreError> {
        let Some(found) = self.on.get(&self.key).await?.filter(|text| self.is_ours(text)) else {
            return Ok(());
        };
        let batch = Batch {
            expect: vec![(self.key.clone(), Expect::Is(found))],
            write: vec![(self.key.clone(), None)],
        };
        self.on.commit(batch).await.map(drop)
    }

    fn is_ours(&self, text: &[u8]) -> bool {
        serde_json::from_slice::<Note>(text).is_ok_and(|note| note.place == self.place)
    }
}

/// Names the running kernel and the folder; `None` where that cannot be told.
fn place(dir: &Path) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let folder = fs::metadata(dir).ok()?;
    Some(format!("{}/{}/{}", boot.trim(), folder.dev(), folder.ino()))
}
