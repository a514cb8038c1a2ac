//! WeCom (WeChat Work), one self-built app: a sign-in that yields a code, and the app's token, which reaches
//! everything of the app. No user tokens, nothing to refresh, nothing to revoke; errors are HTTP 200.

mod api;
mod directory;
mod documents;
mod drive;
mod mail;
mod messages;
mod oauth;
mod schedule;

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};

use crate::kernel::encode;
use crate::sandbox::desk::{Desk, Service, Vendor};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::office::{Office, Papers};
use crate::sandbox::record::IdNames;
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::World;

/// The company that the broker is set up for.
const CORP: &str = "ww0123456789abcdef";
/// The app in that company.
const AGENT: &str = "1000002";

/// The host of downloads, which takes a cookie and no token.
const STORAGE: &str = "drive.work.weixin.qq.com";

/// The dialect of WeCom.
#[derive(Default)]
pub struct WeCom {
    office: OnceLock<Office>,
}

impl WeCom {
    /// What the app made so far; members' own calendars, documents and mail are out of its reach.
    fn office(&self, desk: &Desk) -> &Office {
        self.office.get_or_init(|| {
            let office = Office::bare(Arc::clone(&desk.clock), mint);
            made_before(&office, desk);
            office
        })
    }
}

impl Vendor for WeCom {
    fn name(&self) -> &'static str {
        "wecom"
    }

    fn services(&self) -> &'static [Service] {
        &[
            Service { name: "login", hosts: &["login.work.weixin.qq.com"] },
            Service { name: "qyapi", hosts: &["qyapi.weixin.qq.com"] },
            Service { name: "storage", hosts: &[STORAGE] },
        ]
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match (request.service, request.path.as_str()) {
            ("qyapi", oauth::APP_TOKEN) => Endpoint::Token,
            ("qyapi", oauth::WHO) => Endpoint::Userinfo,
            ("qyapi" | "storage", _) => Endpoint::Api,
            _ => Endpoint::Other,
        }
    }

    fn answer(&self, desk: &Desk, request: &Request) -> Reply {
        match (request.service, request.method.as_str(), request.path.as_str()) {
            ("login", "GET" | "POST", oauth::LOGIN) => oauth::login(desk, request),
            ("qyapi", "GET", oauth::APP_TOKEN) => oauth::app_token(desk, request),
            ("qyapi", "GET", oauth::WHO) => oauth::who(desk, request),
            ("storage", "GET", _) => drive::stored(self.office(desk), request),
            ("qyapi", ..) => api::answer(desk, self.office(desk), request),
            _ => Reply::bytes(404, "text/html", "<html><body>404 Not Found</body></html>"),
        }
    }

    fn presented_token(&self, request: &Request) -> Option<String> {
        request.params().filled("access_token").map(str::to_owned)
    }

    fn id_names(&self) -> IdNames {
        IdNames {
            own: &["fileid", "docid", "mail_id", "schedule_id", "cal_id", "msgid", "spaceid", "chatid"],
            other: &["attendees"],
            lists: &[],
        }
    }

    fn renew(&self, desk: &Desk) {
        desk.world(|world| *world = World::new());
        if let Some(office) = self.office.get() {
            *office.papers() = Papers::default();
            made_before(office, desk);
        }
    }

    fn throttled(&self, _request: &Request, after_s: u64) -> Reply {
        api::error(45009, "api freq out of limit").with("retry-after", &after_s.to_string())
    }

    fn failing(&self, _request: &Request, status: u16) -> Reply {
        Reply { status, ..api::error(-1, "system error") }
    }
}

/// What the app made before.
fn made_before(office: &Office, desk: &Desk) {
    schedule::seed(office);
    documents::seed(office);
    drive::seed(office);
    mail::seed(office, desk);
}

/// The id of something that the app made before, by its sort and name: the vendor lists none of them, so that
/// whoever uses them has kept them.
pub fn id_of(sort: &str, of: &str) -> String {
    mint(sort, of)
}

/// An id of this vendor's shape.
fn mint(sort: &str, of: &str) -> String {
    let hash = digest(&SHA256, format!("wecom/{sort}/{of}").as_bytes());
    let letters = encode::base62(hash.as_ref());
    let cut = |length: usize| letters.get(..length).unwrap_or_default();
    match sort {
        "calendar" => format!("wc{}", cut(30)),
        "event" => format!("wcs{}", cut(29)),
        "space" => format!("s.{CORP}.{}", cut(12)),
        "folder" | "file" => format!("s.{CORP}.{}_f.{}", cut(12), cut(8)),
        "document" | "sheet" => format!("dc{}", cut(40)),
        "openid" => format!("o{}", cut(27)),
        "external" => format!("wm{}", cut(30)),
        _ => cut(32).to_owned(),
    }
}
