//! Limits in forms: which fields there are, and what was entered in them.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::interactions::{LimitChoice, Offer};
use crate::kernel::offset::{Day, UtcOffset};
use crate::kernel::text::Lang;
use crate::model::limit::{Bound, Hours, Limit, LimitKind, Moment, Period, Span};
use crate::web::forms::Form;
use crate::web::texts;
use crate::web::views::limit_fields::{self, LimitField, LimitInput, LimitSection};
use crate::web::views::limits::{UNITS, sentences};
use crate::web::views::{Page, ScopeRow};

/// The box for a wider limit in the place of a former one.
pub const WIDEN: &str = "limit.widen";

/// Marks of limits that are to be lifted.
pub const LIFT: &str = "limit.lift";

/// What is wrong, by the beginning of the field's name.
pub type Problems = BTreeMap<String, &'static str>;

/// The names of the fields of some limits: those that come once, and those that may come several times.
pub fn names(offers: &[Offer]) -> (Vec<String>, Vec<String>) {
    let (mut once, mut several) = (Vec::new(), vec![LIFT.to_owned()]);
    for offer in offers {
        let parts: &[&str] = match offer.kind {
            LimitKind::MailDates | LimitKind::Events => &["from", "until"],
            LimitKind::Hours => {
                several.push(format!("{}.days", offer.field));
                &["from", "until"]
            }
            LimitKind::Senders => &["allow"],
            LimitKind::Recipients => &["domains"],
            LimitKind::Calls => &["most", "per"],
            LimitKind::Bytes => &["most", "unit"],
            LimitKind::Items => &["most"],
            LimitKind::ReadOnly | LimitKind::Once => {
                once.push(offer.field.clone());
                &[]
            }
            LimitKind::Folders
            | LimitKind::Documents
            | LimitKind::MailFolders
            | LimitKind::Calendars
            | LimitKind::Chats => &["pick"],
        };
        once.extend(parts.iter().map(|part| format!("{}.{part}", offer.field)));
    }
    (once, several)
}

/// What was entered.
///
/// # Errors
/// All fields that something is wrong with.
pub fn read(form: &Form, offers: &[Offer], offset: UtcOffset) -> Result<LimitChoice, Problems> {
    let mut choice = LimitChoice {
        lifted: form.all(LIFT).map(str::to_owned).collect(),
        widened: form.get(WIDEN).is_some(),
        ..LimitChoice::default()
    };
    let mut problems = Problems::new();
    for offer in offers {
        if form.get(&format!("{}.pick", offer.field)).is_some() && is_named(offer.kind) {
            let api = offer.api.clone().unwrap_or_default();
            choice.picks.push((api, offer.kind));
            continue;
        }
        match (Entered { form, field: &offer.field, offset }).bound(offer.kind) {
            Ok(None) => {}
            Ok(Some(bound)) => choice.added.push(Limit { api: offer.api.clone(), bound }),
            Err(problem) => drop(problems.insert(offer.field.clone(), problem)),
        }
    }
    if problems.is_empty() { Ok(choice) } else { Err(problems) }
}

const fn is_named(kind: LimitKind) -> bool {
    matches!(
        kind,
        LimitKind::Folders
            | LimitKind::Documents
            | LimitKind::MailFolders
            | LimitKind::Calendars
            | LimitKind::Chats
    )
}

/// The fields of one limit in a form.
struct Entered<'f> {
    form: &'f Form,
    field: &'f str,
    offset: UtcOffset,
}

