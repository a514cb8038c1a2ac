//! `valetkey doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use url::Url;

use crate::app;
use crate::app::doctor::{self, Finding, Level};
use crate::cli::output;
use crate::cli::serve::forbid_core_dumps;
use crate::config::Settings;

/// Check the installation, and name what to do: exit 0 when nothing is unsafe, else 1.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The settings file.
    #[arg(long, env = "VALETKEY_CONFIG", default_value = "valetkey.toml")]
    config: PathBuf,
    /// Exit with 2 when something is doubtful.
    #[arg(long)]
    strict: bool,
    /// Compare the clock with the `Date` of this address as well, such as the sign-in provider's issuer.
    #[arg(long, value_name = "URL")]
    clock: Option<Url>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        // It opens the keyring, as a broker does; and what it then finds is what a broker would.
        forbid_core_dumps();
        let findings = match Settings::load(&self.config, std::env::vars()) {
            Err(error) => vec![doctor::unreadable(&error)],
            Ok(settings) => {
                let mut findings = doctor::examine(&self.config, &settings);
                findings.push(doctor::examine_seal(&settings));
                findings.extend(doctor::examine_services(&settings));
                if let Some(address) = &self.clock {
                    findings.push(app::block_on(doctor::examine_clock(&settings, address)));
                }
                findings
            }
        };
        if self.json {
            output::line(json!({ "items": findings }).to_string());
        } else {
            findings.iter().for_each(show);
        }
        match findings.iter().map(|finding| finding.level).max() {
            Some(Level::Unsafe) => ExitCode::FAILURE,
            Some(Level::Doubtful) if self.strict => ExitCode::from(2),
            _ => ExitCode::SUCCESS,
        }
    }
}

fn show(finding: &Finding) {
    let mark = match finding.level {
        Level::Good => "✓",
        Level::Doubtful => "!",
        Level::Unsafe => "✗",
    };
    output::line(format!("{mark} {}: {}", finding.check, finding.found));
    if !finding.remedy.is_empty() {
        output::line(format!("    → {}", finding.remedy));
    }
}
