//! Authorization server metadata (RFC 8414). Lists only what is built.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::jose::Algorithm;
use crate::server::Inbound;
use crate::tokens::{GRANT_CIBA, GRANT_CLIENT, GRANT_EXCHANGE, GRANT_JWT_BEARER, TYPE_ID_JAG, dpop};

#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "oauth", security(()),
    responses((status = 200, body = Object)))]
/// Metadata of the authorization server.
pub async fn metadata(inbound: web::Data<Inbound>) -> HttpResponse {
    let issuer = inbound.issuer.as_str().trim_end_matches('/');
    // A workload's token goes by the name of what it is in the form: an assertion.
    let mut methods = vec!["client_secret_basic", "client_secret_post", "private_key_jwt"];
    // Where no certificate can reach us, none can prove anything.
    if inbound.takes_certificates() {
        methods.extend(["tls_client_auth", "self_signed_tls_client_auth"]);
    }
    let algorithms: Vec<&str> = Algorithm::ALL.into_iter().map(Algorithm::as_str).collect();
    HttpResponse::Ok().json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "grant_types_supported": [GRANT_EXCHANGE, GRANT_JWT_BEARER, GRANT_CLIENT, GRANT_CIBA],
        // Required by RFC 8414, which also leaves out empty lists; there is no authorization endpoint.
        "response_types_supported": ["none"],
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "backchannel_authentication_endpoint": format!("{issuer}/oauth2/bc-authorize"),
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "authorization_grant_profiles_supported": ["urn:ietf:params:oauth:grant-profile:id-jag"],
        "identity_chaining_requested_token_types_supported": [TYPE_ID_JAG],
        "tls_client_certificate_bound_access_tokens": true,
        "dpop_signing_alg_values_supported": dpop::algorithms(),
        "backchannel_token_delivery_modes_supported": ["poll"],
        "backchannel_user_code_parameter_supported": false,
        "service_documentation": format!("{issuer}/api/v1/openapi.json"),
    }))
}
