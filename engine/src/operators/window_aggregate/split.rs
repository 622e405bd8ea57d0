//! Splits a batch by the time of its rows' windows.
//!
//! Most batches fall into one window, which is seen in one pass over the times. The others are
//! grouped by a counting sort: two passes over the times and one `take` per column, never a row at a
//! time. Rows of a window keep their order, for the aggregates that depend on it.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;

use crate::error::{Error, Result};
use crate::watermark::Watermark;

/// The time key of a window, in the key's own unit. Rows without a time share a window that sorts
/// last and closes only when the input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::operators) enum WindowTime {
    At(i64),
    Null,
}

impl WindowTime {
    /// The time as a number, if there is one.
    pub(in crate::operators) fn number(self) -> Option<i64> {
        match self {
            Self::At(at) => Some(at),
            Self::Null => None,
        }
    }

    /// Whether no row of this window will come any more.
    pub(in crate::operators) fn is_below(self, bound: Watermark) -> bool {
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

/// A window: its times, one per time key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::operators) struct WindowKey(pub(in crate::operators) Vec<WindowTime>);

impl WindowKey {
    /// Whether no row of this window will come any more: none does of any of its times that is passed.
    pub(in crate::operators) fn is_below(&self, bounds: &[Watermark]) -> bool {
        self.0.iter().zip(bounds).any(|(time, bound)| time.is_below(*bound))
    }
}

/// How the rows of a batch spread over windows.
pub(in crate::operators) enum Split {
    /// All in one.
    One(WindowKey),
    /// Row numbers ordered by window, and each window's range of them, in order of time.
    Many { order: UInt32Array, windows: Vec<(WindowKey, Range<usize>)> },
}

fn time_at(times: &Int64Array, row: usize) -> WindowTime {
    WindowTime::from(times.is_valid(row).then(|| times.value(row)))
}

fn key_at(times: &[Int64Array], row: usize) -> WindowKey {
    WindowKey(times.iter().map(|times| time_at(times, row)).collect())
}

/// Splits by `times`, of which each has one value per row. There is at least one row.
pub(in crate::operators) fn split_by_time(times: &[Int64Array]) -> Split {
    let rows = times.first().map_or(0, Int64Array::len);
    let is_one = |times: &Int64Array| {
        let values = times.values();
        (times.null_count() == 0 && values.iter().all(|value| *value == values[0]))
            || times.null_count() == times.len()
    };
    let first = key_at(times, 0);
    if times.iter().all(is_one) {
        return Split::One(first);
    }
    // Neighbours mostly share a window: the map is asked only where a time changes.
    let mut ordinals: BTreeMap<WindowKey, usize> = BTreeMap::from([(first, 0)]);
    let mut counts: Vec<usize> = vec![0];
    let mut of_row: Vec<usize> = Vec::with_capacity(rows);
    let mut last = 0;
    for row in 0..rows {
        let changes = |times: &Int64Array| time_at(times, row) != time_at(times, row - 1);
        if row > 0 && times.iter().any(changes) {
            let next = counts.len();
            last = *ordinals.entry(key_at(times, row)).or_insert(next);
            if last == next {
                counts.push(0);
            }
        }
        counts[last] += 1;
        of_row.push(last);
    }
    let mut windows = Vec::with_capacity(ordinals.len());
    let mut starts = vec![0; counts.len()];
    let mut start = 0;
    for (time, ordinal) in ordinals {
        starts[ordinal] = start;
        windows.push((time, start..start + counts[ordinal]));
        start += counts[ordinal];
    }
    let mut order = vec![0_u32; rows];
    for (row, ordinal) in (0_u32..).zip(of_row) {
        order[starts[ordinal]] = row;
        starts[ordinal] += 1;
    }
    Split::Many { order: order.into(), windows }
}

/// The rows of each window, in the order of time; `times` are theirs. There is at least one row.
pub(in crate::operators) fn rows_by_time(
    rows: &RecordBatch,
    times: &[Int64Array],
) -> Result<Vec<(WindowKey, RecordBatch)>> {
    Ok(match split_by_time(times) {
        Split::One(window) => vec![(window, rows.clone())],
        Split::Many { order, windows } => {
            let rows = take_record_batch(rows, &order)?;
            let rows_of = |range: Range<usize>| rows.slice(range.start, range.len());
            windows.into_iter().map(|(window, range)| (window, rows_of(range))).collect()
        }
    })
}

/// Windows to be saved, each with `count` times.
pub(in crate::operators) fn saved_windows(
    count: usize,
    windows: &[WindowKey],
) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter_with_nullable(time_columns(count, windows))?)
}

