//! The stages, in order. Pure: facts in, decision out.

use std::borrow::Cow;

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ConnectionId;
use crate::kernel::scope::ScopeSet;
use crate::model::agent::{Agent, AgentKind, AgentState};
use crate::model::connection::{Connection, ConnectionState};
use crate::model::grant::Grant;
use crate::model::user::{User, UserState};
use crate::policy::facts::Facts;
use crate::policy::permit::{Permit, Terms};
use crate::policy::reach::{touchable, with_classes};
use crate::policy::request::{Action, Subject};
use crate::providers::routes::CompiledRoute;
use crate::store::Stored;

/// What the pipeline says. The proof of a permission is a [`Permit`]; a rehearsal for somebody who has
/// proven nothing has only its [`Terms`].
#[derive(Debug)]
pub enum Decision<P = Permit> {
    /// Go on.
    Permit(P),
    /// No.
    Refusal(Refusal),
    /// Only a person can help.
    NeedsPerson(NeedsPerson),
}

/// A refusal, with its reasons in words.
#[derive(Debug)]
pub struct Refusal {
    /// Which stage refused.
    pub code: RefusalCode,
    /// Why, for the event and for the agent.
    pub reasons: Vec<String>,
}

impl Refusal {
    /// One answer for a back end that does not exist and one that is not open.
    pub fn closed_audience() -> Self {
        refuse(RefusalCode::InvalidTarget, "this audience is not open to this agent for this user")
    }
}

/// Which stage refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// The agent is suspended or retired.
    AgentNotActive,
    /// A stop is in force.
    Stopped,
    /// The user is unknown or disabled, or not one that this agent may act for.
    UserNotAllowed,
    /// A scope is unknown, above the agent's ceiling, of a class of data that it may not touch, or none was
    /// named and none is registered.
    InvalidScope,
    /// The connection named is not the user's, or the agent has nothing to do with the provider.
    InvalidTarget,
    /// The grant that a token was issued for has ended.
    GrantEnded,
    /// The connection behind the grant cannot be used.
    ConnectionNotUsable,
    /// No granted scope opens the route.
    InsufficientScope,
}

/// Only a person can help: what to ask them.
#[derive(Debug)]
pub struct NeedsPerson {
    /// All that the agent asked for.
    pub asked: ScopeSet,
    /// What of it is not granted.
    pub missing: ScopeSet,
    /// The connection that the agent named, or that has to be repaired.
    pub connection: Option<ConnectionId>,
    /// Why.
    pub reasons: Vec<String>,
}

impl Decision<Terms> {
    /// The decision for an agent that has proven who it is.
    pub(super) fn proven(self) -> Decision {
        match self {
            Self::Permit(terms) => Decision::Permit(Permit(terms)),
            Self::Refusal(refusal) => Decision::Refusal(refusal),
            Self::NeedsPerson(needs) => Decision::NeedsPerson(needs),
        }
    }
}

pub(super) fn judge(
    subject: Subject<'_>,
    action: &Action<'_>,
    facts: &Facts,
    now: Timestamp,
) -> Decision<Terms> {
    if let Err(refusal) = standing(subject, facts, now) {
        return Decision::Refusal(refusal);
    }
    let request = &Asked { subject, action };
    match action {
        Action::Exchange { asked, connection, .. } => {
            exchange_stage(request, facts, *asked, *connection, now)
        }
        Action::Collect { .. } => collect_stage(request, facts, now),
        Action::Call { token_scopes, route, .. } => call_stage(request, facts, token_scopes, route, now),
    }
}

/// Who asks, and what for.
struct Asked<'a> {
    subject: Subject<'a>,
    action: &'a Action<'a>,
}

/// The stages that need no grant: agent, stop, user.
pub(super) fn standing(subject: Subject<'_>, facts: &Facts, now: Timestamp) -> Result<(), Refusal> {
    agent_stage(subject.agent, now)
        .and_then(|()| stop_stage(subject, facts))
        .and_then(|()| user_stage(subject.agent, facts.user.as_deref()))
}

