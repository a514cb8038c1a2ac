//! The pages of an interaction: the question, and how it ended.

use askama::Template;

use crate::kernel::scope::Scope;
use crate::kernel::text::Lang;
use crate::model::agent::AgentKind;
use crate::model::interaction::Widening;
use crate::model::limit::Limit;
use crate::providers::template::{Access, Risk, ScopeEntry};
use crate::web::texts;
use crate::web::views::limit_fields::{LimitInput, LimitSection};
use crate::web::views::limits::sentences;
use crate::web::views::page::{Page, Tone};
use crate::web::views::shown::{Shown, When, letter};

/// The durations that can be chosen, in seconds, and the text of each.
pub const DURATIONS: [(u64, &str); 5] = [
    (3_600, "duration.h1"),
    (86_400, "duration.d1"),
    (604_800, "duration.d7"),
    (2_592_000, "duration.d30"),
    (7_776_000, "duration.d90"),
];

/// The duration that is chosen unless the person picks another.
pub const DEFAULT_DURATION: u64 = 604_800;

/// One choice of the duration list.
#[derive(Clone, Debug)]
pub struct DurationChoice {
    /// Its value.
    pub seconds: u64,
    /// Its words.
    pub words: &'static str,
    /// Whether it is selected.
    pub chosen: bool,
}

/// The duration list.
pub fn durations(lang: Lang, chosen: u64) -> Vec<DurationChoice> {
    let choice = |&(seconds, key): &(u64, &'static str)| DurationChoice {
        seconds,
        words: texts::text(lang, key),
        chosen: seconds == chosen,
    };
    DURATIONS.iter().map(choice).collect()
}

/// The name of an agent's kind.
pub fn kind_words(lang: Lang, kind: AgentKind) -> &'static str {
    texts::text(
        lang,
        match kind {
            AgentKind::Personal => "kind.personal",
            AgentKind::Assistant => "kind.assistant",
            AgentKind::Autonomous => "kind.autonomous",
        },
    )
}

/// One scope in plain words.
#[derive(Clone, Debug)]
pub struct ScopeRow {
    /// Valetkey's name: the value of its checkbox.
    pub name: String,
    /// What the vendor calls it.
    pub vendor: Shown,
    /// A few words.
    pub title: Shown,
    /// What it lets an agent do.
    pub description: Shown,
    /// What it can do: looks, changes, sends, shares.
    pub access: &'static str,
    /// Whether it does more than look.
    pub strong: bool,
    /// How much harm it can do, in words.
    pub risk: &'static str,
    /// And in colour.
    pub risk_tone: Tone,
    /// Its classes of data, for admins.
    pub classes: String,
    /// Whether its box is ticked.
    pub ticked: bool,
    /// Whether the agent holds it already; unticking gives it back.
    pub held: bool,
    /// When it ends, where that is earlier than everything else.
    pub until: Option<When>,
}

