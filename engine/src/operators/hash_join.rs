//! The inner equi-join of two streams.
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
//! Source: Budiu et al., "DBSP: Automatic Incremental View Maintenance", VLDB 2023 (the rule for
//! bilinear operators).

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Int64Array, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;
use datafusion::physical_plan::joins::utils::JoinFilter;

pub use super::join_output::Side;
use super::join_output::{JoinOutput, Rows};
use super::row_index::{KeyedRows, Pairs, RowIndex};
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::Watermarks;

const LEFT: &str = "left";
const RIGHT: &str = "right";

/// An inner equi-join of two streams as planned.
#[derive(Debug, Clone)]
pub struct HashJoinSpec {
    /// The key columns of the left input.
    pub left_keys: Vec<usize>,
    /// The key columns of the right input, of the same types.
    pub right_keys: Vec<usize>,
    /// Whether NULL keys equal one another, as in `IS NOT DISTINCT FROM`.
    pub null_equals_null: bool,
    /// What must hold of a pair beside the equality of its keys.
    pub residual: Option<JoinFilter>,
    /// Where each output column comes from.
    pub output: Vec<(Side, usize)>,
    /// The columns of the left input.
    pub left_schema: SchemaRef,
    /// The columns of the right input.
    pub right_schema: SchemaRef,
    /// The columns of the output.
    pub schema: SchemaRef,
    /// Whether either input can retract rows; then so can the output.
    pub updating: bool,
}

impl OperatorSpec for HashJoinSpec {
    fn name(&self) -> &'static str {
        "HashJoin"
    }

    fn explain(&self) -> Explanation {
        let left = self.left_keys.iter().map(|key| self.left_schema.field(*key).name());
        let right = self.right_keys.iter().map(|key| self.right_schema.field(*key).name());
        let keys = left.zip(right).map(|(left, right)| format!("{left} = {right}"));
        let mut detail = format!("on=[{}]", keys.collect::<Vec<_>>().join(", "));
        if let Some(residual) = &self.residual {
            detail.push_str(&format!(" where={residual}"));
        }
        Explanation { detail, keeps: "every row of both sides".into(), freed_by: String::new() }
    }

    fn distribution(&self, input: usize) -> Distribution {
        Distribution::Hash(if input == 0 { &self.left_keys } else { &self.right_keys }.clone())
    }

    fn watermarks(&self, _inputs: &[Watermarks]) -> Watermarks {
        // A row of any age may match one that comes now: no bound on either side's times holds.
        Watermarks::none(self.schema.fields().len())
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.left_keys.is_empty() || self.left_keys.len() != self.right_keys.len() {
            return Err(Error::bug("a join needs as many keys on the left as on the right"));
        }
        if self.output.len() != self.schema.fields().len() {
            return Err(Error::bug("the columns of a join do not match its schema"));
        }
        let nulls = if self.null_equals_null {
            NullEquality::NullEqualsNull
        } else {
            NullEquality::NullEqualsNothing
        };
        let index = |schema: &SchemaRef, keys: &[usize]| {
            let schema = Arc::clone(schema);
            RowIndex::new(schema, keys.to_vec(), nulls, self.updating)
        };
        Ok(Box::new(HashJoin {
            left: index(&self.left_schema, &self.left_keys),
            right: index(&self.right_schema, &self.right_keys),
            left_keys: self.left_keys.clone(),
            right_keys: self.right_keys.clone(),
            output: JoinOutput {
                columns: self.output.clone(),
                residual: self.residual.clone(),
                schema: Arc::clone(&self.schema),
            },
            updating: self.updating,
        }))
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
        let mut cursor = RowIndex::start();
        while let Some(mut pairs) = kept.matches(rows, keys, &mut cursor)? {
            if pairs.len() > 0 && self.output.residual.is_some() {
                let (probe, found) = sides(rows, kept, &pairs);
                let verdict = self.output.judge(
                    cx,
                    in_order(side, &probe, &found),
                    pairs.len(),
                    &mut output.bad,
                )?;
                if let Some(verdict) = verdict {
                    pairs.retain(&verdict.holds);
                }
            }
            if pairs.len() == 0 {
                continue;
            }
            let (probe, found) = sides(rows, kept, &pairs);
            let batch = self.output.batch(in_order(side, &probe, &found), pairs.len())?;
            let weights = self.updating.then(|| weights(rows, kept, &pairs));
            output.deltas.push(Delta { batch, weights });
        }
        Ok(())
    }
}

fn sides<'a>(rows: &'a KeyedRows, kept: &'a RowIndex, pairs: &Pairs) -> (Rows<'a>, Rows<'a>) {
    let probe = Rows::Probe(&rows.batch, UInt32Array::from(pairs.probe.clone()));
    (probe, Rows::Kept(kept.pick(&pairs.kept)))
}

fn in_order<'a, T>(side: Side, probe: &'a T, found: &'a T) -> (&'a T, &'a T) {
    match side {
        Side::Left => (probe, found),
        Side::Right => (found, probe),
    }
}

/// The product of the weights of each pair.
fn weights(rows: &KeyedRows, kept: &RowIndex, pairs: &Pairs) -> Int64Array {
    let pairs = pairs.probe.iter().zip(&pairs.kept);
    pairs.map(|(probe, row)| rows.weight(*probe as usize) * kept.weight(*row)).collect()
}

impl Operator for HashJoin {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [left, right] = <[Input; 2]>::try_from(inputs)
            .map_err(|_| Error::bug("a join of two streams has two inputs"))?;
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
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let part = |part: &'static str| move |rows| StateBatch { part, rows };
        let left = self.left.snapshot()?.into_iter().map(part(LEFT));
        let right = self.right.snapshot()?.into_iter().map(part(RIGHT));
        Ok(left.chain(right).collect())
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

    fn memory_bytes(&self) -> usize {
        self.left.memory_bytes() + self.right.memory_bytes()
    }
}
