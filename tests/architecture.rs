//! Holds the import order and the libraries' rooms (see the map in `src/lib.rs`). Reads the sources as
//! text: a rule that is broken is named with file and line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A room imports strictly lower ranks only.
const RANKS: [(&str, u8); 23] = [
    ("kernel", 0),
    ("config", 1),
    ("jose", 1),
    ("model", 1),
    ("vault", 2),
    ("store", 2),
    ("providers", 2),
    ("net", 2),
    ("server", 2),
    ("upstream", 3),
    ("audit", 3),
    ("agents", 4),
    ("audiences", 4),
    ("connections", 4),
    ("custody", 4),
    ("risk", 4),
    ("policy", 5),
    ("interactions", 6),
    ("tokens", 7),
    ("gateway", 8),
    ("web", 8),
    ("sandbox", 8),
    ("app", 9),
];
const CLI: u8 = 10;

/// A library, and the beginnings of the paths below `src` that may name it.
const LIBRARIES: [(&str, &[&str]); 10] = [
    ("actix_web", &["server", "gateway", "web", "sandbox", "app"]),
    ("reqwest", &["net"]),
    ("sled", &["store/sled.rs"]),
    ("redb", &["store/redb"]),
    ("age", &["custody"]),
    ("tokio_postgres", &["store/postgres"]),
    ("aes_gcm", &["vault"]),
    ("argon2", &["vault/seal", "web/password"]),
    ("clap", &["cli", "main.rs"]),
    ("anyhow", &["cli", "app", "main.rs"]),
];

const PROVIDERS: [&str; 5] = ["dingtalk", "lark", "wecom", "entra", "okta"];
const NAME_PROVIDERS: [&str; 2] = ["sandbox", "app/demo"];

struct Source {
    /// Below `src`.
    path: String,
    /// Lines of code with their numbers; comments are left out.
    lines: Vec<(usize, String)>,
    /// The line at which unit tests begin.
    tests_from: usize,
}

impl Source {
    /// Code without unit tests, and without the made-up contents of pages (`fn sample`).
    fn product_lines(&self) -> Vec<&(usize, String)> {
        let mut sample_ends: Option<String> = None;
        let mut kept = Vec::new();
        for entry in self.lines.iter().filter(|(number, _)| *number < self.tests_from) {
            let line = &entry.1;
            if line.contains("fn sample") {
                let indent = line.len() - line.trim_start().len();
                sample_ends = Some(format!("{}}}", " ".repeat(indent)));
            } else if sample_ends.as_ref() == Some(line) {
                sample_ends = None;
            } else if sample_ends.is_none() {
                kept.push(entry);
            }
        }
        kept
    }
}

fn sources() -> Vec<Source> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let is_code = |line: &&(usize, String)| !line.1.trim_start().starts_with("//");
        let lines: Vec<_> = text.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned())).collect();
        let is_test_file = path.to_string_lossy().ends_with("tests.rs");
        let marked = lines.iter().find(|(_, line)| line.trim() == "#[cfg(test)]").map_or(usize::MAX, |l| l.0);
        Source {
            path: path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(),
            lines: lines.iter().filter(is_code).cloned().collect(),
            tests_from: if is_test_file { 0 } else { marked },
        }
    };
    found.into_iter().map(read).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What follows each `crate::` in a line; a list in braces counts as several.
fn rooms_named(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, found) in line.match_indices("crate::") {
        if line[..at].ends_with(is_word) {
            continue;
        }
        let rest = &line[at + found.len()..];
        let parts: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split(',').collect(),
            None => vec![rest],
        };
        for part in parts {
            rooms.push(part.trim().split(|c| !is_word(c)).next().unwrap_or_default().to_owned());
        }
    }
    rooms
}

fn rank(room: &str) -> Option<u8> {
    if room == "cli" {
        Some(CLI)
    } else {
        RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
    }
}

/// Whether a line names a library: as a path's first part, in `use`, or in an attribute.
fn names_library(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + library.len()..]);
        let begins = !before.ends_with(is_word) && !before.ends_with("::");
        begins && (after.starts_with("::") || (before.trim_end().ends_with("use") && after.starts_with(';')))
    })
}

