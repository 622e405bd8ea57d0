//! The join of two streams of which one or both show their last rows: `a OVER (ROWS n PRECEDING) JOIN b`.
//!
//! ```text
//!   left (ROWS 2)    1    2  3     4
//!   right                       ●             ● meets 1, 2 and 3: the last three rows by its time
//! ```
//!
//! A pair is of a row and one that the window of the other side holds at its time: of a window of rows
//! the last ones that are not later, in the order of arrival where times are equal; of a window of time
//! those that are no older than its length. Which rows are the last is known when both watermarks have
//! passed a time, so that rows wait for it; nothing is ever taken back. A row that met none comes out
//! when its own side's window lets go of it.
//!
//! Invariant: each side keeps the processed rows that its window holds now, and what waits.

mod recent;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::JoinType;
use datafusion::physical_plan::joins::utils::JoinFilter;

use self::recent::{Parts, Recent};
use super::consolidate::BATCH_ROWS;
use super::hash_join::kind;
pub use super::join_output::Side;
use super::join_output::{JoinOutput, Rows, equalities};
use super::waiting::InOrder;
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::from_number;
use crate::watermark::{Watermark, Watermarks};

const LEFT: Parts = Parts { rows: "left", matched: "left matched", first: "left first" };
const RIGHT: Parts = Parts { rows: "right", matched: "right matched", first: "right first" };
const LATEST: &str = "latest";

/// Which rows of a side a row of the other one meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The last one and so many before it.
    Rows(u64),
    /// Those no more than so many milliseconds older.
    Within(i64),
}

/// A side of the join.
#[derive(Debug, Clone)]
pub struct RowsSide {
    /// Its columns.
    pub schema: SchemaRef,
    /// Columns whose values are equal in all pairs; the residual says so, too.
    pub keys: Vec<usize>,
    /// Its time, a column with a watermark.
    pub time: usize,
    /// A column that says which of its rows are joined: the others have their places in the window.
    pub counts: Option<usize>,
    /// Its window.
    pub reach: Reach,
}

impl RowsSide {
    fn described(&self) -> String {
        match self.reach {
            Reach::Rows(0) => "its last row".to_owned(),
            Reach::Rows(rows) => format!("its last {} rows", rows.saturating_add(1)),
            Reach::Within(0) => "its rows of the same time".to_owned(),
            Reach::Within(ms) => format!("its rows of {ms} ms"),
        }
    }
}

/// A join by rows as planned. Neither input takes back rows.
#[derive(Debug, Clone)]
pub struct RowsJoinSpec {
    /// Inner, or outer on one side or both.
    pub join_type: JoinType,
    /// The first input.
    pub left: RowsSide,
    /// The second input.
    pub right: RowsSide,
    /// What must hold of a pair beside the windows.
    pub residual: Option<JoinFilter>,
    /// Where each output column comes from.
    pub output: Vec<(Side, usize)>,
    /// The columns of the output that hold when the row came about: the later time of a pair; for a row
    /// alone when its window let go of it.
    pub moments: Vec<usize>,
    /// The columns of the output.
    pub schema: SchemaRef,
}

impl RowsJoinSpec {
    fn bound(&self, left: &Watermarks, right: &Watermarks) -> Option<Watermark> {
        Some(left.get(self.left.time)?.min(right.get(self.right.time)?))
    }

    /// Whether rows of a side come out alone.
    fn is_preserved(&self, side: Side) -> bool {
        match side {
            Side::Left => matches!(self.join_type, JoinType::Left | JoinType::Full),
            Side::Right => matches!(self.join_type, JoinType::Right | JoinType::Full),
        }
    }
}

