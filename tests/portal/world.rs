//! A deployment in memory, and browsers that visit it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};

use valetkey::agents::NewAgent;
use valetkey::app::services::{Foundation, Services};
use valetkey::audit::AuditLog;
use valetkey::connections::NewProvider;
use valetkey::connections::Spool;
use valetkey::interactions::Wording;
use valetkey::kernel::bearer::{self, BearerKind};
use valetkey::kernel::clock::{Clock, ManualClock, Timestamp};
use valetkey::kernel::entropy::{Entropy, SeededEntropy};
use valetkey::kernel::ids::{AdminTokenId, AgentId, ConnectionId, InteractionId, ProviderSlug, UserId};
use valetkey::kernel::scope::ScopeSet;
use valetkey::kernel::secret::SecretString;
use valetkey::model::agent::AgentKind;
use valetkey::model::agent::Entry;
use valetkey::model::connection::{Account, Backoff, Connection, ConnectionState};
use valetkey::model::interaction::{Interaction, Question, RequestedToken};
use valetkey::model::record::Record;
use valetkey::model::session::{Principal, Session};
use valetkey::model::user::{AdminToken, Lifecycle, LocalAdmin, Role, SetupLink, User, UserState};
use valetkey::net::{HttpClient, NetSettings};
use valetkey::providers::Templates;
use valetkey::server::{Inbound, middleware};
use valetkey::store::measured::Measured;
use valetkey::store::{Committed, MemoryBackend, Store, Tx};
use valetkey::vault::Vault;
use valetkey::web::password;
use valetkey::web::state::WebState;

pub const ISSUER: &str = "https://valetkey.example.com";
pub const PASSWORD: &str = "correct horse battery staple";

