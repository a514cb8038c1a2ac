//! Security Event Tokens (RFC 8417): whose they claim to be, and whether they are.

use openidconnect::JsonWebKey as _;
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::kernel::encode;
use crate::providers::dialect::Members;
use crate::upstream::Upstream;
use crate::upstream::dial::in_time;
use crate::upstream::failure::UpstreamError;
use crate::upstream::keys::Keys;

/// The longest token that is looked at.
const MAX_TOKEN: usize = 64 * 1024;

/// Where a transmitter's keys are.
#[derive(Clone, Copy, Debug)]
pub enum KeyPlace<'a> {
    /// At a URL.
    Url(&'a str),
    /// Here: a JWK Set as JSON.
    Here(&'a str),
}

/// Why a token is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventTokenProblem {
    /// It is no such token.
    #[error("the body is not a signed security event token")]
    Malformed,
    /// No published key, or an algorithm that is not taken.
    #[error("the token is not signed with a key that the transmitter publishes")]
    Key,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// The keys cannot be had.
    #[error("the transmitter's keys cannot be fetched at present")]
    Unavailable,
}

impl From<UpstreamError> for EventTokenProblem {
    fn from(_: UpstreamError) -> Self {
        Self::Unavailable
    }
}

/// A token as it came, with nothing proven.
pub struct UnverifiedEvent<'t> {
    signed: &'t str,
    header: Header,
    payload: Value,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

impl<'t> UnverifiedEvent<'t> {
    /// Reads a compact JWS.
    ///
    /// # Errors
    /// When it is none, or not explicitly a security event: a token made for something else must not pass
    /// for one (RFC 8417, section 2.3).
    pub fn read(token: &'t str) -> Result<Self, EventTokenProblem> {
        let malformed = EventTokenProblem::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(malformed)?;
        if token.len() > MAX_TOKEN || payload.contains('.') {
            return Err(malformed);
        }
        let part = |text: &str| encode::from_base64url(text).ok_or(malformed);
        let (header, payload) = (part(header)?, part(payload)?);
        // Read strictly, no member twice: no two readers may see different values.
        for bytes in [&header, &payload] {
            Members::parse(bytes).map_err(|_| malformed)?;
        }
        let header: Header = serde_json::from_slice(&header).map_err(|_| malformed)?;
        let is_event = header.typ.as_deref().is_some_and(|typ| {
            typ.eq_ignore_ascii_case("secevent+jwt") || typ.eq_ignore_ascii_case("application/secevent+jwt")
        });
        if !is_event || header.crit.is_some() {
            return Err(malformed);
        }
        let payload = serde_json::from_slice(&payload).map_err(|_| malformed)?;
        Ok(Self { signed, header, payload, signature: part(signature)? })
    }

    /// Who it claims to be from.
    pub fn issuer(&self) -> Option<&str> {
        self.payload.get("iss").and_then(Value::as_str)
    }
}

impl Upstream {
    /// Checks the signature with the keys of whoever it claims to be from; the claims as they were signed.
    ///
    /// # Errors
    /// When it is not to be believed, or the keys cannot be had.
    pub async fn verify_event(
        &self,
        event: UnverifiedEvent<'_>,
        keys: KeyPlace<'_>,
    ) -> Result<Value, EventTokenProblem> {
        let checked = match keys {
            KeyPlace::Here(set) => {
                let keys = Keys::parse(set.as_bytes()).ok_or(EventTokenProblem::Key)?;
                check(&event, &keys.to_vec())
            }
            KeyPlace::Url(url) => {
                if let Some(host) = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)) {
                    self.inner.net.allow_hosts([host]);
                }
                let checked = async {
                    let keys = self.keys(url).await?;
                    match check(&event, &keys.to_vec()) {
                        Err(EventTokenProblem::Key) => match self.newer_keys(url, &keys).await {
                            Some(newer) => check(&event, &newer.to_vec()),
                            None => Err(EventTokenProblem::Key),
                        },
                        checked => checked,
                    }
                };
                in_time(checked).await
            }
        };
        checked.map(|()| event.payload)
    }
}

fn check(event: &UnverifiedEvent<'_>, keys: &[CoreJsonWebKey]) -> Result<(), EventTokenProblem> {
    // Never `none`, never a shared secret.
    let algorithm = match event.header.alg.as_str() {
        "RS256" => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
        "ES256" => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        _ => return Err(EventTokenProblem::Key),
    };
    let is_named = |key: &&CoreJsonWebKey| match &event.header.kid {
        Some(kid) => key.key_id().is_some_and(|id| id.as_str() == kid),
        None => true,
    };
    let mut problem = EventTokenProblem::Key;
    for key in keys.iter().filter(is_named) {
        match key.verify_signature(&algorithm, event.signed.as_bytes(), &event.signature) {
            Ok(()) => return Ok(()),
            Err(_) => problem = EventTokenProblem::Signature,
        }
    }
    Err(problem)
}
