//! Lists: `{"items": […], "next_cursor": …}`.

use actix_web::HttpRequest;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::record::Record;
use crate::server::body;
use crate::server::problem::Problem;
use crate::store::{Store, Stored};
use crate::web::api::errors;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Send it as `cursor` to read on; absent at the end.
    pub next_cursor: Option<String>,
}

/// Where a page begins, and how long it is.
#[derive(Debug)]
pub struct Wanted {
    /// The last key of the page before.
    pub cursor: Option<String>,
    /// At most 200.
    pub limit: usize,
}

impl Wanted {
    /// Reads `cursor` and `limit` from the query.
    pub fn read(request: &HttpRequest) -> Result<Self, Problem> {
        let query = body::read_query(request).map_err(Problem::from)?;
        let limit = match query.get("limit") {
            None => 100,
            Some(text) => {
                text.parse::<usize>().ok().filter(|limit| (1..=200).contains(limit)).ok_or_else(|| {
                    Problem::bad_request("invalid_request", "limit is a number from 1 to 200")
                })?
            }
        };
        Ok(Self { cursor: query.get("cursor").map(str::to_owned), limit })
    }
}

/// A page of all records of a kind.
pub async fn page<R: Record, T>(
    store: &Store,
    wanted: &Wanted,
    view: impl Fn(&Stored<R>) -> T,
) -> Result<Page<T>, Problem> {
    let found = store.page::<R>(wanted.cursor.as_deref(), wanted.limit).await.map_err(errors::store)?;
    let next_cursor =
        (found.len() == wanted.limit).then(|| found.last().map(|last| last.record().key())).flatten();
    Ok(Page { items: found.iter().map(view).collect(), next_cursor })
}
