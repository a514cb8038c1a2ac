//! Public keys (RFC 7517, 7518, 8037).

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use serde_json::Value;

use crate::jose::json::strict;
use crate::kernel::encode;

/// The most keys that are read of one set.
pub const MAX_KEYS: usize = 64;
/// Key ids are names, not documents.
const MAX_KID: usize = 256;

/// A signature algorithm (RFC 7518, 8037, 9864). There is no member for HMAC or `none`: neither can be
/// asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// Its JOSE name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Reads a JOSE name, letter by letter. `Ed25519` is the later name of the same thing (RFC 9864).
    pub fn named(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    const fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::Es512 | Self::EdDsa => None,
        }
    }
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// No strict JSON, or no key set.
    #[error("not a JWK set: write {{\"keys\": [...]}} with no member given twice")]
    NotASet,
    /// Nothing in it can verify a signature.
    #[error("the set holds no key that can verify a signature")]
    Empty,
    /// More than are read.
    #[error("the set holds more than {MAX_KEYS} keys")]
    TooMany,
    /// A private or symmetric key was shown: it is not one any more.
    #[error("the set holds a private or a shared key: make a new key and give its public part alone")]
    Private,
    /// Its type, curve or size.
    #[error("a key is neither RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, nor OKP on Ed25519")]
    Type,
    /// Its algorithm does not fit its type.
    #[error("a key's `alg` does not fit its type")]
    Algorithm,
    /// It is for something else.
    #[error("a key is not for verifying signatures (`use`, `key_ops`)")]
    Use,
    /// Its id.
    #[error("a key's `kid` is empty or longer than {MAX_KID} bytes")]
    Id,
}

/// A public key with the one algorithm that it verifies.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    public: ParsedPublicKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {})", self.id, self.algorithm.as_str())
    }
}

impl Key {
    /// Reads one key. A key that names no algorithm has the one of its type; RSA keys then have RS256.
    ///
    /// # Errors
    /// See [`KeyProblem`].
    pub fn parse(jwk: &Value) -> Result<Self, KeyProblem> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let kty = text("kty").ok_or(KeyProblem::Type)?;
        // `oct`: a shared secret would let whoever knows a public key forge tokens (RFC 8725, section 2.1).
        if kty == "oct" || jwk.get("d").is_some() || jwk.get("k").is_some() {
            return Err(KeyProblem::Private);
        }
        if !verifies(jwk) {
            return Err(KeyProblem::Use);
        }
        let id = text("kid").map(str::to_owned);
        if jwk.get("kid").is_some() && id.as_ref().is_none_or(|id| id.is_empty() || id.len() > MAX_KID) {
            return Err(KeyProblem::Id);
        }
        let by_type = match (kty, text("crv")) {
            ("RSA", _) => Algorithm::Rs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("EC", Some("P-384")) => Algorithm::Es384,
            ("EC", Some("P-521")) => Algorithm::Es512,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            _ => return Err(KeyProblem::Type),
        };
        let algorithm = match jwk.get("alg") {
            None => by_type,
            Some(stated) => {
                let stated = stated.as_str().and_then(Algorithm::named).ok_or(KeyProblem::Algorithm)?;
                let fits = stated == by_type || (kty == "RSA" && stated.rsa().is_some());
                fits.then_some(stated).ok_or(KeyProblem::Algorithm)?
            }
        };
        let public = public(jwk, algorithm).ok_or(KeyProblem::Type)?;
        Ok(Self { id, algorithm, public })
    }

    /// Its id.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The algorithm that it verifies, and the only one.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the signature is this key's.
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(signed, signature).is_ok()
    }
}

/// Whether a key says that it verifies signatures, or nothing about it. `jwt-svid` is SPIFFE's word for it.
fn verifies(jwk: &Value) -> bool {
    let usage = jwk.get("use").is_none_or(|usage| matches!(usage.as_str(), Some("sig" | "jwt-svid")));
    let operations = jwk.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some("verify")))
    });
    usage && operations
}

