//! People's pages in a real Chromium, walked as a person does: sign in, read, untick, agree, look, withdraw.
//! Every page is photographed into `target/screenshots` (light, dark, and dark at 360 px), and must be free
//! of console errors, of violations of the content policy, and of sideways scrolling.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod agent;
mod chromium;

use std::time::Duration;

use thirtyfour::prelude::*;
use valetkey::app::demo::people::{ADMIN, ALICE, BOB};
use valetkey::app::demo::{self, Demo, DemoOptions, Ground};
use valetkey::kernel::bearer::{self, BearerKind};
use valetkey::model::user::SetupLink;
use valetkey::store::{Committed, Tx};

use crate::agent::{Agent, Asked};
use crate::chromium::{Browser, Scripts};

const WORDS: &str = "Summarise this week in my inbox";

/// A running demo, Alice's own agent, and a browser.
struct Stage {
    demo: Demo,
    agent: Agent,
    browser: Browser,
}

impl Stage {
    async fn set(scripts: Scripts) -> Self {
        let options =
            DemoOptions { listen: "127.0.0.1:0".parse().unwrap(), info: None, ground: Ground::default() };
        let demo = demo::start(options).await.unwrap();
        let me = &demo.cast.personal;
        let agent = Agent::new(demo.issuer.clone(), me.id.as_str(), me.secret.expose());
        let browser = Browser::start(demo.issuer.clone(), scripts).await;
        Self { demo, agent, browser }
    }

    async fn asks(&self, provider: &str) -> Asked {
        self.agent.asks(ALICE, provider, WORDS).await
    }

    /// From Valetkey's sign-in page through the company's sign-in.
    async fn sign_in(&self, email: &str) {
        self.browser.press("main form button").await;
        self.sign_in_at_provider(email).await;
    }

    async fn sign_in_at_provider(&self, email: &str) {
        self.browser.type_into("#username", email).await;
        self.browser.type_into("#password", self.demo.passwords.of(email).unwrap()).await;
        self.browser.press("button[type=submit]").await;
    }

    /// The link for another administrator, as `valetkey init --another-admin` makes it.
    async fn setup_link(&self) -> String {
        let services = &self.demo.services;
        let secret = bearer::generate(BearerKind::SetupLink, &*services.entropy);
        let digest = services.vault.digest(BearerKind::SetupLink, secret.expose());
        let expires_at = services.clock.now().plus(Duration::from_secs(900));
        let mut tx = Tx::new();
        tx.insert(&SetupLink { digest, expires_at, another: true });
        assert_eq!(services.store.commit(tx).await.unwrap(), Committed::Done);
        format!("/setup?token={}", secret.expose())
    }

    async fn over(self) {
        self.browser.quit().await;
        self.demo.stop().await;
    }
}

