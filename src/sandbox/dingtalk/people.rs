//! Who the user is, what they authorised, and messages of the app's robot to people.

use serde_json::{Value, json};

use crate::sandbox::office::Message;

use super::api::{Answer, Call, Refusal, Route, app, ok, user};
use super::{open_id, union_id, user_id};

/// The user's own record.
pub(super) const ME: &str = "/v1.0/contact/users/me";

pub(super) const ROUTES: &[Route] = &[
    user("GET /v1.0/contact/users/{unionId}", profile),
    user("GET /v1.0/oauth2/authRules/user", authorized),
    app("POST /v1.0/robot/oToMessages/batchSend", send),
];

fn profile(call: &Call<'_>) -> Answer {
    let me = call.user()?;
    let asked = call.path.get("unionId");
    let person = if asked == "me" || asked == union_id(&me.email) {
        Some(me.clone())
    } else {
        super::employee(call.desk, asked).filter(|_| me.employee)
    };
    let person = person.ok_or(Refusal::new(400, "cannot.find.user", "The user does not exist."))?;
    // No company is in here: it comes with the token, under the scope `corpid`.
    ok(json!({
        "nick": person.name_zh,
        "avatarUrl": "https://static-legacy.dingtalk.com/media/avatar.png",
        "mobile": person.mobile.trim_start_matches("+86"),
        "stateCode": "86",
        "openId": open_id(&person.email),
        "unionId": union_id(&person.email),
        "email": person.email,
    }))
}

fn authorized(call: &Call<'_>) -> Answer {
    call.user()?;
    ok(json!({"result": [
        {"resource": "Contact.User", "authItems": ["mobile"]},
        {"resource": "rpc_auth", "authItems": ["Contact.User.Read"]},
    ]}))
}

/// One message of the app's robot to some people, by their user ids.
fn send(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let needed = Refusal::new(400, "invalidParameter", "robotCode, userIds, msgKey and msgParam are needed.");
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(_), Some(_), Some(param)) = (text("robotCode"), text("msgKey"), text("msgParam")) else {
        return Err(needed);
    };
    let ids = body.get("userIds").and_then(Value::as_array).filter(|ids| (1..=20).contains(&ids.len()));
    let ids: Vec<&str> = ids.ok_or(needed)?.iter().filter_map(Value::as_str).collect();
    let people = call.desk.world(|world| world.employees().map(user_id).collect::<Vec<_>>());
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        ids.into_iter().partition(|id| people.iter().any(|p| p == id));
    let mut papers = call.office.papers();
    for id in known {
        let message = Message {
            id: call.office.id(&mut papers, "message"),
            chat: id.to_owned(),
            from: "robot".to_owned(),
            text: param.to_owned(),
            at: call.office.now(),
            parent: None,
            recalled: false,
        };
        papers.messages.push(message);
    }
    let key = call.office.id(&mut papers, "process");
    ok(json!({"processQueryKey": key, "invalidStaffIdList": unknown, "flowControlledStaffIdList": []}))
}
