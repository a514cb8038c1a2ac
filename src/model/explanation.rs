//! How a gateway call would be decided, step by step.

use serde::{Deserialize, Serialize};

use crate::kernel::said::{self, Said};
use crate::model::limit::Limit;

/// A call that nobody makes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The method.
    pub method: String,
    /// The provider's own path and query, or ours from `/gateway/` on.
    pub path: String,
    /// The JSON body.
    #[serde(default)]
    pub data: Option<String>,
    /// Limits that a token would have beside the grant's.
    #[serde(default, rename = "authorization_details")]
    pub limits: Vec<Limit>,
}

/// What would become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether it would be forwarded, as far as that is known without asking the provider.
    pub permitted: bool,
    /// What was looked at, in order. The last one is the refusal, where there is one.
    pub steps: Vec<Step>,
    /// What would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What: `path`, `route`, `scopes`, `standing`, `request`, `budget`, or a limit's kind.
    pub subject: String,
    /// How it came out.
    pub verdict: StepVerdict,
    /// Why, in words.
    pub words: String,
    /// The same, sentence by sentence, for other languages.
    #[serde(skip)]
    pub said: Vec<Said>,
}

impl Step {
    /// A step, with its words in English.
    pub fn new(subject: &str, verdict: StepVerdict, said: Vec<Said>) -> Self {
        Self { subject: subject.to_owned(), verdict, words: said::english(&said), said }
    }
}

/// How a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepVerdict {
    /// Nothing stands against it.
    Allowed,
    /// The request is changed, so that it lies inside.
    Changed,
    /// The provider will be asked about something before the call is made.
    WillBeLookedUp,
    /// The answer will be tested before it is released.
    WillBeTested,
    /// It is refused.
    Refused,
}

/// A request as the provider would get it, without the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The address.
    pub url: String,
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl StepVerdict {
    /// The word for people at a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Changed => "changed",
            Self::WillBeLookedUp => "will be looked up",
            Self::WillBeTested => "will be tested in the answer",
            Self::Refused => "refused",
        }
    }
}
