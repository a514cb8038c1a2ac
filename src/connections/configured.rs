//! Providers as an admin set them up: template, company, client id and secret.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use crate::audit::AuditError;
use crate::connections::{Connections, Inner};
use crate::kernel::ids::ProviderSlug;
use crate::kernel::secret::SecretString;
use crate::kernel::text::clean;
use crate::model::event::{EventDraft, EventKind};
use crate::model::provider::{AppToken, Provider};
use crate::model::sealed::{SealError, Sealer as _};
use crate::providers::fill::{self, FillError};
use crate::providers::{Configured, LoadedTemplate};
use crate::store::{Committed, StoreError, Stored, Tx, UpdateError};

/// Why a provider cannot be used or set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No admin has configured it.
    #[error("the provider `{0}` is not configured")]
    UnknownProvider(ProviderSlug),
    /// An admin has switched it off.
    #[error("the provider `{0}` is switched off")]
    Disabled(ProviderSlug),
    /// No template has that name.
    #[error("there is no template `{0}`")]
    UnknownTemplate(String),
    /// What was stated about the company does not fit the template.
    #[error("the template `{template}` cannot be filled: {}", problems.join("; "))]
    Company {
        /// The template.
        template: String,
        /// What is wrong.
        problems: Vec<String>,
    },
    /// The provider exists with connections that belong to its company.
    #[error("`{0}` is configured for another company or template; use another name for this one")]
    OtherCompany(ProviderSlug),
    /// A stated value cannot be taken.
    #[error("{0}")]
    Invalid(&'static str),
    /// The client secret does not open.
    #[error("the client secret of `{0}` does not open")]
    Sealed(ProviderSlug, #[source] SealError),
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// The audit log could not be written, so nothing was changed.
    #[error("the audit log could not be written")]
    Audit(#[from] AuditError),
}

/// What an admin states about a provider.
#[derive(Debug)]
pub struct NewProvider {
    /// Its name here.
    pub slug: ProviderSlug,
    /// The template that it follows.
    pub template: String,
    /// OAuth client id at the provider.
    pub client_id: String,
    /// OAuth client secret at the provider.
    pub client_secret: SecretString,
    /// What the template asks of the company.
    pub company: BTreeMap<String, String>,
}

/// Providers that were opened, each with the record that it was opened from.
#[derive(Default)]
pub(super) struct Cache(RwLock<HashMap<ProviderSlug, (Provider, Arc<Configured>)>>);

impl Cache {
    fn find(&self, record: &Provider) -> Option<Arc<Configured>> {
        let cache = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (known, configured) = cache.get(&record.slug)?;
        // Every write seals anew, so equal sealed bytes mean the same secret.
        let is_same = known.client_secret == record.client_secret
            && known.generation == record.generation
            && known.client_id == record.client_id
            && known.template == record.template
            && known.company == record.company;
        is_same.then(|| Arc::clone(configured))
    }

    fn keep(&self, record: &Provider, configured: &Arc<Configured>) {
        let mut cache = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cache.insert(record.slug.clone(), (record.clone(), Arc::clone(configured)));
    }
}

impl Connections {
    /// A provider ready to be dialled. Switched off means an error.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn configured(&self, slug: &ProviderSlug) -> Result<Arc<Configured>, ConnectionError> {
        self.inner.configured(slug).await
    }

    /// All providers that an admin has configured, in the order of their names.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn providers(&self) -> Result<Vec<Stored<Provider>>, StoreError> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|stored: &Stored<Provider>| stored.slug.as_str().to_owned());
            let page = self.inner.store.page::<Provider>(after.as_deref(), 100).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Configures a provider, or gives a configured one another client id or secret. `by` is the admin.
    ///
    /// # Errors
    /// When the template is unknown or cannot be filled, or nothing can be written.
    pub async fn add_provider(&self, new: NewProvider, by: &str) -> Result<Provider, ConnectionError> {
        let inner = &self.inner;
        if new.client_id.trim().is_empty() || new.client_secret.expose().is_empty() {
            return Err(ConnectionError::Invalid("state the client id and the client secret"));
        }
        let client_id = new.client_id.trim().to_owned();
        let template = inner.template(&new.template)?;
        let company = fill::company(&template.template, &new.company)
            .and_then(|company| fill::fill(&template, &company, &client_id).map(|_| company))
            .map_err(|problems| unfilled(&new.template, &problems))?;
        inner.audit.record(provider_event("provider.configured", &new.slug, by)).await?;
        for _ in 0..inner.tries() {
            let former = inner.store.get::<Provider>(new.slug.as_str()).await?;
            let is_other =
                |former: &Stored<Provider>| former.template != new.template || former.company != company;
            if former.as_ref().is_some_and(is_other) {
                return Err(ConnectionError::OtherCompany(new.slug));
            }
            let mut record = Provider {
                slug: new.slug.clone(),
                template: new.template.clone(),
                client_id: client_id.clone(),
                client_secret: crate::model::sealed::Sealed::from_bytes(Vec::new()),
                company: company.clone(),
                enabled: former.as_ref().is_none_or(|former| former.enabled),
                created_at: former.as_ref().map_or_else(|| inner.clock.now(), |former| former.created_at),
                generation: former.as_ref().map_or(1, |former| former.generation.saturating_add(1)),
            };
            record.client_secret =
                inner.vault.seal(record.secret_context(), new.client_secret.expose_str().as_bytes());
            let mut tx = Tx::new();
            match &former {
                Some(former) => tx.update(former, &record),
                None => tx.insert(&record),
            };
            // A token of the former client must not outlive it here.
            if let Some(app_token) = inner.store.get::<AppToken>(new.slug.as_str()).await? {
                tx.update(
                    &app_token,
                    &AppToken { expires_at: inner.clock.now(), ..app_token.record().clone() },
                );
            }
            if inner.patient.commit(tx).await? == Committed::Done {
                return Ok(record);
            }
        }
        Err(ConnectionError::Store(StoreError::Contended { key: new.slug.to_string() }))
    }

    /// Switches a provider on or off; in force on the next request. `by` is the admin.
    ///
    /// # Errors
    /// When there is no such provider or nothing can be written.
    pub async fn set_enabled(
        &self,
        slug: &ProviderSlug,
        enabled: bool,
        by: &str,
    ) -> Result<(), ConnectionError> {
        let inner = &self.inner;
        if inner.store.get::<Provider>(slug.as_str()).await?.is_none() {
            return Err(ConnectionError::UnknownProvider(slug.clone()));
        }
        let action = if enabled { "provider.enabled" } else { "provider.disabled" };
        inner.audit.record(provider_event(action, slug, by)).await?;
        inner
            .patient
            .update::<Provider, ConnectionError>(slug.as_str(), |provider| {
                Ok(Some(Provider { enabled, ..provider.clone() }))
            })
            .await
            .map_err(|error| match error {
                UpdateError::Refused(refused) => refused,
                UpdateError::Store(store) => ConnectionError::Store(store),
            })?;
        Ok(())
    }
}

fn provider_event(action: &str, slug: &ProviderSlug, by: &str) -> EventDraft {
    let mut event = EventDraft::new(EventKind::Admin, action);
    event.provider = Some(slug.clone());
    event.admin = Some(clean(by, 200));
    event
}

impl Inner {
    pub(super) async fn configured(&self, slug: &ProviderSlug) -> Result<Arc<Configured>, ConnectionError> {
        let configured = self.configured_even_if_off(slug).await?;
        match configured {
            (configured, true) => Ok(configured),
            (_, false) => Err(ConnectionError::Disabled(slug.clone())),
        }
    }

    /// Also for providers that are switched off: revoking a token must still be possible there.
    pub(super) async fn configured_even_if_off(
        &self,
        slug: &ProviderSlug,
    ) -> Result<(Arc<Configured>, bool), ConnectionError> {
        let record = self
            .store
            .get::<Provider>(slug.as_str())
            .await?
            .ok_or_else(|| ConnectionError::UnknownProvider(slug.clone()))?;
        if let Some(configured) = self.configured.find(&record) {
            return Ok((configured, record.enabled));
        }
        let opened = self
            .vault
            .open(record.secret_context(), &record.client_secret)
            .map_err(|error| ConnectionError::Sealed(slug.clone(), error))?;
        let client_secret =
            text_of(opened).ok_or_else(|| ConnectionError::Sealed(slug.clone(), SealError::DoesNotOpen))?;
        let filled = Configured::new(
            slug.clone(),
            &*self.template(&record.template)?,
            record.client_id.clone(),
            client_secret,
            &record.company,
        );
        let configured = Arc::new(filled.map_err(|problems| unfilled(&record.template, &problems))?);
        self.configured.keep(&record, &configured);
        Ok((configured, record.enabled))
    }

    fn template(&self, name: &str) -> Result<Arc<LoadedTemplate>, ConnectionError> {
        self.templates.get(name).ok_or_else(|| ConnectionError::UnknownTemplate(clean(name, 64)))
    }
}

fn unfilled(template: &str, problems: &[FillError]) -> ConnectionError {
    let problems = problems.iter().map(ToString::to_string).collect();
    ConnectionError::Company { template: template.to_owned(), problems }
}

/// The text that was sealed, moved and not copied.
pub(super) fn text_of(mut bytes: crate::kernel::secret::SecretBytes) -> Option<SecretString> {
    match String::from_utf8(std::mem::take(bytes.expose_mut())) {
        Ok(text) => Some(SecretString::new(text)),
        Err(error) => {
            drop(crate::kernel::secret::SecretBytes::new(error.into_bytes()));
            None
        }
    }
}
