//! The join of a stream with another as it was at the time of each row: `FOR SYSTEM_TIME AS OF a.t`.
//!
//! ```text
//!   versions of a key     ●────────────●──────────────●───────►  t
//!                                           ▲
//!   a row at a.t                            └ finds the latest version that is not later
//! ```
//!
//! A row waits until the watermark of the versions has passed its time: from then on no version can
//! come that it should have found instead. So what comes out is never taken back. Of two versions with
//! the same time the one that came later counts.
//!
//! Of each key the latest version below both watermarks is kept, and what is later; older ones go.

#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{and, filter_record_batch, is_not_null, not};
use arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;
use datafusion::physical_plan::joins::utils::JoinFilter;

use self::versions::Versions;
use super::consolidate::BATCH_ROWS;
pub use super::join_output::Side;
use super::join_output::{JoinOutput, Rows, equalities, null_equality};
use super::row_index::{KeyedRows, Pairs};
pub use super::timed_rows::TimedSide;
use super::timed_rows::{Parts, TimedRows};
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::{Watermark, Watermarks};

const WAITING: Parts = Parts { rows: "waiting", matched: "waiting matched", bound: "released" };

/// A temporal join as planned: a stream (the first input, the left side) and the versions of a relation
/// (the second, the right side). Neither takes back rows.
#[derive(Debug, Clone)]
pub struct TemporalJoinSpec {
    /// Whether a row that finds no version comes out with NULLs in its place.
    pub outer: bool,
    /// The stream.
    pub left: TimedSide,
    /// The versions.
    pub right: TimedSide,
    /// Whether NULL keys equal one another, as in `IS NOT DISTINCT FROM`.
    pub null_equals_null: bool,
    /// What must hold of a row and the version it finds.
    pub residual: Option<JoinFilter>,
    /// Where each output column comes from.
    pub output: Vec<(Side, usize)>,
    /// The columns of the output.
    pub schema: SchemaRef,
}

impl TemporalJoinSpec {
    fn nulls(&self) -> NullEquality {
        null_equality(self.null_equals_null)
    }

    /// The watermarks of the times of both inputs.
    fn bounds(&self, inputs: [&Watermarks; 2]) -> [Option<Watermark>; 2] {
        [inputs[0].get(self.left.time), inputs[1].get(self.right.time)]
    }
}

