//! What commands print.

use std::io::Write;

use serde_json::Value;

/// Prints one line. A closed pipe (`| head`) is not an error.
pub fn line(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.as_ref());
}

/// Prints what went wrong, to standard error.
pub fn problem(text: &str) {
    raw_problem(&format!("valetkey: {text}"));
}

/// Prints what went wrong as it is, for programs that read it.
pub fn raw_problem(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a list: as JSON, or as a table of the named members.
pub fn list(page: &Value, as_json: bool, columns: &[&str]) {
    if as_json {
        line(page.to_string());
        return;
    }
    let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let rows: Vec<Vec<String>> =
        items.iter().map(|item| columns.iter().map(|column| cell(item.get(*column))).collect()).collect();
    let header: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            rows.iter()
                .chain([&header])
                .filter_map(|row| row.get(at))
                .map(|c| c.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in std::iter::once(&header).chain(&rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(cells.join("  ").trim_end());
    }
}

/// Prints one object: as JSON, or as lines of `name: value`.
pub fn object(value: &Value, as_json: bool) {
    if as_json {
        line(value.to_string());
    } else if let Some(members) = value.as_object() {
        for (name, value) in members {
            line(format!("{name}: {}", cell(Some(value))));
        }
    }
}

/// Prints a report: as JSON, or lines of `name: value` with the items of its lists below.
pub fn report(value: &Value, as_json: bool) {
    if as_json {
        line(value.to_string());
        return;
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let Some(items) = value.as_array() else {
            line(format!("{name}: {}", cell(Some(value))));
            continue;
        };
        line(format!("{name}: {}", items.len()));
        for item in items {
            let Some(members) = item.as_object() else {
                line(format!("  {}", cell(Some(item))));
                continue;
            };
            let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            let told = members.iter().filter(|(_, value)| !is_empty(value));
            let words: Vec<String> =
                told.map(|(name, value)| format!("{name}={}", cell(Some(value)))).collect();
            line(format!("  {}", words.join("  ")));
        }
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
