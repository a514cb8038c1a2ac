//! What a browser brings back from a provider (RFC 6749, section 4.1.2; RFC 9207).

use crate::kernel::secret::SecretString;
use crate::providers::Configured;
use crate::providers::template::IssParam;
use crate::upstream::Upstream;

/// The longest code that is believed; vendors state at most 512.
const MAX_CODE: usize = 4096;

/// The answer holds no code that may be redeemed. Nothing of its text is kept: anyone can write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// The person, or the provider on their behalf, said no.
    #[error("access was denied at the provider")]
    Denied,
    /// The provider had passing trouble.
    #[error("the provider had trouble; try again in a moment")]
    Busy,
    /// The provider refused the request itself: a registration or scope is wrong.
    #[error("the provider refused the request; an administrator has to look at its registration")]
    Refused,
    /// More than one code, or one that is no code.
    #[error("the provider's answer is unclear")]
    Unclear,
    /// The answer comes from another issuer (mix-up).
    #[error("the answer comes from another issuer than the one that was asked")]
    OtherIssuer,
    /// The provider promises to name itself, and the answer does not.
    #[error("the answer does not say which issuer it comes from")]
    NoIssuer,
}

impl Upstream {
    /// The code in a callback's parameters.
    ///
    /// # Errors
    /// When there is none that may be redeemed.
    pub async fn callback_code(
        &self,
        configured: &Configured,
        params: &[(String, String)],
    ) -> Result<SecretString, CallbackError> {
        let template = &configured.loaded.template;
        // What the provider promises must be known also when this process has just been started.
        let metadata = match &template.discovery {
            Some(discovery) => Some(self.metadata(&discovery.issuer).await.map_err(|_| CallbackError::Busy)?),
            None => None,
        };
        let stated = template.discovery.as_ref().map(|discovery| discovery.issuer.as_str());
        let issuer = Some(template.identity.issuer.as_str()).filter(|issuer| !issuer.is_empty()).or(stated);
        let rules = template.authorize.as_ref();
        let is_promised = rules.is_some_and(|rules| rules.iss == IssParam::Required)
            || metadata.is_some_and(|m| m.authorization_response_iss_parameter_supported);
        check_issuer(params, issuer, is_promised)?;
        if let Some(error) = one(params, "error")? {
            return Err(judge(error));
        }
        if params.iter().any(|(name, _)| name == "access_token" || name == "id_token") {
            // Nobody asked for the implicit flow; what came is not looked at.
            tracing::warn!(provider = %configured.slug, "a callback carried a token in its query");
        }
        let default = ["code".to_owned()];
        let names = rules.map_or(default.as_slice(), |rules| rules.code_params.as_slice());
        let mut code = None;
        for name in names {
            match (code, one(params, name)?) {
                (Some(before), Some(now)) if before != now => return Err(CallbackError::Unclear),
                (None, found) => code = found,
                _ => {}
            }
        }
        // Some vendors say no by sending `state` alone.
        let code = code.ok_or(CallbackError::Denied)?;
        let is_code = code.len() <= MAX_CODE && code.bytes().all(|b| (b' '..=b'~').contains(&b));
        if is_code { Ok(SecretString::new(code.to_owned())) } else { Err(CallbackError::Unclear) }
    }
}

fn check_issuer(
    params: &[(String, String)],
    issuer: Option<&str>,
    is_promised: bool,
) -> Result<(), CallbackError> {
    match (one(params, "iss")?, issuer) {
        (None, _) if is_promised => Err(CallbackError::NoIssuer),
        (None, _) => Ok(()),
        (Some(named), Some(expected)) if named == expected => Ok(()),
        (Some(_), _) => Err(CallbackError::OtherIssuer),
    }
}

/// A parameter's value; empty counts as left out.
fn one<'p>(params: &'p [(String, String)], name: &str) -> Result<Option<&'p str>, CallbackError> {
    let mut values = params.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let first = values.next().filter(|value| !value.is_empty());
    if values.next().is_some() { Err(CallbackError::Unclear) } else { Ok(first) }
}

/// The codes of RFC 6749, section 4.1.2.1, and of OpenID Connect Core, section 3.1.2.6. Anything else is
/// a refusal by the provider.
fn judge(error: &str) -> CallbackError {
    match error {
        "access_denied"
        | "consent_required"
        | "login_required"
        | "interaction_required"
        | "account_selection_required" => CallbackError::Denied,
        "temporarily_unavailable" | "server_error" => CallbackError::Busy,
        _ => CallbackError::Refused,
    }
}
