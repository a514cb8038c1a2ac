//! A small web server whose documents a test changes, such as keys at a URL.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use valetkey::app::demo::Ground;

use crate::app::TestApp;

/// A small web server whose documents a test changes.
pub struct Published {
    documents: Arc<Mutex<Vec<(String, String)>>>,
    fetched: Arc<AtomicUsize>,
    url: String,
}

impl Published {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let documents: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let fetched = Arc::new(AtomicUsize::new(0));
        let (served, counted) = (documents.clone(), fetched.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                let line = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                counted.fetch_add(1, Ordering::SeqCst);
                let found =
                    served.lock().unwrap().iter().find(|(at, _)| *at == path).map(|(_, body)| body.clone());
                let (status, body) = found.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { documents, fetched, url }
    }

    pub fn publishes(&self, path: &str, document: &Value) {
        let mut documents = self.documents.lock().unwrap();
        documents.retain(|(at, _)| at != path);
        documents.push((path.to_owned(), document.to_string()));
    }

    /// Nothing is there any more.
    pub fn withdraws_everything(&self) {
        self.documents.lock().unwrap().clear();
    }

    pub fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }
}

/// A broker to which this server is that origin.
pub async fn app_that_reads(published: &Published, origin: &str) -> TestApp {
    let origins = vec![(origin.to_owned(), published.url.clone())];
    TestApp::start_on(Ground { origins, ..Ground::default() }).await
}
