//! A deployment full of made-up people, for `scripts/scale`: their records are sealed and stored as any others are.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use serde_json::json;

use crate::app::demo::cast;
use crate::app::services::{Foundation, Services};
use crate::connections::NewProvider;
use crate::kernel::bearer::{self, BearerKind};
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::entropy;
use crate::kernel::ids::{AdminTokenId, AgentId, ConnectionId, GrantId, InteractionId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::agent::{Agent, AgentKind, AgentSecret, AgentState, Entry};
use crate::model::connection::{Account, Backoff, CachedToken, Connection, ConnectionState};
use crate::model::credential::SignIn;
use crate::model::grant::{Grant, GrantState};
use crate::model::sealed::Sealer as _;
use crate::model::user::{AdminToken, Lifecycle, Role, User, UserState};
use crate::store::{Committed, Store, Tx};

/// About as long as the vendors' are.
const ACCESS_LENGTH: usize = 1000;
const REFRESH_LENGTH: usize = 200;
const PEOPLE_IN_A_COMMIT: u64 = 50;
/// Sealing goes on while the ones before are being written.
const COMMITS_AT_ONCE: usize = 4;
const GRANT_LIFE: Duration = Duration::from_secs(90 * 86_400);
const REFRESH_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Who is entered. Each person has an account at some providers, and an agent of their own that may use the first.
pub struct Crowd {
    /// How many people.
    pub people: u64,
    /// At how many providers each of them has an account.
    pub each: usize,
    /// The provider that their agents may use.
    pub first: String,
    /// The client that the sandbox knows.
    pub client: (String, SecretString),
    /// Refresh tokens that the sandbox has issued, for the accounts at the first provider; the others are made up.
    pub issued: Vec<Issued>,
    /// In how many seconds the first access token ends, and over how many seconds the others do after it.
    pub ends: (u64, u64),
}

/// A refresh token that the sandbox has issued.
#[derive(Deserialize)]
pub struct Issued {
    email: String,
    refresh_token: String,
}

/// What is the same for everybody.
struct Common<'a> {
    services: &'a Services,
    store: &'a Store,
    crowd: &'a Crowd,
    /// The first one is what agents may use.
    providers: Vec<(ProviderSlug, ScopeSet)>,
    now: Timestamp,
}

/// Enters providers, an administrator's token, and the people. One line of JSON tells of each person's agent; the
/// first line has the administrator's token.
///
/// # Errors
/// When something cannot be stored or told.
pub async fn enter(on: Foundation, crowd: &Crowd, out: &mut impl Write) -> anyhow::Result<()> {
    // Without the patience that callers have: a commit may wait for a slow disk.
    let store = on.store.clone();
    let services = &Services::assemble(on);
    for provider in cast::PROVIDERS {
        let new = NewProvider {
            slug: slug(provider)?,
            template: provider.to_owned(),
            client_id: crowd.client.0.clone(),
            client_secret: SecretString::new(crowd.client.1.expose().clone()),
            company: cast::company(provider),
        };
        services.connections.add_provider(new, "scale").await.with_context(|| provider.to_owned())?;
    }
    let mut names = cast::PROVIDERS.to_vec();
    names.sort_by_key(|name| *name != crowd.first);
    let scopes = |name: &str| anyhow::Ok((slug(name)?, ScopeSet::parse(cast::default_scopes(name))?));
    let providers = names.into_iter().take(crowd.each.max(1)).map(scopes).collect::<Result<_, _>>()?;
    let now = services.clock.now();
    writeln!(out, "{}", json!({ "admin": admin(services, &store, now).await?.expose() }))?;
    let common = Common { services, store: &store, crowd, providers, now };
    let batches = (0..crowd.people).step_by(usize::try_from(PEOPLE_IN_A_COMMIT)?);
    let commits = futures_util::stream::iter(batches.map(|from| anyhow::Ok(common.batch(from))));
    let mut commits = std::pin::pin!(commits.try_buffered(COMMITS_AT_ONCE));
    while let Some(lines) = commits.try_next().await? {
        out.write_all(lines.as_bytes())?;
    }
    store.sync().await?;
    services.audit.close().await;
    Ok(out.flush()?)
}

fn slug(provider: &str) -> anyhow::Result<ProviderSlug> {
    provider.parse().map_err(anyhow::Error::msg)
}

async fn admin(services: &Services, store: &Store, now: Timestamp) -> anyhow::Result<SecretString> {
    let token = bearer::generate(BearerKind::AdminToken, services.entropy.as_ref());
    let mut tx = Tx::new();
    tx.insert(&AdminToken {
        id: AdminTokenId::generate(services.entropy.as_ref()),
        digest: services.vault.digest(BearerKind::AdminToken, token.expose()),
        name: "scale".to_owned(),
        role: Role::Admin,
        created_at: now,
        expires_at: None,
    });
    anyhow::ensure!(store.commit(tx).await? == Committed::Done, "the store is in use");
    Ok(token)
}

