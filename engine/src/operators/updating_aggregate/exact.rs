//! Sums that can be taken back: of integers and decimals, wrapping where DataFusion's wrap.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array, UInt64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, UInt64Type};

use super::touched::Contribution;
use crate::error::{Error, Result};

/// How often each row counts: not at all where an argument is NULL or the filter does not hold.
pub(super) fn counted_weights(rows: &Contribution<'_>) -> Vec<i64> {
    let mut weights = match rows.weights {
        Some(weights) => weights.to_vec(),
        None => vec![1; rows.groups.len()],
    };
    let mut keep_where = |holds: &dyn Fn(usize) -> bool| {
        let out = weights.iter_mut().enumerate().filter(|(row, _)| !holds(*row));
        out.for_each(|(_, weight)| *weight = 0);
    };
    for argument in rows.arguments {
        if argument.logical_null_count() > 0
            && let Some(valid) = argument.logical_nulls()
        {
            keep_where(&|row| valid.is_valid(row));
        }
    }
    if let Some(filter) = rows.filter {
        keep_where(&|row| filter.is_valid(row) && filter.value(row));
    }
    weights
}

/// One sum per group.
#[derive(Debug)]
pub(super) enum Sums {
    /// Of 64 bits, signed or not: two's complement wraps alike.
    Narrow(Vec<i64>),
    Wide(Vec<i128>),
}

impl Sums {
    /// Sums to go on from, zero where there is no old one.
    pub(super) fn new(data_type: &DataType, old: Option<&ArrayRef>, groups: usize) -> Result<Self> {
        let mut sums = match data_type {
            DataType::Int64 | DataType::UInt64 => Self::Narrow(Vec::with_capacity(groups)),
            DataType::Decimal128(..) => Self::Wide(Vec::with_capacity(groups)),
            _ => return Err(Error::bug(format!("sums of {data_type} are not exact"))),
        };
        match &mut sums {
            Self::Narrow(sums) => {
                if let Some(old) = old {
                    sums.extend_from_slice(&narrow(old)?);
                }
                sums.resize(groups, 0);
            }
            Self::Wide(sums) => {
                if let Some(old) = old {
                    sums.extend_from_slice(wide(old)?);
                }
                sums.resize(groups, 0);
            }
        }
        Ok(sums)
    }

    /// Adds each value as often as its weight says to the sum of its group.
    pub(super) fn add(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        weights: &[i64],
    ) -> Result<()> {
        let rows = groups.iter().zip(weights);
        match self {
            Self::Narrow(sums) => {
                for ((group, weight), value) in rows.zip(narrow(values)?.iter()) {
                    sums[*group] = sums[*group].wrapping_add(value.wrapping_mul(*weight));
                }
            }
            Self::Wide(sums) => {
                for ((group, weight), value) in rows.zip(wide(values)?) {
                    let change = value.wrapping_mul(i128::from(*weight));
                    sums[*group] = sums[*group].wrapping_add(change);
                }
            }
        }
        Ok(())
    }

    pub(super) fn into_array(self, data_type: &DataType) -> Result<ArrayRef> {
        Ok(match (self, data_type) {
            (Self::Narrow(sums), DataType::UInt64) => {
                Arc::new(UInt64Array::from_iter_values(sums.into_iter().map(i64::cast_unsigned)))
            }
            (Self::Narrow(sums), _) => Arc::new(Int64Array::from(sums)),
            (Self::Wide(sums), _) => {
                Arc::new(Decimal128Array::from(sums).with_data_type(data_type.clone()))
            }
        })
    }
}

fn not_summable(values: &ArrayRef) -> Error {
    Error::bug(format!("{} where a number to sum was planned", values.data_type()))
}

fn narrow(values: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    if let Some(values) = values.as_primitive_opt::<Int64Type>() {
        return Ok(values.values().clone());
    }
    let values = values.as_primitive_opt::<UInt64Type>().ok_or_else(|| not_summable(values))?;
    Ok(ScalarBuffer::new(values.values().inner().clone(), 0, values.len()))
}

fn wide(values: &ArrayRef) -> Result<&[i128]> {
    let typed = values.as_primitive_opt::<Decimal128Type>();
    Ok(typed.ok_or_else(|| not_summable(values))?.values())
}
