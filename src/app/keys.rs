//! Another root key for a deployment that none of this folder's processes uses.

use std::sync::Arc;

use crate::app::open::{OpenError, root_key, secret};
use crate::app::shared::{self, Rewrapped};
use crate::config::Settings;
use crate::kernel::entropy::{Entropy, SystemEntropy};
use crate::store::FolderLock;
use crate::vault::{RootKey, Vault};

/// Wraps the keyring under another root key: the data folder's, and where nodes share one in a database, that.
///
/// # Errors
/// When a broker uses the folder, the present root key does not open the keyring, or the new one cannot be had.
pub async fn rekey(settings: &Settings, new: &RootKey) -> Result<Rewrapped, OpenError> {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
    let (dir, old) = (&settings.data_dir, root_key(&settings.root_key)?);
    match &settings.postgres {
        Some(url) => shared::rekey(&secret(url)?, dir, &old, new, &entropy).await,
        None => {
            let _folder = FolderLock::take(dir)?;
            Vault::rekey(dir, &old, new, entropy.as_ref())?;
            Ok(Rewrapped::Wrapped)
        }
    }
}
