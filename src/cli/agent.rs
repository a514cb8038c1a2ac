//! `valetkey agent`.

mod apply;
mod export;
mod plan;
mod statement;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::credentials::{EndSecret, SetSignIn};
use crate::cli::output;
use crate::cli::remote::{Remote, query};
use crate::model::limit::DETAIL_TYPE;
use crate::net::http::Method;

/// The registry of agents.
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Register an agent; prints its secret once.
    Create(Box<Create>),
    /// List agents.
    List(List),
    /// Show one agent.
    Show(One),
    /// Who changed what of an agent, and when.
    History(One),
    /// What an agent can still do: grants, back ends, tokens that only others check.
    Report(One),
    /// Let somebody else answer for an agent.
    HandOver(HandOver),
    /// Refuse everything from an agent until it is resumed.
    Suspend(One),
    /// Let a suspended agent act again.
    Resume(One),
    /// Make a new secret; the former one works for another 24 hours.
    RotateSecret(One),
    /// Show how an agent signs in: its secrets by name, keys, workloads, certificates.
    Credentials(One),
    /// State how an agent signs in without a secret.
    SignIn(SetSignIn),
    /// End one of an agent's secrets now.
    EndSecret(EndSecret),
    /// End an agent for ever.
    Retire(One),
    /// Print the register as TOML, without secrets.
    Export(export::Export),
    /// Bring the register to what a TOML file says: shows the plan first. Exit code 3 when it was not applied.
    Apply(apply::Apply),
}

