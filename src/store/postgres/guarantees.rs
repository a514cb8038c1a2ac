//! What the engine behind the wire must guarantee, as far as it can be asked.

use crate::store::postgres::address::Address;
use crate::store::postgres::session::{Bare, Broken};

/// What the settings of the database put at risk, in words with the remedy. An engine that does not know a
/// setting is not judged by it.
///
/// # Errors
/// When the database cannot be asked.
pub(super) async fn doubts(address: &Address) -> Result<Vec<String>, Broken> {
    let on = Bare::open(address).await?;
    let setting = async |name: &str| -> Result<Option<String>, Broken> {
        let row = on.client.query_one("SELECT current_setting($1, true)", &[&name]).await?;
        Ok(row.try_get(0)?)
    };
    let is_off = |value: Option<String>| value.as_deref() == Some("off");
    let mut doubts = Vec::new();
    if is_off(setting("fsync").await?) {
        doubts.push(
            "fsync is off: a power cut loses and damages what was acknowledged; set fsync = on".to_owned(),
        );
    }
    if is_off(setting("full_page_writes").await?) {
        doubts.push(
            "full_page_writes is off: a power cut can damage pages; set full_page_writes = on".to_owned(),
        );
    }
    if let Some(weak) = setting("synchronous_commit").await?
        && ["off", "local", "remote_write"].contains(&weak.as_str())
    {
        doubts.push(format!(
            "synchronous_commit is {weak}: our own commits ask for `on`, but those of backups and tools do \
             not; set synchronous_commit = on"
        ));
    }
    let waits = setting("synchronous_standby_names").await?.is_some_and(|names| !names.trim().is_empty());
    if !waits && standbys(&on).await? > 0 {
        doubts.push(
            "standbys follow without being waited for: a failover to one loses the newest commits, refresh \
             tokens and revocations among them; set synchronous_standby_names"
                .to_owned(),
        );
    }
    let engine = on.client.query_one("SELECT version()", &[]).await?;
    let engine: String = engine.try_get(0)?;
    if !engine.starts_with("PostgreSQL ") {
        let name = engine.split(',').next().unwrap_or_default();
        doubts.push(format!("the engine is {name}: hold it against what docs/cluster.md asks of an engine"));
    }
    Ok(doubts)
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
