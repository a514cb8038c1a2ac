//! Scopes on the wire: Valetkey's names to the vendor's and back.

use crate::kernel::scope::{Scope, ScopeSet};
use crate::providers::template::{Narrowing, ScopeEntry, SendScopes, Template};

/// More scopes than the vendor takes in one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} scopes are asked for, and the provider takes {max} at once")]
pub struct TooManyScopes {
    /// How many there would be.
    pub asked: usize,
    /// How many there may be.
    pub max: usize,
}

/// What an authorization request says in `scope`: vendor names, the ones that are always sent first.
///
/// # Errors
/// When the vendor does not take so many.
pub fn authorize_scopes(template: &Template, agreed: &ScopeSet) -> Result<Vec<String>, TooManyScopes> {
    let Some(authorize) = &template.authorize else {
        return Ok(vendor_names(template, agreed, &[]));
    };
    let rule = &authorize.scopes;
    let names = match rule.send {
        SendScopes::Asked => vendor_names(template, agreed, &rule.always),
        SendScopes::Fixed => rule.always.clone(),
    };
    if rule.max > 0 && names.len() > rule.max {
        return Err(TooManyScopes { asked: names.len(), max: rule.max });
    }
    Ok(names)
}

/// What a refresh says in `scope`; `None` = the parameter is not sent.
///
/// Where `scope` changes nothing or is refused it is never sent, unless the vendor insists on it.
pub fn refresh_scopes(template: &Template, wanted: &ScopeSet) -> Option<Vec<String>> {
    let refresh = template.refresh.as_ref()?;
    let is_sent = refresh.narrowing == Narrowing::Narrows || refresh.send_scope;
    is_sent.then(|| vendor_names(template, wanted, &refresh.always))
}

/// The separator between scopes.
pub(super) fn separator(template: &Template) -> &str {
    template.authorize.as_ref().map_or(" ", |authorize| authorize.scopes.separator.as_str())
}

fn vendor_names(template: &Template, scopes: &ScopeSet, always: &[String]) -> Vec<String> {
    let mut names = always.to_vec();
    for scope in scopes.iter() {
        let name = template.scope_entry(scope).map_or(scope.as_str(), ScopeEntry::vendor_name);
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

impl ScopeEntry {
    /// What the vendor calls it.
    pub fn vendor_name(&self) -> &str {
        self.vendor.as_deref().unwrap_or(self.name.as_str())
    }
}

/// The scopes that an answer names, in Valetkey's names.
///
/// INVARIANT: nothing is dropped. What the template does not know stays in the set under the vendor's
/// name, and what cannot even be written as a scope under `unrecognised:…`, so that a token that can
/// more than was asked for is always seen to.
pub fn read_scopes<'a>(template: &Template, texts: impl IntoIterator<Item = &'a str>) -> ScopeSet {
    texts
        .into_iter()
        .flat_map(|text| text.split([' ', ',']))
        .filter(|name| !name.is_empty())
        .map(|name| known(template, name).unwrap_or_else(|| as_stated(name)))
        .collect()
}

fn known(template: &Template, stated: &str) -> Option<Scope> {
    let exact = |name: &str| {
        let is_it = |e: &&ScopeEntry| e.vendor_name() == name || e.name.as_str() == name;
        template.scope.iter().find(is_it)
    };
    let any_case = |name: &str| {
        let is_it = |e: &&ScopeEntry| {
            e.vendor_name().eq_ignore_ascii_case(name) || e.name.as_str().eq_ignore_ascii_case(name)
        };
        template.scope.iter().find(is_it)
    };
    // Vendors that name a scope by its API's URL do so in some answers and not in others.
    let short = template.api.values().find_map(|api| {
        let rest = stated.get(api.base.len()..)?;
        let is_prefix = stated.get(..api.base.len())?.eq_ignore_ascii_case(&api.base);
        rest.strip_prefix('/').filter(|_| is_prefix)
    });
    let found = exact(stated).or_else(|| any_case(stated));
    found.or_else(|| short.and_then(|name| exact(name).or_else(|| any_case(name)))).map(|e| e.name.clone())
}

fn as_stated(name: &str) -> Scope {
    name.parse().unwrap_or_else(|_| Scope::unrecognised(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        toml::from_str(
            r#"
            schema = 1
            docs = "https://docs.example.com"
            name = { en = "X", zh = "某" }
            [identity]
            source = "userinfo"
            url = "https://api.example.com/me"
            subject = "id"
            company = "config"
            label = ["name"]
            [api.main]
            base = "https://api.example.com"
            [[scope]]
            name = "Mail.Read"
            vendor = "https://api.example.com/Mail.Read"
            title = { en = "t", zh = "标题" }
            description = { en = "d", zh = "说明" }
            access = "read"
            risk = "low"
            [[scope]]
            name = "Files.Read"
            title = { en = "t", zh = "标题" }
            description = { en = "d", zh = "说明" }
            access = "read"
            risk = "low"
            "#,
        )
        .unwrap()
    }

    #[test]
    fn stated_scopes_become_valetkeys_names_however_the_vendor_writes_them() {
        let template = template();
        for stated in [
            "Mail.Read Files.Read",
            "mail.read,FILES.READ",
            "https://api.example.com/Mail.Read https://API.example.com/files.read",
        ] {
            assert_eq!(read_scopes(&template, [stated]).to_string(), "Files.Read Mail.Read", "{stated}");
        }
    }

    #[test]
    fn what_is_not_known_is_never_lost() {
        let template = template();
        let set = read_scopes(&template, ["Mail.Read Admin.All", "ad\\min", "é"]);
        assert_eq!(set.to_string(), "Admin.All Mail.Read unrecognised: unrecognised:admin");
        assert!(read_scopes(&template, [""]).is_empty());
        let other_host = read_scopes(&template, ["https://evil.example/Mail.Read"]);
        assert_eq!(other_host.to_string(), "https://evil.example/Mail.Read");
    }

    #[test]
    fn asked_scopes_become_the_vendors_names() {
        let asked = ScopeSet::parse("Mail.Read Files.Read").unwrap();
        let sent = authorize_scopes(&template(), &asked).unwrap();
        assert_eq!(sent, ["Files.Read", "https://api.example.com/Mail.Read"]);
        assert_eq!(refresh_scopes(&template(), &asked), None);
    }
}
