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

pub(super) use lookups::Lookups;
pub use recent::Recent;

use crate::gateway::Gateway;
use crate::gateway::denial::Denial;
use crate::gateway::forward::{Inspect, WholeAnswer};
use crate::gateway::limits::answer::Inspection;
use crate::gateway::limits::facts::Held;
use crate::gateway::limits::judge::{AnswerTest, Check};
use crate::gateway::limits::lookups::Unchecked;
use crate::kernel::said::Said;
use crate::model::limit::Limit;
use crate::providers::dialect;
use crate::providers::routes::CompiledRoute;
use crate::providers::template::{Template, Test};

/// Members that the agent has to ask for, because they have to be compared.
const LACKING: &str = "x-valetkey-lacking";

impl Gateway {
    /// How the answer of a call is held inside the limits in force.
    pub(super) fn inspection(
        &self,
        route: &CompiledRoute,
        limits: &[Limit],
        tests: Vec<AnswerTest>,
        lookups: Lookups,
    ) -> Inspect {
        inspector(Inspection {
            api: route.api.clone(),
            gives: route.terms.gives.clone(),
            limits: limits.to_vec(),
            tests,
            token: route.token,
            gateway_base: self.base(&lookups.configured.slug, &route.api),
            lookups,
        })
    }
}

/// Whether an answer has to be looked into even without a limit.
pub(super) fn has_addresses(template: &Template, route: &CompiledRoute) -> bool {
    let api = template.api.get(&route.api);
    api.is_some_and(|api| answer::has_addresses(template, api, &route.terms.gives))
}

/// Which limits were checked, for the decision's event.
pub(super) fn reasons(limits: &[Limit], route: &CompiledRoute) -> Vec<Said> {
    let limits = limits.iter().filter(|limit| judge::bears_on(limit, route));
    limits.map(|limit| Said::of("inside").and(limit.kind().as_str())).collect()
}

/// The kind of the limit that refused.
pub(super) fn kind_named(limits: &[Limit], denial: &Denial) -> Option<&'static str> {
    let shown = denial.limit.as_ref()?;
    limits.iter().map(|limit| limit.kind().as_str()).find(|own| *own == shown.kind)
}

/// Asks where something lies that a request names.
///
/// # Errors
/// When it lies outside, or that cannot be known.
pub(super) async fn require_inside(
    lookups: &mut Lookups,
    check: &Check,
    limit: &Limit,
) -> Result<(), Denial> {
    let about = |key| Said::of(key).and(Said::noun(&check.object));
    match lookups.named(check, limit).await {
        Ok(Held::Inside) => Ok(()),
        Ok(Held::Outside(_)) => {
            let problem = about("outside_named").and(words::compared(check.test));
            let denial = words::refusal(limit, &check.id, problem);
            let is_named = matches!(check.test, Test::Id | Test::Tree);
            Err(if is_named { denial.beyond(limit, Some(&check.id)) } else { denial })
        }
        Ok(Held::Missing(field)) => {
            Err(words::refusal(limit, &check.id, about("unsaid_named").and(words::field(field))))
        }
        Err(Unchecked::Unavailable(denial)) => Err(denial),
        Err(unchecked) => {
            Err(words::refusal(limit, &check.id, about("unchecked_named").and(unchecked.said())))
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
    let lists_tested = inspection.tests_lists();
    let inspected = inspection.inspect(body, is_error).await?;
    headers.retain(|(name, _)| match name.as_str() {
        "content-range" | "accept-ranges" => false,
        // They are of the whole list, and change with what lies outside.
        "etag" | "last-modified" => !lists_tested,
        _ => true,
    });
    if !inspected.lacking.is_empty() {
        headers.push((LACKING.to_owned(), inspected.lacking.join(", ").into_bytes()));
    }
    Ok(WholeAnswer { status, headers, body: inspected.body })
}
