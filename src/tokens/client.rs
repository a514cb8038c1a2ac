//! Client authentication: how the agent says who it is. One place for every endpoint that asks.

use std::net::IpAddr;

use crate::agents::{Attempt, Proof, ShownCertificate};
use crate::kernel::encode;
use crate::kernel::secret::SecretString;
use crate::tokens::{Params, TokenError};

/// The one type of client assertion (RFC 7523, section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who an agent says it is and how it means to prove it, as they came.
pub struct ClientAuthentication {
    /// Its id. An agent's own assertion may say it alone.
    pub client_id: Option<String>,
    /// Its proof.
    pub proof: ClientProof,
}

/// What was sent as proof.
pub enum ClientProof {
    /// `client_secret_basic` or `client_secret_post`.
    Secret(SecretString),
    /// `private_key_jwt`, or a workload's token.
    Assertion(SecretString),
    /// Nothing: the connection's certificate is to prove it.
    Certificate,
}

impl ClientAuthentication {
    /// Reads client authentication (RFC 6749, section 2.3; RFC 7521, section 4.2; RFC 8705, section 2). Using
    /// two ways is an error: which one was checked must never be in doubt. A connection's certificate alone
    /// is no such way: service meshes show one for everybody.
    ///
    /// # Errors
    /// `invalid_client` when there is none or it cannot be read, `invalid_request` when there are two.
    pub fn read(authorization: Option<&str>, params: Params<'_>) -> Result<Self, TokenError> {
        let (secret, assertion) = (params.get("client_secret"), params.get("client_assertion"));
        let client_id = params.get("client_id").map(str::to_owned);
        let ways = [authorization.is_some(), secret.is_some(), assertion.is_some()];
        if ways.into_iter().filter(|used| *used).count() > 1 {
            return Err(TokenError::invalid_request(
                "authenticate once: by header, secret or assertion, not by two of them",
            ));
        }
        match (assertion.is_some(), params.get("client_assertion_type")) {
            (true, Some(ASSERTION_TYPE)) | (false, None) => {}
            _ => {
                return Err(TokenError::invalid_request(format!(
                    "client_assertion needs client_assertion_type={ASSERTION_TYPE}, and the other way round"
                )));
            }
        }
        if let Some(header) = authorization {
            return Self::basic(header, client_id);
        }
        let owned = |text: &str| SecretString::new(text.to_owned());
        match (client_id, secret, assertion) {
            (Some(id), Some(secret), _) => {
                Ok(Self { client_id: Some(id), proof: ClientProof::Secret(owned(secret)) })
            }
            (client_id, None, Some(token)) => {
                Ok(Self { client_id, proof: ClientProof::Assertion(owned(token)) })
            }
            (Some(id), None, None) => Ok(Self { client_id: Some(id), proof: ClientProof::Certificate }),
            (None, _, _) => Err(TokenError::invalid_client()),
        }
    }

    /// The same as the registry of agents takes it.
    pub fn attempt<'a>(
        &'a self,
        certificate: Option<&'a ShownCertificate>,
        address: Option<IpAddr>,
    ) -> Attempt<'a> {
        let proof = match &self.proof {
            ClientProof::Secret(secret) => Proof::Secret(secret.expose_str()),
            ClientProof::Assertion(token) => Proof::Assertion(token.expose_str()),
            ClientProof::Certificate => Proof::Certificate,
        };
        Attempt { client_id: self.client_id.as_deref(), proof, certificate, address }
    }

    fn basic(header: &str, stated: Option<String>) -> Result<Self, TokenError> {
        let (id, secret) = credentials(header).ok_or_else(TokenError::invalid_client)?;
        if stated.is_some_and(|stated| stated != id) {
            return Err(TokenError::invalid_request(
                "client_id differs from the one in the Authorization header",
            ));
        }
        Ok(Self { client_id: Some(id), proof: ClientProof::Secret(secret) })
    }
}

/// The id and secret of HTTP Basic (RFC 6749, section 2.3.1).
fn credentials(header: &str) -> Option<(String, SecretString)> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = SecretString::new(String::from_utf8(encode::from_base64(credentials.trim())?).ok()?);
    let (id, secret) = decoded.expose().split_once(':')?;
    // Both are form-encoded before they are joined. Ids and secrets that we issue hold no
    // character that this would change, so only `%` needs decoding; `+` is never issued.
    Some((form_decode(id)?, SecretString::new(form_decode(secret)?)))
}

fn form_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(&format!("v={}", text.replace('&', "%26"))).ok()?;
    pairs.into_iter().next().map(|(_, value)| value)
}
