//! The templates inside the program.

use std::collections::{BTreeMap, BTreeSet};

use valetkey::providers::load::LoadError;
use valetkey::providers::template::{Access, Narrowing, RouteToken, Template};
use valetkey::providers::{Configured, Templates};

use crate::bends::shown;
use crate::secret;

/// A template's name, what is stated about the company, and the fewest scopes and calls it may have.
type Shipped = (&'static str, &'static [(&'static str, &'static str)], usize, usize);

/// Each provider: what its company states, and the least number of scopes and calls.
const SHIPPED: [Shipped; 5] = [
    ("dingtalk", &[("corp_id", "dingcorp0001")], 10, 35),
    ("entra", &[("tenant", "11111111-2222-4333-8444-555555555555")], 10, 35),
    ("lark", &[("tenant_key", "2ed263bf32cf1651")], 10, 35),
    ("okta", &[("issuer", "https://example.okta.com")], 6, 15),
    ("wecom", &[("corp_id", "ww0123456789abcdef"), ("agent_id", "1000002")], 6, 15),
];

fn configured(name: &str, company: &[(&str, &str)]) -> Configured {
    let loaded = Templates::embedded().unwrap().get(name).unwrap();
    let company: BTreeMap<String, String> =
        company.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let slug = name.parse().unwrap();
    Configured::new(slug, &loaded, "app-1".to_owned(), secret("s"), &company).unwrap()
}

#[test]
fn every_shipped_template_is_without_findings() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    match Templates::default().with_folder(&folder) {
        Ok(_) => {}
        Err(LoadError::Broken { findings }) => panic!("\n{}", shown(&findings)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_scope_that_people_can_grant_says_what_data_it_opens() {
    for (name, company, ..) in SHIPPED {
        let provider = configured(name, company);
        let scopes = provider.loaded.template.scope.iter().filter(|scope| !scope.bookkeeping);
        for scope in scopes {
            assert!(!scope.data_classes.is_empty(), "{name}: {}", scope.name);
        }
    }
}

#[test]
fn every_shipped_template_takes_a_company_and_offers_enough() {
    for (name, company, scopes, calls) in SHIPPED {
        let provider = configured(name, company);
        assert!(provider.loaded.template.grantable().len() >= scopes, "{name}");
        assert!(provider.loaded.routes.len() >= calls, "{name}");
    }
    let generic = configured("generic-oidc", &[("issuer", "https://id.example.com")]);
    assert!(generic.loaded.routes.is_empty());
}

#[test]
fn a_scope_that_does_not_narrow_never_lets_its_token_leave() {
    for (name, company, ..) in SHIPPED {
        let Template { refresh, scope, .. } = &configured(name, company).loaded.template;
        let narrows = refresh.as_ref().is_some_and(|refresh| refresh.narrowing == Narrowing::Narrows);
        let complete = scope.iter().filter(|scope| !scope.bookkeeping && !scope.leaky).count();
        assert_eq!(narrows, complete > 0, "{name}: {complete} scopes count as complete");
    }
}

#[test]
fn a_scope_that_reads_changes_nothing_by_its_methods() {
    for (name, company, ..) in SHIPPED {
        for scope in &configured(name, company).loaded.template.scope {
            let methods: BTreeSet<&str> =
                scope.routes.iter().filter_map(|route| route.call.split(' ').next()).collect();
            if scope.access == Access::Read {
                assert!(
                    methods.iter().all(|method| matches!(*method, "GET" | "POST")),
                    "{name} {}",
                    scope.name
                );
            }
        }
    }
}

#[test]
fn every_shipped_template_fills_with_its_own_examples() {
    for loaded in Templates::embedded().unwrap().iter() {
        let fields = &loaded.template.company;
        let company: Vec<(&str, &str)> =
            fields.iter().map(|(name, field)| (name.as_str(), field.example.as_str())).collect();
        let filled = configured(&loaded.name, &company);
        let text = format!("{:?}", filled.loaded.template.authorize);
        for field in fields.keys() {
            assert!(!text.contains(&format!("{{{field}}}")), "{}: {{{field}}} is left", loaded.name);
        }
    }
}

#[test]
fn calls_with_the_apps_token_are_pinned_or_said_to_be_the_apps_own() {
    for loaded in Templates::embedded().unwrap().iter() {
        for route in loaded.routes.iter().filter(|route| route.token == RouteToken::App) {
            assert!(route.is_pinned() != route.app_data, "{}: {}", loaded.name, route.pattern);
        }
    }
}
