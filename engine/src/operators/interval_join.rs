//! The join of two streams whose times lie close together: `a.t BETWEEN b.t - x AND b.t + y`, of every
//! type, with or without keys.
//!
//! ```text
//!                     a.t
//!    ───────[─────────●─────────]──────────────────►  b.t        lowest ≤ a.t − b.t ≤ highest
//!        a.t − highest      a.t − lowest
//!                                      ▲ watermark of b: no match of this row can come any more
//! ```
//!
//! A row is kept until the watermark of the other side says that nothing will match it. Then, and not
//! before, it is known to match nothing, where that makes it come out: so no type of join takes back a
//! row.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch, is_not_null, not};
use arrow::datatypes::SchemaRef;
use datafusion::common::{JoinType, NullEquality};
use datafusion::physical_plan::joins::utils::JoinFilter;

use super::consolidate::BATCH_ROWS;
use super::hash_join::kind;
use super::hash_join::pairs::{Meeting, Met};
use super::hash_join::preserved::Yields;
pub use super::join_output::Side;
use super::join_output::{JoinOutput, equalities, null_equality};
use super::row_index::{KeyedRows, RowIndex};
pub use super::timed_rows::TimedSide;
use super::timed_rows::{Parts, TimedRows};
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::{Watermark, Watermarks};

const LEFT: Parts = Parts { rows: "left", matched: "left matched", bound: "left bound" };
const RIGHT: Parts = Parts { rows: "right", matched: "right matched", bound: "right bound" };

/// An interval join as planned. Neither input takes back rows.
#[derive(Debug, Clone)]
pub struct IntervalJoinSpec {
    /// What comes out of rows that match and of those that do not.
    pub join_type: JoinType,
    /// The two sides.
    pub left: TimedSide,
    /// The two sides.
    pub right: TimedSide,
    /// Whether NULL keys equal one another, as in `IS NOT DISTINCT FROM`.
    pub null_equals_null: bool,
    /// What must hold of a pair beside the equality of its keys; the bounds on the times follow from
    /// it, or from the keys.
    pub residual: Option<JoinFilter>,
    /// The least `left time - right time` of a pair, in the unit of the times. Without it rows of the
    /// left are kept for ever.
    pub lowest: Option<i64>,
    /// The greatest. Without it rows of the right are kept for ever.
    pub highest: Option<i64>,
    /// The side of which there are few rows, where pairs alone come out: every lane has all of them, and
    /// those of the other side stay where they are.
    pub few: Option<Side>,
    /// Where each output column comes from; of a semi, anti or mark join, the side that comes out. The
    /// mark is no part of it: it is the last column of the schema.
    pub output: Vec<(Side, usize)>,
    /// The columns of the output.
    pub schema: SchemaRef,
}

impl IntervalJoinSpec {
    fn side(&self, side: Side) -> &TimedSide {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    fn nulls(&self) -> NullEquality {
        null_equality(self.null_equals_null)
    }

    /// Whether what comes out is pairs (of an outer join, beside rows alone).
    fn pairs_come_out(&self) -> bool {
        matches!(
            self.join_type,
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
        )
    }

    /// The watermark that the one of the other side puts on the rows of `side` that can still match.
    fn open_from(&self, side: Side, other: Watermark) -> Option<Watermark> {
        let distance = match side {
            Side::Left => self.lowest,
            Side::Right => self.highest.and_then(i64::checked_neg),
        };
        match (other, distance) {
            (Watermark::At(bound), Some(distance)) => {
                Some(Watermark::At(bound.saturating_add(distance)))
            }
            (Watermark::At(_), None) => None,
            (other, _) => Some(other),
        }
    }

    /// The watermark of a side's time in the output.
    fn watermark(&self, side: Side, inputs: &[Watermarks]) -> Option<Watermark> {
        let of = |side: Side| {
            let input = inputs.get(usize::from(side == Side::Right));
            input.and_then(|input| input.get(self.side(side).time))
        };
        // Rows of the other side that come out alone have NULL here.
        let is_extended =
            self.pairs_come_out() && Yields::of(self.join_type, side.other()).is_some();
        let bounded = match side {
            Side::Left => self.lowest,
            Side::Right => self.highest,
        };
        if is_extended || bounded.is_none() {
            return None;
        }
        Some(of(side)?.min(self.open_from(side, of(side.other())?)?))
    }

    fn half(&self, side: Side) -> Half {
        let spec = self.side(side);
        let parts = if side == Side::Left { LEFT } else { RIGHT };
        Half {
            side,
            keys: spec.keys.clone(),
            yields: Yields::of(self.join_type, side),
            other: Arc::clone(&self.side(side.other()).schema),
            rows: TimedRows::new(spec, self.nulls(), parts),
        }
    }
}

impl OperatorSpec for IntervalJoinSpec {
    fn name(&self) -> &'static str {
        "IntervalJoin"
    }

