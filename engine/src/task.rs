//! Tasks with an owner.
//!
//! A task that nobody owns outlives its purpose and swallows its panics. [`OwnedTask`] is aborted
//! when its owner drops it, and whoever joins it learns of a panic as an error.

use std::future::Future;

use crate::error::{Error, Result};

/// A running task that stops with its owner.
#[derive(Debug)]
#[must_use = "a dropped task is aborted"]
pub struct OwnedTask<T>(Option<tokio::task::JoinHandle<T>>);

impl<T: Send + 'static> OwnedTask<T> {
    /// Starts `future` on the current runtime.
    #[expect(clippy::disallowed_methods, reason = "the one legal place: the handle is owned here")]
    pub fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(tokio::task::spawn(future)))
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(tokio::task::JoinHandle::is_finished)
    }

    /// Waits for the end of the task.
    ///
    /// # Errors
    ///
    /// A panic inside the task comes back as an error of kind [`crate::ErrorKind::Bug`].
    pub async fn join(mut self) -> Result<T> {
        let Some(handle) = self.0.as_mut() else {
            return Err(Error::bug("a task was joined twice"));
        };
        let result = handle.await;
        self.0 = None;
        result.map_err(|error| Error::bug(format!("a task ended early: {error}")))
    }
}

impl<T> Drop for OwnedTask<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}
