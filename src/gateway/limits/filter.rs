//! Filter expressions that a limit joins with the agent's own.
//!
//! They spare the agent half-empty pages. What decides is the test of the answer; all the same the agent's
//! text must not be able to reach out of its parentheses.

use crate::gateway::limits::moments;
use crate::model::limit::Span;
use crate::providers::template::{Filter, TimeForm};

/// The agent's expression cannot be put into parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has parentheses or quotes that do not pair, or characters that a filter does not need")]
pub struct Unbalanced;

/// The conditions of a span, in the template's words.
pub fn conditions(filter: &Filter, span: Span) -> Vec<String> {
    let at = |text: &str, name: &str, moment: Option<crate::model::limit::Moment>| {
        moment.map(|moment| text.replace(name, &moments::write(moment.0, TimeForm::Rfc3339)))
    };
    let from = at(&filter.from, "{from}", span.from);
    from.into_iter().chain(at(&filter.until, "{until}", span.until)).collect()
}

/// The agent's expression and ours, joined with `and`. The agent's comes first: some vendors want the
/// properties that they sort by at the beginning. What it holds already is not added again, so that the
/// address of a next page does not grow.
///
/// # Errors
/// When the agent's text is not balanced.
pub fn join(agents: &str, ours: &[String]) -> Result<String, Unbalanced> {
    let agents = agents.trim();
    let read = Expression::read(agents)?;
    let missing: Vec<&str> = ours.iter().map(String::as_str).filter(|own| !read.holds(own)).collect();
    if agents.is_empty() {
        return Ok(missing.join(" and "));
    }
    if missing.is_empty() {
        return Ok(agents.to_owned());
    }
    Ok(format!("({agents}) and {}", missing.join(" and ")))
}

/// An expression, split at its outermost `and`.
struct Expression<'e> {
    parts: Vec<&'e str>,
    /// With an outermost `or`, no part holds by itself.
    has_or: bool,
}

impl<'e> Expression<'e> {
    fn read(text: &'e str) -> Result<Self, Unbalanced> {
        let (mut depth, mut quoted) = (0_usize, false);
        let (mut parts, mut part_from, mut word_from) = (Vec::new(), 0, 0);
        let mut has_or = false;
        let end = [(text.len(), ' ')];
        for (at, c) in text.char_indices().chain(end) {
            if c.is_control() || (!quoted && (c == '"' || !c.is_ascii())) {
                return Err(Unbalanced);
            }
            if c == '\'' {
                // A doubled quote leaves and enters again, which comes to the same.
                quoted = !quoted;
            }
            if quoted || depth > 0 || c == '(' || c == ')' {
                match c {
                    '(' if !quoted => {
                        // Some servers read `(a)or(b)` although the grammar wants spaces.
                        let word = text.get(word_from..at).unwrap_or_default();
                        has_or |= depth == 0 && word.eq_ignore_ascii_case("or");
                        depth += 1;
                    }
                    ')' if !quoted => depth = depth.checked_sub(1).ok_or(Unbalanced)?,
                    _ => {}
                }
                word_from = at + 1;
            } else if c == ' ' {
                let word = text.get(word_from..at).unwrap_or_default();
                has_or |= word.eq_ignore_ascii_case("or");
                if word.eq_ignore_ascii_case("and") {
                    parts.push(text.get(part_from..word_from).unwrap_or_default().trim());
                    part_from = at;
                }
                word_from = at + 1;
            }
        }
        if quoted || depth > 0 {
            return Err(Unbalanced);
        }
        parts.push(text.get(part_from..).unwrap_or_default().trim());
        Ok(Self { parts, has_or })
    }

    fn holds(&self, condition: &str) -> bool {
        !self.has_or && self.parts.contains(&condition)
    }
}

/// The list of members that an agent picks, with those that have to be compared.
pub fn select(agents: &str, needed: &[&str]) -> String {
    let mut names: Vec<&str> = agents.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for name in needed {
        if !names.iter().any(|own| *own == "*" || own.eq_ignore_ascii_case(name)) {
            names.push(name);
        }
    }
    names.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: &str = "received ge 2026-10-01T00:00:00Z";

    fn joined(agents: &str) -> Result<String, Unbalanced> {
        join(agents, &[OURS.to_owned()])
    }

    #[test]
    fn the_agents_expression_is_kept_and_ours_added_once() {
        for (agents, sent) in [
            ("", OURS.to_owned()),
            (&format!("(a)or(b) and {OURS}"), format!("((a)or(b) and {OURS}) and {OURS}")),
            ("isRead eq false", format!("(isRead eq false) and {OURS}")),
            ("a eq 'x) or (y'", format!("(a eq 'x) or (y') and {OURS}")),
            ("a eq 'it''s'", format!("(a eq 'it''s') and {OURS}")),
            (OURS, OURS.to_owned()),
            (&format!("(isRead eq false) and {OURS}"), format!("(isRead eq false) and {OURS}")),
            (&format!("x eq 1 or y eq 2 and {OURS}"), format!("(x eq 1 or y eq 2 and {OURS}) and {OURS}")),
            (&format!("not {OURS}"), format!("(not {OURS}) and {OURS}")),
            (&format!("a eq '{OURS}'"), format!("(a eq '{OURS}') and {OURS}")),
        ] {
            assert_eq!(joined(agents), Ok(sent), "{agents}");
        }
    }

    #[test]
    fn what_could_leave_its_parentheses_is_refused() {
        for agents in ["a eq 1) or (b eq 2", ")", "(", "a eq 'x", "a eq \"x)\"", "a\u{2019}", "a\tb"] {
            assert_eq!(joined(agents), Err(Unbalanced), "{agents}");
        }
    }

    #[test]
    fn members_that_are_compared_are_asked_for() {
        assert_eq!(select("subject, From", &["from", "id"]), "subject,From,id");
        assert_eq!(select("*", &["from"]), "*");
        assert_eq!(select("", &["from"]), "from");
    }

    proptest! {
        #[test]
        fn the_agents_text_never_leaves_its_parentheses(agents in r#"[ ()'andorx"]{0,24}"#) {
            let Ok(sent) = joined(&agents) else { return Ok(()) };
            let agents = agents.trim();
            if agents.is_empty() {
                prop_assert_eq!(sent, OURS);
                return Ok(());
            }
            prop_assert_eq!(&sent, &format!("({agents}) and {OURS}"));
            // Reading what is sent as the vendor does: the first parenthesis closes where ours begins.
            let (mut depth, mut quoted) = (0_i32, false);
            let closes = sent.char_indices().find_map(|(at, c)| {
                quoted ^= c == '\'';
                depth += match c { '(' if !quoted => 1, ')' if !quoted => -1, _ => 0 };
                (depth == 0).then_some(at)
            });
            prop_assert_eq!(closes, Some(agents.len() + 1));
            prop_assert!(!quoted);
        }

        #[test]
        fn joining_twice_adds_nothing(agents in r#"[ ()'andorx]{0,24}"#) {
            if let Ok(sent) = joined(&agents) {
                prop_assert_eq!(joined(&sent), Ok(sent.clone()));
            }
        }
    }
}