    fn explain(&self) -> Explanation {
        let (left, right) = (&self.left, &self.right);
        let keys = equalities((&left.schema, &left.keys), (&right.schema, &right.keys));
        let mut words = Vec::new();
        if self.join_type != JoinType::Inner {
            words.push(kind(self.join_type).to_owned());
        }
        if !keys.is_empty() {
            words.push(format!("on=[{keys}]"));
        }
        let end =
            |bound: Option<i64>| bound.map_or("unbounded".to_owned(), |ms| format!("{ms} ms"));
        let (left, right) = (left.time_name(), right.time_name());
        words.push(format!("{left} - {right} in [{}, {}]", end(self.lowest), end(self.highest)));
        if let Some(residual) = &self.residual {
            words.push(format!("where={residual}"));
        }
        let (keeps, freed_by) = match (self.lowest, self.highest) {
            (Some(_), Some(_)) => (
                "the rows of both sides that can still match",
                "the watermark of the other side, once nothing that comes can match",
            ),
            (Some(_), None) => ("every row of the right side, and the left's that can match", ""),
            _ => ("every row of the left side, and the right's that can match", ""),
        };
        Explanation { detail: words.join(" "), keeps: keeps.into(), freed_by: freed_by.into() }
    }

    fn distribution(&self, input: usize) -> Distribution {
        let side = if input == 0 { Side::Left } else { Side::Right };
        match self.few {
            Some(few) if few == side => Distribution::Broadcast,
            Some(_) => Distribution::Any,
            None => self.side(side).distribution(),
        }
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        for (place, (side, column)) in self.output.iter().enumerate() {
            if self.side(*side).is_time(*column) {
                watermarks.0[place] = self.watermark(*side, inputs);
            }
        }
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        let copied = |side: Side, share: StateShare| match share {
            StateShare::Keys(_) if self.few == Some(side) => StateShare::Copied,
            share => share,
        };
        let of_left = LEFT.state_share(part, &self.left.keys);
        let of_right = || RIGHT.state_share(part, &self.right.keys);
        let of_left = of_left.map(|share| copied(Side::Left, share));
        of_left.or_else(|| of_right().map(|share| copied(Side::Right, share)))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.left.keys.len() != self.right.keys.len() {
            return Err(Error::bug("a join needs as many keys on the left as on the right"));
        }
        let mark = usize::from(matches!(self.join_type, JoinType::LeftMark | JoinType::RightMark));
        if self.output.len() + mark != self.schema.fields().len() {
            return Err(Error::bug("the columns of a join do not match its schema"));
        }
        if self.few.is_some() && self.join_type != JoinType::Inner {
            return Err(Error::bug("a row that comes out alone would do so on every lane"));
        }
        Ok(Box::new(IntervalJoin {
            left: self.half(Side::Left),
            right: self.half(Side::Right),
            output: JoinOutput {
                columns: self.output.clone(),
                residual: self.residual.clone(),
                schema: Arc::clone(&self.schema),
            },
            spec: self.clone(),
        }))
    }
}

/// One side at work.
#[derive(Debug)]
struct Half {
    side: Side,
    keys: Vec<usize>,
    /// `None` for a side whose rows come out in pairs only or not at all.
    yields: Option<Yields>,
    /// The columns of the other side.
    other: SchemaRef,
    rows: TimedRows,
}

#[derive(Debug)]
struct IntervalJoin {
    spec: IntervalJoinSpec,
    left: Half,
    right: Half,
    output: JoinOutput,
}

impl Half {
    /// Emits rows of this side alone.
    fn emit(
        &self,
        how: &JoinOutput,
        rows: &RecordBatch,
        matched: bool,
        output: &mut Output,
    ) -> Result<()> {
        let Some(yields) = self.yields.filter(|_| rows.num_rows() > 0) else { return Ok(()) };
        let mark = match yields {
            Yields::Unmatched if matched => return Ok(()),
            Yields::Matched if !matched => return Ok(()),
            Yields::Unmatched | Yields::Matched => None,
            Yields::Marked => Some(matched),
        };
        let batch = how.unpaired(self.side, rows, &self.other, mark)?;
        output.deltas.push(Delta::append(batch));
        Ok(())
    }

