//! A provider's own list, read with the token of an account: what a person picks limits from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use crate::connections::{LeaseError, ProviderAccess};
use crate::interactions::Interactions;
use crate::interactions::answer::AnswerError;
use crate::interactions::picker::PickError;
use crate::kernel::ids::{ConnectionId, ProviderSlug};
use crate::kernel::text;
use crate::model::agreement::Pick;
use crate::model::connection::Connection;
use crate::model::grant::Grant;
use crate::model::limit::{Limit, LimitKind, MOST_VALUES, Named};
use crate::providers::Configured;
use crate::providers::lookup::{self, LookupCall};
use crate::providers::template::{Api, ObjectEntry, ObjectList, RouteToken};
use crate::upstream::LookupError;

/// How many pages of a list are read.
const PAGES: usize = 10;
/// How many lists are read to meet what was picked.
const LISTS: usize = 40;
/// How many things of a list are shown.
const SHOWN: usize = 200;
/// How many look-ups run at a time.
const AT_A_TIME: usize = 6;
/// How much of a name is kept.
const LONGEST_NAME: usize = 120;

/// A list, and where it is read.
#[derive(Debug)]
pub struct Shelf {
    /// What is picked.
    pub pick: Pick,
    /// The account.
    pub connection: ConnectionId,
    pins: BTreeMap<String, String>,
    configured: Arc<Configured>,
    object: ObjectEntry,
}

/// What a person has picked.
#[derive(Clone, Debug, Default)]
pub struct Picked {
    /// Identifiers, with the names that they were shown.
    pub items: Vec<Named>,
    /// The folders through which the person has come to where they are.
    pub way: Vec<Named>,
}

/// What lies in one place.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// What can be picked there.
    pub items: Vec<Named>,
    /// Whether there is more than is listed.
    pub cut: bool,
}

/// Something that the agent has named.
#[derive(Clone, Debug)]
pub struct Suggested {
    /// As it was named.
    pub asked: Named,
    /// As the provider knows it; none when it is not there, or not for this person.
    pub found: Option<Named>,
}

impl Shelf {
    /// Whether things of this kind lie in one another.
    pub fn can_open(&self) -> bool {
        self.object.list.as_ref().is_some_and(|list| list.children.is_some())
    }

    /// Whether there is a list at all; without one, only what the agent has named can be picked.
    pub fn is_listed(&self) -> bool {
        self.object.list.is_some()
    }

    fn provider(&self) -> &ProviderSlug {
        &self.configured.slug
    }

    fn api(&self) -> Option<&Api> {
        self.configured.loaded.template.api.get(&self.object.api)
    }

    /// Holds how much was picked against what a limit can hold.
    pub(super) fn check(&self, items: &[Named]) -> Result<(), PickError> {
        match items.len() {
            0 => Err(PickError::Nothing),
            1..=MOST_VALUES => Ok(()),
            _ => Err(PickError::TooMany),
        }
    }
}

impl Interactions {
    /// The list for a limit that is put on a grant later.
    ///
    /// # Errors
    /// When there is no such list for what the grant holds.
    pub async fn shelf_of(&self, grant: &Grant, api: &str, kind: LimitKind) -> Result<Shelf, PickError> {
        let pick = Pick { api: api.to_owned(), kind, suggested: Vec::new() };
        let shelf = self.shelf(&grant.provider, &grant.connection, pick).await?;
        let scopes = grant.scopes_at(self.clock.now());
        let template = &shelf.configured.loaded.template;
        let bounds = template
            .limit_entry(kind, api)
            .is_some_and(|entry| entry.scopes.iter().any(|scope| scopes.contains(scope)));
        if bounds && shelf.is_listed() { Ok(shelf) } else { Err(LookupError::NotOffered.into()) }
    }

    /// The limit to what was picked of a list.
    ///
    /// # Errors
    /// When nothing was picked, or the provider does not show some of it to this user.
    pub async fn limit_of(&self, shelf: &Shelf, picked: &Picked) -> Result<Limit, PickError> {
        shelf.check(&picked.items)?;
        let chosen = self.chosen(shelf, picked).await?;
        shelf.pick.limit(chosen).ok_or(PickError::Nothing)
    }

