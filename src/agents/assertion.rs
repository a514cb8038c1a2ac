//! Assertions (RFC 7523): signed by the agent's own key (`private_key_jwt`), or by the platform that it runs
//! on, which vouches for the workload.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::agents::Agents;
use crate::agents::authenticate::Refused;
use crate::agents::presets::preset;
use crate::jose::{Claims, KeySet, Problem, Token};
use crate::kernel::clock::Timestamp;
use crate::model::agent::Agent;
use crate::model::credential::{ClientKeys, IssuerKeys, TokenIssuer, UsedAssertion, Vouches};
use crate::store::{Committed, Stored, Tx};
use crate::upstream::{Publisher, Unsigned};

/// Platforms' tokens can be long: Alibaba Cloud announces up to 20,000 characters.
const LONGEST_TOKEN: usize = 24 * 1024;
/// An agent's own has no reason to be.
const LONGEST_OWN: usize = 8 * 1024;
/// The longest name of an assertion.
const JTI_MAX: usize = 256;
/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(30);
/// How long an agent's own assertion can be used, whatever it says.
const USABLE: Duration = Duration::from_secs(300);
/// The furthest `exp` that is taken at all. Libraries write an hour without being asked; then `iat` decides.
const FURTHEST: Duration = Duration::from_secs(3600);

/// Whom an agent's own assertion is of, before anything is checked.
pub(super) fn claimed_client(text: &str) -> Option<String> {
    let token = Token::parse(text, LONGEST_OWN).ok()?;
    let subject = token.unverified("sub").filter(|subject| token.unverified("iss") == Some(*subject))?;
    Some(subject.to_owned())
}

impl Agents {
    /// Checks an assertion; the answer names the way in which it was made.
    pub(super) async fn check_assertion(
        &self,
        found: Option<&Stored<Agent>>,
        text: &str,
    ) -> Result<String, Refused> {
        let token = Token::parse(text, LONGEST_TOKEN)?;
        let agent = found.ok_or(Refused::because("no agent has this id"))?;
        if token.unverified("iss") == Some(agent.id.as_str()) {
            if text.len() > LONGEST_OWN {
                return Err(Problem::TooLong.into());
            }
            self.check_own(agent, &token).await?;
            return Ok("private_key_jwt".to_owned());
        }
        self.check_workload(agent, &token).await?;
        Ok("workload".to_owned())
    }

    /// An agent's own assertion (OpenID Connect Core, section 9; RFC 7523, section 3).
    async fn check_own(&self, agent: &Agent, token: &Token<'_>) -> Result<(), Refused> {
        token.require_type(&[None, Some("JWT"), Some("client-authentication+jwt")])?;
        let claims = match &agent.sign_in.keys {
            None => return Err(Refused::because("the agent has no registered keys")),
            Some(ClientKeys::Inline(set)) => verified_by_set(token, set)?,
            Some(ClientKeys::Remote(url)) => self.verified_by(token, Publisher::Url(url)).await?,
        };
        // `iss` is the agent's id, or we would not be here.
        if claims.text("sub") != Some(agent.id.as_str()) {
            return Err(Refused::because("the assertion's `sub` is not the agent"));
        }
        // A text and nothing else: an assertion that another server may use as well could come from there.
        if claims.text("aud") != Some(self.issuer.as_str()) {
            return Err(Refused::because("the assertion's `aud` is not our issuer, as a text and alone"));
        }
        let ends_at = self.usable_until(&claims)?;
        let jti = claims.text("jti").filter(|jti| (1..=JTI_MAX).contains(&jti.len()));
        let jti = jti.ok_or(Refused::because("the assertion has no usable `jti`"))?;
        self.spend(agent, jti, ends_at).await
    }

    /// Until when an agent's own assertion can be used: a few minutes, however far ahead its `exp` is.
    fn usable_until(&self, claims: &Claims) -> Result<Timestamp, Refused> {
        let now = self.clock.now();
        let times = times_of(claims)?;
        let expires = times.expires.ok_or(Refused::because("the assertion has no `exp`"))?;
        if expires > now.plus(FURTHEST).plus(LEEWAY) {
            return Err(Refused::because("the assertion's `exp` is too far in the future"));
        }
        check_beginning(times, now)?;
        let ends_at = match times.issued {
            Some(issued) => expires.min(issued.plus(USABLE)),
            None if expires > now.plus(USABLE).plus(LEEWAY) => {
                return Err(Refused::because(
                    "the assertion's `exp` is too far in the future, and it has no `iat`",
                ));
            }
            None => expires,
        };
        let ends_at = ends_at.plus(LEEWAY);
        if ends_at <= now {
            return Err(Refused::because("the assertion has expired, or was issued too long ago"));
        }
        Ok(ends_at)
    }

    /// Uses an assertion up, for every node and across restarts.
    async fn spend(&self, agent: &Agent, jti: &str, ends_at: Timestamp) -> Result<(), Refused> {
        let digest = self.vault.state_digest("client assertion", &format!("{} {jti}", agent.id)).hex();
        let stretch = UsedAssertion::stretch_of(ends_at);
        let [before, after] = [-1, 1].map(|step| UsedAssertion::key_of(&digest, stretch + step));
        let mut tx = Tx::new();
        tx.insert(&UsedAssertion { digest, expires_at: ends_at });
        // The same name in an assertion that ends a little earlier or later is the same name.
        tx.require_absent::<UsedAssertion>(&before).require_absent::<UsedAssertion>(&after);
        match self.store.commit(tx).await? {
            Committed::Done => Ok(()),
            Committed::Conflict => Err(Refused::because("the assertion was used before")),
        }
    }

