//! A provider's dialect, spoken from its template: token calls, their answers, scopes and errors.
//!
//! Secrets go in and come out as `Secret`; buffers that held them are wiped. Nothing here does I/O.

mod answer;
mod call;
mod classify;
mod members;
mod scopes;

pub use answer::{TokenFailure, TokenSet, parse_token_answer};
pub use call::{STANDARD_NAMES, TokenCall, TokenGrant, TokenHint, revoke_call, token_call};
pub use classify::{Classified, classify, classify_api, explain, is_ok};
pub use members::{Members, Unreadable};
pub use scopes::{TooManyScopes, authorize_scopes, read_scopes, refresh_scopes};
