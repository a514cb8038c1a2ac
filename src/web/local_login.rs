//! Signing in with a password: how often it may be tried, and whether it is right.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::kernel::secret::SecretString;
use crate::model::user::{LocalAdmin, email_index};
use crate::store::{Store, StoreError};
use crate::vault::Vault;
use crate::web::password::{PasswordError, Passwords};

const PER_ACCOUNT_AND_SOURCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const PER_SOURCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

/// Passwords, and how often they may be tried. Clones share the budgets.
#[derive(Clone)]
pub struct LocalLogin {
    /// Hashing.
    pub passwords: Passwords,
    budgets: Arc<Budgets>,
}

struct Budgets {
    // Never per account alone: whoever knows an admin's e-mail could lock them out from afar.
    account_and_source: DefaultKeyedRateLimiter<u16>,
    source: DefaultKeyedRateLimiter<u16>,
    clock: DefaultClock,
}

impl Default for LocalLogin {
    fn default() -> Self {
        let budgets = Budgets {
            account_and_source: RateLimiter::keyed(Quota::per_minute(PER_ACCOUNT_AND_SOURCE)),
            source: RateLimiter::keyed(Quota::per_minute(PER_SOURCE)),
            clock: DefaultClock::default(),
        };
        Self { passwords: Passwords::default(), budgets: Arc::new(budgets) }
    }
}

/// Why a sign-in was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown name or wrong password: deliberately one answer.
    #[error("the e-mail or the password is wrong")]
    Wrong,
    /// Too many tries; seconds to wait.
    #[error("too many tries; wait {0} s")]
    Throttled(u64),
    /// Too many others sign in at once.
    #[error("too many people sign in at once")]
    Busy,
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
}

impl LocalLogin {
    /// The admin with that e-mail and password.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn check(
        &self,
        store: &Store,
        vault: &Vault,
        email: &str,
        password: SecretString,
        from: IpAddr,
    ) -> Result<LocalAdmin, LoginError> {
        let account = email_index(email);
        self.budgets.spend(vault, &account, from)?;
        let found = store.get::<LocalAdmin>(&account).await?;
        let stored = found.as_ref().map(|admin| admin.password_hash.clone());
        match self.passwords.verify(password, stored).await {
            Ok(true) => found.map(|admin| admin.record().clone()).ok_or(LoginError::Wrong),
            Ok(false) => Err(LoginError::Wrong),
            Err(PasswordError::Busy) => Err(LoginError::Busy),
            Err(_) => Err(LoginError::Wrong),
        }
    }
}

impl Budgets {
    fn spend(&self, vault: &Vault, account: &str, from: IpAddr) -> Result<(), LoginError> {
        let source = network(from);
        let now = self.clock.now();
        let waits = [
            self.source.check_key(&bucket(vault, &[source.as_bytes()])),
            self.account_and_source.check_key(&bucket(vault, &[source.as_bytes(), account.as_bytes()])),
        ];
        match waits.into_iter().filter_map(Result::err).map(|until| until.wait_time_from(now)).max() {
            None => Ok(()),
            Some(wait) => Err(LoginError::Throttled(wait.as_secs().max(1))),
        }
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().iter().take(4).map(|part| format!("{part:x}:")).collect(),
    }
}

/// One of 65,536 buckets by a keyed hash: memory stays bounded, and nobody can choose to share another's.
fn bucket(vault: &Vault, parts: &[&[u8]]) -> u16 {
    let [first, second, ..] = vault.mac("login_budget", parts);
    u16::from_be_bytes([first, second])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;

    #[test]
    fn one_source_is_slowed_down_and_another_is_not() {
        let vault = Vault::ephemeral(Arc::new(SeededEntropy::new(3)));
        let login = LocalLogin::default();
        let spend = |from: &str| login.budgets.spend(&vault, "admin@example.com", from.parse().unwrap());
        for _ in 0..10 {
            assert!(spend("192.0.2.1").is_ok());
        }
        assert!(matches!(spend("192.0.2.1"), Err(LoginError::Throttled(1..=60))));
        assert!(spend("192.0.2.2").is_ok());
    }

    #[test]
    fn neighbours_in_ipv6_share_a_budget() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    }
}
