//! One proof: what makes it well-formed, and what it is good for (RFC 9449, section 4.3).

use std::time::Duration;

use aws_lc_rs::digest;
use serde_json::{Map, Value};
use url::Url;

use crate::jose::{Algorithm, Key, strict, thumbprint};
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;

/// The longest proof that is read, in bytes: one by an RSA key of 4096 bits has half of it.
pub const LONGEST: usize = 4096;
/// How old a proof may be by its own `iat`.
const OLDEST: Duration = Duration::from_secs(120);
/// How far the clock of whoever makes proofs may be ahead.
const AHEAD: Duration = Duration::from_secs(60);
/// The longest name of a proof.
const JTI_MAX: usize = 256;
/// Members that a public key does not have (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Members with which a proof would be read in another way, or have something fetched.
const REFUSED: [&str; 7] = ["crit", "b64", "enc", "zip", "jku", "x5u", "x5c"];

/// What is wrong with a proof. Names fields, never values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is none.
    #[error("a DPoP proof is missing: send one DPoP header, signed by the key that the token is bound to")]
    Missing,
    /// More than one header, or one that is no text.
    #[error("send exactly one DPoP header")]
    NotOne,
    /// Too long.
    #[error("the DPoP proof is longer than {LONGEST} bytes")]
    TooLong,
    /// Not three parts of base64url with JSON objects in which no member comes twice.
    #[error("the DPoP proof is no signed JWT, or a member in it is given twice")]
    Malformed,
    /// Its header.
    #[error(
        "the DPoP proof's header must have typ dpop+jwt, an asymmetric alg and a public jwk, and bring nothing else along"
    )]
    Header,
    /// Its key.
    #[error("the DPoP proof's jwk is not a public key of its alg")]
    Key,
    /// Its signature.
    #[error("the DPoP proof's signature does not fit its jwk")]
    Signature,
    /// A claim is missing or of the wrong type.
    #[error("the DPoP proof needs jti (1 to 256 characters), htm, htu and iat")]
    Claims,
    /// Made for another method.
    #[error("the DPoP proof's htm is not this request's method")]
    Method,
    /// Made for another address.
    #[error("the DPoP proof's htu is not this request's address without query and fragment")]
    Address,
    /// Made for another moment.
    #[error("the DPoP proof's iat is too far from now")]
    Time,
    /// Made for another token.
    #[error("the DPoP proof's ath is not the hash of this token")]
    Token,
    /// Made by another key.
    #[error("the DPoP proof is by another key than the one that the token is bound to")]
    OtherKey,
    /// Shown before.
    #[error("the DPoP proof was used before: make a new one for every request")]
    Used,
}

/// What a proof has to be made for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's address as the client sees it; query and fragment do not count.
    pub url: &'a Url,
    /// The token that is shown with it, if one is.
    pub token: Option<&'a str>,
}

/// A proof that its own key has signed. What for, [`Proof::check`] says.
#[derive(Debug)]
pub struct Proof {
    thumbprint: String,
    id: String,
    issued_at: Timestamp,
    claims: Map<String, Value>,
}

impl Proof {
    /// Reads a proof and checks its signature.
    ///
    /// # Errors
    /// When it is not well-formed.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > LONGEST {
            return Err(Problem::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Problem::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Problem::Malformed)?;
        let object = |part: &str| match encode::from_base64url(part).and_then(|bytes| strict(&bytes).ok()) {
            Some(Value::Object(members)) => Ok(members),
            _ => Err(Problem::Malformed),
        };
        let (header, claims) = (object(header)?, object(payload)?);
        let signature = encode::from_base64url(signature).ok_or(Problem::Malformed)?;
        let (key, thumbprint) = key_of(&header)?;
        if !key.verifies(signed.as_bytes(), &signature) {
            return Err(Problem::Signature);
        }
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let id =
            text("jti").filter(|id| (1..=JTI_MAX).contains(&id.len())).ok_or(Problem::Claims)?.to_owned();
        if text("htm").is_none() || text("htu").is_none() {
            return Err(Problem::Claims);
        }
        let issued_at = claims.get("iat").and_then(seconds).ok_or(Problem::Claims)?;
        if claims.get("nonce").is_some_and(|nonce| !nonce.is_string()) {
            return Err(Problem::Claims);
        }
        Ok(Self { thumbprint, id, issued_at, claims })
    }

    /// Whether it was made for this request, now.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self, target: &Target<'_>, now: Timestamp) -> Result<(), Problem> {
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        if text("htm") != Some(target.method) {
            return Err(Problem::Method);
        }
        if !text("htu").is_some_and(|htu| is_address(htu, target.url)) {
            return Err(Problem::Address);
        }
        if now.since(self.issued_at) > OLDEST || self.issued_at > now.plus(AHEAD) {
            return Err(Problem::Time);
        }
        match target.token {
            Some(token) if text("ath") != Some(hash(token).as_str()) => Err(Problem::Token),
            _ => Ok(()),
        }
    }

    /// The thumbprint of the key that made it (RFC 7638).
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Its name, one of its key's (`jti`).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The nonce that it was made with.
    pub fn nonce(&self) -> Option<&str> {
        self.claims.get("nonce").and_then(Value::as_str)
    }

    /// From when on [`Proof::check`] finds it too old.
    pub fn lapses_at(&self) -> Timestamp {
        self.issued_at.plus(OLDEST)
    }
}

/// The key in the header, which fixes the algorithm, and its thumbprint.
fn key_of(header: &Map<String, Value>) -> Result<(Key, String), Problem> {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    if text("typ") != Some("dpop+jwt") || REFUSED.iter().any(|name| header.contains_key(*name)) {
        return Err(Problem::Header);
    }
    // There is no name for `none` or an HMAC.
    let algorithm = text("alg").and_then(Algorithm::named).ok_or(Problem::Header)?;
    let mut jwk = header.get("jwk").filter(|jwk| jwk.is_object()).cloned().ok_or(Problem::Header)?;
    if PRIVATE.iter().any(|name| jwk.get(*name).is_some()) {
        return Err(Problem::Key);
    }
    if let Some(members) = jwk.as_object_mut() {
        members.entry("alg").or_insert_with(|| algorithm.as_str().into());
    }
    let key = Key::parse(&jwk).ok().filter(|key| key.algorithm() == algorithm).ok_or(Problem::Key)?;
    let thumbprint = thumbprint(&jwk).ok_or(Problem::Key)?;
    Ok((key, thumbprint))
}

/// Whole seconds since the epoch, or with a fraction (RFC 7519, section 2).
fn seconds(value: &Value) -> Option<Timestamp> {
    const LATEST: f64 = 253_402_300_799.0;
    let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds))?;
    #[expect(clippy::cast_possible_truncation, reason = "it lies within a date's range")]
    let millis = (seconds * 1000.0) as i64;
    Some(Timestamp::from_millis(millis))
}

/// Whether `htu` is that address. Spelling that means the same (case of scheme and host, the default port)
/// does not matter (RFC 9449, section 4.3). By section 4.2 it has neither query nor fragment.
fn is_address(htu: &str, url: &Url) -> bool {
    if htu.contains(['?', '#', '\\']) || !htu.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    let Ok(stated) = Url::parse(htu) else { return false };
    let whole = |url: &Url| {
        let mut url = url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url
    };
    stated.username().is_empty() && stated.password().is_none() && whole(&stated) == whole(url)
}

/// `ath`: the token's hash (RFC 9449, section 4.2).
fn hash(token: &str) -> String {
    encode::base64url(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
}
