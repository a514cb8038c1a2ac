//! Filling placeholders with a company's values.

use std::collections::BTreeMap;

use crate::providers::load::LoadedTemplate;
use crate::providers::placeholder::{self, PlaceholderProblem};
use crate::providers::template::{CompanyFormat, Template, TokenEndpoint};
use crate::providers::urls::{self, UrlProblem};

/// Why values cannot be put into a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// A required value is not stated.
    #[error("`{field}` is missing: {rule}, for example `{example}`")]
    Missing {
        /// The company field.
        field: String,
        /// What it looks like.
        rule: &'static str,
        /// The template's example.
        example: String,
    },
    /// A value that the template does not ask for.
    #[error("`{field}` is not asked for by this template; it asks for {asked}")]
    Unknown {
        /// What was stated.
        field: String,
        /// What there is.
        asked: String,
    },
    /// A value that does not fit.
    #[error("`{field}` must be {rule}, for example `{example}`")]
    Format {
        /// The company field.
        field: String,
        /// What it looks like.
        rule: &'static str,
        /// The template's example.
        example: String,
    },
    /// A client id that no provider gives out.
    #[error("`client_id` must be 1 to 256 visible ASCII characters")]
    ClientId,
    /// A client id that would change the meaning of the text that it is put into.
    #[error("`client_id` is part of `{key}` and may there hold only letters, digits and -._~")]
    ClientIdCharacters {
        /// Where it is put in.
        key: String,
    },
    /// A text with braces that are no placeholders.
    #[error("`{key}` {problem}")]
    Placeholder {
        /// Where.
        key: String,
        /// Why.
        problem: PlaceholderProblem,
    },
    /// A placeholder without a value.
    #[error("`{key}` names the placeholder `{{{name}}}`, which the template does not define")]
    Undefined {
        /// Where.
        key: String,
        /// The placeholder.
        name: String,
    },
    /// A URL that may not be called.
    #[error("`{key}` with these values {problem}")]
    Url {
        /// Where.
        key: String,
        /// Why.
        problem: UrlProblem,
    },
}

/// What a text that holds placeholders is, once filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Endpoint,
    Origin,
    Issuer,
    Plain,
}

