//! The steps, in the order in which a newcomer would take them.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use url::Url;

use crate::app::demo::headless::agent::Agent;
use crate::app::demo::headless::browser::{Browser, Page};
use crate::app::demo::headless::script::{Act, act_for};
use crate::app::demo::{Demo, people};
use crate::audit::verify;

/// A little more than a day: how long a question stays open.
const QUESTIONS_LIVE: Duration = Duration::from_secs(24 * 3600 + 60);
const MOST_PAGES: usize = 8;

/// Everything that the play needs.
pub struct Stage<'d> {
    demo: &'d Demo,
    agent: Agent,
    browser: Browser,
}

/// What earlier steps at a provider have found out.
#[derive(Default)]
struct Found {
    interaction: Option<Url>,
    auth_req_id: String,
    token: String,
    grant: String,
}

impl<'d> Stage<'d> {
    /// Sets the stage: Alice's browser and her personal agent.
    pub fn set(demo: &'d Demo) -> anyhow::Result<Self> {
        let personal = &demo.cast.personal;
        let agent = Agent::new(&demo.issuer, personal.id.as_str(), personal.secret.expose())?;
        let browser = Browser::new(&[&demo.issuer.origin().ascii_serialization(), &demo.sandbox.url])?;
        Ok(Self { demo, agent, browser })
    }

    /// Plays all steps at one provider; returns how many failed.
    pub async fn play(&mut self, provider: &str, print: &mut impl FnMut(String)) -> usize {
        let act = act_for(provider);
        let mut found = Found::default();
        let steps = [
            "the agent asks and is told to ask the employee",
            "the employee signs in, agrees to less, and consents at the provider",
            "the agent collects its token, narrowed to what was agreed",
            "a call inside the grant works through the gateway",
            "a call outside the grant is refused and never reaches the provider",
            "the provider's token is renewed as the vendor does it",
            "the employee revokes, and the very next call is refused",
        ];
        let mut failed = 0;
        for (at, words) in steps.iter().enumerate() {
            let began = Instant::now();
            let outcome = match at {
                0 => self.ask(provider, &mut found).await,
                1 => self.consent(&act, &found).await,
                2 => self.collect(&act, &mut found).await,
                3 => self.call_inside(provider, &act, &found).await,
                4 => self.call_outside(provider, &act, &found).await,
                5 => self.renew(provider, &act, &mut found).await,
                _ => self.revoke(provider, &act, &found).await,
            };
            let took = began.elapsed().as_millis();
            match outcome {
                Ok(()) => print(format!("  ✓ {words} ({took} ms)")),
                Err(error) => {
                    failed += 1;
                    print(format!("  ✗ {words} ({took} ms): {error:#}"));
                }
            }
        }
        failed
    }

    /// The first two steps only: afterwards the agent has a grant.
    pub async fn connect(&mut self, provider: &str) -> anyhow::Result<()> {
        let mut found = Found::default();
        self.ask(provider, &mut found).await?;
        self.consent(&act_for(provider), &found).await
    }

    async fn ask(&self, provider: &str, found: &mut Found) -> anyhow::Result<()> {
        let answer = self.agent.exchange(people::ALICE, provider).await?;
        ensure!(answer.text("error") == Some("interaction_required"), "answered {}", answer.error());
        let uri = answer.text("interaction_uri").context("no interaction_uri")?;
        found.interaction = Some(Url::parse(uri)?);
        found.auth_req_id = answer.text("auth_req_id").context("no auth_req_id")?.to_owned();
        Ok(())
    }

    async fn consent(&mut self, act: &Act, found: &Found) -> anyhow::Result<()> {
        let url = found.interaction.clone().context("nothing to open")?;
        let mut page = self.browser.open(&url).await?;
        for _ in 0..MOST_PAGES {
            ensure!(page.status < 400, "`{}` answered {}", page.title(), page.status);
            page = match self.next(act, &page).await? {
                Some(next) => next,
                None => return Ok(()),
            };
        }
        bail!("no end after {MOST_PAGES} pages, the last `{}`", page.title())
    }

    /// What a person would do on that page; `None` when there is nothing left to do.
    async fn next(&mut self, act: &Act, page: &Page) -> anyhow::Result<Option<Page>> {
        if let Some(form) = page.form_with("password") {
            let password = self.demo.passwords.of(people::ALICE).context("no password")?;
            let mut fields = form.with("username", people::ALICE);
            fields.retain(|(name, _)| name != "password");
            fields.push(("password".to_owned(), password.to_owned()));
            return self.browser.submit(page, &form.action, &fields).await.map(Some);
        }
        let Some(form) = page.form_with("decision") else {
            // Our own sign-in page offers the company's sign-in as a link or a form.
            if page.url.path() == "/login" {
                return self.begin_sign_in(page).await.map(Some);
            }
            return Ok(None);
        };
        if form.buttons.iter().any(|(_, value)| value == "allow") {
            let fields = form.with("decision", "allow");
            return self.browser.submit(page, &form.action, &fields).await.map(Some);
        }
        let mut fields = form.with("decision", "agree");
        let agreed =
            form.boxes.iter().filter(|(name, value, _)| name == "scope" && value != act.refused_scope);
        fields.extend(agreed.map(|(name, value, _)| (name.clone(), value.clone())));
        let action = if form.action.is_empty() { page.url.path().to_owned() } else { form.action.clone() };
        self.browser.submit(page, &action, &fields).await.map(Some)
    }

    async fn begin_sign_in(&mut self, page: &Page) -> anyhow::Result<Page> {
        if let Some(form) = page.form_with("csrf") {
            return self.browser.submit(page, &form.action, &form.fields).await;
        }
        bail!("the sign-in page offers no sign-in")
    }

