//! What the OpenAPI document says of the OAuth endpoints' forms and errors.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request to the token endpoint. Which parameters belong together depends on `grant_type`.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "forms are read strictly, parameter by parameter; this describes them")]
pub struct TokenForm {
    /// Token exchange (RFC 8693), an identity assertion as a grant (`…:jwt-bearer`, RFC 7523),
    /// `client_credentials`, or CIBA's polling.
    grant_type: String,
    /// The identity assertion, with the grant type `…:jwt-bearer`.
    assertion: Option<String>,
    /// Who the user is: an ID token, a JWT, or the name of a personal agent's owner.
    subject_token: Option<String>,
    subject_token_type: Option<String>,
    /// `provider:<name>`, or an internal back end's identifier.
    audience: Option<String>,
    /// Divided by spaces; left out = all that is granted.
    scope: Option<String>,
    /// Which of the user's accounts.
    connection: Option<String>,
    requested_token_type: Option<String>,
    /// Which resource of the other authorization server an identity assertion is for (RFC 8707).
    resource: Option<String>,
    /// JSON (RFC 9396): limits of type `valetkey_limit`.
    authorization_details: Option<String>,
    /// The agent's own words for the person.
    #[schema(max_length = 200)]
    binding_message: Option<String>,
    /// An id that ties events together.
    #[schema(max_length = 64)]
    task: Option<String>,
    /// The sub-agent that may use the token.
    may_act: Option<String>,
    /// The handle of an interaction.
    auth_req_id: Option<String>,
    client_id: Option<String>,
    #[schema(format = Password)]
    client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, with `client_assertion`.
    client_assertion_type: Option<String>,
    /// A JWT of the agent's own key (`private_key_jwt`, RFC 7523), or its platform's token for the workload.
    client_assertion: Option<String>,
}

/// A request to ask a person before the token is needed: token exchange's parameters without `grant_type`.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "forms are read strictly, parameter by parameter; this describes them")]
pub struct AskForm {
    subject_token: String,
    subject_token_type: String,
    /// `provider:<name>`.
    audience: String,
    scope: Option<String>,
    connection: Option<String>,
    requested_token_type: Option<String>,
    authorization_details: Option<String>,
    #[schema(max_length = 200)]
    binding_message: Option<String>,
    #[schema(max_length = 64)]
    task: Option<String>,
    client_id: Option<String>,
    #[schema(format = Password)]
    client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, with `client_assertion`.
    client_assertion_type: Option<String>,
    /// A JWT of the agent's own key (`private_key_jwt`, RFC 7523), or its platform's token for the workload.
    client_assertion: Option<String>,
}

/// A token of ours, to be looked up or revoked.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "forms are read strictly, parameter by parameter; this describes them")]
pub struct TokenOnlyForm {
    token: String,
    token_type_hint: Option<String>,
    client_id: Option<String>,
    #[schema(format = Password)]
    client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, with `client_assertion`.
    client_assertion_type: Option<String>,
    /// A JWT of the agent's own key (`private_key_jwt`, RFC 7523), or its platform's token for the workload.
    client_assertion: Option<String>,
}

/// RFC 6749, section 5.2. With `interaction_required` come the members about the person's page.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    error: String,
    error_description: String,
    interaction: Option<String>,
    interaction_uri: Option<String>,
    auth_req_id: Option<String>,
    expires_in: Option<u64>,
    interval: Option<u64>,
    /// At the gateway, with `limit_exceeded`: `kind`, `allowed` and `asked`.
    #[schema(value_type = Option<Object>)]
    limit: Option<serde_json::Value>,
}

/// RFC 7662. For any token that is not the caller's own it says `active: false` only; a delegation JWT's
/// claims come as they are.
#[derive(Serialize, ToSchema)]
pub struct IntrospectionBody {
    active: bool,
    scope: Option<String>,
    client_id: Option<String>,
    sub: Option<String>,
    aud: Option<String>,
    iss: Option<String>,
    exp: Option<i64>,
    iat: Option<i64>,
    jti: Option<String>,
    /// `Bearer` or `DPoP`.
    token_type: Option<String>,
    /// What the token is bound to (RFC 7800): `jkt` or `x5t#S256`.
    #[schema(value_type = Option<Object>)]
    cnf: Option<serde_json::Value>,
    /// The agent that acts, and who has sent it (RFC 8693, section 4.1).
    #[schema(value_type = Option<Object>)]
    act: Option<serde_json::Value>,
    /// The grant that a gateway token stands on.
    grant_id: Option<String>,
    /// The limits in force, or what the back end narrows by.
    #[schema(value_type = Option<Vec<Object>>)]
    authorization_details: Option<serde_json::Value>,
}
