//! Which keys there are, and what their values are. A test holds this against `template.rs`.

use crate::providers::check::limits;
use crate::providers::check::shape::Kind::{
    AnyText, Bool, Named, Number, OneOf, Table, Tables, Text, TextMap, Texts, Words,
};
use crate::providers::check::shape::{Kind, Shape, may, need};

const CLIENT_AUTH: Kind = OneOf(&["post", "basic"]);
const OK_EXAMPLE: &str = r#"ok = { member = "code", equals = "0" }"#;
const SEND_EXAMPLE: &str = r#"send = { header = "Authorization" }"#;

/// The whole file.
pub static TEMPLATE: Shape = Shape(&[
    need("schema", Number(1), "schema = 1"),
    need("name", Table(&LOCALIZED), r#"name = { en = "Example", zh = "示例" }"#),
    need("docs", Text, r#"docs = "https://developer.example.com/oauth""#),
    may("company", Named(&COMPANY), r#"[company.tenant] with title, example and format"#),
    may("discovery", Table(&DISCOVERY), r#"discovery = { issuer = "{issuer}" }"#),
    may("authorize", Table(&AUTHORIZE), "[authorize] with url"),
    may("token", Table(&TOKEN), "[token] with url"),
    may("refresh", Table(&REFRESH), "[refresh] with rotation, reuse_detection and narrowing"),
    may("revoke", Table(&REVOKE), "[revoke] with url"),
    may("app_token", Table(&TOKEN), "[app_token] with url"),
    need("identity", Table(&IDENTITY), "[identity] with source, subject, company and label"),
    may("errors", Tables(&ERROR), r#"[[errors]] with at, member, values and class"#),
    may("api", Named(&API), r#"[api.main] with base = "https://api.example.com""#),
    may("scope", Tables(&SCOPE), "[[scope]] with name, title, description, access, risk and routes"),
    may("object", Named(&limits::OBJECT), r#"[object.message] with api and fields"#),
    may("limit", Tables(&limits::LIMIT), "[[limit]] with kind, api, scopes and tests"),
    may("call", Tables(&limits::CALL), r#"[[call]] with api, call and what it names, carries or gives"#),
]);

/// A text in both languages.
pub static LOCALIZED: Shape = Shape(&[
    need("en", Text, r#"en = "Read your calendar""#),
    need("zh", Text, r#"a Chinese text, for example zh = "读取你的日历""#),
]);

/// What an admin states.
pub static COMPANY: Shape = Shape(&[
    need("title", Table(&LOCALIZED), r#"title = { en = "Tenant ID", zh = "租户 ID" }"#),
    need("example", Text, r#"example = "login.example.com""#),
    need("format", OneOf(&["uuid", "word", "host", "issuer"]), r#"format = "host""#),
    may("default", Text, r#"default = "open.example.com""#),
]);

/// OpenID Connect discovery.
pub static DISCOVERY: Shape = Shape(&[need("issuer", Text, r#"issuer = "{issuer}""#)]);

/// The authorization request.
pub static AUTHORIZE: Shape = Shape(&[
    may("url", Text, r#"url = "https://login.example.com/authorize""#),
    may("client_id_param", AnyText, r#"client_id_param = "appid""#),
    may("pkce", OneOf(&["S256", "off"]), r#"pkce = "off""#),
    may("params", TextMap, r#"params = { prompt = "consent" }"#),
    may("scopes", Table(&SCOPES), r#"scopes = { always = ["openid", "offline_access"] }"#),
    may("fragment", Text, r#"fragment = "wechat_redirect""#),
    may("state_alphabet", OneOf(&["base64url", "alphanumeric"]), r#"state_alphabet = "alphanumeric""#),
    may("code_params", Texts, r#"code_params = ["authCode", "code"]"#),
    may("iss", OneOf(&["optional", "required"]), r#"iss = "required""#),
    may("consent", OneOf(&["replaces", "accumulates", "whole"]), r#"consent = "accumulates""#),
]);

/// How scopes are sent.
pub static SCOPES: Shape = Shape(&[
    may("send", OneOf(&["asked", "fixed"]), r#"send = "fixed""#),
    may("always", Texts, r#"always = ["openid"]"#),
    may("separator", AnyText, r#"separator = ",""#),
    may("max", Number(10_000), "max = 50"),
]);

/// A token endpoint.
pub static TOKEN: Shape = Shape(&[
    may("url", Text, r#"url = "https://login.example.com/token""#),
    may("format", OneOf(&["form", "json", "query"]), r#"format = "json""#),
    may("client_auth", CLIENT_AUTH, r#"client_auth = "basic""#),
    may("names", TextMap, r#"names = { client_id = "clientId", redirect_uri = "" }"#),
    may("params", TextMap, r#"params = { scope = "https://api.example.com/.default" }"#),
    may("answer", Table(&ANSWER), r#"answer = { access_token = "accessToken" }"#),
]);

/// Where things are in a token answer.
pub static ANSWER: Shape = Shape(&[
    may("ok", Table(&OK), OK_EXAMPLE),
    may("access_token", Text, r#"access_token = "data.access_token""#),
    may("refresh_token", AnyText, r#"refresh_token = "refreshToken""#),
    may("refresh_expires_in", AnyText, r#"refresh_expires_in = "refresh_expires_in""#),
    may("expires_in", AnyText, r#"expires_in = "expireIn""#),
    may("scope", AnyText, r#"scope = "scope""#),
    may("id_token", AnyText, r#"id_token = "id_token""#),
    may("default_expires_in", Number(86_400), "default_expires_in = 7200"),
]);

/// A member that says success.
pub static OK: Shape = Shape(&[
    need("member", Text, r#"member = "errcode""#),
    need("equals", AnyText, r#"equals = "0""#),
    may("absent_is_ok", Bool, "absent_is_ok = true"),
]);

/// Refreshing.
pub static REFRESH: Shape = Shape(&[
    need("rotation", OneOf(&["strict", "grace", "keeps_old"]), r#"rotation = "strict""#),
    may("grace_s", Number(86_400), "grace_s = 30"),
    need("reuse_detection", Bool, "reuse_detection = true, also when the vendor does not say"),
    need("narrowing", OneOf(&["narrows", "ignored", "rejected"]), r#"narrowing = "ignored""#),
    may("always", Texts, r#"always = ["offline_access"]"#),
    may("lifetime_s", Number(315_360_000), "lifetime_s = 2592000"),
    may("fixed_life", Bool, "fixed_life = true"),
    may("consent_days", Number(36_500), "consent_days = 365"),
    may("send_scope", Bool, "send_scope = true"),
]);

/// Revoking.
pub static REVOKE: Shape = Shape(&[
    may("url", Text, r#"url = "https://login.example.com/revoke""#),
    may("client_auth", CLIENT_AUTH, r#"client_auth = "basic""#),
    may("access_tokens", Bool, "access_tokens = true"),
    may("apart", Bool, "apart = true"),
    may("ok", Table(&OK), OK_EXAMPLE),
]);

/// The account.
pub static IDENTITY: Shape = Shape(&[
    need("source", OneOf(&["id_token", "userinfo", "code"]), r#"source = "userinfo""#),
    may("issuer", AnyText, r#"issuer = "https://login.example.com""#),
    may("jwks_url", AnyText, r#"jwks_url = "https://login.example.com/keys""#),
    may("url", AnyText, r#"url = "https://api.example.com/me""#),
    may("send", Table(&SEND), SEND_EXAMPLE),
    may("ok", Table(&OK), OK_EXAMPLE),
    need("subject", Text, r#"subject = "sub""#),
    need(
        "company",
        Text,
        r#"company = "tid", or company = "config" where the endpoint serves one company only"#,
    ),
    may("foreign_mark", AnyText, r#"foreign_mark = "@""#),
    may("company_equals", AnyText, r#"company_equals = "tenant""#),
    need("label", Texts, r#"label = ["email", "name"]"#),
    may("pins", TextMap, r#"pins = { user = "data.user_id" }"#),
    may("pin_lookup", Table(&PIN_LOOKUP), "[identity.pin_lookup] with url, send, body and pins"),
]);

/// A look-up of one more identifier.
pub static PIN_LOOKUP: Shape = Shape(&[
    need("url", Text, r#"url = "https://api.example.com/user/by-union-id""#),
    need("send", Table(&SEND), r#"send = { query = "access_token" }"#),
    need("body", TextMap, r#"body = { unionid = "union_id" }"#),
    may("ok", Table(&OK), OK_EXAMPLE),
    need("pins", TextMap, r#"pins = { user_id = "result.userid" }"#),
]);

/// How a token is sent.
pub static SEND: Shape = Shape(&[
    may("header", Text, r#"header = "Authorization""#),
    may("query", Text, r#"query = "access_token""#),
]);

/// What an error means.
pub static ERROR: Shape = Shape(&[
    need("at", OneOf(&["token", "api"]), r#"at = "token""#),
    may("status", Number(599), "status = 429"),
    may("member", Text, r#"member = "error""#),
    may("values", Texts, r#"values = ["invalid_grant"]"#),
    need(
        "class",
        OneOf(&[
            "retry",
            "reauth",
            "step_up",
            "admin",
            "config",
            "gone",
            "stale_token",
            "request",
            "unknown",
        ]),
        r#"class = "reauth""#,
    ),
]);

/// An API.
pub static API: Shape = Shape(&[
    need("base", Text, r#"base = "https://api.example.com""#),
    may("send", Table(&SEND), SEND_EXAMPLE),
    may("ok", Table(&OK), OK_EXAMPLE),
    may("request_headers", Texts, r#"request_headers = ["prefer"]"#),
    may("refuse_query", Texts, r#"refuse_query = ["$expand"]"#),
    may("storage_hosts", Texts, r#"storage_hosts = ["*.files.example.com"]"#),
    may("case_insensitive", Bool, "case_insensitive = true"),
    may("links", Texts, r#"links = ["@odata.nextLink"]"#),
    may("counts", Texts, r#"counts = ["@odata.count"]"#),
    may("searches", Texts, r#"searches = ["$search", "$filter"]"#),
    may("select", Text, r#"select = "$select""#),
]);

/// The classes of data, held against the type by a test.
pub(super) const DATA_CLASSES: [&str; 10] =
    ["profile", "directory", "contacts", "mail", "calendar", "messages", "files", "tasks", "apps", "logs"];

/// A scope.
pub static SCOPE: Shape = Shape(&[
    need("name", Text, r#"name = "Calendars.Read""#),
    may("vendor", Text, r#"vendor = "https://api.example.com/Calendars.Read""#),
    need("title", Table(&LOCALIZED), r#"title = { en = "Read your calendar", zh = "读取你的日历" }"#),
    need(
        "description",
        Table(&LOCALIZED),
        r#"description = { en = "See all events in your calendars.", zh = "查看你日历中的所有日程。" }"#,
    ),
    need("access", OneOf(&["read", "write", "send", "share"]), r#"access = "read""#),
    need("risk", OneOf(&["low", "medium", "high"]), r#"risk = "medium""#),
    may("leaky", Bool, "leaky = true"),
    may("bookkeeping", Bool, "bookkeeping = true"),
    may("data_classes", Words(&DATA_CLASSES), r#"data_classes = ["calendar"]"#),
    may("routes", Tables(&ROUTE), r#"routes = [{ api = "main", call = "GET /v1/me/events" }]"#),
]);

/// A call.
pub static ROUTE: Shape = Shape(&[
    need("api", Text, r#"api = "main""#),
    need("call", Text, r#"call = "GET /v1/users/{id}""#),
    may("token", OneOf(&["user", "app"]), r#"token = "app""#),
    may("app_data", Bool, "app_data = true"),
    may("also", Texts, r#"also = ["User.Read"]"#),
    may("pin_path", TextMap, r#"pin_path = { id = "user_id" }"#),
    may("pin_query", TextMap, r#"pin_query = { userid = "user_id" }"#),
    may("pin_body", TextMap, r#"pin_body = { userid = "user_id" }"#),
    may("refuse_body", Texts, r#"refuse_body = ["toparty", "totag"]"#),
    may("follow", Bool, "follow = true"),
]);

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::kernel::data_class::DataClass;
    use crate::kernel::text::Localized;
    use crate::providers::template as t;

    /// serde lists what it knows when it meets what it does not.
    fn known<T: DeserializeOwned>(text: &str) -> Vec<String> {
        let error = toml::from_str::<T>(text).err().unwrap();
        let (_, list) = error.message().split_once("expected ").unwrap();
        list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn same<T: DeserializeOwned>(shape: &Shape) {
        let mut expected = known::<T>("zzz = 1");
        let mut names: Vec<String> = shape.names().map(str::to_owned).collect();
        expected.sort();
        names.sort();
        assert_eq!(names, expected);
        for key in shape.0 {
            if let OneOf(words) = key.kind {
                let error = toml::from_str::<T>(&format!("{} = 'zzz'", key.name)).err().unwrap();
                for word in words {
                    assert!(error.message().contains(&format!("`{word}`")), "{} {word}: {error}", key.name);
                }
                let listed = error.message().matches('`').count() / 2 - 1;
                assert_eq!(listed, words.len(), "{}: {error}", key.name);
            }
        }
    }

    #[test]
    fn the_lint_knows_exactly_the_keys_and_words_that_the_types_know() {
        same::<t::Template>(&TEMPLATE);
        same::<Localized>(&LOCALIZED);
        same::<t::CompanyField>(&COMPANY);
        same::<t::Discovery>(&DISCOVERY);
        same::<t::Authorize>(&AUTHORIZE);
        same::<t::ScopeParam>(&SCOPES);
        same::<t::TokenEndpoint>(&TOKEN);
        same::<t::TokenAnswer>(&ANSWER);
        same::<t::OkMember>(&OK);
        same::<t::Refresh>(&REFRESH);
        same::<t::Revoke>(&REVOKE);
        same::<t::Identity>(&IDENTITY);
        same::<t::PinLookup>(&PIN_LOOKUP);
        same::<t::SendToken>(&SEND);
        same::<t::ErrorRule>(&ERROR);
        same::<t::Api>(&API);
        same::<t::ScopeEntry>(&SCOPE);
        same::<t::RouteEntry>(&ROUTE);
        same::<t::ObjectEntry>(&limits::OBJECT);
        same::<t::ObjectList>(&limits::LIST);
        same::<t::LimitEntry>(&limits::LIMIT);
        same::<t::CallEntry>(&limits::CALL);
        same::<t::NameRef>(&limits::NAME);
        same::<t::ObjectPlace>(&limits::PLACE);
        same::<t::Window>(&limits::WINDOW);
        same::<t::Filter>(&limits::FILTER);
    }

    #[test]
    fn the_classes_of_data_are_those_of_the_type() {
        assert_eq!(DATA_CLASSES, DataClass::ALL.map(DataClass::as_str));
    }

    #[test]
    fn every_required_key_is_required_by_the_types() {
        let missing = |error: toml::de::Error| {
            let name = error.message().split('`').nth(1).map(str::to_owned);
            name.unwrap_or_default()
        };
        assert_eq!(missing(toml::from_str::<t::OkMember>("").err().unwrap()), "member");
        let required = |shape: &Shape| shape.0.iter().filter(|key| key.is_required).count();
        assert_eq!(required(&REFRESH), 3);
        assert!(
            toml::from_str::<t::Refresh>("rotation='strict'\nreuse_detection=true\nnarrowing='ignored'")
                .is_ok()
        );
        assert_eq!(required(&AUTHORIZE) + required(&TOKEN) + required(&REVOKE) + required(&SEND), 0);
        assert!(toml::from_str::<t::Authorize>("").is_ok());
        assert!(toml::from_str::<t::TokenEndpoint>("").is_ok());
        assert!(toml::from_str::<t::Revoke>("").is_ok());
    }
}