#[actix_web::test]
async fn an_employee_agrees_to_less_and_withdraws_it() {
    let stage = Stage::set(Scripts::On).await;
    let browser = &stage.browser;
    let asked = stage.asks("entra").await;

    browser.open(&asked.link).await;
    browser.look("login").await;
    browser.press("main form button").await;
    browser.see("#username").await;
    browser.look("provider-sign-in").await;
    stage.sign_in_at_provider(ALICE).await;

    let page = browser.text_of("form.keycard").await;
    for said in
        ["Alice's helper", "Reads your mail, files and calendar", "Microsoft Entra ID", "personal agent"]
    {
        assert!(page.contains(said), "{said} is missing in: {page}");
    }
    assert!(page.contains("Answers for it\nYou"), "{page}");
    let words = browser.text_of(".words").await;
    assert!(words.starts_with("The agent's own words") && words.contains(WORDS), "{words}");
    for read in ["User.Read", "Mail.Read", "Files.Read", "Calendars.Read"] {
        assert!(browser.ticked(read).await, "{read} only looks, so it starts ticked");
    }
    assert!(!browser.ticked("Mail.Send").await, "what sends starts unticked");
    browser.look("consent").await;

    browser.press("input[value='Files.Read']").await;
    browser.press("#duration option[value='86400']").await;
    browser.press("button[value=agree]").await;
    // Chromium holds the answer's redirect to the page's form-action: this arrives only if that names the provider.
    browser.see("button[value=allow], #username").await;
    assert!(browser.address().await.starts_with(&stage.demo.sandbox.url), "{}", browser.address().await);
    if browser.shows("#username").await {
        browser.look("provider-sign-in-again").await;
        stage.sign_in_at_provider(ALICE).await;
    }
    browser.see("button[value=allow]").await;
    let page = browser.text_of("main").await;
    assert!(page.contains("Mail.Read") && !page.contains("Files.Read"), "{page}");
    browser.look("provider-consent").await;
    browser.press("button[value=allow]").await;

    let page = browser.text_of(".keycard").await;
    assert!(page.contains("It is agreed") && page.contains("Read your mail"), "{page}");
    let (_, left_out) = page.split_once("Not included:").unwrap();
    assert!(left_out.contains("Read your files") && left_out.contains("Send mail as you"), "{page}");
    browser.look("granted").await;

    let token = stage.agent.collects(&asked).await;
    assert_eq!(token.scopes, ["Calendars.Read", "Mail.Read", "User.Read"]);
    assert_eq!(stage.agent.calls(&token, "entra/graph/v1.0/me/messages").await, 200);
    assert_eq!(stage.agent.calls(&token, "entra/graph/v1.0/me/drive/root/children").await, 403);

    let waiting = stage.asks("lark").await;
    browser.press("a.button[href='/']").await;
    browser.see("#agents-title").await;
    let page = browser.text_of("main").await;
    for said in ["Hello Alice", "Alice's helper", "May use Microsoft Entra ID", "Lark"] {
        assert!(page.contains(said), "{said} is missing in: {page}");
    }
    if !browser.shows("details.more[open]").await {
        browser.press("details.more > summary").await;
    }
    let page = browser.text_of(".timeline").await;
    for said in ["Wanted to make a call", "Permission given", "Asked for permission"] {
        assert!(page.contains(said), "{said} is missing in: {page}");
    }
    assert!(page.contains("GET /v1.0/me/messages") && page.contains("Files.Read"), "{page}");
    browser.look("home").await;
    browser.press("details.sure > summary").await;
    browser.look("home-disconnect").await;

    browser.press("form[action$='/revoke'] button").await;
    browser.see(".notice.good").await;
    let page = browser.text_of("main").await;
    assert!(page.contains("Withdrawn. From the next request on, the agent is refused."), "{page}");
    browser.look("home-withdrawn").await;
    assert_eq!(stage.agent.calls(&token, "entra/graph/v1.0/me/messages").await, 401);

    browser.open(&waiting.link).await;
    browser.see("button[value=refuse]").await;
    browser.press("button[value=refuse]").await;
    browser.see("#message-title").await;
    let page = browser.text_of(".keycard").await;
    assert!(page.contains("You refused") && page.contains("Nothing was granted"), "{page}");
    browser.look("refused").await;
    assert_eq!(stage.agent.polls(&waiting).await, "access_denied");
    stage.over().await;
}

#[actix_web::test]
async fn an_employee_binds_an_agent_to_one_folder() {
    let stage = Stage::set(Scripts::On).await;
    let browser = &stage.browser;
    let asked = stage.asks("entra").await;

    browser.open(&asked.link).await;
    stage.sign_in(ALICE).await;
    browser.see("details.limits").await;
    assert!(!browser.shows("details.limits[open]").await, "without suggestions it starts closed");
    browser.press("details.limits > summary").await;
    browser.see("#limit-mail-dates-from").await.send_keys("10012026").await.unwrap();
    browser.press("input[name='limit.folders.pick']").await;
    browser.press("input[name='limit.read_only']").await;
    browser.type_into("#limit-calls-most", "100").await;
    browser.look("consent-limits").await;
    // The Enter key in a field agrees to nothing.
    browser.see("#limit-calls-most").await.send_keys(Key::Enter + "").await.unwrap();
    browser.see("details.limits[open] input[name='limit.read_only']:checked").await;
    browser.press("button[value=agree]").await;
    browser.see("button[value=allow], #username").await;
    if browser.shows("#username").await {
        stage.sign_in_at_provider(ALICE).await;
    }
    browser.press("button[value=allow]").await;

    browser.see("#picker-title").await;
    let page = browser.text_of("form.keycard").await;
    for said in
        ["Which folders may", "received from 1 October 2026 on", "Projects", "Until then nothing is granted"]
    {
        assert!(page.contains(said), "{said} is missing in: {page}");
    }
    browser.look("picker").await;
    assert_eq!(stage.agent.polls(&asked).await, "authorization_pending");
    browser.press("button[name=open][value$='Projects']").await;
    browser.see(".crumbs [aria-current]").await;
    browser.look("picker-inside").await;
    browser.press(".crumbs button").await;
    browser.press(".pick-row:has(button[value$='Projects']) input").await;
    browser.press("button[value=agree]").await;

    browser.see("#granted-title").await;
    browser.look("granted-limits").await;
    browser.press("a.button.primary").await;
    browser.see("#narrow-title").await;
    let page = browser.text_of("main").await;
    for said in [
        "Only files in “Projects” and the folders inside; no other files.",
        "Only mail received from 1 October 2026 on; no other mail.",
        "It may only look: nothing is changed, sent or deleted.",
        "At most 100 calls an hour.",
    ] {
        assert!(page.contains(said), "{said} is missing in: {page}");
    }
    browser.look("grant").await;
    browser.press("a[href$='/try']").await;
    browser.see("#path").await;
    browser.look("trial").await;
    browser.type_into("#path", "/v1.0/me/messages").await;
    browser.press("main form button.primary").await;
    browser.see("#trial-title").await;
    browser.look("trial-outcome").await;
    stage.over().await;
}

