//! DingTalk, mainland hosts: user tokens that no scope narrows, app tokens that act for whomever a call names,
//! strict rotation, no revocation. There is no mailbox and no chat history behind these APIs.

mod api;
mod calendar;
mod knowledge;
mod oapi;
mod oauth;
mod people;
mod sharing;
mod storage;
mod tables;
mod todo;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::kernel::encode;
use crate::sandbox::desk::{Desk, Service, Vendor};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::office::Office;
use crate::sandbox::record::IdNames;
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::{Person, World};

/// The company that the broker is set up for.
const CORP: &str = "dingcorp0001";
/// Another company, whose people may sign in but whose accounts grant nothing.
const OTHER_CORP: &str = "dingcorp9999";

/// The object store, which takes signed headers and no token.
const STORAGE: &str = "zjk-dualstack.trans.dingtalk.com";

/// The dialect of DingTalk.
#[derive(Default)]
pub struct DingTalk {
    office: OnceLock<Office>,
    /// Each app's present token, which comes again, and lives on, when it is asked for again.
    app_tokens: Mutex<HashMap<String, String>>,
}

impl DingTalk {
    fn office(&self, desk: &Desk) -> &Office {
        self.office.get_or_init(|| desk.world(|world| Office::of(world, Arc::clone(&desk.clock), mint)))
    }
}

impl Vendor for DingTalk {
    fn name(&self) -> &'static str {
        "dingtalk"
    }

    fn services(&self) -> &'static [Service] {
        &[
            Service { name: "login", hosts: &["login.dingtalk.com"] },
            Service { name: "api", hosts: &["api.dingtalk.com"] },
            Service { name: "oapi", hosts: &["oapi.dingtalk.com"] },
            Service { name: "storage", hosts: &[STORAGE] },
        ]
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match (request.service, request.path.as_str()) {
            ("api", oauth::USER_TOKEN) => {
                let grant = request.json().ok().and_then(|body| body.get("grantType").cloned());
                match grant.as_ref().and_then(Value::as_str) {
                    Some("refresh_token") => Endpoint::Refresh,
                    _ => Endpoint::Token,
                }
            }
            ("api", path) if oauth::is_app_token(path) => Endpoint::Token,
            ("oapi", oauth::OLD_APP_TOKEN) => Endpoint::Token,
            ("api", people::ME) => Endpoint::Userinfo,
            ("api" | "oapi" | "storage", _) => Endpoint::Api,
            _ => Endpoint::Other,
        }
    }

    fn answer(&self, desk: &Desk, request: &Request) -> Reply {
        match (request.service, request.method.as_str(), request.path.as_str()) {
            ("login", "GET" | "POST", oauth::AUTHORIZE) => oauth::authorize(desk, request),
            ("api", "POST", oauth::USER_TOKEN) => oauth::user_token(desk, request),
            ("api", "POST", path) if oauth::is_app_token(path) => oauth::app_token(self, desk, request),
            ("oapi", "GET", oauth::OLD_APP_TOKEN) => oauth::old_app_token(self, desk, request),
            ("api", ..) => api::answer(desk, self.office(desk), request),
            ("oapi", ..) => oapi::answer(desk, request),
            ("storage", "GET", _) => storage::stored(self.office(desk), request),
            _ => Reply::bytes(404, "text/plain", "Not Found"),
        }
    }

    fn presented_token(&self, request: &Request) -> Option<String> {
        match request.service {
            "oapi" => request.params().filled("access_token").map(str::to_owned),
            _ => request.header(api::TOKEN_HEADER).map(str::to_owned),
        }
    }

    fn id_names(&self) -> IdNames {
        IdNames {
            own: &[
                "id",
                "dentryId",
                "dentryUuid",
                "uuid",
                "nodeId",
                "docKey",
                "taskId",
                "calendarId",
                "aclId",
            ],
            other: &[
                "organizer",
                "attendees",
                "creator",
                "modifier",
                "createdBy",
                "lastModifiedBy",
                "member",
            ],
            lists: &[],
        }
    }

    fn renew(&self, desk: &Desk) {
        desk.world(|world| *world = World::new());
        if let Some(office) = self.office.get() {
            desk.world(|world| office.renew(world));
        }
    }

    fn throttled(&self, request: &Request, after_s: u64) -> Reply {
        let reply = if request.service == "oapi" {
            oapi::error(90002, "the call frequency of this interface is over its limit")
        } else {
            // A 403 that is no denial.
            api::error(
                403,
                "Forbidden.AccessDenied.QpsLimitForApi",
                "The requests exceed the QPS limit of the API.",
            )
        };
        reply.with("retry-after", &after_s.to_string())
    }

    fn failing(&self, request: &Request, status: u16) -> Reply {
        if request.service == "oapi" {
            Reply { status, ..oapi::error(-1, "system busy") }
        } else {
            api::error(status, "system.busy", "The system is busy.")
        }
    }
}

/// An id of this vendor's shape.
fn mint(sort: &str, of: &str) -> String {
    let hash = digest(&SHA256, format!("dingtalk/{sort}/{of}").as_bytes());
    let letters = encode::base62(hash.as_ref());
    let cut = |length: usize| letters.get(..length).unwrap_or_default();
    let digits = || {
        let number = hash.as_ref().iter().take(8).fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        format!("{:011}", number % 100_000_000_000)
    };
    match sort {
        "folder" | "document" | "file" | "sheet" | "base" | "shortcut" | "space" => digits(),
        "union_id" => format!("{}iEiE", cut(22)),
        "uuid" => cut(32).to_owned(),
        "event" | "calendar" | "todo" => cut(24).to_owned(),
        _ => cut(20).to_owned(),
    }
}

/// A person's id within this developer's apps.
fn union_id(email: &str) -> String {
    mint("union_id", email)
}

/// A person's id within this app.
fn open_id(email: &str) -> String {
    mint("open_id", email)
}

/// A person's id within the company.
fn user_id(person: &Person) -> String {
    format!("{}{}", person.key, person.id)
}

/// What wikis, documents and tables call a node that the drive calls by its number.
fn uuid(node: &str) -> String {
    mint("uuid", node)
}

/// The employee of that union id.
fn employee(desk: &Desk, union: &str) -> Option<Person> {
    desk.world(|world| world.employees().find(|person| union_id(&person.email) == union).cloned())
}

/// The company of an employee, or of somebody else.
fn corp(person: &Person) -> &'static str {
    if person.employee { CORP } else { OTHER_CORP }
}

/// A moment as this vendor writes it.
fn moment(seconds: i64) -> Value {
    json!({"dateTime": crate::sandbox::world::iso(seconds), "timeZone": "UTC"})
}
