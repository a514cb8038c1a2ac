//! What the page shows. Compares the person first: a link opened by another user shows nothing.

use std::collections::BTreeMap;

use crate::connections::ConnectionError;
use crate::interactions::Interactions;
use crate::interactions::answer::kept;
use crate::interactions::choice::AccountChoice;
use crate::interactions::limits::{Offer, offers};
use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConnectionId, InteractionId, UserId};
use crate::kernel::scope::Scope;
use crate::model::agent::Agent;
use crate::model::connection::{Connection, ConnectionState};
use crate::model::grant::Grant;
use crate::model::interaction::{Interaction, InteractionState, Question};
use crate::model::limit::Limit;
use crate::model::user::User;
use crate::providers::template::ScopeEntry;
use crate::store::{StoreError, Stored};

/// Everything that the consent page needs.
#[derive(Debug)]
pub struct ConsentView {
    /// The interaction.
    pub interaction: Interaction,
    /// Who asks.
    pub agent: Agent,
    /// Who answers for the agent.
    pub owner: Option<User>,
    /// The provider's name in both languages.
    pub provider_name: crate::kernel::text::Localized,
    /// What is asked, scope by scope, in the template's order.
    pub scopes: Vec<ScopeChoice>,
    /// What the agent already holds and was not asked again: it stays, until then.
    pub kept: BTreeMap<Scope, Timestamp>,
    /// The accounts to pick from, the usual one first.
    pub accounts: Vec<Connection>,
    /// The account that the page is about, so far as it tells what the agent holds; none for one to be connected.
    pub about: Option<ConnectionId>,
    /// The limits that the person can add.
    pub offers: Vec<Offer>,
    /// The limits of the grant that the agent holds: they stay unless the person lifts them.
    pub held_limits: Vec<Limit>,
    /// Where the interaction stands for this person now.
    pub standing: Standing,
}

/// One scope on the page.
#[derive(Clone, Debug)]
pub struct ScopeChoice {
    /// The template's entry: title, description, access, risk.
    pub entry: ScopeEntry,
    /// Whether the agent holds it already.
    pub held: bool,
}

