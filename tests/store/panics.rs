//! Engines that panic, as they may on damaged pages: the store gives up, and says which file it was and what to do.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use valetkey::store::disk::{Disk, RealDisk};
use valetkey::store::embedded::{Change, Embedded, Engine, EngineError};
use valetkey::store::{Backend, Batch, StoreError};

/// Keeps its entries in memory, and panics in the step that a file in its folder names.
struct Panicking {
    entries: Mutex<BTreeMap<Bytes, Bytes>>,
    ill: PathBuf,
}

impl Panicking {
    fn step(&self, name: &str) {
        assert!(std::fs::read_to_string(&self.ill).unwrap_or_default() != name, "{name}: a bad page");
    }
}

impl Engine for Panicking {
    const NAME: &'static str = "redb";
    const FILE: &'static str = "entries";

    fn open(_: Arc<dyn Disk>, folder: &Path) -> Result<Self, EngineError> {
        Ok(Self { entries: Mutex::default(), ill: folder.join("ill") })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.step("get");
        Ok(self.entries.lock().unwrap().get(key).cloned())
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        take: &mut dyn FnMut(Bytes, Bytes) -> bool,
    ) -> Result<(), EngineError> {
        self.step("range");
        let entries = self.entries.lock().unwrap().clone();
        for (key, value) in entries.range::<[u8], _>((from, Bound::Unbounded)) {
            if !take(key.clone(), value.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, changes: &[Change]) -> Result<(), EngineError> {
        self.step("apply");
        let mut entries = self.entries.lock().unwrap();
        for (key, value) in changes {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        Ok(())
    }
}

/// What the process logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// One for the process: the committer logs from a thread of its own.
    fn of_the_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
            log
        })
    }

    fn lines_about(&self, file: &Path) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(&file.display().to_string())).map(str::to_owned).collect()
    }
}

fn write(key: &'static str) -> Batch {
    let change = (Bytes::from_static(key.as_bytes()), Some(Bytes::from_static(b"value")));
    Batch { expect: Vec::new(), write: vec![change] }
}

#[tokio::test]
async fn a_panicking_engine_ends_the_store_and_names_the_file_and_the_command() {
    let log = Log::of_the_process();
    for (ill, what) in [
        ("get", "a read failed"),
        ("range", "a read failed"),
        ("get", "a write failed"),
        ("apply", "a write failed"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::<Panicking>::open_on(Arc::new(RealDisk), folder.path(), 0).unwrap();
        let _ = store.commit(write("r/one")).await.unwrap();
        assert!(store.get(b"r/one").await.unwrap().is_some() && !store.failed(), "{ill}: well at first");
        let file = folder.path().join("store/entries");
        assert_eq!(log.lines_about(&file), Vec::<String>::new(), "{ill}");

        std::fs::write(folder.path().join("store/ill"), ill).unwrap();
        let first = match (ill, what) {
            ("get", "a read failed") => store.get(b"r/one").await.map(drop),
            ("range", _) => store.scan(b"r/", None, 10).await.map(drop),
            _ => store.commit(write("r/two")).await.map(drop),
        };
        assert!(matches!(first, Err(StoreError::Failed)), "{ill} {what}: {first:?}");
        // The signal by which the process leaves with 74.
        store.failed_signal().await;
        assert!(store.failed() && store.version().is_none(), "{ill}");

        // Well again or not: what it holds is not trusted any more.
        std::fs::remove_file(folder.path().join("store/ill")).unwrap();
        assert!(matches!(store.get(b"r/one").await, Err(StoreError::Failed)), "{ill}");
        assert!(matches!(store.scan(b"r/", None, 10).await, Err(StoreError::Failed)), "{ill}");
        assert!(matches!(store.commit(write("r/three")).await, Err(StoreError::Failed)), "{ill}");
        assert!(matches!(store.sync().await, Err(StoreError::Failed)), "{ill}");
        let said = log.lines_about(&file);
        assert!(
            matches!(&said[..], [line] if line.contains("ERROR") && line.contains(what) && line.contains("`valetkey vault restore`")),
            "{ill} {what}: {said:?}"
        );
    }
}
