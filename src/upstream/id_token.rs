//! ID tokens (OpenID Connect Core, section 3.1.3.7).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJwsSigningAlgorithm};
use openidconnect::{
    ClaimsVerificationError, ClientId, IssuerUrl, JsonWebKeySet, Nonce, SignatureVerificationError,
};
use serde::Deserialize;

use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::secret::{SecretBytes, SecretString};
use crate::kernel::text;
use crate::providers::Configured;
use crate::providers::dialect::Members;
use crate::providers::template::IdentitySource;
use crate::upstream::Upstream;
use crate::upstream::dial::in_time;
use crate::upstream::endpoints::Endpoints;
use crate::upstream::failure::{IdTokenProblem as Problem, UpstreamError};
use crate::upstream::identity;
use crate::upstream::keys::Keys;

/// How far a provider's clock may be off.
const LEEWAY: Duration = Duration::from_secs(30);
/// The longest token that is looked at.
const MAX_TOKEN: usize = 16 * 1024;
/// The longest name or e-mail address that is kept.
const MAX_LABEL: usize = 254;

/// What a verified ID token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdClaims {
    /// Who issued it.
    pub issuer: String,
    /// Who it is about: the claim that the template names as stable.
    pub subject: String,
    /// E-mail address, unless the provider says that it is not verified. A label, not a key.
    pub email: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// When the user last proved who they are, if stated.
    pub auth_time: Option<Timestamp>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A token that may be believed, with its claims as they were signed.
pub(super) struct Verified {
    pub(super) claims: IdClaims,
    pub(super) payload: SecretBytes,
}

/// The claims that the library leaves to its caller.
#[derive(Deserialize)]
struct Rest {
    aud: Audiences,
    azp: Option<String>,
    nbf: Option<f64>,
    at_hash: Option<String>,
    email_verified: Option<serde_json::Value>,
    /// Only a logout token and a security event have it.
    events: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Audiences {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Upstream {
    /// Verifies an ID token of a provider: signature, issuer, audience, times, nonce where one is given,
    /// and that the account belongs to the configured company.
    ///
    /// # Errors
    /// When the token is not to be believed, or the provider's keys cannot be had.
    pub async fn verify_id_token(
        &self,
        configured: &Configured,
        token: &str,
        audiences: &[String],
        nonce: Option<&str>,
    ) -> Result<IdClaims, UpstreamError> {
        if configured.loaded.template.identity.source != IdentitySource::IdToken {
            return Err(UpstreamError::not_offered("this provider issues no ID tokens"));
        }
        let checked = async {
            let endpoints = self.endpoints(configured).await?;
            let verified = self.check_id_token(configured, &endpoints, token, audiences, nonce, None).await?;
            Ok::<_, UpstreamError>((endpoints, verified))
        };
        let (endpoints, verified) = in_time(checked).await?;
        let members = identity::read(&verified.payload)?;
        identity::account(configured, &members, None, &endpoints.issuer)?;
        Ok(verified.claims)
    }

    pub(super) async fn check_id_token(
        &self,
        configured: &Configured,
        endpoints: &Endpoints,
        token: &str,
        audiences: &[String],
        nonce: Option<&str>,
        access_token: Option<&SecretString>,
    ) -> Result<Verified, UpstreamError> {
        let payload = payload_of(token)?;
        let rest: Rest = serde_json::from_slice(payload.expose()).map_err(|_| bad(Problem::Malformed))?;
        // A logout token has the same issuer, audience and subject, and says the opposite (OpenID Connect
        // Back-Channel Logout, section 2.4); not every provider types it.
        if rest.events.is_some() {
            return Err(bad(Problem::Malformed));
        }
        let audience = check_audience(&rest, audiences)?;
        // The parse error could hold claims; it is dropped.
        let token: CoreIdToken = token.parse().map_err(|_| bad(Problem::Malformed))?;
        let now = self.now();
        let mut keys = self.keys(&endpoints.jwks_url).await?;
        let mut checked = verify(&token, &keys, audience, audiences, &endpoints.issuer, nonce, now);
        if matches!(checked, Err(Unverified::UnknownKey))
            && let Some(newer) = self.newer_keys(&endpoints.jwks_url, &keys).await
        {
            keys = newer;
            checked = verify(&token, &keys, audience, audiences, &endpoints.issuer, nonce, now);
        }
        let times = checked.map_err(|unverified| match unverified {
            Unverified::UnknownKey => bad(Problem::Signature),
            Unverified::Bad(problem) => bad(problem),
        })?;
        if rest.nbf.is_some_and(|nbf| nbf > seconds(now.plus(LEEWAY))) {
            return Err(bad(Problem::Time));
        }
        check_at_hash(rest.at_hash.as_deref(), access_token)?;
        let claims = claims(configured, endpoints, &payload, &rest, times)?;
        Ok(Verified { claims, payload })
    }
}

#[derive(Clone, Copy)]
struct Times {
    issued_at: Timestamp,
    expires_at: Timestamp,
    auth_time: Option<Timestamp>,
}

enum Unverified {
    UnknownKey,
    Bad(Problem),
}

fn verify(
    token: &CoreIdToken,
    keys: &Arc<Keys>,
    audience: &str,
    audiences: &[String],
    issuer: &str,
    nonce: Option<&str>,
    now: Timestamp,
) -> Result<Times, Unverified> {
    let malformed = |_| Unverified::Bad(Problem::Issuer);
    let issuer = IssuerUrl::new(issuer.to_owned()).map_err(malformed)?;
    let keys = JsonWebKeySet::new(keys.to_vec());
    let latest = date(now.plus(LEEWAY));
    // A public client's verifier knows no shared secret, so no HMAC is ever computed; the list of
    // algorithms leaves out `none` and everything else that was not asked for.
    let verifier = CoreIdTokenVerifier::new_public_client(ClientId::new(audience.to_owned()), issuer, keys)
        .set_allowed_algs([
            CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        ])
        .set_other_audience_verifier_fn(|other| audiences.iter().any(|known| known == other.as_str()))
        .set_time_fn(move || date(now.minus(LEEWAY)))
        .set_issue_time_verifier_fn(move |issued| if issued <= latest { Ok(()) } else { Err(String::new()) });
    let expected = nonce.map(|nonce| Nonce::new(nonce.to_owned()));
    let check_nonce = |given: Option<&Nonce>| match &expected {
        Some(expected) => openidconnect::NonceVerifier::verify(expected, given),
        None => Ok(()),
    };
    let claims = token.claims(&verifier, check_nonce).map_err(|error| problem(&error))?;
    let stamp = |date: DateTime<Utc>| Timestamp::from_millis(date.timestamp_millis());
    Ok(Times {
        issued_at: stamp(claims.issue_time()),
        expires_at: stamp(claims.expiration()),
        auth_time: claims.auth_time().map(stamp),
    })
}

fn problem(error: &ClaimsVerificationError) -> Unverified {
    Unverified::Bad(match error {
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            return Unverified::UnknownKey;
        }
        ClaimsVerificationError::SignatureVerification(_) => Problem::Signature,
        ClaimsVerificationError::Expired(_) => Problem::Time,
        ClaimsVerificationError::InvalidAudience(_) => Problem::Audience,
        ClaimsVerificationError::InvalidIssuer(_) => Problem::Issuer,
        ClaimsVerificationError::InvalidNonce(_) => Problem::Nonce,
        _ => Problem::Malformed,
    })
}

/// The signed claims as bytes. They are read strictly (no member twice), so that no two readers of the
/// same token can see different values.
fn payload_of(token: &str) -> Result<SecretBytes, UpstreamError> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad(Problem::Malformed));
    };
    let payload = (token.len() <= MAX_TOKEN).then(|| encode::from_base64url(payload)).flatten();
    let payload = payload.map(SecretBytes::new).ok_or_else(|| bad(Problem::Malformed))?;
    Members::parse(payload.expose()).map_err(|_| bad(Problem::Malformed))?;
    Ok(payload)
}

