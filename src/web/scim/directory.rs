//! Who asks: the company's directory.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde_json::{Map, Value};

use crate::server::params::Params;
use crate::server::precondition::IfMatch;
use crate::server::{Inbound, body};
use crate::web::api::ApiState;
use crate::web::api::auth::{self, Caller};
use crate::web::scim::error::ScimError;
use crate::web::scim::message;

/// A request of the company's directory, which has shown its token. Made here only: no handler can forget to ask
/// for it.
pub struct Directory {
    request: HttpRequest,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
    caller: Caller,
}

impl FromRequest for Directory {
    type Error = ScimError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ScimError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let unwired = || ScimError::unavailable(&"the interface is not wired");
            let state = request.app_data::<web::Data<ApiState>>().cloned().ok_or_else(unwired)?;
            let inbound = request.app_data::<web::Data<Inbound>>().cloned().ok_or_else(unwired)?;
            let caller = auth::provisioner(&request, &state).await?;
            Ok(Self { request, state, inbound, caller })
        })
    }
}

impl Directory {
    /// The rooms to work with.
    pub fn state(&self) -> &ApiState {
        &self.state
    }

    /// Its token's name, for the log.
    pub fn name(&self) -> &str {
        &self.caller.name
    }

    /// The address that resources lie under, without a slash at its end.
    pub fn base(&self) -> &str {
        self.inbound.issuer.as_str().trim_end_matches('/')
    }

    /// The resource that the path names.
    pub fn id(&self) -> &str {
        self.request.match_info().query("id")
    }

    /// The version that a change is meant for.
    pub fn condition(&self) -> IfMatch {
        IfMatch::of(&self.request)
    }

    /// The query.
    pub fn query(&self) -> Result<Params, ScimError> {
        Ok(body::read_query(&self.request)?)
    }

    /// The body, a JSON object.
    pub async fn body(&self, payload: web::Payload) -> Result<Map<String, Value>, ScimError> {
        message::read(&self.request, payload).await
    }
}
