//! Names of things by their ids, each read once per page.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, ConnectionId, EventId, ProviderSlug, UserId};
use crate::kernel::scope::{Scope, ScopeSet};
use crate::model::agent::{Agent, Owner};
use crate::model::connection::Connection;
use crate::model::event::Event;
use crate::model::grant::Grant;
use crate::model::provider::Provider;
use crate::model::user::User;
use crate::providers::LoadedTemplate;
use crate::store::StoreError;
use crate::web::state::WebState;
use crate::web::views::consent::ScopeRow;
use crate::web::views::events::EventRow;
use crate::web::views::{Page, Shown};

/// Looks names up for one page.
pub struct Lookup<'s> {
    state: &'s WebState,
    page: Page,
    templates: HashMap<ProviderSlug, Option<Arc<LoadedTemplate>>>,
    agents: HashMap<AgentId, Option<Agent>>,
    users: HashMap<UserId, Option<User>>,
    connections: HashMap<ConnectionId, Option<Connection>>,
}

impl<'s> Lookup<'s> {
    /// For one page.
    pub fn new(state: &'s WebState, page: &Page) -> Self {
        Self {
            state,
            page: page.clone(),
            templates: HashMap::new(),
            agents: HashMap::new(),
            users: HashMap::new(),
            connections: HashMap::new(),
        }
    }

    /// The template of a provider, also of one that is switched off; nothing when either is gone.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn template(&mut self, slug: &ProviderSlug) -> Result<Option<Arc<LoadedTemplate>>, StoreError> {
        if let Some(known) = self.templates.get(slug) {
            return Ok(known.clone());
        }
        let provider = self.state.store.get::<Provider>(slug.as_str()).await?;
        let template = provider.and_then(|provider| self.state.templates.get(&provider.template));
        self.templates.insert(slug.clone(), template.clone());
        Ok(template)
    }

    /// The name of a provider.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn provider(&mut self, slug: &ProviderSlug) -> Result<Shown, StoreError> {
        let lang = self.page.lang;
        let template = self.template(slug).await?;
        Ok(Shown::name(template.as_ref().map_or(slug.as_str(), |loaded| loaded.template.name.get(lang))))
    }

    /// Scopes in words, in the template's order; unknown ones by their names.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn scopes(
        &mut self,
        slug: &ProviderSlug,
        scopes: &ScopeSet,
    ) -> Result<Vec<ScopeRow>, StoreError> {
        let lang = self.page.lang;
        let template = self.template(slug).await?;
        let entries = template.iter().flat_map(|loaded| &loaded.template.scope);
        let known: Vec<_> = entries.filter(|entry| scopes.contains(&entry.name)).collect();
        let is_known = |scope: &&Scope| known.iter().any(|entry| entry.name == **scope);
        let unknown = scopes.iter().filter(|scope| !is_known(scope)).map(ScopeRow::unknown);
        Ok(known.iter().map(|entry| ScopeRow::new(lang, entry)).chain(unknown).collect())
    }

    /// The scopes of a grant in words; those that end before the grant does say when.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn scopes_of(&mut self, grant: &Grant) -> Result<Vec<ScopeRow>, StoreError> {
        let held = grant.scopes_at(self.page.now);
        self.scopes_until(&grant.provider, &held, &grant.ends).await
    }

    /// Scopes in words, with the ends that are known of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn scopes_until(
        &mut self,
        slug: &ProviderSlug,
        scopes: &ScopeSet,
        ends: &BTreeMap<Scope, Timestamp>,
    ) -> Result<Vec<ScopeRow>, StoreError> {
        let mut rows = self.scopes(slug, scopes).await?;
        for row in &mut rows {
            let end = ends.iter().find(|(scope, _)| scope.as_str() == row.name);
            row.until = end.map(|(_, end)| self.page.when(*end));
        }
        Ok(rows)
    }

    /// An agent.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn agent(&mut self, id: &AgentId) -> Result<Option<Agent>, StoreError> {
        if let Some(known) = self.agents.get(id) {
            return Ok(known.clone());
        }
        let agent = self.state.agents.get(id).await?.map(|agent| agent.record().clone());
        self.agents.insert(id.clone(), agent.clone());
        Ok(agent)
    }

    /// The name of an agent.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn agent_name(&mut self, id: &AgentId) -> Result<Shown, StoreError> {
        let agent = self.agent(id).await?;
        Ok(Shown::name(agent.as_ref().map_or(id.as_str(), |agent| &agent.name)))
    }

    /// A user's e-mail, or name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn user_label(&mut self, id: &UserId) -> Result<Shown, StoreError> {
        if !self.users.contains_key(id) {
            let user = self.state.store.get::<User>(id.as_str()).await?;
            self.users.insert(id.clone(), user.map(|user| user.record().clone()));
        }
        let user = self.users.get(id).and_then(Option::as_ref);
        let label = user.map_or(id.as_str(), |user| user.email.as_deref().unwrap_or(&user.name));
        Ok(Shown::name(label))
    }

    /// Whoever answers for an agent.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn owner(&mut self, owner: &Owner) -> Result<Shown, StoreError> {
        match owner {
            Owner::User(user) => self.user_label(user).await,
            Owner::Team { team } => Ok(Shown::name(team)),
        }
    }

    /// The label of an upstream account.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn account(&mut self, id: &ConnectionId) -> Result<Shown, StoreError> {
        if !self.connections.contains_key(id) {
            let connection = self.state.connections.get(id).await?;
            self.connections.insert(id.clone(), connection.map(|connection| connection.record().clone()));
        }
        let connection = self.connections.get(id).and_then(Option::as_ref);
        Ok(Shown::name(connection.map_or(id.as_str(), |connection| &connection.account.label)))
    }

    /// Events in words, with the names of who and where.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn events(&mut self, events: &[Event], with_agent: bool) -> Result<Vec<EventRow>, StoreError> {
        let mut rows = Vec::with_capacity(events.len());
        let ids: Vec<EventId> = events.iter().map(|event| event.id.clone()).collect();
        let outcomes = self.state.audit.outcomes(&ids);
        for event in events {
            let draft = &event.draft;
            let mut names = Vec::new();
            if let (Some(agent), true) = (&draft.agent, with_agent) {
                names.push(self.agent_name(agent).await?);
            }
            if let Some(provider) = &draft.provider {
                names.push(self.provider(provider).await?);
            }
            if let (Some(user), true) = (&draft.user, with_agent) {
                names.push(self.user_label(user).await?);
            }
            names.extend(draft.admin.as_deref().map(Shown::name));
            let mut row = EventRow::new(&self.page, event, names);
            if let Some(outcome) = outcomes.iter().find(|o| o.draft.refers_to.as_ref() == Some(&event.id)) {
                row.ended(&self.page, outcome);
            }
            rows.push(row);
        }
        Ok(rows)
    }
}
