//! Trust sources: whom admins trust to vouch for agents.

use std::collections::BTreeMap;

use crate::agents::presets::{Place, Preset, preset};
use crate::agents::{AgentError, Agents, certificate};
use crate::jose::KeySet;
use crate::kernel::ids::TrustSourceId;
use crate::kernel::text::clean;
use crate::model::agent::Agent;
use crate::model::credential::{IssuerKeys, TokenIssuer, TrustSource, Vouches};
use crate::model::event::{EventDraft, EventKind};
use crate::store::{Committed, StoreError, Stored, Tx};
use crate::upstream::is_key_url;

/// The longest name, issuer or audience.
const TEXT_MAX: usize = 512;
const PAGE: usize = 200;

/// What an admin states about a platform's token issuer.
#[derive(Clone, Debug)]
pub struct NewTokenIssuer {
    /// The preset's name.
    pub preset: String,
    /// `iss`.
    pub issuer: Option<String>,
    /// Where its keys come from.
    pub keys: IssuerKeys,
    /// The `aud` of its tokens; our own issuer where nothing is stated.
    pub audience: Option<String>,
    /// Pins of every token.
    pub pins: BTreeMap<String, String>,
}

/// What an admin states about a trust source.
#[derive(Clone, Debug)]
pub enum NewTrust {
    /// It vouches with tokens.
    Tokens(NewTokenIssuer),
    /// It vouches with certificates: the authority's own, PEM.
    Certificates(String),
}

fn invalid(field: &'static str, problem: impl Into<String>) -> AgentError {
    AgentError::Invalid { field, problem: problem.into() }
}

impl Agents {
    /// One trust source.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn trust_source(&self, id: &TrustSourceId) -> Result<Option<Stored<TrustSource>>, StoreError> {
        self.store.get::<TrustSource>(id.as_str()).await
    }

    /// Registers a trust source; in force at once. `by` is the admin, for the log.
    ///
    /// # Errors
    /// When a value cannot be taken, the name is taken, or nothing can be written.
    pub async fn add_trust_source(
        &self,
        name: &str,
        new: NewTrust,
        by: &str,
    ) -> Result<TrustSource, AgentError> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 100 {
            return Err(invalid("name", "write 1 to 100 characters"));
        }
        let vouches = match new {
            NewTrust::Tokens(new) => Vouches::Tokens(self.checked_issuer(new)?),
            NewTrust::Certificates(ca_pem) => {
                certificate::authorities(&ca_pem).map_err(|problem| invalid("ca_pem", problem))?;
                Vouches::Certificates { ca_pem }
            }
        };
        let source = TrustSource {
            id: TrustSourceId::generate(&*self.entropy),
            name: clean(name, 100),
            vouches,
            enabled: true,
            created_at: self.clock.now(),
        };
        self.audit.record(trust_event("trust_source.added", &source, by)).await?;
        let mut tx = Tx::new();
        tx.insert(&source);
        match self.store.commit(tx).await? {
            Committed::Done => Ok(source),
            Committed::Conflict => Err(invalid("name", "another trust source has this name")),
        }
    }

    /// Believes a trust source again, or does not: in force on the next request.
    ///
    /// # Errors
    /// When there is no such source, or nothing can be written.
    pub async fn set_trust_source(
        &self,
        id: &TrustSourceId,
        enabled: bool,
        by: &str,
    ) -> Result<TrustSource, AgentError> {
        let before = self.trust_source(id).await?.ok_or_else(|| AgentError::NoTrustSource(id.clone()))?;
        let action = if enabled { "trust_source.enabled" } else { "trust_source.disabled" };
        self.audit.record(trust_event(action, &before, by)).await?;
        let change = |source: &TrustSource| Ok(Some(TrustSource { enabled, ..source.clone() }));
        let after = self.store.update::<TrustSource, AgentError>(id.as_str(), change).await?.stored();
        let after = after.ok_or_else(|| AgentError::NoTrustSource(id.clone()))?;
        Ok(after.record().clone())
    }

    /// Forgets a trust source that no agent relies on.
    ///
    /// # Errors
    /// When an agent relies on it, there is no such source, or nothing can be written.
    pub async fn remove_trust_source(&self, id: &TrustSourceId, by: &str) -> Result<(), AgentError> {
        let source = self.trust_source(id).await?.ok_or_else(|| AgentError::NoTrustSource(id.clone()))?;
        let mut after: Option<String> = None;
        loop {
            let page = self.store.page::<Agent>(after.as_deref(), PAGE).await?;
            if let Some(agent) = page.iter().find(|agent| agent.sign_in.relies_on(id)) {
                return Err(invalid("trust_source", format!("{} relies on it; change that first", agent.id)));
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id.to_string()),
                _ => break,
            }
        }
        self.audit.record(trust_event("trust_source.removed", &source, by)).await?;
        let mut tx = Tx::new();
        tx.delete(&source);
        match self.store.commit(tx).await? {
            Committed::Done => Ok(()),
            Committed::Conflict => Err(StoreError::Contended { key: id.to_string() }.into()),
        }
    }

    fn checked_issuer(&self, mut new: NewTokenIssuer) -> Result<TokenIssuer, AgentError> {
        let Some(known) = preset(&new.preset) else {
            return Err(invalid("preset", format!("there is no preset `{}`", clean(&new.preset, 50))));
        };
        known.check_pins(Place::Source, &new.pins).map_err(|problem| invalid("pins", problem))?;
        if new.issuer.is_none() {
            new.issuer = known.own_issuer(&new.pins);
        }
        check_issuer(known, &new)?;
        let audience = new.audience.clone().unwrap_or_else(|| self.issuer.clone());
        let is_plain = (1..=TEXT_MAX).contains(&audience.len())
            && !audience.contains(|c: char| c == '*' || c.is_control() || c.is_whitespace());
        if !is_plain {
            return Err(invalid("audience", format!("write one exact text of 1 to {TEXT_MAX} characters")));
        }
        if known.refuses_audience(&audience, new.issuer.as_deref()) {
            return Err(invalid(
                "audience",
                "other services take tokens for this audience as well, and would hold what works here: \
                 have tokens made for an audience of our own",
            ));
        }
        check_keys(&new)?;
        Ok(TokenIssuer { preset: new.preset, issuer: new.issuer, keys: new.keys, audience, pins: new.pins })
    }
}

