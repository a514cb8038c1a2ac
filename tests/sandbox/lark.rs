//! Lark: consent, codes, single-use refresh tokens, narrowing, and what scopes open.

use reqwest::Method;
use serde_json::{Value, json};
use valetkey::kernel::encode;
use valetkey::sandbox::tokens::sha256;

use crate::stage::{ALICE, Answer, BOB, MALLORY, REDIRECT, SECRET, Stage, form};

const VERIFIER: &str = "0123456789012345678901234567890123456789abc";
const LARK_AUTHORIZE: &str = "/lark/accounts/open-apis/authen/v1/authorize";
const LARK_TOKEN: &str = "/lark/open/open-apis/authen/v2/oauth/token";

impl Stage {
    pub(crate) fn lark_page(scope: &str) -> String {
        let challenge = encode::base64url(&encode::from_hex(&sha256(VERIFIER)).unwrap());
        let query = form(&[
            ("client_id", "valetkey-sandbox"),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("state", "st-1"),
            ("scope", scope),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        format!("{LARK_AUTHORIZE}?{query}")
    }

    pub(crate) async fn lark_code(&self, scope: &str, email: &str) -> String {
        let back = self.decide(&Self::lark_page(scope), email, "allow").await;
        assert_eq!(back.param("state").as_deref(), Some("st-1"));
        back.param("code").unwrap()
    }

    pub(crate) async fn lark_token(&self, more: Value) -> Answer {
        let mut body = json!({"client_id": "valetkey-sandbox", "client_secret": SECRET});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post(LARK_TOKEN, &[], &body).await
    }

    pub(crate) async fn lark_redeem(&self, code: &str) -> Answer {
        let grant = "authorization_code";
        self.lark_token(json!({
            "grant_type": grant, "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER,
        }))
        .await
    }

    pub(crate) async fn lark_refresh(&self, token: &str, scope: Option<&str>) -> Answer {
        let mut body = json!({"grant_type": "refresh_token", "refresh_token": token});
        if let Some(scope) = scope {
            body["scope"] = json!(scope);
        }
        self.lark_token(body).await
    }

    pub(crate) async fn lark(&self, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.get(&format!("/lark/open/open-apis{path}"), &[("authorization", &bearer)]).await
    }
}

#[actix_web::test]
async fn lark_consents_redeems_and_reads_what_the_scopes_open() {
    let stage = Stage::open().await;
    let code = stage.lark_code("offline_access docx:document:readonly space:document:retrieve", ALICE).await;
    let tokens = stage.lark_redeem(&code).await;
    assert_eq!(tokens.code(), (200, 0));
    assert_eq!(tokens.json()["expires_in"], 7200);
    assert_eq!(tokens.json()["refresh_token_expires_in"], 604_800);
    assert_eq!(tokens.text("/scope"), "docx:document:readonly offline_access space:document:retrieve");
    let token = tokens.text("/access_token");

    let me = stage.lark("/authen/v1/user_info", &token).await;
    assert_eq!(me.text("/data/tenant_key"), "2ed263bf32cf1651");
    assert_eq!(me.json().pointer("/data/email"), None, "that field has a scope of its own");

    let root = stage.lark("/drive/v1/files", &token).await.json();
    let find = |list: &Value, name: &str| {
        let files = list["data"]["files"].as_array().unwrap();
        let found =
            files.iter().find(|file| file["name"] == name).unwrap_or_else(|| panic!("no {name}: {list}"));
        found["token"].as_str().unwrap().to_owned()
    };
    let projects = find(&root, "Projects");
    let year = stage.lark(&format!("/drive/v1/files?folder_token={projects}"), &token).await.json();
    let year = find(&year, "2026");
    let listed = stage.lark(&format!("/drive/v1/files?folder_token={year}"), &token).await.json();
    let plan = find(&listed, "plan");
    let shortcut = listed["data"]["files"].as_array().unwrap().iter().find(|file| file["type"] == "shortcut");
    assert!(shortcut.unwrap()["shortcut_info"]["target_token"].is_string());
    let text = stage.lark(&format!("/docx/v1/documents/{plan}/raw_content"), &token).await;
    assert!(text.text("/data/content").contains("Ship the beta"));

    let denied = stage.lark("/calendar/v4/calendars", &token).await;
    assert_eq!(denied.code(), (400, 99_991_679));
    assert_eq!(denied.text("/error/permission_violations/0/subject"), "calendar:calendar:read");

    let bob = stage.lark_code("docx:document:readonly", BOB).await;
    let bob = stage.lark_redeem(&bob).await;
    assert_eq!(bob.json().get("refresh_token"), None, "no offline_access, no refresh token");
    let other = stage.lark(&format!("/docx/v1/documents/{plan}"), &bob.text("/access_token")).await;
    assert_eq!(other.code(), (403, 1_770_032));
}

#[actix_web::test]
async fn lark_refuses_codes_by_its_own_numbers() {
    let stage = Stage::open().await;
    let denied = stage.decide(&Stage::lark_page("offline_access"), ALICE, "deny").await;
    assert_eq!(denied.param("error").as_deref(), Some("access_denied"));
    assert_eq!(denied.param("state").as_deref(), Some("st-1"));

    let redeem = |code: &str, verifier: Option<&str>, redirect: &str| {
        let mut body = json!({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect});
        if let Some(verifier) = verifier {
            body["code_verifier"] = json!(verifier);
        }
        body
    };
    let code = stage.lark_code("offline_access", ALICE).await;
    assert_eq!(stage.lark_token(redeem(&code, None, REDIRECT)).await.code(), (400, 20049));
    assert_eq!(stage.lark_redeem(&code).await.code(), (400, 20065));
    let code = stage.lark_code("offline_access", ALICE).await;
    assert_eq!(
        stage.lark_token(redeem(&code, Some(VERIFIER), "https://other.example/")).await.code(),
        (400, 20071)
    );
    assert_eq!(stage.lark_redeem("made-up").await.code(), (400, 20003));
    let code = stage.lark_code("offline_access", ALICE).await;
    stage.advance(301).await;
    assert_eq!(stage.lark_redeem(&code).await.code(), (400, 20004));

    let wrong = json!({"grant_type": "refresh_token", "refresh_token": "x", "client_secret": "wrong"});
    assert_eq!(stage.lark_token(wrong).await.code(), (400, 20002));
    assert_eq!(stage.lark_token(json!({"grant_type": "password"})).await.code(), (400, 20036));
    assert_eq!(stage.lark_token(json!({})).await.code(), (400, 20001));
    let basic = format!("Basic {}", encode::base64(format!("valetkey-sandbox:{SECRET}").as_bytes()));
    let body = json!({
        "grant_type": "refresh_token", "client_id": "valetkey-sandbox", "client_secret": SECRET, "refresh_token": "x",
    });
    assert_eq!(stage.post(LARK_TOKEN, &[("authorization", &basic)], &body).await.code(), (400, 20070));

    let many: Vec<String> = (0..51).map(|_| "docx:document".to_owned()).collect();
    assert_eq!(stage.get(&Stage::lark_page(&many.join(" ")), &[]).await.status, 400);
    assert!(stage.get(&Stage::lark_page("no:such:scope"), &[]).await.body.contains("20027"));
}

#[actix_web::test]
async fn lark_rotates_strictly_and_narrows_each_token_alone() {
    let stage = Stage::open().await;
    let code = stage.lark_code("offline_access docx:document:readonly calendar:calendar:read", ALICE).await;
    let first = stage.lark_redeem(&code).await;
    let spent = first.text("/refresh_token");

    let wrong = stage.lark_refresh(&spent, Some("offline_access im:chat:read")).await;
    assert_eq!(wrong.code(), (400, 20068));
    let twice = stage.lark_refresh(&spent, Some("offline_access offline_access")).await;
    assert_eq!(twice.code(), (400, 20067));
    let narrow = stage.lark_refresh(&spent, Some("offline_access docx:document:readonly")).await;
    assert_eq!(narrow.text("/scope"), "docx:document:readonly offline_access");
    let calendars = stage.lark("/calendar/v4/calendars", &narrow.text("/access_token")).await;
    assert_eq!(calendars.code(), (400, 99_991_679));
    // The old access token stays good, and the grant keeps what the narrowed token left out.
    assert_eq!(stage.lark("/calendar/v4/calendars", &first.text("/access_token")).await.code(), (200, 0));
    let wide = stage.lark_refresh(&narrow.text("/refresh_token"), None).await;
    assert!(wide.text("/scope").contains("calendar:calendar:read"));

    assert_eq!(stage.lark_refresh(&spent, None).await.code(), (400, 20073));
    let state = stage.state("lark").await;
    assert_eq!(state["reuse_detected"], 1);
    assert_eq!(state["refreshes"][ALICE], 2);
    assert_eq!(state["live_refresh"], json!([sha256(&wide.text("/refresh_token"))]));

    stage.advance(7201).await;
    let expired = stage.lark("/calendar/v4/calendars", &wide.text("/access_token")).await;
    assert_eq!(expired.code(), (400, 99_991_677));
    let renewed = stage.lark_refresh(&wide.text("/refresh_token"), None).await;
    stage.advance(604_801).await;
    assert_eq!(stage.lark_refresh(&renewed.text("/refresh_token"), None).await.code(), (400, 20037));
}

#[actix_web::test]
async fn where_the_rule_says_so_a_spent_token_that_comes_back_ends_the_whole_family() {
    let stage = Stage::open().await;
    let family = async || {
        let code = stage.lark_code("offline_access docx:document:readonly", ALICE).await;
        stage.lark_redeem(&code).await.text("/refresh_token")
    };
    let renewed = async |token: &str| stage.lark_refresh(token, None).await;

    // Lark's own way: the spent one is refused, the next one goes on.
    let spent = family().await;
    let next = renewed(&spent).await.text("/refresh_token");
    assert_eq!(renewed(&spent).await.code(), (400, 20073));
    assert_eq!(renewed(&next).await.code(), (200, 0));

    let rule = json!({"rotation": "ends_family"});
    assert_eq!(stage.control(Method::PUT, "lark/refresh", &rule).await.status, 204);
    let (spent, other) = (family().await, family().await);
    let next = renewed(&spent).await;
    let access = next.text("/access_token");
    assert_eq!(renewed(&spent).await.code(), (400, 20073));
    assert_eq!(renewed(&next.text("/refresh_token")).await.code(), (400, 20064));
    assert_eq!(stage.lark("/authen/v1/user_info", &access).await.code(), (400, 99_991_668));
    assert_eq!(renewed(&other).await.code(), (200, 0), "another sign-in is another family");
    // Every showing of a spent token is counted, also when the family has ended.
    assert_eq!(stage.state("lark").await["reuse_detected"], 2);
    assert_eq!(renewed(&spent).await.code(), (400, 20064));
    assert_eq!(stage.state("lark").await["reuse_detected"], 3);

    stage.control(Method::PUT, "lark/refresh", &json!({"rotation": {"grace": 30}})).await;
    let first = family().await;
    renewed(&first).await;
    assert_eq!(renewed(&first).await.code(), (200, 0));
    stage.control(Method::DELETE, "lark/refresh", &Value::Null).await;
    assert_eq!(renewed(&first).await.code(), (400, 20073));
    for unknown in [json!({"rotation": "never"}), json!({"rotation": "same", "more": 1}), json!({})] {
        assert_eq!(stage.control(Method::PUT, "lark/refresh", &unknown).await.status, 400, "{unknown}");
    }
}

#[actix_web::test]
async fn lark_consents_add_up_and_end_after_a_year() {
    let stage = Stage::open().await;
    let first = stage.lark_code("offline_access docx:document:readonly", ALICE).await;
    stage.lark_redeem(&first).await;
    let second = stage.lark_code("offline_access im:chat:read", ALICE).await;
    let tokens = stage.lark_redeem(&second).await;
    assert_eq!(tokens.text("/scope"), "docx:document:readonly im:chat:read offline_access");
    let mut refresh = tokens.text("/refresh_token");
    for _ in 0..60 {
        stage.advance(6 * 86_400).await;
        refresh = stage.lark_refresh(&refresh, None).await.text("/refresh_token");
    }
    stage.advance(6 * 86_400).await;
    assert_eq!(stage.lark_refresh(&refresh, None).await.code(), (400, 20037));
}

#[actix_web::test]
async fn lark_takes_forms_revokes_and_knows_other_tenants() {
    let stage = Stage::open().await;
    let code = stage.lark_code("offline_access docx:document:readonly", MALLORY).await;
    let redeemed = stage
        .post_form(
            LARK_TOKEN,
            &[],
            &[
                ("grant_type", "authorization_code"),
                ("client_id", "valetkey-sandbox"),
                ("client_secret", SECRET),
                ("code", &code),
                ("code_verifier", VERIFIER),
            ],
        )
        .await;
    assert_eq!(redeemed.code(), (200, 0));
    let (access, refresh) = (redeemed.text("/access_token"), redeemed.text("/refresh_token"));
    let me = stage.lark("/authen/v1/user_info", &access).await;
    assert_ne!(me.text("/data/tenant_key"), "2ed263bf32cf1651");
    let revoked = stage
        .post_form(
            "/lark/accounts/oauth/v1/revoke",
            &[],
            &[
                ("client_id", "valetkey-sandbox"),
                ("client_secret", SECRET),
                ("token", &refresh),
                ("token_type_hint", "refresh_token"),
            ],
        )
        .await;
    assert_eq!(revoked.code(), (200, 0));
    assert_eq!(stage.lark("/authen/v1/user_info", &access).await.code(), (400, 99_991_668));
    assert_eq!(stage.lark_refresh(&refresh, None).await.code(), (400, 20064));

    let body = json!({"app_id": "valetkey-sandbox", "app_secret": SECRET});
    let path = "/lark/open/open-apis/auth/v3/tenant_access_token/internal";
    let tenant = stage.post(path, &[], &body).await;
    assert!(tenant.text("/tenant_access_token").starts_with("t-"));
    assert_eq!(
        stage.post(path, &[], &body).await.text("/tenant_access_token"),
        tenant.text("/tenant_access_token")
    );
    let app = stage.lark("/docx/v1/documents/x", &tenant.text("/tenant_access_token")).await;
    assert_eq!(app.code(), (400, 99_991_663));
    assert_eq!(stage.lark("/docx/v1/documents/x", "").await.code(), (400, 99_991_661));
    assert_eq!(stage.lark("/docx/v1/documents/x", "junk").await.code(), (400, 99_991_671));
}

#[actix_web::test]
async fn lark_mail_is_the_users_own_and_shows_fields_by_scope() {
    let stage = Stage::open().await;
    let scopes = "mail:user_mailbox.message:readonly mail:user_mailbox.message.subject:read";
    let code = stage.lark_code(scopes, ALICE).await;
    let token = stage.lark_redeem(&code).await.text("/access_token");
    let list = "/mail/v1/user_mailboxes/me/messages?folder_id=INBOX&page_size=5";
    let listed = stage.lark(list, &token).await;
    assert_eq!(listed.json()["data"]["items"].as_array().unwrap().len(), 5);
    let next = listed.text("/data/page_token");
    let more = stage.lark(&format!("{list}&page_token={next}"), &token).await;
    assert_ne!(more.text("/data/items/0"), listed.text("/data/items/0"));
    let id = listed.text("/data/items/0");
    let mail = stage.lark(&format!("/mail/v1/user_mailboxes/me/messages/{id}"), &token).await.json();
    let mail = &mail["data"]["message"];
    assert!(mail["subject"].is_string() && mail["internal_date"].is_string());
    assert_eq!(mail.get("body_plain_text"), None);
    assert_eq!(mail.get("head_from"), None);
    let other = stage.lark(&format!("/mail/v1/user_mailboxes/{BOB}/messages?page_size=5"), &token).await;
    assert_eq!(other.code(), (403, 1_234_017));
}

#[actix_web::test]
async fn lark_answers_on_its_real_paths_for_calendars_chats_wikis_and_bases() {
    let stage = Stage::open().await;
    let code = stage
        .lark_code(
            "calendar:calendar:read calendar:calendar.event:read im:message:readonly \
             im:message.group_msg:get_as_user im:chat:read wiki:node:retrieve wiki:space:retrieve \
             bitable:app:readonly search:docs:read contact:contact.base:readonly docx:document",
            ALICE,
        )
        .await;
    let token = stage.lark_redeem(&code).await.text("/access_token");
    let calendars = stage.lark("/calendar/v4/calendars", &token).await;
    let calendar = calendars.text("/data/calendar_list/0/calendar_id");
    // 2026-08-01 to 2026-09-01.
    let window = "start_time=1785542400&end_time=1788220800";
    let events = stage.lark(&format!("/calendar/v4/calendars/{calendar}/events?{window}"), &token).await;
    assert_eq!(events.text("/data/items/0/summary"), "Project Alpha: milestones");
    assert_eq!(events.json()["data"]["items"].as_array().unwrap().len(), 1);
    let long =
        format!("/calendar/v4/calendars/{calendar}/events/instance_view?start_time=1&end_time=9999999");
    assert_eq!(stage.lark(&long, &token).await.code(), (400, 190_002));

    let chats = stage.lark("/im/v1/chats", &token).await;
    let chat = chats.text("/data/items/0/chat_id");
    let messages =
        stage.lark(&format!("/im/v1/messages?container_id_type=chat&container_id={chat}"), &token).await;
    assert_eq!(messages.json()["data"]["items"].as_array().unwrap().len(), 8);

    let space = stage.lark("/wiki/v2/spaces", &token).await.text("/data/items/0/space_id");
    let nodes = stage.lark(&format!("/wiki/v2/spaces/{space}/nodes"), &token).await;
    assert_eq!(nodes.text("/data/items/0/title"), "Company handbook");
    let page = nodes.text("/data/items/0/obj_token");
    assert_eq!(stage.lark(&format!("/docx/v1/documents/{page}/blocks"), &token).await.code(), (200, 0));

    let bearer = format!("Bearer {token}");
    let search = json!({"query": "vendors", "doc_filter": {}});
    let found = stage
        .post("/lark/open/open-apis/search/v2/doc_wiki/search", &[("authorization", &bearer)], &search)
        .await;
    let base = found.text("/data/res_units/0/result_meta/token");
    let tables = stage.lark(&format!("/bitable/v1/apps/{base}/tables"), &token).await;
    let table = tables.text("/data/items/0/table_id");
    let path = format!("/lark/open/open-apis/bitable/v1/apps/{base}/tables/{table}/records/search");
    let records = stage.post(&path, &[("authorization", &bearer)], &json!({})).await;
    assert_eq!(records.json()["data"]["total"], 2);

    let made = json!({"title": "Notes"});
    let made =
        stage.post("/lark/open/open-apis/docx/v1/documents", &[("authorization", &bearer)], &made).await;
    let id = made.text("/data/document/document_id");
    assert_eq!(id.len(), 27);
    let path = format!("/lark/open/open-apis/docx/v1/documents/{id}/blocks/{id}/children");
    let child =
        json!({"children": [{"block_type": 2, "text": {"elements": [{"text_run": {"content": "First"}}]}}]});
    assert_eq!(stage.post(&path, &[("authorization", &bearer)], &child).await.code(), (200, 0));
    let text = stage.lark(&format!("/docx/v1/documents/{id}/raw_content"), &token).await;
    assert_eq!(text.text("/data/content"), "First\n");
    let calls = stage.state("lark").await;
    assert!(calls["api_calls"].as_array().unwrap().len() > 10);
    assert!(!calls.to_string().contains(&token));
}
