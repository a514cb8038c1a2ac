//! Objects that have to be asked about: looked up at the provider, within the bounds of one call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use crate::connections::ProviderAccess;
use crate::gateway::denial::Denial;
use crate::gateway::limits::facts::{Facts, Held, Source};
use crate::gateway::limits::json::Json;
use crate::gateway::limits::judge::Check;
use crate::gateway::pin::Pins;
use crate::gateway::{Gateway, echo};
use crate::kernel::ids::ConnectionId;
use crate::kernel::said::Said;
use crate::model::limit::{Bound, Limit};
use crate::providers::Configured;
use crate::providers::lookup::{self, LookupCall};
use crate::providers::template::{ErrorClass, Field, ObjectEntry, RouteToken, Test};
use crate::upstream::LookupError;

/// No tree is climbed higher.
const HIGHEST: usize = 32;
/// No call costs the provider more look-ups.
const MOST: usize = 40;
/// How long all look-ups may take before a call, and again after it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said where nobody could be asked.
const NOT_ASKED: &str = "the provider could not be asked whether this lies within the limits of the grant";
/// When to come again then.
const SOON: Duration = Duration::from_secs(2);

/// The look-ups of one call. What is found is kept for a moment, for other calls of the same connection.
pub struct Lookups {
    pub(super) gateway: Gateway,
    pub(super) configured: Arc<Configured>,
    pub(super) connection: ConnectionId,
    pub(super) pins: Pins,
    left: usize,
    until: Instant,
}

/// Why an object cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum Unchecked {
    /// The provider does not show it.
    #[error("the provider shows no such thing to this user")]
    Absent,
    /// The template has no look-up for it, or the identifier does not fit into it.
    #[error("it cannot be looked up")]
    NotOffered,
    /// The provider refuses, or its answer cannot be read.
    #[error("the provider does not say where it is")]
    Unreadable,
    /// Too many look-ups, or too long.
    #[error("that would take too many look-ups: name fewer things at once")]
    TooMany,
    /// The provider cannot be asked now.
    #[error("the provider cannot be asked")]
    Unavailable(Denial),
}

impl Unchecked {
    /// The same as a part of a sentence.
    pub const fn said(&self) -> Said {
        Said::of(match self {
            Self::Absent => "unchecked_absent",
            Self::NotOffered => "unchecked_not_offered",
            Self::Unreadable => "unchecked_unreadable",
            Self::TooMany => "unchecked_too_many",
            Self::Unavailable(_) => "unchecked_unavailable",
        })
    }
}

impl Lookups {
    pub fn new(
        gateway: &Gateway,
        configured: &Arc<Configured>,
        connection: &ConnectionId,
        pins: &Pins,
    ) -> Self {
        Self {
            gateway: gateway.clone(),
            configured: Arc::clone(configured),
            connection: connection.clone(),
            pins: pins.clone(),
            left: MOST,
            until: Instant::now() + PATIENCE,
        }
    }

    /// Counts the time anew: the provider may have taken long for the call itself.
    pub fn begin_anew(&mut self) {
        self.until = Instant::now() + PATIENCE;
    }

    /// Where an object lies that a request names.
    ///
    /// # Errors
    /// When that cannot be known.
    pub async fn named(&mut self, check: &Check, limit: &Limit) -> Result<Held, Unchecked> {
        let configured = Arc::clone(&self.configured);
        let entry = object(&configured, &check.object)?;
        // A draft may have been written a moment ago.
        let is_lasting = check.test != Test::Recipients;
        let kept = if is_lasting { self.kept(&check.object, &check.id) } else { None };
        let facts = match kept {
            Some(facts) => facts,
            None => self.look_up(&check.object, entry, &check.id, &limit.bound).await?,
        };
        self.held(&check.object, entry, facts, check.test, limit).await
    }

    /// Where an object lies of which something is known.
    ///
    /// # Errors
    /// When that cannot be known.
    pub async fn held(
        &mut self,
        object: &str,
        entry: &ObjectEntry,
        facts: Arc<Facts>,
        test: Test,
        limit: &Limit,
    ) -> Result<Held, Unchecked> {
        if test == Test::Tree {
            self.climb(object, entry, facts, &limit.bound).await
        } else {
            Ok(facts.test(test, &limit.bound, entry, Source::Provider))
        }
    }

