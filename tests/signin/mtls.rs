//! Client certificates (RFC 8705): over our own TLS, and forwarded by a listed proxy.

use rcgen::{BasicConstraints, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::{Value, json};
use valetkey::agents::{Attempt, Proof, ShownCertificate};

use crate::app::TestApp;
use crate::browser::encoded;
use crate::certificates::{
    Held, Secured, authority, behind_a_proxy, by_thumbprint, forwarded, issued, of_agent, of_authority, pem,
    self_signed, thumbprint,
};

#[actix_web::test]
async fn a_self_signed_certificate_is_known_by_its_thumbprint() {
    let app = TestApp::start().await;
    let secured = Secured::start(&app).await;
    let held = self_signed(&of_agent());
    let agent = app.agent_with(&by_thumbprint(&thumbprint(&held))).await;
    assert_eq!(secured.status(&agent, Some(&held)).await, Some(200));

    // As `openssl x509 -fingerprint -sha256` prints it.
    let bytes = valetkey::kernel::encode::from_base64url(&thumbprint(&held)).unwrap();
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let other = app.agent_with(&by_thumbprint(&hex.join(":"))).await;
    assert_eq!(secured.status(&other, Some(&held)).await, Some(200));

    let lookalike = self_signed(&of_agent());
    let stolen = Held { chain: held.chain.clone(), key: lookalike.key.clone() };
    let (bare, _) = app.new_agent().await;
    assert_eq!(
        secured.status(&agent, Some(&lookalike)).await,
        Some(401),
        "another certificate, the same names"
    );
    assert_eq!(secured.status(&agent, None).await, Some(401), "no certificate");
    assert_eq!(secured.status(&bare, Some(&held)).await, Some(401), "another agent's");
    assert_eq!(
        secured.status("agt_00000000000000000000000000000000", Some(&held)).await,
        Some(401),
        "nobody"
    );
    assert_eq!(secured.status(&agent, Some(&stolen)).await, None, "without its key there is no connection");

    let mut expired = of_agent();
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let expired = self_signed(&expired);
    let agent = app.agent_with(&by_thumbprint(&thumbprint(&expired))).await;
    assert_eq!(secured.status(&agent, Some(&expired)).await, Some(401), "expired");
    assert!(app.last_reason(&agent).await.contains("expired"));
    app.stops().await;
}

#[actix_web::test]
async fn a_certificate_of_an_authority_is_known_by_one_exact_name() {
    let app = TestApp::start().await;
    let secured = Secured::start(&app).await;
    let (ours, theirs) = (authority("Agents CA"), authority("Agents CA"));
    let source = app.trusts(&json!({"name": "agents", "ca_pem": ours.pem()})).await;
    let ways = |name: Value| json!({"certificates": {"issued": {"authority": source, "name": name}}});
    let held = issued(&ours, &of_agent());
    for name in [
        json!({"subject_dn": "CN=mail,O=Example"}),
        json!({"subject_dn": "CN=mail, O=Example"}),
        json!({"san_dns": "mail.agents.example.com"}),
        json!({"san_uri": "spiffe://example.org/agents/mail"}),
        json!({"san_email": "mail@example.com"}),
        json!({"san_ip": "192.0.2.7"}),
    ] {
        let agent = app.agent_with(&ways(name.clone())).await;
        assert_eq!(secured.status(&agent, Some(&held)).await, Some(200), "{name}");
    }
    for name in [
        json!({"subject_dn": "CN=mail"}),
        json!({"subject_dn": "O=Example,CN=mail"}),
        json!({"san_dns": "agents.example.com"}),
        json!({"san_dns": "mail"}),
        json!({"san_uri": "spiffe://example.org/agents"}),
        json!({"san_email": "root@example.com"}),
        json!({"san_ip": "192.0.2.8"}),
    ] {
        let agent = app.agent_with(&ways(name.clone())).await;
        assert_eq!(secured.status(&agent, Some(&held)).await, Some(401), "{name}");
        assert!(app.last_reason(&agent).await.contains("another name"), "{name}");
    }

    let name = json!({"san_uri": "spiffe://example.org/agents/mail"});
    let agent = app.agent_with(&ways(name.clone())).await;
    let mut for_servers = of_agent();
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut expired = of_agent();
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let mut as_authority = of_agent();
    as_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (what, held) in [
        ("another authority of the same name", issued(&theirs, &of_agent())),
        ("nobody's", self_signed(&of_agent())),
        ("for servers only", issued(&ours, &for_servers)),
        ("expired", issued(&ours, &expired)),
        ("an authority's own", issued(&ours, &as_authority)),
    ] {
        assert_eq!(secured.status(&agent, Some(&held)).await, Some(401), "{what}");
    }

    // A chain, of which the client shows what is between.
    let middle =
        CertifiedIssuer::signed_by(of_authority("Agents CA 2"), KeyPair::generate().unwrap(), &ours).unwrap();
    let mut below = issued(&middle, &of_agent());
    let agent = app.agent_with(&ways(name)).await;
    assert_eq!(secured.status(&agent, Some(&below)).await, Some(401), "the link is missing");
    below.chain.push(middle.der().clone());
    assert_eq!(secured.status(&agent, Some(&below)).await, Some(200));
    app.admin_does(&format!("/trust-sources/{source}/disable"), &Value::Null).await;
    assert_eq!(secured.status(&agent, Some(&below)).await, Some(401), "no longer believed");

    let leaf = json!({"name": "leaf", "ca_pem": pem(&held)});
    assert_eq!(app.admin("POST", "/trust-sources", &leaf).await.status, 400, "no authority");
    app.stops().await;
}

#[actix_web::test]
async fn a_forwarded_certificate_is_believed_from_listed_proxies_only() {
    let app = TestApp::start().await;
    let held = self_signed(&of_agent());
    let agent = app.agent_with(&by_thumbprint(&thumbprint(&held))).await;
    let escaped = pem(&held).replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B");
    let rfc_9440 = forwarded(&held);

    let shows = async |url: &str, headers: &[(&str, &str)]| {
        let url = format!("{url}/oauth2/introspect").parse().unwrap();
        let form = encoded(
            &[("client_id", agent.as_str()), ("token", "x")].map(|(n, v)| (n.to_owned(), v.to_owned())),
        );
        let mut all = vec![("Content-Type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        app.traffic.send("POST", &url, &all, form.as_bytes()).await.status
    };
    let (listed, other, nobody) = (
        behind_a_proxy(&app, Some("127.0.0.1/32")).await,
        behind_a_proxy(&app, Some("10.0.0.1/32")).await,
        behind_a_proxy(&app, None).await,
    );
    assert_eq!(shows(&listed, &[("Client-Cert", &rfc_9440)]).await, 200);
    assert_eq!(shows(&listed, &[("Client-Cert", &escaped)]).await, 200);
    assert_eq!(shows(&listed, &[("X-Client-Cert", &rfc_9440)]).await, 401, "another header");
    assert_eq!(shows(&listed, &[]).await, 401);
    assert_eq!(
        shows(&listed, &[("Client-Cert", &rfc_9440), ("Client-Cert", &rfc_9440)]).await,
        401,
        "two of them"
    );
    assert_eq!(shows(&listed, &[("Client-Cert", ":AAAA:")]).await, 401, "no certificate");
    assert_eq!(shows(&other, &[("Client-Cert", &rfc_9440)]).await, 401, "another proxy is listed");
    assert_eq!(shows(&nobody, &[("Client-Cert", &rfc_9440)]).await, 401, "none is");
    let metadata = format!("{listed}/.well-known/oauth-authorization-server").parse().unwrap();
    let metadata = app.traffic.send("GET", &metadata, &[], b"").await.json();
    let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap().clone();
    assert!(
        methods.contains(&json!("tls_client_auth"))
            && methods.contains(&json!("self_signed_tls_client_auth"))
    );
    app.stops().await;
}

#[actix_web::test]
async fn whoever_signs_in_otherwise_still_has_the_connections_certificate() {
    let app = TestApp::start().await;
    let (agent, secret) = app.new_agent().await;
    let held = self_signed(&of_agent());
    let shown = ShownCertificate::new(held.chain[0].clone(), Vec::new());
    let by = |certificate| Attempt {
        client_id: Some(&agent),
        proof: Proof::Secret(&secret),
        certificate,
        address: None,
    };
    let agents = &app.demo.services.agents;
    assert_eq!(
        agents.sign_in(&by(Some(&shown))).await.unwrap().certificate(),
        Some(thumbprint(&held).as_str())
    );
    assert_eq!(agents.sign_in(&by(None)).await.unwrap().certificate(), None);
    app.stops().await;
}
