//! Platforms that vouch for their workloads: which claims of their tokens count. The platforms themselves are
//! data, in `presets.toml`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use crate::jose::{Algorithm, Claims};

/// What counts in one platform's tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Name, as trust sources state it.
    pub name: String,
    /// Name to show.
    pub title: String,
    /// Patterns of `iss`.
    pub issuers: Vec<String>,
    /// Whether `iss` may be absent.
    #[serde(default)]
    pub issuer_optional: bool,
    /// Accepted `typ`; an empty text is none.
    pub types: Vec<String>,
    /// Whether `kid` may be absent.
    #[serde(default)]
    pub key_id_optional: bool,
    /// Accepted algorithms, by their JOSE names.
    pub algorithms: Vec<String>,
    /// The most that a token may live, in seconds.
    pub longest_s: u64,
    /// Whether `iat` may be absent.
    #[serde(default)]
    pub issue_time_optional: bool,
    /// Patterns of audiences that are never accepted.
    pub refuse_audiences: Vec<String>,
    /// What a registration can hold a token to.
    pub pin: Vec<Pin>,
    /// At least one of these is stated with the agent.
    #[serde(default)]
    pub one_of: Vec<String>,
    #[serde(default)]
    reads: Vec<Reads>,
    #[serde(default)]
    same: Vec<(String, String)>,
    #[serde(default)]
    only: Vec<Only>,
    #[serde(default)]
    refuse_claims: Vec<String>,
}

/// A claim that a registration can hold a token to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Its name in registrations.
    pub name: String,
    /// Where the token has it; `None` for a value that patterns alone use.
    #[serde(default)]
    pub claim: Option<String>,
    /// What its values look like.
    pub shape: Shape,
    /// Whether it must be stated.
    #[serde(default)]
    pub required: bool,
    /// Where it is stated.
    #[serde(default)]
    pub on: Place,
}

/// Where a pin is stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// With the agent.
    #[default]
    Agent,
    /// With the trust source.
    Source,
}

/// What a pin's value looks like: the checks that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Any text.
    Text,
    /// A number.
    Digits,
    /// Twelve digits.
    Account,
    /// A UUID in lower case.
    Uuid,
    /// A DNS label.
    Label,
    /// DNS labels with dots between.
    Host,
    /// An ARN.
    Arn,
    /// A SPIFFE id with a path.
    SpiffeId,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reads {
    claim: String,
    #[serde(rename = "as")]
    pattern: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Only {
    claim: String,
    is: Value,
    #[serde(default)]
    when: Option<String>,
}

/// All presets.
pub fn presets() -> &'static [Preset] {
    #[derive(Deserialize)]
    struct File {
        preset: Vec<Preset>,
    }
    static PRESETS: OnceLock<Vec<Preset>> = OnceLock::new();
    // A test reads the file; what could not be read would accept nothing.
    let read = || toml::from_str::<File>(include_str!("presets.toml")).map(|file| file.preset);
    PRESETS.get_or_init(|| read().unwrap_or_default())
}

/// The preset of that name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    presets().iter().find(|preset| preset.name == name)
}

type Pins = BTreeMap<String, String>;

impl Preset {
    /// Whether tokens of this platform may be signed so.
    pub fn accepts(&self, algorithm: Algorithm) -> bool {
        self.algorithms.iter().any(|name| name == algorithm.as_str())
    }

    /// The accepted `typ`s.
    pub fn accepted_types(&self) -> Vec<Option<&str>> {
        self.types.iter().map(|name| Some(name.as_str()).filter(|name| !name.is_empty())).collect()
    }

    /// Whether that can be the issuer of a source with those pins.
    pub fn fits_issuer(&self, issuer: &str, pins: &Pins) -> bool {
        self.issuers.iter().any(|pattern| fits(&filled(pattern, pins), issuer))
    }

    /// The one issuer that the platform has for all its customers, with those pins; `None` where there are
    /// several, or each customer has one.
    pub fn own_issuer(&self, pins: &Pins) -> Option<String> {
        let filled = self.issuers.iter().map(|pattern| filled(pattern, pins));
        let mut exact = filled.filter(|issuer| !issuer.contains(['*', '{']));
        let first = exact.next()?;
        exact.next().is_none().then_some(first)
    }

