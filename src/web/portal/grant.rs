//! One grant of the employee's: looking at it, and making it narrower.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::audit::EventFilter;
use crate::connections::GrantError;
use crate::interactions::{Offer, offers};
use crate::kernel::ids::{GrantId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::event::{Event, EventKind};
use crate::model::grant::{Grant, GrantState, Tightening};
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::lookup::Lookup;
use crate::web::portal::limits;
use crate::web::texts;
use crate::web::views::consent::{DurationChoice, ScopeRow, durations};
use crate::web::views::grant::{GrantChange, GrantPage};
use crate::web::views::limits::sentences;
use crate::web::views::{Notice, Page, Section, Shown, Tone};
use crate::web::visit::{Visit, answer_with, go};

/// How many deeds are shown.
const DEEDS: usize = 20;

/// `GET /grants/{id}`.
pub async fn show(visit: Visit, id: web::Path<String>) -> Result<HttpResponse, Failure> {
    let user = visit.employee_id()?;
    let grant = own(&visit, &user, &id).await?;
    let notice = match visit.query("done").as_deref() {
        Some("tightened") => Some((Tone::Good, "grant.tightened")),
        Some("unchanged") => Some((Tone::Plain, "grant.unchanged")),
        _ => None,
    };
    page(&visit, &grant, StatusCode::OK, notice, Some(Given::default())).await
}

/// `GET /admin/grants/{id}`: the same for admins and auditors, to look at.
pub async fn show_to_admin(visit: Visit, id: web::Path<String>) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    let id: GrantId = id.parse().map_err(|_| Failure::NotFound)?;
    let grant = visit.state.connections.grant(&id).await?.ok_or(Failure::NotFound)?;
    let visit = Visit { page: visit.admin_page(Section::Interactions), ..visit };
    page(&visit, &grant, StatusCode::OK, None, None).await
}

/// `POST /grants/{id}/tighten`.
pub async fn tighten(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let user = visit.employee_id()?;
    let found = own(&visit, &user, &id).await;
    let offered = match &found {
        Ok(grant) => offered(&visit, grant).await?,
        Err(_) => Vec::new(),
    };
    let (once, several) = limits::names(&offered);
    let mut fields = vec!["decision", "ends"];
    fields.extend(once.iter().map(String::as_str));
    let mut repeatable = vec!["scope"];
    repeatable.extend(several.iter().map(String::as_str));
    let form = visit.form(payload, "grant.tighten", &fields, &repeatable).await?;
    let grant = found?;
    if !grant.is_live(visit.page.now) {
        return Ok(go(&format!("/grants/{}", grant.id)));
    }
    let entered = limits::read(&form, &offered, visit.page.utc_offset);
    let problems = entered.as_ref().err().cloned().unwrap_or_default();
    let again = |problem| {
        let given = Given { form: Some(&form), problems: problems.clone(), problem };
        page(&visit, &grant, StatusCode::BAD_REQUEST, None, Some(given))
    };
    if form.get("decision") == Some("look") {
        return again(None).await;
    }
    let by = match (entered, tightening(&visit, &form)) {
        (_, Err(problem)) => return again(Some(problem)).await,
        (Err(_), _) => return again(Some("consent.bad_field")).await,
        (Ok(choice), Ok(by)) => Tightening { limits: choice.added, ..by },
    };
    match visit.state.connections.tighten(&user, &grant.id, &by).await {
        Ok(done) => {
            let done = if done.changed { "tightened" } else { "unchanged" };
            Ok(go(&format!("/grants/{}?done={done}", grant.id)))
        }
        Err(GrantError::NotFound) => Ok(go(&format!("/grants/{}", grant.id))),
        Err(GrantError::Empty) => again(Some("grant.nothing_left")).await,
        Err(GrantError::TooManyLimits) => again(Some("consent.bad_limits")).await,
        Err(error) => Err(Failure::unavailable(&error)),
    }
}

/// What was sent, when it could not be taken.
#[derive(Default)]
struct Given<'f> {
    form: Option<&'f Form>,
    problems: limits::Problems,
    problem: Option<&'static str>,
}

pub(super) async fn own(visit: &Visit, user: &UserId, id: &str) -> Result<Grant, Failure> {
    let id: GrantId = id.parse().map_err(|_| Failure::NotFound)?;
    let found = visit.state.connections.grant(&id).await?.filter(|grant| &grant.user == user);
    found.map(|grant| grant.record().clone()).ok_or(Failure::NotFound)
}

fn tightening(visit: &Visit, form: &Form) -> Result<Tightening, &'static str> {
    let scopes: Result<ScopeSet, _> = form.all("scope").map(str::parse).collect();
    let scopes = scopes.ok().filter(|scopes| !scopes.is_empty()).ok_or("grant.nothing_left")?;
    let end = match form.get("ends") {
        None => None,
        Some(seconds) => {
            let seconds = seconds.parse::<u64>().ok().filter(|seconds| *seconds > 0);
            Some(visit.page.now.plus(Duration::from_secs(seconds.ok_or("consent.bad_duration")?)))
        }
    };
    Ok(Tightening { scopes: Some(scopes), limits: Vec::new(), expires_at: end })
}

