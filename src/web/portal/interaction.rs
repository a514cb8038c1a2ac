//! An agent's question: the page, and the answer.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::interactions::{
    AccountChoice as Account, AnswerError, BROWSER_LIFE, Choice, ConsentView, LimitChoice, Next, Standing,
    ViewError,
};
use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{InteractionId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::connection::{Connection, ConnectionState};
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::grant::Grant;
use crate::providers::template::ConsentSemantics;
use crate::web::failure::Failure;
use crate::web::forms::{Form, Refused};
use crate::web::lookup::Lookup;
use crate::web::portal::{limits, picker};
use crate::web::views::consent::{
    AccountChoice, AgentCard, ConsentPage, DEFAULT_DURATION, ScopeRow, WidenRow, durations, kind_words,
};
use crate::web::views::limits::sentences;
use crate::web::views::outcome::{Ending, GrantedPage, MessagePage};
use crate::web::views::{Shown, letter};
use crate::web::visit::{Visit, Who, answer_leading_on, answer_with, go};

/// The part of the page's address that names the account that it is about.
const ABOUT: &str = "about";

/// `GET /i/{id}`. Looking changes nothing, so a preview that opens the link does no harm.
pub async fn show(visit: Visit, id: web::Path<String>) -> Result<HttpResponse, Failure> {
    let id: InteractionId = id.parse().map_err(|_| Failure::NotFound)?;
    let view = match viewed(&visit, &id, &shown(&visit)).await? {
        Ok(view) => view,
        Err(response) => return Ok(response),
    };
    match &view.standing {
        Standing::Choosing => picker::show(&visit, &view).await,
        Standing::Open | Standing::AtProvider => {
            let problem = match visit.query("problem").as_deref() {
                Some("nothing_granted") => Some("consent.nothing_granted"),
                _ => None,
            };
            question(&visit, &view, StatusCode::OK, problem, &Given::default()).await
        }
        Standing::Granted(grant) => granted(&visit, &view, grant).await,
        Standing::Refused if visit.query("at").as_deref() == Some("provider") => {
            ended(&visit, StatusCode::OK, Ending::ProviderRefused)
        }
        Standing::Refused => ended(&visit, StatusCode::OK, Ending::Refused),
        Standing::Expired => ended(&visit, StatusCode::GONE, Ending::Expired),
        Standing::AccountGone => ended(&visit, StatusCode::GONE, Ending::AccountGone),
    }
}

/// `POST /i/{id}`.
pub async fn answer(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let id: InteractionId = id.parse().map_err(|_| Failure::NotFound)?;
    // Whose question it is comes before anything in the form is looked at.
    let view = match viewed(&visit, &id, &shown(&visit)).await? {
        Ok(view) => view,
        Err(response) => return Ok(response),
    };
    let (user, browser) = visit.employee().map(|(user, browser)| (user.id.clone(), browser))?;
    let form = read(&visit, &view, payload).await?;
    let is_pick = form.get("step") == Some("pick");
    let purpose = if is_pick { picker::purpose(&id) } else { purpose(&id) };
    let opened_at = match form.check(&visit, &purpose, Some(browser), BROWSER_LIFE) {
        Ok(opened_at) => opened_at,
        Err(Refused::NotOurs) => return Err(Failure::FormExpired),
        Err(Refused::TooOld) => return ended(&visit, StatusCode::BAD_REQUEST, Ending::Stale),
    };
    if is_pick {
        return picker::answer(&visit, &view, &form).await;
    }
    let entered = limits::read(&form, &view.offers, visit.page.utc_offset);
    let given = Given { form: Some(&form), problems: entered.as_ref().err().cloned().unwrap_or_default() };
    let again = |problem| question(&visit, &view, StatusCode::BAD_REQUEST, problem, &given);
    let interactions = &visit.state.interactions;
    let answered = match form.get("decision") {
        Some("refuse") => interactions.refuse(&id, &user).await.map(|()| None),
        Some("agree") => match (entered, choice(&form, browser, opened_at)) {
            (Ok(limits), Ok(choice)) => {
                // As its address says, also where that account is gone by now.
                let about = match shown(&visit) {
                    Account::New => None,
                    Account::Existing(id) => Some(id),
                    Account::Usual => view.about.clone(),
                };
                let account = choice.account.clone();
                let choice = Choice { limits, about, ..choice };
                match interactions.agree(&id, &user, choice).await {
                    Err(AnswerError::NotShown) => return about_another(&visit, &id, &account, &given).await,
                    answered => answered.map(Some),
                }
            }
            (_, Err(problem)) => return again(Some(problem)).await,
            (Err(_), _) => return again(Some("consent.bad_field")).await,
        },
        // The Enter key in a field agrees to nothing.
        Some("look") => return question(&visit, &view, StatusCode::OK, None, &given).await,
        _ => return Err(Failure::BadRequest),
    };
    match answered {
        Ok(Some(Next::ToProvider(url))) => Ok(go(url.as_str())),
        Ok(Some(Next::Granted(_) | Next::ToPicker) | None) => Ok(go(&format!("/i/{id}"))),
        Err(error) => match problem_of(&error) {
            Some(problem) => again(Some(problem)).await,
            None if matches!(error, AnswerError::Closed) => {
                ended(&visit, StatusCode::CONFLICT, Ending::Answered)
            }
            None if matches!(error, AnswerError::AccountGone) => {
                ended(&visit, StatusCode::CONFLICT, Ending::AccountGone)
            }
            None => Err(answer_failure(&error)),
        },
    }
}

/// The account that the page is about, which its address names where several can be meant.
fn shown(visit: &Visit) -> Account {
    match visit.query(ABOUT).as_deref() {
        Some("new") => Account::New,
        Some(id) => id.parse().map_or(Account::Usual, Account::Existing),
        None => Account::Usual,
    }
}

/// The question once more, with what the agent holds on the account that was picked.
async fn about_another(
    visit: &Visit,
    id: &InteractionId,
    account: &Account,
    given: &Given<'_>,
) -> Result<HttpResponse, Failure> {
    match viewed(visit, id, account).await? {
        Ok(view) => {
            question(visit, &view, StatusCode::BAD_REQUEST, Some("consent.account_changed"), given).await
        }
        Err(response) => Ok(response),
    }
}

/// Reads a form of this page, or of the list that follows it.
async fn read(visit: &Visit, view: &ConsentView, payload: web::Payload) -> Result<Form, Failure> {
    let (once, several) = limits::names(&view.offers);
    let mut fields = vec!["decision", "duration", "connection", limits::WIDEN];
    fields.extend(picker::FIELDS);
    fields.extend(once.iter().map(String::as_str));
    let mut repeatable = vec!["scope"];
    repeatable.extend(picker::REPEATED);
    repeatable.extend(several.iter().map(String::as_str));
    Form::read(&visit.request, payload, &fields, &repeatable).await
}

/// What was sent, when it could not be taken.
#[derive(Default)]
struct Given<'f> {
    form: Option<&'f Form>,
    problems: limits::Problems,
}

