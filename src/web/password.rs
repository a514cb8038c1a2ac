//! What people type as a password: hashed slowly, in turn, and with the same effort for unknown names.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

use crate::kernel::entropy::{self, Entropy};
use crate::kernel::secret::SecretString;

/// The longest password that is looked at, in bytes: hashing is slow, so its input is bounded.
pub const LONGEST: usize = 1024;
/// The fewest characters of a new password.
pub const FEWEST_CHARACTERS: usize = 12;

const MEMORY_KIB: u32 = 32 * 1024;
const PASSES: u32 = 3;
/// How many are hashed at once; each takes [`MEMORY_KIB`].
const AT_ONCE: usize = 2;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// A hash that no password is known for, with the parameters of real ones: an unknown name takes as long
/// as a wrong password.
const NOBODY: &str =
    "$argon2id$v=19$m=32768,t=3,p=1$bm9ib2R5LWlzLWhlcmUh$q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA";

/// Why a password was not hashed or checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer characters than [`FEWEST_CHARACTERS`].
    #[error("the password has fewer than {FEWEST_CHARACTERS} characters")]
    TooShort,
    /// More bytes than [`LONGEST`].
    #[error("the password has more than {LONGEST} bytes")]
    TooLong,
    /// Too many others wait.
    #[error("too many passwords are being checked at once")]
    Busy,
    /// Hashing failed.
    #[error("the password could not be hashed")]
    Failed,
}

/// Hashes and checks passwords, a few at a time. Clones share the queue.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Passwords {
    /// Whether the password is the one that was hashed; `stored` is `None` for an unknown name.
    ///
    /// # Errors
    /// When it is not its turn in time.
    pub async fn verify(
        &self,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        if password.expose().len() > LONGEST {
            return Ok(false);
        }
        let known = stored.is_some();
        let expected = stored.unwrap_or_else(|| NOBODY.to_owned());
        let matches = self
            .in_turn(move || {
                PasswordHash::new(&expected)
                    .and_then(|hash| {
                        Argon2::default()
                            .verify_password(password.expose().as_bytes(), &hash)
                            .map_err(|_| argon2::password_hash::phc::Error::SaltTooShort)
                    })
                    .is_ok()
            })
            .await?;
        Ok(matches && known)
    }

    /// Hashes a new password, in turn.
    ///
    /// # Errors
    /// When it cannot be taken, or it is not its turn in time.
    pub async fn hash(
        &self,
        password: SecretString,
        entropy: Arc<dyn Entropy>,
    ) -> Result<String, PasswordError> {
        check_new(&password)?;
        self.in_turn(move || hash(&password, &*entropy)).await?
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.map_err(|_| PasswordError::Busy)?.map_err(|_| PasswordError::Failed)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|_| PasswordError::Failed)
    }
}

/// Whether a new password can be taken.
///
/// # Errors
/// When it is too short or too long.
pub fn check_new(password: &SecretString) -> Result<(), PasswordError> {
    match password.expose() {
        text if text.len() > LONGEST => Err(PasswordError::TooLong),
        text if text.chars().count() < FEWEST_CHARACTERS => Err(PasswordError::TooShort),
        _ => Ok(()),
    }
}

/// Hashes a password with Argon2id, in PHC form. Takes a tenth of a second of a core.
///
/// # Errors
/// When the password is too long or hashing fails.
pub fn hash(password: &SecretString, entropy: &dyn Entropy) -> Result<String, PasswordError> {
    if password.expose().len() > LONGEST {
        return Err(PasswordError::TooLong);
    }
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(|_| PasswordError::Failed)?;
    let salt = entropy::bytes::<16>(entropy);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon
        .hash_password_with_salt(password.expose().as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|_| PasswordError::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;

    fn secret(text: &str) -> SecretString {
        SecretString::new(text.to_owned())
    }

    #[actix_web::test]
    async fn only_the_right_password_of_a_known_name_is_taken() {
        let passwords = Passwords::default();
        let stored = hash(&secret("correct horse battery"), &SeededEntropy::new(1)).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=32768,t=3,p=1$"), "{stored}");
        assert_eq!(passwords.verify(secret("correct horse battery"), Some(stored.clone())).await, Ok(true));
        assert_eq!(passwords.verify(secret("correct horse"), Some(stored.clone())).await, Ok(false));
        assert_eq!(passwords.verify(secret("correct horse battery"), None).await, Ok(false));
        assert_eq!(passwords.verify(secret(&"x".repeat(1_000_000)), Some(stored)).await, Ok(false));
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_a_real_one() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let real = hash(&secret("x"), &SeededEntropy::new(1)).unwrap();
        let real = PasswordHash::new(&real).unwrap();
        assert_eq!(nobody.params, real.params);
        assert_eq!(nobody.hash.unwrap().len(), real.hash.unwrap().len());
    }

    #[test]
    fn new_passwords_have_bounds() {
        assert_eq!(check_new(&secret("elf Zeichen")), Err(PasswordError::TooShort));
        assert_eq!(check_new(&secret("zwölf Zeiche")), Ok(()));
        assert_eq!(check_new(&secret(&"x".repeat(1025))), Err(PasswordError::TooLong));
    }
}
