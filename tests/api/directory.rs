//! The company's directory as it really speaks SCIM: it finds, enters, changes and deactivates people, and
//! whoever it deactivates is refused on the next request.

use std::time::Instant;

use serde_json::{Value, json};
use valetkey::app::demo::people::{ALICE, BOB};
use valetkey::kernel::bearer::{self, BearerKind};
use valetkey::kernel::ids::AdminTokenId;
use valetkey::model::user::{AdminToken, Role};
use valetkey::store::{Committed, Tx};

use crate::app::TestApp;
use crate::wire::Answer;

const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The company's directory, with a token of its own.
pub struct Directory {
    token: String,
}

impl Directory {
    pub async fn of(app: &TestApp, role: Role) -> Self {
        let services = &app.demo.services;
        let secret = bearer::generate(BearerKind::AdminToken, services.entropy.as_ref());
        let mut tx = Tx::new();
        tx.insert(&AdminToken {
            id: AdminTokenId::generate(services.entropy.as_ref()),
            digest: services.vault.digest(BearerKind::AdminToken, secret.expose()),
            name: "directory".to_owned(),
            role,
            created_at: services.clock.now(),
            expires_at: None,
        });
        assert_eq!(services.store.commit(tx).await.unwrap(), Committed::Done);
        Self { token: secret.expose().clone() }
    }

    pub async fn sends(&self, app: &TestApp, method: &str, path: &str, body: Value) -> Answer {
        self.sends_if(app, "*", method, path, body).await
    }

    /// For the version that it has read.
    pub async fn sends_if(
        &self,
        app: &TestApp,
        version: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> Answer {
        let token = format!("Bearer {}", self.token);
        let headers = [
            ("Authorization", token.as_str()),
            ("Content-Type", "application/scim+json; charset=utf-8"),
            ("If-Match", version),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        app.traffic.send(method, &app.at(&format!("/scim/v2{path}")), &headers, body.as_bytes()).await
    }

    async fn finds(&self, app: &TestApp, filter: &str) -> Vec<Value> {
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("filter", filter).finish();
        let answer = self.sends(app, "GET", &format!("/Users?{query}"), Value::Null).await;
        assert_eq!(answer.status, 200, "{filter}: {}", answer.body_text());
        let found = answer.json();
        found["Resources"].as_array().unwrap().clone()
    }

    async fn patches(&self, app: &TestApp, id: &str, operations: Value) -> Answer {
        let body = json!({ "schemas": [PATCH], "Operations": operations });
        self.sends(app, "PATCH", &format!("/Users/{id}"), body).await
    }
}

#[actix_web::test]
async fn whom_the_directory_deactivates_is_refused_on_the_next_request() {
    for (form, operations) in [
        ("as Entra sends it", json!([{ "op": "Replace", "path": "active", "value": "False" }])),
        ("as Okta sends it", json!([{ "op": "replace", "value": { "active": false } }])),
    ] {
        let mut app = TestApp::start().await;
        let alice = app.everything_of_alice().await;
        let directory = Directory::of(&app, Role::Provisioner).await;
        // She has signed in before the directory ever spoke of her: it finds her all the same.
        let found = directory.finds(&app, &format!("userName eq \"{}\"", ALICE.to_uppercase())).await;
        let id = found[0]["id"].as_str().unwrap().to_owned();
        assert_eq!(id, app.user_id_of(ALICE).await.as_str());
        let began = Instant::now();
        let patched = directory.patches(&app, &id, operations).await;
        assert_eq!(
            (patched.status, &patched.json()["active"]),
            (200, &json!(false)),
            "{}",
            patched.body_text()
        );
        let answered = began.elapsed();
        assert_eq!(app.okta_call(&alice.gateway_token).await.status, 401, "{form}");
        println!(
            "{form}: answered after {answered:?}, the first refused call {:?} after it was sent",
            began.elapsed()
        );
        app.nothing_acts_as(&alice).await;
        let back = directory
            .patches(&app, &id, json!([{ "op": "Replace", "path": "active", "value": "True" }]))
            .await;
        assert_eq!(back.json()["active"], true);
        assert_eq!(app.okta_call(&alice.gateway_token).await.status, 401);
        app.stops().await;
    }
}

#[actix_web::test]
async fn the_directory_enters_changes_and_removes_people() {
    let app = TestApp::start().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    let carol = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "userName": "carol@example.com", "externalId": "00u-carol", "active": true,
        "name": { "givenName": "Carol", "familyName": "Example" }, "title": "Counsel", "password": "unused",
        "emails": [{ "value": "other@example.com", "type": "home" }, { "value": "carol@example.com", "type": "work", "primary": "True" }],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Legal", "manager": { "value": "1" } },
    });
    let made = directory.sends(&app, "POST", "/Users", carol.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body_text());
    let made = made.json();
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(made.get("password").is_none() && made.get("title").is_none());
    assert_eq!(
        (&made["displayName"], &made["emails"][0]["value"]),
        (&json!("Carol Example"), &json!("carol@example.com"))
    );
    // She is the one who will sign in: the same issuer, and that subject.
    let user = app.admin("GET", &format!("/users/{id}"), &Value::Null).await.json();
    let alice = app.admin("GET", &format!("/users?email={ALICE}"), &Value::Null).await.json();
    assert_eq!((&user["issuer"], &user["subject"]), (&alice["items"][0]["issuer"], &json!("00u-carol")));
    assert_eq!(
        (&user["department"], &user["directory_name"]),
        (&json!("Legal"), &json!("carol@example.com"))
    );
    // Twice is once, by either name.
    let twice = directory.sends(&app, "POST", "/Users", carol.clone()).await;
    assert_eq!((twice.status, &twice.json()["scimType"]), (409, &json!("uniqueness")));
    let mut other = carol.clone();
    other["externalId"] = json!("00u-other");
    assert_eq!(directory.sends(&app, "POST", "/Users", other).await.status, 409);
    for filter in
        ["userName eq \"CAROL@example.com\"", "externalId eq \"00u-carol\"", &format!("id eq \"{id}\"")]
    {
        assert_eq!(directory.finds(&app, filter).await.len(), 1, "{filter}");
    }
    assert_eq!(directory.finds(&app, "externalId eq \"00u-nobody\"").await.len(), 0);

