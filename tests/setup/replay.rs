//! What was used once is used, also for a process that starts anew in the same folder.

use serde_json::json;
use valetkey::kernel::clock::{Clock as _, SystemClock};

use crate::agent::Answer;
use crate::browser::form;
use crate::draft::{Draft, Signer, fresh};
use crate::observed::Stage;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Stage {
    /// A right assertion of the agent.
    fn assertion(&self, signer: &Signer) -> String {
        let now = SystemClock.now().secs();
        let claims = json!({"iss": self.agent.id, "sub": self.agent.id, "aud": self.agent.issuer,
            "iat": now, "exp": now + 300, "jti": format!("{}-{now}", fresh())});
        Draft::new(signer, claims, &self.agent.id).token()
    }

    async fn shows(&self, assertion: &str) -> u16 {
        let fields = [
            ("client_id", self.agent.id.as_str()),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
            ("token", "x"),
        ];
        let request = self.agent.http.post(format!("{}/oauth2/introspect", self.agent.issuer));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Answer::of(request.body(form(&fields))).await.status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_that_was_used_is_refused_after_a_restart() {
    let mut stage = Stage::new("");
    let signer = Signer::new("ES256", "k1");
    let ways = json!({"keys": {"jwks": {"keys": [signer.jwk()]}}});
    let file = stage.deployment.write("sign-in.json", &ways.to_string());
    let agent = stage.agent.id.clone();
    stage.deployment.admin(&["agent", "sign-in", &agent, "--file", &file]).ok();
    let (used, unused) = (stage.assertion(&signer), stage.assertion(&signer));
    assert_eq!(stage.shows(&used).await, 200);
    assert_eq!(stage.deployment.terminate(), Some(0));
    stage.deployment.serve();
    assert_eq!(stage.shows(&used).await, 401, "used before the restart");
    assert_eq!(stage.shows(&unused).await, 200, "its key still opens");
    // Nor does a process that was killed forget.
    stage.deployment.kill();
    stage.deployment.serve();
    assert_eq!(stage.shows(&unused).await, 401, "used before the kill");
}
