//! Splits a batch by the time of its rows' windows.
//!
//! Most batches fall into one window, which is seen in one pass over the times. The others are
//! grouped by a counting sort: two passes over the times and one `take` per column, never a row at a
//! time. Rows of a window keep their order, for the aggregates that depend on it.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, Int64Array, UInt32Array};

use crate::watermark::Watermark;

/// The time key of a window, in the key's own unit. Rows without a time share a window that sorts
/// last and closes only when the input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WindowTime {
    At(i64),
    Null,
}

impl WindowTime {
    /// The time as a number, if there is one.
    pub(super) fn number(self) -> Option<i64> {
        match self {
            Self::At(at) => Some(at),
            Self::Null => None,
        }
    }

    /// Whether no row of this window will come any more.
    pub(super) fn is_below(self, bound: Watermark) -> bool {
        match (self, bound) {
            (_, Watermark::End) => true,
            (Self::At(at), Watermark::At(bound)) => at < bound,
            _ => false,
        }
    }
}

impl From<Option<i64>> for WindowTime {
    fn from(time: Option<i64>) -> Self {
        time.map_or(Self::Null, Self::At)
    }
}

/// How the rows of a batch spread over windows.
pub(super) enum Split {
    /// All in one.
    One(WindowTime),
    /// Row numbers ordered by window, and each window's range of them, in order of time.
    Many { order: UInt32Array, windows: Vec<(WindowTime, Range<usize>)> },
}

/// Splits by `times`, one per row. There is at least one row.
pub(super) fn split_by_time(times: &Int64Array) -> Split {
    let at = |row: usize| WindowTime::from(times.is_valid(row).then(|| times.value(row)));
    let first = at(0);
    let values = times.values();
    if times.null_count() == 0 && values.iter().all(|value| *value == values[0])
        || times.null_count() == times.len()
    {
        return Split::One(first);
    }
    // Neighbours mostly share a window: the map is asked only where the time changes.
    let mut ordinals: BTreeMap<WindowTime, usize> = BTreeMap::new();
    let mut counts: Vec<usize> = Vec::new();
    let mut of_row: Vec<usize> = Vec::with_capacity(times.len());
    let mut last = (first, 0);
    ordinals.insert(first, 0);
    counts.push(0);
    for row in 0..times.len() {
        let time = at(row);
        if time != last.0 {
            let next = counts.len();
            let ordinal = *ordinals.entry(time).or_insert(next);
            if ordinal == next {
                counts.push(0);
            }
            last = (time, ordinal);
        }
        counts[last.1] += 1;
        of_row.push(last.1);
    }
    let mut windows = Vec::with_capacity(ordinals.len());
    let mut starts = vec![0; counts.len()];
    let mut start = 0;
    for (time, ordinal) in ordinals {
        starts[ordinal] = start;
        windows.push((time, start..start + counts[ordinal]));
        start += counts[ordinal];
    }
    let mut order = vec![0_u32; times.len()];
    for (row, ordinal) in (0_u32..).zip(of_row) {
        order[starts[ordinal]] = row;
        starts[ordinal] += 1;
    }
    Split::Many { order: order.into(), windows }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_is_in_its_window_once_and_in_order(
            times in prop::collection::vec(prop::option::of(-3..3_i64), 1..60),
        ) {
            let array = Int64Array::from(times.clone());
            let found: Vec<(WindowTime, Vec<usize>)> = match split_by_time(&array) {
                Split::One(time) => vec![(time, (0..times.len()).collect())],
                Split::Many { order, windows } => windows
                    .into_iter()
                    .map(|(time, rows)| (time, rows.map(|i| order.value(i) as usize).collect()))
                    .collect(),
            };
            let mut expected: BTreeMap<WindowTime, Vec<usize>> = BTreeMap::new();
            for (row, time) in times.into_iter().enumerate() {
                expected.entry(time.into()).or_default().push(row);
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
