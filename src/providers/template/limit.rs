//! What limits bound: the objects of an API, where a call names and gives them, and which limits are
//! offered. All data; the vocabulary is closed, and an unknown word does not load.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::kernel::scope::Scope;
use crate::model::limit::LimitKind;
use crate::providers::template::RouteToken;

/// One kind of thing that an API has: a message, a file, a calendar.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectEntry {
    /// The API's name.
    pub api: String,
    /// The call that looks one up: `GET /v1.0/me/messages/{id}`. `{id}` is the identifier, `{id.0}` a part
    /// of one that has several; any other placeholder is a pin of the user. None = cannot be looked up: then a
    /// tree is looked through from its top, with `list.children`.
    #[serde(default)]
    pub get: Option<String>,
    /// Query parameters of the look-up, with the same placeholders.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// The JSON body of a look-up by POST, with the same placeholders inside its strings.
    #[serde(default)]
    pub body: Option<String>,
    /// Which token the look-up takes.
    #[serde(default)]
    pub token: RouteToken,
    /// Where in the look-up's answer the object is; empty = the whole answer.
    #[serde(default)]
    pub at: String,
    /// Where in an object its fields are.
    pub fields: BTreeMap<Field, Place>,
    /// Members of an object that are never released: addresses that open it without a token.
    #[serde(default)]
    pub strip: Vec<String>,
    /// How a person picks one.
    #[serde(default)]
    pub list: Option<ObjectList>,
}

/// What a limit can compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Its identifier.
    Id,
    /// The identifier of the folder that it is in, up to the root, which has none.
    Parent,
    /// The identifier of its mail folder.
    Folder,
    /// When it was received.
    Time,
    /// When it starts.
    Start,
    /// When it ends.
    End,
    /// Who it is from.
    Sender,
    /// Whom it goes to.
    Recipients,
    /// The identifier of its calendar.
    Calendar,
    /// The identifier of its chat.
    Chat,
    /// Present where it only points to another thing, or lies at another place than it seems to.
    Elsewhere,
    /// The identifier of what it points to.
    Target,
}

/// Where a field is in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Dotted paths; `*` goes into every item of a list. An identifier of several parts has one path for
    /// each; any other field is all that the paths find.
    pub at: Vec<String>,
    /// How a time is written there.
    pub form: TimeForm,
    /// The member that names the time zone of a time without an offset. Only UTC is understood: with any
    /// other zone the time cannot be compared.
    pub zone: Option<String>,
}

/// How a moment is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeForm {
    /// `2026-10-01T09:00:00Z`; without an offset it is UTC.
    #[default]
    Rfc3339,
    /// Seconds since the epoch, as a number or in a text.
    UnixS,
    /// Milliseconds since the epoch, as a number or in a text.
    UnixMs,
}

/// How a person picks objects from a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectList {
    /// The call that lists the outermost ones, with placeholders as in a look-up. Any `?` begins its query.
    pub roots: String,
    /// The call that lists those inside one; `{id}` is the one. None = they lie flat.
    #[serde(default)]
    pub children: Option<String>,
    /// The JSON body of these calls, where they are POSTs. `{id}` is empty at the roots.
    #[serde(default)]
    pub body: Option<String>,
    /// Where the objects are in the answer: `value.*`.
    pub items: String,
    /// The member with its name.
    pub name: String,
    /// A member that must be there, or have this value (`type=folder`), for it to be offered.
    #[serde(default)]
    pub only: Option<String>,
    /// Where a long list goes on, if no link of the API says so: a parameter, and the member of the answer with
    /// its value (`page_token=data.next_page_token`).
    #[serde(default)]
    pub next: Option<String>,
}

/// A kind of limit that the vendor's API can express.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitEntry {
    /// Which.
    pub kind: LimitKind,
    /// The API that it bounds.
    pub api: String,
    /// The scopes whose calls it bounds; the others are as open as without it.
    pub scopes: Vec<Scope>,
    /// Which field of which objects it compares: object = field.
    pub tests: BTreeMap<String, Test>,
    /// The object that a person picks, for limits that name things.
    #[serde(default)]
    pub pick: Option<String>,
}

