//! Sessions: rows of the same keys that follow each other within a gap. A row comes out with the start
//! and the end of its session, once, when the watermark has passed the end.
//!
//! ```text
//!   key a   ─x─x──x────────────x───      gap ├───┤
//!            ╰─────╯└gap┘      ╰┴gap┘    a row may begin a session, extend one, or join two
//! ```
//!
//! The end is the last row's time and the gap behind it. Rows just the gap apart are of one session, as
//! in Flink, so a session is over when a row of its end's own time cannot come any more.
//!
//! A snapshot holds the rows that came since the last one, and the watermark: which sessions are over
//! follows from the rows.
//!
//! Invariant: what is kept is the rows of sessions that are not over.
//!
//! Source: "Windowing table-valued functions" of the Apache Flink SQL documentation (`SESSION`).

mod sessions;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, TimestampMillisecondArray,
};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMillisecondType};
use arrow::row::{RowConverter, SortField};

use self::sessions::{Over, Sessions};
use self::store::Store;
use super::consolidate::BATCH_ROWS;
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::{Watermark, Watermarks};

const ROWS: &str = "rows";
const PASSED: &str = "passed";

/// What is said of a row's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionColumn {
    /// The time of its first row.
    Start,
    /// The time of its last row, and the gap.
    End,
}

/// Sessions as planned. The input is append-only and keeps a watermark on its time.
#[derive(Debug, Clone)]
pub struct SessionWindowSpec {
    /// The columns that the rows of a session have in common.
    pub keys: Vec<usize>,
    /// The column with the time, a TIMESTAMP in milliseconds.
    pub time: usize,
    /// How far apart the rows of a session are at most.
    pub gap_ms: i64,
    /// What comes out behind the columns of the input.
    pub columns: Vec<SessionColumn>,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: those of the input, then `columns`.
    pub schema: SchemaRef,
}

