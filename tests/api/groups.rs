//! The company's directory says who is in which group, as Entra ID and Okta really send it, and agents, back ends and
//! their tokens go by it from the next request on.

use serde_json::{Value, json};
use valetkey::app::demo::people::{ALICE, BOB};
use valetkey::model::user::Role;

use crate::app::{Ask, TestApp};
use crate::directory::Directory;
use crate::wire::{Answer, refused};

const PEOPLE: &str = "https://people.example.com";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

impl Directory {
    async fn makes_group(&self, app: &TestApp, name: &str, members: &[&str]) -> Value {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let body = json!({ "schemas": [GROUP], "displayName": name, "members": members });
        let made = self.sends(app, "POST", "/Groups", body).await;
        assert_eq!(made.status, 201, "{}", made.body_text());
        made.json()
    }

    async fn regroups(&self, app: &TestApp, group: &Value, operations: Value) -> Answer {
        let body =
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        self.sends(app, "PATCH", &format!("/Groups/{}", group["id"].as_str().unwrap()), body).await
    }

    async fn finds_groups(&self, app: &TestApp, query: &[(&str, &str)]) -> Vec<Value> {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let answer = self.sends(app, "GET", &format!("/Groups?{query}"), Value::Null).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body_text());
        answer.json()["Resources"].as_array().unwrap().clone()
    }

    /// Who the directory reads back as being in it.
    async fn members(&self, app: &TestApp, group: &Value) -> Vec<String> {
        let path = format!("/Groups/{}", group["id"].as_str().unwrap());
        let shown = self.sends(app, "GET", &path, Value::Null).await.json();
        let members = shown["members"].as_array().unwrap_or_else(|| panic!("{shown}"));
        let mut ids: Vec<String> =
            members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }
}

async fn groups_of(app: &TestApp, id: &str) -> Value {
    app.admin("GET", &format!("/users/{id}"), &Value::Null).await.json()["groups"].clone()
}

fn sorted(ids: &[&str]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    ids.sort();
    ids
}

async fn started() -> (TestApp, Directory, String, String) {
    let app = TestApp::start().await;
    let directory = Directory::of(&app, Role::Provisioner).await;
    let (alice, bob) = (app.user_id_of(ALICE).await.to_string(), app.user_id_of(BOB).await.to_string());
    (app, directory, alice, bob)
}

