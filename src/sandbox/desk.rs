//! What every vendor's handlers work with: clients, accounts, the token book, the world, the faults.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use url::Url;

use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::entropy::Entropy;
use crate::kernel::secret::SecretString;
use crate::sandbox::faults::{Endpoint, Faults};
use crate::sandbox::record::{self, IdNames, Record, Seen};
use crate::sandbox::signer::Signer;
use crate::sandbox::tokens::{Book, Scopes};
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::{Person, World};

/// One of a vendor's services: the path segment under the rewritten origin, and its real host names.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The path segment, such as `graph`.
    pub name: &'static str,
    /// The host names, such as `graph.microsoft.com`.
    pub hosts: &'static [&'static str],
}

/// One vendor's dialect. Handlers are plain functions of the request and the desk.
pub trait Vendor: Send + Sync + 'static {
    /// The first path segment, such as `entra`.
    fn name(&self) -> &'static str;

    /// The services and their hosts.
    fn services(&self) -> &'static [Service];

    /// What a request is, for faults and counters. Must not change anything.
    fn endpoint(&self, request: &Request) -> Endpoint;

    /// Answers.
    fn answer(&self, desk: &Desk, request: &Request) -> Reply;

    /// The access token that a data call presents, for the record.
    fn presented_token(&self, request: &Request) -> Option<String> {
        request.bearer().map(str::to_owned)
    }

    /// Under which names its answers give out objects.
    fn id_names(&self) -> IdNames;

    /// Puts everything that calls have changed back to what it was at the start.
    fn renew(&self, desk: &Desk) {
        desk.world(|world| *world = World::new());
    }

    /// The vendor's way to say "too many calls".
    fn throttled(&self, _request: &Request, after_s: u64) -> Reply {
        Reply::json(429, &json!({"error": "too_many_requests"})).with("retry-after", &after_s.to_string())
    }

    /// The vendor's way to fail with an HTTP status.
    fn failing(&self, _request: &Request, status: u16) -> Reply {
        Reply::json(status, &json!({"error": "server_error", "error_description": "injected fault"}))
    }
}

/// An OAuth client that is registered at every vendor.
pub struct Client {
    /// The client id; vendors that have ids of their own (a corp id) may not use it.
    pub id: String,
    /// The client secret.
    pub secret: SecretString,
    /// The name on the consent page.
    pub name: String,
    /// Redirect URIs must start with one of these; without any, https and loopback addresses are fine.
    pub redirect_prefixes: Vec<String>,
}

impl Client {
    /// Whether a redirect URI is registered: no fragment, no user name, and under a registered prefix.
    pub fn allows_redirect(&self, uri: &str) -> bool {
        let Ok(url) = Url::parse(uri) else { return false };
        let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        let registered = self.redirect_prefixes.is_empty()
            || self.redirect_prefixes.iter().any(|prefix| uri.starts_with(prefix.as_str()));
        plain && scheme && registered
    }
}

/// Why a client is not who it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRefusal {
    /// No such client.
    Unknown,
    /// The secret is wrong.
    WrongSecret,
}

/// A browser that is signed in at the vendor.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) email: String,
    pub(super) auth_time: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// Everything that is the same at every vendor, one per vendor.
pub struct Desk {
    /// The vendor's short name.
    pub provider: &'static str,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Codes and tokens.
    pub book: Book,
    /// Injected faults.
    pub faults: Faults,
    /// Signs ID tokens.
    pub signer: Arc<Signer>,
    /// The first is Valetkey's; the second is the assistants' app.
    pub clients: Arc<Vec<Client>>,
    pub(super) accounts: Arc<Vec<(String, SecretString)>>,
    pub(super) sessions: Mutex<HashMap<String, Session>>,
    consents: Mutex<BTreeMap<(String, String), Scopes>>,
    world: Mutex<World>,
    record: Record,
}

