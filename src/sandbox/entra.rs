//! Microsoft Entra ID v2 and Microsoft Graph v1.0, for one tenant and an outsider from another.

mod authorize;
mod graph;
mod storage;
mod token;

use serde_json::{Value, json};

use crate::sandbox::desk::{Desk, Service, Vendor};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::record::IdNames;
use crate::sandbox::sign_in::Look;
use crate::sandbox::tokens::Scopes;
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::{Person, guid, iso};

/// The company's tenant.
pub const TENANT: &str = "11111111-2222-4333-8444-555555555555";
/// The outsider's tenant.
pub const OTHER_TENANT: &str = "99999999-8888-4777-8666-555555555555";

const LOGIN: &str = "https://login.microsoftonline.com";
const GRAPH: &str = "https://graph.microsoft.com";

const LOOK: Look = Look {
    brand: "Microsoft",
    colour: "#0067b8",
    sign_in: "Sign in",
    consent: "Permissions requested by {app}",
    allow: "Accept",
    deny: "Cancel",
    lang: "en",
};

/// OpenID Connect scopes; `address` and `phone` are not supported.
const OIDC_SCOPES: &[(&str, &str)] = &[
    ("openid", "Sign you in"),
    ("profile", "View your basic profile"),
    ("email", "View your email address"),
    ("offline_access", "Maintain access to data you have given it access to"),
];

/// Delegated permissions of Graph, what the consent page says, and whether only an admin can consent.
const GRAPH_SCOPES: &[(&str, &str, bool)] = &[
    ("User.Read", "Sign you in and read your profile", false),
    ("User.ReadBasic.All", "Read all users' basic profiles", false),
    ("User.RevokeSessions.All", "Revoke all sign in sessions", true),
    ("Mail.ReadBasic", "Read your basic mail", false),
    ("Mail.Read", "Read your mail", false),
    ("Mail.ReadWrite", "Read and write access to your mail", false),
    ("Mail.Send", "Send mail as you", false),
    ("Files.Read", "Read your files", false),
    ("Files.ReadWrite", "Have full access to your files", false),
    ("Files.Read.All", "Read all files that you have access to", false),
    ("Files.ReadWrite.All", "Have full access to all files you have access to", false),
    ("Sites.Read.All", "Read items in all site collections", false),
    ("Sites.Selected", "Access selected sites", false),
    ("Calendars.ReadBasic", "Read basic details of your calendars", false),
    ("Calendars.Read", "Read your calendars", false),
    ("Calendars.ReadWrite", "Have full access to your calendars", false),
    ("Chat.ReadBasic", "Read names and members of your chats", false),
    ("Chat.Read", "Read your chat messages", false),
    ("Chat.ReadWrite", "Read and write your chat messages", false),
    ("ChatMessage.Send", "Send chat messages", false),
    ("ChannelMessage.Read.All", "Read your channel messages", true),
    ("Contacts.Read", "Read your contacts", false),
    ("Contacts.ReadWrite", "Have full access to your contacts", false),
    ("Tasks.Read", "Read your tasks", false),
    ("Tasks.ReadWrite", "Create, read, update, and delete your tasks", false),
    ("People.Read", "Read your relevant people list", false),
];

/// What a list of scopes asks for.
#[derive(Clone, Debug, Default)]
struct Asked {
    /// OpenID Connect scopes.
    oidc: Scopes,
    /// Graph permissions by short name.
    graph: Scopes,
    /// `.default`: everything that was consented before.
    default: bool,
    /// Graph permissions were named by URI, so the answer names them by URI too; MSAL finds a token in its cache
    /// only when the answer spells the scopes as the request did.
    by_uri: bool,
}

impl Asked {
    /// Whether the request says how Graph permissions are to be spelled.
    fn names_graph(&self) -> bool {
        self.default || !self.graph.is_empty()
    }
}

