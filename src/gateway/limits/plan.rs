//! What a request is judged by, and what comes of it: data, so that a decision can be explained without making it.

use std::collections::BTreeMap;

use crate::gateway::denial::Denial;
use crate::kernel::said::Said;
use crate::kernel::scope::ScopeSet;
use crate::model::limit::Limit;
use crate::providers::routes::{CompiledRoute, RouteTable};
use crate::providers::template::{Template, Test};

/// A request, after users were pinned into it.
pub struct Asked<'a> {
    /// The provider's template.
    pub template: &'a Template,
    /// Its calls.
    pub routes: &'a RouteTable,
    /// The call.
    pub route: &'a CompiledRoute,
    /// Its path parameters, as they were sent.
    pub params: &'a BTreeMap<&'a str, String>,
    /// The limits in force.
    pub limits: &'a [Limit],
    /// The scopes that open it.
    pub scopes: &'a ScopeSet,
    /// The method as it was sent: HEAD is not GET here.
    pub method: &'a str,
    /// The query.
    pub query: Option<&'a str>,
    /// The body, where a limit looks into it; empty = none.
    pub body: &'a [u8],
    /// Its media type.
    pub content_type: Option<&'a str>,
}

/// What came of it.
#[derive(Debug)]
pub struct Judged {
    /// All that was looked at, in order; what refused is in the outcome.
    pub steps: Vec<Step>,
    /// What is left to do, or the refusal.
    pub outcome: Result<Plan, Denial>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The limit's kind.
    pub limit: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// Why.
    pub said: Said,
}

/// How a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The limit does not bear on it, or it lies inside.
    Passes,
    /// The request is changed so that it lies inside.
    Changed,
    /// The provider has to be asked about an object before the call is made.
    LooksUp,
    /// The answer is tested before it is released.
    TestsAnswer,
}

/// What is left to do for a request that is not refused yet.
#[derive(Debug, Default)]
pub struct Plan {
    /// The query as it is sent.
    pub query: Option<String>,
    /// The body as it is sent, where it was looked into.
    pub body: Option<Vec<u8>>,
    /// Objects to look up before the call is made.
    pub checks: Vec<Check>,
    /// Tests of the answer.
    pub answer: Vec<AnswerTest>,
}

/// An object that has to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The limit's place among those in force.
    pub limit: usize,
    /// The kind of object.
    pub object: String,
    /// Its identifier.
    pub id: String,
    /// What is compared.
    pub test: Test,
}

/// A test of the objects at one place of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerTest {
    /// The limit's place among those in force.
    pub limit: usize,
    /// The place among those that the call gives.
    pub place: usize,
    /// What is compared.
    pub test: Test,
}
