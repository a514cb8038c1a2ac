//! The figures of the README: per class of attempt, how many get out with the provider token and how many through
//! Valetkey. Only attempts that the vendor's documentation says would be served count.

use std::collections::BTreeMap;

use crate::row::{Expect, Table};
use crate::stage::Stage;
use crate::try_row::{self, Outcome};
use crate::{dingtalk, entra, lark, okta, wecom};

/// The lines of the table, and the classes of attempts that each one counts.
const LINES: &[(&str, &[&str])] = &[
    (
        "another folder, document, mail folder, sender, calendar or chat",
        &[
            "other folder",
            "other document",
            "other sender",
            "other calendar",
            "other chat",
            "wiki",
            "attachment",
            "export",
            "raw message",
        ],
    ),
    ("another date or time window", &["other date", "other window"]),
    ("sending, forwarding or answering to somebody else", &["other recipient", "forward and reply"]),
    ("another person's data with the app's own token", &["impersonation"]),
    ("a batch with one call outside", &["batch"]),
    (
        "search, delta, paging, filters, fewer fields",
        &["search", "delta", "paging", "filter", "narrowed fields"],
    ),
    ("`$expand`", &["expand"]),
    (
        "aliases, keys, paths, case, other drives, beta",
        &["alias", "key syntax", "by path", "case", "drive by id", "beta"],
    ),
    (
        "share links, invitations, subscriptions, Copilot",
        &["share link", "invite", "subscription", "copilot"],
    ),
    ("shortcuts to somewhere else", &["shortcut"]),
    (
        "redirects, download and upload addresses, previews",
        &["redirect", "download URL", "upload session", "preview"],
    ),
    ("moving or copying in or out", &["move and copy"]),
    ("writing with a grant to read", &["write", "write under a read scope"]),
    ("more than the scope's title says", &["more under the scope"]),
];

/// The line that counts a class.
fn line_of(class: &str) -> usize {
    let found = LINES.iter().position(|(_, classes)| classes.contains(&class));
    found.unwrap_or_else(|| panic!("no line counts `{class}`"))
}

/// The figures of a line.
#[derive(Clone, Copy, Default)]
struct Figures {
    tried: usize,
    raw: usize,
    through: usize,
}

impl Figures {
    fn add(&mut self, outcome: &Outcome) {
        self.tried += 1;
        self.raw += usize::from(outcome.raw_got_out);
        self.through += usize::from(outcome.got_out);
    }
}

async fn outcomes(table: Table) -> (Table, Vec<Outcome>) {
    let mut stage = Stage::of(&table).await;
    match table.provider {
        "entra" => entra::learn(&mut stage).await,
        "lark" => lark::learn(&mut stage).await,
        "dingtalk" => dingtalk::learn(&mut stage).await,
        "wecom" => wecom::learn(&mut stage).await,
        _ => okta::learn(&mut stage).await,
    }
    let outcomes = try_row::all(&table, &mut stage).await;
    stage.app.stops().await;
    (table, outcomes)
}

/// Prints the table: `cargo test --test limits side_by_side -- --ignored --nocapture`, or `scripts/side-by-side`.
#[actix_web::test]
#[ignore = "prints figures; the tables are tested one by one"]
async fn side_by_side() {
    let mut lines = vec![Figures::default(); LINES.len()];
    let mut total = Figures::default();
    let mut vendors: BTreeMap<&'static str, usize> = BTreeMap::new();
    for table in [entra::table(), lark::table(), dingtalk::table(), wecom::table(), okta::table()] {
        let (table, outcomes) = outcomes(table).await;
        for outcome in outcomes.iter().filter(|o| o.row.expect != Expect::Allowed && o.row.documented) {
            lines[line_of(outcome.row.class)].add(outcome);
            total.add(outcome);
            *vendors.entry(table.provider).or_default() += 1;
        }
    }
    println!("| attempt to get outside of the grant | tried | with the provider token | through Valetkey |");
    println!("| --- | ---: | ---: | ---: |");
    for ((name, _), line) in LINES.iter().zip(&lines) {
        println!("| {name} | {} | {} | {} |", line.tried, line.raw, line.through);
    }
    println!("| **all** | **{}** | **{}** | **{}** |", total.tried, total.raw, total.through);
    println!("\nBy provider: {vendors:?}");
    assert_eq!(total.through, 0);
}
