//! Picking from a provider's list: the last step of a consent that is limited to things with names.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use crate::interactions::{
    AnswerError, ConsentView, Listing, Next, PickError, Picked, Picker, Shelf, Suggested,
};
use crate::kernel::ids::InteractionId;
use crate::kernel::text;
use crate::model::limit::{LimitKind, MOST_VALUES, Named};
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::lookup::Lookup;
pub(super) use crate::web::portal::interaction::answer_failure;
use crate::web::portal::interaction::ended;
use crate::web::views::limits::sentences;
use crate::web::views::outcome::Ending;
use crate::web::views::picker::{Crumb, PickRow, PickerPage};
use crate::web::views::{Shown, When, letter};
use crate::web::visit::{Visit, answer_with, go};

/// How deep a person can go.
const DEEPEST: usize = 32;

/// Fields of the form that come once, and those that may come several times.
pub const FIELDS: [&str; 3] = ["step", "open", "up"];
/// See [`FIELDS`].
pub const REPEATED: [&str; 3] = ["item", "known", "at"];

/// The token of this form answers no question, and the question's token picks nothing.
pub fn purpose(id: &InteractionId) -> String {
    format!("pick:{id}")
}

/// Where the person is, and what they have ticked so far.
#[derive(Default)]
pub(super) struct Place {
    trail: Vec<Named>,
    ticked: Vec<Named>,
}

/// The list, at its top.
pub async fn show(visit: &Visit, view: &ConsentView) -> Result<HttpResponse, Failure> {
    let (user, browser) = visit.employee()?;
    let interactions = &visit.state.interactions;
    match interactions.picker(&view.interaction.id, &user.id, &browser).await {
        Ok(picker) => page(visit, &shown(visit, view, &picker), &picker.shelf, None, None).await,
        Err(error) => failed(visit, &error),
    }
}

/// What the person does there: opens a folder, confirms, goes back, or refuses.
pub async fn answer(visit: &Visit, view: &ConsentView, form: &Form) -> Result<HttpResponse, Failure> {
    let (user, browser) = visit.employee().map(|(user, browser)| (user.id.clone(), browser))?;
    let interactions = &visit.state.interactions;
    let id = &view.interaction.id;
    let here = format!("/i/{id}");
    match form.get("decision") {
        Some("refuse") => {
            return match interactions.refuse(id, &user).await {
                Ok(()) => Ok(go(&here)),
                Err(error) => failed(visit, &error.into()),
            };
        }
        Some("back") => {
            return match interactions.start_over(id, &user).await {
                Ok(()) => Ok(go(&here)),
                Err(error) => failed(visit, &error.into()),
            };
        }
        _ => {}
    }
    let picker = match interactions.picker(id, &user, &browser).await {
        Ok(picker) => picker,
        Err(error) => return failed(visit, &error),
    };
    let mut place = read(form);
    if form.get("decision") != Some("agree") {
        place.moves(form);
        return page(visit, &shown(visit, view, &picker), &picker.shelf, Some(place), None).await;
    }
    match interactions.confirm_pick(id, &user, &browser, &place.picked()).await {
        Ok(Next::ToProvider(url)) => Ok(go(url.as_str())),
        Ok(Next::Granted(_) | Next::ToPicker) => Ok(go(&here)),
        Err(error) => {
            let Some(problem) = problem_of(&error) else { return failed(visit, &error) };
            page(visit, &shown(visit, view, &picker), &picker.shelf, Some(place), Some(problem)).await
        }
    }
}

/// What the person can put right on the same page.
pub(super) const fn problem_of(error: &PickError) -> Option<&'static str> {
    Some(match error {
        PickError::Nothing => "picker.nothing",
        PickError::TooMany => "picker.too_many",
        PickError::Absent => "picker.gone",
        PickError::Lookup(_) | PickError::Lease(_) => "picker.unreadable",
        PickError::NotNow | PickError::Late | PickError::Answer(_) => return None,
    })
}

