//! What a start reads and would refuse: looked at with the same functions, so that both say the same.

use crate::app::doctor::Finding;
use crate::app::{open, tls};
use crate::config::{Settings, StorageEngine};
use crate::store;

pub(super) fn examine(settings: &Settings) -> Vec<Finding> {
    let files = settings.tls.as_ref().map(|files| {
        tls::tls(&files.certificate, &files.key, settings.client_certificates.ask)
            .map(drop)
            .map_err(|error| ("tls", error.to_string(), "name a certificate chain and its key, both in PEM"))
    });
    let templates = open::templates(settings)
        .map(drop)
        .map_err(|error| ("templates", error.to_string(), "`valetkey provider lint` checks a template"));
    let outbound = open::outbound(settings)
        .map(drop)
        .map_err(|error| ("outbound", error.to_string(), "mend what it names below `[outbound]`"));
    // With a database the folder holds no records.
    let folder = settings.postgres.is_none().then(|| {
        let engine = match settings.engine {
            StorageEngine::Sled => store::folder::look::<store::sled::SledEngine>(&settings.data_dir),
            StorageEngine::Redb => store::folder::look::<store::redb::RedbEngine>(&settings.data_dir),
        };
        engine.map_err(|error| ("store", error.to_string(), "see docs/storage.md and docs/backup.md"))
    });
    let looked_at = [files, Some(templates), Some(outbound), folder].into_iter().flatten();
    let refused: Vec<Finding> = looked_at
        .filter_map(Result::err)
        .map(|(check, found, remedy)| Finding::harmful(check, found, remedy))
        .collect();
    if refused.is_empty() {
        return vec![Finding::good("start", "certificates, templates and the store's mark are readable")];
    }
    refused
}
