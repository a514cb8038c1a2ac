//! Members, departments and customers in the app's visible range; approvals, which this app has no right to.

use serde_json::{Value, json};

use crate::sandbox::world::Person;

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::mint;

pub(super) const ROUTES: &[Route] = &[
    route("GET /user/get", user),
    route("GET /user/list", users),
    route("GET /user/simplelist", simple_users),
    route("POST /user/list_id", user_ids),
    route("GET /department/list", departments),
    route("GET /tag/list", tags),
    route("GET /externalcontact/list", customers),
    route("GET /externalcontact/get", customer),
    route("POST /oa/getapprovalinfo", approvals),
    route("POST /oa/getapprovaldetail", approvals),
];

fn members(call: &Call<'_>) -> Vec<Person> {
    call.desk.world(|world| world.employees().cloned().collect())
}

/// Departments by number: 1 is the company, then one for each name.
fn department_ids(call: &Call<'_>) -> Vec<(u64, String)> {
    let mut names: Vec<String> = members(call).into_iter().map(|person| person.department).collect();
    names.sort_unstable();
    names.dedup();
    (2..).zip(names).collect()
}

fn department_of(call: &Call<'_>, person: &Person) -> u64 {
    let known = department_ids(call);
    known.iter().find(|(_, name)| *name == person.department).map_or(1, |(id, _)| *id)
}

fn shown(call: &Call<'_>, person: &Person) -> Value {
    json!({
        "userid": person.key, "name": person.name_zh, "department": [department_of(call, person)],
        "position": person.title, "alias": person.given, "status": 1, "isleader": 0, "enable": 1,
    })
}

fn user(call: &Call<'_>) -> Answer {
    let id = call.query.filled("userid").ok_or(Refusal::parameter())?;
    let person = call.member(id).ok_or(Refusal::new(60111, "userid not found"))?;
    ok(shown(call, &person))
}

/// The members of the department in the query.
fn listed(call: &Call<'_>) -> Result<Vec<Person>, Refusal> {
    let wanted: u64 =
        call.query.filled("department_id").and_then(|id| id.parse().ok()).ok_or(Refusal::parameter())?;
    if wanted != 1 && !department_ids(call).iter().any(|(id, _)| *id == wanted) {
        return Err(Refusal::new(60011, "no privilege to access/modify contact/party/agent"));
    }
    let inside = |person: &Person| wanted == 1 || department_of(call, person) == wanted;
    Ok(members(call).into_iter().filter(inside).collect())
}

fn users(call: &Call<'_>) -> Answer {
    let list: Vec<Value> = listed(call)?.iter().map(|person| shown(call, person)).collect();
    ok(json!({"userlist": list}))
}

fn simple_users(call: &Call<'_>) -> Answer {
    let short = |person: &Person| json!({"userid": person.key, "name": person.name_zh, "department": [department_of(call, person)]});
    let list: Vec<Value> = listed(call)?.iter().map(short).collect();
    ok(json!({"userlist": list}))
}

fn user_ids(call: &Call<'_>) -> Answer {
    let all = members(call);
    let list =
        all.iter().map(|person| json!({"userid": person.key, "department": department_of(call, person)}));
    ok(json!({"next_cursor": "", "dept_user": list.collect::<Vec<_>>()}))
}

fn departments(call: &Call<'_>) -> Answer {
    let mut list = vec![json!({"id": 1, "name": "Example", "parentid": 0, "order": 1})];
    let below = department_ids(call).into_iter();
    list.extend(below.map(|(id, name)| json!({"id": id, "name": name, "parentid": 1, "order": id})));
    ok(json!({"department": list}))
}

fn tags(_call: &Call<'_>) -> Answer {
    ok(json!({"taglist": []}))
}

fn customers(call: &Call<'_>) -> Answer {
    let id = call.query.filled("userid").ok_or(Refusal::parameter())?;
    let person = call.member(id).ok_or(Refusal::new(60111, "userid not found"))?;
    let list: Vec<String> = person.contacts.iter().map(|c| mint("external", &c.address.email)).collect();
    ok(json!({"external_userid": list}))
}

fn customer(call: &Call<'_>) -> Answer {
    let id = call.query.filled("external_userid").ok_or(Refusal::parameter())?;
    let all = members(call);
    let owners = all.iter().flat_map(|person| person.contacts.iter().map(move |contact| (person, contact)));
    let known: Vec<_> =
        owners.filter(|(_, contact)| mint("external", &contact.address.email) == id).collect();
    let (_, contact) = known.first().ok_or(Refusal::new(84061, "not external contact"))?;
    let follow: Vec<Value> =
        known.iter().map(|(person, _)| json!({"userid": person.key, "remark": ""})).collect();
    ok(json!({
        "external_contact": {
            "external_userid": id, "name": contact.address.name, "corp_name": contact.company, "type": 2,
        },
        "follow_user": follow,
    }))
}

fn approvals(_call: &Call<'_>) -> Answer {
    Err(Refusal::new(301_055, "no approval auth"))
}
