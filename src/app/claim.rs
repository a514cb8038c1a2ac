//! A node's name is one process's at a time.
//!
//! Two brokers with one name, because a data folder was copied to another machine, would take each other's work for
//! their own and dial twice. So the name is claimed in the database, and the claim renewed every few seconds: each
//! renewal puts the next text in the place of exactly the one before. Whoever finds another's claim watches it: one that
//! changes is held, one that does not for longer than a renewal takes is left over. No clock is asked. Who finds its
//! own claim replaced does the same, since a database that was put back shows old claims, too: it ends with the other's
//! next renewal, seconds later, and works until then.
//!
//! A machine that was cloned while it ran has two processes with one memory, which hold the same claim. The renewals
//! count, and each is random: whoever finds one in its own name that it has not made, and that is not older than its own,
//! has a twin and ends. One that is older was put back with the database.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
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

/// The last two texts of the claim, in the data folder, for the next start in the same place.
const FILE: &str = "claim";
const PARTIAL: &str = "claim.partial";
/// How long a renewal waits for the disk to note them.
const NOTING: Duration = Duration::from_secs(1);

/// What lies in the database.
#[derive(Serialize, Deserialize)]
struct Note {
    /// Random, one for each process.
    #[serde(default)]
    holder: String,
    /// How often it was renewed.
    #[serde(default)]
    beat: u32,
    /// Random, another one with every renewal.
    renewal: String,
    place: String,
    /// For messages.
    host: String,
    process: u32,
}

impl Note {
    fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// What this process has put into the database.
#[derive(Clone, Default)]
struct Held {
    text: Bytes,
    beat: u32,
    /// What was sent and not answered: it may lie there. It is sent again, so that there is only one.
    tried: Option<Bytes>,
}

struct Inner {
    on: Arc<SharedKeys>,
    entropy: Arc<dyn Entropy>,
    key: Bytes,
    data_dir: PathBuf,
    /// The running kernel and the data folder. Whoever starts in the same place is alone there: the folder is locked.
    place: String,
    holder: String,
    held: Mutex<Held>,
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
        let inner = Arc::new(Inner::new(on, entropy, node, data_dir));
        inner.take(node).await?;
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
        match self.inner.release().await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                "this node's name is not given back: another claim than this broker's lies there, or none"
            ),
            Err(error) => {
                tracing::warn!(%error, "this node's name could not be given back; the next start elsewhere waits for it");
            }
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
    fn new(on: Arc<SharedKeys>, entropy: Arc<dyn Entropy>, node: &str, data_dir: &Path) -> Self {
        let random = || encode::hex(&entropy::bytes::<16>(&*entropy));
        Self {
            key: Bytes::from(format!("{PREFIX}{node}")),
            data_dir: data_dir.to_owned(),
            place: place(data_dir).unwrap_or_else(random),
            holder: random(),
            on,
            entropy,
            held: Mutex::default(),
            lost: Latch::default(),
        }
    }

    async fn take(&self, node: &str) -> Result<(), ServeError> {
        let left_here = self.left_here();
        // INVARIANT: the same place alone does not make a claim ours. A machine that was cloned is the same place, and its
        // twin renews what is not noted here.
        let is_ours = |text: &Bytes| {
            left_here.iter().any(|noted| noted.as_bytes() == text)
                && Note::read(text).is_some_and(|note| note.place == self.place)
        };
        let mut seen = self.on.get(&self.key).await?;
        let since = Instant::now();
        let mut is_told = false;
        loop {
            let is_free = seen.as_ref().is_none_or(is_ours) || since.elapsed() >= LEASE;
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
            if let Some(text) = found.as_ref().filter(|text| seen.as_ref() != Some(*text)) {
                return Err(ServeError::Claimed {
                    node: node.to_owned(),
                    holder: Note::read(text)
                        .map(|note| format!(" (process {} on `{}`)", note.process, note.host))
                        .unwrap_or_default(),
                });
            }
            seen = found;
        }
    }

    /// Renews the claim; says whether it is still ours.
    async fn renew(&self) -> Result<bool, StoreError> {
        loop {
            if let Some(is_ours) = self.renew_what_lies_there().await? {
                return Ok(is_ours);
            }
        }
    }

