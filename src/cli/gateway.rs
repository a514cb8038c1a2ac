//! `valetkey gateway explain`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::remote::Remote;
use crate::net::http::Method;

/// The gateway.
#[derive(Debug, Subcommand)]
pub enum Gateway {
    /// Print how a call would be decided, step by step, calling nothing. Exit code 0 = permitted, 1 = denied,
    /// 2 = it cannot be said.
    Explain(Explain),
}

/// Which call, under which grant.
#[derive(Debug, Args)]
pub struct Explain {
    /// The grant's id.
    #[arg(long)]
    grant: String,
    /// The method.
    method: String,
    /// The provider's own path and query, or the gateway's from `/gateway/` on.
    path: String,
    /// The JSON body.
    #[arg(long)]
    data: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Gateway {
    /// Runs the command; the code tells the decision.
    pub fn run(self) -> ExitCode {
        let Self::Explain(command) = self;
        match command.run() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(error) => {
                output::problem(&format!("{error:#}"));
                ExitCode::from(2)
            }
        }
    }
}

impl Explain {
    fn run(self) -> anyhow::Result<bool> {
        let body = json!({"method": self.method, "path": self.path, "data": self.data});
        let path = format!("/api/v1/grants/{}/explain", self.grant);
        let explained = self.remote.call(Method::POST, &path, Some(&body))?;
        let is_permitted = explained.get("permitted").and_then(Value::as_bool).unwrap_or_default();
        if self.remote.json {
            output::object(&explained, true);
        } else {
            print(&explained, is_permitted);
        }
        Ok(is_permitted)
    }
}

fn print(explained: &Value, is_permitted: bool) {
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    for step in explained.get("steps").and_then(Value::as_array).into_iter().flatten() {
        let verdict = match text(step, "verdict").as_str() {
            "will_be_looked_up" => "will be looked up".to_owned(),
            "will_be_tested" => "will be tested in the answer".to_owned(),
            other => other.to_owned(),
        };
        output::line(format!("{}: {verdict}: {}", text(step, "subject"), text(step, "words")));
    }
    if let Some(sent) = explained.get("sent") {
        output::line(format!("sent: {} {}", text(sent, "method"), text(sent, "url")));
        if sent.get("body").is_some() {
            output::line(format!("body: {}", text(sent, "body")));
        }
    }
    output::line(if is_permitted { "permitted" } else { "denied" });
}
