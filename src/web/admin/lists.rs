//! `/admin/users`, `/admin/interactions`, `/admin/events`: to read.

use actix_web::HttpResponse;

use crate::audit::EventFilter;
use crate::kernel::clock::Timestamp;
use crate::model::interaction::{Interaction, InteractionState};
use crate::model::user::User;
use crate::web::failure::Failure;
use crate::web::lookup::Lookup;
use crate::web::texts::text;
use crate::web::views::admin::lists::{EventsPage, InteractionRow, InteractionsPage, UserRow, UsersPage};
use crate::web::views::{Section, Tone};
use crate::web::visit::{Visit, answer};

/// How many are on one page.
const PART: usize = 50;

/// `GET /admin/users`.
pub async fn users(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    let page = visit.admin_page(Section::Users);
    let after = visit.query("after").filter(|after| after.starts_with("usr_") && after.len() < 64);
    let users = visit.state.store.page::<User>(after.as_deref(), PART).await?;
    let last = users.last().filter(|_| users.len() == PART);
    answer(&UsersPage {
        notice: None,
        next: last.map(|user| format!("/admin/users?after={}", user.id)),
        users: users.iter().map(|user| UserRow::new(&page, user)).collect(),
        page,
    })
}

/// `GET /admin/interactions`.
pub async fn interactions(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    let page = visit.admin_page(Section::Interactions);
    let after = visit.query("after").filter(|after| after.starts_with("int_") && after.len() < 64);
    let part = visit.state.store.page::<Interaction>(after.as_deref(), PART).await?;
    let next = part.last().filter(|_| part.len() == PART);
    let next = next.map(|last| format!("/admin/interactions?after={}", last.id));
    let mut part: Vec<&Interaction> = part.iter().map(|stored| stored.record()).collect();
    part.sort_by_key(|one| std::cmp::Reverse(one.created_at));
    let mut lookup = Lookup::new(&visit.state, &page);
    let mut rows = Vec::with_capacity(part.len());
    for interaction in part {
        let question = &interaction.question;
        let (state, tone) = state_words(interaction, page.now);
        rows.push(InteractionRow {
            id: interaction.id.to_string(),
            agent: lookup.agent_name(&question.agent).await?,
            provider: lookup.provider(&question.provider).await?,
            user: lookup.user_label(&question.user).await?,
            scopes: question.scopes.to_string(),
            asked: page.when(interaction.created_at),
            ends: interaction.is_open(page.now).then(|| page.when(interaction.expires_at)),
            grant: match &interaction.state {
                InteractionState::Granted { grant, .. } => Some(grant.to_string()),
                _ => None,
            },
            state: text(page.lang, state),
            tone,
        });
    }
    answer(&InteractionsPage { interactions: rows, next, page })
}

fn state_words(interaction: &Interaction, now: Timestamp) -> (&'static str, Tone) {
    match &interaction.state {
        InteractionState::Granted { .. } => ("state.granted", Tone::Good),
        InteractionState::Refused { .. } => ("state.refused", Tone::Bad),
        _ if !interaction.is_open(now) => ("state.expired", Tone::Plain),
        InteractionState::AtProvider { .. } => ("state.at_provider", Tone::Warn),
        InteractionState::Choosing { .. } => ("state.choosing", Tone::Warn),
        InteractionState::Pending => ("state.pending", Tone::Warn),
    }
}

/// `GET /admin/events`.
pub async fn events(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    let page = visit.admin_page(Section::Events);
    let before_seq = visit.query("before").and_then(|before| before.parse().ok());
    let filter = EventFilter { before_seq, ..EventFilter::default() };
    let events = visit.state.audit.recent(&filter, PART);
    let last = events.last().filter(|_| events.len() == PART);
    answer(&EventsPage {
        next: last.map(|event| format!("/admin/events?before={}", event.seq)),
        events: Lookup::new(&visit.state, &page).events(&events, true).await?,
        page,
    })
}
