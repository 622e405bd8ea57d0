//! Stagger windows: each row gets the end of its window, which the first row of its key has opened.
//!
//! A window is open from the time of the row that opens it up to, and without, that time plus its
//! length; the next row of the key opens the next. Windows of different keys are not aligned.
//!
//! ```text
//!   key A   ├──────────┤   ├──────────┤          rows come out in the order of time, each with the
//!   key B        ├──────────┤                    end of its window; an aggregate by key and end,
//!           ───────────────────────────► time    which the watermark closes, is the result
//! ```
//!
//! Rows wait until the watermark reaches their time, so that which row opens a window does not depend
//! on the order of arrival. State: the end of the open window of every key.
//!
//! Source: "Stagger Windows", Kinesis Data Analytics for SQL developer guide. Whether a row at the very
//! end belongs to the window is not documented; here it opens the next.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::partitions::Partitions;
use super::waiting::InOrder;
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::{from_number, to_numbers};
use crate::watermark::{Watermark, Watermarks};

const ENDS: &str = "ends";

/// Keys whose window has ended are looked for when half as many rows have come out as there are keys,
/// and at least this many.
const SWEEP_ROWS_MIN: usize = 1024;

/// A stagger window as planned. The input is append-only.
#[derive(Debug, Clone)]
pub struct StaggerWindowSpec {
    /// The columns whose equal values share a window.
    pub partition_by: Vec<usize>,
    /// The column that orders the rows. It has a watermark.
    pub time: usize,
    /// How long a window is open, in the unit of `time`; at least 1.
    pub length: i64,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: those of the input, then the end of the row's window.
    pub schema: SchemaRef,
}

