//! A wire tap between the broker and the sandbox: passes bytes on and remembers them. It is how a test
//! learns the secrets that nobody may see, and what the broker really sends.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use valetkey::app::demo::Ground;

use crate::app::TestApp;

type Bytes = Arc<Mutex<Vec<u8>>>;

/// What went over one connection.
#[derive(Clone, Default)]
struct Tape {
    sent: Bytes,
    answered: Bytes,
}

/// The tap.
#[derive(Clone)]
pub struct Tap {
    port: u16,
    to: Arc<Mutex<Option<u16>>>,
    tapes: Arc<Mutex<Vec<Tape>>>,
}

const TAPPED: [(&str, &str); 6] = [
    ("https://example.okta.com", "okta/org"),
    ("https://login.microsoftonline.com", "entra/login"),
    ("https://graph.microsoft.com", "entra/graph"),
    ("https://open.feishu.cn", "lark/open"),
    ("https://api.dingtalk.com", "dingtalk/api"),
    ("https://qyapi.weixin.qq.com", "wecom/qyapi"),
];

impl Tap {
    /// A product whose calls to providers are tapped.
    pub async fn on_a_new_app() -> (Tap, TestApp) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tap =
            Tap { port: listener.local_addr().unwrap().port(), to: Arc::default(), tapes: Arc::default() };
        tokio::spawn(tap.clone().passes_on(listener));
        let to = |path: &str| format!("http://127.0.0.1:{}/{path}", tap.port);
        let origins = TAPPED.iter().map(|(origin, path)| ((*origin).to_owned(), to(path))).collect();
        let app = TestApp::start_on(Ground { origins, ..Ground::default() }).await;
        *tap.to.lock().unwrap() = url::Url::parse(&app.demo.sandbox.url).unwrap().port();
        (tap, app)
    }

    async fn passes_on(self, listener: TcpListener) {
        while let Ok((near, _)) = listener.accept().await {
            let port = self.to.lock().unwrap().expect("the sandbox runs");
            let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let tape = Tape::default();
            self.tapes.lock().unwrap().push(tape.clone());
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::spawn(pump(near_read, far_write, tape.sent));
            tokio::spawn(pump(far_read, near_write, tape.answered));
        }
    }

    fn all(&self, which: impl Fn(&Tape) -> &Bytes) -> String {
        let tapes = self.tapes.lock().unwrap();
        let texts =
            tapes.iter().map(|tape| String::from_utf8_lossy(&which(tape).lock().unwrap()).into_owned());
        texts.collect::<Vec<_>>().join("\n----\n")
    }

    /// Everything that the broker (and browsers at tapped providers) sent.
    pub fn sent(&self) -> String {
        self.all(|tape| &tape.sent)
    }

    /// Everything that the providers answered.
    pub fn answered(&self) -> String {
        self.all(|tape| &tape.answered)
    }

    pub fn forgets(&self) {
        for tape in self.tapes.lock().unwrap().iter() {
            tape.sent.lock().unwrap().clear();
            tape.answered.lock().unwrap().clear();
        }
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    tape: Bytes,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        tape.lock().unwrap().extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
