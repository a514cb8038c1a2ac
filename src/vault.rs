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
mod shared;
mod stack;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::hmac;

use crate::kernel::bearer::{BearerKind, TokenDigest};
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::DeploymentId;
use crate::kernel::secret::{SecretBytes, SecretString};
use crate::model::sealed::{Context, SealError, Sealed, Sealer};
use crate::vault::file::{Root, Unwrapped};
use crate::vault::keyring::Keyring;
use crate::vault::seal::{RootKeyError, Seal as _};
use crate::vault::token::TokenKey;

pub use crate::vault::seal::{LEAST_PASSPHRASE, PassphraseParams, RootKey, create_key_file};
pub use crate::vault::shared::{named_deployment, named_term};
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
    /// Two keyrings of one deployment do not go together.
    #[error(
        "two keyrings of this deployment have different keys under term {term}: one of them was put back, and keys \
         were rotated anew. Neither is changed: put the right one in both places"
    )]
    Disputed {
        /// The term.
        term: u32,
    },
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

struct Home {
    dir: PathBuf,
    root: Root,
}

/// A key term, as status shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermUse {
    /// Its number.
    pub term: u32,
    /// Whether it seals new values.
    pub is_active: bool,
    /// How many values this process has sealed under it.
    pub sealed: u64,
}