pub(super) fn refuse(code: RefusalCode, reason: impl Into<String>) -> Refusal {
    Refusal { code, reasons: vec![reason.into()] }
}

pub(super) fn agent_stage(agent: &Agent, now: Timestamp) -> Result<(), Refusal> {
    match agent.state {
        AgentState::Active if agent.is_expired(now) => {
            let reason = "the agent's time is over: an administrator can give it a new end";
            Err(refuse(RefusalCode::AgentNotActive, reason))
        }
        AgentState::Active => Ok(()),
        AgentState::Suspended => Err(refuse(RefusalCode::AgentNotActive, "the agent is suspended")),
        AgentState::Retired => Err(refuse(RefusalCode::AgentNotActive, "the agent is retired")),
    }
}

fn stop_stage(subject: Subject<'_>, facts: &Facts) -> Result<(), Refusal> {
    let refusing = facts.stops.as_ref().and_then(|stops| {
        stops.refusing(&subject.agent.id, Some(subject.user), Some(&subject.provider.slug)).cloned()
    });
    match refusing {
        None => Ok(()),
        Some(stop) => Err(refuse(
            RefusalCode::Stopped,
            format!("an administrator has stopped this ({}); it goes on when the stop is lifted", stop.id),
        )),
    }
}

pub(super) fn user_stage(agent: &Agent, user: Option<&User>) -> Result<(), Refusal> {
    let Some(user) = user else {
        return Err(refuse(RefusalCode::UserNotAllowed, "the user is not known here"));
    };
    if user.state != UserState::Active {
        return Err(refuse(RefusalCode::UserNotAllowed, "the user is disabled"));
    }
    // Invariant 3. The token endpoint has checked it already; every door checks it again.
    match agent.kind {
        AgentKind::Personal if !agent.owner.is(&user.id) => {
            Err(refuse(RefusalCode::UserNotAllowed, "a personal agent acts for its owner only"))
        }
        AgentKind::Autonomous => {
            Err(refuse(RefusalCode::UserNotAllowed, "an autonomous agent acts as itself, not for a user"))
        }
        AgentKind::Assistant if !agent.entry.admits(user) => {
            Err(refuse(RefusalCode::UserNotAllowed, "this agent is not registered for this user"))
        }
        AgentKind::Personal | AgentKind::Assistant => Ok(()),
    }
}

fn exchange_stage(
    request: &Asked<'_>,
    facts: &Facts,
    asked: Option<&ScopeSet>,
    named: Option<&ConnectionId>,
    now: Timestamp,
) -> Decision<Terms> {
    if let Some(named) = named
        && !facts.connection(named).is_some_and(|connection| is_connected(connection))
    {
        return Decision::Refusal(refuse(
            RefusalCode::InvalidTarget,
            "there is no such connection of this user at this provider",
        ));
    }
    let grant = choose_grant(facts, named, now);
    if request.subject.agent.ceiling_at(&request.subject.provider.slug).is_empty() {
        let reason = "the agent is not registered for this provider: an administrator can add scopes of it";
        return Decision::Refusal(refuse(RefusalCode::InvalidTarget, reason));
    }
    let asked = match (asked, grant) {
        (Some(asked), _) => asked.clone(),
        (None, grant) => {
            let defaults = request.subject.agent.defaults_at(&request.subject.provider.slug);
            let meant = grant.map_or(Cow::Borrowed(defaults), |grant| grant.scopes_at(now));
            let reach = request.subject.reach();
            let held = meant.intersection(&reach);
            if held.is_empty() && !meant.is_empty() && !reach.is_empty() {
                return Decision::Refusal(out_of_reach(request.subject, &meant));
            }
            held
        }
    };
    if let Err(refusal) = within_ceiling(request.subject, &asked) {
        return Decision::Refusal(refusal);
    }
    let Some(grant) = grant else {
        return needs_person(asked.clone(), asked, named.cloned(), "the user has not granted this yet");
    };
    let missing = asked.difference(&grant.scopes_at(now));
    if !missing.is_empty() {
        let reason = format!("not granted by the user: {missing}");
        return needs_person(asked, missing, Some(grant.connection.clone()), &reason);
    }
    match facts.connection(&grant.connection).map(|connection| &connection.state) {
        Some(ConnectionState::Active | ConnectionState::InDoubt { .. }) => {
            permit(request, grant, asked, "the user's grant covers every scope asked for")
        }
        Some(ConnectionState::NeedsReauth { .. }) => {
            let connection = Some(grant.connection.clone());
            needs_person(asked, ScopeSet::new(), connection, "the connection has to be repaired by the user")
        }
        Some(ConnectionState::Disconnected { .. }) | None => {
            needs_person(asked.clone(), asked, None, "the user has disconnected the account")
        }
    }
}

