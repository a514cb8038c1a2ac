//! A seal outside: the transit secrets engine of OpenBao or Vault.
//!
//! A random root key is made there (`datakey/plaintext`) and lies in `keyring.json` as the engine has wrapped it;
//! at each start the engine is asked once to unwrap it (`decrypt`). Its own key never leaves the engine, so a
//! copied data folder opens nowhere without it, and access ends when the engine says so.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use zeroize::{Zeroize as _, Zeroizing};

use crate::kernel::encode;
use crate::kernel::entropy::Entropy;
use crate::kernel::secret::{SecretBytes, SecretString};
use crate::net::http::{HeaderName, HeaderValue, Method, header};
use crate::net::{Call, CallBody, HttpClient, NetError, NetSettings};
use crate::vault::seal::{RootBytes, RootKeyError, RootRecipe, Seal, other_kind};

/// Start must not hang on a service that does not answer.
const DEADLINE: Duration = Duration::from_secs(4);
const MAX_ANSWER: usize = 64 * 1024;
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// Where the token for the engine is.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// A file with mode 0600, read anew each time: an agent beside us may renew it.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// The engine and the key in it.
#[derive(Debug)]
pub struct TransitSeal {
    /// The service's address; https, or http on loopback.
    pub address: Url,
    /// Where the engine is mounted.
    pub mount: String,
    /// The key's name.
    pub key: String,
    /// The namespace, where there are such.
    pub namespace: Option<String>,
    /// The token.
    pub token: TokenSource,
    /// Certificate authorities beside the system's, PEM.
    pub extra_ca_pem: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
struct DataKey {
    plaintext: String,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: String,
}

#[derive(Deserialize)]
struct Answered<T> {
    data: T,
}

impl TransitSeal {
    fn service(&self) -> String {
        format!("{} ({})", self.address.origin().ascii_serialization(), self.key_name())
    }

    fn key_name(&self) -> String {
        format!("{}/{}", self.mount, self.key)
    }

    fn failed(&self, problem: impl Into<String>) -> RootKeyError {
        RootKeyError::External { service: self.service(), problem: problem.into() }
    }

    /// The vault opens without a runtime of its own, and may be opened from within one: so this has a thread.
    fn ask<T: for<'a> Deserialize<'a> + Send>(
        &self,
        operation: &str,
        body: &Value,
    ) -> Result<T, RootKeyError> {
        let call = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| self.failed(e.to_string()))?;
            runtime.block_on(self.ask_there(operation, body))
        };
        std::thread::scope(|scope| scope.spawn(call).join())
            .unwrap_or_else(|_| Err(self.failed("the call broke off")))
    }

    async fn ask_there<T: for<'a> Deserialize<'a>>(
        &self,
        operation: &str,
        body: &Value,
    ) -> Result<T, RootKeyError> {
        let (client, base) = self.client()?;
        let url = base
            .join(&format!("v1/{}/{operation}/{}", self.mount, self.key))
            .map_err(|e| self.failed(format!("mount and key make no address: {e}")))?;
        let mut call = Call::new(Method::POST, url);
        call.deadline = DEADLINE;
        call.max_body = MAX_ANSWER;
        let token = self.token()?;
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| self.failed("the token or namespace is no header"))
        };
        call.headers.insert(TOKEN, value(token.expose())?);
        if let Some(namespace) = &self.namespace {
            call.headers.insert(NAMESPACE, value(namespace)?);
        }
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let bytes = serde_json::to_vec(body).map_err(|e| self.failed(e.to_string()))?;
        call.body = CallBody::Secret(SecretBytes::new(bytes));
        let answer = client.fetch(call).await.map_err(|error| self.failed(unreachable(&error)))?;
        if !answer.is_success() {
            return Err(self.failed(refused(answer.status)));
        }
        serde_json::from_slice::<Answered<T>>(answer.body.expose())
            .map(|answered| answered.data)
            .map_err(|_| self.failed("its answer is not one of a transit engine"))
    }

    /// The operator names this service, like the store's disk: private addresses are fine, plain HTTP only on
    /// this machine.
    fn client(&self) -> Result<(HttpClient, Url), RootKeyError> {
        let everywhere = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|network| network.parse().ok());
        let mut settings = NetSettings {
            allow_private: everywhere.collect(),
            extra_ca_pem: self.extra_ca_pem.clone(),
            ..NetSettings::default()
        };
        let mut base = self.address.clone();
        if base.scheme() == "http" {
            let stand_in = "https://seal.invalid";
            settings.origins.push((stand_in.to_owned(), base.origin().ascii_serialization()));
            base = Url::parse(stand_in).map_err(|e| self.failed(e.to_string()))?;
        }
        let client = HttpClient::new(settings).map_err(|e| self.failed(e.to_string()))?;
        Ok((client, base))
    }

    fn token(&self) -> Result<SecretString, RootKeyError> {
        let text = match &self.token {
            TokenSource::File(path) => std::fs::read_to_string(path)
                .map_err(|e| self.failed(format!("its token file `{}`: {e}", path.display())))?,
            TokenSource::Env(name) => std::env::var(name)
                .map_err(|_| self.failed(format!("the environment variable `{name}` is not set")))?,
        };
        let whole = SecretString::new(text);
        Ok(SecretString::new(whole.expose().trim().to_owned()))
    }

    fn root(&self, text: String) -> Result<RootBytes, RootKeyError> {
        let text = Zeroizing::new(text);
        let bytes = encode::from_base64(&text).map(Zeroizing::new);
        let mut key = RootBytes::default();
        match bytes.as_deref().and_then(|bytes| <&[u8; 32]>::try_from(bytes.as_slice()).ok()) {
            Some(bytes) => key.copy_from_slice(bytes),
            None => return Err(self.failed("what it unwrapped is no key of 32 bytes")),
        }
        Ok(key)
    }
}

impl Seal for TransitSeal {
    fn kind(&self) -> &'static str {
        "transit key"
    }

    fn fresh(&self, _entropy: &dyn Entropy) -> Result<(RootRecipe, RootBytes), RootKeyError> {
        let made: DataKey = self.ask("datakey/plaintext", &json!({"bits": 256}))?;
        let key = self.root(made.plaintext)?;
        Ok((RootRecipe::Transit { key: self.key_name(), wrapped: made.ciphertext }, key))
    }

    fn recover(&self, recipe: &RootRecipe) -> Result<RootBytes, RootKeyError> {
        let RootRecipe::Transit { key, wrapped } = recipe else { return Err(other_kind()) };
        if *key != self.key_name() {
            return Err(RootKeyError::OtherKey { service: self.service(), key: key.clone() });
        }
        let mut opened: Decrypted = self.ask("decrypt", &json!({"ciphertext": wrapped}))?;
        let key = self.root(std::mem::take(&mut opened.plaintext));
        opened.plaintext.zeroize();
        key
    }
}

fn unreachable(error: &NetError) -> String {
    match error {
        NetError::Tls => "its certificate is not trusted: name its authority in `ca`".to_owned(),
        NetError::TooSlow { .. } => format!("no answer within {} s", DEADLINE.as_secs()),
        _ => "it cannot be reached: does it run, and is its address right?".to_owned(),
    }
}

fn refused(status: u16) -> String {
    let why = match status {
        400 => "it does not know the key, or did not wrap this root key",
        403 => "the token may not use the key, or has expired",
        404 => "there is no such mount or key",
        503 => "it is sealed itself",
        _ => "it failed",
    };
    format!("{why} (status {status})")
}
