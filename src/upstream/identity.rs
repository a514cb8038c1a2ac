//! Who the account behind a consent is, by the template's stable key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::kernel::secret::{SecretBytes, SecretString};
use crate::kernel::text;
use crate::model::connection::Account;
use crate::net::http::{HeaderValue, Method, header};
use crate::net::{Answer, Call, CallBody};
use crate::providers::Configured;
use crate::providers::dialect::{Members, TokenSet};
use crate::providers::template::{ErrorClass, OkMember, PinLookup, SendToken};
use crate::upstream::Upstream;
use crate::upstream::dial::{self, DEADLINE};
use crate::upstream::failure::{Cause, UpstreamError};

/// The longest identifier that is believed.
const MAX_ID: usize = 256;
/// The longest label that is kept.
const MAX_LABEL: usize = 128;
/// An app token is not used for its last minute.
const MARGIN: Duration = Duration::from_secs(60);

impl Upstream {
    /// Asks with the user's token.
    pub(super) async fn account_by_userinfo(
        &self,
        configured: &Configured,
        url: &str,
        tokens: &TokenSet,
    ) -> Result<Account, UpstreamError> {
        let identity = &configured.loaded.template.identity;
        let mut call = Call::get(endpoint(url)?);
        dial::put_token(&mut call, &identity.send, &tokens.access_token)?;
        let answer = self.ask(configured, call, identity.ok.as_ref()).await?;
        account(configured, &read(&answer.body)?, Some(tokens), "")
    }

    /// Asks with the app's token and the code: there is no user token.
    pub(super) async fn account_by_code(
        &self,
        configured: &Configured,
        code: &SecretString,
    ) -> Result<Account, UpstreamError> {
        let identity = &configured.loaded.template.identity;
        let url = endpoint(&identity.url)?;
        let make = || {
            let mut call = Call::get(url.clone());
            call.url.query_pairs_mut().append_pair("code", code.expose_str());
            call
        };
        let answer = self.ask_as_app(configured, make, &identity.send, identity.ok.as_ref()).await?;
        account(configured, &read(&answer.body)?, None, "")
    }

    /// Learns further pins with the app's token, where the template has such a look-up.
    pub(super) async fn look_up_pins(
        &self,
        configured: &Configured,
        account: &mut Account,
    ) -> Result<(), UpstreamError> {
        let Some(lookup) = &configured.loaded.template.identity.pin_lookup else { return Ok(()) };
        let url = endpoint(&lookup.url)?;
        let body = question(lookup, account)?;
        let make = || {
            let mut call = Call::new(Method::POST, url.clone());
            let json = HeaderValue::from_static("application/json; charset=utf-8");
            call.headers.insert(header::CONTENT_TYPE, json);
            call.body = CallBody::Bytes(body.clone().into());
            call
        };
        let answer = self.ask_as_app(configured, make, &lookup.send, lookup.ok.as_ref()).await?;
        let members = read(&answer.body)?;
        for (name, place) in &lookup.pins {
            let value = members.text(place).and_then(identifier).ok_or_else(unidentified)?;
            account.pins.insert(name.clone(), value);
        }
        Ok(())
    }

