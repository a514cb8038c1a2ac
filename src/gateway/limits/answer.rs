//! What a limit leaves of an answer.
//!
//! Items outside are left out of lists; a single object outside withholds the answer as a whole. What cannot be
//! read is not released under a limit. What stays is released as the provider wrote it.

use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use crate::gateway::denial::Denial;
use crate::gateway::limits::facts::{Facts, Held, Source, fields_of};
use crate::gateway::limits::json::Json;
use crate::gateway::limits::judge::AnswerTest;
use crate::gateway::limits::lookups::{Lookups, Unchecked};
use crate::gateway::limits::{places, words};
use crate::gateway::links;
use crate::kernel::said::Said;
use crate::model::limit::Limit;
use crate::providers::lookup::LookupCall;
use crate::providers::template::{Api, Field, ObjectEntry, ObjectPlace, RouteToken, Template};

/// How an answer is looked into.
pub struct Inspection {
    /// The call's API.
    pub api: String,
    /// What it gives.
    pub gives: Vec<ObjectPlace>,
    /// The limits in force.
    pub limits: Vec<Limit>,
    /// Which of what it gives each of them tests.
    pub tests: Vec<AnswerTest>,
    /// Where the API is at the gateway: `{issuer}/gateway/{provider}/{api}`.
    pub gateway_base: String,
    /// With whose token it is called.
    pub token: RouteToken,
    /// What look-ups are left.
    pub lookups: Lookups,
}

/// How many further pages are read where nothing of a page is left.
const READ_ON: usize = 5;

/// A page that was looked into.
struct Page {
    inspected: Inspected,
    /// The next one, where nothing of this one is left.
    next: Option<LookupCall>,
}

/// An answer that may be released.
#[derive(Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The body.
    pub body: Bytes,
    /// Members that had to be compared and were not there.
    pub lacking: Vec<String>,
}

/// Whether an answer has to be looked into even without a limit: it may hold addresses that open a thing
/// without a token, or the address of its next page.
pub fn has_addresses(template: &Template, api: &Api, gives: &[ObjectPlace]) -> bool {
    let strips =
        |place: &ObjectPlace| template.object.get(&place.object).is_some_and(|entry| !entry.strip.is_empty());
    let lists = |place: &ObjectPlace| places::split_at_list(&place.at).is_some();
    gives.iter().any(|place| strips(place) || (!api.links.is_empty() && lists(place)))
}

impl Inspection {
    /// Whether an answer that cannot be looked into is withheld. Without a limit and without addresses to
    /// leave out, it passes.
    pub fn is_binding(&self) -> bool {
        let template = &self.lookups.configured.loaded.template;
        let strips = |place: &ObjectPlace| {
            template.object.get(&place.object).is_some_and(|entry| !entry.strip.is_empty())
        };
        !self.tests.is_empty() || self.gives.iter().any(strips)
    }

    /// Whether items of a list may be left out.
    pub fn tests_lists(&self) -> bool {
        let is_list = |place: &ObjectPlace| places::split_at_list(&place.at).is_some();
        self.tests.iter().any(|test| self.gives.get(test.place).is_some_and(is_list))
    }

    /// Looks into a whole answer, and into the next page where nothing of this one is left: an empty page would
    /// tell that something lies outside. `is_error` = the provider reports an error in it: then it need not hold what
    /// the call gives otherwise.
    ///
    /// # Errors
    /// When nothing of it may be released.
    pub async fn inspect(mut self, body: Bytes, is_error: bool) -> Result<Inspected, Denial> {
        self.lookups.begin_anew();
        let mut page = self.page(body, is_error).await?;
        for _ in 0..READ_ON {
            let Some(next) = page.next.take() else { break };
            // What cannot be read on is left to the agent: the page says where it goes on.
            let Ok(body) = self.lookups.page(&self.api, self.token, &next).await else { break };
            page = self.page(body, false).await?;
        }
        Ok(page.inspected)
    }

    async fn page(&mut self, body: Bytes, is_error: bool) -> Result<Page, Denial> {
        let untouched = Page { inspected: Inspected { body: body.clone(), lacking: Vec::new() }, next: None };
        if body.is_empty() {
            return Ok(untouched);
        }
        let Ok(mut document) = Json::parse(&body) else {
            return if self.is_binding() && !is_error { Err(self.unreadable()) } else { Ok(untouched) };
        };
        let (mut thinned, mut emptied) = (false, false);
        let mut lacking = Vec::new();
        for at in 0..self.gives.len() {
            let left = self.thin_out(at, &mut document, is_error, &mut lacking).await?;
            thinned |= left.is_some();
            emptied |= left == Some(0);
        }
        let template = Arc::clone(&self.lookups.configured);
        let template = &template.loaded.template;
        let next = template.api.get(&self.api).filter(|_| emptied).and_then(|api| next_link(api, &document));
        let stripped = self.strip(template, &mut document);
        let relinked = template.api.get(&self.api).is_some_and(|api| self.relink(api, &mut document));
        lacking.sort_unstable();
        lacking.dedup();
        let uncounted = self.uncount(template, &mut document);
        let is_changed = thinned || stripped || relinked || uncounted;
        let body = if is_changed { document.to_bytes().into() } else { body.clone() };
        Ok(Page { inspected: Inspected { body, lacking }, next })
    }

