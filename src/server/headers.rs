//! Security headers. Handlers may set their own value first; only what is missing is filled in.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

const EVERYWHERE: [(HeaderName, &str); 3] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    // Assets set their own, everything else may hold tokens or personal data.
    (CACHE_CONTROL, "no-store"),
];

const PAGES: [(HeaderName, &str); 4] = [
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
];

/// The content policy of our pages. Some browsers apply `form-action` to where a form's answer
/// redirects to, so a page whose form leads on to a provider names the provider's origin here.
pub fn content_policy(form_targets: &[String]) -> String {
    let targets: String =
        form_targets.iter().filter(|origin| is_source(origin)).map(|o| format!(" {o}")).collect();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; form-action 'self'{targets}; frame-ancestors 'none'; base-uri 'none'; \
         object-src 'none'; require-trusted-types-for 'script'"
    )
}

/// The content policy as a header, to be set by a handler.
pub fn content_policy_header(form_targets: &[String]) -> (HeaderName, String) {
    (CONTENT_SECURITY_POLICY, content_policy(form_targets))
}

/// An origin that cannot smuggle in another directive.
fn is_source(origin: &str) -> bool {
    let has_scheme = origin.starts_with("https://") || origin.starts_with("http://");
    has_scheme
        && origin
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'/' | b'.' | b'-' | b'[' | b']'))
}

/// Fills in what is missing.
pub(super) fn fill(headers: &mut HeaderMap, is_https: bool) {
    let mut set = |name: &HeaderName, value: &'static str| {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
    };
    EVERYWHERE.iter().for_each(|(name, value)| set(name, value));
    if is_https {
        set(&STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains");
    }
    let is_page = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/html"));
    if is_page {
        let mut set = |name: &HeaderName, value: &str| {
            if let (false, Ok(value)) = (headers.contains_key(name), HeaderValue::from_str(value)) {
                headers.insert(name.clone(), value);
            }
        };
        PAGES.iter().for_each(|(name, value)| set(name, value));
        set(&CONTENT_SECURITY_POLICY, &content_policy(&[]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_targets_cannot_add_directives() {
        let policy = content_policy(&[
            "https://login.example.com".to_owned(),
            "https://x; script-src *".to_owned(),
            "'unsafe-inline'".to_owned(),
        ]);
        assert!(policy.contains("form-action 'self' https://login.example.com; "));
        assert!(!policy.contains("script-src *") && !policy.contains("unsafe-inline"));
    }

    #[test]
    fn what_a_handler_set_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        fill(&mut headers, true);
        assert_eq!(headers.get(CACHE_CONTROL).unwrap(), "max-age=3600");
        assert!(
            headers.contains_key(CONTENT_SECURITY_POLICY) && headers.contains_key(STRICT_TRANSPORT_SECURITY)
        );
        let mut json = HeaderMap::new();
        fill(&mut json, false);
        assert_eq!(json.get(CACHE_CONTROL).unwrap(), "no-store");
        assert!(!json.contains_key(CONTENT_SECURITY_POLICY) && !json.contains_key(STRICT_TRANSPORT_SECURITY));
    }
}
