//! Which expressions preserve order, and what that makes of a watermark.
//!
//! An expression that never falls when the columns it reads rise turns lower bounds on those columns
//! into a lower bound on its result. That is how a watermark on `ROWTIME` becomes one on
//! `STEP(ROWTIME BY INTERVAL '1' MINUTE)`, closes a window, and passes through projections.
//!
//! Source: the monotonicity deduction table of the Kinesis Data Analytics SQL reference ("Monotonic
//! expressions and operators").

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::error::{Error, Result};
use crate::watermark::{Watermark, Watermarks};

/// The function of the time of a row of an outer join: never earlier than its first argument, whatever
/// the other side's row is.
pub const JOINED_AT: &str = "__joined_at";

/// The function of the time of a row of a join by rows: the dataflow puts the watermark of the join on
/// its first argument.
pub const MET_AT: &str = "__met_at";

/// The function that is the clock of an epoch, which only goes on.
pub const EPOCH_TIME: &str = "__epoch_time";

/// The columns `expr` reads, if it is non-decreasing in each of them and reads at least one; in
/// ascending order, each once.
pub fn monotonic_columns(expr: &Arc<dyn PhysicalExpr>) -> Option<Vec<usize>> {
    let mut columns = Vec::new();
    is_non_decreasing(expr, &mut columns).then_some(())?;
    columns.sort_unstable();
    columns.dedup();
    (!columns.is_empty()).then_some(columns)
}

/// Whether `expr` grows with the clock of the epochs and reads no column.
fn only_follows_clock(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let mut columns = Vec::new();
    let grows = is_non_decreasing(expr, &mut columns) && columns.is_empty();
    let reads_clock = |expr: &Arc<dyn PhysicalExpr>| {
        let function = (expr.as_ref() as &dyn std::any::Any).downcast_ref::<ScalarFunctionExpr>();
        function.is_some_and(|function| function.name() == EPOCH_TIME)
    };
    grows && expr.exists(|expr| Ok(reads_clock(expr))).unwrap_or(false)
}

fn is_non_decreasing(expr: &Arc<dyn PhysicalExpr>, columns: &mut Vec<usize>) -> bool {
    let any = expr.as_ref() as &dyn std::any::Any;
    if let Some(column) = any.downcast_ref::<Column>() {
        columns.push(column.index());
        return true;
    }
    if any.is::<Literal>() {
        return true;
    }
    if let Some(cast) = any.downcast_ref::<CastExpr>() {
        return keeps_order(cast.cast_type()) && is_non_decreasing(cast.expr(), columns);
    }
    if let Some(binary) = any.downcast_ref::<BinaryExpr>() {
        return binary_is_non_decreasing(binary, columns);
    }
    if let Some(function) = any.downcast_ref::<ScalarFunctionExpr>() {
        return function_is_non_decreasing(function, columns);
    }
    false
}

/// Casting times and numbers into one another keeps their order; into text it does not, and into a time
/// of day it begins again every day.
fn keeps_order(to: &DataType) -> bool {
    let is_of_day = matches!(to, DataType::Time32(_) | DataType::Time64(_));
    !is_of_day && (to.is_temporal() || to.is_numeric())
}

fn binary_is_non_decreasing(binary: &BinaryExpr, columns: &mut Vec<usize>) -> bool {
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::Plus => is_non_decreasing(left, columns) && is_non_decreasing(right, columns),
        Operator::Minus => literal(right).is_some() && is_non_decreasing(left, columns),
        Operator::Multiply => {
            (is_positive(right) && is_non_decreasing(left, columns))
                || (is_positive(left) && is_non_decreasing(right, columns))
        }
        Operator::Divide => is_positive(right) && is_non_decreasing(left, columns),
        _ => false,
    }
}

