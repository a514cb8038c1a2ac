//! Every page, rendered in both languages from its sample: what holds for all of them, and files in
//! `target/pages` to look at.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod reasons;

use std::fs;
use std::path::Path;

use askama::Template;
use valetkey::kernel::text::Lang;
use valetkey::web::views::admin::{
    agent_edit, agents, audiences, lists, overview, providers, reports, stops, trust,
};
use valetkey::web::views::consent::ConsentPage;
use valetkey::web::views::error::ErrorPage;
use valetkey::web::views::grant::GrantPage;
use valetkey::web::views::home::HomePage;
use valetkey::web::views::login::{LocalLoginPage, LoginPage, SetupPage};
use valetkey::web::views::outcome::{Ending, GrantedPage, MessagePage};
use valetkey::web::views::picker::PickerPage;
use valetkey::web::views::trial::TrialPage;
use valetkey::web::views::{Page, Shown};
use valetkey::web::{assets, texts};

fn pages(lang: Lang) -> Vec<(&'static str, String)> {
    let message = |ending| MessagePage::sample(lang, ending).render().unwrap();
    vec![
        ("login", LoginPage::sample(lang).render().unwrap()),
        ("login-local", LocalLoginPage::sample(lang).render().unwrap()),
        ("setup", SetupPage::sample(lang).render().unwrap()),
        ("setup-gone", MessagePage::setup_gone(Page::anonymous_sample(lang)).render().unwrap()),
        ("consent", ConsentPage::sample(lang).render().unwrap()),
        ("picker", PickerPage::sample(lang).render().unwrap()),
        ("picker-suggested", PickerPage::suggested_sample(lang).render().unwrap()),
        ("picker-grant", PickerPage::grant_sample(lang).render().unwrap()),
        ("granted", GrantedPage::sample(lang).render().unwrap()),
        ("refused", message(Ending::Refused)),
        ("refused-at-provider", message(Ending::ProviderRefused)),
        ("expired", message(Ending::Expired)),
        ("stale", message(Ending::Stale)),
        ("wrong-person", message(Ending::WrongPerson)),
        ("answered", message(Ending::Answered)),
        ("account-gone", message(Ending::AccountGone)),
        ("grant", GrantPage::sample(lang).render().unwrap()),
        ("grant-over", GrantPage::over_sample(lang).render().unwrap()),
        ("trial", TrialPage::sample(lang).render().unwrap()),
        ("admin-trial", TrialPage::admin_sample(lang).render().unwrap()),
        ("home", HomePage::sample(lang).render().unwrap()),
        ("home-empty", HomePage::empty_sample(lang).render().unwrap()),
        ("error", ErrorPage::sample(lang).render().unwrap()),
        ("admin-overview", overview::OverviewPage::sample(lang).render().unwrap()),
        ("admin-agents", agents::AgentsPage::sample(lang).render().unwrap()),
        ("admin-agent-new", agents::AgentNewPage::sample(lang).render().unwrap()),
        ("admin-agent-edit", agent_edit::AgentEditPage::sample(lang).render().unwrap()),
        ("admin-agent", reports::AgentPage::sample(lang).render().unwrap()),
        ("admin-user", reports::UserPage::sample(lang).render().unwrap()),
        ("admin-audiences", audiences::AudiencesPage::sample(lang).render().unwrap()),
        ("admin-secret", agents::SecretPage::sample(lang).render().unwrap()),
        ("admin-providers", providers::ProvidersPage::sample(lang).render().unwrap()),
        ("admin-provider-new", providers::ProviderNewPage::sample(lang).render().unwrap()),
        ("admin-stops", stops::StopsPage::sample(lang).render().unwrap()),
        ("admin-users", lists::UsersPage::sample(lang).render().unwrap()),
        ("admin-interactions", lists::InteractionsPage::sample(lang).render().unwrap()),
        ("admin-events", lists::EventsPage::sample(lang).render().unwrap()),
        ("admin-trust", trust::TrustPage::sample(lang).render().unwrap()),
        ("admin-tokens", lists::TokensPage::sample(lang).render().unwrap()),
    ]
}

/// The start tags of a page, each as written between `<` and `>`.
fn start_tags(html: &str) -> Vec<&str> {
    html.split('<')
        .skip(1)
        .filter(|piece| piece.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map(|piece| piece.split('>').next().unwrap())
        .collect()
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    tag[start..].split('"').next()
}

#[test]
fn every_page_is_written_out_for_looking_at() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pages");
    fs::create_dir_all(&folder).unwrap();
    for name in assets::names() {
        fs::write(folder.join(&name), assets::find(&name).unwrap().1).unwrap();
    }
    for (lang, suffix) in [(Lang::En, "en"), (Lang::Zh, "zh")] {
        for (name, html) in pages(lang) {
            let version = assets::address("base.css").split_once('?').unwrap().1.to_owned();
            let local = html.replace("\"/assets/", "\"").replace(&format!("?{version}"), "");
            fs::write(folder.join(format!("{name}.{suffix}.html")), local).unwrap();
        }
    }
}

