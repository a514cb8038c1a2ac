//! How an agent may prove who it is beside a client secret, and whom we trust to vouch for workloads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, TrustSourceId};
use crate::model::record::Record;

/// Ways to sign in for which the agent keeps no secret that we know. Nothing of it is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignIn {
    /// Keys for `private_key_jwt` (RFC 7523).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<ClientKeys>,
    /// Workloads whose platform vouches for them: any of them is this agent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workload>,
    /// Client certificates (RFC 8705).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
}

impl SignIn {
    /// Whether there is no such way.
    pub fn is_empty(&self) -> bool {
        self.keys.is_none() && self.workloads.is_empty() && self.certificates.is_none()
    }

    /// Whether it stands on that trust source.
    pub fn relies_on(&self, source: &TrustSourceId) -> bool {
        let authority = match &self.certificates {
            Some(Certificates::Issued { authority, .. }) => Some(authority),
            Some(Certificates::SelfSigned { .. }) | None => None,
        };
        authority == Some(source) || self.workloads.iter().any(|workload| workload.trust_source == *source)
    }
}

/// Where an agent's public keys are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientKeys {
    /// In the registration: a JWK set (RFC 7517).
    #[serde(rename = "jwks")]
    Inline(Value),
    /// At an https URL that the agent's people serve.
    #[serde(rename = "jwks_uri")]
    Remote(String),
}

/// A workload: what its platform's tokens must say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Who vouches.
    pub trust_source: TrustSourceId,
    /// Exact values by the names of the preset's pins.
    pub pins: BTreeMap<String, String>,
}

/// Which client certificates are an agent's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Certificates {
    /// Certificates whoever made them, by the SHA-256 of their DER form in base64url, as `x5t#S256` has it
    /// (`self_signed_tls_client_auth`).
    SelfSigned {
        /// At most a few: one, and its successor.
        thumbprints: Vec<String>,
    },
    /// Certificates of a private authority with one exact name (`tls_client_auth`).
    Issued {
        /// The trust source that holds the authority.
        authority: TrustSourceId,
        /// The name.
        name: CertificateName,
    },
}

/// The one name that a certificate must have (RFC 8705, section 2.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateName {
    /// The whole subject (RFC 4514).
    SubjectDn(String),
    /// A DNS name among the subject's alternative names.
    SanDns(String),
    /// A URI, such as a SPIFFE id.
    SanUri(String),
    /// An address.
    SanIp(std::net::IpAddr),
    /// An e-mail address.
    SanEmail(String),
}

/// Whom we trust to vouch for agents: registered by admins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrustSource {
    /// Identifier.
    pub id: TrustSourceId,
    /// Name to show.
    pub name: String,
    /// What it vouches with.
    pub vouches: Vouches,
    /// Whether it is believed.
    pub enabled: bool,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// What a trust source vouches with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vouches {
    /// Tokens of a platform.
    Tokens(TokenIssuer),
    /// Certificates of a private authority.
    Certificates {
        /// The authority's own certificates, PEM.
        ca_pem: String,
    },
}

/// A platform's token issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenIssuer {
    /// The name of the preset that says which claims count.
    pub preset: String,
    /// `iss`, character by character. `None` only where the preset's tokens need not have one.
    pub issuer: Option<String>,
    /// Where its keys come from.
    pub keys: IssuerKeys,
    /// The one `aud` that its tokens must have.
    pub audience: String,
    /// Pins that hold for every token of this source, such as the tenant.
    pub pins: BTreeMap<String, String>,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKeys {
    /// The issuer's own metadata name the place (OpenID Connect Discovery 1.0).
    Discovery,
    /// A URL.
    #[serde(rename = "jwks_uri")]
    Url(String),
    /// Uploaded: for issuers that we cannot reach.
    #[serde(rename = "jwks")]
    Uploaded(Value),
}

impl Record for TrustSource {
    const KIND: &'static str = "trust_source";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
}

/// A client assertion that was used: never again (RFC 7523, section 3, point 7). Kept until it has expired.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UsedAssertion {
    /// Digest of the agent's id and the assertion's `jti`.
    pub digest: String,
    /// When the assertion expires.
    pub expires_at: Timestamp,
}

impl UsedAssertion {
    /// Seconds that one stretch of keys covers: longer than an assertion can live, so that a name which is
    /// used twice lies in the same stretch or in the next one.
    pub const STRETCH_S: i64 = 1024;

    /// The record's key: in the order of expiry, so that sweeping reads no more than what has lapsed.
    pub fn key_of(digest: &str, stretch: i64) -> String {
        format!("{:012}/{digest}", stretch.max(0))
    }

    /// The stretch in which something expires.
    pub fn stretch_of(expires_at: Timestamp) -> i64 {
        expires_at.secs().div_euclid(Self::STRETCH_S)
    }

    /// The stretch that a key lies in.
    pub fn stretch_of_key(key: &str) -> Option<i64> {
        key.split('/').next()?.parse().ok()
    }
}

impl Record for UsedAssertion {
    const KIND: &'static str = "used_assertion";

    fn key(&self) -> String {
        Self::key_of(&self.digest, Self::stretch_of(self.expires_at))
    }
}

/// When an agent last proved itself in some way. Coarse: written at most once an hour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CredentialUse {
    /// Whose.
    pub agent: AgentId,
    /// Which: a secret's short name, or a method's.
    pub credential: String,
    /// When.
    pub at: Timestamp,
}

impl CredentialUse {
    /// The record's key.
    pub fn key_of(agent: &AgentId, credential: &str) -> String {
        format!("{agent}/{credential}")
    }
}

impl Record for CredentialUse {
    const KIND: &'static str = "credential_use";

    fn key(&self) -> String {
        Self::key_of(&self.agent, &self.credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_sign_in_are_written_as_people_state_them() {
        let stated = serde_json::json!({
            "keys": {"jwks_uri": "https://agents.example.com/jwks.json"},
            "workloads": [{"trust_source": "tru_00000000000000000000000000000000",
                "pins": {"namespace": "agents", "service_account": "mail"}}],
            "certificates": {"issued": {"authority": "tru_00000000000000000000000000000001",
                "name": {"san_uri": "spiffe://example.org/mail"}}},
        });
        let read: SignIn = serde_json::from_value(stated.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), stated);
        assert!(read.relies_on(&"tru_00000000000000000000000000000000".parse().unwrap()));
        assert!(read.relies_on(&"tru_00000000000000000000000000000001".parse().unwrap()));
        assert!(!read.relies_on(&"tru_00000000000000000000000000000002".parse().unwrap()));
        assert!(serde_json::from_value::<SignIn>(serde_json::json!({"surprise": 1})).is_err());
        assert!(SignIn::default().is_empty() && !read.is_empty());
    }

    #[test]
    fn used_assertions_lie_in_the_order_in_which_they_expire() {
        let used = |secs| UsedAssertion { digest: "d".to_owned(), expires_at: Timestamp::from_secs(secs) };
        assert!(used(1_700_000_000).key() < used(1_700_002_000).key());
        let stretch = UsedAssertion::stretch_of(Timestamp::from_secs(1_700_000_000));
        assert_eq!(UsedAssertion::stretch_of_key(&used(1_700_000_000).key()), Some(stretch));
    }
}