#[actix_web::test]
async fn a_group_goes_through_its_life_as_entra_sends_it() {
    let (app, directory, alice, bob) = started().await;
    // It looks for the group first, and wants no members in the answer.
    let by_name = [("excludedAttributes", "members"), ("filter", "displayName eq \"Finance\"")];
    assert_eq!(directory.finds_groups(&app, &by_name).await, Vec::<Value>::new());
    let made = directory
        .sends(&app, "POST", "/Groups", json!({
            "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
            "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159", "displayName": "Finance",
            "meta": { "resourceType": "Group" }, "members": [],
        }))
        .await;
    assert_eq!(made.status, 201, "{}", made.body_text());
    let location = made.header("location").unwrap().to_owned();
    assert_eq!(made.header("etag"), made.json()["meta"]["version"].as_str());
    let group = made.json();
    assert!(location.ends_with(&format!("/scim/v2/Groups/{}", group["id"].as_str().unwrap())), "{location}");
    assert_eq!(group["meta"]["location"], json!(location));
    let found = directory.finds_groups(&app, &by_name).await;
    assert_eq!((found.len(), &found[0]["id"], found[0].get("members")), (1, &group["id"], None));

    let reference = |id: &str| json!({ "$ref": null, "value": id });
    let added = directory
        .regroups(
            &app,
            &group,
            json!([{ "op": "Add", "path": "members", "value": [reference(&alice), reference(&bob)] }]),
        )
        .await;
    assert_eq!((added.status, added.body.len()), (204, 0), "{}", added.body_text());
    assert_eq!(directory.members(&app, &group).await, sorted(&[&alice, &bob]));
    // The user's own record and representation say so too.
    assert_eq!(groups_of(&app, &alice).await.as_array().unwrap().last(), Some(&json!("Finance")));
    let user = directory.sends(&app, "GET", &format!("/Users/{alice}"), Value::Null).await.json();
    let shown = user["groups"].as_array().unwrap().iter().find(|one| one["display"] == "Finance").cloned();
    assert_eq!(shown.unwrap()["value"], group["id"]);
    // Twice is once.
    let again = json!([{ "op": "Add", "path": "members", "value": [reference(&alice)] }]);
    assert_eq!(directory.regroups(&app, &group, again).await.status, 204);
    assert_eq!(directory.members(&app, &group).await.len(), 2);

    for (form, operation) in [
        ("with the list", json!({ "op": "Remove", "path": "members", "value": [reference(&alice)] })),
        ("with a filter", json!({ "op": "Remove", "path": format!("members[value eq \"{bob}\"]") })),
        (
            "somebody who is not in it",
            json!({ "op": "Remove", "path": format!("members[value eq \"{bob}\"]") }),
        ),
    ] {
        assert_eq!(directory.regroups(&app, &group, json!([operation])).await.status, 204, "{form}");
    }
    assert_eq!(directory.members(&app, &group).await, Vec::<String>::new());
    let external = json!([{ "op": "Replace", "path": "externalId", "value": "b2" }]);
    assert_eq!(directory.regroups(&app, &group, external).await.status, 204);
    assert_eq!(directory.finds_groups(&app, &[("filter", "externalId eq \"b2\"")]).await.len(), 1);

    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    assert_eq!(directory.sends(&app, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(directory.sends(&app, "GET", &path, Value::Null).await.status, 404);
    app.stops().await;
}

#[actix_web::test]
async fn a_group_goes_through_its_life_as_okta_sends_it() {
    let (app, directory, alice, bob) = started().await;
    let group = directory.makes_group(&app, "Test group", &[&alice]).await;
    assert_eq!(group["members"][0]["value"], json!(alice));
    assert_eq!(group["members"][0]["type"], "User");
    // It repeats the id when it renames, and its members keep the group.
    let renamed = json!([{ "op": "replace", "value": { "id": group["id"], "displayName": "Legal" } }]);
    assert_eq!(directory.regroups(&app, &group, renamed).await.status, 204);
    assert_eq!(directory.members(&app, &group).await, sorted(&[&alice]));
    let names = groups_of(&app, &alice).await;
    let names: Vec<&str> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"Legal") && !names.contains(&"Test group"), "{names:?}");
    let both = json!([
        { "op": "remove", "path": format!("members[value eq \"{alice}\"]") },
        { "op": "add", "path": "members", "value": [{ "value": bob, "display": BOB }] },
    ]);
    assert_eq!(directory.regroups(&app, &group, both).await.status, 204);
    assert_eq!(directory.members(&app, &group).await, sorted(&[&bob]));
    let replaced =
        json!([{ "op": "replace", "path": "members", "value": [{ "value": alice, "display": ALICE }] }]);
    assert_eq!(directory.regroups(&app, &group, replaced).await.status, 204);
    assert_eq!(directory.members(&app, &group).await, sorted(&[&alice]));
    // As integrations of the other kind do it: the whole group.
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let whole = json!({ "schemas": [GROUP], "id": group["id"], "displayName": "Legal",
        "members": [{ "value": alice, "display": ALICE }, { "value": bob }] });
    let put = directory.sends(&app, "PUT", &path, whole).await;
    assert_eq!(
        (put.status, put.json()["members"].as_array().unwrap().len()),
        (200, 2),
        "{}",
        put.body_text()
    );
    let emptied = directory.sends(&app, "PUT", &path, json!({ "displayName": "Legal" })).await;
    assert_eq!((emptied.status, &emptied.json()["members"]), (200, &json!([])));
    app.stops().await;
}

