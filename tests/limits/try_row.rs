//! Tries one row both ways, and holds the agent's answer and the sandbox's record against what is expected.

use serde_json::Value;
use valetkey::sandbox::record::Seen;

use crate::row::{Bounds, Expect, Row, Table};
use crate::stage::{Stage, Thing};
use crate::wire::Answer;

/// What came of a row.
pub struct Outcome {
    pub row: Row,
    /// With the provider token: served, and what lies outside was reached.
    pub raw_got_out: bool,
    /// Through Valetkey: what lies outside was reached.
    pub got_out: bool,
    /// The provider was asked for what lies outside, to check it.
    pub looked: bool,
    /// What is not as expected.
    pub faults: Vec<String>,
}

/// Tries every row of a table, and reports all that is wrong at once.
pub async fn all(table: &Table, stage: &mut Stage) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for row in &table.rows {
        outcomes.push(one(table, stage, row).await);
    }
    println!("{}", summary(table, &outcomes));
    outcomes
}

/// What the sandbox's record says of the refusals.
fn summary(table: &Table, outcomes: &[Outcome]) -> String {
    let count = |is: &dyn Fn(&&Outcome) -> bool| outcomes.iter().filter(is).count();
    let refused = |o: &&Outcome| matches!(o.row.expect, Expect::Refused(_) | Expect::Malformed);
    let allowed = count(&|o| o.row.expect == Expect::Allowed);
    let whole = count(&|o| refused(o));
    let looked = count(&|o| refused(o) && o.looked);
    format!(
        "{}: {} rows: {allowed} allowed, {} clipped, {whole} refused, {looked} of them after a look at what \
         was named; nothing outside released",
        table.provider,
        outcomes.len(),
        outcomes.len() - allowed - whole,
    )
}

/// Fails with every fault of every row.
pub fn hold(outcomes: &[Outcome]) {
    let faulty = outcomes.iter().filter(|outcome| !outcome.faults.is_empty());
    let lines: Vec<String> = faulty
        .map(|o| {
            format!("[{}] {} {}\n      {}", o.row.limits, o.row.call, o.row.body, o.faults.join("\n      "))
        })
        .collect();
    assert!(lines.is_empty(), "{} of {} rows:\n{}", lines.len(), outcomes.len(), lines.join("\n"));
}

async fn one(table: &Table, stage: &mut Stage, row: &Row) -> Outcome {
    let bounds = table.bounds_of(row);
    stage.token(bounds).await;
    let before = stage.desk().calls().len();
    let explained = stage.explained(bounds, row).await;
    let asked = stage.seen_since(before);
    let answer = stage.through(bounds, row).await;
    let seen = stage.seen_since(before);
    let mut released = outside_in(stage, bounds, &answer);
    if answer.header("x-valetkey-decision") == Some("deny") {
        // A denial repeats what the agent asked for.
        let asked = format!("{} {}", stage.filled(row.path()), stage.filled(row.body));
        released.retain(|id| !asked.contains(id.as_str()));
    }
    let reached = is_served(&answer) && (!released.is_empty() || changed(stage, row, &seen));
    let got_out = row.expect != Expect::Allowed && reached;
    let mut faults = Vec::new();
    if !released.is_empty() {
        faults.push(format!("released {released:?}: {} {}", answer.status, cut(&answer)));
    }
    match row.expect {
        Expect::Allowed if !is_served(&answer) => {
            faults.push(format!("not allowed: {} {}", answer.status, cut(&answer)));
        }
        Expect::Clipped if !is_served(&answer) => {
            faults.push(format!("refused whole: {} {}", answer.status, cut(&answer)));
        }
        Expect::Refused(code) => faults.extend(not_refused(stage, row, code, &answer, &seen)),
        Expect::Malformed if answer.status != 400 || !seen.is_empty() => {
            faults.push(format!("not malformed: {} {} {}", answer.status, cut(&answer), listed(&seen)));
        }
        Expect::Allowed | Expect::Clipped | Expect::Harmless | Expect::Malformed => {}
    }
    if !asked.is_empty() {
        faults.push(format!("to explain it the provider was called: {}", listed(&asked)));
    }
    faults.extend(misexplained(&explained, &answer));
    let outside = outside_ids(stage, bounds);
    let looked = seen.iter().any(|call| call.given.iter().any(|id| outside.contains(id)));
    if row.expect != Expect::Allowed {
        // Look-ups ask an API; the bytes of what lies outside are never fetched.
        let stored = |call: &&Seen| call.host != api_host(table) && call.status < 400;
        faults.extend(seen.iter().filter(stored).map(|call| format!("bytes were fetched: {}", call.path)));
    }
    let mut raw_got_out = false;
    if row.expect != Expect::Allowed {
        stage.put_back().await;
        let raw = stage.directly(row).await;
        raw_got_out = is_served(&raw) && (row.writes() || !outside_in(stage, bounds, &raw).is_empty());
        if !raw_got_out && row.documented {
            faults.push(format!("no real attempt: {} {}", raw.status, cut(&raw)));
        }
    }
    if row.method() != "GET" {
        stage.put_back().await;
    }
    Outcome { row: *row, raw_got_out, got_out, looked, faults }
}