#[test]
fn tags_are_balanced_and_there_is_nothing_inline() {
    const VOID: [&str; 6] = ["meta", "link", "input", "br", "path", "rect"];
    for lang in [Lang::En, Lang::Zh] {
        for (name, html) in pages(lang) {
            assert!(html.starts_with("<!doctype html>"), "{name}");
            assert!(html.contains(&format!("<html lang=\"{}\">", lang.tag())), "{name}");
            let mut open = Vec::new();
            for piece in html.split('<').skip(2) {
                let tag = piece.split('>').next().unwrap();
                let word = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap();
                match tag.starts_with('/') {
                    true => assert_eq!(open.pop(), Some(word), "{name}: </{word}>"),
                    false if VOID.contains(&word) => {}
                    false => open.push(word),
                }
            }
            assert!(open.is_empty(), "{name}: {open:?}");
            for tag in start_tags(&html) {
                assert!(!tag.contains(" style="), "{name}: <{tag}>");
                assert!(!tag.contains(" on"), "{name}: <{tag}>");
                assert!(!tag.contains("javascript:"), "{name}: <{tag}>");
                assert!(
                    !tag.starts_with("style") && (!tag.starts_with("script") || tag.contains(" src=")),
                    "{name}"
                );
            }
        }
    }
}

/// A search changes nothing, and its address can be kept.
fn is_search(form: &str) -> bool {
    form.contains(" method=\"get\"") && form.contains(" role=\"search\"")
}

#[test]
fn every_form_is_a_post_with_a_token() {
    for (name, html) in pages(Lang::En) {
        for form in html.split("<form").skip(1) {
            let form = form.split("</form>").next().unwrap();
            if is_search(form) {
                assert!(form.contains(" action=\"/admin/agents\"") && !form.contains("csrf"), "{name}");
                continue;
            }
            assert!(form.contains("method=\"post\""), "{name}");
            assert!(
                form.contains("<input type=\"hidden\" name=\"csrf\" value=\"sample-token-for-"),
                "{name}"
            );
        }
    }
}

#[test]
fn every_field_has_a_label_and_ids_are_unique() {
    for (name, html) in pages(Lang::Zh) {
        let tags = start_tags(&html);
        let mut ids: Vec<&str> = tags.iter().filter_map(|tag| attribute(tag, "id")).collect();
        for tag in &tags {
            let is_field = ["input ", "select ", "textarea "].iter().any(|word| tag.starts_with(word));
            let in_label =
                ["hidden", "checkbox", "radio"].contains(&attribute(tag, "type").unwrap_or_default());
            if is_field && !in_label {
                let id = attribute(tag, "id").unwrap_or_else(|| panic!("{name}: <{tag}> has no id"));
                assert!(html.contains(&format!("<label for=\"{id}\"")), "{name}: {id} has no label");
            }
            for reference in ["aria-labelledby", "aria-describedby"] {
                if let Some(id) = attribute(tag, reference) {
                    assert!(ids.contains(&id), "{name}: nothing is called {id}");
                }
            }
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}: an id is there twice");
        assert_eq!(html.matches("<h1").count(), 1, "{name}");
    }
}

#[test]
fn every_text_that_a_page_asks_for_exists() {
    for lang in [Lang::En, Lang::Zh] {
        let sections: std::collections::BTreeSet<String> =
            texts::keys(lang).iter().map(|key| key.split('.').next().unwrap().to_owned()).collect();
        for (name, html) in pages(lang) {
            for word in html.split(|c: char| c.is_whitespace() || "<>\"".contains(c)) {
                let looks_like_a_key = word.split_once('.').is_some_and(|(section, rest)| {
                    sections.contains(section)
                        && !rest.is_empty()
                        && rest.chars().all(|c| c.is_ascii_lowercase() || "_.0123456789".contains(c))
                });
                assert!(!looks_like_a_key, "{name}: {word} is not a text");
            }
            assert!(!html.contains("{1}") && !html.contains("{2}"), "{name}: something was not filled in");
        }
    }
}

