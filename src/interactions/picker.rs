//! The last step of a consent with limits: what the person picks from the provider's own lists, read with
//! the token that their consent has just brought.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use crate::connections::{LeaseError, ProviderAccess};
use crate::interactions::answer::AnswerError;
use crate::interactions::{Interactions, Next};
use crate::kernel::bearer::TokenDigest;
use crate::kernel::ids::{ConnectionId, InteractionId, ProviderSlug, UserId};
use crate::kernel::text;
use crate::model::agreement::{Agreement, Pick};
use crate::model::connection::Connection;
use crate::model::interaction::{Interaction, InteractionState};
use crate::model::limit::{MOST_VALUES, Named};
use crate::providers::Configured;
use crate::providers::lookup::{self, LookupCall};
use crate::providers::template::{Api, ObjectEntry, ObjectList, RouteToken};
use crate::store::{StoreError, Stored};
use crate::upstream::LookupError;

/// How many pages of a list are read.
const PAGES: usize = 10;
/// How many things of a list are shown.
const SHOWN: usize = 200;
/// How many look-ups run at a time.
const AT_A_TIME: usize = 6;
/// How much of a name is kept.
const LONGEST_NAME: usize = 120;

/// A list that a person picks from.
#[derive(Debug)]
pub struct Picker {
    /// The interaction.
    pub interaction: Interaction,
    /// What was agreed, with what is still to be picked.
    pub agreement: Agreement,
    /// What is picked now.
    pub pick: Pick,
    /// The account.
    pub connection: ConnectionId,
    stored: Stored<Interaction>,
    pins: BTreeMap<String, String>,
    configured: Arc<Configured>,
    object: ObjectEntry,
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

/// Why there is nothing to pick from, or what was picked cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PickError {
    /// Nothing is to be picked at present: it was answered meanwhile, or never got that far.
    #[error("nothing is to be picked at present")]
    NotNow,
    /// Another browser agreed, or it was more than ten minutes ago.
    #[error("this was agreed to in another browser, or too long ago")]
    Late,
    /// Nothing was picked.
    #[error("nothing was picked")]
    Nothing,
    /// More was picked than a limit can hold.
    #[error("more than {MOST_VALUES} were picked")]
    TooMany,
    /// What was picked is not there, or cannot be read by this person.
    #[error("the provider shows some of this to nobody, or not to this user")]
    Absent,
    /// The provider's list cannot be read.
    #[error("the provider's list cannot be read: {0}")]
    Lookup(#[from] LookupError),
    /// There is no usable token.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// As with any other answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl From<StoreError> for PickError {
    fn from(error: StoreError) -> Self {
        Self::Answer(error.into())
    }
}

impl Picker {
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
}

impl Interactions {
    /// The list that the person has to pick from next.
    ///
    /// # Errors
    /// When there is none, or not for this browser any more.
    pub async fn picker(
        &self,
        id: &InteractionId,
        user: &UserId,
        browser: &TokenDigest,
    ) -> Result<Picker, PickError> {
        let stored = self.answerable(id, user).await?;
        let InteractionState::Choosing { agreement, connection } = stored.state.clone() else {
            return Err(PickError::NotNow);
        };
        if !agreement.is_open_to(browser, self.clock.now()) {
            return Err(PickError::Late);
        }
        let pick = agreement.picks.first().cloned().ok_or(PickError::NotNow)?;
        let configured = self.connections.configured(&stored.question.provider).await;
        let configured = configured.map_err(AnswerError::from)?;
        let template = &configured.loaded.template;
        let entry = template.limit_entry(pick.kind, &pick.api);
        let object = entry.and_then(|entry| entry.pick.as_ref()).and_then(|name| template.object.get(name));
        let object = object.cloned().ok_or(LookupError::NotOffered)?;
        let account = self.store.get::<Connection>(connection.as_str()).await?;
        let pins = account.ok_or(AnswerError::AccountGone)?.account.pins.clone();
        Ok(Picker {
            interaction: stored.record().clone(),
            agreement,
            pick,
            connection,
            stored,
            pins,
            configured,
            object,
        })
    }

    /// What can be picked in one place; without one, at the top.
    ///
    /// # Errors
    /// When the provider's list cannot be read.
    pub async fn list(&self, picker: &Picker, inside: Option<&str>) -> Result<Listing, PickError> {
        let mut listing = self.read_list(picker, inside, SHOWN).await?;
        listing.cut |= listing.items.len() > SHOWN;
        listing.items.truncate(SHOWN);
        Ok(listing)
    }

    /// Pages of a list, until there are that many things.
    async fn read_list(
        &self,
        picker: &Picker,
        inside: Option<&str>,
        enough: usize,
    ) -> Result<Listing, PickError> {
        let list = picker.object.list.as_ref().ok_or(LookupError::NotOffered)?;
        let mut call = LookupCall::of_list(list, inside, &picker.pins).ok_or(LookupError::NotOffered)?;
        let mut listing = Listing::default();
        for _ in 0..PAGES {
            let document = self.ask(picker, &call).await?;
            let found = lookup::find(&document, &list.items).into_iter();
            let offered = found.filter(|item| lookup::is_offered(item, list));
            listing.items.extend(offered.filter_map(|item| named(item, &picker.object, list)));
            let next = picker.api().and_then(|api| next_page(api, &document));
            listing.cut = next.is_some();
            match next {
                Some(target) if listing.items.len() < enough => call.target = target,
                _ => break,
            }
        }
        Ok(listing)
    }

