//! `authorization_details` (RFC 9396) in delegation JWTs: what the back end itself narrows by. Each of its types
//! stands in the back end's registration; all that a token carries hold at once, so that more of them never
//! allow more.

use serde_json::Value;

use crate::jose::strict;
use crate::tokens::{Params, TokenError};

/// The longest list, in bytes: it travels in every request to the back end.
const LONGEST: usize = 4096;
/// The most entries.
const MOST: usize = 20;

fn invalid(words: impl Into<String>) -> TokenError {
    TokenError::new("invalid_authorization_details", words)
}

/// The details that a request asks for.
///
/// # Errors
/// When they are no short list of objects with a `type` each.
pub(super) fn read(params: Params<'_>) -> Result<Vec<Value>, TokenError> {
    let Some(text) = params.get("authorization_details") else { return Ok(Vec::new()) };
    if text.len() > LONGEST {
        return Err(invalid(format!("authorization_details is longer than {LONGEST} bytes")));
    }
    let Ok(Value::Array(details)) = strict(text.as_bytes()) else {
        return Err(invalid("authorization_details is no JSON list, or a member in it is given twice"));
    };
    if details.len() > MOST || details.iter().any(|detail| type_of(detail).is_none()) {
        return Err(invalid(format!("authorization_details has at most {MOST} objects, each with a `type`")));
    }
    Ok(details)
}

/// What a token of ours carries.
pub(super) fn carried(claims: &Value) -> Vec<Value> {
    claims.get("authorization_details").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Both lists: what was carried never gets lost.
pub(super) fn joined(carried: Vec<Value>, asked: Vec<Value>) -> Result<Vec<Value>, TokenError> {
    let mut all = carried;
    for detail in asked {
        if !all.contains(&detail) {
            all.push(detail);
        }
    }
    if all.len() > MOST {
        return Err(invalid(format!(
            "authorization_details has at most {MOST} objects, the parent's included"
        )));
    }
    Ok(all)
}

/// The first type that the back end does not know.
pub(super) fn unknown<'d>(details: &'d [Value], known: &[String]) -> Option<&'d str> {
    details
        .iter()
        .map(|detail| type_of(detail).unwrap_or_default())
        .find(|name| !known.iter().any(|one| one == name))
}

/// The refusal of a type that a back end does not know.
pub(super) fn refused(name: &str) -> TokenError {
    let name = crate::kernel::text::clean(name, 64);
    invalid(format!("this back end takes no authorization_details of type `{name}`"))
}

fn type_of(detail: &Value) -> Option<&str> {
    detail.as_object()?.get("type")?.as_str().filter(|name| !name.is_empty() && name.len() <= 128)
}
