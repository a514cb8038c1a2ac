//! One valid template, bent once each time: the lint must name the place and say what to write.

#[path = "bends_limits.rs"]
mod limits;

use valetkey::providers::check::{Finding, lint};

use crate::VALID;

pub fn shown(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

/// Replaces a piece of the valid template; answers the text and the line of the first change.
fn bend(from: &str, to: &str) -> (String, usize) {
    assert_eq!(VALID.matches(from).count(), 1, "`{from}` must stand exactly once");
    let (before, after) = VALID.split_once(from).unwrap();
    (format!("{before}{to}{after}"), 1 + before.matches('\n').count())
}

struct Bend {
    from: &'static str,
    to: &'static str,
    /// How many lines below the start of the change the finding is.
    below: isize,
    key: &'static str,
    /// Part of what is said, problem or remedy.
    says: &'static str,
}

const fn b(
    from: &'static str,
    to: &'static str,
    below: isize,
    key: &'static str,
    says: &'static str,
) -> Bend {
    Bend { from, to, below, key, says }
}

const BENDS: &[Bend] = &[
    // Shape.
    b("schema = 1", "schema = 2", 0, "schema", "larger than 1"),
    b("grace_s = 30", "grace = 30", 0, "refresh.grace", "write `grace_s`"),
    b("pkce = \"S256\"", "pkce = false", 0, "authorize.pkce", "is true or false, but must be one of"),
    b("pkce = \"S256\"", "pkce = \"plain\"", 0, "authorize.pkce", "\"S256\", \"off\""),
    b("rotation = \"grace\"", "rotation = \"graze\"", 0, "refresh.rotation", "perhaps \"grace\""),
    b(
        "default_expires_in = 600",
        "default_expires_in = \"600\"",
        0,
        "token.answer.default_expires_in",
        "a whole number",
    ),
    b("reuse_detection = true\n", "", 0, "refresh.reuse_detection", "is missing"),
    b("values = [\"20050\"]", "values = [20050]", 0, "errors[1].values[0]", "put it into quotes"),
    b("docs = \"https://docs.example.com/oauth\"", "docs = \"\"", 0, "docs", "is empty"),
    b("source = \"userinfo\"", "source = \"userinfo\"\nsource = \"code\"", 1, "source", "a second time"),
    b("[revoke]", "[revoke", 0, "", "unclosed table"),
    // URLs and placeholders.
    b("https://{host}/{tenant}/revoke", "http://{host}/{tenant}/revoke", 0, "revoke.url", "https://"),
    b("https://{host}/app/token", "https://10.0.0.8/app/token", 0, "app_token.url", "an IP address"),
    b("https://{host}/app/token", "https://2130706433/app/token", 0, "app_token.url", "an IP address"),
    b("https://{host}/app/token", "https://localhost/app/token", 0, "app_token.url", "only this machine"),
    b("https://{host}/app/token", "https://{host}:8443/app/token", 0, "app_token.url", "leave out the port"),
    b("https://{host}/app/token", "https://u:p@{host}/app/token", 0, "app_token.url", "user name"),
    b("https://{host}/app/token", "https://{host}/app/token?a=1", 0, "app_token.url", "belong into `params`"),
    b("https://{host}/app/token", "https://lоgin.example.com/app", 0, "app_token.url", "internationalised"),
    b("https://{host}/app/token", "https://{hots}/app/token", 0, "app_token.url", "perhaps {host} is meant"),
    b("https://{host}/app/token", "https://${host}/app/token", 0, "app_token.url", "without a sign"),
    b(
        "domain = \"{tenant}\"",
        "domain = \"{{tenant}}\"",
        0,
        "authorize.params.domain",
        "single pair of braces",
    ),
    b(
        "base = \"https://old.example.com\"",
        "base = \"https://old.example.com/v1\"",
        0,
        "api.old.base",
        "only the origin",
    ),
    // Consent and tokens.
    b("prompt = \"consent\"", "state = \"x\"", 0, "authorize.params.state", "sends itself"),
    b("fragment = \"wechat_redirect\"", "fragment = \"#x/y\"", 0, "authorize.fragment", "without `#`"),
    b("separator = \" \"", "separator = \";\"", 0, "authorize.scopes.separator", "\" \" or \",\""),
    b("[\"authCode\", \"code\"]", "[\"code\", \"code\"]", 0, "authorize.code_params[1]", "twice"),
    b("consent = \"replaces\"", "consent = \"whole\"", 0, "authorize.consent", "no scopes at consent"),
    b("client_id = \"clientId\"", "clientid = \"clientId\"", 0, "token.names.clientid", "write `client_id`"),
    b(
        "client_id = \"clientId\"",
        "client_secret = \"\"",
        0,
        "token.names.client_secret",
        "not be authenticated",
    ),
    b("grace_s = 30\n", "", 0, "refresh.grace_s", "needs it"),
    b("rotation = \"grace\"", "rotation = \"strict\"", 1, "refresh.grace_s", "only with rotation"),
    b("scope = \"data.scope\"", "scope = \"\"", 7, "refresh.narrowing", "answer's scopes"),
    b("refresh_token = \"data.refresh_token\"", "refresh_token = \"\"", 5, "refresh", "said to have none"),
    b("narrowing = \"narrows\"", "narrowing = \"ignored\"", 1, "refresh.always", "no effect"),
    // The account.
    b(
        "company_equals = \"tenant\"",
        "company_equals = \"tenent\"",
        0,
        "identity.company_equals",
        "there are `host`, `tenant`",
    ),
    b(
        "company = \"token:data.tenant\"",
        "company = \"config\"",
        1,
        "identity.company_equals",
        "nothing to compare",
    ),
    b("url = \"https://api.example.com/me\"\n", "", 0, "identity.url", "asks there"),
    b("source = \"userinfo\"", "source = \"id_token\"", 0, "identity.issuer", "is missing"),
    b("label = [\"data.name\"]", "label = []", 0, "identity.label", "at least one"),
    b(
        "unionid = \"union_id\"",
        "unionid = \"unionid\"",
        0,
        "identity.pin_lookup.body.unionid",
        "identity.pins",
    ),
    b(
        "send = { query = \"access_token\" }\nok",
        "send = { query = \"t\", header = \"x\" }\nok",
        0,
        "api.old.send",
        "both",
    ),
    b("send = { query = \"access_token\" }\nok", "send = {}\nok", 0, "api.old.send", "neither"),
    // Errors and headers.
    b("status = 401\n", "", 0, "errors[2]", "match every answer"),
    b("member = \"errcode\"\nvalues", "values", 0, "errors[3].member", "are its values"),
    b("class = \"retry\"", "class = \"later\"", 0, "errors[1].class", "\"retry\", \"reauth\""),
    b("[\"prefer\"]", "[\"cookie\"]", 0, "api.main.request_headers[0]", "must not set"),
    // Scopes and their texts.
    b("zh = \"读取你的待办\"", "zh = \"Tasks\"", 0, "scope[4].title.zh", "no Chinese"),
    b(
        "{ en = \"Read your tasks\", zh = \"读取你的待办\" }",
        "{ en = \"Read your tasks\" }",
        0,
        "scope[4].title.zh",
        "a Chinese text, for example",
    ),
    b("en = \"See your tasks.\"", "en = \" \"", 0, "scope[4].description.en", "is empty"),
    b(
        "en = \"See your tasks.\"",
        "en = \"See \\u202eyour tasks.\"",
        0,
        "scope[4].description.en",
        "invisible",
    ),
    b(
        "name = \"Todo.Read\"",
        "name = \"Mail.Read\"",
        0,
        "scope[4].name",
        "give each scope a name of its own",
    ),
    b("name = \"Todo.Read\"", "name = \"Todo Read\"", 0, "scope[4].name", "is not a scope"),
    b(
        "access = \"send\"",
        "access = \"admin\"",
        0,
        "scope[3].access",
        "\"read\", \"write\", \"send\", \"share\"",
    ),
    b(
        "bookkeeping = true\n\n[[scope]]\nname = \"offline_access\"",
        "bookkeeping = true\ndata_classes = [\"mail\"]\n\n[[scope]]\nname = \"offline_access\"",
        1,
        "scope[0].data_classes",
        "bookkeeping",
    ),
    b(
        "data_classes = [\"mail\", \"directory\"]\nleaky = true",
        "bookkeeping = true\n",
        3,
        "scope[3].routes",
        "bookkeeping",
    ),
    b("[\"tasks\"]", "[\"task\"]", 0, "scope[4].data_classes[0]", "perhaps \"tasks\""),
    b("[\"tasks\"]", "\"tasks\"", 0, "scope[4].data_classes", "must be a list"),
    b("[\"mail\", \"directory\"]", "[\"mail\", \"mail\"]", 0, "scope[3].data_classes[1]", "twice"),
    b("[\"mail\", \"directory\"]", "[]", 0, "scope[3].data_classes", "while other scopes here have it"),
    b("data_classes = [\"tasks\"]\n", "", -6, "scope[4].data_classes", "name what it opens"),
    // Routes.
    b(
        "POST /v1/me/sendMail\"\nalso",
        "SEND /v1/me/sendMail\"\nalso",
        0,
        "scope[3].routes[0].call",
        "unknown method",
    ),
    b(
        "POST /v1/me/sendMail\"\nalso",
        "POST v1/me/sendMail\"\nalso",
        0,
        "scope[3].routes[0].call",
        "start with `/`",
    ),
    b(
        "POST /v1/me/sendMail\"\nalso",
        "POST /v1/me/../sendMail\"\nalso",
        0,
        "scope[3].routes[0].call",
        "dot segment",
    ),
    b(
        "POST /v1/me/sendMail\"\nalso",
        "POST /v1/me/sendMail?x=1\"\nalso",
        0,
        "scope[3].routes[0].call",
        "query",
    ),
    b("POST /v1/me/sendMail\"\nalso", "POST /v1/{a}/{a}\"\nalso", 0, "scope[3].routes[0].call", "`a` twice"),
    b("POST /v1/me/sendMail\"\nalso", "POST /v1/x{a}\"\nalso", 0, "scope[3].routes[0].call", "whole segment"),
    b(
        "also = [\"Mail.Read\"]",
        "also = [\"Mail.Raed\"]",
        0,
        "scope[3].routes[0].also[0]",
        "write `Mail.Read`",
    ),
    b("also = [\"Mail.Read\"]", "also = [\"openid\"]", 0, "scope[3].routes[0].also[0]", "bookkeeping"),
    b(
        "api = \"old\", call = \"GET /todo/count\"",
        "api = \"odl\", call = \"GET /todo/count\"",
        0,
        "scope[4].routes[2].api",
        "write `old`",
    ),
    b(", app_data = true", "", 0, "scope[4].routes[3]", "app_data = true"),
    b(
        "pin_query = { userid = \"user_id\" }",
        "pin_query = { userid = \"userid\" }",
        0,
        "scope[4].routes[2].pin_query.userid",
        "write `user_id`",
    ),
    b(
        "pin_path = { user = \"union_id\" }",
        "pin_path = { users = \"union_id\" }",
        0,
        "scope[4].routes[0].pin_path.users",
        "no parameter of this path",
    ),
    b("POST /todo/list", "GET /todo/list", 0, "scope[4].routes[1].pin_body", "a body"),
    b("GET /todo/kinds", "GET /todo/count", 0, "scope[4].routes[3].call", "already"),
    b(
        "GET /v1/todo/users/{user}/tasks\", token",
        "GET /V1/Me/Messages/{user}\", token",
        0,
        "scope[4].routes[0].call",
        "names its parameters differently",
    ),
    b(
        "GET /v1/todo/users/{user}/tasks\", token",
        "GET /v1/{user}/messages/delta()\", token",
        0,
        "scope[4].routes[0].call",
        "match the same request",
    ),
];

#[test]
fn the_unbent_template_is_clean() {
    let findings = lint("valid.toml", VALID);
    assert!(findings.is_empty(), "{}", shown(&findings));
}

#[test]
fn each_bend_is_named_with_its_line_key_and_remedy() {
    let mut wrong = String::new();
    for bend_case in BENDS.iter().chain(limits::BENDS) {
        let (text, start) = bend(bend_case.from, bend_case.to);
        let findings = lint("bent.toml", &text);
        let is_it =
            |finding: &&Finding| finding.key == bend_case.key && finding.to_string().contains(bend_case.says);
        let is_right = findings.iter().find(is_it).is_some_and(|found| {
            // A missing key is reported at the line of its table.
            let is_missing = found.problem.starts_with("is missing") || bend_case.key.ends_with(']');
            let line = start.saturating_add_signed(bend_case.below);
            (found.line == line || (is_missing && found.line <= line))
                && found.file == "bent.toml"
                && (!found.instead.is_empty() || found.key.is_empty())
        });
        // One bend may have a few consequences, where other places name what was bent, but not a flood.
        if !is_right || findings.len() > 5 {
            let Bend { from, to, below, key, says } = bend_case;
            let line = start.saturating_add_signed(*below);
            wrong +=
                &format!("`{from}` → `{to}`: expected line {line}, {key}, {says}\n{}\n", shown(&findings));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn all_errors_of_a_file_are_found_at_once_in_the_order_of_lines() {
    let mut text = VALID.to_owned();
    let twenty = [
        ("docs = \"https://docs.example.com/oauth\"", "docs = \"http://x\""),
        ("format = \"uuid\"", "format = \"guid\""),
        ("pkce = \"S256\"", "pkce = \"no\""),
        ("separator = \" \"", "separator = \"|\""),
        ("format = \"json\"", "format = \"yaml\""),
        ("rotation = \"grace\"", "rotation = \"sometimes\""),
        ("client_auth = \"basic\"", "client_auth = 3"),
        ("label = [\"data.name\"]", "label = \"data.name\""),
        ("class = \"retry\"", "class = \"x\""),
        ("base = \"https://old.example.com\"", "base = \"https://192.168.0.1\""),
        ("zh = \"发送邮件\"", "zh = \"\""),
        ("POST /v1/me/sendMail", "POST me"),
        ("also = [\"Mail.Read\"]", "also = [\"Nothing\"]"),
    ];
    for (from, to) in twenty {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let findings = lint("bent.toml", &text);
    assert!(findings.len() >= twenty.len(), "{}", shown(&findings));
    assert!(findings.is_sorted_by_key(|finding| finding.line), "{}", shown(&findings));
}

#[test]
fn a_finding_reads_as_one_line() {
    let (text, line) =
        bend("{ en = \"Read your tasks\", zh = \"读取你的待办\" }", "{ en = \"Read your tasks\" }");
    let findings = lint("providers/x.toml", &text);
    let expected = format!(
        "providers/x.toml:{line}: scope[4].title.zh: is missing; write a Chinese text, for example zh = \"读取你的日历\""
    );
    assert_eq!(shown(&findings), format!("{expected}\n"));
}

#[test]
fn what_is_no_template_at_all_is_named_quickly() {
    let deep = format!("a = {}1{}", "[".repeat(1000), "]".repeat(1000));
    let large = format!("a = \"{}\"", "x".repeat(300 * 1024));
    let items = format!("[authorize]\ncode_params = [{}]", "\"a\",".repeat(60_000));
    let scopes = "[[scope]]\n".repeat(25_000);
    let names: String = (0..15_000).map(|n| format!("n{n} = \"x\"\n")).collect();
    let names = format!("[token.names]\n{names}");
    let started = std::time::Instant::now();
    for text in [
        items.as_str(),
        &scopes,
        &names,
        "",
        "\0",
        "{",
        "a: b",
        "<html>",
        "[[scope]]",
        deep.as_str(),
        large.as_str(),
    ] {
        assert!(!lint("x.toml", text).is_empty());
    }
    // It takes a fraction of this, unoptimised: ruled out is work that grows with the square of the file.
    assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_text_makes_the_lint_panic(text in "\\PC{0,200}") {
        let _ = lint("x.toml", &text);
    }

    #[test]
    fn no_cut_or_swap_makes_the_lint_panic(at in 0usize..4000, length in 0usize..60, with in "[\\[\\]{}=\"a-z0-9./ \n]{0,12}") {
        let chars: Vec<char> = VALID.chars().collect();
        let start = at.min(chars.len());
        let end = (start + length).min(chars.len());
        let text: String = chars[..start].iter().copied().chain(with.chars()).chain(chars[end..].iter().copied()).collect();
        let _ = lint("x.toml", &text);
    }
}
