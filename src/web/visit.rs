//! One request to a page: who is signed in, in which language, from which browser.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use askama::Template;

use crate::kernel::bearer::TokenDigest;
use crate::kernel::ids::{ProviderSlug, UserId};
use crate::kernel::text::Lang;
use crate::model::session::Session;
use crate::model::user::{Role, User};
use crate::server::{Inbound, client, headers};
use crate::web::failure::Failure;
use crate::web::forms::{self, Form};
use crate::web::session::{self, Found};
use crate::web::state::WebState;
use crate::web::views::{Forms, Page, Section, Shown, SignedIn};

/// Who is signed in.
#[derive(Clone, Debug)]
pub enum Who {
    /// Nobody.
    Nobody,
    /// An employee.
    Employee(Box<User>),
    /// An admin.
    Admin {
        /// By e-mail.
        email: String,
        /// What they may do now; read anew with every request.
        role: Role,
    },
}

/// One request to a page.
pub struct Visit {
    /// The rooms.
    pub state: web::Data<WebState>,
    /// How we are reached.
    pub inbound: web::Data<Inbound>,
    /// The request.
    pub request: HttpRequest,
    /// Who is signed in.
    pub who: Who,
    /// Their session.
    pub session: Option<Session>,
    /// The frame of the page that answers.
    pub page: Page,
}

impl FromRequest for Visit {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Failure>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Visit::open(request).await })
    }
}

impl Visit {
    async fn open(request: HttpRequest) -> Result<Self, Failure> {
        let state = request.app_data::<web::Data<WebState>>().cloned().ok_or(Failure::Internal)?;
        let inbound = request.app_data::<web::Data<Inbound>>().cloned().ok_or(Failure::Internal)?;
        let (session, who) = match session::find(&state, &inbound, &request).await? {
            Some(Found { session, who }) => (Some(session), who),
            None => (None, Who::Nobody),
        };
        let mut page = bare_page(&request, &state, &inbound);
        page.user = match &who {
            Who::Nobody => None,
            Who::Employee(user) => {
                let label = user.email.as_deref().unwrap_or(&user.name);
                Some(SignedIn { label: Shown::name(label), role: None })
            }
            Who::Admin { email, role } => Some(SignedIn { label: Shown::name(email), role: Some(*role) }),
        };
        if let Some(session) = &session {
            page.forms = forms::maker(&state, session.digest);
        }
        request.extensions_mut().insert(page.clone());
        Ok(Self { state, inbound, request, who, session, page })
    }

    /// The employee who is signed in, and their session's digest. Anyone else has to sign in.
    ///
    /// # Errors
    /// When nobody, or an admin, is signed in.
    pub fn employee(&self) -> Result<(&User, TokenDigest), Failure> {
        match (&self.who, &self.session) {
            (Who::Employee(user), Some(session)) => Ok((user, session.digest)),
            (Who::Admin { .. }, _) => Err(Failure::Forbidden),
            _ => Err(Failure::SignIn(None)),
        }
    }

    /// The employee's id; see [`Visit::employee`].
    ///
    /// # Errors
    /// As there.
    pub fn employee_id(&self) -> Result<UserId, Failure> {
        self.employee().map(|(user, _)| user.id.clone())
    }

    /// Any admin or auditor, by e-mail.
    ///
    /// # Errors
    /// When nobody, or an employee, is signed in.
    pub fn auditor(&self) -> Result<&str, Failure> {
        match &self.who {
            Who::Admin { email, .. } => Ok(email),
            Who::Employee(_) => Err(Failure::Forbidden),
            Who::Nobody => Err(Failure::SignIn(None)),
        }
    }

    /// An admin who may change things, by e-mail.
    ///
    /// # Errors
    /// When anyone else, or nobody, is signed in.
    pub fn admin(&self) -> Result<&str, Failure> {
        match &self.who {
            Who::Admin { email, role: Role::Admin } => Ok(email),
            Who::Nobody => Err(Failure::SignIn(None)),
            _ => Err(Failure::Forbidden),
        }
    }

    /// The frame of a page of the administration.
    pub fn admin_page(&self, section: Section) -> Page {
        Page { section, ..self.page.clone() }
    }

    /// Reads a form that one of our own pages sent, with a token for that purpose.
    ///
    /// # Errors
    /// When it is another site's, too old, or holds what no such form has.
    pub async fn form(
        &self,
        payload: web::Payload,
        purpose: &str,
        fields: &[&str],
        repeatable: &[&str],
    ) -> Result<Form, Failure> {
        let binding = self.session.as_ref().map(|session| session.digest).or_else(|| self.browser());
        let form = Form::read(&self.request, payload, fields, repeatable).await?;
        form.check(self, purpose, binding, forms::FORM_LIFE)?;
        Ok(form)
    }