/// Seals and opens records, digests bearers, and makes gateway tokens.
pub struct Vault {
    deployment: DeploymentId,
    keyring: RwLock<Arc<Keyring>>,
    /// Where the keyring lies and what wraps it; `None` when it is in memory only. Held while it changes.
    home: Mutex<Option<Home>>,
    seal_kind: &'static str,
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
        let (recipe, key) = root.fresh(entropy.as_ref())?;
        let root = Root { recipe, key };
        let wrapped = file::wrap(&deployment, &keyring.encode(), &root, entropy.as_ref());
        file::write_new(dir, &path, &wrapped)?;
        Self::assemble(deployment, keyring, Some(Home { dir: dir.to_owned(), root }), entropy)
    }

    /// Opens the keyring in `dir`. A wrong root key fails here, not at first use.
    ///
    /// # Errors
    /// When there is no keyring, or the root key does not open it.
    pub fn open(dir: &Path, root: &RootKey, entropy: Arc<dyn Entropy>) -> Result<Vault, VaultError> {
        let path = dir.join(KEYRING_FILE);
        let text = file::read(&path)?;
        let Unwrapped { deployment, keyring, root } = file::unwrap(&path, &text, root)?;
        // This one opens: the one before a change of the root key has done its service.
        file::remove_former(dir)?;
        Self::assemble(deployment, keyring, Some(Home { dir: dir.to_owned(), root }), entropy)
    }

    /// Opens the text of a keyring that lies elsewhere, such as in a backup. It can seal and open, not change.
    ///
    /// # Errors
    /// When the root key does not open it.
    pub fn open_text(
        path: &Path,
        text: &str,
        root: &RootKey,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Vault, VaultError> {
        let Unwrapped { deployment, keyring, .. } = file::unwrap(path, text, root)?;
        Self::assemble(deployment, keyring, None, entropy)
    }

    /// Wraps the keyring in `dir` under another root key. The one before stays beside it until the new one has
    /// been opened; then it is removed, because the old root key still opens it.
    ///
    /// # Errors
    /// When the old root key does not open it, or the new one cannot be had. Nothing is changed then.
    pub fn rekey(dir: &Path, old: &RootKey, new: &RootKey, entropy: &dyn Entropy) -> Result<(), VaultError> {
        let path = dir.join(KEYRING_FILE);
        let text = Self::rewrapped(&path, &file::read(&path)?, old, new, entropy)?;
        file::keep_former(dir, &path)?;
        file::replace(dir, &path, &text)?;
        file::unwrap(&path, &file::read(&path)?, new)?;
        file::remove_former(dir)
    }

    /// A vault whose keys are gone when it is dropped: for tests, with the memory store.
    pub fn ephemeral(entropy: Arc<dyn Entropy>) -> Vault {
        let deployment = DeploymentId::generate(entropy.as_ref());
        let keyring = Keyring::generate(entropy.as_ref());
        match Self::assemble(deployment, keyring, None, entropy) {
            Ok(vault) => vault,
            // INVARIANT: a seed of 32 random bytes is always a valid Ed25519 seed.
            Err(_) => std::process::abort(),
        }
    }

    /// The installation that this vault belongs to.
    pub fn deployment(&self) -> &DeploymentId {
        &self.deployment
    }

    /// The kind of seal that the root key comes from.
    pub fn seal_kind(&self) -> &'static str {
        self.seal_kind
    }

    /// All terms, oldest first.
    pub fn terms(&self) -> Vec<TermUse> {
        let keyring = self.keyring();
        let active = keyring.active();
        let of = |(term, sealed)| TermUse { term, is_active: term == active, sealed };
        keyring.terms().into_iter().map(of).collect()
    }

    /// Adds a term, which seals from now on; durable before its first use. Older terms still open.
    ///
    /// # Errors
    /// When the keyring cannot be written. Nothing is changed then.
    pub fn add_term(&self) -> Result<u32, VaultError> {
        self.change(|keyring, entropy| keyring.with_new_term(entropy).ok_or(VaultError::WrongRootKey))?;
        Ok(self.keyring().active())
    }

    /// Forgets older terms for ever. What is still sealed under them does not open any more: ask a count first.
    ///
    /// # Errors
    /// When the keyring cannot be written. Nothing is changed then.
    pub fn retire_terms(&self, terms: &[u32]) -> Result<(), VaultError> {
        self.change(|keyring, _| {
            Ok(terms.iter().fold(keyring.clone(), |keyring, term| keyring.without(*term)))
        })
    }

    /// On the drive first, then in use.
    fn change(
        &self,
        next: impl FnOnce(&Keyring, &dyn Entropy) -> Result<Keyring, VaultError>,
    ) -> Result<(), VaultError> {
        let home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next(&self.keyring(), self.entropy.as_ref())?;
        if let Some(Home { dir, root }) = home.as_ref() {
            let wrapped = file::wrap(&self.deployment, &next.encode_whole(), root, self.entropy.as_ref());
            let (path, text) = (dir.join(KEYRING_FILE), file::text(&wrapped)?);
            file::unwrap_again(&path, &text, root)?;
            file::replace(dir, &path, &text)?;
        }
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.read().unwrap_or_else(PoisonError::into_inner))
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
        home: Option<Home>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Vault, VaultError> {
        let signer = AuditSigner::new(&deployment, keyring.audit_seed()).ok_or(VaultError::WrongRootKey)?;
        Ok(Vault {
            digest_key: hmac::Key::new(hmac::HMAC_SHA256, keyring.digest_key()),
            token_key: TokenKey::new(&deployment, keyring.token_key()),
            signer,
            deployment,
            keyring: RwLock::new(Arc::new(keyring)),
            seal_kind: home.as_ref().map_or("none", |home| home.root.recipe.kind()),
            home: Mutex::new(home),
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
        let keyring = self.keyring();
        let (term, key) = keyring.active_key();
        let aad = self.aad(context, term);
        Sealed::from_bytes(envelope::seal(key, term, &aad, plain, self.entropy.as_ref()))
    }

    fn open(&self, context: Context<'_>, sealed: &Sealed) -> Result<SecretBytes, SealError> {
        let term = envelope::term_of(sealed.as_bytes())?;
        let keyring = self.keyring();
        let key = keyring.key(term).ok_or(SealError::UnknownFormat)?;
        envelope::open(key, &self.aad(context, term), sealed.as_bytes())
    }

    fn active_term(&self) -> u32 {
        self.keyring().active()
    }

    fn has_other_terms(&self) -> bool {
        self.keyring().has_others()
    }

    fn term_of(&self, sealed: &[u8]) -> Option<u32> {
        let term = envelope::term_of(sealed).ok()?;
        envelope::is_of(self.keyring().key(term)?, sealed).then_some(term)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.deployment)
    }
}