    /// From an object up to the root. A shortcut is where it points to.
    async fn climb(
        &mut self,
        object: &str,
        entry: &ObjectEntry,
        mut at: Arc<Facts>,
        bound: &Bound,
    ) -> Result<Held, Unchecked> {
        let lowest = first(&at, Field::Id)?.unwrap_or_default();
        let mut seen: Vec<String> = Vec::new();
        for _ in 0..HIGHEST {
            let id = first(&at, Field::Id)?;
            if let Some(id) = &id {
                if bound.names(id) {
                    return Ok(Held::Inside);
                }
                seen.push(id.clone());
            }
            let is_elsewhere = at.has(Field::Elsewhere);
            let next = first(&at, if is_elsewhere { Field::Target } else { Field::Parent })?;
            let next = match (next, id) {
                (Some(next), _) => next,
                // A list may leave out what a look-up tells.
                (None, Some(id)) if seen.len() == 1 && !is_elsewhere && self.kept(object, &id).is_none() => {
                    let whole = self.look_up(object, entry, &id, bound).await?;
                    match first(
                        &whole,
                        if whole.has(Field::Elsewhere) { Field::Target } else { Field::Parent },
                    )? {
                        Some(next) => next,
                        None => return Ok(Held::Outside(lowest)),
                    }
                }
                (None, _) => return Ok(Held::Outside(lowest)),
            };
            if bound.names(&next) {
                return Ok(Held::Inside);
            }
            if seen.contains(&next) {
                return Ok(Held::Outside(lowest));
            }
            at = match self.kept(object, &next) {
                Some(kept) => kept,
                None => self.look_up(object, entry, &next, bound).await?,
            };
        }
        Err(Unchecked::TooMany)
    }

    fn kept(&self, object: &str, id: &str) -> Option<Arc<Facts>> {
        self.gateway.recent.find(&self.connection, object, id, self.gateway.clock.now())
    }

    fn keep(&self, object: &str, id: &str, facts: &Arc<Facts>) {
        self.gateway.recent.keep(&self.connection, object, id, facts, self.gateway.clock.now());
    }

    async fn look_up(
        &mut self,
        object: &str,
        entry: &ObjectEntry,
        id: &str,
        bound: &Bound,
    ) -> Result<Arc<Facts>, Unchecked> {
        if entry.get.is_none() {
            return self.search(object, entry, id, bound).await;
        }
        let call = LookupCall::of_object(entry, id, &self.pins).ok_or(Unchecked::NotOffered)?;
        let answer = self.ask(entry, &call).await?;
        let facts = match lookup::find(&answer, &entry.at).as_slice() {
            [] => return Err(Unchecked::Absent),
            [found] => Arc::new(facts(found, entry)?),
            _ => return Err(Unchecked::Unreadable),
        };
        self.keep(object, id, &facts);
        if let Some(own) = first(&facts, Field::Id)?.filter(|own| own != id) {
            self.keep(object, &own, &facts);
        }
        Ok(facts)
    }

    /// Where the provider has no look-up by identifier: from the bound's own folders down, level by level. An
    /// object that is not met within bounds is not inside.
    async fn search(
        &mut self,
        object: &str,
        entry: &ObjectEntry,
        id: &str,
        bound: &Bound,
    ) -> Result<Arc<Facts>, Unchecked> {
        let list = entry.list.as_ref().filter(|list| list.children.is_some()).ok_or(Unchecked::NotOffered)?;
        let configured = Arc::clone(&self.configured);
        let api = configured.loaded.template.api.get(&entry.api);
        let mut folders: VecDeque<String> =
            bound.items().unwrap_or_default().iter().map(|item| item.id.clone()).collect();
        while let Some(folder) = folders.pop_front() {
            let first_page =
                LookupCall::of_list(list, Some(&folder), &self.pins).ok_or(Unchecked::NotOffered)?;
            let mut page = Some(first_page.clone());
            while let Some(call) = page {
                let answer = self.ask(entry, &call).await?;
                let mut is_met = None;
                for child in lookup::find(&answer, &list.items) {
                    let known = Arc::new(facts(child, entry)?.lying_in(&folder));
                    let Some(own) = first(&known, Field::Id)? else { continue };
                    self.keep(object, &own, &known);
                    if own == id {
                        is_met = Some(known);
                    }
                    if lookup::is_offered(child, list) && !folders.contains(&own) {
                        folders.push_back(own);
                    }
                }
                if let Some(found) = is_met {
                    return Ok(found);
                }
                page = first_page.next_page(list, api, &answer);
            }
        }
        Err(Unchecked::Absent)
    }