fn function_is_non_decreasing(function: &ScalarFunctionExpr, columns: &mut Vec<usize>) -> bool {
    let args = function.args();
    let one = |at: usize, columns: &mut Vec<usize>| {
        let others = args.iter().enumerate().filter(|(i, _)| *i != at);
        others.into_iter().all(|(_, arg)| literal(arg).is_some())
            && args.get(at).is_some_and(|arg| is_non_decreasing(arg, columns))
    };
    match function.name() {
        EPOCH_TIME => true,
        "__add" => args.iter().all(|arg| is_non_decreasing(arg, columns)),
        "__subtract" => one(0, columns),
        "__divide" if args.get(1).is_some_and(is_positive) => one(0, columns),
        "__multiply" if args.get(1).is_some_and(is_positive) => one(0, columns),
        "__multiply" if args.first().is_some_and(is_positive) => one(1, columns),
        "date_bin" | "date_trunc" | "__ceil_to" => one(1, columns),
        "__step" if args.get(1).is_some_and(is_positive) => one(0, columns),
        "__difference" | "__divide_interval" | "__scale_interval"
            if !is_scaled(function.name()) || args.get(1).is_some_and(is_positive) =>
        {
            one(0, columns)
        }
        "tsdiff" => one(1, columns),
        "__tumble"
        | "__ends_at"
        | "__window_start"
        | "__window_end"
        | "__window_time"
        | "floor"
        | "ceil"
        | "unix_timestamp"
        | "to_timestamp"
        | "to_timestamp_millis"
        | "to_timestamp_micros"
        | "to_timestamp_seconds"
        | "to_timestamp_nanos"
        | "to_unixtime" => one(0, columns),
        "greatest" | "least" => args.iter().all(|arg| is_non_decreasing(arg, columns)),
        _ => false,
    }
}

/// Whether the function of this name multiplies or divides by its second argument.
fn is_scaled(name: &str) -> bool {
    name != "__difference"
}

fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    (expr.as_ref() as &dyn std::any::Any).downcast_ref::<Literal>().map(Literal::value)
}

fn is_positive(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let number = literal(expr).and_then(|value| value.cast_to(&DataType::Float64).ok());
    matches!(number, Some(ScalarValue::Float64(Some(number))) if number > 0.0)
}

/// The watermark of `expr` over an edge of `schema` with these watermarks: `None` if the expression
/// keeps no order or reads a column without a watermark.
///
/// # Errors
///
/// When the expression fails on the watermark itself.
pub fn watermark_of(
    expr: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
    watermarks: &Watermarks,
) -> Result<Option<Watermark>> {
    let function = (expr.as_ref() as &dyn std::any::Any).downcast_ref::<ScalarFunctionExpr>();
    if let Some(function) =
        function.filter(|function| [JOINED_AT, MET_AT].contains(&function.name()))
        && let Some(time) = function.args().first()
    {
        return watermark_of(time, schema, watermarks);
    }
    let columns = match monotonic_columns(expr) {
        Some(columns) => columns,
        // The clock is not behind its rows, but they end with all others.
        None if only_follows_clock(expr) && watermarks.0.contains(&Some(Watermark::End)) => {
            return Ok(Some(Watermark::End));
        }
        None if only_follows_clock(expr) && watermarks.any() => Vec::new(),
        None => return Ok(None),
    };
    // What is neither a time nor a whole number has no bound; operators could not keep to it.
    let data_type = expr.data_type(schema)?;
    if !data_type.is_temporal() && !data_type.is_integer() {
        return Ok(None);
    }
    let mut bounds = Vec::with_capacity(columns.len());
    let mut combined = None;
    for column in columns {
        match watermarks.get(column) {
            None => return Ok(None),
            Some(Watermark::At(bound)) => bounds.push((column, bound)),
            // The rows of an edge end together, so one column's end is the edge's.
            Some(Watermark::End) => combined = Some(Watermark::End),
            Some(Watermark::Unknown) => {
                combined = combined.or(Some(Watermark::Unknown));
            }
        }
    }
    if combined.is_some() {
        return Ok(combined);
    }
    let value = evaluate_at(expr, schema, &bounds)?;
    Ok(Some(value.map_or(Watermark::Unknown, Watermark::At)))
}

/// The value of `expr` on one row whose columns `bounds` hold these numbers (in the columns' own
/// units) and whose other columns are NULL; `None` where it is NULL.
///
/// # Errors
///
/// When the expression fails, or its type is no number and no time.
pub fn evaluate_at(
    expr: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
    bounds: &[(usize, i64)],
) -> Result<Option<i64>> {
    let mut columns: Vec<ArrayRef> =
        schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    for &(column, bound) in bounds {
        let number = arrow::array::Int64Array::from(vec![bound]);
        columns[column] = from_number(&number, schema.field(column).data_type())?;
    }
    let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
    let row = RecordBatch::try_new(schema, columns)?;
    let value = expr.evaluate(&row)?.into_array(1)?;
    let numbers = to_numbers(&value)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(numbers.is_valid(0).then(|| numbers.value(0)))
}

/// `values`, times or numbers, as 64-bit numbers in their own unit.
///
/// # Errors
///
/// When they are neither times nor whole numbers.
pub fn to_numbers(values: &ArrayRef) -> Result<ArrayRef> {
    // Arrow has no direct cast from dates and short times to 64 bits.
    let direct = match values.data_type() {
        DataType::Date32 | DataType::Time32(_) => cast(values, &DataType::Int32)?,
        DataType::Int64 => return Ok(Arc::clone(values)),
        data_type if data_type.is_temporal() || data_type.is_integer() => Arc::clone(values),
        other => return Err(Error::bug(format!("{other} is no time and no whole number"))),
    };
    Ok(cast(&direct, &DataType::Int64)?)
}

