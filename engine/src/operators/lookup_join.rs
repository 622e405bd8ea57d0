//! The join of a stream with a table: each row of the stream looks up the table as it is then.
//!
//! Only the table is kept. When it is read again its old rows leave and the new ones come, before the
//! stream's rows of that epoch look anything up; rows that came out earlier stay as they were, which
//! is what sets this apart from a join of two streams. The law therefore holds per epoch: the output
//! of an epoch is what the batch join returns for its stream rows and the table of that epoch.

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

const TABLE: &str = "table";

/// What becomes of a row of the stream that finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupKind {
    /// It is dropped.
    Inner,
    /// It comes out with NULLs for the table's columns.
    Left,
}

/// A join of a stream (the first input, the left side) with a table (the second, the right side) as
/// planned.
#[derive(Debug, Clone)]
pub struct LookupJoinSpec {
    /// What becomes of a row that finds nothing.
    pub kind: LookupKind,
    /// The key columns of the stream.
    pub stream_keys: Vec<usize>,
    /// The key columns of the table, of the same types.
    pub table_keys: Vec<usize>,
    /// Whether NULL keys equal one another, as in `IS NOT DISTINCT FROM`.
    pub null_equals_null: bool,
    /// What must hold of a pair beside the equality of its keys.
    pub residual: Option<JoinFilter>,
    /// Where each output column comes from.
    pub output: Vec<(Side, usize)>,
    /// The columns of the stream.
    pub stream_schema: SchemaRef,
    /// The columns of the table.
    pub table_schema: SchemaRef,
    /// The columns of the output.
    pub schema: SchemaRef,
}

impl LookupJoinSpec {
    fn nulls(&self) -> NullEquality {
        if self.null_equals_null {
            NullEquality::NullEqualsNull
        } else {
            NullEquality::NullEqualsNothing
        }
    }
}

