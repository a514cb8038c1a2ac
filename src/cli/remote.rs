//! Commands that change a running broker speak to its admin API.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use futures_util::StreamExt as _;
use serde_json::Value;
use url::Url;

use crate::kernel::secret::{SecretBytes, SecretString};
use crate::net::http::{HeaderValue, Method, header};
use crate::net::{Call, CallBody, HttpClient, NetError, NetSettings};

/// Which broker, and with which right.
#[derive(Debug, Args)]
pub struct Remote {
    /// The broker's base URL.
    #[arg(long, env = "VALETKEY_SERVER", default_value = "http://127.0.0.1:8443", global = true)]
    server: Url,
    /// A file that holds an admin token; without it the variable VALETKEY_ADMIN_TOKEN is read.
    #[arg(long, global = true)]
    token_file: Option<PathBuf>,
    /// A further CA certificate to trust, PEM.
    #[arg(long, env = "VALETKEY_CA", global = true)]
    ca: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The broker does not do it.
#[derive(Debug)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// Its own words.
    pub words: String,
}

/// A path with those of the members that have a value.
pub fn query(path: &str, members: &[(&str, Option<String>)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in members {
        if let Some(value) = value {
            text.append_pair(name, value);
        }
    }
    let text = text.finish();
    match (text.is_empty(), path.contains('?')) {
        (true, _) => path.to_owned(),
        (false, true) => format!("{path}&{text}"),
        (false, false) => format!("{path}?{text}"),
    }
}

impl Remote {
    /// Calls the API and returns the answer's JSON.
    ///
    /// # Errors
    /// When the broker cannot be reached, or refuses: then with its own words.
    pub fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        match self.ask(method, path, body)? {
            Ok(value) => Ok(value),
            Err(Refused { status, words }) => bail!("the broker refused ({status}): {words}"),
        }
    }

    /// As [`Remote::call`], with a refusal as an answer.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Result<Value, Refused>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.ask_async(method, path, body))
    }

    /// All pages of a list as one.
    ///
    /// # Errors
    /// As [`Remote::call`].
    pub fn all(&self, path: &str) -> anyhow::Result<Value> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = self.call(Method::GET, &query(path, &[("cursor", cursor)]), None)?;
            items.extend(page.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                return Ok(serde_json::json!({ "items": items, "next_cursor": null }));
            }
        }
    }

    /// Posts a body and hands over the answer piece by piece, with how many bytes there were so far. An answer
    /// that breaks off is an error.
    ///
    /// # Errors
    /// When the broker cannot be reached, refuses, or breaks off.
    pub fn download(
        &self,
        path: &str,
        body: &Value,
        take: &mut dyn FnMut(&[u8], u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (client, mut call) = self.prepared(Method::POST, path, Some(body))?;
            call.max_body = usize::MAX;
            let mut answer = client.open(call).await.map_err(|error| self.unanswered(&error))?;
            if answer.status != 200 {
                let status = answer.status;
                let mut said = Vec::new();
                while let Some(Ok(piece)) = answer.next().await
                    && said.len() < MOST_REFUSAL
                {
                    said.extend_from_slice(&piece);
                }
                let said = serde_json::from_slice(&said).unwrap_or_default();
                bail!("the broker refused ({status}): {}", words_of(&said));
            }
            let mut all = 0;
            while let Some(piece) = answer.next().await {
                let piece = piece.map_err(|_| anyhow!("the broker's answer broke off"))?;
                all += piece.len() as u64;
                take(&piece, all)?;
            }
            Ok(all)
        })
    }

    fn prepared(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(HttpClient, Call)> {
        let (client, base) = open(&self.server, self.ca.as_deref())?;
        let mut call = Call::new(method, base.join(path)?);
        let token = self.token()?;
        let text = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
        call.headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&text)?);
        if let Some(body) = body {
            call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            call.body = CallBody::Secret(SecretBytes::new(serde_json::to_vec(body)?));
        }
        Ok((client, call))
    }

    async fn ask_async(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Result<Value, Refused>> {
        let (client, call) = self.prepared(method, path, body)?;
        let answer = client.fetch(call).await.map_err(|error| self.unanswered(&error))?;
        if answer.status == 204 {
            return Ok(Ok(Value::Null));
        }
        let value: Value = serde_json::from_slice(answer.body.expose()).with_context(|| {
            format!("{} did not answer with JSON (status {})", self.server, answer.status)
        })?;
        if answer.is_success() {
            return Ok(Ok(value));
        }
        Ok(Err(Refused { status: answer.status, words: words_of(&value) }))
    }

    fn unanswered(&self, error: &NetError) -> anyhow::Error {
        anyhow!("no answer from {}: {}", self.server, why_unanswered(&self.server, "--server", error))
    }

    fn token(&self) -> anyhow::Result<SecretString> {
        let text = match &self.token_file {
            Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
            None => std::env::var("VALETKEY_ADMIN_TOKEN").map_err(|_| {
                anyhow!(
                    "no admin token: set VALETKEY_ADMIN_TOKEN or --token-file; make one on the page /admin/tokens"
                )
            })?,
        };
        let whole = SecretString::new(text);
        Ok(SecretString::new(whole.expose().trim().to_owned()))
    }
}

/// How much of a refusal is read.
const MOST_REFUSAL: usize = 64 * 1024;

/// The broker's own words (RFC 9457).
fn words_of(problem: &Value) -> String {
    problem.get("detail").and_then(Value::as_str).unwrap_or("no details").to_owned()
}

/// Why one's own broker did not answer, and what to do; `option` is where its address was stated.
pub fn why_unanswered(server: &Url, option: &str, error: &NetError) -> String {
    match error {
        NetError::NotSent => {
            format!("nothing answers there: is it the right {option}, and does the broker run?")
        }
        NetError::Tls => "its certificate is not accepted, or it does not speak TLS: name its certificate \
                          authority with --ca, and its own name as the certificate has it"
            .to_owned(),
        NetError::AnswerLost if server.scheme() == "http" => {
            format!("it does not answer in plain HTTP: where it has TLS, write https:// in {option}")
        }
        NetError::AnswerLost => "its answer was lost".to_owned(),
        NetError::TooSlow { .. } => "it took too long".to_owned(),
        NetError::TooLarge => "its answer is too long".to_owned(),
        NetError::Refused { host } => format!("`{host}` may not be dialled: correct {option}"),
    }
}

/// A client for one's own broker, and the base URL to give to it. The outbound client is made for providers:
/// https only, no private addresses. Whoever speaks to their own broker may use private addresses, `localhost`,
/// and plain HTTP on loopback.
///
/// # Errors
/// When the CA cannot be read, or the URL is plain HTTP beyond loopback.
pub fn open(server: &Url, ca: Option<&Path>) -> anyhow::Result<(HttpClient, Url)> {
    let mut settings = NetSettings {
        allow_private: vec!["0.0.0.0/0".parse()?, "::/0".parse()?],
        allow_localhost: true,
        ..NetSettings::default()
    };
    if let Some(path) = ca {
        settings.extra_ca_pem.push(std::fs::read(path).with_context(|| path.display().to_string())?);
    }
    let mut base = server.clone();
    if base.scheme() == "http" {
        let stand_in = "https://broker.invalid";
        settings.origins.push((stand_in.to_owned(), base.origin().ascii_serialization()));
        base = Url::parse(stand_in)?;
    }
    Ok((HttpClient::new(settings)?, base))
}
