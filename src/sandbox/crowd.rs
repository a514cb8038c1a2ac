//! Many employees at once, each as if they had signed in and consented: for measurements.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::sandbox::control::problem;
use crate::sandbox::desk::Desk;
use crate::sandbox::tokens::{self, Facts};
use crate::sandbox::wire::Reply;

const MOST: u64 = 100_000;
const REFRESH_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// How many people.
    count: u64,
    /// What each of them has granted, separated by spaces.
    scopes: String,
}

/// Enters people, and answers their e-mails with a refresh token each.
pub(super) fn enter(desk: &Desk, body: &[u8]) -> Reply {
    let Ok(wanted) = serde_json::from_slice::<Wanted>(body) else {
        return problem(400, "write {\"count\": …, \"scopes\": \"…\"}");
    };
    let Some(client) = desk.clients.first().filter(|_| (1..=MOST).contains(&wanted.count)) else {
        return problem(400, "`count` is from 1 to 100000");
    };
    let emails: Vec<String> = (0..wanted.count).map(|n| format!("employee-{n:06}@example.com")).collect();
    desk.world(|world| emails.iter().for_each(|email| world.enter(email)));
    let token = |email: &String| {
        let facts = Facts {
            email: Some(email.clone()),
            client_id: client.id.clone(),
            scopes: tokens::scopes(&wanted.scopes),
            auth_time: desk.now(),
            nonce: None,
            family: desk.book.new_family(),
        };
        json!({"email": email, "refresh_token": desk.book.issue_refresh(facts, REFRESH_LIFETIME, "")})
    };
    Reply::json(200, &Value::Array(emails.iter().map(token).collect()))
}