/// What is around a list: the last step of an answer, or a page of its own.
pub(super) struct Around {
    /// Where the form goes.
    pub action: String,
    /// What its token is for.
    pub purpose: String,
    /// The agent's name.
    pub agent: String,
    /// The provider's name.
    pub provider: String,
    /// What holds already, in words.
    pub settled: Vec<String>,
    /// Whether another list follows.
    pub more: bool,
    /// Until when it has to be confirmed.
    pub ends: Option<When>,
    /// The page to go back to; none for a question, which is gone back to by its own buttons.
    pub back: Option<String>,
}

fn shown(visit: &Visit, view: &ConsentView, picker: &Picker) -> Around {
    let (page, id) = (&visit.page, &view.interaction.id);
    Around {
        action: format!("/i/{id}"),
        purpose: purpose(id),
        agent: view.agent.name.clone(),
        provider: view.provider_name.get(page.lang).to_owned(),
        settled: sentences(page.lang, page.utc_offset, &picker.agreement.limits),
        more: picker.agreement.picks.len() > 1,
        ends: Some(page.when(picker.agreement.ends_at)),
        back: None,
    }
}

/// An identifier and a name, as hidden fields and buttons hold them.
fn packed(item: &Named) -> String {
    let name = item.name.as_deref().unwrap_or_default();
    format!("{}\t{name}", item.id)
}

fn unpacked(text: &str) -> Named {
    let (id, name) = text.split_once('\t').unwrap_or((text, ""));
    let name = text::clean(name, 120);
    Named { id: id.to_owned(), name: (!name.is_empty()).then_some(name) }
}

pub(super) fn read(form: &Form) -> Place {
    let known: Vec<Named> = form.all("known").map(unpacked).collect();
    let mut ticked: Vec<Named> = Vec::new();
    for id in form.all("item").filter(|id| !id.is_empty()) {
        if !ticked.iter().any(|item| item.id == id) {
            let name = known.iter().find(|item| item.id == id).and_then(|item| item.name.clone());
            ticked.push(Named { id: id.to_owned(), name });
        }
    }
    Place { trail: form.all("at").take(DEEPEST).map(unpacked).collect(), ticked }
}

impl Place {
    pub(super) fn picked(&self) -> Picked {
        Picked { items: self.ticked.clone(), way: self.trail.clone() }
    }

    pub(super) fn moves(&mut self, form: &Form) {
        if let Some(inner) = form.get("open") {
            if self.trail.len() < DEEPEST {
                self.trail.push(unpacked(inner));
            }
        } else if let Some(depth) = form.get("up").and_then(|depth| depth.parse().ok()) {
            self.trail.truncate(depth);
        }
    }
}

pub(super) async fn page(
    visit: &Visit,
    around: &Around,
    shelf: &Shelf,
    place: Option<Place>,
    problem: Option<&'static str>,
) -> Result<HttpResponse, Failure> {
    let interactions = &visit.state.interactions;
    let is_first = place.is_none();
    let place = place.unwrap_or_default();
    let mut status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let mut problem = problem;
    let suggested = match shelf.pick.suggested.is_empty() {
        true => Ok(Vec::new()),
        false => interactions.suggested(shelf).await,
    };
    // Within what the agent has named there is nothing to list at the top but that.
    let is_listed = shelf.is_listed() && (shelf.pick.suggested.is_empty() || !place.trail.is_empty());
    let listing = match is_listed {
        true => interactions.list(shelf, place.trail.last().map(|item| item.id.as_str())).await,
        false => Ok(Listing::default()),
    };
    let (suggested, listing) = match (suggested, listing) {
        (Ok(suggested), Ok(listing)) => (suggested, listing),
        (suggested, listing) => {
            for error in [suggested.as_ref().err(), listing.as_ref().err()].into_iter().flatten() {
                tracing::warn!(%error, form.action = around.action, "a list to pick from is missing");
            }
            (status, problem) = (StatusCode::BAD_GATEWAY, Some("picker.unreadable"));
            (suggested.unwrap_or_default(), listing.unwrap_or_default())
        }
    };
    let is_unreadable = problem == Some("picker.unreadable");
    let nothing_found =
        !shelf.pick.suggested.is_empty() && !is_unreadable && suggested.iter().all(|one| one.found.is_none());
    if nothing_found {
        problem = Some("picker.nothing_found");
    }
    let at_root = place.trail.is_empty();
    let shown = Rows { shelf, place: &place, is_first, at_root };
    let suggested = shown.suggested(&suggested);
    let rows: Vec<PickRow> = listing.items.iter().map(|item| shown.row(item)).collect();
    let elsewhere: Vec<&Named> = (place.ticked.iter())
        .filter(|item| !rows.iter().chain(&suggested).any(|row| row.id == item.id))
        .take(MOST_VALUES)
        .collect();
    let mut known: Vec<String> = elsewhere.iter().map(|item| packed(item)).collect();
    known.extend(listing.items.iter().filter(|item| item.name.is_some()).map(packed));
    let page = &visit.page;
    let picker_page = PickerPage {
        action: around.action.clone(),
        purpose: around.purpose.clone(),
        title: page.f1(title_of(shelf.pick.kind), Shown::name(&around.agent)),
        agent_letter: letter(&around.agent),
        provider: Shown::name(&around.provider),
        provider_letter: letter(&around.provider),
        account: Lookup::new(&visit.state, page).account(&shelf.connection).await?,
        settled: around.settled.clone(),
        some_absent: suggested.iter().any(|row| !row.found),
        chosen: elsewhere.into_iter().map(|item| PickRow { open: None, ..shown.row(item) }).collect(),
        is_listed,
        trail: crumbs(page.t("picker.top"), &place.trail),
        at: place.trail.iter().map(packed).collect(),
        known,
        cut: listing.cut,
        more: around.more,
        can_confirm: !nothing_found,
        problem: problem.map(|key| page.t(key).to_owned()),
        ends: around.ends.clone(),
        back: around.back.clone(),
        suggested,
        rows,
        page: page.clone(),
    };
    answer_with(status, &picker_page)
}

