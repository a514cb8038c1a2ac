//! How limits are written: RFC 9396 details, moments and times of day.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::model::limit::{Bound, ClockTime, DETAIL_TYPE, Limit, LimitKind, Moment, Named};

impl Limit {
    /// A short text that tells it from others, for forms.
    pub fn mark(&self) -> String {
        let whole = serde_json::to_vec(self).unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &whole);
        encode::hex(digest.as_ref().get(..8).unwrap_or_default())
    }
}

impl Bound {
    /// The bound of a kind that names things.
    pub fn naming(kind: LimitKind, items: Vec<Named>) -> Option<Self> {
        match kind {
            LimitKind::Folders => Some(Self::Folders { items }),
            LimitKind::Documents => Some(Self::Documents { items }),
            LimitKind::MailFolders => Some(Self::MailFolders { items }),
            LimitKind::Calendars => Some(Self::Calendars { items }),
            LimitKind::Chats => Some(Self::Chats { items }),
            _ => None,
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            r#type: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            api: Option<&'a str>,
            #[serde(flatten)]
            bound: &'a Bound,
        }
        Wire { r#type: DETAIL_TYPE, api: self.api.as_deref(), bound: &self.bound }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = serde_json::Map::deserialize(deserializer)?;
        if members.remove("type").as_ref().and_then(|kind| kind.as_str()) != Some(DETAIL_TYPE) {
            return Err(D::Error::custom(format!("`type` must be `{DETAIL_TYPE}`")));
        }
        let api = match members.remove("api") {
            None => None,
            Some(serde_json::Value::String(api)) => Some(api),
            Some(_) => return Err(D::Error::custom("`api` must be a text")),
        };
        let bound = serde_json::from_value(members.into()).map_err(D::Error::custom)?;
        Ok(Self { api, bound })
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected an identifier, or an object with `id` and `name`")]
        enum Wire {
            Bare(String),
            Full(Full),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            id: String,
            #[serde(default)]
            name: Option<String>,
        }
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Bare(id) => Self { id, name: None },
            Wire::Full(Full { id, name }) => Self { id, name },
        })
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl std::str::FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a moment in RFC 3339 or a date like 2026-10-01";
        let midnight;
        let whole = if text.len() == 10 {
            midnight = format!("{text}T00:00:00Z");
            &midnight
        } else {
            text
        };
        let moment: jiff::Timestamp = whole.parse().map_err(|_| WRONG)?;
        Ok(Self(Timestamp::from_millis(moment.as_millisecond())))
    }
}

impl ClockTime {
    /// Minutes since midnight.
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl std::str::FromStr for ClockTime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a time of day like 09:30";
        let (hours, minutes) = text.split_once(':').ok_or(WRONG)?;
        let number = |digits: &str, below: u16| {
            let is_two_digits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|value| is_two_digits && *value < below).ok_or(WRONG)
        };
        Ok(Self(number(hours, 24)? * 60 + number(minutes, 60)?))
    }
}

impl std::fmt::Display for ClockTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for ClockTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClockTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
