//! A template together with what an admin configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kernel::ids::ProviderSlug;
use crate::kernel::secret::SecretString;
use crate::providers::fill::{self, FillError};
use crate::providers::load::LoadedTemplate;

/// A configured provider, ready to be called.
#[derive(Debug)]
pub struct Configured {
    /// Its name.
    pub slug: ProviderSlug,
    /// The template with all placeholders filled.
    pub loaded: Arc<LoadedTemplate>,
    /// OAuth client id at the provider.
    pub client_id: String,
    /// OAuth client secret at the provider.
    pub client_secret: SecretString,
    /// The company's values in canonical form, defaults included.
    pub company: BTreeMap<String, String>,
}

impl Configured {
    /// Fills a template.
    ///
    /// # Errors
    /// Everything that is wrong with the stated values.
    pub fn new(
        slug: ProviderSlug,
        template: &LoadedTemplate,
        client_id: String,
        client_secret: SecretString,
        company: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<FillError>> {
        let company = fill::company(&template.template, company)?;
        let loaded = Arc::new(fill::fill(template, &company, &client_id)?);
        Ok(Self { slug, loaded, client_id, client_secret, company })
    }
}
