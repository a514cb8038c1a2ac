//! Where limits bite: the tables of the documentation, and what must hold for every shipped template.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use valetkey::model::limit::LimitKind;
use valetkey::providers::routes::Cover;
use valetkey::providers::{Templates, coverage};

/// The limits that each template offers. One that is lost would otherwise be lost quietly: its grants would
/// be refused, and no new one could be chosen.
const OFFERED: [(&str, &[LimitKind]); 5] = {
    use LimitKind as K;
    [
        ("dingtalk", &[K::Folders, K::Documents, K::Calendars, K::Events]),
        (
            "entra",
            &[
                K::Folders,
                K::Documents,
                K::MailFolders,
                K::MailDates,
                K::Senders,
                K::Recipients,
                K::Calendars,
                K::Events,
                K::Chats,
            ],
        ),
        (
            "lark",
            &[
                K::Folders,
                K::Documents,
                K::MailFolders,
                K::MailDates,
                K::Senders,
                K::Recipients,
                K::Calendars,
                K::Events,
                K::Chats,
            ],
        ),
        ("okta", &[K::Events]),
        ("wecom", &[K::Folders, K::Documents, K::Recipients, K::Calendars, K::Events]),
    ]
};

#[test]
fn each_template_offers_its_limits() {
    let templates = Templates::embedded().unwrap();
    for (name, kinds) in OFFERED {
        let offered: BTreeSet<LimitKind> =
            templates.get(name).unwrap().template.limit.iter().map(|limit| limit.kind).collect();
        assert_eq!(offered, kinds.iter().copied().collect(), "{name}");
    }
}

#[test]
fn the_documentation_shows_where_each_limit_is_enforced() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md");
    let written = fs::read_to_string(&path).unwrap();
    let mut expected = String::new();
    let mut rest = written.as_str();
    let templates = Templates::embedded().unwrap();
    for (name, _) in OFFERED {
        let (begin, end) = (format!("<!-- limits {name} -->\n"), "<!-- end -->");
        let (before, after) = rest.split_once(&begin).unwrap_or_else(|| panic!("{name} has no table"));
        let (_, after) = after.split_once(end).unwrap();
        let table = coverage::table(&templates.get(name).unwrap());
        expected += &format!("{before}{begin}\n{table}\n{end}");
        rest = after;
    }
    expected += rest;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
        return;
    }
    assert!(written == expected, "docs/limits.md is behind: run UPDATE_DOCS=1 cargo test --test providers");
}

#[test]
fn sending_and_changing_are_never_free_of_the_limits_on_what_they_touch() {
    // What is free of a limit reaches nothing that it is about; for what deletes or moves, that is never so.
    let templates = Templates::embedded().unwrap();
    for (name, _) in OFFERED {
        let loaded = templates.get(name).unwrap();
        for line in coverage::lines(&loaded).iter().filter(|line| line.cover == Cover::Free) {
            let destroys = line.call.starts_with("DELETE") || line.call.ends_with("/move");
            assert!(
                !destroys || line.limit == LimitKind::Recipients,
                "{name} {} {:?}",
                line.call,
                line.limit
            );
        }
    }
}

#[test]
fn a_call_that_is_tested_says_where() {
    let templates = Templates::embedded().unwrap();
    for (name, _) in OFFERED {
        let loaded = templates.get(name).unwrap();
        for line in coverage::lines(&loaded) {
            assert_eq!(line.cover == Cover::Tested, !line.at.is_empty(), "{name} {line:?}");
        }
    }
}