impl Common<'_> {
    /// A few people, committed together; what is told of them.
    async fn batch(&self, from: u64) -> anyhow::Result<String> {
        let (mut tx, mut lines) = (Tx::new(), String::new());
        for number in from..self.crowd.people.min(from + PEOPLE_IN_A_COMMIT) {
            lines.push_str(&self.person(number, &mut tx));
            lines.push('\n');
        }
        anyhow::ensure!(self.store.commit(tx).await? == Committed::Done, "the store is in use");
        Ok(lines)
    }

    fn person(&self, number: u64, tx: &mut Tx) -> String {
        let entropy = self.services.entropy.as_ref();
        let issued = usize::try_from(number).ok().and_then(|at| self.crowd.issued.get(at));
        let email =
            issued.map_or_else(|| format!("employee-{number:06}@example.com"), |issued| issued.email.clone());
        let user = UserId::generate(entropy);
        tx.insert(&User {
            id: user.clone(),
            issuer: "https://example.okta.com".to_owned(),
            subject: format!("scale-{number}"),
            email: Some(email.clone()),
            name: format!("Employee {number}"),
            department: None,
            groups: vec!["staff".to_owned()],
            state: UserState::Active,
            created_at: self.now,
            last_sign_in: None,
            lifecycle: Lifecycle::default(),
        });
        let secret = bearer::generate(BearerKind::AgentSecret, entropy);
        let agent = self.agent(&user, &secret);
        tx.insert(&agent);
        let (crowd, mut first) = (self.crowd, None);
        let ends_in = crowd.ends.0 + crowd.ends.1 * number / crowd.people.max(1);
        let ends_at = self.now.plus(Duration::from_secs(ends_in));
        for (provider, scopes) in &self.providers {
            let refresh = issued.filter(|_| first.is_none()).map(|issued| issued.refresh_token.clone());
            let refresh = refresh.unwrap_or_else(|| self.made_up(REFRESH_LENGTH));
            let connection = self.connection(&user, &email, (provider, scopes), &refresh, ends_at);
            tx.insert(&connection);
            first.get_or_insert(connection);
        }
        let Some(connection) = first else { return String::new() };
        tx.insert(&self.grant(&user, &agent.id, &connection));
        json!({
            "email": email,
            "agent": agent.id,
            "secret": secret.expose(),
            "connection": connection.id,
            "ends_in": ends_in,
        })
        .to_string()
    }

    fn agent(&self, owner: &UserId, secret: &SecretString) -> Agent {
        let (services, scopes) = (self.services, self.providers.iter().cloned().collect::<BTreeMap<_, _>>());
        Agent {
            id: AgentId::generate(services.entropy.as_ref()),
            kind: AgentKind::Personal,
            name: "Helper".to_owned(),
            purpose: "Reads mail, files and the calendar to prepare the day.".to_owned(),
            owner: owner.clone().into(),
            ceiling: scopes.clone(),
            default_scopes: scopes,
            subject_audiences: Vec::new(),
            secrets: vec![AgentSecret {
                digest: services.vault.digest(BearerKind::AgentSecret, secret.expose()),
                created_at: self.now,
                expires_at: None,
            }],
            sign_in: SignIn::default(),
            state: AgentState::Active,
            created_at: self.now,
            entry: Entry::default(),
        }
    }

    fn connection(
        &self,
        user: &UserId,
        email: &str,
        (provider, scopes): (&ProviderSlug, &ScopeSet),
        refresh: &str,
        ends_at: Timestamp,
    ) -> Connection {
        let services = self.services;
        let id = ConnectionId::generate(services.entropy.as_ref());
        let company = cast::company(provider.as_str()).into_values().next().unwrap_or_default();
        let seal = |context, text: &str| services.vault.seal(context, text.as_bytes());
        Connection {
            user: user.clone(),
            provider: provider.clone(),
            account: Account {
                company,
                subject: email.to_owned(),
                label: email.to_owned(),
                pins: BTreeMap::new(),
            },
            state: ConnectionState::Active,
            is_default: true,
            scopes: scopes.clone(),
            generation: 1,
            refresh_token: Some(seal(Connection::refresh_context(&id, 1), refresh)),
            access: Some(CachedToken {
                token: seal(Connection::access_context(&id, 1), &self.made_up(ACCESS_LENGTH)),
                scopes: scopes.clone(),
                scopes_stated: true,
                expires_at: ends_at,
                generation: 1,
            }),
            refresh_expires_at: Some(self.now.plus(REFRESH_LIFE)),
            consented_at: None,
            consent_expires_at: None,
            intent: None,
            lease: None,
            backoff: Backoff::default(),
            created_at: self.now,
            refreshed_at: self.now,
            id,
        }
    }

    fn grant(&self, user: &UserId, agent: &AgentId, connection: &Connection) -> Grant {
        let entropy = self.services.entropy.as_ref();
        Grant {
            id: GrantId::generate(entropy),
            user: user.clone(),
            agent: agent.clone(),
            connection: connection.id.clone(),
            picked_at: None,
            provider: connection.provider.clone(),
            scopes: connection.scopes.clone(),
            ends: BTreeMap::new(),
            limits: Vec::new(),
            expires_at: self.now.plus(GRANT_LIFE),
            reason: None,
            task: None,
            interaction: InteractionId::generate(entropy),
            state: GrantState::Active,
            created_at: self.now,
        }
    }

    fn made_up(&self, length: usize) -> String {
        let random = encode::base62(&entropy::bytes::<32>(self.services.entropy.as_ref()));
        format!("{random:0<length$}")
    }
}
