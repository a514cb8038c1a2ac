//! Registering a back end and changing its terms.

use std::collections::BTreeSet;

use crate::audiences::{AudienceError, Audiences, LONGEST_TOKEN_S};
use crate::kernel::bearer::{self, BearerKind};
use crate::kernel::data_class;
use crate::kernel::ids::AudienceId;
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::kernel::text::clean;
use crate::model::agent::Agent;
use crate::model::audience::{Admission, Algorithm, Audience, AudienceState, IdJagTerms, People, UserClaim};
use crate::store::{Committed, StoreError, Tx};

const NAME_MAX: usize = 100;
const PURPOSE_MAX: usize = 500;
const MOST_ADMISSIONS: usize = 200;
/// How often a change that met another one is tried again.
const TRIES: usize = 8;

/// What an admin states about a back end.
#[derive(Clone, Debug)]
pub struct AudienceTerms {
    /// What agents write as `audience`: an absolute URI.
    pub identifier: String,
    /// Name to show.
    pub name: String,
    /// What it holds, in words that employees read.
    pub purpose: String,
    /// The scopes that it knows.
    pub scopes: ScopeSet,
    /// What it learns of the user.
    pub claims: Vec<UserClaim>,
    /// How its tokens are signed.
    pub algorithm: Algorithm,
    /// How long its tokens live, in seconds.
    pub token_life_s: u64,
    /// Who may reach it.
    pub admissions: Vec<Admission>,
    /// The types of `authorization_details` that it narrows by itself.
    pub detail_types: Vec<String>,
    /// The classes of data that it holds.
    pub data_classes: BTreeSet<String>,
    /// Whether its own authorization server takes identity assertions of ours.
    pub id_jag: Option<IdJagTerms>,
}

impl Audiences {
    /// Registers a back end; its secret is shown this once.
    ///
    /// # Errors
    /// When a value cannot be taken, the identifier is taken, or nothing can be written.
    pub async fn register(
        &self,
        terms: AudienceTerms,
        by: &str,
    ) -> Result<(Audience, SecretString), AudienceError> {
        self.check(&terms).await?;
        let plain = bearer::generate(BearerKind::AudienceSecret, &*self.entropy);
        let audience = Audience {
            id: AudienceId::generate(&*self.entropy),
            identifier: terms.identifier,
            name: clean(terms.name.trim(), NAME_MAX),
            purpose: clean(terms.purpose.trim(), PURPOSE_MAX),
            scopes: terms.scopes,
            claims: terms.claims,
            algorithm: terms.algorithm,
            token_life_s: terms.token_life_s,
            admissions: terms.admissions,
            detail_types: terms.detail_types,
            data_classes: terms.data_classes,
            id_jag: terms.id_jag,
            secret: self.vault.digest(BearerKind::AudienceSecret, plain.expose_str()),
            state: AudienceState::Active,
            created_at: self.clock.now(),
        };
        if self.named(&audience.identifier).await?.is_some() {
            return Err(AudienceError::Taken(audience.identifier));
        }
        self.audit.record(self.admin_event("audience.registered", &audience.id, by)).await?;
        let mut tx = Tx::new();
        tx.insert(&audience);
        match self.store.commit(tx).await? {
            Committed::Done => Ok((audience, plain)),
            Committed::Conflict => Err(AudienceError::Taken(audience.identifier)),
        }
    }

    /// Replaces a back end's terms; in force on the next request. Its identifier stays.
    ///
    /// # Errors
    /// When there is none, a value cannot be taken, nothing can be written, or it is not the version any more that
    /// was read, where one is named.
    pub async fn change(
        &self,
        id: &AudienceId,
        terms: AudienceTerms,
        by: &str,
        as_read: Option<&str>,
    ) -> Result<Audience, AudienceError> {
        self.check(&terms).await?;
        self.edit(id, "audience.changed", by, as_read, |audience| {
            if audience.identifier != terms.identifier {
                let problem = "stays as it is: back ends check it in every token".to_owned();
                return Err(AudienceError::Invalid { field: "identifier", problem });
            }
            Ok(Audience {
                name: clean(terms.name.trim(), NAME_MAX),
                purpose: clean(terms.purpose.trim(), PURPOSE_MAX),
                scopes: terms.scopes.clone(),
                claims: terms.claims.clone(),
                algorithm: terms.algorithm,
                token_life_s: terms.token_life_s,
                admissions: terms.admissions.clone(),
                detail_types: terms.detail_types.clone(),
                data_classes: terms.data_classes.clone(),
                id_jag: terms.id_jag.clone(),
                ..audience.clone()
            })
        })
        .await
    }

