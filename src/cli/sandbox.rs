//! `valetkey sandbox`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::app::demo::people;
use crate::cli::output;
use crate::kernel::clock::OffsetClock;
use crate::kernel::entropy::{Entropy, SystemEntropy};
use crate::sandbox::{Sandbox, SandboxSettings};

/// Run the provider sandbox alone.
#[derive(Debug, Args)]
pub struct SandboxCommand {
    /// Where to listen; port 0 takes a free one. Loopback only.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write URLs, client and passwords to this file (mode 0600), as JSON.
    #[arg(long)]
    info: Option<PathBuf>,
    /// For `scripts/departures`: so many more employees, who have accounts and nothing in them.
    #[arg(long, hide = true, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    crowd: u16,
}

impl SandboxCommand {
    /// Runs the command until it is told to stop.
    pub fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(self.listen.ip().is_loopback(), "the sandbox listens on loopback only");
        crate::app::block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let clock = Arc::new(OffsetClock::default());
        let client_secret = people::password(entropy.as_ref());
        let people = people::Passwords::generate(entropy.as_ref()).with_crowd(self.crowd, entropy.as_ref());
        let shown_secret = client_secret.expose().clone();
        let settings = SandboxSettings {
            listen: self.listen,
            proxy_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..SandboxSettings::local(clock, entropy, client_secret, people.accounts())
        };
        let running = Sandbox::start(settings).await?;
        let info = serde_json::json!({
            "sandbox": running.url,
            "proxy": running.proxy_url,
            "ca_pem": running.ca_pem,
            "client_id": "valetkey-sandbox",
            "client_secret": shown_secret,
            "users": people.shown(),
            "pid": std::process::id(),
        });
        output::line(format!("sandbox at {} · proxy at {}", running.url, running.proxy_url));
        match &self.info {
            Some(path) => crate::app::demo::write_private(path, &info)?,
            None => output::line(serde_json::to_string_pretty(&info)?),
        }
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        running.stop().await;
        Ok(())
    }
}
