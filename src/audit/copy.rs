//! The copy of the newest signed head. The head itself is durable in the log before its copy is written, and no
//! request depends on the copy, so a thread of its own writes it: a new file costs several syncs' time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use crate::audit::segment;
use crate::store::disk::is_full;
use crate::store::latch::Latch;

/// Hands heads to the thread that copies them.
pub(super) struct HeadCopy {
    notes: Option<Sender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl HeadCopy {
    /// Copies into the log's folder from now on. A failure other than a full disk sets the latch.
    pub(super) fn start(dir: PathBuf, latch: Arc<Latch>) -> io::Result<Self> {
        let (notes, arrived) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("audit-head".to_owned())
            .spawn(move || copy_newest(&dir, &arrived, &latch))?;
        Ok(Self { notes: Some(notes), thread: Some(thread) })
    }

    /// Takes a head that is newer than those before it. Only the newest of those that wait is written.
    pub(super) fn keep(&self, note: String) {
        if let Some(notes) = &self.notes {
            // The thread ends before its time only with the latch set.
            let _ = notes.send(note);
        }
    }

    /// Returns when the newest head has been copied. Later ones are not.
    pub(super) fn finish(&mut self) {
        self.notes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for HeadCopy {
    fn drop(&mut self) {
        self.finish();
    }
}

fn copy_newest(dir: &std::path::Path, arrived: &Receiver<String>, latch: &Latch) {
    while let Ok(first) = arrived.recv() {
        let newest = arrived.try_iter().last().unwrap_or(first);
        match segment::write_head_file(dir, &newest) {
            Ok(()) => {}
            Err(e) if is_full(&e) => tracing::warn!("no room for the copy of the audit log's head"),
            Err(error) => {
                tracing::error!(%error, "audit log: the copy of the head could not be written; the process must end");
                latch.set();
                return;
            }
        }
    }
}
