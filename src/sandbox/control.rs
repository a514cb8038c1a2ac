//! The control endpoints under `/_sandbox`: faults, the clock, what happened. Loopback only.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::HttpRequest;
use serde_json::{Value, json};

use crate::sandbox::crowd;
use crate::sandbox::faults::Fault;
use crate::sandbox::host::Floor;
use crate::sandbox::tokens::Rule;
use crate::sandbox::wire::Reply;

/// The furthest that one call moves the clock: two years.
const LONGEST_ADVANCE_S: u64 = 2 * 366 * 86_400;

/// Answers one control request.
pub(super) fn answer(floor: &Floor, http: &HttpRequest, body: &[u8]) -> Reply {
    if !is_local(http) {
        return problem(403, "the controls are for this machine only");
    }
    if is_of_another_site(http) {
        return problem(403, "the controls are not for pages of other sites");
    }
    let path: Vec<&str> = http.uri().path().trim_start_matches("/_sandbox/").split('/').collect();
    match (http.method().as_str(), path.as_slice()) {
        ("POST", ["clock"]) => clock(floor, body),
        ("GET", [provider, "state"]) => match floor.counter(provider) {
            Some(counter) => {
                let mut state = counter.desk.state();
                let open = floor.open_streams.load(Ordering::SeqCst);
                if let Some(members) = state.as_object_mut() {
                    members.insert("open_streams".to_owned(), json!(open));
                }
                Reply::json(200, &state)
            }
            None => problem(404, "no such provider"),
        },
        ("GET", [provider, "calls"]) => match floor.counter(provider) {
            Some(counter) => Reply::json(200, &json!({"calls": counter.desk.calls()})),
            None => problem(404, "no such provider"),
        },
        ("DELETE", [provider, "changes"]) => match floor.counter(provider) {
            Some(counter) => {
                counter.vendor.renew(&counter.desk);
                Reply::empty(204)
            }
            None => problem(404, "no such provider"),
        },
        ("POST", [provider, "faults"]) => match floor.counter(provider) {
            Some(counter) => match serde_json::from_slice::<Fault>(body) {
                Ok(fault) => match fault.objection() {
                    Some(objection) => problem(400, objection),
                    None => {
                        counter.desk.faults.inject(fault);
                        Reply::empty(204)
                    }
                },
                Err(error) => problem(400, &format!("not a fault: {error}")),
            },
            None => problem(404, "no such provider"),
        },
        ("PUT", [provider, "refresh"]) => match floor.counter(provider) {
            Some(counter) => match serde_json::from_slice::<Rule>(body) {
                Ok(rule) => {
                    counter.desk.book.set_rule(Some(rule));
                    Reply::empty(204)
                }
                Err(error) => problem(400, &format!("not a rule for refresh tokens: {error}")),
            },
            None => problem(404, "no such provider"),
        },
        ("DELETE", [provider, "refresh"]) => match floor.counter(provider) {
            Some(counter) => {
                counter.desk.book.set_rule(None);
                Reply::empty(204)
            }
            None => problem(404, "no such provider"),
        },
        ("POST", [provider, "crowd"]) => match floor.counter(provider) {
            Some(counter) => crowd::enter(&counter.desk, body),
            None => problem(404, "no such provider"),
        },
        ("DELETE", [provider, "faults"]) => match floor.counter(provider) {
            Some(counter) => {
                counter.desk.faults.reset();
                Reply::empty(204)
            }
            None => problem(404, "no such provider"),
        },
        _ => problem(404, "no such control"),
    }
}

/// What stands at addresses that belong to no vendor.
pub(super) fn index(floor: &Floor, path: &str) -> Reply {
    if path != "/" {
        return problem(404, "no provider's service has this address");
    }
    let providers: Vec<Value> = (floor.counters.iter())
        .map(|counter| {
            let services: Vec<Value> = (counter.vendor.services().iter())
                .map(|s| json!({"path": format!("/{}/{}", counter.vendor.name(), s.name), "hosts": s.hosts}))
                .collect();
            json!({"provider": counter.vendor.name(), "services": services})
        })
        .collect();
    Reply::json(200, &json!({"sandbox": "valetkey", "providers": providers}))
}

fn clock(floor: &Floor, body: &[u8]) -> Reply {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let advance = parsed.as_ref().and_then(|document| document.get("advance_s")).and_then(Value::as_u64);
    match advance {
        Some(seconds) if seconds <= LONGEST_ADVANCE_S => {
            (floor.advance)(Duration::from_secs(seconds));
            let now = floor.counters.first().map(|counter| counter.desk.now().rfc3339());
            Reply::json(200, &json!({"advanced_s": seconds, "now": now}))
        }
        _ => problem(400, "`advance_s` is a number of seconds, at most two years"),
    }
}

/// The peer is this machine, and the address typed was this machine's: a page elsewhere whose name resolves to
/// the loopback address (DNS rebinding) must not reach the controls.
fn is_local(http: &HttpRequest) -> bool {
    let peer = http.peer_addr().is_some_and(|peer| peer.ip().is_loopback());
    let host = http.headers().get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    peer && matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// A page of another site: a browser on this machine can be made to send it anything that a form can hold, and names
/// the page as its origin (Fetch, section 3.1). Programs name none.
fn is_of_another_site(http: &HttpRequest) -> bool {
    let header = |name: &str| http.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let own = header("host").map(|host| format!("http://{host}"));
    header("origin").is_some_and(|origin| own.as_deref() != Some(origin))
}

pub(super) fn problem(status: u16, detail: &str) -> Reply {
    Reply::json(status, &json!({"error": detail}))
}
