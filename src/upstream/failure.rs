//! What can go wrong at a provider. Nothing here holds a word of what the provider sent, but its code.

use std::time::Duration;

use crate::kernel::clock::Timestamp;
use crate::net::NetError;
use crate::net::http::HeaderMap;
use crate::providers::dialect::TokenFailure;
use crate::providers::template::ErrorClass;

/// No provider makes us wait longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A call to a provider did not bring what it was for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}{}", code.as_deref().map(|code| format!(" (`{code}`)")).unwrap_or_default())]
pub struct UpstreamError {
    /// What it asks for.
    pub class: ErrorClass,
    /// What the provider may have done.
    pub delivered: Delivered,
    /// When to come back, if the provider says.
    pub retry_after: Option<Duration>,
    /// What happened.
    pub words: &'static str,
    /// The provider's own code, cleaned.
    pub code: Option<String>,
    /// Where it happened.
    pub cause: Cause,
}

/// What became of what was presented to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The provider has seen nothing.
    No,
    /// The provider answered, and has not spent what was presented.
    Yes,
    /// The provider may have spent it; its answer did not come, or cannot be read.
    Unknown,
}

/// Where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// On the way.
    Network,
    /// The provider said no, or nothing that can be read.
    Provider,
    /// The account is not one of the configured company.
    CompanyMismatch,
    /// The account cannot be identified.
    Identity,
    /// The ID token is not to be believed.
    IdToken(IdTokenProblem),
    /// The provider's metadata or keys cannot be used.
    Metadata,
    /// The template has no such thing.
    NotOffered,
}

/// Why an ID token is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdTokenProblem {
    /// There is none.
    Missing,
    /// It is no well-formed token.
    Malformed,
    /// It comes from another issuer.
    Issuer,
    /// It is meant for someone else.
    Audience,
    /// It has expired, or is from the future.
    Time,
    /// It belongs to another transaction.
    Nonce,
    /// Its signature, key or algorithm is not accepted.
    Signature,
    /// It came with another access token.
    AccessToken,
}

impl IdTokenProblem {
    const fn words(self) -> &'static str {
        match self {
            Self::Missing => "the provider sent no ID token",
            Self::Malformed => "the ID token is not well-formed",
            Self::Issuer => "the ID token comes from another issuer",
            Self::Audience => "the ID token is meant for someone else",
            Self::Time => "the ID token has expired or is from the future",
            Self::Nonce => "the ID token belongs to another sign-in",
            Self::Signature => "the ID token's signature is not accepted",
            Self::AccessToken => "the ID token belongs to another access token",
        }
    }
}

impl UpstreamError {
    pub(super) fn new(class: ErrorClass, cause: Cause, words: &'static str) -> Self {
        Self { class, delivered: Delivered::Yes, retry_after: None, words, code: None, cause }
    }

    /// Something that is wrong before anything is sent.
    pub(super) fn unsent(cause: Cause, words: &'static str) -> Self {
        Self { delivered: Delivered::No, ..Self::new(ErrorClass::Config, cause, words) }
    }

    pub(super) fn not_offered(words: &'static str) -> Self {
        Self::unsent(Cause::NotOffered, words)
    }

    pub(super) fn id_token(problem: IdTokenProblem) -> Self {
        Self::new(ErrorClass::Unknown, Cause::IdToken(problem), problem.words())
    }

    pub(super) fn company_mismatch() -> Self {
        let words = "this account does not belong to the configured company";
        Self::new(ErrorClass::Request, Cause::CompanyMismatch, words)
    }

    pub(super) fn network(error: &NetError) -> Self {
        let delivered = if error.may_have_been_delivered() { Delivered::Unknown } else { Delivered::No };
        let (class, words) = match error {
            NetError::Refused { .. } => (ErrorClass::Config, "the provider's address may not be dialled"),
            NetError::NotSent => (ErrorClass::Retry, "the provider cannot be reached"),
            NetError::Tls => (ErrorClass::Retry, "the provider's certificate is not trusted"),
            NetError::AnswerLost => (ErrorClass::Retry, "the provider's answer was lost"),
            NetError::TooSlow { .. } => (ErrorClass::Retry, "the provider took too long"),
            NetError::TooLarge => (ErrorClass::Unknown, "the provider's answer is too long"),
        };
        Self { class, delivered, retry_after: None, words, code: None, cause: Cause::Network }
    }

    /// Nobody waits any longer for it.
    pub(super) fn too_slow() -> Self {
        let (class, words) = (ErrorClass::Retry, "the provider took too long");
        Self { delivered: Delivered::Unknown, ..Self::new(class, Cause::Network, words) }
    }

    /// A token endpoint answered, but not with tokens.
    pub(super) fn token(failure: TokenFailure, retry_after: Option<Duration>) -> Self {
        // Whoever is throttled has not been listened to.
        let unspent = failure.is_refusal || failure.status == 429;
        Self {
            class: failure.class,
            delivered: if unspent { Delivered::Yes } else { Delivered::Unknown },
            retry_after,
            words: failure.words,
            code: failure.code,
            cause: Cause::Provider,
        }
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3) as seconds or as a date, else a rate limit's reset as epoch
/// seconds, as some vendors send it.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let until = |secs: i64| Timestamp::from_secs(secs).since(now);
    let stated = text("retry-after").and_then(|value| match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
            Some(until(date.as_second()))
        }
    });
    let wait = stated.or_else(|| text("x-rate-limit-reset")?.parse().ok().map(until))?;
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::http::{HeaderName, HeaderValue};

    #[test]
    fn waits_are_read_in_every_form_and_bounded() {
        let now = Timestamp::from_secs(1_700_000_000);
        let wait = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("retry-after", "7"), Some(7));
        assert_eq!(wait("retry-after", "Tue, 14 Nov 2023 22:13:30 GMT"), Some(10));
        assert_eq!(wait("retry-after", "99999999"), Some(3600));
        assert_eq!(wait("retry-after", "-1"), None);
        assert_eq!(wait("retry-after", "soon"), None);
        assert_eq!(wait("x-rate-limit-reset", "1700000012"), Some(12));
        assert_eq!(wait("x-rate-limit-reset", "1"), Some(0));
    }
}