/// A Graph permission as an answer spells it.
fn spelled(short: &str, by_uri: bool) -> String {
    if by_uri { format!("{GRAPH}/{short}") } else { short.to_owned() }
}

/// Reads scopes in their short or URI form; the error is the first that does not exist.
fn read_scopes(text: &str) -> Result<Asked, String> {
    let mut asked = Asked::default();
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        let by_uri = scope.strip_prefix("https://graph.microsoft.com/");
        asked.by_uri |= by_uri.is_some();
        let short = by_uri.unwrap_or(scope);
        if short == ".default" {
            asked.default = true;
        } else if OIDC_SCOPES.iter().any(|(name, _)| *name == scope) {
            asked.oidc.insert(scope.to_owned());
        } else if let Some((name, _, _)) = GRAPH_SCOPES.iter().find(|(n, _, _)| n.eq_ignore_ascii_case(short))
        {
            asked.graph.insert((*name).to_owned());
        } else {
            return Err(scope.to_owned());
        }
    }
    Ok(asked)
}

fn describe(scope: &str) -> &'static str {
    let oidc = OIDC_SCOPES.iter().find(|(name, _)| *name == scope).map(|(_, text)| *text);
    let graph = || GRAPH_SCOPES.iter().find(|(name, _, _)| *name == scope).map(|(_, text, _)| *text);
    oidc.or_else(graph).unwrap_or_default()
}

fn needs_admin(scopes: &Scopes) -> bool {
    GRAPH_SCOPES.iter().any(|(name, _, admin)| *admin && scopes.contains(*name))
}

/// A person's object id, which differs per tenant.
fn object_id(person: &Person) -> String {
    guid("entra:user", person.id)
}

/// The tenant that a person belongs to.
fn tenant_of(person: &Person) -> &'static str {
    if person.employee { TENANT } else { OTHER_TENANT }
}

/// Entra's dialect.
pub struct Entra;

impl Vendor for Entra {
    fn name(&self) -> &'static str {
        "entra"
    }

    fn services(&self) -> &'static [Service] {
        &[
            Service { name: "login", hosts: &["login.microsoftonline.com"] },
            Service { name: "graph", hosts: &["graph.microsoft.com"] },
            Service { name: "storage", hosts: &["example-my.sharepoint.com", "example.sharepoint.com"] },
        ]
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match request.service {
            "graph" if request.path.eq_ignore_ascii_case("/oidc/userinfo") => Endpoint::Userinfo,
            "graph" | "storage" => Endpoint::Api,
            _ if request.path.ends_with("/oauth2/v2.0/token") => {
                match request.form().unwrap_or_default().get("grant_type") {
                    Some("refresh_token") => Endpoint::Refresh,
                    _ => Endpoint::Token,
                }
            }
            _ => Endpoint::Other,
        }
    }

    fn answer(&self, desk: &Desk, request: &Request) -> Reply {
        if request.service == "graph" {
            return graph::answer(desk, request);
        }
        if request.service == "storage" {
            return storage::answer(desk, request);
        }
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["common", "discovery", "instance"]) => instance_discovery(request),
            (method, [tenant, rest @ ..]) => {
                if ![TENANT, "common", "organizations", "example.com"].contains(tenant) {
                    return oauth_error(desk, 400, "invalid_request", 90002, "Tenant not found.", None);
                }
                match (method, rest) {
                    ("GET", ["v2.0", ".well-known", "openid-configuration"]) => {
                        Reply::json(200, &metadata(tenant))
                    }
                    ("GET", ["discovery", "v2.0", "keys"]) => keys(desk, tenant),
                    ("GET" | "POST", ["oauth2", "v2.0", "authorize"]) => {
                        authorize::answer(desk, request, tenant)
                    }
                    ("POST", ["oauth2", "v2.0", "token"]) => token::answer(desk, request),
                    _ => Reply::empty(404),
                }
            }
            _ => Reply::empty(404),
        }
    }

    fn id_names(&self) -> IdNames {
        IdNames {
            own: &["id", "hitId"],
            other: &[
                "parentReference",
                "createdBy",
                "lastModifiedBy",
                "owner",
                "from",
                "sender",
                "user",
                "organizer",
                "grantedToV2",
                "innerError",
            ],
            lists: &[],
        }
    }

    fn throttled(&self, request: &Request, after_s: u64) -> Reply {
        let document = if request.service == "graph" {
            json!({"error": {"code": "TooManyRequests", "message": "Too many requests.", "innerError": {}}})
        } else {
            json!({
                "error": "temporarily_unavailable",
                "error_description": "AADSTS90055: The tenant is throttled due to too many requests.",
                "error_codes": [90055],
            })
        };
        Reply::json(429, &document).with("retry-after", &after_s.to_string())
    }

    fn failing(&self, request: &Request, status: u16) -> Reply {
        let document = if request.service == "graph" {
            json!({"error": {"code": "generalException", "message": "An error has occurred.", "innerError": {}}})
        } else {
            json!({
                "error": "temporarily_unavailable",
                "error_description": "AADSTS90033: A transient error has occurred. Please try again.",
                "error_codes": [90033],
            })
        };
        Reply::json(status, &document)
    }
}

