//! Time-sort: `ORDER BY t WITHIN INTERVAL …`, the event-time sort of KDA; with an interval of zero, a
//! time that a query gives its rows itself.
//!
//! Rows come in the order of their arrival, out of order by at most the interval. A row comes out when
//! one has come that is later by the interval; by then none can come before it. One that does is late
//! and is set aside, and so is one without a time. Only rows move the sort: what is known of the input's
//! time says nothing of the time sorted by, except that the end is the end.
//!
//! All rows pass one lane. State: the rows of the last interval, and the latest time seen.
//!
//! Source: "T-sorting Stream Input" of the Kinesis Data Analytics SQL reference.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};

use super::sliding_window::waiting::{Waiting, released_of, released_rows};
use super::sorted_stream::{SortKey, sorted};
use super::{EpochContext, Input, Operator, Output, StateBatch, row_text};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::fault::{BadRow, Reason};
use crate::monotonic::to_numbers;
use crate::watermark::{Watermark, Watermarks};

const WAITING: &str = "waiting";
const RELEASED: &str = "released";

/// A time-sort as planned. The input is append-only. A second input may say when it has ended, where
/// none of its own columns has a watermark; its rows are of no interest.
#[derive(Debug, Clone)]
pub struct TimeSortSpec {
    /// The time sorted by, ascending, then what rows of one time are sorted by.
    pub keys: Vec<SortKey>,
    /// How far out of order rows may come, in the unit of the time.
    pub within: i64,
    /// The columns of the input, and of the output.
    pub schema: SchemaRef,
}

impl OperatorSpec for TimeSortSpec {
    fn name(&self) -> &'static str {
        "TimeSort"
    }

    fn explain(&self) -> Explanation {
        let keys: Vec<_> = self.keys.iter().map(|key| key.describe(&self.schema)).collect();
        Explanation {
            detail: format!("keys=[{}] within={} ms", keys.join(", "), self.within),
            keeps: format!("the rows of the last {} ms", self.within),
            freed_by: "later rows".to_owned(),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Single
    }

    fn watermarks(&self, _inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        if let Some(time) = self.keys.first().and_then(|key| watermarks.0.get_mut(key.column)) {
            *time = Some(Watermark::Unknown);
        }
        watermarks
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let first = self.keys.first().filter(|key| !key.descending && self.within >= 0);
        let time = first.ok_or_else(|| Error::bug("a time-sort without an ascending time"))?.column;
        Ok(Box::new(TimeSort {
            time,
            waiting: Waiting::default(),
            floor: Watermark::Unknown,
            spec: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct TimeSort {
    spec: TimeSortSpec,
    time: usize,
    waiting: Waiting,
    /// The latest time seen, less the interval: rows up to this have come out.
    floor: Watermark,
}

impl TimeSort {
    /// Takes in rows in the order of arrival.
    fn take(&mut self, cx: &EpochContext, batch: &RecordBatch, out: &mut Output) -> Result<()> {
        let times = to_numbers(batch.column(self.time))?;
        let times = times.as_primitive::<Int64Type>();
        let mut floor = self.floor.bound();
        let mut in_time = Vec::with_capacity(times.len());
        for (row, time) in times.iter().enumerate() {
            let is_in_time = time.is_some_and(|time| time >= floor);
            if let (Some(time), true) = (time, is_in_time) {
                floor = floor.max(time.saturating_sub(self.spec.within));
            } else {
                out.bad.push(self.late(cx, batch, row, time));
            }
            in_time.push(is_in_time);
        }
        if self.floor != Watermark::End && floor > i64::MIN {
            self.floor = Watermark::At(floor);
        }
        if in_time.iter().all(|in_time| *in_time) {
            return self.waiting.push(batch.clone(), times);
        }
        let kept = filter_record_batch(batch, &BooleanArray::from(in_time))?;
        let times = to_numbers(kept.column(self.time))?;
        let times: &Int64Array = times.as_primitive::<Int64Type>();
        self.waiting.push(kept, times)
    }

    fn late(
        &self,
        cx: &EpochContext,
        batch: &RecordBatch,
        row: usize,
        time: Option<i64>,
    ) -> BadRow {
        let name = self.spec.schema.field(self.time).name();
        let message = match time {
            Some(_) => format!("{name} is earlier than what has been sorted already"),
            None => format!("{name} is NULL and cannot be sorted by"),
        };
        BadRow {
            reason: Reason::Late,
            message,
            stream: Arc::clone(&cx.owner),
            partition: "".into(),
            position: String::new(),
            rowtime_ms: time,
            raw: row_text(batch, row).into_bytes(),
        }
    }
}

impl Operator for TimeSort {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let is_end = |watermark: &Watermark| *watermark == Watermark::End;
        let ended = inputs.iter().any(|input| input.watermarks.0.iter().flatten().any(is_end));
        let input = inputs.into_iter().next();
        let input = input.ok_or_else(|| Error::bug("a time-sort without an input"))?;
        let mut output = Output::default();
        for delta in input.deltas {
            if delta.weights.is_some() {
                return Err(Error::bug("a time-sort cannot take back rows"));
            }
            self.take(cx, &delta.batch, &mut output)?;
        }
        if ended {
            self.floor = Watermark::End;
        }
        if let Some((rows, _)) = self.waiting.release(self.floor)? {
            output.deltas.push(Delta::append(sorted(&rows, &self.spec.keys)?));
        }
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let waiting = self.waiting.snapshot().into_iter();
        let mut state: Vec<_> = waiting.map(|rows| StateBatch { part: WAITING, rows }).collect();
        let floor = released_rows(self.floor)?;
        state.extend(floor.map(|rows| StateBatch { part: RELEASED, rows }));
        Ok(state)
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for StateBatch { part, rows } in state {
            match part {
                WAITING => {
                    let times = to_numbers(rows.column(self.time))?;
                    self.waiting.restore(rows, times.as_primitive::<Int64Type>())?;
                }
                RELEASED => {
                    self.floor = released_of(&rows)?;
                    // They came out between two snapshots.
                    self.waiting.release(self.floor)?;
                }
                _ => return Err(Error::bug("not the state of a time-sort")),
            }
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.waiting.memory_bytes()
    }

    fn watermarks(&self) -> Option<Watermarks> {
        let mut watermarks = Watermarks::none(self.spec.schema.fields().len());
        watermarks.0[self.time] = Some(self.floor);
        Some(watermarks)
    }
}
