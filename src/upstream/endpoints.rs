//! Where a provider's endpoints are: in its template, or discovered.

use url::Url;

use crate::providers::Configured;
use crate::providers::template::{TokenAnswer, TokenEndpoint, TokenFormat};
use crate::upstream::Upstream;
use crate::upstream::discovery::Metadata;
use crate::upstream::failure::UpstreamError;

/// A provider's endpoints, each stated by the template or else by its metadata. Empty = there is none.
pub(super) struct Endpoints {
    pub(super) authorize: String,
    pub(super) token: Option<TokenEndpoint>,
    pub(super) revoke: String,
    pub(super) userinfo: String,
    pub(super) issuer: String,
    pub(super) jwks_url: String,
    pub(super) denies_s256: bool,
}

impl Upstream {
    pub(super) async fn endpoints(&self, configured: &Configured) -> Result<Endpoints, UpstreamError> {
        self.admit(configured);
        let template = &configured.loaded.template;
        let metadata = match &template.discovery {
            Some(discovery) => Some(self.metadata(&discovery.issuer).await?),
            None => None,
        };
        let metadata = metadata.as_deref();
        let or = |stated: &str, discovered: Option<&String>| {
            if stated.is_empty() { discovered.cloned().unwrap_or_default() } else { stated.to_owned() }
        };
        let authorize = template.authorize.as_ref().map_or("", |authorize| authorize.url.as_str());
        let revoke = template.revoke.as_ref().map_or("", |revoke| revoke.url.as_str());
        let identity = &template.identity;
        Ok(Endpoints {
            authorize: or(authorize, metadata.map(|m| &m.authorization_endpoint)),
            token: token(template.token.as_ref(), metadata),
            revoke: or(revoke, metadata.and_then(|m| m.revocation_endpoint.as_ref())),
            userinfo: or(&identity.url, metadata.and_then(|m| m.userinfo_endpoint.as_ref())),
            issuer: or(&identity.issuer, metadata.map(|m| &m.issuer)),
            jwks_url: or(&identity.jwks_url, metadata.map(|m| &m.jwks_uri)),
            denies_s256: metadata.is_some_and(Metadata::denies_s256),
        })
    }
}

fn token(stated: Option<&TokenEndpoint>, metadata: Option<&Metadata>) -> Option<TokenEndpoint> {
    let Some(metadata) = metadata else { return stated.cloned() };
    let mut endpoint = stated.cloned().unwrap_or_else(|| TokenEndpoint {
        url: String::new(),
        format: TokenFormat::Form,
        client_auth: metadata.client_auth(),
        names: Default::default(),
        params: Default::default(),
        answer: TokenAnswer::default(),
    });
    if endpoint.url.is_empty() {
        endpoint.url.clone_from(&metadata.token_endpoint);
    }
    Some(endpoint)
}

/// Every host that a filled template names, but for the browser's.
pub(super) fn hosts(configured: &Configured) -> impl Iterator<Item = String> {
    let template = &configured.loaded.template;
    let identity = &template.identity;
    let texts = [
        template.discovery.as_ref().map(|discovery| &discovery.issuer),
        template.token.as_ref().map(|token| &token.url),
        template.app_token.as_ref().map(|token| &token.url),
        template.revoke.as_ref().map(|revoke| &revoke.url),
        Some(&identity.jwks_url),
        Some(&identity.url),
        identity.pin_lookup.as_ref().map(|lookup| &lookup.url),
    ];
    let bases = template.api.values().map(|api| &api.base);
    let urls = texts.into_iter().flatten().chain(bases).filter_map(|text| Url::parse(text).ok());
    urls.filter_map(|url| url.host_str().map(str::to_owned))
}
