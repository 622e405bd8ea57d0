//! The port to where checkpoints are kept: a folder, or a prefix of a bucket.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Result};

/// What became of a wish to create an object.
#[derive(Debug)]
pub enum Created {
    /// It was created, by this call.
    Yes,
    /// An object of that name exists: made by another, or by this call when an answer was lost.
    Exists,
    /// Nobody knows: the call failed before, or after, its effect.
    Unknown(Error),
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its name, folder included.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// A place for named, immutable objects. Names are of the form `folder/name`.
///
/// Creating is the one operation that must be atomic: of several creations of a name at most one
/// succeeds, and an object is there whole or not at all.
#[async_trait]
pub trait StateStore: fmt::Debug + Send + Sync {
    /// Creates `name` unless it exists.
    async fn create(&self, name: &str, content: Bytes) -> Created;

    /// The content of `name`; `None` if it does not exist.
    async fn read(&self, name: &str) -> Result<Option<Bytes>>;

    /// The objects of `folder`, by name; none for a folder that does not exist.
    async fn list(&self, folder: &str) -> Result<Vec<Stored>>;

    /// Removes `name`; one that does not exist is no error.
    async fn remove(&self, name: &str) -> Result<()>;

    /// Where it is, for messages.
    fn place(&self) -> &str;
}
