//! Providers that are no OpenID Connect providers: identities by userinfo and by code.

use serde_json::json;
use valetkey::providers::template::ErrorClass;
use valetkey::upstream::{Cause, IdTokenProblem};

use crate::world::{OIDC, Reply, World, configured, form, redemption};

/// JSON token requests, a user-info endpoint with a header of its own, the company in the token answer,
/// and a second look-up with the app's token in the query.
fn by_userinfo() -> String {
    let head = OIDC.split("[authorize]").next().unwrap();
    format!(
        r#"{head}
[authorize]
url = "https://id.example.com/authorize"
pkce = "off"

[token]
url = "https://id.example.com/token"
format = "json"
names = {{ client_id = "clientId", client_secret = "clientSecret", grant_type = "grantType", redirect_uri = "" }}

[token.answer]
access_token = "accessToken"
refresh_token = "refreshToken"
expires_in = "expireIn"

[app_token]
url = "https://api.example.com/gettoken"
format = "query"
names = {{ client_id = "appkey", client_secret = "appsecret", grant_type = "" }}

[app_token.answer]
ok = {{ member = "errcode", equals = "0" }}

[identity]
source = "userinfo"
url = "https://api.example.com/me"
send = {{ header = "x-access-token" }}
subject = "unionId"
company = "token:corpId"
company_equals = "tenant"
label = ["nick"]
pins = {{ union_id = "unionId" }}

[identity.pin_lookup]
url = "https://api.example.com/getbyunionid"
send = {{ query = "access_token" }}
body = {{ unionid = "union_id" }}
ok = {{ member = "errcode", equals = "0" }}
pins = {{ user_id = "result.userid" }}

[[errors]]
at = "api"
member = "errcode"
values = ["40014"]
class = "stale_token"
"#
    )
}

fn with_company(world: &World, company: &str) {
    world.replies(
        "/token",
        vec![Reply::json(
            &json!({"accessToken": "canary-user", "refreshToken": "r", "expireIn": 7200, "corpId": company}),
        )],
    );
    world.replies("/me", vec![Reply::json(&json!({"unionId": "u1", "nick": "爱丽丝"}))]);
    world.replies(
        "/gettoken",
        vec![Reply::json(&json!({"errcode": 0, "access_token": "canary-app", "expires_in": 7200}))],
    );
    let found = json!({"errcode": 0, "result": {"userid": "alice01"}});
    world.replies("/getbyunionid", vec![Reply::json(&found)]);
}

#[actix_web::test]
async fn an_identity_is_pieced_together_from_userinfo_and_a_look_up() {
    let world = World::new().await;
    let configured = configured(&by_userinfo(), &[("tenant", "corp1")]);
    with_company(&world, "corp1");
    let redeemed = world.redeem(&configured).await.unwrap();
    assert_eq!(redeemed.account.subject, "u1");
    assert_eq!(redeemed.account.company, "corp1");
    assert_eq!(redeemed.account.label, "爱丽丝");
    assert_eq!(redeemed.account.pins["union_id"], "u1");
    assert_eq!(redeemed.account.pins["user_id"], "alice01");
    assert!(redeemed.id_claims.is_none());
    let sent: serde_json::Value = serde_json::from_str(&world.asked("/token")[0].body).unwrap();
    assert_eq!(sent["clientId"], "client-1");
    assert!(sent.get("redirect_uri").is_none());
    assert_eq!(world.asked("/me")[0].headers["x-access-token"], "canary-user");
    let looked_up = &world.asked("/getbyunionid")[0];
    assert_eq!(form(&looked_up.query)["access_token"], "canary-app");
    assert_eq!(looked_up.body, "{\"unionid\":\"u1\"}");
    let fetched = form(&world.asked("/gettoken")[0].query);
    assert_eq!(
        (fetched["appkey"].as_str(), fetched["appsecret"].as_str()),
        ("client-1", "canary-client-secret")
    );
    // The app's token is kept for the next one.
    world.redeem(&configured).await.unwrap();
    assert_eq!(world.asked("/gettoken").len(), 1);
    world.advance(7200);
    world.redeem(&configured).await.unwrap();
    assert_eq!(world.asked("/gettoken").len(), 2);
}

#[actix_web::test]
async fn an_app_token_that_died_early_is_replaced_once() {
    let world = World::new().await;
    let configured = configured(&by_userinfo(), &[("tenant", "corp1")]);
    with_company(&world, "corp1");
    world.redeem(&configured).await.unwrap();
    let stale = json!({"errcode": 40014, "errmsg": "invalid access_token"});
    world.replies(
        "/getbyunionid",
        vec![Reply::json(&stale), Reply::json(&json!({"errcode": 0, "result": {"userid": "a"}}))],
    );
    assert!(world.redeem(&configured).await.is_ok());
    assert_eq!(world.asked("/gettoken").len(), 2);
    world.replies("/getbyunionid", vec![Reply::json(&stale)]);
    assert_eq!(world.redeem(&configured).await.unwrap_err().class, ErrorClass::StaleToken);
    assert_eq!(world.asked("/gettoken").len(), 3);
}

