//! `valetkey token`: the agent's side of token exchange, for shells.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde_json::Value;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::cli::{output, remote};
use crate::kernel::secret::{SecretBytes, SecretString};
use crate::net::http::{HeaderValue, Method, header};
use crate::net::{Call, CallBody, HttpClient};
use crate::tokens::{GRANT_CIBA, GRANT_CLIENT, GRANT_EXCHANGE, TYPE_ACCESS, TYPE_ID_TOKEN, TYPE_USER};

const TYPE_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Room for any request, so that no secret is left behind where a text has grown.
const FORM_BYTES: usize = 64 * 1024;
/// Seconds that `slow_down` adds (RFC 8628, section 3.5), and between polls that nothing else is said about.
const PACE_S: u64 = 5;

/// Obtain a token as an agent. Prints the token alone, so that `$(valetkey token …)` works.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 = the token is printed, 1 = refused, 2 = wrong usage, \
    3 = a person has to help first (the page is on stderr), 4 = denied by the person or an administrator, \
    5 = no answer at present, try again.\n\n\
    The agent's secret is read from --client-secret-file or the variable VALETKEY_CLIENT_SECRET, never from the \
    command line, where others could see it.")]
pub struct Token {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    client: Client,
    /// A scope; may be repeated, or hold several, divided by spaces. Left out = all that is granted.
    #[arg(long)]
    scope: Vec<String>,
    /// Which of the user's accounts, by its id.
    #[arg(long, conflicts_with = "audience")]
    connection: Option<String>,
    /// Ask for the provider's own token, where that is safe.
    #[arg(long, conflicts_with = "audience")]
    provider_token: bool,
    /// Limits for this token, as JSON (`authorization_details`).
    #[arg(long, conflicts_with = "audience")]
    details: Option<String>,
    /// Words for the person who is asked.
    #[arg(long)]
    message: Option<String>,
    /// An id that ties the events of one task together.
    #[arg(long)]
    task: Option<String>,
    /// Where a person has to help: wait for them, at most this many seconds, or as long as the page lives.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "86400")]
    wait: Option<u64>,
    /// Print the whole answer as JSON; an error too, on stderr.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(id = "target", required = true, multiple = false)]
struct Target {
    /// A provider, such as `entra`.
    #[arg(long, requires = "subject")]
    provider: Option<String>,
    /// An internal back end's identifier. Without a user the agent acts as itself.
    #[arg(long)]
    audience: Option<String>,
}

#[derive(Debug, Args)]
#[group(id = "subject", multiple = false)]
struct Subject {
    /// The user, by e-mail or id: for personal agents, which act for their owner only.
    #[arg(long)]
    user: Option<String>,
    /// A file with the user's ID token, as proof that they are there; `-` = standard input.
    #[arg(long, value_name = "FILE")]
    id_token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Client {
    /// The broker's base URL.
    #[arg(long, env = "VALETKEY_ISSUER")]
    issuer: Url,
    /// The agent's id.
    #[arg(long, env = "VALETKEY_CLIENT_ID")]
    client_id: String,
    /// A file with the agent's secret.
    #[arg(long, env = "VALETKEY_CLIENT_SECRET_FILE", value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// A file with a token of the platform that the agent runs on, or a JWT that it has signed, in place of a
    /// secret; read anew for every request, because platforms renew it.
    #[arg(long, env = "VALETKEY_CLIENT_ASSERTION_FILE", value_name = "FILE")]
    #[arg(conflicts_with = "client_secret_file")]
    client_assertion_file: Option<PathBuf>,
    /// A further CA certificate to trust, PEM.
    #[arg(long, env = "VALETKEY_CA")]
    ca: Option<PathBuf>,
}

/// What came back.
enum Answer {
    Token(Value),
    Refused { error: Value, retry_after: Option<u64> },
}

impl Token {
    /// Runs the command; the code tells what became of it.
    pub fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = match runtime {
            Ok(runtime) => runtime.block_on(self.obtain()),
            Err(error) => Err(error.into()),
        };
        match done {
            Ok(Answer::Token(token)) => {
                self.print(&token);
                ExitCode::SUCCESS
            }
            Ok(Answer::Refused { error, .. }) => {
                self.explain(&error);
                ExitCode::from(exit_code(&error))
            }
            Err(error) => {
                output::problem(&format!("{error:#}"));
                let is_unanswered = error.downcast_ref::<Unanswered>().is_some();
                ExitCode::from(if is_unanswered { 5 } else { 1 })
            }
        }
    }

