//! `valetkey demo`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::app::demo::headless;
use crate::app::demo::{self, DemoOptions, Ground};
use crate::cli::output;
use crate::cli::serve::{forbid_core_dumps, log_to_stderr};

/// Run everything on loopback with made-up people.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where the broker listens; port 0 takes a free one. Loopback only.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write URLs, passwords and secrets to this file (mode 0600), as JSON.
    #[arg(long)]
    info: Option<PathBuf>,
    /// Play the employee too, for all five providers; exit 0 when every step worked, else 1.
    #[arg(long)]
    headless: bool,
    /// Worker threads of the broker.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
    /// For `scripts/bench`: connect two providers before the information is written, and answer what
    /// the figures are compared with.
    #[arg(long, hide = true, conflicts_with = "headless")]
    bench: bool,
    /// For `scripts/streams`: dials an origin of a provider elsewhere than at the sandbox
    /// (`https://api.example.com=http://localhost:8080`). Loopback only.
    #[arg(long, hide = true, value_parser = elsewhere)]
    dial: Vec<(String, String)>,
    /// Log filter, such as `info` or `valetkey=trace`.
    #[arg(long, default_value = "warn")]
    log: String,
}

/// Reads `ORIGIN=ADDRESS`.
fn elsewhere(text: &str) -> Result<(String, String), String> {
    let (origin, address) = text.split_once('=').ok_or("write ORIGIN=ADDRESS")?;
    let is_loopback = url::Url::parse(address).is_ok_and(|url| {
        matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) && url.path() == "/"
    });
    if is_loopback { Ok((origin.to_owned(), address.to_owned())) } else { Err("loopback only".to_owned()) }
}

impl Demo {
    /// Runs the command until it is told to stop, or the headless play is over.
    pub fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(self.listen.ip().is_loopback(), "the demo listens on loopback only");
        log_to_stderr(&self.log)?;
        forbid_core_dumps();
        crate::app::block_on(self.play())
    }

    async fn play(self) -> anyhow::Result<()> {
        let ground = Ground {
            workers: usize::from(self.workers),
            bench: self.bench,
            origins: self.dial.clone(),
            ..Ground::default()
        };
        // Who waits for the file finds the providers connected.
        let info = self.info.clone().filter(|_| !self.bench);
        let demo = demo::start(DemoOptions { listen: self.listen, info, ground }).await?;
        if self.bench {
            headless::connect(&demo, &demo::bench::CONNECTED).await?;
            if let Some(path) = &self.info {
                demo::write_private(path, &demo.info()?)?;
            }
        }
        let outcome = if self.headless {
            headless::play(&demo, output::line).await
        } else {
            output::line(demo.greeting());
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                () = demo.broker_failed() => {}
            }
            Ok(())
        };
        demo.stop().await;
        outcome
    }
}