/// What MSAL asks before it trusts an authority it does not know.
fn instance_discovery(request: &Request) -> Reply {
    let params = request.params();
    if params.filled("authorization_endpoint").is_none() || params.filled("api-version").is_none() {
        return Reply::json(400, &json!({"error": "invalid_request", "error_codes": [900144]}));
    }
    Reply::json(
        200,
        &json!({
            "tenant_discovery_endpoint": format!("{LOGIN}/{TENANT}/v2.0/.well-known/openid-configuration"),
            "api-version": "1.1",
            "metadata": [{
                "preferred_network": "login.microsoftonline.com",
                "preferred_cache": "login.windows.net",
                "aliases": ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"],
            }],
        }),
    )
}

fn metadata(tenant: &str) -> Value {
    let issuer_tenant = if ["common", "organizations"].contains(&tenant) { "{tenantid}" } else { TENANT };
    let at = |path: &str| format!("{LOGIN}/{tenant}/{path}");
    json!({
        "issuer": format!("{LOGIN}/{issuer_tenant}/v2.0"),
        "authorization_endpoint": at("oauth2/v2.0/authorize"),
        "token_endpoint": at("oauth2/v2.0/token"),
        "jwks_uri": at("discovery/v2.0/keys"),
        "userinfo_endpoint": format!("{GRAPH}/oidc/userinfo"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "request_uri_parameter_supported": false,
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "preferred_username", "name",
            "tid", "ver", "email"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
        "msgraph_host": "graph.microsoft.com",
    })
}

fn keys(desk: &Desk, tenant: &str) -> Reply {
    let issuer_tenant = if ["common", "organizations"].contains(&tenant) { "{tenantid}" } else { TENANT };
    let key = desk.signer.jwk(&json!({"issuer": format!("{LOGIN}/{issuer_tenant}/v2.0")}));
    Reply::json(200, &json!({"keys": [key]}))
}

/// An error of the authorization server, as it writes them.
fn oauth_error(
    desk: &Desk,
    status: u16,
    error: &str,
    number: u32,
    text: &str,
    suberror: Option<&str>,
) -> Reply {
    let now = iso(desk.now().secs()).replace('T', " ");
    let (trace, correlation) = (guid("entra:trace", 1), guid("entra:correlation", 1));
    let description =
        format!("AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}");
    let mut document = json!({
        "error": error,
        "error_description": description,
        "error_codes": [number],
        "timestamp": now,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": format!("{LOGIN}/error?code={number}"),
    });
    if let (Some(suberror), Some(document)) = (suberror, document.as_object_mut()) {
        document.insert("suberror".to_owned(), json!(suberror));
    }
    Reply::json(status, &document).with("cache-control", "no-store, no-cache")
}
