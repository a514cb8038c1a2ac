//! Raw answers of providers, sealed and synced before anybody reads them.
//!
//! Between a provider's commit and ours there is one moment that no journal of ours can cover: the answer has
//! arrived, and is nowhere but in memory. It is made as short as one write and one `fdatasync`, to a file that
//! was made, given its space and synced before the provider was dialled. Nothing that could fail for other
//! reasons (reading the answer, sealing a record, a busy store) comes before that.
//!
//! The folder belongs to one node. One file per attempt, `<connection>.<generation>.<attempt>`; the same three
//! are what its content is bound to. An empty file says that no answer came. A file is removed when what it
//! holds is in the store; a removal that a power cut takes back is recognised by the refresh token. What cannot be
//! opened is never removed.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ConnectionId;
use crate::kernel::secret::{Secret, SecretBytes};
use crate::model::sealed::{Context, Sealed, Sealer};
use crate::model::spool::{ASIDE, FOLDER, frame, framed};
use crate::store::disk::{Disk, RealDisk, is_full};
use crate::upstream::RawAnswer;

/// Space that a file is given before the dial: no token answer that was ever seen is longer.
const ROOM: u64 = 16 * 1024;
/// Longer than the longest answer that is read (256 KiB), sealed.
const MAX_FILE: u64 = 512 * 1024;
/// `whole | status | received at`, in front of the body, sealed with it.
const PLAIN_HEADER: usize = 1 + 2 + 8;
/// What ends each sealed value.
const TAG: usize = 16;
/// Files without use whose names end in this lie in the spool itself: they are moved when it is opened.
const FORMERLY_ASIDE: &str = "aside";

/// Why the spool could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk is full.
    #[error("the spool's disk is full: free some space on the disk of the data folder")]
    Full,
    /// Anything else.
    #[error("the spool `{}` cannot be used: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What names an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub connection: ConnectionId,
    /// The generation whose token was spent.
    pub generation: u64,
    pub attempt: String,
}

impl Ticket {
    fn file_name(&self) -> String {
        format!("{}.{}.{}", self.connection, self.generation, self.attempt)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, '.');
        let connection = parts.next()?.parse().ok()?;
        let generation = parts.next()?.parse().ok()?;
        let attempt =
            parts.next().filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some(Self { connection, generation, attempt: attempt.to_owned() })
    }
}

/// What a file of the spool holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing: no answer came.
    Empty,
    /// The beginning of an answer that a crash has torn.
    Torn,
    /// An answer that no key of ours opens. It is still there when the right keyring is.
    Closed,
    /// An answer.
    Answer(Kept),
}

/// An answer as it is kept, with what is needed to store its tokens later.
#[derive(Debug)]
pub(super) struct Kept {
    pub answer: RawAnswer,
    /// Whether everything was asked for, so that the access token is the connection's own.
    pub whole: bool,
    /// When it arrived: lives are counted from here.
    pub received_at: Timestamp,
}

/// The folder of one node.
#[derive(Clone)]
pub struct Spool(Arc<Place>);

struct Place {
    dir: PathBuf,
    aside: PathBuf,
    disk: Arc<dyn Disk>,
    sealer: Arc<dyn Sealer>,
}

impl Spool {
    /// Opens the spool in a data folder, and makes it if need be.
    ///
    /// # Errors
    /// When the folder cannot be made or its rights cannot be set.
    pub fn open(data_dir: &Path, sealer: Arc<dyn Sealer>) -> Result<Self, SpoolError> {
        Self::open_on(Arc::new(RealDisk), data_dir, sealer)
    }

    /// [`Spool::open`] on a given disk.
    ///
    /// # Errors
    /// When the folder cannot be made or its rights cannot be set.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        sealer: Arc<dyn Sealer>,
    ) -> Result<Self, SpoolError> {
        let (dir, aside) = (data_dir.join(FOLDER), data_dir.join(ASIDE));
        let make = || {
            for folder in [&dir, &aside] {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
            }
            File::open(data_dir)?.sync_all()
        };
        make().map_err(|source| refused(&dir, source))?;
        let place = Place { dir, aside, disk, sealer };
        place.set_former_aside().map_err(|source| refused(&place.dir, source))?;
        Ok(Self(Arc::new(place)))
    }

    /// Makes room for an answer, durably. Where this fails nothing must be dialled.
    pub(super) async fn prepare(&self, ticket: Ticket) -> Result<Slot, SpoolError> {
        let place = Arc::clone(&self.0);
        blocking(move || {
            let path = place.path(&ticket);
            let file = place.make(&path).map_err(|source| {
                // What was begun is of no use to anybody.
                let _ = std::fs::remove_file(&path);
                refused(&path, source)
            })?;
            Ok(Slot { place, ticket, path, file: Some(file) })
        })
        .await
    }

    /// What lies there: the attempts that were never finished.
    pub(super) async fn tickets(&self) -> Result<Vec<Ticket>, SpoolError> {
        let place = Arc::clone(&self.0);
        blocking(move || place.tickets().map_err(|source| refused(&place.dir, source))).await
    }

    /// What an attempt has left.
    pub(super) async fn read(&self, ticket: &Ticket) -> Result<Content, SpoolError> {
        let (place, ticket) = (Arc::clone(&self.0), ticket.clone());
        blocking(move || {
            let path = place.path(&ticket);
            place.read(&ticket, &path).map_err(|source| refused(&path, source))
        })
        .await
    }

    /// Moves the file of an attempt out of the spool, so that nothing takes it for an answer: what cannot be read here
    /// may be the only copy of a token, and is never removed.
    pub(super) async fn set_aside(&self, ticket: &Ticket) {
        let (path, aside) = (self.0.path(ticket), self.0.aside.join(ticket.file_name()));
        let _ = blocking(move || {
            match std::fs::rename(&path, &aside) {
                Ok(()) => tracing::warn!("`{}` holds no answer that is of use here", aside.display()),
                Err(error) => tracing::warn!("`{}` could not be set aside: {error}", path.display()),
            }
            Ok(())
        })
        .await;
    }

    /// Removes the file of an attempt.
    pub(super) async fn remove(&self, ticket: &Ticket) {
        let path = self.0.path(ticket);
        let _ = blocking(move || {
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("`{}` could not be removed: {error}", path.display());
            }
            Ok(())
        })
        .await;
    }
}

