//! Lists: `{"items": […], "next_cursor": …}`.

use actix_web::HttpRequest;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

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

/// What every list takes, for the API's document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the document is made of it; `Wanted` reads the query strictly")]
pub struct Paging {
    /// The `next_cursor` of the part before; from the beginning when left out.
    cursor: Option<String>,
    /// How many items, 1 to 200; 100 when left out.
    limit: Option<u16>,
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
        // Without a value it is no number; passing over it would hide a mistake.
        let limit = match query.all("limit").next() {
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
