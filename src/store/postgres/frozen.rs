//! Everything as it was at one moment, whatever this node and others commit while it is read.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::Statement;

use crate::store::StoreError;
use crate::store::backend::{Frozen, Page};
use crate::store::postgres::address::Address;
use crate::store::postgres::name;
use crate::store::postgres::session::{Bare, Broken, GREETING, SCAN, in_time};

/// A page of whatever size, from a database that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whoever takes what is read may take his time; who has gone does not keep old rows alive for ever.
const SETTINGS: &str = "SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '10min'";
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// The moment is that of the first statement, not that of the beginning.
const FIRST: &str = "SELECT 1 FROM valetkey_records LIMIT 1";

/// A session that is in one transaction for as long as it lives.
pub(super) struct FrozenRows {
    on: Bare,
    scan: Statement,
}

impl FrozenRows {
    /// A session, in which the moment is not chosen yet.
    pub(super) async fn open(address: &Address) -> Result<Self, Broken> {
        let on = Bare::open(address).await?;
        let greeting = async {
            on.client.batch_execute(SETTINGS).await?;
            on.client.prepare(SCAN).await
        };
        let scan = in_time(GREETING, greeting).await?;
        Ok(Self { on, scan })
    }
}

impl Frozen for FrozenRows {
    fn freeze(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        let begin = async {
            self.on.client.batch_execute(BEGIN).await?;
            self.on.client.batch_execute(FIRST).await
        };
        in_time(GREETING, begin).map(|begun| begun.map_err(Broken::into_error)).boxed()
    }

    fn page<'a>(
        &'a mut self,
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        async move {
            let (from, to) = name::range(b"", after);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let reading = async { self.on.client.query(&self.scan, &[&from, &to, &limit]).await };
            let rows = in_time(PATIENCE, reading).await.map_err(Broken::into_error)?;
            let entry = |row: &tokio_postgres::Row| {
                let key = name::key_of(row.try_get(0)?, row.try_get(2)?);
                Ok::<_, tokio_postgres::Error>((key, Bytes::from(row.try_get::<_, Vec<u8>>(1)?)))
            };
            let page: Result<Page, _> = rows.iter().map(entry).collect();
            page.map_err(|error| Broken::from(error).into_error())
        }
        .boxed()
    }
}
