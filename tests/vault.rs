//! The vault: root keys, the keyring's file, digests and gateway tokens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use valetkey::kernel::bearer::BearerKind;
use valetkey::kernel::entropy::{Entropy, SeededEntropy, SystemEntropy};
use valetkey::kernel::secret::SecretString;
use valetkey::model::sealed::{Context, Sealed, Sealer as _};
use valetkey::vault::{PassphraseParams, RootKey, Vault, VaultError, create_key_file};

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy::default())
}

fn passphrase(text: &str) -> RootKey {
    let params = PassphraseParams::minimum();
    RootKey::Passphrase { passphrase: SecretString::new(text.to_owned()), params }
}

const RIGHT: &str = "six random words are quite enough";

fn key_file(dir: &Path, name: &str) -> (PathBuf, RootKey) {
    let path = dir.join(name);
    create_key_file(&path, &SystemEntropy::default()).unwrap();
    (path.clone(), RootKey::KeyFile(path))
}

const CONTEXT: Context<'_> = Context { kind: "k", id: "1", field: "f", generation: 0 };

fn sealed_by(vault: &Vault) -> Sealed {
    vault.seal(CONTEXT, b"secret")
}

/// Everything that lies in a folder, to show that a refusal wrote nothing.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_passphrase_opens_its_keyring_again_and_a_wrong_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let sealed = {
        let vault = Vault::create(&dir, &passphrase(RIGHT), entropy()).unwrap();
        sealed_by(&vault)
    };
    assert_eq!(fs::metadata(dir.join("keyring.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let vault = Vault::open(&dir, &passphrase(RIGHT), entropy()).unwrap();
    assert_eq!(vault.open(CONTEXT, &sealed).unwrap().expose(), b"secret");

    let before = snapshot(&dir);
    assert_eq!(before.len(), 1, "nothing but the keyring");
    let wrong = Vault::open(&dir, &passphrase("six random words are not enough"), entropy()).unwrap_err();
    assert!(matches!(wrong, VaultError::WrongRootKey), "{wrong}");
    assert_eq!(snapshot(&dir), before);
}

#[test]
fn weak_passphrases_and_weak_parameters_are_refused_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |root: RootKey| Vault::create(folder.path(), &root, entropy()).unwrap_err();
    assert!(matches!(refused(passphrase("too short")), VaultError::Root(_)));
    let weak =
        [(65_535, 3, 1), (65_536, 2, 1), (65_536, 3, 2), (65_536, 3, 0), (u32::MAX, 3, 1), (65_536, 101, 1)];
    for (memory_kib, passes, lanes) in weak {
        let params = PassphraseParams { memory_kib, passes, lanes };
        let root = RootKey::Passphrase { passphrase: SecretString::new(RIGHT.to_owned()), params };
        assert!(matches!(refused(root), VaultError::Root(_)), "{params:?}");
    }
    assert!(snapshot(folder.path()).is_empty());
    let default = PassphraseParams::default();
    assert_eq!((default.memory_kib, default.passes, default.lanes), (262_144, 3, 1));
}

#[test]
fn stored_parameters_cannot_be_lowered_or_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    Vault::create(folder.path(), &passphrase(RIGHT), entropy()).unwrap();
    let original: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let open_with = |field: &str, value: Value| {
        let mut changed = original.clone();
        changed["root"][field] = value;
        fs::write(&path, changed.to_string()).unwrap();
        Vault::open(folder.path(), &passphrase(RIGHT), entropy()).unwrap_err()
    };
    for (field, value) in [("memory_kib", 8), ("memory_kib", 65_535), ("passes", 1), ("lanes", 4)] {
        let refused = open_with(field, value.into());
        assert!(matches!(refused, VaultError::Root(_)), "{field} {value}: {refused}");
        assert!(refused.to_string().contains("at least 65536 KiB"), "{refused}");
    }
    // Within what is allowed, but not what it was made with.
    assert!(matches!(open_with("passes", 4.into()), VaultError::WrongRootKey));
    assert!(matches!(open_with("salt", "AAAAAAAAAAAAAAAAAAAAAA".into()), VaultError::WrongRootKey));
    assert!(matches!(open_with("algorithm", "argon2i".into()), VaultError::Format { .. }));
    assert!(matches!(open_with("extra", 1.into()), VaultError::Format { .. }));
}

#[test]
fn a_key_file_opens_its_keyring_and_another_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let (path, root) = key_file(folder.path(), "root.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let sealed = sealed_by(&Vault::create(&dir, &root, entropy()).unwrap());
    let vault = Vault::open(&dir, &root, entropy()).unwrap();
    assert!(vault.open(CONTEXT, &sealed).is_ok());
    let (_, other) = key_file(folder.path(), "other.key");
    assert!(matches!(Vault::open(&dir, &other, entropy()), Err(VaultError::WrongRootKey)));
    let kind = Vault::open(&dir, &passphrase(RIGHT), entropy()).unwrap_err();
    assert_eq!(kind.to_string(), "this keyring was set up with a key file, not with a passphrase");
    assert!(create_key_file(&path, &SystemEntropy::default()).is_err(), "never overwritten");
}

