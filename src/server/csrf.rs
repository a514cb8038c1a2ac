//! Cross-site request forgery: where a form came from, and the token in it. Both must hold.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, ORIGIN};
use subtle::ConstantTimeEq;

use crate::kernel::encode;
use crate::server::Inbound;
use crate::server::body::single_header;

/// The request does not come from one of our own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrfError {
    /// The browser says that it comes from elsewhere.
    #[error("the form was not sent from one of our own pages; open the page again")]
    CrossSite,
    /// The token in the form is missing or wrong.
    #[error("the page has become too old; open it again")]
    Token,
}

/// The text of a token, for the hidden field `csrf`.
pub fn token_text(mac: &[u8; 32]) -> String {
    encode::base64url(mac)
}

/// Checks both: the browser's word about where the form came from, and the token.
///
/// # Errors
/// When one of them does not hold.
pub fn check(
    request: &HttpRequest,
    inbound: &Inbound,
    expected: &[u8; 32],
    given: Option<&str>,
) -> Result<(), CsrfError> {
    check_source(request, inbound)?;
    let expected = token_text(expected);
    let matches: bool = expected.as_bytes().ct_eq(given.unwrap_or_default().as_bytes()).into();
    if matches { Ok(()) } else { Err(CsrfError::Token) }
}

/// What the browser says. Our pages send no referrer, so browsers that follow the Fetch standard send
/// `Origin: null` with their forms; then `Sec-Fetch-Site` must say `same-origin`. Scripts send neither
/// header and have the token alone to show; every browser sends at least one of them with a POST.
///
/// # Errors
/// When the browser says that the request comes from elsewhere.
pub fn check_source(request: &HttpRequest, inbound: &Inbound) -> Result<(), CsrfError> {
    let site = single_header(request, &HeaderName::from_static("sec-fetch-site"));
    let origin = single_header(request, &ORIGIN);
    let (Ok(site), Ok(origin)) = (site, origin) else { return Err(CsrfError::CrossSite) };
    let is_ours = match (site, origin) {
        (Some("same-origin"), None | Some("null")) | (None, None) => true,
        (Some("same-origin") | None, Some(origin)) => origin == inbound.origin(),
        (Some(_), _) => false,
    };
    if is_ours { Ok(()) } else { Err(CsrfError::CrossSite) }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn source(site: Option<&str>, origin: Option<&str>) -> bool {
        let inbound = Inbound::direct("https://v.example/".parse().unwrap());
        let mut request = TestRequest::post();
        if let Some(site) = site {
            request = request.insert_header(("sec-fetch-site", site));
        }
        if let Some(origin) = origin {
            request = request.insert_header(("origin", origin));
        }
        check_source(&request.to_http_request(), &inbound).is_ok()
    }

    #[test]
    fn only_our_own_pages_may_send_forms() {
        let ours = Some("https://v.example");
        assert!(source(Some("same-origin"), ours));
        assert!(source(Some("same-origin"), Some("null")));
        assert!(source(Some("same-origin"), None));
        assert!(source(None, ours));
        assert!(source(None, None));
        for site in ["cross-site", "same-site", "none", "SAME-ORIGIN", ""] {
            assert!(!source(Some(site), ours), "{site}");
        }
        for origin in ["null", "https://evil.example", "https://v.example:8443", "http://v.example", ""] {
            assert!(!source(None, Some(origin)), "{origin}");
        }
        assert!(!source(Some("same-origin"), Some("https://evil.example")));
    }

    #[test]
    fn the_token_must_be_the_one_in_the_page() {
        let inbound = Inbound::direct("https://v.example/".parse().unwrap());
        let request = TestRequest::post().to_http_request();
        let good = token_text(&[7; 32]);
        assert_eq!(check(&request, &inbound, &[7; 32], Some(&good)), Ok(()));
        for bad in [None, Some(""), Some("x"), Some(&good[1..])] {
            assert_eq!(check(&request, &inbound, &[7; 32], bad), Err(CsrfError::Token));
        }
    }
}
