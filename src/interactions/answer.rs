//! A person's answer: refuse, or agree to all or less; and the last step at the provider.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use crate::audit::AuditError;
use crate::connections::{Begin, BeginError, ConnectionError, GrantError, NewGrant};
use crate::interactions::choice::{AccountChoice, Choice};
use crate::interactions::limits;
use crate::interactions::view::ViewError;
use crate::interactions::{BROWSER_LIFE, Interactions};
use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConnectionId, GrantId, InteractionId, UserId};
use crate::kernel::scope::{Scope, ScopeSet};
use crate::model::agent::Agent;
use crate::model::agreement::Agreement;
use crate::model::connection::{Connection, ConnectionState};
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::grant::Grant;
use crate::model::interaction::{Interaction, InteractionState};
use crate::model::limit::MOST_LIMITS;
use crate::model::session::Purpose;
use crate::providers::Configured;
use crate::providers::template::{Access, ConsentSemantics};
use crate::store::{Committed, StoreError, Stored, Tx};

/// The longest that a grant can be given for.
pub const LONGEST_GRANT: Duration = Duration::from_secs(366 * 24 * 3600);
/// The shortest.
pub const SHORTEST_GRANT: Duration = Duration::from_secs(60);

/// Where the browser goes next.
#[derive(Debug)]
pub enum Next {
    /// Granted: nothing else to do.
    Granted(GrantId),
    /// To the provider's own consent.
    ToProvider(Url),
    /// Back to the page, to pick from the provider's lists.
    ToPicker,
}

