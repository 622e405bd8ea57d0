//! Rows that wait for the watermark to reach their time.
//!
//! They wait in runs, each sorted by time; a run is at least twice as large as the next, so there are
//! few, and a row is sorted again a logarithmic number of times. What is due is the front of each
//! run, found by binary search. Runs are in the order of arrival, and every sort is stable: rows of
//! equal times keep that order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;

use super::StateBatch;
use crate::dataflow::StateShare;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::to_numbers;
use crate::watermark::Watermark;

const WAITING: &str = "waiting";
const RELEASED: &str = "released";

/// The rows of an append-only input, which come out in the order of their times.
#[derive(Debug)]
pub(super) struct InOrder {
    /// The column with the time.
    time: usize,
    runs: Vec<Run>,
    /// Rows of times up to this have come out.
    released: Watermark,
}

#[derive(Debug)]
struct Run {
    /// Sorted by time.
    rows: RecordBatch,
    times: Int64Array,
    /// Of columns that were asked about, for each row the least value in it and all behind it; also
    /// for rows that have come out.
    least: BTreeMap<usize, Vec<i64>>,
    /// Rows that have come out but are still held by the buffers of `rows`.
    gone: usize,
    /// Whether a snapshot holds it. Runs of both kinds are not joined.
    saved: bool,
}

impl Run {
    fn new((rows, times): (RecordBatch, Int64Array), saved: bool) -> Self {
        Self { rows, times, least: BTreeMap::new(), gone: 0, saved }
    }

    /// Takes out the rows of times up to `bound`, if there are any.
    fn release(&mut self, bound: i64) -> Result<Option<Self>> {
        let count = self.times.values().partition_point(|time| *time <= bound);
        if count == 0 {
            return Ok(None);
        }
        let rest = self.times.len() - count;
        let due = (self.rows.slice(0, count), self.times.slice(0, count));
        self.rows = self.rows.slice(count, rest);
        self.times = self.times.slice(count, rest);
        self.gone += count;
        if self.gone > rest && rest > 0 {
            // Most of what its buffers hold is gone.
            let all = UInt32Array::from_iter_values((0_u32..).take(rest));
            self.rows = take_record_batch(&self.rows, &all)?;
            self.times = self.times.values().to_vec().into();
            self.gone = 0;
            for least in self.least.values_mut() {
                *least = least.split_off(least.len() - rest);
            }
        }
        Ok(Some(Self::new(due, self.saved)))
    }

    /// The least value of a column; the greatest number where there is none.
    fn least(&mut self, column: usize) -> Result<i64> {
        let least = match self.least.entry(column) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let numbers = to_numbers(self.rows.column(column))?;
                let numbers = numbers.as_primitive::<Int64Type>();
                let mut least = vec![i64::MAX; numbers.len()];
                let mut so_far = i64::MAX;
                for (row, least) in least.iter_mut().enumerate().rev() {
                    if numbers.is_valid(row) {
                        so_far = so_far.min(numbers.value(row));
                    }
                    *least = so_far;
                }
                unknown.insert(least)
            }
        };
        Ok(least.get(least.len() - self.times.len()).copied().unwrap_or(i64::MAX))
    }

    fn memory_bytes(&self) -> usize {
        let least: usize = self.least.values().map(Vec::capacity).sum();
        self.rows.get_array_memory_size() + (self.times.len() + least) * size_of::<i64>()
    }
}

impl InOrder {
    /// None yet; rows have their time in this column.
    pub(super) fn new(time: usize) -> Self {
        Self { time, runs: Vec::new(), released: Watermark::Unknown }
    }

    /// Rows of times up to this have come out.
    pub(super) fn released(&self) -> Watermark {
        self.released
    }

    /// Takes in rows that came after all others.
    pub(super) fn take_in(&mut self, deltas: Vec<Delta>) -> Result<()> {
        deltas.into_iter().try_for_each(|delta| self.push(delta))
    }

    /// Takes in rows that came after all others. Those without a time are due at once.
    pub(super) fn push(&mut self, delta: Delta) -> Result<()> {
        self.add(delta.appended()?, false)
    }

