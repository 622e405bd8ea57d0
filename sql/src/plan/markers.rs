//! Functions that carry a clause of KDA through DataFusion's planner, and what they compute in batch.
//!
//! `__stagger(time, length)` in a `GROUP BY` becomes a column of a window below the aggregate, computed
//! row by row: the end of the row's window. `__within(time, interval)` in an `ORDER BY` is the time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, Projection,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Sort, Volatility, WindowFrame,
    WindowFunctionDefinition, WindowUDF,
};
use millstream_engine::definition::{ROWTIME, TIMESTAMP_TYPE};
use millstream_engine::monotonic::to_numbers;

use super::ends_at;
use super::extremes;
use super::functions::functions;
use super::models;
use super::not_in;
use super::over_partition::over_partition;
use super::rows_window;
use super::subquery_values;
use crate::rewrite::ARRIVAL_ORDER;
use crate::rowtime::HIDDEN_ROWTIME;
use crate::rowtime::windowed::JOINED_AT;
use crate::state_ttl::COUNTS;
use crate::statement::clauses::{STAGGER, WITHIN};

/// The window function that gives each row the end of its stagger window.
pub(super) const STAGGER_END: &str = "__stagger_end";

/// The marker functions.
pub(super) fn markers() -> [ScalarUDF; 7] {
    let [in_window, met_at] = rows_window::functions();
    [
        in_window,
        met_at,
        ends_at::marker(),
        ScalarUDF::from(Counts::new()),
        ScalarUDF::from(Marker::new(STAGGER)),
        ScalarUDF::from(Marker::new(WITHIN)),
        ScalarUDF::from(JoinedAt::new()),
    ]
}

/// Puts the windows of `__stagger` below their aggregates, what `__ends_at` looks at into it, the column
/// of the row's time into `__within`, the columns with numbers into the calls of models, and `NOT IN`
/// with a further condition into a form that can be joined by. Subqueries that are values become marks
/// of joins, `MIN` and `MAX` of structs get an order.
pub(super) fn placed(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => staggered(aggregate)?
            .transform_data(ends_at::bound)?
            .transform_data(extremes::rewritten)?
            .transform_data(subquery_values::marked),
        LogicalPlan::Projection(_) => subquery_values::marked(node),
        LogicalPlan::Sort(sort) => time_sorted(sort),
        LogicalPlan::Window(window) => models::over_numbers(window),
        LogicalPlan::Filter(filter) => not_in::rewritten(filter),
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
}

/// The arguments of a call of the marker `name`.
pub(super) fn arguments<'e>(expr: &'e Expr, name: &str) -> Option<&'e [Expr]> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == name => Some(&call.args),
        Expr::Alias(alias) => arguments(&alias.expr, name),
        _ => None,
    }
}

fn staggered(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let is_stagger = |expr: &Expr| arguments(expr, STAGGER).is_some();
    let Some(at) = aggregate.group_expr.iter().position(is_stagger) else {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    };
    let mut keys = aggregate.group_expr.clone();
    let marker = keys.remove(at);
    let Some([time, length]) = arguments(&marker, STAGGER) else {
        return plan_err!("a stagger window is over the rows of a stream");
    };
    let function = WindowFunctionDefinition::WindowUDF(Arc::new(stagger_end()));
    let mut call = WindowFunction::new(function, vec![time.clone(), length.clone()]);
    call.params.partition_by = keys.clone();
    call.params.order_by = vec![arrival_order(time.clone()).sort(true, false)];
    call.params.window_frame = WindowFrame::new(Some(true));
    let window = Expr::WindowFunction(Box::new(call)).alias(STAGGER_END);
    let below = LogicalPlanBuilder::from(aggregate.input.as_ref().clone());
    let below = below.window(vec![window])?.build()?;
    let end = Expr::Column(datafusion::common::Column::from_name(STAGGER_END));
    keys.insert(at, end.alias(marker.schema_name().to_string()));
    let grouped = Aggregate::try_new(Arc::new(below), keys, aggregate.aggr_expr)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(grouped)))
}

fn arrival_order(time: Expr) -> Expr {
    let function = Arc::clone(&functions().scalar[ARRIVAL_ORDER]);
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![time]))
}

/// The time that is sorted by must be the row's time from then on: the column that holds it is put in
/// its place.
fn time_sorted(mut sort: Sort) -> Result<Transformed<LogicalPlan>> {
    let Some(first) = sort.expr.first_mut() else {
        return Ok(Transformed::no(LogicalPlan::Sort(sort)));
    };
    let Some([time, within]) = arguments(&first.expr, WITHIN) else {
        return Ok(Transformed::no(LogicalPlan::Sort(sort)));
    };
    let column = promoted(&sort.input, time).ok_or_else(|| {
        DataFusionError::Plan(format!(
            "ORDER BY … WITHIN sorts by the row's time: select {time} AS ROWTIME"
        ))
    })?;
    let function = Arc::new(ScalarUDF::from(Marker::new(WITHIN)));
    let args = vec![column, within.clone()];
    first.expr = Expr::ScalarFunction(ScalarFunction::new_udf(function, args));
    Ok(Transformed::yes(LogicalPlan::Sort(sort)))
}