    pub(super) async fn shelf(
        &self,
        provider: &ProviderSlug,
        connection: &ConnectionId,
        pick: Pick,
    ) -> Result<Shelf, PickError> {
        let configured = self.connections.configured(provider).await.map_err(AnswerError::from)?;
        let template = &configured.loaded.template;
        let entry = template.limit_entry(pick.kind, &pick.api);
        let object = entry.and_then(|entry| entry.pick.as_ref()).and_then(|name| template.object.get(name));
        let object = object.cloned().ok_or(LookupError::NotOffered)?;
        let account = self.store.get::<Connection>(connection.as_str()).await?;
        let pins = account.ok_or(AnswerError::AccountGone)?.account.pins.clone();
        Ok(Shelf { pick, connection: connection.clone(), pins, configured, object })
    }

    /// What can be picked in one place; without one, at the top.
    ///
    /// # Errors
    /// When the provider's list cannot be read.
    pub async fn list(&self, shelf: &Shelf, inside: Option<&str>) -> Result<Listing, PickError> {
        let mut listing = self.read_list(shelf, inside, SHOWN).await?;
        listing.cut |= listing.items.len() > SHOWN;
        listing.items.truncate(SHOWN);
        Ok(listing)
    }

    /// Pages of a list, until there are that many things.
    async fn read_list(
        &self,
        shelf: &Shelf,
        inside: Option<&str>,
        enough: usize,
    ) -> Result<Listing, PickError> {
        let list = shelf.object.list.as_ref().ok_or(LookupError::NotOffered)?;
        let first = LookupCall::of_list(list, inside, &shelf.pins).ok_or(LookupError::NotOffered)?;
        let mut call = first.clone();
        let mut listing = Listing::default();
        for _ in 0..PAGES {
            let document = self.ask(shelf, &call).await?;
            let found = lookup::find(&document, &list.items).into_iter();
            let offered = found.filter(|item| lookup::is_offered(item, list));
            listing.items.extend(offered.filter_map(|item| named(item, &shelf.object, list)));
            let next = first.next_page(list, shelf.api(), &document);
            listing.cut = next.is_some();
            match next {
                Some(next) if listing.items.len() < enough => call = next,
                _ => break,
            }
        }
        Ok(listing)
    }

    /// What the agent has named, as the provider knows it.
    ///
    /// # Errors
    /// When the provider cannot be asked.
    pub async fn suggested(&self, shelf: &Shelf) -> Result<Vec<Suggested>, PickError> {
        let asked: Vec<String> = shelf.pick.suggested.iter().map(|item| item.id.clone()).collect();
        let found = self.resolve(shelf, &asked, &[]).await?;
        let both = shelf.pick.suggested.iter().cloned().zip(found);
        Ok(both.map(|(asked, found)| Suggested { asked, found }).collect())
    }

    /// What was picked, by the names that the provider has for it.
    pub(super) async fn chosen(&self, shelf: &Shelf, picked: &Picked) -> Result<Vec<Named>, PickError> {
        let items = &picked.items;
        let ids: Vec<String> = items.iter().map(|item| item.id.clone()).collect();
        let mut chosen: Vec<Named> = Vec::with_capacity(items.len());
        for (item, found) in items.iter().zip(self.resolve(shelf, &ids, &picked.way).await?) {
            let found = found.ok_or(PickError::Absent)?;
            if !chosen.iter().any(|other| other.id == found.id) {
                let name = found.name.or_else(|| clean_name(item.name.as_deref()?));
                chosen.push(Named { id: found.id, name });
            }
        }
        Ok(chosen)
    }

    /// Things by their identifiers, in the same order; none for what is not there for this user.
    async fn resolve(
        &self,
        shelf: &Shelf,
        ids: &[String],
        way: &[Named],
    ) -> Result<Vec<Option<Named>>, PickError> {
        if shelf.object.get.is_none() {
            return self.met(shelf, ids, way).await;
        }
        let asked = stream::iter(ids.iter().map(|id| self.resolve_one(shelf, id)));
        let found: Vec<_> = asked.buffered(AT_A_TIME).collect().await;
        found.into_iter().collect()
    }

