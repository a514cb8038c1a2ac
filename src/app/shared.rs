//! What several nodes have in common beside their records: the keyring, and each other's names.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use crate::app::open::OpenError;
use crate::audit;
use crate::custody::shared_keys::{KEYRING, SharedKeys, published};
use crate::custody::spooled;
use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::kernel::secret::SecretString;
use crate::model::sealed::Sealer as _;
use crate::store::{Backend, Batch, Committed, Expect, FolderLock, PostgresBackend};
use crate::vault::{self, RootKey, Vault};

/// What was in the keyring's place and did not open, before the database's took it; a name for what it holds follows.
const KEPT_KEYRING: &str = "keyring.json.replaced";
/// Says that the database is being filled, and by which attempt. It goes when the keyring comes.
pub(super) const FILLING: &[u8] = b"m/filling";
/// The file that holds a node's name. It must not be copied to another node.
const NODE_FILE: &str = "node";

/// A node that has joined.
pub(super) struct Joined {
    pub(super) vault: Arc<Vault>,
    pub(super) keys: Arc<SharedKeys>,
    /// Its name, the same at every start.
    pub(super) node: String,
}

/// Opens the database and, with it, the keyring that all nodes share. A node that has none yet takes the
/// database's: what it needs of its own is the root key.
///
/// # Errors
/// When another process uses the folder, the database was not set up, belongs to another deployment, or the root
/// key does not open its keyring.
pub(super) async fn join(
    url: &SecretString,
    dir: &Path,
    root: &RootKey,
    entropy: &Arc<dyn Entropy>,
) -> Result<Joined, OpenError> {
    let backend = PostgresBackend::open(url, Arc::clone(entropy))?;
    // Before anything is made in the folder: a backup may be restored into none but an empty one.
    let Some(shared) = backend.get(KEYRING).await? else {
        return Err(not_set_up(backend.shown()));
    };
    let folder = FolderLock::take(dir)?;
    let (vault, shared) = match read(&dir.join(vault::KEYRING_FILE))? {
        Some(own) if own != shared => reconcile(&backend, dir, root, entropy, &own, shared).await?,
        own => {
            let vault = open_shared(dir, &shared, None, root, entropy)?;
            if own.is_none() {
                write(dir, vault::KEYRING_FILE, &shared)?;
            }
            (vault, shared)
        }
    };
    let (vault, node) = (Arc::new(vault), node(dir, entropy.as_ref())?);
    let keys = SharedKeys::new(Arc::new(backend), Arc::clone(&vault), shared, dir, folder);
    Ok(Joined { vault, keys: Arc::new(keys), node })
}

/// Whether the root key opens the keyring in the database, and that is the folder's deployment. Only looked at, at
/// both ends: nodes may run.
///
/// # Errors
/// When it does not, or that cannot be told.
pub(super) fn examine(
    url: &SecretString,
    dir: &Path,
    root: &RootKey,
    entropy: &Arc<dyn Entropy>,
) -> Result<(), OpenError> {
    let (shared, database) = PostgresBackend::glance(url, KEYRING)?;
    let shared = shared.ok_or_else(|| not_set_up(&database))?;
    let place = dir.join(vault::KEYRING_FILE);
    if read(&place)?.is_some_and(|own| is_foreign(&own, &shared)) {
        return Err(other_deployment(&database, &place));
    }
    open_shared(dir, &shared, None, root, entropy).map(drop)
}

fn open_shared(
    dir: &Path,
    shared: &Bytes,
    own: Option<&Bytes>,
    root: &RootKey,
    entropy: &Arc<dyn Entropy>,
) -> Result<Vault, OpenError> {
    let own = own.map(|own| String::from_utf8_lossy(own));
    let shared = String::from_utf8_lossy(shared);
    Ok(Vault::open_shared(dir, &shared, own.as_deref(), root, Arc::clone(entropy))?)
}

fn not_set_up(database: &str) -> OpenError {
    OpenError::Keyring(format!(
        "the database `{database}` was not set up: run `valetkey init` with it, or move a store into it with \
         `valetkey vault migrate`"
    ))
}

/// What became of a node's own copy of the keyring, when the root key was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrapped {
    /// It is under the new root key, or there is none.
    Wrapped,
    /// It stays as it is: neither root key opens it. It is under a third one, or damaged.
    Left,
}

