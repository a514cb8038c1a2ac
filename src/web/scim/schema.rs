//! What is offered (RFC 7643, sections 5 to 7).

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use crate::server::Inbound;
use crate::web::api::{ApiState, auth};
use crate::web::scim::MEDIA_TYPE;
use crate::web::scim::error::ScimError;
use crate::web::scim::person::{CORE, ENTERPRISE};
use crate::web::scim::users::MOST;

fn answer(body: &Value) -> HttpResponse {
    HttpResponse::Ok().content_type(MEDIA_TYPE).body(body.to_string())
}

#[utoipa::path(get, path = "/scim/v2/ServiceProviderConfig", tag = "scim", responses((status = 200, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// What is offered.
pub async fn provider(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, ScimError> {
    auth::provisioner(&request, &state).await?;
    Ok(answer(&json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": MOST },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": false },
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer token", "primary": true,
            "description": "A token of the role provisioner, made by an administrator",
        }],
        "meta": { "resourceType": "ServiceProviderConfig" },
    })))
}

fn user_type(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": "User", "name": "User", "endpoint": "/Users", "description": "An employee",
        "schema": CORE,
        "schemaExtensions": [{ "schema": ENTERPRISE, "required": false }],
        "meta": { "resourceType": "ResourceType", "location": format!("{base}/scim/v2/ResourceTypes/User") },
    })
}

fn base(inbound: &Inbound) -> &str {
    inbound.issuer.as_str().trim_end_matches('/')
}

#[utoipa::path(get, path = "/scim/v2/ResourceTypes", tag = "scim", responses((status = 200, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// The kinds of resources.
pub async fn resource_types(
    request: HttpRequest,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, ScimError> {
    auth::provisioner(&request, &state).await?;
    Ok(answer(&list(vec![user_type(base(&inbound))], 1, 1)))
}

#[utoipa::path(get, path = "/scim/v2/ResourceTypes/User", tag = "scim", responses((status = 200, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// The kind of resource.
pub async fn resource_type(
    request: HttpRequest,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, ScimError> {
    auth::provisioner(&request, &state).await?;
    Ok(answer(&user_type(base(&inbound))))
}

#[utoipa::path(get, path = "/scim/v2/Schemas", tag = "scim", responses((status = 200, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// The schemas.
pub async fn schemas(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, ScimError> {
    auth::provisioner(&request, &state).await?;
    Ok(answer(&list(vec![core(), enterprise()], 2, 1)))
}

#[utoipa::path(get, path = "/scim/v2/Schemas/{id}", tag = "scim", params(("id" = String, Path)), responses((status = 200, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// One schema.
pub async fn schema(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, ScimError> {
    auth::provisioner(&request, &state).await?;
    match request.match_info().query("id") {
        CORE => Ok(answer(&core())),
        ENTERPRISE => Ok(answer(&enterprise())),
        _ => Err(ScimError::not_found()),
    }
}

/// A `ListResponse`.
pub fn list(resources: Vec<Value>, total: usize, start: usize) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

fn attribute(name: &str, kind: &str, mutability: &str, uniqueness: &str) -> Value {
    json!({
        "name": name, "type": kind, "multiValued": false, "required": name == "userName", "caseExact": false,
        "mutability": mutability, "returned": "default", "uniqueness": uniqueness, "description": name,
    })
}

fn complex(name: &str, multi_valued: bool, mutability: &str, parts: &[(&str, &str)]) -> Value {
    let parts: Vec<Value> =
        parts.iter().map(|(part, kind)| attribute(part, kind, mutability, "none")).collect();
    json!({
        "name": name, "type": "complex", "multiValued": multi_valued, "required": false,
        "mutability": mutability, "returned": "default", "uniqueness": "none", "description": name,
        "subAttributes": parts,
    })
}

fn core() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": CORE, "name": "User", "description": "An employee",
        "attributes": [
            attribute("userName", "string", "readWrite", "server"),
            attribute("externalId", "string", "readWrite", "none"),
            attribute("displayName", "string", "readWrite", "none"),
            attribute("active", "boolean", "readWrite", "none"),
            complex("name", false, "readWrite",
                &[("formatted", "string"), ("givenName", "string"), ("familyName", "string")]),
            complex("emails", true, "readWrite",
                &[("value", "string"), ("type", "string"), ("primary", "boolean")]),
            complex("groups", true, "readOnly", &[("value", "string"), ("display", "string"), ("type", "string")]),
        ],
        "meta": { "resourceType": "Schema" },
    })
}

fn enterprise() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": ENTERPRISE, "name": "EnterpriseUser", "description": "An employee's department",
        "attributes": [attribute("department", "string", "readWrite", "none")],
        "meta": { "resourceType": "Schema" },
    })
}
