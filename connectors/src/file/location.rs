//! What a `path` means: which store it is in, and which files are there.
//!
//! Names beginning with `.` or `_` are passed over, as every reader of data folders does, unless the
//! path names them itself.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use futures::TryStreamExt;
use glob::{MatchOptions, Pattern};
use millstream_engine::{Error, Result};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::hive;
use super::s3::open_bucket;

/// Where files are.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The path as it was written, for messages.
    pub(super) shown: String,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    /// A file, folder or glob of this machine.
    Local { path: PathBuf, is_glob: bool },
    /// A key, prefix or glob in a store; `root` is what the store's keys are shown behind.
    Store { prefix: Path, pattern: Option<Pattern>, root: String },
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileMeta {
    /// Its place in the store.
    pub(super) location: Path,
    /// Its path for people: the source partition's name.
    pub(super) shown: Arc<str>,
    pub(super) size: u64,
    /// When it was last written, in milliseconds since the Unix epoch.
    pub(super) modified_ms: i64,
    /// What changes when the content of an object does; not kept for local files, which may grow.
    pub(super) e_tag: Option<String>,
}

impl FileMeta {
    /// The columns that its folders name.
    pub(super) fn folder_values(&self) -> Vec<(String, Option<String>)> {
        hive::values(self.location.as_ref())
    }
}

const MATCH: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

impl Location {
    /// The meaning of `path`; a relative local one starts from `base`. Touches no file yet.
    ///
    /// # Errors
    ///
    /// When it cannot be a path.
    pub(super) async fn open(path: &str, base: &FsPath) -> Result<Self> {
        if let Some(address) = path.strip_prefix("s3://").or_else(|| path.strip_prefix("s3a://")) {
            let (bucket, key) = address.split_once('/').unwrap_or((address, ""));
            if bucket.is_empty() {
                return Err(Error::settings(format!("'{path}' names no bucket"))
                    .with_hint("write it like s3://bucket/prefix/"));
            }
            let store = open_bucket(bucket).await?;
            return Self::in_store(store, key, format!("s3://{bucket}/"), path);
        }
        let plain = path.strip_prefix("file://").unwrap_or(path);
        if let Some((scheme, _)) = plain.split_once("://") {
            return Err(Error::settings(format!(
                "cannot open '{path}': unknown scheme '{scheme}'"
            ))
            .with_hint("a path is a local one or begins with s3://"));
        }
        let path_buf = std::path::absolute(base.join(plain))
            .map_err(|error| Error::settings(format!("'{path}' is no path: {error}")))?;
        Ok(Self {
            store: Arc::new(LocalFileSystem::new()),
            shown: path.to_owned(),
            place: Place::Local { path: path_buf, is_glob: is_glob(plain) },
        })
    }

    /// The files under `key` of a store whose keys are shown behind `root`.
    ///
    /// # Errors
    ///
    /// When `key` cannot be a key.
    pub(super) fn in_store(
        store: Arc<dyn ObjectStore>,
        key: &str,
        root: String,
        shown: &str,
    ) -> Result<Self> {
        let wrong = |why: String| Error::settings(format!("'{shown}' is no path: {why}"));
        let pattern = is_glob(key)
            .then(|| Pattern::new(key.trim_start_matches('/')))
            .transpose()
            .map_err(|error| wrong(error.to_string()))?;
        let fixed = match key.find(['*', '?', '[']) {
            Some(at) => key.split_at(at).0.rsplit_once('/').map_or("", |(folder, _)| folder),
            None => key,
        };
        let prefix = Path::parse(fixed.trim_matches('/')).map_err(|e| wrong(e.to_string()))?;
        Ok(Self { store, shown: shown.to_owned(), place: Place::Store { prefix, pattern, root } })
    }

    /// Where files can be put: the local folder, or the store's prefix.
    pub(super) fn folder(&self) -> std::result::Result<&FsPath, &Path> {
        match &self.place {
            Place::Local { path, .. } => Ok(path),
            Place::Store { prefix, .. } => Err(prefix),
        }
    }

    /// Whether the files are on this machine, where looking for changes costs little.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.place, Place::Local { .. })
    }

    /// The files that are there now, in name order.
    ///
    /// # Errors
    ///
    /// When the path does not exist or cannot be read.
    pub(super) async fn list(&self) -> Result<Vec<FileMeta>> {
        let mut files = match &self.place {
            Place::Local { path, is_glob } => {
                let (path, is_glob, shown) = (path.clone(), *is_glob, self.shown.clone());
                tokio::task::spawn_blocking(move || list_local(&path, is_glob, &shown))
                    .await
                    .map_err(|error| Error::bug(format!("listing files ended early: {error}")))??
            }
            Place::Store { prefix, pattern, root } => {
                self.list_store(prefix, pattern.as_ref(), root).await?
            }
        };
        files.sort_by(|a, b| a.shown.cmp(&b.shown));
        Ok(files)
    }

    async fn list_store(
        &self,
        prefix: &Path,
        pattern: Option<&Pattern>,
        root: &str,
    ) -> Result<Vec<FileMeta>> {
        let of = |meta: ObjectMeta| FileMeta {
            shown: format!("{root}{}", meta.location).into(),
            size: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
            e_tag: meta.e_tag,
            location: meta.location,
        };
        if pattern.is_none() && !prefix.is_root() {
            match self.store.head(prefix).await {
                // An empty object of the folder's name is how some tools draw a folder.
                Ok(meta) if meta.size > 0 => return Ok(vec![of(meta)]),
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(store_error(&self.shown, error)),
            }
        }
        let listed: Vec<ObjectMeta> = self
            .store
            .list((!prefix.is_root()).then_some(prefix))
            .try_collect()
            .await
            .map_err(|error| store_error(&self.shown, error))?;
        let shown = |meta: &ObjectMeta| match pattern {
            Some(pattern) => pattern.matches_with(meta.location.as_ref(), MATCH),
            None => true,
        };
        let below = |meta: &ObjectMeta| {
            let below = meta.location.prefix_match(prefix).into_iter().flatten();
            !below.into_iter().any(|part| is_hidden(part.as_ref()))
        };
        let files = listed.into_iter().filter(|meta| meta.size > 0 && shown(meta) && below(meta));
        Ok(files.map(of).collect())
    }
}

fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Whether readers pass over a file or folder of this name. A folder `_col=x` holds data.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

fn list_local(path: &FsPath, is_glob: bool, shown: &str) -> Result<Vec<FileMeta>> {
    let cannot = |path: &FsPath, error: &std::io::Error| {
        Error::settings(format!("cannot read {}: {}", path.display(), io_text(error)))
    };
    let mut files = Vec::new();
    if is_glob {
        let text = path.to_string_lossy();
        let found = glob::glob_with(&text, MATCH)
            .map_err(|error| Error::settings(format!("'{shown}' is no pattern: {error}")))?;
        let hidden_wanted = path.file_name().is_some_and(|name| is_hidden(&name.to_string_lossy()));
        for file in found.filter_map(|found| found.ok()) {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
            let hidden = name.is_some_and(|name| is_hidden(&name)) && !hidden_wanted;
            if file.is_file() && !hidden {
                files.extend(local_meta(&file, path, shown)?);
            }
        }
        return Ok(files);
    }
    let meta = std::fs::metadata(path).map_err(|error| {
        let missing = cannot(path, &error);
        if path.is_absolute() && error.kind() == std::io::ErrorKind::NotFound {
            Error::settings(format!("'{shown}' does not exist"))
                .with_hint(format!("it was looked for at {}", path.display()))
        } else {
            missing
        }
    })?;
    if meta.is_file() {
        files.extend(local_meta(path, path, shown)?);
        return Ok(files);
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            // Removed since it was seen.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(cannot(&folder, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| cannot(&folder, &error))?;
            if is_hidden(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let file_type = entry.file_type().map_err(|error| cannot(&folder, &error))?;
            let below = entry.path();
            // A link is followed to a file, but not to a folder: that could lead round in a circle.
            if file_type.is_dir() {
                folders.push(below);
            } else if below.is_file() {
                files.extend(local_meta(&below, path, shown)?);
            }
        }
    }
    Ok(files)
}

/// The file at `path`, shown as the user wrote the way to it; `None` if it is gone again.
fn local_meta(path: &FsPath, root: &FsPath, shown: &str) -> Result<Option<FileMeta>> {
    let Ok(meta) = std::fs::metadata(path) else { return Ok(None) };
    let location = Path::from_absolute_path(path).map_err(|error| {
        Error::settings(format!("cannot read {}: {error}", path.display()))
            .with_hint("rename the file")
    })?;
    let written = shown.strip_prefix("file://").unwrap_or(shown);
    let shown = match path.strip_prefix(root) {
        Ok(below) if below.as_os_str().is_empty() => written.to_owned(),
        Ok(below) => FsPath::new(written).join(below).display().to_string(),
        // A glob: the part of the way that was written without wildcards, as it was written.
        Err(_) => shown_match(path, root, written),
    };
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.and_then(|since| i64::try_from(since.as_millis()).ok());
    Ok(Some(FileMeta {
        location,
        shown: shown.into(),
        size: meta.len(),
        modified_ms: modified_ms.unwrap_or(0),
        e_tag: None,
    }))
}

/// `path`, a match of the pattern `root` that the user wrote as `written`.
fn shown_match(path: &FsPath, root: &FsPath, written: &str) -> String {
    let root = root.to_string_lossy();
    let base = root.strip_suffix(written).unwrap_or("");
    let path = path.to_string_lossy();
    path.strip_prefix(base).unwrap_or(&path).to_owned()
}

/// What went wrong with a local file, without the number of the error.
pub(super) fn io_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// A store's error, by what its reader must do.
pub(crate) fn store_error(shown: &str, error: object_store::Error) -> Error {
    let cause = innermost(&error);
    // Not NotFound: that is of objects.
    if cause.contains("<Code>NoSuchBucket</Code>") {
        return Error::settings(format!("the bucket of '{shown}' does not exist"))
            .with_hint("check the name and the endpoint");
    }
    let mapped = match &error {
        object_store::Error::NotFound { .. } => {
            Error::settings(format!("'{shown}' does not exist"))
                .with_hint("check the bucket, the path and the endpoint")
        }
        object_store::Error::PermissionDenied { .. } => {
            Error::settings(format!("access to '{shown}' is denied"))
                .with_hint("check the permissions of the credentials in use")
        }
        object_store::Error::Unauthenticated { .. } => {
            Error::settings(format!("no valid credentials for '{shown}'"))
                .with_hint("set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        }
        _ => Error::retry(format!("cannot access '{shown}': {cause}")),
    };
    mapped.with_source(error)
}

/// The first cause: what the wrappers around it say, it says better.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
