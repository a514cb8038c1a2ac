//! What is stated about an agent, and how it is shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agents::{Flag, NewAgent};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ProviderSlug;
use crate::kernel::scope::ScopeSet;
use crate::model::agent::{Agent, AgentKind, Circle, Entry};
use crate::model::credential::SignIn;
use crate::model::limit::Limit;
use crate::server::problem::Problem;
use crate::web::api::{ApiState, errors};
use crate::web::people;

/// What is stated about an agent.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateAgent {
    /// `personal`, `assistant` or `autonomous`. It cannot be changed later.
    #[schema(value_type = String)]
    kind: AgentKind,
    name: String,
    /// What it is for, in words that employees read.
    purpose: String,
    /// The owner: a user's id, an e-mail that one user only has, or `team:` and the name of a group.
    owner: String,
    /// Scopes per provider that it can be granted at most, space-separated.
    #[serde(default)]
    ceiling: BTreeMap<String, String>,
    /// Scopes per provider that it asks for when it names none, space-separated.
    #[serde(default)]
    default_scopes: BTreeMap<String, String>,
    /// The `aud` values of ID tokens that it may show.
    #[serde(default)]
    subject_audiences: Vec<String>,
    /// Where it was built or runs: `Model Studio`, `PAI`, `AgentRun`, `Bedrock`, `Azure AI`, `LangChain`,
    /// `Dify`, `self-built`, or any other name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// Such as `production`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    /// Further labels.
    #[serde(default)]
    labels: BTreeSet<String>,
    /// Classes of data that it may touch: `profile`, `directory`, `contacts`, `mail`, `calendar`, `messages`, `files`,
    /// `tasks`, `apps`, `logs`, and your own words for internal back ends. Then it holds only what is of these classes
    /// alone. Empty: not restricted.
    #[serde(default)]
    data_classes: BTreeSet<String>,
    /// Scopes per internal back end (by identifier) that it can hold at most, space-separated; one that is
    /// not listed is closed. Left out = what the back ends' registrations give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audience_ceiling: Option<BTreeMap<String, String>>,
    /// Limits per provider that hold for all of its grants, as RFC 9396 details.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Vec<Object>>)]
    limits: BTreeMap<String, Vec<Limit>>,
    /// For whom an assistant may act: `{"users": ["usr_…"], "groups": ["…"]}`. Left out = everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    people: Option<Circle>,
    /// When it ends, in RFC 3339, or a date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// When somebody should look whether it is still needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    review_at: Option<String>,
    /// Whether it gets no token that is not bound to its key (DPoP) or its client certificate.
    #[serde(default)]
    sender_constrained: bool,
    /// How it signs in without a secret, as at `/agents/{id}/sign-in`: `{}` = in no such way, left out = as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    sign_in: Option<SignIn>,
}

/// An agent, without anything secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentView {
    id: String,
    /// `active`, `suspended` or `retired`.
    #[schema(value_type = String)]
    state: crate::model::agent::AgentState,
    /// What an admin should look at: `no_active_owner`, `expired`, `review_due`.
    #[schema(value_type = Vec<String>)]
    flags: Vec<Flag>,
    created_at: String,
    #[serde(flatten)]
    stated: StateAgent,
}

impl AgentView {
    /// An agent with its flags.
    pub fn of(agent: &Agent, flags: Vec<Flag>) -> Self {
        Self {
            id: agent.id.to_string(),
            state: agent.state,
            flags,
            created_at: agent.created_at.rfc3339(),
            stated: StateAgent::of(agent),
        }
    }
}

impl StateAgent {
    /// What is stated about an agent now.
    pub fn of(agent: &Agent) -> Self {
        let entry = &agent.entry;
        Self {
            kind: agent.kind,
            name: agent.name.clone(),
            purpose: agent.purpose.clone(),
            owner: agent.owner.to_string(),
            ceiling: as_text(&agent.ceiling),
            default_scopes: as_text(&agent.default_scopes),
            subject_audiences: agent.subject_audiences.clone(),
            platform: entry.platform.clone(),
            environment: entry.environment.clone(),
            labels: entry.labels.clone(),
            data_classes: entry.data_classes.clone(),
            audience_ceiling: entry.audiences.as_ref().map(as_text),
            limits: entry.limits.iter().map(|(slug, limits)| (slug.to_string(), limits.clone())).collect(),
            people: entry.people.clone(),
            expires_at: entry.expires_at.map(Timestamp::rfc3339),
            review_at: entry.review_at.map(Timestamp::rfc3339),
            sender_constrained: entry.sender_constrained,
            sign_in: Some(agent.sign_in.clone()),
        }
    }

