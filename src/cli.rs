//! The command line: one file per subcommand.

mod agent;
mod audience;
mod audit;
mod credentials;
mod crowd;
mod demo;
mod doctor;
mod gateway;
mod init;
mod output;
mod provider;
mod remote;
mod sandbox;
mod serve;
mod stop;
mod token;
mod trust;
mod user;
mod vault;

pub use serve::log_filter;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A self-hosted token vault and OAuth broker for AI agents.
#[derive(Debug, Parser)]
#[command(name = "valetkey", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on loopback with made-up people: sandbox, broker, agents of each kind.
    Demo(demo::Demo),
    /// Set up a deployment in a folder: root key, settings, one-time link for the first admin.
    Init(init::Init),
    /// Run the broker.
    Serve(serve::Serve),
    /// Run the provider sandbox alone.
    Sandbox(sandbox::SandboxCommand),
    /// Templates and providers.
    #[command(subcommand)]
    Provider(provider::Provider),
    /// The registry of agents.
    #[command(subcommand)]
    Agent(agent::Agent),
    /// Who may vouch for agents.
    #[command(subcommand)]
    Trust(trust::Trust),
    /// Employees: what can act as them, and their departure.
    #[command(subcommand)]
    User(user::User),
    /// Internal back ends that accept delegation JWTs.
    #[command(subcommand)]
    Audience(audience::Audience),
    /// The kill switch: refuse an agent, a provider, a user or everything until resumed.
    Stop(stop::Stop),
    /// Lift a stop.
    Resume(stop::Resume),
    /// The gateway: how a call would be decided.
    #[command(subcommand)]
    Gateway(gateway::Gateway),
    /// Obtain a token as an agent: token exchange for shells.
    Token(token::Token),
    /// The audit log.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Keys and data.
    #[command(subcommand)]
    Vault(vault::Vault),
    /// Check the installation, and name what to do.
    Doctor(doctor::Doctor),
    /// Fill a deployment with made-up people, for measurements.
    #[command(hide = true)]
    Crowd(crowd::Crowd),
    /// Print the OpenAPI document of the admin API and the OAuth endpoints.
    Openapi,
}

/// Runs the command that the process was started with.
///
/// # Errors
/// Whatever the command could not do, in words that say what to do.
pub fn run() -> anyhow::Result<ExitCode> {
    crate::net::install_crypto();
    let done = match Cli::parse().command {
        Command::Demo(command) => command.run(),
        Command::Init(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Sandbox(command) => command.run(),
        Command::Provider(command) => command.run(),
        Command::Agent(command) => return command.run(),
        Command::Trust(command) => command.run(),
        Command::User(command) => command.run(),
        Command::Audience(command) => command.run(),
        Command::Stop(command) => command.run(),
        Command::Resume(command) => command.run(),
        Command::Gateway(command) => return Ok(command.run()),
        Command::Token(command) => return Ok(command.run()),
        Command::Audit(command) => command.run(),
        Command::Vault(command) => command.run(),
        Command::Crowd(command) => command.run(),
        Command::Doctor(command) => return Ok(command.run()),
        Command::Openapi => {
            output::line(crate::web::api::document());
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}
