//! A Chromium of its own: driven, photographed, and held to have nothing to complain about.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities as _;
use thirtyfour::common::log::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;
use url::Url;
use valetkey::kernel::encode;

const MISSING: &str =
    "install chromium and chromedriver for the browser tests: apt-get install chromium chromium-driver";
const PATIENCE: Duration = Duration::from_secs(15);
const ARGUMENTS: [&str; 14] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--lang=en-US",
    "--hide-scrollbars",
    "--window-size=1280,900",
];

/// Whether pages may run scripts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    On,
    Off,
}

/// Ends chromedriver, and with it Chromium, also when a test fails half-way.
struct Driver {
    port: u16,
    process: Child,
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Ok(mut socket) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            let _ = socket.set_read_timeout(Some(Duration::from_secs(3)));
            let _ =
                socket.write_all(b"GET /shutdown HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let _ = socket.read_to_end(&mut Vec::new());
        }
        std::thread::sleep(Duration::from_millis(100));
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Browser {
    web: WebDriver,
    issuer: Url,
    shots: PathBuf,
    // In this order: Chromium ends before its profile goes.
    _driver: Driver,
    _profile: TempDir,
}

fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()).expect(MISSING)
}

fn start_driver() -> Driver {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let process = Command::new(program("chromedriver"))
        .arg(format!("--port={port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect(MISSING);
    let driver = Driver { port, process };
    let began = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(began.elapsed() < PATIENCE, "chromedriver does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    driver
}

impl Browser {
    pub async fn start(issuer: Url, scripts: Scripts) -> Self {
        let binary = program("chromium");
        let driver = start_driver();
        let profile = TempDir::new().unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities.set_binary(binary.to_str().unwrap()).unwrap();
        for argument in ARGUMENTS {
            capabilities.add_arg(argument).unwrap();
        }
        capabilities.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        let setting = if scripts == Scripts::On { 1 } else { 2 };
        let preferences = json!({
            "profile.managed_default_content_settings.javascript": setting,
            "intl.accept_languages": "en-US,en",
        });
        capabilities.add_experimental_option("prefs", preferences).unwrap();
        capabilities.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let web = WebDriver::new(format!("http://127.0.0.1:{}", driver.port), capabilities).await.unwrap();
        let shots = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        fs::create_dir_all(&shots).unwrap();
        let browser = Self { web, issuer, shots, _driver: driver, _profile: profile };
        browser.check_that_scripts_are(scripts).await;
        browser
    }

    async fn check_that_scripts_are(&self, scripts: Scripts) {
        self.web.goto("data:text/html,<title>off</title><script>document.title='on'</script>").await.unwrap();
        let title = self.web.title().await.unwrap();
        assert_eq!(title == "on", scripts == Scripts::On, "scripts are {title}");
    }

    /// Opens a link, or a path of the broker.
    pub async fn open(&self, link: &str) {
        self.web.goto(self.issuer.join(link).unwrap().as_str()).await.unwrap();
    }

    pub async fn address(&self) -> String {
        self.web.current_url().await.unwrap().into()
    }

    /// Waits for an element.
    pub async fn see(&self, css: &str) -> WebElement {
        let began = Instant::now();
        loop {
            match self.web.find(By::Css(css)).await {
                Ok(element) => return element,
                Err(_) if began.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(30)).await,
                Err(_) => {
                    let body = self.web.find(By::Css("body")).await.unwrap().text().await.unwrap_or_default();
                    let log = self.web.browser_log().await.unwrap_or_default();
                    panic!("no {css} at {}:\n{body}\n{log:?}", self.address().await)
                }
            }
        }
    }

    pub async fn shows(&self, css: &str) -> bool {
        self.web.find(By::Css(css)).await.is_ok()
    }

    pub async fn press(&self, css: &str) {
        self.see(css).await.click().await.unwrap();
    }

    pub async fn type_into(&self, css: &str, text: &str) {
        let field = self.see(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub async fn text_of(&self, css: &str) -> String {
        self.see(css).await.text().await.unwrap()
    }

    pub async fn ticked(&self, scope: &str) -> bool {
        self.see(&format!("input[name=scope][value='{scope}']")).await.is_selected().await.unwrap()
    }

    /// Presses keys where the focus is.
    pub async fn keys(&self, keys: impl Into<TypingData>) {
        self.web.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Tabs onwards until an element has the focus.
    pub async fn tab_to(&self, css: &str) {
        let wanted = self.see(css).await;
        for _ in 0..60 {
            if self.web.active_element().await.is_ok_and(|focused| focused == wanted) {
                return;
            }
            self.keys(Key::Tab + "").await;
        }
        panic!("{css} cannot be reached with the tab key");
    }

    /// Photographs the page in three ways, and checks it.
    pub async fn look(&self, name: &str) {
        for (suffix, width, height, scheme) in
            [("phone", 360, 780, "dark"), ("dark", 1280, 900, "dark"), ("light", 1280, 900, "light")]
        {
            let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
            self.command("Emulation.setDeviceMetricsOverride", metrics).await;
            let still = json!({"name": "prefers-reduced-motion", "value": "reduce"});
            let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}, still]});
            self.command("Emulation.setEmulatedMedia", features).await;
            let script = "const root = document.documentElement;
                return [root.scrollWidth, root.clientWidth, getComputedStyle(document.body).backgroundColor]";
            let seen = self.web.execute(script, Vec::new()).await.unwrap();
            let (scroll, client) = (seen.json()[0].as_u64().unwrap(), seen.json()[1].as_u64().unwrap());
            assert!(scroll <= client, "{name} scrolls sideways at {width} px: {scroll} > {client}");
            let paper = brightness(seen.json()[2].as_str().unwrap());
            assert_eq!(paper < 128, scheme == "dark", "{name}: the background in {scheme} mode is {paper}");
            self.photograph(&format!("{name}-{suffix}.png"), width).await;
        }
        self.check_log(name).await;
    }

    async fn photograph(&self, file: &str, width: u32) {
        let size = self.command("Page.getLayoutMetrics", json!({})).await;
        let height = size["cssContentSize"]["height"].as_f64().unwrap();
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let options =
            json!({"format": "png", "captureBeyondViewport": true, "optimizeForSpeed": true, "clip": clip});
        let shot = self.command("Page.captureScreenshot", options).await;
        fs::write(self.shots.join(file), encode::from_base64(shot["data"].as_str().unwrap()).unwrap())
            .unwrap();
    }

    /// Nothing is complained about, except that a page which is an error says so in its status, and that the
    /// sandbox's vendors have no icon.
    async fn check_log(&self, name: &str) {
        for entry in self.web.browser_log().await.unwrap() {
            let status = entry.message.contains("the server responded with a status of");
            let expected = status && !entry.message.contains("/assets/");
            assert!(expected, "{name}: {} {}", entry.level, entry.message);
        }
    }

    async fn command(&self, method: &str, parameters: Value) -> Value {
        self.web.cdp().send_raw(method, parameters).await.unwrap()
    }

    /// Forgets whoever is signed in, here and at the providers.
    pub async fn forget_everybody(&self) {
        self.command("Network.clearBrowserCookies", json!({})).await;
    }

    pub async fn quit(self) {
        self.web.clone().quit().await.unwrap();
    }
}

/// The mean of the colour's parts, of `rgb(1, 2, 3)`.
fn brightness(colour: &str) -> u32 {
    let parts: Vec<u32> =
        colour.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).take(3).collect();
    parts.iter().sum::<u32>() / 3
}
