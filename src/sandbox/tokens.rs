//! The token book of one vendor: codes, access tokens and refresh tokens, and how renewal spends them.
//!
//! Tokens are kept by their SHA-256 only, which is also what the control endpoint may show.

mod renewal;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};

pub use renewal::{RefreshRefusal, Renewal, Rotation, Rule};

/// Scope names, in the vendor's spelling.
pub type Scopes = BTreeSet<String>;

/// Reads a list of scopes separated by spaces.
pub fn scopes(text: &str) -> Scopes {
    text.split([' ', '+']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Writes scopes separated by spaces.
pub fn joined(scopes: &Scopes) -> String {
    scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(text: &str) -> String {
    encode::hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// All tokens that come from one act of signing in; revoked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Family(u64);

/// What a code or token stands for.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whose it is; `None` for an app's own token.
    pub email: Option<String>,
    /// The client it was issued to.
    pub client_id: String,
    /// What it opens.
    pub scopes: Scopes,
    /// When the person signed in.
    pub auth_time: Timestamp,
    /// The `nonce` of the authorisation request.
    pub nonce: Option<String>,
    /// The tokens that it belongs with.
    pub family: Family,
}

/// A PKCE challenge (RFC 7636).
#[derive(Clone, Debug)]
pub enum Challenge {
    /// `S256`: base64url of the verifier's SHA-256.
    S256(String),
    /// `plain`: the verifier itself.
    Plain(String),
}

impl Challenge {
    /// From the request's two parameters; `None` when the method is unknown.
    pub fn read(challenge: &str, method: Option<&str>) -> Option<Self> {
        match method {
            Some("S256") => Some(Self::S256(challenge.to_owned())),
            Some("plain") | None => Some(Self::Plain(challenge.to_owned())),
            Some(_) => None,
        }
    }

    fn met_by(&self, verifier: &str) -> bool {
        let well_formed = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        well_formed
            && match self {
                Self::S256(challenge) => {
                    encode::base64url(digest(&SHA256, verifier.as_bytes()).as_ref()) == *challenge
                }
                Self::Plain(challenge) => verifier == challenge,
            }
    }
}

/// What an authorisation code will be checked against.
#[derive(Clone, Debug)]
pub struct CodeTerms {
    /// The redirect URI of the request.
    pub redirect_uri: String,
    /// The PKCE challenge of the request.
    pub challenge: Option<Challenge>,
    /// How long the code lives.
    pub lifetime: Duration,
}

/// What comes with a code when it is redeemed.
#[derive(Clone, Copy, Debug)]
pub struct Redemption<'a> {
    /// The client that authenticated.
    pub client_id: &'a str,
    /// The redirect URI; compared when it is given.
    pub redirect_uri: Option<&'a str>,
    /// The PKCE verifier.
    pub verifier: Option<&'a str>,
}

/// Why a code is refused. Every refusal but `Unknown` also spends the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeRefusal {
    /// Never issued here.
    Unknown,
    /// Redeemed before; what came of it is now revoked.
    Used,
    /// Too old.
    Expired,
    /// Issued to another client.
    OtherClient,
    /// The redirect URI differs.
    Redirect,
    /// The verifier is missing, malformed or wrong, or was sent without a challenge.
    Verifier,
}

/// Why an access token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRefusal {
    /// Never issued here.
    Unknown,
    /// Too old.
    Expired,
    /// Revoked, alone or with its family.
    Revoked,
}

struct CodeEntry {
    facts: Facts,
    terms: CodeTerms,
    expires_at: Timestamp,
    used: bool,
}

struct AccessEntry {
    facts: Facts,
    expires_at: Timestamp,
    revoked: bool,
}

struct RefreshEntry {
    facts: Facts,
    expires_at: Timestamp,
    replaced_at: Option<Timestamp>,
}

#[derive(Default)]
struct Pages {
    codes: HashMap<String, CodeEntry>,
    access: HashMap<String, AccessEntry>,
    refresh: HashMap<String, RefreshEntry>,
    revoked: BTreeSet<u64>,
    families: u64,
    refreshes: BTreeMap<String, u64>,
    reuse_detected: u64,
    rule: Option<Rule>,
}

/// What the control endpoint shows of the book.
#[derive(Clone, Debug, Default)]
pub struct BookState {
    /// Successful renewals by e-mail.
    pub refreshes: BTreeMap<String, u64>,
    /// How often a spent refresh token came back.
    pub reuse_detected: u64,
    /// SHA-256 of the refresh tokens that would be accepted now.
    pub live_refresh: Vec<String>,
}

/// The tokens of one vendor.
pub struct Book {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pages: Mutex<Pages>,
}