impl ScopeRow {
    /// A scope as its template describes it. Only what looks starts ticked.
    pub fn new(lang: Lang, entry: &ScopeEntry) -> Self {
        let (risk, risk_tone) = match entry.risk {
            Risk::Low => ("risk.low", Tone::Plain),
            Risk::Medium => ("risk.medium", Tone::Warn),
            Risk::High => ("risk.high", Tone::Bad),
        };
        let access = match entry.access {
            Access::Read => "access.read",
            Access::Write => "access.write",
            Access::Send => "access.send",
            Access::Share => "access.share",
        };
        let strong = entry.access != Access::Read;
        Self {
            name: entry.name.to_string(),
            vendor: Shown::name(entry.vendor.as_deref().unwrap_or(entry.name.as_str())),
            title: Shown::name(entry.title.get(lang)),
            description: Shown::sentence(entry.description.get(lang)),
            access: texts::text(lang, access),
            strong,
            risk: texts::text(lang, risk),
            risk_tone,
            classes: entry.data_classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", "),
            ticked: !strong,
            held: false,
            until: None,
        }
    }

    /// A scope that the template no longer has.
    pub fn unknown(scope: &Scope) -> Self {
        Self {
            name: scope.to_string(),
            vendor: Shown::name(scope.as_str()),
            title: Shown::name(scope.as_str()),
            description: Shown::default(),
            access: "",
            strong: false,
            risk: "",
            risk_tone: Tone::Plain,
            classes: String::new(),
            ticked: false,
            held: false,
            until: None,
        }
    }

    /// For looking at: a scope made up for a sample.
    pub fn sample(
        lang: Lang,
        name: &str,
        words: [&str; 4],
        strong: Option<&'static str>,
        risk: &'static str,
    ) -> Self {
        let [title_en, title_zh, words_en, words_zh] = words;
        let (title, description) = match lang {
            Lang::En => (title_en, words_en),
            Lang::Zh => (title_zh, words_zh),
        };
        let risk_tone = match risk {
            "risk.high" => Tone::Bad,
            "risk.medium" => Tone::Warn,
            _ => Tone::Plain,
        };
        Self {
            name: name.to_owned(),
            vendor: Shown::name(name),
            title: Shown::name(title),
            description: Shown::sentence(description),
            access: texts::text(lang, strong.unwrap_or("access.read")),
            strong: strong.is_some(),
            risk: texts::text(lang, risk),
            risk_tone,
            classes: "mail".to_owned(),
            ticked: strong.is_none(),
            held: false,
            until: None,
        }
    }

    /// For looking at: what an agent asks for in samples; looking first, then the rest.
    pub fn samples(lang: Lang) -> Vec<Self> {
        vec![
            Self::sample(
                lang,
                "Mail.Read",
                [
                    "Read your mail",
                    "读取你的邮件",
                    "Reads messages and attachments in all your mail folders.",
                    "读取你所有邮件文件夹中的邮件和附件。",
                ],
                None,
                "risk.high",
            ),
            Self::sample(
                lang,
                "Calendars.Read",
                [
                    "See your calendar",
                    "查看你的日历",
                    "Sees your appointments, with whom they are and where.",
                    "查看你的日程、参与者和地点。",
                ],
                None,
                "risk.medium",
            ),
            Self::sample(
                lang,
                "User.Read",
                [
                    "See who you are",
                    "查看你的身份",
                    "Sees your name, job title and e-mail address.",
                    "查看你的姓名、职位和邮箱地址。",
                ],
                None,
                "risk.low",
            ),
            Self::sample(
                lang,
                "Mail.Send",
                [
                    "Send mail as you",
                    "以你的名义发送邮件",
                    "Sends mail in your name to anyone, without asking each time.",
                    "以你的名义向任何人发送邮件，不会每次询问。",
                ],
                Some("access.send"),
                "risk.high",
            ),
            Self::sample(
                lang,
                "Files.ReadWrite",
                [
                    "Change your files",
                    "更改你的文件",
                    "Creates, changes and deletes files in your OneDrive.",
                    "在你的 OneDrive 中创建、更改和删除文件。",
                ],
                Some("access.write"),
                "risk.medium",
            ),
        ]
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct AgentCard {
    /// Name.
    pub name: Shown,
    /// Its first letter.
    pub letter: String,
    /// Kind, in words.
    pub kind: &'static str,
    /// What it is for.
    pub purpose: Shown,
    /// Who answers for it.
    pub owner: Shown,
    /// Whether that is the reader.
    pub owner_is_you: bool,
}

/// One account that can be picked.
#[derive(Clone, Debug)]
pub struct AccountChoice {
    /// A connection's id, or `new`.
    pub value: String,
    /// The account's label.
    pub label: Shown,
    /// Whether it is the default one.
    pub is_default: bool,
    /// Whether it is picked.
    pub chosen: bool,
    /// A word about it.
    pub note: Option<&'static str>,
}

/// A wider limit that is asked for, and the one in whose place.
#[derive(Clone, Debug)]
pub struct WidenRow {
    /// What would be allowed then, in words.
    pub wider: String,
    /// What is allowed now, in words.
    pub former: String,
    /// Whether it is ticked.
    pub ticked: bool,
}

impl WidenRow {
    /// The row of a page.
    pub fn new(page: &Page, widens: &Widening, ticked: bool) -> Self {
        let words =
            |limit: &Limit| sentences(page.lang, page.utc_offset, std::slice::from_ref(limit)).concat();
        let lifted = || page.t("consent.widen_lifted").to_owned();
        Self {
            wider: widens.wider.as_ref().map_or_else(lifted, words),
            former: words(&widens.former),
            ticked,
        }
    }
}

/// The question.
#[derive(Template)]
#[template(path = "interaction/consent.html")]
pub struct ConsentPage {
    /// Frame.
    pub page: Page,
    /// Where the answer goes.
    pub action: String,
    /// The form's purpose: bound to this interaction, so that a token for one cannot answer another.
    pub purpose: String,
    /// Who asks.
    pub agent: AgentCard,
    /// The agent's own words.
    pub words: Option<Shown>,
    /// The agent's task.
    pub task: Option<Shown>,
    /// The provider's name.
    pub provider: Shown,
    /// Its first letter.
    pub provider_letter: String,
    /// Accounts to pick from; empty when there is nothing to pick.
    pub accounts: Vec<AccountChoice>,
    /// Scopes that only look.
    pub read: Vec<ScopeRow>,
    /// Scopes that change, send or share.
    pub strong: Vec<ScopeRow>,
    /// What the agent holds and has not asked for again: it stays.
    pub kept: Vec<ScopeRow>,
    /// A wider limit that is asked for.
    pub widen: Option<WidenRow>,
    /// What bounds it beyond scopes.
    pub limits: LimitSection,
    /// The duration list.
    pub durations: Vec<DurationChoice>,
    /// Whether the provider asks next.
    pub via_provider: bool,
    /// When the link ends.
    pub ends: When,
    /// What was wrong with the last answer.
    pub problem: Option<String>,
}

impl ConsentPage {
    /// For looking at.
    pub fn sample(lang: Lang) -> Self {
        let page = Page { here: "/i/int_0f8b2c".to_owned(), ..Page::sample(lang) };
        let (strong, read): (Vec<_>, Vec<_>) =
            ScopeRow::samples(lang).into_iter().partition(|row| row.strong);
        let (purpose, words) = match lang {
            Lang::En => (
                "Summarises the week's mail and appointments every Friday.",
                "I need last week's mail to write Friday's digest, and would like to send it to you by mail.",
            ),
            Lang::Zh => {
                ("每周五汇总一周的邮件和日程。", "我需要上周的邮件来写周五的摘要，并希望通过邮件发给你。")
            }
        };
        let mut kept = ScopeRow::sample(
            lang,
            "Contacts.Read",
            ["See your contacts", "查看你的联系人", "", ""],
            None,
            "risk.medium",
        );
        kept.until = Some(page.sample_when(3_000));
        let account = |value: &str, label: &str, first: bool, note| AccountChoice {
            value: value.to_owned(),
            label: Shown::name(label),
            is_default: first,
            chosen: first,
            note,
        };
        Self {
            action: page.here.clone(),
            purpose: "interaction:int_0f8b2c".to_owned(),
            agent: AgentCard {
                name: Shown::name("Weekly Digest"),
                letter: letter("Weekly Digest"),
                kind: kind_words(lang, AgentKind::Personal),
                purpose: Shown::sentence(purpose),
                owner: Shown::name("alice@example.com"),
                owner_is_you: true,
            },
            words: Some(Shown::sentence(words)),
            task: Some(Shown::name("digest-2026-47")),
            provider: Shown::name("Microsoft Entra ID"),
            provider_letter: "M".to_owned(),
            accounts: vec![
                account("con_1", "alice@example.com", true, None),
                account(
                    "new",
                    page.t("consent.account_other"),
                    false,
                    Some(texts::text(lang, "consent.account_other_hint")),
                ),
            ],
            read,
            strong,
            kept: vec![kept],
            widen: None,
            limits: LimitSection::sample(lang),
            durations: durations(lang, DEFAULT_DURATION),
            via_provider: true,
            ends: page.sample_when(86_000),
            problem: None,
            page,
        }
    }
}
