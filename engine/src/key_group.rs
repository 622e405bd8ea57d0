//! Who owns which key.
//!
//! State is owned by *key-group*: a fixed number of virtual partitions, found from a row's key by a
//! hash of our own. Lanes own ranges of key-groups, so their number may change without a key ever
//! changing its group. The hash is part of the state's format: it depends on values alone (not on
//! the width of a number's type, on dictionary codes, or on a library's version) and must never
//! change.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow::row::{RowConverter, SortField};

use crate::error::Result;
use crate::monotonic::to_numbers;

/// The number of key-groups. A power of two, so that the group is the hash's top bits.
pub const KEY_GROUPS: u32 = 1024;

/// The lane of `lanes` that owns the key with this hash.
pub fn lane_of(hash: u64, lanes: usize) -> usize {
    let group = hash >> (u64::BITS - KEY_GROUPS.trailing_zeros());
    // Both factors are small: no overflow, and the result is below `lanes`.
    usize::try_from(group).unwrap_or(0) * lanes / KEY_GROUPS as usize
}

/// The hash of each row's key.
///
/// # Errors
///
/// When a column's type cannot be hashed.
pub fn hash_keys(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    let mut hashes = vec![SEED; rows];
    for column in columns {
        hash_column(column, &mut hashes)?;
    }
    hashes.iter_mut().for_each(|hash| *hash = finish(*hash));
    Ok(hashes)
}

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const NULL: u64 = 0xD6E8_FEB8_6659_FD93;

fn hash_column(column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
    match column.data_type() {
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>();
            mix_all(hashes, values.len(), |i| values.is_valid(i).then(|| values.value(i)));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let values = cast(column, &DataType::LargeUtf8)?;
            let values = values.as_string::<i64>();
            let hash = |i| values.is_valid(i).then(|| hash_bytes(values.value(i).as_bytes()));
            mix_all(hashes, values.len(), hash);
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let values = cast(column, &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>();
            // Minus zero equals zero, so they hash alike.
            let hash = |i| values.is_valid(i).then(|| (values.value(i) + 0.0).to_bits());
            mix_all(hashes, values.len(), hash);
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>();
            let hash = |i| values.is_valid(i).then(|| hash_bytes(&values.value(i).to_le_bytes()));
            mix_all(hashes, values.len(), hash);
        }
        data_type if data_type.is_integer() || is_single_number_time(data_type) => {
            let values = to_numbers(column)?;
            let values = values.as_primitive::<Int64Type>();
            let hash = |i| values.is_valid(i).then(|| values.value(i).cast_unsigned());
            mix_all(hashes, values.len(), hash);
        }
        _ => {
            let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
            let rows = converter.convert_columns(std::slice::from_ref(column))?;
            let hash = |i| column.is_valid(i).then(|| hash_bytes(rows.row(i).as_ref()));
            mix_all(hashes, column.len(), hash);
        }
    }
    Ok(())
}

fn is_single_number_time(data_type: &DataType) -> bool {
    data_type.is_temporal() && !matches!(data_type, DataType::Interval(_))
}

fn mix_all(hashes: &mut [u64], len: usize, value: impl Fn(usize) -> Option<u64>) {
    for (i, hash) in hashes.iter_mut().enumerate().take(len) {
        *hash = mix(*hash, value(i).unwrap_or(NULL));
    }
}

/// Folds the two halves of a 128-bit product: the mixing step of wyhash.
fn mix(hash: u64, value: u64) -> u64 {
    let product = u128::from(hash ^ value) * u128::from(SEED ^ 0xA076_1D64_78BD_642F);
    let high = u64::try_from(product >> 64).unwrap_or(0);
    let low = u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0);
    (high ^ low).wrapping_add(hash.rotate_left(23))
}

/// The hash of a text. Never changes either.
pub(crate) fn hash_text(text: &str) -> u64 {
    hash_bytes(text.as_bytes())
}

/// A number made of two, which tells about neither.
pub(crate) fn mix_number(hash: u64, number: u64) -> u64 {
    finish(mix(finish(hash), number))
}

fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xE703_7ED1_A0B4_28DB);
    hash ^ (hash >> 29)
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = mix(SEED, bytes.len() as u64);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        hash = mix(hash, u64::from_le_bytes(word.try_into().unwrap_or_default()));
    }
    let mut last = [0_u8; 8];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    finish(mix(hash, u64::from_le_bytes(last)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, Int64Array, StringArray, StringViewArray};

    use super::*;

    #[test]
    fn equal_values_hash_alike_whatever_their_width() {
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None, Some(-1)]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(-1)]));
        assert_eq!(hash_keys(&[narrow], 3).unwrap(), hash_keys(&[wide], 3).unwrap());
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a longer text than 8", ""]));
        let view: ArrayRef = Arc::new(StringViewArray::from(vec!["a longer text than 8", ""]));
        assert_eq!(hash_keys(&[text], 2).unwrap(), hash_keys(&[view], 2).unwrap());
    }

    #[test]
    fn the_hash_is_a_format_and_never_changes() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["comp_4", "comp_5"]));
        let hashes = hash_keys(&[numbers, texts], 2).unwrap();
        assert_eq!(hashes, vec![14_468_006_027_468_332_926, 3_135_436_163_644_827_174]);
    }

    #[test]
    fn keys_spread_over_the_lanes() {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
        let mut counts = [0_u32; 7];
        for hash in hash_keys(&[keys], 10_000).unwrap() {
            counts[lane_of(hash, 7)] += 1;
        }
        assert!(counts.iter().all(|count| (1_200..1_700).contains(count)), "{counts:?}");
    }
}
