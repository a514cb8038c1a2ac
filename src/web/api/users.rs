//! `/api/v1/users`.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::kernel::ids::UserId;
use crate::model::event::{EventDraft, EventKind};
use crate::model::group::{GROUP_NAME_MAX, Group, group_index};
use crate::model::stop::StopTarget;
use crate::model::user::{MOST_GROUPS, User, UserState, email_index};
use crate::policy::Departed;
use crate::server::body;
use crate::server::precondition::{IfMatch, etag};
use crate::server::problem::Problem;
use crate::store::{StoreError, Stored};
use crate::web::api::connections::LiveTokenView;
use crate::web::api::list::{Page, Paging, Wanted};
use crate::web::api::reports::ReportedDelegation;
use crate::web::api::{ApiState, auth, errors};

/// How often a change that met another one is tried again.
const TRIES: usize = 8;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    id: String,
    issuer: String,
    subject: String,
    email: Option<String>,
    name: String,
    department: Option<String>,
    groups: Vec<String>,
    state: serde_json::Value,
    created_at: String,
    last_sign_in: Option<String>,
    /// When they were last signed out everywhere.
    signed_out_at: Option<String>,
    /// What the company's directory calls them, once it has spoken of them.
    directory_name: Option<String>,
}

impl UserView {
    fn of(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            issuer: user.issuer.clone(),
            subject: user.subject.clone(),
            email: user.email.clone(),
            name: user.name.clone(),
            department: user.department.clone(),
            groups: user.groups.clone(),
            state: serde_json::json!(user.state),
            created_at: user.created_at.rfc3339(),
            last_sign_in: user.last_sign_in.map(|at| at.rfc3339()),
            signed_out_at: user.lifecycle.signed_out_at.map(|at| at.rfc3339()),
            directory_name: user.lifecycle.directory.as_ref().map(|entry| entry.user_name.clone()),
        }
    }
}

/// What an admin states of a user; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// Empty = none.
    #[serde(default)]
    department: Option<String>,
    /// All of them.
    #[serde(default)]
    groups: Option<Vec<String>>,
    /// `active` or `disabled`. A disabled user is refused everywhere on the next request.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    state: Option<UserState>,
}

impl ChangeUser {
    fn check(&self) -> Result<(), Problem> {
        let is_text =
            |text: &str, most: usize| text.chars().count() <= most && !text.chars().any(char::is_control);
        let groups = self.groups.as_deref().unwrap_or_default();
        let is_fine = self.department.as_ref().is_none_or(|department| is_text(department, 100))
            && groups.len() <= MOST_GROUPS
            && groups.iter().all(|group| !group.is_empty() && is_text(group, GROUP_NAME_MAX));
        if is_fine {
            return Ok(());
        }
        let words = "a department is 1 to 100 characters, a group 1 to 254; a user has at most 200 groups";
        Err(Problem::bad_request("invalid_user", words))
    }

    fn apply(&self, user: &User) -> User {
        let mut user = user.clone();
        if let Some(department) = &self.department {
            user.department = (!department.is_empty()).then(|| department.clone());
        }
        if let Some(groups) = &self.groups {
            user.groups.clone_from(groups);
        }
        if let Some(state) = self.state {
            user.state = state;
        }
        user
    }
}

#[utoipa::path(patch, path = "/api/v1/users/{id}", params(("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412.")),
    request_body = ChangeUser, responses((status = 200, body = UserView, headers(("ETag" = String, description = "Its version, for `If-Match`.")))))]
pub async fn change(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let missing = || Problem::not_found("user");
    let id: UserId = request.match_info().query("id").parse().map_err(|_| missing())?;
    let wanted: ChangeUser = body::read_json(&request, payload).await?;
    wanted.check()?;
    let condition = IfMatch::of(&request);
    for _ in 0..TRIES {
        let user = state.store.get::<User>(id.as_str()).await.map_err(errors::store)?.ok_or_else(missing)?;
        condition.check(&user.version())?;
        let after = wanted.apply(&user);
        refuse_directory_groups(&state, &user, &after).await?;
        let mut event = EventDraft::new(EventKind::Admin, "user.changed");
        event.user = Some(id.clone());
        event.admin = Some(caller.name.clone());
        state.audit.record(event).await.map_err(errors::audit)?;
        let changed = state.store.replace(&user, after).await.map_err(errors::store)?;
        // What somebody else has changed since is read anew, not overwritten.
        let Some(user) = changed else { continue };
        if wanted.state == Some(UserState::Disabled) {
            state.kill_switch.revoke_tokens_under(StopTarget::User(id));
        }
        return Ok(shown(&user));
    }
    Err(errors::store(StoreError::Contended { key: id.to_string() }))
}

