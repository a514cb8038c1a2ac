//! Cookies: one set of flags for all of them.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::COOKIE;

use crate::server::Inbound;

/// The same cookie came twice: a sibling site may have planted one (cookie tossing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cookie is repeated; close the browser and try again")]
pub struct RepeatedCookie;

/// The cookie's full name. `__Host-` makes browsers refuse it from sibling domains and without TLS;
/// over plain HTTP on loopback they would refuse it from us too.
pub fn name(inbound: &Inbound, base: &str) -> String {
    if inbound.is_https() { format!("__Host-{base}") } else { format!("valetkey_{base}") }
}

/// A cookie to set. `SameSite=Lax`: the way back from a provider is a navigation from another site.
pub fn set(inbound: &Inbound, base: &str, value: &str, lives: Option<Duration>) -> Cookie<'static> {
    let mut cookie = Cookie::build(name(inbound, base), value.to_owned())
        .path("/")
        .http_only(true)
        .secure(inbound.is_https())
        .same_site(SameSite::Lax)
        .finish();
    if let Some(lives) = lives {
        let seconds = i64::try_from(lives.as_secs()).unwrap_or(i64::MAX);
        cookie.set_max_age(CookieDuration::seconds(seconds));
    }
    cookie
}

/// A cookie that removes the one of that name.
pub fn clear(inbound: &Inbound, base: &str) -> Cookie<'static> {
    let mut cookie = set(inbound, base, "", Some(Duration::ZERO));
    cookie.make_removal();
    cookie
}

/// Reads a cookie.
///
/// # Errors
/// When it came twice.
pub fn read<'r>(
    request: &'r HttpRequest,
    inbound: &Inbound,
    base: &str,
) -> Result<Option<&'r str>, RepeatedCookie> {
    let wanted = name(inbound, base);
    let mut found = request
        .headers()
        .get_all(COOKIE)
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(known, _)| *known == wanted)
        .map(|(_, value)| value);
    let first = found.next();
    if found.next().is_some() { Err(RepeatedCookie) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn inbound(issuer: &str) -> Inbound {
        Inbound::direct(issuer.parse().unwrap())
    }

    #[test]
    fn flags_are_all_there_and_the_prefix_follows_the_scheme() {
        let text = set(&inbound("https://v.example"), "sid", "x", None).to_string();
        assert_eq!(text, "__Host-sid=x; HttpOnly; SameSite=Lax; Secure; Path=/");
        let text =
            set(&inbound("http://127.0.0.1:1"), "sid", "x", Some(Duration::from_secs(600))).to_string();
        assert_eq!(text, "valetkey_sid=x; HttpOnly; SameSite=Lax; Path=/; Max-Age=600");
        let text = clear(&inbound("https://v.example"), "sid").to_string();
        assert!(text.starts_with("__Host-sid=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0"), "{text}");
    }

    #[test]
    fn a_cookie_that_comes_twice_is_refused() {
        let at = inbound("https://v.example");
        let request =
            TestRequest::default().insert_header(("cookie", "a=1; __Host-sid=x; b=2")).to_http_request();
        assert_eq!(read(&request, &at, "sid"), Ok(Some("x")));
        assert_eq!(read(&request, &at, "txn"), Ok(None));
        let twice =
            TestRequest::default().insert_header(("cookie", "__Host-sid=x; __Host-sid=y")).to_http_request();
        assert_eq!(read(&twice, &at, "sid"), Err(RepeatedCookie));
    }
}