    /// A further page of the call's own answer, as the provider wrote it.
    ///
    /// # Errors
    /// When there is none that could be had within the bounds of the call.
    pub async fn page(
        &mut self,
        api: &str,
        token: RouteToken,
        call: &LookupCall,
    ) -> Result<Bytes, Unchecked> {
        let access = self.access(token).await?;
        self.left = self.left.checked_sub(1).ok_or(Unchecked::TooMany)?;
        let asked = self.gateway.upstream.look_up_text(&self.configured, api, call, &access.token);
        match tokio::time::timeout_at(self.until, asked).await {
            Err(_) => Err(Unchecked::TooMany),
            Ok(Err(_)) => Err(Unchecked::Unreadable),
            Ok(Ok(body)) if echo::holds(body.expose(), access.token.expose_str().as_bytes()) => {
                Err(Unchecked::Unreadable)
            }
            Ok(Ok(body)) => Ok(Bytes::copy_from_slice(body.expose())),
        }
    }

    /// One look-up; with a token that turned out to be stale, once more with a new one.
    async fn ask(&mut self, entry: &ObjectEntry, call: &LookupCall) -> Result<Value, Unchecked> {
        let access = self.access(entry.token).await?;
        let again = match self.dial(entry, call, &access).await {
            Err(Some(LookupError::StaleToken)) => {
                self.renew(entry.token, access.generation).await?;
                let renewed = self.access(entry.token).await?;
                if renewed.generation == access.generation {
                    return Err(Unchecked::Unreadable);
                }
                self.dial(entry, call, &renewed).await
            }
            done => done,
        };
        match again {
            Ok(answer) => Ok(answer),
            Err(None) => Err(Unchecked::TooMany),
            Err(Some(LookupError::Absent)) => Err(Unchecked::Absent),
            Err(Some(LookupError::NotOffered)) => Err(Unchecked::NotOffered),
            Err(Some(LookupError::Refused(ErrorClass::Retry))) => {
                Err(Unchecked::Unavailable(Denial::unavailable(NOT_ASKED, SOON)))
            }
            Err(Some(LookupError::Refused(_))) => Err(Unchecked::Unreadable),
            Err(Some(error)) => {
                tracing::warn!(error = %error, "a look-up for a limit failed");
                Err(Unchecked::Unavailable(Denial::upstream(502, NOT_ASKED)))
            }
        }
    }

    /// `None` = the bounds of this call are used up.
    async fn dial(
        &mut self,
        entry: &ObjectEntry,
        call: &LookupCall,
        access: &ProviderAccess,
    ) -> Result<Value, Option<LookupError>> {
        self.left = self.left.checked_sub(1).ok_or(None)?;
        let asked = self.gateway.upstream.look_up(&self.configured, &entry.api, call, &access.token);
        match tokio::time::timeout_at(self.until, asked).await {
            Err(_) => Err(Some(LookupError::Refused(ErrorClass::Retry))),
            Ok(Err(error)) => Err(Some(error)),
            Ok(Ok(answer)) => Ok(answer),
        }
    }

    async fn access(&self, token: RouteToken) -> Result<ProviderAccess, Unchecked> {
        let access = match token {
            RouteToken::User => self.gateway.connections.lease(&self.connection).await,
            RouteToken::App => self.gateway.connections.app_access(&self.configured.slug).await,
        };
        access.map_err(|error| Unchecked::Unavailable(error.into()))
    }

    async fn renew(&self, token: RouteToken, generation: u64) -> Result<(), Unchecked> {
        let connections = &self.gateway.connections;
        let renewed = match token {
            RouteToken::User => connections.invalidate_access(&self.connection, generation).await,
            RouteToken::App => connections.invalidate_app_token(&self.configured.slug, generation).await,
        };
        renewed.map(|_| ()).map_err(|error| Unchecked::Unavailable(error.into()))
    }
}

fn object<'c>(configured: &'c Configured, name: &str) -> Result<&'c ObjectEntry, Unchecked> {
    configured.loaded.template.object.get(name).ok_or(Unchecked::NotOffered)
}

fn first(facts: &Facts, field: Field) -> Result<Option<String>, Unchecked> {
    facts.values(field).map(|values| values.first().cloned()).map_err(|_| Unchecked::Unreadable)
}

fn facts(object: &Value, entry: &ObjectEntry) -> Result<Facts, Unchecked> {
    let text = object.to_string();
    let object = Json::parse(text.as_bytes()).map_err(|_| Unchecked::Unreadable)?;
    Ok(Facts::of(&object, entry, Source::Provider))
}