impl Desk {
    pub(super) fn new(
        provider: &'static str,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        signer: Arc<Signer>,
        clients: Arc<Vec<Client>>,
        accounts: Arc<Vec<(String, SecretString)>>,
    ) -> Self {
        let mut world = World::new();
        world.employ(accounts.iter().map(|(email, _)| email.as_str()));
        Self {
            provider,
            book: Book::new(Arc::clone(&clock), Arc::clone(&entropy)),
            clock,
            entropy,
            faults: Faults::default(),
            signer,
            clients,
            accounts,
            sessions: Mutex::default(),
            consents: Mutex::default(),
            world: Mutex::new(world),
            record: Record::default(),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A registered client.
    pub fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }

    /// A registered client that shows its secret.
    ///
    /// # Errors
    /// When the client is unknown or the secret wrong.
    pub fn check_client(&self, id: &str, secret: &str) -> Result<&Client, ClientRefusal> {
        let client = self.client(id).ok_or(ClientRefusal::Unknown)?;
        if client.secret.expose().as_bytes().ct_eq(secret.as_bytes()).into() {
            Ok(client)
        } else {
            Err(ClientRefusal::WrongSecret)
        }
    }

    /// Reads or changes this vendor's world. Do not call it again from inside.
    pub fn world<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A person of the world by e-mail, as a copy.
    pub fn person(&self, email: &str) -> Option<Person> {
        self.world(|world| world.person(email).cloned())
    }

    /// Remembers that a person granted scopes to a client; answers all that the person ever granted to it.
    pub fn consent(&self, email: &str, client_id: &str, scopes: &Scopes) -> Scopes {
        let mut consents = self.consents.lock().unwrap_or_else(PoisonError::into_inner);
        let all = consents.entry((email.to_owned(), client_id.to_owned())).or_default();
        all.extend(scopes.iter().cloned());
        all.clone()
    }

    /// All that a person ever granted to a client.
    pub fn consented(&self, email: &str, client_id: &str) -> Scopes {
        let consents = self.consents.lock().unwrap_or_else(PoisonError::into_inner);
        consents.get(&(email.to_owned(), client_id.to_owned())).cloned().unwrap_or_default()
    }

    /// Forgets what a person granted to a client.
    pub fn withdraw_consent(&self, email: &str, client_id: &str) {
        let mut consents = self.consents.lock().unwrap_or_else(PoisonError::into_inner);
        consents.remove(&(email.to_owned(), client_id.to_owned()));
    }

    /// The lifetime to answer with: the vendor's own, unless a fault says otherwise.
    pub fn lifetime(&self, request: &Request, usual_s: u64) -> Duration {
        Duration::from_secs(request.twist.expires_in.unwrap_or(usual_s))
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_token_call(&self) {
        self.record.count_token_call();
    }

    /// Enters a data call and what was answered into the record.
    pub(super) fn record_api_call(&self, vendor: &dyn Vendor, request: &Request, reply: &Reply) {
        let token = vendor.presented_token(request);
        let facts = token.as_deref().and_then(|token| self.book.access(token).ok());
        let who = facts.map(|facts| facts.email.unwrap_or_else(|| "app".to_owned()));
        let service = vendor.services().iter().find(|service| service.name == request.service);
        let host = service.and_then(|service| service.hosts.first()).copied().unwrap_or_default();
        let names = vendor.id_names();
        self.record.enter(record::seen(request, host, token.as_deref(), who, names, reply));
    }

    /// Every data call so far, earliest first.
    pub fn calls(&self) -> Vec<Seen> {
        self.record.calls()
    }

    pub(super) fn state(&self) -> Value {
        let book = self.book.state();
        json!({
            "token_calls": self.record.token_calls(),
            "refreshes": book.refreshes,
            "reuse_detected": book.reuse_detected,
            "live_refresh": book.live_refresh,
            "api_calls": self.record.summary(),
        })
    }
}