    /// Emits kept rows of this side alone.
    fn emit_kept(
        &self,
        how: &JoinOutput,
        rows: &[u32],
        matched: bool,
        output: &mut Output,
    ) -> Result<()> {
        if self.yields.is_none() {
            return Ok(());
        }
        let mut parts = rows.chunks(BATCH_ROWS);
        parts.try_for_each(|rows| self.emit(how, &self.rows.rows_of(rows)?, matched, output))
    }

    /// Lets go of the rows that nothing can match any more.
    fn expire(&mut self, how: &JoinOutput, bound: i64, output: &mut Output) -> Result<()> {
        let gone = self.rows.take_before(bound);
        let unmatched: Vec<u32> =
            gone.into_iter().filter(|row| self.rows.index.matched(*row) == 0).collect();
        self.emit_kept(how, &unmatched, false, output)?;
        self.rows.reclaim()
    }
}

impl IntervalJoin {
    /// The rows of one side that came meet those kept of the other, and are kept themselves.
    fn arrive(
        &mut self,
        cx: &EpochContext,
        side: Side,
        delta: Delta,
        output: &mut Output,
    ) -> Result<()> {
        if delta.weights.is_some() {
            return Err(Error::bug("an interval join cannot take rows back"));
        }
        let pairs_come_out = self.spec.pairs_come_out();
        let (own, other) = match side {
            Side::Left => (&mut self.left, &mut self.right),
            Side::Right => (&mut self.right, &mut self.left),
        };
        let rows = KeyedRows::new(delta, &own.keys, self.spec.nulls())?;
        let (keys, updating) = (&own.keys, false);
        let meeting = Meeting { cx, output: &self.output, side, keys, pairs_come_out, updating };
        let mut matched = vec![0_i64; rows.len()];
        let mut cursor = RowIndex::start();
        while let Some(met) = meeting.next(&rows, &other.rows.index, &mut cursor, output)? {
            for (row, _) in own.yields.into_iter().flat_map(|yields| met.counted(yields)) {
                matched[row as usize] = 1;
            }
            let Some(yields) = other.yields else { continue };
            begin_to_match(&self.output, other, &met, yields, output)?;
        }
        let has_time = is_not_null(&own.rows.times(&rows.batch)?)?;
        let can_match: BooleanArray = (0..rows.len())
            .map(|row| Some(!rows.matches_nothing(row) && has_time.value(row)))
            .collect();
        let is_matched: BooleanArray = matched.iter().map(|matched| Some(*matched > 0)).collect();
        own.emit(&self.output, &filter_record_batch(&rows.batch, &is_matched)?, true, output)?;
        let never = and(&not(&can_match)?, &not(&is_matched)?)?;
        let never = filter_record_batch(&rows.batch, &never)?;
        own.emit(&self.output, &never, false, output)?;
        let mut keep = can_match;
        if !pairs_come_out {
            // What matched has come out for good, or never will.
            keep = and(&keep, &not(&is_matched)?)?;
        }
        own.rows.keep(&rows, &matched, &keep)
    }
}

/// Marks the kept rows of `half` that met something, and emits those that do so for the first time.
fn begin_to_match(
    how: &JoinOutput,
    half: &mut Half,
    met: &Met,
    yields: Yields,
    output: &mut Output,
) -> Result<()> {
    let new = half.rows.mark(met.counted(yields).map(|(_, kept)| kept))?;
    half.emit_kept(how, &new, true, output)
}

impl Operator for IntervalJoin {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [left, right] = Input::exactly(inputs)?;
        let mut output = Output::default();
        for delta in right.deltas {
            self.arrive(cx, Side::Right, delta, &mut output)?;
        }
        for delta in left.deltas {
            self.arrive(cx, Side::Left, delta, &mut output)?;
        }
        let bound = |side: Side, other: &Watermarks| {
            let watermark = other.get(self.spec.side(side.other()).time);
            let open = watermark.and_then(|watermark| self.spec.open_from(side, watermark));
            open.map_or(i64::MIN, Watermark::bound)
        };
        let (of_left, of_right) =
            (bound(Side::Left, &right.watermarks), bound(Side::Right, &left.watermarks));
        self.left.expire(&self.output, of_left, &mut output)?;
        self.right.expire(&self.output, of_right, &mut output)?;
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = self.left.rows.snapshot()?;
        state.extend(self.right.rows.snapshot()?);
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.left.rows.forget_snapshots();
        self.right.rows.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        let state = self.left.rows.restore(state)?;
        let state = self.right.rows.restore(state)?;
        if state.is_empty() { Ok(()) } else { Err(Error::bug("not the state of an interval join")) }
    }

    fn state_rows(&self) -> usize {
        self.left.rows.index.live_rows() + self.right.rows.index.live_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.left.rows.memory_bytes() + self.right.rows.memory_bytes()
    }
}
