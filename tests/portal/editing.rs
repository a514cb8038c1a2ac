//! What the register holds of an agent, changed in the browser: what was typed is what is stored, and what the form
//! does not have stays.

use std::collections::BTreeSet;

use valetkey::agents::NewAgent;
use valetkey::kernel::ids::AgentId;
use valetkey::kernel::scope::ScopeSet;
use valetkey::model::agent::{Agent, AgentKind, Circle, Entry};
use valetkey::model::limit::{Bound, Limit};
use valetkey::model::user::Role;

use crate::world::{Browser, Seen, World};

/// The form as it was opened, with its fields.
struct Form {
    fields: Vec<(&'static str, String)>,
}

struct Desk {
    world: World,
    admin: Browser,
    agent: AgentId,
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Desk {
    /// An assistant that has everything, also what a comma or a bracket could break.
    async fn open() -> Self {
        let world = World::new();
        world.admin("admin@example.com", Role::Admin).await;
        let alice = world.user("alice@example.com").await;
        world.provider().await;
        let new = NewAgent {
            kind: AgentKind::Assistant,
            name: "Contract <reader>".to_owned(),
            purpose: "Reads \"contracts\" & answers".to_owned(),
            owner: alice.clone().into(),
            ceiling: [(crate::world::slug("okta"), crate::world::all_scopes())].into(),
            default_scopes: [].into(),
            subject_audiences: vec!["https://one.example.com".to_owned(), "two words".to_owned()],
            sign_in: None,
            entry: Entry {
                platform: Some("Dify".to_owned()),
                environment: Some("production".to_owned()),
                labels: set(&["legal, EMEA", "</textarea>"]),
                data_classes: set(&["directory", "payroll"]),
                audiences: Some([].into()),
                people: Some(Circle { users: [alice].into(), groups: set(&["Sales, EMEA"]) }),
                expires_at: valetkey::kernel::clock::Timestamp::parse("2200-01-01T10:20:30.456Z"),
                review_at: valetkey::kernel::clock::Timestamp::parse("2190-01-01"),
                sender_constrained: true,
                ..Entry::default()
            },
        };
        let agent = world.state.agents.register(new, "test").await.unwrap().0.id;
        let admin = world.browser_of_admin("admin@example.com", Role::Admin).await;
        Self { world, admin, agent }
    }

    fn address(&self) -> String {
        format!("/admin/agents/{}/edit", self.agent)
    }

    async fn agent(&self) -> Agent {
        let id = self.agent.as_str();
        self.world.state.store.get::<Agent>(id).await.unwrap().unwrap().record().clone()
    }

    async fn form(&mut self) -> Form {
        let address = self.address();
        let seen = self.admin.get(&self.world, &address).await;
        assert_eq!(seen.status, 200, "{}", seen.html);
        Form::read(&seen, &address)
    }

    async fn sends(&mut self, form: &Form) -> Seen {
        let fields: Vec<(&str, &str)> =
            form.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.admin.post(&self.world, &self.address(), &fields).await
    }
}

impl Form {
    /// As a browser reads it: attributes unescaped, a textarea without its first line break, lines ended as forms
    /// end them.
    fn read(seen: &Seen, address: &str) -> Self {
        let plain = |text: &str| {
            let named = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
            named.iter().fold(text.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
        };
        let after = |start: &str, end: &str| {
            let rest = seen.html.split_once(start).unwrap_or_else(|| panic!("no {start}: {}", seen.html)).1;
            plain(rest.split(end).next().unwrap())
        };
        let mut fields = vec![("csrf", seen.token(address))];
        fields.push(("version", after("name=\"version\" value=\"", "\"")));
        for name in ["name", "purpose", "platform", "environment", "expires_at", "review_at"] {
            let rest = seen.html.split_once(&format!("name=\"{name}\" ")).unwrap().1;
            fields.push((name, plain(rest.split_once("value=\"").unwrap().1.split('"').next().unwrap())));
        }
        let is_assistants = seen.html.contains("name=\"serves\"");
        let circle: &[&'static str] = if is_assistants { &["groups", "users"] } else { &[] };
        for name in ["labels", "data_classes", "audiences"].iter().chain(circle) {
            let text = after(&format!("<textarea id=\"{name}\""), "</textarea>");
            let text = text.split_once('>').unwrap().1.trim_start_matches('\n').replace('\n', "\r\n");
            fields.push((name, text));
        }
        if is_assistants {
            let some = seen.html.contains("value=\"some\" checked");
            fields.push(("serves", if some { "some" } else { "everyone" }.to_owned()));
        }
        Self { fields }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        value.clone_into(&mut self.fields.iter_mut().find(|(known, _)| *known == name).unwrap().1);
        self
    }
}

#[actix_web::test]
async fn saving_what_stands_there_changes_nothing_and_leaves_no_trace() {
    let mut desk = Desk::open().await;
    let before = desk.agent().await;
    let form = desk.form().await;
    let saved = desk.sends(&form).await;
    let page = format!("/admin/agents/{}?done=edited", desk.agent);
    assert_eq!((saved.status, saved.location.as_deref()), (303, Some(page.as_str())), "{}", saved.html);
    let after = desk.agent().await;
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    assert!(desk.world.state.agents.history(&desk.agent).await.unwrap().len() <= 1, "only its registration");
}

#[actix_web::test]
async fn what_is_typed_is_stored_and_what_the_form_does_not_have_stays() {
    let mut desk = Desk::open().await;
    let before = desk.agent().await;
    let bob = desk.world.user("bob@example.com").await;
    let form = desk.form().await;
    let form = form
        .with("purpose", "Reads all of them")
        .with("labels", "legal\r\n\r\n  internal ")
        .with("data_classes", "files")
        .with("expires_at", "")
        .with("review_at", "2191-02-03")
        .with("groups", "")
        .with("users", "bob@example.com\r\n");
    let saved = desk.sends(&form).await;
    assert_eq!(saved.status, 303, "{}", saved.html);
    let after = desk.agent().await;
    assert_eq!((after.purpose.as_str(), &after.name), ("Reads all of them", &before.name));
    assert_eq!(after.entry.labels, set(&["legal", "internal"]));
    assert_eq!(after.entry.data_classes, set(&["files"]));
    assert_eq!(after.entry.people, Some(Circle { users: [bob].into(), groups: set(&[]) }));
    assert_eq!(after.entry.expires_at, None);
    assert_eq!(after.entry.review_at.unwrap().rfc3339(), "2191-02-03T00:00:00.000Z");
    assert!(after.entry.sender_constrained && after.entry.audiences == Some([].into()));
    assert_eq!((after.ceiling, after.owner), (before.ceiling, before.owner));
    let told = desk.admin.get(&desk.world, &format!("/admin/agents/{}", desk.agent)).await.html;
    assert!(told.contains("Reads all of them") && told.contains(&desk.address()));

    // Nobody, and everybody, are two different things.
    let form = desk.form().await.with("users", "");
    assert_eq!(desk.sends(&form).await.status, 303);
    assert_eq!(desk.agent().await.entry.people, Some(Circle::default()));
    let form = desk.form().await.with("serves", "everyone");
    assert_eq!(desk.sends(&form).await.status, 303);
    assert_eq!(desk.agent().await.entry.people, None);
}

#[actix_web::test]
async fn what_cannot_be_taken_is_named_and_what_was_typed_stands_there_again() {
    let mut desk = Desk::open().await;
    let before = format!("{:?}", desk.agent().await);
    for (field, bad, told) in [
        ("name", " ", "name"),
        ("purpose", "", "purpose"),
        ("expires_at", "soon", "2030-01-31"),
        ("data_classes", "Mail", "`mail`"),
        ("users", "nobody@example.com", "nobody@example.com"),
        ("labels", &"x".repeat(101), "labels"),
    ] {
        let form = desk.form().await.with("platform", "Typed & kept").with(field, bad);
        let seen = desk.sends(&form).await;
        assert_eq!(seen.status, 400, "{field}");
        assert!(seen.html.contains("role=\"alert\"") && seen.html.contains(told), "{field}: {}", seen.html);
        assert!(seen.html.contains("Typed &#38; kept"), "{field}");
        assert_eq!(format!("{:?}", desk.agent().await), before, "{field}");
    }
    let form = desk.form().await.with("serves", "whoever");
    assert_eq!(desk.sends(&form).await.status, 400);
}

#[actix_web::test]
async fn nobody_overwrites_what_somebody_else_has_saved_meanwhile() {
    let mut desk = Desk::open().await;
    let (first, second) = (desk.form().await, desk.form().await);
    assert_eq!(desk.sends(&first.with("data_classes", "mail")).await.status, 303);
    // Also not by way of a mistake that had to be corrected.
    let wrong = desk.sends(&second.with("review_at", "soon").with("platform", "PAI")).await;
    assert_eq!(wrong.status, 400);
    let corrected = Form::read(&wrong, &desk.address()).with("review_at", "");
    let late = desk.sends(&corrected).await;
    assert_eq!(late.status, 409, "{}", late.html);
    assert!(late.html.contains("role=\"alert\""));
    let agent = desk.agent().await;
    assert_eq!(agent.entry.data_classes, set(&["mail"]));
    assert_eq!(agent.entry.platform.as_deref(), Some("Dify"));
    // It shows how it is now, and can be saved from there.
    let now = Form::read(&late, &desk.address());
    assert_eq!(desk.sends(&now.with("platform", "PAI")).await.status, 303);
    assert_eq!(desk.agent().await.entry.platform.as_deref(), Some("PAI"));
}

#[actix_web::test]
async fn auditors_strangers_and_retired_agents_have_no_form() {
    let mut desk = Desk::open().await;
    let form = desk.form().await;
    let address = desk.address();
    desk.world.admin("auditor@example.com", Role::Auditor).await;
    let mut auditor = desk.world.browser_of_admin("auditor@example.com", Role::Auditor).await;
    assert_eq!(auditor.get(&desk.world, &address).await.status, 403);
    let fields: Vec<(&str, &str)> = form.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(auditor.post(&desk.world, &address, &fields).await.status, 403);
    let page = auditor.get(&desk.world, &format!("/admin/agents/{}", desk.agent)).await;
    assert!(!page.html.contains(&address));
    // Another purpose's token, or none.
    for csrf in ["", "1.2"] {
        let bent: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, if *name == "csrf" { csrf } else { value })).collect();
        assert_eq!(desk.admin.post(&desk.world, &address, &bent).await.status, 403);
    }
    assert_eq!(desk.agent().await.entry.platform.as_deref(), Some("Dify"));