/// 64-bit numbers as values of `data_type`, a time or a number: the inverse of [`to_numbers`].
///
/// # Errors
///
/// When they do not fit.
pub(crate) fn from_number(number: &dyn Array, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Date32 | DataType::Time32(_) => {
            cast(&cast(number, &DataType::Int32)?, data_type)?
        }
        _ => cast(number, data_type)?,
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;
    use datafusion::functions::datetime::expr_fn::date_bin;
    use datafusion::logical_expr::execution_props::ExecutionProps;
    use datafusion::logical_expr::{Expr, col, lit};
    use datafusion::physical_expr::create_physical_expr;
    use proptest::prelude::*;

    use super::*;
    use crate::definition::TIMESTAMP_TYPE;

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("t", TIMESTAMP_TYPE, false),
            Field::new("u", TIMESTAMP_TYPE, false),
            Field::new("k", DataType::Utf8, true),
        ])
    }

    fn physical(expr: &Expr) -> Arc<dyn PhysicalExpr> {
        let schema = datafusion::common::DFSchema::try_from(schema()).unwrap();
        create_physical_expr(expr, &schema, &ExecutionProps::new()).unwrap()
    }

    fn step(minutes: i32) -> Expr {
        let width = ScalarValue::new_interval_mdn(0, 0, i64::from(minutes) * 60_000_000_000);
        let origin = ScalarValue::TimestampNanosecond(Some(0), None);
        date_bin(lit(width), col("t"), lit(origin))
    }

    #[test]
    fn steps_and_shifts_keep_order_and_texts_do_not() {
        assert_eq!(monotonic_columns(&physical(&step(1))), Some(vec![0]));
        let hour = lit(ScalarValue::new_interval_dt(0, 3_600_000));
        assert_eq!(monotonic_columns(&physical(&(step(1) - hour))), Some(vec![0]));
        assert_eq!(monotonic_columns(&physical(&col("k"))), Some(vec![2]));
        assert_eq!(monotonic_columns(&physical(&lit(1))), None);
        assert_eq!(monotonic_columns(&physical(&(lit(1) - col("k")))), None);
        let of_day = DataType::Time32(arrow::datatypes::TimeUnit::Millisecond);
        let of_day = datafusion::logical_expr::cast(col("t"), of_day);
        assert_eq!(monotonic_columns(&physical(&of_day)), None, "it falls at midnight");
    }

    #[test]
    fn a_fraction_of_a_time_has_no_watermark() {
        let number = datafusion::logical_expr::cast(col("t"), DataType::Int64);
        let half = number * lit(0.5);
        let watermarks = Watermarks(vec![Some(Watermark::At(7)), None, None]);
        let of = |expr: &Expr| watermark_of(&physical(expr), &schema(), &watermarks).unwrap();
        let coerced = datafusion::logical_expr::cast(half, DataType::Float64);
        assert_eq!(of(&coerced), None);
        assert_eq!(
            of(&datafusion::logical_expr::cast(col("t"), DataType::Int64)),
            Some(Watermark::At(7))
        );
    }

    proptest! {
        #[test]
        fn a_bound_on_the_column_bounds_the_expression(
            minutes in 1..100_i32, bound in 0..1_000_000_000_000_i64, later in 0..10_000_000_i64,
        ) {
            let expr = physical(&step(minutes));
            let at = |t| evaluate_at(&expr, &schema(), &[(0, t)]).unwrap().unwrap();
            prop_assert!(at(bound) <= at(bound + later));
            let watermarks = Watermarks(vec![Some(Watermark::At(bound)), None, None]);
            let of = watermark_of(&expr, &schema(), &watermarks).unwrap();
            prop_assert_eq!(of, Some(Watermark::At(at(bound))));
        }
    }

    #[test]
    fn a_column_without_a_watermark_gives_none() {
        let expr =
            physical(&datafusion::functions::core::expr_fn::greatest(vec![col("t"), col("u")]));
        let both = Watermarks(vec![Some(Watermark::At(1)), Some(Watermark::At(5)), None]);
        assert_eq!(watermark_of(&expr, &schema(), &both).unwrap(), Some(Watermark::At(5)));
        let one = Watermarks(vec![Some(Watermark::At(1)), None, None]);
        assert_eq!(watermark_of(&expr, &schema(), &one).unwrap(), None);
    }
}
