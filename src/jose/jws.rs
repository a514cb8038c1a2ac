//! Compact signed tokens (RFC 7515, section 7.1) and their claims (RFC 7519).

use serde_json::{Map, Value};

use crate::jose::json::strict;
use crate::jose::jwk::{Algorithm, KeySet};
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;

/// A header is a few names.
const MAX_HEADER: usize = 4096;
/// Members with which a token would choose its own key, have it fetched, or be read in another way.
const REFUSED: [&str; 8] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "enc", "zip"];

/// Why a token is not believed. Goes into the log, not to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Longer than is read.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url with strict JSON objects in the first two.
    #[error("the token is not a well-formed signed token")]
    Malformed,
    /// `none`, an HMAC, or a name that is not known.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// It brings a key along, or says that it must be read in another way.
    #[error("the token's header has a member that is never accepted")]
    Header,
    /// A type for another purpose.
    #[error("the token's `typ` is one for another purpose")]
    Type,
    /// No key that fits its `kid` and algorithm.
    #[error("no registered key fits the token's `kid` and algorithm")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the signature does not fit the key")]
    Signature,
}

/// What a token's header says, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The algorithm that it claims; the key has the last word.
    pub algorithm: Algorithm,
    /// Which key it names.
    pub key: Option<String>,
    /// Its type.
    pub typ: Option<String>,
}

/// A token as it came: nothing in it is to be believed yet.
#[derive(Debug)]
pub struct Token<'a> {
    /// Its header.
    pub header: Header,
    claims: Map<String, Value>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it is too long, not well-formed, or its header is not accepted.
    pub fn parse(text: &'a str, longest: usize) -> Result<Self, Problem> {
        if text.len() > longest {
            return Err(Problem::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Problem::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Problem::Malformed)?;
        if payload.contains('.') || header.len() > MAX_HEADER {
            return Err(Problem::Malformed);
        }
        let object = |part: &str| match encode::from_base64url(part).and_then(|bytes| strict(&bytes).ok()) {
            Some(Value::Object(members)) => Ok(members),
            _ => Err(Problem::Malformed),
        };
        let header = read_header(&object(header)?)?;
        let claims = object(payload)?;
        let signature = encode::from_base64url(signature).ok_or(Problem::Malformed)?;
        Ok(Self { header, claims, signed: signed.as_bytes(), signature })
    }

    /// A claim that is a text, before anything is checked: good for finding out whose key is needed.
    pub fn unverified(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// Refuses types other than these; letters may be of either case. `None` among them: it may have none.
    ///
    /// # Errors
    /// When it has another one.
    pub fn require_type(&self, accepted: &[Option<&str>]) -> Result<(), Problem> {
        let stated = self.header.typ.as_deref();
        let fits = |accepted: &Option<&str>| match (stated, accepted) {
            (Some(stated), Some(accepted)) => stated.eq_ignore_ascii_case(accepted),
            (None, None) => true,
            _ => false,
        };
        if accepted.iter().any(fits) { Ok(()) } else { Err(Problem::Type) }
    }

    /// Its claims, if one of the keys has signed it. The algorithm is the key's own: the header only chooses
    /// among keys (RFC 8725, section 3.1).
    ///
    /// # Errors
    /// When no key fits, or the signature is not the key's.
    pub fn verified(&self, keys: &KeySet) -> Result<Claims, Problem> {
        let fitting = keys.fitting(self.header.key.as_deref(), self.header.algorithm);
        if fitting.is_empty() {
            return Err(Problem::UnknownKey);
        }
        if fitting.iter().any(|key| key.verifies(self.signed, &self.signature)) {
            Ok(Claims(Value::Object(self.claims.clone())))
        } else {
            Err(Problem::Signature)
        }
    }
}

fn read_header(members: &Map<String, Value>) -> Result<Header, Problem> {
    if REFUSED.iter().any(|name| members.contains_key(*name)) {
        return Err(Problem::Header);
    }
    let text = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Problem::Header),
    };
    let algorithm = text("alg")?.and_then(|name| Algorithm::named(&name)).ok_or(Problem::Algorithm)?;
    Ok(Header { algorithm, key: text("kid")?, typ: text("typ")? })
}

/// Claims that were signed by a key that was asked for.
#[derive(Clone, Debug)]
pub struct Claims(Value);

