//! To-dos: one route for the user's own token, the rest for the app's.

use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::sandbox::office::Todo;

use super::api::{Answer, Call, Refusal, Route, app, ok, user};
use super::{employee, union_id};

pub(super) const ROUTES: &[Route] = &[
    user("POST /v1.0/todo/users/me/personalTasks", create_personal),
    app("POST /v1.0/todo/users/{unionId}/org/tasks/query", query),
    app("POST /v1.0/todo/users/{unionId}/tasks", create),
    app("PUT /v1.0/todo/users/{unionId}/tasks/{taskId}", update),
    app("DELETE /v1.0/todo/users/{unionId}/tasks/{taskId}", delete),
];

const INVALID: Refusal = Refusal::new(400, "todo.taskCreate.paramError", "todo.taskCreate.paramError");

fn text(body: &Value, name: &str) -> Option<String> {
    body.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// Enters a to-do for each executor that a request names, or for `creator` when it names none.
fn enter(call: &Call<'_>, body: &Value, creator: &str) -> Result<Todo, Refusal> {
    let subject = text(body, "subject").filter(|subject| (1..=1024).contains(&subject.chars().count()));
    let subject = subject.ok_or(INVALID)?;
    let mut owners = vec![creator.to_owned()];
    if let Some(ids) = body.get("executorIds").and_then(Value::as_array).filter(|ids| !ids.is_empty()) {
        let people: Option<Vec<String>> =
            ids.iter().map(|id| Some(employee(call.desk, id.as_str()?)?.email)).collect();
        owners = people.ok_or(INVALID)?;
    }
    let now = call.office.now();
    let due = match body.get("dueTime") {
        Some(millis) => Timestamp::from_millis(millis.as_i64().ok_or(INVALID)?),
        None => now,
    };
    let mut papers = call.office.papers();
    let mut todo = Todo {
        id: call.office.id(&mut papers, "todo"),
        owner: creator.to_owned(),
        subject,
        description: text(body, "description").unwrap_or_default(),
        due,
        done: false,
        created: now,
    };
    for owner in owners {
        todo.owner = owner;
        papers.todos.push(todo.clone());
    }
    Ok(todo)
}

fn create_personal(call: &Call<'_>) -> Answer {
    let me = call.user()?.email.clone();
    let todo = enter(call, &call.body()?, &me)?;
    ok(json!({"taskId": todo.id, "createdTime": todo.created.millis()}))
}

fn create(call: &Call<'_>) -> Answer {
    let owner = call.owner("unionId")?;
    let body = call.body()?;
    let todo = enter(call, &body, &owner.email)?;
    ok(json!({
        "id": todo.id,
        "subject": todo.subject,
        "description": todo.description,
        "dueTime": todo.due.millis(),
        "done": false,
        "executorIds": body.get("executorIds").cloned().unwrap_or_else(|| json!([union_id(&owner.email)])),
        "creatorId": union_id(&owner.email),
        "createdTime": todo.created.millis(),
        "modifiedTime": todo.created.millis(),
    }))
}

fn query(call: &Call<'_>) -> Answer {
    let owner = call.owner("unionId")?;
    let body = call.body()?;
    let done = body.get("isDone").and_then(Value::as_bool);
    let cards = {
        let papers = call.office.papers();
        let own =
            papers.todos.iter().filter(|t| t.owner == owner.email && done.is_none_or(|done| t.done == done));
        let card = |todo: &Todo| {
            json!({
                "taskId": todo.id, "subject": todo.subject, "dueTime": todo.due.millis(), "priority": 20,
                "createdTime": todo.created.millis(), "modifiedTime": todo.created.millis(),
                "creatorId": union_id(&todo.owner), "isDone": todo.done,
            })
        };
        own.map(card).collect()
    };
    call.paged("todoCards", cards, 20, None, body.get("nextToken").and_then(Value::as_str))
}

/// Changes the to-dos of that id in the list of the person in the path.
fn find(call: &Call<'_>) -> Result<(String, String), Refusal> {
    let owner = call.owner("unionId")?.email;
    let id = call.path.get("taskId").to_owned();
    let known = call.office.papers().todos.iter().any(|todo| todo.id == id && todo.owner == owner);
    if known {
        Ok((owner, id))
    } else {
        Err(Refusal::new(400, "data.not.exists", "The task does not exist."))
    }
}

fn update(call: &Call<'_>) -> Answer {
    let (owner, id) = find(call)?;
    let body = call.body()?;
    let mut papers = call.office.papers();
    for todo in papers.todos.iter_mut().filter(|todo| todo.id == id && todo.owner == owner) {
        todo.subject = text(&body, "subject").unwrap_or_else(|| todo.subject.clone());
        todo.description = text(&body, "description").unwrap_or_else(|| todo.description.clone());
        todo.done = body.get("done").and_then(Value::as_bool).unwrap_or(todo.done);
        let due = body.get("dueTime").and_then(Value::as_i64).map(Timestamp::from_millis);
        todo.due = due.unwrap_or(todo.due);
    }
    ok(json!({"result": true}))
}

fn delete(call: &Call<'_>) -> Answer {
    let (owner, id) = find(call)?;
    call.office.papers().todos.retain(|todo| todo.id != id || todo.owner != owner);
    ok(json!({"result": true}))
}