    /// Whether tokens for that audience are held by others than us.
    pub fn refuses_audience(&self, audience: &str, issuer: Option<&str>) -> bool {
        self.refuse_audiences.iter().any(|pattern| match pattern.as_str() {
            "{issuer}" => {
                issuer.is_some_and(|issuer| issuer.trim_end_matches('/') == audience.trim_end_matches('/'))
            }
            pattern => fits(pattern, audience),
        })
    }

    /// Whether those pins may be stated in that place.
    ///
    /// # Errors
    /// What is missing, unknown, or of another shape, in words.
    pub fn check_pins(&self, place: Place, pins: &Pins) -> Result<(), String> {
        let here = || self.pin.iter().filter(|pin| pin.on == place);
        for (name, value) in pins {
            let Some(pin) = here().find(|pin| pin.name == *name) else {
                let known: Vec<&str> = here().map(|pin| pin.name.as_str()).collect();
                return Err(format!(
                    "`{name}` is not a pin of `{}` here; there is {}",
                    self.name,
                    known.join(", ")
                ));
            };
            if !pin.shape.fits(value) {
                return Err(format!(
                    "`{name}` must be {}, and exact: there are no wildcards",
                    pin.shape.words()
                ));
            }
        }
        if let Some(missing) = here().find(|pin| pin.required && !pins.contains_key(&pin.name)) {
            return Err(format!(
                "`{}` is missing: without it `{}` vouches for more than this agent",
                missing.name, self.name
            ));
        }
        let is_chosen = self.one_of.is_empty() || self.one_of.iter().any(|name| pins.contains_key(name));
        if place == Place::Agent && !is_chosen {
            return Err(format!("one of {} is missing", self.one_of.join(", ")));
        }
        Ok(())
    }

    /// Whether a token's claims are those of the workload that the pins describe, both the source's and the
    /// agent's.
    ///
    /// # Errors
    /// The first thing that is not so; a name of ours, never a value of the token.
    pub fn check_claims(&self, claims: &Claims, source: &Pins, agent: &Pins) -> Result<(), String> {
        // Held to it here as well: a registration from before the preset asked for more opens nothing.
        self.check_pins(Place::Source, source).and_then(|()| self.check_pins(Place::Agent, agent))?;
        let all: Pins =
            source.iter().chain(agent).map(|(name, value)| (name.clone(), value.clone())).collect();
        for pin in &self.pin {
            let (Some(pinned), Some(claim)) = (all.get(&pin.name), &pin.claim) else { continue };
            if claims.at(claim).and_then(Value::as_str) != Some(pinned) {
                return Err(format!("the token's {} is not the pinned one", pin.name));
            }
        }
        for rule in &self.reads {
            let text = claims.at(&rule.claim).and_then(Value::as_str).unwrap_or_default();
            if text.len() > 2048 || !fits(&filled(&rule.pattern, &all), text) {
                return Err(format!("the token's {} does not look as it must", rule.claim));
            }
        }
        for (one, other) in &self.same {
            if claims.at(one).is_none() || claims.at(one) != claims.at(other) {
                return Err(format!("the token's {one} and {other} differ"));
            }
        }
        for rule in &self.only {
            let stated = claims.at(&rule.claim);
            let must_be_there = rule.when.as_ref().is_some_and(|pin| all.contains_key(pin));
            if stated.map_or(must_be_there, |stated| *stated != rule.is) {
                return Err(format!("the token's {} is not what it must be", rule.claim));
            }
        }
        match self.refuse_claims.iter().find(|name| claims.has(name)) {
            Some(name) => Err(format!("a token with `{name}` is for something else")),
            None => Ok(()),
        }
    }
}

impl Shape {
    fn fits(self, text: &str) -> bool {
        let is_label = |label: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=63).contains(&label.len()) && label.bytes().all(plain)
        };
        let is_host = |host: &str| host.len() <= 253 && host.split('.').all(is_label);
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_plain = (1..=1024).contains(&text.len())
            && !text.contains(|c: char| matches!(c, '*' | '{') || c.is_control() || c.is_whitespace());
        is_plain
            && match self {
                Self::Text => true,
                Self::Digits => is_digits(text) && text.len() <= 30,
                Self::Account => is_digits(text) && text.len() == 12,
                Self::Uuid => fits_uuid(text),
                Self::Label => is_label(text),
                Self::Host => is_host(text),
                Self::Arn => text.split(':').count() >= 6 && text.starts_with("arn:"),
                Self::SpiffeId => text
                    .strip_prefix("spiffe://")
                    .and_then(|rest| rest.split_once('/'))
                    .is_some_and(|(domain, path)| {
                        let segment = |one: &str| !one.is_empty() && one != "." && one != "..";
                        is_host(domain) && path.split('/').all(segment)
                    }),
            }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Text => "a text without white space",
            Self::Digits => "a number",
            Self::Account => "twelve digits",
            Self::Uuid => "a UUID in lower case",
            Self::Label => "a DNS label",
            Self::Host => "a DNS name",
            Self::Arn => "an ARN",
            Self::SpiffeId => "a SPIFFE id with a path, such as spiffe://example.org/agents/mail",
        }
    }
}

