//! What every resource shares: bodies that come in, answers that go out, parts of lists, chosen attributes.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::{Map, Value, json};

use crate::server::body;
use crate::server::params::Params;
use crate::web::scim::MEDIA_TYPE;
use crate::web::scim::error::ScimError;
use crate::web::scim::person::{ENTERPRISE, member};

/// No part of a list is longer.
pub const MOST: usize = 200;
const USUAL: usize = 100;

/// A body of SCIM's type; the header tells the version that it states.
pub fn answer(mut answer: HttpResponseBuilder, body: &Value) -> HttpResponse {
    if let Some(version) = body.pointer("/meta/version").and_then(Value::as_str) {
        answer.insert_header((ETAG, version));
    }
    answer.insert_header((CACHE_CONTROL, "no-store")).content_type(MEDIA_TYPE).body(body.to_string())
}

/// What stands under `meta` (RFC 7643, section 3.1).
pub fn meta(kind: &str, created: &str, changed: &str, version: &str, location: &str) -> Value {
    json!({
        "resourceType": kind, "created": created, "lastModified": changed,
        "version": format!("\"{version}\""), "location": location,
    })
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

/// A JSON object of SCIM's type.
pub async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Map<String, Value>, ScimError> {
    let media = body::single_header(request, &CONTENT_TYPE).ok().flatten().unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media != MEDIA_TYPE && media != "application/json" {
        return Err(ScimError::bad("invalidSyntax", "the content type must be application/scim+json"));
    }
    let bytes = body::read_body(request, payload, body::MAX_JSON).await?;
    let Ok(Value::Object(members)) = serde_json::from_slice(&bytes) else {
        return Err(ScimError::bad("invalidSyntax", "the body is not a JSON object"));
    };
    match member(&members, "schemas") {
        None | Some(Value::Null) => Ok(members),
        Some(Value::Array(schemas)) if schemas.iter().all(Value::is_string) => Ok(members),
        Some(_) => Err(ScimError::bad("invalidSyntax", "schemas is a list of texts")),
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The first one's number; the first of all is 1.
    pub start: usize,
    /// How many at most.
    pub count: usize,
}

impl Part {
    /// Reads `startIndex` and `count`.
    pub fn of(query: &Params) -> Result<Self, ScimError> {
        // Without a value it is no number; passing over it would hide a mistake.
        let number = |name: &str, usual: usize| match query.all(name).next() {
            None => Ok(usual),
            // RFC 7644, section 3.4.2.4: a value below the least is read as the least.
            Some(text) => match text.parse::<i64>() {
                Ok(number) => Ok(usize::try_from(number).unwrap_or(0)),
                Err(_) => Err(ScimError::bad("invalidValue", format!("{name} is a number"))),
            },
        };
        Ok(Self { start: number("startIndex", 1)?.max(1), count: number("count", USUAL)?.min(MOST) })
    }

    /// Those of a list.
    pub fn cut<'l, T>(&self, all: &'l [T]) -> impl Iterator<Item = &'l T> {
        all.iter().skip(self.start - 1).take(self.count)
    }
}

/// Which attributes are asked for (RFC 7644, section 3.9): whole ones, never without `id`.
#[derive(Debug, Default)]
pub struct Chosen {
    wanted: Option<Vec<String>>,
    unwanted: Vec<String>,
}

impl Chosen {
    /// Reads `attributes` and `excludedAttributes`.
    pub fn of(query: &Params) -> Self {
        let names = |name: &str| -> Option<Vec<String>> {
            Some(query.get(name)?.split(',').map(|name| whole(name.trim())).collect())
        };
        Self { wanted: names("attributes"), unwanted: names("excludedAttributes").unwrap_or_default() }
    }

    /// Whether an attribute is asked for.
    pub fn has(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let is_kept = matches!(name.as_str(), "id" | "schemas");
        is_kept
            || self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&name))
                && !self.unwanted.contains(&name)
    }

    /// What is left of a resource.
    pub fn reduced(&self, mut resource: Value) -> Value {
        if let Some(members) = resource.as_object_mut() {
            members.retain(|name, _| self.has(name));
        }
        resource
    }
}

/// The attribute that a name is of or within: `name.givenName` is of `name`; a schema's name has dots and colons of its
/// own.
fn whole(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let enterprise = ENTERPRISE.to_ascii_lowercase();
    if name.starts_with(&enterprise) {
        return enterprise;
    }
    let name = match name.starts_with("urn:") {
        true => name.rsplit(':').next().unwrap_or_default(),
        false => &name,
    };
    name.split('.').next().unwrap_or_default().to_owned()
}
