//! The join of a stream with a table: each row of the stream looks up the table as it is then.
//!
//! Only the table is kept. When it is read again its old rows leave and the new ones come, before the
//! stream's rows of that epoch look anything up; rows that came out earlier stay as they were, which
//! is what sets this apart from a join of two streams. The law therefore holds per epoch: the output
//! of an epoch is what the batch join returns for its stream rows and the table of that epoch.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, UInt32Array, new_null_array};
use arrow::compute::{
    concat, concat_batches, filter, filter_record_batch, take, take_record_batch,
};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::NullEquality;
use datafusion::physical_plan::joins::utils::JoinFilter;

pub use super::join_output::Side;
use super::join_output::{JoinOutput, Rows, equalities, null_equality};
use super::row_index::{KeyedRows, Pairs, RowIndex};
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::fault::BadRow;
use crate::watermark::Watermarks;

const TABLE: &str = "table";

/// What comes out of a row of the stream by what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupKind {
    /// It comes out with each row it finds.
    Inner,
    /// The same; a row that finds nothing comes out with NULLs for the table's columns.
    Left,
    /// It comes out alone if it finds something.
    Semi,
    /// It comes out alone if it finds nothing.
    Anti,
    /// The same for `NOT IN`: a NULL among the table's keys bars every row, and a row whose own key is
    /// NULL comes out only while the table is empty. There is one key and no residual.
    NullAwareAnti,
    /// It comes out alone, with a column that says whether it finds something.
    Mark,
}

impl LookupKind {
    fn name(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Semi => "semi",
            Self::Anti => "anti",
            Self::NullAwareAnti => "null-aware anti",
            Self::Mark => "mark",
        }
    }

    fn pairs_come_out(self) -> bool {
        matches!(self, Self::Inner | Self::Left)
    }
}

/// A join of a stream (the first input, the left side) with a table (the second, the right side) as
/// planned.
#[derive(Debug, Clone)]
pub struct LookupJoinSpec {
    /// What comes out of a row by what it finds.
    pub kind: LookupKind,
    /// The key columns of the stream. Without any, every row of the table is looked at.
    pub stream_keys: Vec<usize>,
    /// The key columns of the table, of the same types.
    pub table_keys: Vec<usize>,
    /// Whether NULL keys equal one another, as in `IS NOT DISTINCT FROM`.
    pub null_equals_null: bool,
    /// What must hold of a pair beside the equality of its keys.
    pub residual: Option<JoinFilter>,
    /// Where each output column comes from. A mark is no part of it: it is the last column of the
    /// schema.
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
        // To a null-aware lookup a NULL is a key as well; what it does is not left to comparing it.
        null_equality(self.null_equals_null || self.kind == LookupKind::NullAwareAnti)
    }
}