    /// Leaves out what lies outside at one place; how much is left, where there was such a thing. How many there
    /// were is not told: by searching, an agent could learn from it what is outside.
    async fn thin_out(
        &mut self,
        at: usize,
        document: &mut Json<'_>,
        is_error: bool,
        lacking: &mut Vec<String>,
    ) -> Result<Option<usize>, Denial> {
        let tests: Vec<AnswerTest> = self.tests.iter().filter(|test| test.place == at).copied().collect();
        let Some(place) = self.gives.get(at).cloned().filter(|_| !tests.is_empty()) else { return Ok(None) };
        let configured = Arc::clone(&self.lookups.configured);
        let entry = configured.loaded.template.object.get(&place.object).ok_or_else(|| self.unreadable())?;
        let Some((list, inner)) = places::split_at_list(&place.at) else {
            return self.single(document, &place, entry, &tests, is_error).await.map(|()| None);
        };
        let lists = places::find(document, list, false).map_err(|_| self.unreadable())?;
        let mut known = Vec::new();
        for list in lists {
            let Json::List(items) = list else { return Err(self.unreadable()) };
            known.extend(items.iter().map(|item| match places::find(item, inner, false).as_deref() {
                Ok([object]) => Facts::of(object, entry, Source::Provider),
                // What is not built like the others is nothing that could be found inside.
                _ => Facts::default(),
            }));
        }
        let mut keep = Vec::with_capacity(known.len());
        for facts in known {
            keep.push(self.is_inside(&place.object, entry, Arc::new(facts), &tests, lacking).await?);
        }
        let has_outside = keep.contains(&false);
        let left = keep.iter().filter(|is_kept| **is_kept).count();
        if has_outside {
            let mut keep = keep.into_iter();
            places::visit_mut(document, list, &mut |list| {
                if let Json::List(items) = list {
                    items.retain(|_| keep.next() == Some(true));
                }
            });
            // INVARIANT: what was tested is what is left out.
            if keep.next().is_some() {
                return Err(self.unreadable());
            }
        }
        Ok(has_outside.then_some(left))
    }

