//! The distinct values of an argument per group, in order: the least and the greatest are the ends of a
//! range, whichever value has just gone.
//!
//! Beside the values themselves ([`super::distinct`]), which snapshots hold; made again when they are
//! restored.

use std::collections::BTreeSet;
use std::ops::Bound;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::Result;

/// Values of groups, in order.
#[derive(Debug)]
pub(super) struct OrderedValues {
    /// `None` where there is one group.
    keys: Option<RowConverter>,
    values: RowConverter,
    /// The bytes of a group's keys, then those of the value.
    ordered: BTreeSet<Box<[u8]>>,
    bytes: usize,
}

impl OrderedValues {
    pub(super) fn new(keys: Vec<DataType>, value: DataType) -> Result<Self> {
        let fields: Vec<_> = keys.into_iter().map(SortField::new).collect();
        let keys = (!fields.is_empty()).then(|| RowConverter::new(fields)).transpose()?;
        let values = RowConverter::new(vec![SortField::new(value)])?;
        Ok(Self { keys, values, ordered: BTreeSet::new(), bytes: 0 })
    }

    fn encoded_keys(&self, keys: &[ArrayRef]) -> Result<Option<Rows>> {
        Ok(self.keys.as_ref().map(|converter| converter.convert_columns(keys)).transpose()?)
    }

    /// Adds values (weight above 0) and removes values of groups.
    pub(super) fn apply(
        &mut self,
        keys: &[ArrayRef],
        values: &ArrayRef,
        weights: impl Iterator<Item = i64>,
    ) -> Result<()> {
        let keys = self.encoded_keys(keys)?;
        let values = self.values.convert_columns(std::slice::from_ref(values))?;
        for (row, (value, weight)) in values.iter().zip(weights).enumerate() {
            let key = keys.as_ref().map_or(&[][..], |keys| keys.row(row).data());
            let entry = [key, value.data()].concat().into_boxed_slice();
            let bytes = entry.len();
            if weight > 0 {
                self.bytes += if self.ordered.insert(entry) { bytes } else { 0 };
            } else {
                self.bytes -= if self.ordered.remove(&entry) { bytes } else { 0 };
            }
        }
        Ok(())
    }

    /// The least or the greatest value of each group; NULL for one without a value.
    pub(super) fn ends(&self, keys: &[ArrayRef], groups: usize, last: bool) -> Result<ArrayRef> {
        let keys = self.encoded_keys(keys)?;
        let parser = self.values.parser();
        let mut found = Vec::with_capacity(groups);
        let mut places: Vec<Option<u32>> = Vec::with_capacity(groups);
        for group in 0..groups {
            let key = keys.as_ref().map_or(&[][..], |keys| keys.row(group).data());
            let end = self.end(key, last).map(|entry| parser.parse(&entry[key.len()..]));
            places.push(end.is_some().then(|| u32::try_from(found.len()).unwrap_or(u32::MAX)));
            found.extend(end);
        }
        let values = self.values.convert_rows(found)?;
        let values: Vec<_> = values.iter().map(AsRef::as_ref).collect();
        Ok(take(&concat(&values)?, &UInt32Array::from(places), None)?)
    }

    /// The first or the last entry of the group with this key.
    fn end(&self, key: &[u8], last: bool) -> Option<&[u8]> {
        let after = successor(key);
        let to = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = self.ordered.range::<[u8], _>((Bound::Included(key), to));
        let entry = if last { range.next_back() } else { range.next() };
        entry.map(AsRef::as_ref)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + self.ordered.len() * size_of::<Box<[u8]>>()
    }
}

/// The least text of bytes behind all that begin with `key`; none for a key that all begin with.
fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let at = key.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut after = key[..=at].to_vec();
    after[at] += 1;
    Some(after)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn numbers(numbers: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(numbers.to_vec()))
    }

    #[test]
    fn ends_are_those_of_the_group_alone() {
        let mut values = OrderedValues::new(vec![DataType::Int64], DataType::Int64).unwrap();
        let keys = numbers(&[1, 1, 2, -1, i64::MAX]);
        let weights = [1, 1, 1, 1, 1].into_iter();
        values.apply(&[keys], &numbers(&[5, -7, 0, 9, 3]), weights).unwrap();
        let ends = |values: &OrderedValues, last| {
            let ends = values.ends(&[numbers(&[1, 3, i64::MAX, -1])], 4, last).unwrap();
            ends.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
        };
        assert_eq!(ends(&values, false), [Some(-7), None, Some(3), Some(9)]);
        assert_eq!(ends(&values, true), [Some(5), None, Some(3), Some(9)]);
        values.apply(&[numbers(&[1, -1])], &numbers(&[5, 9]), [-1, -1].into_iter()).unwrap();
        assert_eq!(ends(&values, true), [Some(-7), None, Some(3), None]);
    }

    #[test]
    fn what_follows_a_key_is_behind_all_that_begin_with_it() {
        assert_eq!(successor(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(successor(&[1, 255]), Some(vec![2]));
        assert_eq!(successor(&[255, 255]), None);
        assert_eq!(successor(&[]), None);
    }
}