/// What a limit compares of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Its identifier.
    Id,
    /// Its identifier or that of any folder above it.
    Tree,
    /// Its mail folder.
    Folder,
    /// When it was received.
    Time,
    /// Its start and end.
    Span,
    /// Its sender.
    Sender,
    /// All of its recipients.
    Recipients,
    /// Its calendar.
    Calendar,
    /// Its chat.
    Chat,
}

/// What a call names, carries and gives. One entry per call, whatever scopes open it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallEntry {
    /// The API's name.
    pub api: String,
    /// The call, as a scope's route states it.
    pub call: String,
    /// Objects that the request names by identifier.
    #[serde(default)]
    pub names: Vec<NameRef>,
    /// Objects that the request's JSON body holds.
    #[serde(default)]
    pub carries: Vec<ObjectPlace>,
    /// Objects that the JSON answer holds. An answer that holds several kinds needs all of them here.
    #[serde(default)]
    pub gives: Vec<ObjectPlace>,
    /// A span of time in the request, which is clamped.
    #[serde(default)]
    pub window: Option<Window>,
    /// Filter expressions in the query, which are joined with the limits' own.
    #[serde(default)]
    pub filter: Vec<Filter>,
    /// Kinds that need no test here: what the call reaches lies outside of what they are about.
    #[serde(default)]
    pub free: Vec<LimitKind>,
    /// What must not be in the request while a limit is tested on this call, because it would name things
    /// in a way that no test follows: `body:parentReference.path`, `query:path`.
    #[serde(default)]
    pub refuse: Vec<String>,
}

/// An object that a request names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameRef {
    /// The object.
    pub object: String,
    /// Where its identifier is: `path:item_id`, `query:folder_token`, `body:parentReference.id`,
    /// `body:ids.*`, or `fixed:root`. One for each part.
    #[serde(deserialize_with = "one_or_many")]
    pub id: Vec<String>,
    /// Whether leaving it out means that nothing is named. Otherwise, under a limit, it must be there.
    #[serde(default)]
    pub optional: bool,
    /// What it means when it is left out, where vendors have a default: an identifier.
    #[serde(default)]
    pub absent: Option<String>,
}

/// Where objects are in a JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectPlace {
    /// The object.
    pub object: String,
    /// A dotted path, `*` for every item of a list; empty = the document itself.
    #[serde(default)]
    pub at: String,
    /// In a request: whether leaving it out, or leaving out what is compared, means that there is nothing
    /// to compare. Otherwise, under a limit, it must be there. A PATCH may always leave out.
    #[serde(default)]
    pub optional: bool,
}

/// A span of time that a request states.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The limit that clamps it.
    pub kind: LimitKind,
    /// The parameter or body path of its beginning.
    pub from: String,
    /// The parameter or body path of its end.
    pub until: String,
    /// Where they are.
    #[serde(rename = "in", default)]
    pub place: WindowPlace,
    /// How they are written.
    #[serde(rename = "as", default)]
    pub form: TimeForm,
}

/// Where a window is stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowPlace {
    /// In the query.
    #[default]
    Query,
    /// In the JSON body.
    Body,
}

/// An expression that a limit adds to the query. It spares the agent half-empty pages; what decides is the
/// test of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The limit.
    pub kind: LimitKind,
    /// The parameter, whose expressions are joined with `and`: `$filter`.
    pub query: String,
    /// For the beginning of a span: `receivedDateTime ge {from}`.
    pub from: String,
    /// For its end: `receivedDateTime lt {until}`.
    pub until: String,
    /// Parameters that a filter cannot stand beside: then none is added.
    #[serde(default)]
    pub unless: Vec<String>,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            One(String),
            Many(Vec<String>),
            Full(Full),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            #[serde(deserialize_with = "one_or_many")]
            at: Vec<String>,
            #[serde(rename = "as", default)]
            form: TimeForm,
            #[serde(default)]
            zone: Option<String>,
        }
        Ok(match Wire::deserialize(deserializer)? {
            Wire::One(at) => Self { at: vec![at], form: TimeForm::default(), zone: None },
            Wire::Many(at) => Self { at, form: TimeForm::default(), zone: None },
            Wire::Full(Full { at, form, zone }) => Self { at, form, zone },
        })
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wire {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Wire::deserialize(deserializer)? {
        Wire::One(one) => vec![one],
        Wire::Many(many) => many,
    })
}