    async fn obtain(&self) -> anyhow::Result<Answer> {
        let (http, base) = remote::open(&self.client.issuer, self.client.ca.as_deref())?;
        let endpoint = base.join("/oauth2/token")?;
        let asked = self.client.post(&http, &endpoint, &self.question()?).await?;
        match (asked, self.wait) {
            (Answer::Refused { error, .. }, Some(most)) if member(&error, "auth_req_id").is_some() => {
                let most = Duration::from_secs(most);
                self.explain(&error);
                let waited = self.client.poll(&http, &endpoint, &error);
                tokio::time::timeout(most, waited)
                    .await
                    .unwrap_or_else(|_| Ok(Answer::Refused { error, retry_after: None }))
            }
            (answer, _) => Ok(answer),
        }
    }

    fn question(&self) -> anyhow::Result<Vec<(&'static str, SecretString)>> {
        let mut fields = Fields(Vec::new());
        let subject = self.subject.token()?;
        fields.add("grant_type", if subject.is_some() { GRANT_EXCHANGE } else { GRANT_CLIENT });
        if let Some((kind, token)) = subject {
            fields.add("subject_token_type", kind);
            fields.0.push(("subject_token", token));
        }
        match (&self.target.provider, &self.target.audience) {
            (Some(provider), _) => fields.add("audience", &format!("provider:{provider}")),
            (None, audience) => fields.add_if("audience", audience.as_deref()),
        }
        fields.add_if("scope", (!self.scope.is_empty()).then(|| self.scope.join(" ")).as_deref());
        fields.add_if("connection", self.connection.as_deref());
        fields.add_if("requested_token_type", self.provider_token.then_some(TYPE_ACCESS));
        fields.add_if("authorization_details", self.details.as_deref());
        fields.add_if("binding_message", self.message.as_deref());
        fields.add_if("task", self.task.as_deref());
        Ok(fields.0)
    }

    fn print(&self, token: &Value) {
        if self.json {
            output::object(token, true);
        } else {
            output::line(member(token, "access_token").unwrap_or_default());
        }
    }

    fn explain(&self, error: &Value) {
        if self.json {
            output::raw_problem(&error.to_string());
        } else if member(error, "interaction_uri").is_some() {
            output::problem(&person_has_to_help(error));
        } else {
            let code = member(error, "error").unwrap_or("unknown error");
            output::problem(&format!("{code}: {}", member(error, "error_description").unwrap_or_default()));
        }
    }
}

impl Subject {
    fn token(&self) -> anyhow::Result<Option<(&'static str, SecretString)>> {
        Ok(match (&self.user, &self.id_token_file) {
            (Some(user), _) => Some((TYPE_USER, SecretString::new(user.clone()))),
            (None, Some(file)) => Some((TYPE_ID_TOKEN, secret_in(file)?)),
            (None, None) => None,
        })
    }
}

impl Client {
    /// How the agent says who it is.
    fn proof(&self) -> anyhow::Result<Vec<(&'static str, SecretString)>> {
        let mut fields = Fields(Vec::new());
        fields.add("client_id", &self.client_id);
        if let Some(file) = &self.client_assertion_file {
            fields.add("client_assertion_type", TYPE_ASSERTION);
            fields.0.push(("client_assertion", secret_in(file)?));
        } else {
            let secret = match &self.client_secret_file {
                Some(file) => secret_in(file)?,
                None => SecretString::new(std::env::var("VALETKEY_CLIENT_SECRET").map_err(|_| {
                    anyhow!(
                        "no secret of the agent: set VALETKEY_CLIENT_SECRET, --client-secret-file or \
                         --client-assertion-file"
                    )
                })?),
            };
            fields.0.push(("client_secret", secret));
        }
        Ok(fields.0)
    }

