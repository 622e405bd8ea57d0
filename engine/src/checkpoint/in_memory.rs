//! Objects in memory, for tests that look at them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use super::store::{Created, StateStore, Stored};
use crate::error::Result;

/// Objects in memory.
#[derive(Debug, Default)]
pub(crate) struct Objects(Mutex<BTreeMap<String, Bytes>>);

impl Objects {
    /// All objects, by name.
    pub(crate) fn all(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl StateStore for Objects {
    async fn create(&self, name: &str, content: Bytes) -> Created {
        let mut objects = self.all();
        if objects.contains_key(name) {
            return Created::Exists;
        }
        objects.insert(name.to_owned(), content);
        Created::Yes
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        Ok(self.all().get(name).cloned())
    }

    async fn list(&self, folder: &str) -> Result<Vec<Stored>> {
        let objects = self.all();
        let inside = objects.iter().filter(|(name, _)| name.starts_with(folder));
        let stored = |(name, content): (&String, &Bytes)| Stored {
            name: name.clone(),
            bytes: content.len() as u64,
        };
        Ok(inside.map(stored).collect())
    }

    async fn remove(&self, name: &str) -> Result<()> {
        self.all().remove(name);
        Ok(())
    }

    fn place(&self) -> &'static str {
        "the test"
    }
}