fn public(jwk: &Value, algorithm: Algorithm) -> Option<ParsedPublicKey> {
    let bytes = |name: &str| jwk.get(name).and_then(Value::as_str).and_then(encode::from_base64url);
    if let Some(parameters) = algorithm.rsa() {
        let (n, e) = (bytes("n")?, bytes("e")?);
        // Smaller exponents have been the way into more than one verifier; nobody makes them any more.
        if e.as_slice() < [1, 0, 1].as_slice() || e.len() < 3 || e.len() > 4 {
            return None;
        }
        // Each call checks the size as well; a bad key should be refused when it is registered.
        if !(256..=1024).contains(&n.len()) {
            return None;
        }
        return RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok();
    }
    let (kind, half): (&'static dyn VerificationAlgorithm, usize) = match algorithm {
        Algorithm::Es256 => (&signature::ECDSA_P256_SHA256_FIXED, 32),
        Algorithm::Es384 => (&signature::ECDSA_P384_SHA384_FIXED, 48),
        Algorithm::Es512 => (&signature::ECDSA_P521_SHA512_FIXED, 66),
        _ => {
            let x = bytes("x").filter(|x| x.len() == 32 && !is_small_order(x))?;
            return ParsedPublicKey::new(&signature::ED25519, x).ok();
        }
    };
    let fits = |coordinate: &Vec<u8>| coordinate.len() == half;
    let (x, y) = (bytes("x").filter(fits)?, bytes("y").filter(fits)?);
    // An uncompressed point; one that is not on the curve is refused by the library.
    ParsedPublicKey::new(kind, [vec![4], x, y].concat()).ok()
}

/// Points under which one signature fits every message. There are eight of them, some with two encodings;
/// all but two have these beginnings or are all zeros or all ones but for the ends.
fn is_small_order(x: &[u8]) -> bool {
    const HALVES: [[u8; 8]; 2] =
        [[0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0], [0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f]];
    let (Some((first, rest)), Some(start)) = (x.split_first(), x.get(..8)) else { return true };
    let Some((last, middle)) = rest.split_last() else { return true };
    let is_low = *first <= 1 && middle.iter().all(|byte| *byte == 0) && last & 0x7f == 0;
    let is_high = *first >= 0xec && middle.iter().all(|byte| *byte == 0xff) && last | 0x80 == 0xff;
    is_low || is_high || HALVES.iter().any(|half| half == start)
}

