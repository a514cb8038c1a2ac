//! `/admin`.

use actix_web::HttpResponse;

use crate::audit::EventFilter;
use crate::model::agent::Agent;
use crate::model::interaction::Interaction;
use crate::model::record::Record;
use crate::model::user::User;
use crate::store::StoreError;
use crate::web::admin::notice;
use crate::web::failure::Failure;
use crate::web::lookup::Lookup;
use crate::web::state::WebState;
use crate::web::texts::text;
use crate::web::views::Section;
use crate::web::views::admin::overview::{Figure, OverviewPage, Step};
use crate::web::visit::{Visit, answer};

const LATELY: usize = 12;
/// Counting stops here: a page must not read the whole store.
const MOST: usize = 1_000;

/// `GET /admin`.
pub async fn show(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    let page = visit.admin_page(Section::Overview);
    let state = &visit.state;
    let agents = count::<Agent>(state, |_| true).await?;
    let providers = state.connections.providers().await?.len();
    let users = count::<User>(state, |_| true).await?;
    let open = count::<Interaction>(state, |interaction| interaction.is_open(page.now)).await?;
    let figure = |number, key, href| Figure { number, title: text(page.lang, key), href };
    let mut todo = Vec::new();
    if page.may_write() && providers == 0 {
        todo.push(step(&visit, "admin.step_provider", "admin.step_provider_words", "/admin/providers"));
    }
    if page.may_write() && agents == 0 {
        todo.push(step(&visit, "admin.step_agent", "admin.step_agent_words", "/admin/agents/new"));
    }
    let events = state.audit.recent(&EventFilter::default(), LATELY);
    answer(&OverviewPage {
        notice: notice(&visit),
        stops: state.kill_switch.active().await?.len(),
        figures: vec![
            figure(agents, "admin.agents", "/admin/agents"),
            figure(providers, "admin.providers", "/admin/providers"),
            figure(users, "admin.users", "/admin/users"),
            figure(open, "admin.interactions_open", "/admin/interactions"),
        ],
        todo,
        events: Lookup::new(state, &page).events(&events, true).await?,
        page,
    })
}

fn step(visit: &Visit, title: &'static str, words: &'static str, href: &'static str) -> Step {
    let lang = visit.page.lang;
    Step { title: text(lang, title), words: text(lang, words), href, button: text(lang, title) }
}

async fn count<R: Record>(state: &WebState, wanted: impl Fn(&R) -> bool) -> Result<usize, StoreError> {
    let page = state.store.page::<R>(None, MOST).await?;
    Ok(page.iter().filter(|stored| wanted(stored.record())).count())
}
