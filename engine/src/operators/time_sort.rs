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

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};

use super::sorted_stream::{described, sorted};
use super::waiting::InOrder;
use super::{EpochContext, Input, Operator, Output, StateBatch, row_text};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, SortKey};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::fault::{BadRow, Reason};
use crate::monotonic::to_numbers;
use crate::watermark::{Watermark, Watermarks};

/// A time-sort as planned. The input is append-only.
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
        let keys: Vec<_> = self.keys.iter().map(|key| described(key, &self.schema)).collect();
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
        Ok(Box::new(TimeSort { time, waiting: InOrder::new(time), spec: self.clone() }))
    }
}

#[derive(Debug)]
struct TimeSort {
    spec: TimeSortSpec,
    time: usize,
    /// What comes out reaches up to the latest time seen, less the interval.
    waiting: InOrder,
}

impl TimeSort {
    /// Takes in rows in the order of arrival; `floor` is the latest time, less the interval.
    fn take_in(
        &mut self,
        cx: &EpochContext,
        delta: Delta,
        floor: &mut i64,
        bad: &mut Vec<BadRow>,
    ) -> Result<()> {
        let batch = &delta.batch;
        let times = to_numbers(batch.column(self.time))?;
        let times = times.as_primitive::<Int64Type>();
        let mut in_time = Vec::with_capacity(times.len());
        for (row, time) in times.iter().enumerate() {
            let is_in_time = time.is_some_and(|time| time >= *floor);
            if let (Some(time), true) = (time, is_in_time) {
                *floor = (*floor).max(time.saturating_sub(self.spec.within));
            } else {
                bad.push(self.late(cx, batch, row, time));
            }
            in_time.push(is_in_time);
        }
        if in_time.iter().all(|in_time| *in_time) {
            return self.waiting.push(delta);
        }
        let batch = filter_record_batch(batch, &BooleanArray::from(in_time))?;
        self.waiting.push(Delta { batch, weights: delta.weights })
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
        let [input] = Input::exactly(inputs)?;
        let mut output = Output::default();
        let mut floor = self.waiting.released().bound();
        for delta in input.deltas {
            self.take_in(cx, delta, &mut floor, &mut output.bad)?;
        }
        let floor = match (cx.ended, floor) {
            (true, _) => Watermark::End,
            (false, i64::MIN) => Watermark::Unknown,
            (false, floor) => Watermark::At(floor),
        };
        if let Some((rows, _)) = self.waiting.release(floor)? {
            output.deltas.push(Delta::append(sorted(&rows, &self.spec.keys)?));
        }
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        self.waiting.snapshot()
    }

    fn forget_snapshots(&mut self) {
        self.waiting.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        self.waiting.restore_all(state)
    }

    fn state_rows(&self) -> usize {
        self.waiting.num_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.waiting.memory_bytes()
    }

    fn watermarks(&self) -> Option<Watermarks> {
        let mut watermarks = Watermarks::none(self.spec.schema.fields().len());
        watermarks.0[self.time] = Some(self.waiting.released());
        Some(watermarks)
    }
}
