//! The employee's own page.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use crate::audit::EventFilter;
use crate::kernel::ids::{AgentId, ConnectionId, ProviderSlug, UserId};
use crate::model::agent::{Agent, AgentState};
use crate::model::connection::ConnectionState;
use crate::model::event::{Event, EventKind};
use crate::model::grant::Grant;
use crate::model::interaction::Interaction;
use crate::model::user::{Lifecycle, User};
use crate::store::Stored;
use crate::web::failure::Failure;
use crate::web::lookup::Lookup;
use crate::web::portal::services;
use crate::web::texts;
use crate::web::views::consent::kind_words;
use crate::web::views::home::{AgentCard, ConnectionCard, GrantCard, HomePage, NewGrantItem, WaitingItem};
use crate::web::views::limits::sentences;
use crate::web::views::{Notice, Shown, Tone, letter};
use crate::web::visit::{Visit, Who, answer_leading_on, go};

/// How many deeds of an agent are shown.
const DEEDS: usize = 10;
/// Among how many of a grant's events its last use is looked for.
const LOOK_BACK: usize = 50;

/// `GET /`.
pub async fn show(visit: Visit) -> Result<HttpResponse, Failure> {
    if matches!(visit.who, Who::Admin { .. }) {
        return Ok(go("/admin"));
    }
    let (user, _) = visit.employee()?;
    let now = visit.page.now;
    let mut lookup = Lookup::new(&visit.state, &visit.page);
    let mut grants = visit.state.connections.grants_of_user(&user.id).await?;
    grants.sort_by_key(|one| std::cmp::Reverse(one.created_at));
    let live: Vec<&Stored<Grant>> = grants.iter().filter(|grant| grant.is_live(now)).collect();
    let mine = visit.state.connections.of_user(&user.id).await?;
    let broken = mine.iter().filter(|one| matches!(one.state, ConnectionState::NeedsReauth { .. }));
    let leads_to: Vec<ProviderSlug> = broken.map(|connection| connection.provider.clone()).collect();
    let news = news(&mut lookup, user, &live).await?;
    let has_news = !news.is_empty();
    let page = HomePage {
        name: Shown::name(&user.name),
        notice: notice(&visit),
        news,
        waiting: waiting(&visit, &mut lookup, &user.id).await?,
        connections: connections(&visit, &mut lookup, &user.id, &live).await?,
        agents: agents(&visit, &mut lookup, &user.id, &grants).await?,
        services: services::cards(&visit, &mut lookup, user).await?,
        page: visit.page.clone(),
    };
    let shown = answer_leading_on(&visit.state, &leads_to, StatusCode::OK, &page).await?;
    if has_news {
        remember_told(&visit, &user.id).await;
    }
    Ok(shown)
}

/// What was permitted since the person last looked here: whoever sat at their browser, they learn of it.
async fn news(
    lookup: &mut Lookup<'_>,
    user: &User,
    live: &[&Stored<Grant>],
) -> Result<Vec<NewGrantItem>, Failure> {
    let mut news = Vec::new();
    for grant in live.iter().filter(|grant| user.lifecycle.told_until.is_none_or(|at| at < grant.created_at))
    {
        news.push(NewGrantItem {
            id: grant.id.to_string(),
            agent: lookup.agent_name(&grant.agent).await?,
            provider: lookup.provider(&grant.provider).await?,
            account: lookup.account(&grant.connection).await?,
        });
    }
    Ok(news)
}

/// Only a look that told something is written down: as long as there is nothing new, the former one serves.
async fn remember_told(visit: &Visit, user: &UserId) {
    let now = visit.page.now;
    let told = visit.state.store.update::<User, Infallible>(user.as_str(), |user| {
        let lifecycle = Lifecycle { told_until: Some(now), ..user.lifecycle.clone() };
        Ok(Some(User { lifecycle, ..user.clone() }))
    });
    // Whoever is told twice loses nothing.
    if let Err(error) = told.await {
        tracing::warn!(user.id = %user, "that new grants were shown is not written down: {error}");
    }
}

fn notice(visit: &Visit) -> Option<Notice> {
    let (tone, key) = match visit.query("done")?.as_str() {
        "revoked" => (Tone::Good, "home.revoked"),
        "disconnected_upstream" => (Tone::Good, "home.disconnected_upstream"),
        "disconnected_here" => (Tone::Warn, "home.disconnected_here"),
        "service_off" => (Tone::Good, "home.service_off"),
        "service_on" => (Tone::Good, "home.service_on"),
        "default_set" => (Tone::Good, "home.default_set"),
        "reconnected" => (Tone::Good, "home.reconnected"),
        "reconnect_declined" => (Tone::Warn, "home.reconnect_declined"),
        _ => return None,
    };
    Some(Notice { tone, words: visit.page.t(key).to_owned() })
}

