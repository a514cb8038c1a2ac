//! People and departments, as far as the user sees them.

use serde_json::{Value, json};

use crate::sandbox::world::Person;

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::{mint, open_id, union_id, user_id};

const BASE: &[&str] = &["contact:contact.base:readonly"];

pub(super) const ROUTES: &[Route] = &[
    route("GET /contact/v3/users/batch", BASE, several),
    route("GET /contact/v3/users/find_by_department", BASE, by_department),
    route("POST /contact/v3/users/basic_batch", &["contact:user.basic_profile:readonly"], basic),
    route("GET /contact/v3/users/{user_id}", BASE, user),
    route("POST /contact/v3/departments/search", BASE, search_departments),
    route("GET /contact/v3/departments/{department_id}", BASE, department),
    route("GET /contact/v3/departments/{department_id}/children", BASE, departments_below),
    route("GET /search/v1/user", &["contact:user:search"], search),
];

fn seen(call: &Call<'_>) -> Vec<Person> {
    if call.person.employee { call.desk.world(|w| w.employees().cloned().collect()) } else { Vec::new() }
}

fn department_id(name: &str) -> String {
    mint("department", name)
}

/// A person with the fields that the token's scopes open.
fn shown(call: &Call<'_>, person: &Person) -> Value {
    let mut shown = json!({"open_id": open_id(&person.email), "union_id": union_id(&person.email)});
    let by_scope = [
        ("contact:user.base:readonly", "name", json!(person.name_zh)),
        ("contact:user.base:readonly", "en_name", json!(person.name)),
        ("contact:user.email:readonly", "email", json!(person.email)),
        ("contact:user.phone:readonly", "mobile", json!(person.mobile)),
        ("contact:user.employee_id:readonly", "user_id", json!(user_id(&person.email))),
        ("contact:user.employee:readonly", "job_title", json!(person.title)),
        ("contact:user.employee:readonly", "employee_no", json!(person.id.to_string())),
        ("contact:user.department:readonly", "department_ids", json!([department_id(&person.department)])),
    ];
    if let Some(members) = shown.as_object_mut() {
        for (scope, name, value) in by_scope {
            if call.scopes.contains(scope) {
                members.insert(name.to_owned(), value);
            }
        }
    }
    shown
}

fn user(call: &Call<'_>) -> Answer {
    let person = call.employee(call.path.get("user_id")).filter(|_| call.person.employee);
    let person = person.ok_or_else(|| Refusal::new(400, 41_012, "user id invalid error"))?;
    ok(json!({"user": shown(call, &person)}))
}

fn several(call: &Call<'_>) -> Answer {
    let ids: Vec<&str> =
        call.query.iter().filter(|(name, _)| *name == "user_ids").map(|(_, id)| id).collect();
    if ids.is_empty() || ids.len() > 50 {
        return Err(Refusal::new(400, 40_001, "invalid parameter"));
    }
    let known = seen(call);
    let found =
        known.iter().filter(|p| ids.iter().any(|id| call.employee(id).is_some_and(|e| e.email == p.email)));
    ok(json!({"items": found.map(|person| shown(call, person)).collect::<Vec<_>>()}))
}

fn by_department(call: &Call<'_>) -> Answer {
    let wanted =
        call.query.filled("department_id").ok_or_else(|| Refusal::new(400, 40_001, "invalid parameter"))?;
    let all = wanted == "0";
    let found = seen(call).into_iter().filter(|p| all || department_id(&p.department) == wanted);
    call.list("items", found.map(|person| shown(call, &person)).collect(), 10, 50)
}

fn basic(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let ids = body.get("user_ids").and_then(Value::as_array).filter(|ids| (1..=10).contains(&ids.len()));
    let ids = ids.ok_or_else(|| Refusal::new(400, 40_001, "invalid parameter"))?;
    let people = ids.iter().filter_map(Value::as_str).filter_map(|id| Some((id, call.employee(id)?)));
    let users = people.map(
        |(id, person)| json!({"user_id": id, "name": person.name_zh, "i18n_name": {"en_us": person.name}}),
    );
    ok(json!({"users": users.collect::<Vec<_>>()}))
}

fn departments(call: &Call<'_>) -> Vec<Value> {
    let people = seen(call);
    let mut names: Vec<&str> = people.iter().map(|person| person.department.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let shown = |name: &str| {
        json!({
            "name": name, "parent_department_id": "0", "open_department_id": department_id(name),
            "department_id": user_id(name), "status": {"is_deleted": false},
            "member_count": people.iter().filter(|person| person.department == name).count(),
        })
    };
    names.into_iter().map(shown).collect()
}

fn department(call: &Call<'_>) -> Answer {
    let id = json!(call.path.get("department_id"));
    let found = departments(call).into_iter().find(|d| d.get("open_department_id") == Some(&id));
    ok(json!({"department": found.ok_or_else(|| Refusal::new(403, 40_004, "no dept authority error"))?}))
}

fn departments_below(call: &Call<'_>) -> Answer {
    let below = if call.path.get("department_id") == "0" { departments(call) } else { Vec::new() };
    call.list("items", below, 10, 50)
}

fn search_departments(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let wanted = body.get("query").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let name = |d: &Value| d.get("name").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let found = departments(call).into_iter().filter(|d| name(d).contains(&wanted)).collect();
    call.list("items", found, 20, 50)
}

fn search(call: &Call<'_>) -> Answer {
    let wanted = call.query.filled("query").ok_or_else(|| Refusal::new(400, 40_001, "invalid parameter"))?;
    let wanted = wanted.to_lowercase();
    let found: Vec<Value> = (seen(call).iter())
        .filter(|p| p.name.to_lowercase().contains(&wanted) || p.name_zh.contains(&wanted))
        .map(|p| {
            json!({
                "avatar": {}, "department_ids": [department_id(&p.department)], "name": p.name_zh,
                "open_id": open_id(&p.email),
            })
        })
        .collect();
    call.list("users", found, 20, 200)
}