/// Wraps the keyring in the database under another root key, and this node's copy. Each that is under the new one
/// already stays as it is, so that this can be done at every node, and again after a kill.
///
/// # Errors
/// When neither root key opens the database's, the new one cannot be had, the copy is another deployment's, or
/// another process uses the folder.
pub(super) async fn rekey(
    url: &SecretString,
    dir: &Path,
    old: &RootKey,
    new: &RootKey,
    entropy: &Arc<dyn Entropy>,
) -> Result<Rewrapped, OpenError> {
    let _folder = FolderLock::take(dir)?;
    let backend = PostgresBackend::open(url, Arc::clone(entropy))?;
    let place = dir.join(vault::KEYRING_FILE);
    let own = read(&place)?;
    loop {
        let shared = backend.get(KEYRING).await?.ok_or_else(|| not_set_up(backend.shown()))?;
        if own.as_ref().is_some_and(|own| is_foreign(own, &shared)) {
            return Err(other_deployment(backend.shown(), &place));
        }
        let text = String::from_utf8_lossy(&shared);
        let next = match Vault::rewrapped(&place, &text, old, new, entropy.as_ref()) {
            Ok(next) => next,
            // Another node was first, or this one, before it was killed.
            Err(_) if open_shared(dir, &shared, None, new, entropy).is_ok() => break,
            Err(error) => return Err(error.into()),
        };
        let batch = Batch {
            expect: vec![(Bytes::from_static(KEYRING), Expect::Is(shared.clone()))],
            write: vec![(Bytes::from_static(KEYRING), Some(next.into()))],
        };
        // Else a running broker has rotated meanwhile: what it has put there is wrapped instead.
        if backend.commit(batch).await? == Committed::Done {
            break;
        }
    }
    // Killed before this, the next start says that it is to be done again, if the copy may be needed.
    own.map_or(Ok(Rewrapped::Wrapped), |own| rekey_copy(dir, &own, old, new, entropy))
}

fn rekey_copy(
    dir: &Path,
    own: &Bytes,
    old: &RootKey,
    new: &RootKey,
    entropy: &Arc<dyn Entropy>,
) -> Result<Rewrapped, OpenError> {
    match Vault::rekey(dir, old, new, entropy.as_ref()) {
        Ok(()) => Ok(Rewrapped::Wrapped),
        Err(_) if open_shared(dir, own, None, new, entropy).is_ok() => Ok(Rewrapped::Wrapped),
        Err(error) if error.is_mismatch() => Ok(Rewrapped::Left),
        Err(error) => Err(error.into()),
    }
}

/// Puts a new deployment's keyring into its database, if there is none.
///
/// # Errors
/// When the database is being filled by another deployment.
pub(super) async fn publish(backend: &PostgresBackend, dir: &Path) -> Result<(), OpenError> {
    let own = dir.join(vault::KEYRING_FILE);
    let text = own_keyring(dir)?;
    let batch = Batch {
        expect: vec![
            (Bytes::from_static(KEYRING), Expect::Absent),
            (Bytes::from_static(FILLING), Expect::Absent),
        ],
        write: vec![(Bytes::from_static(KEYRING), Some(text))],
    };
    if backend.commit(batch).await? == Committed::Done || backend.get(KEYRING).await?.is_some() {
        return Ok(());
    }
    Err(other_deployment(backend.shown(), &own))
}

/// The keyring in a data folder, as it is wrapped.
///
/// # Errors
/// When there is none.
pub(super) fn own_keyring(dir: &Path) -> Result<Bytes, OpenError> {
    let path = dir.join(vault::KEYRING_FILE);
    read(&path)?.ok_or(OpenError::Vault(vault::VaultError::Missing { path }))
}

/// The keyring that the database has, for a node that is set up beside others; says whether there is one.
///
/// # Errors
/// When it cannot be read or written.
pub(super) async fn fetch(backend: &PostgresBackend, dir: &Path) -> Result<bool, OpenError> {
    let Some(shared) = backend.get(KEYRING).await? else { return Ok(false) };
    if read(&dir.join(vault::KEYRING_FILE))?.is_none() {
        write(dir, vault::KEYRING_FILE, &shared)?;
    }
    Ok(true)
}