    // A personal agent acts for its owner: its form does not ask for whom.
    let alice = desk.world.user("carol@example.com").await;
    desk.agent = desk.world.agent(&alice).await;
    let form = desk.form().await;
    assert!(form.fields.iter().all(|(name, _)| !["serves", "groups", "users"].contains(name)));
    assert_eq!(desk.sends(&form.with("purpose", "Tidies")).await.status, 303);
    assert_eq!(desk.agent().await.purpose, "Tidies");
    let retired = valetkey::agents::AgentChange::Retire;
    desk.world.state.agents.set_state(&desk.agent, retired, "test").await.unwrap();
    let address = desk.address();
    assert_eq!(desk.admin.get(&desk.world, &address).await.status, 409);
}

#[actix_web::test]
async fn what_bounds_an_agent_stands_on_its_page_and_finds_it() {
    let mut desk = Desk::open().await;
    let (read_only, people) = (Limit { api: None, bound: Bound::ReadOnly {} }, "https://people.example.com");
    let scopes = |text: &str| ScopeSet::parse(text).unwrap();
    let id = desk.agent.clone();
    let bounded = |stated: NewAgent| NewAgent {
        ceiling: [(crate::world::slug("okta"), scopes("okta.users.read.self okta.apps.read"))].into(),
        default_scopes: [(crate::world::slug("okta"), scopes("okta.apps.read"))].into(),
        entry: Entry {
            audiences: Some([(people.to_owned(), scopes("leave.read"))].into()),
            limits: [(crate::world::slug("okta"), vec![read_only.clone()])].into(),
            ..stated.entry
        },
        ..stated
    };
    let page = format!("/admin/agents/{id}");
    let none = desk.admin.get(&desk.world, &page).await.html;
    assert!(none.contains("Ceiling at internal services: <bdi>none is open to it"), "{none}");
    desk.world.state.agents.restate(&id, "test", None, bounded).await.unwrap();
    let told = desk.admin.get(&desk.world, &page).await.html;
    for fact in [
        "Ceiling: <bdi>okta: okta.apps.read okta.users.read.self</bdi>",
        "Asks for, when it names no scopes: <bdi>okta: okta.apps.read</bdi>",
        "Ceiling at internal services: <bdi>https://people.example.com: leave.read</bdi>",
        "Limit of all its grants: <bdi>okta: ",
    ] {
        assert!(told.contains(fact), "{fact}: {told}");
    }

    desk.world.user("bob@example.com").await;
    for (query, is_found) in [
        ("owner=alice@example.com", true),
        ("owner=bob@example.com", false),
        ("owner=nobody@example.com", false),
        ("owner=team:Sales", false),
        ("data_class=directory", true),
        ("data_class=mail", false),
        ("owner=alice@example.com&data_class=payroll&kind=assistant", true),
    ] {
        let found = desk.admin.get(&desk.world, &format!("/admin/agents?{query}")).await.html;
        assert_eq!(found.contains(&format!("href=\"{page}\"")), is_found, "{query}");
    }
}
