//! How far an agent reaches at a provider, whatever anybody grants it: its ceiling, and of that the scopes
//! that open classes of data that it may touch.

use crate::kernel::data_class::{DataClass, UNCLASSIFIED};
use crate::kernel::scope::{Scope, ScopeSet};
use crate::model::agent::Agent;
use crate::providers::Configured;

/// The most that the agent can hold there now.
pub fn reach(agent: &Agent, provider: &Configured) -> ScopeSet {
    touchable(agent, provider, agent.ceiling_at(&provider.slug))
}

/// Those of the scopes whose classes of data the agent may touch.
pub(super) fn touchable(agent: &Agent, provider: &Configured, scopes: &ScopeSet) -> ScopeSet {
    if agent.entry.data_classes.is_empty() {
        return scopes.clone();
    }
    let may = |scope: &&Scope| agent.entry.may_touch(classes(provider, scope).map(DataClass::as_str));
    scopes.iter().filter(may).cloned().collect()
}

/// Scopes, each with its classes of data, in words.
pub(super) fn with_classes(provider: &Configured, scopes: &ScopeSet) -> String {
    let told = |scope: &Scope| {
        let classes: Vec<&str> = classes(provider, scope).map(DataClass::as_str).collect();
        let classes = if classes.is_empty() { UNCLASSIFIED.to_owned() } else { classes.join(" ") };
        format!("{scope} ({classes})")
    };
    scopes.iter().map(told).collect::<Vec<_>>().join(", ")
}

fn classes<'p>(provider: &'p Configured, scope: &Scope) -> impl Iterator<Item = DataClass> + use<'p> {
    let entry = provider.loaded.template.scope_entry(scope);
    entry.into_iter().flat_map(|entry| entry.data_classes.iter().copied())
}