/// A deployment.
pub struct World {
    pub state: WebState,
    pub clock: Arc<ManualClock>,
    pub inbound: Inbound,
    _folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_795_310_000)));
        let time: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(11));
        let vault = Arc::new(Vault::ephemeral(Arc::clone(&entropy)));
        let store = Store::new(Arc::new(MemoryBackend::default()), Arc::clone(&vault) as _);
        let (signer, deployment) = (vault.audit_signer(), vault.deployment().clone());
        let audit =
            AuditLog::open(folder.path(), signer, deployment, Arc::clone(&time), Arc::clone(&entropy), 0)
                .unwrap();
        let spool = Spool::open(folder.path(), Arc::clone(&vault) as _).unwrap();
        let net = HttpClient::new(NetSettings::default()).unwrap();
        let templates = Arc::new(Templates::embedded().unwrap());
        let inbound = Inbound::direct(ISSUER.parse().unwrap());
        let state = Services::assemble(Foundation {
            clock: time,
            entropy,
            vault,
            store,
            node: None,
            keys: None,
            measured: Measured::default(),
            spool,
            data_dir: folder.path().to_owned(),
            audit,
            net,
            templates,
            inbound: inbound.clone(),
            sign_in: Some(slug("okta")),
            utc_offset: "+08:00".parse().unwrap(),
            suspend_without_owner: false,
            sandbox_banner: false,
            form_targets: Vec::new(),
        })
        .pages;
        Self { state, clock, inbound, _folder: folder }
    }

    pub async fn insert<R: Record>(&self, record: &R) {
        let mut tx = Tx::new();
        tx.insert(record);
        assert_eq!(self.state.store.commit(tx).await.unwrap(), Committed::Done);
    }

    pub async fn user(&self, email: &str) -> UserId {
        let id = UserId::generate(&*self.state.entropy);
        let user = User {
            id: id.clone(),
            issuer: "https://example.okta.com".to_owned(),
            subject: email.to_owned(),
            email: Some(email.to_owned()),
            name: email.split('@').next().unwrap().to_owned(),
            department: None,
            groups: Vec::new(),
            state: UserState::Active,
            created_at: self.clock.now(),
            last_sign_in: None,
            lifecycle: Lifecycle::default(),
        };
        self.insert(&user).await;
        id
    }

    pub async fn admin(&self, email: &str, role: Role) {
        let hash = password::hash(&SecretString::new(PASSWORD.to_owned()), &*self.state.entropy).unwrap();
        let created_at = self.clock.now();
        self.insert(&LocalAdmin { email: email.to_owned(), password_hash: hash, role, created_at }).await;
    }

    /// A browser in which that employee has signed in.
    pub async fn browser_of(&self, user: &UserId) -> Browser {
        self.browser_with(Principal::User { user: user.clone() }).await
    }

    pub async fn browser_of_admin(&self, email: &str, role: Role) -> Browser {
        self.browser_with(Principal::Admin { email: email.to_owned(), role }).await
    }

    async fn browser_with(&self, principal: Principal) -> Browser {
        let secret = bearer::generate(BearerKind::Session, &*self.state.entropy);
        let digest = self.state.vault.digest(BearerKind::Session, secret.expose());
        let now = self.clock.now();
        self.insert(&Session { digest, principal, created_at: now, seen_at: now }).await;
        let mut browser = Browser::default();
        browser.cookies.insert("__Host-sid".to_owned(), secret.expose().clone());
        browser
    }

    pub async fn admin_token(&self) {
        let secret = bearer::generate(BearerKind::AdminToken, &*self.state.entropy);
        self.insert(&AdminToken {
            id: AdminTokenId::generate(&*self.state.entropy),
            digest: self.state.vault.digest(BearerKind::AdminToken, secret.expose()),
            name: "Some script".to_owned(),
            role: Role::Auditor,
            created_at: self.clock.now(),
            expires_at: None,
        })
        .await;
    }

    pub async fn setup_link(&self) -> String {
        let secret = bearer::generate(BearerKind::SetupLink, &*self.state.entropy);
        let digest = self.state.vault.digest(BearerKind::SetupLink, secret.expose());
        let expires_at = self.clock.now().plus(Duration::from_secs(900));
        self.insert(&SetupLink { digest, expires_at, another: false }).await;
        secret.expose().clone()
    }

    pub async fn provider(&self) {
        let new = NewProvider {
            slug: slug("okta"),
            template: "okta".to_owned(),
            client_id: "client".to_owned(),
            client_secret: SecretString::new("secret".to_owned()),
            company: BTreeMap::from([("issuer".to_owned(), "https://example.okta.com".to_owned())]),
        };
        self.state.connections.add_provider(new, "test").await.unwrap();
    }

    pub async fn agent(&self, owner: &UserId) -> AgentId {
        let ceiling = BTreeMap::from([(slug("okta"), all_scopes())]);
        let new = NewAgent {
            kind: AgentKind::Personal,
            name: "Group Keeper".to_owned(),
            purpose: "Keeps the groups tidy.".to_owned(),
            owner: owner.clone().into(),
            ceiling: ceiling.clone(),
            default_scopes: ceiling,
            subject_audiences: Vec::new(),
            sign_in: None,
            entry: Entry::default(),
        };
        self.state.agents.register(new, "test").await.unwrap().0.id
    }

    pub async fn connection(&self, user: &UserId, scopes: ScopeSet) -> ConnectionId {
        let now = self.clock.now();
        let id = ConnectionId::generate(&*self.state.entropy);
        let account = Account {
            company: "https://example.okta.com".to_owned(),
            subject: user.to_string(),
            label: "alice@okta.example".to_owned(),
            pins: BTreeMap::new(),
        };
        let connection = Connection {
            id: id.clone(),
            user: user.clone(),
            provider: slug("okta"),
            account,
            state: ConnectionState::Active,
            is_default: true,
            scopes,
            generation: 1,
            refresh_token: None,
            access: None,
            refresh_expires_at: None,
            consented_at: None,
            consent_expires_at: None,
            intent: None,
            lease: None,
            backoff: Backoff::default(),
            created_at: now,
            refreshed_at: now,
        };
        self.insert(&connection).await;
        id
    }

    pub async fn question(&self, agent: &AgentId, user: &UserId) -> InteractionId {
        let question = Question {
            agent: agent.clone(),
            user: user.clone(),
            provider: slug("okta"),
            connection: None,
            scopes: all_scopes(),
            limits: Vec::new(),
            token: RequestedToken::Gateway,
            widens: None,
        };
        let words = Some("Let me <b>tidy</b> up".to_owned());
        let wording = Wording { binding_message: words, task: Some("tidy-7".to_owned()) };
        let missing = question.scopes.clone();
        self.state.interactions.open(question, &missing, wording).await.unwrap().interaction.id
    }

    pub async fn interaction(&self, id: &InteractionId) -> Interaction {
        self.state.store.get::<Interaction>(id.as_str()).await.unwrap().unwrap().record().clone()
    }
}

