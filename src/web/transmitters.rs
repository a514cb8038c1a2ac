//! Registering who may push security events: the same for the admin API and the pages.

use serde_json::Value;
use url::Url;

use crate::audit::{AuditError, AuditLog};
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::TransmitterId;
use crate::kernel::text::clean;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::transmitter::{Transmitter, TransmitterKeys};
use crate::store::{Committed, Store, StoreError, Tx};
use crate::web::security_events;

/// What is stated of a transmitter.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    /// Name to show.
    pub name: String,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The `aud` of its tokens; the address of `/security-events` here when left out.
    pub audience: Option<String>,
    /// Where its public keys are.
    pub jwks_uri: Option<String>,
    /// Or its public keys.
    pub jwks: Option<Value>,
    /// The issuer of the people whom it may speak of; its own when left out.
    pub subject_issuer: Option<String>,
}

/// Why a transmitter was not registered or removed.
#[derive(Debug, thiserror::Error)]
pub enum TransmitterError {
    /// A value cannot be taken.
    #[error("{0}")]
    Invalid(&'static str),
    /// The issuer is registered.
    #[error("this issuer is registered already")]
    Taken,
    /// There is no such transmitter.
    #[error("there is no such transmitter")]
    NotFound,
    /// Somebody else changed it at this moment.
    #[error("somebody else changes it at this moment")]
    Contended,
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// The audit log could not be written, so nothing was changed.
    #[error("the audit log could not be written")]
    Audit(#[from] AuditError),
}

/// What registering needs.
pub struct Transmitters<'a> {
    /// Records.
    pub store: &'a Store,
    /// The log.
    pub audit: &'a AuditLog,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
}

impl Transmitters<'_> {
    /// Registers one; `here` is our own issuer, `by` the admin, for the log.
    ///
    /// # Errors
    /// When a value cannot be taken, the issuer is registered, or nothing can be written.
    pub async fn add(&self, stated: Stated, here: &Url, by: &str) -> Result<Transmitter, TransmitterError> {
        let keys = keys(&stated)?;
        let is_text =
            |text: &str| !text.trim().is_empty() && text.len() <= 512 && !text.contains(char::is_control);
        let own = format!("{}{}", here.as_str().trim_end_matches('/'), security_events::PATH);
        let audience = stated.audience.unwrap_or(own);
        let subject_issuer = stated.subject_issuer.unwrap_or_else(|| stated.issuer.clone());
        if ![&stated.name, &stated.issuer, &audience, &subject_issuer].into_iter().all(|text| is_text(text)) {
            let words = "name, issuer, audience and subject_issuer are 1 to 512 characters";
            return Err(TransmitterError::Invalid(words));
        }
        let transmitter = Transmitter {
            id: TransmitterId::generate(self.entropy),
            name: clean(stated.name.trim(), 100),
            issuer: stated.issuer,
            audience,
            keys,
            subject_issuer,
            created_at: self.clock.now(),
        };
        self.record("transmitter.registered", &transmitter, by).await?;
        let mut tx = Tx::new();
        tx.insert(&transmitter);
        match self.store.commit(tx).await? {
            Committed::Done => Ok(transmitter),
            Committed::Conflict => Err(TransmitterError::Taken),
        }
    }

    /// Removes one: its events are refused from now on.
    ///
    /// # Errors
    /// When there is no such transmitter, or nothing can be written.
    pub async fn remove(&self, id: &TransmitterId, by: &str) -> Result<(), TransmitterError> {
        let found = self.store.get::<Transmitter>(id.as_str()).await?;
        let found = found.ok_or(TransmitterError::NotFound)?;
        self.record("transmitter.removed", &found, by).await?;
        let mut tx = Tx::new();
        tx.delete(&found);
        match self.store.commit(tx).await? {
            Committed::Done => Ok(()),
            Committed::Conflict => Err(TransmitterError::Contended),
        }
    }

    async fn record(&self, action: &str, about: &Transmitter, by: &str) -> Result<(), AuditError> {
        let event = EventDraft {
            admin: Some(clean(by, 200)),
            reasons: vec![format!("transmitter {}", about.id)],
            outcome: Some(Outcome::Done),
            ..EventDraft::new(EventKind::Admin, action)
        };
        self.audit.record(event).await.map(|_| ())
    }
}

fn keys(stated: &Stated) -> Result<TransmitterKeys, TransmitterError> {
    match (&stated.jwks_uri, &stated.jwks) {
        (Some(text), None) => {
            let url = Url::parse(text).ok().filter(|url| url.scheme() == "https");
            url.map(|_| TransmitterKeys::Url(text.clone()))
                .ok_or(TransmitterError::Invalid("jwks_uri: write an https address"))
        }
        (None, Some(set)) => {
            let keys = set.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
            let is_public = |key: &Value| key.get("d").is_none() && key.get("k").is_none();
            if keys.is_none_or(|keys| !keys.iter().all(is_public)) {
                return Err(TransmitterError::Invalid("jwks: a set of public keys, {\"keys\": [..]}"));
            }
            Ok(TransmitterKeys::Set(set.to_string()))
        }
        _ => Err(TransmitterError::Invalid("state exactly one of jwks_uri and jwks")),
    }
}
