//! User ids pinned into calls: with an app token any user id would work, so whatever names a user is
//! the consenting user or the call is refused (the APIs of DingTalk and WeCom are of that kind).

use std::collections::BTreeMap;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use url::form_urlencoded;

use crate::gateway::denial::{Denial, LimitShown};
use crate::gateway::path::CanonicalPath;
use crate::kernel::said::Said;
use crate::providers::routes::{CompiledRoute, RouteMatch};
use crate::providers::template::Api;

/// The user's identifiers at the provider, by the template's names.
pub type Pins = BTreeMap<String, String>;

fn pinned<'p>(pins: &'p Pins, name: &str) -> Result<&'p str, Denial> {
    pins.get(name).map(String::as_str).ok_or_else(|| Denial::route(Said::of("account_lacks").and(name)))
}

/// The path with pinned segments checked. `me` stands for the user, so that an agent need not know ids.
pub fn path(found: &RouteMatch<'_>, path: &CanonicalPath<'_>, pins: &Pins) -> Result<String, Denial> {
    if found.route.pin_path.is_empty() {
        return Ok(path.as_str().to_owned());
    }
    let pattern = found.route.pattern.split_once(' ').map_or("", |(_, pattern)| pattern);
    let mut sent = String::with_capacity(path.as_str().len() + 32);
    for (segment, shape) in path.segments().into_iter().zip(pattern.trim_start_matches('/').split('/')) {
        let name = shape.strip_prefix('{').and_then(|shape| shape.strip_suffix('}'));
        let pin = name.and_then(|name| found.route.pin_path.get(name));
        sent.push('/');
        match pin {
            None => sent.push_str(segment),
            Some(pin) => {
                let user: String = form_urlencoded::byte_serialize(pinned(pins, pin)?.as_bytes()).collect();
                if segment != "me" && segment != user {
                    let limit = LimitShown {
                        kind: "user".to_owned(),
                        allowed: "me".to_owned(),
                        asked: segment.to_owned(),
                    };
                    return Err(Denial::limit(vec![Said::of("pinned")], limit));
                }
                sent.push_str(&user);
            }
        }
    }
    Ok(sent)
}

/// The query with pinned parameters overwritten. The parameter that carries the token is refused, and so
/// is what would bring along more than the route (`$expand`).
pub fn query(
    route: &CompiledRoute,
    api: &Api,
    raw: Option<&str>,
    pins: &Pins,
) -> Result<Option<String>, Denial> {
    let mut kept: Vec<String> = Vec::new();
    for part in raw.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
        let name = parameter(part)?;
        // Vendors differ in whether names are case-sensitive; for what is pinned no spelling passes.
        let is = |other: &String| name.eq_ignore_ascii_case(other);
        if api.send.query.as_ref().is_some_and(is) || name.eq_ignore_ascii_case("access_token") {
            return Err(Denial::bad_request(400, format!("the parameter `{name}` is set by the gateway")));
        }
        if api.refuse_query.iter().any(is) {
            return Err(Denial::route(Said::of("parameter_reaches").and(name)));
        }
        // Some servers read `userid[]` and `userid[0]` as the parameter before the bracket.
        let base = name.split('[').next().unwrap_or_default();
        if !route.pin_query.keys().any(|pin| base.eq_ignore_ascii_case(pin)) {
            kept.push(part.to_owned());
        }
    }
    for (name, pin) in &route.pin_query {
        let pair =
            form_urlencoded::Serializer::new(String::new()).append_pair(name, pinned(pins, pin)?).finish();
        kept.push(pair);
    }
    Ok((!kept.is_empty()).then(|| kept.join("&")))
}

/// The name of a parameter as every server reads it. What one would trim, decode once more, or split at
/// another separator is refused: behind it the pinned or refused name could hide.
fn parameter(part: &str) -> Result<String, Denial> {
    if part.contains(';') {
        return Err(Denial::bad_request(
            400,
            "the query has a `;`, which some servers take for `&`: write %3B",
        ));
    }
    let name = form_urlencoded::parse(part.as_bytes()).next().map(|(name, _)| name.into_owned());
    let name = name.unwrap_or_default();
    let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'%');
    if is_plain {
        Ok(name)
    } else {
        Err(Denial::bad_request(400, "the query has a parameter whose name is empty or not plain ASCII"))
    }
}

/// The JSON body with pinned members overwritten and refused ones absent, or `None` when the route looks
/// at no member.
pub fn body(
    route: &CompiledRoute,
    raw: &[u8],
    content_type: Option<&str>,
    pins: &Pins,
) -> Result<Option<Vec<u8>>, Denial> {
    if route.pin_body.is_empty() && route.refuse_body.is_empty() {
        return Ok(None);
    }
    let is_json = content_type.is_some_and(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    });
    if !raw.is_empty() && !is_json {
        return Err(Denial::bad_request(
            415,
            "this call takes a JSON body: set content-type: application/json",
        ));
    }
    let mut members = if raw.is_empty() { Members::default() } else { parse(raw)? };
    let refused = |name: &String| route.refuse_body.iter().any(|other| name.eq_ignore_ascii_case(other));
    if let Some((name, _)) = members.0.iter().find(|(name, _)| refused(name)) {
        return Err(Denial::route(Said::of("member_reaches").and(name.as_str())));
    }
    members.0.retain(|(name, _)| !route.pin_body.keys().any(|pin| name.eq_ignore_ascii_case(pin)));
    let mut out = Vec::with_capacity(raw.len() + 64);
    out.push(b'{');
    for (name, value) in &members.0 {
        push_member(&mut out, name, value.get());
    }
    for (name, pin) in &route.pin_body {
        let value = serde_json::Value::from(pinned(pins, pin)?);
        push_member(&mut out, name, &value.to_string());
    }
    out.push(b'}');
    Ok(Some(out))
}

fn push_member(out: &mut Vec<u8>, name: &str, value: &str) {
    if out.len() > 1 {
        out.push(b',');
    }
    out.extend_from_slice(serde_json::Value::from(name).to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(value.as_bytes());
}

fn parse(raw: &[u8]) -> Result<Members, Denial> {
    serde_json::from_slice(raw).map_err(|error| {
        let words = if error.is_data() {
            "the body must be one JSON object without repeated members"
        } else {
            "the body is not JSON"
        };
        Denial::bad_request(400, words)
    })
}

/// The members of an object in their order; values stay as they were written, so that no number is
/// rounded. A repeated name is refused: two parsers may pick different ones.
#[derive(Debug, Default)]
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if members.0.iter().any(|(earlier, _)| earlier == &name) {
                return Err(serde::de::Error::custom("a member is repeated"));
            }
            members.0.push((name, value));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_some_server_could_read_otherwise_is_refused() {
        for (part, name) in [("$top=1", "$top"), ("%24Expand=x", "$Expand"), ("a", "a"), ("q=a%3Bb", "q")] {
            assert_eq!(parameter(part).as_deref(), Ok(name), "{part}");
        }
        for part in [
            "=x",
            "a=1;userid=x",
            "+userid=x",
            "userid%20=x",
            "%2524expand=x",
            "a%00=x",
            "%EF%BC%84expand=x",
            "%ff=x",
        ] {
            assert!(parameter(part).is_err(), "{part}");
        }
    }
}