    async fn ask(
        &self,
        configured: &Configured,
        call: Call,
        ok: Option<&OkMember>,
    ) -> Result<Answer, UpstreamError> {
        let answer = self.dial(call, DEADLINE).await?;
        match self.refused(configured, ok, &answer) {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// With the app's token; once more with a fresh one when the kept one has died early.
    async fn ask_as_app(
        &self,
        configured: &Configured,
        make: impl Fn() -> Call,
        send: &SendToken,
        ok: Option<&OkMember>,
    ) -> Result<Answer, UpstreamError> {
        let key = format!("{}/{}", configured.slug, configured.client_id);
        let kept = self.kept_app_token(&key);
        let was_kept = kept.is_some();
        let token = match kept {
            Some(token) => token,
            None => self.fresh_app_token(configured, &key).await?,
        };
        let mut call = make();
        dial::put_token(&mut call, send, &token)?;
        match self.ask(configured, call, ok).await {
            Err(error) if was_kept && error.class == ErrorClass::StaleToken => {
                let token = self.fresh_app_token(configured, &key).await?;
                let mut call = make();
                dial::put_token(&mut call, send, &token)?;
                self.ask(configured, call, ok).await
            }
            done => done,
        }
    }

    async fn fresh_app_token(
        &self,
        configured: &Configured,
        key: &str,
    ) -> Result<Arc<SecretString>, UpstreamError> {
        let tokens = self.app_token(configured).await?;
        let token = Arc::new(tokens.access_token);
        let until = self.now().plus(tokens.expires_in.saturating_sub(MARGIN));
        self.keep_app_token(key.to_owned(), Arc::clone(&token), until);
        Ok(token)
    }
}

/// The account that an answer or a token's claims describe, if it belongs to the configured company.
///
/// # Errors
/// When it does not, or when it has no stable key.
pub(super) fn account(
    configured: &Configured,
    members: &Members<'_>,
    tokens: Option<&TokenSet>,
    issuer: &str,
) -> Result<Account, UpstreamError> {
    let identity = &configured.loaded.template.identity;
    let company = company(configured, members, tokens, issuer)?;
    let subject = subject(configured, members, tokens)?;
    let mut labels = identity.label.iter().filter_map(|place| find(members, tokens, place));
    let label = labels.find(|label| !label.is_empty());
    let pins: BTreeMap<String, String> = identity
        .pins
        .iter()
        .filter_map(|(name, place)| Some((name.clone(), identifier(find(members, tokens, place)?)?)))
        .collect();
    Ok(Account { company, label: text::clean(label.as_ref().unwrap_or(&subject), MAX_LABEL), subject, pins })
}

/// The stable key.
///
/// # Errors
/// When it is absent (an account of another kind, a guest or a non-member, has none), or marks another
/// company's account.
pub(super) fn subject(
    configured: &Configured,
    members: &Members<'_>,
    tokens: Option<&TokenSet>,
) -> Result<String, UpstreamError> {
    let identity = &configured.loaded.template.identity;
    let subject = find(members, tokens, &identity.subject).and_then(identifier).ok_or_else(unidentified)?;
    let is_foreign = !identity.foreign_mark.is_empty() && subject.contains(&identity.foreign_mark);
    if is_foreign { Err(UpstreamError::company_mismatch()) } else { Ok(subject) }
}

fn company(
    configured: &Configured,
    members: &Members<'_>,
    tokens: Option<&TokenSet>,
    issuer: &str,
) -> Result<String, UpstreamError> {
    let identity = &configured.loaded.template.identity;
    if identity.company == "config" {
        // The endpoint itself belongs to one company: its issuer, or what the admin stated, names it.
        let stated = configured.company.values().map(String::as_str).collect::<Vec<_>>().join("/");
        let named = [issuer, &stated, configured.slug.as_str()].into_iter().find(|name| !name.is_empty());
        return Ok(named.unwrap_or_default().to_owned());
    }
    let expected = configured.company.get(&identity.company_equals).filter(|value| !value.is_empty());
    let found = find(members, tokens, &identity.company).and_then(identifier);
    match (found, expected) {
        (Some(found), Some(expected)) if &found == expected => Ok(found),
        // INVARIANT: an account that does not prove its company is another company's.
        _ => Err(UpstreamError::company_mismatch()),
    }
}

fn find(members: &Members<'_>, tokens: Option<&TokenSet>, place: &str) -> Option<String> {
    match place.strip_prefix("token:") {
        Some(member) => tokens?.extra.get(member).cloned(),
        None => members.text(place),
    }
}

/// What may be a key or be put into a path: no spaces, nothing invisible.
fn identifier(text: String) -> Option<String> {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
    (!text.is_empty() && text.len() <= MAX_ID && text.chars().all(is_plain)).then_some(text)
}

/// The body of a look-up: members by the template, values from pins that are known.
fn question(lookup: &PinLookup, account: &Account) -> Result<Vec<u8>, UpstreamError> {
    let mut body = serde_json::Map::new();
    for (member, pin) in &lookup.body {
        let value = account.pins.get(pin).ok_or_else(unidentified)?;
        body.insert(member.clone(), value.as_str().into());
    }
    Ok(serde_json::Value::Object(body).to_string().into_bytes())
}

/// Reads an answer or a token's claims.
///
/// # Errors
/// When it is no JSON object.
pub(super) fn read(body: &SecretBytes) -> Result<Members<'_>, UpstreamError> {
    Members::parse(body.expose()).map_err(|_| unidentified())
}

fn endpoint(url: &str) -> Result<Url, UpstreamError> {
    Url::parse(url)
        .map_err(|_| UpstreamError::not_offered("this provider has no endpoint that says who an account is"))
}

fn unidentified() -> UpstreamError {
    let words = "the provider does not say who the account belongs to";
    UpstreamError::new(ErrorClass::Unknown, Cause::Identity, words)
}
