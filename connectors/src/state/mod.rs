//! Checkpoints in a local folder or under an S3 prefix.
//!
//! Creation is `If-None-Match: *` on S3 and a hard link to a complete file in a folder, so an object is
//! there whole or not at all, and whoever comes second is told. In a folder, content and name are made
//! durable before the creation is reported.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use millstream_engine::checkpoint::store::{Created, StateStore, Stored};
use millstream_engine::{Error, Result};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::file::location::store_error;
use crate::file::s3::open_bucket;

#[cfg(test)]
mod tests;

/// A folder or prefix that holds the state of one application.
#[derive(Debug)]
pub struct ObjectState {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
    shown: String,
}

impl ObjectState {
    /// The state at `place`: a folder (a relative one starts from `base`) or `s3://bucket/prefix`. A
    /// folder that is not there is made if `make` says so.
    ///
    /// # Errors
    ///
    /// When it cannot be a place, or a folder cannot be made.
    pub async fn open(place: &str, base: &FsPath, make: bool) -> Result<Self> {
        if let Some(address) = place.strip_prefix("s3://").or_else(|| place.strip_prefix("s3a://"))
        {
            let (bucket, key) = address.split_once('/').unwrap_or((address, ""));
            let prefix = Path::parse(key.trim_matches('/')).map_err(|error| {
                Error::settings(format!("'{place}' is no place for state: {error}"))
            })?;
            if bucket.is_empty() || prefix.is_root() {
                return Err(Error::settings(format!("'{place}' names no prefix of a bucket"))
                    .with_hint("write it like s3://bucket/state/application"));
            }
            let store = open_bucket(bucket).await?;
            return Ok(Self { store, prefix, folder: None, shown: place.to_owned() });
        }
        if let Some((scheme, _)) = place.split_once("://") {
            return Err(Error::settings(format!("state cannot be kept in '{scheme}://'"))
                .with_hint("name a folder or s3://bucket/prefix"));
        }
        let folder = base.join(place);
        let cannot = |error: &dyn std::fmt::Display| {
            Error::settings(format!("cannot keep state in the folder '{place}': {error}"))
        };
        if make {
            std::fs::create_dir_all(&folder).map_err(|error| cannot(&error))?;
        } else if !folder.is_dir() {
            return Err(Error::settings(format!("there is no state in '{place}'")));
        }
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(|error| cannot(&error))?;
        let (store, shown) = (Arc::new(store), place.to_owned());
        Ok(Self { store, prefix: Path::default(), folder: Some(folder), shown })
    }

    /// The state under `prefix` of a store.
    pub fn in_store(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let shown = format!("{store}/{prefix}");
        Self { store, prefix: Path::from(prefix), folder: None, shown }
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    /// Makes a new file and its name survive a power cut.
    async fn sync(&self, name: &str) -> std::io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join(name);
        let synced = tokio::task::spawn_blocking(move || {
            std::fs::File::open(&path)?.sync_all()?;
            let folders = path.ancestors().skip(1).take(2);
            folders.into_iter().try_for_each(|folder| std::fs::File::open(folder)?.sync_all())
        });
        synced.await.map_err(std::io::Error::other)?
    }
}

#[async_trait]
impl StateStore for ObjectState {
    async fn create(&self, name: &str, content: Bytes) -> Created {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let path = self.path(name);
        match self.store.put_opts(&path, PutPayload::from_bytes(content), options).await {
            Ok(_) => match self.sync(name).await {
                Ok(()) => Created::Yes,
                Err(error) => {
                    let message = format!("cannot make {name} in {} durable", self.shown);
                    Created::Unknown(Error::retry(message).with_source(error))
                }
            },
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Created::Exists,
            Err(error) => Created::Unknown(store_error(&self.shown, error)),
        }
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        let failed = |error| store_error(&self.shown, error);
        match self.store.get(&self.path(name)).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Stored>> {
        let path = self.path(folder);
        let listed: Result<Vec<_>, _> = self.store.list(Some(&path)).try_collect().await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(store_error(&self.shown, error)),
        };
        let stored = listed.into_iter().filter_map(|meta| {
            let below: Vec<_> = meta.location.prefix_match(&self.prefix)?.collect();
            let parts: Vec<&str> = below.iter().map(AsRef::as_ref).collect();
            Some(Stored { name: parts.join("/"), bytes: meta.size })
        });
        let mut stored: Vec<Stored> = stored.collect();
        stored.sort_unstable();
        Ok(stored)
    }

    async fn remove(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(store_error(&self.shown, error)),
        }
    }

    fn place(&self) -> &str {
        &self.shown
    }
}
