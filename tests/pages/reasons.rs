//! Whatever the source gives as a reason has words in both languages: reasons are shown to employees and
//! admins, and are known by their English words.

use std::fs;
use std::path::Path;

use valetkey::kernel::text::Lang;
use valetkey::web::texts;

/// The rooms that decide something for or about a person or an agent.
const ROOMS: [&str; 9] = [
    "policy",
    "gateway",
    "tokens",
    "connections",
    "agents",
    "interactions",
    "jose/jws.rs",
    "web/login.rs",
    "web/portal",
];

/// What a reason is written in: its text is one of the literals up to the closing bracket, or to the end of
/// the statement.
const CALLS: [&str; 17] = [
    "refuse(",
    "Denial::bad_request(",
    "Denial::upstream(",
    "Denial::unavailable(",
    "Denial::needs_person(",
    "Self::upstream(",
    "Self::unavailable(",
    "Self::needs_person(",
    "needs_person(",
    "permit(",
    "add_reason(",
    "Refused::because(",
    "TokenError::new(",
    "TokenError::invalid_request(",
    "TokenError::unavailable(",
    "uncounted(",
    "reasons.push(",
];
const STATEMENTS: [&str; 5] =
    ["let words =", "let reason =", "RevokedBy::", "Fate::", "const OTHER_ISSUER: &str ="];

/// Errors of these files are told by their own words.
const ERRORS: [&str; 9] = [
    "gateway/path.rs",
    "gateway/call.rs",
    "gateway/stream.rs",
    "tokens/verify.rs",
    "tokens/dpop/proof.rs",
    "tokens/dpop/spent.rs",
    "connections/complete.rs",
    "connections/begin.rs",
    "jose/jws.rs",
];

/// Literals in the places above that are no reasons.
const OTHERS: [&str; 4] = [
    // A sentence and what is filled in at its end: the texts have both wholes.
    "the items of the provider's answer cannot be counted: {why}",
    "it is longer than 8 MiB: ask for fewer",
    "it is not whole, plain JSON",
    // Problems of a registration, told where it is made.
    "write 1 to {WORD_MAX} characters",
];

#[test]
fn every_reason_has_words_in_chinese() {
    let reasons = collected();
    assert!(reasons.len() > 150, "the source was read: {}", reasons.len());
    let silent: Vec<String> = reasons
        .iter()
        .filter(|(_, reason)| !OTHERS.contains(&reason.as_str()))
        .filter(|(_, reason)| {
            let (sentence, values) = filled(reason);
            let told = texts::rendered(Lang::Zh, "reason", &sentence);
            !told.is_some_and(|told| told != sentence && values.iter().all(|value| told.contains(value)))
        })
        .map(|(file, reason)| format!("{file}: {reason}"))
        .collect();
    assert!(silent.is_empty(), "[reason] of the texts lacks:\n{}", silent.join("\n"));
}

/// Every reason with the file that has it.
fn collected() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for room in ROOMS {
        files.push(root.join(room));
    }
    let mut found = Vec::new();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let is_test = name.contains("/tests/") || name.ends_with("/tests.rs");
        if is_test || !name.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code: String = text
            .split("#[cfg(test)]")
            .next()
            .unwrap()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//") && !line.contains("tracing::"))
            .flat_map(|line| [line, "\n"])
            .collect();
        let calls = CALLS.iter().flat_map(|call| after(&code, call, true));
        let statements = STATEMENTS.iter().flat_map(|start| after(&code, start, false));
        let errors = ERRORS.contains(&name.as_str()).then(|| after(&code, "#[error(", true));
        let all = calls.chain(statements).chain(errors.into_iter().flatten());
        found.extend(
            all.filter(|literal| literal.len() > 2 && literal.contains(' ')).map(|l| (name.clone(), l)),
        );
    }
    found.sort();
    found.dedup();
    found
}

/// The literals after each place where something begins.
fn after(code: &str, start: &str, is_call: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start) {
        let whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if !whole_word || code[..at].ends_with("fn ") {
            continue;
        }
        found.extend(literals(&code[at + start.len()..], is_call));
    }
    found
}

/// The literals up to the bracket that closes, or to the end of a statement or an arm.
fn literals(code: &str, is_call: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut depth = 0;
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => found.push(literal(&mut chars)),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ';' | ',' if depth == 0 && !is_call => break,
            _ => {}
        }
    }
    found
}

fn literal(chars: &mut std::str::Chars<'_>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('\n') => *chars = chars.as_str().trim_start().chars(),
                Some(escaped) => text.push(escaped),
                None => {}
            },
            _ => text.push(c),
        }
    }
    text
}

/// A format with something at each of its places, and what that is.
fn filled(format: &str) -> (String, Vec<String>) {
    let mut pieces = format.split('{');
    let mut sentence = pieces.next().unwrap().to_owned();
    let mut values = Vec::new();
    for (at, piece) in pieces.enumerate() {
        let value = format!("x{at}");
        sentence.push_str(&value);
        sentence.push_str(piece.split_once('}').unwrap().1);
        values.push(value);
    }
    (sentence, values)
}
