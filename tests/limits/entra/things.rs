//! What there is at Graph, by name.

use serde_json::Value;
use valetkey::kernel::encode;
use valetkey::sandbox::world::content::{
    BEYOND_CALENDAR, BEYOND_CHAT, BEYOND_DATE, BEYOND_DOCUMENT, BEYOND_FOLDER, BEYOND_SENDER, BEYOND_TREE,
    BEYOND_WINDOW,
};

use crate::stage::Stage;

/// Learns what there is, as anybody with the provider token would.
pub async fn learn(stage: &mut Stage) {
    let list = async |stage: &Stage, path: &str| -> Vec<Value> {
        let answer = stage.raw_json(&format!("GET {path}"), &Value::Null).await;
        answer["value"].as_array().unwrap().clone()
    };
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let me = stage.raw_json("GET /v1.0/me", &Value::Null).await;
    stage.know("me", &text(&me, "id"), &[]);
    for mail in list(stage, "/v1.0/me/messages?$top=1000").await {
        let words = &[BEYOND_FOLDER, BEYOND_DATE, BEYOND_SENDER];
        let (subject, id) = (text(&mail, "subject"), text(&mail, "id"));
        stage.know_by_text(format!("mail:{subject}"), &id, &mail, words);
        if mail["hasAttachments"] == true {
            let files = list(stage, &format!("/v1.0/me/messages/{id}/attachments")).await;
            stage.know_by_text(format!("attachment:{subject}"), &text(&files[0], "id"), &mail, words);
        }
    }
    for folder in list(stage, "/v1.0/me/mailFolders?$top=100").await {
        let beyond: &[&'static str] = if folder["displayName"] == "Inbox" { &[] } else { &[BEYOND_FOLDER] };
        stage.know(format!("folder:{}", text(&folder, "displayName")), &text(&folder, "id"), beyond);
    }
    for item in list(stage, "/v1.0/me/drive/root/delta").await {
        let above = item["parentReference"]["path"].as_str().unwrap();
        let above = above.split_once("root:").unwrap().1.trim_start_matches('/').to_owned();
        let name = text(&item, "name");
        let path = if above.is_empty() { name } else { format!("{above}/{name}") };
        let inside = path.starts_with("Projects/2026");
        // What stands above the inside is named by what lies in it.
        let beyond: &[&'static str] = match path.as_str() {
            "Projects" | "Projects/2026" | "Projects/2026/plan.md" => &[],
            "Projects/2026/Team plans" => &[BEYOND_TREE, BEYOND_DOCUMENT],
            _ if inside => &[BEYOND_DOCUMENT],
            _ => &[BEYOND_TREE, BEYOND_DOCUMENT],
        };
        stage.know(format!("file:{path}"), &text(&item, "id"), beyond);
        stage.know(
            format!("share:{path}"),
            &format!("u!{}", encode::base64url(text(&item, "webUrl").as_bytes())),
            &[],
        );
        if let Some(remote) = item.get("remoteItem") {
            stage.know("drive:team", remote["parentReference"]["driveId"].as_str().unwrap(), &[]);
            stage.know("team:Team plans", remote["id"].as_str().unwrap(), &[BEYOND_TREE]);
        }
    }
    let drive = stage.raw_json("GET /v1.0/me/drive", &Value::Null).await;
    stage.know("drive:mine", &text(&drive, "id"), &[]);
    let team = stage.filled("/v1.0/drives/{drive:team}/root/delta");
    for item in list(stage, &team).await {
        stage.know(format!("team:{}", text(&item, "name")), &text(&item, "id"), &[BEYOND_TREE]);
    }
    let sites = list(stage, "/v1.0/sites").await;
    stage.know("site:team", &text(&sites[0], "id"), &[]);
    for calendar in list(stage, "/v1.0/me/calendars").await {
        let (name, id) = (text(&calendar, "name"), text(&calendar, "id"));
        stage.know(format!("calendar:{name}"), &id, if name == "Work" { &[] } else { &[BEYOND_CALENDAR] });
        for event in list(stage, &format!("/v1.0/me/calendars/{id}/events?$top=100")).await {
            let day = event["start"]["dateTime"].as_str().unwrap()[..10].to_owned();
            let words = &[BEYOND_CALENDAR, BEYOND_WINDOW];
            stage.know_by_text(
                format!("event:{}@{day}", text(&event, "subject")),
                &text(&event, "id"),
                &event,
                words,
            );
        }
    }
    for chat in list(stage, "/v1.0/me/chats").await {
        let (name, id) = (chat["topic"].as_str().unwrap_or("Alice and Bob").to_owned(), text(&chat, "id"));
        let beyond: &[&'static str] = if name == "Project Alpha" { &[] } else { &[BEYOND_CHAT] };
        stage.know(format!("chat:{name}"), &id, beyond);
        let messages = list(stage, &format!("/v1.0/chats/{id}/messages")).await;
        stage.know(format!("message:{name}"), &text(&messages[0], "id"), &[]);
    }
}
