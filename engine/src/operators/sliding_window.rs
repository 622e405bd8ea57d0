//! Sliding windows: aggregates `OVER (PARTITION BY … RANGE | ROWS … PRECEDING)`.
//!
//! Rows wait until the watermark reaches their time, then come out in the order of their times, equal
//! times in the order of arrival, each with the results over the rows of its partition that came
//! before it in that order. A row sees no later row, not even one of the same time: windows are by
//! row, not by peers.
//!
//! ```text
//!   rows ──► waiting, sorted runs ──time ≤ watermark──► grouped by partition ──► frames ──► results
//!                                                             │                    ▲
//!                                                             └──► history ────────┘
//! ```
//!
//! The history holds, per partition, the times and arguments that a later row may still look back at.
//! It is all there is to save: whatever the aggregates keep between rows can be made from it again.
//!
//! Source: "Sliding Windows" and the two weather tables of the Kinesis Data Analytics SQL reference
//! (inclusive lower bound, no peers).

mod frame;
mod history;
mod kernel;
mod refold;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{take, take_arrays};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

pub use self::frame::Frame;
use self::frame::{Frames, Run};
use self::history::{History, Source};
use self::kernel::{Kernel, new_kernel};
use super::partitions::Partitions;
use super::waiting::InOrder;
use super::{EpochContext, Input, Operator, Output, StateBatch, conformed};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::{from_number, to_numbers};
use crate::watermark::{Watermark, Watermarks};

const HISTORY: &str = "history";

/// An aggregate over a sliding window.
#[derive(Debug, Clone)]
pub struct SlidingAggregate {
    /// What is computed. Its arguments are columns of the input, or literals.
    pub aggregate: Arc<AggregateFunctionExpr>,
    /// Over which rows.
    pub frame: Frame,
}

/// Aggregates over sliding windows as planned. The input is append-only.
#[derive(Debug, Clone)]
pub struct SlidingWindowSpec {
    /// The columns whose equal values make a partition.
    pub partition_by: Vec<usize>,
    /// The column that orders the rows. It has a watermark.
    pub time: usize,
    /// What is computed.
    pub windows: Vec<SlidingAggregate>,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: those of the input, then one per window.
    pub schema: SchemaRef,
}

impl SlidingWindowSpec {
    fn rows_kept(&self) -> Option<u64> {
        let rows = |window: &SlidingAggregate| match window.frame {
            Frame::Rows(rows) => Some(rows),
            Frame::Range { .. } => None,
        };
        self.windows.iter().filter_map(rows).max()
    }