impl Place {
    fn path(&self, ticket: &Ticket) -> PathBuf {
        self.dir.join(ticket.file_name())
    }

    fn set_former_aside(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == FORMERLY_ASIDE)
                && let Some(name) = path.file_stem()
            {
                std::fs::rename(&path, self.aside.join(name))?;
            }
        }
        Ok(())
    }

    fn make(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, ROOM) {
            // A file system that cannot promise space: the write itself will tell.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        self.disk.sync_data(&file)?;
        // The name too: without it the content would be lost with all its syncs.
        File::open(&self.dir)?.sync_all()?;
        Ok(file)
    }

    fn write(&self, file: &mut File, ticket: &Ticket, plain: &SecretBytes) -> io::Result<()> {
        let id = sealed_id(ticket);
        let sealed = self.sealer.seal(context(&id, ticket.generation), plain.expose());
        let bytes = frame(sealed.as_bytes()).ok_or(io::ErrorKind::FileTooLarge)?;
        self.disk.append(file, &bytes)?;
        self.disk.sync_data(file)
    }

    fn tickets(&self) -> io::Result<Vec<Ticket>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            found.extend(entry?.file_name().to_str().and_then(Ticket::parse));
        }
        Ok(found)
    }

    fn read(&self, ticket: &Ticket, path: &Path) -> io::Result<Content> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(MAX_FILE).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Empty),
            Err(error) => return Err(error),
        };
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Content::Empty);
        }
        let Some(sealed) = framed(&bytes) else { return Ok(Content::Torn) };
        let id = sealed_id(ticket);
        match self.sealer.open(context(&id, ticket.generation), &Sealed::from_bytes(sealed.to_vec())) {
            Ok(plain) => Ok(unpack(&plain).map_or(Content::Torn, Content::Answer)),
            // Its last block was never written: a tag is not zero.
            Err(_) if sealed.ends_with(&[0; TAG]) => Ok(Content::Torn),
            Err(error) => {
                tracing::error!(
                    "`{}` holds an answer that no key of this keyring opens ({error}): it is kept, and read again \
                     at the next start",
                    path.display()
                );
                Ok(Content::Closed)
            }
        }
    }
}

/// A file that waits for an answer. Dropped, it stays: what it holds is found at the next start.
pub(super) struct Slot {
    place: Arc<Place>,
    ticket: Ticket,
    path: PathBuf,
    file: Option<File>,
}

impl Slot {
    /// Seals an answer and returns when it is durable.
    pub(super) async fn keep(
        &mut self,
        answer: &RawAnswer,
        whole: bool,
        received_at: Timestamp,
    ) -> Result<(), SpoolError> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let plain = pack(answer, whole, received_at);
        let (place, ticket, path) = (Arc::clone(&self.place), self.ticket.clone(), self.path.clone());
        blocking(move || place.write(&mut file, &ticket, &plain).map_err(|source| refused(&path, source)))
            .await
    }

    /// The answer is in the store, or there is none to keep.
    pub(super) async fn done(self) {
        Spool(Arc::clone(&self.place)).remove(&self.ticket).await;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(SpoolError::Io { path: PathBuf::new(), source: io::Error::other(error) }),
    }
}

fn refused(path: &Path, source: io::Error) -> SpoolError {
    if is_full(&source) { SpoolError::Full } else { SpoolError::Io { path: path.to_owned(), source } }
}

fn sealed_id(ticket: &Ticket) -> String {
    format!("{}/{}", ticket.connection, ticket.attempt)
}

fn context(id: &str, generation: u64) -> Context<'_> {
    Context { kind: "spool", id, field: "answer", generation }
}

fn pack(answer: &RawAnswer, whole: bool, received_at: Timestamp) -> SecretBytes {
    let body = answer.body.expose();
    // Sized for all of it: a growing buffer would leave a copy behind.
    let mut plain = Secret::new(Vec::with_capacity(PLAIN_HEADER + body.len()));
    plain.expose_mut().push(u8::from(whole));
    plain.expose_mut().extend_from_slice(&answer.status.to_be_bytes());
    plain.expose_mut().extend_from_slice(&received_at.millis().to_be_bytes());
    plain.expose_mut().extend_from_slice(body);
    plain
}

fn unpack(plain: &SecretBytes) -> Option<Kept> {
    let (whole, rest) = plain.expose().split_first()?;
    let (status, rest) = rest.split_first_chunk::<2>()?;
    let (received_at, body) = rest.split_first_chunk::<8>()?;
    Some(Kept {
        answer: RawAnswer {
            status: u16::from_be_bytes(*status),
            retry_after: None,
            body: Secret::new(body.to_vec()),
        },
        whole: *whole != 0,
        received_at: Timestamp::from_millis(i64::from_be_bytes(*received_at)),
    })
}
