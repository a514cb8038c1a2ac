//! Opening an interaction, or finding the one that already asks the same.

use crate::audit::AuditError;
use crate::interactions::{Interactions, LINK_LIFE, OPEN_PER_ASKER, REFUSAL_LIFE, STANDING_LIFE};
use crate::kernel::bearer::BearerKind;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{GrantId, InteractionId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::kernel::text;
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::interaction::{Interaction, InteractionState, Question, first_interval};
use crate::store::{Committed, StoreError, Stored, Tx};

/// How often somebody else may be quicker.
const TRIES: usize = 32;

/// The agent's own words that come with a question; shown and kept, never interpreted.
#[derive(Clone, Debug, Default)]
pub struct Wording {
    /// At most 200 characters.
    pub binding_message: Option<String>,
    /// At most 64 characters.
    pub task: Option<String>,
}

/// An open interaction and the handle to poll it.
#[derive(Debug)]
pub struct Opened {
    /// The interaction.
    pub interaction: Interaction,
    /// The agent's handle.
    pub auth_req_id: SecretString,
}

/// Why no interaction was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The user has refused a part of this within the last day.
    #[error("the user has refused this within the last 24 hours")]
    Refused,
    /// Too many different questions are open.
    #[error("too many questions to this user are open: wait until one is answered")]
    TooMany,
    /// The log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Interactions {
    /// Opens an interaction for a question. The same question, while it is open, gives the same
    /// interaction and the same handle. `missing` is what of it the user has not granted; nothing when a
    /// connection has to be repaired.
    ///
    /// # Errors
    /// When the user has refused it lately, too many are open, or it cannot be stored.
    pub async fn open(
        &self,
        question: Question,
        missing: &ScopeSet,
        wording: Wording,
    ) -> Result<Opened, OpenError> {
        let asker = Interaction::asker_index(&question.agent, &question.user);
        for _ in 0..TRIES {
            let earlier = self.store.find::<Interaction>("asker", &asker).await?;
            let now = self.clock.now();
            if earlier.iter().any(|other| refused_lately(other, &question, missing, now)) {
                return Err(OpenError::Refused);
            }
            let open: Vec<&Stored<Interaction>> = earlier.iter().filter(|other| other.is_open(now)).collect();
            if let Some(same) = open.iter().find(|other| other.question == question) {
                return Ok(self.opened(same.record().clone()));
            }
            if open.len() >= OPEN_PER_ASKER {
                return Err(OpenError::TooMany);
            }
            if let Some(opened) = self.insert(&question, &wording, &earlier, now).await? {
                return Ok(opened);
            }
        }
        Err(StoreError::Contended { key: asker }.into())
    }

    async fn insert(
        &self,
        question: &Question,
        wording: &Wording,
        earlier: &[Stored<Interaction>],
        now: Timestamp,
    ) -> Result<Option<Opened>, OpenError> {
        let place = free_place(earlier, now);
        let Opened { interaction, auth_req_id } = self.fresh(question.clone(), wording, now);
        let interaction = Interaction { place, ..interaction };
        self.audit.record(self.opened_draft(&interaction)).await?;
        let mut tx = Tx::new();
        // INVARIANT: the fingerprint and the place of an undecided question are unique in the store, so of
        // two requests at the same moment with the same question, or for the last place, one conflicts and
        // looks again. One that nobody answered in time gives both up here.
        let fingerprint = question.fingerprint();
        for lapsed in earlier.iter().filter(|other| other.is_undecided() && !other.is_open(now)) {
            if lapsed.place == place || lapsed.question.fingerprint() == fingerprint {
                tx.delete(lapsed);
            }
        }
        // After the deletions: what they give up is free for this one.
        tx.insert(&interaction);
        match self.store.commit(tx).await? {
            Committed::Done => Ok(Some(Opened { interaction, auth_req_id })),
            Committed::Conflict => Ok(None),
        }
    }

    /// A handle for a question that the user has answered before by a grant: it polls to a token at once.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn answered_before(
        &self,
        question: Question,
        grant: GrantId,
        wording: Wording,
    ) -> Result<Opened, StoreError> {
        let now = self.clock.now();
        let asker = Interaction::asker_index(&question.agent, &question.user);
        let state = InteractionState::Granted { grant, collected: false, before: true };
        let earlier = self.store.find::<Interaction>("asker", &asker).await?;
        let same = earlier
            .iter()
            .find(|other| other.state == state && other.question == question && now < other.expires_at);
        if let Some(same) = same {
            return Ok(self.opened(same.record().clone()));
        }
        let Opened { interaction, auth_req_id } = self.fresh(question, &wording, now);
        let interaction = Interaction { state, expires_at: now.plus(STANDING_LIFE), ..interaction };
        let mut tx = Tx::new();
        tx.insert(&interaction);
        match self.store.commit(tx).await? {
            Committed::Done => Ok(Opened { interaction, auth_req_id }),
            // Its id is random: only a broken store holds it already.
            Committed::Conflict => Err(StoreError::Contended { key: asker }),
        }
    }

    fn fresh(&self, question: Question, wording: &Wording, now: Timestamp) -> Opened {
        let id = InteractionId::generate(self.entropy.as_ref());
        let auth_req_id = self.auth_req_id(&id);
        let interaction = Interaction {
            auth_req_id: self.vault.digest(BearerKind::AuthReqId, auth_req_id.expose()),
            id,
            question,
            binding_message: wording.binding_message.as_deref().map(|words| text::clean(words, 200)),
            task: wording.task.as_deref().map(|task| text::clean(task, 64)),
            state: InteractionState::Pending,
            created_at: now,
            expires_at: now.plus(LINK_LIFE),
            polled_at: None,
            interval_s: first_interval(),
            place: 0,
        };
        Opened { interaction, auth_req_id }
    }

    fn opened(&self, interaction: Interaction) -> Opened {
        let auth_req_id = self.auth_req_id(&interaction.id);
        Opened { interaction, auth_req_id }
    }

    fn opened_draft(&self, interaction: &Interaction) -> EventDraft {
        EventDraft {
            agent: Some(interaction.question.agent.clone()),
            user: Some(interaction.question.user.clone()),
            provider: Some(interaction.question.provider.clone()),
            interaction: Some(interaction.id.clone()),
            verdict: Some(Verdict::NeedsPerson),
            scopes: Some(interaction.question.scopes.clone()),
            task: interaction.task.clone(),
            binding_message: interaction.binding_message.clone(),
            ..EventDraft::new(EventKind::Interaction, "interaction.opened")
        }
    }
}

