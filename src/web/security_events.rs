//! `POST /security-events`: security events pushed by those who see that somebody has left (RFC 8935; CAEP
//! session-revoked; RISC account-disabled and account-purged).

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::model::transmitter::{SpentEvent, Transmitter, TransmitterKeys};
use crate::model::user::{User, email_index, subject_index};
use crate::server::body;
use crate::store::{Stored, Tx};
use crate::upstream::{EventTokenProblem, KeyPlace, UnverifiedEvent};
use crate::web::api::ApiState;

/// Where events are pushed to.
pub const PATH: &str = "/security-events";
const LONGEST: usize = 64 * 1024;
/// Transmitters try again for days; nothing older says anything about now.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far a transmitter's clock may be ahead.
const LEEWAY: Duration = Duration::from_secs(60);

/// What an event does to a person's access here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    SignOut,
    Departure,
}

/// Events that end something. Any other is taken note of and does nothing here.
const EFFECTS: [(&str, Effect); 5] = [
    ("https://schemas.openid.net/secevent/caep/event-type/session-revoked", Effect::SignOut),
    ("https://schemas.openid.net/secevent/risc/event-type/sessions-revoked", Effect::SignOut),
    ("https://schemas.openid.net/secevent/risc/event-type/account-disabled", Effect::Departure),
    ("https://schemas.openid.net/secevent/risc/event-type/account-purged", Effect::Departure),
    ("https://schemas.openid.net/secevent/risc/event-type/identifier-recycled", Effect::Departure),
];

/// Why an event is not taken (RFC 8935, section 2.4).
enum Refused {
    Because(&'static str, &'static str),
    Later,
}

impl From<EventTokenProblem> for Refused {
    fn from(problem: EventTokenProblem) -> Self {
        match problem {
            EventTokenProblem::Malformed => {
                Self::Because("invalid_request", "not a signed security event token")
            }
            EventTokenProblem::Key => Self::Because("invalid_key", "not signed with a published key"),
            EventTokenProblem::Signature => Self::Because("authentication_failed", "the signature is wrong"),
            EventTokenProblem::Unavailable => Self::Later,
        }
    }
}

fn later(error: &dyn std::fmt::Display) -> Refused {
    tracing::error!("a security event could not be acted on: {error}");
    Refused::Later
}

#[utoipa::path(post, path = "/security-events", tag = "security events", security(()),
    request_body(content = String, content_type = "application/secevent+jwt",
        description = "A signed Security Event Token (RFC 8417)."),
    responses((status = 202, description = "Taken."),
        (status = 400, description = "`err` and `description` (RFC 8935).", body = Object),
        (status = 503, description = "Send it again.")))]
/// Takes a security event that a registered transmitter pushes (RFC 8935).
pub async fn receive(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> HttpResponse {
    let refused = match take(&request, payload, &state).await {
        Ok(()) => return HttpResponse::Accepted().insert_header((CACHE_CONTROL, "no-store")).finish(),
        Err(refused) => refused,
    };
    match refused {
        Refused::Because(code, words) => HttpResponse::BadRequest()
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header(("content-language", "en"))
            .json(json!({ "err": code, "description": words })),
        Refused::Later => HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, "5")).finish(),
    }
}

/// Any other method.
pub async fn other_method() -> HttpResponse {
    HttpResponse::build(StatusCode::METHOD_NOT_ALLOWED).insert_header(("allow", "POST")).finish()
}

async fn take(request: &HttpRequest, payload: web::Payload, state: &ApiState) -> Result<(), Refused> {
    let media = body::single_header(request, &CONTENT_TYPE).ok().flatten().unwrap_or_default();
    if !media
        .split(';')
        .next()
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/secevent+jwt"))
    {
        return Err(Refused::Because("invalid_request", "the content type must be application/secevent+jwt"));
    }
    let unreadable = |_| Refused::Because("invalid_request", "the body cannot be read");
    let bytes = body::read_body(request, payload, LONGEST).await.map_err(unreadable)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| EventTokenProblem::Malformed)?;
    let event = UnverifiedEvent::read(text.trim())?;
    let unknown = Refused::Because("invalid_issuer", "no such transmitter is registered");
    let Some(issuer) = event.issuer() else { return Err(unknown) };
    let transmitter = state.store.find_unique::<Transmitter>("issuer", issuer).await;
    let transmitter = transmitter.map_err(|error| later(&error))?.ok_or(unknown)?;
    let keys = match &transmitter.keys {
        TransmitterKeys::Url(url) => KeyPlace::Url(url),
        TransmitterKeys::Set(set) => KeyPlace::Here(set),
    };
    let claims = state.upstream.verify_event(event, keys).await?;
    let now = state.clock.now();
    let spent = check(&transmitter, &claims, now)?;
    // Sent again, as RFC 8935 has it do: taken, and done once only.
    if state.store.get::<SpentEvent>(&spent.digest).await.map_err(|error| later(&error))?.is_some() {
        return Ok(());
    }
    act(state, &transmitter, &claims).await?;
    let mut tx = Tx::new();
    tx.insert(&spent);
    // A conflict means that the same event came twice at this moment; both did the same.
    state.store.commit(tx).await.map(|_| ()).map_err(|error| later(&error))
}

