//! Joins that keep, with each row of a preserved side, the weight of the rows it matches: outer joins,
//! and semi, anti and mark joins with a condition beside the keys.
//!
//! ```text
//!   d(A ⋈ B)  =  dA ⋈ B  +  A ⋈ dB  +  dA ⋈ dB
//! ```
//!
//! Every pair is looked at once. It comes out (of an outer join) and its weight is added to the count
//! of either row: a kept row whose count leaves or reaches zero begins or ceases to match; the count
//! of a new row is complete when all pairs are through.
//!
//! The counts are no part of a snapshot: an epoch changes more of them than rows. They are counted
//! again in the first epoch after a restart.

use arrow::array::BooleanArray;
use datafusion::common::NullEquality;

use super::pairs::Meeting;
use super::preserved::{Preserved, Yields};
use super::{LEFT, RIGHT, Side};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operators::consolidate::{BATCH_ROWS, consolidated};
use crate::operators::join_output::JoinOutput;
use crate::operators::row_index::{KeyedRows, RowIndex};
use crate::operators::{EpochContext, Input, Operator, Output, StateBatch};
use crate::spill::SpillStore;

/// A join by counted matches.
#[derive(Debug)]
pub(super) struct CountingJoin {
    pub(super) left: Half,
    pub(super) right: Half,
    pub(super) output: JoinOutput,
    pub(super) nulls: NullEquality,
    pub(super) pairs_come_out: bool,
    /// Whether the counts are those of the kept rows; not so after a restart.
    pub(super) counted: bool,
}

/// One side.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) side: Side,
    pub(super) index: RowIndex,
    pub(super) keys: Vec<usize>,
    /// `None` for a side whose rows come out in pairs only or not at all.
    pub(super) preserved: Option<Preserved>,
}

impl Half {
    fn yields(&self) -> Option<Yields> {
        self.preserved.as_ref().map(|preserved| preserved.yields)
    }
}

/// What an epoch brings to one side.
#[derive(Debug)]
struct Arrived {
    side: Side,
    batches: Vec<KeyedRows>,
    /// For each row of each batch the weight of its matches.
    matched: Vec<Vec<i64>>,
    /// The kept rows of the other side that begin or cease to match, each as often as it does.
    flips: Vec<u32>,
}

impl Arrived {
    fn new(half: &Half, nulls: NullEquality, deltas: Vec<Delta>) -> Result<Self> {
        let deltas = consolidated(deltas)?.into_iter().filter(|delta| delta.num_rows() > 0);
        let batches = deltas.map(|delta| KeyedRows::new(delta, &half.keys, nulls));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let matched = batches.iter().map(|rows| vec![0; rows.len()]).collect();
        Ok(Self { side: half.side, batches, matched, flips: Vec::new() })
    }
}

impl CountingJoin {
    /// The rows of one side that came meet those kept of the other.
    fn meet_kept(
        &mut self,
        cx: &EpochContext,
        arrived: &mut Arrived,
        output: &mut Output,
    ) -> Result<()> {
        let (own, other) = match arrived.side {
            Side::Left => (&self.left, &mut self.right),
            Side::Right => (&self.right, &mut self.left),
        };
        let meeting = Meeting {
            cx,
            output: &self.output,
            side: own.side,
            keys: &own.keys,
            pairs_come_out: self.pairs_come_out,
            updating: self.pairs_come_out,
        };
        for (rows, matched) in arrived.batches.iter().zip(&mut arrived.matched) {
            let mut cursor = RowIndex::start();
            while let Some(met) = meeting.next(rows, &other.index, &mut cursor, output)? {
                for (row, kept) in own.yields().into_iter().flat_map(|y| met.counted(y)) {
                    matched[row as usize] += other.index.weight(kept);
                }
                for (row, kept) in other.yields().into_iter().flat_map(|y| met.counted(y)) {
                    if other.index.add_match(kept, rows.weight(row as usize)) {
                        arrived.flips.push(kept);
                    }
                }
            }
        }
        Ok(())
    }

    /// The rows that came to either side meet one another.
    fn meet_new(
        &self,
        cx: &EpochContext,
        left: &mut Arrived,
        right: &mut Arrived,
        output: &mut Output,
    ) -> Result<()> {
        if left.batches.is_empty() || right.batches.is_empty() {
            return Ok(());
        }
        let mut index = self.right.index.emptied().counting_matches();
        for rows in &right.batches {
            match rows.only_matchable()? {
                Some(matchable) => index.append(&matchable)?,
                None => index.append(rows)?,
            }
        }
        let meeting = Meeting {
            cx,
            output: &self.output,
            side: Side::Left,
            keys: &self.left.keys,
            pairs_come_out: self.pairs_come_out,
            updating: self.pairs_come_out,
        };
        for (rows, matched) in left.batches.iter().zip(&mut left.matched) {
            let mut cursor = RowIndex::start();
            while let Some(met) = meeting.next(rows, &index, &mut cursor, output)? {
                for (row, new) in self.left.yields().into_iter().flat_map(|y| met.counted(y)) {
                    matched[row as usize] += index.weight(new);
                }
                for (row, new) in self.right.yields().into_iter().flat_map(|y| met.counted(y)) {
                    index.add_match(new, rows.weight(row as usize));
                }
            }
        }
        let mut number = 0;
        for (rows, matched) in right.batches.iter().zip(&mut right.matched) {
            for (row, matched) in matched.iter_mut().enumerate() {
                if !rows.matches_nothing(row) {
                    *matched += index.matched(number);
                    number += 1;
                }
            }
        }
        Ok(())
    }

