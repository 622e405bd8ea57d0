//! The join of two streams, of every type: by equal keys, or by a condition alone.
//!
//! Without keys every row meets every row of the other side, in blocks of columns that the condition
//! is evaluated on: the same join with one key that all rows share.
//!
//! A match may come at any time, so every row of both sides is kept. Only what changes is joined:
//!
//! ```text
//!   d(A ⋈ B)  =  dA ⋈ B′  +  A ⋈ dB          B′ = B + dB
//! ```
//!
//! Each half is probed with its delta alone, so an epoch costs what it brings and what that matches,
//! not what is kept.
//!
//! Where rows come out by whether they match, and not only in pairs, there are two ways to know it:
//! `counting` the matches of each row, or by the `membership` of its key.
//!
//! Source: Budiu et al., "DBSP: Automatic Incremental View Maintenance", VLDB 2023 (the rule for
//! bilinear operators).

mod counting;
mod membership;
pub(super) mod pairs;
pub(super) mod preserved;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{JoinType, NullEquality};
use datafusion::physical_plan::joins::utils::JoinFilter;

use self::counting::{CountingJoin, Half};
use self::membership::MembershipJoin;
use self::pairs::Meeting;
use self::preserved::{Preserved, Yields};
use super::consolidate::consolidated;
pub use super::join_output::Side;
use super::join_output::{JoinOutput, equalities, null_equality};
use super::row_index::{KeyedRows, RowIndex};
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::error::{Error, Result};
use crate::spill::SpillStore;
use crate::watermark::Watermarks;

const LEFT: &str = "left";
const RIGHT: &str = "right";

/// An equi-join of two streams as planned.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the plan")]
pub struct HashJoinSpec {
    /// What comes out of rows that match and of those that do not.
    pub join_type: JoinType,
    /// Whether a left anti join is `NOT IN`: a NULL key on the right bars every row, and a left row
    /// whose key is NULL comes out only while there is no right row. Then there is one key and no
    /// residual.
    pub null_aware: bool,
    /// The key columns of the left input; none where the join is not by equality.
    pub left_keys: Vec<usize>,
    /// The key columns of the right input, of the same types.
    pub right_keys: Vec<usize>,
    /// Whether NULL keys equal one another, as in `IS NOT DISTINCT FROM`.
    pub null_equals_null: bool,
    /// What must hold of a pair beside the equality of its keys.
    pub residual: Option<JoinFilter>,
    /// Where each output column comes from; of a semi, anti or mark join, the side that comes out. The
    /// mark is no part of it: it is the last column of the schema.
    ///
    /// What comes out is net by whole rows: with columns left out, rows that differ in those alone may
    /// come and go in one epoch.
    pub output: Vec<(Side, usize)>,
    /// The columns of the left input.
    pub left_schema: SchemaRef,
    /// The columns of the right input.
    pub right_schema: SchemaRef,
    /// The columns of the output.
    pub schema: SchemaRef,
    /// Whether either input can retract rows.
    pub updating: bool,
}

impl HashJoinSpec {
    /// Whether the output can retract rows, and so carries weights.
    pub fn is_updating(&self) -> bool {
        match self.join_type {
            JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => self.updating,
            JoinType::Left
            | JoinType::Right
            | JoinType::Full
            | JoinType::LeftAnti
            | JoinType::RightAnti
            | JoinType::LeftMark
            | JoinType::RightMark => true,
        }
    }

    /// Whether what comes out is pairs (of an outer join, beside rows alone); else it is rows of one
    /// side.
    fn pairs_come_out(&self) -> bool {
        matches!(
            self.join_type,
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
        )
    }

    fn by_membership(&self) -> bool {
        !self.pairs_come_out() && self.residual.is_none()
    }

    fn nulls(&self) -> NullEquality {
        // To a null-aware join a NULL is a key as well; what it does is not left to comparing it.
        null_equality(self.null_equals_null || self.null_aware)
    }

    fn side(&self, side: Side) -> (&SchemaRef, &Vec<usize>) {
        match side {
            Side::Left => (&self.left_schema, &self.left_keys),
            Side::Right => (&self.right_schema, &self.right_keys),
        }
    }

    fn index(&self, side: Side) -> RowIndex {
        let (schema, keys) = self.side(side);
        RowIndex::new(Arc::clone(schema), keys.clone(), self.nulls(), self.updating)
    }

