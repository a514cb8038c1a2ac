//! A provider that nobody shipped, added by putting one file into a folder.

use std::collections::BTreeMap;
use std::fs;

use valetkey::kernel::scope::ScopeSet;
use valetkey::kernel::secret::Secret;
use valetkey::model::limit::LimitKind;
use valetkey::providers::check::lint;
use valetkey::providers::dialect::{TokenGrant, authorize_scopes, parse_token_answer, token_call};
use valetkey::providers::load::{LoadError, MAX_BYTES};
use valetkey::providers::routes::Cover;
use valetkey::providers::{Configured, Templates};

use crate::{VALID, secret};

const ATLASSIAN: &str = include_str!("atlassian.toml");
const CLOUD: &str = "11111111-2222-4333-8444-555555555555";

#[test]
fn a_seventh_provider_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("atlassian.toml"), ATLASSIAN).unwrap();
    fs::write(folder.path().join("notes.md"), "not a template").unwrap();
    fs::write(folder.path().join(".hidden.toml"), "not a template").unwrap();
    let shipped = Templates::embedded().unwrap();
    let before = shipped.names().count();
    let templates = shipped.with_folder(folder.path()).unwrap();
    assert_eq!(templates.names().count(), before + 1);
    assert!(lint("atlassian.toml", ATLASSIAN).is_empty());

    let loaded = templates.get("atlassian").unwrap();
    let company = BTreeMap::from([("cloud_id".to_owned(), CLOUD.to_owned())]);
    let slug = "atlassian".parse().unwrap();
    let provider = Configured::new(slug, &loaded, "id-1".to_owned(), secret("hush"), &company).unwrap();
    let template = &provider.loaded.template;

    let wanted = ScopeSet::parse("read:jira-work").unwrap();
    let sent = authorize_scopes(template, &wanted).unwrap();
    assert_eq!(sent, ["offline_access", "read:me", "read:jira-work"]);

    let (code, verifier) = (secret("code-1"), secret("verifier-1"));
    let endpoint = template.token.as_ref().unwrap();
    let redirect_uri = "https://vk.example/callback/atlassian";
    let grant = TokenGrant::AuthorizationCode { code: &code, verifier: Some(&verifier), redirect_uri };
    let call = token_call(endpoint, &provider, &grant);
    assert_eq!(call.url.expose_str(), "https://auth.atlassian.com/oauth/token");
    let body: serde_json::Value = serde_json::from_slice(call.body.expose()).unwrap();
    assert_eq!(body["redirect_uri"], redirect_uri);

    let answer = br#"{"access_token":"a","refresh_token":"r","expires_in":3600,"scope":"read:jira-work offline_access"}"#;
    let set = parse_token_answer(&endpoint.answer, template, 200, &Secret::new(answer.to_vec())).unwrap();
    assert!(wanted.is_subset(&set.scopes.unwrap()));

    let path = ["ex", "jira", CLOUD, "rest", "api", "3", "issue", "VK-1"];
    let hit = provider.loaded.routes.find("jira", "GET", &path).unwrap();
    assert!(hit.route.is_open_to(&wanted));
    assert_eq!(hit.params["issue"], "VK-1");
    assert!(provider.loaded.routes.find("jira", "DELETE", &path).is_none());

    // A limit is data too: what it bears on is said per call, and what is not said is closed.
    let limit = template.limit_entry(LimitKind::Documents, "jira").unwrap();
    assert_eq!(hit.route.cover(limit), Cover::Tested);
    let projects = ["ex", "jira", CLOUD, "rest", "api", "3", "project", "search"];
    let projects = provider.loaded.routes.find("jira", "GET", &projects).unwrap();
    assert_eq!(projects.route.cover(limit), Cover::Closed);
}

#[test]
fn a_file_with_a_shipped_name_replaces_the_shipped_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sample.toml"), VALID).unwrap();
    let once = Templates::default().with_folder(folder.path()).unwrap();
    fs::write(folder.path().join("sample.toml"), VALID.replace("en = \"Sample\"", "en = \"Mine\"")).unwrap();
    let twice = once.with_folder(folder.path()).unwrap();
    assert_eq!(twice.get("sample").unwrap().template.name.en, "Mine");
    assert_eq!(twice.names().collect::<Vec<_>>(), ["sample"]);
}

#[test]
fn files_that_cannot_be_templates_are_refused_by_name() {
    let load = |name: &str, data: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), data).unwrap();
        Templates::default().with_folder(folder.path()).unwrap_err()
    };
    assert!(matches!(load("Bad Name.toml", VALID.as_bytes()), LoadError::Name { .. }));
    let too_large = load("x.toml", &vec![b'#'; MAX_BYTES + 1]);
    assert!(too_large.to_string().contains("larger than 256 KiB"), "{too_large}");
    let not_text = load("x.toml", b"schema = 1\n\xff");
    assert!(not_text.to_string().contains("x.toml:2: is not UTF-8"), "{not_text}");
    let broken = load("x.toml", b"schema = 1\nnam = 2\n");
    let LoadError::Broken { findings } = broken else { panic!("{broken}") };
    assert!(findings.iter().any(|finding| finding.key == "nam" && finding.line == 2), "{findings:?}");
    assert!(findings.len() > 2, "all errors, not just the first");
    let missing = Templates::default().with_folder(std::path::Path::new("/nowhere/at/all")).unwrap_err();
    assert!(matches!(missing, LoadError::Unreadable { .. }));
}