/// The question, if it was made for whoever is signed in; else the page that says no more than that.
async fn viewed(
    visit: &Visit,
    id: &InteractionId,
    account: &Account,
) -> Result<Result<ConsentView, HttpResponse>, Failure> {
    let (user, browser) = match &visit.who {
        Who::Nobody => return Err(Failure::SignIn(Some(id.clone()))),
        Who::Admin { .. } => return ended(visit, StatusCode::FORBIDDEN, Ending::WrongPerson).map(Err),
        Who::Employee(_) => visit.employee().map(|(user, browser)| (user.id.clone(), browser))?,
    };
    match visit.state.interactions.view(id, &user, &browser, account).await {
        Ok(view) => Ok(Ok(view)),
        Err(ViewError::NotYours) => {
            note_wrong_person(visit, &user, id);
            ended(visit, StatusCode::FORBIDDEN, Ending::WrongPerson).map(Err)
        }
        Err(ViewError::Gone) => ended(visit, StatusCode::GONE, Ending::Expired).map(Err),
        Err(error) => Err(answer_failure(&AnswerError::View(error))),
    }
}

fn note_wrong_person(visit: &Visit, user: &UserId, id: &InteractionId) {
    let mut event = EventDraft::new(EventKind::Interaction, "interaction.wrong_person");
    event.user = Some(user.clone());
    event.interaction = Some(id.clone());
    event.verdict = Some(Verdict::Deny);
    event.reasons.push("the link was made for another user, or does not exist".to_owned());
    event.client_address = Some(visit.address());
    visit.state.audit.record_soon(event);
}

fn purpose(id: &InteractionId) -> String {
    format!("interaction:{id}")
}

fn choice(form: &Form, browser: TokenDigest, opened_at: Timestamp) -> Result<Choice, &'static str> {
    let scopes: Result<ScopeSet, _> = form.all("scope").map(str::parse).collect();
    let seconds = form.get("duration").map_or(Ok(DEFAULT_DURATION), str::parse::<u64>);
    let account = match form.get("connection") {
        None => Account::Usual,
        Some("new") => Account::New,
        Some(id) => Account::Existing(id.parse().map_err(|_| "consent.bad_account")?),
    };
    Ok(Choice {
        scopes: scopes.map_err(|_| "consent.nothing_ticked")?,
        duration: Duration::from_secs(seconds.map_err(|_| "consent.bad_duration")?),
        account,
        about: None,
        limits: LimitChoice::default(),
        browser,
        opened_at,
    })
}

