//! What each node of a dataflow has done, for `EXPLAIN ANALYZE` and the summary at the end.

use std::time::Duration;

use super::exchange::Lanes;
use crate::delta::Delta;

/// What a node has done since it was built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFigures {
    /// Rows it was given: for a stream those that arrived.
    pub rows_in: u64,
    /// Rows it gave, those taken back among them.
    pub rows_out: u64,
    /// Rows it took back.
    pub taken_back: u64,
    /// Time spent in it.
    pub busy: Duration,
    /// Rows its state holds now.
    pub state_rows: usize,
    /// Bytes of memory its state holds now.
    pub state_bytes: usize,
}

impl NodeFigures {
    /// Counts an epoch: what the node was given, what it gave, and how long that took.
    pub(super) fn count(&mut self, given: u64, gave: &Lanes, busy: Duration) {
        self.rows_in += given;
        for delta in gave.iter().flatten() {
            self.rows_out += delta.num_rows() as u64;
            self.taken_back += taken_back(delta);
        }
        self.busy += busy;
    }

    /// As one line of text.
    pub fn in_words(&self) -> String {
        let mut words = format!("{} rows in", self.rows_in);
        if self.rows_out > 0 {
            words.push_str(&format!(", {} out", self.rows_out));
        }
        if self.taken_back > 0 {
            words.push_str(&format!(" ({} of them taken back)", self.taken_back));
        }
        words.push_str(&format!(", {:.1} ms", self.busy.as_secs_f64() * 1000.0));
        if self.state_bytes > 0 {
            let (rows, bytes) = (self.state_rows, self.state_bytes);
            words.push_str(&format!(", keeps {rows} rows in {bytes} bytes"));
        }
        words
    }
}

fn taken_back(delta: &Delta) -> u64 {
    let Some(weights) = &delta.weights else { return 0 };
    weights.values().iter().filter(|weight| **weight < 0).count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn rows_taken_back_are_told_apart() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let rows = |numbers: Vec<i64>| -> RecordBatch {
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(numbers))])
                .unwrap()
        };
        let changes = Delta { batch: rows(vec![1, 2, 3]), weights: Some(vec![-1, 1, -2].into()) };
        let mut figures = NodeFigures::default();
        let gave = vec![vec![Delta::append(rows(vec![4, 5]))], vec![changes]];
        figures.count(7, &gave, Duration::from_micros(1500));
        assert_eq!(figures.in_words(), "7 rows in, 5 out (2 of them taken back), 1.5 ms");
        (figures.state_rows, figures.state_bytes) = (3, 96);
        assert!(figures.in_words().ends_with(", 1.5 ms, keeps 3 rows in 96 bytes"));
    }
}
