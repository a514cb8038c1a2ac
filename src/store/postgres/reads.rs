//! Reading: what waits is asked for in one round trip, and a broken session is replaced behind the callers.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::store::StoreError;
use crate::store::backend::Page;
use crate::store::postgres::address::Address;
use crate::store::postgres::name;
use crate::store::postgres::schema;
use crate::store::postgres::session::{Bare, Broken, GREETING, Reader, in_time};

/// How long a caller is kept waiting (invariant 8: our own parts answer within 2 s).
pub(super) const PATIENCE: Duration = Duration::from_millis(1200);
const GROUP: usize = 256;
const PAUSE: Duration = Duration::from_millis(50);
/// Keys that only begin like a long prefix are left out here, so more are asked for than wanted.
const LONG: usize = 10_000;

/// One value, on a session of its own; none where there are no tables.
pub(super) async fn glance(address: &Address, key: &[u8]) -> Result<Option<Bytes>, Broken> {
    let on = Bare::open(address).await?;
    if in_time(GREETING, schema::version(&on)).await? == 0 {
        return Ok(None);
    }
    let reader = Reader::open(address).await?;
    let keys = vec![name::stored(key)];
    let row = in_time(PATIENCE, async { reader.on.client.query_opt(&reader.get, &[&keys]).await }).await?;
    row.map(|row| Ok(Bytes::from(row.try_get::<_, Vec<u8>>(1)?))).transpose()
}

/// Something to read, and who wants it.
pub(super) enum Read {
    Get(Bytes, oneshot::Sender<Result<Option<Bytes>, StoreError>>),
    Scan {
        prefix: Bytes,
        after: Option<Bytes>,
        limit: usize,
        reply: oneshot::Sender<Result<Page, StoreError>>,
    },
}

impl Read {
    fn is_wanted(&self) -> bool {
        match self {
            Self::Get(_, reply) => !reply.is_closed(),
            Self::Scan { reply, .. } => !reply.is_closed(),
        }
    }
}

/// Serves one queue of reads over one session.
pub(super) async fn serve(address: Address, mut queue: mpsc::Receiver<Read>) {
    let mut session = None;
    while let Some(first) = queue.recv().await {
        let mut group = vec![first];
        while group.len() < GROUP {
            let Ok(read) = queue.try_recv() else { break };
            group.push(read);
        }
        group.retain(Read::is_wanted);
        let deadline = Instant::now() + PATIENCE;
        match ask(&address, &mut session, &group, deadline).await {
            Ok(found) => answer(group, found),
            Err(broken) => refuse(group, &broken.into_error()),
        }
    }
}

/// What a group found: values by key, and pages in the order of the scans.
struct Found {
    values: HashMap<Vec<u8>, Bytes>,
    pages: Vec<Page>,
}

/// Reading again does no harm, so a broken session costs time and nothing else.
async fn ask(
    address: &Address,
    session: &mut Option<Reader>,
    group: &[Read],
    deadline: Instant,
) -> Result<Found, Broken> {
    loop {
        let broken = match open(address, session).await {
            Err(broken) => broken,
            Ok(reader) => match in_time_read(reader, group, deadline).await {
                Ok(found) => return Ok(found),
                Err(broken) => broken,
            },
        };
        *session = None;
        if Instant::now() + PAUSE >= deadline {
            return Err(broken);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn open<'s>(address: &Address, session: &'s mut Option<Reader>) -> Result<&'s Reader, Broken> {
    let reader = match session.take() {
        Some(reader) if !reader.on.client.is_closed() => reader,
        _ => Reader::open(address).await?,
    };
    Ok(session.insert(reader))
}

async fn in_time_read(reader: &Reader, group: &[Read], deadline: Instant) -> Result<Found, Broken> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut keys = Vec::new();
    let mut ranges = Vec::new();
    for read in group {
        match read {
            Read::Get(key, _) => keys.push(name::stored(key)),
            Read::Scan { prefix, after, limit, .. } => {
                let limit = if name::is_long(prefix) { LONG } else { *limit };
                ranges
                    .push((name::range(prefix, after.as_deref()), i64::try_from(limit).unwrap_or(i64::MAX)));
            }
        }
    }
    let gets = async {
        if keys.is_empty() { Ok(Vec::new()) } else { reader.on.client.query(&reader.get, &[&keys]).await }
    };
    // Joined, so that all of them travel together.
    let scans = join_all(ranges.iter().map(|((from, to), limit)| async move {
        reader.on.client.query(&reader.scan, &[from, to, limit]).await
    }));
    let (rows, scanned) = in_time(left, async { Ok(join(gets, scans).await) }).await?;
    let mut values = HashMap::with_capacity(keys.len());
    for row in rows? {
        values.insert(row.try_get(0)?, Bytes::from(row.try_get::<_, Vec<u8>>(1)?));
    }
    let mut pages = Vec::with_capacity(scanned.len());
    for rows in scanned {
        let mut page = Page::new();
        for row in rows? {
            let key = name::key_of(row.try_get(0)?, row.try_get(2)?);
            page.push((key, Bytes::from(row.try_get::<_, Vec<u8>>(1)?)));
        }
        pages.push(page);
    }
    Ok(Found { values, pages })
}

fn answer(group: Vec<Read>, found: Found) {
    let mut pages = found.pages.into_iter();
    for read in group {
        // A caller that has gone away is no failure.
        match read {
            Read::Get(key, reply) => drop(reply.send(Ok(found.values.get(&name::stored(&key)).cloned()))),
            Read::Scan { prefix, limit, reply, .. } => {
                let mut page = pages.next().unwrap_or_default();
                page.retain(|(key, _)| key.starts_with(&prefix));
                page.truncate(limit);
                drop(reply.send(Ok(page)));
            }
        }
    }
}

fn refuse(group: Vec<Read>, error: &StoreError) {
    for read in group {
        match read {
            Read::Get(_, reply) => drop(reply.send(Err(error.clone()))),
            Read::Scan { reply, .. } => drop(reply.send(Err(error.clone()))),
        }
    }
}
