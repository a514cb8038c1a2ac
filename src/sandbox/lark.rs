//! Lark / Feishu, Feishu's hosts: OAuth v2 with PKCE, single-use refresh tokens and scope narrowing, and the
//! routes of the open platform that take a user's token.

mod api;
mod calendar;
mod contact;
mod docs;
mod drive;
mod im;
mod mail;
mod oauth;
mod sheets;
mod tokens;
mod uploads;
mod wiki;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;

use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::sandbox::desk::{Desk, Service, Vendor};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::office::Office;
use crate::sandbox::record::IdNames;
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::World;

/// The company that the broker is set up for.
const TENANT: &str = "2ed263bf32cf1651";
/// Another company, whose people may use the app but whose accounts grant nothing.
const OTHER_TENANT: &str = "7c1d90ab44e2f8a3";

/// The host of addresses that need no token.
const STORAGE: &str = "internal-api-drive-stream.feishu.cn";

/// The dialect of Lark / Feishu.
#[derive(Default)]
pub struct Lark {
    office: OnceLock<Office>,
    /// App and tenant tokens that are handed out again while they live long enough.
    app_tokens: Mutex<HashMap<String, (String, Timestamp)>>,
}

impl Lark {
    fn office(&self, desk: &Desk) -> &Office {
        self.office.get_or_init(|| desk.world(|world| Office::of(world, Arc::clone(&desk.clock), mint)))
    }
}

impl Vendor for Lark {
    fn name(&self) -> &'static str {
        "lark"
    }

    fn services(&self) -> &'static [Service] {
        &[
            Service { name: "accounts", hosts: &["accounts.feishu.cn"] },
            Service { name: "open", hosts: &["open.feishu.cn"] },
            Service { name: "storage", hosts: &[STORAGE] },
        ]
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match (request.service, request.path.as_str()) {
            ("open", oauth::TOKEN) => match oauth::fields(request).as_ref().and_then(|f| f.get("grant_type"))
            {
                Some(grant) if grant == "refresh_token" => Endpoint::Refresh,
                _ => Endpoint::Token,
            },
            ("open", tokens::TENANT | tokens::APP) => Endpoint::Token,
            ("accounts", oauth::REVOKE) => Endpoint::Revoke,
            ("open", oauth::USER_INFO) => Endpoint::Userinfo,
            ("storage", _) => Endpoint::Api,
            ("open", path) if path.starts_with("/open-apis/") && path != oauth::AUTHORIZE => Endpoint::Api,
            _ => Endpoint::Other,
        }
    }

    fn answer(&self, desk: &Desk, request: &Request) -> Reply {
        match (request.service, request.method.as_str(), request.path.as_str()) {
            (_, "GET" | "POST", oauth::AUTHORIZE) => oauth::authorize(desk, request),
            ("open", "POST", oauth::TOKEN) => oauth::token(desk, request),
            ("accounts", "POST", oauth::REVOKE) => oauth::revoke(desk, request),
            ("open", "GET", oauth::USER_INFO) => oauth::user_info(desk, request),
            ("storage", "GET", _) => sheets::stored(self.office(desk), request),
            ("open", "POST", tokens::TENANT | tokens::APP) => tokens::answer(self, desk, request),
            ("open", _, path) if path.starts_with("/open-apis/") => {
                api::answer(desk, self.office(desk), request)
            }
            _ => Reply::bytes(404, "text/plain", "404 page not found"),
        }
    }

    fn id_names(&self) -> IdNames {
        IdNames {
            own: &[
                "token",
                "document_id",
                "obj_token",
                "node_token",
                "message_id",
                "event_id",
                "calendar_id",
                "chat_id",
                "doc_token",
                "app_token",
                "record_id",
                "file_token",
                "docs_token",
                "target_token",
                "block_id",
            ],
            other: &["event_organizer", "sender"],
            lists: &["items"],
        }
    }

    fn renew(&self, desk: &Desk) {
        desk.world(|world| *world = World::new());
        if let Some(office) = self.office.get() {
            desk.world(|world| office.renew(world));
        }
    }

    fn throttled(&self, _request: &Request, after_s: u64) -> Reply {
        // Whichever header a client goes by, it learns the same wait.
        let document = json!({"code": 99_991_400, "msg": "request trigger frequency limit"});
        Reply::json(429, &document)
            .with("x-ogw-ratelimit-limit", "50")
            .with("x-ogw-ratelimit-reset", &after_s.to_string())
            .with("retry-after", &after_s.to_string())
    }

    fn failing(&self, request: &Request, status: u16) -> Reply {
        if request.path != oauth::TOKEN {
            return Reply::json(status, &json!({"code": 2200, "msg": "internal error"}));
        }
        let code = if status == 503 { oauth::Problem::Unavailable } else { oauth::Problem::Server };
        Reply { status, ..oauth::error(code) }
    }
}

/// An id of this vendor's shape.
fn mint(sort: &str, of: &str) -> String {
    let hash = digest(&SHA256, format!("lark/{sort}/{of}").as_bytes());
    let hex = encode::hex(hash.as_ref());
    let letters = encode::base62(hash.as_ref());
    let cut = |text: &str, length: usize| text.get(..length).unwrap_or_default().to_owned();
    match sort {
        "folder" => format!("fldcn{}", cut(&letters, 22)),
        "document" => format!("doxcn{}", cut(&letters, 22)),
        "file" => format!("boxcn{}", cut(&letters, 22)),
        "sheet" => format!("shtcn{}", cut(&letters, 22)),
        "base" => format!("bascn{}", cut(&letters, 22)),
        "shortcut" => format!("nodcn{}", cut(&letters, 22)),
        "wiki" => format!("wikcn{}", cut(&letters, 22)),
        "table" => format!("tbl{}", cut(&letters, 13)),
        "record" => format!("rec{}", cut(&letters, 10)),
        "calendar" => format!("feishu.cn_{}@group.calendar.feishu.cn", cut(&letters, 16)),
        "event" => format!("{}-{}_0", cut(&hex, 8), cut(&letters, 22)),
        "chat" => format!("oc_{}", cut(&hex, 32)),
        "message" => format!("om_{}", cut(&hex, 32)),
        "open_id" => format!("ou_{}", cut(&hex, 32)),
        "union_id" => format!("on_{}", cut(&hex, 32)),
        "department" => format!("od-{}", cut(&hex, 32)),
        "user_id" => cut(&hex, 8),
        _ => cut(&letters, 24),
    }
}

/// A person's id within this app.
fn open_id(email: &str) -> String {
    mint("open_id", email)
}

/// A person's id within this developer's apps.
fn union_id(email: &str) -> String {
    mint("union_id", email)
}

/// A person's id within the tenant.
fn user_id(email: &str) -> String {
    mint("user_id", email)
}

/// The tenant of an employee, or of somebody else.
fn tenant(employee: bool) -> &'static str {
    if employee { TENANT } else { OTHER_TENANT }
}
