//! Signing in and out.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::connections::{Begin, BeginError, CompleteError, ConnectionError};
use crate::kernel::ids::InteractionId;
use crate::kernel::scope::ScopeSet;
use crate::model::event::{EventDraft, EventKind, Outcome, Verdict};
use crate::model::session::{Principal, Purpose};
use crate::model::user::UserState;
use crate::providers::template::ErrorClass;
use crate::server::body;
use crate::web::failure::Failure;
use crate::web::local_login::LoginError;
use crate::web::views::Shown;
use crate::web::views::login::{LocalLoginPage, LoginPage};
use crate::web::visit::{Visit, Who, answer, answer_leading_on, answer_with, go};
use crate::web::{employee, forms, session};

/// `GET /login`, and `GET /login?local=1` for admins.
pub async fn show(mut visit: Visit) -> Result<HttpResponse, Failure> {
    let cookie = mark(&mut visit);
    let notice = match visit.query("done").as_deref() {
        Some("signed_out") => Some(visit.page.t("login.signed_out").to_owned()),
        Some("setup") => Some(visit.page.t("login.setup_done").to_owned()),
        _ => None,
    };
    let problem = match visit.query("problem").as_deref() {
        Some("declined") => Some(visit.page.t("login.declined").to_owned()),
        Some("failed") => Some(visit.page.t("login.failed").to_owned()),
        _ => None,
    };
    let mut response = if visit.query("local").as_deref() == Some("1") {
        // There is nothing green to say on this page but that the account is ready.
        answer(&LocalLoginPage { page: visit.page.clone(), email: Shown::default(), problem, notice })?
    } else {
        let then = visit.query("then").and_then(|id| id.parse::<InteractionId>().ok());
        let page = LoginPage {
            page: visit.page.clone(),
            provider: provider_name(&visit).await?,
            for_interaction: then.is_some(),
            then,
            problem,
            notice,
        };
        let leads_to: Vec<_> = visit.state.sign_in.iter().cloned().collect();
        answer_leading_on(&visit.state, &leads_to, StatusCode::OK, &page).await?
    };
    if let Some(cookie) = cookie {
        response.add_cookie(&cookie).map_err(|_| Failure::Internal)?;
    }
    Ok(response)
}

/// Marks the browser if it has no mark yet, so that its sign-in form and the way back are bound to it.
pub(super) fn mark(visit: &mut Visit) -> Option<actix_web::cookie::Cookie<'static>> {
    if visit.session.is_some() || visit.browser().is_some() {
        return None;
    }
    let (digest, cookie) = session::mark_browser(&visit.state, &visit.inbound);
    visit.page.forms = forms::maker(&visit.state, digest);
    Some(cookie)
}

async fn provider_name(visit: &Visit) -> Result<Option<Shown>, Failure> {
    let Some(slug) = &visit.state.sign_in else { return Ok(None) };
    match visit.state.connections.configured(slug).await {
        Ok(configured) => Ok(Some(Shown::name(configured.loaded.template.name.get(visit.page.lang)))),
        Err(ConnectionError::Store(error)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(provider = %slug, %error, "the sign-in provider cannot be used");
            Ok(None)
        }
    }
}

/// `POST /login`: to the company's sign-in.
pub async fn begin(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let form = visit.form(payload, "login.company", &["then"], &[]).await?;
    let then = match form.get("then") {
        Some(id) => Some(id.parse().map_err(|_| Failure::BadRequest)?),
        None => None,
    };
    let provider = visit.state.sign_in.clone().ok_or(Failure::NotFound)?;
    let browser = visit.session.as_ref().map(|session| session.digest).or_else(|| visit.browser());
    let begin = Begin {
        provider: &provider,
        purpose: Purpose::SignIn { then },
        browser: browser.ok_or(Failure::FormExpired)?,
        user: None,
        opened_at: visit.page.now,
        scopes: &ScopeSet::new(),
    };
    let url = visit.state.connections.begin(begin).await.map_err(begin_failure)?;
    Ok(go(url.as_str()))
}

/// What a trip that could not begin means for the reader.
pub(super) fn begin_failure(error: BeginError) -> Failure {
    tracing::warn!(%error, "a browser could not be sent to a provider");
    match error {
        BeginError::Store(error) => error.into(),
        BeginError::Provider(ConnectionError::Store(error)) => error.into(),
        BeginError::Provider(_) | BeginError::RedirectUri => Failure::ProviderConfig,
        BeginError::Upstream(error) if error.class == ErrorClass::Config => Failure::ProviderConfig,
        BeginError::Upstream(_) => Failure::Provider,
    }
}

/// `GET /login/callback`: back from the company's sign-in.
pub async fn callback(visit: Visit) -> Result<HttpResponse, Failure> {
    let params = body::read_query(&visit.request)?.into_pairs();
    let provider = visit.state.sign_in.clone().ok_or(Failure::NotFound)?;
    let browser = visit.session.as_ref().map(|session| session.digest).or_else(|| visit.browser());
    let browser = browser.ok_or(Failure::Callback)?;
    let completed = match visit.state.connections.complete(&provider, &params, &browser, None).await {
        Ok(completed) => completed,
        Err(CompleteError::Denied { purpose: Purpose::SignIn { then } }) => {
            return Ok(back(then, "declined"));
        }
        Err(error) => return Err(callback_failure(&visit, &error)),
    };
    let (Purpose::SignIn { then }, Some(claims)) = (completed.purpose, completed.id_claims) else {
        return Err(Failure::Callback);
    };
    let user = employee::of_claims(&visit.state, &claims).await?;
    let mut event = EventDraft::new(EventKind::SignIn, "signin.done");
    event.user = Some(user.id.clone());
    event.provider = Some(provider);
    event.client_address = Some(visit.address());
    if user.state == UserState::Disabled {
        event.action = "signin.refused".to_owned();
        event.verdict = Some(Verdict::Deny);
        event.reasons.push("the user is switched off".to_owned());
        visit.state.audit.record(event).await?;
        return Err(Failure::AccountDisabled);
    }
    event.outcome = Some(Outcome::Done);
    visit.state.audit.record(event).await?;
    let principal = Principal::User { user: user.id };
    let to = then.map_or_else(|| "/".to_owned(), |id| format!("/i/{id}"));
    sign_in(&visit, principal, &to).await
}

