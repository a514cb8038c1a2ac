//! What a denial asks for: an interaction in which a person can allow exactly what was missing.
//!
//! Only for what could be granted at all. The same question is asked once and no more than a few are open, so
//! a denied call stays cheap however often it is made.

mod widen;

use crate::gateway::Gateway;
use crate::gateway::denial::{Denial, DenialCode, Remedy};
use crate::interactions::{OpenError, Wording};
use crate::kernel::said::Said;
use crate::kernel::scope::ScopeSet;
use crate::model::agent::Agent;
use crate::model::grant::Grant;
use crate::model::interaction::{Question, RequestedToken, Widening};
use crate::model::limit::Limit;
use crate::policy::reach;
use crate::providers::Configured;
use crate::providers::routes::{CompiledRoute, OpenedBy};
use crate::providers::template::{Access, Template};
use crate::store::{StoreError, Stored};
use crate::tokens::VerifiedToken;

/// What can be done about a denial.
enum Help {
    /// A person can.
    Person(Remedy),
    /// The agent can, or nobody; the sentence's key.
    Words(&'static str),
}

const NOTHING: Help = Help::Words("");

/// What would have to be granted.
struct Missing {
    scopes: ScopeSet,
    /// The limits that stay.
    limits: Vec<Limit>,
    /// The one that would have to be wider.
    widens: Option<Widening>,
    /// What of the scopes is not granted yet.
    new: ScopeSet,
}

impl Gateway {
    /// The same denial, with what a person can do about it where one can.
    pub(super) async fn teach(
        &self,
        denial: Denial,
        verified: &VerifiedToken,
        api: &str,
        route: Option<&str>,
    ) -> Denial {
        let is_teachable = denial.status == 403
            && matches!(denial.code, DenialCode::InsufficientScope | DenialCode::LimitExceeded);
        let Some(route) = route.filter(|_| is_teachable) else { return denial };
        match self.help(&denial, verified, api, route).await {
            Ok(Help::Person(remedy)) => denial.with_remedy(remedy),
            Ok(Help::Words("")) => denial,
            Ok(Help::Words(key)) => denial.adding(Said::of(key)),
            Err(OpenError::Refused) => denial.adding(Said::of("refused_lately")),
            Err(OpenError::TooMany) => denial.adding(Said::of("too_many_open")),
            // The denial stands without it.
            Err(OpenError::Audit(_) | OpenError::Store(_)) => denial,
        }
    }

    async fn help(
        &self,
        denial: &Denial,
        verified: &VerifiedToken,
        api: &str,
        route: &str,
    ) -> Result<Help, OpenError> {
        let claims = &verified.claims;
        let Ok(configured) = self.connections.configured(&claims.provider).await else { return Ok(NOTHING) };
        let mut routes = configured.loaded.routes.iter();
        let route = routes.find(|other| other.api == api && other.pattern == route);
        let grant = self.store.get::<Grant>(claims.grant.as_str()).await?;
        let (Some(route), Some(grant)) = (route, grant) else { return Ok(NOTHING) };
        let missing = match denial.code {
            DenialCode::InsufficientScope => self.missing_scope(&verified.agent, &configured, &grant, route),
            _ => self.missing_limit(denial, verified, &grant, route),
        };
        let missing = match missing {
            Ok(missing) => missing,
            Err(words) => return Ok(Help::Words(words)),
        };
        if !self.could_be_granted(&verified.agent, &grant, &configured, &missing).await? {
            return Ok(NOTHING);
        }
        let question = Question {
            agent: claims.agent.clone(),
            user: claims.user.clone(),
            provider: claims.provider.clone(),
            connection: Some(grant.connection.clone()),
            scopes: missing.scopes,
            limits: missing.limits,
            token: RequestedToken::Gateway,
            widens: missing.widens,
        };
        let wording = Wording { binding_message: None, task: claims.task.clone() };
        let opened = self.tokens.interactions.open(question, &missing.new, wording).await?;
        let issuer = self.tokens.issuer.as_str().trim_end_matches('/');
        Ok(Help::Person(Remedy {
            uri: format!("{issuer}/i/{}", opened.interaction.id),
            interaction: opened.interaction.id,
            auth_req_id: opened.auth_req_id.expose_str().to_owned(),
        }))
    }

    /// The cheapest scope within the ceiling that opens the call. The limits stay what they are.
    fn missing_scope(
        &self,
        agent: &Agent,
        configured: &Configured,
        grant: &Grant,
        route: &CompiledRoute,
    ) -> Result<Missing, &'static str> {
        let held = grant.scopes_at(self.clock.now());
        let scopes = cheapest(route, &configured.loaded.template, &reach(agent, configured), &held)
            .ok_or("above_ceiling")?;
        let new = scopes.difference(&held);
        if new.is_empty() {
            return Err("token_lacks_it");
        }
        Ok(Missing { scopes, limits: grant.limits.clone(), widens: None, new })
    }

    /// The limit that refused, widened by what was asked; the grant's others stay.
    fn missing_limit(
        &self,
        denial: &Denial,
        verified: &VerifiedToken,
        grant: &Grant,
        route: &CompiledRoute,
    ) -> Result<Missing, &'static str> {
        let beyond = denial.beyond.as_deref().ok_or("")?;
        let now = self.clock.now();
        let at = grant.limits.iter().position(|limit| limit == &beyond.limit);
        let at = at.ok_or("own_limit")?;
        let widened = widen::widened(&beyond.limit, beyond.asked.as_deref(), now).ok_or("")?;
        let others =
            grant.limits.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, limit)| limit);
        let limits = others.cloned().collect();
        let widens = Some(Widening { former: beyond.limit.clone(), wider: widened });
        let held = verified.claims.scopes.intersection(&grant.scopes_at(now));
        let mut openers = route.opened_by.iter();
        let opener = openers.find(|by| held.contains(&by.scope) && by.also.is_subset(&held)).ok_or("")?;
        Ok(Missing { scopes: all_of(opener), limits, widens, new: ScopeSet::new() })
    }

    async fn could_be_granted(
        &self,
        agent: &Agent,
        grant: &Stored<Grant>,
        configured: &Configured,
        missing: &Missing,
    ) -> Result<bool, StoreError> {
        let judged = self.decider.may_be_granted(agent, &grant.user, configured, &missing.scopes).await?;
        Ok(judged.is_ok() && grant.is_live(self.clock.now()))
    }
}

/// The fewest new scopes, of those the ones that do least, of those the ones that open the fewest calls.
fn cheapest(
    route: &CompiledRoute,
    template: &Template,
    ceiling: &ScopeSet,
    held: &ScopeSet,
) -> Option<ScopeSet> {
    let cost = |scopes: &ScopeSet| {
        let new = scopes.difference(held);
        let entries = template.scope.iter().filter(|entry| new.contains(&entry.name));
        let (mut does, mut opens) = (0, 0);
        for entry in entries {
            does = does.max(u8::from(entry.access != Access::Read));
            opens += entry.routes.len();
        }
        (does, new.len(), opens)
    };
    route.opened_by.iter().map(all_of).filter(|scopes| scopes.is_subset(ceiling)).min_by_key(cost)
}

fn all_of(opener: &OpenedBy) -> ScopeSet {
    let mut scopes = opener.also.clone();
    scopes.insert(opener.scope.clone());
    scopes
}