pub fn slug(text: &str) -> ProviderSlug {
    text.parse().unwrap()
}

pub fn all_scopes() -> ScopeSet {
    ScopeSet::parse("okta.users.read okta.groups.read okta.groups.manage").unwrap()
}

/// An answer, read.
pub struct Seen {
    pub status: u16,
    pub location: Option<String>,
    pub set_cookies: Vec<String>,
    pub policy: String,
    pub html: String,
}

impl Seen {
    /// The token of the form that posts to that address.
    pub fn token(&self, action: &str) -> String {
        let (exact, with_query) = (format!("action=\"{action}\""), format!("action=\"{action}?"));
        let start = self
            .html
            .find(&exact)
            .or_else(|| self.html.find(&with_query))
            .unwrap_or_else(|| panic!("no form {action}: {}", self.html));
        let rest = &self.html[start..];
        let rest = &rest[rest.find("name=\"csrf\" value=\"").unwrap() + 19..];
        rest.split('"').next().unwrap().to_owned()
    }
}

/// A browser with its cookies.
#[derive(Clone, Default)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
    pub language: Option<&'static str>,
}

impl Browser {
    pub async fn get(&mut self, world: &World, path: &str) -> Seen {
        self.send(world, TestRequest::get().uri(path)).await
    }

    pub async fn post(&mut self, world: &World, path: &str, fields: &[(&str, &str)]) -> Seen {
        let ours = ("sec-fetch-site", "same-origin");
        self.send(world, form(path, fields).insert_header(ours)).await
    }

    pub async fn send(&mut self, world: &World, request: TestRequest) -> Seen {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = request;
        if !cookies.is_empty() {
            request = request.insert_header(("cookie", cookies.join("; ")));
        }
        request = request.insert_header(("accept-language", self.language.unwrap_or("en")));
        let seen = visit(world, request).await;
        for cookie in &seen.set_cookies {
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            match value {
                "" => drop(self.cookies.remove(name)),
                _ => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        seen
    }
}

pub fn form(path: &str, fields: &[(&str, &str)]) -> TestRequest {
    TestRequest::post()
        .uri(path)
        .insert_header(("content-type", "application/x-www-form-urlencoded"))
        .set_payload(serde_urlencoded::to_string(fields).unwrap())
}

async fn visit(world: &World, request: TestRequest) -> Seen {
    let entropy: web::Data<dyn Entropy> = web::Data::from(Arc::clone(&world.state.entropy));
    let app = init_service(
        App::new()
            .app_data(entropy)
            .app_data(web::Data::new(world.inbound.clone()))
            .app_data(web::Data::new(world.state.clone()))
            .wrap(from_fn(middleware::wrap))
            .configure(valetkey::web::routes),
    )
    .await;
    let response = app.call(request.peer_addr("192.0.2.7:5000".parse().unwrap()).to_request()).await.unwrap();
    read(response.map_into_boxed_body()).await
}

async fn read(response: ServiceResponse<BoxBody>) -> Seen {
    let header = |name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let location = Some(header("location")).filter(|text| !text.is_empty());
    let set_cookies =
        response.headers().get_all("set-cookie").map(|c| c.to_str().unwrap().to_owned()).collect();
    let (status, policy) = (response.status().as_u16(), header("content-security-policy"));
    let body = to_bytes(response.into_body().boxed()).await.unwrap();
    Seen { status, location, set_cookies, policy, html: String::from_utf8(body.to_vec()).unwrap() }
}
