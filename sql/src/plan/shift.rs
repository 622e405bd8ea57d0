//! `LAG` and `LEAD` with `IGNORE NULLS`, so that they mean the same in batch and continuously.
//!
//! DataFusion evaluates them in one way row by row and in another over a whole partition; only the first
//! is right, and the second fails where there is no NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Signature, TypeSignature, Volatility, WindowUDF};

use super::over_partition::over_partition;

const LAG: &str = "__lag_ignoring_nulls";
const LEAD: &str = "__lead_ignoring_nulls";

/// The form of `function` that passes over NULLs, if it is one of the two.
pub(super) fn ignoring_nulls(function: &str) -> Option<Arc<WindowUDF>> {
    let name = match function {
        "lag" => LAG,
        "lead" => LEAD,
        _ => return None,
    };
    let forms = (1..=3).map(TypeSignature::Any).collect();
    let signature = Signature::one_of(forms, Volatility::Immutable);
    let type_of =
        |_: &str, column: Option<&DataType>| Ok(column.cloned().unwrap_or(DataType::Null));
    Some(Arc::new(over_partition(name, signature, shifted, type_of)))
}

/// `values` are the column, how many values away, and what to give where there is none.
fn shifted(name: &str, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let Some(column) = values.first() else {
        return plan_err!("LAG and LEAD take a column");
    };
    let away = match values.get(1) {
        Some(away) => {
            let away = cast(away, &DataType::Int64)?;
            away.as_primitive::<Int64Type>().iter().next().flatten().unwrap_or(1)
        }
        None => 1,
    };
    let found = places(column, rows, if name == LAG { -away } else { away });
    let picked = take(column, &found, None)?;
    let default = match values.get(2) {
        Some(default) => cast(default, column.data_type())?,
        None => new_null_array(column.data_type(), rows),
    };
    let is_found: BooleanArray = (0..rows).map(|row| Some(found.is_valid(row))).collect();
    Ok(zip(&is_found, &picked, &default)?)
}

/// For each row the place of the value that is `away` values after it; before it, where that is negative.
fn places(column: &ArrayRef, rows: usize, away: i64) -> UInt32Array {
    let nulls = column.logical_nulls();
    let is_null = |row: &usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row));
    let known: Vec<usize> = (0..rows).filter(|row| !is_null(row)).collect();
    let steps = usize::try_from(away.unsigned_abs()).unwrap_or(usize::MAX);
    let mut before = 0;
    (0..rows)
        .map(|row| {
            let here = known.get(before) == Some(&row);
            let place = match away {
                0 => here.then_some(before),
                1.. => (before + usize::from(here)).checked_add(steps - 1),
                _ => before.checked_sub(steps),
            };
            before += usize::from(here);
            place.and_then(|place| known.get(place)).and_then(|row| u32::try_from(*row).ok())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn nulls_are_passed_over_and_not_counted() {
        let column: ArrayRef =
            Arc::new(Int64Array::from(vec![None, Some(1), None, Some(2), Some(3), None]));
        let of = |away| places(&column, 6, away).iter().collect::<Vec<_>>();
        assert_eq!(of(-1), [None, None, Some(1), Some(1), Some(3), Some(4)]);
        assert_eq!(of(-2), [None, None, None, None, Some(1), Some(3)]);
        assert_eq!(of(1), [Some(1), Some(3), Some(3), Some(4), None, None]);
        assert_eq!(of(3), [Some(4), None, None, None, None, None]);
        assert_eq!(of(0), [None, Some(1), None, Some(3), Some(4), None]);
        assert_eq!(of(i64::MIN), [None; 6]);
    }

    #[test]
    fn the_default_stands_where_there_is_no_value() {
        let number = |n| -> ArrayRef { Arc::new(Int64Array::from(vec![n; 3])) };
        let column: ArrayRef = Arc::new(Int64Array::from(vec![5, 6, 7]));
        let result = shifted(LEAD, &[column, number(2), number(-1)], 3).unwrap();
        assert_eq!(result.as_primitive::<Int64Type>().values(), &[7, -1, -1]);
    }
}
