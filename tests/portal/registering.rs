//! How agents sign in, and whom we believe, changed on the administration's pages.

use serde_json::json;
use valetkey::model::agent::Agent;
use valetkey::model::user::Role;

use crate::world::{Browser, Seen, World};

const JWK: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"mail-1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const OTHER: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"mail-2","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

struct Office {
    world: World,
    admin: Browser,
    agent: String,
}

impl Office {
    async fn open() -> Self {
        let world = World::new();
        world.admin("admin@example.com", Role::Admin).await;
        let alice = world.user("alice@example.com").await;
        world.provider().await;
        let agent = world.agent(&alice).await.to_string();
        let admin = world.browser_of_admin("admin@example.com", Role::Admin).await;
        Self { world, admin, agent }
    }

    fn page(&self) -> String {
        format!("/admin/agents/{}", self.agent)
    }

    async fn agent(&self) -> Agent {
        self.world.state.store.get::<Agent>(&self.agent).await.unwrap().unwrap().record().clone()
    }

    /// Sends the form of a page.
    async fn sends(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Seen {
        let csrf = self.admin.get(&self.world, page).await.token(action);
        let fields = [&[("csrf", csrf.as_str())], fields].concat();
        self.admin.post(&self.world, action, &fields).await
    }

    async fn changes(&mut self, way: &str, fields: &[(&str, &str)]) -> Seen {
        let page = self.page();
        self.sends(&page, &format!("{page}/{way}"), fields).await
    }

    /// Takes away what the page lists under that title.
    async fn removes(&mut self, title: &str) -> Seen {
        let html = self.admin.get(&self.world, &self.page()).await.html;
        let row = html.split("<li").find(|row| row.contains(title)).unwrap();
        let value = row.split("name=\"way\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let value = value.replace("&#34;", "\"");
        self.changes("sign-in/remove", &[("way", &value)]).await
    }
}

#[actix_web::test]
async fn keys_workloads_and_certificates_come_and_go_one_by_one() {
    let mut office = Office::open().await;
    let page = office.page();
    let spire = [
        ("name", "SPIRE"),
        ("preset", "spiffe"),
        ("issuer", ""),
        ("audience", ""),
        ("pins", "trust_domain=example.org\r\n"),
        ("jwks_uri", ""),
        ("jwks", OTHER),
    ];
    let added = office.sends("/admin/trust", "/admin/trust/platform", &spire).await;
    assert_eq!(added.location.as_deref(), Some("/admin/trust?done=trust_added"), "{}", added.html);
    let source =
        office.world.state.store.page::<valetkey::model::credential::TrustSource>(None, 9).await.unwrap();
    let source = source[0].id.to_string();

    assert_eq!(office.changes("sign-in/key", &[("jwk", JWK), ("jwks_uri", "")]).await.status, 303);
    assert_eq!(office.changes("sign-in/key", &[("jwk", OTHER), ("jwks_uri", "")]).await.status, 303);
    let pins = [("source", source.as_str()), ("pins", "spiffe_id = spiffe://example.org/agents/mail")];
    assert_eq!(office.changes("sign-in/workload", &pins).await.status, 303);
    let (first, second) = (["9D"; 32].join(":"), ["1C"; 32].join(":"));
    for thumbprint in [&first, &second] {
        assert_eq!(office.changes("sign-in/certificate", &[("thumbprint", thumbprint)]).await.status, 303);
    }
    let seen = office.admin.get(&office.world, &page).await;
    for words in ["mail-1", "mail-2", "SPIRE", "spiffe://example.org/agents/mail", "nZ2dnZ2d", "Never used"] {
        assert!(seen.html.contains(words), "{words}: {}", seen.html);
    }

    for (title, left) in [("mail-1", 4), ("SPIRE", 3), ("nZ2dnZ2d", 2), ("mail-2", 1)] {
        assert_eq!(office.removes(title).await.status, 303, "{title}");
        let ways = serde_json::to_value(&office.agent().await.sign_in).unwrap();
        let keys = ways["keys"]["jwks"]["keys"].as_array().map_or(0, Vec::len);
        let prints = ways["certificates"]["self_signed"]["thumbprints"].as_array().map_or(0, Vec::len);
        let workloads = ways["workloads"].as_array().map_or(0, Vec::len);
        assert_eq!(keys + prints + workloads, left, "{title}: {ways}");
    }
    let history = office.admin.get(&office.world, &page).await.html;
    assert!(history.contains("How an agent signs in changed") && history.contains("admin@example.com"));

    for (way, fields, words) in [
        ("sign-in/key", vec![("jwk", "{}"), ("jwks_uri", "")], "keys.jwks"),
        ("sign-in/key", vec![("jwk", "not JSON"), ("jwks_uri", "")], "as JSON"),
        ("sign-in/key", vec![("jwk", ""), ("jwks_uri", "")], "paste a public key"),
        ("sign-in/key", vec![("jwk", ""), ("jwks_uri", "http://agents.example.com/k")], "keys.jwks_uri"),
        ("sign-in/workload", vec![("source", source.as_str()), ("pins", "")], "workloads.pins"),
        ("sign-in/workload", vec![("source", "tru_1"), ("pins", "a=b")], "pick one of the list"),
        ("sign-in/certificate", vec![("thumbprint", "AA")], "certificates"),
    ] {
        let refused = office.changes(way, &fields).await;
        assert_eq!(refused.status, 400, "{way} {fields:?}");
        assert!(refused.html.contains(words), "{words}: {}", refused.html);
    }
}

#[actix_web::test]
async fn secrets_are_listed_by_name_and_end_and_the_switch_is_on_the_page() {
    let mut office = Office::open().await;
    let page = office.page();
    let name = |agent: &Agent| valetkey::agents::secret_name(&agent.secrets[0]);
    let first = name(&office.agent().await);
    let seen = office.sends(&page, &format!("{page}/rotate"), &[]).await;
    assert!(seen.html.contains("vks_"), "{}", seen.html);
    let listed = office.admin.get(&office.world, &page).await.html;
    assert!(listed.contains(&first) && !listed.contains("vks_") && listed.contains("Agent secret rotated"));
    assert_eq!(office.changes("end-secret", &[("name", &first)]).await.status, 303);
    let agent = office.agent().await;
    assert!(agent.secrets.len() == 1 && name(&agent) != first);
    assert_eq!(office.changes("end-secret", &[("name", "nobody")]).await.status, 400);

    for (demand, is_bound, words) in
        [("yes", true, "Allow unbound tokens"), ("no", false, "Demand bound tokens")]
    {
        assert_eq!(office.changes("binding", &[("demand", demand)]).await.status, 303);
        assert_eq!(office.agent().await.entry.sender_constrained, is_bound);
        assert!(office.admin.get(&office.world, &page).await.html.contains(words));
    }
    let new = [
        ("name", "Bound"),
        ("purpose", "Reads."),
        ("kind", "personal"),
        ("owner", "alice@example.com"),
        ("sender_constrained", "yes"),
    ];
    assert_eq!(office.sends("/admin/agents/new", "/admin/agents", &new).await.status, 200);
    let agents = office.world.state.agents.list(None, 10).await.unwrap();
    assert!(agents.iter().any(|agent| agent.name == "Bound" && agent.entry.sender_constrained));
}

#[actix_web::test]
async fn whom_we_believe_is_listed_added_and_removed() {
    let mut office = Office::open().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let authority = [("name", "Agents CA"), ("ca_pem", pem.as_str())];
    let trust = "/admin/trust";
    assert_eq!(office.sends(trust, "/admin/trust/authority", &authority).await.status, 303);
    let listed = office.admin.get(&office.world, trust).await.html;
    let id = listed.split("/admin/trust/sources/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let source = format!("/admin/trust/sources/{id}");

    let name = [
        ("authority", id.as_str()),
        ("name_kind", "san_uri"),
        ("certificate_name", "spiffe://example.org/agents/mail"),
    ];
    assert_eq!(office.changes("sign-in/issued", &name).await.status, 303);
    // Nobody forgets a source that an agent stands on.
    let refused = office.sends(trust, &format!("{source}/remove"), &[]).await;
    assert!(refused.status == 400 && refused.html.contains("relies on it"), "{}", refused.html);
    assert_eq!(office.sends(trust, &format!("{source}/disable"), &[]).await.status, 303);
    assert!(office.admin.get(&office.world, trust).await.html.contains(&format!("{source}/enable")));
    assert_eq!(office.sends(trust, &format!("{source}/enable"), &[]).await.status, 303);
    assert_eq!(office.removes("Agents CA").await.status, 303);
    assert_eq!(office.sends(trust, &format!("{source}/remove"), &[]).await.status, 303);

    // What cannot be taken comes back in its form, with what was typed.
    let wrong = [("name", "Broken CA"), ("ca_pem", "no certificate")];
    let refused = office.sends(trust, "/admin/trust/authority", &wrong).await;
    assert!(refused.status == 400 && refused.html.contains("value=\"Broken CA\""), "{}", refused.html);

    let keys = json!({"keys": [serde_json::from_str::<serde_json::Value>(JWK).unwrap()]}).to_string();
    let transmitter = |keys: &'static str, set: String| {
        vec![
            ("name", "Company sign-in".to_owned()),
            ("issuer", "https://idp.example.com".to_owned()),
            ("audience", String::new()),
            ("subject_issuer", String::new()),
            ("jwks_uri", keys.to_owned()),
            ("jwks", set),
        ]
    };
    for (what, stated, status) in [
        ("both", transmitter("https://idp.example.com/keys", keys.clone()), 400),
        ("neither", transmitter("", String::new()), 400),
        ("plain http", transmitter("http://idp.example.com/keys", String::new()), 400),
        ("a URL", transmitter("https://idp.example.com/keys", String::new()), 303),
        ("the same issuer again", transmitter("", keys), 400),
    ] {
        let fields: Vec<(&str, &str)> = stated.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let seen = office.sends(trust, "/admin/trust/transmitter", &fields).await;
        assert_eq!(seen.status, status, "{what}: {}", seen.html);
    }
    let listed = office.admin.get(&office.world, trust).await.html;
    assert!(listed.contains("https://idp.example.com/keys") && listed.contains("/security-events"));
    let id = listed.split("/admin/trust/transmitters/").nth(1).unwrap().split('/').next().unwrap();
    let remove = format!("/admin/trust/transmitters/{id}/remove");
    assert_eq!(office.sends(trust, &remove, &[]).await.status, 303);
    assert!(
        office.admin.get(&office.world, trust).await.html.contains("Nobody may push security events yet")
    );
}