#[actix_web::test]
async fn a_link_is_for_one_person_and_one_day() {
    let stage = Stage::set(Scripts::On).await;
    let browser = &stage.browser;
    let asked = stage.asks("entra").await;

    browser.open(&asked.link).await;
    stage.sign_in(BOB).await;
    browser.see("#message-title").await;
    let page = browser.text_of("body").await;
    assert!(page.contains("This link was made for someone else"), "{page}");
    for hidden in ["Alice", "helper", "Microsoft", WORDS] {
        assert!(!page.contains(hidden), "{hidden} is shown to the wrong person: {page}");
    }
    browser.look("wrong-person").await;
    assert_eq!(stage.agent.polls(&asked).await, "authorization_pending");

    browser.open("/").await;
    browser.see("#accounts-title").await;
    browser.look("home-empty").await;
    browser.open("/no/such/page").await;
    browser.see("#error-title").await;
    browser.look("not-found").await;

    stage.demo.advance(Duration::from_secs(25 * 3600));
    browser.open(&asked.link).await;
    browser.see("main form button").await;
    stage.sign_in(BOB).await;
    browser.see("#message-title").await;
    browser.press("main form[action='/logout'] button").await;
    browser.see(".notice.good").await;
    browser.look("signed-out").await;
    browser.forget_everybody().await;
    browser.open(&asked.link).await;
    stage.sign_in(ALICE).await;
    browser.see("#message-title").await;
    let page = browser.text_of("main").await;
    assert!(page.contains("This request has ended"), "{page}");
    browser.look("expired").await;
    assert_eq!(stage.agent.polls(&asked).await, "expired_token");
    stage.over().await;
}

/// The whole job in Chinese, answered from the keyboard.
#[actix_web::test]
async fn the_same_in_chinese_by_keyboard() {
    let stage = Stage::set(Scripts::On).await;
    let browser = &stage.browser;
    let asked = stage.asks("lark").await;
    browser.open(&asked.link).await;
    browser.press(".top-side a[hreflang^=zh]").await;
    browser.see("html[lang^=zh]").await;
    browser.look("zh-login").await;
    stage.sign_in(ALICE).await;
    let page = browser.text_of("form.keycard").await;
    assert!(page.contains("智能体自己的话") && page.contains("飞书"), "{page}");
    browser.look("zh-consent").await;

    browser.tab_to("input[value='calendar:calendar.event:read']").await;
    browser.keys(Key::Space + "").await;
    assert!(!browser.ticked("calendar:calendar.event:read").await);
    browser.tab_to("button[value=agree]").await;
    browser.look("zh-consent-focus").await;
    browser.keys(Key::Enter + "").await;
    browser.see("button[value=allow], #username").await;
    if browser.shows("#username").await {
        stage.sign_in_at_provider(ALICE).await;
    }
    browser.see("button[value=allow]").await;
    browser.look("zh-provider-consent").await;
    browser.press("button[value=allow]").await;
    browser.see("#granted-title").await;
    browser.look("zh-granted").await;
    let token = stage.agent.collects(&asked).await;
    assert!(!token.scopes.iter().any(|scope| scope == "calendar:calendar.event:read"), "{:?}", token.scopes);
    assert_eq!(token.scopes.len(), 3, "{:?}", token.scopes);
    browser.open("/").await;
    browser.see("#agents-title").await;
    browser.look("zh-home").await;
    stage.over().await;
}

#[actix_web::test]
async fn everything_works_without_javascript() {
    let stage = Stage::set(Scripts::Off).await;
    let browser = &stage.browser;
    let asked = stage.asks("okta").await;
    browser.open(&asked.link).await;
    stage.sign_in(ALICE).await;
    browser.press("input[value='okta.groups.read']").await;
    browser.press("button[value=agree]").await;
    browser.press("button[value=allow]").await;
    browser.see("#granted-title").await;
    let token = stage.agent.collects(&asked).await;
    assert_eq!(token.scopes, ["okta.users.read.self"]);
    assert_eq!(stage.agent.calls(&token, "okta/mgmt/api/v1/users/me").await, 200);
    browser.open("/").await;
    browser.press("details.sure > summary").await;
    browser.press("form[action$='/disconnect'] button").await;
    browser.see(".notice").await;
    let page = browser.text_of("main").await;
    assert!(page.contains("Disconnected"), "{page}");
    assert_eq!(stage.agent.calls(&token, "okta/mgmt/api/v1/users/me").await, 401);
    stage.over().await;
}