/// The limits that can be added without asking the provider for its lists.
async fn offered(visit: &Visit, grant: &Grant) -> Result<Vec<Offer>, Failure> {
    Ok(all_offers(visit, grant).await?.into_iter().filter(|offer| !offer.pickable).collect())
}

async fn all_offers(visit: &Visit, grant: &Grant) -> Result<Vec<Offer>, Failure> {
    let template = Lookup::new(&visit.state, &visit.page).template(&grant.provider).await?;
    let all = template.map(|loaded| offers(&loaded.template, &grant.scopes_at(visit.page.now)));
    Ok(all.unwrap_or_default())
}

/// The lists that limits can be picked from: where they are, and what is on them.
fn lists(page: &Page, grant: &Grant, offers: &[Offer]) -> Vec<(String, String)> {
    let listed = offers.iter().filter(|offer| offer.pickable);
    let list = listed.filter_map(|offer| {
        let (api, kind) = (offer.api.as_ref()?, offer.kind.as_str());
        let words = page.t(&format!("bound.name_{kind}")).to_owned();
        Some((format!("/grants/{}/pick/{api}/{kind}", grant.id), words))
    });
    list.collect()
}

async fn page(
    visit: &Visit,
    grant: &Grant,
    status: StatusCode,
    notice: Option<(Tone, &'static str)>,
    given: Option<Given<'_>>,
) -> Result<HttpResponse, Failure> {
    let page = &visit.page;
    let mut lookup = Lookup::new(&visit.state, page);
    let scopes = lookup.scopes_of(grant).await?;
    let is_live = grant.is_live(page.now);
    let change = match given.filter(|_| is_live) {
        Some(given) => Some(change(visit, grant, &scopes, &given).await?),
        None => None,
    };
    let alive = visit.state.connections.live_tokens(&grant.id).await?;
    // While a grant holds its tokens are meant to live; they matter when it was made narrower or ended.
    let outlive = alive.iter().map(|token| token.expires_at).max().filter(|_| notice.is_some() || !is_live);
    let over = match grant.state {
        GrantState::Revoked { at, .. } => Some(at),
        GrantState::Active if !is_live => Some(grant.expires_at),
        GrantState::Active => None,
    };
    let of_grant = EventFilter { grant: Some(grant.id.clone()), ..EventFilter::default() };
    let events: Vec<Event> = visit.state.audit.recent(&of_grant, DEEDS);
    let with_names = change.is_none() && page.is_admin();
    let (agent, provider) = (lookup.agent_name(&grant.agent).await?, lookup.provider(&grant.provider).await?);
    let title = if page.section != Section::None {
        let user = lookup.user_label(&grant.user).await?;
        texts::filled(page.lang, "grant.title_of", &[&agent, &user, &provider])
    } else {
        page.f2("grant.title", agent, provider)
    };
    let grant_page = GrantPage {
        id: grant.id.to_string(),
        title,
        notice: notice.map(|(tone, key)| Notice { tone, words: page.t(key).to_owned() }),
        account: lookup.account(&grant.connection).await?,
        limits: sentences(page.lang, page.utc_offset, &grant.limits),
        created: page.when(grant.created_at),
        until: page.when(grant.expires_at),
        over: over.map(|at| page.when(at)),
        words: grant.reason.as_deref().map(Shown::sentence),
        task: grant.task.as_deref().map(Shown::name),
        alive: outlive.map(|last| (alive.len(), page.when(last))),
        is_last: change.is_some() && visit.state.connections.is_last(grant).await?,
        change,
        events: lookup.events(&without_plumbing(events), with_names).await?,
        scopes,
        page: page.clone(),
    };
    answer_with(status, &grant_page)
}

async fn change(
    visit: &Visit,
    grant: &Grant,
    scopes: &[ScopeRow],
    given: &Given<'_>,
) -> Result<GrantChange, Failure> {
    let (page, form) = (&visit.page, given.form);
    let all = all_offers(visit, grant).await?;
    let lists = lists(page, grant, &all);
    let offered: Vec<Offer> = all.into_iter().filter(|offer| !offer.pickable).collect();
    let ticked = |row: &ScopeRow| form.is_none_or(|form| form.all("scope").any(|name| name == row.name));
    let left = page.now.until(grant.expires_at).as_secs();
    let chosen = form.and_then(|form| form.get("ends")?.parse().ok()).unwrap_or(0);
    let ends: Vec<DurationChoice> =
        durations(page.lang, chosen).into_iter().filter(|choice| choice.seconds < left).collect();
    let shown = limits::Shown { offers: &offered, suggested: &[], held: &[], scopes };
    Ok(GrantChange {
        scopes: scopes.iter().map(|row| ScopeRow { ticked: ticked(row), ..row.clone() }).collect(),
        ends,
        limits: limits::section(page, &shown, form, &given.problems),
        lists,
        problem: given.problem.map(|key| page.t(key).to_owned()),
    })
}

/// Each call has two events: what came of it says what the decision was.
fn without_plumbing(events: Vec<Event>) -> Vec<Event> {
    events
        .into_iter()
        .filter(|event| !matches!(event.draft.kind, EventKind::TokenOutcome | EventKind::GatewayOutcome))
        .collect()
}