#[test]
fn a_key_file_that_others_can_read_or_that_is_no_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, root) = key_file(folder.path(), "root.key");
    for mode in [0o640, 0o604, 0o644, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = Vault::create(&folder.path().join("data"), &root, entropy()).unwrap_err().to_string();
        assert!(refused.contains("chmod 600") && refused.contains("root.key"), "{refused}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"a".repeat(500)] {
        fs::write(&path, text).unwrap();
        let refused = Vault::create(&folder.path().join("data"), &root, entropy()).unwrap_err().to_string();
        assert!(refused.contains("64 hexadecimal digits"), "{text}: {refused}");
    }
    let nowhere = RootKey::KeyFile(folder.path().join("nowhere.key"));
    let refused = Vault::create(&folder.path().join("data"), &nowhere, entropy()).unwrap_err().to_string();
    assert!(refused.contains("nowhere.key"), "{refused}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_keyring_is_never_overwritten_and_every_changed_part_of_it_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let (_, root) = key_file(folder.path(), "root.key");
    assert!(matches!(Vault::open(&dir, &root, entropy()), Err(VaultError::Missing { .. })));
    let deployment = Vault::create(&dir, &root, entropy()).unwrap().deployment().clone();
    assert!(matches!(Vault::create(&dir, &root, entropy()), Err(VaultError::Exists { .. })));
    let path = dir.join("keyring.json");
    let original = fs::read_to_string(&path).unwrap();
    let changed = original.replace(deployment.as_str(), "dep_00000000000000000000000000000000");
    fs::write(&path, changed).unwrap();
    assert!(matches!(Vault::open(&dir, &root, entropy()), Err(VaultError::WrongRootKey)));
    for (from, to) in [("\"format\": 1", "\"format\": 2"), ("{", "["), ("\"wrapped\"", "\"wrapper\"")] {
        fs::write(&path, original.replacen(from, to, 1)).unwrap();
        let refused = Vault::open(&dir, &root, entropy()).unwrap_err();
        assert!(matches!(refused, VaultError::Format { .. }), "{from}: {refused}");
    }
    fs::write(&path, &original).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Vault::open(&dir, &root, entropy()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "repaired");
}

#[test]
fn digests_depend_on_key_kind_purpose_and_every_part() {
    let vault = Vault::ephemeral(Arc::new(SeededEntropy::new(1)));
    let other = Vault::ephemeral(Arc::new(SeededEntropy::new(2)));
    let digest = vault.digest(BearerKind::AgentSecret, "vks_x");
    assert_eq!(digest, vault.digest(BearerKind::AgentSecret, "vks_x"));
    assert_ne!(digest, vault.digest(BearerKind::AdminToken, "vks_x"));
    assert_ne!(digest, other.digest(BearerKind::AgentSecret, "vks_x"));
    assert_ne!(vault.state_digest("a", "bc"), vault.state_digest("ab", "c"));
    assert_ne!(vault.mac("p", &[b"ab", b"c"]), vault.mac("p", &[b"a", b"bc"]));
    assert_ne!(vault.mac("p", &[b"ab"]), vault.mac("p", &[b"ab", b""]));
    assert_ne!(vault.mac("a", &[b"b"]), *vault.state_digest("a", "b").hex().as_bytes());
}

#[test]
fn a_gateway_token_is_opaque_and_belongs_to_one_vault() {
    let vault = Vault::ephemeral(Arc::new(SeededEntropy::new(1)));
    let other = Vault::ephemeral(Arc::new(SeededEntropy::new(2)));
    let token = vault.seal_token(b"grant gnt_1");
    assert_eq!(vault.open_token(token.expose()).unwrap().payload(), b"grant gnt_1");
    assert!(other.open_token(token.expose()).is_none());
    assert_ne!(token.expose(), vault.seal_token(b"grant gnt_1").expose());
    for text in ["", "vkg_", "vkg_AAAA", "vks_AAAA", &"vkg_A".repeat(2000), "vkg_钥匙"] {
        assert!(vault.open_token(text).is_none(), "{text:.20}");
    }
}

#[test]
fn debug_output_holds_no_key() {
    let vault = Vault::ephemeral(Arc::new(SeededEntropy::new(1)));
    let text = format!("{vault:?} {:?} {:?}", vault.audit_signer(), passphrase("canary canary canary"));
    assert!(!text.contains("canary"), "{text}");
    assert!(text.len() < 250, "{text}");
}
