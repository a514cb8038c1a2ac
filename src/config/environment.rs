//! `VALETKEY_*` variables override the file: `VALETKEY_LISTEN`, `VALETKEY_OUTBOUND__PROXY`; two
//! underscores separate a section from its key. Values are read as TOML where that is not a text.

use toml::{Table, Value};

/// Variables that other parts of the program read, not settings.
const NOT_SETTINGS: [&str; 4] =
    ["VALETKEY_CONFIG", "VALETKEY_SERVER", "VALETKEY_ADMIN_TOKEN", "VALETKEY_PASSPHRASE"];

/// Lays the variables over the file's table.
pub fn overlay(table: &mut Table, variables: impl Iterator<Item = (String, String)>) {
    for (name, value) in variables {
        let Some(path) = name.strip_prefix("VALETKEY_") else { continue };
        if NOT_SETTINGS.contains(&name.as_str()) {
            continue;
        }
        let keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        insert(table, &keys, typed(&value));
    }
}

fn typed(text: &str) -> Value {
    let as_toml =
        toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut table| table.remove("v"));
    match as_toml {
        Some(value @ (Value::Boolean(_) | Value::Integer(_) | Value::Array(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

fn insert(table: &mut Table, keys: &[String], value: Value) {
    match keys {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, rest @ ..] => {
            let inner = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_overrides_the_file_and_other_variables_are_left_alone() {
        let mut table: Table =
            toml::from_str("listen = \"127.0.0.1:1\"\n[storage]\nreserve_mib = 1").unwrap();
        let variables = [
            ("VALETKEY_LISTEN", "127.0.0.1:2"),
            ("VALETKEY_STORAGE__RESERVE_MIB", "64"),
            ("VALETKEY_ADMIN_TOKEN", "x"),
            ("PATH", "/bin"),
        ];
        overlay(&mut table, variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        assert_eq!(table["listen"].as_str(), Some("127.0.0.1:2"));
        assert_eq!(table["storage"]["reserve_mib"].as_integer(), Some(64));
        assert!(!table.contains_key("admin_token") && !table.contains_key("path"));
    }
}
