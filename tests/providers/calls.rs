//! What is sent to token endpoints.

use std::collections::BTreeMap;

use valetkey::kernel::scope::ScopeSet;
use valetkey::kernel::secret::{Secret, SecretString};
use valetkey::providers::dialect::{
    TokenCall, TokenGrant, TokenHint, authorize_scopes, revoke_call, token_call,
};
use valetkey::providers::fill::{FillError, fill};
use valetkey::providers::{Configured, LoadedTemplate};

use crate::{VALID, company, configured, secret};

fn body(call: &TokenCall) -> String {
    String::from_utf8(call.body.expose().clone()).unwrap()
}

fn code_grant<'a>(code: &'a SecretString, verifier: &'a SecretString) -> TokenGrant<'a> {
    let redirect_uri = "https://vk.example/callback/sample";
    TokenGrant::AuthorizationCode { code, verifier: Some(verifier), redirect_uri }
}

#[test]
fn a_json_call_uses_the_vendors_names_and_leaves_out_what_it_does_not_know() {
    let provider = configured(VALID);
    let (code, verifier) = (secret("c\"1\n\u{1}"), secret("v-1"));
    let endpoint = provider.loaded.template.token.as_ref().unwrap();
    let call = token_call(endpoint, &provider, &code_grant(&code, &verifier));
    assert_eq!((call.method, call.content_type), ("POST", Some("application/json; charset=utf-8")));
    assert_eq!(call.url.expose_str(), "https://login.example.com/11111111-2222-4333-8444-555555555555/token");
    let sent: BTreeMap<String, String> = serde_json::from_str(&body(&call)).unwrap();
    let expected = [
        ("grant_type", "authorization_code"),
        ("code", "c\"1\n\u{1}"),
        ("code_verifier", "v-1"),
        ("clientId", "app-1"),
        ("client_secret", "s&cret:ü"),
        ("tenant", "11111111-2222-4333-8444-555555555555"),
    ];
    assert_eq!(sent, expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
}

#[test]
fn a_form_call_is_encoded_and_basic_credentials_are_encoded_first() {
    let text = VALID
        .replace("format = \"json\"", "client_auth = \"basic\"")
        .replace("redirect_uri = \"\"", "code = \"authCode\"");
    let provider = configured(&text);
    let (code, verifier) = (secret("a b+c&d"), secret("v"));
    let endpoint = provider.loaded.template.token.as_ref().unwrap();
    let call = token_call(endpoint, &provider, &code_grant(&code, &verifier));
    assert_eq!(call.content_type, Some("application/x-www-form-urlencoded"));
    assert_eq!(
        body(&call),
        "grant_type=authorization_code&authCode=a+b%2Bc%26d\
         &redirect_uri=https%3A%2F%2Fvk.example%2Fcallback%2Fsample&code_verifier=v\
         &tenant=11111111-2222-4333-8444-555555555555"
    );
    // base64 of `app-1:s%26cret%3A%C3%BC` (RFC 6749, section 2.3.1).
    let header = call.authorization.as_ref().unwrap().expose_str();
    assert_eq!(header, "Basic YXBwLTE6cyUyNmNyZXQlM0ElQzMlQkM=");
}

#[test]
fn a_query_call_puts_everything_into_the_url() {
    let provider = configured(VALID);
    let endpoint = provider.loaded.template.app_token.as_ref().unwrap();
    let call = token_call(endpoint, &provider, &TokenGrant::ClientCredentials);
    assert_eq!((call.method, call.content_type), ("GET", None));
    assert!(call.body.expose().is_empty());
    assert_eq!(
        call.url.expose_str(),
        "https://login.example.com/app/token?grant_type=client_credentials&client_id=app-1&client_secret=s%26cret%3A%C3%BC"
    );
    assert!(!format!("{call:?}").contains("s%26cret"));
}

fn refresh_body(text: &str, scopes: Option<&ScopeSet>) -> BTreeMap<String, String> {
    let provider = configured(text);
    let token = secret("r-1");
    let endpoint = provider.loaded.template.token.as_ref().unwrap();
    let call = token_call(endpoint, &provider, &TokenGrant::RefreshToken { token: &token, scopes });
    serde_json::from_str(&body(&call)).unwrap()
}

#[test]
fn a_narrowed_refresh_names_vendor_scopes_and_what_must_always_be_there() {
    let wanted = ScopeSet::parse("Mail.Read").unwrap();
    let sent = refresh_body(VALID, Some(&wanted));
    assert_eq!(sent["scope"], "offline_access https://api.example.com/Mail.Read");
    assert_eq!(sent["refresh_token"], "r-1");
    assert!(!refresh_body(VALID, None).contains_key("scope"));
}

#[test]
fn scopes_are_never_sent_where_they_change_nothing() {
    let wanted = ScopeSet::parse("Mail.Read").unwrap();
    let text =
        VALID.replace("narrowing = \"narrows\"\nalways = [\"offline_access\"]", "narrowing = \"ignored\"");
    assert!(!refresh_body(&text, Some(&wanted)).contains_key("scope"));
    let text = VALID.replace("narrowing = \"narrows\"", "narrowing = \"ignored\"\nsend_scope = true");
    assert!(refresh_body(&text, Some(&wanted)).contains_key("scope"));
}

#[test]
fn authorization_asks_for_vendor_names_within_the_vendors_limit() {
    let provider = configured(VALID);
    let wanted = ScopeSet::parse("Mail.Read Mail.Send openid").unwrap();
    let sent = authorize_scopes(&provider.loaded.template, &wanted).unwrap();
    assert_eq!(sent, ["openid", "offline_access", "https://api.example.com/Mail.Read", "Mail.Send"]);
    let provider = configured(&VALID.replace("max = 50", "max = 3"));
    assert_eq!(authorize_scopes(&provider.loaded.template, &wanted).unwrap_err().asked, 4);
}

#[test]
fn revoking_follows_the_template() {
    let provider = configured(VALID);
    let token = secret("t/1");
    let call = revoke_call(&provider, &token, TokenHint::RefreshToken).unwrap();
    assert_eq!(body(&call), "token=t%2F1&token_type_hint=refresh_token");
    assert!(call.authorization.is_some());
    assert!(revoke_call(&provider, &token, TokenHint::AccessToken).is_none());
}

#[test]
fn filling_normalises_values_and_judges_urls_again() {
    let provider = configured(VALID);
    // Stated as `Login.Example.com`.
    assert_eq!(provider.company["host"], "login.example.com");
    let authorize = provider.loaded.template.authorize.as_ref().unwrap();
    assert_eq!(authorize.params["domain"], "11111111-2222-4333-8444-555555555555");
    let token = provider.loaded.template.token.as_ref().unwrap();
    assert!(!token.url.contains('{') && !token.params["tenant"].contains('{'));
}

#[test]
fn every_wrong_value_is_named_at_once() {
    let loaded = LoadedTemplate::parse("sample", "sample.toml", VALID).unwrap();
    let stated =
        BTreeMap::from([("host".to_owned(), "127.0.0.1".to_owned()), ("tenent".to_owned(), "x".to_owned())]);
    let errors = fill(&loaded, &stated, "a b").unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 4, "{said:#?}");
    for part in ["`host` must be", "`tenant` is missing", "`tenent` is not asked for", "`client_id` must be"]
    {
        assert!(said.iter().any(|sentence| sentence.contains(part)), "{part}: {said:#?}");
    }
}

