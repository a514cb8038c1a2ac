//! What can be stated about an agent.

use std::collections::BTreeSet;

use crate::agents::{AgentError, NewAgent};
use crate::kernel::data_class;
use crate::model::agent::{AgentKind, Entry};
use crate::model::group::GROUP_NAME_MAX;
use crate::model::limit::MOST_LIMITS;

pub(super) const NAME_MAX: usize = 100;
pub(super) const PURPOSE_MAX: usize = 500;
/// The longest label, platform, environment or data class.
const WORD_MAX: usize = 100;
const MOST_WORDS: usize = 50;
const MOST_PEOPLE: usize = 1000;

fn invalid<T>(field: &'static str, problem: impl Into<String>) -> Result<T, AgentError> {
    Err(AgentError::Invalid { field, problem: problem.into() })
}

/// Whether all of it can be taken; the first value that cannot is named.
pub(super) fn terms(new: &NewAgent) -> Result<(), AgentError> {
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX {
        return invalid("name", format!("write 1 to {NAME_MAX} characters that employees will recognise"));
    }
    if new.purpose.trim().is_empty() || new.purpose.chars().count() > PURPOSE_MAX {
        return invalid("purpose", format!("say in 1 to {PURPOSE_MAX} characters what the agent is for"));
    }
    for (provider, defaults) in &new.default_scopes {
        let ceiling = new.ceiling.get(provider).cloned().unwrap_or_default();
        let above = defaults.difference(&ceiling);
        if !above.is_empty() {
            let problem =
                format!("`{above}` at `{provider}` is not in the ceiling; add it there or leave it out");
            return invalid("default_scopes", problem);
        }
    }
    let is_audience =
        |text: &String| !text.is_empty() && text.len() <= 512 && !text.contains(char::is_control);
    if new.subject_audiences.len() > 10 || !new.subject_audiences.iter().all(is_audience) {
        return invalid("subject_audiences", "list at most 10 values of 1 to 512 characters");
    }
    if new.kind == AgentKind::Personal && new.owner.team().is_some() {
        return invalid("owner", "a personal agent acts for its owner: name one person");
    }
    if new.owner.team().is_some_and(|team| !is_word(team)) {
        return invalid("owner", format!("name the team's group in 1 to {WORD_MAX} characters"));
    }
    entry(new.kind, &new.entry)
}

fn entry(kind: AgentKind, entry: &Entry) -> Result<(), AgentError> {
    let words = format!("write 1 to {WORD_MAX} characters");
    if entry.platform.as_deref().is_some_and(|platform| !is_word(platform)) {
        return invalid("platform", words);
    }
    if entry.environment.as_deref().is_some_and(|environment| !is_word(environment)) {
        return invalid("environment", words);
    }
    for (field, list) in [("labels", &entry.labels), ("data_classes", &entry.data_classes)] {
        if !are_words(list, MOST_WORDS) {
            return invalid(field, format!("list at most {MOST_WORDS} of 1 to {WORD_MAX} characters"));
        }
    }
    if let Some(problem) = entry.data_classes.iter().find_map(|class| data_class::check(class).err()) {
        return invalid("data_classes", problem);
    }
    if let Some(people) = &entry.people {
        if kind != AgentKind::Assistant {
            return invalid("people", "only an assistant serves several people: leave it out");
        }
        if people.users.len() > MOST_PEOPLE || !are_groups(&people.groups) {
            return invalid("people", format!("list at most {MOST_PEOPLE} users and {MOST_WORDS} groups"));
        }
    }
    if entry.audiences.as_ref().is_some_and(|audiences| audiences.len() > MOST_WORDS) {
        return invalid("audiences", format!("list at most {MOST_WORDS}"));
    }
    for limits in entry.limits.values() {
        if limits.len() > MOST_LIMITS {
            return invalid("limits", format!("list at most {MOST_LIMITS} per provider"));
        }
        // Counters belong to a grant or a token: here each new token would begin to count anew.
        if let Some(limit) = limits.iter().find(|limit| limit.bound.is_counted()) {
            let kind = limit.kind();
            let problem = format!("`{}` is counted per grant: set it there", kind.as_str());
            return invalid("limits", problem);
        }
    }
    Ok(())
}

fn are_groups(list: &BTreeSet<String>) -> bool {
    list.len() <= MOST_WORDS && list.iter().all(|group| is_text(group, GROUP_NAME_MAX))
}

fn is_word(text: &str) -> bool {
    is_text(text, WORD_MAX)
}

fn is_text(text: &str, most: usize) -> bool {
    let trimmed = text.trim();
    !trimmed.is_empty() && trimmed == text && text.chars().count() <= most && !text.contains(char::is_control)
}

fn are_words(list: &BTreeSet<String>, most: usize) -> bool {
    list.len() <= most && list.iter().all(|word| is_word(word))
}
