//! A model of a provider: which refresh tokens live, and what it does wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::scopes;
use crate::connections::Dialer;
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::{Secret, SecretString};
use crate::model::connection::Account;
use crate::providers::Configured;
use crate::providers::dialect::TokenSet;
use crate::providers::template::ErrorClass;
use crate::upstream::{Cause, Delivered, RawAnswer, Redeemed, Redemption, Revoked, TokenHint, UpstreamError};

/// What goes wrong with one call.
pub(super) enum Fault {
    /// The request never arrives.
    NotSent,
    /// It never arrives, but nobody can tell.
    LostBefore,
    /// It is carried out, and the answer is lost.
    LostAfter,
    /// It is carried out, slowly.
    Slow(Duration),
    /// It is carried out at once, and answered after that.
    AnswersAfter(BoxFuture<'static, ()>),
    /// The provider answers with a refusal of that class.
    Says(ErrorClass),
    /// The token's scopes are these, whatever was asked for; `None` = not stated.
    Scopes(Option<&'static str>),
    /// The access token lives that long.
    Life(u64),
    /// It is carried out, and the answer has another form than the template says.
    Odd,
    /// Something in between answers, and the request never arrives.
    Page,
    /// It is asking for a pause of that many seconds.
    Pause(u64),
    /// Something happens elsewhere while the provider works.
    Meanwhile(BoxFuture<'static, ()>),
}

/// What the provider does when it is asked to revoke a token.
#[derive(Clone, Copy, Default)]
pub(super) enum Revocations {
    #[default]
    Work,
    NotOffered,
    /// It refuses with that class.
    Fail(ErrorClass),
    /// It does not answer.
    Hang,
    /// It refuses, and asks for a pause of that many seconds.
    Pause(u64),
}

#[derive(Default)]
struct State {
    issued: u32,
    live: BTreeSet<String>,
    /// Spent, but still good where the provider has grace.
    spent: BTreeSet<String>,
    dials: Vec<String>,
    revoked: Vec<String>,
    revocations: Revocations,
    asked_to_revoke: usize,
    redeemed: u32,
    faults: VecDeque<Fault>,
    subject: String,
}

pub(super) struct ModelProvider {
    keeps_old: bool,
    grace: bool,
    state: Mutex<State>,
}

fn error(class: ErrorClass, delivered: Delivered) -> UpstreamError {
    UpstreamError {
        class,
        delivered,
        retry_after: None,
        words: "as scripted",
        code: None,
        cause: Cause::Provider,
    }
}

impl ModelProvider {
    pub(super) fn new(refresh: &str) -> Self {
        Self {
            keeps_old: refresh.contains("keeps_old"),
            grace: refresh.contains("\"grace\""),
            state: Mutex::new(State { subject: "alice".to_owned(), ..State::default() }),
        }
    }

    /// A fresh refresh token.
    pub(super) fn issue(&self) -> String {
        let mut state = self.state.lock().unwrap();
        state.issued += 1;
        let token = format!("refresh-{}", state.issued);
        state.live.insert(token.clone());
        token
    }

    pub(super) fn next(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    pub(super) fn dials(&self) -> usize {
        self.state.lock().unwrap().dials.len()
    }

    pub(super) fn revoked(&self) -> Vec<String> {
        self.state.lock().unwrap().revoked.clone()
    }

    pub(super) fn revocations(&self, revocations: Revocations) {
        self.state.lock().unwrap().revocations = revocations;
    }

    pub(super) fn asked_to_revoke(&self) -> usize {
        self.state.lock().unwrap().asked_to_revoke
    }

    pub(super) fn redeemed(&self) -> u32 {
        self.state.lock().unwrap().redeemed
    }

    pub(super) fn is_live(&self, token: &str) -> bool {
        self.state.lock().unwrap().live.contains(token)
    }

    /// Someone else has spent this token.
    pub(super) fn forget(&self, token: &str) {
        self.state.lock().unwrap().live.remove(token);
    }

    /// Whose account the next code belongs to.
    pub(super) fn signed_in(&self, subject: &str) {
        self.state.lock().unwrap().subject = subject.to_owned();
    }

    fn spend(&self, token: &str) -> Result<String, UpstreamError> {
        let known = {
            let state = self.state.lock().unwrap();
            state.live.contains(token) || (self.grace && state.spent.contains(token))
        };
        if !known {
            return Err(error(ErrorClass::Reauth, Delivered::Yes));
        }
        if !self.keeps_old {
            let mut state = self.state.lock().unwrap();
            state.live.remove(token);
            state.spent.insert(token.to_owned());
        }
        Ok(self.issue())
    }

    fn raw(&self, refresh: &str, stated: Option<ScopeSet>, life: u64) -> RawAnswer {
        let body = json!({
            "access_token": refresh.replace("refresh", "access"),
            "refresh_token": refresh,
            "token_type": "bearer",
            "expires_in": life,
            "scope": stated.map(|scopes| scopes.to_string()),
        });
        RawAnswer { status: 200, retry_after: None, body: Secret::new(body.to_string().into_bytes()) }
    }

    fn answer(&self, refresh: String, stated: Option<ScopeSet>, life: u64) -> TokenSet {
        TokenSet {
            access_token: SecretString::new(refresh.replace("refresh", "access")),
            refresh_token: Some(SecretString::new(refresh)),
            expires_in: Duration::from_secs(life),
            refresh_expires_in: None,
            scopes: stated,
            id_token: None,
            extra: BTreeMap::new(),
        }
    }
}

/// What a vendor sends after it has changed its format.
fn odd(refresh: &str) -> RawAnswer {
    let body = json!({ "tokens": { "renewal": refresh } });
    RawAnswer { status: 200, retry_after: None, body: Secret::new(body.to_string().into_bytes()) }
}

impl Dialer for ModelProvider {
    fn redeem<'a>(
        &'a self,
        _provider: &'a Configured,
        _redemption: &'a Redemption,
    ) -> BoxFuture<'a, Result<Redeemed, UpstreamError>> {
        Box::pin(async move {
            let refresh = self.issue();
            let mut state = self.state.lock().unwrap();
            state.redeemed += 1;
            let account = Account {
                company: "example".to_owned(),
                subject: state.subject.clone(),
                label: state.subject.clone(),
                pins: BTreeMap::new(),
            };
            let tokens = self.answer(refresh, Some(scopes("mail.read offline_access")), 3600);
            Ok(Redeemed { tokens, account, id_claims: None })
        })
    }

    fn refresh<'a>(
        &'a self,
        _provider: &'a Configured,
        token: &'a SecretString,
        asked: Option<&'a ScopeSet>,
    ) -> BoxFuture<'a, Result<RawAnswer, UpstreamError>> {
        Box::pin(async move {
            let fault = {
                let mut state = self.state.lock().unwrap();
                state.dials.push(token.expose().clone());
                state.faults.pop_front()
            };
            let mut stated = Some(match asked {
                Some(asked) => asked.union(&scopes("offline_access")),
                None => scopes("mail.read files.read all.read offline_access"),
            });
            let mut life = 3600;
            let (mut is_lost, mut is_odd, mut first) = (false, false, None);
            match fault {
                None => {}
                Some(Fault::NotSent) => return Err(error(ErrorClass::Retry, Delivered::No)),
                Some(Fault::LostBefore) => return Err(error(ErrorClass::Retry, Delivered::Unknown)),
                Some(Fault::LostAfter) => is_lost = true,
                Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
                Some(Fault::AnswersAfter(event)) => first = Some(event),
                Some(Fault::Says(class)) => return Err(error(class, Delivered::Yes)),
                Some(Fault::Scopes(text)) => stated = text.map(scopes),
                Some(Fault::Life(secs)) => life = secs,
                Some(Fault::Odd) => is_odd = true,
                Some(Fault::Page) => {
                    let body = Secret::new(b"<html>please sign in</html>".to_vec());
                    return Ok(RawAnswer { status: 200, retry_after: None, body });
                }
                Some(Fault::Pause(secs)) => {
                    return Err(UpstreamError {
                        retry_after: Some(Duration::from_secs(secs)),
                        ..error(ErrorClass::Retry, Delivered::Yes)
                    });
                }
                Some(Fault::Meanwhile(happens)) => happens.await,
            }
            let refresh = self.spend(token.expose())?;
            if let Some(event) = first {
                event.await;
            }
            if is_lost {
                return Err(error(ErrorClass::Retry, Delivered::Unknown));
            }
            let answered = if is_odd { odd(&refresh) } else { self.raw(&refresh, stated, life) };
            Ok(answered)
        })
    }