/// The audience that is ours. `azp`, when there, must be ours as well: a token that another client asked
/// for names us in `aud` only as a guest.
fn check_audience<'a>(rest: &Rest, audiences: &'a [String]) -> Result<&'a str, UpstreamError> {
    let stated = rest.aud.as_slice();
    let ours = audiences.iter().find(|audience| stated.contains(audience));
    let is_foreign = rest.azp.as_ref().is_some_and(|azp| !audiences.contains(azp));
    let needs_azp = stated.len() > 1 && rest.azp.is_none();
    match ours {
        Some(ours) if !is_foreign && !needs_azp => Ok(ours),
        _ => Err(bad(Problem::Audience)),
    }
}

/// Left half of SHA-256 (OpenID Connect Core, section 3.1.3.6); both algorithms that are accepted use it.
fn check_at_hash(stated: Option<&str>, access_token: Option<&SecretString>) -> Result<(), UpstreamError> {
    let (Some(stated), Some(token)) = (stated, access_token) else { return Ok(()) };
    let hash = digest::digest(&digest::SHA256, token.expose_str().as_bytes());
    let half = hash.as_ref().split_at_checked(16).map(|(left, _)| encode::base64url(left));
    if half.as_deref() == Some(stated) { Ok(()) } else { Err(bad(Problem::AccessToken)) }
}

fn claims(
    configured: &Configured,
    endpoints: &Endpoints,
    payload: &SecretBytes,
    rest: &Rest,
    times: Times,
) -> Result<IdClaims, UpstreamError> {
    let members = identity::read(payload)?;
    let label = |name: &str| {
        let value = members.text(name).filter(|value| !value.is_empty() && value.len() <= MAX_LABEL)?;
        Some(text::clean(&value, MAX_LABEL))
    };
    let is_unverified = rest
        .email_verified
        .as_ref()
        .is_some_and(|value| value == &serde_json::Value::Bool(false) || value == "false");
    Ok(IdClaims {
        issuer: endpoints.issuer.clone(),
        subject: identity::subject(configured, &members, None)?,
        email: label("email").filter(|_| !is_unverified),
        name: label("name"),
        auth_time: times.auth_time,
        issued_at: times.issued_at,
        expires_at: times.expires_at,
    })
}

fn bad(problem: Problem) -> UpstreamError {
    UpstreamError::id_token(problem)
}

fn date(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.millis()).unwrap_or(DateTime::UNIX_EPOCH)
}

#[expect(clippy::cast_precision_loss, reason = "compared with a NumericDate, which is a JSON number")]
fn seconds(at: Timestamp) -> f64 {
    at.secs() as f64
}
