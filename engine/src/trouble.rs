//! What a source or sink waits for, for those who look at a job that does not move.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is wrong with which part of a source, or which sink, at present; shared by those who know and those who show.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<Arc<str>, String>>>);

impl Troubles {
    /// Notes what is wrong with `part`, or that nothing is.
    pub fn set(&self, part: &Arc<str>, trouble: Option<&str>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(words) => all.insert(Arc::clone(part), words.to_owned()),
            None => all.remove(part),
        };
    }

    /// What is wrong; empty when all is well.
    pub fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