#[actix_web::test]
async fn who_is_in_a_group_decides_from_the_next_request_on() {
    let (app, directory, alice, bob) = started().await;
    let group = directory.makes_group(&app, "Payroll", &[]).await;
    // A back end for that group alone, which is told the groups; and an assistant for it alone.
    let made = app.admin("GET", "/audiences", &Value::Null).await.json();
    let people = made["items"].as_array().unwrap().iter().find(|one| one["identifier"] == PEOPLE).cloned();
    let people = people.unwrap();
    let mut terms = serde_json::Map::new();
    for name in ["identifier", "name", "purpose", "scopes", "algorithm", "token_life_s"] {
        terms.insert(name.to_owned(), people[name].clone());
    }
    terms.insert("claims".to_owned(), json!(["groups"]));
    terms.insert(
        "admissions".to_owned(),
        json!([{
            "agents": [app.assistant.id], "for": { "groups": ["Payroll"] },
            "scopes": people["scopes"].as_str().unwrap().split(' ').collect::<Vec<_>>(),
        }]),
    );
    let path = format!("/audiences/{}", people["id"].as_str().unwrap());
    let put = app.admin("PUT", &path, &Value::Object(terms)).await;
    assert_eq!(put.status, 200, "{}", put.body_text());
    let asks = async |email: &str| {
        let ask =
            Ask::at("entra").with("audience", PEOPLE).by(&app.assistant).showing(&app.id_token_of(email));
        app.agent_asks(&ask).await
    };
    assert_eq!(asks(ALICE).await.refusal(), refused(400, "invalid_target"));
    let add = |id: &str| json!([{ "op": "Add", "path": "members", "value": [{ "value": id }] }]);
    assert_eq!(directory.regroups(&app, &group, add(&alice)).await.status, 204);
    let token = asks(ALICE).await;
    assert_eq!(token.status, 200, "{}", token.body_text());
    let shown = app.introspects(&app.assistant, &token.text("access_token")).await;
    assert_eq!(shown["active"], true);
    let claims = token.text("access_token");
    let claims = claims.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(
        &base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap(),
    )
    .unwrap();
    assert!(claims["groups"].as_array().unwrap().contains(&json!("Payroll")), "{claims}");
    assert_eq!(asks(BOB).await.refusal(), refused(400, "invalid_target"));
    // Who the agent may act for goes by the same group.
    let agent = format!("/agents/{}", app.assistant.id);
    let circle = json!({ "people": { "users": [], "groups": ["Payroll"] } });
    let narrowed = app.admin("PATCH", &agent, &circle).await;
    assert_eq!(narrowed.status, 200, "{}", narrowed.body_text());
    assert_eq!(asks(ALICE).await.status, 200);
    let out = json!([{ "op": "Remove", "path": format!("members[value eq \"{alice}\"]") }]);
    assert_eq!(directory.regroups(&app, &group, out).await.status, 204);
    assert!(asks(ALICE).await.status >= 400);
    // Gone with the group, and not back with another one of that name.
    assert_eq!(directory.regroups(&app, &group, add(&bob)).await.status, 204);
    assert_eq!(asks(BOB).await.status, 200);
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    assert_eq!(directory.sends(&app, "DELETE", &path, Value::Null).await.status, 204);
    assert!(asks(BOB).await.status >= 400);
    directory.makes_group(&app, "Payroll", &[]).await;
    assert!(asks(BOB).await.status >= 400);
    app.stops().await;
}

#[actix_web::test]
async fn the_directory_has_the_only_word_on_its_groups() {
    let (app, directory, alice, bob) = started().await;
    // Both have `staff` by an admin's hand; the directory enters it with Bob alone.
    assert!(groups_of(&app, &alice).await.as_array().unwrap().contains(&json!("staff")));
    let group = directory.makes_group(&app, "staff", &[&bob]).await;
    assert!(!groups_of(&app, &alice).await.as_array().unwrap().contains(&json!("staff")));
    assert_eq!(directory.members(&app, &group).await, sorted(&[&bob]));
    let by_hand = async |groups: Value| {
        app.admin("PATCH", &format!("/users/{alice}"), &json!({ "groups": groups })).await
    };
    let refused = by_hand(json!(["staff"])).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &json!("conflict")),
        "{}",
        refused.body_text()
    );
    assert_eq!(by_hand(json!(["STAFF"])).await.status, 409);
    assert_eq!(by_hand(json!(["by hand"])).await.status, 200);
    // A new name that somebody has by hand is the directory's from then on.
    let renamed = json!([{ "op": "replace", "path": "displayName", "value": "by hand" }]);
    assert_eq!(directory.regroups(&app, &group, renamed).await.status, 204);
    assert_eq!((groups_of(&app, &alice).await, groups_of(&app, &bob).await), (json!([]), json!(["by hand"])));
    // Whoever is removed and comes back is in no group until the directory says so.
    assert_eq!(directory.sends(&app, "DELETE", &format!("/Users/{bob}"), Value::Null).await.status, 204);
    assert_eq!(directory.members(&app, &group).await, Vec::<String>::new());
    let user = app.admin("GET", &format!("/users/{bob}"), &Value::Null).await.json();
    let back = json!({ "userName": BOB, "externalId": user["subject"], "active": true });
    let back = directory.sends(&app, "POST", "/Users", back).await;
    assert_eq!((back.status, &back.json()["id"]), (201, &json!(bob)), "{}", back.body_text());
    assert_eq!(groups_of(&app, &bob).await, json!([]));
    app.stops().await;
}

