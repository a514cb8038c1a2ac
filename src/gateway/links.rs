//! Addresses of further pages, led back to the gateway: whoever follows one is judged like with any other call.

use url::Url;

use crate::gateway::echo;
use crate::kernel::secret::SecretString;
use crate::net::http::HeaderMap;
use crate::net::http::header::LINK;

/// An address at the API itself, as the gateway's own; any other is none.
pub(super) fn led_back(link: &Url, api_base: &str, gateway_base: &str) -> Option<String> {
    let own = Url::parse(api_base).ok()?;
    if link.origin() != own.origin() || !link.username().is_empty() || link.password().is_some() {
        return None;
    }
    let query = link.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{gateway_base}{}{query}", link.path()))
}

/// The `Link` header that passes back: the next page, at the gateway. Links of any other relation are left out,
/// and so is everything where the header cannot be read (RFC 8288, section 3).
pub(super) fn next(
    headers: &HeaderMap,
    at: &Url,
    token: &SecretString,
    (api_base, gateway_base): (&str, &str),
) -> Option<String> {
    let mut found = None;
    for value in headers.get_all(LINK) {
        if echo::holds(value.as_bytes(), token.expose_str().as_bytes()) {
            return None;
        }
        for link in Links(value.to_str().ok()?) {
            let Link { target, is_next } = link?;
            if is_next && found.replace(target).is_some() {
                return None;
            }
        }
    }
    let target = at.join(found?).ok()?;
    led_back(&target, api_base, gateway_base).map(|target| format!("<{target}>; rel=\"next\""))
}

/// One link of a header.
struct Link<'h> {
    target: &'h str,
    is_next: bool,
}

/// The links of a header; `None` for what cannot be read, and nothing after it.
struct Links<'h>(&'h str);

impl<'h> Iterator for Links<'h> {
    type Item = Option<Link<'h>>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return None;
        }
        let read = read(rest);
        self.0 = read.as_ref().map_or("", |(_, rest)| rest);
        Some(read.map(|(link, _)| link))
    }
}

/// `<target>; name=value; name="value"`, up to the comma.
fn read(text: &str) -> Option<(Link<'_>, &str)> {
    let (target, mut rest) = text.strip_prefix('<')?.split_once('>')?;
    let (mut relation, mut has_anchor) = (None, false);
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() || rest.starts_with(',') {
            break;
        }
        rest = rest.strip_prefix(';')?.trim_start_matches([' ', '\t']);
        let end = rest.find(['=', ';', ',']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let value;
        (value, rest) = match after.strip_prefix('=') {
            None => ("", after),
            Some(after) => match after.strip_prefix('"') {
                // No relation and no address needs an escaped quote.
                Some(quoted) => quoted.split_once('"').filter(|(value, _)| !value.contains('\\'))?,
                None => after.split_at(after.find([' ', '\t', ';', ',']).unwrap_or(after.len())),
            },
        };
        let name = name.trim_end();
        // The first one counts (RFC 8288, section 3.3).
        if name.eq_ignore_ascii_case("rel") && relation.is_none() {
            relation = Some(value);
        }
        // It says that the link is another document's.
        has_anchor |= name.eq_ignore_ascii_case("anchor");
    }
    let is_named =
        |relation: &str| relation.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case("next"));
    let is_next = !has_anchor && relation.is_some_and(is_named);
    Some((Link { target, is_next }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::http::HeaderValue;

    const BASE: &str = "https://api.example.com";
    const GATEWAY: &str = "https://valetkey.example/gateway/p/a";

    #[test]
    fn only_addresses_of_the_api_itself_are_led_back() {
        let to = |link: &str| led_back(&Url::parse(link).ok()?, BASE, GATEWAY);
        assert_eq!(
            to("https://api.example.com/v1/x?$skip=10&a=%20b").as_deref(),
            Some("https://valetkey.example/gateway/p/a/v1/x?$skip=10&a=%20b")
        );
        assert_eq!(
            to("https://API.example.com:443/v1").as_deref(),
            Some("https://valetkey.example/gateway/p/a/v1")
        );
        for other in [
            "https://api.example.com.evil.example/v1",
            "http://api.example.com/v1",
            "https://api.example.com:8443/v1",
            "https://user@api.example.com/v1",
            "/v1/x",
            "not a link",
        ] {
            assert_eq!(to(other), None, "{other}");
        }
    }

    fn passed(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, HeaderValue::from_str(value).unwrap());
        }
        let at = Url::parse("https://api.example.com/v1/groups").unwrap();
        next(&headers, &at, &SecretString::new("a-token-of-a-provider".to_owned()), (BASE, GATEWAY))
    }

    #[test]
    fn of_a_link_header_only_the_next_page_passes_and_it_leads_to_the_gateway() {
        let page = "<https://valetkey.example/gateway/p/a/v1/groups?after=2,3>; rel=\"next\"";
        let own = r#"<https://api.example.com/v1/groups>; rel="self""#;
        let next = r#"<https://api.example.com/v1/groups?after=2,3>; rel="next""#;
        for values in [
            vec![own, next],
            vec![&format!("{own}, {next}")],
            vec![&format!("{next} ; title=\"a, b; rel=x\" , {own}")],
            vec![r#"<https://api.example.com/v1/groups?after=2,3>;title=x ;REL=Next"#],
            vec![r#"</v1/groups?after=2,3>; rel="last next""#],
            vec!["<?after=2,3>; rel=next"],
        ] {
            assert_eq!(passed(&values).as_deref(), Some(page), "{values:?}");
        }
        for values in [
            vec![own],
            vec![],
            vec![next, next],
            vec![r#"<https://evil.example/v1>; rel="next""#],
            vec![r#"<//evil.example/v1>; rel="next""#],
            vec![r#"<https://api.example.com/v1?t=a-token-of-a-provider>; rel="next""#],
            vec![r#"<https://api.example.com/v1>; rel="self"; rel="next""#],
            vec![r##"<https://api.example.com/v1>; rel="next"; anchor="#x""##],
            vec![r#"<https://api.example.com/v1; rel="next""#],
            vec![r#"https://api.example.com/v1; rel="next""#],
            vec![r#"<https://api.example.com/v1>; rel="next"#],
            vec![r#"<https://api.example.com/v1>; rel="next" nonsense"#],
            vec![next, "nonsense"],
        ] {
            assert_eq!(passed(&values), None, "{values:?}");
        }
    }
}