impl OperatorSpec for LookupJoinSpec {
    fn name(&self) -> &'static str {
        "LookupJoin"
    }

    fn explain(&self) -> Explanation {
        let (stream, table) = (&self.stream_schema, &self.table_schema);
        let keys = equalities((stream, &self.stream_keys), (table, &self.table_keys));
        let kind = self.kind.name();
        let residual = self.residual.as_ref().map(|residual| format!(" where={residual}"));
        Explanation {
            detail: format!("{kind} on=[{keys}]{}", residual.unwrap_or_default()),
            keeps: "every row of the table".into(),
            freed_by: "replaced when the table is read again".into(),
        }
    }

    fn distribution(&self, input: usize) -> Distribution {
        if self.stream_keys.is_empty() || self.kind == LookupKind::NullAwareAnti {
            // Every row of the table matters to every row.
            return if input == 0 { Distribution::Any } else { Distribution::Broadcast };
        }
        Distribution::Hash(if input == 0 { &self.stream_keys } else { &self.table_keys }.clone())
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let stream = |(side, column): &(Side, usize)| match side {
            Side::Left => inputs.first().and_then(|stream| stream.get(*column)),
            Side::Right => None,
        };
        let mark = (self.kind == LookupKind::Mark).then_some(None);
        Watermarks(self.output.iter().map(stream).chain(mark).collect())
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        (part == TABLE).then(|| match self.distribution(1) {
            Distribution::Broadcast => StateShare::Copied,
            _ => StateShare::Keys(self.table_keys.clone()),
        })
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.stream_keys.len() != self.table_keys.len() {
            return Err(Error::bug("a lookup needs as many keys of the stream as of the table"));
        }
        let mark = usize::from(self.kind == LookupKind::Mark);
        if self.output.len() + mark != self.schema.fields().len() {
            return Err(Error::bug("the columns of a join do not match its schema"));
        }
        let not_in = self.stream_keys.len() == 1 && self.residual.is_none();
        if self.kind == LookupKind::NullAwareAnti && !not_in {
            return Err(Error::bug("a null-aware join is an anti join by one key alone"));
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

/// What a delta of the stream finds.
#[derive(Debug, Default)]
struct Found {
    deltas: Vec<Delta>,
    /// The row of the stream that each row of the deltas comes of.
    rows: Vec<u32>,
    bad: Vec<BadRow>,
}

impl Found {
    /// The deltas in the order of the stream's rows: what counts them in the order of their arrival may
    /// come behind.
    fn in_order(self) -> Result<Vec<Delta>> {
        let Some(first) = self.deltas.first().filter(|_| !self.rows.is_sorted()) else {
            return Ok(self.deltas);
        };
        let schema = first.batch.schema();
        let batch = concat_batches(&schema, self.deltas.iter().map(|delta| &delta.batch))?;
        let weights: Option<Vec<_>> =
            self.deltas.iter().map(|delta| delta.weights.as_ref()).collect();
        let mut order: Vec<u32> = (0_u32..).take(self.rows.len()).collect();
        // Stable: what a row finds keeps its order.
        order.sort_by_key(|at| self.rows[*at as usize]);
        let order = UInt32Array::from(order);
        let weights = weights.map(|weights| -> Result<Int64Array> {
            let weights: Vec<&dyn Array> = weights.into_iter().map(|w| w as &dyn Array).collect();
            Ok(take(&concat(&weights)?, &order, None)?.as_primitive().clone())
        });
        let weights = weights.transpose()?;
        Ok(vec![Delta { batch: take_record_batch(&batch, &order)?, weights }])
    }
}

impl LookupJoin {
    /// Joins rows of the stream with the table.
    fn look_up(&self, cx: &EpochContext, rows: &KeyedRows, output: &mut Found) -> Result<()> {
        if self.spec.kind == LookupKind::NullAwareAnti {
            let open = self.not_among(rows)?;
            return self.emit_alone(rows, &open, None, output);
        }
        let keys = &self.spec.stream_keys;
        let mut matched = vec![false; rows.len()];
        // Rows a condition failed on are set aside: they are not known to find nothing.
        let mut failed = vec![false; rows.len()];
        let mut cursor = RowIndex::start();
        while let Some(mut pairs) = self.table.matches(rows, keys, &mut cursor)? {
            if pairs.len() > 0 {
                let (stream, found) = self.sides(rows, &pairs)?;
                let sides = (&stream, &found);
                if let Some(verdict) = self.output.judge(cx, sides, pairs.len(), &mut output.bad)? {
                    verdict.failed.iter().for_each(|i| failed[pairs.probe[*i] as usize] = true);
                    pairs.retain(&verdict.holds);
                }
            }
            pairs.probe.iter().for_each(|row| matched[*row as usize] = true);
            if self.spec.kind.pairs_come_out() {
                self.emit_found(rows, pairs, output)?;
            }
        }
        let unmatched = || -> BooleanArray {
            matched.iter().zip(&failed).map(|(matched, failed)| Some(!matched && !failed)).collect()
        };
        match self.spec.kind {
            LookupKind::Inner | LookupKind::NullAwareAnti => Ok(()),
            LookupKind::Left | LookupKind::Anti => {
                self.emit_alone(rows, &unmatched(), None, output)
            }
            LookupKind::Semi => self.emit_alone(rows, &matched.into(), None, output),
            LookupKind::Mark => {
                let missed = matched.iter().map(|matched| Some(!matched)).collect();
                self.emit_alone(rows, &matched.into(), Some(true), output)?;
                self.emit_alone(rows, &missed, Some(false), output)
            }
        }
    }

    /// The rows whose key is certainly not among those of the table.
    fn not_among(&self, rows: &KeyedRows) -> Result<BooleanArray> {
        if self.table.is_empty() {
            return Ok(BooleanArray::from(vec![true; rows.len()]));
        }
        if self.has_null_key()? {
            return Ok(BooleanArray::from(vec![false; rows.len()]));
        }
        let found = self.table.find(rows, &self.spec.stream_keys)?;
        let key = rows.batch.column(self.spec.stream_keys[0]);
        let open = |(row, found): (usize, Option<u32>)| Some(found.is_none() && key.is_valid(row));
        Ok(found.into_iter().enumerate().map(open).collect())
    }

    /// Whether a key of the table is NULL.
    fn has_null_key(&self) -> Result<bool> {
        let schema = Arc::clone(&self.spec.stream_schema);
        let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
        let nulls = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1));
        let null = RecordBatch::try_new(Arc::clone(&schema), nulls.collect())?;
        let null = KeyedRows::new(Delta::append(null), &self.spec.stream_keys, self.spec.nulls())?;
        Ok(self.table.find(&null, &self.spec.stream_keys)?.iter().any(Option::is_some))
    }

    fn sides<'a>(&'a self, rows: &'a KeyedRows, pairs: &Pairs) -> Result<(Rows<'a>, Rows<'a>)> {
        let stream = Rows::Probe(&rows.batch, UInt32Array::from(pairs.probe.clone()));
        Ok((stream, Rows::Kept(self.table.pick(&pairs.kept)?)))
    }

    fn emit_found(&self, rows: &KeyedRows, mut pairs: Pairs, output: &mut Found) -> Result<()> {
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
            let (stream, found) = self.sides(rows, &pairs)?;
            let batch = self.output.batch((&stream, &found), pairs.len())?;
            output.deltas.push(Delta { batch, weights });
            output.rows.extend(&pairs.probe);
        }
        Ok(())
    }

    /// The rows of the stream that `chosen` is true for, without a row of the table.
    fn emit_alone(
        &self,
        rows: &KeyedRows,
        chosen: &BooleanArray,
        mark: Option<bool>,
        output: &mut Found,
    ) -> Result<()> {
        if chosen.true_count() == 0 {
            return Ok(());
        }
        let weights = rows.weights.as_ref().map(|weights| filter(weights, chosen)).transpose()?;
        let weights = weights.map(|weights| weights.as_primitive().clone());
        let batch = filter_record_batch(&rows.batch, chosen)?;
        let table = &self.spec.table_schema;
        let batch = self.output.unpaired(Side::Left, &batch, table, mark)?;
        output.deltas.push(Delta { batch, weights });
        let numbered = (0_u32..).zip(chosen);
        output.rows.extend(numbered.filter_map(|(row, is)| (is == Some(true)).then_some(row)));
        Ok(())
    }
}

impl Operator for LookupJoin {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [stream, table] = Input::exactly(inputs)?;
        for delta in table.deltas {
            let rows = self.table.keyed(delta)?;
            self.table.apply(&rows)?;
        }
        let mut output = Output::default();
        for delta in stream.deltas {
            let rows = KeyedRows::new(delta, &self.spec.stream_keys, self.spec.nulls())?;
            let mut found = Found::default();
            self.look_up(cx, &rows, &mut found)?;
            output.bad.append(&mut found.bad);
            output.deltas.extend(found.in_order()?);
        }
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let rows = self.table.snapshot()?;
        Ok(rows.into_iter().map(|rows| StateBatch { part: TABLE, rows }).collect())
    }

    fn forget_snapshots(&mut self) {
        self.table.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        state.into_iter().try_for_each(|StateBatch { part, rows }| match part {
            TABLE => self.table.restore(&rows),
            _ => Err(Error::bug("not the state of a lookup")),
        })
    }

    fn state_rows(&self) -> usize {
        self.table.live_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }
}