/// How things are shown.
struct Rows<'p> {
    shelf: &'p Shelf,
    place: &'p Place,
    /// Nothing was sent yet: what the agent has named starts ticked.
    is_first: bool,
    at_root: bool,
}

impl Rows<'_> {
    fn row(&self, item: &Named) -> PickRow {
        PickRow {
            id: item.id.clone(),
            label: Shown::name(item.name.as_deref().unwrap_or(&item.id)),
            ticked: self.place.ticked.iter().any(|ticked| ticked.id == item.id),
            found: true,
            open: self.shelf.can_open().then(|| packed(item)),
        }
    }

    fn suggested(&self, all: &[Suggested]) -> Vec<PickRow> {
        let row = |one: &Suggested| match &one.found {
            Some(found) => {
                let row = self.row(found);
                let open = if self.at_root { row.open } else { None };
                PickRow { ticked: row.ticked || self.is_first, open, ..row }
            }
            None => PickRow { found: false, open: None, ..self.row(&one.asked) },
        };
        all.iter().map(row).collect()
    }
}

fn crumbs(top: &str, trail: &[Named]) -> Vec<Crumb> {
    let names = trail.iter().map(|item| Shown::name(item.name.as_deref().unwrap_or(&item.id)));
    let all = std::iter::once(Shown::name(top)).chain(names);
    all.enumerate().map(|(depth, label)| Crumb { depth, label, current: depth == trail.len() }).collect()
}

const fn title_of(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::Documents => "picker.title_documents",
        LimitKind::MailFolders => "picker.title_mail_folders",
        LimitKind::Calendars => "picker.title_calendars",
        LimitKind::Chats => "picker.title_chats",
        _ => "picker.title_folders",
    }
}

fn failed(visit: &Visit, error: &PickError) -> Result<HttpResponse, Failure> {
    match error {
        PickError::Late => ended(visit, StatusCode::BAD_REQUEST, Ending::Stale),
        PickError::NotNow | PickError::Answer(AnswerError::Closed) => {
            ended(visit, StatusCode::CONFLICT, Ending::Answered)
        }
        PickError::Answer(AnswerError::AccountGone) => {
            ended(visit, StatusCode::CONFLICT, Ending::AccountGone)
        }
        PickError::Answer(error) => Err(answer_failure(error)),
        PickError::Nothing | PickError::TooMany | PickError::Absent => Err(Failure::BadRequest),
        PickError::Lookup(_) | PickError::Lease(_) => {
            tracing::warn!(%error, "a list to pick from cannot be read");
            Err(Failure::Provider)
        }
    }
}