    fn add(&mut self, rows: RecordBatch, saved: bool) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let times = to_numbers(rows.column(self.time))?;
        let times = times.as_primitive::<Int64Type>().iter();
        let times = times.map(|time| Some(time.unwrap_or(i64::MIN))).collect();
        self.runs.push(Run::new(sorted(rows, times)?, saved));
        self.join_runs()
    }

    fn join_runs(&mut self) -> Result<()> {
        while let [.., older, newer] = self.runs.as_slice()
            && older.saved == newer.saved
            && older.times.len() < 2 * newer.times.len()
        {
            let run = Run::new(joined(&[older, newer])?, newer.saved);
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push(run);
        }
        Ok(())
    }

    /// Takes out the rows up to the watermark, in the order of time, with their times. Should a
    /// watermark fall, what is out stays out.
    pub(super) fn release(
        &mut self,
        watermark: Watermark,
    ) -> Result<Option<(RecordBatch, Int64Array)>> {
        self.released = self.released.max(watermark);
        if self.released == Watermark::Unknown {
            return Ok(None);
        }
        let mut due = Vec::new();
        for run in &mut self.runs {
            due.extend(run.release(self.released.bound())?);
        }
        self.runs.retain(|run| !run.times.is_empty());
        let due: Vec<&Run> = due.iter().collect();
        if due.is_empty() { Ok(None) } else { joined(&due).map(Some) }
    }

    /// The least value of a column among the rows that wait.
    pub(super) fn least(&mut self, column: usize) -> Result<Option<i64>> {
        let mut least = None;
        for run in &mut self.runs {
            let of_run = run.least(column)?;
            least = Some(least.unwrap_or(of_run).min(of_run));
        }
        Ok(least)
    }

    /// The rows that came since the last snapshot and still wait, in the order of arrival, and how far
    /// rows have come out.
    pub(super) fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = Vec::new();
        for run in self.runs.iter_mut().filter(|run| !run.saved) {
            run.saved = true;
            state.push(StateBatch { part: WAITING, rows: run.rows.clone() });
        }
        self.join_runs()?;
        if self.released != Watermark::Unknown {
            let bound: ArrayRef = Arc::new(Int64Array::from(vec![self.released.bound()]));
            let rows = RecordBatch::try_from_iter([(RELEASED, bound)])?;
            state.push(StateBatch { part: RELEASED, rows });
        }
        Ok(state)
    }

    /// Makes the next snapshot hold all rows.
    pub(super) fn forget_snapshots(&mut self) {
        self.runs.iter_mut().for_each(|run| run.saved = false);
    }

    /// Restores all there is in a snapshot.
    pub(super) fn restore_all(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for state in state {
            if self.restore(state)?.is_some() {
                return Err(Error::bug("not the state of rows that wait"));
            }
        }
        Ok(())
    }

    /// Takes a part of a snapshot, or gives it back if it is another's.
    pub(super) fn restore(&mut self, state: StateBatch) -> Result<Option<StateBatch>> {
        match state.part {
            WAITING => self.add(state.rows, true)?,
            RELEASED => {
                let bounds = state.rows.column(0).as_primitive_opt::<Int64Type>();
                let bound = bounds.and_then(|bounds| bounds.iter().flatten().max());
                // Rows came out between two snapshots.
                self.release(match bound.ok_or_else(|| Error::bug("not a released time"))? {
                    i64::MAX => Watermark::End,
                    bound => Watermark::At(bound),
                })?;
            }
            _ => return Ok(Some(state)),
        }
        Ok(None)
    }

    /// Which lanes a part of a snapshot belongs to, where those columns are the key of a row.
    pub(super) fn state_share(part: &str, keys: &[usize]) -> Option<StateShare> {
        match part {
            WAITING => Some(StateShare::Keys(keys.to_vec())),
            RELEASED => Some(StateShare::Shared),
            _ => None,
        }
    }

    /// How many rows wait.
    pub(super) fn num_rows(&self) -> usize {
        self.runs.iter().map(|run| run.rows.num_rows()).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.runs.iter().map(Run::memory_bytes).sum()
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

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMillisecondArray;
    use proptest::prelude::*;

    use super::*;
    use crate::operators::oracle::cases;

    proptest! {
        #![proptest_config(cases(64))]
        /// However rows come, come out, are saved and restored.
        #[test]
        fn the_least_value_is_of_the_rows_that_wait(
            epochs in prop::collection::vec(
                (
                    prop::collection::vec((0..40_i64, prop::option::of(0..100_i64)), 0..12),
                    0..40_i64,
                    any::<bool>(),
                ),
                1..8,
            ),
        ) {
            let mut rows = InOrder::new(0);
            let mut model: Vec<(i64, Option<i64>)> = Vec::new();
            let (mut snapshots, mut released) = (Vec::new(), 0);
            for (new, bound, restart) in epochs {
                let times = TimestampMillisecondArray::from_iter_values(new.iter().map(|row| row.0));
                let values: Int64Array = new.iter().map(|row| row.1).collect();
                let columns: [(&str, ArrayRef); 2] =
                    [("t", Arc::new(times)), ("v", Arc::new(values))];
                let batch = RecordBatch::try_from_iter_with_nullable(
                    columns.map(|(name, column)| (name, column, true)),
                );
                rows.push(Delta::append(batch.unwrap())).unwrap();
                model.extend(new);
                released = released.max(bound);
                let count = model.len();
                model.retain(|row| row.0 > released);
                let due = rows.release(Watermark::At(bound)).unwrap();
                prop_assert_eq!(count - model.len(), due.map_or(0, |(due, _)| due.num_rows()));
                let least = model.iter().filter_map(|row| row.1).min();
                let is_empty = model.is_empty();
                prop_assert_eq!(rows.least(1).unwrap(), least.or((!is_empty).then_some(i64::MAX)));
                if restart {
                    snapshots.extend(rows.snapshot().unwrap());
                    rows = InOrder::new(0);
                    for state in &snapshots {
                        prop_assert!(rows.restore(state.clone()).unwrap().is_none());
                    }
                }
            }
        }
    }
}
