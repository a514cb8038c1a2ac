//! Who takes part in the demo: providers, users, an admin, and one agent of each kind.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::{Value, json};

use crate::agents::NewAgent;
use crate::app::demo::backend;
use crate::app::demo::people::{ADMIN, ALICE, BOB, Passwords};
use crate::app::services::Services;
use crate::audiences::{AudienceTerms, USUAL_TOKEN_S};
use crate::connections::NewProvider;
use crate::kernel::bearer::{self, BearerKind};
use crate::kernel::encode;
use crate::kernel::ids::{AdminTokenId, AgentId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::agent::{AgentKind, Entry};
use crate::model::audience::{Admission, Algorithm, People, UserClaim};
use crate::model::user::{AdminToken, Lifecycle, LocalAdmin, Role, User, UserState};
use crate::sandbox::{ASSISTANT_CLIENT, Running};
use crate::store::{Committed, Tx};
use crate::web::password;

/// The providers, in the order of the demo.
pub const PROVIDERS: [&str; 5] = ["dingtalk", "lark", "wecom", "entra", "okta"];
/// The one that employees sign in with.
pub const SIGN_IN: &str = "okta";

/// The group of all employees.
const STAFF: &str = "staff";

/// What the sample back end holds, in the company's own words.
const PAYROLL: &str = "payroll";

/// An agent and its secret.
pub struct CastAgent {
    /// Its id.
    pub id: AgentId,
    /// Its secret.
    pub secret: SecretString,
    /// Its owner's e-mail.
    pub owner: &'static str,
}

/// Who takes part.
pub struct Cast {
    /// Alice's own assistant.
    pub personal: CastAgent,
    /// An assistant that serves everybody.
    pub assistant: CastAgent,
    /// An agent that acts as itself.
    pub autonomous: CastAgent,
    /// An admin API token.
    pub admin_token: SecretString,
}

impl Cast {
    /// The agents, as `--info` shows them.
    pub fn agents_info(&self) -> Value {
        let shown = |agent: &CastAgent| json!({ "id": agent.id, "secret": agent.secret.expose(), "owner": agent.owner });
        json!({
            "personal": shown(&self.personal),
            "assistant": shown(&self.assistant),
            "autonomous": shown(&self.autonomous),
        })
    }
}

/// What an admin would state about the company, per provider.
pub(super) fn company(provider: &str) -> BTreeMap<String, String> {
    let stated: &[(&str, &str)] = match provider {
        "dingtalk" => &[("corp_id", "dingcorp0001")],
        "lark" => &[("tenant_key", "2ed263bf32cf1651")],
        "wecom" => &[("corp_id", "ww0123456789abcdef"), ("agent_id", "1000002")],
        "entra" => &[("tenant", "11111111-2222-4333-8444-555555555555")],
        _ => &[("issuer", "https://example.okta.com")],
    };
    stated.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What the agents ask for when they name nothing: some to read, one to write or send.
pub fn default_scopes(provider: &str) -> &'static str {
    match provider {
        "dingtalk" => "Calendar.Event.Read Storage.File.Read Todo.PersonalTodo.Write",
        "lark" => {
            "docs:document.content:read space:document:retrieve calendar:calendar.event:read im:chat:read"
        }
        "wecom" => "wecom.contact.read wecom.message.send",
        "entra" => "User.Read Mail.Read Mail.Send Files.Read Calendars.Read",
        _ => "okta.users.read.self okta.groups.read",
    }
}

/// What they can be granted beside that.
fn further_ceiling(provider: &str) -> &'static str {
    match provider {
        "dingtalk" => "Contact.User.Read Calendar.Event.Write Wiki.Node.Read",
        "lark" => "docx:document:readonly im:message:readonly calendar:calendar:read",
        "wecom" => "wecom.calendar.read wecom.schedule.read",
        "entra" => "Contacts.Read Chat.Read Tasks.Read",
        _ => "okta.apps.read",
    }
}

fn scopes(of: impl Fn(&str) -> String) -> anyhow::Result<BTreeMap<ProviderSlug, ScopeSet>> {
    PROVIDERS.iter().map(|provider| Ok((slug(provider)?, ScopeSet::parse(&of(provider))?))).collect()
}

fn slug(provider: &str) -> anyhow::Result<ProviderSlug> {
    provider.parse().map_err(anyhow::Error::msg)
}

/// Enters everybody.
///
/// # Errors
/// When something cannot be stored.
pub async fn enter(
    services: &Services,
    sandbox: &Running,
    passwords: &Passwords,
    client_secret: &str,
) -> anyhow::Result<Cast> {
    for provider in PROVIDERS {
        let new = NewProvider {
            slug: slug(provider)?,
            template: provider.to_owned(),
            client_id: "valetkey-sandbox".to_owned(),
            client_secret: SecretString::new(client_secret.to_owned()),
            company: company(provider),
        };
        services.connections.add_provider(new, "demo").await.with_context(|| provider.to_owned())?;
    }
    let alice = user(services, sandbox, ALICE).await?;
    let bob = user(services, sandbox, BOB).await?;
    let admin_token = admin(services, passwords).await?;
    let personal = agent(services, AgentKind::Personal, ALICE, &alice).await?;
    let assistant = agent(services, AgentKind::Assistant, BOB, &bob).await?;
    let autonomous = agent(services, AgentKind::Autonomous, ALICE, &alice).await?;
    audience(services, [&personal, &assistant], &autonomous).await?;
    Ok(Cast { personal, assistant, autonomous, admin_token })
}