    fn column_names(&self, columns: &[usize]) -> String {
        let names = columns.iter().map(|column| self.input_schema.field(*column).name().as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}

impl OperatorSpec for SlidingWindowSpec {
    fn name(&self) -> &'static str {
        "SlidingWindow"
    }

    fn explain(&self) -> Explanation {
        let time = self.input_schema.field(self.time).name();
        let window = |w: &SlidingAggregate| format!("{} over {}", w.aggregate.name(), w.frame);
        let windows: Vec<_> = self.windows.iter().map(window).collect();
        let partition_by = self.column_names(&self.partition_by);
        // The last rows of a partition stay for ever, and nothing bounds the number of partitions.
        let (keeps, freed_by) = match self.rows_kept() {
            Some(u64::MAX) => ("every row".to_owned(), String::new()),
            Some(rows) if self.partition_by.is_empty() => {
                (format!("the last {rows} rows"), "the next row".to_owned())
            }
            Some(rows) => (format!("the last {rows} rows of every {partition_by}"), String::new()),
            None => (
                "the rows of the longest window".to_owned(),
                format!("the watermark passing {time} and the window"),
            ),
        };
        Explanation {
            detail: format!(
                "partition_by=[{partition_by}] order_by={time} windows=[{}]",
                windows.join(", ")
            ),
            keeps,
            freed_by,
        }
    }

    fn grows_with_keys(&self) -> bool {
        self.rows_kept().is_some_and(|rows| rows < u64::MAX)
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::by_keys(&self.partition_by)
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        watermarks.0[self.time] = inputs.first().and_then(|input| input.get(self.time));
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        match part {
            HISTORY => Some(StateShare::Keys((0..self.partition_by.len()).collect())),
            _ => InOrder::state_share(part, &self.partition_by),
        }
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let inputs = self.input_schema.fields().len();
        if self.schema.fields().len() != inputs + self.windows.len() || self.time >= inputs {
            return Err(Error::bug("the columns of a sliding window do not match its schema"));
        }
        let mut sources = Vec::new();
        let mut windows = Vec::with_capacity(self.windows.len());
        for window in &self.windows {
            if !window.aggregate.order_bys().is_empty() {
                return Err(Error::bug("the aggregates of a sliding window have no order"));
            }
            windows.push(Running {
                frame: window.frame,
                kernel: new_kernel(&window.aggregate, &self.input_schema, &mut sources)?,
            });
        }
        let frames = self.windows.iter().map(|window| window.frame).collect();
        let keys = self.partition_by.iter().map(|key| self.input_schema.field(*key).data_type());
        Ok(Box::new(SlidingWindow {
            partitions: Partitions::new(keys.cloned().collect())?,
            history: History::new(frames, &sources, &self.input_schema),
            waiting: InOrder::new(self.time),
            sources,
            windows,
            spec: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct Running {
    frame: Frame,
    kernel: Box<dyn Kernel>,
}

#[derive(Debug)]
struct SlidingWindow {
    spec: SlidingWindowSpec,
    waiting: InOrder,
    partitions: Partitions,
    history: History,
    /// What the history keeps of a row beside its time.
    sources: Vec<Source>,
    windows: Vec<Running>,
}

impl SlidingWindow {
    /// The output for rows in the order of time.
    fn release(&mut self, batch: &RecordBatch, times: &Int64Array) -> Result<RecordBatch> {
        let keys: Vec<_> =
            self.spec.partition_by.iter().map(|key| Arc::clone(batch.column(*key))).collect();
        let of_row = self.partitions.intern(&keys, batch.num_rows())?;
        self.history.grow(self.partitions.len());
        let grouped = group(&of_row, self.partitions.len());
        let sources = self.sources.iter().map(|source| source.values(batch));
        let sources = take_arrays(&sources.collect::<Result<Vec<_>>>()?, &grouped.order, None)?;
        let grouped_times = take(times, &grouped.order, None)?;
        let runs = self.history.extend(
            &grouped.runs,
            grouped_times.as_primitive::<Int64Type>(),
            &sources,
        )?;
        let mut columns = batch.columns().to_vec();
        for window in &mut self.windows {
            let frames = Frames::new(window.frame, &runs, &self.history);
            let results = window.kernel.run(&frames, &self.history, &sources)?;
            columns.push(take(&results, &grouped.place_of, None)?);
        }
        self.history.trim(&runs);
        conformed(columns, &self.spec.schema)
    }

    /// Forgets what no later row can look back at.
    fn forget(&mut self) -> Result<()> {
        self.history.expire(self.waiting.released());
        if let Some(alive) = self.history.mostly_dead() {
            self.partitions.retain(&alive)?;
            self.history.retain(&alive);
            for window in &mut self.windows {
                window.kernel.retain(&alive);
            }
        }
        Ok(())
    }
}

/// Rows grouped by partition, in each in the order of time.
struct Grouped {
    /// The row at each place.
    order: UInt32Array,
    /// The place of each row.
    place_of: UInt32Array,
    /// The partition and the number of rows of each group.
    runs: Vec<(usize, usize)>,
}

/// Sorts by partition. The cost follows the rows, not the number of partitions there are.
fn group(of_row: &[u32], partitions: usize) -> Grouped {
    let rows = of_row.len();
    let mut order: Vec<u32> = (0_u32..).take(rows).collect();
    let mut place_of = order.clone();
    let mut runs = Vec::new();
    if rows > 0 && partitions == 1 {
        runs.push((0, rows));
    } else {
        // Stable, so rows of a partition stay in the order of time.
        order.sort_by_key(|row| of_row[*row as usize]);
        for (place, row) in (0_u32..).zip(&order) {
            place_of[*row as usize] = place;
        }
        for of_one in order.chunk_by(|a, b| of_row[*a as usize] == of_row[*b as usize]) {
            runs.push((of_row[of_one[0] as usize] as usize, of_one.len()));
        }
    }
    Grouped { order: order.into(), place_of: place_of.into(), runs }
}

impl Operator for SlidingWindow {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        self.waiting.take_in(input.deltas)?;
        let watermark = input.watermarks.get(self.spec.time).unwrap_or(Watermark::Unknown);
        let mut deltas = Vec::new();
        if let Some((batch, times)) = self.waiting.release(watermark)? {
            deltas.push(Delta::append(self.release(&batch, &times)?));
        }
        self.forget()?;
        Ok(deltas.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = self.waiting.snapshot()?;
        if let Some((partitions, mut columns)) = self.history.snapshot()? {
            let time = self.spec.input_schema.field(self.spec.time);
            columns[0] = from_number(&columns[0], time.data_type())?;
            let keys = self.partitions.values(&partitions)?;
            let columns = keys.into_iter().chain(columns).enumerate();
            let columns = columns.map(|(i, column)| (format!("column_{i}"), column, true));
            let rows = RecordBatch::try_from_iter_with_nullable(columns)?;
            state.push(StateBatch { part: HISTORY, rows });
        }
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.waiting.forget_snapshots();
        self.history.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for state in state {
            match self.waiting.restore(state)? {
                None => self.forget()?,
                Some(StateBatch { part: HISTORY, rows }) => self.restore_history(&rows)?,
                Some(_) => return Err(Error::bug("not the state of a sliding window")),
            }
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        self.waiting.num_rows() + self.history.num_rows()
    }

    fn memory_bytes(&self) -> usize {
        let kernels = self.windows.iter().map(|window| window.kernel.memory_bytes());
        self.waiting.memory_bytes()
            + self.partitions.memory_bytes()
            + self.history.memory_bytes()
            + kernels.sum::<usize>()
    }
}

impl SlidingWindow {
    /// Adds the history of a snapshot: keys, time, arguments.
    fn restore_history(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = self.spec.partition_by.len();
        if rows.num_columns() != keys + 1 + self.sources.len() {
            return Err(Error::bug("the history of a sliding window has other columns"));
        }
        let (keys, rest) = rows.columns().split_at(keys);
        let of_row = self.partitions.intern(keys, rows.num_rows())?;
        self.history.grow(self.partitions.len());
        let grouped = group(&of_row, self.partitions.len());
        let times = take(&to_numbers(&rest[0])?, &grouped.order, None)?;
        let sources = take_arrays(&rest[1..], &grouped.order, None)?;
        let times = times.as_primitive::<Int64Type>();
        let runs: Vec<Run> = self.history.extend(&grouped.runs, times, &sources)?;
        self.history.trim(&runs);
        self.history.all_saved();
        Ok(())
    }
}

/// Whether an expression is a plain column, and which.
fn column_of(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    let expr: &dyn std::any::Any = expr.as_ref();
    expr.downcast_ref::<datafusion::physical_expr::expressions::Column>().map(|c| c.index())
}
