//! Identity assertion authorization grants (draft-ietf-oauth-identity-assertion-authz-grant): an enterprise's
//! identity provider says who is meant, and what its administrators let an agent do for them.

use std::time::Duration;

use serde_json::Value;

use crate::jose::{Claims, Problem, Token};
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::secret::SecretBytes;
use crate::model::token::Binding;
use crate::providers::Configured;
use crate::providers::template::IdentitySource;
use crate::upstream::dial::in_time;
use crate::upstream::endpoints::Endpoints;
use crate::upstream::failure::UpstreamError;
use crate::upstream::trust::{Publisher, Unsigned};
use crate::upstream::{Upstream, identity};

/// How far the provider's clock may be off.
const LEEWAY: Duration = Duration::from_secs(30);
/// The longest assertion that is looked at.
const LONGEST: usize = 16 * 1024;
/// The furthest `exp` that is taken: such a grant is used at once.
const FURTHEST: Duration = Duration::from_secs(3600);
const JTI_MAX: usize = 256;

/// What a verified assertion says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdJag {
    /// Who issued it.
    pub issuer: String,
    /// Who it is about: the claim that the template names as stable.
    pub subject: String,
    /// Its name, one of its issuer's.
    pub id: String,
    /// When the user last proved who they are.
    pub auth_time: Timestamp,
    /// Until when it can be used, with the leeway.
    pub usable_until: Timestamp,
    /// The most that it allows, where it says so.
    pub scope: Option<String>,
    /// Where, as far as it says so.
    pub resources: Vec<String>,
    /// The key or certificate that whoever shows it has to hold.
    pub binding: Option<Binding>,
}

/// Why an assertion is not believed.
#[derive(Debug)]
pub enum BadAssertion {
    /// It is wrong; in words for the log.
    Because(&'static str),
    /// The provider's keys cannot be had.
    Keys(UpstreamError),
}

impl From<Problem> for BadAssertion {
    fn from(problem: Problem) -> Self {
        Self::Because(match problem {
            Problem::Type => "the assertion's `typ` is not oauth-id-jag+jwt",
            Problem::Signature | Problem::UnknownKey => {
                "the assertion is not signed by the identity provider"
            }
            _ => "the assertion is not a well-formed signed token",
        })
    }
}

impl From<UpstreamError> for BadAssertion {
    fn from(error: UpstreamError) -> Self {
        Self::Keys(error)
    }
}

impl From<Unsigned> for BadAssertion {
    fn from(unsigned: Unsigned) -> Self {
        match unsigned {
            Unsigned::Keys(error) => error.into(),
            Unsigned::Token(problem) => problem.into(),
        }
    }
}

impl Upstream {
    /// Verifies an assertion of the provider for an audience and a client: type, signature, issuer, times.
    ///
    /// # Errors
    /// When it is not to be believed, or the provider's keys cannot be had.
    pub async fn verify_id_jag(
        &self,
        configured: &Configured,
        text: &str,
        audience: &str,
        client_id: &str,
    ) -> Result<IdJag, BadAssertion> {
        let because = |words| Err(BadAssertion::Because(words));
        if configured.loaded.template.identity.source != IdentitySource::IdToken {
            return because("the sign-in provider issues no assertions");
        }
        let token = Token::parse(text, LONGEST)?;
        token.require_type(&[Some("oauth-id-jag+jwt")])?;
        let (endpoints, claims) = in_time(self.signed(configured, &token)).await?;
        if claims.text("iss") != Some(endpoints.issuer.as_str()) {
            return because("the assertion's `iss` is not the identity provider");
        }
        if claims.sole_audience() != Some(audience) {
            return because("the assertion's `aud` is not our issuer, alone");
        }
        if claims.text("client_id") != Some(client_id) {
            return because("the assertion's `client_id` is another client");
        }
        let times = times(&claims, self.now())?;
        let Some(id) = claims.text("jti").filter(|id| (1..=JTI_MAX).contains(&id.len())) else {
            return because("the assertion has no usable `jti`");
        };
        // What it says beyond scopes is not understood here, and passing over it would widen it.
        if claims
            .at("/authorization_details")
            .is_some_and(|details| details.as_array().is_none_or(|list| !list.is_empty()))
        {
            return because("the assertion's `authorization_details` cannot be honoured");
        }
        Ok(IdJag {
            subject: subject(configured, text, &endpoints.issuer)?,
            issuer: endpoints.issuer,
            id: id.to_owned(),
            auth_time: times.auth,
            usable_until: times.usable_until,
            scope: text_of(&claims, "scope")?,
            resources: resources(&claims)?,
            binding: binding(&claims)?,
        })
    }

