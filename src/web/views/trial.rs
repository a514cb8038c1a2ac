//! Trying a call out: how it would be decided, step by step.

use askama::Template;

use crate::kernel::text::Lang;
use crate::model::explanation::{Explanation, Step, StepVerdict};
use crate::web::texts;
use crate::web::views::page::{Page, Section, Tone};
use crate::web::views::shown::Shown;

/// The methods that calls have.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct TrialStep {
    /// What.
    pub subject: &'static str,
    /// Colour of its badge.
    pub tone: Tone,
    /// How it came out, in a word.
    pub verdict: &'static str,
    /// Why.
    pub words: Vec<Shown>,
}

/// What would become of the call.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Colour.
    pub tone: Tone,
    /// In a sentence.
    pub words: &'static str,
    /// What was looked at, in order.
    pub steps: Vec<TrialStep>,
    /// What would be sent: method, address, body.
    pub sent: Option<(String, String, Option<String>)>,
}

/// The form, and what came of it.
#[derive(Template)]
#[template(path = "trial.html")]
pub struct TrialPage {
    /// Frame.
    pub page: Page,
    /// The grant's own page; the form is below it.
    pub grant: String,
    /// The agent's name.
    pub agent: Shown,
    /// The provider's name.
    pub provider: Shown,
    /// The methods, and whether each is chosen.
    pub methods: Vec<(&'static str, bool)>,
    /// The path that was entered.
    pub path: String,
    /// The body that was entered.
    pub data: String,
    /// A path to begin with.
    pub example: String,
    /// What was wrong with what was entered.
    pub problem: Option<String>,
    /// What would become of it.
    pub trial: Option<Trial>,
}

/// The methods, with one of them chosen.
pub fn methods(chosen: &str) -> Vec<(&'static str, bool)> {
    METHODS.iter().map(|method| (*method, *method == chosen)).collect()
}

impl Trial {
    /// An explanation in the language of a page.
    pub fn new(lang: Lang, explained: &Explanation) -> Self {
        let depends =
            |step: &Step| matches!(step.verdict, StepVerdict::WillBeLookedUp | StepVerdict::WillBeTested);
        let (tone, key) = match explained.permitted {
            false => (Tone::Bad, "trial.refused_whole"),
            true if explained.steps.iter().any(depends) => (Tone::Warn, "trial.depends_whole"),
            true => (Tone::Good, "trial.allowed_whole"),
        };
        let sent = explained.sent.as_ref();
        Self {
            tone,
            words: texts::text(lang, key),
            steps: explained.steps.iter().map(|step| TrialStep::new(lang, step)).collect(),
            sent: sent.map(|sent| (sent.method.clone(), sent.url.clone(), sent.body.clone())),
        }
    }
}

impl TrialStep {
    fn new(lang: Lang, step: &Step) -> Self {
        let (tone, key) = match step.verdict {
            StepVerdict::Allowed => (Tone::Good, "trial.allowed"),
            StepVerdict::Changed => (Tone::Plain, "trial.changed"),
            StepVerdict::WillBeLookedUp => (Tone::Warn, "trial.looked_up"),
            StepVerdict::WillBeTested => (Tone::Warn, "trial.tested"),
            StepVerdict::Refused => (Tone::Bad, "trial.refused"),
        };
        let own = texts::find(lang, &format!("trial.subject_{}", step.subject));
        let subject = own.or_else(|| texts::find(lang, &format!("bound.name_{}", step.subject)));
        let words = step.said.iter().map(|said| Shown::sentence(&texts::told(lang, said)));
        Self {
            subject: subject.unwrap_or_else(|| texts::text(lang, "trial.subject_request")),
            tone,
            verdict: texts::text(lang, key),
            words: words.collect(),
        }
    }
}

impl TrialPage {
    /// For looking at: a call that is refused.
    pub fn sample(lang: Lang) -> Self {
        use crate::kernel::said::Said;
        let page = Page { here: "/grants/gnt_0f8b2c/try".to_owned(), ..Page::sample(lang) };
        let allowed = Said::of("allowed_mail_folders").and("`Inbox`");
        let step = |subject, verdict, said| Step::new(subject, verdict, said);
        let steps = vec![
            step(
                "path",
                StepVerdict::Allowed,
                vec![Said::of("read_as").and("/v1.0/me/mailFolders/archive/messages").and("graph")],
            ),
            step(
                "route",
                StepVerdict::Allowed,
                vec![Said::of("is_the_call").and("GET /v1.0/me/mailFolders/{id}/messages")],
            ),
            step("scopes", StepVerdict::Allowed, vec![Said::of("openers").and("Mail.Read, Mail.ReadWrite")]),
            step("read_only", StepVerdict::Allowed, vec![Said::of("stands_aside")]),
            step(
                "mail_folders",
                StepVerdict::WillBeLookedUp,
                vec![
                    Said::of("is_looked_up")
                        .and(Said::noun("mail_folder"))
                        .and("`archive`")
                        .and(Said::of("compared_id")),
                ],
            ),
            step("mail_dates", StepVerdict::Changed, vec![Said::of("filter_joined").and("$filter")]),
            step(
                "mail_folders",
                StepVerdict::Refused,
                vec![
                    Said::of("not_named").and(Said::noun("mail_folder")),
                    Said::of("only_allows").and(allowed),
                ],
            ),
        ];
        let explained = Explanation { permitted: false, steps, sent: None };
        Self {
            grant: "/grants/gnt_0f8b2c".to_owned(),
            agent: Shown::name("Weekly Digest"),
            provider: Shown::name("Microsoft Entra ID"),
            methods: methods("GET"),
            path: "/v1.0/me/mailFolders/archive/messages?$top=50&$select=subject".to_owned(),
            data: String::new(),
            example: "/v1.0/me/messages".to_owned(),
            problem: None,
            trial: Some(Trial::new(lang, &explained)),
            page,
        }
    }

    /// For looking at: on the administration's side, a call that may pass, with what would be sent.
    pub fn admin_sample(lang: Lang) -> Self {
        let sample = Self::sample(lang);
        let trial = sample.trial.clone().map(|trial| Trial {
            tone: Tone::Warn,
            words: texts::text(lang, "trial.depends_whole"),
            steps: trial.steps.into_iter().filter(|step| step.tone != Tone::Bad).collect(),
            sent: Some((
                "POST".to_owned(),
                "https://graph.microsoft.com/v1.0/me/sendMail".to_owned(),
                Some(r#"{"message":{"subject":"Digest"}}"#.to_owned()),
            )),
        });
        let page = Page {
            here: "/admin/grants/gnt_0f8b2c/try".to_owned(),
            ..Page::admin_sample(lang, Section::Interactions)
        };
        Self {
            trial,
            grant: "/admin/grants/gnt_0f8b2c".to_owned(),
            data: r#"{"message":{"subject":"Digest"}}"#.to_owned(),
            page,
            ..sample
        }
    }
}
