//! What an internal service has to do with a token that is bound to a key (RFC 9449, section 7): have the caller
//! show, for each request, that they hold the key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpRequest;
use url::Url;

use crate::kernel::clock::{Clock, Timestamp};
use crate::tokens::dpop::{Problem, Proof, Target};

/// The error of a proof that does not do.
pub const BAD_PROOF: &str = "invalid_dpop_proof";

/// Checks proofs for one service.
pub struct Holders {
    base: Url,
    clock: Arc<dyn Clock>,
    /// Which proofs were shown, until they lapse by themselves.
    used: Mutex<BTreeMap<String, Timestamp>>,
}

impl Holders {
    /// A checker for the service at that address.
    pub fn new(base: Url, clock: Arc<dyn Clock>) -> Self {
        Self { base, clock, used: Mutex::default() }
    }

    /// Whether a token is shown by its holder; `key` is the one that it is bound to. Else an error code, and why.
    pub fn check(
        &self,
        request: &HttpRequest,
        scheme: &str,
        token: &str,
        key: Option<&str>,
    ) -> Result<(), (&'static str, String)> {
        let Some(key) = key else {
            return if scheme.eq_ignore_ascii_case("bearer") {
                Ok(())
            } else {
                Err(("invalid_token", "this token is shown as Authorization: Bearer".to_owned()))
            };
        };
        if !scheme.eq_ignore_ascii_case("dpop") {
            return Err(("invalid_token", "this token is shown as Authorization: DPoP".to_owned()));
        }
        self.check_proof(request, token, key).map_err(|problem| (BAD_PROOF, problem.to_string()))
    }

    fn check_proof(&self, request: &HttpRequest, token: &str, key: &str) -> Result<(), Problem> {
        let mut headers = request.headers().get_all("dpop");
        let (Some(header), None) = (headers.next(), headers.next()) else { return Err(Problem::NotOne) };
        let proof = Proof::parse(header.to_str().map_err(|_| Problem::NotOne)?)?;
        let url = self.base.join(request.path()).map_err(|_| Problem::Address)?;
        let now = self.clock.now();
        proof.check(&Target { method: request.method().as_str(), url: &url, token: Some(token) }, now)?;
        if proof.thumbprint() != key {
            return Err(Problem::OtherKey);
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, lapses_at| *lapses_at >= now);
        match used.insert(format!("{} {}", proof.thumbprint(), proof.id()), proof.lapses_at()) {
            None => Ok(()),
            Some(_) => Err(Problem::Used),
        }
    }
}
