//! Processes of the real program: one command that ends, the sandbox, a broker in a folder of its own.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub const PROVIDERS: [&str; 5] = ["dingtalk", "lark", "wecom", "entra", "okta"];

/// What an admin states about the company.
pub fn company(provider: &str) -> &'static [&'static str] {
    match provider {
        "dingtalk" => &["corp_id=dingcorp0001"],
        "lark" => &["tenant_key=2ed263bf32cf1651"],
        "wecom" => &["corp_id=ww0123456789abcdef", "agent_id=1000002"],
        "entra" => &["tenant=11111111-2222-4333-8444-555555555555"],
        _ => &["issuer=https://example.okta.com"],
    }
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_valetkey"));
    // Whoever runs the tests may have settings of their own in the environment.
    command.env_clear().args(args).envs(env.iter().copied()).stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What it printed; it must have worked.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// What it said when it refused; it must have.
    pub fn refused(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        assert!(self.out.is_empty(), "errors go to stderr: {}", self.out);
        self.err
    }
}

pub fn run(args: &[&str], env: &[(&str, &str)]) -> Ran {
    Ran::of(command(args, env).output().unwrap())
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `valetkey sandbox`.
pub struct Sandbox {
    child: Child,
    pub info: Value,
}

impl Sandbox {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("info.json");
        let mut child = command(&["sandbox", "--info", path.to_str().unwrap()], &[])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the sandbox", || {
            assert!(child.try_wait().unwrap().is_none(), "the sandbox has ended");
            path.exists()
        });
        let info = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        Self { child, info }
    }

    pub fn text(&self, name: &str) -> &str {
        self.info[name].as_str().unwrap()
    }

    pub fn password(&self, email: &str) -> &str {
        let users = self.info["users"].as_array().unwrap();
        users.iter().find(|user| user["email"] == email).unwrap()["password"].as_str().unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `valetkey demo`.
pub struct Demo {
    child: Child,
    pub info: Value,
}

impl Demo {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_with(&folder.path().join("info.json"))
    }

    /// Starts it and reads what it writes into that file: all of it at once, or it cannot be read here.
    pub fn start_with(path: &Path) -> Self {
        let former = fs::read(path).ok();
        let mut child = command(&["demo", "--info", path.to_str().unwrap()], &[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut written = former.clone();
        until("the demo", || {
            assert!(child.try_wait().unwrap().is_none(), "the demo has ended");
            written = fs::read(path).ok();
            written != former
        });
        let info = serde_json::from_slice(&written.unwrap()).unwrap();
        Self { child, info }
    }

    pub fn user(&self, email: &str) -> &Value {
        let users = self.info["users"].as_array().unwrap();
        users.iter().find(|user| user["email"] == email).unwrap()
    }

    /// What an agent of that kind finds in its environment.
    pub fn environment(&self, kind: &str) -> [(&'static str, &str); 3] {
        let agent = &self.info["agents"][kind];
        [
            ("VALETKEY_ISSUER", self.info["issuer"].as_str().unwrap()),
            ("VALETKEY_CLIENT_ID", agent["id"].as_str().unwrap()),
            ("VALETKEY_CLIENT_SECRET", agent["secret"].as_str().unwrap()),
        ]
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Asked to end, so that it takes its folder along.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
    }
}

/// A folder that `valetkey init` has filled, and the broker that serves it.
pub struct Deployment {
    pub folder: TempDir,
    pub issuer: String,
    /// The link for the first admin.
    pub link: String,
    pub admin_token: String,
    server: Option<Child>,
}

/// The link in what `init` has printed.
pub fn link_in(printed: &str) -> Option<String> {
    printed.lines().map(str::trim).find(|line| line.contains("/setup?token=")).map(str::to_owned)
}

impl Deployment {
    pub fn init() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = format!("http://127.0.0.1:{}", free_port());
        let data = folder.path().join("vk");
        let printed = run(&["init", "--data", data.to_str().unwrap(), "--issuer", &issuer], &[]).ok();
        let link = link_in(&printed).expect("a link for the first admin");
        let made = Self { folder, issuer, link, admin_token: String::new(), server: None };
        // As much as a test needs; the default keeps 64 MiB free.
        made.edit(|text| format!("{text}\n[storage]\nreserve_mib = 1\n"));
        made
    }

    /// A further node of a deployment whose records lie in a database: the same settings and root key, another
    /// folder and port.
    pub fn another_node(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("vk")).unwrap();
        let (here, issuer) = (folder.path().join("vk"), format!("http://127.0.0.1:{}", free_port()));
        for name in ["root.key", "postgres.url", "valetkey.toml"] {
            fs::copy(self.path(name), here.join(name)).unwrap();
        }
        let address = |issuer: &str| issuer.trim_start_matches("http://").to_owned();
        let listen = |issuer: &str| format!("listen = \"{}\"", address(issuer));
        let node = Self {
            folder,
            link: String::new(),
            admin_token: self.admin_token.clone(),
            server: None,
            issuer: issuer.clone(),
        };
        node.edit(|text| text.replace(&listen(&self.issuer), &listen(&issuer)));
        node
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("vk").join(name)
    }

    pub fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let path = self.path("valetkey.toml");
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    }

    /// `init` again, in the same folder.
    pub fn init_again(&self) -> Ran {
        run(&["init", "--data", &self.at(""), "--issuer", &self.issuer], &[])
    }

    /// `serve`, when it is expected to end by itself.
    pub fn serve_in_vain(&self, env: &[(&str, &str)]) -> String {
        run(&["serve", "--config", &self.at("valetkey.toml")], env).refused()
    }

    pub fn serve(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let config = self.at("valetkey.toml");
        let mut child = command(&["serve", "--config", &config], &[])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = self.issuer.trim_start_matches("http://").to_owned();
        until("the broker", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(self.path("log")).unwrap());
            TcpStream::connect(&address).is_ok()
        });
        self.server = Some(child);
    }

    /// Asks the broker to end, and waits for it; its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.server.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let began = Instant::now();
        let status = child.wait().unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "an idle broker ends at once");
        status.code()
    }

    /// A signal that it goes on after, for a while at least.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.server.as_ref().unwrap()), signal).unwrap();
    }

    /// Waits until the broker ends by itself; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let mut child = self.server.take().unwrap();
        until("the broker's end", || child.try_wait().unwrap().is_some());
        child.wait().unwrap().code()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.server.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// A command that speaks to the running broker as an admin.
    pub fn admin(&self, args: &[&str]) -> Ran {
        run(args, &[("VALETKEY_SERVER", &self.issuer), ("VALETKEY_ADMIN_TOKEN", &self.admin_token)])
    }

    /// Registers a back end of that name.
    pub fn audience(&self, name: &str) {
        let identifier = format!("https://{name}.example.com");
        let what = ["--name", name, "--identifier", &identifier, "--purpose", "Tests", "--scopes", "a.read"];
        self.admin(&[&["audience", "create"], what.as_slice()].concat()).ok();
    }

    /// A file beside the deployment's own.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if let Some(mut child) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