    /// Things that cannot be looked up by their identifiers, met in the lists: first on the way that the person
    /// has gone, then from the top down, within bounds.
    async fn met(
        &self,
        shelf: &Shelf,
        ids: &[String],
        way: &[Named],
    ) -> Result<Vec<Option<Named>>, PickError> {
        let mut met: BTreeMap<String, Named> = BTreeMap::new();
        let mut places: VecDeque<Option<String>> = way.iter().rev().map(|at| Some(at.id.clone())).collect();
        places.push_back(None);
        let mut looked: BTreeSet<Option<String>> = BTreeSet::new();
        while let Some(place) = places.pop_front() {
            if ids.iter().all(|id| met.contains_key(id)) {
                break;
            }
            if !looked.insert(place.clone()) {
                continue;
            }
            // What is not met by then cannot be taken; nothing is guessed.
            if looked.len() > LISTS {
                return Err(LookupError::Unreadable.into());
            }
            for item in self.read_list(shelf, place.as_deref(), usize::MAX).await?.items {
                if shelf.can_open() {
                    places.push_back(Some(item.id.clone()));
                }
                met.insert(item.id.clone(), item);
            }
        }
        Ok(ids.iter().map(|id| met.remove(id)).collect())
    }

    async fn resolve_one(&self, shelf: &Shelf, id: &str) -> Result<Option<Named>, PickError> {
        let object = with_name(&shelf.object, shelf.api());
        let Some(call) = LookupCall::of_object(&object, id, &shelf.pins) else { return Ok(None) };
        let document = match self.ask(shelf, &call).await {
            Ok(document) => document,
            Err(PickError::Lookup(LookupError::Absent)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(found) = lookup::find(&document, &object.at).first().copied() else { return Ok(None) };
        let Some(id) = lookup::identifier(found, &object.fields) else { return Ok(None) };
        let name = object.list.as_ref().and_then(|list| name_of(found, list));
        Ok(Some(Named { id, name }))
    }

    /// Asks the provider with the token of the account, or of the app.
    async fn ask(&self, shelf: &Shelf, call: &LookupCall) -> Result<Value, PickError> {
        let access = self.access(shelf).await?;
        let (configured, api) = (&shelf.configured, &shelf.object.api);
        match self.upstream.look_up(configured, api, call, &access.token).await {
            Err(LookupError::StaleToken) => {}
            answer => return Ok(answer?),
        }
        match shelf.object.token {
            RouteToken::User => {
                self.connections.invalidate_access(&shelf.connection, access.generation).await?;
            }
            RouteToken::App => {
                self.connections.invalidate_app_token(shelf.provider(), access.generation).await?;
            }
        }
        let renewed = self.access(shelf).await?;
        Ok(self.upstream.look_up(configured, api, call, &renewed.token).await?)
    }

    async fn access(&self, shelf: &Shelf) -> Result<ProviderAccess, LeaseError> {
        match shelf.object.token {
            RouteToken::User => self.connections.lease(&shelf.connection).await,
            RouteToken::App => self.connections.app_access(shelf.provider()).await,
        }
    }
}

/// A look-up that states which members it wants asks for the name as well.
fn with_name(object: &ObjectEntry, api: Option<&Api>) -> ObjectEntry {
    let mut object = object.clone();
    let name = object.list.as_ref().and_then(|list| list.name.split('.').next()).map(str::to_owned);
    let select = api.and_then(|api| api.select.as_ref());
    if let (Some(name), Some(select)) = (name, select)
        && let Some(members) = object.query.get_mut(select)
        && !members.split(',').any(|member| member == name)
    {
        members.push(',');
        members.push_str(&name);
    }
    object
}

fn named(item: &Value, object: &ObjectEntry, list: &ObjectList) -> Option<Named> {
    Some(Named { id: lookup::identifier(item, &object.fields)?, name: name_of(item, list) })
}

fn name_of(item: &Value, list: &ObjectList) -> Option<String> {
    clean_name(&lookup::text_of(lookup::find(item, &list.name).first()?)?)
}

fn clean_name(name: &str) -> Option<String> {
    Some(text::clean(name, LONGEST_NAME).trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_asks_for_the_name_where_it_states_members() {
        let object: ObjectEntry = toml::from_str(
            "api = \"a\"\nget = \"GET /v1/f/{id}\"\nquery = { \"$select\" = \"id,parent\" }\n\
             [fields]\nid = \"id\"\n[list]\nroots = \"GET /v1/f\"\nitems = \"value.*\"\nname = \"displayName\"",
        )
        .unwrap();
        let api: Api = toml::from_str("base = \"https://a.example\"\nselect = \"$select\"").unwrap();
        assert_eq!(with_name(&object, Some(&api)).query["$select"], "id,parent,displayName");
        assert_eq!(with_name(&object, None).query["$select"], "id,parent");
    }
}
