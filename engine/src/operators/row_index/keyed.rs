//! Rows with hashed keys, and the comparisons that settle what equal hashes suggest.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
    UInt32Array, make_comparator,
};
use arrow::compute::kernels::cmp::{eq, not_distinct};
use arrow::compute::{
    SortOptions, filter, filter_record_batch, is_null, not, or, take, take_record_batch,
};
use arrow::datatypes::DataType;
use datafusion::common::NullEquality;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use hashbrown::HashMap;

use super::Pairs;
use crate::delta::Delta;
use crate::error::Result;

/// Rows with the hashes of their keys.
#[derive(Debug)]
pub(in crate::operators) struct KeyedRows {
    pub(in crate::operators) batch: RecordBatch,
    /// `None` where every row counts once.
    pub(in crate::operators) weights: Option<Int64Array>,
    pub(super) hashes: Vec<u64>,
    /// Rows whose key has a NULL that equals nothing, if there are any: they match no row.
    pub(super) unmatched: Option<BooleanArray>,
    /// The weight of what each row matches, where that is counted.
    pub(super) matched: Option<Int64Array>,
}

impl KeyedRows {
    /// Hashes the keys of `delta`.
    pub(in crate::operators) fn new(
        delta: Delta,
        keys: &[usize],
        nulls: NullEquality,
    ) -> Result<Self> {
        let Delta { batch, weights } = delta;
        let hashes = hash_columns(&batch, keys)?;
        let mut unmatched = None;
        if nulls == NullEquality::NullEqualsNothing {
            for key in keys.iter().map(|key| batch.column(*key)).filter(|k| k.null_count() > 0) {
                let nulls = is_null(key)?;
                unmatched = Some(match unmatched {
                    Some(before) => or(&before, &nulls)?,
                    None => nulls,
                });
            }
        }
        Ok(Self { batch, weights, hashes, unmatched, matched: None })
    }

    /// The hash of each row's key; not of a value that is kept between runs.
    pub(in crate::operators) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Without the rows that match nothing.
    pub(in crate::operators) fn matchable(self) -> Result<Self> {
        Ok(self.only_matchable()?.unwrap_or(self))
    }

    /// The same rows with other columns; the keys are the same.
    pub(in crate::operators) fn with_batch(&self, batch: RecordBatch) -> Self {
        Self {
            batch,
            weights: self.weights.clone(),
            hashes: self.hashes.clone(),
            unmatched: self.unmatched.clone(),
            matched: self.matched.clone(),
        }
    }

    /// The same rows with these weights.
    pub(in crate::operators) fn with_weights(self, weights: Int64Array) -> Self {
        Self { weights: Some(weights), ..self }
    }

    /// The same rows with the weights of what they match.
    pub(in crate::operators) fn with_matched(self, matched: Int64Array) -> Self {
        Self { matched: Some(matched), ..self }
    }

    /// The rows that can match; `None` where all can.
    pub(in crate::operators) fn only_matchable(&self) -> Result<Option<Self>> {
        self.unmatched.as_ref().map(|unmatched| self.filtered(&not(unmatched)?)).transpose()
    }

    /// The same rows, of which only those that `mask` is true for match anything.
    pub(in crate::operators) fn matching_only(self, mask: &BooleanArray) -> Result<Self> {
        Ok(Self { unmatched: Some(not(mask)?), ..self })
    }

    /// The rows that `keep` is true for, all of which may match.
    pub(in crate::operators) fn filtered(&self, keep: &BooleanArray) -> Result<Self> {
        let of = |numbers: &Option<Int64Array>| -> Result<Option<Int64Array>> {
            let kept = numbers.as_ref().map(|numbers| filter(numbers, keep)).transpose()?;
            Ok(kept.map(|numbers| numbers.as_primitive().clone()))
        };
        let mut kept = keep.values().iter();
        let mut hashes = self.hashes.clone();
        hashes.retain(|_| kept.next().unwrap_or(false));
        Ok(Self {
            batch: filter_record_batch(&self.batch, keep)?,
            weights: of(&self.weights)?,
            hashes,
            unmatched: None,
            matched: of(&self.matched)?,
        })
    }