    /// The claims, if a key has signed them that the provider publishes.
    async fn signed(
        &self,
        configured: &Configured,
        token: &Token<'_>,
    ) -> Result<(Endpoints, Claims), BadAssertion> {
        let endpoints = self.endpoints(configured).await?;
        let claims = self.signed_claims(token, Publisher::Url(&endpoints.jwks_url)).await?;
        Ok((endpoints, claims))
    }
}

struct Times {
    auth: Timestamp,
    usable_until: Timestamp,
}

fn times(claims: &Claims, now: Timestamp) -> Result<Times, BadAssertion> {
    let time =
        |name| claims.time(name).map_err(|_| BadAssertion::Because("a time in the assertion is no date"));
    let (Some(expires), Some(issued)) = (time("exp")?, time("iat")?) else {
        return Err(BadAssertion::Because("the assertion needs `exp` and `iat`"));
    };
    // `iat` would not do: an identity provider issues assertions long after somebody was there.
    let auth = time("auth_time")?
        .ok_or(BadAssertion::Because("the assertion does not say when the user signed in"))?;
    let latest = now.plus(LEEWAY);
    if issued > latest || auth > latest || time("nbf")?.is_some_and(|at| at > latest) {
        return Err(BadAssertion::Because("the assertion is from the future"));
    }
    let usable_until = expires.plus(LEEWAY);
    if usable_until <= now {
        return Err(BadAssertion::Because("the assertion has expired"));
    }
    if expires > now.plus(FURTHEST).plus(LEEWAY) {
        return Err(BadAssertion::Because("the assertion's `exp` is too far in the future"));
    }
    Ok(Times { auth, usable_until })
}

fn text_of(claims: &Claims, name: &str) -> Result<Option<String>, BadAssertion> {
    if claims.has(name) && claims.text(name).is_none() {
        return Err(BadAssertion::Because("a claim of the assertion has the wrong type"));
    }
    Ok(claims.text(name).map(str::to_owned))
}

/// `resource`: one address, or several.
fn resources(claims: &Claims) -> Result<Vec<String>, BadAssertion> {
    let wrong = BadAssertion::Because("the assertion's `resource` is no list of addresses");
    match claims.at("/resource") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(list)) if !list.is_empty() => {
            list.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or(wrong)
        }
        Some(_) => Err(wrong),
    }
}

/// `cnf`: a way of binding that is not known must not count for none.
fn binding(claims: &Claims) -> Result<Option<Binding>, BadAssertion> {
    let Some(stated) = claims.at("/cnf") else { return Ok(None) };
    let binding: Binding = serde_json::from_value(stated.clone())
        .map_err(|_| BadAssertion::Because("the assertion is bound in a way that is not known here"))?;
    if binding == Binding::default() {
        return Err(BadAssertion::Because("the assertion is bound in a way that is not known here"));
    }
    Ok(Some(binding))
}

/// Who it is about, and that they belong to the configured company.
fn subject(configured: &Configured, text: &str, issuer: &str) -> Result<String, BadAssertion> {
    let wrong = |_| BadAssertion::Because("the assertion is about nobody of the configured company");
    let payload = text.split('.').nth(1).and_then(encode::from_base64url).map(SecretBytes::new);
    let payload = payload.ok_or(BadAssertion::Because("the assertion is not a well-formed signed token"))?;
    let members = identity::read(&payload).map_err(wrong)?;
    identity::account(configured, &members, None, issuer).map_err(wrong)?;
    identity::subject(configured, &members, None).map_err(wrong)
}
