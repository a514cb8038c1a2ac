//! A root key from a passphrase.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::kernel::secret::SecretString;
use crate::vault::seal::{RootBytes, RootKeyError};

const FLOOR_KIB: u32 = 64 * 1024;
const FLOOR_PASSES: u32 = 3;
/// Ceilings: a changed file must not make the start take hours or all memory.
const CEILING_KIB: u32 = 4 * 1024 * 1024;
const CEILING_PASSES: u32 = 100;

/// Argon2id parameters. More than one lane would help only an attacker: ours run one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseParams {
    /// Memory in KiB; at least 65,536.
    pub memory_kib: u32,
    /// Passes; at least 3.
    pub passes: u32,
    /// Lanes; 1.
    pub lanes: u32,
}

impl Default for PassphraseParams {
    fn default() -> Self {
        Self { memory_kib: 256 * 1024, passes: 3, lanes: 1 }
    }
}

impl PassphraseParams {
    /// The least that is accepted: about 0.2 s.
    pub const fn minimum() -> Self {
        Self { memory_kib: FLOOR_KIB, passes: FLOOR_PASSES, lanes: 1 }
    }

    fn check(self) -> Result<Self, RootKeyError> {
        let memory = (FLOOR_KIB..=CEILING_KIB).contains(&self.memory_kib);
        let passes = (FLOOR_PASSES..=CEILING_PASSES).contains(&self.passes);
        if memory && passes && self.lanes == 1 {
            return Ok(self);
        }
        Err(RootKeyError::Params { memory_kib: self.memory_kib, passes: self.passes, lanes: self.lanes })
    }
}

pub(super) fn derive(
    passphrase: &SecretString,
    params: PassphraseParams,
    salt: &[u8],
) -> Result<RootBytes, RootKeyError> {
    let params = params.check()?;
    let failed = |e: argon2::Error| RootKeyError::Derivation { problem: e.to_string() };
    let settings = Params::new(params.memory_kib, params.passes, params.lanes, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, settings)
        .hash_password_into(passphrase.expose().as_bytes(), salt, key.as_mut_slice())
        .map_err(failed)?;
    Ok(key)
}
