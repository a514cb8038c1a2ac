//! The OpenAPI document: the admin API and the OAuth endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use actix_web::HttpResponse;
use serde::Serialize;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Written, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::web::api::{
    agents, audiences, beside, connections, events, explain, providers, reports, sign_in, stops,
    transmitters, trust, users, vault,
};
use crate::web::{oauth, scim, security_events};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Valetkey",
        description = "For admins: agents, providers, grants, stops and events. For agents: tokens."
    ),
    paths(
        oauth::token,
        oauth::ask,
        oauth::introspect,
        oauth::revoke,
        oauth::jwks,
        oauth::metadata::metadata,
        beside::gateway,
        beside::healthz,
        beside::readyz,
        beside::metrics,
        serve,
        agents::list,
        agents::create,
        agents::show,
        agents::restate,
        agents::change,
        agents::hand_over,
        agents::history,
        agents::suspend,
        agents::resume,
        agents::retire,
        agents::rotate_secret,
        sign_in::show,
        sign_in::change,
        sign_in::end_secret,
        trust::list_presets,
        trust::list,
        trust::create,
        trust::show,
        trust::enable,
        trust::disable,
        trust::remove,
        audiences::list,
        audiences::create,
        audiences::show,
        audiences::change,
        audiences::enable,
        audiences::disable,
        audiences::rotate_secret,
        audiences::rotate_keys,
        providers::templates,
        providers::list,
        providers::create,
        providers::enable,
        providers::disable,
        providers::test,
        users::list,
        users::show,
        users::change,
        users::depart,
        reports::of_person,
        reports::of_agent,
        users::sign_out,
        users::restore,
        scim::schema::provider,
        scim::schema::resource_types,
        scim::schema::resource_type,
        scim::schema::schemas,
        scim::schema::schema,
        scim::users::list,
        scim::users::create,
        scim::users::show,
        scim::users::replace,
        scim::users::patch,
        scim::users::remove,
        scim::groups::list,
        scim::groups::create,
        scim::groups::show,
        scim::groups::replace,
        scim::groups::patch,
        scim::groups::remove,
        security_events::receive,
        transmitters::list,
        transmitters::create,
        transmitters::remove,
        connections::connections,
        connections::grants,
        connections::revoke_grant,
        explain::explain,
        connections::interactions,
        stops::list,
        stops::create,
        stops::resume,
        events::list,
        events::keys,
        vault::show,
        vault::rotate,
        vault::backup,
        vault::confirm_restored,
        vault::mark_restored,
    ),
    components(schemas(oauth::schema::ErrorBody, ProblemBody, scim::document::ScimRefused)),
    modifiers(&Credentials, &Errors, &Parts, &Names),
    security(("admin_token" = []))
)]
struct Document;

/// RFC 9457, with a stable code.
#[derive(Serialize, ToSchema)]
struct ProblemBody {
    /// Stable.
    code: String,
    title: String,
    status: u16,
    detail: Option<String>,
}

/// Who may call: admins by token; agents by id and secret, by a client certificate, or by an assertion in the form;
/// whoever holds a gateway token at the gateway.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Written) {
        let scheme = |kind| SecurityScheme::Http(HttpBuilder::new().scheme(kind).build());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("admin_token", scheme(HttpAuthScheme::Bearer));
        components.add_security_scheme("agent", scheme(HttpAuthScheme::Basic));
        components.add_security_scheme("gateway_token", scheme(HttpAuthScheme::Bearer));
        let words = "With `client_id` in the form (RFC 8705). An agent with a key or a platform's token sends \
            `client_assertion` in the form instead.";
        let certificate = SecurityScheme::MutualTls {
            description: Some(words.to_owned()),
            deprecated: None,
            extensions: None,
        };
        components.add_security_scheme("agent_certificate", certificate);
        for (path, operation) in operations(document) {
            if path.starts_with("/oauth2/") {
                let by = |name| SecurityRequirement::new::<_, [&str; 0], &str>(name, []);
                operation.security = Some(vec![by("agent"), by("agent_certificate")]);
            }
        }
    }
}

/// Every operation may refuse; which codes there are is in the words of the documentation.
struct Errors;

impl Modify for Errors {
    fn modify(&self, document: &mut Written) {
        for (path, operation) in operations(document) {
            let (status, kind, schema) = match path {
                path if path.starts_with("/api/") => ("default", "application/problem+json", "ProblemBody"),
                path if path.starts_with("/scim/") => ("4XX", "application/scim+json", "ScimRefused"),
                // They say themselves how they refuse, or never do.
                security_events::PATH | "/healthz" | "/readyz" | "/metrics" => continue,
                _ => ("default", "application/json", "ErrorBody"),
            };
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
            let answer = ResponseBuilder::new().description("Refused.").content(kind, content).build();
            operation.responses.responses.insert(status.to_owned(), answer.into());
        }
    }
}

/// A schema that is a part of another one must leave room for the rest of it: what a request may not hold beside
/// its own members is checked where it is read.
struct Parts;

impl Modify for Parts {
    fn modify(&self, document: &mut Written) {
        let schemas = &mut document.components.get_or_insert_default().schemas;
        let mut parts: BTreeSet<String> = BTreeSet::new();
        for schema in schemas.values() {
            let RefOr::T(Schema::AllOf(whole)) = schema else { continue };
            for item in &whole.items {
                let RefOr::Ref(part) = item else { continue };
                parts.extend(part.ref_location.rsplit('/').next().map(str::to_owned));
            }
        }
        for (name, schema) in schemas.iter_mut() {
            if let RefOr::T(Schema::Object(part)) = schema
                && parts.contains(name)
            {
                part.additional_properties = None;
            }
        }
    }
}

/// An operation's name is its own, also where one description stands for several methods.
struct Names;

impl Modify for Names {
    fn modify(&self, document: &mut Written) {
        for (path, item) in &mut document.paths.paths {
            if !path.starts_with("/gateway/") {
                continue;
            }
            let each = [
                ("get", &mut item.get),
                ("post", &mut item.post),
                ("put", &mut item.put),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
            ];
            for (method, operation) in each {
                if let Some(operation) = operation {
                    operation.operation_id = Some(format!("gateway_{method}"));
                }
            }
        }
    }
}

fn operations(document: &mut Written) -> impl Iterator<Item = (&str, &mut Operation)> {
    document.paths.paths.iter_mut().flat_map(|(path, item)| {
        let each = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        each.into_iter().flatten().map(move |operation| (path.as_str(), operation))
    })
}

/// The methods that a path of the document takes, as the `Allow` header lists them.
pub fn allowed(path: &str) -> Option<String> {
    static METHODS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
        let listed = Document::openapi().paths.paths.into_iter().map(|(path, item)| {
            let each = [
                ("GET", item.get.is_some()),
                ("POST", item.post.is_some()),
                ("PUT", item.put.is_some()),
                ("PATCH", item.patch.is_some()),
                ("DELETE", item.delete.is_some()),
            ];
            let methods: Vec<&str> =
                each.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
            (path, methods.join(", "))
        });
        listed.collect()
    });
    METHODS.get(path).cloned()
}

/// The document as JSON.
pub fn document() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default()
}

#[utoipa::path(get, path = "/api/v1/openapi.json", security(()), responses((status = 200, body = Object)))]
/// This document.
pub async fn serve() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document())
}