async fn waiting(visit: &Visit, lookup: &mut Lookup<'_>, user: &UserId) -> Result<Vec<WaitingItem>, Failure> {
    let mut open = visit.state.store.find::<Interaction>("user", user.as_str()).await?;
    open.retain(|interaction| interaction.is_open(visit.page.now));
    open.sort_by_key(|interaction| interaction.expires_at);
    let mut items = Vec::with_capacity(open.len());
    for interaction in &open {
        let agent = lookup.agent_name(&interaction.question.agent).await?;
        items.push(WaitingItem {
            id: interaction.id.to_string(),
            letter: letter(agent.as_str()),
            agent,
            provider: lookup.provider(&interaction.question.provider).await?,
            scopes: lookup.scopes(&interaction.question.provider, &interaction.question.scopes).await?,
            words: interaction.binding_message.as_deref().map(Shown::sentence),
            ends: visit.page.when(interaction.expires_at),
        });
    }
    Ok(items)
}

async fn connections(
    visit: &Visit,
    lookup: &mut Lookup<'_>,
    user: &UserId,
    live: &[&Stored<Grant>],
) -> Result<Vec<ConnectionCard>, Failure> {
    let mut all = visit.state.connections.of_user(user).await?;
    all.sort_by(|a, b| (&a.provider, a.created_at).cmp(&(&b.provider, b.created_at)));
    let mut holders: BTreeMap<&ConnectionId, BTreeSet<&AgentId>> = BTreeMap::new();
    for grant in live {
        holders.entry(&grant.connection).or_default().insert(&grant.agent);
    }
    let mut cards = Vec::with_capacity(all.len());
    for connection in &all {
        let siblings = all.iter().filter(|other| other.provider == connection.provider).count();
        let provider = lookup.provider(&connection.provider).await?;
        let agents = holders.get(&connection.id).map_or(0, BTreeSet::len);
        cards.push(ConnectionCard::new(&visit.page, connection, provider, agents, siblings));
    }
    Ok(cards)
}

/// Agents that this person answers for or has ever permitted something; those that may act come first.
async fn agents(
    visit: &Visit,
    lookup: &mut Lookup<'_>,
    user: &UserId,
    grants: &[Stored<Grant>],
) -> Result<Vec<AgentCard>, Failure> {
    let mut ids: Vec<AgentId> = Vec::new();
    let owned = visit.state.agents.of_owner(user).await?;
    let live = grants.iter().filter(|grant| grant.is_live(visit.page.now)).map(|grant| &grant.agent);
    let all = live.chain(owned.iter().map(|agent| &agent.id)).chain(grants.iter().map(|grant| &grant.agent));
    for id in all {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    let mut cards = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(agent) = lookup.agent(&id).await? else { continue };
        cards.push(card(visit, lookup, user, &agent, grants).await?);
    }
    Ok(cards)
}

async fn card(
    visit: &Visit,
    lookup: &mut Lookup<'_>,
    user: &UserId,
    agent: &Agent,
    grants: &[Stored<Grant>],
) -> Result<AgentCard, Failure> {
    let (page, audit) = (&visit.page, &visit.state.audit);
    let mut cards = Vec::new();
    for grant in grants.iter().filter(|grant| grant.agent == agent.id && grant.is_live(page.now)) {
        let of_grant = EventFilter { grant: Some(grant.id.clone()), ..EventFilter::default() };
        let used = audit.recent(&of_grant, LOOK_BACK).into_iter().find(is_use);
        cards.push(GrantCard {
            id: grant.id.to_string(),
            provider: lookup.provider(&grant.provider).await?,
            account: lookup.account(&grant.connection).await?,
            scopes: lookup.scopes_of(grant).await?,
            limits: sentences(page.lang, page.utc_offset, &grant.limits),
            until: page.when(grant.expires_at),
            used: used.map(|event| page.when(event.at)),
            is_last: grants
                .iter()
                .filter(|other| other.connection == grant.connection && other.is_live(page.now))
                .count()
                == 1,
        });
    }
    let mine =
        EventFilter { agent: Some(agent.id.clone()), user: Some(user.clone()), ..EventFilter::default() };
    let mut deeds = audit.recent(&mine, LOOK_BACK);
    // What admins did to it is not what it did.
    deeds.retain(|event| !matches!(event.draft.kind, EventKind::Admin | EventKind::Stop));
    // How a deed ended is said beside it.
    deeds.retain(|event| event.draft.refers_to.is_none());
    deeds.truncate(DEEDS);
    let events = lookup.events(&deeds, false).await?;
    let state = match agent.state {
        AgentState::Active => None,
        AgentState::Suspended => Some(texts::text(page.lang, "state.suspended")),
        AgentState::Retired => Some(texts::text(page.lang, "state.retired")),
    };
    Ok(AgentCard {
        id: agent.id.to_string(),
        letter: letter(&agent.name),
        name: Shown::name(&agent.name),
        purpose: Shown::sentence(&agent.purpose),
        kind: kind_words(page.lang, agent.kind),
        state,
        open: !cards.is_empty(),
        grants: cards,
        events,
    })
}

fn is_use(event: &Event) -> bool {
    use EventKind::{GatewayDecision, GatewayOutcome, TokenDecision, TokenOutcome};
    matches!(event.draft.kind, TokenDecision | TokenOutcome | GatewayDecision | GatewayOutcome)
}