/// Registers the sample back end: the agents that act for people see those people's rows, the one that acts
/// as itself a number.
async fn audience(
    services: &Services,
    for_people: [&CastAgent; 2],
    autonomous: &CastAgent,
) -> anyhow::Result<()> {
    let admission = |agents: Vec<AgentId>, people: People, scopes: &str| {
        anyhow::Ok(Admission { agents, people, scopes: ScopeSet::parse(scopes)? })
    };
    let agents = for_people.iter().map(|agent| agent.id.clone()).collect();
    let terms = AudienceTerms {
        identifier: backend::AUDIENCE.to_owned(),
        name: "People service".to_owned(),
        purpose: "Leave and salary of employees; each sees their own.".to_owned(),
        scopes: ScopeSet::parse(backend::SCOPES)?,
        claims: vec![UserClaim::Email, UserClaim::Department, UserClaim::Groups],
        algorithm: Algorithm::EdDsa,
        token_life_s: USUAL_TOKEN_S,
        admissions: vec![
            admission(agents, People::Groups(vec![STAFF.to_owned()]), "leave.read salary.read")?,
            admission(vec![autonomous.id.clone()], People::Itself, "headcount.read")?,
        ],
        detail_types: Vec::new(),
        data_classes: [PAYROLL.to_owned()].into(),
        id_jag: None,
    };
    services.audiences.register(terms, "demo").await?;
    Ok(())
}

/// Users appear with their first sign-in; the demo enters them before, so that an agent can be theirs.
async fn user(services: &Services, sandbox: &Running, email: &str) -> anyhow::Result<UserId> {
    let token = sandbox.id_token(email, ASSISTANT_CLIENT).context("no ID token")?;
    let payload = token.split('.').nth(1).and_then(encode::from_base64url).context("not a JWT")?;
    let claims: Value = serde_json::from_slice(&payload)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let user = User {
        id: UserId::generate(services.entropy.as_ref()),
        issuer: text("iss").context("no iss")?,
        subject: text("sub").context("no sub")?,
        email: Some(email.to_owned()),
        name: text("name").unwrap_or_else(|| email.to_owned()),
        department: Some(if email == ALICE { "Sales" } else { "Engineering" }.to_owned()),
        groups: vec![STAFF.to_owned()],
        state: UserState::Active,
        created_at: crate::kernel::clock::Clock::now(services.clock.as_ref()),
        last_sign_in: None,
        lifecycle: Lifecycle::default(),
    };
    let mut tx = Tx::new();
    tx.insert(&user);
    ensure_stored(services.store.commit(tx).await?)?;
    Ok(user.id)
}

async fn admin(services: &Services, passwords: &Passwords) -> anyhow::Result<SecretString> {
    let now = crate::kernel::clock::Clock::now(services.clock.as_ref());
    let token = bearer::generate(BearerKind::AdminToken, services.entropy.as_ref());
    let mut tx = Tx::new();
    tx.insert(&LocalAdmin {
        email: ADMIN.to_owned(),
        password_hash: password::hash(&passwords.admin, services.entropy.as_ref())?,
        role: Role::Admin,
        created_at: now,
    });
    tx.insert(&AdminToken {
        id: AdminTokenId::generate(services.entropy.as_ref()),
        digest: services.vault.digest(BearerKind::AdminToken, token.expose()),
        name: "demo".to_owned(),
        role: Role::Admin,
        created_at: now,
        expires_at: None,
    });
    ensure_stored(services.store.commit(tx).await?)?;
    Ok(token)
}

fn ensure_stored(committed: Committed) -> anyhow::Result<()> {
    anyhow::ensure!(committed == Committed::Done, "the throwaway store is not empty");
    Ok(())
}

async fn agent(
    services: &Services,
    kind: AgentKind,
    owner: &'static str,
    owner_id: &UserId,
) -> anyhow::Result<CastAgent> {
    let (name, purpose) = match kind {
        AgentKind::Personal => ("Alice's helper", "Reads your mail, files and calendar to prepare your day."),
        AgentKind::Assistant => {
            ("Company assistant", "Answers questions of every employee with their own rights.")
        }
        AgentKind::Autonomous => {
            ("Nightly sync", "Keeps the data warehouse up to date without anyone present.")
        }
    };
    let acts_for_users = kind != AgentKind::Autonomous;
    let new = NewAgent {
        kind,
        name: name.to_owned(),
        purpose: purpose.to_owned(),
        owner: owner_id.clone().into(),
        ceiling: if acts_for_users {
            scopes(|provider| format!("{} {}", default_scopes(provider), further_ceiling(provider)))?
        } else {
            BTreeMap::new()
        },
        default_scopes: if acts_for_users {
            scopes(|provider| default_scopes(provider).to_owned())?
        } else {
            BTreeMap::new()
        },
        subject_audiences: if acts_for_users { vec![ASSISTANT_CLIENT.to_owned()] } else { Vec::new() },
        sign_in: None,
        entry: Entry::default(),
    };
    let (agent, secret) = services.agents.register(new, "demo").await?;
    Ok(CastAgent { id: agent.id, secret, owner })
}