/// The public keys of one party.
#[derive(Clone, Debug)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// A set that is registered: every key in it must be usable, so that mistakes are told at once.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn registered(set: &Value) -> Result<Self, KeyProblem> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyProblem::NotASet)?;
        if keys.len() > MAX_KEYS {
            return Err(KeyProblem::TooMany);
        }
        let keys: Vec<Key> = keys.iter().map(Key::parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyProblem::Empty) } else { Ok(Self(keys)) }
    }

    /// A set that somebody publishes: what cannot be used is passed over.
    ///
    /// # Errors
    /// When it is no key set, or nothing in it can be used.
    pub fn published(body: &[u8]) -> Result<Self, KeyProblem> {
        Self::usable(&strict(body).map_err(|_| KeyProblem::NotASet)?)
    }

    /// The keys of a set that can be used.
    ///
    /// # Errors
    /// When it is no key set, or nothing in it can be used.
    pub fn usable(set: &Value) -> Result<Self, KeyProblem> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyProblem::NotASet)?;
        let keys: Vec<Key> = keys.iter().filter_map(|jwk| Key::parse(jwk).ok()).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeyProblem::Empty) } else { Ok(Self(keys)) }
    }

    /// The keys that a token may be signed with, going by its header: those with its `kid`. A token without
    /// one has a key only where there is one key of its algorithm: keys are never tried one by one.
    pub fn fitting<'a>(&'a self, id: Option<&str>, algorithm: Algorithm) -> Vec<&'a Key> {
        let of_algorithm = self.0.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => of_algorithm.filter(|key| key.id() == Some(id)).collect(),
            None => Some(of_algorithm.collect::<Vec<_>>()).filter(|keys| keys.len() == 1).unwrap_or_default(),
        }
    }

    /// Whether a token can name each of them: one alone needs no id.
    pub fn has_distinct_ids(&self) -> bool {
        let ids: std::collections::BTreeSet<Option<&str>> = self.0.iter().map(Key::id).collect();
        self.0.len() == 1 || (ids.len() == self.0.len() && !ids.contains(&None))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The SHA-256 thumbprint of a public key in base64url (RFC 7638); `None` when it is no usable key.
pub fn thumbprint(jwk: &Value) -> Option<String> {
    Key::parse(jwk).ok()?;
    let names: &[&str] = match jwk.get("kty")?.as_str()? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        _ => &["crv", "kty", "x"],
    };
    let mut required = serde_json::Map::new();
    for name in names {
        required.insert((*name).to_owned(), jwk.get(*name)?.clone());
    }
    // Maps are written in the order of their names, without white space, as the RFC wants it.
    let text = Value::Object(required).to_string();
    Some(encode::base64url(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ed25519() -> Value {
        // RFC 8037, appendix A.2.
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        // RFC 8037, appendix A.3.
        assert_eq!(thumbprint(&ed25519()).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // RFC 7638, section 3.1.
        let rsa = json!({"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29", "n":
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
        assert_eq!(thumbprint(&rsa).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn only_public_signature_keys_of_known_strength_are_keys() {
        let bent = |name: &str, value: Value| {
            let mut key = ed25519();
            key[name] = value;
            Key::parse(&key).map(|_| ())
        };
        assert_eq!(bent("kid", json!("a")), Ok(()));
        assert_eq!(bent("alg", json!("Ed25519")), Ok(()));
        assert_eq!(bent("use", json!("sig")), Ok(()));
        assert_eq!(bent("d", json!("AA")), Err(KeyProblem::Private));
        assert_eq!(bent("kty", json!("oct")), Err(KeyProblem::Private));
        assert_eq!(bent("use", json!("enc")), Err(KeyProblem::Use));
        assert_eq!(bent("key_ops", json!(["sign"])), Err(KeyProblem::Use));
        assert_eq!(bent("alg", json!("HS256")), Err(KeyProblem::Algorithm));
        assert_eq!(bent("alg", json!("ES256")), Err(KeyProblem::Algorithm));
        assert_eq!(bent("alg", json!(5)), Err(KeyProblem::Algorithm));
        assert_eq!(bent("crv", json!("Ed448")), Err(KeyProblem::Type));
        assert_eq!(bent("x", json!("AAAA")), Err(KeyProblem::Type));
        assert_eq!(bent("kid", json!("")), Err(KeyProblem::Id));
        assert_eq!(bent("kid", json!(1)), Err(KeyProblem::Id));
        // The neutral element, and a point of order eight.
        let neutral = encode::base64url(&[&[1][..], &[0; 31]].concat());
        assert_eq!(bent("x", json!(neutral)), Err(KeyProblem::Type));
        let eight =
            encode::from_hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a").unwrap();
        assert_eq!(bent("x", json!(encode::base64url(&eight))), Err(KeyProblem::Type));
        let rsa = |bytes: usize, e: &str| {
            Key::parse(&json!({"kty": "RSA", "n": encode::base64url(&vec![0xff; bytes]), "e": e})).is_ok()
        };
        assert!(rsa(256, "AQAB"));
        assert!(!rsa(128, "AQAB") && !rsa(2048, "AQAB") && !rsa(256, "AQ") && !rsa(256, "Aw"));
        let off_curve = json!({"kty": "EC", "crv": "P-256",
            "x": encode::base64url(&[1; 32]), "y": encode::base64url(&[2; 32])});
        assert_eq!(Key::parse(&off_curve).map(|_| ()), Err(KeyProblem::Type));
    }

    #[test]
    fn a_key_is_found_by_its_id_and_without_one_only_when_there_is_no_choice() {
        let named = |kid: &str| {
            let mut key = ed25519();
            key["kid"] = json!(kid);
            key
        };
        let one = KeySet::registered(&json!({"keys": [named("a")]})).unwrap();
        let two = KeySet::registered(&json!({"keys": [named("a"), named("b")]})).unwrap();
        assert_eq!(one.fitting(None, Algorithm::EdDsa).len(), 1);
        assert_eq!(two.fitting(None, Algorithm::EdDsa).len(), 0);
        assert_eq!(two.fitting(Some("b"), Algorithm::EdDsa).len(), 1);
        assert_eq!(two.fitting(Some("b"), Algorithm::Rs256).len(), 0);
        assert_eq!(two.fitting(Some("c"), Algorithm::EdDsa).len(), 0);
    }

    #[test]
    fn published_sets_may_hold_what_is_not_ours_and_registered_ones_may_not() {
        let mixed = json!({"keys": [ed25519(), {"kty": "oct", "k": "AA"}, 5]});
        assert_eq!(KeySet::published(mixed.to_string().as_bytes()).unwrap().len(), 1);
        assert_eq!(KeySet::registered(&mixed).unwrap_err(), KeyProblem::Private);
        assert_eq!(KeySet::registered(&json!({"keys": []})).unwrap_err(), KeyProblem::Empty);
        assert_eq!(KeySet::registered(&json!([])).unwrap_err(), KeyProblem::NotASet);
        let many = json!({"keys": vec![ed25519(); MAX_KEYS + 1]});
        assert_eq!(KeySet::registered(&many).unwrap_err(), KeyProblem::TooMany);
        for body in ["", "{}", "<html>", r#"{"keys":[],"keys":[]}"#] {
            assert!(KeySet::published(body.as_bytes()).is_err(), "{body}");
        }
    }
}