/// Rows of a window to be saved, with the window in front.
pub(in crate::operators) fn saved_rows(
    window: &WindowKey,
    rows: &RecordBatch,
) -> Result<RecordBatch> {
    let mut columns = time_columns(window.0.len(), &vec![window.clone(); rows.num_rows()]);
    let schema = rows.schema();
    let own = schema.fields().iter().zip(rows.columns());
    columns
        .extend(own.map(|(field, column)| (field.name().clone(), ArrayRef::clone(column), true)));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// The inverse of both: the rows behind `count` times, by window. A part may be of several windows, as
/// batches are joined on their way through a checkpoint.
pub(in crate::operators) fn restored_rows(
    count: usize,
    saved: &RecordBatch,
) -> Result<Vec<(WindowKey, RecordBatch)>> {
    if saved.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let not_ours = || Error::bug("not the state of windows");
    let times = saved.columns().get(..count).ok_or_else(not_ours)?;
    let times = times.iter().map(|times| times.as_primitive_opt::<Int64Type>().cloned());
    let times = times.collect::<Option<Vec<_>>>().ok_or_else(not_ours)?;
    let others: Vec<usize> = (count..saved.num_columns()).collect();
    let mut rows = rows_by_time(saved, &times)?;
    for (_, rows) in &mut rows {
        *rows = rows.project(&others)?;
    }
    Ok(rows)
}

fn time_columns(count: usize, windows: &[WindowKey]) -> Vec<(String, ArrayRef, bool)> {
    let column = |at: usize| {
        let times = windows.iter().map(|window| window.0.get(at).and_then(|time| time.number()));
        let times: ArrayRef = std::sync::Arc::new(times.collect::<Int64Array>());
        (format!("time_{at}"), times, true)
    };
    (0..count).map(column).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_is_in_its_window_once_and_in_order(
            times in prop::collection::vec((prop::option::of(-3..3_i64), 0..2_i64), 1..60),
        ) {
            let arrays = [
                times.iter().map(|time| time.0).collect::<Int64Array>(),
                times.iter().map(|time| time.1).collect::<Int64Array>(),
            ];
            let found: Vec<(WindowKey, Vec<usize>)> = match split_by_time(&arrays) {
                Split::One(time) => vec![(time, (0..times.len()).collect())],
                Split::Many { order, windows } => windows
                    .into_iter()
                    .map(|(time, rows)| (time, rows.map(|i| order.value(i) as usize).collect()))
                    .collect(),
            };
            let mut expected: BTreeMap<WindowKey, Vec<usize>> = BTreeMap::new();
            for (row, (one, other)) in times.into_iter().enumerate() {
                let key = WindowKey(vec![one.into(), Some(other).into()]);
                expected.entry(key).or_default().push(row);
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_window_is_over_when_one_of_its_times_is_passed() {
        let key = WindowKey(vec![WindowTime::At(5), WindowTime::Null]);
        assert!(!key.is_below(&[Watermark::At(5), Watermark::At(99)]));
        assert!(key.is_below(&[Watermark::At(6), Watermark::Unknown]));
        assert!(key.is_below(&[Watermark::Unknown, Watermark::End]));
    }
}