    /// The browser's own mark from before anyone signed in.
    pub fn browser(&self) -> Option<TokenDigest> {
        session::browser_mark(&self.state, &self.inbound, &self.request)
    }

    /// The caller's address.
    pub fn address(&self) -> IpAddr {
        client::address(&self.request, &self.inbound)
    }

    /// A parameter of the query that is safe to read as it is: one of a few known words.
    pub fn query(&self, name: &str) -> Option<String> {
        query(&self.request, name)
    }
}

/// A parameter of the query, when it comes once.
fn query(request: &HttpRequest, name: &str) -> Option<String> {
    let params = crate::server::body::read_query(request).ok()?;
    params.get(name).map(str::to_owned)
}

/// The language that the address asks for.
pub fn wanted_lang(request: &HttpRequest) -> Option<Lang> {
    match query(request, "lang")?.as_str() {
        "en" => Some(Lang::En),
        "zh" => Some(Lang::Zh),
        _ => None,
    }
}

/// The name of a language in addresses and cookies.
pub const fn lang_code(lang: Lang) -> &'static str {
    match lang {
        Lang::En => "en",
        Lang::Zh => "zh",
    }
}

/// The frame of a page before anything is known about who is signed in.
pub fn bare_page(request: &HttpRequest, state: &WebState, inbound: &Inbound) -> Page {
    let lang = wanted_lang(request).unwrap_or_else(|| client::language(request, inbound));
    let browser = session::browser_mark(state, inbound, request);
    let forms = match browser {
        Some(browser) => forms::maker(state, browser),
        // Nothing that this browser could send would be taken.
        None => Forms::new(|_| String::new()),
    };
    Page {
        lang,
        user: None,
        sandbox: state.sandbox_banner,
        here: here(request),
        now: state.clock.now(),
        utc_offset: state.utc_offset,
        section: Section::None,
        forms,
    }
}

/// This page's own address for the language switch. Answers to forms and of providers have none of
/// their own that could be opened again, so they lead home.
fn here(request: &HttpRequest) -> String {
    let path = request.path();
    // `//host` in a link would lead to another site.
    let is_local = !path.starts_with("//") && !path.contains('\\');
    let is_page = is_local && request.method() == actix_web::http::Method::GET && !path.contains("callback");
    if !is_page && !path.starts_with("/i/") {
        return "/".to_owned();
    }
    let kept: Vec<&str> = request
        .query_string()
        .split('&')
        .filter(|pair| {
            ["local=", "then=", "after=", "before=", "token="].iter().any(|known| pair.starts_with(known))
        })
        .collect();
    if kept.is_empty() || !is_page { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// A page as an answer.
///
/// # Errors
/// When it cannot be rendered.
pub fn answer(page: &impl Template) -> Result<HttpResponse, Failure> {
    answer_with(StatusCode::OK, page)
}

/// A page as an answer with a status.
///
/// # Errors
/// When it cannot be rendered.
pub fn answer_with(status: StatusCode, page: &impl Template) -> Result<HttpResponse, Failure> {
    let html = page.render()?;
    Ok(HttpResponse::build(status).content_type("text/html; charset=utf-8").body(html))
}

/// A page whose forms lead on to these providers. Browsers apply `form-action` to every redirect that
/// follows a form, so each provider's own origin is named, and where a company's sign-in leads on from
/// there at once; nothing else.
///
/// # Errors
/// When it cannot be rendered.
pub async fn answer_leading_on(
    state: &WebState,
    providers: &[ProviderSlug],
    status: StatusCode,
    page: &impl Template,
) -> Result<HttpResponse, Failure> {
    let mut targets = Vec::new();
    for provider in providers {
        targets.extend(state.connections.authorize_origin(provider).await);
    }
    if !providers.is_empty() {
        targets.extend(state.form_targets.iter().cloned());
    }
    targets.sort();
    targets.dedup();
    let html = page.render()?;
    Ok(HttpResponse::build(status)
        .insert_header(headers::content_policy_header(&targets))
        .content_type("text/html; charset=utf-8")
        .body(html))
}

/// Sends the browser on to one of our own pages, or to a provider, by GET.
pub fn go(to: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, to)).finish()
}
