//! Processes that rotate keys while others write are killed, at any moment; then every record is opened.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use valetkey::custody::SETTLE;
use valetkey::custody::rotation::Progress;
use valetkey::model::rotation::Rotation;
use valetkey::store::Tx;

use crate::disk::{ENGINES, Kind, REDB, SLED};
use crate::rotation::Place;
use crate::{Note, note};

/// Runs in a process of its own, until it is killed: rotates again and again, while others write.
#[test]
#[ignore = "the child of the next test"]
fn child_that_rotates_until_it_is_killed() {
    let Ok(dir) = std::env::var("VALETKEY_TEST_STORE") else { return };
    let engine = if std::env::var("VALETKEY_TEST_ENGINE").as_deref() == Ok("redb") { REDB } else { SLED };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::open(engine, Path::new(&dir));
        println!("open");
        let store = place.store.clone();
        tokio::spawn(async move {
            for n in 0u64.. {
                let id = format!("{:05}", n * 7 % 600);
                let raised = |n: &Note| Ok::<_, ()>(Some(Note { count: n.count + 1, ..n.clone() }));
                store.update::<Note, ()>(&id, raised).await.unwrap();
            }
        });
        loop {
            if place.custody.walk_on().await.unwrap() == Progress::Idle {
                println!("term {}", place.custody.rotate("an admin").await.unwrap());
            }
            place.clock.advance(SETTLE);
        }
    });
}

/// How often each engine's process is killed; `scripts/storage` asks for more.
fn kills() -> u32 {
    std::env::var("VALETKEY_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// A process that rotates, and what it says.
struct Rotating {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Rotating {
    fn begin(engine: Kind, dir: &Path) -> Self {
        let child = "rotation_kills::child_that_rotates_until_it_is_killed";
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", child, "--ignored", "--nocapture"])
            .env("VALETKEY_TEST_STORE", dir)
            .env("VALETKEY_TEST_ENGINE", engine.name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut begun = Self { process, said };
        begun.wait_for("open");
        begun
    }

    fn wait_for(&mut self, words: &str) {
        self.said.by_ref().map_while(Result::ok).find(|line| line.contains(words)).unwrap();
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// What a rotation was at when its process was killed.
fn stage(place: &Place, rotation: Option<&Rotation>) -> &'static str {
    match rotation {
        _ if place.terms().len() == 1 => "between two rotations",
        None => "beginning",
        Some(rotation) if rotation.records == 0 => "counting",
        Some(rotation) if rotation.walked == 0 => "in its first step",
        Some(rotation) if rotation.counted_zero_at.is_some() => "between the two counts",
        Some(rotation) if rotation.cursor.is_some() => "walking",
        Some(_) => "walked",
    }
}

#[test]
fn no_record_is_unreadable_after_kills_in_the_middle_of_rotations() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::begin(engine, folder.path());
            for n in 0..600 {
                let mut tx = Tx::new();
                tx.insert(&note(&format!("{n:05}"), "ann"));
                let _ = place.store.commit(tx).await.unwrap();
            }
        });
        // How long a rotation takes here and now: the kills are spread over twice that.
        let mut first = Rotating::begin(engine, folder.path());
        first.wait_for("term");
        let began = Instant::now();
        first.wait_for("term");
        let length = began.elapsed();
        first.kill();
        let mut stages = BTreeMap::new();
        for round in 0..kills() {
            let mut child = Rotating::begin(engine, folder.path());
            // Each fourth lives until a rotation has ended, however slow this machine is.
            if round % 4 == 3 {
                child.wait_for("term");
            }
            std::thread::sleep(length.mul_f64(f64::from(round * 37 % 100) / 50.0));
            child.kill();
            runtime.block_on(async {
                let place = Place::open(engine, folder.path());
                let census = place.custody.count().await.unwrap();
                assert_eq!(census.unreadable, 0, "{} kill {round}", engine.name);
                assert_eq!(place.store.page::<Note>(None, 1000).await.unwrap().len(), 600);
                let rotation = place.custody.status().await.unwrap().rotation;
                *stages.entry(stage(&place, rotation.as_ref())).or_insert(0) += 1;
            });
        }
        runtime.block_on(async {
            let place = Place::open(engine, folder.path());
            place.rotated().await;
            assert_eq!(place.terms().len(), 1);
            let ended = place.terms()[0] - 1;
            assert!(ended > kills() / 4, "{}: {ended} rotations", engine.name);
            println!(
                "{}: {} kills, killed {stages:?}; {ended} rotations ended, of {length:?} when nobody kills; 0 unreadable",
                engine.name,
                kills(),
            );
        });
    }
}

/// Else a process that never lives for longer than a count would never walk.
#[tokio::test]
async fn a_rotation_that_is_stopped_after_its_count_does_not_count_again() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let counted = {
            let place = Place::begin(engine, folder.path());
            for n in 0..100 {
                let mut tx = Tx::new();
                tx.insert(&note(&format!("{n:03}"), "ann"));
                let _ = place.store.commit(tx).await.unwrap();
            }
            place.custody.rotate("an admin").await.unwrap();
            assert_eq!(place.custody.walk_on().await.unwrap(), Progress::More);
            let rotation = place.custody.status().await.unwrap().rotation.unwrap();
            assert_eq!(rotation.walked, 0, "{}: only the count was made", engine.name);
            assert!(rotation.records >= 100, "{}: {} records", engine.name, rotation.records);
            rotation.records
        };
        let place = Place::open(engine, folder.path());
        assert_eq!(place.custody.walk_on().await.unwrap(), Progress::More);
        let status = place.custody.status().await.unwrap();
        assert!(status.counted.is_none(), "{}: this process has counted nothing", engine.name);
        let rotation = status.rotation.unwrap();
        assert_eq!(rotation.records, counted, "{}", engine.name);
        assert!(rotation.walked >= 100, "{}: {} were looked at", engine.name, rotation.walked);
    }
}
