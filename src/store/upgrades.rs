//! What a store of an earlier version gets at its first start, once.

use crate::kernel::ids::UserId;
use crate::model::upgrade::Upgrades;
use crate::model::user::User;
use crate::store::{Committed, Store, StoreError, Tx};

const PAGE: usize = 500;
const TRIES: usize = 8;

impl Store {
    /// Earlier versions kept no index of who is in a group: whoever was in one before would be no member to the
    /// directory, and could not be taken out. Once, every user is looked at.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn index_members(&self) -> Result<(), StoreError> {
        let done = self.get::<Upgrades>(Upgrades::KEY).await?;
        if done.is_some_and(|done| done.members_indexed) {
            return Ok(());
        }
        let mut after: Option<UserId> = None;
        loop {
            let page = self.page::<User>(after.as_ref().map(UserId::as_str), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for user in page.iter().filter(|user| !user.groups.is_empty()) {
                let mut tx = Tx::new();
                tx.update(user, user.record());
                // A conflict means that somebody changes the user now, which writes the entries as well.
                let _ = self.commit(tx).await?;
            }
        }
        self.upgraded(|done| Upgrades { members_indexed: true, ..done }).await
    }

    /// Says that something was done. Where others say so of something else at the same time, both are kept; what
    /// could not be said is looked at again at the next start.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn upgraded(&self, with: impl Fn(Upgrades) -> Upgrades) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let mut tx = Tx::new();
            match self.get::<Upgrades>(Upgrades::KEY).await? {
                Some(before) => tx.update(&before, &with(*before.record())),
                None => tx.insert(&with(Upgrades::default())),
            };
            if self.commit(tx).await? == Committed::Done {
                break;
            }
        }
        Ok(())
    }
}
