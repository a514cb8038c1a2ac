//! Who is meant where an admin writes an id, an e-mail or a team. Who has signed in is told by `employee`.

use crate::kernel::ids::UserId;
use crate::model::agent::Owner;
use crate::model::user::{User, email_index};
use crate::store::{Store, StoreError};

/// The user with that id, or with an e-mail that one user only has.
///
/// # Errors
/// When the store cannot be read.
pub async fn user(store: &Store, text: &str) -> Result<Option<UserId>, StoreError> {
    if let Ok(id) = text.parse::<UserId>() {
        return Ok(store.get::<User>(id.as_str()).await?.map(|user| user.id.clone()));
    }
    let found = store.find::<User>("email", &email_index(text)).await?;
    Ok(match found.as_slice() {
        [only] => Some(only.id.clone()),
        _ => None,
    })
}

/// Whoever answers for an agent: a user, or `team:NAME`.
///
/// # Errors
/// When the store cannot be read.
pub async fn owner(store: &Store, text: &str) -> Result<Option<Owner>, StoreError> {
    match text.strip_prefix("team:") {
        Some(team) => Ok(Some(Owner::Team { team: team.to_owned() })),
        None => Ok(user(store, text).await?.map(Owner::User)),
    }
}
