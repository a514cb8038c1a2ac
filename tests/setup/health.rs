//! Readiness of the real program: its database goes away and comes back, and it is told to end.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster::sound_cluster;
use crate::deployment::{Deployment, run};
use crate::moving::{database, stored};

/// A way to the database that can be closed.
struct Way {
    port: u16,
    is_open: Arc<AtomicBool>,
}

impl Way {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self { port: listener.local_addr().unwrap().port(), is_open: Arc::new(true.into()) };
        let is_open = Arc::clone(&way.is_open);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    pass(from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&is_open));
                }
            }
        });
        way
    }
}

/// Passes bytes on while the way is open; then both ends are closed.
fn pass(mut from: TcpStream, mut to: TcpStream, is_open: Arc<AtomicBool>) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while is_open.load(Ordering::SeqCst) {
            match from.read(&mut buffer) {
                Ok(read) if read > 0 && to.write_all(&buffer[..read]).is_ok() => {}
                Err(e)
                    if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                _ => break,
            }
        }
        for end in [from, to] {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    });
}

/// What the broker says of itself; none when nobody answers.
fn says(deployment: &Deployment) -> Option<String> {
    let mut stream = TcpStream::connect(deployment.issuer.trim_start_matches("http://")).ok()?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.rsplit("\r\n").next().map(|body| body.trim().to_owned())
}

pub fn comes_to_say(deployment: &Deployment, wanted: Option<&str>) {
    let until = Instant::now() + Duration::from_secs(60);
    while says(deployment).as_deref() != wanted {
        assert!(Instant::now() < until, "{:?} instead of {wanted:?}", says(deployment));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_broker_without_its_database_is_not_ready_and_recovers_by_itself() {
    let mut deployment = Deployment::init();
    let fresh = sound_cluster().fresh();
    let url = fresh.url_at(fresh.port());
    let config = deployment.at("valetkey.toml");
    run(&["vault", "migrate", "--config", &config], &[("VALETKEY_MIGRATE_TO", &url)]).ok();
    let way = Way::to(fresh.port());
    stored(&deployment, &database(&deployment, "postgres.url", &fresh.url_at(way.port)));
    deployment.serve();
    comes_to_say(&deployment, Some("ready"));
    way.is_open.store(false, Ordering::SeqCst);
    comes_to_say(&deployment, Some("not ready: storage"));
    way.is_open.store(true, Ordering::SeqCst);
    comes_to_say(&deployment, Some("ready"));
    assert_eq!(deployment.terminate(), Some(0));
}

/// A call on a connection of its own: whether it was answered; none when it was refused.
fn calls(address: &str) -> Option<bool> {
    let mut stream = TcpStream::connect(address).ok()?;
    let mut answer = String::new();
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let _ = stream.read_to_string(&mut answer);
    Some(answer.ends_with("ok\n"))
}

#[test]
fn whoever_calls_while_the_broker_ends_is_answered_or_refused_and_not_cut_off() {
    let mut deployment = Deployment::init();
    deployment.serve();
    comes_to_say(&deployment, Some("ready"));
    let address = deployment.issuer.trim_start_matches("http://").to_owned();
    let (told, first_answers) = mpsc::channel();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (address, told) = (address.clone(), told.clone());
            std::thread::spawn(move || {
                let (mut answered, mut cut_off) = (0, 0);
                while let Some(was_answered) = calls(&address) {
                    if was_answered && answered == 0 {
                        told.send(()).unwrap();
                    }
                    answered += u32::from(was_answered);
                    cut_off += u32::from(!was_answered);
                    std::thread::sleep(Duration::from_millis(10));
                }
                (answered, cut_off)
            })
        })
        .collect();
    drop(told);
    assert_eq!(
        first_answers.iter().take(callers.len()).count(),
        callers.len(),
        "each has been answered once"
    );
    assert_eq!(deployment.terminate(), Some(0));
    let counts: Vec<(u32, u32)> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    assert!(counts.iter().all(|(answered, _)| *answered > 0), "{counts:?}");
    // One may come in the very moment between the last look and the end, and on a busy machine that is a long moment. Without
    // the look it is all eight.
    assert!(counts.iter().map(|(_, cut_off)| cut_off).sum::<u32>() < 4, "(answered, cut off): {counts:?}");
}

#[test]
fn a_broker_that_is_told_to_end_says_so_for_as_long_as_it_was_set_to_and_a_second_word_ends_it() {
    let mut deployment = Deployment::init();
    deployment.edit(|text| format!("drain_s = 600\n{text}"));
    deployment.serve();
    comes_to_say(&deployment, Some("ready"));
    let mut kept = TcpStream::connect(deployment.issuer.trim_start_matches("http://")).unwrap();
    let mut ask = || {
        kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"ok\n") {
            assert_eq!(kept.read(&mut byte).unwrap(), 1, "closed after {}", String::from_utf8_lossy(&answer));
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap().to_lowercase()
    };
    assert!(!ask().contains("connection: close"));
    deployment.signal(Signal::TERM);
    comes_to_say(&deployment, Some("not ready: stopping"));
    assert!(ask().contains("connection: close"), "answered, and no further one");
    assert_eq!(deployment.terminate(), Some(0));
}
