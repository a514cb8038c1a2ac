//! The vault: it alone holds keys. It seals records, digests bearers, makes gateway tokens, and signs
//! the audit log's heads.
//!
//! A root key (from a passphrase or a key file) wraps the keyring in `keyring.json`; the keyring's
//! active term seals records. See `docs/adr/0001-sealed-values.md` for the formats.

pub mod seal;
pub mod signer;
pub mod token;

mod envelope;
mod file;
mod keyring;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::kernel::bearer::{BearerKind, TokenDigest};
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::DeploymentId;
use crate::kernel::secret::{SecretBytes, SecretString};
use crate::model::sealed::{Context, SealError, Sealed, Sealer};
use crate::vault::keyring::Keyring;
use crate::vault::seal::RootKeyError;
use crate::vault::token::TokenKey;

pub use crate::vault::seal::{PassphraseParams, RootKey, create_key_file};
pub use crate::vault::signer::AuditSigner;
pub use crate::vault::token::OpenedToken;

/// The keyring's file name within the data folder.
pub const KEYRING_FILE: &str = "keyring.json";

/// The vault could not be created or opened. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is a keyring already; replacing it would make every sealed record unreadable.
    #[error("`{}` exists already: this folder has been set up, and its keyring is never overwritten", .path.display())]
    Exists {
        /// The keyring.
        path: PathBuf,
    },
    /// There is no keyring.
    #[error(
        "`{}` does not exist: run `valetkey init`, or restore the keyring that belongs to this folder \
         with `valetkey vault restore`", .path.display()
    )]
    Missing {
        /// The keyring.
        path: PathBuf,
    },
    /// The root key does not open the keyring. One sentence for every cause: no hint which part failed.
    #[error(
        "the root key does not open this keyring: wrong passphrase or key file, or the keyring was changed"
    )]
    WrongRootKey,
    /// The root key itself is not usable.
    #[error(transparent)]
    Root(#[from] RootKeyError),
    /// The keyring was wrapped by the other kind of root key.
    #[error("this keyring was set up with a {expected}, not with a {given}")]
    OtherKind {
        /// What it was set up with.
        expected: &'static str,
        /// What was given.
        given: &'static str,
    },
    /// The keyring is not readable as such.
    #[error("`{}` is not a keyring that this version reads: {problem}", .path.display())]
    Format {
        /// The keyring.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Others may read the keyring and it could not be repaired.
    #[error("`{}`: {problem}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Seals and opens records, digests bearers, and makes gateway tokens.
pub struct Vault {
    deployment: DeploymentId,
    keyring: Keyring,
    digest_key: hmac::Key,
    token_key: TokenKey,
    signer: AuditSigner,
    entropy: Arc<dyn Entropy>,
}

impl Vault {
    /// Makes a new keyring for a new deployment and writes it, wrapped, to `<dir>/keyring.json`.
    ///
    /// # Errors
    /// When there is one already, the root key is not usable, or it cannot be written.
    pub fn create(dir: &Path, root: &RootKey, entropy: Arc<dyn Entropy>) -> Result<Vault, VaultError> {
        let path = dir.join(KEYRING_FILE);
        if path.exists() {
            return Err(VaultError::Exists { path });
        }
        let deployment = DeploymentId::generate(entropy.as_ref());
        let keyring = Keyring::generate(entropy.as_ref());
        let wrapped = file::wrap(&deployment, &keyring, root, entropy.as_ref())?;
        file::write_new(dir, &path, &wrapped)?;
        Self::assemble(deployment, keyring, entropy)
    }

    /// Opens the keyring in `dir`. A wrong root key fails here, not at first use.
    ///
    /// # Errors
    /// When there is no keyring, or the root key does not open it.
    pub fn open(dir: &Path, root: &RootKey, entropy: Arc<dyn Entropy>) -> Result<Vault, VaultError> {
        let path = dir.join(KEYRING_FILE);
        let text = file::read(&path)?;
        let (deployment, keyring) = file::unwrap(&path, &text, root)?;
        Self::assemble(deployment, keyring, entropy)
    }

    /// A vault whose keys are gone when it is dropped: for tests, with the memory store.
    pub fn ephemeral(entropy: Arc<dyn Entropy>) -> Vault {
        let deployment = DeploymentId::generate(entropy.as_ref());
        let keyring = Keyring::generate(entropy.as_ref());
        match Self::assemble(deployment, keyring, entropy) {
            Ok(vault) => vault,
            // INVARIANT: a seed of 32 random bytes is always a valid Ed25519 seed.
            Err(_) => std::process::abort(),
        }
    }

    /// The installation that this vault belongs to.
    pub fn deployment(&self) -> &DeploymentId {
        &self.deployment
    }

    /// The term that seals new values.
    pub fn active_term(&self) -> u32 {
        self.keyring.active()
    }

    /// The keyed digest of a bearer secret. Stable when terms are rotated, because it is what
    /// stored secrets are found by.
    pub fn digest(&self, kind: BearerKind, text: &str) -> TokenDigest {
        TokenDigest::from_bytes(self.hmac(b"bearer", kind.prefix().as_bytes(), &[text.as_bytes()]))
    }

    /// The keyed digest of a value that is not a bearer of ours: `state`, a browser's cookie.
    pub fn state_digest(&self, purpose: &str, text: &str) -> TokenDigest {
        TokenDigest::from_bytes(self.hmac(b"state", purpose.as_bytes(), &[text.as_bytes()]))
    }

    /// A keyed hash over length-prefixed parts, for values that are derived instead of stored.
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.hmac(b"mac", purpose.as_bytes(), parts)
    }

    /// An opaque token that only this vault can make and read. Nothing is stored for it.
    pub fn seal_token(&self, plain: &[u8]) -> SecretString {
        self.token_key.seal(plain, self.entropy.as_ref())
    }

    /// What [`Vault::seal_token`] put into a token; `None` for anything that it did not make.
    pub fn open_token(&self, text: &str) -> Option<OpenedToken> {
        self.token_key.open(text)
    }

    /// The key that signs the audit log's heads.
    pub fn audit_signer(&self) -> AuditSigner {
        self.signer.clone()
    }

    fn assemble(
        deployment: DeploymentId,
        keyring: Keyring,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Vault, VaultError> {
        let signer = AuditSigner::new(&deployment, keyring.audit_seed()).ok_or(VaultError::WrongRootKey)?;
        Ok(Vault {
            digest_key: hmac::Key::new(hmac::HMAC_SHA256, keyring.digest_key()),
            token_key: TokenKey::new(&deployment, keyring.token_key()),
            signer,
            deployment,
            keyring,
            entropy,
        })
    }

    fn hmac(&self, family: &[u8], purpose: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.digest_key);
        for part in [family, purpose].iter().chain(parts) {
            // Length first: no two lists of parts can run together into the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        out
    }

    fn aad(&self, context: Context<'_>, term: u32) -> Vec<u8> {
        envelope::aad(&[
            b"record",
            &[envelope::FORMAT],
            self.deployment.as_str().as_bytes(),
            context.kind.as_bytes(),
            context.id.as_bytes(),
            context.field.as_bytes(),
            &context.generation.to_be_bytes(),
            &term.to_be_bytes(),
        ])
    }
}

impl Sealer for Vault {
    fn seal(&self, context: Context<'_>, plain: &[u8]) -> Sealed {
        let (term, key) = self.keyring.active_key();
        let aad = self.aad(context, term);
        Sealed::from_bytes(envelope::seal(key, term, &aad, plain, self.entropy.as_ref()))
    }

    fn open(&self, context: Context<'_>, sealed: &Sealed) -> Result<SecretBytes, SealError> {
        let term = envelope::term_of(sealed.as_bytes())?;
        let key = self.keyring.key(term).ok_or(SealError::UnknownFormat)?;
        envelope::open(key, &self.aad(context, term), sealed.as_bytes())
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.deployment)
    }
}