#[actix_web::test]
async fn groups_are_found_and_what_cannot_be_is_refused_in_scims_words() {
    let (app, directory, alice, bob) = started().await;
    let first = directory.makes_group(&app, "Finance", &[&alice]).await;
    let second = directory.makes_group(&app, "Legal", &[&alice, &bob]).await;
    let (first_id, second_id) = (first["id"].as_str().unwrap(), second["id"].as_str().unwrap());
    for (filter, expected) in [
        ("displayName eq \"FINANCE\"".to_owned(), vec![first_id]),
        (format!("id eq \"{second_id}\""), vec![second_id]),
        (format!("members.value eq \"{bob}\""), vec![second_id]),
        (format!("id eq \"{first_id}\" and members eq \"{alice}\""), vec![first_id]),
        (format!("id eq \"{first_id}\" and members eq \"{bob}\""), vec![]),
        ("displayName eq \"Finance\" and externalId eq \"x\"".to_owned(), vec![]),
    ] {
        let found = directory.finds_groups(&app, &[("filter", &filter), ("attributes", "displayName")]).await;
        let ids: Vec<&str> = found.iter().map(|group| group["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{filter}");
        assert!(found.iter().all(|group| group.get("members").is_none() && group.get("meta").is_none()));
    }
    let page = directory.sends(&app, "GET", "/Groups?startIndex=2&count=1", Value::Null).await.json();
    assert_eq!((&page["totalResults"], &page["itemsPerPage"]), (&json!(2), &json!(1)));
    for (path, member) in
        [("/ResourceTypes/Group", "endpoint"), (&format!("/Schemas/{GROUP}") as &str, "attributes")]
    {
        let answer = directory.sends(&app, "GET", path, Value::Null).await;
        assert_eq!((answer.status, answer.json().get(member).is_some()), (200, true), "{path}");
    }
    assert_eq!(directory.sends(&app, "GET", "/ResourceTypes/Device", Value::Null).await.status, 404);
    let patch = |operation: Value| json!({ "Operations": [operation] });
    let nobody = "usr_ffffffffffffffffffffffffffffffff";
    let own = format!("/Groups/{first_id}");
    for (method, path, body, status, kind) in [
        ("POST", "/Groups", json!({ "displayName": "finance" }), 409, json!("uniqueness")),
        ("POST", "/Groups", json!({ "members": [] }), 400, json!("invalidValue")),
        (
            "POST",
            "/Groups",
            json!({ "displayName": "x", "members": [{ "value": nobody }] }),
            400,
            json!("invalidValue"),
        ),
        (
            "POST",
            "/Groups",
            json!({ "displayName": "x", "members": [{ "value": second_id }] }),
            400,
            json!("invalidValue"),
        ),
        (
            "PATCH",
            &own as &str,
            patch(json!({ "op": "replace", "path": "displayName", "value": "Legal" })),
            409,
            json!("uniqueness"),
        ),
        (
            "PATCH",
            &own,
            patch(json!({ "op": "add", "path": "members", "value": [{ "value": nobody }] })),
            400,
            json!("invalidValue"),
        ),
        (
            "PATCH",
            &own,
            patch(json!({ "op": "remove", "path": "members[type eq \"User\"]" })),
            400,
            json!("invalidPath"),
        ),
        ("PATCH", &own, json!({}), 400, json!("invalidSyntax")),
        (
            "PATCH",
            "/Groups/grp_nobody",
            patch(json!({ "op": "remove", "path": "members" })),
            404,
            Value::Null,
        ),
        ("GET", "/Groups?filter=title%20eq%20%22x%22", Value::Null, 400, json!("invalidFilter")),
        ("POST", &own, json!({}), 405, Value::Null),
    ] {
        let answer = directory.sends(&app, method, path, body.clone()).await;
        let said = (answer.status, answer.json()["scimType"].clone());
        assert_eq!(said, (status, kind), "{method} {path} {body}: {}", answer.body_text());
    }
    assert_eq!(directory.members(&app, &first).await, sorted(&[&alice]));
    app.stops().await;
}
