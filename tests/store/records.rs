//! One record of every kind goes in and comes back.

use std::sync::Arc;

use serde_json::{Value, json};
use valetkey::model::agent::{Agent, PastChange};
use valetkey::model::audience::{Audience, OptOut};
use valetkey::model::audit_head::AuditHead;
use valetkey::model::connection::{Connection, GrantToken, StrayToken};
use valetkey::model::credential::{CredentialUse, TrustSource, UsedAssertion};
use valetkey::model::grant::Grant;
use valetkey::model::group::Group;
use valetkey::model::interaction::Interaction;
use valetkey::model::kinds::KINDS;
use valetkey::model::provider::{AppToken, Provider};
use valetkey::model::record::Record;
use valetkey::model::restored::Restored;
use valetkey::model::rotation::Rotation;
use valetkey::model::session::{Session, Transaction};
use valetkey::model::signing_key::SigningKey;
use valetkey::model::stop::Stops;
use valetkey::model::token::{DelegatedTokens, RevokedToken};
use valetkey::model::transmitter::{SpentEvent, Transmitter};
use valetkey::model::upgrade::Upgrades;
use valetkey::model::usage::Usage;
use valetkey::model::user::{AdminToken, LocalAdmin, SetupLink, User};
use valetkey::store::{Committed, MemoryBackend, Store, Tx};

use crate::vault;

const HEX: &str = "0123456789abcdef0123456789abcdef";

fn id(prefix: &str) -> String {
    format!("{prefix}_{HEX}")
}

/// What is done with one record of each kind.
pub trait EachKind {
    async fn one<R: Record>(&mut self, record: Value);
}

pub fn read<R: Record>(record: Value) -> R {
    serde_json::from_value(record).unwrap_or_else(|e| panic!("{}: {e}", R::KIND))
}

