//! One session with the database: its settings, its prepared statements, and what its errors mean.

use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_postgres::{Client, Error, NoTls, Statement};

use crate::store::StoreError;
use crate::store::postgres::address::Address;

/// Connecting, greeting and preparing, in all.
pub(super) const GREETING: Duration = Duration::from_millis(1800);

const GET: &str = "SELECT key, value, whole FROM valetkey_records WHERE key = ANY($1)";
pub(super) const SCAN: &str = "SELECT key, value, whole FROM valetkey_records WHERE key >= $1 AND key < $2 \
                    ORDER BY key LIMIT $3";
const NOTE: &str = "WITH settled AS (DELETE FROM valetkey_commits WHERE id = $2) \
                    INSERT INTO valetkey_commits (id) VALUES ($1)";
const LOCK: &str = "SELECT key, value FROM valetkey_records WHERE key = ANY($1) ORDER BY key FOR UPDATE";
/// What is only looked at: see [`crate::store::Expect::AtMost`].
const LOOK: &str = "SELECT key, value FROM valetkey_records WHERE key = ANY($1)";
const INSERT: &str = "INSERT INTO valetkey_records (key, value, whole) \
                      SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])";
const UPDATE: &str = "UPDATE valetkey_records AS r SET value = n.value \
                      FROM unnest($1::bytea[], $2::bytea[]) AS n (key, value) WHERE r.key = n.key";
const DELETE: &str = "DELETE FROM valetkey_records WHERE key = ANY($1)";
/// A commit that has not been noted by now never will be: see `commits`. Where it has been, the row is written all
/// the same: a standby that has this write has the commit before it, too.
const FENCE: &str = "INSERT INTO valetkey_commits AS c (id, fenced) VALUES ($1, true) \
                     ON CONFLICT (id) DO UPDATE SET fenced = c.fenced";
const FENCED: &str = "SELECT fenced FROM valetkey_commits WHERE id = $1";
/// Notes that nobody will ask for: their process is gone. Longer than any outage after which one that is still
/// there asks; each process leaves one note.
const SWEEP: &str = "DELETE FROM valetkey_commits WHERE at < now() - interval '30 days'";

/// Reads are cut off by the server too, so that nothing is left running behind a caller who has gone.
const FOR_READS: &str = "SET statement_timeout = '1500ms'; SET lock_timeout = '1s'";
/// No statement timeout: it would end the wait for a synchronous standby with a success that is none. Who
/// holds rows and stops in the middle (a suspended process, a dead machine) lets go of them after two seconds.
const FOR_COMMITS: &str = "SET statement_timeout = 0; SET lock_timeout = '1s'; \
    SET idle_in_transaction_session_timeout = '2s'; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit', true) IN ('off', 'local', 'remote_write')";

/// A session without statements, for what is done once.
pub(super) struct Bare {
    pub(super) client: Client,
    driver: AbortHandle,
}

impl Drop for Bare {
    /// The socket closes at once, also where the server does not answer any more.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Bare {
    pub(super) async fn open(address: &Address) -> Result<Self, Broken> {
        let opening = async {
            Ok(match &address.tls {
                None => {
                    let (client, connection) = address.config.connect(NoTls).await?;
                    Self { client, driver: tokio::spawn(connection).abort_handle() }
                }
                Some(tls) => {
                    let (client, connection) = address.config.connect(tls.clone()).await?;
                    Self { client, driver: tokio::spawn(connection).abort_handle() }
                }
            })
        };
        in_time(GREETING, opening).await
    }
}

/// A session for reading.
pub(super) struct Reader {
    pub(super) on: Bare,
    pub(super) get: Statement,
    pub(super) scan: Statement,
}

impl Reader {
    pub(super) async fn open(address: &Address) -> Result<Self, Broken> {
        let on = Bare::open(address).await?;
        let greeting = async {
            on.client.batch_execute(FOR_READS).await?;
            let (get, scan) = (on.client.prepare(GET).await?, on.client.prepare(SCAN).await?);
            Ok((get, scan))
        };
        let (get, scan) = in_time(GREETING, greeting).await?;
        Ok(Self { on, get, scan })
    }
}

/// A session for committing.
pub(super) struct Writer {
    pub(super) on: Bare,
    pub(super) note: Statement,
    pub(super) lock: Statement,
    pub(super) look: Statement,
    pub(super) insert: Statement,
    pub(super) update: Statement,
    pub(super) delete: Statement,
    pub(super) fence: Statement,
    pub(super) fenced: Statement,
}

impl Writer {
    pub(super) async fn open(address: &Address) -> Result<Self, Broken> {
        let on = Bare::open(address).await?;
        let greeting = async {
            let client = &on.client;
            client.batch_execute(FOR_COMMITS).await?;
            client.batch_execute(SWEEP).await?;
            Ok([
                client.prepare(NOTE).await?,
                client.prepare(LOCK).await?,
                client.prepare(LOOK).await?,
                client.prepare(INSERT).await?,
                client.prepare(UPDATE).await?,
                client.prepare(DELETE).await?,
                client.prepare(FENCE).await?,
                client.prepare(FENCED).await?,
            ])
        };
        let [note, lock, look, insert, update, delete, fence, fenced] = in_time(GREETING, greeting).await?;
        Ok(Self { on, note, lock, look, insert, update, delete, fence, fenced })
    }
}

/// What an error of the database asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The session is gone, or of no use: open another one.
    Session(String),
    /// The statement did not happen, and nothing of its transaction did: do it again.
    Again(String),
    /// The disk of the database is full.
    Full,
    /// The statement cannot be done.
    Refused(String),
}

impl Broken {
    /// What a caller is told when patience is at its end.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::Session(problem) | Self::Again(problem) | Self::Refused(problem) => {
                StoreError::Unreachable { problem }
            }
        }
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        let Some(db) = error.as_db_error() else {
            // The driver's own words leave the cause out: which certificate is refused, say, and why.
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            return Self::Session(format!("{error}{}", cause.unwrap_or_default()));
        };
        let (code, problem) = (db.code().code(), format!("{} ({})", db.message(), db.code().code()));
        match code {
            // Serialization failure, deadlock, somebody inserted the same key, a row was locked too long.
            "40001" | "40P01" | "23505" | "55P03" => Self::Again(problem),
            "53100" => Self::Full,
            // 08 connection, 57P shut down, 53300 too many connections, 25006 not the primary any more,
            // 25P0x a transaction that we do not have any more, 26000 and 0A000 statements that are gone.
            _ if ["08", "57P", "533", "25", "26", "0A"].iter().any(|class| code.starts_with(class)) => {
                Self::Session(problem)
            }
            _ => Self::Refused(problem),
        }
    }
}

/// Waits no longer than that; a session that has not answered by then is of no use.
pub(super) async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Broken> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Broken::Session("it did not answer in time".to_owned())),
    }
}
