//! `valetkey user`.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::output;
use crate::cli::remote::{Remote, query};
use crate::net::http::Method;

/// Employees.
#[derive(Debug, Subcommand)]
pub enum User {
    /// List users.
    List(List),
    /// Show one user.
    Show(One),
    /// What can still act as this person: grants, accounts, back ends, tokens that only others check.
    Report(One),
    /// The person has left: disabled, and everything that could act as them ends.
    Depart(One),
    /// Sign the person out everywhere: browsers, grants and accounts end, and they may begin anew.
    SignOut(One),
    /// The person is back, and begins anew.
    Restore(One),
}

/// Which users.
#[derive(Debug, Args)]
pub struct List {
    /// Those with this e-mail.
    #[arg(long)]
    email: Option<String>,
    /// active or disabled.
    #[arg(long)]
    state: Option<String>,
    /// Members of this group.
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// One user.
#[derive(Debug, Args)]
pub struct One {
    /// The user's id, or their e-mail.
    user: String,
    #[command(flatten)]
    remote: Remote,
}

impl User {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(command) => command.run(),
            Self::Show(one) => one.call(Method::GET, ""),
            Self::Report(one) => one.report(),
            Self::Depart(one) => one.call(Method::POST, "/depart"),
            Self::SignOut(one) => one.call(Method::POST, "/sign-out"),
            Self::Restore(one) => one.call(Method::POST, "/restore"),
        }
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let filters = [("email", self.email), ("state", self.state), ("group", self.group)];
        let users = self.remote.all(&query("/api/v1/users", &filters))?;
        output::list(&users, self.remote.json, &["id", "state", "email", "name", "department", "groups"]);
        Ok(())
    }
}

impl One {
    fn call(self, method: Method, action: &str) -> anyhow::Result<()> {
        let answer = self.remote.call(method, &format!("/api/v1/users/{}{action}", self.id()?), None)?;
        output::object(&answer, self.remote.json);
        Ok(())
    }

    fn report(self) -> anyhow::Result<()> {
        let report = self.remote.call(Method::GET, &format!("/api/v1/users/{}/report", self.id()?), None)?;
        output::report(&report, self.remote.json);
        Ok(())
    }

    fn id(&self) -> anyhow::Result<String> {
        if !self.user.contains('@') {
            return Ok(self.user.clone());
        }
        let path = query("/api/v1/users", &[("email", Some(self.user.clone()))]);
        let found = self.remote.call(Method::GET, &path, None)?;
        let items = found.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let ids: Vec<&str> = items.iter().filter_map(|user| user.get("id")?.as_str()).collect();
        match ids.as_slice() {
            [only] => Ok((*only).to_owned()),
            [] => bail!("nobody has the e-mail {}", self.user),
            _ => bail!("several users have the e-mail {}: state the id", self.user),
        }
    }
}