#[actix_web::test]
async fn administrators_run_it_from_pages() {
    let stage = Stage::set(Scripts::On).await;
    let browser = &stage.browser;
    stage.asks("dingtalk").await;
    browser.open("/login?local=1").await;
    browser.type_into("#email", ADMIN).await;
    browser.type_into("#password", "not the password").await;
    browser.press("main button[type=submit]").await;
    browser.see(".notice.bad").await;
    browser.look("admin-login").await;
    browser.type_into("#email", ADMIN).await;
    browser.type_into("#password", stage.demo.passwords.admin.expose()).await;
    browser.press("main button[type=submit]").await;
    browser.see("nav.tabs").await;
    browser.open("/admin").await;
    browser.see("nav.tabs").await;
    browser.look("admin").await;
    for name in
        ["agents", "agents/new", "providers", "users", "interactions", "events", "tokens", "trust", "stops"]
    {
        browser.open(&format!("/admin/{name}")).await;
        browser.see("nav.tabs a[aria-current]").await;
        browser.look(&format!("admin-{}", name.replace('/', "-"))).await;
    }
    browser.press("#target option[value='all']").await;
    browser.type_into("#reason", "An exercise").await;
    browser.press("main form button.danger").await;
    browser.see(".notice.good").await;
    let page = browser.text_of("main").await;
    assert!(
        page.contains("Stopped. It is refused from the next request on.") && page.contains("An exercise")
    );
    browser.look("admin-stopped").await;
    assert_ne!(stage.agent.is_told(ALICE, "okta").await, "interaction_required");
    browser.press("form[action$='/resume'] button").await;
    browser.see(".empty").await;
    browser.open("/admin/providers/new/okta").await;
    browser.see("#slug").await;
    browser.look("admin-provider-new").await;
    browser.open("/admin/providers").await;
    browser.press("form[action='/admin/providers/okta/test'] button").await;
    browser.see(".notice.good").await;
    browser.look("admin-provider-tested").await;
    browser.open("/admin/users").await;
    browser.press("main .rows a").await;
    assert!(browser.address().await.contains("/admin/users/usr_"), "{}", browser.address().await);
    browser.look("admin-user").await;

    browser.open("/admin/agents/new").await;
    browser.type_into("#name", "Travel planner").await;
    browser.type_into("#purpose", "Plans business trips and books nothing by itself.").await;
    browser.type_into("#owner", BOB).await;
    browser.press("main form button.primary").await;
    browser.see("#secret-title").await;
    let page = browser.text_of("main").await;
    assert!(page.contains("The agent is registered"), "{page}");
    browser.look("admin-secret").await;

    browser.forget_everybody().await;
    browser.open(&stage.setup_link().await).await;
    browser.see("#setup-title").await;
    browser.look("setup").await;
    browser.type_into("#email", "second@example.com").await;
    browser.type_into("#password", "correct horse battery").await;
    browser.type_into("#again", "incorrect horse battery").await;
    browser.press("main form button.primary").await;
    browser.see("#setup-problem").await;
    browser.look("setup-problem").await;
    stage.over().await;
}

#[actix_web::test]
async fn an_administrator_changes_an_agent_without_javascript() {
    let stage = Stage::set(Scripts::Off).await;
    let browser = &stage.browser;
    browser.open("/login?local=1").await;
    browser.type_into("#email", ADMIN).await;
    browser.type_into("#password", stage.demo.passwords.admin.expose()).await;
    browser.press("main button[type=submit]").await;
    browser.see("nav.tabs").await;
    browser.open("/admin/audiences").await;
    browser.look("admin-audiences").await;
    browser.open(&format!("/admin/agents/{}", stage.demo.cast.assistant.id)).await;
    browser.press("main .actions a[href$='/edit']").await;
    browser.see("#data_classes").await;
    browser.type_into("#platform", "Model Studio").await;
    browser.type_into("#labels", "legal\ninternal").await;
    browser.type_into("#data_classes", "Calendar").await;
    browser.press("input[name=serves][value=some]").await;
    browser.type_into("#groups", "staff").await;
    browser.press("main form.card button.primary").await;
    browser.see(".notice.bad").await;
    assert!(browser.text_of(".notice.bad").await.contains("`calendar`"));
    browser.look("admin-agent-edit").await;
    browser.type_into("#data_classes", "calendar\npayroll").await;
    browser.press("main form.card button.primary").await;
    browser.see(".notice.good").await;
    let page = browser.text_of("main").await;
    for told in ["Saved.", "Model Studio", "internal, legal", "calendar, payroll", "staff"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    browser.look("admin-agent-edited").await;
    stage.over().await;
}
