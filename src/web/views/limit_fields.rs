//! The part of a form in which a person adds limits.

use crate::kernel::text::Lang;
use crate::web::texts;
use crate::web::views::limits::{UNITS, WEEK};

/// A limit's fields.
#[derive(Clone, Debug)]
pub struct LimitField {
    /// The beginning of their names.
    pub name: String,
    /// The beginning of their ids.
    pub id: String,
    /// What the limit is called.
    pub title: &'static str,
    /// What it does.
    pub hint: Option<&'static str>,
    /// Which of the permissions on the page it bounds; empty = all.
    pub applies: String,
    /// What is wrong with what was entered.
    pub problem: Option<&'static str>,
    /// The fields.
    pub input: LimitInput,
}

/// The fields of a kind of limit, with what was entered.
#[derive(Clone, Debug)]
pub enum LimitInput {
    /// A first and a last day.
    Days {
        /// The first.
        from: String,
        /// The last.
        until: String,
    },
    /// Lines of text.
    Lines {
        /// The field's last part.
        part: &'static str,
        /// The text.
        text: String,
        /// An example.
        example: &'static str,
    },
    /// One box.
    Tick {
        /// The field's last part; empty = none.
        part: &'static str,
        /// What it says.
        words: &'static str,
        /// Whether it is ticked.
        ticked: bool,
    },
    /// A number.
    Number {
        /// The number.
        most: String,
    },
    /// A number, and one of a few units.
    Amount {
        /// The number.
        most: String,
        /// The field's last part.
        part: &'static str,
        /// What the unit's field is called.
        label: &'static str,
        /// The units: value, words, whether chosen.
        units: Vec<(&'static str, &'static str, bool)>,
    },
    /// Two times of day, and days of the week.
    Hours {
        /// The first.
        from: String,
        /// The second.
        until: String,
        /// Days: number, words, whether ticked.
        days: Vec<(u8, &'static str, bool)>,
    },
}

/// All that a form says about limits.
#[derive(Clone, Debug, Default)]
pub struct LimitSection {
    /// What the agent asks for no more than, in words.
    pub fixed: Vec<String>,
    /// Limits that hold already: mark, words, whether ticked to be lifted.
    pub held: Vec<(String, String, bool)>,
    /// What can be added.
    pub fields: Vec<LimitField>,
    /// The clock that days and hours are read by.
    pub zone: String,
    /// Whether the section starts open.
    pub open: bool,
}

/// The periods that calls are counted in.
pub fn periods(lang: Lang, chosen: &str) -> Vec<(&'static str, &'static str, bool)> {
    let chosen = if ["minute", "day"].contains(&chosen) { chosen } else { "hour" };
    [("minute", "bound.minute"), ("hour", "bound.hour"), ("day", "bound.day")]
        .map(|(value, key)| (value, texts::text(lang, key), value == chosen))
        .to_vec()
}

/// The units of data.
pub fn units(chosen: &str) -> Vec<(&'static str, &'static str, bool)> {
    let known = UNITS.iter().any(|(unit, _)| *unit == chosen);
    let chosen = if known { chosen } else { "MB" };
    UNITS.iter().map(|(unit, _)| (*unit, *unit, *unit == chosen)).collect()
}

/// The days of the week.
pub fn week(lang: Lang, ticked: &[&str]) -> Vec<(u8, &'static str, bool)> {
    (1_u8..)
        .zip(WEEK)
        .map(|(day, key)| (day, texts::text(lang, key), ticked.contains(&day.to_string().as_str())))
        .collect()
}

impl LimitSection {
    /// For looking at: every kind of field.
    pub fn sample(lang: Lang) -> Self {
        let t = |key: &'static str| texts::text(lang, key);
        let field = |kind: &'static str, title, hint: &'static str, input| LimitField {
            name: format!("limit.{kind}"),
            id: format!("limit-{kind}").replace('_', "-"),
            title: t(title),
            hint: (!hint.is_empty()).then(|| t(hint)),
            applies: String::new(),
            problem: None,
            input,
        };
        let fixed = match lang {
            Lang::En => "Only mail in “Inbox”, received from 1 October 2026 on; no other mail.",
            Lang::Zh => "仅限“收件箱”中、2026年10月1日起收到的邮件，其他邮件一律不可。",
        };
        let mail = match lang {
            Lang::En => "Read your mail",
            Lang::Zh => "读取你的邮件",
        };
        let days = LimitInput::Days { from: "2026-10-31".to_owned(), until: "2026-10-01".to_owned() };
        let text = "bob@example.com\n@elsewhere.example".to_owned();
        let lines = LimitInput::Lines { part: "allow", text, example: "@example.com" };
        let tick = |part, words| LimitInput::Tick { part, words: t(words), ticked: true };
        let amount = |part, label: &'static str, units| LimitInput::Amount {
            most: "100".to_owned(),
            part,
            label: t(label),
            units,
        };
        let hours = LimitInput::Hours {
            from: "09:00".to_owned(),
            until: "18:00".to_owned(),
            days: week(lang, &["1", "5"]),
        };
        let number = LimitInput::Number { most: String::new() };
        let calls = amount("per", "bound.per", periods(lang, "hour"));
        let bytes = amount("unit", "bound.unit", units("MB"));
        let fields = vec![
            LimitField {
                problem: Some(t("bound.bad_span")),
                applies: mail.to_owned(),
                ..field("mail_dates", "bound.name_mail_dates", "bound.hint_mail_dates", days)
            },
            field("senders", "bound.name_senders", "bound.hint_senders", lines),
            field("folders", "bound.name_folders", "bound.hint_pick", tick(".pick", "bound.pick_folders")),
            field(
                "read_only",
                "bound.name_read_only",
                "bound.hint_read_only",
                tick("", "bound.tick_read_only"),
            ),
            field("calls", "bound.name_calls", "", calls),
            field("items", "bound.name_items", "bound.hint_items", number),
            field("bytes", "bound.name_bytes", "", bytes),
            field("hours", "bound.name_hours", "bound.hint_hours", hours),
        ];
        let held = vec![("0123456789abcdef".to_owned(), t("bound.read_only").to_owned(), false)];
        Self { fixed: vec![fixed.to_owned()], held, fields, zone: "UTC+08:00".to_owned(), open: true }
    }
}
