//! Back from a provider's own consent.

use actix_web::{HttpResponse, web};

use crate::connections::CompleteError;
use crate::interactions::AnswerError;
use crate::kernel::ids::ProviderSlug;
use crate::model::session::Purpose;
use crate::server::body;
use crate::web::failure::Failure;
use crate::web::login::callback_failure;
use crate::web::portal::interaction::answer_failure;
use crate::web::visit::{Visit, go};

/// `GET /callback/{provider}`. The browser and the user are compared before the code is redeemed
/// (invariant 3), and the answer is a redirect, so that code and state leave the address bar.
pub async fn show(visit: Visit, provider: web::Path<String>) -> Result<HttpResponse, Failure> {
    let provider: ProviderSlug = provider.parse().map_err(|_| Failure::NotFound)?;
    let params = body::read_query(&visit.request)?.into_pairs();
    // Whoever is not signed in here cannot be the one who began it.
    let (user, browser) = match visit.employee() {
        Ok((user, browser)) => (user.id.clone(), browser),
        Err(_) => return Err(Failure::Callback),
    };
    let completed = visit.state.connections.complete(&provider, &params, &browser, Some(&user)).await;
    let completed = match completed {
        Ok(completed) => completed,
        Err(CompleteError::Denied { purpose: Purpose::Connect { interaction, .. } }) => {
            return match visit.state.interactions.refuse(&interaction, &user).await {
                Ok(()) | Err(AnswerError::Closed) => Ok(go(&format!("/i/{interaction}?at=provider"))),
                Err(error) => Err(answer_failure(&error)),
            };
        }
        Err(CompleteError::Denied { purpose: Purpose::Reconnect { .. } }) => {
            return Ok(go("/?done=reconnect_declined"));
        }
        Err(error) => return Err(callback_failure(&visit, &error)),
    };
    match (completed.purpose, completed.connection) {
        (Purpose::Connect { interaction, .. }, Some(connection)) => {
            let finished =
                visit.state.interactions.finish_at_provider(&interaction, &user, &browser, &connection).await;
            match finished {
                Ok(_) | Err(AnswerError::Closed) => Ok(go(&format!("/i/{interaction}"))),
                Err(AnswerError::NothingGranted) => {
                    Ok(go(&format!("/i/{interaction}?problem=nothing_granted")))
                }
                Err(error) => Err(answer_failure(&error)),
            }
        }
        (Purpose::Reconnect { .. }, Some(_)) => Ok(go("/?done=reconnected")),
        _ => Err(Failure::Callback),
    }
}
