//! What several nodes have in common beside their records: the keyring, and each other's names.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::app::open::OpenError;
use crate::audit;
use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::kernel::secret::SecretString;
use crate::store::{Backend, Batch, Committed, Expect, PostgresBackend};
use crate::vault::{self, RootKey, Vault};

/// Where the wrapped keyring lies in the database, as in each node's own file.
pub(super) const KEYRING: &[u8] = b"m/keyring";
/// What was in the keyring's place and did not open, before the database's took it.
const KEPT_KEYRING: &str = "keyring.json.replaced";
/// Says that the database is being filled, and by which attempt. It goes when the keyring comes.
pub(super) const FILLING: &[u8] = b"m/filling";
/// The file that holds a node's name. It must not be copied to another node.
const NODE_FILE: &str = "node";

/// A node that has joined.
pub(super) struct Joined {
    pub(super) vault: Vault,
    pub(super) backend: Arc<dyn Backend>,
    /// Its name, the same at every start.
    pub(super) node: String,
}

/// Opens the database and, with it, the keyring that all nodes share. A node that has none yet takes the
/// database's: what it needs of its own is the root key.
///
/// # Errors
/// When the database was not set up, belongs to another deployment, or the root key does not open its keyring.
pub(super) async fn join(
    url: &SecretString,
    dir: &Path,
    root: &RootKey,
    entropy: &Arc<dyn Entropy>,
) -> Result<Joined, OpenError> {
    let backend = PostgresBackend::open(url, Arc::clone(entropy))?;
    let Some(shared) = backend.get(KEYRING).await? else {
        return Err(OpenError::Keyring(format!(
            "the database `{}` was not set up: run `valetkey init` with it, or move a store into it with \
             `valetkey vault migrate`",
            backend.shown()
        )));
    };
    let own = dir.join(vault::KEYRING_FILE);
    let of_file = read(&own)?;
    let vault = match &of_file {
        None => {
            write(dir, vault::KEYRING_FILE, &shared)?;
            Vault::open(dir, root, Arc::clone(entropy))?
        }
        Some(text) if *text == shared => Vault::open(dir, root, Arc::clone(entropy))?,
        Some(text) => reconcile(&backend, dir, root, entropy, text, &shared).await?,
    };
    let node = node(dir, entropy.as_ref())?;
    Ok(Joined { vault, backend: Arc::new(backend), node })
}

/// Puts a new deployment's keyring into its database.
///
/// # Errors
/// When the database belongs to another deployment.
pub(super) async fn publish(backend: &PostgresBackend, dir: &Path) -> Result<(), OpenError> {
    let own = dir.join(vault::KEYRING_FILE);
    let text = own_keyring(dir)?;
    let batch = Batch {
        expect: vec![
            (Bytes::from_static(KEYRING), Expect::Absent),
            (Bytes::from_static(FILLING), Expect::Absent),
        ],
        write: vec![(Bytes::from_static(KEYRING), Some(text.clone()))],
    };
    if backend.commit(batch).await? == Committed::Done || backend.get(KEYRING).await? == Some(text) {
        return Ok(());
    }
    Err(other_deployment(backend, &own))
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

/// The two differ: one of them has terms that the other does not know yet. The one with more is right, and
/// becomes everybody's; what was sealed under its newest term could not be read without it.
async fn reconcile(
    backend: &PostgresBackend,
    dir: &Path,
    root: &RootKey,
    entropy: &Arc<dyn Entropy>,
    own: &Bytes,
    shared: &Bytes,
) -> Result<Vault, OpenError> {
    let place = dir.join(vault::KEYRING_FILE);
    let open = |text: &Bytes| {
        let text = String::from_utf8_lossy(text);
        Vault::open_text(&place, &text, root, Arc::clone(entropy))
    };
    let (ours, theirs) = (open(own), open(shared));
    let newest = |vault: &Vault| vault.terms().iter().map(|term| term.term).max();
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if ours.deployment() != theirs.deployment() => {
            Err(other_deployment(backend, &place))
        }
        (Ok(ours), Ok(theirs)) if newest(&ours) > newest(&theirs) => {
            let batch = Batch {
                expect: vec![(Bytes::from_static(KEYRING), Expect::Is(shared.clone()))],
                write: vec![(Bytes::from_static(KEYRING), Some(own.clone()))],
            };
            if backend.commit(batch).await? == Committed::Conflict {
                return Err(OpenError::Keyring(
                    "the keyring in the database is being changed by another node: start again".to_owned(),
                ));
            }
            Ok(Vault::open(dir, root, Arc::clone(entropy))?)
        }
        (ours, Ok(_)) => {
            // Our own is under another root key, or its seal did not answer just now: it may have the newest term.
            if ours.is_err() {
                write(dir, KEPT_KEYRING, own)?;
            }
            write(dir, vault::KEYRING_FILE, shared)?;
            Ok(Vault::open(dir, root, Arc::clone(entropy))?)
        }
        (_, Err(error)) => Err(error.into()),
    }
}

fn other_deployment(backend: &PostgresBackend, own: &Path) -> OpenError {
    OpenError::Keyring(format!(
        "the database `{}` belongs to another deployment than `{}`: name another database, or use the folder \
         that belongs to this one",
        backend.shown(),
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