/// Register an agent.
#[derive(Debug, Args)]
pub struct Create {
    /// personal, assistant or autonomous.
    #[arg(long)]
    kind: String,
    /// Name to show.
    #[arg(long)]
    name: String,
    /// What it is for, shown to employees when it asks.
    #[arg(long)]
    purpose: String,
    /// The owner: a user's id, their e-mail, or `team:` and the name of a group.
    #[arg(long)]
    owner: String,
    /// The most it can be granted: PROVIDER="scope scope"; repeat for more providers.
    #[arg(long = "ceiling", value_name = "PROVIDER=SCOPES", value_parser = pair)]
    ceiling: Vec<(String, String)>,
    /// What it asks for when it names nothing: PROVIDER="scope scope".
    #[arg(long = "default-scopes", value_name = "PROVIDER=SCOPES", value_parser = pair)]
    default_scopes: Vec<(String, String)>,
    /// The most it can hold at an internal back end: IDENTIFIER="scope scope"; any other is closed then.
    #[arg(long = "audience-ceiling", value_name = "IDENTIFIER=SCOPES", value_parser = pair)]
    audience_ceiling: Vec<(String, String)>,
    /// An `aud` value of ID tokens that an assistant may show; repeat for more.
    #[arg(long = "subject-audience")]
    subject_audiences: Vec<String>,
    /// Where it was built or runs, such as "Model Studio", Bedrock, LangChain or self-built.
    #[arg(long)]
    platform: Option<String>,
    /// Which environment it runs in, such as production.
    #[arg(long)]
    environment: Option<String>,
    /// A further label; repeat for more.
    #[arg(long = "label")]
    labels: Vec<String>,
    /// A class of data that it may touch: profile, directory, contacts, mail, calendar, messages, files, tasks, apps,
    /// logs, or a word of your own for internal back ends; repeat for more. Without any: not restricted.
    #[arg(long = "data-class")]
    data_classes: Vec<String>,
    /// A limit of all its grants at a provider, as in `authorization_details`: 'PROVIDER={"kind": "read_only"}'; repeat
    /// for more.
    #[arg(long = "limit", value_name = "PROVIDER=JSON", value_parser = limit)]
    limits: Vec<(String, Value)>,
    /// A user's id for whom an assistant may act; repeat for more. Without any user or group: everybody.
    #[arg(long = "for-user")]
    users: Vec<String>,
    /// A group for whose members an assistant may act; repeat for more.
    #[arg(long = "for-group")]
    groups: Vec<String>,
    /// When it ends: a date, or a time as in RFC 3339.
    #[arg(long)]
    expires_at: Option<String>,
    /// When somebody should look whether it is still needed.
    #[arg(long)]
    review_at: Option<String>,
    /// Give it no token that is not bound to its key (DPoP) or its client certificate.
    #[arg(long)]
    sender_constrained: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Which agents.
#[derive(Debug, Args)]
pub struct List {
    /// Part of the name, purpose or id.
    #[arg(long, short)]
    q: Option<String>,
    /// personal, assistant or autonomous.
    #[arg(long)]
    kind: Option<String>,
    /// active, suspended or retired.
    #[arg(long)]
    state: Option<String>,
    /// A user's id, their e-mail, or `team:` and the name of a group.
    #[arg(long)]
    owner: Option<String>,
    /// A label, platform or environment.
    #[arg(long)]
    label: Option<String>,
    /// A class of data.
    #[arg(long)]
    data_class: Option<String>,
    /// Those that need a look: true, no_active_owner, expired or review_due.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    flagged: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Let somebody else answer for an agent.
#[derive(Debug, Args)]
pub struct HandOver {
    /// The agent's id.
    id: String,
    /// The new owner: a user's id, their e-mail, or `team:` and the name of a group.
    #[arg(long)]
    to: String,
    #[command(flatten)]
    remote: Remote,
}

/// One agent.
#[derive(Debug, Args)]
pub struct One {
    /// The agent's id.
    id: String,
    #[command(flatten)]
    remote: Remote,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

fn limit(text: &str) -> Result<(String, Value), String> {
    let (provider, words) = pair(text)?;
    let mut limit: Value = serde_json::from_str(&words).map_err(|error| format!("not JSON: {error}"))?;
    let members = limit.as_object_mut().ok_or_else(|| "write PROVIDER={…}".to_owned())?;
    members.entry("type").or_insert_with(|| json!(DETAIL_TYPE));
    Ok((provider, limit))
}

impl Agent {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(command) => command.run(),
            Self::List(command) => command.run(),
            Self::Show(one) => one.call(Method::GET, ""),
            Self::History(one) => one.history(),
            Self::Report(one) => one.report(),
            Self::HandOver(command) => command.run(),
            Self::Suspend(one) => one.call(Method::POST, "/suspend"),
            Self::Resume(one) => one.call(Method::POST, "/resume"),
            Self::RotateSecret(one) => one.call(Method::POST, "/rotate-secret"),
            Self::Credentials(one) => one.call(Method::GET, "/credentials"),
            Self::SignIn(command) => command.run(),
            Self::EndSecret(command) => command.run(),
            Self::Retire(one) => one.call(Method::POST, "/retire"),
            Self::Export(command) => command.run(),
            Self::Apply(command) => return command.run(),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

impl Create {
    fn run(self) -> anyhow::Result<()> {
        let map = |pairs: Vec<(String, String)>| pairs.into_iter().collect::<BTreeMap<_, _>>();
        let mut body = json!({
            "kind": self.kind,
            "name": self.name,
            "purpose": self.purpose,
            "owner": self.owner,
            "ceiling": map(self.ceiling),
            "default_scopes": map(self.default_scopes),
            "subject_audiences": self.subject_audiences,
            "platform": self.platform,
            "environment": self.environment,
            "labels": self.labels,
            "data_classes": self.data_classes,
            "expires_at": self.expires_at,
            "review_at": self.review_at,
            "sender_constrained": self.sender_constrained,
        });
        let mut limits: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (provider, limit) in self.limits {
            limits.entry(provider).or_default().push(limit);
        }
        if let Some(body) = body.as_object_mut() {
            if !limits.is_empty() {
                body.insert("limits".to_owned(), json!(limits));
            }
            if !self.audience_ceiling.is_empty() {
                body.insert("audience_ceiling".to_owned(), json!(map(self.audience_ceiling)));
            }
            if !self.users.is_empty() || !self.groups.is_empty() {
                body.insert("people".to_owned(), json!({ "users": self.users, "groups": self.groups }));
            }
        }
        let made = self.remote.call(Method::POST, "/api/v1/agents", Some(&body))?;
        if !self.remote.json {
            let secret =
                made.get("client_secret").and_then(Value::as_str).context("no secret in the answer")?;
            output::line(format!("The secret, shown this once: {secret}"));
        }
        output::object(&made, self.remote.json);
        Ok(())
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let filters = [
            ("q", self.q),
            ("kind", self.kind),
            ("state", self.state),
            ("owner", self.owner),
            ("label", self.label),
            ("data_class", self.data_class),
            ("flagged", self.flagged),
        ];
        let agents = self.remote.all(&query("/api/v1/agents", &filters))?;
        output::list(&agents, self.remote.json, &["id", "kind", "state", "flags", "name", "owner"]);
        Ok(())
    }
}

impl HandOver {
    fn run(self) -> anyhow::Result<()> {
        let path = format!("/api/v1/agents/{}/hand-over", self.id);
        let agent = self.remote.call(Method::POST, &path, Some(&json!({ "owner": self.to })))?;
        output::object(&agent, self.remote.json);
        Ok(())
    }
}

impl One {
    fn call(self, method: Method, action: &str) -> anyhow::Result<()> {
        let agent = self.remote.call(method, &format!("/api/v1/agents/{}{action}", self.id), None)?;
        output::object(&agent, self.remote.json);
        Ok(())
    }

    fn report(self) -> anyhow::Result<()> {
        let path = format!("/api/v1/agents/{}/report", self.id);
        let report = self.remote.call(Method::GET, &path, None)?;
        output::report(&report, self.remote.json);
        Ok(())
    }

    fn history(self) -> anyhow::Result<()> {
        let path = format!("/api/v1/agents/{}/history", self.id);
        let changes = self.remote.call(Method::GET, &path, None)?;
        output::list(&changes, self.remote.json, &["at", "by", "action", "changes"]);
        Ok(())
    }
}
