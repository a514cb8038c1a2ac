//! `keyring.json`: the wrapped keyring and, in the clear but authenticated, how its root key is made.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kernel::entropy::Entropy;
use crate::kernel::ids::DeploymentId;
use crate::kernel::secret::SecretBytes;
use crate::model::sealed::Sealed;
use crate::vault::keyring::Keyring;
use crate::vault::seal::{RootBytes, RootRecipe, Seal};
use crate::vault::{VaultError, envelope};

const FORMAT: u32 = 1;
/// The keyring as it was before its root key was changed.
const FORMER: &str = "keyring.json.before";
/// A keyring of thousands of terms is smaller than this; anything bigger is not one.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyringFile {
    format: u32,
    deployment: DeploymentId,
    root: RootRecipe,
    wrapped: Sealed,
}

/// A root key, and how it is found again.
pub(super) struct Root {
    pub(super) recipe: RootRecipe,
    pub(super) key: RootBytes,
}

/// Wraps an encoded keyring under a root key.
pub(super) fn wrap(
    deployment: &DeploymentId,
    keyring: &SecretBytes,
    root: &Root,
    entropy: &dyn Entropy,
) -> KeyringFile {
    let aad = aad(deployment, &root.recipe);
    let wrapped = envelope::seal(&root.key, 0, &aad, keyring.expose(), entropy);
    KeyringFile {
        format: FORMAT,
        deployment: deployment.clone(),
        root: root.recipe.clone(),
        wrapped: Sealed::from_bytes(wrapped),
    }
}

/// What a keyring's file holds.
pub(super) struct Unwrapped {
    pub(super) deployment: DeploymentId,
    pub(super) keyring: Keyring,
    pub(super) root: Root,
}

/// The deployment that a keyring names, whether it opens or not.
pub(super) fn named_deployment(text: &str) -> Option<DeploymentId> {
    serde_json::from_str::<KeyringFile>(text).ok().map(|file| file.deployment)
}

/// Unwraps a keyring. Every way in which key and file do not fit reads the same.
pub(super) fn unwrap(path: &Path, text: &str, seal: &dyn Seal) -> Result<Unwrapped, VaultError> {
    let problem = |problem: String| VaultError::Format { path: path.to_owned(), problem };
    let file: KeyringFile = serde_json::from_str(text).map_err(|e| problem(e.to_string()))?;
    if file.format != FORMAT {
        return Err(problem(format!("its format is {}, this version knows {FORMAT}", file.format)));
    }
    if file.root.kind() != seal.kind() {
        return Err(VaultError::OtherKind { expected: file.root.kind(), given: seal.kind() });
    }
    let key = seal.recover(&file.root)?;
    with_key(file, key)
}

/// Unwraps a keyring that lies under a root key which is at hand.
pub(super) fn unwrap_again(path: &Path, text: &str, root: &Root) -> Result<Unwrapped, VaultError> {
    let problem = |e: serde_json::Error| VaultError::Format { path: path.to_owned(), problem: e.to_string() };
    let file: KeyringFile = serde_json::from_str(text).map_err(problem)?;
    if file.format != FORMAT || file.root.canonical() != root.recipe.canonical() {
        return Err(VaultError::WrongRootKey);
    }
    with_key(file, root.key.clone())
}

fn with_key(file: KeyringFile, key: RootBytes) -> Result<Unwrapped, VaultError> {
    let plain = envelope::open(&key, &aad(&file.deployment, &file.root), file.wrapped.as_bytes())
        .map_err(|_| VaultError::WrongRootKey)?;
    let keyring = Keyring::decode(plain.expose()).ok_or(VaultError::WrongRootKey)?;
    Ok(Unwrapped { deployment: file.deployment, keyring, root: Root { recipe: file.root, key } })
}

/// The recipe is part of what is authenticated: a weakened copy of it does not open the keyring.
fn aad(deployment: &DeploymentId, recipe: &RootRecipe) -> Vec<u8> {
    let recipe = recipe.canonical();
    envelope::aad(&[b"keyring", &FORMAT.to_be_bytes(), deployment.as_str().as_bytes(), &recipe])
}

/// Reads the keyring's text, and takes away what rights others have to it.
pub(super) fn read(path: &Path) -> Result<String, VaultError> {
    let failed = |e: &io::Error| VaultError::File { path: path.to_owned(), problem: e.to_string() };
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(VaultError::Missing { path: path.to_owned() });
        }
        Err(e) => return Err(failed(&e)),
    };
    if meta.len() > MAX_BYTES {
        return Err(VaultError::Format { path: path.to_owned(), problem: "it is far too long".to_owned() });
    }
    if meta.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|e| failed(&e))?;
    }
    fs::read_to_string(path).map_err(|e| failed(&e))
}

/// A wrapped keyring as it is written.
pub(super) fn text(file: &KeyringFile) -> Result<String, VaultError> {
    let failed = |e: serde_json::Error| VaultError::Format { path: PathBuf::new(), problem: e.to_string() };
    serde_json::to_string_pretty(file).map(|text| text + "\n").map_err(failed)
}

/// Writes the keyring whole or not at all, and never over another one.
pub(super) fn write_new(dir: &Path, path: &Path, file: &KeyringFile) -> Result<(), VaultError> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => VaultError::Exists { path: path.to_owned() },
        _ => VaultError::File { path: path.to_owned(), problem: e.to_string() },
    };
    let text = text(file)?;
    private_folder(dir).map_err(failed)?;
    let name = format!(".keyring.{}.new", file.deployment);
    let temporary = dir.join(&name);
    let written = write_private(&temporary, text.as_bytes())
        // A link, unlike a rename, refuses to replace what another process has just made.
        .and_then(|()| fs::hard_link(&temporary, path))
        .and_then(|()| sync_folder(dir));
    let removed = fs::remove_file(&temporary);
    written.map_err(failed)?;
    removed.map_err(failed)?;
    sync_folder(dir).map_err(failed)
}

/// Puts a keyring, which opens, in the place of the one that is there: written whole, read back, then renamed, so
/// that at every moment there is one that opens.
pub(super) fn replace(dir: &Path, path: &Path, text: &str) -> Result<(), VaultError> {
    let failed = |e: io::Error| VaultError::File { path: path.to_owned(), problem: e.to_string() };
    let temporary = dir.join(".keyring.next");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    write_private(&temporary, text.as_bytes()).map_err(failed)?;
    let written = fs::read_to_string(&temporary).map_err(failed)?;
    if written != text {
        return Err(failed(io::Error::other("what was written does not read back; nothing was changed")));
    }
    fs::rename(&temporary, path).and_then(|()| sync_folder(dir)).map_err(failed)
}

/// Keeps the present keyring beside its place, while another takes it.
pub(super) fn keep_former(dir: &Path, path: &Path) -> Result<(), VaultError> {
    remove_former(dir)?;
    fs::hard_link(path, dir.join(FORMER))
        .and_then(|()| sync_folder(dir))
        .map_err(|e| VaultError::File { path: path.to_owned(), problem: e.to_string() })
}

/// Removes the keyring that [`keep_former`] kept.
pub(super) fn remove_former(dir: &Path) -> Result<(), VaultError> {
    let path = dir.join(FORMER);
    match fs::remove_file(&path) {
        Ok(()) => sync_folder(dir).map_err(|e| VaultError::File { path, problem: e.to_string() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(VaultError::File { path, problem: e.to_string() }),
    }
}

fn private_folder(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Creates a file that only its owner may read, and syncs it.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a created or renamed name durable: syncing the file alone does not.
pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}