    async fn post(
        &self,
        http: &HttpClient,
        endpoint: &Url,
        fields: &[(&'static str, SecretString)],
    ) -> anyhow::Result<Answer> {
        let proof = self.proof()?;
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(FORM_BYTES));
        for (name, value) in proof.iter().chain(fields) {
            form.append_pair(name, value.expose_str());
        }
        let call = Call::new(Method::POST, endpoint.clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .body(CallBody::Secret(SecretBytes::new(form.finish().into_bytes())))
            .deadline(Duration::from_secs(30));
        let answer = http.fetch(call).await.map_err(|error| Unanswered {
            issuer: self.issuer.to_string(),
            why: remote::why_unanswered(&self.issuer, "--issuer", &error),
        })?;
        let read = serde_json::from_slice(answer.body.expose());
        match read {
            Ok(token) if answer.is_success() => Ok(Answer::Token(token)),
            Ok(error) => {
                let retry_after = answer.headers.get(header::RETRY_AFTER);
                let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
                Ok(Answer::Refused { error, retry_after })
            }
            Err(_) => bail!("{} did not answer with JSON (status {})", self.issuer, answer.status),
        }
    }

    /// Asks for the outcome until there is one.
    async fn poll(&self, http: &HttpClient, endpoint: &Url, asked: &Value) -> anyhow::Result<Answer> {
        let number = |name: &str| asked.get(name).and_then(Value::as_u64);
        let mut pace = number("interval").unwrap_or(PACE_S);
        let mut fields = Fields(Vec::new());
        fields.add("grant_type", GRANT_CIBA);
        fields.add("auth_req_id", member(asked, "auth_req_id").unwrap_or_default());
        let mut wait = pace;
        loop {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            wait = pace;
            let answer = match self.post(http, endpoint, &fields.0).await {
                // Brokers are updated and networks fail while people are away.
                Err(error) if error.downcast_ref::<Unanswered>().is_some() => continue,
                other => other?,
            };
            let Answer::Refused { error, retry_after } = &answer else { return Ok(answer) };
            match member(error, "error") {
                Some("authorization_pending") => {}
                Some("slow_down") if retry_after.is_none() => pace = pace.saturating_add(PACE_S),
                Some("slow_down" | "temporarily_unavailable") => {}
                _ => return Ok(answer),
            }
            wait = retry_after.unwrap_or(0).max(pace);
        }
    }
}

/// The fields of a form.
struct Fields(Vec<(&'static str, SecretString)>);

impl Fields {
    fn add(&mut self, name: &'static str, value: &str) {
        self.0.push((name, SecretString::new(value.to_owned())));
    }

    fn add_if(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }
}

/// Nobody answered, or the answer did not come whole.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {issuer}: {why}")]
struct Unanswered {
    issuer: String,
    why: String,
}

/// The text of a file or of standard input, without the line end that editors add.
fn secret_in(file: &Path) -> anyhow::Result<SecretString> {
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        *text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    }
    let secret = text.trim();
    anyhow::ensure!(!secret.is_empty(), "{}: it is empty", file.display());
    Ok(SecretString::new(secret.to_owned()))
}

fn member<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

fn person_has_to_help(error: &Value) -> String {
    let page = member(error, "interaction_uri").unwrap_or_default();
    format!("{}; open: {page}", member(error, "error_description").unwrap_or("a person has to help first"))
}

/// Stable: scripts branch on it.
fn exit_code(error: &Value) -> u8 {
    match member(error, "error") {
        Some("interaction_required" | "authorization_pending" | "expired_token") => 3,
        Some("access_denied") => 4,
        Some("temporarily_unavailable" | "slow_down") => 5,
        _ => 1,
    }
}