/// Why an answer was not taken. Nothing is granted by any of these.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The interaction cannot be shown to this person.
    #[error(transparent)]
    View(#[from] ViewError),
    /// It was answered already, or is too old.
    #[error("this question was answered already or is too old")]
    Closed,
    /// No scope was left ticked.
    #[error("nothing was chosen: tick at least one permission, or refuse")]
    NothingChosen,
    /// The duration is not one that can be given.
    #[error("choose a duration between one minute and one year")]
    Duration,
    /// The account is not one of the user's.
    #[error("this account cannot be used for this")]
    Account,
    /// The question is about an account that the person has disconnected since.
    #[error("the account that this is about was disconnected")]
    AccountGone,
    /// The page has shown what the agent holds on another account than the one that was chosen.
    #[error("what the agent holds on this account was not shown")]
    NotShown,
    /// A limit is none, is not offered for this, or there are too many.
    #[error("the limits cannot be used for this")]
    Limits,
    /// The agreement was begun in another browser.
    #[error("this was begun in another browser: open the link again in this one")]
    OtherBrowser,
    /// The provider granted nothing of what was agreed.
    #[error("the provider has granted none of the permissions")]
    NothingGranted,
    /// The pipeline refuses: a stop, a suspended agent, a lowered ceiling.
    #[error("this is not allowed at present: {0}")]
    NotAllowed(String),
    /// The provider cannot be used.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The provider's consent cannot be begun.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Interactions {
    /// The person refuses.
    ///
    /// # Errors
    /// When it is not theirs, was answered already, or cannot be stored.
    pub async fn refuse(&self, id: &InteractionId, user: &UserId) -> Result<(), AnswerError> {
        let interaction = self.answerable(id, user).await?;
        self.audit.record(draft(&interaction, "interaction.refused", Verdict::Deny, None)).await?;
        let refused = Interaction {
            state: InteractionState::Refused { at: self.clock.now() },
            ..interaction.record().clone()
        };
        self.replace(&interaction, &refused).await
    }

    /// The person agrees to what is left ticked.
    ///
    /// # Errors
    /// When it is not theirs, was answered already, nothing is left, or the pipeline refuses.
    pub async fn agree(
        &self,
        id: &InteractionId,
        user: &UserId,
        choice: Choice,
    ) -> Result<Next, AnswerError> {
        let interaction = self.answerable(id, user).await?;
        // What comes out is asked ∩ agreed: a form cannot add to the question.
        let scopes = interaction.question.scopes.intersection(&choice.scopes);
        if scopes.is_empty() {
            return Err(AnswerError::NothingChosen);
        }
        if choice.duration < SHORTEST_GRANT || choice.duration > LONGEST_GRANT {
            return Err(AnswerError::Duration);
        }
        let configured = self.connections.configured(&interaction.question.provider).await?;
        self.check_allowed(&interaction, &configured, &scopes).await?;
        let connection = self.pick(&interaction, &choice).await?;
        let account = connection.as_ref().map(|connection| &connection.id);
        let former = self.held_on(&interaction.question, account).await?;
        let shown = self.held_on(&interaction.question, choice.about.as_ref()).await?;
        // Limits of one account must not seem to hold on another one.
        if former.as_ref().map(|grant| &grant.id) != shown.as_ref().map(|grant| &grant.id) {
            return Err(AnswerError::NotShown);
        }
        let held = former.as_ref().map_or(&[][..], |former| &former.limits);
        let (mut suggested, mut lifted) = (interaction.question.limits.clone(), choice.limits.lifted.clone());
        if let Some(widens) = &interaction.question.widens {
            let (asked, gone) = widens.settled(choice.limits.widened);
            suggested.extend(asked);
            lifted.extend(gone);
        }
        let template = &configured.loaded.template;
        let (limits, picks) = limits::settle(template, &suggested, held, &choice.limits, &scopes)?;
        let agreement = Agreement {
            scopes,
            duration_s: choice.duration.as_secs(),
            connection: connection.as_ref().map(|connection| connection.id.clone()),
            browser: choice.browser,
            at: self.clock.now(),
            ends_at: choice.opened_at.plus(BROWSER_LIFE),
            limits,
            lifted,
            picks,
        };
        let consent = consent_semantics(&configured);
        match connection {
            Some(connection) if holds(&connection, &agreement.scopes, consent) => {
                if !agreement.picks.is_empty() {
                    self.record_agreed(&interaction, &agreement).await?;
                }
                self.go_on(&interaction, agreement, &connection.id).await
            }
            connection => {
                let trip = Trip { connection, consent, opened_at: choice.opened_at };
                self.send_to_provider(interaction, agreement, trip).await
            }
        }
    }

    /// The provider's consent has come back to the browser that agreed: the last step.
    ///
    /// # Errors
    /// When the agreement is another browser's or gone, or the provider granted nothing of it.
    pub async fn finish_at_provider(
        &self,
        id: &InteractionId,
        user: &UserId,
        browser: &TokenDigest,
        connection: &Connection,
    ) -> Result<Next, AnswerError> {
        let interaction = self.answerable(id, user).await?;
        let InteractionState::AtProvider { agreement } = interaction.state.clone() else {
            return Err(AnswerError::Closed);
        };
        if &agreement.browser != browser {
            return Err(AnswerError::OtherBrowser);
        }
        let configured = self.connections.configured(&interaction.question.provider).await?;
        let granted = match consent_semantics(&configured) {
            ConsentSemantics::Whole => agreement.scopes.clone(),
            ConsentSemantics::Replaces | ConsentSemantics::Accumulates => {
                agreement.scopes.intersection(&connection.scopes)
            }
        };
        if granted.is_empty() {
            return Err(AnswerError::NothingGranted);
        }
        let template = &configured.loaded.template;
        let mut agreement = Agreement { scopes: granted, ..agreement };
        // Lists that no granted scope opens cannot be read: what the agent has named there stays as it is.
        let (picks, moot) = (agreement.picks.drain(..))
            .partition(|pick| limits::bounds(template, &pick.api, pick.kind, &agreement.scopes));
        agreement.picks = picks;
        moot.into_iter().filter_map(|pick| pick.as_suggested()).for_each(|limit| agreement.add(limit));
        self.go_on(&interaction, agreement, &connection.id).await
    }

    /// The step after the provider's consent: picking what is to be picked, else the grant.
    pub(super) async fn go_on(
        &self,
        interaction: &Stored<Interaction>,
        agreement: Agreement,
        connection: &ConnectionId,
    ) -> Result<Next, AnswerError> {
        let configured = self.connections.configured(&interaction.question.provider).await?;
        self.check_allowed(interaction, &configured, &agreement.scopes).await?;
        if agreement.picks.is_empty() {
            return Ok(Next::Granted(self.grant(interaction, &agreement, connection).await?));
        }
        let state = InteractionState::Choosing { agreement, connection: connection.clone() };
        self.replace(interaction, &Interaction { state, ..interaction.record().clone() }).await?;
        Ok(Next::ToPicker)
    }

    pub(super) async fn answerable(
        &self,
        id: &InteractionId,
        user: &UserId,
    ) -> Result<Stored<Interaction>, AnswerError> {
        let interaction = self.owned(id, user).await?;
        if interaction.is_open(self.clock.now()) { Ok(interaction) } else { Err(AnswerError::Closed) }
    }

    async fn check_allowed(
        &self,
        interaction: &Interaction,
        configured: &Configured,
        scopes: &ScopeSet,
    ) -> Result<(), AnswerError> {
        let question = &interaction.question;
        let agent = self.store.get::<Agent>(question.agent.as_str()).await?.ok_or(ViewError::Gone)?;
        self.decider
            .may_be_granted(&agent, &question.user, configured, scopes)
            .await?
            .map_err(|refusal| AnswerError::NotAllowed(refusal.reasons.join("; ")))
    }

    /// The account that is meant. Whoever names none has agreed to what the page was about, whatever was connected since.
    async fn pick(
        &self,
        interaction: &Interaction,
        choice: &Choice,
    ) -> Result<Option<Connection>, AnswerError> {
        let accounts = self.accounts(interaction).await?;
        // Any other account would be an answer to another question.
        if interaction.question.connection.is_some() && accounts.is_empty() {
            return Err(AnswerError::AccountGone);
        }
        let named = |id: &ConnectionId| accounts.iter().find(|account| &account.id == id).cloned();
        // Disconnected since: what was shown to hold holds nowhere any more.
        let about = choice.about.as_ref().map(|id| named(id).ok_or(AnswerError::NotShown)).transpose()?;
        let account = match &choice.account {
            AccountChoice::New => None,
            AccountChoice::Existing(id) => Some(named(id).ok_or(AnswerError::Account)?),
            AccountChoice::Usual => about,
        };
        if account.is_none() && interaction.question.connection.is_some() {
            return Err(AnswerError::Account);
        }
        Ok(account)
    }

    async fn send_to_provider(
        &self,
        interaction: Stored<Interaction>,
        agreement: Agreement,
        trip: Trip,
    ) -> Result<Next, AnswerError> {
        let Trip { connection, consent, opened_at } = trip;
        // Where a new consent replaces the former one, asking for less would take scopes away from
        // the user's other agents on the same account: ask for the union.
        let former = match (consent, &connection) {
            (ConsentSemantics::Replaces, Some(connection)) => connection.scopes.clone(),
            _ => ScopeSet::new(),
        };
        let scopes = agreement.scopes.union(&former);
        let begin = Begin {
            provider: &interaction.question.provider,
            purpose: Purpose::Connect {
                interaction: interaction.id.clone(),
                connection: connection.map(|connection| connection.id),
            },
            browser: agreement.browser,
            user: Some(interaction.question.user.clone()),
            opened_at,
            scopes: &scopes,
        };
        let url = self.connections.begin(begin).await?;
        self.record_agreed(&interaction, &agreement).await?;
        let waiting =
            Interaction { state: InteractionState::AtProvider { agreement }, ..interaction.record().clone() };
        self.replace(&interaction, &waiting).await?;
        Ok(Next::ToProvider(url))
    }

    async fn record_agreed(
        &self,
        interaction: &Interaction,
        agreement: &Agreement,
    ) -> Result<(), AnswerError> {
        let agreed = draft(interaction, "interaction.agreed", Verdict::Permit, Some(&agreement.scopes));
        self.audit.record(agreed).await?;
        Ok(())
    }

    async fn grant(
        &self,
        interaction: &Stored<Interaction>,
        agreement: &Agreement,
        connection: &ConnectionId,
    ) -> Result<GrantId, AnswerError> {
        let question = &interaction.question;
        let former = self.held_on(question, Some(connection)).await?;
        let limits = agreement.limits_over(former.as_ref().map_or(&[], |former| &former.limits));
        if limits.len() > MOST_LIMITS {
            return Err(AnswerError::Limits);
        }
        let now = self.clock.now();
        // Unticking a scope that was asked gives it back; what was not asked now stays, for as long as it
        // was agreed to then.
        let kept = former.as_ref().map(|former| kept(former, &question.scopes, now)).unwrap_or_default();
        let new = NewGrant {
            user: question.user.clone(),
            agent: question.agent.clone(),
            connection: connection.clone(),
            // More scopes for an account that was picked once are asked about that account: that is no new pick.
            picked_at: match &question.connection {
                None => Some(now),
                Some(_) => former.as_ref().and_then(|former| former.picked_at),
            },
            scopes: agreement.scopes.clone(),
            kept,
            limits,
            expires_at: now.plus(Duration::from_secs(agreement.duration_s)),
            reason: interaction.binding_message.clone(),
            task: interaction.task.clone(),
            interaction: interaction.id.clone(),
        };
        // The interaction closes in the commit that makes the grant: neither is ever seen without the other.
        let close = |tx: &mut Tx, grant: &Grant| {
            let state =
                InteractionState::Granted { grant: grant.id.clone(), collected: false, before: false };
            tx.update(interaction, &Interaction { state, ..interaction.record().clone() });
            // What stays of the former grant stays only if that was not revoked at this moment.
            if let Some(former) = &former {
                tx.require_unchanged(former);
            }
        };
        match self.connections.activate(new, close).await {
            Ok(grant) => Ok(grant.id),
            Err(GrantError::Store(StoreError::Contended { .. })) => Err(AnswerError::Closed),
            Err(GrantError::UnknownConnection) => Err(AnswerError::Account),
            Err(GrantError::Store(error)) => Err(error.into()),
            Err(GrantError::Audit(error)) => Err(error.into()),
            Err(GrantError::TooManyLimits) => Err(AnswerError::Limits),
            Err(GrantError::Empty | GrantError::NotFound) => Err(AnswerError::NothingGranted),
        }
    }

    pub(super) async fn replace(
        &self,
        old: &Stored<Interaction>,
        new: &Interaction,
    ) -> Result<(), AnswerError> {
        let mut tx = Tx::new();
        tx.update(old, new);
        match self.store.commit(tx).await? {
            Committed::Done => Ok(()),
            Committed::Conflict => Err(AnswerError::Closed),
        }
    }
}

