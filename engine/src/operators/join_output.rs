//! The output of a join: from pairs of rows to batches, through the condition beside the keys.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array,
    new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::util::bit_util;
use datafusion::common::{JoinSide, NullEquality};
use datafusion::physical_plan::joins::utils::JoinFilter;

use super::EpochContext;
use super::held::Picked;
use super::isolate::isolate;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::fault::BadRow;

/// An input of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first input.
    Left,
    /// The second input.
    Right,
}

impl Side {
    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// How NULL keys compare: equal to one another, as in `IS NOT DISTINCT FROM`, or to nothing.
pub(super) fn null_equality(equal: bool) -> NullEquality {
    if equal { NullEquality::NullEqualsNull } else { NullEquality::NullEqualsNothing }
}

/// The equalities of a join as a text.
pub(super) fn equalities(left: (&SchemaRef, &[usize]), right: (&SchemaRef, &[usize])) -> String {
    let names = |(schema, keys): (&SchemaRef, &[usize])| {
        keys.iter().map(|key| schema.field(*key).name().clone()).collect::<Vec<_>>()
    };
    let pairs = names(left).into_iter().zip(names(right));
    pairs.map(|(left, right)| format!("{left} = {right}")).collect::<Vec<_>>().join(", ")
}

/// How a join makes its output.
#[derive(Debug)]
pub(super) struct JoinOutput {
    /// Where each output column comes from.
    pub(super) columns: Vec<(Side, usize)>,
    /// What must hold of a pair beside the equality of its keys.
    pub(super) residual: Option<JoinFilter>,
    pub(super) schema: SchemaRef,
}

/// One side of some pairs.
#[derive(Debug)]
pub(super) enum Rows<'a> {
    /// Rows of the delta that probes.
    Probe(&'a RecordBatch, UInt32Array),
    /// Rows found.
    Kept(Picked<'a>),
}

impl Rows<'_> {
    fn column(&self, column: usize) -> Result<ArrayRef> {
        match self {
            Self::Probe(batch, rows) => Ok(take(batch.column(column), rows, None)?),
            Self::Kept(picked) => picked.column(column),
        }
    }
}

/// What the condition says of each pair.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) holds: BooleanArray,
    /// Pairs it failed on; they are reported and do not hold.
    pub(super) failed: Vec<usize>,
}

impl JoinOutput {
    /// Evaluates the condition on pairs; `None` where there is none.
    pub(super) fn judge(
        &self,
        cx: &EpochContext,
        (left, right): (&Rows<'_>, &Rows<'_>),
        pairs: usize,
        bad: &mut Vec<BadRow>,
    ) -> Result<Option<Verdict>> {
        let Some(residual) = &self.residual else { return Ok(None) };
        let mut columns = Vec::with_capacity(residual.column_indices().len());
        for column in residual.column_indices() {
            columns.push(match column.side {
                JoinSide::Left => left.column(column.index)?,
                JoinSide::Right => right.column(column.index)?,
                JoinSide::None => return Err(Error::bug("a join condition reads no side")),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(pairs));
        let schema = SchemaRef::clone(residual.schema());
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        // The numbers of the pairs take the place of weights, so that they are known again after rows
        // that fail have been cut out.
        let numbers = Int64Array::from_iter_values((0_i64..).take(pairs));
        let numbered = Delta { batch, weights: Some(numbers) };
        let evaluate = |batch: &RecordBatch| {
            residual.expression().evaluate(batch)?.into_array(batch.num_rows())
        };
        let mut holds = vec![0_u8; bit_util::ceil(pairs, 8)];
        let mut judged = vec![0_u8; bit_util::ceil(pairs, 8)];
        for (part, mask) in isolate(cx, numbered, &evaluate, bad)? {
            let not_bool = || Error::bug("a join condition is not a truth value");
            let mask = mask.as_boolean_opt().ok_or_else(not_bool)?;
            let numbers = part.weights.iter().flat_map(|numbers| numbers.values().iter());
            for (number, truth) in numbers.zip(mask) {
                let number = usize::try_from(*number).unwrap_or_default();
                bit_util::set_bit(&mut judged, number);
                if truth == Some(true) {
                    bit_util::set_bit(&mut holds, number);
                }
            }
        }
        let failed = (0..pairs).filter(|pair| !bit_util::get_bit(&judged, *pair)).collect();
        let holds = arrow::buffer::BooleanBuffer::new(holds.into(), 0, pairs);
        Ok(Some(Verdict { holds: BooleanArray::new(holds, None), failed }))
    }

    /// The output rows of rows that come out alone: with NULLs for the columns of the other side, and
    /// with their mark at the end where there is one.
    pub(super) fn unpaired(
        &self,
        side: Side,
        rows: &RecordBatch,
        other: &SchemaRef,
        mark: Option<bool>,
    ) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let column = |(from, column): &(Side, usize)| {
            if *from == side {
                return ArrayRef::clone(rows.column(*column));
            }
            new_null_array(other.field(*column).data_type(), count)
        };
        let mut columns: Vec<ArrayRef> = self.columns.iter().map(column).collect();
        if let Some(mark) = mark {
            columns.push(Arc::new(BooleanArray::from(vec![mark; count])));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }

    /// The output rows of pairs.
    pub(super) fn batch(
        &self,
        (left, right): (&Rows<'_>, &Rows<'_>),
        pairs: usize,
    ) -> Result<RecordBatch> {
        let column = |(side, column): &(Side, usize)| match side {
            Side::Left => left.column(*column),
            Side::Right => right.column(*column),
        };
        let columns = self.columns.iter().map(column).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(pairs));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }
}
