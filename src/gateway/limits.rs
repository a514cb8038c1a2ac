//! Limits on resources, enforced call by call and answer by answer.
//!
//! Templates say, as data, which objects a call names, carries and gives, and which of their fields a limit
//! compares; everything here is generic over that. All limits in force apply. What the template does not say,
//! what cannot be read and what cannot be looked up is refused.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`judge`], [`plan`] | the request: what it names and carries, what is changed in it; a plan, without dialling |
//! | [`lookups`], [`recent`] | objects that have to be asked about, and the climb from a file to its folders |
//! | [`answer`] | the answer: items left out, a single object withheld, links led back to the gateway |
//! | [`facts`] | the fields of one object, and whether it lies inside a bound |
//! | [`names`], [`places`], [`query`], [`json`] | reading requests and documents in one way only |
//! | [`reshape`], [`filter`], [`moments`] | windows, filters and members that are asked for |
//! | [`words`] | what a denial says |

pub(super) mod answer;
mod facts;
mod filter;
mod json;
#[cfg(not(fuzzing))]
pub(super) mod judge;
#[cfg(fuzzing)]
pub mod judge;
mod lookups;
mod moments;
mod names;
mod places;
mod plan;
mod query;
mod recent;
mod reshape;
mod words;

pub use recent::Recent;

use std::sync::Arc;

use crate::gateway::Gateway;
use crate::gateway::denial::Denial;
use crate::gateway::forward::{Inspect, WholeAnswer};
use crate::gateway::limits::answer::Inspection;
use crate::gateway::limits::facts::Held;
use crate::gateway::limits::judge::{Asked, Check, Plan};
use crate::gateway::limits::lookups::{Lookups, Unchecked};
use crate::model::connection::Connection;
use crate::model::limit::Limit;
use crate::providers::Configured;
use crate::providers::dialect;
use crate::providers::template::Test;

/// Members that the agent has to ask for, because they have to be compared.
const LACKING: &str = "x-valetkey-lacking";

/// A request that lies inside all limits, as it is sent.
#[derive(Default)]
pub struct HeldCall {
    /// The query.
    pub query: Option<String>,
    /// The body, where it was looked into.
    pub body: Option<Vec<u8>>,
    /// Looks into the answer.
    pub inspect: Option<Inspect>,
    /// Which limits were checked, for the decision's event.
    pub reasons: Vec<String>,
}

impl Gateway {
    /// Holds a request inside the limits in force, and says how its answer is held.
    ///
    /// # Errors
    /// The limit that it exceeds, or within which it cannot be held.
    pub(super) async fn hold(
        &self,
        asked: &Asked<'_>,
        configured: &Arc<Configured>,
        connection: &Connection,
    ) -> Result<HeldCall, Denial> {
        let plan = if asked.limits.is_empty() {
            Plan { query: asked.query.map(str::to_owned), ..Plan::default() }
        } else {
            let judged = judge::judge(asked);
            tracing::debug!(steps = ?judged.steps, "judged by the limits in force");
            judged.outcome?
        };
        let gives = &asked.route.terms.gives;
        let api = asked.template.api.get(&asked.route.api);
        let has_addresses = api.is_some_and(|api| answer::has_addresses(asked.template, api, gives));
        let looks_into_answer = asked.method != "HEAD" && (has_addresses || !plan.answer.is_empty());
        if plan.checks.is_empty() && !looks_into_answer {
            return Ok(HeldCall {
                query: plan.query,
                body: plan.body,
                inspect: None,
                reasons: reasons(asked),
            });
        }
        let mut lookups = Lookups::new(self, configured, &connection.id, &connection.account.pins);
        for check in &plan.checks {
            if let Some(limit) = asked.limits.get(check.limit) {
                require_inside(&mut lookups, check, limit).await?;
            }
        }
        let inspect = looks_into_answer.then(|| {
            let issuer = self.tokens.issuer.as_str().trim_end_matches('/');
            inspector(Inspection {
                api: asked.route.api.clone(),
                gives: gives.clone(),
                limits: asked.limits.to_vec(),
                tests: plan.answer,
                gateway_base: format!("{issuer}/gateway/{}/{}", configured.slug, asked.route.api),
                lookups,
            })
        });
        Ok(HeldCall { query: plan.query, body: plan.body, inspect, reasons: reasons(asked) })
    }
}

fn reasons(asked: &Asked<'_>) -> Vec<String> {
    let limits = asked.limits.iter().filter(|limit| judge::bears_on(limit, asked.route));
    limits.map(|limit| format!("inside the limit `{}`", limit.kind().as_str())).collect()
}

async fn require_inside(lookups: &mut Lookups, check: &Check, limit: &Limit) -> Result<(), Denial> {
    let (object, compared) = (&check.object, words::compared(check.test));
    match lookups.named(check, limit).await {
        Ok(Held::Inside) => Ok(()),
        Ok(Held::Outside(_)) => {
            let problem = format!("the {object} that this call names lies outside, by {compared}");
            let denial = words::refusal(limit, &check.id, &problem, "");
            let is_named = matches!(check.test, Test::Id | Test::Tree);
            Err(if is_named { denial.beyond(limit, Some(&check.id)) } else { denial })
        }
        Ok(Held::Missing(field)) => {
            let name = words::field(field);
            let problem = format!(
                "the provider does not plainly say the {name} of the {object}, so it cannot be checked"
            );
            Err(words::refusal(limit, &check.id, &problem, ""))
        }
        Err(Unchecked::Unavailable(denial)) => Err(denial),
        Err(unchecked) => {
            let problem = format!("the {object} cannot be checked: {unchecked}");
            Err(words::refusal(limit, &check.id, &problem, ""))
        }
    }
}

fn inspector(inspection: Inspection) -> Inspect {
    Inspect {
        is_binding: inspection.is_binding(),
        look: Box::new(move |whole| Box::pin(look(inspection, whole))),
    }
}

/// Errors of the vendor pass: they hold no objects.
async fn look(inspection: Inspection, whole: WholeAnswer) -> Result<WholeAnswer, Denial> {
    let WholeAnswer { status, mut headers, body } = whole;
    if !(200..300).contains(&status) {
        return Ok(WholeAnswer { status, headers, body });
    }
    let template = &inspection.lookups.configured.loaded.template;
    let is_error = dialect::classify_api(template, &inspection.api, status, &body).is_some();
    let inspected = inspection.inspect(body, is_error).await?;
    headers.retain(|(name, _)| !matches!(name.as_str(), "content-range" | "accept-ranges"));
    if !inspected.lacking.is_empty() {
        headers.push((LACKING.to_owned(), inspected.lacking.join(", ").into_bytes()));
    }
    Ok(WholeAnswer { status, headers, body: inspected.body })
}
