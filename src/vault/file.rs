//! `keyring.json`: the wrapped keyring and, in the clear but authenticated, how its root key is made.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::kernel::entropy::Entropy;
use crate::kernel::ids::DeploymentId;
use crate::model::sealed::Sealed;
use crate::vault::keyring::Keyring;
use crate::vault::seal::{RootKey, RootRecipe};
use crate::vault::{VaultError, envelope};

const FORMAT: u32 = 1;
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

/// Wraps a keyring under the root key.
pub(super) fn wrap(
    deployment: &DeploymentId,
    keyring: &Keyring,
    root: &RootKey,
    entropy: &dyn Entropy,
) -> Result<KeyringFile, VaultError> {
    let recipe = RootRecipe::for_new(root, entropy)?;
    let key = recipe.derive(root)?;
    let aad = aad(deployment, &recipe);
    let wrapped = envelope::seal(&key, 0, &aad, keyring.encode().expose(), entropy);
    Ok(KeyringFile {
        format: FORMAT,
        deployment: deployment.clone(),
        root: recipe,
        wrapped: Sealed::from_bytes(wrapped),
    })
}

/// Unwraps a keyring. Every way in which key and file do not fit reads the same.
pub(super) fn unwrap(path: &Path, text: &str, root: &RootKey) -> Result<(DeploymentId, Keyring), VaultError> {
    let problem = |problem: String| VaultError::Format { path: path.to_owned(), problem };
    let file: KeyringFile = serde_json::from_str(text).map_err(|e| problem(e.to_string()))?;
    if file.format != FORMAT {
        return Err(problem(format!("its format is {}, this version knows {FORMAT}", file.format)));
    }
    if file.root.kind() != root.kind() {
        return Err(VaultError::OtherKind { expected: file.root.kind(), given: root.kind() });
    }
    let key = file.root.derive(root)?;
    let plain = envelope::open(&key, &aad(&file.deployment, &file.root), file.wrapped.as_bytes())
        .map_err(|_| VaultError::WrongRootKey)?;
    let keyring = Keyring::decode(plain.expose()).ok_or(VaultError::WrongRootKey)?;
    Ok((file.deployment, keyring))
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

/// Writes the keyring whole or not at all, and never over another one.
pub(super) fn write_new(dir: &Path, path: &Path, file: &KeyringFile) -> Result<(), VaultError> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => VaultError::Exists { path: path.to_owned() },
        _ => VaultError::File { path: path.to_owned(), problem: e.to_string() },
    };
    let mut text = serde_json::to_string_pretty(file)
        .map_err(|e| VaultError::File { path: path.to_owned(), problem: e.to_string() })?;
    text.push('\n');
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
