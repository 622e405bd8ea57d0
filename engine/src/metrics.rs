//! What sources count, for those who watch a job.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The part that stands for all partitions that have ended.
const ENDED: &str = "ended";

/// The counts of each part of a source; shared by those who count and those who show.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<Arc<str>, PartitionMetrics>>>);

/// What was counted in a source partition in this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionMetrics {
    /// How far behind its newest record it is, in milliseconds, if known.
    pub lag_ms: Option<i64>,
    /// Records read.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Calls that were refused because there were too many.
    pub throttled: u64,
    /// Calls that failed otherwise and were repeated.
    pub failed: u64,
    /// Iterators and subscriptions that had become too old.
    pub expired: u64,
}

impl PartitionMetrics {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.lag_ms = self.lag_ms.max(other.lag_ms);
        self.records += other.records;
        self.bytes += other.bytes;
        self.throttled += other.throttled;
        self.failed += other.failed;
        self.expired += other.expired;
    }
}

impl Metrics {
    /// Changes what was counted in `part`.
    pub fn count(&self, part: &Arc<str>, change: impl FnOnce(&mut PartitionMetrics)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(part) {
            Some(metrics) => change(metrics),
            None => change(all.entry(Arc::clone(part)).or_default()),
        }
    }

    /// Nothing more comes from `part`: it is counted with the others that have ended.
    pub fn end(&self, part: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = all.remove(part) {
            let ended = all.entry(ENDED.into()).or_default();
            ended.add(&PartitionMetrics { lag_ms: None, ..metrics });
        }
    }

    /// What was counted, by part.
    pub fn list(&self) -> Vec<(Arc<str>, PartitionMetrics)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(part, metrics)| (Arc::clone(part), *metrics)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_have_ended_are_one() {
        let metrics = Metrics::default();
        for part in ["a", "b", "c"] {
            metrics.count(&part.into(), |m| (m.records, m.lag_ms) = (2, Some(9)));
        }
        metrics.end("a");
        metrics.end("b");
        metrics.end("nobody");
        let list = metrics.list();
        assert_eq!((&*list[0].0, list[0].1.records, list[0].1.lag_ms), ("c", 2, Some(9)));
        assert_eq!((&*list[1].0, list[1].1.records, list[1].1.lag_ms), (ENDED, 4, None));
    }
}