fn check_issuer(known: &Preset, new: &NewTokenIssuer) -> Result<(), AgentError> {
    match &new.issuer {
        None if known.issuer_optional => Ok(()),
        None => Err(invalid("issuer", "state the `iss` of its tokens, character by character")),
        Some(issuer) if issuer.len() <= TEXT_MAX && known.fits_issuer(issuer, &new.pins) => Ok(()),
        Some(_) => Err(invalid(
            "issuer",
            format!("tokens of `{}` come from {}", known.name, known.issuers.join(" or ")),
        )),
    }
}

fn check_keys(new: &NewTokenIssuer) -> Result<(), AgentError> {
    match &new.keys {
        IssuerKeys::Uploaded(set) => {
            KeySet::usable(set).map(drop).map_err(|problem| invalid("keys.jwks", problem.to_string()))
        }
        IssuerKeys::Url(url) if is_key_url(url) => Ok(()),
        IssuerKeys::Url(_) => Err(invalid(
            "keys.jwks_uri",
            "write an https URL without port, query or fragment; upload the keys of an issuer that cannot be reached",
        )),
        IssuerKeys::Discovery if new.issuer.as_deref().is_some_and(is_key_url) => Ok(()),
        IssuerKeys::Discovery => Err(invalid(
            "keys",
            "this issuer's metadata cannot be fetched: state `jwks_uri`, or upload the keys as `jwks`",
        )),
    }
}

fn trust_event(action: &str, source: &TrustSource, by: &str) -> EventDraft {
    let mut event = EventDraft::new(EventKind::Admin, action);
    event.admin = Some(clean(by, 200));
    event.reasons = vec![format!("{} `{}`", source.id, source.name)];
    event
}