impl Book {
    /// An empty book.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, pages: Mutex::default() }
    }

    /// A new family, for one act of signing in.
    pub fn new_family(&self) -> Family {
        let mut pages = self.pages();
        pages.families += 1;
        Family(pages.families)
    }

    /// A random text that starts with `prefix`: 256 bits in base62.
    pub fn random(&self, prefix: &str) -> String {
        format!("{prefix}{}", encode::base62(&entropy::bytes::<32>(self.entropy.as_ref())))
    }

    /// Issues a code.
    pub fn issue_code(&self, facts: Facts, terms: CodeTerms) -> String {
        let code = self.random("");
        let expires_at = self.clock.now().plus(terms.lifetime);
        self.pages().codes.insert(sha256(&code), CodeEntry { facts, terms, expires_at, used: false });
        code
    }

    /// Spends a code.
    ///
    /// # Errors
    /// When it is refused, and why.
    pub fn redeem_code(&self, code: &str, redemption: &Redemption<'_>) -> Result<Facts, CodeRefusal> {
        let now = self.clock.now();
        let mut pages = self.pages();
        let entry = pages.codes.get_mut(&sha256(code)).ok_or(CodeRefusal::Unknown)?;
        if entry.used {
            // RFC 6749, section 4.1.2: a second use revokes what the first one brought.
            let Family(family) = entry.facts.family;
            pages.revoked.insert(family);
            return Err(CodeRefusal::Used);
        }
        entry.used = true;
        if entry.expires_at <= now {
            return Err(CodeRefusal::Expired);
        }
        if entry.facts.client_id != redemption.client_id {
            return Err(CodeRefusal::OtherClient);
        }
        if redemption.redirect_uri.is_some_and(|uri| uri != entry.terms.redirect_uri) {
            return Err(CodeRefusal::Redirect);
        }
        let proven = match (&entry.terms.challenge, redemption.verifier) {
            (Some(challenge), Some(verifier)) => challenge.met_by(verifier),
            (None, None) => true,
            _ => false,
        };
        if proven { Ok(entry.facts.clone()) } else { Err(CodeRefusal::Verifier) }
    }

    /// Issues an access token with a random text.
    pub fn issue_access(&self, facts: Facts, lifetime: Duration, prefix: &str) -> String {
        let token = self.random(prefix);
        self.adopt_access(&token, facts, lifetime);
        token
    }

    /// Enters an access token whose text the vendor made itself, such as a JWT.
    pub fn adopt_access(&self, token: &str, facts: Facts, lifetime: Duration) {
        let expires_at = self.clock.now().plus(lifetime);
        self.pages().access.insert(sha256(token), AccessEntry { facts, expires_at, revoked: false });
    }

    /// What an access token stands for.
    ///
    /// # Errors
    /// When it opens nothing, and why.
    pub fn access(&self, token: &str) -> Result<Facts, AccessRefusal> {
        let pages = self.pages();
        let entry = pages.access.get(&sha256(token)).ok_or(AccessRefusal::Unknown)?;
        if entry.revoked || pages.is_revoked(&entry.facts) {
            return Err(AccessRefusal::Revoked);
        }
        if entry.expires_at <= self.clock.now() {
            return Err(AccessRefusal::Expired);
        }
        Ok(entry.facts.clone())
    }

    /// When an access token ends, if it is known.
    pub fn access_ends(&self, token: &str) -> Option<Timestamp> {
        self.pages().access.get(&sha256(token)).map(|entry| entry.expires_at)
    }

    /// Issues a refresh token.
    pub fn issue_refresh(&self, facts: Facts, lifetime: Duration, prefix: &str) -> String {
        let token = self.random(prefix);
        let expires_at = self.clock.now().plus(lifetime);
        self.pages().refresh.insert(sha256(&token), RefreshEntry { facts, expires_at, replaced_at: None });
        token
    }

    /// Sets how renewals treat the old token from now on; `None` is the vendor's own way.
    pub fn set_rule(&self, rule: Option<Rule>) {
        self.pages().rule = rule;
    }

    /// What a refresh token stands for, without spending it: for checks that come before the renewal.
    ///
    /// # Errors
    /// When it would be refused as unknown, expired or revoked.
    pub fn peek_refresh(&self, token: &str) -> Result<Facts, RefreshRefusal> {
        let pages = self.pages();
        let entry = pages.refresh.get(&sha256(token)).ok_or(RefreshRefusal::Unknown)?;
        if pages.is_revoked(&entry.facts) {
            return Err(RefreshRefusal::Revoked);
        }
        if entry.expires_at <= self.clock.now() {
            return Err(RefreshRefusal::Expired);
        }
        Ok(entry.facts.clone())
    }

    /// Spends a refresh token by the vendor's rules; the facts are the original grant's, never narrowed.
    ///
    /// # Errors
    /// When it is refused, and why. A spent token that comes back is counted, and under
    /// [`Rotation::Grace`] and [`Rotation::EndsFamily`] revokes its family.
    pub fn renew(
        &self,
        token: &str,
        client_id: &str,
        renewal: &Renewal,
    ) -> Result<(Facts, Option<String>), RefreshRefusal> {
        let facts = self.peek_refresh(token).inspect_err(|_| self.count_reuse(token))?;
        if facts.client_id != client_id {
            return Err(RefreshRefusal::OtherClient);
        }
        let now = self.clock.now();
        let mut guard = self.pages();
        let pages = &mut *guard;
        let rotation = pages.rule.map_or(renewal.rotation, |rule| rule.rotation);
        let entry = pages.refresh.get_mut(&sha256(token)).ok_or(RefreshRefusal::Unknown)?;
        if let Some(replaced_at) = entry.replaced_at {
            let (ends_family, refusal) = match rotation {
                Rotation::Same | Rotation::OldStays => (false, None),
                Rotation::Grace(leeway) if now.since(replaced_at) <= leeway => (false, None),
                Rotation::Grace(_) => (true, Some(RefreshRefusal::Revoked)),
                Rotation::SingleUse => (false, Some(RefreshRefusal::Used)),
                Rotation::EndsFamily => (true, Some(RefreshRefusal::Used)),
            };
            if ends_family {
                pages.revoked.insert(facts.family.0);
            }
            if let Some(refusal) = refusal {
                pages.reuse_detected += 1;
                return Err(refusal);
            }
        }
        if !matches!(rotation, Rotation::Same | Rotation::OldStays) {
            entry.replaced_at.get_or_insert(now);
        }
        let expires_at = renewal.lifetime.map_or(entry.expires_at, |lifetime| now.plus(lifetime));
        if let Some(email) = &facts.email {
            *pages.refreshes.entry(email.clone()).or_default() += 1;
        }
        if rotation == Rotation::Same || !renewal.returns_token {
            let same = renewal.returns_token.then(|| token.to_owned());
            return Ok((facts, same));
        }
        let fresh = self.random(renewal.prefix);
        let entry = RefreshEntry { facts: facts.clone(), expires_at, replaced_at: None };
        pages.refresh.insert(sha256(&fresh), entry);
        Ok((facts, Some(fresh)))
    }

    /// Counts a spent refresh token that is refused before it comes to a renewal.
    pub fn count_reuse(&self, token: &str) {
        let mut pages = self.pages();
        let is_spent = pages.refresh.get(&sha256(token)).is_some_and(|entry| entry.replaced_at.is_some());
        pages.reuse_detected += u64::from(is_spent);
    }

    /// Revokes one access token.
    pub fn revoke_access(&self, token: &str, client_id: &str) {
        if let Some(entry) = self.pages().access.get_mut(&sha256(token))
            && entry.facts.client_id == client_id
        {
            entry.revoked = true;
        }
    }

    /// Revokes a refresh token and everything that came with it or of it.
    pub fn revoke_refresh(&self, token: &str, client_id: &str) {
        let mut pages = self.pages();
        let found = pages.refresh.get(&sha256(token)).filter(|entry| entry.facts.client_id == client_id);
        if let Some(Family(family)) = found.map(|entry| entry.facts.family) {
            pages.revoked.insert(family);
        }
    }

    /// Revokes everything of one person.
    pub fn revoke_person(&self, email: &str) {
        let mut pages = self.pages();
        let families: Vec<u64> = (pages.refresh.values().map(|entry| &entry.facts))
            .filter(|facts| facts.email.as_deref() == Some(email))
            .map(|facts| facts.family.0)
            .collect();
        pages.revoked.extend(families);
    }

    /// What the control endpoint shows.
    pub fn state(&self) -> BookState {
        let now = self.clock.now();
        let pages = self.pages();
        let mut live_refresh: Vec<String> = (pages.refresh.iter())
            .filter(|(_, entry)| entry.replaced_at.is_none() && entry.expires_at > now)
            .filter(|(_, entry)| !pages.is_revoked(&entry.facts))
            .map(|(hash, _)| hash.clone())
            .collect();
        live_refresh.sort_unstable();
        BookState { refreshes: pages.refreshes.clone(), reuse_detected: pages.reuse_detected, live_refresh }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn is_revoked(&self, facts: &Facts) -> bool {
        self.revoked.contains(&facts.family.0)
    }
}