impl OperatorSpec for TemporalJoinSpec {
    fn name(&self) -> &'static str {
        "TemporalJoin"
    }

    fn explain(&self) -> Explanation {
        let (left, right) = (&self.left, &self.right);
        let keys = equalities((&left.schema, &left.keys), (&right.schema, &right.keys));
        let kind = if self.outer { "left" } else { "inner" };
        let residual = self.residual.as_ref().map(|residual| format!(" where={residual}"));
        let detail = format!(
            "{kind} on=[{keys}] latest {} as of {}{}",
            right.time_name(),
            left.time_name(),
            residual.unwrap_or_default(),
        );
        Explanation {
            detail,
            keeps:
                "the rows later than the versions' watermark, and the versions of each key that \
                    they or later rows can find"
                    .into(),
            freed_by: "both watermarks, all but the latest version of each key".into(),
        }
    }

    fn distribution(&self, input: usize) -> Distribution {
        if input == 0 { &self.left } else { &self.right }.distribution()
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        let [left, right] = inputs else { return watermarks };
        let [left, right] = self.bounds([left, right]);
        // A row that waits comes out later than rows that have come since.
        let bound = left.zip(right).map(|(left, right)| left.min(right));
        for (place, (side, column)) in self.output.iter().enumerate() {
            if *side == Side::Left && self.left.is_time(*column) {
                watermarks.0[place] = bound;
            }
        }
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        let waiting = WAITING.state_share(part, &self.left.keys);
        waiting.or_else(|| Versions::state_share(part, &self.right.keys))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.left.keys.len() != self.right.keys.len() {
            return Err(Error::bug("a join needs as many keys on the left as on the right"));
        }
        if self.output.len() != self.schema.fields().len() {
            return Err(Error::bug("the columns of a join do not match its schema"));
        }
        let nulls = self.nulls();
        Ok(Box::new(TemporalJoin {
            waiting: TimedRows::new(&self.left, nulls, WAITING),
            versions: Versions::new(&self.right, nulls)?,
            output: JoinOutput {
                columns: self.output.clone(),
                residual: self.residual.clone(),
                schema: Arc::clone(&self.schema),
            },
            spec: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct TemporalJoin {
    spec: TemporalJoinSpec,
    /// Rows that a version may still come for.
    waiting: TimedRows,
    versions: Versions,
    output: JoinOutput,
}

impl TemporalJoin {
    /// Keeps rows of the stream until their versions are there.
    fn wait(&mut self, delta: Delta, output: &mut Output) -> Result<()> {
        if delta.weights.is_some() {
            return Err(Error::bug("a temporal join cannot take rows back"));
        }
        let rows = KeyedRows::new(delta, &self.spec.left.keys, self.spec.nulls())?;
        let has_time = is_not_null(&self.waiting.times(&rows.batch)?)?;
        let has_key = (0..rows.len()).map(|row| Some(!rows.matches_nothing(row))).collect();
        let can_match = and(&has_time, &has_key)?;
        self.waiting.keep(&rows, &vec![0; rows.len()], &can_match)?;
        let never = filter_record_batch(&rows.batch, &not(&can_match)?)?;
        self.emit_alone(&never, output)
    }

    /// Gives rows of the stream with the versions they find.
    fn look_up(&self, cx: &EpochContext, batch: RecordBatch, output: &mut Output) -> Result<()> {
        let rows = KeyedRows::new(Delta::append(batch), &self.spec.left.keys, self.spec.nulls())?;
        let times = self.waiting.times(&rows.batch)?;
        let mut pairs = Pairs::default();
        let found = self.versions.at(&rows, &self.spec.left.keys, &times)?;
        for (row, version) in (0_u32..).zip(&found) {
            if let Some(version) = version {
                pairs.probe.push(row);
                pairs.kept.push(*version);
            }
        }
        let mut settled = vec![false; rows.len()];
        if pairs.len() > 0 {
            let (stream, versions) = self.sides(&rows, &pairs)?;
            let sides = (&stream, &versions);
            if let Some(verdict) = self.output.judge(cx, sides, pairs.len(), &mut output.bad)? {
                verdict.failed.iter().for_each(|i| settled[pairs.probe[*i] as usize] = true);
                pairs.retain(&verdict.holds);
            }
        }
        pairs.probe.iter().for_each(|row| settled[*row as usize] = true);
        if pairs.len() > 0 {
            let (stream, versions) = self.sides(&rows, &pairs)?;
            let batch = self.output.batch((&stream, &versions), pairs.len())?;
            output.deltas.push(Delta::append(batch));
        }
        let open: BooleanArray = settled.iter().map(|settled| Some(!settled)).collect();
        self.emit_alone(&filter_record_batch(&rows.batch, &open)?, output)
    }

    fn sides<'a>(&'a self, rows: &'a KeyedRows, pairs: &Pairs) -> Result<(Rows<'a>, Rows<'a>)> {
        let stream = Rows::Probe(&rows.batch, UInt32Array::from(pairs.probe.clone()));
        Ok((stream, Rows::Kept(self.versions.rows.pick(&pairs.kept)?)))
    }

    /// Rows that find no version.
    fn emit_alone(&self, rows: &RecordBatch, output: &mut Output) -> Result<()> {
        if self.spec.outer && rows.num_rows() > 0 {
            let versions = &self.spec.right.schema;
            let batch = self.output.unpaired(Side::Left, rows, versions, None)?;
            output.deltas.push(Delta::append(batch));
        }
        Ok(())
    }
}

impl Operator for TemporalJoin {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [left, right] = Input::exactly(inputs)?;
        let mut output = Output::default();
        for delta in right.deltas {
            self.versions.add(delta)?;
        }
        for delta in left.deltas {
            self.wait(delta, &mut output)?;
        }
        let bounds = self.spec.bounds([&left.watermarks, &right.watermarks]);
        let [of_left, of_right] = bounds.map(|bound| bound.map_or(i64::MIN, Watermark::bound));
        let released = self.waiting.take_before(of_right);
        for rows in released.chunks(BATCH_ROWS) {
            self.look_up(cx, self.waiting.rows_of(rows)?, &mut output)?;
        }
        self.waiting.reclaim()?;
        self.versions.forget_before(of_left.min(of_right))?;
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = self.waiting.snapshot()?;
        state.extend(self.versions.snapshot()?);
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.waiting.forget_snapshots();
        self.versions.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        let state = self.waiting.restore(state)?;
        self.versions.restore(state)
    }

    fn state_rows(&self) -> usize {
        self.waiting.index.live_rows() + self.versions.rows.live_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.waiting.memory_bytes() + self.versions.memory_bytes()
    }
}
