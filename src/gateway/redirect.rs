//! Redirects to pre-signed storage are followed here, not by the agent: the address in them opens the file to
//! whoever has it, so it never leaves.

use url::Url;

use crate::gateway::denial::Denial;
use crate::gateway::dial::{HEAD_DEADLINE, LARGEST_ANSWER, Peeked};
use crate::gateway::enforce::OutboundCall;
use crate::gateway::{Gateway, echo, headers};
use crate::net::{Call, CallBody, StreamingAnswer};

/// How many redirects are followed.
const HOPS: usize = 3;

impl Gateway {
    /// Fetches what an answer redirects to, where the route says so.
    pub(super) async fn follow(&self, call: &OutboundCall, peeked: Peeked) -> Result<Peeked, Denial> {
        let mut at = call.url.clone();
        let mut location = location(&peeked.answer, &at);
        for _ in 0..HOPS {
            let next = location.take().filter(|next| is_followed(call, next));
            let next = next.filter(|next| !repeats(next, &peeked));
            let Some(next) = next else { return Err(unfollowed()) };
            // The template names the host, which is what dialling through a proxy asks for.
            self.net.allow_hosts(next.host_str().map(str::to_owned));
            let answer = self
                .net
                .open(Call {
                    method: call.method.clone(),
                    url: next.clone(),
                    headers: headers::to_storage(&call.headers),
                    body: CallBody::Empty,
                    deadline: HEAD_DEADLINE,
                    max_body: LARGEST_ANSWER,
                    alone: false,
                })
                .await?;
            match answer.status {
                200 | 206 | 304 | 412 | 416 => return Ok(peeked.replaced_by(answer)),
                301 | 302 | 303 | 307 | 308 => {
                    location = self::location(&answer, &next);
                    at = next;
                }
                // Its error pages may repeat the address.
                status => {
                    let words = format!("the provider's storage answered with status {status}");
                    return Err(Denial::upstream(502, words));
                }
            }
        }
        tracing::warn!(
            host = at.host_str().unwrap_or_default(),
            "a provider's storage redirects again and again"
        );
        Err(unfollowed())
    }
}

fn unfollowed() -> Denial {
    Denial::upstream(502, "the provider answered with a redirect, which the gateway does not follow")
}

fn location(answer: &StreamingAnswer, at: &Url) -> Option<Url> {
    let mut values = answer.headers.get_all("location").iter();
    let (Some(location), None) = (values.next(), values.next()) else { return None };
    let mut url = at.join(location.to_str().ok()?).ok()?;
    url.set_fragment(None);
    Some(url)
}

/// Whether the route is one that answers from storage, and the host is one of those that the template names.
/// Which address the host has is judged when it is dialled.
fn is_followed(call: &OutboundCall, next: &Url) -> bool {
    let Some(host) = next.host_str().filter(|_| next.scheme() == "https" && next.port().is_none()) else {
        return false;
    };
    let named = |pattern: &String| match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|name| name.len() > 1 && name.ends_with('.')),
        None => host == pattern,
    };
    call.is_safe && call.follow && call.storage().iter().any(named)
}

/// No token may leave in an address, not even one that the provider has put there itself.
fn repeats(next: &Url, peeked: &Peeked) -> bool {
    echo::holds(next.as_str().as_bytes(), peeked.token.expose_str().as_bytes())
}