#[test]
fn a_value_is_put_in_once_and_cannot_bring_a_url_of_its_own() {
    let text = VALID.replace("https://{host}/app/token", "https://{host}/{client_id}/token");
    let loaded = LoadedTemplate::parse("sample", "sample.toml", &text).unwrap();
    for id in ["../admin", "{tenant}", "x?y=1", "x#y"] {
        let errors = fill(&loaded, &company(), id).unwrap_err();
        assert!(matches!(errors[0], FillError::ClientIdCharacters { .. }), "{id}: {errors:?}");
    }
    // The same ids are fine where they are only a parameter.
    let loaded = LoadedTemplate::parse("sample", "sample.toml", VALID).unwrap();
    assert!(fill(&loaded, &company(), "{tenant}").is_ok());
}

#[test]
fn an_issuer_with_a_path_is_no_api() {
    let text = VALID
        .replace(
            "example = \"login.example.com\"\nformat = \"host\"\ndefault = \"login.example.com\"",
            "example = \"https://a.example\"\nformat = \"issuer\"",
        )
        .replace("https://{host}", "{host}")
        .replace("base = \"https://old.example.com\"", "base = \"{host}\"");
    let loaded = LoadedTemplate::parse("sample", "sample.toml", &text)
        .unwrap_or_else(|findings| panic!("{}", crate::bends::shown(&findings)));
    let with = |issuer: &str| {
        let mut company = company();
        company.insert("host".to_owned(), issuer.to_owned());
        let slug = "sample".parse().unwrap();
        Configured::new(slug, &loaded, "app".to_owned(), Secret::new(String::new()), &company)
    };
    let plain = with("https://a.example/").unwrap();
    assert_eq!(plain.loaded.template.api["old"].base, "https://a.example");
    assert!(plain.loaded.template.token.as_ref().unwrap().url.starts_with("https://a.example/1111"));
    assert!(matches!(with("https://a.example/x").unwrap_err()[0], FillError::Url { .. }));
}