/// Where an interaction stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// To be answered.
    Open,
    /// Agreed here; the provider's consent is outstanding. Can be answered again.
    AtProvider,
    /// Agreed; what is to be picked from the provider's lists is outstanding.
    Choosing,
    /// Granted.
    Granted(Box<Grant>),
    /// Refused.
    Refused,
    /// Too old.
    Expired,
    /// About an account that was disconnected since.
    AccountGone,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// No such interaction, or another user's: the same words for both.
    #[error("this link was not made for you")]
    NotYours,
    /// The provider or the agent behind it is gone.
    #[error("what this link asks for is no longer offered")]
    Gone,
    /// The provider is not usable.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Interactions {
    /// The page of an interaction for a signed-in user, with what the agent holds on that account.
    ///
    /// # Errors
    /// When it is not that user's, or cannot be shown any more.
    pub async fn view(
        &self,
        id: &InteractionId,
        user: &UserId,
        browser: &TokenDigest,
        account: &AccountChoice,
    ) -> Result<ConsentView, ViewError> {
        let interaction = self.owned(id, user).await?.record().clone();
        let question = &interaction.question;
        let configured = self.connections.configured(&question.provider).await?;
        let agent = self.store.get::<Agent>(question.agent.as_str()).await?.ok_or(ViewError::Gone)?;
        let owner = match agent.owner.user() {
            Some(user) => self.store.get::<User>(user.as_str()).await?.map(|owner| owner.record().clone()),
            None => None,
        };
        let now = self.clock.now();
        let accounts = self.accounts(&interaction).await?;
        let about = about(question, &accounts, account);
        let former = self.held_on(question, about.as_ref()).await?;
        let held = former.as_ref().map(|grant| grant.scopes_at(now).into_owned()).unwrap_or_default();
        let template = &configured.loaded.template;
        let scopes = template
            .scope
            .iter()
            .filter(|entry| question.scopes.contains(&entry.name))
            .map(|entry| ScopeChoice { entry: entry.clone(), held: held.contains(&entry.name) })
            .collect();
        let standing = self.standing(&interaction, &accounts, browser, now).await?;
        let kept = former.as_ref().map(|former| kept(former, &question.scopes, now)).unwrap_or_default();
        let in_reach = question.scopes.union(&kept.keys().cloned().collect());
        Ok(ConsentView {
            agent: agent.record().clone(),
            owner,
            provider_name: template.name.clone(),
            scopes,
            kept,
            offers: offers(template, &in_reach),
            held_limits: former.map(|former| former.limits.clone()).unwrap_or_default(),
            accounts,
            about,
            standing,
            interaction,
        })
    }

    /// The interaction, if it was made for that user (invariant 3).
    pub(super) async fn owned(
        &self,
        id: &InteractionId,
        user: &UserId,
    ) -> Result<Stored<Interaction>, ViewError> {
        match self.store.get::<Interaction>(id.as_str()).await? {
            Some(interaction) if &interaction.question.user == user => Ok(interaction),
            _ => Err(ViewError::NotYours),
        }
    }

    /// The grant that the agent holds on one connection; none on an account that is yet to be connected.
    pub(super) async fn held_on(
        &self,
        question: &Question,
        connection: Option<&ConnectionId>,
    ) -> Result<Option<Stored<Grant>>, StoreError> {
        let Some(connection) = connection else { return Ok(None) };
        let grants = self.live_grants(question, self.clock.now()).await?;
        Ok(grants.into_iter().find(|grant| &grant.connection == connection))
    }

    async fn live_grants(
        &self,
        question: &Question,
        now: Timestamp,
    ) -> Result<Vec<Stored<Grant>>, StoreError> {
        let holder = Grant::holder_index(&question.agent, &question.user, &question.provider);
        let mut grants = self.store.find::<Grant>("holder", &holder).await?;
        grants.retain(|grant| grant.is_live(now));
        Ok(grants)
    }

    /// The accounts that can be meant. The first is the usual one: what the person picked for this agent before, else
    /// their default.
    pub(super) async fn accounts(&self, interaction: &Interaction) -> Result<Vec<Connection>, StoreError> {
        let question = &interaction.question;
        let index = format!("{}/{}", question.user, question.provider);
        let all = self.store.find::<Connection>("user_provider", &index).await?;
        let offered = |connection: &Stored<Connection>| {
            !matches!(connection.state, ConnectionState::Disconnected { .. })
                && question.connection.as_ref().is_none_or(|wanted| wanted == &connection.id)
        };
        let mut offered: Vec<Connection> =
            all.into_iter().filter(offered).map(|connection| connection.record().clone()).collect();
        let grants = self.live_grants(question, self.clock.now()).await?;
        let is_held = |account: &Connection| grants.iter().any(|grant| grant.connection == account.id);
        let picked =
            grants.iter().filter(|grant| grant.picked_at.is_some()).max_by_key(|grant| grant.picked_at);
        let is_picked = |account: &Connection| picked.is_some_and(|grant| grant.connection == account.id);
        let default_is_held = offered.iter().any(|account| account.is_default && is_held(account));
        offered.sort_by_key(|account| (default_is_held || !is_picked(account), !account.is_default));
        Ok(offered)
    }

    async fn standing(
        &self,
        interaction: &Interaction,
        accounts: &[Connection],
        browser: &TokenDigest,
        now: Timestamp,
    ) -> Result<Standing, StoreError> {
        Ok(match &interaction.state {
            InteractionState::Granted { grant, .. } => match self.store.get::<Grant>(grant.as_str()).await? {
                Some(grant) => Standing::Granted(Box::new(grant.record().clone())),
                None => Standing::Expired,
            },
            InteractionState::Refused { .. } => Standing::Refused,
            _ if !interaction.is_open(now) => Standing::Expired,
            _ if interaction.question.connection.is_some() && accounts.is_empty() => Standing::AccountGone,
            InteractionState::AtProvider { .. } => Standing::AtProvider,
            InteractionState::Choosing { agreement, .. } if agreement.is_open_to(browser, now) => {
                Standing::Choosing
            }
            // Another browser, or too late: the question can be answered again.
            InteractionState::Choosing { .. } => Standing::Open,
            InteractionState::Pending => Standing::Open,
        })
    }
}

/// Whose grant a page shows. What holds on one account says nothing about another one.
fn about(question: &Question, accounts: &[Connection], account: &AccountChoice) -> Option<ConnectionId> {
    let named = match account {
        AccountChoice::New if question.connection.is_none() => return None,
        AccountChoice::Existing(id) => accounts.iter().find(|account| &account.id == id),
        AccountChoice::Usual | AccountChoice::New => None,
    };
    named.or_else(|| accounts.first()).map(|account| account.id.clone())
}
