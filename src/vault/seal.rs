//! Seals: where the root key comes from that wraps the keyring.

mod key_file;
mod passphrase;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::kernel::secret::SecretString;
use crate::vault::envelope;

pub use crate::vault::seal::key_file::create_key_file;
pub use crate::vault::seal::passphrase::PassphraseParams;

/// A root key, in memory only.
pub type RootBytes = Zeroizing<[u8; 32]>;

/// Where a root key comes from. It is asked once at the start, never for a request.
pub trait Seal: Send + Sync + std::fmt::Debug {
    /// What it is called, as `keyring.json` names it.
    fn kind(&self) -> &'static str;

    /// A root key for a keyring that is being written, and how it is found again.
    ///
    /// # Errors
    /// When it cannot be made.
    fn fresh(&self, entropy: &dyn Entropy) -> Result<(RootRecipe, RootBytes), RootKeyError>;

    /// The root key that was made by this recipe.
    ///
    /// # Errors
    /// When it cannot be had.
    fn recover(&self, recipe: &RootRecipe) -> Result<RootBytes, RootKeyError>;
}

/// The seals that a deployment can choose.
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
    /// A service outside, which holds the key that wraps the root key.
    External(Arc<dyn Seal>),
}

impl RootKey {
    /// A passphrase with the default parameters.
    pub fn passphrase(passphrase: SecretString) -> Self {
        Self::Passphrase { passphrase, params: PassphraseParams::default() }
    }
}

/// Characters of the shortest passphrase that is taken.
pub const LEAST_PASSPHRASE: usize = 16;

const KEY_FILE: &str = "key file";
const PASSPHRASE: &str = "passphrase";
const TRANSIT: &str = "transit key";

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
    #[error(
        "the passphrase is too short: use at least {} characters, such as six random words",
        LEAST_PASSPHRASE
    )]
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
    /// A seal outside has several keys, and the keyring is under another one than the settings name.
    #[error("the seal at {service} did not give the root key: the keyring was set up with its key `{key}`")]
    OtherKey {
        /// Which seal.
        service: String,
        /// The key that the keyring names.
        key: String,
    },
    /// A seal outside did not help.
    #[error("the seal at {service} did not give the root key: {problem}")]
    External {
        /// Which one.
        service: String,
        /// Why, and what to do.
        problem: String,
    },
}

/// How the root key is made: stored beside the wrapped keyring, and authenticated with it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RootRecipe {
    /// It is in a file.
    KeyFile {},
    /// It is derived from a passphrase.
    Passphrase {
        /// How.
        algorithm: Argon2id,
        /// Memory.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// 16 bytes, base64url.
        salt: String,
    },
    /// It is wrapped by the transit engine of OpenBao or Vault.
    Transit {
        /// `<mount>/<key>` there.
        key: String,
        /// The root key, as that engine wrapped it.
        wrapped: String,
    },
}

/// The one way to stretch a passphrase.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub enum Argon2id {
    /// Version 1.3.
    #[serde(rename = "argon2id")]
    V13,
}

impl RootRecipe {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::KeyFile {} => KEY_FILE,
            Self::Passphrase { .. } => PASSPHRASE,
            Self::Transit { .. } => TRANSIT,
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
            Self::Transit { key, wrapped } => {
                envelope::aad(&[b"transit", key.as_bytes(), wrapped.as_bytes()])
            }
        }
    }
}

/// What a seal says of a recipe that another one made. Callers compare the kinds first.
pub fn other_kind() -> RootKeyError {
    RootKeyError::Derivation { problem: "the kinds of root key differ".to_owned() }
}

impl Seal for RootKey {
    fn kind(&self) -> &'static str {
        match self {
            Self::KeyFile(_) => KEY_FILE,
            Self::Passphrase { .. } => PASSPHRASE,
            Self::External(seal) => seal.kind(),
        }
    }

    fn fresh(&self, entropy: &dyn Entropy) -> Result<(RootRecipe, RootBytes), RootKeyError> {
        match self {
            Self::KeyFile(path) => Ok((RootRecipe::KeyFile {}, key_file::read(path)?)),
            Self::Passphrase { passphrase, params } => {
                if passphrase.expose().chars().count() < LEAST_PASSPHRASE {
                    return Err(RootKeyError::ShortPassphrase);
                }
                let recipe = RootRecipe::Passphrase {
                    algorithm: Argon2id::V13,
                    memory_kib: params.memory_kib,
                    passes: params.passes,
                    lanes: params.lanes,
                    salt: encode::base64url(&entropy::bytes::<16>(entropy)),
                };
                let key = self.recover(&recipe)?;
                Ok((recipe, key))
            }
            Self::External(seal) => seal.fresh(entropy),
        }
    }

    /// The floor on parameters holds for stored ones as well: they are never lowered.
    fn recover(&self, recipe: &RootRecipe) -> Result<RootBytes, RootKeyError> {
        match (self, recipe) {
            (Self::KeyFile(path), RootRecipe::KeyFile {}) => key_file::read(path),
            (
                Self::Passphrase { passphrase, .. },
                RootRecipe::Passphrase { algorithm: Argon2id::V13, memory_kib, passes, lanes, salt },
            ) => {
                let salt = encode::from_base64url(salt)
                    .filter(|salt| salt.len() == 16)
                    .ok_or(RootKeyError::BadSalt)?;
                let params = PassphraseParams { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
                passphrase::derive(passphrase, params, &salt)
            }
            (Self::External(seal), recipe) => seal.recover(recipe),
            _ => Err(other_kind()),
        }
    }
}

fn key_file_error(path: &Path, problem: impl Into<String>) -> RootKeyError {
    RootKeyError::KeyFile { path: path.to_owned(), problem: problem.into() }
}