impl OperatorSpec for RowsJoinSpec {
    fn name(&self) -> &'static str {
        "RowsJoin"
    }

    fn explain(&self) -> Explanation {
        let (left, right) = (&self.left, &self.right);
        let keys = equalities((&left.schema, &left.keys), (&right.schema, &right.keys));
        let mut detail = kind(self.join_type).to_owned();
        if !keys.is_empty() {
            detail += &format!(" on=[{keys}]");
        }
        detail += &format!(" left: {}, right: {}", left.described(), right.described());
        Explanation {
            detail,
            keeps: "the rows in the windows of both sides, and those later than a watermark".into(),
            freed_by: "later rows and both watermarks".into(),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Single
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        if let [left, right] = inputs {
            for place in &self.moments {
                watermarks.0[*place] = self.bound(left, right);
            }
        }
        watermarks
    }

    fn state_share(&self, _part: &str) -> Option<StateShare> {
        Some(StateShare::First)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.output.len() != self.schema.fields().len() {
            return Err(Error::bug("the columns of a join do not match its schema"));
        }
        if !matches!(
            self.join_type,
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
        ) {
            return Err(Error::bug("a join by rows gives pairs"));
        }
        let waiting = |side: &RowsSide| InOrder::new(side.time);
        Ok(Box::new(RowsJoin {
            waiting: [waiting(&self.left), waiting(&self.right)],
            left: Recent::new(&self.left, self.is_preserved(Side::Left), LEFT),
            right: Recent::new(&self.right, self.is_preserved(Side::Right), RIGHT),
            latest: i64::MIN,
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
struct RowsJoin {
    spec: RowsJoinSpec,
    /// The rows later than a watermark, of the left and of the right.
    waiting: [InOrder; 2],
    left: Recent,
    right: Recent,
    /// The latest time that is known to have passed.
    latest: i64,
    output: JoinOutput,
}

/// Pairs to be judged, by the numbers of their rows.
#[derive(Debug, Default)]
struct Pairs {
    left: Vec<u64>,
    right: Vec<u64>,
}

impl RowsJoin {
    fn of(&self, side: Side) -> &Recent {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    fn of_mut(&mut self, side: Side) -> &mut Recent {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }

    /// Takes in the rows of a side whose time has come; returns the number of the first.
    fn enter(&mut self, side: Side, passed: Watermark, output: &mut Output) -> Result<u64> {
        let place = usize::from(side == Side::Right);
        let released = self.waiting[place].release(passed)?;
        let first = self.of(side).end();
        let Some((rows, times)) = released else { return Ok(first) };
        // Rows without a time are in no window.
        let timeless = times.values().partition_point(|time| *time == i64::MIN);
        let moments = Int64Array::new_null(timeless);
        self.emit_alone(side, &rows.slice(0, timeless), &moments, output)?;
        let count = rows.num_rows() - timeless;
        let (rows, times) = (rows.slice(timeless, count), times.slice(timeless, count));
        self.latest = times.values().last().map_or(self.latest, |last| self.latest.max(*last));
        self.of_mut(side).push(&rows, times.values())?;
        Ok(first)
    }

    /// Joins the rows of these numbers and later ones with what they meet, in the order of time.
    fn meet(&mut self, cx: &EpochContext, from: [u64; 2], output: &mut Output) -> Result<()> {
        let [mut left, mut right] = from;
        let mut pairs = Pairs::default();
        loop {
            let times = [self.left.time(left), self.right.time(right)];
            let Some(time) = times.into_iter().flatten().min() else { break };
            let in_left = self.left.window_at(time);
            let in_right = self.right.window_at(time);
            while self.right.time(right) == Some(time) {
                for row in self.left.candidates(&in_left, self.right.hash(right)) {
                    pairs.left.push(row);
                    pairs.right.push(right);
                }
                right += 1;
                self.judge_some(cx, &mut pairs, output)?;
            }
            while self.left.time(left) == Some(time) {
                // In the window at its own time, it has met the right rows of that time.
                let met = in_left.contains(&left);
                for row in self.right.candidates(&in_right, self.left.hash(left)) {
                    if !(met && self.right.time(row) == Some(time)) {
                        pairs.left.push(left);
                        pairs.right.push(row);
                    }
                }
                left += 1;
                self.judge_some(cx, &mut pairs, output)?;
            }
        }
        self.judge(cx, &mut pairs, output)
    }

    fn judge_some(
        &mut self,
        cx: &EpochContext,
        pairs: &mut Pairs,
        output: &mut Output,
    ) -> Result<()> {
        if pairs.left.len() < BATCH_ROWS { Ok(()) } else { self.judge(cx, pairs, output) }
    }

    /// Gives the pairs on which the condition holds.
    fn judge(&mut self, cx: &EpochContext, pairs: &mut Pairs, output: &mut Output) -> Result<()> {
        let Pairs { left, right } = std::mem::take(pairs);
        let mut parts = left.chunks(BATCH_ROWS).zip(right.chunks(BATCH_ROWS));
        parts.try_for_each(|(left, right)| self.judge_part(cx, (left, right), output))
    }

    fn judge_part(
        &mut self,
        cx: &EpochContext,
        (left, right): (&[u64], &[u64]),
        output: &mut Output,
    ) -> Result<()> {
        let sides = (Rows::Kept(self.left.pick(left)?), Rows::Kept(self.right.pick(right)?));
        let sides = (&sides.0, &sides.1);
        let verdict = self.output.judge(cx, sides, left.len(), &mut output.bad)?;
        let holds = |pair: usize| verdict.as_ref().is_none_or(|v| v.holds.value(pair));
        let holding: Vec<usize> = (0..left.len()).filter(|pair| holds(*pair)).collect();
        // A row that the condition failed on is not known to match nothing.
        let failed = verdict.as_ref().map(|verdict| verdict.failed.clone()).unwrap_or_default();
        let numbers = |of: &[u64]| holding.iter().map(|pair| of[*pair]).collect::<Vec<_>>();
        let (of_left, of_right) = (numbers(left), numbers(right));
        if !holding.is_empty() {
            let times = of_left.iter().zip(&of_right);
            let moments: Int64Array =
                times.map(|(l, r)| self.left.time(*l).max(self.right.time(*r))).collect();
            let (l, r) = (self.left.pick(&of_left)?, self.right.pick(&of_right)?);
            let sides = (&Rows::Kept(l), &Rows::Kept(r));
            let batch = self.output.batch(sides, holding.len())?;
            output.deltas.push(Delta::append(self.at_moments(&batch, &moments)?));
        }
        for pair in holding.into_iter().chain(failed) {
            self.left.mark(left[pair]);
            self.right.mark(right[pair]);
        }
        Ok(())
    }

    /// Lets go of the rows that no window holds any more.
    fn leave(&mut self, side: Side, passed: Watermark, output: &mut Output) -> Result<()> {
        let latest = self.latest;
        let (alone, moments) = self.of(side).unmatched_until(passed, latest);
        for (rows, moments) in alone.chunks(BATCH_ROWS).zip(moments.chunks(BATCH_ROWS)) {
            let own = if side == Side::Left { &self.spec.left } else { &self.spec.right };
            let columns = self.of(side).pick(rows)?.columns()?;
            let rows = RecordBatch::try_new(Arc::clone(&own.schema), columns)?;
            self.emit_alone(side, &rows, &moments.to_vec().into(), output)?;
        }
        self.of_mut(side).drop_until(passed)
    }

    fn emit_alone(
        &self,
        side: Side,
        rows: &RecordBatch,
        moments: &Int64Array,
        output: &mut Output,
    ) -> Result<()> {
        if rows.num_rows() == 0 || !self.spec.is_preserved(side) {
            return Ok(());
        }
        let other = if side == Side::Left { &self.spec.right } else { &self.spec.left };
        let batch = self.output.unpaired(side, rows, &other.schema, None)?;
        output.deltas.push(Delta::append(self.at_moments(&batch, moments)?));
        Ok(())
    }

    /// The rows with the columns that say when they came about.
    fn at_moments(&self, rows: &RecordBatch, moments: &Int64Array) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        for place in &self.spec.moments {
            columns[*place] = from_number(moments, self.spec.schema.field(*place).data_type())?;
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?)
    }
}

impl Operator for RowsJoin {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [left, right] = Input::exactly(inputs)?;
        let mut output = Output::default();
        self.waiting[0].take_in(left.deltas)?;
        self.waiting[1].take_in(right.deltas)?;
        let bound = self.spec.bound(&left.watermarks, &right.watermarks);
        // More rows of the very bound may come.
        let passed = match bound {
            Some(Watermark::At(bound)) => {
                self.latest = self.latest.max(bound);
                Watermark::At(bound.saturating_sub(1))
            }
            Some(Watermark::End) => Watermark::End,
            Some(Watermark::Unknown) | None => return Ok(output),
        };
        let from = [
            self.enter(Side::Left, passed, &mut output)?,
            self.enter(Side::Right, passed, &mut output)?,
        ];
        self.meet(cx, from, &mut output)?;
        self.leave(Side::Left, passed, &mut output)?;
        self.leave(Side::Right, passed, &mut output)?;
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = Vec::new();
        for (waiting, side) in self.waiting.iter_mut().zip([Side::Left, Side::Right]) {
            for batch in waiting.snapshot()? {
                state.push(StateBatch { part: part_of(side, batch.part)?, rows: batch.rows });
            }
        }
        state.extend(self.left.snapshot()?);
        state.extend(self.right.snapshot()?);
        let latest: ArrayRef = Arc::new(Int64Array::from(vec![self.latest]));
        let schema = Schema::new(vec![Field::new(LATEST, DataType::Int64, false)]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![latest])?;
        state.push(StateBatch { part: LATEST, rows });
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.waiting.iter_mut().for_each(InOrder::forget_snapshots);
        self.left.forget_snapshots();
        self.right.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for state in state {
            if state.part == LATEST {
                self.latest = recent::number(&state.rows)?;
                continue;
            }
            let Some(state) = self.left.restore(state)? else { continue };
            let Some(state) = self.right.restore(state)? else { continue };
            let waits =
                |side| PARTS.into_iter().find(|(of, part, _)| *of == side && *part == state.part);
            let (place, part) = match (waits(Side::Left), waits(Side::Right)) {
                (Some((_, _, part)), _) => (0, part),
                (_, Some((_, _, part))) => (1, part),
                _ => return Err(Error::bug("not the state of a join by rows")),
            };
            self.waiting[place].restore_all(vec![StateBatch { part, rows: state.rows }])?;
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(InOrder::num_rows).sum();
        waiting + self.left.num_rows() + self.right.num_rows()
    }

    fn memory_bytes(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(InOrder::memory_bytes).sum();
        waiting + self.left.memory_bytes() + self.right.memory_bytes()
    }
}

/// What the parts of the rows that wait are called here, of either side.
const PARTS: [(Side, &str, &str); 4] = [
    (Side::Left, "left waiting", "waiting"),
    (Side::Left, "left released", "released"),
    (Side::Right, "right waiting", "waiting"),
    (Side::Right, "right released", "released"),
];

fn part_of(side: Side, part: &str) -> Result<&'static str> {
    let found = PARTS.into_iter().find(|(of, _, own)| *of == side && *own == part);
    found.map(|(_, part, _)| part).ok_or_else(|| Error::bug("rows wait with another part"))
}