/// Who is in a group that the directory keeps is the directory's to say: it would never learn of it otherwise.
async fn refuse_directory_groups(state: &ApiState, before: &User, after: &User) -> Result<(), Problem> {
    let sets = [before, after].map(|user| user.groups.iter().collect::<BTreeSet<_>>());
    let [before, after] = &sets;
    for name in before.symmetric_difference(after) {
        let kept = state.store.find_unique::<Group>("name", &group_index(name)).await;
        if kept.map_err(errors::store)?.is_some() {
            let words = format!("the company's directory keeps the group `{name}`: change its members there");
            return Err(Problem::conflict(words));
        }
    }
    Ok(())
}

fn shown(user: &Stored<User>) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(&user.version())).json(UserView::of(user))
}

#[utoipa::path(get, path = "/api/v1/users",
    params(Paging,
        ("email" = Option<String>, Query, description = "Those with this e-mail."),
        ("state" = Option<String>, Query, description = "`active` or `disabled`."),
        ("group" = Option<String>, Query, description = "Members of this group.")),
    responses((status = 200, body = Page<UserView>)))]
pub async fn list(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let mut wanted = Wanted::read(&request)?;
    let query = body::read_query(&request).map_err(Problem::from)?;
    if let Some(email) = query.get("email") {
        let found = state.store.find::<User>("email", &email_index(email)).await.map_err(errors::store)?;
        let items: Vec<UserView> = found.iter().map(|user| UserView::of(user)).collect();
        return Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }));
    }
    let is_active = match query.get("state") {
        None => None,
        Some("active") => Some(true),
        Some("disabled") => Some(false),
        Some(_) => return Err(Problem::bad_request("invalid_request", "state is active or disabled")),
    };
    let fits = |user: &User| {
        is_active.is_none_or(|active| active == (user.state == UserState::Active))
            && query.get("group").is_none_or(|group| user.groups.iter().any(|one| one == group))
    };
    let mut items = Vec::new();
    loop {
        let found = state.store.page::<User>(wanted.cursor.as_deref(), wanted.limit).await;
        let found = found.map_err(errors::store)?;
        let is_last = found.len() < wanted.limit;
        for user in &found {
            wanted.cursor = Some(user.id.to_string());
            if fits(user) {
                items.push(UserView::of(user));
            }
            if items.len() == wanted.limit {
                return Ok(HttpResponse::Ok().json(Page { items, next_cursor: wanted.cursor }));
            }
        }
        if is_last {
            return Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }));
        }
    }
}

/// What a departure has ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct DepartedView {
    user: UserView,
    /// How many grants held.
    grants: usize,
    /// How many accounts were connected.
    connections: usize,
    /// Provider tokens that have left and could not be revoked yet.
    still_alive: Vec<LiveTokenView>,
    /// Delegation JWTs that have left: back ends that check them by keys alone take them until they end.
    delegation_tokens: Vec<ReportedDelegation>,
    /// Whether all of it is done; otherwise it goes on by itself.
    finished: bool,
}

impl DepartedView {
    fn of(departed: &Departed) -> Self {
        Self {
            user: UserView::of(&departed.user),
            grants: departed.grants,
            connections: departed.connections,
            still_alive: departed.still_alive.iter().map(LiveTokenView::of).collect(),
            delegation_tokens: departed.delegated.iter().map(ReportedDelegation::of).collect(),
            finished: departed.finished,
        }
    }
}

fn id(request: &HttpRequest) -> Result<UserId, Problem> {
    request.match_info().query("id").parse().map_err(|_| Problem::not_found("user"))
}

#[utoipa::path(get, path = "/api/v1/users/{id}", params(("id" = String, Path)),
    responses((status = 200, body = UserView, headers(("ETag" = String, description = "Its version, for `If-Match`.")))))]
pub async fn show(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let user = state.store.get::<User>(id(&request)?.as_str()).await.map_err(errors::store)?;
    Ok(shown(&user.ok_or_else(|| Problem::not_found("user"))?))
}

#[utoipa::path(post, path = "/api/v1/users/{id}/depart", params(("id" = String, Path)),
    description = "The person has left: disabled, and sessions, grants, tokens and connections end; in force on the next request.",
    responses((status = 200, body = DepartedView)))]
pub async fn depart(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let departed = state.departures.depart(&id(&request)?, &caller.name).await.map_err(errors::departure)?;
    Ok(HttpResponse::Ok().json(DepartedView::of(&departed)))
}

#[utoipa::path(post, path = "/api/v1/users/{id}/sign-out", params(("id" = String, Path)),
    description = "Sessions, grants, tokens and connections end; the person may begin anew.",
    responses((status = 200, body = DepartedView)))]
pub async fn sign_out(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let departed =
        state.departures.sign_out(&id(&request)?, &caller.name).await.map_err(errors::departure)?;
    Ok(HttpResponse::Ok().json(DepartedView::of(&departed)))
}

#[utoipa::path(post, path = "/api/v1/users/{id}/restore", params(("id" = String, Path)),
    description = "The person is back, and begins anew.", responses((status = 200, body = UserView)))]
pub async fn restore(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let user = state.departures.restore(&id(&request)?, &caller.name).await.map_err(errors::departure)?;
    Ok(HttpResponse::Ok().json(UserView::of(&user)))
}
