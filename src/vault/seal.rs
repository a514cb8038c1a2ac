//! Root keys: where the key that wraps the keyring comes from.

mod key_file;
mod passphrase;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::kernel::secret::SecretString;
use crate::vault::envelope;

pub use crate::vault::seal::key_file::create_key_file;
pub use crate::vault::seal::passphrase::PassphraseParams;

pub(super) type RootBytes = Zeroizing<[u8; 32]>;

/// Where the root key comes from.
#[derive(Debug)]
pub enum RootKey {
    /// A file with 64 hexadecimal digits that only its owner may read.
    KeyFile(PathBuf),
    /// A passphrase, stretched by Argon2id.
    Passphrase {
        /// What was typed.
        passphrase: SecretString,
        /// How hard to stretch it when a keyring is created. An existing keyring is opened with the
        /// parameters that it was created with.
        params: PassphraseParams,
    },
}

impl RootKey {
    /// A passphrase with the default parameters.
    pub fn passphrase(passphrase: SecretString) -> Self {
        Self::Passphrase { passphrase, params: PassphraseParams::default() }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::KeyFile(_) => KEY_FILE,
            Self::Passphrase { .. } => PASSPHRASE,
        }
    }
}

const KEY_FILE: &str = "key file";
const PASSPHRASE: &str = "passphrase";

/// A root key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The key file cannot be read.
    #[error("the key file `{}` cannot be used: {problem}", .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The passphrase can be guessed.
    #[error("the passphrase is too short: use at least 16 characters, such as six random words")]
    ShortPassphrase,
    /// The parameters are below the floor, given or stored.
    #[error(
        "the passphrase parameters (memory {memory_kib} KiB, {passes} passes, {lanes} lanes) are outside what \
         is allowed: at least 65536 KiB and 3 passes, one lane, at most 4 GiB and 100 passes"
    )]
    Params {
        /// Memory.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// The stored salt is not one.
    #[error("the keyring's salt is not 16 bytes in base64url")]
    BadSalt,
    /// Argon2 failed, for want of memory.
    #[error("the root key could not be derived from the passphrase: {problem}")]
    Derivation {
        /// Why.
        problem: String,
    },
}

/// How the root key is made: stored beside the wrapped keyring, and authenticated with it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum RootRecipe {
    KeyFile {},
    Passphrase {
        algorithm: Argon2id,
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        /// 16 bytes, base64url.
        salt: String,
    },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Argon2id {
    #[serde(rename = "argon2id")]
    V13,
}

impl RootRecipe {
    /// The recipe for a keyring that is being created.
    pub(super) fn for_new(root: &RootKey, entropy: &dyn Entropy) -> Result<Self, RootKeyError> {
        match root {
            RootKey::KeyFile(_) => Ok(Self::KeyFile {}),
            RootKey::Passphrase { passphrase, params } => {
                if passphrase.expose().chars().count() < 16 {
                    return Err(RootKeyError::ShortPassphrase);
                }
                Ok(Self::Passphrase {
                    algorithm: Argon2id::V13,
                    memory_kib: params.memory_kib,
                    passes: params.passes,
                    lanes: params.lanes,
                    salt: encode::base64url(&entropy::bytes::<16>(entropy)),
                })
            }
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::KeyFile {} => KEY_FILE,
            Self::Passphrase { .. } => PASSPHRASE,
        }
    }

    /// The root key. The floor on parameters holds for stored ones as well: they are never lowered.
    pub(super) fn derive(&self, root: &RootKey) -> Result<RootBytes, RootKeyError> {
        match (self, root) {
            (
                Self::Passphrase { algorithm: Argon2id::V13, memory_kib, passes, lanes, salt },
                RootKey::Passphrase { passphrase, .. },
            ) => {
                let salt = encode::from_base64url(salt)
                    .filter(|salt| salt.len() == 16)
                    .ok_or(RootKeyError::BadSalt)?;
                let params = PassphraseParams { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
                passphrase::derive(passphrase, params, &salt)
            }
            (Self::KeyFile {}, RootKey::KeyFile(path)) => key_file::read(path),
            (Self::KeyFile {}, RootKey::Passphrase { .. })
            | (Self::Passphrase { .. }, RootKey::KeyFile(_)) => {
                // The caller compares the kinds first, to say which was expected.
                Err(RootKeyError::Derivation { problem: "the kinds of root key differ".to_owned() })
            }
        }
    }

    /// The bytes that are authenticated.
    pub(super) fn canonical(&self) -> Vec<u8> {
        match self {
            Self::KeyFile {} => envelope::aad(&[b"key_file"]),
            Self::Passphrase { algorithm: Argon2id::V13, memory_kib, passes, lanes, salt } => {
                envelope::aad(&[
                    b"passphrase",
                    b"argon2id v19",
                    &memory_kib.to_be_bytes(),
                    &passes.to_be_bytes(),
                    &lanes.to_be_bytes(),
                    salt.as_bytes(),
                ])
            }
        }
    }
}

fn key_file_error(path: &Path, problem: impl Into<String>) -> RootKeyError {
    RootKeyError::KeyFile { path: path.to_owned(), problem: problem.into() }
}