    /// What the agent has named, as the provider knows it.
    ///
    /// # Errors
    /// When the provider cannot be asked.
    pub async fn suggested(&self, picker: &Picker) -> Result<Vec<Suggested>, PickError> {
        let asked: Vec<String> = picker.pick.suggested.iter().map(|item| item.id.clone()).collect();
        let found = self.resolve(picker, &asked).await?;
        let both = picker.pick.suggested.iter().cloned().zip(found);
        Ok(both.map(|(asked, found)| Suggested { asked, found }).collect())
    }

    /// The person confirms what they have picked: `items` are identifiers, with the names that they were
    /// shown. The grant is made when nothing else is to be picked.
    ///
    /// # Errors
    /// When nothing can be picked by this browser any more, or the provider does not show one of the things
    /// to this user. Nothing is granted then.
    pub async fn confirm_pick(
        &self,
        id: &InteractionId,
        user: &UserId,
        browser: &TokenDigest,
        items: &[Named],
    ) -> Result<Next, PickError> {
        let picker = self.picker(id, user, browser).await?;
        if items.is_empty() {
            return Err(PickError::Nothing);
        }
        if items.len() > MOST_VALUES {
            return Err(PickError::TooMany);
        }
        let existing: Vec<Named> = match picker.pick.suggested.is_empty() {
            true => Vec::new(),
            false => self.suggested(&picker).await?.into_iter().filter_map(|one| one.found).collect(),
        };
        // With nothing that exists, a narrower choice would stand beside no limit at all.
        if existing.is_empty() && !picker.pick.suggested.is_empty() {
            return Err(PickError::Absent);
        }
        let ids: Vec<String> = items.iter().map(|item| item.id.clone()).collect();
        let mut chosen: Vec<Named> = Vec::with_capacity(items.len());
        for (item, found) in items.iter().zip(self.resolve(&picker, &ids).await?) {
            let found = found.ok_or(PickError::Absent)?;
            if !chosen.iter().any(|other| other.id == found.id) {
                let name = found.name.or_else(|| clean_name(item.name.as_deref()?));
                chosen.push(Named { id: found.id, name });
            }
        }
        let agreement = picker.agreement.with_picked(&existing, chosen).ok_or(PickError::NotNow)?;
        Ok(self.go_on(&picker.stored, agreement, &picker.connection).await?)
    }

    /// Goes back to the question: nothing was granted yet.
    ///
    /// # Errors
    /// When it was answered meanwhile.
    pub async fn start_over(&self, id: &InteractionId, user: &UserId) -> Result<(), AnswerError> {
        let stored = self.answerable(id, user).await?;
        let pending = Interaction { state: InteractionState::Pending, ..stored.record().clone() };
        self.replace(&stored, &pending).await
    }

    /// Things by their identifiers, in the same order; none for what is not there for this user.
    async fn resolve(&self, picker: &Picker, ids: &[String]) -> Result<Vec<Option<Named>>, PickError> {
        if picker.object.get.is_none() {
            let all = self.read_list(picker, None, usize::MAX).await?.items;
            return Ok(ids.iter().map(|id| all.iter().find(|item| &item.id == id).cloned()).collect());
        }
        let asked = stream::iter(ids.iter().map(|id| self.resolve_one(picker, id)));
        let found: Vec<_> = asked.buffered(AT_A_TIME).collect().await;
        found.into_iter().collect()
    }

    async fn resolve_one(&self, picker: &Picker, id: &str) -> Result<Option<Named>, PickError> {
        let object = with_name(&picker.object, picker.api());
        let Some(call) = LookupCall::of_object(&object, id, &picker.pins) else { return Ok(None) };
        let document = match self.ask(picker, &call).await {
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
    async fn ask(&self, picker: &Picker, call: &LookupCall) -> Result<Value, PickError> {
        let access = self.access(picker).await?;
        let (configured, api) = (&picker.configured, &picker.object.api);
        match self.upstream.look_up(configured, api, call, &access.token).await {
            Err(LookupError::StaleToken) => {}
            answer => return Ok(answer?),
        }
        match picker.object.token {
            RouteToken::User => {
                self.connections.invalidate_access(&picker.connection, access.generation).await?;
            }
            RouteToken::App => {
                self.connections.invalidate_app_token(picker.provider(), access.generation).await?;
            }
        }
        let renewed = self.access(picker).await?;
        Ok(self.upstream.look_up(configured, api, call, &renewed.token).await?)
    }

    async fn access(&self, picker: &Picker) -> Result<ProviderAccess, LeaseError> {
        match picker.object.token {
            RouteToken::User => self.connections.lease(&picker.connection).await,
            RouteToken::App => self.connections.app_access(picker.provider()).await,
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

/// Path and query of the next page, where the answer names one at the same API.
fn next_page(api: &Api, document: &Value) -> Option<String> {
    // The first link is the one to the next page; others lead on later (Graph's delta links).
    let link = document.get(api.links.first()?)?.as_str()?;
    let target = link.strip_prefix(&api.base)?;
    (target.starts_with('/') && !target.starts_with("//")).then(|| target.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_next_page_stays_at_the_api() {
        let api: Api = toml::from_str("base = \"https://a.example\"\nlinks = [\"@odata.nextLink\"]").unwrap();
        let at = |link: &str| next_page(&api, &json!({"@odata.nextLink": link}));
        assert_eq!(at("https://a.example/v1/f?$skip=9").as_deref(), Some("/v1/f?$skip=9"));
        for elsewhere in ["https://a.example.evil/v1", "https://b.example/v1", "https://a.example//b", "/v1"]
        {
            assert_eq!(at(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(next_page(&api, &json!({"other": "https://a.example/v1"})), None);
    }

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
