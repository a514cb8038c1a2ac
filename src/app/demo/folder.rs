//! The demo's throwaway data folder.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};

/// A folder that only this user can open, and that is deleted at the end.
pub struct ThrowawayFolder(PathBuf);

impl ThrowawayFolder {
    /// Makes one below the system's temporary folder.
    pub fn create(entropy: &dyn Entropy) -> std::io::Result<Self> {
        let name = format!("valetkey-demo-{}", encode::hex(&entropy::bytes::<8>(entropy)));
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Deletes it now; dropping it does the same, also when the demo fails half-way.
    pub fn delete(self) {}
}

impl Drop for ThrowawayFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
