//! Picking from a provider's list to make a grant narrower.

use actix_web::{HttpResponse, web};

use crate::connections::GrantError;
use crate::interactions::{AnswerError, PickError, Shelf};
use crate::model::grant::{Grant, Tightening};
use crate::model::limit::LimitKind;
use crate::web::failure::Failure;
use crate::web::lookup::Lookup;
use crate::web::portal::grant::own;
use crate::web::portal::picker::{self, Around, Place, page, problem_of};
use crate::web::views::limits::sentences;
use crate::web::visit::{Visit, go};

/// The grant, the API and the kind of limit in the address.
type Wanted = web::Path<(String, String, String)>;

/// `GET /grants/{id}/pick/{api}/{kind}`: the list, at its top.
pub async fn show(visit: Visit, wanted: Wanted) -> Result<HttpResponse, Failure> {
    let (grant, shelf) = opened(&visit, &wanted).await?;
    let around = around(&visit, &grant, &shelf).await?;
    page(&visit, &around, &shelf, None, None).await
}

/// `POST` there: opens a folder, or confirms.
pub async fn answer(visit: Visit, wanted: Wanted, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let user = visit.employee_id()?;
    let found = opened(&visit, &wanted).await;
    let mut fields = vec!["decision"];
    fields.extend(picker::FIELDS);
    let form = visit.form(payload, "grant.pick", &fields, &picker::REPEATED).await?;
    let (grant, shelf) = found?;
    let around = around(&visit, &grant, &shelf).await?;
    let mut place = picker::read(&form);
    if form.get("decision") != Some("agree") {
        place.moves(&form);
        return page(&visit, &around, &shelf, Some(place), None).await;
    }
    let again = |place: Place, problem| page(&visit, &around, &shelf, Some(place), Some(problem));
    let limit = match visit.state.interactions.limit_of(&shelf, &place.picked()).await {
        Ok(limit) => limit,
        Err(error) => match problem_of(&error) {
            Some(problem) => return again(place, problem).await,
            None => return Err(failure(&error)),
        },
    };
    let by = Tightening { scopes: None, limits: vec![limit], expires_at: None };
    let here = format!("/grants/{}", grant.id);
    match visit.state.connections.tighten(&user, &grant.id, &by).await {
        Ok(done) if done.changed => Ok(go(&format!("{here}?done=tightened"))),
        Ok(_) => Ok(go(&format!("{here}?done=unchanged"))),
        Err(GrantError::NotFound) => Ok(go(&here)),
        Err(GrantError::TooManyLimits) => again(place, "consent.bad_limits").await,
        Err(error) => Err(Failure::unavailable(&error)),
    }
}

async fn opened(visit: &Visit, wanted: &Wanted) -> Result<(Grant, Shelf), Failure> {
    let user = visit.employee_id()?;
    let (id, api, kind) = (&wanted.0, &wanted.1, &wanted.2);
    let grant = own(visit, &user, id).await?;
    let kind = LimitKind::ALL.into_iter().find(|own| own.as_str() == kind).ok_or(Failure::NotFound)?;
    if !grant.is_live(visit.page.now) {
        return Err(Failure::NotFound);
    }
    let shelf =
        visit.state.interactions.shelf_of(&grant, api, kind).await.map_err(|error| failure(&error))?;
    Ok((grant, shelf))
}

async fn around(visit: &Visit, grant: &Grant, shelf: &Shelf) -> Result<Around, Failure> {
    let page = &visit.page;
    let mut lookup = Lookup::new(&visit.state, page);
    Ok(Around {
        action: format!("/grants/{}/pick/{}/{}", grant.id, shelf.pick.api, shelf.pick.kind.as_str()),
        purpose: "grant.pick".to_owned(),
        agent: lookup.agent_name(&grant.agent).await?.as_str().to_owned(),
        provider: lookup.provider(&grant.provider).await?.as_str().to_owned(),
        settled: sentences(page.lang, page.utc_offset, &grant.limits),
        more: false,
        ends: None,
        back: Some(format!("/grants/{}", grant.id)),
    })
}

fn failure(error: &PickError) -> Failure {
    match error {
        PickError::Lookup(crate::upstream::LookupError::NotOffered) => Failure::NotFound,
        PickError::Answer(AnswerError::AccountGone) => Failure::NotFound,
        PickError::Answer(error) => picker::answer_failure(error),
        _ => {
            tracing::warn!(%error, "a list to pick from cannot be read");
            Failure::Provider
        }
    }
}