/// The two differ. The database's is right: a term is used when it lies there, and forgotten when it does not any
/// more. Only what a release from before that has left here, or a database that was put back, has fewer terms
/// than it should; what was sealed under the newest could not be read without it.
async fn reconcile(
    backend: &PostgresBackend,
    dir: &Path,
    root: &RootKey,
    entropy: &Arc<dyn Entropy>,
    own: &Bytes,
    shared: Bytes,
) -> Result<(Vault, Bytes), OpenError> {
    let place = dir.join(vault::KEYRING_FILE);
    let theirs = open_shared(dir, &shared, None, root, entropy)?;
    // Before anything is written: the folder may be that of a deployment which has its only keyring there.
    if is_foreign(own, &shared) {
        return Err(other_deployment(backend.shown(), &place));
    }
    let ours = match open_shared(dir, own, None, root, entropy) {
        Ok(ours) => ours,
        Err(OpenError::Vault(error)) if error.is_mismatch() => {
            set_aside(dir, own, &shared)?;
            return Ok((theirs, shared));
        }
        // Its seal does not answer just now: it may have the newest term.
        Err(error) => {
            return Err(OpenError::Keyring(format!(
                "`{}` is not the database's keyring, and whether it has a newer term cannot be told: {error}",
                place.display()
            )));
        }
    };
    if let Some(term) = theirs.disputed(&ours) {
        return Err(vault::VaultError::Disputed { term }.into());
    }
    let shared = if ours.active_term() > theirs.active_term() {
        let next = Bytes::from(theirs.text_with_terms_of(&ours)?);
        let batch = published(Some(shared), next.clone(), ours.active_term());
        if backend.commit(batch).await? == Committed::Conflict {
            return Err(OpenError::Keyring(
                "the keyring in the database is being changed by another node: start again".to_owned(),
            ));
        }
        next
    } else {
        shared
    };
    if spooled::is_empty(dir) {
        write(dir, vault::KEYRING_FILE, &shared)?;
        return Ok((open_shared(dir, &shared, None, root, entropy)?, shared));
    }
    // What lies there may be sealed under a term that was retired while this node was away: the copy has the terms of both.
    let both = open_shared(dir, &shared, Some(own), root, entropy)?;
    both.keep(&both.keyring_text()?)?;
    Ok((both, shared))
}

/// Puts the database's keyring in the place of one that does not open, and keeps that. Not while there are answers
/// in the spool: it may hold the only copy of the term that they are sealed under.
fn set_aside(dir: &Path, own: &Bytes, shared: &Bytes) -> Result<(), OpenError> {
    let place = dir.join(vault::KEYRING_FILE);
    if !spooled::is_empty(dir) {
        return Err(OpenError::Keyring(format!(
            "the root key does not open `{}`, and answers of providers lie in this node's spool that may need a \
             key term which is in there alone: run `valetkey vault rekey` here, with the settings that this node \
             ran with until now. Where that cannot be, move the file away: the users concerned consent again",
            place.display()
        )));
    }
    let digest = encode::hex(digest(&SHA256, own).as_ref());
    let kept = format!("{KEPT_KEYRING}-{}", digest.get(..8).unwrap_or_default());
    write(dir, &kept, own)?;
    write(dir, vault::KEYRING_FILE, shared)?;
    tracing::warn!(
        "the root key does not open `{}`: the database's keyring is in its place, and it is kept as `{kept}`",
        place.display()
    );
    Ok(())
}

/// Whether two wrapped keyrings name different deployments.
fn is_foreign(own: &Bytes, shared: &Bytes) -> bool {
    let named = |text: &Bytes| vault::named_deployment(&String::from_utf8_lossy(text));
    named(own).is_some_and(|own| Some(own) != named(shared))
}

fn other_deployment(database: &str, own: &Path) -> OpenError {
    OpenError::Keyring(format!(
        "the database `{database}` belongs to another deployment than `{}`: name another database, or use the \
         folder that belongs to this one",
        own.display()
    ))
}

/// This node's name: made once, and kept. A log that names a node, such as one out of a backup, is that node's.
fn node(dir: &Path, entropy: &dyn Entropy) -> Result<String, OpenError> {
    if let Some(text) = read(&dir.join(NODE_FILE))? {
        let name = String::from_utf8_lossy(&text).trim().to_owned();
        if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(name);
        }
    }
    let name =
        audit::node_of(&dir.join("audit")).unwrap_or_else(|| encode::hex(&entropy::bytes::<8>(entropy)));
    write(dir, NODE_FILE, format!("{name}\n").as_bytes())?;
    Ok(name)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path: PathBuf = path.to_owned();
    move |source| OpenError::Secret { path, source }
}

fn read(path: &Path) -> Result<Option<Bytes>, OpenError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(Bytes::from(text))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(path)(e)),
    }
}

/// Writes a file whole or not at all; only its owner may read it.
fn write(dir: &Path, name: &str, text: &[u8]) -> Result<(), OpenError> {
    let (path, partial) = (dir.join(name), dir.join(format!(".{name}.new")));
    let written = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        fs::File::open(dir)?.sync_all()
    };
    written().map_err(failed(&path))
}