fn is_connected(connection: &Connection) -> bool {
    !matches!(connection.state, ConnectionState::Disconnected { .. })
}

/// The scopes must exist at the provider, lie under the agent's ceiling, and open no class of data that it
/// may not touch.
pub(super) fn within_ceiling(subject: Subject<'_>, asked: &ScopeSet) -> Result<(), Refusal> {
    let ceiling = subject.agent.ceiling_at(&subject.provider.slug);
    if asked.is_empty() && subject.reach().is_empty() && !ceiling.is_empty() {
        let reason = "the agent may touch none of the classes of data that its scopes here open";
        return Err(refuse(RefusalCode::InvalidScope, reason));
    }
    if asked.is_empty() {
        let reason = "name a scope: nothing is granted yet and the agent has no default scopes here";
        return Err(refuse(RefusalCode::InvalidScope, reason));
    }
    let template = &subject.provider.loaded.template;
    let unknown = asked.iter().filter(|scope| !template.is_grantable(scope)).cloned().collect::<ScopeSet>();
    if !unknown.is_empty() {
        return Err(refuse(RefusalCode::InvalidScope, format!("unknown at this provider: {unknown}")));
    }
    let above = asked.difference(ceiling);
    if !above.is_empty() {
        return Err(refuse(RefusalCode::InvalidScope, format!("above the agent's ceiling: {above}")));
    }
    let closed = asked.difference(&touchable(subject.agent, subject.provider, asked));
    if !closed.is_empty() {
        return Err(refuse(RefusalCode::InvalidScope, untouchable(subject, &closed)));
    }
    Ok(())
}

/// Why nothing is left of these scopes: the classes of data have closed them, or the ceiling has.
fn out_of_reach(subject: Subject<'_>, scopes: &ScopeSet) -> Refusal {
    let closed = scopes.difference(&touchable(subject.agent, subject.provider, scopes));
    let reason = if closed.is_empty() {
        format!("above the agent's ceiling: {scopes}")
    } else {
        untouchable(subject, &closed)
    };
    refuse(RefusalCode::InvalidScope, reason)
}

fn untouchable(subject: Subject<'_>, closed: &ScopeSet) -> String {
    format!("of classes of data that the agent may not touch: {}", with_classes(subject.provider, closed))
}

/// The grant on the account that the agent names; else on the user's default account; else on the only one. An agent
/// that names none gets another account than the default only where the person picked it for this agent; of several
/// such, the one that was picked last.
fn choose_grant<'f>(
    facts: &'f Facts,
    named: Option<&ConnectionId>,
    now: Timestamp,
) -> Option<&'f Stored<Grant>> {
    let live = || facts.grants.iter().filter(|grant| grant.is_live(now));
    let on = |wanted: &ConnectionId| live().find(|grant| &grant.connection == wanted);
    if let Some(named) = named {
        return on(named);
    }
    let connected = || facts.connections.iter().filter(|connection| is_connected(connection));
    let usual = connected().find(|connection| connection.is_default).or_else(|| only(connected()));
    let picked = || live().filter(|grant| grant.picked_at.is_some()).max_by_key(|grant| grant.picked_at);
    usual.and_then(|usual| on(&usual.id)).or_else(picked)
}

/// The one thing that there is, if there is no other.
fn only<T>(mut of: impl Iterator<Item = T>) -> Option<T> {
    let first = of.next();
    first.filter(|_| of.next().is_none())
}

