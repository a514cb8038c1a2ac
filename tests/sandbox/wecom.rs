//! WeCom: a sign-in without user tokens, and an app token that reaches what the app made.

use serde_json::{Value, json};
use valetkey::sandbox::tokens::sha256;

use crate::stage::{ALICE, BOB, MALLORY, REDIRECT, SECRET, Stage, form};

impl Stage {
    pub(crate) fn wecom_page(state: &str) -> String {
        let query = form(&[
            ("login_type", "CorpApp"),
            ("appid", "ww0123456789abcdef"),
            ("agentid", "1000002"),
            ("redirect_uri", REDIRECT),
            ("state", state),
        ]);
        format!("/wecom/login/wwlogin/sso/login?{query}")
    }

    pub(crate) async fn wecom_token(&self) -> String {
        let query = form(&[("corpid", "ww0123456789abcdef"), ("corpsecret", SECRET)]);
        self.get(&format!("/wecom/qyapi/cgi-bin/gettoken?{query}"), &[]).await.text("/access_token")
    }

    pub(crate) async fn wecom(&self, path: &str, token: &str, body: &Value) -> Value {
        let answer = self.post(&format!("/wecom/qyapi/cgi-bin{path}?access_token={token}"), &[], body).await;
        assert_eq!(answer.status, 200, "errors are HTTP 200 here");
        answer.json()
    }
}

#[actix_web::test]
async fn wecom_says_who_came_and_outsiders_get_no_userid() {
    let stage = Stage::open().await;
    let token = stage.wecom_token().await;
    let who =
        |code: String| format!("/wecom/qyapi/cgi-bin/auth/getuserinfo?access_token={token}&code={code}");
    let back = stage.decide(&Stage::wecom_page("st3"), ALICE, "allow").await;
    assert_eq!(back.param("state").as_deref(), Some("st3"));
    let code = back.param("code").unwrap();
    assert_eq!(
        stage.get(&who(code.clone()), &[]).await.json(),
        json!({"errcode": 0, "errmsg": "ok", "userid": "alice"})
    );
    assert_eq!(stage.get(&who(code), &[]).await.code(), (200, 40029));

    let code = stage.decide(&Stage::wecom_page("st3"), MALLORY, "allow").await.param("code").unwrap();
    let outsider = stage.get(&who(code), &[]).await.json();
    assert_eq!(outsider["errcode"], 0);
    assert!(outsider["openid"].is_string() && outsider.get("userid").is_none());

    let refused = stage.decide(&Stage::wecom_page("st3"), ALICE, "deny").await;
    assert_eq!((refused.param("state").as_deref(), refused.param("code")), (Some("st3"), None));
    assert_eq!(stage.get(&Stage::wecom_page("not-alphanumeric"), &[]).await.status, 400);

    let code = stage.decide(&Stage::wecom_page("st3"), BOB, "allow").await.param("code").unwrap();
    stage.advance(301).await;
    assert_eq!(stage.get(&who(code), &[]).await.code(), (200, 40029));
}

#[actix_web::test]
async fn wecoms_app_token_reaches_what_the_app_made_and_nothing_of_members() {
    let stage = Stage::open().await;
    let get = |path: &str, pairs: &[(&str, &str)]| format!("/wecom/qyapi/cgi-bin{path}?{}", form(pairs));
    let wrong = get("/gettoken", &[("corpid", "ww0123456789abcdef"), ("corpsecret", "wrong")]);
    assert_eq!(stage.get(&wrong, &[]).await.code(), (200, 40001));
    let wrong = get("/gettoken", &[("corpid", "ww9"), ("corpsecret", SECRET)]);
    assert_eq!(stage.get(&wrong, &[]).await.code(), (200, 40013));
    let token = stage.wecom_token().await;
    for id in ["alice", "bob"] {
        let record = stage.get(&get("/user/get", &[("access_token", &token), ("userid", id)]), &[]).await;
        assert_eq!(record.text("/userid"), id);
    }
    let nobody = stage.get(&get("/user/get", &[("access_token", &token), ("userid", "mallory")]), &[]).await;
    assert_eq!(nobody.code(), (200, 60111));

    let made = stage.wecom("/wedoc/create_doc", &token, &json!({"doc_type": 3, "doc_name": "Notes"})).await;
    let text = json!({"docid": made["docid"], "requests": [{"insert_text": {"text": "Hello", "location": {"index": 0}}}]});
    assert_eq!(stage.wecom("/wedoc/document/batch_update", &token, &text).await["errcode"], 0);
    let read = stage.wecom("/wedoc/document/get", &token, &json!({"docid": made["docid"]})).await;
    assert_eq!(read["document"]["children"][0]["children"][0]["text"], "Hello");
    assert_eq!(
        stage.wecom("/wedoc/document/get", &token, &json!({"docid": "other"})).await["errcode"],
        40058
    );

    let calendar = stage.wecom("/oa/calendar/add", &token, &json!({"calendar": {"summary": "Team"}})).await;
    let entry = json!({"schedule": {
        "cal_id": calendar["cal_id"], "start_time": 1, "end_time": 2, "summary": "Sync",
        "attendees": [{"userid": "bob"}],
    }});
    let added = stage.wecom("/oa/schedule/add", &token, &entry).await;
    let listed = json!({"cal_id": calendar["cal_id"], "offset": 0, "limit": 10});
    let listed = stage.wecom("/oa/schedule/get_by_calendar", &token, &listed).await;
    assert_eq!(listed["schedule_list"][0]["schedule_id"], added["schedule_id"]);

    let all = json!({"begin_time": 0, "end_time": 1_900_000_000, "limit": 1});
    let mails = stage.wecom("/exmail/app/get_mail_list", &token, &all).await;
    assert_eq!(mails["has_more"], 1);
    let mail = stage.wecom("/exmail/app/read_mail", &token, &mails["mail_list"][0]).await;
    assert!(mail["mail_data"].as_str().unwrap().contains("Subject: "));

    let hello =
        json!({"touser": "alice|ghost", "msgtype": "text", "agentid": 1_000_002, "text": {"content": "Hi"}});
    assert_eq!(stage.wecom("/message/send", &token, &hello).await["invaliduser"], "ghost");
    let other = json!({"touser": "alice", "msgtype": "text", "agentid": 1, "text": {"content": "Hi"}});
    assert_eq!(stage.wecom("/message/send", &token, &other).await["errcode"], 40056);
    assert_eq!(
        stage.wecom("/oa/getapprovaldetail", &token, &json!({"sp_no": "1"})).await["errcode"],
        301_055
    );
    assert_eq!(stage.wecom("/wedoc/create_doc", "junk", &json!({})).await["errcode"], 40014);
    stage.advance(7201).await;
    assert_eq!(stage.wecom("/wedoc/create_doc", &token, &json!({})).await["errcode"], 42001);
    let state = stage.state("wecom").await.to_string();
    assert!(!state.contains(&token) && state.contains(&sha256(&token)) && !state.contains(SECRET));
}
