//! The old API: HTTP 200 with `errcode`, the app's token in the query.

use serde_json::{Value, json};

use crate::sandbox::desk::Desk;
use crate::sandbox::tokens::AccessRefusal;
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::Person;

use super::{union_id, user_id};

/// An error answer.
pub(super) fn error(code: i64, message: &str) -> Reply {
    Reply::json(200, &json!({"errcode": code, "errmsg": message, "request_id": "5q1z2x3c4v5b"}))
}

fn ok(result: &Value) -> Reply {
    Reply::json(200, &json!({"errcode": 0, "errmsg": "ok", "result": result, "request_id": "5q1z2x3c4v5b"}))
}

/// Answers the routes that the app may call.
pub(super) fn answer(desk: &Desk, request: &Request) -> Reply {
    let run: fn(&Desk, &Value) -> Reply = match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/topapi/user/getbyunionid") => by_union_id,
        ("POST", "/topapi/v2/user/get") => user,
        ("POST", "/topapi/user/listid") => users_of_department,
        ("POST", "/topapi/v2/department/get") => department,
        ("POST", "/topapi/v2/department/listsub") => departments,
        _ => return Reply::bytes(404, "text/html", "<html><body>404 Not Found</body></html>"),
    };
    let query = request.params();
    let Some(token) = query.filled("access_token") else { return error(41001, "missing access_token") };
    match desk.book.access(token) {
        // A user's token is none that this API knows.
        Ok(facts) if facts.email.is_none() => {}
        Err(AccessRefusal::Expired) => return error(42001, "access_token expired"),
        _ => return error(40014, "invalid access_token"),
    }
    match body(request) {
        Some(body) => run(desk, &body),
        None => error(40035, "invalid parameter"),
    }
}

/// This API takes JSON and forms alike; a form's members become texts.
fn body(request: &Request) -> Option<Value> {
    if let Ok(form) = request.form() {
        return Some(form.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect());
    }
    request.json().ok().filter(Value::is_object)
}

fn employees(desk: &Desk) -> Vec<Person> {
    desk.world(|world| world.employees().cloned().collect())
}

fn text(body: &Value, name: &str) -> String {
    match body.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn by_union_id(desk: &Desk, body: &Value) -> Reply {
    let union = text(body, "unionid");
    match employees(desk).iter().find(|person| union_id(&person.email) == union) {
        Some(person) => ok(&json!({"contact_type": 0, "userid": user_id(person)})),
        None => error(60121, "the user is not in the enterprise"),
    }
}

/// Departments by number: 1 is the company, then one for each name.
fn department_ids(desk: &Desk) -> Vec<(u64, String)> {
    let mut names: Vec<String> = employees(desk).into_iter().map(|person| person.department).collect();
    names.sort_unstable();
    names.dedup();
    (2..).zip(names).collect()
}

fn user(desk: &Desk, body: &Value) -> Reply {
    let id = text(body, "userid");
    let Some(person) = employees(desk).into_iter().find(|person| user_id(person) == id) else {
        return error(60121, "the user is not in the enterprise");
    };
    let departments = department_ids(desk);
    let department = departments.iter().find(|(_, name)| *name == person.department).map(|(id, _)| *id);
    ok(&json!({
        "userid": id,
        "unionid": union_id(&person.email),
        "name": person.name_zh,
        "title": person.title,
        "mobile": person.mobile.trim_start_matches("+86"),
        "state_code": "86",
        "email": person.email,
        "org_email": person.email,
        "active": true,
        "admin": false,
        "boss": false,
        "dept_id_list": department.into_iter().collect::<Vec<_>>(),
    }))
}

fn users_of_department(desk: &Desk, body: &Value) -> Reply {
    let wanted = text(body, "dept_id");
    let departments = department_ids(desk);
    let name = departments.iter().find(|(id, _)| id.to_string() == wanted).map(|(_, name)| name);
    let people = employees(desk).into_iter().filter(|p| wanted == "1" || Some(&p.department) == name);
    ok(&json!({"userid_list": people.map(|person| user_id(&person)).collect::<Vec<_>>()}))
}

fn department(desk: &Desk, body: &Value) -> Reply {
    let wanted = text(body, "dept_id");
    if wanted == "1" {
        return ok(&json!({"dept_id": 1, "name": "Example", "parent_id": 0}));
    }
    match department_ids(desk).into_iter().find(|(id, _)| id.to_string() == wanted) {
        Some((id, name)) => ok(&json!({"dept_id": id, "name": name, "parent_id": 1})),
        None => error(60003, "the department does not exist"),
    }
}

fn departments(desk: &Desk, body: &Value) -> Reply {
    let wanted = text(body, "dept_id");
    if !matches!(wanted.as_str(), "" | "1") {
        return ok(&json!([]));
    }
    let shown = |(id, name): (u64, String)| json!({"dept_id": id, "name": name, "parent_id": 1});
    ok(&department_ids(desk).into_iter().map(shown).collect())
}
