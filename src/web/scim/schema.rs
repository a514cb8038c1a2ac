//! What is offered (RFC 7643, sections 5 to 7).

use actix_web::HttpResponse;
use serde_json::{Value, json};

use crate::web::scim::MEDIA_TYPE;
use crate::web::scim::directory::Directory;
use crate::web::scim::document::{ScimList, ScimResourceType, ScimSchema, ScimServiceProviderConfig};
use crate::web::scim::error::ScimError;
use crate::web::scim::group::GROUP;
use crate::web::scim::message::{MOST, list};
use crate::web::scim::person::{CORE, ENTERPRISE};

fn answer(body: &Value) -> HttpResponse {
    HttpResponse::Ok().content_type(MEDIA_TYPE).body(body.to_string())
}

#[utoipa::path(get, path = "/scim/v2/ServiceProviderConfig", tag = "scim", responses((status = 200, body = ScimServiceProviderConfig, content_type = "application/scim+json")))]
/// What is offered.
pub async fn provider(_asked: Directory) -> Result<HttpResponse, ScimError> {
    Ok(answer(&json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": MOST },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer token", "primary": true,
            "description": "A token of the role provisioner, made by an administrator",
        }],
        "meta": { "resourceType": "ServiceProviderConfig" },
    })))
}

/// The kinds of resources: users, groups.
fn types(base: &str) -> [Value; 2] {
    let kind = |name: &str, endpoint: &str, description: &str, schema: &str, extensions: Value| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": name, "name": name, "endpoint": endpoint, "description": description,
            "schema": schema,
            "schemaExtensions": extensions,
            "meta": { "resourceType": "ResourceType", "location": format!("{base}/scim/v2/ResourceTypes/{name}") },
        })
    };
    let extensions = json!([{ "schema": ENTERPRISE, "required": false }]);
    [
        kind("User", "/Users", "An employee", CORE, extensions),
        kind("Group", "/Groups", "A group of employees", GROUP, json!([])),
    ]
}

#[utoipa::path(get, path = "/scim/v2/ResourceTypes", tag = "scim", responses((status = 200, body = ScimList<ScimResourceType>, content_type = "application/scim+json")))]
/// The kinds of resources.
pub async fn resource_types(asked: Directory) -> Result<HttpResponse, ScimError> {
    let types = types(asked.base());
    Ok(answer(&list(types.to_vec(), types.len(), 1)))
}

#[utoipa::path(get, path = "/scim/v2/ResourceTypes/{id}", tag = "scim", params(("id" = String, Path, description = "`User` or `Group`.")), responses((status = 200, body = ScimResourceType, content_type = "application/scim+json")))]
/// One kind of resource.
pub async fn resource_type(asked: Directory) -> Result<HttpResponse, ScimError> {
    let wanted = asked.id();
    let found = types(asked.base()).into_iter().find(|kind| kind.get("id").is_some_and(|id| id == wanted));
    Ok(answer(&found.ok_or_else(ScimError::not_found)?))
}

#[utoipa::path(get, path = "/scim/v2/Schemas", tag = "scim", responses((status = 200, body = ScimList<ScimSchema>, content_type = "application/scim+json")))]
/// The schemas.
pub async fn schemas(_asked: Directory) -> Result<HttpResponse, ScimError> {
    Ok(answer(&list(vec![core(), enterprise(), group()], 3, 1)))
}

#[utoipa::path(get, path = "/scim/v2/Schemas/{id}", tag = "scim", params(("id" = String, Path)), responses((status = 200, body = ScimSchema, content_type = "application/scim+json")))]
/// One schema.
pub async fn schema(asked: Directory) -> Result<HttpResponse, ScimError> {
    match asked.id() {
        CORE => Ok(answer(&core())),
        ENTERPRISE => Ok(answer(&enterprise())),
        GROUP => Ok(answer(&group())),
        _ => Err(ScimError::not_found()),
    }
}

fn attribute(name: &str, kind: &str, mutability: &str, uniqueness: &str) -> Value {
    json!({
        "name": name, "type": kind, "multiValued": false, "required": uniqueness == "server", "caseExact": false,
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

fn group() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": GROUP, "name": "Group", "description": "A group of employees",
        "attributes": [
            attribute("displayName", "string", "readWrite", "server"),
            attribute("externalId", "string", "readWrite", "none"),
            complex("members", true, "readWrite",
                &[("value", "string"), ("display", "string"), ("type", "string"), ("$ref", "reference")]),
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