    let moved = directory.patches(&app, &id, json!([
        { "op": "Replace", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "Sales" },
        { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "carol.new@example.com" },
    ]));
    assert_eq!(moved.await.status, 200);
    let user = app.admin("GET", &format!("/users/{id}"), &Value::Null).await.json();
    assert_eq!((&user["department"], &user["email"]), (&json!("Sales"), &json!("carol.new@example.com")));
    // A whole representation takes the place of the former: what it leaves out is gone.
    let whole = json!({ "userName": "carol@example.com", "externalId": "00u-carol", "displayName": "Carol E.", "active": false });
    let replaced = directory.sends(&app, "PUT", &format!("/Users/{id}"), whole).await;
    assert_eq!(
        (replaced.status, &replaced.json()["active"]),
        (200, &json!(false)),
        "{}",
        replaced.body_text()
    );
    let user = app.admin("GET", &format!("/users/{id}"), &Value::Null).await.json();
    assert_eq!((&user["department"], &user["state"]), (&Value::Null, &json!("disabled")));

    assert_eq!(directory.sends(&app, "DELETE", &format!("/Users/{id}"), Value::Null).await.status, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(directory.sends(&app, method, &format!("/Users/{id}"), Value::Null).await.status, 404);
    }
    assert_eq!(directory.finds(&app, "userName eq \"carol@example.com\"").await.len(), 0);
    // She comes back under the same identifier: she is the same person.
    let again = directory.sends(&app, "POST", "/Users", carol).await;
    assert_eq!((again.status, &again.json()["id"]), (201, &json!(id)), "{}", again.body_text());
    assert_eq!(again.json()["active"], true);
    app.stops().await;
}

