//! A keyring that several nodes share. It lies with their records, wrapped, and each node has a copy in its folder.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::kernel::entropy::Entropy;
use crate::kernel::ids::DeploymentId;
use crate::kernel::secret::SecretBytes;
use crate::vault::file::{self, Root, Unwrapped};
use crate::vault::keyring::Keyring;
use crate::vault::seal::{RootKeyError, Seal as _};
use crate::vault::{Home, KEYRING_FILE, RootKey, Vault, VaultError, envelope};

/// The key term that a sealed value names, whether it is one of ours or not.
pub fn named_term(sealed: &[u8]) -> Option<u32> {
    envelope::term_of(sealed).ok()
}

/// The deployment that a wrapped keyring names. That lies in the clear: only who opens the keyring can be sure.
pub fn named_deployment(text: &str) -> Option<DeploymentId> {
    file::named_deployment(text)
}

impl VaultError {
    /// Whether the root key was at hand and is not this keyring's, or there is no keyring in the text: asked again, it
    /// will be the same.
    pub fn is_mismatch(&self) -> bool {
        matches!(
            self,
            Self::WrongRootKey
                | Self::OtherKind { .. }
                | Self::Format { .. }
                | Self::Root(RootKeyError::OtherKey { .. })
        )
    }
}

impl Vault {
    /// Opens the keyring that the nodes share, for the node whose folder is `dir`. Terms that only the node's `own`
    /// copy has are retired: they open, and seal nothing. Nothing is written.
    ///
    /// # Errors
    /// When the root key does not open them, or they are of two deployments.
    pub fn open_shared(
        dir: &Path,
        shared: &str,
        own: Option<&str>,
        root: &RootKey,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Vault, VaultError> {
        let path = dir.join(KEYRING_FILE);
        let Unwrapped { deployment, mut keyring, root: home } = file::unwrap(&path, shared, root)?;
        if let Some(own) = own {
            let ours = file::unwrap(&path, own, root)?.keyring;
            keyring = ours.followed_by(keyring)?;
        }
        Self::assemble(deployment, keyring, Some(Home { dir: dir.to_owned(), root: home }), entropy)
    }

    /// The whole keyring as it is in memory, sealed under the root key, so that it may lie in a backup.
    ///
    /// # Errors
    /// When there is no root key, as in tests.
    pub fn keyring_text(&self) -> Result<String, VaultError> {
        self.wrapped(Keyring::encode_whole)
    }

    /// The keyring with one more term, and that term. Nothing is changed: [`Vault::adopt`] it when it lies where
    /// others find it.
    ///
    /// # Errors
    /// When there is no root key, or no further term can be numbered.
    pub fn text_with_new_term(&self) -> Result<(String, u32), VaultError> {
        let keyring = self.keyring();
        let next = keyring.with_new_term(self.entropy.as_ref()).ok_or(VaultError::WrongRootKey)?;
        Ok((self.wrapped(|_| next.encode())?, next.active()))
    }

    /// The keyring without some older terms. Nothing is changed.
    ///
    /// # Errors
    /// When there is no root key.
    pub fn text_without(&self, terms: &[u32]) -> Result<String, VaultError> {
        let without = |keyring: &Keyring| {
            terms.iter().fold(keyring.clone(), |keyring, term| keyring.without(*term)).encode()
        };
        self.wrapped(without)
    }

    /// The keyring with what another one of this deployment has more.
    ///
    /// # Errors
    /// When there is no root key, or the two have different keys under one term.
    pub fn text_with_terms_of(&self, other: &Vault) -> Result<String, VaultError> {
        let both = self.keyring().with_terms_of(&other.keyring())?;
        self.wrapped(|_| both.encode())
    }

    /// A term under which another keyring of this deployment has another key.
    pub fn disputed(&self, other: &Vault) -> Option<u32> {
        self.keyring().disputed(&other.keyring())
    }

    /// A keyring of this deployment with what this one has more, if its newest term is older than ours; `None` when it is
    /// not, or does not open.
    pub fn newer_than(&self, text: &str) -> Option<String> {
        let read = {
            let home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
            let Home { dir, root } = home.as_ref()?;
            file::unwrap_again(&dir.join(KEYRING_FILE), text, root).ok()?.keyring
        };
        let ours = self.keyring();
        if read.active() >= ours.active() {
            return None;
        }
        let both = read.with_terms_of(&ours).ok()?;
        self.wrapped(|_| both.encode()).ok()
    }

    /// Takes a keyring of this deployment over. Terms that it does not have any more open until this process ends,
    /// and seal nothing. The folder's copy stays as it is.
    ///
    /// # Errors
    /// When it is of another deployment, wrapped under another root key than this process has, or has another key
    /// under a term that this process has.
    pub fn adopt(&self, text: &str) -> Result<(), VaultError> {
        let home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        let Home { dir, root } = home.as_ref().ok_or_else(no_home)?;
        let read = file::unwrap_again(&dir.join(KEYRING_FILE), text, root)?;
        if read.deployment != self.deployment {
            return Err(VaultError::WrongRootKey);
        }
        let next = self.keyring().followed_by(read.keyring)?;
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    /// Writes a keyring into the folder, in the place of the one that lies there. One call at a time.
    ///
    /// # Errors
    /// When it cannot be written. Nothing is changed then.
    pub fn keep(&self, text: &str) -> Result<(), VaultError> {
        let (dir, path) = {
            // Not held while it is written: requests that meet a new term take the keyring over meanwhile.
            let home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
            let Home { dir, root } = home.as_ref().ok_or_else(no_home)?;
            let path = dir.join(KEYRING_FILE);
            file::unwrap_again(&path, text, root)?;
            (dir.clone(), path)
        };
        file::replace(&dir, &path, text)?;
        file::remove_former(&dir)
    }

    /// Whether values under this term open.
    pub fn holds(&self, term: u32) -> bool {
        self.keyring().key(term).is_some()
    }

    /// Whether it holds terms that were retired.
    pub fn has_retired(&self) -> bool {
        self.keyring().has_retired()
    }

    /// A wrapped keyring under another root key.
    ///
    /// # Errors
    /// When the old root key does not open it, or the new one cannot be had.
    pub fn rewrapped(
        path: &Path,
        text: &str,
        old: &RootKey,
        new: &RootKey,
        entropy: &dyn Entropy,
    ) -> Result<String, VaultError> {
        let Unwrapped { deployment, keyring, .. } = file::unwrap(path, text, old)?;
        let (recipe, key) = new.fresh(entropy)?;
        let root = Root { recipe, key };
        // Asked once more, the way every start will ask.
        if new.recover(&root.recipe)? != root.key {
            return Err(VaultError::WrongRootKey);
        }
        let text = file::text(&file::wrap(&deployment, &keyring.encode(), &root, entropy))?;
        file::unwrap_again(path, &text, &root)?;
        Ok(text)
    }

    fn wrapped(&self, encode: impl FnOnce(&Keyring) -> SecretBytes) -> Result<String, VaultError> {
        let home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        let root = &home.as_ref().ok_or_else(no_home)?.root;
        let encoded = encode(&self.keyring());
        file::text(&file::wrap(&self.deployment, &encoded, root, self.entropy.as_ref()))
    }
}

fn no_home() -> VaultError {
    VaultError::Missing { path: PathBuf::from(KEYRING_FILE) }
}