    /// Counts the matches of all kept rows.
    fn count(&mut self, cx: &EpochContext) -> Result<()> {
        for side in [Side::Left, Side::Right] {
            let (own, other) = match side {
                Side::Left => (&mut self.left, &self.right),
                Side::Right => (&mut self.right, &self.left),
            };
            let Some(yields) = own.yields() else { continue };
            let output = &self.output;
            let (keys, updating) = (&own.keys, false);
            let meeting = Meeting { cx, output, side, keys, pairs_come_out: false, updating };
            // What the condition fails on was reported when it came.
            let mut reported = Output::default();
            let mut counts = vec![0; own.index.numbers()];
            let mut alike: Vec<Option<u32>> = Vec::new();
            for part in own.index.parts() {
                let (first, mut rows) = part?;
                if output.residual.is_none() {
                    // Rows of one key have the same matches: one of them is enough.
                    let found = own.index.find(&rows, keys)?;
                    let is_it = (first..).zip(&found).map(|(row, found)| Some(*found == Some(row)));
                    rows = rows.matching_only(&is_it.collect())?;
                    alike.extend(found);
                }
                let mut cursor = RowIndex::start();
                while let Some(met) =
                    meeting.next(&rows, &other.index, &mut cursor, &mut reported)?
                {
                    for (row, kept) in met.counted(yields) {
                        counts[(first + row) as usize] += other.index.weight(kept);
                    }
                }
                reported.bad.clear();
            }
            for (row, alike) in alike.into_iter().enumerate() {
                counts[row] = alike.map_or(0, |alike| counts[alike as usize]);
            }
            own.index.set_matched(counts);
        }
        self.counted = true;
        Ok(())
    }
}

impl Half {
    /// Emits what the epoch changes of this side's rows, then keeps those that came. `flips` are its
    /// kept rows that began or ceased to match.
    fn settle(
        &mut self,
        arrived: Arrived,
        mut flips: Vec<u32>,
        output: &JoinOutput,
        deltas: &mut Vec<Delta>,
    ) -> Result<()> {
        let Arrived { batches, matched, .. } = arrived;
        let Some(preserved) = &self.preserved else {
            let mut batches = batches.into_iter();
            return batches.try_for_each(|rows| self.index.apply(&rows.matchable()?));
        };
        let mut change = preserved.unchanged();
        flips.sort_unstable();
        // Back and forth is no change.
        let odd = flips.chunk_by(|a, b| a == b).filter(|times| times.len() % 2 == 1);
        let (begin, cease): (Vec<u32>, Vec<u32>) =
            odd.map(|times| times[0]).partition(|row| self.index.matched(*row) > 0);
        for (rows, now) in [(begin, true), (cease, false)] {
            for rows in rows.chunks(BATCH_ROWS) {
                let weights: Vec<i64> = rows.iter().map(|row| self.index.weight(*row)).collect();
                change.flipped(&self.index.rows_of(rows)?, &weights, now);
            }
        }
        for (rows, matched) in batches.into_iter().zip(matched) {
            let matches: BooleanArray = matched.iter().map(|weight| Some(*weight > 0)).collect();
            change.changed(&rows, &matches)?;
            let rows = rows.with_matched(matched.into());
            let rows = if preserved.only_unmatched_kept {
                let unmatched = (0..rows.len())
                    .map(|row| Some(!matches.value(row) && !rows.matches_nothing(row)));
                rows.filtered(&unmatched.collect())?
            } else {
                rows.matchable()?
            };
            self.index.apply(&rows)?;
        }
        preserved.emit(change, output, deltas)
    }
}

impl Operator for CountingJoin {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [left, right] = Input::exactly(inputs)?;
        if !self.counted {
            self.count(cx)?;
        }
        let mut output = Output::default();
        let mut left = Arrived::new(&self.left, self.nulls, left.deltas)?;
        let mut right = Arrived::new(&self.right, self.nulls, right.deltas)?;
        self.meet_kept(cx, &mut right, &mut output)?;
        self.meet_kept(cx, &mut left, &mut output)?;
        self.meet_new(cx, &mut left, &mut right, &mut output)?;
        output.deltas = consolidated(output.deltas)?;
        let left_flips = std::mem::take(&mut right.flips);
        let right_flips = std::mem::take(&mut left.flips);
        self.left.settle(left, left_flips, &self.output, &mut output.deltas)?;
        self.right.settle(right, right_flips, &self.output, &mut output.deltas)?;
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let part = |part: &'static str| move |rows| StateBatch { part, rows };
        let left = self.left.index.snapshot()?.into_iter().map(part(LEFT));
        let right = self.right.index.snapshot()?.into_iter().map(part(RIGHT));
        Ok(left.chain(right).collect())
    }

    fn forget_snapshots(&mut self) {
        self.left.index.forget_snapshots();
        self.right.index.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        self.counted = false;
        state.into_iter().try_for_each(|StateBatch { part, rows }| match part {
            LEFT => self.left.index.restore(&rows),
            RIGHT => self.right.index.restore(&rows),
            _ => Err(Error::bug("not the state of a join")),
        })
    }

    fn state_rows(&self) -> usize {
        self.left.index.live_rows() + self.right.index.live_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.left.index.memory_bytes() + self.right.index.memory_bytes()
    }

    fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<usize> {
        let mut freed = self.left.index.spill(store, bytes)?;
        freed += self.right.index.spill(store, bytes.saturating_sub(freed))?;
        Ok(freed)
    }
}
