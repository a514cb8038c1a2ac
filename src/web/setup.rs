//! The one-time link with which the first admin is made (`valetkey init`), or another one.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::kernel::bearer::{self, BearerKind};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::user::{LocalAdmin, Role, SetupLink, email_index};
use crate::store::{Committed, Stored, Tx};
use crate::web::failure::Failure;
use crate::web::login;
use crate::web::password::PasswordError;
use crate::web::views::Shown;
use crate::web::views::login::SetupPage;
use crate::web::views::outcome::MessagePage;
use crate::web::visit::{Visit, answer, answer_with, go};

/// `GET /setup?token=…`: nothing is used up by looking.
pub async fn show(mut visit: Visit) -> Result<HttpResponse, Failure> {
    let link = visit.query("token").unwrap_or_default();
    let Some(stored) = live_link(&visit, &link).await? else { return gone(&visit) };
    let cookie = login::mark(&mut visit);
    let another = stored.another;
    let page = SetupPage { page: visit.page.clone(), another, link, email: Shown::default(), problem: None };
    let mut response = answer(&page)?;
    if let Some(cookie) = cookie {
        response.add_cookie(&cookie).map_err(|_| Failure::Internal)?;
    }
    Ok(response)
}

/// `POST /setup`.
pub async fn create(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let form = visit.form(payload, "setup", &["link", "email", "password", "again"], &[]).await?;
    let link = form.get("link").unwrap_or_default();
    let Some(stored) = live_link(&visit, link).await? else { return gone(&visit) };
    let email = form.text("email");
    let problem = if !looks_like_email(email) {
        Some("setup.email_bad")
    } else if form.secret("password").expose() != form.secret("again").expose() {
        Some("setup.differ")
    } else {
        None
    };
    let hash = match problem {
        Some(problem) => Err(problem),
        None => hash(&visit, form.secret("password")).await?,
    };
    let password_hash = match hash {
        Ok(hash) => hash,
        Err(problem) => {
            let problem = Some(visit.page.t(problem).to_owned());
            let email = Shown::name(email);
            let (page, link, another) = (visit.page.clone(), link.to_owned(), stored.another);
            let page = SetupPage { page, another, link, email, problem };
            return answer_with(StatusCode::BAD_REQUEST, &page);
        }
    };
    let admin = LocalAdmin {
        email: email.to_owned(),
        password_hash,
        role: Role::Admin,
        created_at: visit.state.clock.now(),
    };
    let former = visit.state.store.get::<LocalAdmin>(&email_index(email)).await?;
    let former = former.filter(|_| stored.another);
    let action = if former.is_some() { "admin.password_reset" } else { "admin.created" };
    let mut event = EventDraft::new(EventKind::Admin, action);
    event.admin = Some(admin.email.clone());
    event.outcome = Some(Outcome::Done);
    event.client_address = Some(visit.address());
    visit.state.audit.record(event).await?;
    let mut tx = Tx::new();
    // INVARIANT: the link is used up in the commit that makes the admin, so it makes one at most.
    tx.delete(&stored);
    match &former {
        // Sessions that are older than the account end.
        Some(former) => tx.update(former, &admin),
        None => tx.require_absent::<LocalAdmin>(&email_index(email)).insert(&admin),
    };
    match visit.state.store.commit(tx).await? {
        Committed::Done => Ok(go("/login?local=1&done=setup")),
        Committed::Conflict => gone(&visit),
    }
}

async fn hash(
    visit: &Visit,
    password: crate::kernel::secret::SecretString,
) -> Result<Result<String, &'static str>, Failure> {
    let entropy = std::sync::Arc::clone(&visit.state.entropy);
    match visit.state.local_login.passwords.hash(password, entropy).await {
        Ok(hash) => Ok(Ok(hash)),
        Err(PasswordError::TooShort) => Ok(Err("setup.short")),
        Err(PasswordError::TooLong) => Ok(Err("setup.long")),
        Err(PasswordError::Busy) => Err(Failure::Unavailable),
        Err(PasswordError::Failed) => Err(Failure::Internal),
    }
}

/// The link, while it holds: the right secret, not too old, and no admin yet, unless it was made to stand
/// beside one.
async fn live_link(visit: &Visit, text: &str) -> Result<Option<Stored<SetupLink>>, Failure> {
    if !bearer::is_well_formed(BearerKind::SetupLink, text) {
        return Ok(None);
    }
    let state = &visit.state;
    let digest = state.vault.digest(BearerKind::SetupLink, text);
    let stored = state.store.get::<SetupLink>(SetupLink::KEY).await?;
    let has_admin = !state.store.page::<LocalAdmin>(None, 1).await?.is_empty();
    let now = state.clock.now();
    let holds = |link: &Stored<SetupLink>| {
        (link.another || !has_admin) && link.digest.matches(&digest) && now < link.expires_at
    };
    Ok(stored.filter(holds))
}

fn gone(visit: &Visit) -> Result<HttpResponse, Failure> {
    answer_with(StatusCode::GONE, &MessagePage::setup_gone(visit.page.clone()))
}

fn looks_like_email(text: &str) -> bool {
    let has_parts = text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !host.starts_with('.') && !host.contains('@')
    });
    has_parts && text.len() <= 254 && !text.contains(char::is_whitespace) && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_mail_addresses_are_told_from_other_text() {
        assert!(looks_like_email("admin@example.com"));
        for text in ["", "admin", "admin@", "@example.com", "a b@example.com", "a@b@example.com", "a@host"] {
            assert!(!looks_like_email(text), "{text}");
        }
    }
}
