use valetkey::providers::Configured;
use valetkey::upstream::CallbackError;

use crate::world::{OIDC, World, configured, oidc};

fn params(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

async fn read(world: &World, configured: &Configured, text: &str) -> Result<String, CallbackError> {
    let code = world.upstream.callback_code(configured, &params(text)).await?;
    Ok(code.expose().clone())
}

#[actix_web::test]
async fn the_code_is_found_or_the_reason_is() {
    use CallbackError as E;
    let world = World::new().await;
    let configured = &oidc();
    let read = async |text: &str| read(&world, configured, text).await;
    assert_eq!(read("code=c1&state=s").await, Ok("c1".to_owned()));
    assert_eq!(read("code=c1&state=s&iss=https://id.example.com").await, Ok("c1".to_owned()));
    assert_eq!(read("code=c1&access_token=evil").await, Ok("c1".to_owned()));
    for (text, error) in [
        ("state=s", E::Denied),
        ("code=&state=s", E::Denied),
        ("error=access_denied&state=s", E::Denied),
        ("error=access_denied&code=c1", E::Denied),
        ("error=server_error", E::Busy),
        ("error=temporarily_unavailable", E::Busy),
        ("error=invalid_scope&error_description=<script>", E::Refused),
        ("error=%3Cscript%3E", E::Refused),
        ("code=c1&code=c2", E::Unclear),
        ("code=c%0a1", E::Unclear),
        ("code=钥", E::Unclear),
        ("code=c1&iss=https://evil.example", E::OtherIssuer),
        ("code=c1&iss=https://id.example.com/", E::OtherIssuer),
        ("error=access_denied&iss=https://evil.example", E::OtherIssuer),
    ] {
        assert_eq!(read(text).await, Err(error), "{text}");
    }
    assert_eq!(read(&format!("code={}", "c".repeat(5000))).await, Err(E::Unclear));
}

#[actix_web::test]
async fn a_promised_issuer_must_come() {
    let world = World::new().await;
    let strict = OIDC.replace("[authorize.scopes]", "iss = \"required\"\n\n[authorize.scopes]");
    let strict = configured(&strict, &[("tenant", "acme")]);
    let configured = &strict;
    let read = async |text: &str| read(&world, configured, text).await;
    assert_eq!(read("code=c1").await, Err(CallbackError::NoIssuer));
    assert!(read("code=c1&iss=https://id.example.com").await.is_ok());
}

#[actix_web::test]
async fn two_names_for_the_code_must_agree() {
    let world = World::new().await;
    let two =
        OIDC.replace("[authorize.scopes]", "code_params = [\"authCode\", \"code\"]\n\n[authorize.scopes]");
    let two = configured(&two, &[("tenant", "acme")]);
    let configured = &two;
    let read = async |text: &str| read(&world, configured, text).await;
    assert_eq!(read("authCode=c1").await, Ok("c1".to_owned()));
    assert_eq!(read("code=c1").await, Ok("c1".to_owned()));
    assert_eq!(read("code=c1&authCode=c1").await, Ok("c1".to_owned()));
    assert_eq!(read("code=c1&authCode=c2").await, Err(CallbackError::Unclear));
}
