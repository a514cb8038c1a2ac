//! What single values may be.

use std::fmt::Display;
use std::ops::RangeInclusive;

use tracing_subscriber::EnvFilter;

use crate::config::settings::{ConfigError, invalid};

/// A filter of log lines, as `tracing` writes it.
pub(super) fn log_filter(given: Option<String>) -> Result<String, ConfigError> {
    let filter = given.unwrap_or_else(|| "info".to_owned());
    match filter.parse::<EnvFilter>() {
        Ok(_) => Ok(filter),
        Err(error) => Err(invalid("log", format!("{error}; write `info`, or `info,valetkey=debug`"))),
    }
}

/// A number, if it lies within what its setting takes.
pub(super) fn within<N: PartialOrd + Display>(
    key: &'static str,
    given: Option<N>,
    range: RangeInclusive<N>,
) -> Result<Option<N>, ConfigError> {
    match given {
        Some(number) if !range.contains(&number) => {
            Err(invalid(key, format!("takes {} to {}, not {number}", range.start(), range.end())))
        }
        given => Ok(given),
    }
}
