//! Token calls as the vendor wants them.

use url::form_urlencoded;

use crate::kernel::encode;
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::{Secret, SecretBytes, SecretString};
use crate::providers::configured::Configured;
use crate::providers::dialect::scopes;
use crate::providers::template::{ClientAuth, TokenEndpoint, TokenFormat};

/// The OAuth parameters that a template may give other names.
pub const STANDARD_NAMES: [&str; 8] = [
    "grant_type",
    "client_id",
    "client_secret",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "scope",
];

/// What is presented at a token endpoint.
#[derive(Debug)]
pub enum TokenGrant<'a> {
    /// A code from a callback.
    AuthorizationCode {
        /// The code.
        code: &'a SecretString,
        /// The PKCE verifier.
        verifier: Option<&'a SecretString>,
        /// The redirect URI of the authorization request.
        redirect_uri: &'a str,
    },
    /// A refresh token.
    RefreshToken {
        /// The token.
        token: &'a SecretString,
        /// The scopes that the new access token shall have; `None` = what it has.
        scopes: Option<&'a ScopeSet>,
    },
    /// Nothing but the client's own secret.
    ClientCredentials,
}

/// A request to a token or revocation endpoint. Everything in it that varies may be secret.
#[derive(Debug)]
pub struct TokenCall {
    /// `POST`, or `GET` where parameters travel in the query.
    pub method: &'static str,
    /// The whole URL; with [`TokenFormat::Query`] it holds secrets.
    pub url: SecretString,
    /// `Content-Type`, when there is a body.
    pub content_type: Option<&'static str>,
    /// `Authorization`, for HTTP Basic.
    pub authorization: Option<SecretString>,
    /// The body; empty for GET.
    pub body: SecretBytes,
}

/// Which token is revoked (RFC 7009, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenHint {
    /// An access token.
    AccessToken,
    /// A refresh token.
    RefreshToken,
}

type Fields<'f> = Vec<(&'f str, &'f str)>;

/// A call of a token endpoint.
pub fn token_call(endpoint: &TokenEndpoint, configured: &Configured, grant: &TokenGrant<'_>) -> TokenCall {
    let template = &configured.loaded.template;
    let scope = match grant {
        TokenGrant::RefreshToken { scopes: Some(wanted), .. } => {
            scopes::refresh_scopes(template, wanted).map(|names| names.join(scopes::separator(template)))
        }
        _ => None,
    };
    let mut fields: Fields<'_> = Vec::with_capacity(12);
    let mut add = |standard: &'static str, value| {
        let name = endpoint.names.get(standard).map_or(standard, String::as_str);
        if !name.is_empty() {
            fields.push((name, value));
        }
    };
    match grant {
        TokenGrant::AuthorizationCode { code, verifier, redirect_uri } => {
            add("grant_type", "authorization_code");
            add("code", code.expose_str());
            add("redirect_uri", redirect_uri);
            if let Some(verifier) = verifier {
                add("code_verifier", verifier.expose_str());
            }
        }
        TokenGrant::RefreshToken { token, .. } => {
            add("grant_type", "refresh_token");
            add("refresh_token", token.expose_str());
        }
        TokenGrant::ClientCredentials => add("grant_type", "client_credentials"),
    }
    if let Some(scope) = &scope {
        add("scope", scope);
    }
    if endpoint.client_auth == ClientAuth::Post {
        add("client_id", &configured.client_id);
        add("client_secret", configured.client_secret.expose_str());
    }
    fields.extend(endpoint.params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    build(&endpoint.url, endpoint.format, endpoint.client_auth, &fields, configured)
}

/// A call of the revocation endpoint; `None` when the template has none, or when it cannot revoke such a
/// token.
pub fn revoke_call(configured: &Configured, token: &SecretString, hint: TokenHint) -> Option<TokenCall> {
    let revoke = configured.loaded.template.revoke.as_ref()?;
    if hint == TokenHint::AccessToken && !revoke.access_tokens {
        return None;
    }
    let hint = match hint {
        TokenHint::AccessToken => "access_token",
        TokenHint::RefreshToken => "refresh_token",
    };
    let mut fields = vec![("token", token.expose_str()), ("token_type_hint", hint)];
    if revoke.client_auth == ClientAuth::Post {
        fields.push(("client_id", &configured.client_id));
        fields.push(("client_secret", configured.client_secret.expose_str()));
    }
    Some(build(&revoke.url, TokenFormat::Form, revoke.client_auth, &fields, configured))
}

fn build(
    url: &str,
    format: TokenFormat,
    client_auth: ClientAuth,
    fields: &Fields<'_>,
    configured: &Configured,
) -> TokenCall {
    let authorization = (client_auth == ClientAuth::Basic).then(|| basic(configured));
    let plain_url = || Secret::new(url.to_owned());
    match format {
        TokenFormat::Form => TokenCall {
            method: "POST",
            url: plain_url(),
            content_type: Some("application/x-www-form-urlencoded"),
            authorization,
            body: form("", fields).into_bytes(),
        },
        TokenFormat::Json => TokenCall {
            method: "POST",
            url: plain_url(),
            content_type: Some("application/json; charset=utf-8"),
            authorization,
            body: json(fields),
        },
        TokenFormat::Query => TokenCall {
            method: "GET",
            url: form(&format!("{url}?"), fields),
            content_type: None,
            authorization,
            body: Secret::new(Vec::new()),
        },
    }
}

/// HTTP Basic for OAuth clients: id and secret are form-encoded first (RFC 6749, section 2.3.1).
fn basic(configured: &Configured) -> SecretString {
    let mut pair = buffer(3 * (configured.client_id.len() + configured.client_secret.expose_str().len()) + 1);
    push_encoded(&mut pair, &configured.client_id);
    pair.expose_mut().push(':');
    push_encoded(&mut pair, configured.client_secret.expose_str());
    let encoded = Secret::new(encode::base64(pair.expose_str().as_bytes()));
    let mut header = buffer(encoded.expose_str().len() + 6);
    header.expose_mut().push_str("Basic ");
    header.expose_mut().push_str(encoded.expose_str());
    header
}

fn form(start: &str, fields: &Fields<'_>) -> SecretString {
    let longest = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum::<usize>();
    let mut text = buffer(start.len() + longest);
    text.expose_mut().push_str(start);
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 {
            text.expose_mut().push('&');
        }
        push_encoded(&mut text, name);
        text.expose_mut().push('=');
        push_encoded(&mut text, value);
    }
    text
}

fn json(fields: &Fields<'_>) -> SecretBytes {
    // `\u0000` is the longest that one byte can become.
    let longest = fields.iter().map(|(name, value)| 6 * (name.len() + value.len()) + 6).sum::<usize>();
    let mut body = Secret::new(Vec::with_capacity(longest + 2));
    let out = body.expose_mut();
    out.push(b'{');
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_json(out, name);
        out.push(b':');
        push_json(out, value);
    }
    out.push(b'}');
    body
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A text that never moves while it is written, so no copy of a secret stays behind.
fn buffer(capacity: usize) -> SecretString {
    Secret::new(String::with_capacity(capacity))
}

fn push_encoded(text: &mut SecretString, value: &str) {
    for piece in form_urlencoded::byte_serialize(value.as_bytes()) {
        text.expose_mut().push_str(piece);
    }
}
