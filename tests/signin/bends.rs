//! What can be wrong with any signed token.

use serde_json::{Value, json};

use crate::draft::{Draft, Signing, strangers};
use crate::stage::Row;

fn add(claims: &mut Value, name: &str, seconds: i64) {
    claims[name] = json!(claims[name].as_i64().unwrap() + seconds);
}

/// Signature, key and algorithm.
pub const OF_KEYS: &[Row] = &[
    ("alg none", |t| (t.header["alg"], t.signing) = (json!("none"), Signing::Empty), "algorithm"),
    ("alg None", |t| (t.header["alg"], t.signing) = (json!("None"), Signing::Empty), "algorithm"),
    ("alg nOnE, signed", |t| t.header["alg"] = json!("nOnE"), "algorithm"),
    ("no alg", |t| drop(t.header.as_object_mut().unwrap().remove("alg")), "algorithm"),
    (
        "HS256 with the public key",
        |t| (t.header["alg"], t.signing) = (json!("HS256"), Signing::Hmac),
        "algorithm",
    ),
    ("HMAC under the right alg", |t| t.signing = Signing::Hmac, "signature"),
    ("another family's alg", |t| t.header["alg"] = json!(other_family(t)), ""),
    ("the same family, another hash", |t| t.header["alg"] = json!(other_hash(t)), ""),
    ("lower-case alg", |t| t.header["alg"] = json!(t.signer.alg.to_lowercase()), "algorithm"),
    ("no signature", |t| t.signing = Signing::Empty, "signature"),
    ("a stranger's key under the right kid", |t| t.signing = Signing::Stranger, "signature"),
    ("a signature over other claims", |t| t.signing = Signing::OtherClaims, "signature"),
    ("an unknown kid", |t| t.header["kid"] = json!("k9"), "kid"),
    ("a path for a kid", |t| t.header["kid"] = json!("../../../../dev/null"), "kid"),
    ("a query for a kid", |t| t.header["kid"] = json!("k1' OR '1'='1"), "kid"),
    ("a kid that is no text", |t| t.header["kid"] = json!(["k1"]), "header"),
    ("an empty kid", |t| t.header["kid"] = json!(""), "kid"),
    (
        "the key in the header",
        |t| {
            t.header["jwk"] = strangers(t.signer.alg).jwk();
            t.signing = Signing::Stranger;
        },
        "header",
    ),
    (
        "a URL for the key set",
        |t| t.header["jku"] = json!("https://mallory.elsewhere.example/jwks"),
        "header",
    ),
    (
        "a URL for the certificate",
        |t| t.header["x5u"] = json!("https://mallory.elsewhere.example/x"),
        "header",
    ),
    ("a certificate chain", |t| t.header["x5c"] = json!(["AAAA"]), "header"),
    ("an extension that must be understood", |t| t.header["crit"] = json!(["exp"]), "header"),
    ("unencoded claims", |t| t.header["b64"] = json!(false), "header"),
    ("compressed", |t| t.header["zip"] = json!("DEF"), "header"),
    ("another type", |t| t.header["typ"] = json!("at+jwt"), "typ"),
    ("a logout token", |t| t.header["typ"] = json!("logout+jwt"), "typ"),
    ("five parts", |t| t.tail = ".AAAA.AAAA", "well-formed"),
    ("padded", |t| t.tail = "=", "well-formed"),
];

/// Claims that every token has.
pub const OF_CLAIMS: &[Row] = &[
    ("expired", |t| (add(&mut t.claims, "exp", -4000), add(&mut t.claims, "iat", -4000)).0, "expired"),
    ("far in the future", |t| add(&mut t.claims, "exp", 10 * 365 * 86_400), ""),
    ("two days in the future", |t| add(&mut t.claims, "exp", 2 * 86_400), ""),
    ("no exp", |t| drop(t.claims.as_object_mut().unwrap().remove("exp")), "exp"),
    ("exp as a text", |t| t.claims["exp"] = json!(t.claims["exp"].to_string()), "exp"),
    ("exp beyond all dates", |t| t.claims["exp"] = json!(1e30), "exp"),
    ("exp before all dates", |t| t.claims["exp"] = json!(-1), "exp"),
    ("not yet valid", |t| t.claims["nbf"] = json!(t.claims["iat"].as_i64().unwrap() + 120), "future"),
    ("nbf as a text", |t| t.claims["nbf"] = json!("now"), "nbf"),
    ("issued in the future", |t| add(&mut t.claims, "iat", 120), "future"),
    ("another audience", |t| t.claims["aud"] = json!("https://elsewhere.example"), "aud"),
    ("no audience", |t| drop(t.claims.as_object_mut().unwrap().remove("aud")), "aud"),
    ("no audience in the list", |t| t.claims["aud"] = json!([]), "aud"),
    ("two audiences", |t| t.claims["aud"] = json!([t.claims["aud"], "https://elsewhere.example"]), "aud"),
    (
        "ours among two, last",
        |t| t.claims["aud"] = json!(["https://elsewhere.example", t.claims["aud"]]),
        "aud",
    ),
    (
        "an audience with a slash more",
        |t| t.claims["aud"] = json!(format!("{}/", text(&t.claims["aud"]))),
        "aud",
    ),
    ("an audience in capitals", |t| t.claims["aud"] = json!(text(&t.claims["aud"]).to_uppercase()), "aud"),
    ("oversized", |t| t.claims["filler"] = json!("x".repeat(24 * 1024)), "too long"),
    (
        "a claim given twice",
        |t| t.raw_claims = Some(t.claims.to_string().replacen('{', "{\"sub\":\"mallory\",", 1)),
        "well-formed",
    ),
    (
        "the audience given twice",
        |t| t.raw_claims = Some(t.claims.to_string().replacen('{', "{\"aud\":\"x\",", 1)),
        "well-formed",
    ),
    ("claims that are a list", |t| t.raw_claims = Some(format!("[{}]", t.claims)), "well-formed"),
    ("claims that are no JSON", |t| t.raw_claims = Some("iss=a&sub=b".to_owned()), "well-formed"),
];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| value[0].as_str().unwrap())
}

fn other_family(draft: &Draft<'_>) -> &'static str {
    if draft.signer.alg.starts_with("ES") { "RS256" } else { "ES256" }
}

fn other_hash(draft: &Draft<'_>) -> &'static str {
    match draft.signer.alg {
        "RS256" => "RS512",
        "PS256" => "PS512",
        "ES256" => "ES384",
        "ES384" => "ES512",
        _ => "Ed448",
    }
}
