//! The tables, and how they came about. Each step runs once; a newer schema is left alone.

use std::time::Duration;

use tokio_postgres::Error;

use crate::store::StoreError;
use crate::store::postgres::address::Address;
use crate::store::postgres::session::{Bare, Broken};

/// The steps that lead to the schema of this version, oldest first. Never change one that was released.
const STEPS: [&str; 1] = [
    // `EXTERNAL`: what is sealed does not get smaller. The room in each page keeps a record that is renewed
    // often from touching the index.
    "CREATE TABLE valetkey_records (key bytea PRIMARY KEY, value bytea NOT NULL, whole bytea) \
         WITH (fillfactor = 80);
     ALTER TABLE valetkey_records ALTER COLUMN value SET STORAGE EXTERNAL;
     CREATE TABLE valetkey_commits (id bytea PRIMARY KEY, fenced boolean NOT NULL DEFAULT false, \
         at timestamptz NOT NULL DEFAULT now());",
];
const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS valetkey_schema \
                        (version integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())";
/// Two nodes that start at once take turns. Where an engine has no such locks, the version's key decides.
const TURN: &str = "SELECT pg_advisory_xact_lock(7164913470112561)";
const TRIES: u32 = 25;
const PAUSE: Duration = Duration::from_millis(200);

/// Brings the tables to this version.
///
/// # Errors
/// When the database cannot be used, or a newer version of Valetkey has changed its tables.
pub(super) async fn migrate(address: &Address) -> Result<(), StoreError> {
    let refused = |problem: String| StoreError::Database {
        problem: format!("the database `{}`: {problem}", address.shown()),
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let problem = match attempt(address).await {
            Ok(found) if found > STEPS.len() => {
                return Err(refused(format!(
                    "its tables are of version {found}, this Valetkey knows {}: start the newer one",
                    STEPS.len()
                )));
            }
            Ok(_) => return Ok(()),
            Err(Broken::Refused(problem)) => return Err(refused(problem)),
            Err(Broken::Full) => return Err(StoreError::Full),
            Err(Broken::Session(problem) | Broken::Again(problem)) => problem,
        };
        if tries >= TRIES {
            return Err(refused(format!("{problem}; is it running, and may this machine connect to it?")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The version that the tables have afterwards.
async fn attempt(address: &Address) -> Result<usize, Broken> {
    let on = Bare::open(address).await?;
    let client = &on.client;
    // Looked at first: a role that may not create tables can run what is complete.
    if version(&on).await? >= STEPS.len() {
        return Ok(version(&on).await?);
    }
    client.batch_execute("SET lock_timeout = '10s'; BEGIN").await?;
    client.batch_execute(TURN).await?;
    client.batch_execute(VERSIONS).await?;
    for (step, number) in STEPS.iter().zip(1_i32..).skip(version(&on).await?) {
        client.batch_execute(step).await?;
        client.execute("INSERT INTO valetkey_schema (version) VALUES ($1)", &[&number]).await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(version(&on).await?)
}

/// The version of the tables; 0 where there are none.
pub(super) async fn version(on: &Bare) -> Result<usize, Error> {
    let there = on.client.query_one("SELECT to_regclass('valetkey_schema') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let newest = on.client.query_one("SELECT max(version) FROM valetkey_schema", &[]).await?;
    Ok(newest.try_get::<_, Option<i32>>(0)?.and_then(|found| usize::try_from(found).ok()).unwrap_or(0))
}