/// What a former grant holds beyond what is asked now, and until when.
pub(super) fn kept(former: &Grant, asked: &ScopeSet, now: Timestamp) -> BTreeMap<Scope, Timestamp> {
    let beyond = former.scopes_at(now).difference(asked);
    beyond.into_iter().map(|scope| (scope.clone(), former.end_of(&scope))).collect()
}

/// What is known about the way to the provider.
struct Trip {
    connection: Option<Connection>,
    consent: ConsentSemantics,
    opened_at: Timestamp,
}

/// Scopes that only look start ticked; the page leaves all others to the person.
pub fn starts_ticked(access: Access) -> bool {
    access == Access::Read
}

fn consent_semantics(configured: &Configured) -> ConsentSemantics {
    configured.loaded.template.authorize.as_ref().map(|authorize| authorize.consent).unwrap_or_default()
}

fn holds(connection: &Connection, scopes: &ScopeSet, consent: ConsentSemantics) -> bool {
    let usable = matches!(connection.state, ConnectionState::Active | ConnectionState::InDoubt { .. });
    usable && (consent == ConsentSemantics::Whole || scopes.is_subset(&connection.scopes))
}

fn draft(interaction: &Interaction, action: &str, verdict: Verdict, scopes: Option<&ScopeSet>) -> EventDraft {
    EventDraft {
        agent: Some(interaction.question.agent.clone()),
        user: Some(interaction.question.user.clone()),
        provider: Some(interaction.question.provider.clone()),
        interaction: Some(interaction.id.clone()),
        verdict: Some(verdict),
        scopes: scopes.or(Some(&interaction.question.scopes)).cloned(),
        task: interaction.task.clone(),
        ..EventDraft::new(EventKind::Interaction, action)
    }
}
