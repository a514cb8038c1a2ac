//! The sandbox's reading of Entra ID and Graph.

use serde_json::{Value, json};

use crate::okta::{VERIFIER, page};
use crate::stage::{ALICE, Answer, BOB, REDIRECT, SECRET, Stage, claims, text};

const ENTRA: &str = "/entra/login/11111111-2222-4333-8444-555555555555/oauth2/v2.0";

impl Stage {
    pub async fn entra_token(&self, pairs: &[(&str, &str)]) -> Answer {
        let mut all = vec![("client_id", "valetkey-sandbox"), ("client_secret", SECRET)];
        all.extend_from_slice(pairs);
        self.post_form(&format!("{ENTRA}/token"), &[], &all).await
    }

    pub async fn entra_login(&self, scope: &str, email: &str) -> Value {
        let back = self.decide(&page(ENTRA, scope), email, "allow").await;
        let code = back.param("code").expect("a code");
        let answer = self
            .entra_token(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", REDIRECT),
                ("code_verifier", VERIFIER),
            ])
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }
}

#[tokio::test]
async fn entra_tokens_carry_every_consent_and_spent_refresh_tokens_stay_good() {
    let stage = Stage::open().await;
    stage.entra_login("openid profile offline_access User.Read Mail.ReadWrite", ALICE).await;
    let tokens = stage
        .entra_login("openid profile offline_access https://graph.microsoft.com/Calendars.Read", ALICE)
        .await;
    let all = "openid profile https://graph.microsoft.com/Calendars.Read https://graph.microsoft.com/Mail.ReadWrite https://graph.microsoft.com/User.Read";
    assert_eq!(text(&tokens, "scope"), all);
    let refresh = text(&tokens, "refresh_token");
    let pairs =
        [("grant_type", "refresh_token"), ("refresh_token", refresh), ("scope", "User.Read offline_access")];
    let first = stage.entra_token(&pairs).await.json();
    // Spelled as this request spelled them.
    assert_eq!(text(&first, "scope"), all.replace("https://graph.microsoft.com/", ""));
    assert_ne!(text(&first, "refresh_token"), refresh);
    stage.advance(3600).await;
    assert_eq!(stage.entra_token(&pairs).await.status, 200);
    let more = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("scope", "Chat.Read")];
    assert_eq!(stage.entra_token(&more).await.json()["error_codes"], json!([65001]));
    let id = claims(text(&tokens, "id_token"));
    assert_eq!(text(&id, "tid"), "11111111-2222-4333-8444-555555555555");
    assert_eq!(text(&id, "preferred_username"), ALICE);
}

#[tokio::test]
async fn graph_pages_filters_and_refuses_as_graph_does() {
    let stage = Stage::open().await;
    let tokens = stage.entra_login("openid offline_access Mail.Read Files.Read Chat.Read", BOB).await;
    let access = text(&tokens, "access_token");
    let graph = "/entra/graph/v1.0";
    let page = stage.get_as(access, &format!("{graph}/me/messages?$top=5&$select=subject")).await.json();
    assert_eq!(page["value"].as_array().unwrap().len(), 5);
    let next = text(&page, "@odata.nextLink").to_owned();
    assert!(
        next.starts_with("https://graph.microsoft.com/v1.0/me/messages?") && next.contains("$skip=5"),
        "{next}"
    );
    let filter = "$filter=receivedDateTime%20ge%202026-03-01T00:00:00Z%20and%20receivedDateTime%20lt%202026-05-01T00:00:00Z&$top=100";
    let spring = stage.get_as(access, &format!("{graph}/me/messages?{filter}")).await.json();
    let received: Vec<&str> =
        spring["value"].as_array().unwrap().iter().map(|m| text(m, "receivedDateTime")).collect();
    assert!(
        !received.is_empty() && received.iter().all(|r| ("2026-03-01".."2026-05-01").contains(r)),
        "{received:?}"
    );
    let inefficient = stage.get_as(access, &format!("{graph}/me/messages?{filter}&$orderby=subject")).await;
    assert_eq!(text(&inefficient.json()["error"], "code"), "InefficientFilter");
    let inbox =
        stage.get_as(access, &format!("{graph}/ME/mailfolders('inbox')/messages?$top=1")).await.json();
    let folder = stage.get_as(access, &format!("{graph}/me/mailFolders/inbox")).await.json();
    assert_eq!(inbox["value"][0]["parentFolderId"], folder["id"]);
    let plan = stage.get_as(access, &format!("{graph}/me/drive/root:/Projects/2026/plan.md")).await.json();
    let content =
        stage.get_as(access, &format!("{graph}/me/drive/items/{}/content", text(&plan, "id"))).await;
    // The bytes are elsewhere, at an address that needs no token.
    let address = content.location();
    assert_eq!(address.host_str(), Some("example-my.sharepoint.com"));
    let path = format!("/entra/storage{}", &address[url::Position::BeforePath..]);
    assert!(stage.get(&path, &[]).await.body.contains("Plan for 2026"));
    stage.advance(3601).await;
    assert_eq!(stage.get(&path, &[]).await.status, 401);
    let filter = "$filter=receivedDateTime%20ge%202026-11-01%20or%20(subject%20eq%20%27x%27)";
    assert_eq!(
        stage.get_as(access, &format!("{graph}/me/messages?{filter}")).await.status,
        401,
        "an hour is over"
    );
    let tokens = stage.entra_login("openid offline_access Mail.Read Files.Read Chat.Read", BOB).await;
    let access = text(&tokens, "access_token");
    let autumn = stage.get_as(access, &format!("{graph}/me/messages?{filter}")).await.json();
    assert_eq!(autumn["value"].as_array().unwrap().len(), 4);
    let unknown =
        stage.get_as(access, &format!("{graph}/me/messages?$filter=length(subject)%20gt%203")).await;
    assert_eq!(unknown.status, 400);
    let listed =
        stage.get_as(access, &format!("{graph}/me/drive/root:/Projects/2026:/children")).await.json();
    assert_eq!(listed["value"].as_array().unwrap().len(), 4);
    assert!(listed["value"].as_array().unwrap().iter().any(|item| item["remoteItem"]["id"].is_string()));
    assert_eq!(stage.get_as(access, &format!("{graph}/me/events")).await.status, 403);
    assert_eq!(stage.get_as(access, &format!("{graph}/users/alice@example.com/messages")).await.status, 403);
    assert_eq!(stage.get_as(access, &format!("{graph}/users/bob@example.com/messages")).await.status, 200);
    assert_eq!(stage.get(&format!("{graph}/me/messages"), &[]).await.status, 401);
    let send =
        json!({"message": {"subject": "x", "toRecipients": [{"emailAddress": {"address": "a@b.example"}}]}});
    assert_eq!(stage.post_as(access, &format!("{graph}/me/sendMail"), &send).await.status, 403);
    let batch = json!({"requests": [{"id": "1", "method": "GET", "url": "/me/messages?$top=1"}]});
    let batch = stage.post_as(access, &format!("{graph}/$batch"), &batch).await.json();
    assert_eq!(batch["responses"][0]["status"], 200);
}
