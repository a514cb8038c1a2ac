//! The employee behind a sign-in, as the sign-in provider states them. Whom an admin means by an id or an e-mail
//! is told by `people`.

use crate::kernel::ids::UserId;
use crate::kernel::text::clean;
use crate::model::user::{User, UserState, subject_index};
use crate::store::{Committed, StoreError, Tx};
use crate::upstream::IdClaims;
use crate::web::state::WebState;

/// How often a write that met another one is tried again.
const TRIES: usize = 8;

/// The employee behind an ID token that was verified: found by issuer and stable subject, never by
/// e-mail; made at the first sign-in. Name and e-mail are labels, taken over as they are stated now.
///
/// # Errors
/// When the store cannot be used.
pub async fn of_claims(state: &WebState, claims: &IdClaims) -> Result<User, StoreError> {
    let subject = subject_index(&claims.issuer, &claims.subject);
    for _ in 0..TRIES {
        let now = state.clock.now();
        let stored = state.store.find_unique::<User>("subject", &subject).await?;
        let former = stored.as_ref().map(|stored| stored.record().clone());
        let email = claims.email.as_deref().map(|email| clean(email.trim(), 254));
        let name = claims.name.as_deref().or(claims.email.as_deref()).unwrap_or(&claims.subject);
        let user = User {
            id: former.as_ref().map_or_else(|| UserId::generate(&*state.entropy), |user| user.id.clone()),
            issuer: claims.issuer.clone(),
            subject: claims.subject.clone(),
            email,
            name: clean(name.trim(), 120),
            // An admin's to state; signing in changes neither.
            department: former.as_ref().and_then(|user| user.department.clone()),
            groups: former.as_ref().map(|user| user.groups.clone()).unwrap_or_default(),
            state: former.as_ref().map_or(UserState::Active, |user| user.state),
            created_at: former.as_ref().map_or(now, |user| user.created_at),
            last_sign_in: Some(now),
            lifecycle: former.as_ref().map(|user| user.lifecycle.clone()).unwrap_or_default(),
        };
        if user.state == UserState::Disabled {
            return Ok(user);
        }
        let mut tx = Tx::new();
        match &stored {
            Some(stored) => tx.update(stored, &user),
            None => tx.insert(&user),
        };
        if state.store.commit(tx).await? == Committed::Done {
            return Ok(user);
        }
    }
    Err(StoreError::Contended { key: "user".to_owned() })
}