    async fn collect(&self, act: &Act, found: &mut Found) -> anyhow::Result<()> {
        let answer = self.agent.poll(&found.auth_req_id).await?;
        found.token =
            answer.text("access_token").with_context(|| format!("answered {}", answer.error()))?.to_owned();
        found.grant = answer.text("grant_id").context("no grant_id")?.to_owned();
        let scope = answer.text("scope").context("no scope")?;
        ensure!(!scope.split(' ').any(|one| one == act.refused_scope), "`{}` came along", act.refused_scope);
        let again = self.agent.poll(&found.auth_req_id).await?;
        ensure!(again.status == 400, "the token came twice");
        Ok(())
    }

    async fn call_inside(&self, provider: &str, act: &Act, found: &Found) -> anyhow::Result<()> {
        let answer = self.agent.call(&found.token, provider, act.allowed, None).await?;
        ensure!(
            answer.status == 200,
            "answered {}: {}",
            answer.error(),
            answer.text("error_description").unwrap_or("")
        );
        let code = answer.body.get("errcode").or(answer.body.get("code")).and_then(Value::as_i64);
        ensure!(code.unwrap_or(0) == 0, "the provider answered with error {code:?}");
        Ok(())
    }

    async fn call_outside(&mut self, provider: &str, act: &Act, found: &Found) -> anyhow::Result<()> {
        let before = self.api_calls(provider).await?;
        let answer = self.agent.call(&found.token, provider, act.outside, act.outside_body).await?;
        ensure!(answer.status == 403, "answered {}", answer.error());
        ensure!(self.api_calls(provider).await? == before, "the provider has seen the call");
        Ok(())
    }

    async fn renew(&mut self, provider: &str, act: &Act, found: &mut Found) -> anyhow::Result<()> {
        let before = self.renewals(provider, act).await?;
        self.demo.advance(Duration::from_secs(act.access_life_s + 60));
        let answer = self.agent.exchange(people::ALICE, provider).await?;
        found.token =
            answer.text("access_token").with_context(|| format!("answered {}", answer.error()))?.to_owned();
        self.call_inside(provider, act, found).await?;
        let renewed = self.renewals(provider, act).await? - before;
        ensure!(renewed == 1, "{renewed} renewals instead of one");
        Ok(())
    }

    async fn revoke(&mut self, provider: &str, act: &Act, found: &Found) -> anyhow::Result<()> {
        let home = self.demo.issuer.join("/")?;
        let mut page = self.browser.open(&home).await?;
        // The clock has moved, so the session may have ended: sign in again as a person would.
        for _ in 0..MOST_PAGES {
            let at_home = page.url.path() == "/" && page.url.origin() == home.origin();
            if at_home && page.form_with("password").is_none() {
                break;
            }
            page = self.next(act, &page).await?.context("no way back to the start page")?;
        }
        let wanted = format!("/grants/{}/revoke", found.grant);
        let form = page.forms().into_iter().find(|form| form.action.contains(&wanted));
        let form = form.with_context(|| format!("`{}` offers no way to revoke", page.title()))?;
        let after = self.browser.submit(&page, &form.action, &form.fields).await?;
        ensure!(after.status == 200, "`{}` answered {}", after.title(), after.status);
        let call = self.agent.call(&found.token, provider, act.allowed, None).await?;
        ensure!(call.status == 401, "the next call was answered {}", call.error());
        let exchange = self.agent.exchange(people::ALICE, provider).await?;
        ensure!(exchange.text("error") == Some("interaction_required"), "answered {}", exchange.error());
        // The refused call and this exchange have left questions open, of which an agent may have five per user.
        self.demo.advance(QUESTIONS_LIVE);
        Ok(())
    }

    async fn state(&mut self, provider: &str) -> anyhow::Result<Value> {
        let url = Url::parse(&format!("{}/_sandbox/{provider}/state", self.demo.sandbox.url))?;
        Ok(serde_json::from_str(&self.browser.open(&url).await?.html)?)
    }

    async fn api_calls(&mut self, provider: &str) -> anyhow::Result<usize> {
        let state = self.state(provider).await?;
        Ok(state.get("api_calls").and_then(Value::as_array).map_or(0, Vec::len))
    }

    async fn renewals(&mut self, provider: &str, act: &Act) -> anyhow::Result<u64> {
        let state = self.state(provider).await?;
        let count = if act.renews_by_refresh {
            state.get("refreshes").and_then(|refreshes| refreshes.get(people::ALICE))
        } else {
            state.get("token_calls")
        };
        Ok(count.and_then(Value::as_u64).unwrap_or(0))
    }

    /// Checks the whole log offline, with the public key alone.
    pub async fn check_log(&self, print: &mut impl FnMut(String)) -> usize {
        let began = Instant::now();
        let key = self.demo.services.vault.audit_signer().public_key();
        // One entry more, durable, so that everything before it is on disk too.
        let last =
            crate::model::event::EventDraft::new(crate::model::event::EventKind::Service, "demo.played");
        let outcome = match self.demo.services.audit.record(last).await {
            Err(error) => Err(error.to_string()),
            Ok(_) => verify::verify(&self.demo.data_dir().join("audit"), Some(key))
                .map_err(|error| error.to_string()),
        };
        let took = began.elapsed().as_millis();
        match outcome {
            Ok(report) => {
                print(format!("  ✓ {} entries are chained and signed ({took} ms)", report.entries));
                0
            }
            Err(words) => {
                print(format!("  ✗ the log does not verify ({took} ms): {words}"));
                1
            }
        }
    }
}
