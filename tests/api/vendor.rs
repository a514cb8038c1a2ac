//! A vendor's API byte by byte: it answers what a test writes, and remembers what it was sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use valetkey::app::demo::Ground;

use crate::app::TestApp;

/// What the vendor does with one connection, once a request's head is there.
pub enum Then {
    /// Writes that and closes.
    Answers(String),
    /// Closes without a word.
    Closes,
    /// Writes what comes, and stays until the other side goes.
    Stays(mpsc::UnboundedReceiver<String>),
}

/// One request: its head, and what came after it until the connection's end.
#[derive(Clone, Default)]
pub struct Seen {
    bytes: Arc<Mutex<Vec<u8>>>,
    gone: Arc<Notify>,
}

impl Seen {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// The head, in lower case.
    pub fn head(&self) -> String {
        self.text().split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase()
    }

    /// Returns when that many bytes have come.
    pub async fn holds(&self, bytes: usize) {
        for _ in 0..2000 {
            if self.bytes.lock().unwrap().len() >= bytes {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} of {bytes} bytes came", self.bytes.lock().unwrap().len());
    }

    /// Returns when the other side has closed.
    pub async fn closed(&self) {
        let closed = tokio::time::timeout(Duration::from_secs(20), self.gone.notified());
        closed.await.expect("the connection to the provider is still open");
    }
}

/// The vendor: Graph, and the storage that its redirects lead to.
#[derive(Clone, Default)]
pub struct Vendor {
    script: Arc<Mutex<VecDeque<Then>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    came: Arc<Notify>,
}

impl Vendor {
    /// A product for which this is Graph; everything else is the sandbox.
    pub async fn on_a_new_app() -> (Vendor, TestApp) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let vendor = Vendor::default();
        tokio::spawn(vendor.clone().serves(listener));
        let origins = [
            ("https://graph.microsoft.com", "graph"),
            ("https://files.sharepoint.com", "storage"),
            ("https://other.example", "other"),
        ]
        .map(|(origin, path)| (origin.to_owned(), format!("http://127.0.0.1:{port}/{path}")));
        let app = TestApp::start_on(Ground { origins: origins.to_vec(), ..Ground::default() }).await;
        (vendor, app)
    }

    async fn serves(self, listener: TcpListener) {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(self.clone().meets(connection));
        }
    }

    async fn meets(self, mut connection: TcpStream) {
        let seen = Seen::default();
        let mut buffer = vec![0; 64 * 1024];
        while !seen.text().contains("\r\n\r\n") {
            match connection.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => seen.bytes.lock().unwrap().extend_from_slice(&buffer[..read]),
            }
        }
        self.seen.lock().unwrap().push(seen.clone());
        self.came.notify_waiters();
        let then = self.script.lock().unwrap().pop_front().expect("nothing was written for this request");
        match then {
            Then::Closes => {}
            Then::Answers(answer) => {
                connection.write_all(answer.as_bytes()).await.unwrap();
                // A reset would take away what the other side has not read yet.
                connection.shutdown().await.unwrap();
                while matches!(connection.read(&mut buffer).await, Ok(read) if read > 0) {}
            }
            Then::Stays(mut more) => loop {
                tokio::select! {
                    Some(text) = more.recv() => connection.write_all(text.as_bytes()).await.unwrap(),
                    read = connection.read(&mut buffer) => match read {
                        Ok(0) | Err(_) => break,
                        Ok(read) => seen.bytes.lock().unwrap().extend_from_slice(&buffer[..read]),
                    },
                }
            },
        }
        seen.gone.notify_one();
    }

    /// The next request is met like this.
    pub fn then(&self, then: Then) {
        self.script.lock().unwrap().push_back(then);
    }

    pub fn answers(&self, answer: &str) {
        self.then(Then::Answers(answer.to_owned()));
    }

    /// The next request is answered bit by bit.
    pub fn stays(&self) -> mpsc::UnboundedSender<String> {
        let (sender, more) = mpsc::unbounded_channel();
        self.then(Then::Stays(more));
        sender
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// As if nothing had come yet.
    pub fn forgets(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// The request with that number, when it has come.
    pub async fn request(&self, number: usize) -> Seen {
        loop {
            let came = self.came.notified();
            if let Some(seen) = self.seen().get(number) {
                return seen.clone();
            }
            tokio::time::timeout(Duration::from_secs(20), came).await.expect("no request came");
        }
    }
}
