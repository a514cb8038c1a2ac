//! What is seen of a running broker from beside it: log lines that can be tied to answers and to the audit log, and
//! spans at a collector. The provider and the collector are servers of this test that keep what they are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, Answer, EXCHANGE, USER};
use crate::deployment::{Deployment, run};

/// The provider that the crowd's agents may use; each of its refresh tokens works once.
pub const PROVIDER: &str = "lark";
pub const CHATS: (&str, &str) = ("GET", "open/open-apis/im/v1/chats");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const REFRESH_TOKEN: &str = "refresh-canary-0123456789";
const NEXT_TOKEN: &str = "refresh-canary-9876543210";
const ACCESS_TOKEN: &str = "access-canary-0123456789";

/// Keeps every request whole, and answers each with what `answer` makes of its first line.
pub struct Keeper {
    pub port: u16,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Keeper {
    fn start(answer: fn(&str) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, kept) = (listener.local_addr().unwrap().port(), Arc::default());
        let keeps: Arc<Mutex<Vec<Vec<u8>>>> = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let keeps = Arc::clone(&keeps);
                std::thread::spawn(move || serve(stream.unwrap(), &keeps, answer));
            }
        });
        Self { port, kept }
    }

    pub fn all(&self) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap().clone()
    }

    fn text(&self) -> String {
        self.all().iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect()
    }
}

fn serve(stream: TcpStream, keeps: &Mutex<Vec<Vec<u8>>>, answer: fn(&str) -> String) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
            if line == "\r\n" {
                break;
            }
        }
        let mut whole = head.clone().into_bytes();
        let from = whole.len();
        whole.resize(from + length, 0);
        reader.read_exact(&mut whole[from..]).unwrap();
        keeps.lock().unwrap().push(whole);
        let body = answer(head.lines().next().unwrap());
        let length = body.len();
        write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
    }
}

pub fn provider() -> Keeper {
    Keeper::start(|line| {
        if line.contains("/oauth/token") {
            json!({
                "code": 0, "access_token": ACCESS_TOKEN, "expires_in": 7200, "token_type": "Bearer",
                "refresh_token": NEXT_TOKEN, "refresh_token_expires_in": 604_800,
                "scope": "offline_access im:chat:read",
            })
            .to_string()
        } else {
            json!({"code": 0, "msg": "success", "data": {"items": []}}).to_string()
        }
    })
}

/// A broker with one person, whose agent may use the provider; the access token is over.
pub struct Stage {
    pub deployment: Deployment,
    pub agent: Agent,
    email: String,
    provider: Keeper,
}

impl Stage {
    pub fn new(settings: &str) -> Self {
        let (mut deployment, provider) = (Deployment::init(), provider());
        deployment.edit(|text| {
            let text = text.replacen("[root_key]", "allow_sandbox = true\n[root_key]", 1);
            let host = "https://open.feishu.cn";
            format!(
                "{text}{settings}\n[outbound.origins]\n\"{host}\" = \"http://127.0.0.1:{}\"\n",
                provider.port
            )
        });
        let client = json!({"client_id": "cli_valetkey", "client_secret": "client-canary-0123456789"});
        let client = deployment.write("client.json", &client.to_string());
        let issued = json!([{"email": "alice@example.com", "refresh_token": REFRESH_TOKEN}]);
        let issued = deployment.write("issued.json", &issued.to_string());
        let (config, out) = (deployment.at("valetkey.toml"), deployment.at("agents"));
        run(
            &[
                "crowd",
                "--config",
                &config,
                "--sandbox",
                &client,
                "--people",
                "1",
                "--each",
                "1",
                "--first",
                PROVIDER,
                "--issued",
                &issued,
                "--ends-in",
                "0",
                "--out",
                &out,
            ],
            &[],
        )
        .ok();
        let mode = fs::metadata(&out).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds secrets");
        let told = fs::read_to_string(&out).unwrap();
        let mut lines = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        deployment.admin_token = lines.next().unwrap()["admin"].as_str().unwrap().to_owned();
        let person = lines.next().unwrap();
        let text = |name: &str| person[name].as_str().unwrap().to_owned();
        deployment.serve();
        let agent = Agent::new(&deployment.issuer, &text("agent"), &text("secret"));
        Self { deployment, agent, email: text("email"), provider }
    }