    fn preserved(&self, side: Side) -> Option<Preserved> {
        Some(Preserved {
            side,
            yields: Yields::of(self.join_type, side)?,
            other: Arc::clone(self.side(side.other()).0),
            updating: self.is_updating(),
            only_unmatched_kept: !self.updating && !self.pairs_come_out(),
        })
    }

    fn join_output(&self) -> JoinOutput {
        JoinOutput {
            columns: self.output.clone(),
            residual: self.residual.clone(),
            schema: Arc::clone(&self.schema),
        }
    }

    fn check(&self) -> Result<()> {
        if self.left_keys.len() != self.right_keys.len() {
            return Err(Error::bug("a join needs as many keys on the left as on the right"));
        }
        let mark = usize::from(matches!(self.join_type, JoinType::LeftMark | JoinType::RightMark));
        if self.output.len() + mark != self.schema.fields().len() {
            return Err(Error::bug("the columns of a join do not match its schema"));
        }
        let of_the_other = |from: &(Side, usize)| Yields::of(self.join_type, from.0).is_none();
        if !self.pairs_come_out() && self.output.iter().any(of_the_other) {
            return Err(Error::bug("a join by existence has columns of one side only"));
        }
        let not_in = self.join_type == JoinType::LeftAnti
            && self.left_keys.len() == 1
            && self.residual.is_none();
        if self.null_aware && !not_in {
            return Err(Error::bug("a null-aware join is an anti join by one key alone"));
        }
        Ok(())
    }

    fn counting(&self) -> CountingJoin {
        let half = |side: Side| {
            let (_, keys) = self.side(side);
            let preserved = self.preserved(side);
            let index = self.index(side);
            let index = if preserved.is_some() { index.counting_matches() } else { index };
            Half { side, index, keys: keys.clone(), preserved }
        };
        CountingJoin {
            left: half(Side::Left),
            right: half(Side::Right),
            output: self.join_output(),
            nulls: self.nulls(),
            pairs_come_out: self.pairs_come_out(),
            counted: true,
        }
    }

    fn membership(&self, preserved: Preserved) -> Result<MembershipJoin> {
        let (_, row_keys) = self.side(preserved.side);
        let (other, key_columns) = self.side(preserved.side.other());
        let key_schema = other.project(key_columns)?;
        // What a file says of its columns is not relied on: a NULL key is looked up too.
        let fields = key_schema.fields().iter().map(|field| field.as_ref().clone());
        let fields: Vec<_> = fields.map(|field| field.with_nullable(true)).collect();
        let key_schema = Arc::new(Schema::new(fields));
        let all = (0..key_columns.len()).collect();
        Ok(MembershipJoin {
            rows: self.index(preserved.side),
            row_keys: row_keys.clone(),
            keys: RowIndex::new(Arc::clone(&key_schema), all, self.nulls(), true),
            key_columns: key_columns.clone(),
            key_schema,
            nulls: self.nulls(),
            null_aware: self.null_aware,
            output: self.join_output(),
            preserved,
        })
    }

    fn keeps(&self) -> &'static str {
        match (self.by_membership(), self.updating) {
            (false, _) => "every row of both sides",
            (true, true) => "every row of one side and the distinct keys of the other",
            (true, false) => "the rows without a match and the distinct keys of the other side",
        }
    }
}

