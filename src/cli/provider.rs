//! `valetkey provider`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::remote::Remote;
use crate::kernel::data_class::UNCLASSIFIED;
use crate::net::http::Method;
use crate::providers::routes::Cover;
use crate::providers::{LoadedTemplate, Templates, check, coverage};

/// Templates and providers.
#[derive(Debug, Subcommand)]
pub enum Provider {
    /// List configured providers.
    List(List),
    /// Check template files; names file, line, key and what to write instead.
    Lint(Lint),
    /// Show the scopes of a template: what each can do, and which classes of data it opens.
    Scopes(Shown),
    /// Show where each limit of a template is enforced, call by call.
    Limits(Shown),
    /// Configure a provider from a template.
    Add(Add),
    /// Try a provider's configuration, as far as that works without a user.
    Test(Test),
}

/// List configured providers.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    remote: Remote,
}

/// Check template files.
#[derive(Debug, Args)]
pub struct Lint {
    /// Files, or folders whose .toml files are checked.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Show something of a template.
#[derive(Debug, Args)]
pub struct Shown {
    /// A shipped template's name, or a file.
    template: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Configure a provider from a template.
#[derive(Debug, Args)]
pub struct Add {
    /// The provider's name here; also the path of its callback.
    slug: String,
    /// The template; the name itself when left out.
    #[arg(long)]
    template: Option<String>,
    /// The app's client id at the provider.
    #[arg(long)]
    client_id: String,
    /// A file that holds the app's secret; `-` reads standard input. Never an argument: those are visible.
    #[arg(long)]
    client_secret_file: PathBuf,
    /// What the template asks about the company: KEY=VALUE; repeat.
    #[arg(long = "company", value_name = "KEY=VALUE")]
    company: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Try a provider's configuration.
#[derive(Debug, Args)]
pub struct Test {
    /// The provider's name.
    slug: String,
    #[command(flatten)]
    remote: Remote,
}

impl Provider {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(command) => {
                let found = command.remote.call(Method::GET, "/api/v1/providers", None)?;
                output::list(&found, command.remote.json, &["slug", "template", "client_id", "enabled"]);
                Ok(())
            }
            Self::Lint(command) => command.run(),
            Self::Scopes(command) => command.scopes(),
            Self::Limits(command) => command.limits(),
            Self::Add(command) => command.run(),
            Self::Test(command) => command.run(),
        }
    }
}

impl Lint {
    fn run(self) -> anyhow::Result<()> {
        let files = template_files(&self.paths)?;
        let mut findings = Vec::new();
        for file in &files {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            findings.extend(check::lint(&file.display().to_string(), &text));
        }
        if self.json {
            let items: Vec<Value> = findings
                .iter()
                .map(|finding| {
                    json!({
                        "file": finding.file, "line": finding.line, "key": finding.key,
                        "problem": finding.problem, "instead": finding.instead,
                    })
                })
                .collect();
            output::line(json!({ "items": items, "next_cursor": null }).to_string());
        } else {
            for finding in &findings {
                output::line(finding.to_string());
            }
        }
        match findings.len() {
            0 => {
                if !self.json {
                    output::line(format!("{} template(s) checked, nothing found", files.len()));
                }
                Ok(())
            }
            found => bail!("{found} finding(s) in {} template(s)", files.len()),
        }
    }
}

impl Shown {
    fn scopes(self) -> anyhow::Result<()> {
        let loaded = self.load()?;
        let items: Vec<Value> = loaded
            .template
            .scope
            .iter()
            .filter(|scope| !scope.bookkeeping)
            .map(|scope| {
                json!({
                    "name": scope.name, "access": scope.access, "risk": scope.risk,
                    "data_classes": scope.data_classes, "title": scope.title.en,
                })
            })
            .collect();
        if self.json {
            output::line(json!({ "items": items, "next_cursor": null }).to_string());
            return Ok(());
        }
        for scope in loaded.template.scope.iter().filter(|scope| !scope.bookkeeping) {
            let classes: Vec<&str> = scope.data_classes.iter().map(|class| class.as_str()).collect();
            let classes = if classes.is_empty() { UNCLASSIFIED.to_owned() } else { classes.join(",") };
            output::line(format!("{}\t{classes}\t{}", scope.name, scope.title.en));
        }
        Ok(())
    }