#[actix_web::test]
async fn other_companies_and_broken_identities_are_refused() {
    let world = World::new().await;
    let configured = configured(&by_userinfo(), &[("tenant", "corp1")]);
    with_company(&world, "corp2");
    assert_eq!(world.redeem(&configured).await.unwrap_err().cause, Cause::CompanyMismatch);
    for (path, reply, cause) in [
        ("/me", Reply::raw(200, "<html>"), Cause::Identity),
        ("/me", Reply::raw(200, "{\"unionId\": \"u"), Cause::Identity),
        ("/me", Reply::raw(200, "{\"unionId\": \"\"}"), Cause::Identity),
        ("/me", Reply::raw(200, "{\"unionId\": {\"a\": 1}}"), Cause::Identity),
        ("/me", Reply::raw(200, "{\"unionId\": \"u 1\"}"), Cause::Identity),
        ("/me", Reply::raw(302, ""), Cause::Provider),
        ("/me", Reply::raw(403, "{}"), Cause::Provider),
        ("/getbyunionid", Reply::raw(200, "{\"errcode\": 60121, \"errmsg\": \"canary\"}"), Cause::Provider),
        ("/getbyunionid", Reply::raw(200, "{\"errcode\": 0, \"result\": {}}"), Cause::Identity),
        ("/gettoken", Reply::raw(200, "{\"errcode\": 40001, \"errmsg\": \"canary\"}"), Cause::Provider),
    ] {
        with_company(&world, "corp1");
        world.replies(path, vec![reply]);
        world.advance(8000);
        let error = world.redeem(&configured).await.unwrap_err();
        assert_eq!(error.cause, cause, "{path}: {error}");
        assert!(!format!("{error:?}").contains("canary"));
    }
}

fn by_code() -> String {
    let head = OIDC.split("[authorize]").next().unwrap();
    format!(
        r#"{head}
[authorize]
url = "https://id.example.com/sso"
client_id_param = "appid"
pkce = "off"
state_alphabet = "alphanumeric"

[app_token]
url = "https://api.example.com/gettoken"
format = "query"
names = {{ client_id = "corpid", client_secret = "corpsecret", grant_type = "" }}

[app_token.answer]
ok = {{ member = "errcode", equals = "0" }}

[identity]
source = "code"
url = "https://api.example.com/getuserinfo"
send = {{ query = "access_token" }}
ok = {{ member = "errcode", equals = "0" }}
subject = "userid"
company = "config"
label = ["userid"]
pins = {{ userid = "userid" }}
"#
    )
}

#[actix_web::test]
async fn where_there_is_no_user_token_the_code_itself_names_the_account() {
    let world = World::new().await;
    let configured = configured(&by_code(), &[("tenant", "corp1")]);
    world.replies(
        "/gettoken",
        vec![Reply::json(&json!({"errcode": 0, "access_token": "canary-app", "expires_in": 7200}))],
    );
    world.replies("/getuserinfo", vec![Reply::json(&json!({"errcode": 0, "userid": "alice"}))]);
    let redeemed = world.redeem(&configured).await.unwrap();
    assert_eq!((redeemed.account.company.as_str(), redeemed.account.subject.as_str()), ("corp1", "alice"));
    assert_eq!(redeemed.account.pins["userid"], "alice");
    assert!(redeemed.tokens.access_token.expose().is_empty() && redeemed.tokens.refresh_token.is_none());
    let asked = form(&world.asked("/getuserinfo")[0].query);
    assert_eq!((asked["code"].as_str(), asked["access_token"].as_str()), ("canary-code", "canary-app"));
    // A member of a linked company is marked as such.
    let marked = by_code().replace("subject = \"userid\"", "subject = \"userid\"\nforeign_mark = \"/\"");
    let marked = crate::world::configured(&marked, &[("tenant", "corp1")]);
    assert!(world.redeem(&marked).await.is_ok());
    world.replies("/getuserinfo", vec![Reply::json(&json!({"errcode": 0, "userid": "corp2/mallory"}))]);
    assert_eq!(world.redeem(&marked).await.unwrap_err().cause, Cause::CompanyMismatch);
    // Someone who is no member comes back with another identifier and no error.
    world.replies("/getuserinfo", vec![Reply::json(&json!({"errcode": 0, "openid": "o1"}))]);
    assert_eq!(world.redeem(&configured).await.unwrap_err().cause, Cause::Identity);
    world.replies("/getuserinfo", vec![Reply::json(&json!({"errcode": 40029, "errmsg": "invalid code"}))]);
    assert_eq!(world.redeem(&configured).await.unwrap_err().cause, Cause::Provider);
}

#[actix_web::test]
async fn nobody_signs_in_without_an_id_token_or_its_nonce() {
    let world = World::new().await;
    let by_code = configured(&by_code(), &[("tenant", "corp1")]);
    let mut sign_in = redemption();
    sign_in.login = true;
    assert_eq!(world.upstream.redeem(&by_code, &sign_in).await.unwrap_err().cause, Cause::NotOffered);
    world.answer_tokens(&world.id_token(&world.claims()));
    let mut forgotten = redemption();
    forgotten.nonce = None;
    let error = world.upstream.redeem(&crate::world::oidc(), &forgotten).await.unwrap_err();
    assert_eq!(error.cause, Cause::IdToken(IdTokenProblem::Nonce));
}
