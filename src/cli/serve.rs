//! `valetkey serve`.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::app;
use crate::app::doctor::{self, Finding, Level};
use crate::app::serve::{self, Listening};
use crate::app::services::Services;
use crate::app::tls;
use crate::app::traces::{Figures, Traces};
use crate::cli::output;
use crate::config::Settings;

/// Run the broker.
#[derive(Debug, Args)]
pub struct Serve {
    /// The settings file.
    #[arg(long, env = "VALETKEY_CONFIG", default_value = "valetkey.toml")]
    config: PathBuf,
}

impl Serve {
    /// Runs the command until it is told to stop.
    pub fn run(self) -> anyhow::Result<()> {
        let settings = Settings::load(&self.config, std::env::vars())?;
        let traces = observe(&settings)?;
        forbid_core_dumps();
        is_safe(&self.config, &settings)?;
        let served = crate::app::block_on(serve_until_told(settings, traces.as_ref().map(Traces::figures)));
        if let Some(traces) = traces {
            traces.stop();
        }
        served
    }
}

/// What `valetkey doctor` would say: refuses what is unsafe, and warns of what is doubtful.
fn is_safe(config: &Path, settings: &Settings) -> anyhow::Result<()> {
    let mut refused = Vec::new();
    let mut findings = doctor::examine(config, settings);
    findings.extend(doctor::examine_services(settings));
    for Finding { check, level, found, remedy } in findings {
        match level {
            Level::Good => {}
            Level::Doubtful => tracing::warn!(check, remedy, "{found}"),
            Level::Unsafe => refused.push(format!("{found}; {remedy}")),
        }
    }
    anyhow::ensure!(refused.is_empty(), "not safe to start: {}", refused.join(". "));
    Ok(())
}

async fn serve_until_told(settings: Settings, traces: Option<Figures>) -> anyhow::Result<()> {
    let foundation = app::open(&settings).await?;
    let tls = match &settings.tls {
        None => None,
        Some(tls) => Some(tls::tls(&tls.certificate, &tls.key, settings.client_certificates.ask)?),
    };
    // Before anybody can connect: whoever sees us listen may also ask us to end.
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let socket =
        serve::bind(settings.listen).with_context(|| format!("cannot listen on {}", settings.listen))?;
    let services = Services { traces, ..Services::assemble(foundation) };
    let greeting = services.clone();
    let running = serve::start(services, Listening { socket, workers: settings.workers, tls }).await?;
    // In the background: the provider may be away, and nobody waits for it yet.
    tokio::spawn(async move { greeting.greet_sign_in().await });
    output::line(format!("valetkey answers at {} (listening on {})", settings.issuer, running.address));
    // Waited for until the very end: what is finished on the way out is sent under this node's name, too.
    let mut failed = pin!(running.failed());
    let drain = tokio::select! {
        why = &mut failed => leave(why).await,
        _ = tokio::signal::ctrl_c() => Duration::ZERO,
        _ = terminate.recv() => settings.drain,
    };
    if !drain.is_zero() {
        running.announce_end();
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            why = &mut failed => leave(why).await,
            // Told twice: whoever waits has waited long enough.
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    tokio::select! {
        () = running.stop() => Ok(()),
        why = failed => leave(why).await,
    }
}

/// Ends the process, with the code that has supervisors start it anew.
async fn leave(why: &str) -> ! {
    // Answers in flight get their 503; then nothing that this process remembers is trusted.
    tokio::time::sleep(Duration::from_millis(300)).await;
    tracing::error!("{why}");
    std::process::exit(74);
}

/// What is logged. Libraries are capped: at their own trace level some write down whole requests.
///
/// # Errors
/// When the text is no filter.
pub fn log_filter(filter: &str) -> anyhow::Result<tracing_subscriber::EnvFilter> {
    let capped =
        "hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,h2=warn,sled=warn,actix_http=warn,mio=warn";
    Ok(tracing_subscriber::EnvFilter::try_new(format!("{filter},{capped}"))?)
}

/// Logs, and sends traces to a collector if the settings name one.
fn observe(settings: &Settings) -> anyhow::Result<Option<Traces>> {
    use tracing_subscriber::prelude::*;
    let Some(setting) = &settings.telemetry else {
        log_to_stderr(&settings.log)?;
        return Ok(None);
    };
    let extra_ca_pem =
        settings.extra_ca.iter().map(|path| std::fs::read(path).with_context(|| path.display().to_string()));
    let (traces, spans) = Traces::start(setting, extra_ca_pem.collect::<anyhow::Result<_>>()?)?;
    let lines = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
    let lines = lines.with_filter(log_filter(&settings.log)?);
    tracing_subscriber::registry().with(spans).with(lines).try_init()?;
    Ok(Some(traces))
}

/// Logs as JSON lines on stderr. Libraries that would log wire data stay at warnings.
pub fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    use tracing_subscriber::prelude::*;
    let filter = log_filter(filter)?;
    let layer = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(layer).try_init()?;
    Ok(())
}

/// A core file would hold keys and tokens.
pub fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if setrlimit(Resource::Core, none).is_err() {
        tracing::warn!("core dumps could not be switched off; set `ulimit -c 0`");
    }
    // A handler that core dumps are piped to does not ask for that limit; nor does a debugger of the same user.
    if set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        tracing::warn!("the process could not be made undumpable");
    }
}