impl OperatorSpec for SessionWindowSpec {
    fn name(&self) -> &'static str {
        "SessionWindow"
    }

    fn explain(&self) -> Explanation {
        let keys = self.keys.iter().map(|key| self.input_schema.field(*key).name().as_str());
        let keys = keys.collect::<Vec<_>>().join(", ");
        Explanation {
            detail: format!("gap={}ms keys=[{keys}]", self.gap_ms),
            keeps: "the rows of every open session".to_owned(),
            freed_by: "the watermark passing the end of the session".to_owned(),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::by_keys(&self.keys)
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        // Rows wait, so their own times may be of any age; the ends of open sessions are not passed.
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        let time = inputs.first().and_then(|input| input.get(self.time));
        let width = self.input_schema.fields().len();
        for (number, column) in self.columns.iter().enumerate() {
            if *column == SessionColumn::End {
                watermarks.0[width + number] = time;
            }
        }
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        match part {
            PASSED => Some(StateShare::Shared),
            ROWS if self.keys.is_empty() => Some(StateShare::First),
            ROWS => Some(StateShare::Keys(self.keys.clone())),
            _ => None,
        }
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.schema.fields().len() != self.input_schema.fields().len() + self.columns.len() {
            return Err(Error::bug("the columns of a session do not match its schema"));
        }
        let field = |key: &usize| SortField::new(self.input_schema.field(*key).data_type().clone());
        let converter = RowConverter::new(self.keys.iter().map(field).collect())?;
        Ok(Box::new(SessionWindow {
            converter,
            sessions: Sessions::new(self.gap_ms),
            store: Store::new(Arc::clone(&self.input_schema)),
            passed: Watermark::Unknown,
            passed_saved: Watermark::Unknown,
            spec: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct SessionWindow {
    spec: SessionWindowSpec,
    converter: RowConverter,
    sessions: Sessions,
    store: Store,
    /// The watermark up to which sessions are over.
    passed: Watermark,
    passed_saved: Watermark,
}

impl SessionWindow {
    fn add(&mut self, batch: &RecordBatch, saved: bool) -> Result<()> {
        let times = batch.column(self.spec.time).as_primitive_opt::<TimestampMillisecondType>();
        let times = times.ok_or_else(|| Error::bug("the time of a session is no TIMESTAMP"))?;
        let first = self.store.push(batch.clone(), saved);
        if self.spec.keys.is_empty() {
            for (row, time) in times.iter().enumerate() {
                self.put(&[], time, first, row);
            }
            return Ok(());
        }
        let keys = self.spec.keys.iter().map(|key| Arc::clone(batch.column(*key)));
        let keys = self.converter.convert_columns(&keys.collect::<Vec<_>>())?;
        for ((row, time), key) in times.iter().enumerate().zip(&keys) {
            self.put(key.data(), time, first, row);
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], time: Option<i64>, batch: u64, row: usize) {
        match time {
            Some(time) => self.sessions.add(key, time, (batch, row)),
            // A row without a time is in no window.
            None => self.store.release((batch, row)),
        }
    }

    /// The rows of the sessions that are over, in the order of their ends.
    fn output(&self, over: &[Over]) -> Result<Vec<Delta>> {
        let mut deltas = Vec::new();
        let rows: Vec<(u64, usize)> = over.iter().flat_map(|o| o.rows.iter().copied()).collect();
        let repeated = |of: fn(&Over) -> i64| -> Vec<i64> {
            over.iter().flat_map(|o| std::iter::repeat_n(of(o), o.rows.len())).collect()
        };
        let (starts, ends) = (repeated(|over| over.start), repeated(|over| over.end));
        for from in (0..rows.len()).step_by(BATCH_ROWS) {
            let to = (from + BATCH_ROWS).min(rows.len());
            let mut columns = self.store.gather(&rows[from..to])?;
            columns.extend(self.spec.columns.iter().map(|column| {
                let values = match column {
                    SessionColumn::Start => &starts,
                    SessionColumn::End => &ends,
                };
                Arc::new(TimestampMillisecondArray::from(values[from..to].to_vec())) as ArrayRef
            }));
            let options = RecordBatchOptions::new().with_row_count(Some(to - from));
            let schema = Arc::clone(&self.spec.schema);
            let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
            deltas.push(Delta::append(batch));
        }
        Ok(deltas)
    }

    /// Takes out the sessions that the watermark has passed.
    fn pass(&mut self, watermark: Watermark) -> Vec<Over> {
        self.passed = self.passed.max(watermark);
        self.sessions.over(watermark)
    }

    fn release(&mut self, over: &[Over]) -> Result<()> {
        for row in over.iter().flat_map(|over| &over.rows) {
            self.store.release(*row);
        }
        if let Some(moved) = self.store.compacted()? {
            self.sessions.moved(&moved);
        }
        Ok(())
    }
}

impl Operator for SessionWindow {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        for delta in &input.deltas {
            if delta.weights.is_some() {
                return Err(Error::bug("a session window cannot take back rows"));
            }
            self.add(&delta.batch, false)?;
        }
        let over = self.pass(input.watermarks.get(self.spec.time).unwrap_or(Watermark::Unknown));
        let deltas = self.output(&over)?;
        self.release(&over)?;
        Ok(deltas.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let rows = self.store.unsaved()?.into_iter();
        let mut state: Vec<StateBatch> = rows.map(|rows| StateBatch { part: ROWS, rows }).collect();
        if self.passed != self.passed_saved {
            let bound: ArrayRef = Arc::new(Int64Array::from(vec![self.passed.bound()]));
            let rows = RecordBatch::try_from_iter([("watermark", bound)])?;
            state.push(StateBatch { part: PASSED, rows });
            self.passed_saved = self.passed;
        }
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.store.forget_snapshots();
        self.passed_saved = Watermark::Unknown;
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        // Rows that came behind a watermark are of no session that was over by it. So which sessions
        // are over is asked once, when all rows are there, also those that other lanes had.
        let mut watermark = Watermark::Unknown;
        for StateBatch { part, rows } in state {
            let not_ours = || Error::bug("not the state of a session window");
            match part {
                ROWS => {
                    let schema = Arc::clone(&self.spec.input_schema);
                    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
                    let columns = rows.columns().to_vec();
                    self.add(&RecordBatch::try_new_with_options(schema, columns, &options)?, true)?;
                }
                PASSED => {
                    let bounds = rows.columns().first().ok_or_else(not_ours)?;
                    let bounds = bounds.as_primitive_opt::<Int64Type>().ok_or_else(not_ours)?;
                    watermark = watermark.max(match bounds.iter().flatten().max() {
                        Some(i64::MAX) => Watermark::End,
                        Some(bound) => Watermark::At(bound),
                        None => Watermark::Unknown,
                    });
                }
                _ => return Err(not_ours()),
            }
        }
        let over = self.pass(watermark);
        self.release(&over)?;
        self.passed_saved = self.passed;
        Ok(())
    }

    fn state_rows(&self) -> usize {
        self.store.num_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.store.memory_bytes() + self.sessions.memory_bytes()
    }
}
