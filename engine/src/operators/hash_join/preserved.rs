//! The side of a join whose rows come out by whether they match, not by what they match.
//!
//! With `m` for "has a match", a row of weight `w` contributes `w` to the rows that match or to those
//! that do not. Over an epoch that changes by
//!
//! ```text
//!   d(w·m)  =  dw · m′  +  w · dm
//! ```
//!
//! the rows that came or went, as they match now, and the rows kept from before that begin or cease
//! to match. The two terms meet only in a row that is removed while it begins to count.

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{filter, filter_record_batch, not};
use arrow::datatypes::SchemaRef;
use datafusion::common::JoinType;

use super::Side;
use crate::delta::Delta;
use crate::error::Result;
use crate::operators::consolidate::consolidated;
use crate::operators::join_output::JoinOutput;
use crate::operators::row_index::KeyedRows;

/// Which rows of a side come out of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operators) enum Yields {
    /// Those without a match: outer and anti joins.
    Unmatched,
    /// Those with a match: semi joins.
    Matched,
    /// All, with a column that says whether they have a match: mark joins.
    Marked,
}

impl Yields {
    /// What a join yields of the rows of a side; `None` if it comes out in pairs only or not at all.
    pub(in crate::operators) fn of(join: JoinType, side: Side) -> Option<Self> {
        match (join, side) {
            (JoinType::Left | JoinType::Full | JoinType::LeftAnti, Side::Left)
            | (JoinType::Right | JoinType::Full | JoinType::RightAnti, Side::Right) => {
                Some(Self::Unmatched)
            }
            (JoinType::LeftSemi, Side::Left) | (JoinType::RightSemi, Side::Right) => {
                Some(Self::Matched)
            }
            (JoinType::LeftMark, Side::Left) | (JoinType::RightMark, Side::Right) => {
                Some(Self::Marked)
            }
            _ => None,
        }
    }

    fn wants(self, matched: bool) -> bool {
        match self {
            Self::Unmatched => !matched,
            Self::Matched => matched,
            Self::Marked => true,
        }
    }
}

/// A side whose rows come out by whether they match.
#[derive(Debug)]
pub(super) struct Preserved {
    pub(super) side: Side,
    pub(super) yields: Yields,
    /// The columns of the other side.
    pub(super) other: SchemaRef,
    /// Whether what comes out carries weights.
    pub(super) updating: bool,
    /// Whether rows that match when they come need not be kept: nothing is ever taken back and no pair
    /// comes out, so what matches once has come out for good, or never will.
    pub(super) only_unmatched_kept: bool,
}

/// What an epoch changes of the rows that match nothing, and of those that match.
#[derive(Debug)]
pub(super) struct Change {
    yields: Yields,
    parts: [Part; 2],
    /// Whether rows went.
    removes: bool,
}

#[derive(Debug, Default)]
struct Part {
    deltas: Vec<Delta>,
    /// Whether kept rows were added.
    gained: bool,
}

impl Change {
    /// Rows that came or went, and whether each matches now.
    pub(super) fn changed(&mut self, rows: &KeyedRows, matched: &BooleanArray) -> Result<()> {
        self.removes |= (0..rows.len()).any(|row| rows.weight(row) < 0);
        let matching = matched.true_count();
        for (is_matched, count) in [(false, rows.len() - matching), (true, matching)] {
            if count == 0 || !self.yields.wants(is_matched) {
                continue;
            }
            let delta = if count == rows.len() {
                Delta { batch: rows.batch.clone(), weights: rows.weights.clone() }
            } else {
                let mask = if is_matched { matched.clone() } else { not(matched)? };
                let weights = rows.weights.as_ref().map(|weights| filter(weights, &mask));
                let weights = weights.transpose()?.map(|weights| weights.as_primitive().clone());
                Delta { batch: filter_record_batch(&rows.batch, &mask)?, weights }
            };
            self.parts[usize::from(is_matched)].deltas.push(delta);
        }
        Ok(())
    }

    /// Kept rows that begin (`now`) or cease to match.
    pub(super) fn flipped(&mut self, batch: &RecordBatch, weights: &[i64], now: bool) {
        for (is_matched, sign) in [(now, 1), (!now, -1)] {
            if !self.yields.wants(is_matched) || batch.num_rows() == 0 {
                continue;
            }
            let part = &mut self.parts[usize::from(is_matched)];
            part.gained |= sign > 0;
            let weights: Int64Array = weights.iter().map(|weight| sign * weight).collect();
            part.deltas.push(Delta { batch: batch.clone(), weights: Some(weights) });
        }
    }
}

impl Preserved {
    /// No change yet.
    pub(super) fn unchanged(&self) -> Change {
        Change { yields: self.yields, parts: Default::default(), removes: false }
    }

    /// The output rows of a change.
    pub(super) fn emit(
        &self,
        change: Change,
        output: &JoinOutput,
        deltas: &mut Vec<Delta>,
    ) -> Result<()> {
        let Change { parts, removes, .. } = change;
        for (matched, part) in [false, true].into_iter().zip(parts) {
            let changes =
                if removes && part.gained { consolidated(part.deltas)? } else { part.deltas };
            let mark = (self.yields == Yields::Marked).then_some(matched);
            for Delta { batch, weights } in changes {
                let rows = batch.num_rows();
                let batch = output.unpaired(self.side, &batch, &self.other, mark)?;
                let ones = || Int64Array::from(vec![1; rows]);
                let weights = self.updating.then(|| weights.unwrap_or_else(ones));
                deltas.push(Delta { batch, weights });
            }
        }
        Ok(())
    }
}
