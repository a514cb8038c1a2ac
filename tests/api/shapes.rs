//! What the API says to requests of another shape than it documents.

use serde_json::json;
use valetkey::app::demo::people::ALICE;

use crate::app::TestApp;

#[actix_web::test]
async fn another_method_is_told_which_ones_there_are() {
    let app = TestApp::start().await;
    for (method, path, allowed) in [
        ("DELETE", "/api/v1/agents", "GET, POST"),
        ("TRACE", "/api/v1/stops/stp_x/resume", "POST"),
        ("PUT", "/api/v1/openapi.json", "GET"),
        ("POST", "/.well-known/jwks.json", "GET"),
        ("TRACE", "/.well-known/oauth-authorization-server", "GET"),
        ("GET", "/oauth2/bc-authorize", "POST"),
    ] {
        let answer = app.traffic.send(method, &app.at(path), &[], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn what_has_the_wrong_shape_is_refused() {
    let app = TestApp::start().await;
    let user = app.user_id_of(ALICE).await;
    let path = format!("/users/{user}");
    assert_eq!(app.admin("PATCH", &path, &json!(["Sales", []])).await.status, 400, "a list is no object");
    assert_eq!(app.admin("PATCH", &path, &json!({"department": "Sales"})).await.status, 200);
    assert_eq!(app.admin("GET", "/users?limit=", &json!(null)).await.status, 400);
    assert_eq!(app.admin("GET", "/users?limit=1", &json!(null)).await.status, 200);
    app.stops().await;
}
