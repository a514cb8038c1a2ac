//! One JSON document from a provider's own API, within bounds: what limits are checked with, and what people
//! pick from.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use url::Url;

use crate::kernel::secret::{SecretBytes, SecretString};
use crate::net::http::{HeaderValue, Method, header};
use crate::net::{Call, CallBody};
use crate::providers::Configured;
use crate::providers::dialect::explain;
use crate::providers::lookup::LookupCall;
use crate::providers::template::{Api, ErrorClass, ErrorPlace};
use crate::upstream::{Upstream, UpstreamError, dial};

/// How long a look-up may take.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// How long its answer may be.
pub const LOOKUP_MOST: usize = 1024 * 1024;

/// Why a look-up brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The template has no such API, or its address cannot be made.
    #[error("the provider's template offers no such look-up")]
    NotOffered,
    /// The provider says that there is no such thing, or not for this user.
    #[error("the provider shows no such thing to this user")]
    Absent,
    /// The token is not accepted any more.
    #[error("the provider no longer accepts the token")]
    StaleToken,
    /// Anything else that the provider says.
    #[error("the provider refuses the look-up")]
    Refused(ErrorClass),
    /// The answer is no JSON document.
    #[error("the provider's answer cannot be read")]
    Unreadable,
    /// No whole answer within the bounds.
    #[error(transparent)]
    Network(#[from] UpstreamError),
}

impl Upstream {
    /// Makes a look-up with a user's or the app's token.
    ///
    /// # Errors
    /// When there is no JSON document of at most 1 MiB within 5 s.
    pub async fn look_up(
        &self,
        configured: &Configured,
        api: &str,
        call: &LookupCall,
        token: &SecretString,
    ) -> Result<Value, LookupError> {
        let body = self.look_up_text(configured, api, call, token).await?;
        serde_json::from_slice(body.expose()).map_err(|_| LookupError::Unreadable)
    }

    /// The same, as the provider wrote it.
    ///
    /// # Errors
    /// As there.
    pub async fn look_up_text(
        &self,
        configured: &Configured,
        api: &str,
        call: &LookupCall,
        token: &SecretString,
    ) -> Result<SecretBytes, LookupError> {
        let template = &configured.loaded.template;
        let entry = template.api.get(api).ok_or(LookupError::NotOffered)?;
        let url = address(entry, &call.target).ok_or(LookupError::NotOffered)?;
        let method = if call.is_post { Method::POST } else { Method::GET };
        let mut out = Call { max_body: LOOKUP_MOST, ..Call::new(method, url) }.deadline(LOOKUP_DEADLINE);
        out.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(body) = &call.body {
            out.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            out.body = CallBody::Bytes(Bytes::from(body.clone().into_bytes()));
        }
        dial::put_token(&mut out, &entry.send, token)?;
        self.admit(configured);
        let answer = self.inner.net.fetch(out).await.map_err(|error| UpstreamError::network(&error))?;
        // Passing trouble says nothing of the thing that was asked about.
        if answer.status >= 500 || answer.status == 429 {
            return Err(LookupError::Refused(ErrorClass::Retry));
        }
        let found =
            explain(template, ErrorPlace::Api, answer.status, answer.body.expose(), entry.ok.as_ref());
        if let Some(found) = found {
            return Err(match found.class {
                ErrorClass::StaleToken => LookupError::StaleToken,
                ErrorClass::Unknown if matches!(answer.status, 400 | 403 | 404 | 410) => LookupError::Absent,
                ErrorClass::Gone | ErrorClass::Request => LookupError::Absent,
                class => LookupError::Refused(class),
            });
        }
        if !answer.is_success() {
            return Err(LookupError::Refused(ErrorClass::Unknown));
        }
        Ok(answer.body)
    }
}

/// The address of a call, when it serialises to what the template and the values say.
fn address(api: &Api, target: &str) -> Option<Url> {
    let url = Url::parse(&format!("{}{target}", api.base)).ok()?;
    let mut serialised = url.path().to_owned();
    if let Some(query) = url.query() {
        serialised.push('?');
        serialised.push_str(&query.replace("%27", "'"));
    }
    (serialised == target.replace("%27", "'")).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_would_be_sent_otherwise_is_none() {
        let api: Api = toml::from_str("base = \"https://api.example.com\"").unwrap();
        assert!(address(&api, "/v1/a%2Fb?x=%24y").is_some());
        for target in ["/v1/../admin", "/v1/a#b", "/v1/a b", "//evil.example/x\\", "@evil.example/"] {
            assert!(address(&api, target).is_none(), "{target}");
        }
    }
}