impl Entered<'_> {
    fn text(&self, part: &str) -> &str {
        self.form.text(&format!("{}.{part}", self.field))
    }

    fn bound(&self, kind: LimitKind) -> Result<Option<Bound>, &'static str> {
        let (bound, wrong) = match kind {
            LimitKind::MailDates => (self.span()?.map(Bound::MailDates), "bound.bad_span"),
            LimitKind::Events => (self.span()?.map(Bound::Events), "bound.bad_span"),
            LimitKind::Senders => (self.senders(), "bound.bad_senders"),
            LimitKind::Recipients => (self.recipients(), "bound.bad_recipients"),
            LimitKind::ReadOnly => (self.is_ticked().then_some(Bound::ReadOnly {}), ""),
            LimitKind::Once => (self.is_ticked().then_some(Bound::Once {}), ""),
            LimitKind::Calls => (self.calls()?, "bound.bad_number"),
            LimitKind::Items => (self.number()?.map(|most| Bound::Items { most }), "bound.bad_number"),
            LimitKind::Bytes => (self.bytes()?, "bound.bad_number"),
            LimitKind::Hours => (self.hours()?.map(Bound::Hours), "bound.bad_hours"),
            LimitKind::Folders
            | LimitKind::Documents
            | LimitKind::MailFolders
            | LimitKind::Calendars
            | LimitKind::Chats => (None, ""),
        };
        let Some(bound) = bound else { return Ok(None) };
        // The API makes no difference to the values.
        let api = (!kind.is_general()).then(String::new);
        Limit { api, bound: bound.clone() }.check().map_err(|_| wrong)?;
        Ok(Some(bound))
    }

    fn is_ticked(&self) -> bool {
        self.form.get(self.field).is_some()
    }

    fn day(&self, part: &str) -> Result<Option<Day>, &'static str> {
        let text = self.text(part);
        if text.is_empty() {
            return Ok(None);
        }
        let day =
            Day::from_str(text).ok().filter(|day| text.len() == 10 && (1970..=9998).contains(&day.year()));
        day.map(Some).ok_or("bound.bad_day")
    }

    /// Both days are part of the span: it ends when the day after the last one begins.
    fn span(&self) -> Result<Option<Span>, &'static str> {
        let start = |day: Day| Moment(self.offset.start_of(day));
        let last = self.day("until")?;
        let until = match last {
            Some(last) => Some(last.tomorrow().map_err(|_| "bound.bad_day")?),
            None => None,
        };
        let span = Span { from: self.day("from")?.map(start), until: until.map(start) };
        Ok((span.from.is_some() || span.until.is_some()).then_some(span))
    }

    fn lines(&self, part: &str) -> Vec<String> {
        let is_between = |c: char| c.is_whitespace() || [',', ';', '，', '；', '、'].contains(&c);
        let mut lines: Vec<String> = Vec::new();
        for line in self.text(part).split(is_between).filter(|line| !line.is_empty()) {
            let line = line.to_ascii_lowercase();
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }

    fn senders(&self) -> Option<Bound> {
        let plain = |line: String| if line.contains('@') { line } else { format!("@{line}") };
        let allow: Vec<String> = self.lines("allow").into_iter().map(plain).collect();
        (!allow.is_empty()).then_some(Bound::Senders { allow })
    }

    fn recipients(&self) -> Option<Bound> {
        let plain = |line: String| line.strip_prefix('@').map_or(line.clone(), str::to_owned);
        let domains: Vec<String> = self.lines("domains").into_iter().map(plain).collect();
        (!domains.is_empty()).then_some(Bound::Recipients { domains })
    }

    fn number(&self) -> Result<Option<u64>, &'static str> {
        let text = self.text("most");
        if text.is_empty() {
            return Ok(None);
        }
        let is_plain = text.len() <= 12 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|most| is_plain && *most > 0).map(Some).ok_or("bound.bad_number")
    }

    fn calls(&self) -> Result<Option<Bound>, &'static str> {
        let per = match self.text("per") {
            "minute" => Period::Minute,
            "" | "hour" => Period::Hour,
            "day" => Period::Day,
            _ => return Err("bound.bad_number"),
        };
        Ok(self.number()?.map(|most| Bound::Calls { most, per }))
    }

    fn bytes(&self) -> Result<Option<Bound>, &'static str> {
        let unit = match self.text("unit") {
            "" => "MB",
            unit => unit,
        };
        let size = UNITS.iter().find(|(name, _)| *name == unit).ok_or("bound.bad_number")?.1;
        Ok(self.number()?.map(|most| Bound::Bytes { most: most.saturating_mul(size) }))
    }

    fn hours(&self) -> Result<Option<Hours>, &'static str> {
        let days: Vec<&str> = self.form.all(&format!("{}.days", self.field)).collect();
        let (from, until) = (self.text("from"), self.text("until"));
        if from.is_empty() && until.is_empty() && days.is_empty() {
            return Ok(None);
        }
        let wrong = |_| "bound.bad_hours";
        let days: Result<Vec<u8>, _> = days.into_iter().map(str::parse).collect();
        Ok(Some(Hours {
            from: from.parse().map_err(wrong)?,
            until: until.parse().map_err(wrong)?,
            utc_offset_min: self.offset.minutes(),
            days: days.map_err(|_| "bound.bad_hours")?,
        }))
    }
}

/// What a page's form says about limits.
pub struct Shown<'s> {
    /// What can be added.
    pub offers: &'s [Offer],
    /// What the agent has suggested.
    pub suggested: &'s [Limit],
    /// Limits that hold already, and can be lifted here.
    pub held: &'s [Limit],
    /// The permissions on the page, for their names.
    pub scopes: &'s [ScopeRow],
}

