//! One entry of the audit log, in words.

use crate::model::event::{Event, Outcome, Verdict};
use crate::model::limit::Limit;
use crate::web::texts;
use crate::web::views::limits::sentences;
use crate::web::views::page::{Page, Tone};
use crate::web::views::shown::{Shown, When};

/// One entry, as lists show it.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// Colour of its dot and badge.
    pub tone: Tone,
    /// What happened.
    pub words: Shown,
    /// How the decision or the deed came out.
    pub verdict: Option<&'static str>,
    /// How what was permitted ended.
    pub ending: Option<Ending>,
    /// The call, for gateway events.
    pub call: Option<Shown>,
    /// Why.
    pub reasons: Vec<Shown>,
    /// When.
    pub at: When,
    /// Who, where, what else.
    pub facts: Vec<Shown>,
}

/// How what was permitted ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Colour of its badge.
    pub tone: Tone,
    /// In a word.
    pub words: &'static str,
}

impl EventRow {
    /// An entry in words; `names` are said beside it (agent, provider, user), as the list needs.
    pub fn new(page: &Page, event: &Event, names: Vec<Shown>) -> Self {
        let draft = &event.draft;
        let known = texts::find(page.lang, &format!("event.{}", draft.action));
        let words = known.map_or_else(
            || {
                format!(
                    "{} · {}",
                    texts::text(page.lang, &format!("event.{}", kind_name(event))),
                    draft.action
                )
            },
            str::to_owned,
        );
        let (tone, key) = match (draft.verdict, draft.outcome) {
            (Some(Verdict::Permit), _) => (Tone::Good, Some("verdict.permit")),
            (Some(Verdict::Deny), _) => (Tone::Bad, Some("verdict.deny")),
            (Some(Verdict::NeedsPerson), _) => (Tone::Warn, Some("verdict.needs_person")),
            (None, Some(outcome)) => {
                let (tone, key) = outcome_words(outcome);
                (tone, Some(key))
            }
            (None, None) => (Tone::Plain, None),
        };
        let mut facts = names;
        facts
            .extend(draft.scopes.as_ref().filter(|s| !s.is_empty()).map(|s| Shown::sentence(&s.to_string())));
        facts.extend(draft.status.map(|status| Shown::name(&format!("HTTP {status}"))));
        facts.extend(draft.task.as_deref().map(Shown::name));
        Self {
            tone,
            words: Shown::name(&words),
            verdict: key.and_then(|key| texts::find(page.lang, key)),
            ending: None,
            call: draft.route.as_deref().or(draft.path.as_deref()).map(Shown::sentence),
            reasons: reasons(page, event),
            at: page.when(event.at),
            facts,
        }
    }

    /// Says how what was permitted ended, from the event that completes this one.
    pub fn ended(&mut self, page: &Page, outcome: &Event) {
        if let Some(done) = outcome.draft.outcome {
            let (tone, key) = outcome_words(done);
            self.ending = Some(Ending { tone, words: texts::text(page.lang, key) });
        }
        self.facts.extend(outcome.draft.status.map(|status| Shown::name(&format!("HTTP {status}"))));
        self.reasons.extend(reasons(page, outcome));
    }

    /// A few entries for looking at.
    pub fn samples(page: &Page) -> Vec<Self> {
        let row = |tone,
                   key: &str,
                   verdict: Option<&str>,
                   call: Option<&str>,
                   reason: Option<&str>,
                   ago: i64,
                   fact: &str| {
            Self {
                tone,
                words: Shown::name(page.t(key)),
                verdict: verdict.and_then(|key| texts::find(page.lang, key)),
                ending: None,
                call: call.map(Shown::sentence),
                reasons: reason.map(Shown::sentence).into_iter().collect(),
                at: page.sample_when(-ago),
                facts: vec![Shown::name("Weekly Digest"), Shown::name(fact)],
            }
        };
        let denied = texts::reason(page.lang, "this call needs one of these scopes: Mail.Send");
        vec![
            row(
                Tone::Good,
                "event.gateway.call",
                Some("verdict.permit"),
                Some("GET /v1.0/me/messages"),
                None,
                120,
                "HTTP 200",
            ),
            row(
                Tone::Bad,
                "event.gateway.call",
                Some("verdict.deny"),
                Some("POST /v1.0/me/sendMail"),
                Some(denied.as_str()),
                125,
                "Mail.Send",
            ),
            row(Tone::Good, "event.token.exchange", Some("verdict.permit"), None, None, 130, "Mail.Read"),
            row(Tone::Good, "event.grant.created", Some("verdict.done"), None, None, 3_900, "Mail.Read"),
            row(
                Tone::Warn,
                "event.token.exchange",
                Some("verdict.needs_person"),
                None,
                None,
                4_000,
                "Mail.Read Mail.Send",
            ),
        ]
    }
}

const fn outcome_words(outcome: Outcome) -> (Tone, &'static str) {
    match outcome {
        Outcome::Done => (Tone::Good, "verdict.done"),
        Outcome::Failed => (Tone::Bad, "verdict.failed"),
        Outcome::Withheld => (Tone::Bad, "verdict.withheld"),
        Outcome::Unknown => (Tone::Warn, "verdict.unknown"),
    }
}

/// The reasons in the reader's language; those that have no words of their own as they were written down.
fn reasons(page: &Page, event: &Event) -> Vec<Shown> {
    let localized = |reason: &String| {
        let said = event.draft.said.iter().find(|said| &said.english() == reason);
        match said {
            Some(said) if said.is_for_agents() => None,
            Some(said) => Some(texts::told(page.lang, said)),
            None => Some(limited(page, reason).unwrap_or_else(|| texts::reason(page.lang, reason))),
        }
    };
    event.draft.reasons.iter().filter_map(localized).map(|words| Shown::sentence(&words)).collect()
}

/// A limit that was added to a grant: the log has it as it is stored.
fn limited(page: &Page, reason: &str) -> Option<String> {
    let limit: Limit = serde_json::from_str(reason.strip_prefix("limited: ")?).ok()?;
    Some(sentences(page.lang, page.utc_offset, &[limit]).join(" "))
}

fn kind_name(event: &Event) -> String {
    serde_json::to_value(event.draft.kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