impl OperatorSpec for StaggerWindowSpec {
    fn name(&self) -> &'static str {
        "StaggerWindow"
    }

    fn explain(&self) -> Explanation {
        let name = |column: &usize| self.input_schema.field(*column).name().as_str();
        let keys = self.partition_by.iter().map(name).collect::<Vec<_>>().join(", ");
        let time = name(&self.time);
        Explanation {
            detail: format!("partition_by=[{keys}] order_by={time} length={} ms", self.length),
            keeps: "the end of the open window of every key".to_owned(),
            freed_by: format!("the watermark of {time} passing that end"),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::by_keys(&self.partition_by)
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        let time = inputs.first().and_then(|input| input.get(self.time));
        watermarks.0[self.time] = time;
        if let Some(end) = watermarks.0.last_mut() {
            // A row at `bound` or later is in a window that ends after it.
            *end = time.map(|time| match time {
                Watermark::At(bound) => Watermark::At(bound.saturating_add(1)),
                other => other,
            });
        }
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        match part {
            ENDS => Some(StateShare::Keys((0..self.partition_by.len()).collect())),
            _ => InOrder::state_share(part, &self.partition_by),
        }
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let inputs = self.input_schema.fields().len();
        if self.schema.fields().len() != inputs + 1 || self.time >= inputs || self.length < 1 {
            return Err(Error::bug("the columns of a stagger window do not match its schema"));
        }
        let keys = self.partition_by.iter().map(|key| self.input_schema.field(*key).data_type());
        Ok(Box::new(StaggerWindow {
            partitions: Partitions::new(keys.cloned().collect())?,
            ends: Vec::new(),
            unsaved: Vec::new(),
            waiting: InOrder::new(self.time),
            since_sweep: 0,
            spec: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct StaggerWindow {
    spec: StaggerWindowSpec,
    waiting: InOrder,
    partitions: Partitions,
    /// The end of the last window of each partition.
    ends: Vec<i64>,
    /// Whether that is not in a snapshot yet.
    unsaved: Vec<bool>,
    /// Rows that have come out since keys were last forgotten.
    since_sweep: usize,
}

impl StaggerWindow {
    /// The output for rows in the order of time.
    fn release(&mut self, batch: &RecordBatch, times: &Int64Array) -> Result<RecordBatch> {
        let keys = self.spec.partition_by.iter().map(|key| Arc::clone(batch.column(*key)));
        let of_row = self.partitions.intern(&keys.collect::<Vec<_>>(), batch.num_rows())?;
        self.grow();
        let mut ends = Vec::with_capacity(of_row.len());
        for (partition, time) in of_row.iter().zip(times.values()) {
            let partition = *partition as usize;
            if *time >= self.ends[partition] {
                self.ends[partition] = time.saturating_add(self.spec.length);
                self.unsaved[partition] = true;
            }
            ends.push(self.ends[partition]);
        }
        self.since_sweep += of_row.len();
        let time_type = self.spec.input_schema.field(self.spec.time).data_type();
        let mut columns = batch.columns().to_vec();
        columns.push(from_number(&Int64Array::from(ends), time_type)?);
        Ok(RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?)
    }

    fn grow(&mut self) {
        self.ends.resize(self.partitions.len(), i64::MIN);
        self.unsaved.resize(self.partitions.len(), false);
    }

    /// Forgets keys whose window has ended: their next row opens another in any case.
    fn sweep(&mut self) -> Result<()> {
        if self.since_sweep < (self.partitions.len() / 2).max(SWEEP_ROWS_MIN) {
            return Ok(());
        }
        self.since_sweep = 0;
        let bound = self.waiting.released().bound();
        let alive: Vec<bool> = self.ends.iter().map(|end| *end > bound).collect();
        self.partitions.retain(&alive)?;
        if self.partitions.len() < alive.len() {
            let mut kept = alive.iter();
            self.ends.retain(|_| kept.next().is_some_and(|alive| *alive));
            let mut kept = alive.iter();
            self.unsaved.retain(|_| kept.next().is_some_and(|alive| *alive));
        }
        Ok(())
    }

    fn restore_ends(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = self.spec.partition_by.len();
        if rows.num_columns() != keys + 1 {
            return Err(Error::bug("the ends of a stagger window have other columns"));
        }
        let (keys, end) = rows.columns().split_at(keys);
        let of_row = self.partitions.intern(keys, rows.num_rows())?;
        self.grow();
        let ends = to_numbers(&end[0])?;
        for (partition, end) in of_row.iter().zip(ends.as_primitive::<Int64Type>().values()) {
            let known = &mut self.ends[*partition as usize];
            *known = (*known).max(*end);
        }
        Ok(())
    }
}

impl Operator for StaggerWindow {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        self.waiting.take_in(input.deltas)?;
        let watermark = input.watermarks.get(self.spec.time).unwrap_or(Watermark::Unknown);
        let mut deltas = Vec::new();
        if let Some((batch, times)) = self.waiting.release(watermark)? {
            deltas.push(Delta::append(self.release(&batch, &times)?));
        }
        self.sweep()?;
        Ok(deltas.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = self.waiting.snapshot()?;
        let unsaved: Vec<usize> = (0..self.ends.len()).filter(|at| self.unsaved[*at]).collect();
        if !unsaved.is_empty() {
            let ends: Int64Array = unsaved.iter().map(|at| Some(self.ends[*at])).collect();
            let keys = self.partitions.values(&unsaved)?.into_iter();
            let columns = keys.chain([Arc::new(ends) as ArrayRef]).enumerate();
            let columns = columns.map(|(i, column)| (format!("column_{i}"), column, true));
            let rows = RecordBatch::try_from_iter_with_nullable(columns)?;
            state.push(StateBatch { part: ENDS, rows });
            self.unsaved.fill(false);
        }
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.waiting.forget_snapshots();
        self.unsaved.fill(true);
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for state in state {
            match self.waiting.restore(state)? {
                None => {}
                Some(StateBatch { part: ENDS, rows }) => self.restore_ends(&rows)?,
                Some(_) => return Err(Error::bug("not the state of a stagger window")),
            }
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        self.waiting.num_rows() + self.partitions.len()
    }

    fn memory_bytes(&self) -> usize {
        self.waiting.memory_bytes()
            + self.partitions.memory_bytes()
            + self.ends.capacity() * size_of::<i64>()
            + self.unsaved.capacity()
    }
}
