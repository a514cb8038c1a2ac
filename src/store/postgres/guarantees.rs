//! What the engine behind the wire must guarantee, as far as it can be asked.

use crate::kernel::clock::Timestamp;
use crate::store::postgres::address::Address;
use crate::store::postgres::session::{Bare, Broken};
use crate::store::postgres::{COMMITTERS, READERS};

/// What a setting of the database puts at risk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Whether what was acknowledged can be lost, or nothing can be written.
    pub is_unsafe: bool,
    /// What is set, and what that can cost.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Doubt {
    fn new(is_unsafe: bool, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { is_unsafe, problem: problem.into(), remedy: remedy.into() }
    }
}

/// What was found at a database.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What its settings put at risk.
    pub doubts: Vec<Doubt>,
    /// Its clock when it answered.
    pub clock: Timestamp,
    /// Hosts and name, without user and password.
    pub shown: String,
}

/// Settings that are dangerous at one value: name, value, whether that is unsafe, what it costs, what to do.
const DANGEROUS: [(&str, &str, bool, &str, &str); 4] = [
    ("fsync", "off", true, "a power cut loses and damages what was acknowledged", "set fsync = on"),
    ("full_page_writes", "off", true, "a power cut can damage pages", "set full_page_writes = on"),
    (
        "zero_damaged_pages",
        "on",
        true,
        "damaged pages are read as empty ones, and records go missing without a word",
        "set zero_damaged_pages = off, and restore what is damaged",
    ),
    (
        "data_checksums",
        "off",
        false,
        "a page that the disk has damaged may be read as it is; our seals find it in records, not in indexes",
        "stop the database and run pg_checksums --enable",
    ),
];

/// What the settings of the database put at risk. An engine that does not know a setting is not judged by it.
///
/// # Errors
/// When the database cannot be asked.
pub(super) async fn examine(address: &Address) -> Result<Examined, Broken> {
    // Of several hosts the primary is looked at; a database that takes no writes is one to say so of.
    let on = match Bare::open(address).await {
        Ok(on) => on,
        Err(_) => Bare::open(&address.read_only()).await?,
    };
    let mut doubts = Vec::new();
    for (name, dangerous, is_unsafe, cost, remedy) in DANGEROUS {
        if setting(&on, name).await?.as_deref() == Some(dangerous) {
            doubts.push(Doubt::new(is_unsafe, format!("{name} is {dangerous}: {cost}"), remedy));
        }
    }
    if let Some(weak) = setting(&on, "synchronous_commit").await?
        && ["off", "local", "remote_write"].contains(&weak.as_str())
    {
        let problem = format!(
            "synchronous_commit is {weak}: our own commits ask for `on`, but those of backups and tools do not"
        );
        doubts.push(Doubt::new(false, problem, "set synchronous_commit = on"));
    }
    let waits =
        setting(&on, "synchronous_standby_names").await?.is_some_and(|names| !names.trim().is_empty());
    if !waits && standbys(&on).await? > 0 {
        let problem = "standbys follow without being waited for: a failover to one loses the newest commits, \
                       refresh tokens and revocations among them";
        doubts.push(Doubt::new(false, problem, "set synchronous_standby_names"));
    }
    if setting(&on, "transaction_read_only").await?.as_deref() == Some("on") {
        let problem = "it takes no writes: it is a standby, or read-only by its settings";
        doubts.push(Doubt::new(
            true,
            problem,
            "name the primary, or set default_transaction_read_only = off",
        ));
    }
    doubts.extend(few_connections(&on).await?);
    let row = on.client.query_one("SELECT version()", &[]).await?;
    let engine: String = row.try_get(0)?;
    if !engine.starts_with("PostgreSQL ") {
        let name = engine.split(',').next().unwrap_or_default();
        let remedy = "hold it against what docs/cluster.md asks of an engine";
        doubts.push(Doubt::new(false, format!("the engine is {name}"), remedy));
    }
    let row =
        on.client.query_one("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", &[]).await?;
    Ok(Examined { doubts, clock: Timestamp::from_millis(row.try_get(0)?), shown: address.shown() })
}

async fn setting(on: &Bare, name: &str) -> Result<Option<String>, Broken> {
    let row = on.client.query_one("SELECT current_setting($1, true)", &[&name]).await?;
    Ok(row.try_get(0)?)
}

/// Three nodes should find room.
async fn few_connections(on: &Bare) -> Result<Option<Doubt>, Broken> {
    let most = setting(on, "max_connections").await?.and_then(|most| most.parse::<usize>().ok());
    let wanted = 3 * (READERS + COMMITTERS) + 4;
    Ok(most.filter(|most| *most < wanted).map(|most| {
        let problem = format!(
            "max_connections is {most}: each node takes {}, and administrators need some",
            READERS + COMMITTERS
        );
        Doubt::new(false, problem, format!("set max_connections to {wanted} or more"))
    }))
}

/// How many follow; 0 where the engine does not say.
async fn standbys(on: &Bare) -> Result<i64, Broken> {
    let view = on.client.query_one("SELECT to_regclass('pg_stat_replication') IS NOT NULL", &[]).await?;
    if !view.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let count = on.client.query_one("SELECT count(*) FROM pg_stat_replication", &[]).await?;
    Ok(count.try_get(0)?)
}