    /// Disables or enables a back end; in force on the next request.
    ///
    /// # Errors
    /// When there is none, or nothing can be written.
    pub async fn set_state(
        &self,
        id: &AudienceId,
        state: AudienceState,
        by: &str,
    ) -> Result<Audience, AudienceError> {
        let action = match state {
            AudienceState::Active => "audience.enabled",
            AudienceState::Disabled => "audience.disabled",
        };
        self.edit(id, action, by, None, |audience| Ok(Audience { state, ..audience.clone() })).await
    }

    /// Makes a new secret, shown this once; the former one ends now.
    ///
    /// # Errors
    /// When there is none, or nothing can be written.
    pub async fn rotate_secret(&self, id: &AudienceId, by: &str) -> Result<SecretString, AudienceError> {
        let plain = bearer::generate(BearerKind::AudienceSecret, &*self.entropy);
        let digest = self.vault.digest(BearerKind::AudienceSecret, plain.expose_str());
        let changed = |audience: &Audience| Ok(Audience { secret: digest, ..audience.clone() });
        self.edit(id, "audience.secret_rotated", by, None, changed).await?;
        Ok(plain)
    }

    async fn edit(
        &self,
        id: &AudienceId,
        action: &str,
        by: &str,
        as_read: Option<&str>,
        change: impl Fn(&Audience) -> Result<Audience, AudienceError>,
    ) -> Result<Audience, AudienceError> {
        for _ in 0..TRIES {
            let before = self.get(id).await?.ok_or_else(|| AudienceError::NotFound(id.clone()))?;
            if as_read.is_some_and(|version| version != before.version()) {
                return Err(AudienceError::Changed);
            }
            let after = change(&before)?;
            self.audit.record(self.admin_event(action, id, by)).await?;
            if let Some(changed) = self.store.replace(&before, after).await? {
                return Ok(changed.record().clone());
            }
        }
        Err(StoreError::Contended { key: id.to_string() }.into())
    }

    async fn check(&self, terms: &AudienceTerms) -> Result<(), AudienceError> {
        let invalid =
            |field, problem: &str| Err(AudienceError::Invalid { field, problem: problem.to_owned() });
        let is_uri = url::Url::parse(&terms.identifier)
            .is_ok_and(|uri| uri.fragment().is_none() && !uri.as_str().trim_end_matches('/').is_empty());
        if !is_uri || terms.identifier.len() > 512 || terms.identifier.starts_with("provider:") {
            return invalid(
                "identifier",
                "write an absolute URI without fragment, such as https://hr.example.com",
            );
        }
        let is_text = |text: &str, most: usize| !text.trim().is_empty() && text.chars().count() <= most;
        if !is_text(&terms.name, NAME_MAX) {
            return invalid("name", "write 1 to 100 characters that employees will recognise");
        }
        if !is_text(&terms.purpose, PURPOSE_MAX) {
            return invalid("purpose", "say in 1 to 500 characters what the back end holds");
        }
        if terms.scopes.is_empty() {
            return invalid("scopes", "name at least one scope that the back end checks");
        }
        if terms.token_life_s < 10 || terms.token_life_s > LONGEST_TOKEN_S {
            return invalid("token_life_s", "choose 10 to 3600 seconds");
        }
        if terms.detail_types.len() > 20 || !terms.detail_types.iter().all(|name| is_text(name, 128)) {
            return invalid("authorization_details_types", "list at most 20 names of 1 to 128 characters");
        }
        if terms.data_classes.len() > 20 || !terms.data_classes.iter().all(|name| is_text(name, 100)) {
            return invalid("data_classes", "list at most 20 of 1 to 100 characters");
        }
        if let Some(problem) = terms.data_classes.iter().find_map(|class| data_class::check(class).err()) {
            return invalid("data_classes", &problem);
        }
        let known = terms.id_jag.iter().flat_map(|terms| terms.client_ids.values());
        if !known.clone().all(|client| is_text(client, 256)) || known.count() > MOST_ADMISSIONS {
            return invalid("id_jag", "client ids have 1 to 256 characters");
        }
        if terms.admissions.len() > MOST_ADMISSIONS {
            return invalid("admissions", "list at most 200");
        }
        for admission in &terms.admissions {
            let above = admission.scopes.difference(&terms.scopes);
            if admission.scopes.is_empty() || !above.is_empty() {
                return invalid("admissions", "each needs scopes, all of them among the audience's");
            }
            let is_nobody = match &admission.people {
                People::Users(users) => users.is_empty(),
                People::Groups(groups) => groups.is_empty(),
                People::Everyone | People::Itself => false,
            };
            if admission.agents.is_empty() || is_nobody {
                return invalid(
                    "admissions",
                    "each needs agents, and `for`: everyone, itself, users or groups",
                );
            }
            for agent in &admission.agents {
                if self.store.get::<Agent>(agent.as_str()).await?.is_none() {
                    return invalid("admissions", &format!("there is no agent `{agent}`"));
                }
            }
        }
        Ok(())
    }
}
