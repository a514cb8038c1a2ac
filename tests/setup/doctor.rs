//! `valetkey doctor`, and the same checks at start: one thing bent at a time, and the remedy that is named.

use std::fs::{self, File, FileTimes};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use valetkey::kernel::clock::{Clock as _, SystemClock};

use crate::cluster::sound_cluster;
use crate::deployment::{Deployment, Ran, run};
use crate::moving::{database, stored};
use crate::nodes::in_a_database;

const GOOD: &str = "good";
const DOUBTFUL: &str = "doubtful";
const UNSAFE: &str = "unsafe";

fn doctor(on: &Deployment, more: &[&str]) -> Ran {
    run(&[&["doctor", "--config", &on.at("valetkey.toml")], more].concat(), &[])
}

/// Everything that was found, as (check, level, found, remedy).
fn findings(ran: &Ran) -> Vec<[String; 4]> {
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err));
    let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    let items = report["items"].as_array().unwrap();
    items.iter().map(|item| ["check", "level", "found", "remedy"].map(|name| text(item, name))).collect()
}

fn mode(on: &Deployment, name: &str, mode: u32) {
    fs::set_permissions(on.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// A deployment that is as it should be, as far as this machine lets it.
fn sound() -> Deployment {
    let deployment = Deployment::init();
    deployment.edit(|text| text.replace("reserve_mib = 1\n", "reserve_mib = 16\n"));
    deployment
}

fn above_root_key(text: &str, line: &str) -> String {
    text.replacen("[root_key]", &format!("{line}\n[root_key]"), 1)
}

/// What was bent, which check says so, how bad it is, a part of what it says, and of its remedy.
struct Bend {
    how: fn(&Deployment),
    check: &'static str,
    level: &'static str,
    found: &'static str,
    remedy: &'static str,
}

const BENDS: [Bend; 16] = [
    Bend {
        how: |on| mode(on, "root.key", 0o640),
        check: "files",
        level: UNSAFE,
        found: "root.key` can be read by others (mode 0640)",
        remedy: "chmod 600",
    },
    Bend {
        how: |on| mode(on, "data/keyring.json", 0o604),
        check: "files",
        level: UNSAFE,
        found: "keyring.json` can be read by others (mode 0604)",
        remedy: "chmod 600",
    },
    Bend {
        how: |on| mode(on, "valetkey.toml", 0o620),
        check: "files",
        level: UNSAFE,
        found: "valetkey.toml` can be changed by others (mode 0620)",
        remedy: "chmod go-w",
    },
    Bend {
        how: |on| mode(on, "data/store", 0o750),
        check: "files",
        level: DOUBTFUL,
        found: "store` is open to others (mode 0750)",
        remedy: "chmod -R go=",
    },
    Bend {
        how: |on| {
            fs::create_dir(on.path("own")).unwrap();
            mode(on, "own", 0o777);
            on.edit(|text| format!("{text}[templates]\nfolder = \"own\"\n"));
        },
        check: "files",
        level: UNSAFE,
        found: "own` can be changed by others (mode 0777)",
        remedy: "chmod go-w",
    },
    Bend {
        how: |on| fs::remove_file(on.path("root.key")).unwrap(),
        check: "seal",
        level: UNSAFE,
        found: "root.key",
        remedy: "bring the root key",
    },
    Bend {
        how: |on| fs::write(on.path("root.key"), format!("{}\n", "ab".repeat(32))).unwrap(),
        check: "seal",
        level: UNSAFE,
        found: "does not open",
        remedy: "bring the root key",
    },
    Bend {
        how: |on| on.edit(|text| text.replacen("http://127.0.0.1", "http://vault.example.com", 1)),
        check: "settings",
        level: UNSAFE,
        found: "must be https, except on loopback",
        remedy: "docs/operating.md",
    },
    Bend {
        how: |on| on.edit(|text| text.replacen("listen = \"127.0.0.1", "listen = \"0.0.0.0", 1)),
        check: "settings",
        level: UNSAFE,
        found: "must be https, except on loopback",
        remedy: "docs/operating.md",
    },
    Bend {
        how: |on| {
            on.edit(|text| {
                let text = text.replacen("issuer = \"http:", "issuer = \"https:", 1);
                let text = text.replacen("listen = \"127.0.0.1", "listen = \"0.0.0.0", 1);
                above_root_key(&text, "trusted_proxies = [\"192.0.2.7\"]")
            });
        },
        check: "transport",
        level: DOUBTFUL,
        found: "takes plain HTTP from other machines",
        remedy: "listen on loopback beside the proxy",
    },
    Bend {
        how: |on| on.edit(|text| above_root_key(&text, "trusted_proxies = [\"10.0.0.0/8\"]")),
        check: "trusted_proxies",
        level: DOUBTFUL,
        found: "10.0.0.0/8",
        remedy: "list the proxies' own addresses",
    },
    Bend {
        how: |on| on.edit(|text| above_root_key(&text, "trusted_proxies = [\"0.0.0.0/0\"]")),
        check: "settings",
        level: UNSAFE,
        found: "trusts everybody",
        remedy: "docs/operating.md",
    },
    Bend {
        how: |on| on.edit(|text| above_root_key(&text, "allow_sandbox = true")),
        check: "sandbox",
        level: DOUBTFUL,
        found: "providers may be a sandbox",
        remedy: "remove it",
    },
    Bend {
        how: |on| on.edit(|text| above_root_key(&text, "log = \"info,valetkey=trace\"")),
        check: "logging",
        level: DOUBTFUL,
        found: "more than operating needs",
        remedy: "set `log = \"info\"`",
    },
    Bend {
        how: |on| on.edit(|text| text.replace("reserve_mib = 16\n", "reserve_mib = 1099511627\n")),
        check: "space",
        level: DOUBTFUL,
        found: "every write is refused",
        remedy: "free some space",
    },
    Bend {
        how: |on| on.edit(|text| text.replace("reserve_mib = 16\n", "reserve_mib = 15\n")),
        check: "parameters",
        level: DOUBTFUL,
        found: "below 16",
        remedy: "set 16 or more",
    },
];

#[test]
fn a_sound_deployment_is_safe() {
    let deployment = sound();
    let ran = doctor(&deployment, &["--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    let found = findings(&ran);
    for check in
        ["files", "transport", "core_dumps", "swap", "file_system", "space", "clock", "logging", "seal"]
    {
        assert!(found.iter().any(|finding| finding[0] == check), "{check} is looked at: {found:?}");
    }
    for check in ["files", "transport", "core_dumps", "space", "logging", "seal"] {
        assert!(found.iter().all(|finding| finding[0] != check || finding[1] == GOOD), "{check}: {found:?}");
    }
    let shown = doctor(&deployment, &[]).ok();
    assert!(shown.contains("✓ files: "), "{shown}");
}

#[test]
fn whatever_is_bent_is_found_and_its_remedy_named() {
    for Bend { how, check, level, found, remedy } in BENDS {
        let deployment = sound();
        let before = doctor(&deployment, &["--json"]);
        let is_it =
            |finding: &[String; 4]| finding[0] == check && finding[1] == level && finding[2].contains(found);
        assert!(!findings(&before).iter().any(is_it), "{found}: found before it was bent");
        how(&deployment);
        let ran = doctor(&deployment, &["--json", "--strict"]);
        let all = findings(&ran);
        let of_it =
            all.iter().find(|finding| is_it(finding)).unwrap_or_else(|| panic!("{check}, {found}: {all:?}"));
        assert!(of_it[3].contains(remedy), "{of_it:?}");
        assert_eq!(ran.code, Some(if level == UNSAFE { 1 } else { 2 }), "{all:?}");
        let shown = doctor(&deployment, &[]);
        assert!(shown.out.contains(if level == UNSAFE { "✗ " } else { "! " }), "{}", shown.out);
        assert_eq!(shown.code, Some(i32::from(level == UNSAFE)), "what is doubtful is no failure by itself");
    }
}

#[test]
fn a_broker_refuses_what_is_unsafe_and_warns_of_what_is_doubtful() {
    let mut deployment = sound();
    mode(&deployment, "valetkey.toml", 0o622);
    let refused = deployment.serve_in_vain(&[]);
    assert!(refused.contains("not safe to start") && refused.contains("chmod go-w"), "{refused}");
    mode(&deployment, "valetkey.toml", 0o600);
    deployment.edit(|text| above_root_key(&text, "trusted_proxies = [\"10.0.0.0/8\"]"));
    deployment.serve();
    assert_eq!(deployment.terminate(), Some(0));
    let log = fs::read_to_string(deployment.path("log")).unwrap();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let warned = |line: &&Value| line["level"] == "WARN" && line["fields"]["check"] == "trusted_proxies";
    let warning = lines.iter().find(warned).unwrap_or_else(|| panic!("{log}"));
    assert_eq!(warning["fields"]["remedy"], "list the proxies' own addresses");
}

#[test]
fn a_clock_behind_what_was_written_is_doubtful() {
    let deployment = sound();
    let later =
        UNIX_EPOCH + Duration::from_millis(SystemClock.now().millis() as u64) + Duration::from_secs(7200);
    let file = File::options().write(true).open(deployment.path("data/keyring.json")).unwrap();
    file.set_times(FileTimes::new().set_modified(later)).unwrap();
    let ran = doctor(&deployment, &["--json"]);
    let clock = findings(&ran).into_iter().find(|finding| finding[0] == "clock").unwrap();
    // It may have been ahead when that was written, and be right now: nobody is kept from starting.
    assert_eq!((clock[1].as_str(), ran.code), (DOUBTFUL, Some(0)), "{clock:?}");
    assert!(clock[3].contains("timedatectl"), "{clock:?}");
}

/// Answers one request with a `Date` that is so many seconds off; its address.
fn clock_off_by(secs: i64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://clock.example.com=http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).unwrap();
        let date = jiff::Timestamp::from_millisecond(SystemClock.now().millis() + 1000 * secs).unwrap();
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
        let answer =
            format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn the_clock_is_compared_with_that_of_an_address() {
    for (off, level, words) in
        [(0, GOOD, "in step"), (20, DOUBTFUL, "s behind"), (-600, UNSAFE, "s ahead of")]
    {
        let deployment = sound();
        let address = clock_off_by(off);
        let (origin, to) = address.split_once('=').unwrap();
        deployment.edit(|text| {
            let text = above_root_key(&text, "allow_sandbox = true");
            format!("{text}[outbound.origins]\n\"{origin}\" = \"{to}\"\n")
        });
        let ran = doctor(&deployment, &["--json", "--clock", "https://clock.example.com/"]);
        let skew = findings(&ran).into_iter().find(|finding| finding[0] == "clock_skew").unwrap();
        assert_eq!(skew[1], level, "{off}: {skew:?}");
        assert!(skew[2].contains(words), "{off}: {skew:?}");
    }
    let deployment = sound();
    let ran = doctor(&deployment, &["--json", "--clock", "https://127.0.0.1:1/"]);
    let skew = findings(&ran).into_iter().find(|finding| finding[0] == "clock_skew").unwrap();
    assert_eq!((skew[1].as_str(), ran.code), (DOUBTFUL, Some(0)), "{skew:?}");
}

#[test]
fn a_database_that_is_away_is_named_without_its_password() {
    let deployment = sound();
    let url = deployment.write("db.url", "postgres://vk:secret-canary@127.0.0.1:1/vk");
    mode(&deployment, "db.url", 0o644);
    deployment
        .edit(|text| text.replace("reserve_mib = 16\n", &format!("postgres = {{ file = \"{url}\" }}\n")));
    let ran = doctor(&deployment, &["--json"]);
    let all = findings(&ran);
    assert!(
        all.iter().any(|finding| finding[0] == "files" && finding[2].contains("db.url` can be read")),
        "{all:?}"
    );
    mode(&deployment, "db.url", 0o600);
    let ran = doctor(&deployment, &["--json"]);
    let database = findings(&ran).into_iter().find(|finding| finding[0] == "postgres").unwrap();
    assert_eq!((database[1].as_str(), ran.code), (UNSAFE, Some(1)), "{database:?}");
    assert!(!ran.out.contains("secret-canary") && !ran.err.contains("secret-canary"), "{}", ran.out);
}

fn of(on: &Deployment, check: &str) -> [String; 4] {
    let all = findings(&doctor(on, &["--json"]));
    all.iter().find(|finding| finding[0] == check).unwrap_or_else(|| panic!("{check}: {all:?}")).clone()
}

/// What is doubtful or worse, and how a strict look ends.
fn strictly(on: &Deployment) -> (Vec<String>, Option<i32>) {
    let ran = doctor(on, &["--json", "--strict"]);
    let bad = findings(&ran).into_iter().filter(|finding| finding[1] != GOOD).map(|[check, ..]| check);
    (bad.collect(), ran.code)
}

#[tokio::test]
async fn the_keyring_in_the_database_is_opened_and_a_healthy_cluster_passes_a_strict_look() {
    let node = in_a_database().await;
    node.edit(|text| text.replace("reserve_mib = 1\n", "reserve_mib = 16\n"));
    // While the broker runs. What is doubtful about this machine is doubtful without a database as well.
    let seal = of(&node, "seal");
    assert_eq!((seal[1].as_str(), seal[2].contains("in the database")), (GOOD, true), "{seal:?}");
    assert_eq!(strictly(&node), strictly(&sound()));
    // A node that has never run has no copy of the keyring.
    assert_eq!(of(&node.another_node(), "seal")[1], GOOD);

    fs::write(node.path("root.key"), format!("{}\n", "ab".repeat(32))).unwrap();
    let seal = of(&node, "seal");
    assert_eq!((seal[1].as_str(), seal[2].contains("does not open")), (UNSAFE, true), "{seal:?}");
    assert!(seal[3].contains("the root key that the other nodes run with"), "{seal:?}");
    assert_eq!(doctor(&node, &[]).code, Some(1));

    // A folder of another deployment, and a database that nothing was put into.
    let other = sound();
    stored(
        &other,
        &database(&other, "postgres.url", &fs::read_to_string(node.path("postgres.url")).unwrap()),
    );
    let seal = of(&other, "seal");
    assert_eq!((seal[1].as_str(), seal[2].contains("another deployment")), (UNSAFE, true), "{seal:?}");
    let empty = sound_cluster().fresh();
    stored(&other, &database(&other, "postgres.url", &empty.url_at(empty.port())));
    let seal = of(&other, "seal");
    assert_eq!((seal[1].as_str(), seal[2].contains("was not set up")), (UNSAFE, true), "{seal:?}");
    assert!(seal[3].contains("docs/cluster.md"), "{seal:?}");
    let tables = empty.psql("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()");
    assert_eq!(tables, "0", "looking makes no tables");
}

#[test]
fn what_a_start_refuses_the_doctor_refuses_in_the_same_words() {
    type Bent = fn(&str) -> String;
    let bends: [(&str, Bent); 8] = [
        ("`workers`", |text| above_root_key(text, "workers = 0")),
        ("`drain_s`", |text| above_root_key(text, "drain_s = 100000")),
        ("`log`", |text| above_root_key(text, "log = \"nonsense==\"")),
        ("`outbound.proxy`", |text| format!("{text}[outbound]\nproxy = \"socks5://127.0.0.1:9\"\n")),
        ("no.pem", |text| format!("{text}[outbound]\nextra_ca = [\"no.pem\"]\n")),
        ("no.crt", |text| above_root_key(text, "tls = { certificate = \"no.crt\", key = \"no.key\" }")),
        ("nosuch", |text| format!("{text}[templates]\nfolder = \"nosuch\"\n")),
        ("set up with the engine", |text| {
            text.replace("reserve_mib = 16\n", "reserve_mib = 16\nengine = \"redb\"\n")
        }),
    ];
    for (named, bent) in bends {
        let mut deployment = sound();
        deployment.serve();
        deployment.terminate();
        assert_eq!(doctor(&deployment, &[]).code, Some(0), "{named}: before");
        deployment.edit(|text| bent(&text));
        let (looked, refused) = (doctor(&deployment, &[]), deployment.serve_in_vain(&[]));
        assert!(
            looked.code == Some(1) && looked.out.contains(named),
            "{named}: {}{}",
            looked.out,
            looked.err
        );
        assert!(refused.contains(named) && !refused.contains("panicked"), "{named}: {refused}");
    }
}

#[test]
fn a_running_broker_leaves_no_core_behind() {
    let mut deployment = sound();
    deployment.serve();
    let limits = fs::read_to_string(format!("/proc/{}/limits", deployment.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let set: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(set, ["0", "0"], "{core}");
    // Asked of the kernel by a process that has done the same; it also says when it is dumpable.
    let told = of(&deployment, "core_dumps");
    assert!(told[1] == GOOD && told[2].contains("is not dumpable"), "{told:?}");
}