/// Everything but the signature.
fn check(transmitter: &Transmitter, claims: &Value, now: Timestamp) -> Result<SpentEvent, Refused> {
    let is_ours = match claims.get("aud") {
        Some(Value::String(one)) => one == &transmitter.audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(&transmitter.audience)),
        _ => false,
    };
    if !is_ours {
        return Err(Refused::Because("invalid_audience", "aud is not this receiver's"));
    }
    let invalid = |words| Err(Refused::Because("invalid_request", words));
    let Some(jti) = claims.get("jti").and_then(Value::as_str).filter(|jti| !jti.is_empty()) else {
        return invalid("jti is missing");
    };
    let moment = |name: &str| claims.get(name).and_then(Value::as_i64).map(Timestamp::from_secs);
    let Some(issued) = moment("iat") else { return invalid("iat is missing") };
    if issued > now.plus(LEEWAY) || now.since(issued) > OLDEST {
        return invalid("iat is in the future, or more than seven days ago");
    }
    if claims.get("exp").is_some() && moment("exp").is_none_or(|end| end <= now) {
        return invalid("it has expired");
    }
    if claims.get("events").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty) {
        return invalid("events is missing");
    }
    let named = format!("{}:{}{jti}", transmitter.issuer.len(), transmitter.issuer);
    let digest = encode::hex(digest::digest(&digest::SHA256, named.as_bytes()).as_ref());
    Ok(SpentEvent { digest, until: issued.plus(OLDEST + LEEWAY) })
}

async fn act(state: &ApiState, transmitter: &Transmitter, claims: &Value) -> Result<(), Refused> {
    let Some(events) = claims.get("events").and_then(Value::as_object) else { return Ok(()) };
    let told = events.iter().filter_map(|(kind, event)| {
        EFFECTS.iter().find(|(known, _)| known == kind).map(|(_, effect)| (*effect, event))
    });
    for (effect, event) in told {
        let subject = claims.get("sub_id").or_else(|| event.get("subject"));
        let Some(subject) = subject else {
            return Err(Refused::Because("invalid_request", "the event names no subject"));
        };
        let Some(user) = person(state, transmitter, subject).await? else {
            tracing::info!(transmitter.id = %transmitter.id, "a security event is about nobody who is known here");
            continue;
        };
        let by = format!("{} ({})", transmitter.name, transmitter.id);
        let ended = match effect {
            Effect::SignOut => state.departures.sign_out(&user.id, &by).await,
            Effect::Departure => state.departures.depart(&user.id, &by).await,
        };
        ended.map_err(|error| later(&error))?;
    }
    Ok(())
}

/// The user behind a subject identifier (RFC 9493). A transmitter speaks of its own people only.
async fn person(
    state: &ApiState,
    transmitter: &Transmitter,
    subject: &Value,
) -> Result<Option<Stored<User>>, Refused> {
    // A complex subject names the person beside the session or the device.
    let subject = subject.get("user").unwrap_or(subject);
    let text = |name: &str| subject.get(name).and_then(Value::as_str);
    let format = text("format").or_else(|| text("subject_type")).unwrap_or_default();
    match (format, text("iss"), text("sub"), text("email")) {
        ("iss_sub" | "iss-sub", Some(issuer), Some(sub), _) => {
            if issuer != transmitter.subject_issuer {
                return Err(Refused::Because(
                    "invalid_request",
                    "the subject is not this transmitter's to speak of",
                ));
            }
            let index = subject_index(issuer, sub);
            state.store.find_unique::<User>("subject", &index).await.map_err(|error| later(&error))
        }
        ("email", _, _, Some(email)) => {
            let found = state.store.find::<User>("email", &email_index(email)).await;
            let mut found = found.map_err(|error| later(&error))?;
            found.retain(|user| user.issuer == transmitter.subject_issuer);
            // An e-mail that two have names neither.
            Ok(if found.len() == 1 { found.pop() } else { None })
        }
        _ => Err(Refused::Because("invalid_request", "the subject's format is iss_sub or email")),
    }
}