    /// Nothing when somebody wrote between a look and a write: what lies there now has to be looked at.
    async fn renew_what_lies_there(&self) -> Result<Option<bool>, StoreError> {
        let held = self.held.lock().await.clone();
        if self.write(Some(held.text.clone())).await? == Committed::Done {
            return Ok(Some(true));
        }
        let found = self.on.get(&self.key).await?;
        let Some(text) = &found else {
            // The database was put back to before our time, or somebody who had the name gave it back.
            return Ok((self.write(None).await? == Committed::Done).then_some(true));
        };
        if held.tried.as_ref() == Some(text) {
            // Ours, whose answer was lost. The next renewal goes on from there.
            let beat = held.beat.saturating_add(1);
            *self.held.lock().await = Held { text: text.clone(), beat, tried: None };
            return Ok(Some(true));
        }
        match Note::read(text) {
            // The database was put back.
            Some(note) if note.holder == self.holder && note.beat < held.beat => {
                Ok((self.write(found).await? == Committed::Done).then_some(true))
            }
            Some(note) if note.holder == self.holder => Ok(Some(false)),
            _ => self.outlast(found).await.map(Some),
        }
    }

    /// Another's claim: of before our time, if the database was put back, and then nobody renews it.
    async fn outlast(&self, found: Option<Bytes>) -> Result<bool, StoreError> {
        let since = Instant::now();
        while since.elapsed() < LEASE {
            tokio::time::sleep(LOOK).await;
            if self.on.get(&self.key).await? != found {
                return Ok(false);
            }
        }
        Ok(self.write(found).await? == Committed::Done)
    }

    /// Puts the next text in the place of `former`.
    async fn write(&self, former: Option<Bytes>) -> Result<Committed, StoreError> {
        let mut held = self.held.lock().await;
        let beat = held.beat.saturating_add(1);
        let text = held.tried.clone().unwrap_or_else(|| self.text(beat));
        self.note_here([held.text.clone(), text.clone()]).await;
        let batch = Batch {
            expect: vec![(self.key.clone(), former.map_or(Expect::Absent, Expect::Is))],
            write: vec![(self.key.clone(), Some(text.clone()))],
        };
        // INVARIANT: noted before it is sent. Whoever is broken off while this waits leaves a commit that is carried out.
        let tried = held.tried.replace(text.clone());
        let committed = self.on.commit(batch).await;
        match committed {
            Ok(Committed::Done) => *held = Held { text, beat, tried: None },
            Ok(Committed::Conflict) => held.tried = tried,
            Err(_) => {}
        }
        committed
    }

    fn text(&self, beat: u32) -> Bytes {
        let note = Note {
            holder: self.holder.clone(),
            beat,
            renewal: encode::hex(&entropy::bytes::<16>(&*self.entropy)),
            place: self.place.clone(),
            host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            process: std::process::id(),
        };
        serde_json::to_vec(&note).unwrap_or_default().into()
    }

    /// Removes the claim; says whether it was there.
    async fn release(&self) -> Result<bool, StoreError> {
        let held = self.held.lock().await.clone();
        for text in [Some(held.text), held.tried].into_iter().flatten() {
            let batch = Batch {
                expect: vec![(self.key.clone(), Expect::Is(text))],
                write: vec![(self.key.clone(), None)],
            };
            if self.on.commit(batch).await? == Committed::Done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a former process in this folder had put into the database, or was about to.
    fn left_here(&self) -> Vec<String> {
        let text = fs::read_to_string(self.data_dir.join(FILE)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Notes what lies in the database and what will lie there. A start that finds neither waits, so nothing depends on it.
    async fn note_here(&self, texts: [Bytes; 2]) {
        let dir = self.data_dir.clone();
        let noting = tokio::task::spawn_blocking(move || {
            let partial = dir.join(PARTIAL);
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
            file.write_all(&texts.join(b"\n".as_slice()))?;
            fs::rename(&partial, dir.join(FILE))
        });
        // A disk that hangs does not cost the name.
        match tokio::time::timeout(NOTING, noting).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::debug!(%error, "the claim is not noted in the data folder"),
            Ok(Err(_)) | Err(_) => tracing::debug!("the claim is not noted in the data folder in time"),
        }
    }
}

/// Names the running kernel and the folder; `None` where that cannot be told.
fn place(dir: &Path) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let folder = fs::metadata(dir).ok()?;
    Some(format!("{}/{}/{}", boot.trim(), folder.dev(), folder.ino()))
}

#[cfg(test)]
mod tests;
