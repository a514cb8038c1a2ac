//! A crowd of made-up calls: what the provider gets is what was judged, and nothing else gets through.
//!
//! `VALETKEY_MADE_UP=1000000 cargo test --test api made_up` runs a million; without the variable it is few.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use valetkey::gateway::{RawCall, RequestBody};
use valetkey::kernel::entropy::{Entropy, SeededEntropy};
use valetkey::net::http::HeaderMap;
use valetkey::tokens::VerifiedToken;

use crate::app::TestApp;

const SEEDS: [&str; 10] = [
    "/v1.0/me",
    "/v1.0/me/messages",
    "/v1.0/me/messages/AAMkAD=",
    "/v1.0/me/mailFolders/inbox/messages",
    "/v1.0/me/drive/root/children",
    "/v1.0/me/events",
    "/v1.0/users/bob@example.com/messages",
    "/v1.0/$batch",
    "/beta/me/messages",
    "/v1.0/me/sendMail",
];
const PIECES: [&str; 36] = [
    "/",
    "//",
    "/.",
    "/..",
    "%2e%2e",
    "%2F",
    "%5c",
    "\\",
    ";a=b",
    "%00",
    "%25",
    "%252f",
    "#",
    "?",
    "&",
    "=",
    "'",
    "(x)",
    "$value",
    "$count",
    "$ref",
    "me",
    "ME",
    "users",
    "messages",
    "Messages",
    "v1.0",
    "beta",
    "%6d%65",
    "%C0%AF",
    "%E9%92%A5",
    "..;",
    "*",
    ":",
    "@",
    "+",
];
const QUERIES: [&str; 14] = [
    "$top=1",
    "$select=id",
    "$expand=attachments",
    "%24expand=x",
    "$filter=isRead%20eq%20false",
    "a=1;b=2",
    "a=%2526",
    "x='y'",
    "=",
    "$skip=1",
    "access_token=stolen",
    "$search=%22x%22",
    "a[]=1",
    "a=%00",
];

/// Numbers that are the same in every run.
struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % bound as u64).unwrap()
    }

    fn path(&self) -> String {
        let mut path = SEEDS[self.below(SEEDS.len())].to_owned();
        for _ in 0..self.below(4) {
            let places: Vec<usize> = path.char_indices().map(|(at, _)| at).chain([path.len()]).collect();
            let at = places[self.below(places.len())];
            match self.below(3) {
                0 => path.insert_str(at, PIECES[self.below(PIECES.len())]),
                1 => path.truncate(at.max(1)),
                _ => path.push_str(&format!("/{}", PIECES[self.below(PIECES.len())])),
            }
        }
        path
    }

    /// A query with a mark of its own, by which the provider's record is found again.
    fn query(&self, mark: usize) -> String {
        let mut query = format!("mark={mark}");
        for _ in 0..self.below(3) {
            query.push('&');
            query.push_str(QUERIES[self.below(QUERIES.len())]);
        }
        query
    }
}

/// A reading of the template of the test's own: segment by segment, names in braces stand for anything.
fn is_in_the_table(patterns: &[String], method: &str, path: &str) -> bool {
    let method = if method == "HEAD" { "GET" } else { method };
    patterns.iter().any(|pattern| {
        let (of, pattern) = pattern.split_once(' ').unwrap();
        let (wanted, given): (Vec<&str>, Vec<&str>) =
            (pattern.split('/').collect(), path.split('/').collect());
        let fits =
            |(wanted, given): (&&str, &&str)| wanted.starts_with('{') || wanted.eq_ignore_ascii_case(given);
        of == method && wanted.len() == given.len() && wanted.iter().zip(&given).all(fits)
    })
}

async fn status_of(
    app: &TestApp,
    verified: &Arc<VerifiedToken>,
    method: &str,
    path: &str,
    query: &str,
) -> u16 {
    let call = RawCall {
        provider: "entra".to_owned(),
        api: "graph".to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        query: Some(query.to_owned()),
        headers: HeaderMap::new(),
        body: RequestBody::default(),
        traceparent: None,
        client_address: None,
    };
    match app.demo.services.gateway.serve(verified, call).await {
        Ok(answer) => answer.status,
        Err(denial) => denial.status,
    }
}

#[actix_web::test]
async fn made_up_calls_reach_the_provider_as_they_were_judged_or_not_at_all() {
    let wanted: usize = std::env::var("VALETKEY_MADE_UP").map_or(20_000, |count| count.parse().unwrap());
    let mut app = TestApp::start().await;
    let mut token = app.alice_has_granted("entra", "User.Read Mail.Read Files.Read").await.token();
    let templates = valetkey::providers::load::Templates::embedded().unwrap();
    let loaded = templates.get("entra").unwrap();
    let patterns: Vec<String> = loaded.routes.iter().map(|route| route.pattern.clone()).collect();
    let dice = Dice(SeededEntropy::new(20_261_122));
    let (mut done, mut passed) = (0, 0);
    while done < wanted {
        let batch = (wanted / 100).clamp(500, 5000).min(wanted - done);
        let before = app.data_calls_at("entra").await.len();
        let verified = Arc::new(app.verified(&token).await);
        let calls: Vec<(&str, String, String)> = (0..batch)
            .map(|at| {
                let method = ["GET", "GET", "GET", "HEAD", "POST", "DELETE"][dice.below(6)];
                (method, dice.path(), dice.query(done + at))
            })
            .collect();
        let statuses: Vec<u16> = stream::iter(&calls)
            .map(|(method, path, query)| status_of(&app, &verified, method, path, query))
            .buffered(32)
            .collect()
            .await;
        let all = app.data_calls_at("entra").await;
        let seen: HashMap<String, &Value> = all[before..]
            .iter()
            .map(|seen| (seen["query"].as_str().unwrap().split('&').next().unwrap().to_owned(), seen))
            .collect();
        for ((method, path, query), status) in calls.iter().zip(&statuses) {
            let call = format!("{method} {path}?{query}: {status}");
            let record = seen.get(query.split('&').next().unwrap());
            if let Some(record) = record {
                assert!(record["path"].as_str().unwrap().ends_with(path.as_str()), "{call} became {record}");
                let sent = record["query"].as_str().unwrap().replace("%27", "'");
                assert_eq!(sent, query.replace("%27", "'"), "{call} became {record}");
                assert_eq!(record["method"], *method, "{call}");
                assert!(is_in_the_table(&patterns, method, path), "{call} reached the provider");
            }
            if (200..300).contains(status) {
                assert!(is_in_the_table(&patterns, method, path), "{call}");
                assert!(record.is_some(), "{call}: answered without the provider");
                passed += 1;
            }
        }
        done += batch;
        token = app.agent_asks(&crate::app::Ask::at("entra")).await.token();
    }
    assert!(passed > wanted / 50, "{passed} of {wanted} passed: the calls are too odd to try anything");
    println!("made-up calls: {done}, of which {passed} were answered by the provider");
    app.stops().await;
}
