//! Whole files under their final names.
//!
//! The invariant: a final name either does not exist or holds a complete file, and a file that exists
//! is never overwritten, unless its name is one that is replaced ([`Place::replace`]): then by a
//! complete file. On S3 a PUT is that by itself. In a local folder the bytes go to a hidden name first,
//! are made durable, and get their name by a hard link, which fails if the name is taken, or by
//! renaming, which takes it. The hidden name is the process's own: two processes may publish the same
//! file at the same time, and a link shares what the other one would write.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use bytes::Bytes;
use futures::StreamExt;
use millstream_engine::{Clock, Error, ErrorKind, Result, Troubles};
use object_store::path::{Path, PathPart};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::location::{Location, io_text, store_error};
use crate::Context;

/// A complete file that is to be published.
#[derive(Debug)]
pub(super) struct Complete {
    /// The folders below the sink's place.
    pub(super) folders: Vec<String>,
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u64,
}

/// Where a sink's files go.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Folder(Folder),
    Store(Store),
}

/// A prefix of a bucket.
#[derive(Debug, Clone)]
pub(super) struct Store {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    shown: String,
    clock: Arc<dyn Clock>,
    /// Where it says that the store does not take a file.
    troubles: Troubles,
}

/// A local folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
    /// What tells this process's hidden files from another's.
    writer: u64,
}

/// The first wait before a store is asked again; doubled up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The longest wait before a store is asked again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long a store is asked to take a file: longer than its usual trouble.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// How a hidden file ends.
const HIDDEN_ENDING: &str = ".writing";

/// A hidden file that was not touched for so long has lost its process.
const ABANDONED_MS: i64 = 3_600_000;

impl Place {
    /// The place that `location` means, made if it is a folder that is not there. Hidden files that
    /// killed processes left there are removed.
    ///
    /// # Errors
    ///
    /// When it is a file, or cannot be made.
    pub(super) async fn prepare(location: &Location, context: &Context) -> Result<Self> {
        let folder = match location.folder() {
            Ok(folder) => folder,
            Err(prefix) => {
                let (store, shown) = (Arc::clone(&location.store), location.shown.clone());
                // A look tells a bucket that is not there; not being allowed to look tells nothing.
                match store.list(Some(prefix)).next().await {
                    None | Some(Ok(_) | Err(object_store::Error::PermissionDenied { .. })) => {}
                    Some(Err(error)) => return Err(store_error(&shown, error)),
                }
                let (prefix, clock) = (prefix.clone(), Arc::clone(&context.clock));
                let troubles = context.troubles.clone();
                return Ok(Self::Store(Store { store, prefix, shown, clock, troubles }));
            }
        };
        std::fs::create_dir_all(folder).map_err(|error| {
            let why = if folder.is_file() { "it is a file".into() } else { io_text(&error) };
            Error::settings(format!("cannot write to the folder '{}': {why}", location.shown))
        })?;
        let folder = Folder { root: folder.to_owned(), writer: context.seed };
        folder.remove_abandoned(context.clock.now_ms());
        Ok(Self::Folder(folder))
    }

    /// Gives `file` its final name. Publishing the same file again is no error: one with the same rows,
    /// even if it was encoded by another version.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another file has its name.
    pub(super) async fn publish(&self, file: Complete) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                let folder = folder.clone();
                tokio::task::spawn_blocking(move || folder.publish(&file))
                    .await
                    .map_err(|error| Error::bug(format!("writing ended early: {error}")))?
            }
            Self::Store(store) => store.publish(file).await,
        }
    }
}

impl Place {
    /// Gives `bytes` the name `name`, in place of what had it: a reader finds the one or the other.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) async fn replace(&self, name: String, bytes: Vec<u8>) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                let folder = folder.clone();
                tokio::task::spawn_blocking(move || folder.replace(&name, &bytes))
                    .await
                    .map_err(|error| Error::bug(format!("writing ended early: {error}")))?
            }
            Self::Store(store) => store.replace(&name, bytes).await,
        }
    }
}

impl Store {
    /// As [`Place::publish`].
    async fn publish(&self, file: Complete) -> Result<()> {
        let path = self.path(file.folders.iter().chain([&file.name]))?;
        let bytes = Bytes::from(file.bytes);
        self.persistently(|| self.create(&path, &bytes, &file.name)).await
    }

    /// As [`Place::replace`].
    async fn replace(&self, name: &String, bytes: Vec<u8>) -> Result<()> {
        let (path, bytes) = (self.path([name])?, Bytes::from(bytes));
        let put = || async {
            let done = self.store.put(&path, PutPayload::from_bytes(bytes.clone())).await;
            done.map(drop).map_err(|error| store_error(&self.shown, error))
        };
        self.persistently(put).await
    }