impl OperatorSpec for HashJoinSpec {
    fn name(&self) -> &'static str {
        if self.left_keys.is_empty() { "NestedLoopJoin" } else { "HashJoin" }
    }

    fn explain(&self) -> Explanation {
        let (left, right) = (&self.left_schema, &self.right_schema);
        let keys = equalities((left, &self.left_keys), (right, &self.right_keys));
        let mut words = Vec::new();
        if self.null_aware {
            words.push("null-aware".to_owned());
        }
        if self.join_type != JoinType::Inner {
            words.push(kind(self.join_type).to_owned());
        }
        if !self.left_keys.is_empty() {
            words.push(format!("on=[{keys}]"));
        }
        if let Some(residual) = &self.residual {
            words.push(format!("where={residual}"));
        }
        Explanation { detail: words.join(" "), keeps: self.keeps().into(), freed_by: String::new() }
    }

    fn distribution(&self, input: usize) -> Distribution {
        if self.null_aware {
            // One NULL, or one row at all, matters to every row.
            return Distribution::Single;
        }
        Distribution::by_keys(if input == 0 { &self.left_keys } else { &self.right_keys })
    }

    fn watermarks(&self, _inputs: &[Watermarks]) -> Watermarks {
        // A row of any age may match one that comes now: no bound on either side's times holds.
        Watermarks::none(self.schema.fields().len())
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        match part {
            LEFT => Some(StateShare::Keys(self.left_keys.clone())),
            RIGHT => Some(StateShare::Keys(self.right_keys.clone())),
            membership::ROWS if Yields::of(self.join_type, Side::Left).is_some() => {
                Some(StateShare::Keys(self.left_keys.clone()))
            }
            membership::ROWS => Some(StateShare::Keys(self.right_keys.clone())),
            membership::KEYS => Some(StateShare::Keys((0..self.left_keys.len()).collect())),
            _ => None,
        }
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        self.check()?;
        if self.join_type != JoinType::Inner {
            let preserved = self.preserved(Side::Left).or_else(|| self.preserved(Side::Right));
            return Ok(match preserved.filter(|_| self.by_membership()) {
                Some(preserved) => Box::new(self.membership(preserved)?),
                None => Box::new(self.counting()),
            });
        }
        Ok(Box::new(HashJoin {
            left: self.index(Side::Left),
            right: self.index(Side::Right),
            left_keys: self.left_keys.clone(),
            right_keys: self.right_keys.clone(),
            output: self.join_output(),
            updating: self.updating,
        }))
    }
}

/// The name of a type, as in `EXPLAIN`.
pub(super) fn kind(join: JoinType) -> &'static str {
    match join {
        JoinType::Inner => "inner",
        JoinType::Left => "left",
        JoinType::Right => "right",
        JoinType::Full => "full",
        JoinType::LeftSemi => "left semi",
        JoinType::RightSemi => "right semi",
        JoinType::LeftAnti => "left anti",
        JoinType::RightAnti => "right anti",
        JoinType::LeftMark => "left mark",
        JoinType::RightMark => "right mark",
    }
}

#[derive(Debug)]
struct HashJoin {
    left: RowIndex,
    right: RowIndex,
    left_keys: Vec<usize>,
    right_keys: Vec<usize>,
    output: JoinOutput,
    updating: bool,
}

impl HashJoin {
    /// Joins the rows of one side's delta with what is kept of the other.
    fn probe(
        &self,
        cx: &EpochContext,
        side: Side,
        rows: &KeyedRows,
        output: &mut Output,
    ) -> Result<()> {
        let (keys, kept) = match side {
            Side::Left => (&self.left_keys, &self.right),
            Side::Right => (&self.right_keys, &self.left),
        };
        let (updating, pairs_come_out) = (self.updating, true);
        let meeting = Meeting { cx, output: &self.output, side, keys, pairs_come_out, updating };
        let mut cursor = RowIndex::start();
        while meeting.next(rows, kept, &mut cursor, output)?.is_some() {}
        Ok(())
    }
}

impl Operator for HashJoin {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [left, right] = Input::exactly(inputs)?;
        let mut output = Output::default();
        // Each delta is one term of the rule: it meets the other side as it is by then.
        for delta in right.deltas {
            let rows = self.right.keyed(delta)?;
            self.probe(cx, Side::Right, &rows, &mut output)?;
            self.right.apply(&rows)?;
        }
        for delta in left.deltas {
            let rows = self.left.keyed(delta)?;
            self.probe(cx, Side::Left, &rows, &mut output)?;
            self.left.apply(&rows)?;
        }
        if self.updating {
            output.deltas = consolidated(output.deltas)?;
        }
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let part = |part: &'static str| move |rows| StateBatch { part, rows };
        let left = self.left.snapshot()?.into_iter().map(part(LEFT));
        let right = self.right.snapshot()?.into_iter().map(part(RIGHT));
        Ok(left.chain(right).collect())
    }

    fn forget_snapshots(&mut self) {
        self.left.forget_snapshots();
        self.right.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for StateBatch { part, rows } in state {
            match part {
                LEFT => self.left.restore(&rows)?,
                RIGHT => self.right.restore(&rows)?,
                _ => return Err(Error::bug("not the state of a join")),
            }
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        self.left.live_rows() + self.right.live_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.left.memory_bytes() + self.right.memory_bytes()
    }

    fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<usize> {
        let mut freed = self.left.spill(store, bytes)?;
        freed += self.right.spill(store, bytes.saturating_sub(freed))?;
        Ok(freed)
    }
}
