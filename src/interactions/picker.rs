//! The last step of a consent with limits: what the person picks from the provider's own lists, read with
//! the token that their consent has just brought.

use crate::connections::LeaseError;
use crate::interactions::answer::AnswerError;
use crate::interactions::shelf::{Picked, Shelf};
use crate::interactions::{Interactions, Next};
use crate::kernel::bearer::TokenDigest;
use crate::kernel::ids::{InteractionId, UserId};
use crate::model::agreement::Agreement;
use crate::model::interaction::{Interaction, InteractionState};
use crate::model::limit::{MOST_VALUES, Named};
use crate::store::{StoreError, Stored};
use crate::upstream::LookupError;

/// A list that a person picks from, as the last step of an answer.
#[derive(Debug)]
pub struct Picker {
    /// The interaction.
    pub interaction: Interaction,
    /// What was agreed, with what is still to be picked.
    pub agreement: Agreement,
    /// The list.
    pub shelf: Shelf,
    stored: Stored<Interaction>,
}

/// Why there is nothing to pick from, or what was picked cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PickError {
    /// Nothing is to be picked at present: it was answered meanwhile, or never got that far.
    #[error("nothing is to be picked at present")]
    NotNow,
    /// Another browser agreed, or it was more than ten minutes ago.
    #[error("this was agreed to in another browser, or too long ago")]
    Late,
    /// Nothing was picked.
    #[error("nothing was picked")]
    Nothing,
    /// More was picked than a limit can hold.
    #[error("more than {MOST_VALUES} were picked")]
    TooMany,
    /// What was picked is not there, or cannot be read by this person.
    #[error("the provider shows some of this to nobody, or not to this user")]
    Absent,
    /// The provider's list cannot be read.
    #[error("the provider's list cannot be read: {0}")]
    Lookup(#[from] LookupError),
    /// There is no usable token.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// As with any other answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl From<StoreError> for PickError {
    fn from(error: StoreError) -> Self {
        Self::Answer(error.into())
    }
}

impl Interactions {
    /// The list that the person has to pick from next.
    ///
    /// # Errors
    /// When there is none, or not for this browser any more.
    pub async fn picker(
        &self,
        id: &InteractionId,
        user: &UserId,
        browser: &TokenDigest,
    ) -> Result<Picker, PickError> {
        let stored = self.answerable(id, user).await?;
        let InteractionState::Choosing { agreement, connection } = stored.state.clone() else {
            return Err(PickError::NotNow);
        };
        if !agreement.is_open_to(browser, self.clock.now()) {
            return Err(PickError::Late);
        }
        let pick = agreement.picks.first().cloned().ok_or(PickError::NotNow)?;
        let shelf = self.shelf(&stored.question.provider, &connection, pick).await?;
        Ok(Picker { interaction: stored.record().clone(), agreement, shelf, stored })
    }

    /// The person confirms what they have picked. The grant is made when nothing else is to be picked.
    ///
    /// # Errors
    /// When nothing can be picked by this browser any more, or the provider does not show one of the things
    /// to this user. Nothing is granted then.
    pub async fn confirm_pick(
        &self,
        id: &InteractionId,
        user: &UserId,
        browser: &TokenDigest,
        picked: &Picked,
    ) -> Result<Next, PickError> {
        let picker = self.picker(id, user, browser).await?;
        let shelf = &picker.shelf;
        shelf.check(&picked.items)?;
        let existing: Vec<Named> = match shelf.pick.suggested.is_empty() {
            true => Vec::new(),
            false => self.suggested(shelf).await?.into_iter().filter_map(|one| one.found).collect(),
        };
        // With nothing that exists, a narrower choice would stand beside no limit at all.
        if existing.is_empty() && !shelf.pick.suggested.is_empty() {
            return Err(PickError::Absent);
        }
        let chosen = self.chosen(shelf, picked).await?;
        let agreement = picker.agreement.with_picked(&existing, chosen).ok_or(PickError::NotNow)?;
        Ok(self.go_on(&picker.stored, agreement, &shelf.connection).await?)
    }

    /// Goes back to the question: nothing was granted yet.
    ///
    /// # Errors
    /// When it was answered meanwhile.
    pub async fn start_over(&self, id: &InteractionId, user: &UserId) -> Result<(), AnswerError> {
        let stored = self.answerable(id, user).await?;
        let pending = Interaction { state: InteractionState::Pending, ..stored.record().clone() };
        self.replace(&stored, &pending).await
    }
}
