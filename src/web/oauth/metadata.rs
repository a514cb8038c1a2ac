//! Authorization server metadata (RFC 8414). Lists only what is built.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::server::Inbound;
use crate::tokens::{GRANT_CIBA, GRANT_CLIENT, GRANT_EXCHANGE, dpop};

#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "oauth", security(()),
    responses((status = 200, body = Object)))]
/// Metadata of the authorization server.
pub async fn metadata(inbound: web::Data<Inbound>) -> HttpResponse {
    let issuer = inbound.issuer.as_str().trim_end_matches('/');
    let methods = ["client_secret_basic", "client_secret_post"];
    HttpResponse::Ok().json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "token_endpoint_auth_methods_supported": methods,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "grant_types_supported": [GRANT_EXCHANGE, GRANT_CLIENT, GRANT_CIBA],
        // Required by RFC 8414, which also leaves out empty lists; there is no authorization endpoint.
        "response_types_supported": ["none"],
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "backchannel_authentication_endpoint": format!("{issuer}/oauth2/bc-authorize"),
        "dpop_signing_alg_values_supported": dpop::algorithms(),
        "backchannel_token_delivery_modes_supported": ["poll"],
        "backchannel_user_code_parameter_supported": false,
        "service_documentation": format!("{issuer}/api/v1/openapi.json"),
    }))
}
