//! Client authentication: how the agent says who it is.

use crate::kernel::encode;
use crate::kernel::secret::SecretString;
use crate::tokens::{Params, TokenError};

/// An agent's id and secret, as they came.
pub struct ClientAuthentication {
    /// Its id.
    pub client_id: String,
    /// Its secret.
    pub secret: SecretString,
}

impl ClientAuthentication {
    /// Reads `client_secret_basic` or `client_secret_post` (RFC 6749, section 2.3.1). Using both is an
    /// error: which one was checked must never be in doubt.
    ///
    /// # Errors
    /// `invalid_client` when there is none or it cannot be read, `invalid_request` when there are two.
    pub fn read(authorization: Option<&str>, params: Params<'_>) -> Result<Self, TokenError> {
        let posted = params.get("client_secret");
        if params.get("client_assertion").is_some() || params.get("client_assertion_type").is_some() {
            // Never passed over: which proof was checked must not be in doubt.
            return Err(TokenError::invalid_request(
                "client assertions are not accepted here: authenticate with the client secret",
            ));
        }
        match (authorization, posted) {
            (Some(_), Some(_)) => {
                Err(TokenError::invalid_request("authenticate once: by header or in the body, not both"))
            }
            (Some(header), None) => {
                let basic = Self::basic(header).ok_or_else(TokenError::invalid_client)?;
                match params.get("client_id") {
                    Some(other) if other != basic.client_id => Err(TokenError::invalid_request(
                        "client_id differs from the one in the Authorization header",
                    )),
                    _ => Ok(basic),
                }
            }
            (None, Some(secret)) => {
                let client_id = params.get("client_id").ok_or_else(TokenError::invalid_client)?;
                let secret = SecretString::new(secret.to_owned());
                Ok(Self { client_id: client_id.to_owned(), secret })
            }
            (None, None) => Err(TokenError::invalid_client()),
        }
    }

    fn basic(header: &str) -> Option<Self> {
        let (scheme, credentials) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = SecretString::new(String::from_utf8(encode::from_base64(credentials.trim())?).ok()?);
        let (id, secret) = decoded.expose().split_once(':')?;
        // Both are form-encoded before they are joined. Ids and secrets that we issue hold no
        // character that this would change, so only `%` needs decoding; `+` is never issued.
        Some(Self { client_id: form_decode(id)?, secret: SecretString::new(form_decode(secret)?) })
    }
}

fn form_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(&format!("v={}", text.replace('&', "%26"))).ok()?;
    pairs.into_iter().next().map(|(_, value)| value)
}