fn fits_uuid(text: &str) -> bool {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || is_hex(b))
}

/// Puts pins into a pattern. A value that is not stated leaves the placeholder, which fits nothing; values
/// hold no `*`, so none becomes a pattern.
fn filled(pattern: &str, pins: &Pins) -> String {
    pins.iter().fold(pattern.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// Whether a text is of the pattern, from its first to its last character.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let (after, is_any) = after.strip_prefix('*').map_or((after, false), |after| (after, true));
    let may_pass = |c: char| is_any || !matches!(c, '/' | '.' | ':' | '@');
    let mut passed = 0;
    for c in rest.chars().take_while(|c| may_pass(*c)) {
        passed += c.len_utf8();
        if rest.get(passed..).is_some_and(|left| fits(after, left)) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_reads_and_every_preset_tells_workloads_apart() {
        let names: Vec<&str> = presets().iter().map(|preset| preset.name.as_str()).collect();
        assert_eq!(names.len(), 8, "{names:?}");
        for preset in presets() {
            assert!(preset.pin.iter().any(|pin| pin.required && pin.on == Place::Agent), "{}", preset.name);
            assert!(!preset.refuse_audiences.is_empty(), "{}", preset.name);
            assert!(preset.algorithms.iter().all(|name| Algorithm::named(name).is_some()), "{}", preset.name);
            assert!(preset.check_pins(Place::Agent, &Pins::new()).is_err(), "{}", preset.name);
            for name in &preset.one_of {
                assert!(preset.pin.iter().any(|pin| pin.name == *name), "{name}");
            }
        }
    }

    #[test]
    fn patterns_are_anchored_and_a_star_stays_within_a_name() {
        let pins = Pins::from([("tenant".to_owned(), "t-1".to_owned())]);
        let is = |pattern: &str, text: &str| fits(&filled(pattern, &pins), text);
        assert!(is("https://*.tokens.example", "https://a1.tokens.example"));
        assert!(!is("https://*.tokens.example", "https://evil.example/a.tokens.example"));
        assert!(!is("https://*.tokens.example", "https://a.b.tokens.example"));
        assert!(!is("https://*.tokens.example", "https://.tokens.example"));
        assert!(!is("https://*.tokens.example", "https://a1.tokens.example.evil"));
        assert!(is("https://id.example/{tenant}/", "https://id.example/t-1/"));
        assert!(!is("https://id.example/{tenant}/", "https://id.example/t-2/"));
        assert!(!is("https://id.example/{other}/", "https://id.example/t-1/"));
        assert!(is("arn:*:iam::1:role/**", "arn:aws:iam::1:role/path/Name"));
        assert!(!is("arn:*:iam::1:role/**", "arn:aws:iam::12:role/Name"));
        assert!(!is("spiffe://a.example/**", "spiffe://a.example/"));
    }

    #[test]
    fn values_have_the_shape_of_their_pin_and_hold_no_wildcards() {
        for (shape, good, bad) in [
            (Shape::Text, "refs/heads/main", "refs/heads/*"),
            (Shape::Digits, "123", "12a"),
            (Shape::Account, "123456789012", "12345678901"),
            (Shape::Uuid, "11111111-2222-4333-8444-555555555555", "11111111-2222-4333-8444-55555555555G"),
            (Shape::Label, "team-a", "team.a"),
            (Shape::Host, "a.example", "a..example"),
            (Shape::Arn, "arn:aws:iam::1:role/x", "role/x"),
            (Shape::SpiffeId, "spiffe://a.example/x/y", "spiffe://a.example/../y"),
            (Shape::SpiffeId, "spiffe://a.example/x", "spiffe://a.example/"),
        ] {
            assert!(shape.fits(good), "{good}");
            assert!(!shape.fits(bad), "{bad}");
            assert!(!shape.fits(""), "{shape:?}");
        }
    }
}