    /// The same with some members replaced, and those that are `null` removed (RFC 7396).
    pub fn merged(&self, patch: serde_json::Map<String, serde_json::Value>) -> Result<Self, Problem> {
        let mut stated = serde_json::to_value(self).unwrap_or_default();
        let is_named = patch.contains_key("sign_in");
        merge(&mut stated, serde_json::Value::Object(patch));
        let stated: Self = serde_json::from_value(stated).map_err(|error| wrong(error.to_string()))?;
        // What is not spoken of stays even where it could not be registered anew.
        let sign_in = is_named.then(|| stated.sign_in.unwrap_or_default());
        Ok(Self { sign_in, ..stated })
    }

    /// In the register's terms: people looked up, scopes, limits and times read.
    pub async fn terms(self, state: &ApiState) -> Result<NewAgent, Problem> {
        let owner = people::owner(&state.store, &self.owner).await.map_err(errors::store)?;
        let unknown =
            "owner: names no user, or an e-mail that several have; users appear with their first sign-in";
        let limits = limits(state, self.limits).await?;
        let audiences = match &self.audience_ceiling {
            None => None,
            Some(ceiling) => Some(scopes_by(ceiling, "audience_ceiling", |name| Ok(name.to_owned()))?),
        };
        let slug = |text: &str| text.parse::<ProviderSlug>();
        Ok(NewAgent {
            kind: self.kind,
            owner: owner.ok_or_else(|| wrong(unknown))?,
            ceiling: scopes_by(&self.ceiling, "ceiling", slug)?,
            default_scopes: scopes_by(&self.default_scopes, "default_scopes", slug)?,
            name: self.name,
            purpose: self.purpose,
            subject_audiences: self.subject_audiences,
            sign_in: self.sign_in,
            entry: Entry {
                platform: self.platform,
                environment: self.environment,
                labels: self.labels,
                data_classes: self.data_classes,
                audiences,
                limits,
                people: self.people,
                expires_at: time("expires_at", self.expires_at.as_deref())?,
                review_at: time("review_at", self.review_at.as_deref())?,
                sender_constrained: self.sender_constrained,
            },
        })
    }
}

fn wrong(words: impl Into<String>) -> Problem {
    Problem::bad_request("invalid_agent", words.into())
}

fn merge(onto: &mut serde_json::Value, patch: serde_json::Value) {
    match (onto, patch) {
        (serde_json::Value::Object(onto), serde_json::Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    onto.remove(&name);
                } else {
                    merge(onto.entry(name).or_insert(serde_json::Value::Null), value);
                }
            }
        }
        (onto, patch) => *onto = patch,
    }
}

fn as_text<K: ToString>(scopes: &BTreeMap<K, ScopeSet>) -> BTreeMap<String, String> {
    scopes.iter().map(|(at, scopes)| (at.to_string(), scopes.to_string())).collect()
}

fn scopes_by<K: Ord>(
    scopes: &BTreeMap<String, String>,
    member: &str,
    key: impl Fn(&str) -> Result<K, &'static str>,
) -> Result<BTreeMap<K, ScopeSet>, Problem> {
    let read = |(at, scopes): (&String, &String)| {
        let at = key(at).map_err(|problem| wrong(format!("{member}: {problem}")))?;
        let scopes = ScopeSet::parse(scopes).map_err(|problem| wrong(format!("{member}: {problem}")))?;
        Ok((at, scopes))
    };
    scopes.iter().map(read).collect()
}

/// Only limits that the provider's template enforces: one that nothing enforces would promise too much.
async fn limits(
    state: &ApiState,
    stated: BTreeMap<String, Vec<Limit>>,
) -> Result<BTreeMap<ProviderSlug, Vec<Limit>>, Problem> {
    let mut read = BTreeMap::new();
    for (slug, limits) in stated {
        let slug: ProviderSlug = slug.parse().map_err(|problem| wrong(format!("limits: {problem}")))?;
        let configured = state.connections.configured(&slug).await;
        let configured = configured.map_err(|error| wrong(format!("limits: {error}")))?;
        let template = &configured.loaded.template;
        if let Some(limit) = limits.iter().find(|limit| !template.offers(limit)) {
            let kind = limit.kind().as_str();
            let api = limit.api.as_deref().unwrap_or_default();
            return Err(wrong(format!("limits: `{slug}` offers no limit `{kind}` at the api `{api}`")));
        }
        read.insert(slug, limits);
    }
    Ok(read)
}

fn time(member: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let problem = || wrong(format!("{member}: write a time such as 2030-01-31T00:00:00Z, or a date"));
    text.map(|text| Timestamp::parse(text).ok_or_else(problem)).transpose()
}
