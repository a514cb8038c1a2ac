//! Limits on the consent page: which are offered, and what an answer makes of them. Pure.

use crate::interactions::answer::AnswerError;
use crate::kernel::scope::ScopeSet;
use crate::model::agreement::Pick;
use crate::model::limit::{Limit, LimitKind, MOST_LIMITS};
use crate::providers::template::{LimitEntry, Template};

/// A limit that a person can add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The API that it bounds; none for one that bounds everything.
    pub api: Option<String>,
    /// Which.
    pub kind: LimitKind,
    /// The beginning of its fields' names in forms: `limit.mail_dates`, and with the API in it where the
    /// provider has several APIs with that kind.
    pub field: String,
    /// Which of the scopes on the page it bounds; empty = all.
    pub scopes: ScopeSet,
    /// Whether its values can be picked from the provider's own list.
    pub pickable: bool,
}

/// The limits that bound everything, in the order in which pages show them.
const GENERAL: [LimitKind; 6] = [
    LimitKind::ReadOnly,
    LimitKind::Calls,
    LimitKind::Items,
    LimitKind::Bytes,
    LimitKind::Hours,
    LimitKind::Once,
];

/// What a person has chosen of the offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitChoice {
    /// Limits that are complete.
    pub added: Vec<Limit>,
    /// Marks of limits of the grant so far that are lifted.
    pub lifted: Vec<String>,
    /// Whether the wider limit that is asked for takes the place of the former one.
    pub widened: bool,
    /// APIs and kinds whose values are to be picked from the provider's lists.
    pub picks: Vec<(String, LimitKind)>,
}

/// The limits that can be put on scopes: what the template says for them, and the general ones.
pub fn offers(template: &Template, scopes: &ScopeSet) -> Vec<Offer> {
    let bounds_some = |entry: &&LimitEntry| entry.scopes.iter().any(|scope| scopes.contains(scope));
    let own = template.limit.iter().filter(bounds_some).map(|entry| Offer {
        api: Some(entry.api.clone()),
        kind: entry.kind,
        field: field(template, entry),
        scopes: entry.scopes.iter().filter(|scope| scopes.contains(scope)).cloned().collect(),
        pickable: is_listed(template, entry),
    });
    let general = GENERAL.iter().map(|kind| Offer {
        api: None,
        kind: *kind,
        field: format!("limit.{}", kind.as_str()),
        scopes: ScopeSet::new(),
        pickable: false,
    });
    own.chain(general).collect()
}

/// The names stay what they are whatever else is on a page, so scripts can rely on them.
fn field(template: &Template, entry: &LimitEntry) -> String {
    let is_alone = template.limit.iter().filter(|other| other.kind == entry.kind).count() == 1;
    let kind = entry.kind.as_str();
    if is_alone { format!("limit.{kind}") } else { format!("limit.{}.{kind}", entry.api) }
}

fn is_listed(template: &Template, entry: &LimitEntry) -> bool {
    let object = entry.pick.as_ref().and_then(|name| template.object.get(name));
    object.is_some_and(|object| object.list.is_some())
}

/// Splits what was asked and chosen into what is settled and what has to be picked, for the scopes that are
/// agreed.
///
/// # Errors
/// When a limit is none, is not offered here, or there are too many.
pub(super) fn settle(
    template: &Template,
    suggested: &[Limit],
    held: &[Limit],
    choice: &LimitChoice,
    scopes: &ScopeSet,
) -> Result<(Vec<Limit>, Vec<Pick>), AnswerError> {
    let (mut limits, mut picks) = (Vec::new(), Vec::new());
    for limit in suggested {
        match (&limit.api, limit.bound.items()) {
            // What an agent names is looked up before it is agreed to, where there is a way to; what
            // holds already was.
            (Some(api), Some(items))
                if bounds(template, api, limit.kind(), scopes) && !held.contains(limit) =>
            {
                picks.push(Pick { api: api.clone(), kind: limit.kind(), suggested: items.to_vec() });
            }
            _ => limits.push(limit.clone()),
        }
    }
    for limit in &choice.added {
        limit.check().map_err(|_| AnswerError::Limits)?;
        if !template.offers(limit) {
            return Err(AnswerError::Limits);
        }
        if !limits.contains(limit) {
            limits.push(limit.clone());
        }
    }
    for (api, kind) in &choice.picks {
        let entry = template.limit_entry(*kind, api).ok_or(AnswerError::Limits)?;
        if !is_listed(template, entry) {
            return Err(AnswerError::Limits);
        }
        let is_there = picks.iter().any(|pick: &Pick| &pick.api == api && pick.kind == *kind);
        if !is_there && bounds(template, api, *kind, scopes) {
            picks.push(Pick { api: api.clone(), kind: *kind, suggested: Vec::new() });
        }
    }
    // A pick may leave two limits behind.
    if limits.len() + 2 * picks.len() > MOST_LIMITS {
        return Err(AnswerError::Limits);
    }
    Ok((limits, picks))
}

/// Whether a limit whose values can be looked up bounds one of the scopes.
pub(super) fn bounds(template: &Template, api: &str, kind: LimitKind, scopes: &ScopeSet) -> bool {
    template.limit_entry(kind, api).is_some_and(|entry| {
        let object = entry.pick.as_ref().and_then(|name| template.object.get(name));
        let known = object.is_some_and(|object| object.get.is_some() || object.list.is_some());
        known && entry.scopes.iter().any(|scope| scopes.contains(scope))
    })
}