#[actix_web::test]
async fn whoever_gets_the_name_of_somebody_who_left_is_somebody_else() {
    let app = TestApp::start().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    let named = |external: &str| json!({ "userName": "carol@example.com", "externalId": external });
    let first = directory.sends(&app, "POST", "/Users", named("00u-carol")).await.json();
    let first = first["id"].as_str().unwrap().to_owned();
    assert_eq!(directory.sends(&app, "DELETE", &format!("/Users/{first}"), Value::Null).await.status, 204);
    let second = directory.sends(&app, "POST", "/Users", named("00u-another-carol")).await;
    assert_eq!(second.status, 201, "{}", second.body_text());
    assert_ne!(second.text("id"), first);
    let state = async |id: &str| app.admin("GET", &format!("/users/{id}"), &Value::Null).await.text("state");
    assert_eq!((state(&first).await, state(&second.text("id")).await), ("disabled".into(), "active".into()));
    // Nor is somebody who signs in here entered once more, as a second person who could be sent away alone.
    let twice = json!({ "userName": BOB, "externalId": "00u-not-bob" });
    assert_eq!(directory.sends(&app, "POST", "/Users", twice).await.status, 409);
    app.stops().await;
}

#[actix_web::test]
async fn whoever_leaves_is_out_although_somebody_else_has_their_name() {
    let mut app = TestApp::start().await;
    let alice = app.everything_of_alice().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    let entered = async |external: &str, name: &str| {
        let person = json!({ "userName": name, "externalId": external, "active": false });
        directory.sends(&app, "POST", "/Users", person).await.text("id")
    };
    // The directory has given her address to somebody who is deactivated, before it ever spoke of her.
    let carol = entered("00u-carol", "carol@example.com").await;
    let renamed = json!([{ "op": "replace", "path": "userName", "value": ALICE }]);
    assert_eq!(directory.patches(&app, &carol, renamed).await.status, 200);
    entered("00u-dave", "dave@example.com").await;
    let id = app.user_id_of(ALICE).await.to_string();
    let state =
        async |app: &TestApp| app.admin("GET", &format!("/users/{id}"), &Value::Null).await.text("state");

    let out = json!([{ "op": "replace", "path": "active", "value": false }]);
    let patched = directory.patches(&app, &id, out).await;
    assert_eq!((patched.status, state(&app).await.as_str()), (200, "disabled"), "{}", patched.body_text());
    app.nothing_acts_as(&alice).await;
    // Under that name nobody comes back while somebody else has it.
    let back = json!([{ "op": "replace", "path": "active", "value": true }]);
    assert_eq!(directory.patches(&app, &id, back).await.status, 409);
    assert_eq!(state(&app).await, "disabled");

    // A name that is refused keeps nobody in either.
    app.admin_does(&format!("/users/{id}/restore"), &json!({})).await;
    assert_eq!(state(&app).await, "active");
    let taken = json!({ "userName": "dave@example.com", "active": false });
    let stated = directory.sends(&app, "PUT", &format!("/Users/{id}"), taken).await;
    assert_eq!((stated.status, state(&app).await.as_str()), (409, "disabled"), "{}", stated.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn what_the_directory_does_not_say_brings_nobody_back() {
    let app = TestApp::start().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    let carol = json!({ "userName": "carol@example.com", "externalId": "00u-carol" });
    let id = directory.sends(&app, "POST", "/Users", carol.clone()).await.text("id");
    app.admin_does(&format!("/users/{id}/depart"), &json!({})).await;
    let stated = directory.sends(&app, "PUT", &format!("/Users/{id}"), carol).await;
    assert_eq!((stated.status, &stated.json()["active"]), (200, &json!(false)), "{}", stated.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn whoever_has_signed_in_is_adopted_and_not_entered_twice() {
    let app = TestApp::start().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    let bob = app.user_id_of(BOB).await;
    let user = app.admin("GET", &format!("/users/{bob}"), &Value::Null).await.json();
    let subject = user["subject"].as_str().unwrap();
    let person = json!({ "userName": "bob.example", "externalId": subject, "active": true, "displayName": "Bob",
        "emails": [{ "value": BOB }] });
    let made = directory.sends(&app, "POST", "/Users", person).await;
    assert_eq!((made.status, &made.json()["id"]), (201, &json!(bob)), "{}", made.body_text());
    assert_eq!(made.json()["groups"][0]["display"], "staff");
    let count = app.admin("GET", "/users", &Value::Null).await.json()["items"].as_array().unwrap().len();
    assert_eq!(count, 2);
    // Without an identifier nobody new is entered: a sign-in could never be theirs.
    let nobody = json!({ "userName": "new@example.com", "active": true });
    let refused = directory.sends(&app, "POST", "/Users", nobody).await;
    assert_eq!((refused.status, &refused.json()["scimType"]), (400, &json!("invalidValue")));
    app.stops().await;
}

#[actix_web::test]
async fn the_directorys_token_opens_its_interface_only_and_no_other_token_does() {
    let app = TestApp::start().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    let bearer = |token: &str| format!("Bearer {token}");
    for path in ["/agents", "/users", "/events"] {
        let headers = [("Authorization", bearer(&directory.token))];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = app.traffic.send("GET", &app.at(&format!("/api/v1{path}")), &headers, b"").await;
        assert_eq!(answer.status, 403, "{path}");
    }
    for role in [Role::Admin, Role::Auditor] {
        let other = Directory::of(&app, role).await;
        assert_eq!(other.sends(&app, "GET", "/Users", Value::Null).await.status, 403, "{role:?}");
    }
    let unknown = Directory { token: format!("{}x", directory.token) };
    let answer = unknown.sends(&app, "GET", "/Users", Value::Null).await;
    assert_eq!((answer.status, &answer.json()["status"]), (401, &json!("401")));
    assert_eq!(answer.json()["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    app.stops().await;
}

#[actix_web::test]
async fn what_is_offered_is_said_and_what_is_not_is_refused_in_scims_words() {
    let app = TestApp::start().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    for (path, member) in [
        ("/ServiceProviderConfig", "patch"),
        ("/ResourceTypes", "Resources"),
        ("/ResourceTypes/User", "schema"),
        ("/Schemas", "Resources"),
        ("/Schemas/urn:ietf:params:scim:schemas:core:2.0:User", "attributes"),
        ("/Schemas/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", "attributes"),
    ] {
        let answer = directory.sends(&app, "GET", path, Value::Null).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.json().get(member).is_some(), "{path}: {}", answer.body_text());
        assert_eq!(answer.header("content-type").unwrap(), "application/scim+json");
    }
    for (method, path, body, status, kind) in [
        ("GET", "/Users?filter=title%20eq%20%22x%22", Value::Null, 400, json!("invalidFilter")),
        ("GET", "/Users?count=many", Value::Null, 400, json!("invalidValue")),
        ("GET", "/Users?startIndex=", Value::Null, 400, json!("invalidValue")),
        ("POST", "/Users", json!({ "userName": "x", "schemas": "y" }), 400, json!("invalidSyntax")),
        ("POST", "/Users", json!({ "userName": "x", "emails": ["y"] }), 400, json!("invalidValue")),
        ("GET", "/Users/usr_nobody", Value::Null, 404, Value::Null),
        ("GET", "/Devices", Value::Null, 404, Value::Null),
        ("POST", "/Users", json!([]), 400, json!("invalidSyntax")),
        ("POST", "/Users", json!({ "displayName": "x" }), 400, json!("invalidValue")),
        ("POST", "/Users", json!({ "userName": "x", "active": "perhaps" }), 400, json!("invalidValue")),
        ("POST", "/ServiceProviderConfig", json!({}), 405, Value::Null),
    ] {
        let answer = directory.sends(&app, method, path, body).await;
        assert_eq!(
            (answer.status, &answer.json()["scimType"]),
            (status, &kind),
            "{path}: {}",
            answer.body_text()
        );
        let allowed = (status == 405).then_some("GET");
        assert_eq!(answer.header("allow"), allowed, "{path}");
    }
    let page = directory
        .sends(&app, "GET", "/Users?startIndex=2&count=1&attributes=userName", Value::Null)
        .await
        .json();
    assert_eq!(
        (&page["totalResults"], &page["startIndex"], &page["itemsPerPage"]),
        (&json!(2), &json!(2), &json!(1))
    );
    let mut members: Vec<&String> = page["Resources"][0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["id", "schemas", "userName"]);
    let none = directory.sends(&app, "GET", "/Users?count=0", Value::Null).await.json();
    assert_eq!((&none["totalResults"], &none["itemsPerPage"]), (&json!(2), &json!(0)));
    app.stops().await;
}
