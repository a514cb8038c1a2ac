//! `valetkey trust`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::agents::authority_names;
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::net::http::Method;

/// Who may vouch for agents: platforms with their tokens, private authorities with their certificates.
#[derive(Debug, Subcommand)]
pub enum Trust {
    /// List the platforms that are known, and the pins of each.
    Presets(Remote),
    /// List trust sources.
    List(Remote),
    /// Show one trust source.
    Show(One),
    /// Register a platform's token issuer.
    Add(Add),
    /// Register a private certificate authority.
    AddAuthority(AddAuthority),
    /// Believe a trust source again.
    Enable(One),
    /// Believe a trust source no longer.
    Disable(One),
    /// Forget a trust source that no agent relies on.
    Remove(One),
}

/// One trust source.
#[derive(Debug, Args)]
pub struct One {
    /// The trust source's id.
    id: String,
    #[command(flatten)]
    remote: Remote,
}

/// Register a platform's token issuer.
#[derive(Debug, Args)]
pub struct Add {
    /// Name to show.
    #[arg(long)]
    name: String,
    /// The platform; see `valetkey trust presets`.
    #[arg(long)]
    preset: String,
    /// `iss` of its tokens, character by character; may be left out where the platform has one for all.
    #[arg(long)]
    issuer: Option<String>,
    /// The one `aud` of its tokens; the broker's own issuer if left out.
    #[arg(long)]
    audience: Option<String>,
    /// A pin that holds for all its tokens, such as tenant=…; repeat for more.
    #[arg(long = "pin", value_name = "NAME=VALUE", value_parser = pair)]
    pins: Vec<(String, String)>,
    /// Where its keys are; its own metadata say so if left out.
    #[arg(long, conflicts_with = "jwks")]
    jwks_uri: Option<String>,
    /// A file with its keys (a JWK set), for issuers that the broker cannot reach.
    #[arg(long)]
    jwks: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

/// Register a private certificate authority.
#[derive(Debug, Args)]
pub struct AddAuthority {
    /// Name to show.
    #[arg(long)]
    name: String,
    /// A file with the authority's own certificates, PEM.
    #[arg(long)]
    certificates: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

const SOURCES: &str = "/api/v1/trust-sources";

impl Trust {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Presets(all) => {
                let presets = all.call(Method::GET, "/api/v1/trust-presets", None)?;
                let shown = if all.json { presets } else { each(&presets, preset_row) };
                output::list(&shown, all.json, &["name", "title", "pins"]);
                if !all.json {
                    output::line("* = must be stated, with the trust source or with the agent");
                }
                Ok(())
            }
            Self::List(all) => {
                let sources = all.call(Method::GET, SOURCES, None)?;
                let shown = if all.json { sources } else { each(&sources, source_row) };
                output::list(&shown, all.json, &["id", "enabled", "name", "preset", "vouches"]);
                Ok(())
            }
            Self::Show(one) => one.call(Method::GET, ""),
            Self::Add(add) => add.run(),
            Self::AddAuthority(add) => {
                let body = json!({ "name": add.name, "ca_pem": read(&add.certificates)? });
                output::object(&add.remote.call(Method::POST, SOURCES, Some(&body))?, add.remote.json);
                Ok(())
            }
            Self::Enable(one) => one.call(Method::POST, "/enable"),
            Self::Disable(one) => one.call(Method::POST, "/disable"),
            Self::Remove(one) => one.call(Method::DELETE, ""),
        }
    }
}

/// The same list with other items.
fn each(list: &Value, row: impl Fn(&Value) -> Value) -> Value {
    let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    json!({ "items": items.iter().map(row).collect::<Vec<_>>() })
}

/// A platform: its pins by name.
fn preset_row(preset: &Value) -> Value {
    let pins = preset.get("pins").and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |pin: &Value| {
        let mark = if pin.get("required") == Some(&Value::Bool(true)) { "*" } else { "" };
        let name = pin.get("name").and_then(Value::as_str)?;
        Some(format!("{name}{mark}"))
    };
    let pins: Vec<String> = pins.iter().filter_map(name).collect();
    json!({ "name": preset.get("name"), "title": preset.get("title"), "pins": pins.join(" ") })
}

/// A trust source: whose tokens or certificates it vouches with.
fn source_row(source: &Value) -> Value {
    let text = |pointer: &str| source.pointer(pointer).and_then(Value::as_str);
    let vouches = match text("/vouches/certificates/ca_pem") {
        Some(pem) => authority_names(pem).join("; "),
        None => text("/vouches/tokens/issuer").unwrap_or("any issuer that its pins allow").to_owned(),
    };
    json!({
        "id": source.get("id"),
        "enabled": source.get("enabled"),
        "name": source.get("name"),
        "preset": text("/vouches/tokens/preset"),
        "vouches": vouches,
    })
}

impl One {
    fn call(self, method: Method, action: &str) -> anyhow::Result<()> {
        let source = self.remote.call(method, &format!("{SOURCES}/{}{action}", self.id), None)?;
        output::object(&source, self.remote.json);
        Ok(())
    }
}

impl Add {
    fn run(self) -> anyhow::Result<()> {
        let keys = match (&self.jwks_uri, &self.jwks) {
            (Some(url), _) => json!({ "jwks_uri": url }),
            (None, Some(path)) => {
                let set: Value =
                    serde_json::from_str(&read(path)?).with_context(|| path.display().to_string())?;
                json!({ "jwks": set })
            }
            (None, None) => json!("discovery"),
        };
        let body = json!({
            "name": self.name,
            "preset": self.preset,
            "issuer": self.issuer,
            "audience": self.audience,
            "pins": self.pins.into_iter().collect::<BTreeMap<_, _>>(),
            "keys": keys,
        });
        output::object(&self.remote.call(Method::POST, SOURCES, Some(&body))?, self.remote.json);
        Ok(())
    }
}
