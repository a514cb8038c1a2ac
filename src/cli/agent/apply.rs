//! `valetkey agent apply`.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::cli::agent::plan::{Plan, Step};
use crate::cli::agent::statement::Statement;
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::net::http::Method;
use crate::providers::check::Finding;

/// There is something to do, and it was not done.
const NOT_APPLIED: u8 = 3;

/// Bring the register to what a TOML file says.
#[derive(Debug, Args)]
pub struct Apply {
    /// The file, as `valetkey agent export` writes it. Agents without `id` are found by their name. Agents
    /// that it does not name are left as they are.
    file: PathBuf,
    /// Apply without a question.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Apply {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let name = self.file.display().to_string();
        let text = std::fs::read_to_string(&self.file).with_context(|| name.clone())?;
        let statement = match Statement::read(&name, &text) {
            Ok(statement) => statement,
            Err(findings) => return self.refused(&findings),
        };
        let plan = match Plan::make(&self.remote, &statement)? {
            Ok(plan) => plan,
            Err(findings) => return self.refused(&findings),
        };
        if !self.remote.json {
            plan.lines().iter().for_each(output::line);
        }
        if plan.is_done() || !self.is_agreed()? {
            self.tell(&plan, false, &[]);
            return Ok(if plan.is_done() { ExitCode::SUCCESS } else { ExitCode::from(NOT_APPLIED) });
        }
        let mut created = Vec::new();
        for step in &plan.steps {
            created.extend(self.apply(step)?);
        }
        self.tell(&plan, true, &created);
        Ok(ExitCode::SUCCESS)
    }

    /// Does one step; what was made comes back with its secret.
    fn apply(&self, step: &Step<'_>) -> anyhow::Result<Option<Value>> {
        match step {
            Step::Same(..) => Ok(None),
            Step::Create(stated) => {
                let made = self.remote.call(Method::POST, "/api/v1/agents", Some(&stated.body))?;
                let id = made.get("id").and_then(Value::as_str).context("no id in the answer")?;
                let action = match stated.state.as_deref() {
                    Some("suspended") => Some("suspend"),
                    Some("retired") => Some("retire"),
                    _ => None,
                };
                self.set_state(id, action)?;
                let secret = made.get("client_secret").cloned().unwrap_or_default();
                Ok(Some(json!({ "id": id, "name": stated.name, "client_secret": secret })))
            }
            Step::Change { stated, id, differences, action } => {
                // Resumed before it is changed, retired after: a retired agent takes no change.
                if !differences.is_empty() {
                    self.remote.call(Method::PUT, &format!("/api/v1/agents/{id}"), Some(&stated.body))?;
                }
                self.set_state(id, *action)?;
                Ok(None)
            }
        }
    }

    fn set_state(&self, id: &str, action: Option<&str>) -> anyhow::Result<()> {
        if let Some(action) = action {
            self.remote.call(Method::POST, &format!("/api/v1/agents/{id}/{action}"), None)?;
        }
        Ok(())
    }

    fn is_agreed(&self) -> anyhow::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() || self.remote.json {
            return Ok(false);
        }
        write!(std::io::stderr(), "Apply this? [y/N] ")?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "yes"))
    }

    fn tell(&self, plan: &Plan<'_>, applied: bool, created: &[Value]) {
        if self.remote.json {
            let mut told = plan.json();
            told.insert("applied".to_owned(), applied.into());
            told.insert("created".to_owned(), created.into());
            output::line(Value::Object(told).to_string());
            return;
        }
        for made in created {
            let text = |name: &str| made.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (name, id, secret) = (text("name"), text("id"), text("client_secret"));
            output::line(format!("{name} ({id}): the secret, shown this once: {secret}"));
        }
        let words = match (applied, plan.is_done()) {
            (true, _) => "Applied.",
            (false, true) => "Nothing to do.",
            (false, false) => "Not applied: answer y, or use --yes.",
        };
        output::line(words);
    }

    fn refused(&self, findings: &[Finding]) -> anyhow::Result<ExitCode> {
        if self.remote.json {
            let items: Vec<Value> = findings
                .iter()
                .map(|finding| {
                    json!({ "file": finding.file, "line": finding.line, "key": finding.key,
                        "problem": finding.problem, "instead": finding.instead })
                })
                .collect();
            output::line(json!({ "items": items, "next_cursor": null }).to_string());
        } else {
            findings.iter().for_each(|finding| output::line(finding.to_string()));
        }
        bail!("{} finding(s); nothing was changed", findings.len())
    }
}
