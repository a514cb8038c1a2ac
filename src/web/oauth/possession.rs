//! The proof of possession beside a request for a token (RFC 9449, section 5).

use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse};

use crate::server::body;
use crate::server::oauth_error::OAuthError;
use crate::tokens::TokenError;
use crate::tokens::dpop::{Proofs, ShownProof};
use crate::web::oauth::answers;

const NONCE: &str = "dpop-nonce";

/// The proof as it was sent.
pub fn shown(request: &HttpRequest) -> ShownProof<'_> {
    match body::single_header(request, &HeaderName::from_static("dpop")) {
        Ok(None) => ShownProof::Missing,
        Ok(Some(text)) => ShownProof::One(text),
        Err(_) => ShownProof::Unclear,
    }
}

/// The answer, with the nonce for the next proof where proofs are spoken of.
pub fn with_nonce(
    shown: ShownProof<'_>,
    proofs: &Proofs,
    answer: Result<HttpResponse, TokenError>,
) -> Result<HttpResponse, OAuthError> {
    match answer {
        Ok(mut response) => {
            if shown != ShownProof::Missing
                && let Ok(nonce) = proofs.nonce().parse()
            {
                response.headers_mut().insert(HeaderName::from_static(NONCE), nonce);
            }
            Ok(response)
        }
        Err(error) => {
            let wants_proof = matches!(error.code, "invalid_dpop_proof" | "use_dpop_nonce");
            let answer = answers::error(error);
            if wants_proof || shown != ShownProof::Missing {
                Err(answer.header(NONCE, proofs.nonce()))
            } else {
                Err(answer)
            }
        }
    }
}