/// The section of a form, with what was entered before.
pub fn section(page: &Page, shown: &Shown<'_>, form: Option<&Form>, problems: &Problems) -> LimitSection {
    let (lang, offset) = (page.lang, page.utc_offset);
    let is_suggested = |offer: &&Offer| {
        is_named(offer.kind)
            && shown.suggested.iter().any(|limit| limit.api == offer.api && limit.kind() == offer.kind)
    };
    let can_be_entered = |offer: &&Offer| offer.pickable || !is_named(offer.kind);
    let fields: Vec<LimitField> = (shown.offers.iter())
        .filter(|offer| can_be_entered(offer) && !is_suggested(offer))
        .map(|offer| LimitField {
            problem: problems.get(&offer.field).map(|key| texts::text(lang, key)),
            ..field(lang, offer, shown.scopes, form)
        })
        .collect();
    let (once, _) = names(shown.offers);
    let lifts: Vec<&str> = form.into_iter().flat_map(|form| form.all(LIFT)).collect();
    let is_default = |name: &str| name.ends_with(".per") || name.ends_with(".unit");
    let is_entered =
        form.is_some_and(|form| once.iter().any(|name| !is_default(name) && form.get(name).is_some()));
    let held = shown.held.iter().map(|limit| {
        let words = sentences(lang, offset, std::slice::from_ref(limit)).concat();
        let mark = limit.mark();
        let ticked = lifts.contains(&mark.as_str());
        (mark, words, ticked)
    });
    LimitSection {
        fixed: sentences(lang, offset, shown.suggested),
        held: held.collect(),
        fields,
        zone: offset.to_string(),
        open: !shown.suggested.is_empty() || !shown.held.is_empty() || !problems.is_empty() || is_entered,
    }
}

fn field(lang: Lang, offer: &Offer, scopes: &[ScopeRow], form: Option<&Form>) -> LimitField {
    let t = |key: &'static str| texts::text(lang, key);
    let entered = |part: &str| {
        form.map(|form| form.text(&format!("{}.{part}", offer.field)).to_owned()).unwrap_or_default()
    };
    let is_ticked = |name: &str| form.is_some_and(|form| form.get(name).is_some());
    let pick = |words: &'static str| LimitInput::Tick {
        part: ".pick",
        words: t(words),
        ticked: is_ticked(&format!("{}.pick", offer.field)),
    };
    let tick =
        |words: &'static str| LimitInput::Tick { part: "", words: t(words), ticked: is_ticked(&offer.field) };
    let days = || LimitInput::Days { from: entered("from"), until: entered("until") };
    let (title, hint, input) = match offer.kind {
        LimitKind::Folders => ("bound.name_folders", "bound.hint_pick", pick("bound.pick_folders")),
        LimitKind::Documents => ("bound.name_documents", "bound.hint_pick", pick("bound.pick_documents")),
        LimitKind::MailFolders => {
            ("bound.name_mail_folders", "bound.hint_pick", pick("bound.pick_mail_folders"))
        }
        LimitKind::Calendars => ("bound.name_calendars", "bound.hint_pick", pick("bound.pick_calendars")),
        LimitKind::Chats => ("bound.name_chats", "bound.hint_pick", pick("bound.pick_chats")),
        LimitKind::MailDates => ("bound.name_mail_dates", "bound.hint_mail_dates", days()),
        LimitKind::Events => ("bound.name_events", "bound.hint_events", days()),
        LimitKind::Senders => {
            let (part, example) = ("allow", "@example.com");
            let input = LimitInput::Lines { part, text: entered(part), example };
            ("bound.name_senders", "bound.hint_senders", input)
        }
        LimitKind::Recipients => {
            let (part, example) = ("domains", "example.com");
            let input = LimitInput::Lines { part, text: entered(part), example };
            ("bound.name_recipients", "bound.hint_recipients", input)
        }
        LimitKind::ReadOnly => ("bound.name_read_only", "bound.hint_read_only", tick("bound.tick_read_only")),
        LimitKind::Once => ("bound.name_once", "bound.hint_once", tick("bound.tick_once")),
        LimitKind::Calls => {
            let units = limit_fields::periods(lang, &entered("per"));
            let label = t("bound.per");
            ("bound.name_calls", "", LimitInput::Amount { most: entered("most"), part: "per", label, units })
        }
        LimitKind::Items => {
            ("bound.name_items", "bound.hint_items", LimitInput::Number { most: entered("most") })
        }
        LimitKind::Bytes => {
            let units = limit_fields::units(&entered("unit"));
            let label = t("bound.unit");
            ("bound.name_bytes", "", LimitInput::Amount { most: entered("most"), part: "unit", label, units })
        }
        LimitKind::Hours => {
            let name = format!("{}.days", offer.field);
            let ticked: Vec<&str> = form.into_iter().flat_map(|form| form.all(&name)).collect();
            let days = limit_fields::week(lang, &ticked);
            let input = LimitInput::Hours { from: entered("from"), until: entered("until"), days };
            ("bound.name_hours", "bound.hint_hours", input)
        }
    };
    let is_bounded = |row: &&ScopeRow| offer.scopes.iter().any(|scope| scope.as_str() == row.name);
    let titles: Vec<&str> = scopes.iter().filter(is_bounded).map(|row| row.title.as_str()).collect();
    LimitField {
        name: offer.field.clone(),
        id: offer.field.replace(['.', '_'], "-"),
        title: t(title),
        hint: (!hint.is_empty()).then(|| t(hint)),
        applies: titles.join(t("bound.join")),
        problem: None,
        input,
    }
}
