//! Tokens made by whoever has read the keyring.

use serde_json::{Value, json};

use crate::app::{Ask, TestApp};

#[actix_web::test]
async fn a_made_up_gateway_token_lives_no_longer_than_one_of_ours() {
    let mut app = TestApp::start().await;
    app.alice_has_answered(&Ask::at("entra").scope("User.Read"), "User.Read").await;
    let vault = app.demo.services.vault.clone();
    let real = app.agent_asks(&Ask::at("entra").scope("User.Read")).await.token();
    let mut claims: Value = serde_json::from_slice(vault.open_token(&real).unwrap().payload()).unwrap();
    let end = claims["x"].as_u64().unwrap();
    claims["x"] = json!(end * 2);
    let forged = vault.seal_token(&serde_json::to_vec(&claims).unwrap()).expose().clone();

    let me = "entra/graph/v1.0/me";
    assert_eq!(app.calls(&forged, "GET", me).await.status, 200, "it is taken for one of ours");
    app.pass(301);
    for token in [&real, &forged] {
        assert_eq!(app.calls(token, "GET", me).await.status, 401);
    }
    let renewed = app.agent_asks(&Ask::at("entra").scope("User.Read")).await.token();
    assert_eq!(app.calls(&renewed, "GET", me).await.status, 200, "the grant holds");
    app.stops().await;
}
