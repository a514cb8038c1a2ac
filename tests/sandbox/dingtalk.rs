//! DingTalk: two kinds of token, strict rotation, and an app that may name anybody.

use serde_json::{Value, json};

use crate::stage::{ALICE, Answer, BOB, MALLORY, REDIRECT, SECRET, Stage, form};

const X_ACS: &str = "x-acs-dingtalk-access-token";
const DING_TOKEN: &str = "/dingtalk/api/v1.0/oauth2/userAccessToken";

impl Stage {
    pub(crate) async fn ding_login(&self, email: &str, scope: &str) -> Value {
        let query = form(&[
            ("client_id", "valetkey-sandbox"),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", scope),
            ("prompt", "consent"),
            ("state", "st-2"),
        ]);
        let back = self.decide(&format!("/dingtalk/login/oauth2/auth?{query}"), email, "allow").await;
        assert_eq!(back.param("state").as_deref(), Some("st-2"));
        assert_eq!(back.param("code"), None, "the vendor calls it authCode");
        let answer = self
            .post(
                DING_TOKEN,
                &[],
                &json!({
                    "clientId": "valetkey-sandbox", "clientSecret": SECRET,
                    "grantType": "authorization_code", "code": back.param("authCode").unwrap(),
                }),
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    pub(crate) async fn ding_refresh(&self, token: &str) -> Answer {
        let body = json!({
            "clientId": "valetkey-sandbox", "clientSecret": SECRET, "grantType": "refresh_token",
            "refreshToken": token,
        });
        self.post(DING_TOKEN, &[], &body).await
    }

    pub(crate) async fn ding_app_token(&self) -> String {
        let body = json!({"appKey": "valetkey-sandbox", "appSecret": SECRET});
        self.post("/dingtalk/api/v1.0/oauth2/accessToken", &[], &body).await.text("/accessToken")
    }

    pub(crate) async fn ding(&self, path: &str, token: &str) -> Answer {
        self.get(&format!("/dingtalk/api{path}"), &[(X_ACS, token)]).await
    }

    pub(crate) async fn ding_me(&self, token: &str) -> Answer {
        self.ding("/v1.0/contact/users/me", token).await
    }
}

#[actix_web::test]
async fn dingtalk_signs_in_rotates_and_has_no_grace() {
    let stage = Stage::open().await;
    let tokens = stage.ding_login(ALICE, "openid corpid").await;
    assert_eq!(tokens["expireIn"], 7200);
    assert_eq!(tokens["corpId"], "dingcorp0001");
    assert_eq!(tokens.get("scope"), None);
    let spent = tokens["refreshToken"].as_str().unwrap();
    let me = stage.ding_me(tokens["accessToken"].as_str().unwrap()).await;
    assert_eq!(me.text("/email"), ALICE);
    assert_eq!(me.json().get("corpId"), None);

    let renewed = stage.ding_refresh(spent).await.json();
    assert_ne!(renewed["refreshToken"], tokens["refreshToken"]);
    let reused = stage.ding_refresh(spent).await;
    assert_eq!((reused.status, reused.text("/code").as_str()), (400, "invalidParameter.authCode.notFound"));
    assert!(reused.json()["requestid"].is_string());
    assert_eq!(stage.state("dingtalk").await["reuse_detected"], 1);

    stage.advance(7201).await;
    let expired = stage.ding_me(renewed["accessToken"].as_str().unwrap()).await;
    assert_eq!((expired.status, expired.text("/code").as_str()), (400, "accesstoken.expired"));
    stage.advance(30 * 86_400).await;
    assert_eq!(stage.ding_refresh(renewed["refreshToken"].as_str().unwrap()).await.status, 400);

    let only_openid = stage.ding_login(BOB, "openid").await;
    assert_eq!(only_openid.get("corpId"), None);
    let outsider = stage.ding_login(MALLORY, "openid corpid").await;
    assert_ne!(outsider["corpId"], "dingcorp0001");
}

#[actix_web::test]
async fn dingtalk_refuses_what_its_login_does_not_take() {
    let stage = Stage::open().await;
    let page = |scope: &str, prompt: &str| {
        let query = form(&[
            ("client_id", "valetkey-sandbox"),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", scope),
            ("prompt", prompt),
            ("state", "st-2"),
        ]);
        format!("/dingtalk/login/oauth2/auth?{query}")
    };
    assert_eq!(stage.get(&page("openid profile", "consent"), &[]).await.status, 400);
    assert_eq!(stage.get(&page("openid", "none"), &[]).await.status, 400);
    let refused = stage.decide(&page("openid", "consent"), ALICE, "deny").await;
    assert!(refused.param("error").is_some() && refused.param("authCode").is_none());

    let wrong =
        json!({"clientId": "valetkey-sandbox", "clientSecret": "wrong", "grantType": "refresh_token"});
    assert_eq!(stage.post(DING_TOKEN, &[], &wrong).await.text("/code"), "invalidClientIdOrSecret");
    let form = stage.post_form(DING_TOKEN, &[], &[("clientId", "valetkey-sandbox")]).await;
    assert_eq!(form.status, 400, "JSON only");
}

#[actix_web::test]
async fn dingtalk_tells_the_two_kinds_of_token_apart() {
    let stage = Stage::open().await;
    let user = stage.ding_login(ALICE, "openid corpid").await["accessToken"].as_str().unwrap().to_owned();
    let app = stage.ding_app_token().await;
    assert_eq!(stage.ding_app_token().await, app, "asked again, it is the same");
    let alice = stage.ding_me(&user).await.text("/unionId");

    let calendar = format!("/v1.0/calendar/users/{alice}/calendars/primary/events");
    let denied = stage.ding(&calendar, &user).await;
    assert_eq!(denied.status, 403);
    assert_eq!(denied.text("/code"), "Forbidden.AccessDenied.AccessTokenPermissionDenied");
    assert_eq!(stage.ding_me(&app).await.status, 403);
    assert_eq!(stage.ding(&calendar, "junk").await.text("/code"), "InvalidAuthentication");
    assert_eq!(stage.ding(&calendar, &app).await.status, 200);

    let todo = json!({"subject": "From an agent", "executorIds": [alice]});
    let path = "/dingtalk/api/v1.0/todo/users/me/personalTasks";
    assert!(stage.post(path, &[(X_ACS, &user)], &todo).await.json()["taskId"].is_string());
    assert_eq!(stage.post(path, &[(X_ACS, &app)], &todo).await.status, 403);
    let query = format!("/dingtalk/api/v1.0/todo/users/{alice}/org/tasks/query");
    let open = stage.post(&query, &[(X_ACS, &app)], &json!({"isDone": false})).await;
    assert!(open.body.contains("From an agent"));
}

#[actix_web::test]
async fn dingtalk_lets_the_app_name_anybody() {
    let stage = Stage::open().await;
    let app = stage.ding_app_token().await;
    let mut roots = Vec::new();
    for email in [ALICE, BOB] {
        let user = stage.ding_login(email, "openid corpid").await["accessToken"].as_str().unwrap().to_owned();
        let union = stage.ding_me(&user).await.text("/unionId");
        let events =
            stage.ding(&format!("/v1.0/calendar/users/{union}/calendars/primary/events"), &app).await;
        assert!(!events.json()["events"].as_array().unwrap().is_empty());
        let mine = stage.ding(&format!("/v2.0/wiki/mineWorkspaces?operatorId={union}"), &app).await;
        let root = mine.text("/workspace/rootNodeId");
        let nodes =
            stage.ding(&format!("/v2.0/wiki/nodes?parentNodeId={root}&operatorId={union}"), &app).await;
        assert!(nodes.body.contains("Projects"), "{}", nodes.body);
        let ids =
            stage.ding(&format!("/v2.0/doc/dentries/{root}/queryDentryId?operatorId={union}"), &app).await;
        let space = ids.text("/spaceId");
        let files = stage
            .ding(&format!("/v1.0/storage/spaces/{space}/dentries?parentId=0&unionId={union}"), &app)
            .await;
        assert!(files.body.contains("Private"));
        let path = format!("/dingtalk/oapi/topapi/user/getbyunionid?access_token={app}");
        let person = stage.post(&path, &[], &json!({"unionid": union})).await;
        assert!(!person.text("/result/userid").is_empty());
        roots.push((union, space));
    }
    let [(alice, _), (_, bobs_space)] = roots.as_slice() else { panic!() };
    let crossed = format!("/v1.0/storage/spaces/{bobs_space}/dentries?parentId=0&unionId={alice}");
    assert_eq!(stage.ding(&crossed, &app).await.text("/code"), "permissionDenied");
    let missing = format!("/v1.0/storage/spaces/{bobs_space}/dentries?parentId=0");
    assert_eq!(stage.ding(&missing, &app).await.status, 400);

    let query = form(&[("appkey", "valetkey-sandbox"), ("appsecret", SECRET)]);
    let old = stage.get(&format!("/dingtalk/oapi/gettoken?{query}"), &[]).await;
    assert_eq!(old.text("/access_token"), app);
    let unknown = json!({"unionid": "nobody"});
    let path = "/dingtalk/oapi/topapi/user/getbyunionid?access_token=";
    assert_eq!(stage.post(&format!("{path}{app}"), &[], &unknown).await.code(), (200, 60121));
    assert_eq!(stage.post(&format!("{path}junk"), &[], &unknown).await.code(), (200, 40014));
    stage.advance(7201).await;
    assert_eq!(stage.post(&format!("{path}{app}"), &[], &unknown).await.code(), (200, 42001));
    assert_eq!(stage.ding(&crossed, &app).await.text("/code"), "InvalidAuthentication");
}