/// The company's values in canonical form, with defaults.
///
/// # Errors
/// All values that are missing, unknown or do not fit.
pub fn company(
    template: &Template,
    stated: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Vec<FillError>> {
    let mut values = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, field) in &template.company {
        let (rule, example) = (field.format.rule(), field.example.clone());
        let value = stated.get(name).filter(|value| !value.is_empty()).or(field.default.as_ref());
        match value.map(|value| field.format.accept(value)) {
            Some(Some(value)) => {
                values.insert(name.clone(), value);
            }
            Some(None) => errors.push(FillError::Format { field: name.clone(), rule, example }),
            None => errors.push(FillError::Missing { field: name.clone(), rule, example }),
        }
    }
    for name in stated.keys().filter(|name| !template.company.contains_key(*name)) {
        let asked: Vec<&str> = template.company.keys().map(String::as_str).collect();
        let asked = if asked.is_empty() { "nothing".to_owned() } else { asked.join(", ") };
        errors.push(FillError::Unknown { field: name.clone(), asked });
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

/// The template with every placeholder filled, once, and every URL judged again.
///
/// # Errors
/// Everything that is wrong with the values.
pub fn fill(
    loaded: &LoadedTemplate,
    stated: &BTreeMap<String, String>,
    client_id: &str,
) -> Result<LoadedTemplate, Vec<FillError>> {
    let values = company(&loaded.template, stated);
    let mut errors = Vec::new();
    if client_id.is_empty() || client_id.len() > 256 || !client_id.bytes().all(|b| b.is_ascii_graphic()) {
        errors.push(FillError::ClientId);
    }
    let values = match values {
        Ok(values) => values,
        Err(mut wrong) => {
            wrong.append(&mut errors);
            return Err(wrong);
        }
    };
    let mut filled = loaded.clone();
    each_text(&mut filled.template, &mut |key, role, text| {
        if let Err(error) = fill_text(&key, role, text, &values, client_id) {
            errors.push(error);
        }
    });
    if errors.is_empty() { Ok(filled) } else { Err(errors) }
}

fn fill_text(
    key: &str,
    role: Role,
    text: &mut String,
    values: &BTreeMap<String, String>,
    client_id: &str,
) -> Result<(), FillError> {
    let key = || key.to_owned();
    let is_plain_id = client_id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    let uses_id = placeholder::pieces(text)
        .map_err(|problem| FillError::Placeholder { key: key(), problem })?
        .contains(&placeholder::Piece::Name("client_id"));
    if uses_id && !is_plain_id {
        return Err(FillError::ClientIdCharacters { key: key() });
    }
    let value_of = |name: &str| match name {
        "client_id" => Some(client_id),
        _ => values.get(name).map(String::as_str),
    };
    *text = placeholder::expand(text, value_of).map_err(|error| match error {
        Ok(name) => FillError::Undefined { key: key(), name },
        Err(problem) => FillError::Placeholder { key: key(), problem },
    })?;
    if text.is_empty() {
        return Ok(());
    }
    if role == Role::Origin {
        // An issuer that ends with a slash is still an origin.
        text.truncate(text.trim_end_matches('/').len());
    }
    let judged = match role {
        Role::Endpoint => urls::endpoint(text).map(drop),
        Role::Origin => urls::origin(text).map(drop),
        Role::Issuer if CompanyFormat::Issuer.accept(text).is_none() => urls::endpoint(text).map(drop),
        Role::Issuer | Role::Plain => Ok(()),
    };
    judged.map_err(|problem| FillError::Url { key: key(), problem })
}

/// Every text that may hold placeholders, with its key.
fn each_text(template: &mut Template, visit: &mut dyn FnMut(String, Role, &mut String)) {
    if let Some(discovery) = &mut template.discovery {
        visit("discovery.issuer".to_owned(), Role::Issuer, &mut discovery.issuer);
    }
    if let Some(authorize) = &mut template.authorize {
        visit("authorize.url".to_owned(), Role::Endpoint, &mut authorize.url);
        for (name, value) in &mut authorize.params {
            visit(format!("authorize.params.{name}"), Role::Plain, value);
        }
    }
    token_texts("token", template.token.as_mut(), visit);
    token_texts("app_token", template.app_token.as_mut(), visit);
    if let Some(revoke) = &mut template.revoke {
        visit("revoke.url".to_owned(), Role::Endpoint, &mut revoke.url);
    }
    visit("identity.issuer".to_owned(), Role::Issuer, &mut template.identity.issuer);
    visit("identity.jwks_url".to_owned(), Role::Endpoint, &mut template.identity.jwks_url);
    visit("identity.url".to_owned(), Role::Endpoint, &mut template.identity.url);
    if let Some(lookup) = &mut template.identity.pin_lookup {
        visit("identity.pin_lookup.url".to_owned(), Role::Endpoint, &mut lookup.url);
    }
    for (name, api) in &mut template.api {
        visit(format!("api.{name}.base"), Role::Origin, &mut api.base);
    }
    for (at, scope) in template.scope.iter_mut().enumerate() {
        if let Some(vendor) = &mut scope.vendor {
            visit(format!("scope[{at}].vendor"), Role::Plain, vendor);
        }
    }
}

fn token_texts(
    section: &str,
    endpoint: Option<&mut TokenEndpoint>,
    visit: &mut dyn FnMut(String, Role, &mut String),
) {
    if let Some(endpoint) = endpoint {
        visit(format!("{section}.url"), Role::Endpoint, &mut endpoint.url);
        for (name, value) in &mut endpoint.params {
            visit(format!("{section}.params.{name}"), Role::Plain, value);
        }
    }
}
