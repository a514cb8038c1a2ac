//! The dashboard shows metrics that exist.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use valetkey::server::metrics::Metrics;

/// Words that start with our prefix.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("valetkey_")).map(str::to_owned).collect()
}

/// What the sources register. A family that has counted nothing yet is not shown, so a fresh broker cannot be asked.
fn registered(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            registered(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split("registry.register(").skip(1) {
                let name = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                found.extend(name.map(|name| format!("valetkey_{name}")));
            }
        }
    }
}

#[test]
fn every_metric_on_the_dashboard_is_one_that_the_broker_registers() {
    let board = include_str!("../docs/deploy/grafana.json");
    assert!(serde_json::from_str::<serde_json::Value>(board).is_ok());
    let mut families = BTreeSet::new();
    registered(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut families);
    let asked = named(board);
    assert!(asked.len() >= 10, "{asked:?}");
    for name in asked {
        let family = ["_total", "_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix).filter(|family| families.contains(*family)))
            .unwrap_or(&name);
        assert!(families.contains(family), "`{name}` is on the dashboard, and not among {families:?}");
    }
}

#[test]
fn what_is_registered_is_shown_under_our_prefix() {
    let metrics = Metrics::with(|registry| {
        let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
        registry.register("spool_failures", "Answers that could not be spooled", counter);
    });
    assert!(metrics.text().contains("valetkey_spool_failures_total 0"), "{}", metrics.text());
}