impl OperatorSpec for LookupJoinSpec {
    fn name(&self) -> &'static str {
        "LookupJoin"
    }

    fn explain(&self) -> Explanation {
        let stream = self.stream_keys.iter().map(|key| self.stream_schema.field(*key).name());
        let table = self.table_keys.iter().map(|key| self.table_schema.field(*key).name());
        let keys = stream.zip(table).map(|(stream, table)| format!("{stream} = {table}"));
        let kind = match self.kind {
            LookupKind::Inner => "inner",
            LookupKind::Left => "left",
        };
        let residual = self.residual.as_ref().map(|residual| format!(" where={residual}"));
        let keys = keys.collect::<Vec<_>>().join(", ");
        Explanation {
            detail: format!("{kind} on=[{keys}]{}", residual.unwrap_or_default()),
            keeps: "every row of the table".into(),
            freed_by: "replaced when the table is read again".into(),
        }
    }

    fn distribution(&self, input: usize) -> Distribution {
        Distribution::Hash(if input == 0 { &self.stream_keys } else { &self.table_keys }.clone())
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let stream = |(side, column): &(Side, usize)| match side {
            Side::Left => inputs.first().and_then(|stream| stream.get(*column)),
            Side::Right => None,
        };
        Watermarks(self.output.iter().map(stream).collect())
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.stream_keys.is_empty() || self.stream_keys.len() != self.table_keys.len() {
            return Err(Error::bug("a lookup needs as many keys of the stream as of the table"));
        }
        if self.output.len() != self.schema.fields().len() {
            return Err(Error::bug("the columns of a join do not match its schema"));
        }
        let schema = Arc::clone(&self.table_schema);
        Ok(Box::new(LookupJoin {
            table: RowIndex::new(schema, self.table_keys.clone(), self.nulls(), true),
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
struct LookupJoin {
    spec: LookupJoinSpec,
    table: RowIndex,
    output: JoinOutput,
}

impl LookupJoin {
    /// Joins rows of the stream with the table.
    fn look_up(&self, cx: &EpochContext, rows: &KeyedRows, output: &mut Output) -> Result<()> {
        let keys = &self.spec.stream_keys;
        // Rows that came out, or are set aside: an outer join must not extend them with NULLs.
        let mut settled = vec![false; rows.len()];
        let mut cursor = RowIndex::start();
        while let Some(mut pairs) = self.table.matches(rows, keys, &mut cursor)? {
            if pairs.len() > 0 {
                let (stream, found) = self.sides(rows, &pairs);
                let sides = (&stream, &found);
                if let Some(verdict) = self.output.judge(cx, sides, pairs.len(), &mut output.bad)? {
                    verdict.failed.iter().for_each(|i| settled[pairs.probe[*i] as usize] = true);
                    pairs.retain(&verdict.holds);
                }
            }
            pairs.probe.iter().for_each(|row| settled[*row as usize] = true);
            self.emit_found(rows, pairs, output)?;
        }
        if self.spec.kind == LookupKind::Left {
            self.emit_not_found(rows, &settled, output)?;
        }
        Ok(())
    }

    fn sides<'a>(&'a self, rows: &'a KeyedRows, pairs: &Pairs) -> (Rows<'a>, Rows<'a>) {
        let stream = Rows::Probe(&rows.batch, UInt32Array::from(pairs.probe.clone()));
        (stream, Rows::Kept(self.table.pick(&pairs.kept)))
    }

    fn emit_found(&self, rows: &KeyedRows, mut pairs: Pairs, output: &mut Output) -> Result<()> {
        let weight = |row: &u32| self.table.weight(*row);
        let weights = if rows.weights.is_some() {
            let both = pairs.probe.iter().zip(&pairs.kept);
            let product = both.map(|(row, kept)| rows.weight(*row as usize) * weight(kept));
            Some(product.collect::<Int64Array>())
        } else {
            if !pairs.kept.iter().all(|row| weight(row) == 1) {
                pairs.repeat(|kept| usize::try_from(self.table.weight(kept)).unwrap_or(0));
            }
            None
        };
        if pairs.len() > 0 {
            let (stream, found) = self.sides(rows, &pairs);
            let batch = self.output.batch((&stream, &found), pairs.len())?;
            output.deltas.push(Delta { batch, weights });
        }
        Ok(())
    }

    fn emit_not_found(
        &self,
        rows: &KeyedRows,
        settled: &[bool],
        output: &mut Output,
    ) -> Result<()> {
        let open = (0_u32..).zip(settled).filter(|(_, settled)| !**settled);
        let open: Vec<u32> = open.map(|(row, _)| row).collect();
        if open.is_empty() {
            return Ok(());
        }
        let weights = rows.weights.as_ref();
        let weights = weights.map(|w| open.iter().map(|row| w.value(*row as usize)).collect());
        let count = open.len();
        let stream = Rows::Probe(&rows.batch, open.into());
        let nothing = Rows::Absent(Arc::clone(&self.spec.table_schema));
        let batch = self.output.batch((&stream, &nothing), count)?;
        output.deltas.push(Delta { batch, weights });
        Ok(())
    }
}

impl Operator for LookupJoin {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [stream, table] = <[Input; 2]>::try_from(inputs)
            .map_err(|_| Error::bug("a lookup has two inputs: a stream and a table"))?;
        for delta in table.deltas {
            let rows = self.table.keyed(delta)?;
            self.table.apply(&rows)?;
        }
        let mut output = Output::default();
        for delta in stream.deltas {
            let rows = KeyedRows::new(delta, &self.spec.stream_keys, self.spec.nulls())?;
            self.look_up(cx, &rows, &mut output)?;
        }
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let rows = self.table.snapshot()?;
        Ok(rows.into_iter().map(|rows| StateBatch { part: TABLE, rows }).collect())
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        state.into_iter().try_for_each(|StateBatch { part, rows }| match part {
            TABLE => self.table.restore(&rows),
            _ => Err(Error::bug("not the state of a lookup")),
        })
    }

    fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }
}