fn collect_stage(request: &Asked<'_>, facts: &Facts, now: Timestamp) -> Decision<Terms> {
    match live_grant(request, facts, now) {
        Err(refusal) => Decision::Refusal(refusal),
        Ok(grant) => {
            let scopes = grant.scopes_at(now).intersection(&request.subject.reach());
            if scopes.is_empty() {
                return Decision::Refusal(out_of_reach(request.subject, &grant.scopes));
            }
            permit(request, grant, scopes, "the user has agreed to this")
        }
    }
}

fn call_stage(
    request: &Asked<'_>,
    facts: &Facts,
    token_scopes: &ScopeSet,
    route: &CompiledRoute,
    now: Timestamp,
) -> Decision<Terms> {
    let subject = request.subject;
    let grant = match live_grant(request, facts, now) {
        Ok(grant) => grant,
        Err(refusal) => return Decision::Refusal(refusal),
    };
    // A token never holds more than its grant, and the grant, the ceiling or the classes of data may have been
    // tightened since the token was issued: all are read on every call (invariant 7).
    let held = token_scopes.intersection(&grant.scopes_at(now)).intersection(&subject.reach());
    let opener =
        route.opened_by.iter().find(|opener| held.contains(&opener.scope) && opener.also.is_subset(&held));
    match opener {
        Some(opener) => {
            let mut used = opener.also.clone();
            used.insert(opener.scope.clone());
            permit(request, grant, used, &format!("`{}` opens this call", opener.scope))
        }
        None => {
            let would_open: Vec<&str> = route.opened_by.iter().map(|opener| opener.scope.as_str()).collect();
            let needs = format!("this call needs one of these scopes: {}", would_open.join(", "));
            let closed = token_scopes.difference(&touchable(subject.agent, subject.provider, token_scopes));
            let reason = if route.opened_by.iter().any(|opener| closed.contains(&opener.scope)) {
                untouchable(subject, &closed)
            } else {
                needs
            };
            Decision::Refusal(refuse(RefusalCode::InsufficientScope, reason))
        }
    }
}

fn live_grant<'f>(
    request: &Asked<'_>,
    facts: &'f Facts,
    now: Timestamp,
) -> Result<&'f Stored<Grant>, Refusal> {
    let holds = |grant: &&Stored<Grant>| {
        grant.agent == request.subject.agent.id
            && &grant.user == request.subject.user
            && grant.provider == request.subject.provider.slug
            && grant.is_live(now)
    };
    let Some(grant) = facts.grants.iter().find(holds) else {
        return Err(refuse(RefusalCode::GrantEnded, "the grant was revoked or has expired"));
    };
    match facts.connection(&grant.connection) {
        Some(connection) if is_connected(connection) => Ok(grant),
        _ => Err(refuse(RefusalCode::ConnectionNotUsable, "the user has disconnected the account")),
    }
}

fn permit(request: &Asked<'_>, grant: &Stored<Grant>, scopes: ScopeSet, reason: &str) -> Decision<Terms> {
    // All limits apply, so what a token has beside its grant's can only narrow.
    let own = match request.action {
        Action::Exchange { limits, .. }
        | Action::Collect { limits, .. }
        | Action::Call { token_limits: limits, .. } => *limits,
    };
    let registered = request.subject.agent.entry.limits.get(&request.subject.provider.slug);
    let mut limits = grant.limits.clone();
    for limit in own.iter().chain(registered.into_iter().flatten()) {
        if !limits.contains(limit) {
            limits.push(limit.clone());
        }
    }
    Decision::Permit(Terms {
        agent: request.subject.agent.id.clone(),
        user: request.subject.user.clone(),
        provider: request.subject.provider.slug.clone(),
        limits,
        grant: grant.clone(),
        scopes,
        reasons: vec![reason.to_owned()],
        said: Vec::new(),
    })
}

fn needs_person(
    asked: ScopeSet,
    missing: ScopeSet,
    connection: Option<ConnectionId>,
    reason: &str,
) -> Decision<Terms> {
    Decision::NeedsPerson(NeedsPerson { asked, missing, connection, reasons: vec![reason.to_owned()] })
}
