//! The registry through its own door.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::kernel::clock::{ManualClock, Timestamp};
use crate::kernel::entropy::SeededEntropy;
use crate::kernel::ids::ProviderSlug;
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::agent::{AgentKind, AgentState, Entry};
use crate::model::user::{Lifecycle, User, UserState};
use crate::net::{HttpClient, NetSettings};
use crate::store::{Committed, MemoryBackend, Tx};

struct World {
    agents: Agents,
    clock: Arc<ManualClock>,
    owner: UserId,
    _dir: tempfile::TempDir,
}

const ADMIN: &str = "admin@example.com";

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000)));
        let entropy = Arc::new(SeededEntropy::new(3));
        let vault = Arc::new(Vault::ephemeral(entropy.clone()));
        let signer = vault.audit_signer();
        let deployment = vault.deployment().clone();
        let audit =
            AuditLog::open(dir.path(), signer, deployment, clock.clone(), entropy.clone(), 0).unwrap();
        let store = Store::new(Arc::new(MemoryBackend::new()), vault.clone());
        let owner = UserId::generate(&*entropy);
        let user = User {
            id: owner.clone(),
            issuer: "https://issuer.example.com".to_owned(),
            subject: "1".to_owned(),
            email: None,
            name: "Alice".to_owned(),
            department: None,
            groups: Vec::new(),
            state: UserState::Active,
            created_at: clock.now(),
            last_sign_in: None,
            lifecycle: Lifecycle::default(),
        };
        let mut tx = Tx::new();
        tx.insert(&user);
        assert_eq!(store.commit(tx).await.unwrap(), Committed::Done);
        let net = HttpClient::new(NetSettings::default()).unwrap();
        let upstream = Upstream::new(net, clock.clone(), entropy.clone());
        let issuer = Url::parse("https://valetkey.example.com/").unwrap();
        let agents = Agents::new(store, vault, audit, upstream, &issuer, clock.clone(), entropy);
        Self { agents, clock, owner, _dir: dir }
    }

    fn form(&self) -> NewAgent {
        let provider: ProviderSlug = "example".parse().unwrap();
        let scopes = |text| BTreeMap::from([(provider.clone(), ScopeSet::parse(text).unwrap())]);
        NewAgent {
            kind: AgentKind::Personal,
            name: "Mail helper".to_owned(),
            purpose: "Sorts mail".to_owned(),
            owner: self.owner.clone().into(),
            ceiling: scopes("mail.read files.read"),
            default_scopes: scopes("mail.read"),
            subject_audiences: Vec::new(),
            sign_in: None,
            entry: Entry::default(),
        }
    }

    async fn registered(&self) -> (AgentId, SecretString) {
        let (agent, secret) = self.agents.register(self.form(), ADMIN).await.unwrap();
        (agent.id, secret)
    }

    async fn tries(&self, id: &AgentId, secret: &SecretString) -> Result<AgentId, AuthError> {
        let agent = self.agents.authenticate(id.as_str(), secret.expose_str()).await?;
        Ok(agent.id.clone())
    }
}

#[tokio::test]
async fn an_agent_is_let_in_with_its_secret_and_every_other_try_reads_the_same() {
    let world = World::new().await;
    let (id, secret) = world.registered().await;
    assert_eq!(world.tries(&id, &secret).await.unwrap(), id);
    let unknown = AgentId::generate(&SeededEntropy::new(8));
    for (id, secret) in
        [(id.as_str(), "vks_wrong"), (unknown.as_str(), secret.expose_str()), ("x", ""), (id.as_str(), "")]
    {
        let refused = world.agents.authenticate(id, secret).await.unwrap_err();
        assert!(matches!(refused, AuthError::Unknown));
    }
}

#[tokio::test]
async fn a_suspended_agent_is_told_so_only_with_its_right_secret() {
    let world = World::new().await;
    let (id, secret) = world.registered().await;
    world.agents.set_state(&id, AgentChange::Suspend, ADMIN).await.unwrap();
    assert!(matches!(world.tries(&id, &secret).await, Err(AuthError::NotActive(AgentState::Suspended))));
    let wrong = SecretString::new("vks_wrong".to_owned());
    assert!(matches!(world.tries(&id, &wrong).await, Err(AuthError::Unknown)));
    world.agents.set_state(&id, AgentChange::Resume, ADMIN).await.unwrap();
    assert!(world.tries(&id, &secret).await.is_ok());
    world.agents.set_state(&id, AgentChange::Retire, ADMIN).await.unwrap();
    assert!(matches!(world.tries(&id, &secret).await, Err(AuthError::Unknown)));
    assert!(world.agents.set_state(&id, AgentChange::Resume, ADMIN).await.is_err());
    assert!(world.agents.rotate_secret(&id, ADMIN).await.is_err());
}

#[tokio::test]
async fn a_rotated_secret_works_for_the_overlap() {
    let world = World::new().await;
    let (id, former) = world.registered().await;
    let newer = world.agents.rotate_secret(&id, ADMIN).await.unwrap();
    assert!(world.tries(&id, &former).await.is_ok());
    assert!(world.tries(&id, &newer).await.is_ok());
    world.clock.advance(SECRET_OVERLAP + Duration::from_secs(1));
    assert!(matches!(world.tries(&id, &former).await, Err(AuthError::Unknown)));
    assert!(world.tries(&id, &newer).await.is_ok());
}

#[tokio::test]
async fn guessing_is_slowed_down_and_locks_nobody_out() {
    let world = World::new().await;
    let (id, secret) = world.registered().await;
    let (other, other_secret) = world.registered().await;
    let wrong = SecretString::new("vks_wrong".to_owned());
    let mut throttled = false;
    for _ in 0..30 {
        throttled |= matches!(world.tries(&id, &wrong).await, Err(AuthError::Throttled(secs)) if secs >= 1);
    }
    assert!(throttled);
    assert!(world.tries(&id, &secret).await.is_ok());
    assert!(world.tries(&other, &other_secret).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_taken_is_named() {
    let world = World::new().await;
    let field = async |form: NewAgent| match world.agents.register(form, ADMIN).await.unwrap_err() {
        AgentError::Invalid { field, .. } => field,
        AgentError::UnknownOwner(_) => "owner",
        _ => "",
    };
    assert_eq!(field(NewAgent { name: " ".to_owned(), ..world.form() }).await, "name");
    assert_eq!(field(NewAgent { purpose: String::new(), ..world.form() }).await, "purpose");
    assert_eq!(field(NewAgent { ceiling: BTreeMap::new(), ..world.form() }).await, "default_scopes");
    let nobody = UserId::generate(&SeededEntropy::new(9));
    assert_eq!(field(NewAgent { owner: nobody.into(), ..world.form() }).await, "owner");
}
