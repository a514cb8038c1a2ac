//! What lies in a node's spool, as far as key terms go. Answers are sealed as they come, and gone when their tokens
//! are in the store; until then they keep their term.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use crate::model::sealed::Sealer as _;
use crate::model::spool::{FOLDER, framed};
use crate::vault::Vault;

/// Whether no answer lies in a data folder's spool, nor a place for one. Not if that cannot be told.
pub fn is_empty(data_dir: &Path) -> bool {
    match fs::read_dir(data_dir.join(FOLDER)) {
        Ok(mut files) => files.next().is_none(),
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}

/// How many answers in the spool are sealed under other terms than the active one.
pub(super) fn under_older_terms(vault: &Vault, data_dir: &Path) -> u64 {
    let is_older = |under: &Under| *under != Under::Term(vault.active_term());
    answers(vault, data_dir).into_iter().filter(is_older).count() as u64
}

/// Whether an answer in the spool is sealed under a term that was retired.
pub(super) fn needs_retired(vault: &Vault, data_dir: &Path) -> bool {
    let terms: Vec<u32> = vault.terms().into_iter().map(|term| term.term).collect();
    let is_retired = |under: Under| match under {
        Under::Term(term) => !terms.contains(&term),
        Under::Unknown => true,
    };
    answers(vault, data_dir).into_iter().any(is_retired)
}

/// What an answer is sealed under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Under {
    Term(u32),
    /// It cannot be read now: it may be under any term.
    Unknown,
}

fn answers(vault: &Vault, data_dir: &Path) -> Vec<Under> {
    match fs::read_dir(data_dir.join(FOLDER)) {
        Ok(files) => files.filter_map(|file| answer(vault, file)).collect(),
        Err(e) => unread(&e).into_iter().collect(),
    }
}

/// Nothing for a place whose answer has not come, and for what is under no term that is at hand.
fn answer(vault: &Vault, file: io::Result<DirEntry>) -> Option<Under> {
    match file.and_then(|file| fs::read(file.path())) {
        Ok(bytes) => framed(&bytes).and_then(|sealed| vault.term_of(sealed)).map(Under::Term),
        Err(e) => unread(&e),
    }
}

/// What is gone is under no term.
fn unread(error: &io::Error) -> Option<Under> {
    (error.kind() != io::ErrorKind::NotFound).then_some(Under::Unknown)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernel::entropy::{Entropy, SeededEntropy};
    use crate::model::sealed::Context;
    use crate::model::spool::frame;
    use crate::vault::{KEYRING_FILE, RootKey, create_key_file};

    /// What lies under a term that was retired needs it; a place without an answer, or one under the newest, does not.
    #[test]
    fn a_retired_term_is_needed_by_what_is_sealed_under_it_alone() {
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(3));
        let folder = tempfile::tempdir().unwrap();
        let (dir, key) = (folder.path(), folder.path().join("root.key"));
        create_key_file(&key, entropy.as_ref()).unwrap();
        let root = RootKey::KeyFile(key);
        let former = Vault::create(dir, &root, Arc::clone(&entropy)).unwrap();
        let context = Context { kind: "spool", id: "1", field: "answer", generation: 1 };
        let old = former.seal(context, b"an answer");
        former.add_term().unwrap();
        let (own, shared) = (fs::read_to_string(dir.join(KEYRING_FILE)).unwrap(), former.text_without(&[1]));
        let vault = Vault::open_shared(dir, &shared.unwrap(), Some(&own), &root, entropy).unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(dir.join(FOLDER).join(name), bytes).unwrap();

        assert!(is_empty(dir) && !needs_retired(&vault, dir));
        fs::create_dir(dir.join(FOLDER)).unwrap();
        put("con_1.1.aa", &[0; 99]);
        put("con_2.1.aa", &frame(vault.seal(context, b"an answer").as_bytes()).unwrap());
        assert!(!is_empty(dir) && !needs_retired(&vault, dir));
        assert_eq!(under_older_terms(&vault, dir), 0);
        put("con_3.1.aa", &frame(old.as_bytes()).unwrap());
        assert!(needs_retired(&vault, dir));
        assert_eq!(under_older_terms(&vault, dir), 1);
    }
}
