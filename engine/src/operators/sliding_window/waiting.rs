//! Rows that wait for the watermark to reach their time.
//!
//! They wait in runs, each sorted by time; a run is at least twice as large as the next, so there are
//! few, and a row is sorted again a logarithmic number of times. What is due is the front of each
//! run, found by binary search. Runs are in the order of arrival, and every sort is stable: rows of
//! equal times keep that order.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;

use crate::error::{Error, Result};
use crate::watermark::Watermark;

#[derive(Debug)]
struct Run {
    /// Sorted by time.
    rows: RecordBatch,
    times: Int64Array,
    /// Rows that have come out but are still held by the buffers of `rows`.
    gone: usize,
    /// Whether a snapshot holds it. Runs of both kinds are not joined.
    saved: bool,
}

/// Rows that wait for the watermark.
#[derive(Debug, Default)]
pub(in crate::operators) struct Waiting {
    runs: Vec<Run>,
}

impl Waiting {
    /// Adds rows that arrived after all others. Rows without a time are due at once.
    pub(in crate::operators) fn push(
        &mut self,
        rows: RecordBatch,
        times: &Int64Array,
    ) -> Result<()> {
        self.push_run(rows, times, false)
    }

    fn push_run(&mut self, rows: RecordBatch, times: &Int64Array, saved: bool) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let times: Int64Array = times.iter().map(|time| Some(time.unwrap_or(i64::MIN))).collect();
        let (rows, times) = sorted(rows, times)?;
        self.runs.push(Run { rows, times, gone: 0, saved });
        self.join_runs()
    }

    fn join_runs(&mut self) -> Result<()> {
        while let [.., older, newer] = self.runs.as_slice()
            && older.saved == newer.saved
            && older.times.len() < 2 * newer.times.len()
        {
            let saved = newer.saved;
            let (rows, times) = joined(&[older, newer])?;
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push(Run { rows, times, gone: 0, saved });
        }
        Ok(())
    }

    /// Takes out the rows that are due, in the order of time, with their times.
    pub(in crate::operators) fn release(
        &mut self,
        watermark: Watermark,
    ) -> Result<Option<(RecordBatch, Int64Array)>> {
        if watermark == Watermark::Unknown {
            return Ok(None);
        }
        let bound = watermark.bound();
        let mut due = Vec::new();
        for run in &mut self.runs {
            let count = run.times.values().partition_point(|time| *time <= bound);
            if count == 0 {
                continue;
            }
            let rest = run.times.len() - count;
            due.push(Run {
                rows: run.rows.slice(0, count),
                times: run.times.slice(0, count),
                gone: 0,
                saved: run.saved,
            });
            run.rows = run.rows.slice(count, rest);
            run.times = run.times.slice(count, rest);
            run.gone += count;
            if run.gone > rest && rest > 0 {
                // Most of what its buffers hold is gone.
                let all = UInt32Array::from_iter_values((0_u32..).take(rest));
                run.rows = take_record_batch(&run.rows, &all)?;
                run.times = run.times.values().to_vec().into();
                run.gone = 0;
            }
        }
        self.runs.retain(|run| !run.times.is_empty());
        let due: Vec<&Run> = due.iter().collect();
        if due.is_empty() { Ok(None) } else { joined(&due).map(Some) }
    }

    /// The rows that came since the last snapshot and still wait, in the order of arrival.
    pub(in crate::operators) fn snapshot(&mut self) -> Vec<RecordBatch> {
        let unsaved = self.runs.iter_mut().filter(|run| !run.saved);
        unsaved
            .map(|run| {
                run.saved = true;
                run.rows.clone()
            })
            .collect()
    }

    /// Makes the next snapshot hold all rows.
    pub(super) fn forget_snapshots(&mut self) {
        self.runs.iter_mut().for_each(|run| run.saved = false);
    }

    /// Adds what a snapshot holds.
    pub(in crate::operators) fn restore(
        &mut self,
        rows: RecordBatch,
        times: &Int64Array,
    ) -> Result<()> {
        self.push_run(rows, times, true)
    }

    /// The rows that wait.
    pub(in crate::operators) fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.runs.iter().map(|run| &run.rows)
    }

    pub(in crate::operators) fn memory_bytes(&self) -> usize {
        let run = |run: &Run| run.rows.get_array_memory_size() + run.times.len() * size_of::<i64>();
        self.runs.iter().map(run).sum()
    }
}

/// What a snapshot says of how far rows have come out.
pub(in crate::operators) fn released_rows(released: Watermark) -> Result<Option<RecordBatch>> {
    if released == Watermark::Unknown {
        return Ok(None);
    }
    let bound: ArrayRef = Arc::new(Int64Array::from(vec![released.bound()]));
    Ok(Some(RecordBatch::try_from_iter([("released", bound)])?))
}

/// The inverse of [`released_rows`].
pub(in crate::operators) fn released_of(rows: &RecordBatch) -> Result<Watermark> {
    let bound = rows.columns().first().and_then(|column| column.as_primitive_opt::<Int64Type>());
    let bound = bound.and_then(|bound| bound.iter().flatten().next());
    match bound.ok_or_else(|| Error::bug("not a released time"))? {
        i64::MAX => Ok(Watermark::End),
        bound => Ok(Watermark::At(bound)),
    }
}

/// Runs as one.
fn joined(runs: &[&Run]) -> Result<(RecordBatch, Int64Array)> {
    if let [run] = runs {
        return Ok((run.rows.clone(), run.times.clone()));
    }
    let schema = runs[0].rows.schema();
    let rows = concat_batches(&schema, runs.iter().map(|run| &run.rows))?;
    let times = runs.iter().flat_map(|run| run.times.values().iter().copied());
    sorted(rows, Int64Array::from_iter_values(times))
}

/// Rows in the order of time; a copy only where they are not.
fn sorted(rows: RecordBatch, times: Int64Array) -> Result<(RecordBatch, Int64Array)> {
    if times.values().is_sorted() {
        return Ok((rows, times));
    }
    let mut order: Vec<u32> = (0_u32..).take(times.len()).collect();
    order.sort_by_key(|row| times.value(*row as usize));
    let sorted = order.iter().map(|row| times.value(*row as usize));
    let times = Int64Array::from_iter_values(sorted);
    Ok((take_record_batch(&rows, &UInt32Array::from(order))?, times))
}