    fn limits(self) -> anyhow::Result<()> {
        let loaded = self.load()?;
        if self.json {
            let items: Vec<Value> = coverage::lines(&loaded)
                .iter()
                .map(|line| {
                    json!({
                        "api": line.api, "call": line.call, "limit": line.limit.as_str(),
                        "cover": cover(line.cover), "at": line.at,
                    })
                })
                .collect();
            output::line(json!({ "items": items, "next_cursor": null }).to_string());
        } else if loaded.template.limit.is_empty() {
            output::line("this template offers no limits but those that bound every call");
        } else {
            output::line(coverage::table(&loaded).trim_end());
        }
        Ok(())
    }

    fn load(&self) -> anyhow::Result<Arc<LoadedTemplate>> {
        let templates = Templates::embedded()?;
        if let Some(loaded) = templates.get(&self.template) {
            return Ok(loaded);
        }
        let known = || templates.names().collect::<Vec<_>>().join(", ");
        let text = std::fs::read_to_string(&self.template)
            .with_context(|| format!("`{}` is no file and none of {}", self.template, known()))?;
        let loaded = LoadedTemplate::parse("file", &self.template, &text).map_err(|findings| {
            let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(findings.join("\n"))
        })?;
        Ok(Arc::new(loaded))
    }
}

const fn cover(cover: Cover) -> &'static str {
    match cover {
        Cover::Outside => "outside",
        Cover::Free => "free",
        Cover::Tested => "tested",
        Cover::Closed => "closed",
    }
}

fn template_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
                let file = entry?.path();
                if file.extension().is_some_and(|extension| extension == "toml") {
                    files.push(file);
                }
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    anyhow::ensure!(!files.is_empty(), "no template found: name .toml files or a folder that holds some");
    Ok(files)
}

impl Add {
    fn run(self) -> anyhow::Result<()> {
        let secret = if self.client_secret_file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        } else {
            std::fs::read_to_string(&self.client_secret_file)
                .with_context(|| self.client_secret_file.display().to_string())?
        };
        let company: BTreeMap<&str, &str> = self
            .company
            .iter()
            .map(|pair| pair.split_once('=').with_context(|| format!("`{pair}`: write KEY=VALUE")))
            .collect::<Result<_, _>>()?;
        let body = json!({
            "slug": self.slug,
            "template": self.template,
            "client_id": self.client_id,
            "client_secret": secret.trim_end_matches(['\r', '\n']),
            "company": company,
        });
        let made = self.remote.call(Method::POST, "/api/v1/providers", Some(&body))?;
        output::object(&made, self.remote.json);
        if !self.remote.json {
            let uris = made.get("redirect_uris").and_then(Value::as_array).cloned().unwrap_or_default();
            let uri = |at: usize| uris.get(at).and_then(Value::as_str).unwrap_or_default();
            output::line("Register with the app there, as redirect URI:");
            output::line(format!("  {}", uri(0)));
            if uris.len() > 1 {
                output::line("Where employees are to sign in with it, also");
                output::line(format!("  {}", uri(1)));
                output::line(format!(
                    "and set `sign_in.provider = \"{}\"` in the settings, and restart.",
                    self.slug
                ));
            }
        }
        Ok(())
    }
}

impl Test {
    fn run(self) -> anyhow::Result<()> {
        let path = format!("/api/v1/providers/{}/test", self.slug);
        let result = self.remote.call(Method::POST, &path, None)?;
        if self.remote.json {
            output::line(result.to_string());
        } else {
            let checks = result.get("checks").and_then(Value::as_array).cloned().unwrap_or_default();
            for check in &checks {
                let is_ok = check.get("ok").and_then(Value::as_bool).unwrap_or(false);
                let text =
                    |name: &str| check.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                output::line(format!(
                    "{} {}: {}",
                    if is_ok { "✓" } else { "✗" },
                    text("name"),
                    text("words")
                ));
            }
        }
        match result.get("ok").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            _ => bail!("the provider's configuration does not work yet"),
        }
    }
}