/// What the person can put right on the same page.
fn problem_of(error: &AnswerError) -> Option<&'static str> {
    match error {
        AnswerError::NothingChosen => Some("consent.nothing_ticked"),
        AnswerError::Duration => Some("consent.bad_duration"),
        AnswerError::Limits => Some("consent.bad_limits"),
        AnswerError::Account => Some("consent.bad_account"),
        AnswerError::NotAllowed(_) => Some("consent.not_allowed"),
        _ => None,
    }
}

/// What any other error means for the reader.
pub(super) fn answer_failure(error: &AnswerError) -> Failure {
    use crate::connections::ConnectionError;
    tracing::warn!(%error, "an answer was not taken");
    match error {
        AnswerError::OtherBrowser | AnswerError::View(ViewError::NotYours) => Failure::Callback,
        AnswerError::Closed | AnswerError::AccountGone => Failure::Conflict,
        AnswerError::NotAllowed(_) => Failure::Forbidden,
        AnswerError::NothingGranted => Failure::Provider,
        AnswerError::Connection(ConnectionError::Store(_))
        | AnswerError::View(ViewError::Connection(ConnectionError::Store(_)) | ViewError::Store(_))
        | AnswerError::Audit(_)
        | AnswerError::Store(_) => Failure::Unavailable,
        AnswerError::Connection(_) | AnswerError::View(ViewError::Connection(_)) => Failure::ProviderConfig,
        AnswerError::View(ViewError::Gone) => Failure::NotFound,
        AnswerError::NothingChosen
        | AnswerError::Duration
        | AnswerError::Account
        | AnswerError::NotShown
        | AnswerError::Limits => Failure::BadRequest,
        AnswerError::Begin(crate::connections::BeginError::Store(_)) => Failure::Unavailable,
        AnswerError::Begin(_) => Failure::Provider,
    }
}

pub(super) fn ended(visit: &Visit, status: StatusCode, ending: Ending) -> Result<HttpResponse, Failure> {
    answer_with(status, &MessagePage::new(visit.page.clone(), ending))
}

async fn granted(visit: &Visit, view: &ConsentView, grant: &Grant) -> Result<HttpResponse, Failure> {
    let mut lookup = Lookup::new(&visit.state, &visit.page);
    let question = &view.interaction.question;
    let page = GrantedPage {
        id: grant.id.to_string(),
        limits: sentences(visit.page.lang, visit.page.utc_offset, &grant.limits),
        agent: Shown::name(&view.agent.name),
        provider: Shown::name(view.provider_name.get(visit.page.lang)),
        account: lookup.account(&grant.connection).await?,
        scopes: lookup.scopes_of(grant).await?,
        left_out: lookup.scopes(&question.provider, &question.scopes.difference(&grant.scopes)).await?,
        until: visit.page.when(grant.expires_at),
        page: visit.page.clone(),
    };
    answer_with(StatusCode::OK, &page)
}