fn back(then: Option<InteractionId>, problem: &str) -> HttpResponse {
    match then {
        Some(then) => go(&format!("/login?then={then}&problem={problem}")),
        None => go(&format!("/login?problem={problem}")),
    }
}

/// What an answer of a provider that came to nothing means for the reader. It is written down, when
/// somebody is signed in: anyone can call these addresses, and could fill the log.
pub(super) fn callback_failure(visit: &Visit, error: &CompleteError) -> Failure {
    use crate::upstream::Cause;
    tracing::info!(%error, "an answer from a provider came to nothing");
    if let Who::Employee(user) = &visit.who {
        let mut event = EventDraft::new(EventKind::Connection, "callback.refused");
        event.user = Some(user.id.clone());
        event.verdict = Some(Verdict::Deny);
        event.reasons.push(error.to_string());
        event.client_address = Some(visit.address());
        visit.state.audit.record_soon(event);
    }
    match error {
        CompleteError::UnknownState
        | CompleteError::Expired
        | CompleteError::OtherBrowser
        | CompleteError::OtherUser
        | CompleteError::BadAnswer { .. } => Failure::Callback,
        CompleteError::OtherAccount { .. } => Failure::OtherAccount,
        CompleteError::AccountConnected { .. } => Failure::AccountConnected,
        CompleteError::Disconnected { .. } => Failure::Conflict,
        CompleteError::Upstream { cause, .. } => match (cause.cause, cause.class) {
            (Cause::CompanyMismatch, _) => Failure::OtherCompany,
            (_, ErrorClass::Config | ErrorClass::Admin) => Failure::ProviderConfig,
            _ => Failure::Provider,
        },
        CompleteError::Denied { .. } => Failure::Callback,
        CompleteError::Provider(ConnectionError::Store(_))
        | CompleteError::Store(_)
        | CompleteError::Audit(_) => Failure::unavailable(error),
        CompleteError::Provider(_) => Failure::ProviderConfig,
        CompleteError::Sealed(_) => Failure::Internal,
    }
}

async fn sign_in(visit: &Visit, principal: Principal, to: &str) -> Result<HttpResponse, Failure> {
    let cookies = session::start(&visit.state, &visit.inbound, principal, visit.session.as_ref()).await?;
    let mut response = go(to);
    for cookie in cookies {
        response.add_cookie(&cookie).map_err(|_| Failure::Internal)?;
    }
    Ok(response)
}

/// `POST /login/local`: an admin's e-mail and password.
pub async fn local(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let form = visit.form(payload, "login.local", &["email", "password"], &[]).await?;
    let (state, from) = (&visit.state, visit.address());
    let email = form.text("email");
    let password = form.secret("password");
    let checked = state.local_login.check(&state.store, &state.vault, email, password, from).await;
    let (status, problem) = match checked {
        Ok(admin) => {
            let mut event = EventDraft::new(EventKind::SignIn, "signin.done");
            event.admin = Some(admin.email.clone());
            event.outcome = Some(Outcome::Done);
            event.client_address = Some(from);
            state.audit.record(event).await?;
            let principal = Principal::Admin { email: admin.email, role: admin.role };
            return sign_in(&visit, principal, "/admin").await;
        }
        Err(LoginError::Store(error)) => return Err(error.into()),
        Err(LoginError::Wrong) => {
            let mut event = EventDraft::new(EventKind::SignIn, "signin.refused");
            event.verdict = Some(Verdict::Deny);
            event.reasons.push("a local admin's e-mail or password was wrong".to_owned());
            event.client_address = Some(from);
            state.audit.record(event).await?;
            (StatusCode::UNAUTHORIZED, "login.wrong")
        }
        Err(LoginError::Throttled(_)) => (StatusCode::TOO_MANY_REQUESTS, "login.throttled"),
        Err(LoginError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "login.busy"),
    };
    let page = crate::web::views::Page { here: "/login?local=1".to_owned(), ..visit.page.clone() };
    let problem = Some(page.t(problem).to_owned());
    answer_with(status, &LocalLoginPage { page, email: Shown::name(email), problem, notice: None })
}

/// `POST /logout`.
pub async fn out(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    visit.form(payload, "logout", &[], &[]).await?;
    if let Some(session) = &visit.session {
        session::end(&visit.state, session).await?;
        let mut event = EventDraft::new(EventKind::SignIn, "signin.out");
        match &visit.who {
            Who::Employee(user) => event.user = Some(user.id.clone()),
            Who::Admin { email, .. } => event.admin = Some(email.clone()),
            Who::Nobody => {}
        }
        event.outcome = Some(Outcome::Done);
        visit.state.audit.record_soon(event);
    }
    let mut response = go("/login?done=signed_out");
    for cookie in session::forget(&visit.inbound) {
        response.add_cookie(&cookie).map_err(|_| Failure::Internal)?;
    }
    Ok(response)
}