    /// A platform's token. It may be shown again until it expires: platforms hand out the same one for as long.
    async fn check_workload(&self, agent: &Agent, token: &Token<'_>) -> Result<(), Refused> {
        let mut refused: Option<Refused> = None;
        let sources: BTreeSet<_> =
            agent.sign_in.workloads.iter().map(|workload| &workload.trust_source).collect();
        for id in sources {
            let source = self.trust_source(id).await?;
            let Some(source) = source.filter(|source| source.enabled) else {
                refused = Some(Refused::because("the trust source is gone or disabled"));
                continue;
            };
            let Vouches::Tokens(issuer) = &source.vouches else { continue };
            let pins = agent.sign_in.workloads.iter().filter(|workload| workload.trust_source == *id);
            match self.check_vouched(issuer, token, pins.map(|workload| &workload.pins)).await {
                Ok(()) => return Ok(()),
                Err(Refused::Store(error)) => return Err(error.into()),
                // The source whose issuer it is has the better word on why not.
                Err(Refused::Because(words)) if words == OTHER_ISSUER && refused.is_some() => {}
                Err(because) => refused = Some(because),
            }
        }
        Err(refused.unwrap_or(Refused::because("the agent has no registered workload")))
    }

    async fn check_vouched<'p>(
        &self,
        issuer: &TokenIssuer,
        token: &Token<'_>,
        workloads: impl Iterator<Item = &'p std::collections::BTreeMap<String, String>>,
    ) -> Result<(), Refused> {
        let stated = token.unverified("iss");
        if issuer.issuer.as_deref().is_some_and(|issuer| stated != Some(issuer)) {
            return Err(Refused::because(OTHER_ISSUER));
        }
        let preset = preset(&issuer.preset).ok_or(Refused::because("this version has no such preset"))?;
        token.require_type(&preset.accepted_types())?;
        if !preset.accepts(token.header.algorithm) {
            return Err(Problem::Algorithm.into());
        }
        if token.header.key.is_none() && !preset.key_id_optional {
            return Err(Problem::UnknownKey.into());
        }
        let claims = match &issuer.keys {
            IssuerKeys::Uploaded(set) => verified_by_set(token, set)?,
            IssuerKeys::Url(url) => self.verified_by(token, Publisher::Url(url)).await?,
            IssuerKeys::Discovery => {
                self.verified_by(token, Publisher::Issuer(issuer.issuer.as_deref().unwrap_or_default()))
                    .await?
            }
        };
        if claims.sole_audience() != Some(issuer.audience.as_str()) {
            return Err(Refused::because("the token's `aud` is not the registered one alone"));
        }
        if preset.refuses_audience(&issuer.audience, issuer.issuer.as_deref()) {
            return Err(Refused::because("the registered audience is one that other services take as well"));
        }
        let longest = Duration::from_secs(preset.longest_s);
        check_lifetime(&claims, longest, preset.issue_time_optional, self.clock.now())?;
        let mut refused = String::new();
        for pins in workloads {
            match preset.check_claims(&claims, &issuer.pins, pins) {
                Ok(()) => return Ok(()),
                Err(words) => refused = words,
            }
        }
        Err(Refused::Because(refused.into()))
    }

    /// The claims of a token that a published key has signed. Keys that are not known yet are looked for
    /// once a minute.
    async fn verified_by(&self, token: &Token<'_>, place: Publisher<'_>) -> Result<Claims, Refused> {
        self.upstream.signed_claims(token, place).await.map_err(|unsigned| match unsigned {
            Unsigned::Keys(error) => Refused::Because(error.to_string().into()),
            Unsigned::Token(problem) => problem.into(),
        })
    }
}

const OTHER_ISSUER: &str = "the token's issuer is not that of the trust source";

fn verified_by_set(token: &Token<'_>, set: &serde_json::Value) -> Result<Claims, Refused> {
    let keys = KeySet::usable(set).map_err(|problem| Refused::Because(problem.to_string().into()))?;
    Ok(token.verified(&keys)?)
}

#[derive(Clone, Copy)]
struct Times {
    expires: Option<Timestamp>,
    issued: Option<Timestamp>,
    not_before: Option<Timestamp>,
}

fn times_of(claims: &Claims) -> Result<Times, Refused> {
    let time =
        |name| claims.time(name).map_err(|name| Refused::Because(format!("`{name}` is no date").into()));
    Ok(Times { expires: time("exp")?, issued: time("iat")?, not_before: time("nbf")? })
}

fn check_beginning(times: Times, now: Timestamp) -> Result<(), Refused> {
    let latest = now.plus(LEEWAY);
    if times.issued.is_some_and(|at| at > latest) || times.not_before.is_some_and(|at| at > latest) {
        return Err(Refused::because("the token is from the future (`iat`, `nbf`)"));
    }
    Ok(())
}

fn check_lifetime(
    claims: &Claims,
    longest: Duration,
    issue_time_optional: bool,
    now: Timestamp,
) -> Result<(), Refused> {
    let times = times_of(claims)?;
    let expires = times.expires.ok_or(Refused::because("the token has no `exp`"))?;
    if expires.plus(LEEWAY) <= now {
        return Err(Refused::because("the token has expired"));
    }
    check_beginning(times, now)?;
    let begins = match times.issued {
        Some(issued) => issued,
        None if issue_time_optional => now.plus(LEEWAY),
        None => return Err(Refused::because("the token has no `iat`")),
    };
    if expires > begins.plus(longest) {
        return Err(Refused::because("the token lives longer than the platform's tokens do"));
    }
    Ok(())
}