impl Claims {
    /// A claim by its JSON pointer (RFC 6901).
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    /// A claim of the first level that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Whether there is such a claim of the first level.
    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// A time (RFC 7519, section 2): `None` when it is absent.
    ///
    /// # Errors
    /// With the name, when it is anything but a number that a date can be.
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, &'static str> {
        // Fractions are allowed, and some libraries write them.
        const LATEST: f64 = 253_402_300_799.0;
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => {
                let seconds =
                    value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds)).ok_or(name)?;
                #[expect(clippy::cast_possible_truncation, reason = "it lies within a date's range")]
                let millis = (seconds * 1000.0) as i64;
                Ok(Some(Timestamp::from_millis(millis)))
            }
        }
    }

    /// The audience, if it is one only: a text, or a list of one text. With two, whoever is the other could
    /// use the token here, and we there.
    pub fn sole_audience(&self) -> Option<&str> {
        match self.0.get("aud")? {
            Value::String(one) => Some(one),
            Value::Array(list) => match list.as_slice() {
                [Value::String(one)] => Some(one),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(header: Value, claims: &str) -> String {
        let part = |text: &str| encode::base64url(text.as_bytes());
        format!("{}.{}.AAAA", part(&header.to_string()), part(claims))
    }

    #[test]
    fn what_a_token_brings_along_is_never_believed() {
        let parse = |header: Value| Token::parse(&token(header, "{}"), 8192).map(|token| token.header);
        assert!(parse(json!({"alg": "RS256", "kid": "../../etc/passwd", "x5t": "AA"})).is_ok());
        for alg in ["none", "None", "HS256", "hs256", "rs256", "", "RSA-OAEP"] {
            assert_eq!(parse(json!({"alg": alg})), Err(Problem::Algorithm), "{alg}");
        }
        assert_eq!(parse(json!({})), Err(Problem::Algorithm));
        for name in REFUSED {
            assert_eq!(parse(json!({"alg": "RS256", (name): "x"})), Err(Problem::Header), "{name}");
        }
        assert_eq!(parse(json!({"alg": "RS256", "kid": 5})), Err(Problem::Header));
    }

    #[test]
    fn a_token_has_three_parts_of_strict_json() {
        let header = json!({"alg": "ES256"});
        let fine = token(header.clone(), r#"{"iss":"a"}"#);
        assert_eq!(Token::parse(&fine, 8192).unwrap().unverified("iss"), Some("a"));
        assert_eq!(Token::parse(&fine, 10).unwrap_err(), Problem::TooLong);
        for broken in [
            token(header.clone(), r#"{"iss":"a","iss":"b"}"#),
            token(header.clone(), "[]"),
            token(json!([]), "{}"),
            format!("{fine}.AAAA"),
            format!("{fine}="),
            fine.replacen('.', "..", 1),
            "a.b".to_owned(),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(Token::parse(&broken, 8192).unwrap_err(), Problem::Malformed, "{broken}");
        }
    }

    #[test]
    fn times_are_numbers_within_reason_and_audiences_are_one() {
        let claims = |value: Value| Claims(value);
        let exp = |value: Value| claims(json!({"exp": value})).time("exp");
        assert_eq!(exp(json!(1_700_000_000)), Ok(Some(Timestamp::from_secs(1_700_000_000))));
        assert_eq!(exp(json!(1_700_000_000.5)), Ok(Some(Timestamp::from_millis(1_700_000_000_500))));
        for odd in [json!("1700000000"), json!(1e30), json!(-1), json!(null), json!([1])] {
            assert_eq!(exp(odd.clone()), Err("exp"), "{odd}");
        }
        assert_eq!(claims(json!({})).time("exp"), Ok(None));
        let sole = |aud: Value| claims(json!({"aud": aud})).sole_audience().map(str::to_owned);
        assert_eq!(sole(json!("a")), Some("a".to_owned()));
        assert_eq!(sole(json!(["a"])), Some("a".to_owned()));
        for odd in [json!(["a", "a"]), json!([]), json!([5]), json!(null), json!({"a": 1})] {
            assert_eq!(sole(odd.clone()), None, "{odd}");
        }
    }

    #[test]
    fn types_are_compared_without_regard_to_case() {
        let typed = |typ: &str| token(json!({"alg": "ES256", "typ": typ}), "{}");
        let (jwt, other, bare) = (typed("jwt"), typed("at+jwt"), token(json!({"alg": "ES256"}), "{}"));
        let check = |text: &str| Token::parse(text, 8192).unwrap().require_type(&[None, Some("JWT")]);
        assert_eq!((check(&jwt), check(&bare)), (Ok(()), Ok(())));
        assert_eq!(check(&other), Err(Problem::Type));
    }
}