/// The column of `input` that is `time` under the name of the row's time.
fn promoted(input: &LogicalPlan, time: &Expr) -> Option<Expr> {
    let is_rowtime = |name: &str| name == ROWTIME || name == HIDDEN_ROWTIME;
    let LogicalPlan::Projection(Projection { expr, schema, .. }) = input else { return None };
    let mut columns = expr.iter().zip(schema.columns());
    let found = columns.find(|(expr, column)| {
        let same = Expr::clone(expr).unalias() == *time
            || matches!(time, Expr::Column(time) if time == column);
        same && is_rowtime(&column.name) && matches!(expr, Expr::Alias(_))
    });
    found.map(|(_, column)| Expr::Column(column))
}

/// Returns its first argument, a time; its name says what it stands for.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    name: &'static str,
    signature: Signature,
}

impl Marker {
    fn new(name: &'static str) -> Self {
        Self { name, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first() {
            Some(time @ DataType::Timestamp(..)) if arg_types.len() == 2 => Ok(time.clone()),
            _ if self.name == STAGGER => plan_err!("a stagger window is over the rows of a stream"),
            _ => plan_err!("ORDER BY … WITHIN sorts by a TIMESTAMP"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let first = args.args.into_iter().next();
        first.ok_or_else(|| DataFusionError::Internal("a marker without argument".to_owned()))
    }
}

/// Whether a row counts still: in batch every row does.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Counts {
    signature: Signature,
}

impl Counts {
    fn new() -> Self {
        // Volatile, so that the optimizer leaves the condition where it is.
        let args = vec![TIMESTAMP_TYPE, DataType::Int64];
        Self { signature: Signature::exact(args, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Counts {
    fn name(&self) -> &'static str {
        COUNTS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }
}

/// The time of a row of an outer windowed join: the later of both sides' times, or the third argument
/// where one side is missing.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinedAt {
    signature: Signature,
}

impl JoinedAt {
    fn new() -> Self {
        let times = vec![TIMESTAMP_TYPE; 3];
        Self { signature: Signature::exact(times, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for JoinedAt {
    fn name(&self) -> &'static str {
        JOINED_AT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(TIMESTAMP_TYPE)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args.args.into_iter().map(|arg| arg.into_array(rows));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let [one, other, alone] = columns.as_slice() else {
            return Err(DataFusionError::Internal("a joined time has three arguments".to_owned()));
        };
        let (one, other) = (times(one), times(other));
        let each = one.iter().zip(other).zip(times(alone));
        let joined: TimestampMillisecondArray = each
            .map(|((one, other), alone)| one.zip(other).map(|(a, b)| a.max(b)).or(alone))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(joined)))
    }
}

fn times(column: &ArrayRef) -> &TimestampMillisecondArray {
    column.as_primitive::<TimestampMillisecondType>()
}

/// The end of a row's stagger window, in batch.
fn stagger_end() -> WindowUDF {
    let signature = Signature::any(2, Volatility::Immutable);
    over_partition(STAGGER_END, signature, stagger_ends, |_, _| Ok(TIMESTAMP_TYPE))
}

/// The ends of the stagger windows of the rows of one partition, in the order of time.
fn stagger_ends(_name: &str, values: &[ArrayRef], _rows: usize) -> Result<ArrayRef> {
    let [times, lengths] = values else {
        return Err(DataFusionError::Internal("a stagger window has two arguments".to_owned()));
    };
    let of_type =
        |length| DataFusionError::Plan(format!("{length} is no length of a stagger window"));
    let length = ScalarValue::try_from_array(lengths, 0)?;
    let length = length_ms(&length).ok_or_else(|| of_type(&length))?;
    let numbers = to_numbers(times).map_err(|e| DataFusionError::External(Box::new(e)))?;
    let mut open = i64::MIN;
    let end = |time: Option<i64>| {
        let time = time?;
        if time >= open {
            open = time.saturating_add(length);
        }
        Some(open)
    };
    let ends: Int64Array = numbers.as_primitive::<Int64Type>().iter().map(end).collect();
    Ok(arrow::compute::cast(&ends, &TIMESTAMP_TYPE)?)
}

/// A day-time interval longer than nothing, in milliseconds.
pub(super) fn length_ms(value: &ScalarValue) -> Option<i64> {
    super::translate::interval_ms(value).filter(|length| *length > 0)
}