async fn question(
    visit: &Visit,
    view: &ConsentView,
    status: StatusCode,
    problem: Option<&str>,
    given: &Given<'_>,
) -> Result<HttpResponse, Failure> {
    let form = given.form;
    let (page, lang) = (&visit.page, visit.page.lang);
    let (user, _) = visit.employee()?;
    let provider = view.provider_name.get(lang);
    let widens = view.interaction.question.widens.as_ref();
    let (mut read, mut strong) = (Vec::new(), Vec::new());
    for scope in &view.scopes {
        let mut row = ScopeRow::new(lang, &scope.entry);
        row.held = scope.held;
        // To ask for a wider limit takes nothing away: what is granted stays ticked.
        row.ticked |= scope.held && widens.is_some();
        if let Some(form) = form {
            row.ticked = form.all("scope").any(|name| name == row.name);
        }
        if row.strong { strong.push(row) } else { read.push(row) }
    }
    let mut lookup = Lookup::new(&visit.state, page);
    let names: ScopeSet = view.kept.keys().cloned().collect();
    let kept = lookup.scopes_until(&view.interaction.question.provider, &names, &view.kept).await?;
    let named: Vec<ScopeRow> = read.iter().chain(&strong).chain(&kept).cloned().collect();
    let mut held = view.held_limits.clone();
    held.retain(|limit| widens.is_none_or(|widens| &widens.former != limit));
    let mut suggested = view.interaction.question.limits.clone();
    suggested.retain(|limit| !held.contains(limit));
    let is_ticked = match form {
        Some(form) => form.get(limits::WIDEN).is_some(),
        None => strong.is_empty(),
    };
    let widen = widens.map(|widens| WidenRow::new(page, widens, is_ticked));
    let shown = limits::Shown { offers: &view.offers, suggested: &suggested, held: &held, scopes: &named };
    let picked = form.and_then(|form| form.get("connection"));
    let seconds = form.and_then(|form| form.get("duration")?.parse().ok()).unwrap_or(DEFAULT_DURATION);
    let whole = consents_whole(&mut lookup, view).await?;
    let consent = ConsentPage {
        action: action(view),
        purpose: purpose(&view.interaction.id),
        agent: AgentCard {
            name: Shown::name(&view.agent.name),
            letter: letter(&view.agent.name),
            kind: kind_words(lang, view.agent.kind),
            purpose: Shown::sentence(&view.agent.purpose),
            owner: Shown::name(&view.owner.as_ref().map_or(view.agent.owner.to_string(), |owner| {
                owner.email.clone().unwrap_or_else(|| owner.name.clone())
            })),
            owner_is_you: view.agent.owner.is(&user.id),
        },
        words: view.interaction.binding_message.as_deref().map(Shown::sentence),
        task: view.interaction.task.as_deref().map(Shown::name),
        provider: Shown::name(provider),
        provider_letter: letter(provider),
        accounts: accounts(page, view, picked),
        via_provider: via_provider(view, whole),
        read,
        strong,
        kept,
        widen,
        limits: limits::section(page, &shown, form, &given.problems),
        durations: durations(lang, seconds),
        ends: page.when(view.interaction.expires_at),
        problem: problem.map(|key| page.t(key).to_owned()),
        page: page.clone(),
    };
    let leads_to = std::slice::from_ref(&view.interaction.question.provider);
    answer_leading_on(&visit.state, leads_to, status, &consent).await
}

async fn consents_whole(lookup: &mut Lookup<'_>, view: &ConsentView) -> Result<bool, Failure> {
    let template = lookup.template(&view.interaction.question.provider).await?;
    let authorize = template.as_ref().and_then(|loaded| loaded.template.authorize.as_ref());
    Ok(authorize.is_some_and(|authorize| authorize.consent == ConsentSemantics::Whole))
}

/// Where the answer goes. It names the account that the page is about, for the answer to be held against.
fn action(view: &ConsentView) -> String {
    let id = &view.interaction.id;
    match (&view.interaction.question.connection, &view.about) {
        (Some(_), _) => format!("/i/{id}"),
        (None, Some(about)) => format!("/i/{id}?{ABOUT}={about}"),
        (None, None) => format!("/i/{id}?{ABOUT}=new"),
    }
}

fn about(view: &ConsentView) -> Option<&Connection> {
    view.accounts.iter().find(|account| view.about.as_ref() == Some(&account.id))
}

fn is_usable(connection: &Connection) -> bool {
    matches!(connection.state, ConnectionState::Active | ConnectionState::InDoubt { .. })
}

/// Whether the provider asks next, for the account that is picked at first.
fn via_provider(view: &ConsentView, whole: bool) -> bool {
    about(view).is_none_or(|account| {
        !is_usable(account) || !(whole || view.interaction.question.scopes.is_subset(&account.scopes))
    })
}

fn accounts(page: &crate::web::views::Page, view: &ConsentView, picked: Option<&str>) -> Vec<AccountChoice> {
    let about = about(view).map_or_else(|| "new".to_owned(), |account| account.id.to_string());
    let chosen = picked.map_or(about, str::to_owned);
    let text = |key: &'static str| crate::web::texts::text(page.lang, key);
    let mut choices: Vec<AccountChoice> = view
        .accounts
        .iter()
        .map(|account| AccountChoice {
            value: account.id.to_string(),
            label: Shown::name(&account.account.label),
            is_default: account.is_default,
            chosen: chosen == account.id.as_str(),
            note: (!is_usable(account)).then(|| text("consent.account_needs_reauth")),
        })
        .collect();
    if !choices.is_empty() && view.interaction.question.connection.is_none() {
        choices.push(AccountChoice {
            value: "new".to_owned(),
            label: Shown::name(text("consent.account_other")),
            is_default: false,
            chosen: chosen == "new",
            note: Some(text("consent.account_other_hint")),
        });
    }
    choices
}
