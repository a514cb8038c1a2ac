//! `valetkey audience`.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::cli::output;
use crate::cli::remote::Remote;
use crate::net::http::Method;

/// Internal back ends that accept delegation JWTs.
#[derive(Debug, Subcommand)]
pub enum Audience {
    /// Register a back end; prints its secret once.
    Create(Create),
    /// List back ends.
    List(Remote),
    /// Show one back end.
    Show(One),
    /// Change what is stated about a back end; what is left out stays.
    Change(Change),
    /// Issue tokens for it again.
    Enable(One),
    /// Issue no tokens for it, and pass none at introspection.
    Disable(One),
    /// Make a new secret; the former one ends now.
    RotateSecret(One),
}

/// What is stated about a back end, and may be left out.
#[derive(Debug, Args)]
struct Stated {
    /// What it learns of the user: email, name, department or groups; repeat for more.
    #[arg(long = "claim")]
    claims: Vec<String>,
    /// EdDSA or ES256.
    #[arg(long)]
    algorithm: Option<String>,
    /// How long its tokens live, 10 to 3600 seconds.
    #[arg(long)]
    token_life_s: Option<u64>,
    /// Who may reach it: {"agents": ["agt_…"], "for": "everyone" | "itself" | {"groups": ["…"]}, "scopes": ["…"]};
    /// repeat for more.
    #[arg(long = "admission", value_name = "JSON", value_parser = json_value)]
    admissions: Vec<Value>,
    /// A class of data that it holds, as `valetkey agent create` names them or in your own words; repeat for more.
    #[arg(long = "data-class")]
    data_classes: Vec<String>,
}

/// Register a back end.
#[derive(Debug, Args)]
pub struct Create {
    /// What agents write as `audience`: an absolute URI. It cannot be changed later.
    #[arg(long)]
    identifier: String,
    /// Name to show.
    #[arg(long)]
    name: String,
    /// What it holds, in words that employees read.
    #[arg(long)]
    purpose: String,
    /// The scopes that it knows, space-separated.
    #[arg(long)]
    scopes: String,
    #[command(flatten)]
    stated: Stated,
    #[command(flatten)]
    remote: Remote,
}

/// Change a back end.
#[derive(Debug, Args)]
pub struct Change {
    /// The back end's id.
    id: String,
    /// Name to show.
    #[arg(long)]
    name: Option<String>,
    /// What it holds, in words that employees read.
    #[arg(long)]
    purpose: Option<String>,
    /// The scopes that it knows, space-separated.
    #[arg(long)]
    scopes: Option<String>,
    #[command(flatten)]
    stated: Stated,
    #[command(flatten)]
    remote: Remote,
}

/// One back end.
#[derive(Debug, Args)]
pub struct One {
    /// The back end's id.
    id: String,
    #[command(flatten)]
    remote: Remote,
}

fn json_value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

impl Audience {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(command) => command.run(),
            Self::List(remote) => {
                let found = remote.all("/api/v1/audiences")?;
                output::list(&found, remote.json, &["id", "state", "identifier", "name", "scopes"]);
                Ok(())
            }
            Self::Show(one) => one.call(Method::GET, ""),
            Self::Change(command) => command.run(),
            Self::Enable(one) => one.call(Method::POST, "/enable"),
            Self::Disable(one) => one.call(Method::POST, "/disable"),
            Self::RotateSecret(one) => one.call(Method::POST, "/rotate-secret"),
        }
    }
}

impl Stated {
    /// Lays what was stated over what is there.
    fn onto(self, mut body: Map<String, Value>) -> Value {
        body.extend(self.algorithm.map(|name| ("algorithm".to_owned(), name.into())));
        body.extend(self.token_life_s.map(|life| ("token_life_s".to_owned(), life.into())));
        let lists = [
            ("claims", json!(self.claims)),
            ("admissions", json!(self.admissions)),
            ("data_classes", json!(self.data_classes)),
        ];
        for (name, list) in lists {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                body.insert(name.to_owned(), list);
            }
        }
        Value::Object(body)
    }
}

impl Create {
    fn run(self) -> anyhow::Result<()> {
        let texts = [
            ("identifier", self.identifier),
            ("name", self.name),
            ("purpose", self.purpose),
            ("scopes", self.scopes),
        ];
        let body = texts.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        let made = self.remote.call(Method::POST, "/api/v1/audiences", Some(&self.stated.onto(body)))?;
        output::object(&made, self.remote.json);
        Ok(())
    }
}

impl Change {
    fn run(self) -> anyhow::Result<()> {
        let path = format!("/api/v1/audiences/{}", self.id);
        let now = self.remote.call(Method::GET, &path, None)?;
        let mut body = now.as_object().cloned().context("no object in the answer")?;
        body.retain(|name, _| !["id", "state", "created_at"].contains(&name.as_str()));
        let texts = [("name", self.name), ("purpose", self.purpose), ("scopes", self.scopes)];
        body.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))));
        let changed = self.remote.call(Method::PUT, &path, Some(&self.stated.onto(body)))?;
        output::object(&changed, self.remote.json);
        Ok(())
    }
}

impl One {
    fn call(self, method: Method, action: &str) -> anyhow::Result<()> {
        let audience = self.remote.call(method, &format!("/api/v1/audiences/{}{action}", self.id), None)?;
        output::object(&audience, self.remote.json);
        Ok(())
    }
}
