//! SCIM's messages, for the API's document: what directories send is read by hand, more leniently where they need it.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A user as the directory states them (RFC 7643, section 4.1); other attributes are passed over.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimUser {
    schemas: Option<Vec<String>>,
    user_name: String,
    /// The subject that they sign in with.
    external_id: Option<String>,
    /// `false` is their departure.
    active: Option<bool>,
    display_name: Option<String>,
    name: Option<ScimName>,
    /// The primary one counts, else the first.
    #[schema(value_type = Option<Vec<Object>>)]
    emails: Option<Vec<Value>>,
    #[serde(rename = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User")]
    enterprise: Option<ScimEnterprise>,
}

/// The parts of a name.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimName {
    formatted: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
}

/// The enterprise extension, as far as it is kept.
#[derive(Serialize, ToSchema)]
pub struct ScimEnterprise {
    department: Option<String>,
}

/// A user as they are shown; with `attributes` or `excludedAttributes` in part.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimUserShown {
    schemas: Vec<String>,
    id: String,
    user_name: Option<String>,
    external_id: Option<String>,
    active: Option<bool>,
    display_name: Option<String>,
    name: Option<ScimName>,
    emails: Option<Vec<ScimEmail>>,
    groups: Option<Vec<ScimGroupOf>>,
    meta: Option<ScimMeta>,
    #[serde(rename = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User")]
    enterprise: Option<ScimEnterprise>,
}

/// An e-mail address.
#[derive(Serialize, ToSchema)]
pub struct ScimEmail {
    value: String,
    r#type: String,
    primary: bool,
}

/// A group that somebody is in: one of the directory by its id, another by its name.
#[derive(Serialize, ToSchema)]
pub struct ScimGroupOf {
    value: String,
    display: String,
    r#type: String,
}

/// What is known of a resource itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimMeta {
    resource_type: String,
    created: String,
    last_modified: String,
    /// The same as `ETag`.
    version: String,
    location: String,
}

/// A group as the directory states it (RFC 7643, section 4.2); other attributes are passed over.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimGroup {
    schemas: Option<Vec<String>>,
    /// Unique; agents and back ends admit groups by it.
    display_name: String,
    external_id: Option<String>,
    members: Option<Vec<ScimMember>>,
}

/// A member of a group.
#[derive(Serialize, ToSchema)]
pub struct ScimMember {
    /// A user's id.
    value: String,
}

/// A member of a group, as they are shown.
#[derive(Serialize, ToSchema)]
pub struct ScimMemberShown {
    /// The user's id.
    value: String,
    display: String,
    r#type: String,
    /// The user's address.
    #[serde(rename = "$ref")]
    reference: String,
}

/// A group as it is shown; with `attributes` or `excludedAttributes` in part.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimGroupShown {
    schemas: Vec<String>,
    id: String,
    display_name: Option<String>,
    external_id: Option<String>,
    members: Option<Vec<ScimMemberShown>>,
    meta: Option<ScimMeta>,
}

/// Changes, one after the other (RFC 7644, section 3.5.2).
#[derive(Serialize, ToSchema)]
pub struct ScimPatch {
    schemas: Option<Vec<String>>,
    #[serde(rename = "Operations")]
    #[schema(min_items = 1, max_items = 100)]
    operations: Vec<ScimOperation>,
}

/// One change.
#[derive(Serialize, ToSchema)]
pub struct ScimOperation {
    /// `add`, `replace` or `remove`, in any case.
    op: String,
    /// Such as `active` or `members[value eq "usr_…"]`; without it `value` names the attributes.
    path: Option<String>,
    #[schema(value_type = Value)]
    value: Option<Value>,
}

/// Users, or groups, of a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimList<T> {
    schemas: Vec<String>,
    total_results: u64,
    start_index: u64,
    items_per_page: u64,
    #[serde(rename = "Resources")]
    resources: Vec<T>,
}

/// An error (RFC 7644, section 3.12).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimRefused {
    schemas: Vec<String>,
    status: String,
    scim_type: Option<String>,
    detail: String,
}

/// Whether something is offered.
#[derive(Serialize, ToSchema)]
pub struct ScimSupport {
    supported: bool,
}

/// What is offered of bulk requests: nothing.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimBulk {
    supported: bool,
    max_operations: u64,
    max_payload_size: u64,
}

/// What is offered of filters.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimFilter {
    supported: bool,
    max_results: u64,
}

/// How the directory signs in.
#[derive(Serialize, ToSchema)]
pub struct ScimScheme {
    r#type: String,
    name: String,
    description: String,
    primary: bool,
}

/// What is offered (RFC 7643, section 5).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimServiceProviderConfig {
    schemas: Vec<String>,
    patch: ScimSupport,
    bulk: ScimBulk,
    filter: ScimFilter,
    change_password: ScimSupport,
    sort: ScimSupport,
    etag: ScimSupport,
    authentication_schemes: Vec<ScimScheme>,
    meta: ScimKind,
}

/// What kind of thing it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimKind {
    resource_type: String,
    location: Option<String>,
}

/// An extension that resources of a kind may have.
#[derive(Serialize, ToSchema)]
pub struct ScimExtension {
    schema: String,
    required: bool,
}

/// A kind of resource (RFC 7643, section 6).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimResourceType {
    schemas: Vec<String>,
    id: String,
    name: String,
    endpoint: String,
    description: String,
    schema: String,
    schema_extensions: Vec<ScimExtension>,
    meta: ScimKind,
}

/// A schema (RFC 7643, section 7).
#[derive(Serialize, ToSchema)]
pub struct ScimSchema {
    schemas: Vec<String>,
    id: String,
    name: String,
    description: String,
    attributes: Vec<ScimAttribute>,
    meta: ScimKind,
}

/// An attribute of a schema.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimAttribute {
    name: String,
    r#type: String,
    multi_valued: bool,
    required: bool,
    case_exact: Option<bool>,
    mutability: String,
    returned: String,
    uniqueness: String,
    description: String,
    /// Parts of a complex attribute, each like this.
    #[schema(value_type = Option<Vec<Object>>)]
    sub_attributes: Option<Vec<Value>>,
}
