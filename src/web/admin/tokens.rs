//! `/admin/tokens`: API tokens.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::kernel::bearer::{self, BearerKind};
use crate::kernel::ids::AdminTokenId;
use crate::kernel::text::clean;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::user::{AdminToken, Role};
use crate::store::Committed;
use crate::store::Tx;
use crate::web::admin::notice;
use crate::web::failure::Failure;
use crate::web::texts::text;
use crate::web::views::admin::agents::SecretPage;
use crate::web::views::admin::lists::{TokenRow, TokensPage};
use crate::web::views::{Section, Shown};
use crate::web::visit::{Visit, answer, answer_with, go};

/// How many are on one page.
const PART: usize = 50;

/// `GET /admin/tokens`.
pub async fn list(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    show(&visit, StatusCode::OK, None).await
}

async fn show(visit: &Visit, status: StatusCode, problem: Option<String>) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Tokens);
    let after = visit.query("after").and_then(|after| after.parse::<AdminTokenId>().ok());
    let after = after.as_ref().map(AdminTokenId::as_str);
    let mut tokens = visit.state.store.page::<AdminToken>(after, PART).await?;
    let last = tokens.last().filter(|_| tokens.len() == PART);
    let next = last.map(|token| format!("/admin/tokens?after={}", token.id));
    tokens.sort_by_key(|one| std::cmp::Reverse(one.created_at));
    let tokens = tokens.iter().map(|token| TokenRow::new(&page, token)).collect();
    answer_with(status, &TokensPage { notice: notice(visit), problem, tokens, next, page })
}

/// `POST /admin/tokens`.
pub async fn create(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let form = visit.form(payload, "admin.token", &["name", "role"], &[]).await?;
    let name = clean(form.text("name"), 80);
    if name.is_empty() {
        let problem = visit.page.t("admin.token_name_missing").to_owned();
        return show(&visit, StatusCode::BAD_REQUEST, Some(problem)).await;
    }
    let role = match form.get("role") {
        Some("admin") => Role::Admin,
        Some("auditor") => Role::Auditor,
        Some("provisioner") => Role::Provisioner,
        _ => return Err(Failure::BadRequest),
    };
    let state = &visit.state;
    let secret = bearer::generate(BearerKind::AdminToken, &*state.entropy);
    let token = AdminToken {
        id: AdminTokenId::generate(&*state.entropy),
        digest: state.vault.digest(BearerKind::AdminToken, secret.expose()),
        name,
        role,
        created_at: state.clock.now(),
        expires_at: None,
    };
    state.audit.record(event("admin_token.created", &token, &by)).await?;
    let mut tx = Tx::new();
    tx.insert(&token);
    if state.store.commit(tx).await? == Committed::Conflict {
        return Err(Failure::Conflict);
    }
    let page = visit.admin_page(Section::Tokens);
    answer(&SecretPage {
        title: page.t("admin.token_made").to_owned(),
        facts: vec![(text(page.lang, "admin.token_name"), Shown::name(&token.name))],
        label: text(page.lang, "admin.token_label"),
        secret,
        back: "/admin/tokens",
        page,
    })
}

/// `POST /admin/tokens/{id}/revoke`.
pub async fn revoke(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    visit.form(payload, "admin.token", &[], &[]).await?;
    let id: AdminTokenId = id.parse().map_err(|_| Failure::NotFound)?;
    let state = &visit.state;
    let stored = state.store.get::<AdminToken>(id.as_str()).await?.ok_or(Failure::NotFound)?;
    state.audit.record(event("admin_token.revoked", &stored, &by)).await?;
    let mut tx = Tx::new();
    tx.update(&stored, &AdminToken { expires_at: Some(state.clock.now()), ..stored.record().clone() });
    match state.store.commit(tx).await? {
        Committed::Done => Ok(go("/admin/tokens?done=token_revoked")),
        Committed::Conflict => Err(Failure::Conflict),
    }
}

fn event(action: &str, token: &AdminToken, by: &str) -> EventDraft {
    let mut event = EventDraft::new(EventKind::Admin, action);
    event.admin = Some(clean(by, 200));
    event.reasons.push(format!("token {}", token.id));
    event.outcome = Some(Outcome::Done);
    event
}