struct GoesInAndComesBack(Vec<&'static str>);

impl EachKind for GoesInAndComesBack {
    async fn one<R: Record>(&mut self, record: Value) {
        self.0.push(R::KIND);
        goes_in_and_comes_back::<R>(read(record)).await;
    }
}

#[tokio::test]
async fn a_record_of_every_kind_is_sealed_and_reads_back() {
    let mut done = GoesInAndComesBack(Vec::new());
    every_kind(&mut done).await;
    done.0.sort_unstable();
    done.0.dedup();
    let mut all: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    all.sort_unstable();
    assert_eq!(done.0, all, "this test has to know every kind");
}

async fn goes_in_and_comes_back<R: Record>(record: R) {
    let backend = Arc::new(MemoryBackend::new());
    let mut tx = Tx::new();
    tx.insert(&record);
    assert_eq!(
        Store::new(backend.clone(), vault()).commit(tx).await.unwrap(),
        Committed::Done,
        "{}",
        R::KIND
    );
    // A second store has nothing cached: it must unseal.
    let store = Store::new(backend, vault());
    let read = store.get::<R>(&record.key()).await.unwrap().unwrap();
    let text = |record: &R| serde_json::to_string(record).unwrap();
    assert_eq!(text(&read), text(&record), "{}", R::KIND);
    for (index, value) in record.indexes() {
        let found = store.find::<R>(index, &value).await.unwrap();
        assert!(found.iter().any(|found| found.key() == record.key()), "{} by {index}", R::KIND);
    }
    for (index, value) in record.unique() {
        let found = store.find_unique::<R>(index, &value).await.unwrap().unwrap();
        assert_eq!(found.key(), record.key(), "{} by {index}", R::KIND);
    }
}

/// One record of every kind; sealed values within them read `AQID`.
pub async fn every_kind(to: &mut impl EachKind) {
    let (user, agent, connection) = (id("usr"), id("agt"), id("con"));
    let (grant, interaction) = (id("gnt"), id("int"));
    let (provider, scopes, at) = ("some-provider", ["files.read", "mail.read"], 1_700_000_000_000i64);
    let digest = format!("{HEX}{HEX}");
    let token = json!({
        "token": "AQID", "scopes": scopes, "scopes_stated": true, "expires_at": at, "generation": 2,
    });
    to.one::<User>(json!({
        "id": user, "issuer": "https://issuer.example", "subject": "a zero \0 and a / slash",
        "email": "Ann@Example.com", "name": "安", "state": "active", "created_at": at, "last_sign_in": null,
    }))
    .await;
    to.one::<Agent>(json!({
        "id": agent, "kind": "personal", "name": "Helper", "purpose": "helps", "owner": user,
        "ceiling": {provider: scopes}, "default_scopes": {}, "subject_audiences": [],
        "secrets": [{"digest": digest, "created_at": at, "expires_at": null}],
        "state": "active", "created_at": at,
    }))
    .await;
    to.one::<User>(json!({
        "id": "usr_fedcba9876543210fedcba9876543210", "issuer": "https://issuer.example", "subject": "s", "email": null, "name": "Ann",
        "state": "disabled", "created_at": at, "last_sign_in": null,
        "lifecycle": {
            "signed_out_at": at, "farewell": at,
            "directory": {"user_name": "Ann@Example.com", "external_id": "00u1", "removed": true, "changed_at": at},
        },
    }))
    .await;
    to.one::<Transmitter>(json!({
        "id": id("trm"), "name": "Directory", "issuer": "https://idp.example", "audience": "https://v.example",
        "keys": {"url": "https://idp.example/keys"}, "subject_issuer": "https://idp.example", "created_at": at,
    }))
    .await;
    to.one::<Group>(json!({
        "id": id("grp"), "display_name": "Finance", "former_name": "Accounting", "external_id": "g1", "created_at": at,
        "changed_at": at,
    }))
    .await;
    to.one::<SpentEvent>(json!({"digest": digest, "until": at})).await;
    to.one::<PastChange>(json!({
        "agent": agent, "at": at, "by": "admin@example.com", "action": "agent.suspended",
        "changes": ["state: active → suspended"], "event": id("evt"),
    }))
    .await;
    to.one::<Connection>(json!({
        "id": connection, "user": user, "provider": provider,
        "account": {"company": "c", "subject": "s", "label": "l", "pins": {}},
        "state": {"state": "active"}, "is_default": true, "scopes": scopes, "generation": 2,
        "refresh_token": "AQID", "access": token, "refresh_expires_at": null, "consent_expires_at": null,
        "intent": null, "lease": null, "backoff": {"failures": 0, "not_before": null, "last_error": null},
        "created_at": at, "refreshed_at": at,
    }))
    .await;
    to.one::<GrantToken>(json!({
        "grant": grant, "connection": connection, "asked": scopes, "token": token,
    }))
    .await;
    to.one::<StrayToken>(json!({
        "connection": connection, "attempt": "a", "refresh_token": "AQID", "at": at,
    }))
    .await;
    to.one::<Grant>(json!({
        "id": grant, "user": user, "agent": agent, "connection": connection, "provider": provider,
        "scopes": scopes, "limits": [], "expires_at": at, "reason": "why", "task": null,
        "interaction": interaction, "state": {"state": "active"}, "created_at": at,
    }))
    .await;
    to.one::<Interaction>(json!({
        "id": interaction,
        "question": {
            "agent": agent, "user": user, "provider": provider, "connection": null, "scopes": scopes,
            "limits": [], "token": "gateway",
        },
        "auth_req_id": digest, "binding_message": null, "task": null, "state": {"state": "pending"},
        "created_at": at, "expires_at": at, "polled_at": null, "place": 0,
    }))
    .await;
    to.one::<Provider>(json!({
        "slug": provider, "template": "generic", "client_id": "client", "client_secret": "AQID",
        "company": {}, "enabled": true, "created_at": at, "generation": 1,
    }))
    .await;
    to.one::<AppToken>(json!({
        "provider": provider, "token": "AQID", "obtained_at": at, "expires_at": at, "generation": 1,
    }))
    .await;
    to.one::<Session>(json!({
        "digest": digest, "principal": {"who": "user", "user": user}, "created_at": at, "seen_at": at,
    }))
    .await;
    to.one::<Transaction>(json!({
        "state": digest, "browser": digest, "user": user, "provider": provider,
        "purpose": {"purpose": "connect", "interaction": interaction, "connection": null},
        "scopes": scopes, "verifier": "AQID", "nonce": null, "created_at": at,
    }))
    .await;
    let stop = json!({
        "id": id("stp"), "target": {"target": "agent", "id": agent}, "reason": "r", "at": at,
    });
    to.one::<Stops>(json!({"active": [stop]})).await;
    to.one::<LocalAdmin>(json!({
        "email": "admin@example.com", "password_hash": "$argon2id$", "role": "admin", "created_at": at,
    }))
    .await;
    to.one::<AdminToken>(json!({
        "id": id("tok"), "digest": digest, "name": "ci", "role": "auditor", "created_at": at,
        "expires_at": null,
    }))
    .await;
    to.one::<Usage>(json!({
        "grant": grant, "token": HEX, "ends_at": at, "spent": true,
        "counts": {"calls_per_day": {"since": at, "used": 3}},
    }))
    .await;
    to.one::<Restored>(json!({"taken_at": at, "restored_at": at})).await;
    to.one::<Upgrades>(json!({"unsettled_indexed": true, "members_indexed": true})).await;
    to.one::<SetupLink>(json!({"digest": digest, "expires_at": at})).await;
    to.one::<Audience>(json!({
        "id": id("aud"), "identifier": "https://people.example.com", "name": "People", "purpose": "p",
        "scopes": scopes, "claims": ["email"], "algorithm": "EdDSA", "token_life_s": 300,
        "admissions": [{"agents": [agent], "for": "everyone", "scopes": scopes}], "secret": digest,
        "state": "active", "created_at": at,
    }))
    .await;
    to.one::<AuditHead>(json!({"node": HEX, "size": 7, "note": "a head", "at": at})).await;
    to.one::<OptOut>(json!({"user": user, "audience": id("aud"), "at": at})).await;
    to.one::<TrustSource>(json!({
        "id": id("tru"), "name": "ca", "enabled": true, "created_at": at,
        "vouches": {"certificates": {"ca_pem": "pem"}},
    }))
    .await;
    to.one::<UsedAssertion>(json!({"digest": digest, "expires_at": at})).await;
    to.one::<CredentialUse>(json!({"agent": agent, "credential": "secret", "at": at})).await;
    to.one::<DelegatedTokens>(json!({"agent": agent, "user": user, "audience": id("aud"), "end_by": at}))
        .await;
    to.one::<RevokedToken>(json!({"token": HEX, "expires_at": at})).await;
    to.one::<SigningKey>(json!({
        "id": "kid", "algorithm": "EdDSA", "private": "AQID", "public": {}, "created_at": at,
        "signs_from": at, "replaced_at": null,
    }))
    .await;
    to.one::<Rotation>(json!({
        "to": 1, "began_at": at, "records": 0, "walked": 1, "resealed": 0, "cursor": null,
        "counted_zero_at": null,
    }))
    .await;
}
