//! Texts and bytes in columns of a declared length, and bytes as text is taken apart and put together.
//!
//! Source: "Data types" and "String functions" of the Kinesis Data Analytics SQL reference.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};

use super::Param::{Any, Integer};
use super::call::{Call, exact_cast};
use super::{Function, is_text};

/// A value as a column of a declared length stores it: cut to so many characters or bytes, and filled
/// up to them if the last argument is not 0.
pub(crate) const FIT: &str = "__fit";
/// `a || b` of bytes.
pub(crate) const CONCAT: &str = "__concat_bytes";

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(FIT, &[&[Any, Integer, Integer]], |types, _| Ok(stored(&types[0])), fit),
        Function::new(CONCAT, &[&[Any, Any]], both_bytes, concat),
    ]
}

pub(super) fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn stored(data_type: &DataType) -> DataType {
    if is_bytes(data_type) { DataType::Binary } else { DataType::Utf8 }
}

fn fit(call: &Call<'_>) -> Result<ArrayRef> {
    let values = exact_cast(&call.expanded(0)?, call.returns)?;
    let length = call.values::<Int64Type>(1)?.get(0).unwrap_or(i64::MAX);
    let length = usize::try_from(length).unwrap_or_default();
    let padded = call.values::<Int64Type>(2)?.get(0) == Some(1);
    if is_text(values.data_type()) {
        let texts = values.as_string::<i32>();
        // As many bytes as characters are allowed: it cannot be too long.
        if !padded && texts.iter().flatten().all(|text| text.len() <= length) {
            return Ok(values);
        }
        return call.map_text(|row, into| {
            if texts.is_null(row) {
                return Ok(false);
            }
            let text = texts.value(row);
            let end = text.char_indices().nth(length).map_or(text.len(), |(end, _)| end);
            into.push_str(text.get(..end).unwrap_or(text));
            if padded {
                let missing = length.saturating_sub(into.chars().count());
                into.extend(std::iter::repeat_n(' ', missing));
            }
            Ok(true)
        });
    }
    let bytes = values.as_binary::<i32>();
    map_bytes(bytes.len(), |row, into| {
        if bytes.is_null(row) {
            return Ok(false);
        }
        let value = bytes.value(row);
        into.extend_from_slice(value.get(..length).unwrap_or(value));
        if padded {
            into.resize(length, 0);
        }
        Ok(true)
    })
}

/// One value of bytes per row: `write` appends it and says whether there is one.
fn map_bytes(
    rows: usize,
    mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<bool>,
) -> Result<ArrayRef> {
    let mut built = BinaryBuilder::new();
    let mut value = Vec::new();
    for row in 0..rows {
        value.clear();
        if write(row, &mut value)? {
            built.append_value(&value);
        } else {
            built.append_null();
        }
    }
    Ok(Arc::new(built.finish()))
}

fn both_bytes(types: &[DataType], _literals: &[Option<&ScalarValue>]) -> Result<DataType> {
    match types.iter().find(|data_type| !is_bytes(data_type) && !data_type.is_null()) {
        Some(other) => plan_err!("bytes can be put together with bytes, not with {other}"),
        None => Ok(DataType::Binary),
    }
}

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let side = |at| -> Result<ArrayRef> { exact_cast(&call.expanded(at)?, &DataType::Binary) };
    let (a, b) = (side(0)?, side(1)?);
    let (a, b): (&BinaryArray, &BinaryArray) = (a.as_binary::<i32>(), b.as_binary::<i32>());
    map_bytes(call.rows, |row, into| {
        if a.is_null(row) || b.is_null(row) {
            return Ok(false);
        }
        into.extend_from_slice(a.value(row));
        into.extend_from_slice(b.value(row));
        Ok(true)
    })
}

/// `SUBSTRING` of bytes, which count from 1.
pub(super) fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = exact_cast(&call.expanded(0)?, &DataType::Binary)?;
    let bytes = bytes.as_binary::<i32>();
    let starts = call.values::<Int64Type>(1)?;
    let lengths = if call.count() > 2 { Some(call.values::<Int64Type>(2)?) } else { None };
    map_bytes(call.rows, |row, into| {
        let (false, Some(start)) = (bytes.is_null(row), starts.get(row)) else { return Ok(false) };
        let end = match lengths.as_ref().map(|lengths| lengths.get(row)) {
            None => i64::MAX,
            Some(None) => return Ok(false),
            Some(Some(length)) if length < 0 => {
                return exec_err!("a part of bytes cannot be {length} bytes long");
            }
            Some(Some(length)) => start.saturating_add(length),
        };
        let value = bytes.value(row);
        let at = |position: i64| {
            usize::try_from(position.saturating_sub(1)).unwrap_or_default().min(value.len())
        };
        into.extend_from_slice(value.get(at(start)..at(end).max(at(start))).unwrap_or_default());
        Ok(true)
    })
}