/// A place that no open question takes; one that no lapsed question takes either where there is one, so
/// that polling those still tells that they have expired.
fn free_place(earlier: &[Stored<Interaction>], now: Timestamp) -> u8 {
    let taken = |by: &dyn Fn(&Interaction) -> bool| {
        let places: Vec<u8> = earlier.iter().filter(|other| by(other)).map(|other| other.place).collect();
        (0u8..).take(OPEN_PER_ASKER).find(|place| !places.contains(place))
    };
    taken(&Interaction::is_undecided).or_else(|| taken(&|other| other.is_open(now))).unwrap_or_default()
}

/// Whether the user has refused lately what is missing. What they have granted and was asked along with it
/// does not count: it would close the way for everything else.
fn refused_lately(other: &Interaction, question: &Question, missing: &ScopeSet, now: Timestamp) -> bool {
    let InteractionState::Refused { at } = other.state else { return false };
    let wanted = if missing.is_empty() { &question.scopes } else { missing };
    now.since(at) < REFUSAL_LIFE
        && other.question.provider == question.provider
        && !other.question.scopes.intersection(wanted).is_empty()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kernel::bearer::TokenDigest;
    use crate::kernel::entropy::SeededEntropy;
    use crate::kernel::ids::{AgentId, UserId};
    use crate::model::interaction::RequestedToken;

    #[test]
    fn a_refusal_stands_for_what_was_missing_and_for_a_day() {
        let entropy = SeededEntropy::new(1);
        let scopes = |text: &str| ScopeSet::parse(text).unwrap();
        let asking = |text: &str| Question {
            agent: AgentId::generate(&entropy),
            user: UserId::generate(&entropy),
            provider: "entra".parse().unwrap(),
            connection: None,
            scopes: scopes(text),
            limits: Vec::new(),
            token: RequestedToken::Gateway,
            widens: None,
        };
        let at = Timestamp::from_secs(1_000_000);
        let refused = Interaction {
            id: InteractionId::generate(&entropy),
            question: asking("a b"),
            auth_req_id: TokenDigest::from_bytes([1; 32]),
            binding_message: None,
            task: None,
            state: InteractionState::Refused { at },
            created_at: at,
            expires_at: at.plus(LINK_LIFE),
            polled_at: None,
            interval_s: first_interval(),
            place: 0,
        };
        let now = at.plus(Duration::from_secs(60));
        assert!(refused_lately(&refused, &asking("b"), &scopes("b"), now));
        assert!(!refused_lately(&refused, &asking("a c"), &scopes("c"), now));
        assert!(refused_lately(&refused, &asking("a"), &ScopeSet::new(), now));
        assert!(!refused_lately(&refused, &asking("b"), &scopes("b"), at.plus(REFUSAL_LIFE)));
    }
}
