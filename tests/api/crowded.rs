//! One agent does not take a provider away from the others, however slowly its calls go.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use valetkey::app::demo::people::ALICE;

use crate::app::{Ask, TestApp};
use crate::streams::{CLOSE, MAIL, SEND, head, read_until};
use crate::vendor::Vendor;
use crate::wire::{self, refused};

/// What one agent gets of a host's places where nobody else has any.
const SHARE: usize = 512;

/// A long upload of which only the beginning comes.
async fn dawdles(app: &TestApp, token: &str, length: u64, begun: &[u8]) -> TcpStream {
    let more = format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n{CLOSE}");
    let request = head(app, token, &format!("POST /gateway/{SEND}"), &more);
    let mut client = wire::connect(&app.demo.issuer).await;
    client.write_all(request.as_bytes()).await.unwrap();
    client.write_all(begun).await.unwrap();
    client
}

/// One byte more of each.
async fn drip(clients: &mut [TcpStream]) {
    for client in clients {
        client.write_all(b"x").await.unwrap();
    }
}

#[actix_web::test]
async fn an_agent_with_slow_uploads_leaves_places_to_others_and_loses_its_own_when_suspended() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read Mail.Send").await.token();
    let id_token = app.id_token_of(ALICE);
    let ask = Ask::at("entra").by(&app.assistant).showing(&id_token).scope("Mail.Read");
    let other = app.alice_has_answered(&ask, "Mail.Read").await.token();
    let mut providers = Vec::new();
    let mut clients = Vec::new();
    for number in 0..SHARE {
        providers.push(vendor.stays());
        clients.push(dawdles(&app, &token, 70_000, b"{").await);
        if number % 64 == 63 {
            vendor.request(number).await;
            drip(&mut clients).await;
        }
    }
    let fine = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{CLOSE}\r\n{{}}");
    let more = app.calls(&token, "GET", MAIL).await;
    assert_eq!(more.refusal(), refused(503, "temporarily_unavailable"), "{}", more.body_text());
    assert!(more.text("error_description").contains("of this agent"), "{}", more.body_text());
    assert!(more.header("retry-after").is_some() && more.header("x-valetkey-event").is_some());
    assert_eq!(vendor.seen().len(), SHARE, "the provider has seen it");
    vendor.answers(&fine);
    let others = app.calls(&other, "GET", MAIL).await;
    assert_eq!(others.status, 200, "{}", others.body_text());

    let path = format!("/agents/{}", app.personal.id);
    app.admin_does(&format!("{path}/suspend"), &json!({"reason": "test"})).await;
    app.pass(31);
    drip(&mut clients).await;
    for client in &mut clients {
        let answer = read_until(client, "\0").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    for seen in vendor.seen().iter().take(SHARE) {
        seen.closed().await;
    }
    app.admin_does(&format!("{path}/resume"), &json!({})).await;
    vendor.answers(&fine);
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200, "its places are free");
    app.stops().await;
}

#[actix_web::test]
async fn an_upload_that_hardly_moves_is_ended_and_one_that_does_goes_on() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Send").await.token();
    for (number, (length, waits, is_ended)) in
        [(300_000, 63, false), (4_000_000_000, 70, true)].into_iter().enumerate()
    {
        let provider = vendor.stays();
        let mut client = dawdles(&app, &token, length, &vec![b'x'; 100_000]).await;
        let seen = vendor.request(number).await;
        seen.holds(100_000).await;
        app.pass(waits);
        if is_ended {
            client.write_all(b"x").await.unwrap();
            // It may have begun to wait for that byte only now.
            app.pass(waits);
            let _ = client.write_all(b"x").await;
            let answer = read_until(&mut client, "\0").await;
            assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("too slowly"), "{answer}");
            seen.closed().await;
            continue;
        }
        client.write_all(&vec![b'x'; 200_000]).await.unwrap();
        provider.send(format!("HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n{CLOSE}\r\ngood")).unwrap();
        let answer = read_until(&mut client, "good").await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
    app.stops().await;
}