    /// Equal rows as one, with the sum of their weights; and the hash of each row that is left.
    pub(super) fn consolidated(&self) -> Result<(Self, Vec<u64>)> {
        let columns: Vec<usize> = (0..self.batch.num_columns()).collect();
        let mut row_hashes = hash_columns(&self.batch, &columns)?;
        let mut first_of: HashMap<u64, u32> = HashMap::with_capacity(self.len());
        let mut pairs = Pairs::default();
        for (row, hash) in (0_u32..).zip(&row_hashes) {
            let first = *first_of.entry(*hash).or_insert(row);
            if first != row {
                pairs.probe.push(row);
                pairs.kept.push(first);
            }
        }
        for column in self.batch.columns() {
            let row = take(column, &UInt32Array::from(pairs.probe.clone()), None)?;
            let first = take(column, &UInt32Array::from(pairs.kept.clone()), None)?;
            pairs.retain(&equal_values(&row, &first, NullEquality::NullEqualsNull)?);
        }
        let mut weights: Vec<i64> = (0..self.len()).map(|row| self.weight(row)).collect();
        let mut keep = vec![true; self.len()];
        for (row, first) in pairs.probe.into_iter().zip(pairs.kept) {
            weights[first as usize] += weights[row as usize];
            keep[row as usize] = false;
        }
        let mut kept = keep.iter();
        row_hashes.retain(|_| kept.next().copied().unwrap_or(false));
        let all = Self {
            batch: self.batch.clone(),
            weights: Some(weights.into()),
            hashes: self.hashes.clone(),
            unmatched: None,
            matched: self.matched.clone(),
        };
        Ok((all.filtered(&keep.into())?, row_hashes))
    }

    /// Equal rows as one, with the sum of their weights, unless that is 0.
    pub(in crate::operators) fn net(&self) -> Result<Self> {
        let (rows, _) = self.consolidated()?;
        let stays: BooleanArray = (0..rows.len()).map(|row| Some(rows.weight(row) != 0)).collect();
        if stays.true_count() == rows.len() { Ok(rows) } else { rows.filtered(&stays) }
    }

    pub(in crate::operators) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether the key of a row has a NULL that equals nothing.
    pub(in crate::operators) fn matches_nothing(&self, row: usize) -> bool {
        self.unmatched.as_ref().is_some_and(|unmatched| unmatched.value(row))
    }

    /// The weight of a row.
    pub(in crate::operators) fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights.value(row))
    }
}

/// The hash of each row's `columns`.
pub(super) fn hash_columns(batch: &RecordBatch, columns: &[usize]) -> Result<Vec<u64>> {
    let mut hashes = vec![0; batch.num_rows()];
    let columns = columns.iter().map(|column| batch.column(*column));
    create_hashes(columns, &RandomState::default(), &mut hashes)?;
    Ok(hashes)
}

/// Whether two columns hold equal values, row by row.
pub(in crate::operators) fn equal_values(
    left: &ArrayRef,
    right: &ArrayRef,
    nulls: NullEquality,
) -> Result<BooleanArray> {
    let nulls_match = nulls == NullEquality::NullEqualsNull;
    if !left.data_type().is_nested() {
        return Ok(if nulls_match { not_distinct(left, right)? } else { eq(left, right)? });
    }
    // Arrow compares nested values one pair at a time only.
    let compare = make_comparator(left, right, SortOptions::default())?;
    let equal =
        |i: usize| (nulls_match || left.is_valid(i) && right.is_valid(i)) && compare(i, i).is_eq();
    Ok((0..left.len()).map(|i| Some(equal(i))).collect())
}

/// A copy of `batch` where it is a small part of larger buffers (a slice, or texts that point into the
/// buffers they were decoded from), so that keeping it does not keep those.
pub(in crate::operators) fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let held = batch.get_array_memory_size();
    let used: usize = batch
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(0))
        .sum();
    let batch = if held > 2 * used + 1024 && batch.num_columns() > 0 {
        let all = UInt32Array::from_iter_values((0_u32..).take(batch.num_rows()));
        take_record_batch(batch, &all)?
    } else {
        batch.clone()
    };
    let columns = batch.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => ArrayRef::clone(column),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns.collect(), &options)?)
}