/// An explanation says what the gateway does, as far as that can be known without asking the provider: what it
/// says would be refused is refused in the same words, and what is refused although it would not be was looked up
/// or tested in the answer.
fn misexplained(explained: &Value, answer: &Answer) -> Option<String> {
    let steps = explained["steps"].as_array().unwrap();
    let depends = steps
        .iter()
        .any(|step| matches!(step["verdict"].as_str(), Some("will_be_looked_up" | "will_be_tested")));
    // How much of a token's own budget is used is not the grant's to know.
    let kind = answer.json()["limit"]["kind"].as_str().unwrap_or_default().to_owned();
    let depends = depends || ["once", "calls", "items", "bytes"].contains(&kind.as_str());
    // A provider that fails decides nothing.
    if answer.status >= 500 {
        return None;
    }
    let is_denied = answer.header("x-valetkey-decision") == Some("deny");
    let last = steps.last().unwrap()["words"].as_str().unwrap();
    let fault = match (explained["permitted"] == true, is_denied) {
        (true, false) => None,
        (true, true) => (!depends).then_some("refused, though it was said to pass"),
        (false, false) => Some("let through, though it was said to be refused"),
        (false, true) if !answer.text("error_description").starts_with(last) => {
            Some("refused in other words")
        }
        (false, true) => None,
    };
    fault.map(|fault| format!("{fault}: {last:?}, {} {}", answer.status, cut(answer)))
}

/// A refusal is in the gateway's words, names the event, and did nothing at the provider.
fn not_refused(stage: &Stage, row: &Row, code: &str, answer: &Answer, seen: &[Seen]) -> Vec<String> {
    let mut faults = Vec::new();
    // A budget that is full again later says when.
    let is_refused = answer.status == 403 || answer.status == 429 && answer.header("retry-after").is_some();
    if !is_refused || answer.error() != code {
        faults.push(format!("not {code}: {} {}", answer.status, cut(answer)));
    }
    if answer.header("x-valetkey-event").is_none() {
        faults.push("no event".to_owned());
    }
    if code == "route_not_allowed" && !seen.is_empty() {
        faults.push(format!("a closed route was called: {}", listed(seen)));
    }
    if changed(stage, row, seen) {
        faults.push(format!("the call itself was made: {}", listed(seen)));
    }
    faults
}

/// Whether the row's own call reached the provider and was one that changes something.
fn changed(stage: &Stage, row: &Row, seen: &[Seen]) -> bool {
    let path = stage.filled(row.path());
    let path = path.split('?').next().unwrap();
    let same = |call: &&Seen| call.method == row.method() && call.path.eq_ignore_ascii_case(path);
    row.writes() && seen.iter().any(|call| same(&call) && call.status < 400)
}

/// Served in the vendor's own terms: some say so in the body only.
fn is_served(answer: &Answer) -> bool {
    let document = answer.json();
    let is_zero = |name: &str| document.get(name).is_none_or(|code| code == 0 || code.is_string());
    (200..400).contains(&answer.status) && is_zero("code") && is_zero("errcode")
}

/// The words and identifiers of what lies outside that stand in an answer.
fn outside_in(stage: &Stage, bounds: &Bounds, answer: &Answer) -> Vec<String> {
    let text = format!("{}\n{}", answer.head, answer.body_text());
    let words = bounds.words.iter().map(|word| (*word).to_owned());
    words.chain(outside_ids(stage, bounds)).filter(|word| text.contains(word.as_str())).collect()
}

/// The identifiers of what lies outside.
fn outside_ids(stage: &Stage, bounds: &Bounds) -> Vec<String> {
    let beyond = |thing: &&Thing| {
        // Short numbers stand everywhere.
        thing.id.len() >= 8 && bounds.words.iter().any(|word| thing.beyond.contains(word))
    };
    stage.things.values().filter(beyond).map(|thing| thing.id.clone()).collect()
}

/// The host of the table's API; the others hand out bytes.
fn api_host(table: &Table) -> &'static str {
    match table.api {
        "entra/graph" => "graph.microsoft.com",
        "lark/open" => "open.feishu.cn",
        "dingtalk/api" => "api.dingtalk.com",
        "wecom/qyapi" => "qyapi.weixin.qq.com",
        _ => "example.okta.com",
    }
}

fn listed(seen: &[Seen]) -> String {
    let calls: Vec<String> = seen.iter().map(|s| format!("{} {}?{}", s.method, s.path, s.query)).collect();
    calls.join(", ")
}

fn cut(answer: &Answer) -> String {
    answer.body_text().chars().take(260).collect()
}
