//! Two people change the same record: neither overwrites what the other has just done.

use futures_util::future::join_all;
use serde_json::{Value, json};
use valetkey::app::demo::people::ALICE;
use valetkey::model::user::Role;

use crate::app::TestApp;
use crate::directory::Directory;
use crate::wire::Answer;

impl TestApp {
    async fn admin_if(&self, version: &str, method: &str, path: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {}", self.demo.cast.admin_token.expose());
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
            ("If-Match", version),
        ];
        self.traffic
            .send(method, &self.at(&format!("/api/v1{path}")), &headers, body.to_string().as_bytes())
            .await
    }
}

fn version(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    answer.header("etag").unwrap_or_else(|| panic!("no version: {}", answer.head)).to_owned()
}

#[actix_web::test]
async fn of_two_admins_who_read_the_same_the_second_is_told_to_read_again() {
    let app = TestApp::start().await;
    let audiences = app.admin("GET", "/audiences", &Value::Null).await.json();
    let audience = format!("/audiences/{}", audiences["items"][0]["id"].as_str().unwrap());
    let agent = format!("/agents/{}", app.assistant.id);
    let user = format!("/users/{}", app.user_id_of(ALICE).await);
    let restated = async |path: &str, name: &str, drop: &[&str]| {
        let mut whole = app.admin("GET", path, &Value::Null).await.json();
        whole.as_object_mut().unwrap().retain(|name, _| !drop.contains(&name.as_str()));
        whole["name"] = json!(name);
        whole
    };
    let views = ["id", "state", "created_at", "secrets", "flags"];
    for (method, path, first, second) in [
        ("PATCH", &agent, json!({ "name": "First" }), json!({ "name": "Second" })),
        ("PATCH", &user, json!({ "department": "First" }), json!({ "department": "Second" })),
        (
            "PUT",
            &audience,
            restated(&audience, "First", &views).await,
            restated(&audience, "Second", &views).await,
        ),
    ] {
        let read = version(&app.admin("GET", path, &Value::Null).await);
        let done = app.admin_if(&read, method, path, &first).await;
        let now = version(&done);
        assert_ne!(now, read, "{path}");
        let late = app.admin_if(&read, method, path, &second).await;
        assert_eq!(
            (late.status, &late.json()["code"]),
            (412, &json!("precondition_failed")),
            "{path}: {}",
            late.body_text()
        );
        let shown = app.admin("GET", path, &Value::Null).await;
        assert_eq!(version(&shown), now, "{path}: reading changes nothing");
        let member = if path == &user { "department" } else { "name" };
        assert_eq!(shown.json()[member], "First", "{path}");
        assert_eq!(version(&app.admin_if(&now, method, path, &second).await).len(), now.len());
        // Without a version, and with any, the last one counts.
        assert_eq!(app.admin(method, path, &first).await.status, 200);
        assert_eq!(app.admin_if("*", method, path, &second).await.status, 200);
        assert_eq!(app.admin_if("\"nonsense\"", method, path, &first).await.status, 412);
    }
    app.stops().await;
}

#[actix_web::test]
async fn changes_of_different_members_at_the_same_moment_are_all_kept() {
    let app = TestApp::start().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    let id = app.user_id_of(ALICE).await;
    let (agent, user) = (format!("/agents/{}", app.assistant.id), format!("/users/{id}"));
    for round in 0..5 {
        let said = format!("round {round}");
        let patch = |path: &String, member: &str| {
            let (app, path, body) = (&app, path.clone(), json!({ (member): said }));
            async move { app.admin("PATCH", &path, &body).await.status }
        };
        let in_groups = async {
            let body = json!({ "groups": [said] });
            app.admin("PATCH", &user, &body).await.status
        };
        let by_directory = async |path: &str| {
            let body = json!({ "Operations": [{ "op": "Replace", "path": path, "value": said }] });
            directory.sends(&app, "PATCH", &format!("/Users/{id}"), body).await.status
        };
        let agents =
            join_all(["name", "purpose", "platform", "environment"].map(|member| patch(&agent, member)));
        let (agents, department, groups, name, given) = tokio::join!(
            agents,
            patch(&user, "department"),
            in_groups,
            by_directory("displayName"),
            by_directory("name.givenName"),
        );
        assert_eq!((agents, department, groups, name, given), (vec![200; 4], 200, 200, 200, 200), "{said}");
        let shown = app.admin("GET", &agent, &Value::Null).await.json();
        for member in ["name", "purpose", "platform", "environment"] {
            assert_eq!(shown[member], json!(said), "{member}");
        }
        let shown = app.admin("GET", &user, &Value::Null).await.json();
        assert_eq!(
            (&shown["department"], &shown["groups"], &shown["name"]),
            (&json!(said), &json!([said]), &json!(said))
        );
        let person = directory.sends(&app, "GET", &format!("/Users/{id}"), Value::Null).await.json();
        assert_eq!(person["name"]["givenName"], json!(said));
    }
    app.stops().await;
}

#[actix_web::test]
async fn the_directory_can_hold_to_the_version_that_it_read() {
    let app = TestApp::start().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    let id = app.user_id_of(ALICE).await;
    let group = json!({ "displayName": "Finance", "members": [] });
    let group = directory.sends(&app, "POST", "/Groups", group).await.json()["id"].clone();
    let set = |path: &str, value: &str| json!({ "Operations": [{ "op": "replace", "path": path, "value": value }] });
    for path in [format!("/Users/{id}"), format!("/Groups/{}", group.as_str().unwrap())] {
        let read = directory.sends(&app, "GET", &path, Value::Null).await;
        let tag = version(&read);
        assert_eq!(read.json()["meta"]["version"], json!(tag));
        let first = directory.sends_if(&app, &tag, "PATCH", &path, set("displayName", "First")).await;
        assert!(first.status < 300, "{}", first.body_text());
        let now = first.header("etag").unwrap().to_owned();
        for method in ["PATCH", "PUT", "DELETE"] {
            let body = match method {
                "PATCH" => set("displayName", "Second"),
                "PUT" => json!({ "userName": ALICE, "displayName": "Second" }),
                _ => Value::Null,
            };
            let late = directory.sends_if(&app, &tag, method, &path, body).await;
            assert_eq!((late.status, &late.json()["status"]), (412, &json!("412")), "{method} {path}");
        }
        let shown = directory.sends(&app, "GET", &path, Value::Null).await;
        assert_eq!((version(&shown), &shown.json()["displayName"]), (now.clone(), &json!("First")));
        // As it names weak versions in its examples (RFC 7644, section 3.14).
        let weak = format!("W/{now}");
        assert!(
            directory.sends_if(&app, &weak, "PATCH", &path, set("displayName", "Third")).await.status < 300
        );
    }
    let offered = directory.sends(&app, "GET", "/ServiceProviderConfig", Value::Null).await.json();
    assert_eq!(offered["etag"]["supported"], true);
    app.stops().await;
}