    fn app_token<'a>(&'a self, _provider: &'a Configured) -> BoxFuture<'a, Result<TokenSet, UpstreamError>> {
        Box::pin(async move {
            self.state.lock().unwrap().dials.push("app".to_owned());
            Ok(TokenSet { refresh_token: None, ..self.answer(format!("app-{}", self.dials()), None, 7200) })
        })
    }

    fn revoke<'a>(
        &'a self,
        _provider: &'a Configured,
        token: &'a SecretString,
        _hint: TokenHint,
    ) -> BoxFuture<'a, Result<Revoked, UpstreamError>> {
        Box::pin(async move {
            self.state.lock().unwrap().asked_to_revoke += 1;
            // Whoever else wants to revoke it comes meanwhile.
            tokio::task::yield_now().await;
            let revocations = self.state.lock().unwrap().revocations;
            if matches!(revocations, Revocations::Hang) {
                std::future::pending::<()>().await;
            }
            let mut state = self.state.lock().unwrap();
            match revocations {
                Revocations::Work | Revocations::Hang => {
                    state.live.remove(token.expose());
                    state.revoked.push(token.expose().clone());
                    Ok(Revoked::Done)
                }
                Revocations::NotOffered => Ok(Revoked::NotOffered),
                Revocations::Fail(class) => Err(error(class, Delivered::Yes)),
                Revocations::Pause(secs) => Err(UpstreamError {
                    retry_after: Some(Duration::from_secs(secs)),
                    ..error(ErrorClass::Retry, Delivered::Yes)
                }),
            }
        })
    }
}
