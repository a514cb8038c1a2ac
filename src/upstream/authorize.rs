//! The authorization request (RFC 6749, section 4.1.1; RFC 7636; OpenID Connect Core, section 3.1.2.1).

use std::borrow::Cow;

use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl};
use url::Url;
use zeroize::Zeroizing;

use crate::kernel::encode;
use crate::kernel::entropy;
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::providers::Configured;
use crate::providers::dialect::authorize_scopes;
use crate::providers::template::{Authorize, IdentitySource, Pkce};
use crate::upstream::Upstream;
use crate::upstream::failure::{Cause, UpstreamError};

/// What a sign-in asks for.
const LOGIN_SCOPES: &str = "openid profile email";

/// One trip of a browser to a provider.
#[derive(Debug)]
pub struct AuthorizeRequest<'a> {
    /// Where the provider sends the browser back to.
    pub redirect_uri: &'a Url,
    /// Comes back unchanged.
    pub state: &'a str,
    /// Comes back inside the ID token.
    pub nonce: Option<&'a str>,
    /// The PKCE verifier; required wherever the provider has PKCE.
    pub pkce_verifier: Option<&'a SecretString>,
    /// What is asked for, in Valetkey's names; not used for a sign-in.
    pub scopes: &'a ScopeSet,
    /// Whether this is a sign-in to Valetkey.
    pub login: bool,
}

impl Upstream {
    /// A fresh `state`: letters and digits only, which every provider takes.
    pub fn new_state(&self, _configured: &Configured) -> SecretString {
        let random = Zeroizing::new(entropy::bytes::<32>(&*self.inner.entropy));
        SecretString::new(encode::base62(random.as_slice()))
    }

    /// A fresh PKCE verifier of 43 characters (RFC 7636, section 4.1).
    pub fn new_verifier(&self) -> SecretString {
        let random = Zeroizing::new(entropy::bytes::<32>(&*self.inner.entropy));
        SecretString::new(encode::base64url(random.as_slice()))
    }

    /// A fresh nonce.
    pub fn new_nonce(&self) -> String {
        encode::base62(&entropy::bytes::<32>(&*self.inner.entropy))
    }

    /// The origin that a browser is sent to first; with rewritten origins, the sandbox's.
    ///
    /// # Errors
    /// When the provider's endpoints cannot be found.
    pub async fn authorize_origin(&self, configured: &Configured) -> Result<String, UpstreamError> {
        let stated = configured.loaded.template.authorize.as_ref().map(|authorize| authorize.url.as_str());
        let endpoint = match stated.filter(|stated| !stated.is_empty()) {
            Some(stated) => authorization_endpoint(stated)?,
            None => authorization_endpoint(&self.endpoints(configured).await?.authorize)?,
        };
        Ok(self.inner.net.browser_url(&endpoint).origin().ascii_serialization())
    }

    /// The URL that the browser opens; with rewritten origins, the sandbox's.
    ///
    /// # Errors
    /// When the provider's endpoints cannot be found, or it does not take such a request.
    pub async fn authorize_url(
        &self,
        configured: &Configured,
        request: &AuthorizeRequest<'_>,
    ) -> Result<Url, UpstreamError> {
        let endpoints = self.endpoints(configured).await?;
        let template = &configured.loaded.template;
        if request.login && template.identity.source != IdentitySource::IdToken {
            return Err(UpstreamError::not_offered(
                "this provider issues no ID tokens, so nobody can sign in with it",
            ));
        }
        let rules = template.authorize.as_ref();
        let uses_pkce = rules.is_none_or(|rules| rules.pkce == Pkce::S256);
        if uses_pkce && (endpoints.denies_s256 || request.pkce_verifier.is_none()) {
            return Err(refused("this provider does not do PKCE with S256"));
        }
        let scope = if request.login {
            LOGIN_SCOPES.to_owned()
        } else {
            let names = authorize_scopes(template, request.scopes)
                .map_err(|_| refused("more scopes are asked for than the provider takes at once"))?;
            names.join(rules.map_or(" ", |rules| rules.scopes.separator.as_str()))
        };
        let endpoint = authorization_endpoint(&endpoints.authorize)?;
        let verifier = request.pkce_verifier.filter(|_| uses_pkce);
        let url = standard_url(endpoint, &configured.client_id, request, verifier, scope, rules);
        Ok(self.inner.net.browser_url(&in_dialect(url, rules)))
    }
}

fn authorization_endpoint(text: &str) -> Result<Url, UpstreamError> {
    Url::parse(text).map_err(|_| UpstreamError::not_offered("this provider has no authorization endpoint"))
}

fn refused(words: &'static str) -> UpstreamError {
    UpstreamError::unsent(Cause::NotOffered, words)
}

/// The request as the RFCs have it.
fn standard_url(
    endpoint: Url,
    client_id: &str,
    request: &AuthorizeRequest<'_>,
    verifier: Option<&SecretString>,
    scope: String,
    rules: Option<&Authorize>,
) -> Url {
    let client =
        BasicClient::new(ClientId::new(client_id.to_owned())).set_auth_uri(AuthUrl::from_url(endpoint));
    let redirect_uri = RedirectUrl::from_url(request.redirect_uri.clone());
    let mut authorization = client
        .authorize_url(|| CsrfToken::new(request.state.to_owned()))
        .set_redirect_uri(Cow::Owned(redirect_uri));
    if let Some(verifier) = verifier {
        // The crate's verifier is not wiped by itself, so it is taken apart again.
        let verifier = PkceCodeVerifier::new(verifier.expose_str().to_owned());
        authorization =
            authorization.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        drop(Zeroizing::new(verifier.into_secret()));
    }
    // Not with the crate's scopes, which are always joined by spaces.
    if !scope.is_empty() {
        authorization = authorization.add_extra_param("scope", scope);
    }
    if let Some(nonce) = request.nonce {
        authorization = authorization.add_extra_param("nonce", nonce.to_owned());
    }
    for (name, value) in rules.into_iter().flat_map(|rules| &rules.params) {
        // Who only signs in need not consent to anything again.
        if !(request.login && name == "prompt") {
            authorization = authorization.add_extra_param(name.clone(), value.clone());
        }
    }
    authorization.url().0
}

/// The same request with the vendor's parameter names and fragment.
fn in_dialect(mut url: Url, rules: Option<&Authorize>) -> Url {
    let client_id_param = rules.map_or("client_id", |rules| rules.client_id_param.as_str());
    if client_id_param != "client_id" {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let renamed = pairs.iter().filter_map(|(name, value)| {
            let name = if name == "client_id" { client_id_param } else { name.as_str() };
            // An empty name means that the vendor knows the app by other parameters.
            (!name.is_empty()).then_some((name, value.as_str()))
        });
        url.query_pairs_mut().clear().extend_pairs(renamed);
    }
    // A plus sign for a space is a convention of forms that some authorization endpoints do not know;
    // a literal plus is written %2B at this point.
    let query = url.query().map(|query| query.replace('+', "%20"));
    url.set_query(query.as_deref());
    url.set_fragment(rules.and_then(|rules| rules.fragment.as_deref()));
    url
}