    async fn is_inside(
        &mut self,
        object: &str,
        entry: &ObjectEntry,
        facts: Arc<Facts>,
        tests: &[AnswerTest],
        lacking: &mut Vec<String>,
    ) -> Result<bool, Denial> {
        for test in tests {
            let Some(limit) = self.limits.get(test.limit) else { return Ok(false) };
            let held = self.lookups.held(object, entry, Arc::clone(&facts), test.test, limit).await;
            match held {
                Ok(Held::Inside) => {}
                Ok(Held::Missing(field)) => {
                    lacking.extend(member(entry, field));
                    return Ok(false);
                }
                // Whoever leaves items out because nobody could be asked tells less than there is.
                Err(Unchecked::Unavailable(denial)) => return Err(denial),
                // An item that cannot be looked up is left out; the others may still be inside.
                Ok(Held::Outside(_)) | Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn single(
        &mut self,
        document: &Json<'_>,
        place: &ObjectPlace,
        entry: &ObjectEntry,
        tests: &[AnswerTest],
        is_error: bool,
    ) -> Result<(), Denial> {
        let facts = match places::find(document, &place.at, false).as_deref() {
            Ok([object]) => Arc::new(Facts::of(object, entry, Source::Provider)),
            Ok([]) if is_error => return Ok(()),
            _ => return Err(self.unreadable()),
        };
        let object = &place.object;
        for test in tests {
            let Some(limit) = self.limits.get(test.limit) else { return Err(self.unreadable()) };
            let is_whole_error = is_error && fields_of(test.test).iter().all(|field| !facts.has(*field));
            match self.lookups.held(object, entry, Arc::clone(&facts), test.test, limit).await {
                Ok(Held::Inside) => {}
                Ok(Held::Missing(_)) if is_whole_error => {}
                // What was found is not told either: it is the outside thing's own.
                Ok(Held::Outside(_)) => {
                    let said = Said::of("withheld_outside").and(Said::noun(object));
                    return Err(words::refusal(limit, object, said.and(words::compared(test.test))));
                }
                Ok(Held::Missing(field)) => {
                    let name = words::field(field);
                    let said = Said::of("withheld_lacking").and(Said::noun(object)).and(name.clone());
                    let denial = words::refusal(limit, &name.english(), said);
                    return Err(self.with_member(denial, entry, field));
                }
                Err(Unchecked::Unavailable(denial)) => return Err(denial),
                Err(unchecked) => {
                    let said = Said::of("withheld_unchecked").and(Said::noun(object)).and(unchecked.said());
                    return Err(words::refusal(limit, object, said));
                }
            }
        }
        Ok(())
    }

    /// The denial, with what would have to be asked for.
    fn with_member(&self, denial: Denial, entry: &ObjectEntry, field: Field) -> Denial {
        let template = &self.lookups.configured.loaded.template;
        let select = template.api.get(&self.api).and_then(|api| api.select.as_deref());
        match (member(entry, field), select) {
            (Some(member), Some(select)) => denial.adding(Said::of("include").and(member).and(select)),
            _ => denial,
        }
    }

    fn unreadable(&self) -> Denial {
        let problem = Said::of("withheld_misshapen");
        match self.tests.first().and_then(|test| self.limits.get(test.limit)) {
            Some(limit) => words::refusal(limit, "an answer that cannot be read", problem),
            None => Denial::upstream(502, problem.english()),
        }
    }

    /// Leaves out counts: they would tell how much there is outside.
    fn uncount(&self, template: &Template, document: &mut Json<'_>) -> bool {
        let Some(members) = document.members_mut().filter(|_| !self.tests.is_empty()) else { return false };
        let counts = template.api.get(&self.api).map(|api| api.counts.as_slice()).unwrap_or_default();
        let before = members.len();
        members.retain(|(name, _)| !counts.iter().any(|count| count == name));
        members.len() < before
    }

    /// Leaves out addresses that open a thing without a token.
    fn strip(&self, template: &Template, document: &mut Json<'_>) -> bool {
        let mut is_changed = false;
        for place in &self.gives {
            let Some(entry) = template.object.get(&place.object).filter(|entry| !entry.strip.is_empty())
            else {
                continue;
            };
            places::visit_mut(document, &place.at, &mut |object| {
                is_changed |= leave_out(object, &entry.strip)
            });
        }
        is_changed
    }

    /// Points links to further pages to the gateway, so that they are followed within the limits. A link to
    /// anywhere else is left out.
    fn relink(&self, api: &Api, document: &mut Json<'_>) -> bool {
        let Some(members) = document.members_mut() else { return false };
        let is_link = |name: &str| api.links.iter().any(|link| link == name);
        let mut is_changed = false;
        members.retain_mut(|(name, value)| {
            if !is_link(name) || value.is_null() {
                return true;
            }
            is_changed = true;
            let link = value.scalar().and_then(|text| Url::parse(&text).ok());
            let link = link.and_then(|link| links::led_back(&link, &api.base, &self.gateway_base));
            link.is_some_and(|link| {
                *value = Json::text(&link);
                true
            })
        });
        is_changed
    }
}

/// The call for the next page: the first link is the one to it, others lead on later.
fn next_link(api: &Api, document: &Json<'_>) -> Option<LookupCall> {
    let Json::Object(members) = document else { return None };
    let name = api.links.first()?;
    let link = members.iter().find(|(own, _)| own == name)?.1.scalar()?;
    let target = link.strip_prefix(&api.base)?;
    let is_path = target.starts_with('/') && !target.starts_with("//");
    is_path.then(|| LookupCall { is_post: false, target: target.to_owned(), body: None })
}

/// The member of an object in which a field is.
fn member(entry: &ObjectEntry, field: Field) -> Option<String> {
    let path = entry.fields.get(&field)?.at.first()?;
    path.split('.').next().map(str::to_owned)
}

/// Leaves members out of an object and of all that it holds.
fn leave_out(value: &mut Json<'_>, names: &[String]) -> bool {
    match value {
        Json::Object(members) => {
            let before = members.len();
            members.retain(|(name, _)| !names.iter().any(|other| other == name));
            let mut is_changed = members.len() < before;
            for (_, inner) in members {
                is_changed |= leave_out(inner, names);
            }
            is_changed
        }
        Json::List(items) => {
            let mut is_changed = false;
            for item in items {
                is_changed |= leave_out(item, names);
            }
            is_changed
        }
        Json::Text(_) | Json::Plain(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_left_out_at_every_depth_and_all_else_stays() {
        let text = r#"{"u":"x","n":1.10,"c":[{"u":{"a":1},"k":"\u0041"},[{"u":null}]]}"#;
        let mut document = Json::parse(text.as_bytes()).unwrap();
        assert!(leave_out(&mut document, &["u".to_owned()]));
        assert_eq!(document.to_bytes(), br#"{"n":1.10,"c":[{"k":"\u0041"},[{}]]}"#);
        assert!(!leave_out(&mut document, &["u".to_owned()]));
    }
}
