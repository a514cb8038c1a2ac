//! Who may read and change what lies on the disk.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::app::doctor::Finding;
use crate::config::{RootKeySetting, SecretSetting, Settings};
use crate::model::spool;
use crate::vault::KEYRING_FILE;

pub(super) fn examine(config: &Path, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in secrets(settings) {
        findings.extend(rights(&path, 0o077, "can be read by others", "chmod 600"));
    }
    // Whoever can change these decides where tokens go.
    for path in [Some(config.to_owned()), settings.templates_folder.clone()].into_iter().flatten() {
        findings.extend(rights(&path, 0o022, "can be changed by others", "chmod go-w"));
    }
    findings.extend(data(settings));
    if findings.is_empty() {
        findings.push(Finding::good("files", "keys, settings and data belong to their owner alone"));
    }
    findings
}

fn secrets(settings: &Settings) -> Vec<PathBuf> {
    let mut paths = vec![settings.data_dir.join(KEYRING_FILE)];
    match &settings.root_key {
        RootKeySetting::File(path) | RootKeySetting::PassphraseFile(path) => paths.push(path.clone()),
        RootKeySetting::Transit(transit) => paths.extend(transit.token_file.clone()),
        RootKeySetting::PassphraseEnv(_) => {}
    }
    if let Some(SecretSetting::File(path)) = &settings.postgres {
        paths.push(path.clone());
    }
    paths.extend(settings.tls.as_ref().map(|tls| tls.key.clone()));
    paths
}

fn rights(path: &Path, mask: u32, wrong: &str, remedy: &str) -> Option<Finding> {
    let shown = path.display();
    // What is missing is told by whoever needs it, with better words.
    let metadata = std::fs::metadata(path).ok()?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & mask != 0 {
        return Some(Finding::harmful(
            "files",
            format!("`{shown}` {wrong} (mode {mode:04o})"),
            format!("{remedy} {shown}"),
        ));
    }
    owner(path, &metadata)
}

fn owner(path: &Path, metadata: &std::fs::Metadata) -> Option<Finding> {
    let me = rustix::process::geteuid().as_raw();
    let is_foreign = metadata.uid() != me && metadata.uid() != 0;
    is_foreign.then(|| {
        let (shown, uid) = (path.display(), metadata.uid());
        Finding::doubtful(
            "files",
            format!("`{shown}` belongs to user {uid}, and this is user {me}"),
            format!("chown it to the user that the broker runs as: chown -R {me} {shown}"),
        )
    })
}

/// At start the broker takes these rights away by itself; until then they were open.
fn data(settings: &Settings) -> Vec<Finding> {
    let folders =
        ["", "store", "audit", spool::FOLDER, spool::ASIDE].map(|name| settings.data_dir.join(name));
    let mut findings = Vec::new();
    for folder in folders {
        let Ok(metadata) = std::fs::metadata(&folder) else { continue };
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            let shown = folder.display();
            findings.push(Finding::doubtful(
                "files",
                format!("the folder `{shown}` is open to others (mode {mode:04o})"),
                format!("chmod -R go= {shown}"),
            ));
        }
        findings.extend(owner(&folder, &metadata));
    }
    findings
}