fn names_provider(line: &str, provider: &str) -> bool {
    let line = line.to_lowercase();
    line.match_indices(provider).any(|(at, _)| {
        !line[..at].ends_with(char::is_alphanumeric)
            && !line[at + provider.len()..].starts_with(char::is_alphanumeric)
    })
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn a_room_imports_lower_ranks_only() {
    let mut broken = Vec::new();
    for source in sources() {
        let own = source.path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        if own == "lib" || own == "main" {
            continue;
        }
        let Some(own_rank) = rank(&own) else {
            broken.push(format!("src/{}: `{own}` is not on the map", source.path));
            continue;
        };
        for (number, line) in &source.lines {
            for room in rooms_named(line).into_iter().filter(|room| *room != own) {
                // Macros and items of the crate root have no rank and would be caught by the map.
                if rank(&room).is_none_or(|rank| rank >= own_rank) {
                    broken.push(format!("src/{}:{number}: `{own}` must not import `{room}`", source.path));
                }
            }
        }
    }
    report(&broken);
}

/// The sandbox is a second, independent reading of each vendor's dialect: what it shared with the first one could not
/// be tested against it.
#[test]
fn the_sandbox_does_not_know_how_the_product_reads_providers() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("sandbox")) {
        for (number, line) in &source.lines {
            for room in rooms_named(line) {
                if !["sandbox", "kernel", "server"].contains(&room.as_str()) {
                    broken.push(format!("src/{}:{number}: the sandbox must not know `{room}`", source.path));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for source in sources() {
        for (library, rooms) in LIBRARIES {
            if rooms.iter().any(|room| source.path.starts_with(room)) {
                continue;
            }
            for (number, line) in source.lines.iter().filter(|(_, line)| names_library(line, library)) {
                broken.push(format!(
                    "src/{}:{number}: `{library}` has no place here: {}",
                    source.path,
                    line.trim()
                ));
            }
        }
    }
    report(&broken);
}

#[test]
fn no_code_names_a_provider() {
    let mut broken = Vec::new();
    for source in sources() {
        if NAME_PROVIDERS.iter().any(|path| source.path.starts_with(path)) {
            continue;
        }
        for (number, line) in source.product_lines() {
            let code = line.split(" // ").next().unwrap_or_default();
            for provider in PROVIDERS.iter().filter(|provider| names_provider(code, provider)) {
                broken.push(format!("src/{}:{number}: names `{provider}`: {}", source.path, line.trim()));
            }
        }
    }
    report(&broken);
}

#[test]
fn modules_are_named_after_what_they_hold() {
    const BANNED: [&str; 6] = ["mod.rs", "util.rs", "utils.rs", "common.rs", "helpers.rs", "prelude.rs"];
    let mut broken = Vec::new();
    for source in sources() {
        let name = source.path.rsplit('/').next().unwrap();
        if BANNED.contains(&name) || source.path == "error.rs" {
            broken.push(format!("src/{}: choose a name that says what is in it", source.path));
        }
    }
    report(&broken);
}

#[test]
fn every_kind_of_record_is_registered() {
    let known: Vec<&str> = valetkey::model::kinds::KINDS.iter().map(|kind| kind.name).collect();
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in source.lines.iter().filter(|(number, _)| *number < source.tests_from) {
            let Some((_, name)) = line.split_once("const KIND: &'static str = \"") else { continue };
            let name = name.trim_end_matches("\";");
            if !known.contains(&name) {
                broken.push(format!("src/{}:{number}: add `{name}` to model/kinds.rs", source.path));
            }
        }
    }
    report(&broken);
}

/// A room's table of routes: its file, what stands before a path and after the methods, and where it is mounted.
const TABLES: [(&str, &[&str], char, &str); 4] = [
    ("web/api.rs", &["at("], ']', "/api/v1"),
    ("web/scim.rs", &["at("], ']', "/scim/v2"),
    ("web/oauth.rs", &["endpoint(", "document("], '\n', ""),
    ("app/serve.rs", &[".route("], '\n', ""),
];

/// Paths and methods, as a table of routes writes them.
fn routes(text: &str, opener: &str, closer: char) -> Vec<(String, Vec<&'static str>)> {
    let of_table = text.split(opener).skip(1).filter_map(|rest| {
        let (path, rest) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        let taken = rest.split(closer).next()?;
        let methods = ["get", "post", "put", "patch", "delete"];
        let methods = methods.into_iter().filter(|name| taken.contains(&format!("web::{name}()")));
        Some((path.to_owned(), methods.collect()))
    });
    of_table.collect()
}

#[test]
fn every_route_for_programs_is_in_the_openapi_document() {
    let document: serde_json::Value = serde_json::from_str(&valetkey::web::api::document()).unwrap();
    let (mut broken, mut count) = (Vec::new(), 0);
    for (file, openers, closer, mount) in TABLES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
        let text = fs::read_to_string(path).unwrap();
        let found = openers.iter().flat_map(|opener| routes(&text, opener, closer));
        for (path, methods) in found {
            let described = &document["paths"][format!("{mount}{path}")];
            for method in methods {
                count += 1;
                if described.get(method).is_none() {
                    broken.push(format!("src/{file}: describe {method} {mount}{path} in web/api/openapi.rs"));
                }
            }
        }
    }
    assert!(count > 80, "only {count} routes were found: the tables are written in another way now");
    report(&broken);
}