    /// Part by part, as they are: the path's own encoding would escape Hive's escapes again.
    fn path<'a>(&'a self, parts: impl IntoIterator<Item = &'a String>) -> Result<Path> {
        let mut all: Vec<PathPart<'_>> = self.prefix.parts().collect();
        for part in parts {
            let part = PathPart::parse(part);
            let wrong =
                |error| Error::bug(format!("the name of a folder or file is none: {error}"));
            all.push(part.map_err(wrong)?);
        }
        Ok(all.into_iter().collect())
    }

    async fn create(&self, path: &Path, bytes: &Bytes, name: &str) -> Result<()> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let failed = |error| store_error(&self.shown, error);
        match self.store.put_opts(path, PutPayload::from_bytes(bytes.clone()), options).await {
            Ok(_) => Ok(()),
            // A PUT whose answer was lost and that was repeated meets itself.
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => {
                let found = self.store.get(path).await.map_err(failed)?;
                let found = found.bytes().await.map_err(failed)?;
                if is_same(&found, bytes, name) {
                    Ok(())
                } else {
                    Err(taken(&format!("{} ({path})", self.shown)))
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes `call` again while it fails with what may pass. Nothing is lost meanwhile: the rows are in
    /// the checkpoints, and whoever makes more of them waits.
    async fn persistently<F>(&self, call: impl Fn() -> F + Send) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let began = self.clock.monotonic();
        let mut pause = RETRY_PAUSE;
        let part: Arc<str> = self.shown.as_str().into();
        loop {
            let done = call().await;
            let waited = self.clock.monotonic().saturating_sub(began);
            match done {
                Err(error) if error.kind() == ErrorKind::Retry && waited <= RETRY_MAX => {
                    self.troubles.set(&part, Some(error.message()));
                }
                done => {
                    self.troubles.set(&part, None);
                    return done;
                }
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }
}

impl Folder {
    /// As [`Place::publish`].
    fn publish(&self, file: &Complete) -> Result<()> {
        let root = self.root.as_path();
        let mut folder = root.to_owned();
        folder.extend(&file.folders);
        let path = folder.join(&file.name);
        let failed = |error: &std::io::Error| {
            Error::retry(format!("cannot write {}: {}", path.display(), io_text(error)))
        };
        let hidden = self.hide(&file.name, &file.bytes).map_err(|error| failed(&error))?;
        std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
        match std::fs::hard_link(&hidden.0, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let found = std::fs::read(&path).map_err(|error| failed(&error))?;
                let wanted = Bytes::from(file.bytes.clone());
                let same = is_same(&Bytes::from(found), &wanted, &file.name);
                return if same { Ok(()) } else { Err(taken(&path.display().to_string())) };
            }
            // File systems without hard links: renaming takes the name even if it is taken, by another
            // process with the same file.
            Err(_) if !path.exists() => {
                std::fs::rename(&hidden.0, &path).map_err(|error| failed(&error))?;
            }
            Err(error) => return Err(failed(&error)),
        }
        drop(hidden);
        // The name itself must survive a crash, and so must the new folders on the way to it.
        let mut changed = Some(folder.as_path());
        while let Some(folder) = changed.filter(|folder| folder.starts_with(root)) {
            let synced = std::fs::File::open(folder).and_then(|f| f.sync_all());
            synced.map_err(|error| failed(&error))?;
            changed = folder.parent();
        }
        Ok(())
    }

    /// As [`Place::replace`].
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        let failed = |error: &std::io::Error| {
            Error::retry(format!("cannot write {}: {}", path.display(), io_text(error)))
        };
        let hidden = self.hide(name, bytes).map_err(|error| failed(&error))?;
        std::fs::rename(&hidden.0, &path).map_err(|error| failed(&error))?;
        let synced = std::fs::File::open(&self.root).and_then(|f| f.sync_all());
        synced.map_err(|error| failed(&error))
    }

    /// The bytes under a hidden name, durable.
    fn hide(&self, name: &str, bytes: &[u8]) -> std::io::Result<Hidden> {
        let hidden = format!(".{name}.{:016x}{HIDDEN_ENDING}", self.writer);
        let hidden = Hidden(self.root.join(hidden));
        let mut written = std::fs::File::create(&hidden.0)?;
        written.write_all(bytes)?;
        written.sync_all()?;
        Ok(hidden)
    }

    /// Removes the hidden files of processes that are no more. What cannot be removed stays: it is in
    /// nobody's way.
    fn remove_abandoned(&self, now_ms: i64) {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_hidden = name.starts_with('.') && name.ends_with(HIDDEN_ENDING);
            if is_hidden && is_abandoned(&entry, now_ms) {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }
}

fn is_abandoned(entry: &std::fs::DirEntry, now_ms: i64) -> bool {
    let touched = entry.metadata().and_then(|metadata| metadata.modified()).ok();
    let since_epoch = touched.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let touched_ms = since_epoch.and_then(|time| i64::try_from(time.as_millis()).ok());
    touched_ms.is_some_and(|touched| now_ms.saturating_sub(touched) > ABANDONED_MS)
}

/// Whether the file `found` under a name of ours is the one we would have written. Names are never used
/// twice, so a Parquet file of as many rows is, although pages may be cut elsewhere after a restart.
fn is_same(found: &Bytes, wanted: &Bytes, name: &str) -> bool {
    let rows = |file: &Bytes| {
        let reader = SerializedFileReader::new(file.clone()).ok()?;
        Some(reader.metadata().file_metadata().num_rows())
    };
    found == wanted
        || (name.ends_with(".parquet") && rows(found).is_some() && rows(found) == rows(wanted))
}

fn taken(path: &str) -> Error {
    Error::settings(format!("{path} exists already, with other content"))
        .with_hint("files are never overwritten: write to another folder")
}

/// A file under a hidden name, removed with its owner.
struct Hidden(PathBuf);

impl Drop for Hidden {
    fn drop(&mut self) {
        // Gone already where it was renamed.
        drop(std::fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests;