#[test]
fn the_templates_never_switch_escaping_off() {
    fn visit(folder: &Path, check: &dyn Fn(&Path, &str)) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => visit(&path, check),
                false if path.extension().is_some_and(|e| e == "html") => {
                    check(&path, &fs::read_to_string(&path).unwrap())
                }
                false => {}
            }
        }
    }
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("templates"), &|path, text| {
        assert!(!text.contains("|safe") && !text.contains("| safe") && !text.contains("escape"), "{path:?}");
    });
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}gpj.exe\u{0}";
    let mut consent = ConsentPage::sample(Lang::En);
    consent.agent.name = Shown::name(HOSTILE);
    consent.agent.purpose = Shown::sentence(HOSTILE);
    consent.agent.owner = Shown::name(HOSTILE);
    consent.agent.owner_is_you = false;
    consent.words = Some(Shown::sentence(HOSTILE));
    consent.task = Some(Shown::name(HOSTILE));
    consent.accounts[0].label = Shown::name(HOSTILE);
    consent.read[0].title = Shown::name(HOSTILE);
    consent.strong[0].description = Shown::sentence(HOSTILE);
    consent.limits.fixed = vec![HOSTILE.to_owned()];
    let mut picker = PickerPage::sample(Lang::En);
    picker.rows[0].label = Shown::name(HOSTILE);
    picker.rows[0].open = Some(HOSTILE.to_owned());
    picker.trail[1].label = Shown::name(HOSTILE);
    let mut home = HomePage::sample(Lang::Zh);
    home.name = Shown::name(HOSTILE);
    home.connections[0].account = Shown::name(HOSTILE);
    home.agents[0].name = Shown::name(HOSTILE);
    home.agents[0].events[0].reasons = vec![Shown::sentence(HOSTILE)];
    home.agents[0].events[0].call = Some(Shown::sentence(HOSTILE));
    let mut stops = stops::StopsPage::sample(Lang::En);
    stops.stops[0].reason = Shown::sentence(HOSTILE);
    stops.targets[0].targets[0].value = HOSTILE.to_owned();
    let mut local = LocalLoginPage::sample(Lang::En);
    local.email = Shown::name(HOSTILE);
    for html in
        [consent.render(), picker.render(), home.render(), stops.render(), local.render()].map(Result::unwrap)
    {
        assert!(!html.contains("<script>alert") && !html.contains("<img src=x"), "{html}");
        assert!(html.contains("&#60;script&#62;alert(1)"), "it is shown, escaped: {html}");
    }
    let html = consent_with_override();
    assert!(!html.contains('\u{202e}') && !html.contains('\0'));
}

fn consent_with_override() -> String {
    let mut consent = ConsentPage::sample(Lang::En);
    consent.agent.name = Shown::name("Invoice\u{202e}fdp.exe\u{0}");
    consent.render().unwrap()
}

#[test]
fn what_writes_sends_or_shares_starts_unticked_and_apart() {
    let html = ConsentPage::sample(Lang::En).render().unwrap();
    let (looks, strong) = html.split_once("class=\"group-strong\"").unwrap();
    let (strong, _) = strong.split_once("class=\"limits\"").unwrap();
    assert!(looks.contains("value=\"Mail.Read\" checked"));
    assert!(strong.contains("value=\"Mail.Send\">") && !strong.contains(" checked>"));
    for value in ["3600", "86400", "604800", "2592000", "7776000"] {
        assert!(html.contains(&format!("<option value=\"{value}\"")));
    }
    assert!(
        html.contains("name=\"decision\" value=\"agree\"")
            && html.contains("name=\"decision\" value=\"refuse\"")
    );
}

#[test]
fn the_wrong_person_learns_nothing() {
    let html = MessagePage::sample(Lang::En, Ending::WrongPerson).render().unwrap();
    let question = ConsentPage::sample(Lang::En);
    for hidden in [question.agent.name.as_str(), question.provider.as_str(), question.action.as_str()] {
        assert!(!html.contains(hidden), "{hidden}");
    }
}

#[test]
fn an_auditor_sees_no_button_that_changes_anything() {
    use valetkey::model::user::Role;
    let auditor = |page: &mut Page| page.user.as_mut().unwrap().role = Some(Role::Auditor);
    let mut agents = agents::AgentsPage::sample(Lang::En);
    auditor(&mut agents.page);
    let mut stops = stops::StopsPage::sample(Lang::En);
    auditor(&mut stops.page);
    let mut tokens = lists::TokensPage::sample(Lang::En);
    auditor(&mut tokens.page);
    let mut agent = reports::AgentPage::sample(Lang::En);
    auditor(&mut agent.page);
    let mut user = reports::UserPage::sample(Lang::En);
    auditor(&mut user.page);
    let mut audiences = audiences::AudiencesPage::sample(Lang::En);
    auditor(&mut audiences.page);
    let mut trust = trust::TrustPage::sample(Lang::En);
    auditor(&mut trust.page);
    let changing = [
        stops.render().unwrap(),
        tokens.render().unwrap(),
        audiences.render().unwrap(),
        trust.render().unwrap(),
    ];
    let reading = [agents.render().unwrap(), agent.render().unwrap(), user.render().unwrap()];
    for html in changing.iter().chain(&reading) {
        let forms: Vec<&str> = html.split("<form").skip(1).filter(|form| !is_search(form)).collect();
        assert_eq!(forms.len(), 1, "only signing out is left");
    }
}
