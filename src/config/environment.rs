//! `VALETKEY_*` variables override the file: `VALETKEY_LISTEN`, `VALETKEY_OUTBOUND__PROXY`; two
//! underscores separate a section from its key. Values are read as TOML where that is not a text.
//!
//! Only those whose first part is a key of the settings are settings. Others begin alike: what the command line and
//! the SDKs read, what the settings themselves name, and what Kubernetes sets beside a service called `valetkey`.

use toml::{Table, Value};

use crate::config::raw::{KEYS, RawSettings};
use crate::config::settings::ConfigError;

const PREFIX: &str = "VALETKEY_";

/// What the command line and the SDKs read. `VALETKEY_ISSUER` is a setting as well, with the same
/// meaning.
const READ_ELSEWHERE: [&str; 15] = [
    "VALETKEY_CONFIG",
    "VALETKEY_SERVER",
    "VALETKEY_ADMIN_TOKEN",
    "VALETKEY_PASSPHRASE",
    "VALETKEY_CA",
    "VALETKEY_MIGRATE_TO",
    "VALETKEY_CLIENT_ID",
    "VALETKEY_CLIENT_SECRET",
    "VALETKEY_CLIENT_SECRET_FILE",
    "VALETKEY_CLIENT_ASSERTION_FILE",
    "VALETKEY_CLIENT_CERTIFICATE_FILE",
    "VALETKEY_CLIENT_CERTIFICATE_KEY_FILE",
    "VALETKEY_PRIVATE_KEY_FILE",
    "VALETKEY_KEY_ID",
    "VALETKEY_AZURE_RESOURCE",
];

/// The variables that begin as settings do.
pub struct Variables {
    settings: Vec<Variable>,
    others: Vec<String>,
}

struct Variable {
    name: String,
    keys: Vec<String>,
    value: Value,
}

impl Variables {
    /// Sorts them out of the environment.
    pub fn among(environment: impl Iterator<Item = (String, String)>) -> Self {
        let (mut settings, mut others) = (Vec::new(), Vec::new());
        for (name, value) in environment {
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
            if keys.first().is_some_and(|first| KEYS.contains(&first.as_str())) {
                settings.push(Variable { keys, value: typed(&value), name });
            } else {
                others.push(name);
            }
        }
        // The environment has no order, and the same settings must come of it each time.
        settings.sort_by(|one, other| one.name.cmp(&other.name));
        others.sort();
        Self { settings, others }
    }

    /// The file's table with the variables laid over it. The table alone is a valid one.
    ///
    /// # Errors
    /// Names the variable that does not fit.
    pub fn over(&self, table: &Table) -> Result<RawSettings, ConfigError> {
        let error = match self.laid(table, None) {
            Ok(raw) => return Ok(raw),
            Err(error) => error,
        };
        let alone = self.settings.iter().filter(|variable| self.laid(table, Some(&variable.name)).is_ok());
        let mut names: Vec<&str> = alone.map(|variable| variable.name.as_str()).collect();
        if names.is_empty() {
            names = self.settings.iter().map(|variable| variable.name.as_str()).collect();
        }
        Err(ConfigError::Variable { names: listed(&names), problem: error.message().to_owned() })
    }

    fn laid(&self, table: &Table, without: Option<&str>) -> Result<RawSettings, toml::de::Error> {
        let mut table = table.clone();
        for variable in self.settings.iter().filter(|variable| Some(variable.name.as_str()) != without) {
            insert(&mut table, &variable.keys, variable.value.clone());
        }
        table.try_into()
    }

    /// The same error, with the variable where one has set that key.
    pub fn blamed(&self, error: ConfigError) -> ConfigError {
        let ConfigError::Invalid { key, .. } = &error else { return error };
        let sets = |variable: &&Variable| variable.keys.join(".") == *key;
        match self.settings.iter().find(sets) {
            Some(variable) => {
                ConfigError::Variable { names: listed(&[&variable.name]), problem: error.to_string() }
            }
            None => error,
        }
    }

    /// Those that nobody reads, unless the settings name them.
    pub fn unread(&self, named: &[String]) -> Vec<String> {
        let is_read = |name: &String| {
            READ_ELSEWHERE.contains(&name.as_str()) || named.contains(name) || is_of_kubernetes(name)
        };
        self.others.iter().filter(|name| !is_read(name)).cloned().collect()
    }
}

/// Kubernetes tells each pod of a service called `valetkey` in these.
fn is_of_kubernetes(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    ["SERVICE_HOST", "SERVICE_PORT", "PORT"]
        .iter()
        .any(|word| rest.strip_prefix(word).is_some_and(|after| after.is_empty() || after.starts_with('_')))
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
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
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables::among(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn file() -> Table {
        toml::from_str("listen = \"127.0.0.1:1\"\n[storage]\nreserve_mib = 1").unwrap()
    }

    #[test]
    fn a_variable_overrides_the_file_and_other_variables_are_left_alone() {
        let variables = variables(&[
            ("VALETKEY_LISTEN", "127.0.0.1:2"),
            ("VALETKEY_STORAGE__RESERVE_MIB", "64"),
            ("VALETKEY_STORAGE__POSTGRES__ENV", "VALETKEY_DATABASE"),
            ("VALETKEY_DATABASE", "x"),
            ("VALETKEY_ADMIN_TOKEN", "x"),
            ("VALETKEY_CLIENT_ID", "agt_x"),
            ("VALETKEY_SERVICE_HOST", "10.0.0.1"),
            ("VALETKEY_SERVICE_PORT_HTTPS", "443"),
            ("VALETKEY_PORT", "tcp://10.0.0.1:443"),
            ("VALETKEY_PORT_443_TCP_ADDR", "10.0.0.1"),
            ("VALETKEY_LISTNE", "127.0.0.1:3"),
            ("PATH", "/bin"),
        ]);
        let raw = variables.over(&file()).unwrap();
        assert_eq!(raw.listen.unwrap().port(), 2);
        assert_eq!(raw.storage.reserve_mib, Some(64));
        let named: Vec<String> = raw.variables().map(str::to_owned).collect();
        assert_eq!(named, ["VALETKEY_DATABASE"]);
        assert_eq!(variables.unread(&named), ["VALETKEY_LISTNE"], "a slip is told");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_variable() {
        let table: [(&[(&str, &str)], &str); 4] = [
            (&[("VALETKEY_LISTEN", "somewhere"), ("VALETKEY_LOG", "info")], "variable `VALETKEY_LISTEN`: "),
            (&[("VALETKEY_OUTBOUND__PRXY", "x")], "variable `VALETKEY_OUTBOUND__PRXY`: unknown field `prxy`"),
            (
                &[("VALETKEY_TLS__KEY", "tls.key")],
                "variable `VALETKEY_TLS__KEY`: missing field `certificate`",
            ),
            (
                &[("VALETKEY_LOG", "1"), ("VALETKEY_WORKERS", "x")],
                "variable `VALETKEY_LOG`, `VALETKEY_WORKERS`: ",
            ),
        ];
        for (pairs, words) in table {
            let error = variables(pairs).over(&file()).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }

    #[test]
    fn every_key_of_the_settings_is_known() {
        let error = toml::from_str::<RawSettings>("surprise = 1").unwrap_err().to_string();
        let (_, listed) = error.split_once("expected one of ").unwrap();
        let listed: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, KEYS);
    }
}