    async fn exchange(&self, scope: &str) -> Answer {
        let audience = format!("provider:{PROVIDER}");
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", self.email.as_str()),
            ("subject_token_type", USER),
            ("audience", &audience),
            ("scope", scope),
        ];
        let request = self.agent.http.post(format!("{}/oauth2/token", self.agent.issuer));
        let request = request.basic_auth(&self.agent.id, Some(&self.agent.secret));
        let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
        let form = crate::browser::form(&form);
        Answer::of(request.header("content-type", "application/x-www-form-urlencoded").body(form)).await
    }

    async fn call(&self, token: &str) -> Answer {
        let (_, path) = CHATS;
        let url = format!("{}/gateway/{PROVIDER}/{path}?page_token=query-canary", self.agent.issuer);
        let request = self.agent.http.get(url).bearer_auth(token);
        Answer::of(request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"))).await
    }

    /// Waits until spans are counted as dropped.
    async fn until_dropped(&self) {
        loop {
            let told = Answer::of(self.agent.http.get(format!("{}/metrics", self.agent.issuer))).await.body;
            let line = told.lines().find(|line| line.starts_with("valetkey_trace_spans_dropped_total"));
            if !line.unwrap().ends_with(" 0") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// What neither log nor spans may hold.
    fn secrets(&self, token: &str) -> Vec<String> {
        let canaries = [REFRESH_TOKEN, NEXT_TOKEN, ACCESS_TOKEN, "client-canary", "query-canary"];
        let own = [self.agent.secret.as_str(), self.deployment.admin_token.as_str(), token];
        canaries.into_iter().chain(own).map(str::to_owned).collect()
    }
}

fn id_of(answer: &Answer) -> (String, String) {
    let text = |name: &str| answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer:?}")).to_owned();
    (text("x-request-id"), text("x-valetkey-event"))
}

#[tokio::test]
async fn a_log_line_ties_each_answer_to_the_audit_entry_of_what_was_decided() {
    let mut stage = Stage::new("");
    let granted = stage.exchange("im:chat:read").await;
    assert_eq!(granted.status, 200, "{granted:?}");
    let token = granted.text("access_token");
    let refused = stage.exchange("mail:user_mailbox.message:send").await;
    assert_eq!(refused.error(), (400, "invalid_scope".to_owned()));
    let called = stage.call(&token).await;
    assert_eq!(called.status, 200, "{called:?}");
    let audit = stage.deployment.admin(&["audit", "tail", "--json", "--limit", "50"]).json();
    assert_eq!(stage.deployment.terminate(), Some(0));
    let log = fs::read_to_string(stage.deployment.path("log")).unwrap();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (answer, route, kind) in [
        (&granted, "/oauth2/token", "token_decision"),
        (&refused, "/oauth2/token", "token_decision"),
        (&called, "/gateway/{tail}", "gateway_decision"),
    ] {
        let (request, event) = id_of(answer);
        let of_it =
            |line: &&Value| line["target"] == "valetkey::answered" && line["span"]["id"] == request.as_str();
        let line = lines.iter().find(of_it).unwrap_or_else(|| panic!("{request}: {log}"));
        assert_eq!(line["span"]["event"], event.as_str(), "{line}");
        assert_eq!(line["span"]["route"], route, "{line}");
        assert_eq!(line["fields"]["status"], answer.status, "{line}");
        let entries = audit["items"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["id"] == event.as_str());
        let entry = entry.unwrap_or_else(|| panic!("{event}: {audit}"));
        assert_eq!(entry["kind"], kind, "{entry}");
    }
    assert_ne!(id_of(&granted).0, id_of(&refused).0);
    for secret in stage.secrets(&token) {
        assert!(!log.contains(&secret), "{secret}: {log}");
    }
    let asked = stage.provider.text();
    assert!(
        asked.contains(ACCESS_TOKEN) && asked.contains("im/v1/chats"),
        "the provider was called: {asked}"
    );
    assert!(!asked.contains(TRACE) && !asked.to_ascii_lowercase().contains("traceparent"), "{asked}");
}

/// The attributes of a span, as texts.
fn attributes(span: &Value) -> BTreeMap<&str, &str> {
    let value = |pair: &'static str, of: &'_ Value| of["value"][pair].as_str().is_some();
    let all = span["attributes"].as_array().unwrap().iter();
    all.map(|pair| {
        let kind = if value("stringValue", pair) { "stringValue" } else { "intValue" };
        (pair["key"].as_str().unwrap(), pair["value"][kind].as_str().unwrap())
    })
    .collect()
}

/// What a collector makes of what it was sent.
fn spans_at(collector: &Keeper) -> Vec<Value> {
    let mut spans = Vec::new();
    for request in collector.all() {
        let end = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let export: Value = serde_json::from_slice(&request[end..]).unwrap();
        let resource = &export["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "valetkey");
        spans.extend(resource["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
    }
    spans
}

#[tokio::test]
async fn a_collector_gets_spans_under_the_callers_trace_and_no_secret() {
    let collector = Keeper::start(|_| "{}".to_owned());
    let mut stage =
        Stage::new(&format!("[telemetry]\notlp_endpoint = \"http://127.0.0.1:{}\"", collector.port));
    let granted = stage.exchange("im:chat:read").await;
    assert_eq!(granted.status, 200, "{granted:?}");
    let token = granted.text("access_token");
    let called = stage.call(&token).await;
    assert_eq!(called.status, 200, "{called:?}");
    // What is left is sent at the end.
    assert_eq!(stage.deployment.terminate(), Some(0));
    let spans = spans_at(&collector);
    let named = |name: &'static str| {
        spans.iter().filter(move |span| span["traceId"] == TRACE && span["name"] == name).collect::<Vec<_>>()
    };
    for (answer, route) in [(&granted, "/oauth2/token"), (&called, "/gateway/{tail}")] {
        let (request, event) = id_of(answer);
        let is_it = |span: &&Value| attributes(span).get("valetkey.request.id") == Some(&request.as_str());
        let span = named("request").into_iter().find(is_it).unwrap_or_else(|| panic!("{request}: {spans:?}"));
        assert_eq!((span["parentSpanId"].as_str(), span["kind"].as_u64()), (Some(PARENT), Some(2)));
        let has = attributes(span);
        assert_eq!((has["valetkey.event.id"], has["http.route"]), (event.as_str(), route));
        assert_eq!(has["http.response.status_code"], "200");
        let time = |name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
        assert!(time("endTimeUnixNano") > time("startTimeUnixNano"), "{span}");
    }
    // The refresh and the call, decisions and commits, each below the request that needed it.
    let requests: BTreeSet<_> = named("request").iter().map(|span| span["spanId"].to_string()).collect();
    assert_eq!((requests.len(), named("provider").len()), (2, 2), "{spans:?}");
    assert!(named("decision").len() >= 2 && !named("commit").is_empty(), "{spans:?}");
    for span in ["provider", "decision", "commit"].into_iter().flat_map(named) {
        assert!(requests.contains(&span["parentSpanId"].to_string()), "{span}");
    }
    assert!(named("decision").iter().all(|span| attributes(span)["valetkey.outcome"] == "permit"));
    // Nothing but what is listed, and nothing secret anywhere in what was sent.
    let listed = [
        "valetkey.request.id",
        "valetkey.event.id",
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "server.address",
        "valetkey.provider",
        "valetkey.outcome",
    ];
    assert!(spans.iter().all(|span| attributes(span).keys().all(|key| listed.contains(key))), "{spans:?}");
    let (sent, log) = (collector.text(), fs::read_to_string(stage.deployment.path("log")).unwrap());
    for secret in stage.secrets(&token) {
        assert!(!sent.contains(&secret) && !log.contains(&secret), "{secret}");
    }
    assert!(!sent.contains("alice@example.com") && !sent.contains("im/v1/chats"), "{sent}");
    let asked = stage.provider.text();
    assert!(
        asked.contains(ACCESS_TOKEN) && asked.contains("im/v1/chats"),
        "the provider was called: {asked}"
    );
    assert!(!asked.contains(TRACE) && !asked.to_ascii_lowercase().contains("traceparent"), "{asked}");
}

#[tokio::test]
async fn a_collector_that_is_away_or_never_answers_costs_nothing_but_its_spans() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (collector, is_counted) in [(gone, true), (silent.local_addr().unwrap(), false)] {
        let mut stage = Stage::new(&format!("[telemetry]\notlp_endpoint = \"http://{collector}\""));
        let granted = stage.exchange("im:chat:read").await;
        assert_eq!(granted.status, 200, "{granted:?}");
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(stage.call(&granted.text("access_token")).await.status, 200);
        }
        // A call that waited for the collector would take the five seconds that one is given.
        assert!(began.elapsed() < Duration::from_secs(50), "{:?} for 20 calls", began.elapsed());
        if is_counted {
            stage.until_dropped().await;
        }
        assert_eq!(stage.deployment.terminate(), Some(0));
    }
}
