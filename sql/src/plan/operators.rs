//! Operators that mean something else in the dialect than in DataFusion, chosen by the types of their
//! operands; and the types that DataFusion would make of the type names that are left to it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, NullTreatment, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawWindowExpr, TypePlanner,
};
use datafusion::logical_expr::{Expr, ExprSchemable, WindowFunctionDefinition, cast};
use datafusion::sql::sqlparser::ast;
use millstream_engine::definition::TIMESTAMP_TYPE;

use super::errors::to_datafusion;
use super::functions::{call, functions};
use super::shift::ignoring_nulls;
use super::typing;
use crate::functions::{
    ADD, AVERAGE, CONCAT, DIVIDE, DURATION, DURATION_TYPE, JSON_GET, JSON_GET_TEXT, MULTIPLY, PART,
    REMAINDER, SCALE, SHIFT, SUBTRACT,
};

/// Plans the operators of the dialect.
#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema))
        else {
            return Ok(PlannerResult::Original(expr));
        };
        if let Some(error) = typing::operator_refused(&expr, schema) {
            return Err(to_datafusion(&error));
        }
        let json = match expr.op {
            ast::BinaryOperator::Arrow => Some(JSON_GET),
            ast::BinaryOperator::LongArrow => Some(JSON_GET_TEXT),
            _ => None,
        };
        if let Some(name) = json {
            return Ok(PlannerResult::Planned(call(name, vec![expr.left, expr.right])));
        }
        if expr.op == ast::BinaryOperator::StringConcat && (is_bytes(&left) || is_bytes(&right)) {
            return Ok(PlannerResult::Planned(call(CONCAT, vec![expr.left, expr.right])));
        }
        if is_interval(&left) || is_interval(&right) {
            return on_intervals(expr, &left, &right);
        }
        if let Some(name) = arithmetic(&expr.op)
            && is_number(&left)
            && is_number(&right)
        {
            let RawBinaryExpr { left: a, right: b, .. } = expr;
            return Ok(PlannerResult::Planned(call(name, vec![literal(a), literal(b)])));
        }
        if expr.op == ast::BinaryOperator::Minus
            && matches!((&left, &right), (DataType::Date32, DataType::Date32))
        {
            return plan_err!(
                "the difference of two DATEs has no unit: write it behind, as in (a - b) DAY"
            );
        }
        Ok(PlannerResult::Original(expr))
    }

    /// `AVG` is a sum by a count, so that the mean of whole numbers is one; `NTH_VALUE` in an order is an
    /// element of what is collected in it, since DataFusion's own relies on rows that come in order.
    fn plan_aggregate(&self, expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if expr.func.name() == "nth_value" && !expr.order_by.is_empty() && expr.args.len() == 2 {
            return Ok(PlannerResult::Planned(element(expr)));
        }
        if expr.func.name() != "avg" || expr.args.len() != 1 {
            return Ok(PlannerResult::Original(expr));
        }
        let of = |name: &str| {
            Expr::AggregateFunction(AggregateFunction {
                func: Arc::clone(&functions().aggregate[name]),
                params: AggregateFunctionParams {
                    args: expr.args.clone(),
                    distinct: expr.distinct,
                    filter: expr.filter.clone(),
                    order_by: Vec::new(),
                    null_treatment: None,
                },
            })
        };
        Ok(PlannerResult::Planned(call(AVERAGE, vec![of("sum"), of("count")])))
    }

    fn plan_window(&self, mut expr: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        if expr.null_treatment == Some(NullTreatment::IgnoreNulls)
            && let Some(function) = ignoring_nulls(expr.func_def.name())
        {
            expr.func_def = WindowFunctionDefinition::WindowUDF(function);
            expr.null_treatment = None;
            return Ok(PlannerResult::Original(expr));
        }
        if expr.func_def.name() != "avg" || expr.args.len() != 1 {
            return Ok(PlannerResult::Original(expr));
        }
        let of = |name: &str| {
            let function = Arc::clone(&functions().aggregate[name]);
            Expr::from(WindowFunction {
                fun: WindowFunctionDefinition::AggregateUDF(function),
                params: WindowFunctionParams {
                    args: expr.args.clone(),
                    partition_by: expr.partition_by.clone(),
                    order_by: expr.order_by.clone(),
                    window_frame: expr.window_frame.clone(),
                    filter: expr.filter.clone(),
                    null_treatment: None,
                    distinct: expr.distinct,
                },
            })
        };
        Ok(PlannerResult::Planned(call(AVERAGE, vec![of("sum"), of("count")])))
    }
}

/// The element of a list that an `NTH_VALUE` in an order is.
fn element(expr: RawAggregateExpr) -> Expr {
    let mut args = expr.args;
    let place = args.split_off(1);
    let list = Expr::AggregateFunction(AggregateFunction {
        func: Arc::clone(&functions().aggregate["array_agg"]),
        params: AggregateFunctionParams {
            args,
            distinct: expr.distinct,
            filter: expr.filter,
            order_by: expr.order_by,
            null_treatment: expr.null_treatment,
        },
    });
    call("array_element", std::iter::once(list).chain(place).collect())
}

/// The function of ours that an operator on numbers is.
fn arithmetic(op: &ast::BinaryOperator) -> Option<&'static str> {
    Some(match op {
        ast::BinaryOperator::Plus => ADD,
        ast::BinaryOperator::Minus => SUBTRACT,
        ast::BinaryOperator::Multiply => MULTIPLY,
        ast::BinaryOperator::Divide => DIVIDE,
        ast::BinaryOperator::Modulo => REMAINDER,
        _ => return None,
    })
}

/// What the functions of arithmetic take; wider decimals are left to DataFusion.
fn is_number(data_type: &DataType) -> bool {
    data_type.is_null()
        || data_type.is_integer()
        || matches!(data_type, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..))
}

/// A whole number that fits is an `INTEGER`, as in the dialect.
fn literal(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(number)), metadata) => match i32::try_from(number) {
            Ok(number) => Expr::Literal(ScalarValue::Int32(Some(number)), metadata),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(number)), metadata),
        },
        other => other,
    }
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

/// Operators with an interval on one side. What DataFusion does as well is left to it.
fn on_intervals(
    expr: RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> Result<PlannerResult<RawBinaryExpr>> {
    use ast::BinaryOperator::{Divide, Minus, Multiply, Plus};
    let RawBinaryExpr { op, left: a, right: b } = expr;
    if is_interval(left) && is_interval(right) {
        let (left, right) = (counted(a, left), counted(b, right));
        return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
    }
    let planned = match (&op, is_interval(left), is_interval(right)) {
        (Multiply | Divide, true, false) if is_of_months(&a) => {
            let name = if op == Multiply { SCALE } else { PART };
            call(name, vec![counted(a, left), b])
        }
        (Multiply, false, true) if is_of_months(&b) => call(SCALE, vec![counted(b, right), a]),
        (Multiply, true, false) => call(SCALE, vec![a, b]),
        (Multiply, false, true) => call(SCALE, vec![b, a]),
        (Divide, true, false) => call(PART, vec![a, b]),
        (Plus, true, false) if shifts(right, left) => call(SHIFT, vec![b, a]),
        (Plus, false, true) if shifts(left, right) => call(SHIFT, vec![a, b]),
        (Minus, false, true) if shifts(left, right) => {
            let minus = call(SCALE, vec![b, Expr::Literal(ScalarValue::Int64(Some(-1)), None)]);
            call(SHIFT, vec![a, minus])
        }
        // A time before the interval is what DataFusion expects.
        (Plus, true, false) => {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left: b, right: a }));
        }
        _ => return Ok(PlannerResult::Original(RawBinaryExpr { op, left: a, right: b })),
    };
    Ok(PlannerResult::Planned(planned))
}

/// Whether DataFusion cannot add such an interval to it.
fn shifts(time: &DataType, interval: &DataType) -> bool {
    match time {
        DataType::Time32(_) | DataType::Time64(_) => true,
        DataType::Date32 => matches!(interval, DataType::Duration(_)),
        _ => false,
    }
}

/// Whether it is a literal of years and months alone.
fn is_of_months(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(of)), _)
        if of.months != 0 && of.days == 0 && of.nanoseconds == 0)
}

/// An interval as a number of one unit, which can be compared and added: months, or milliseconds. Of
/// days and hours side by side Arrow says that a day is no 24 hours.
fn counted(expr: Expr, data_type: &DataType) -> Expr {
    match (&expr, data_type) {
        (Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(of)), _), _)
            if is_of_months(&expr) =>
        {
            Expr::Literal(ScalarValue::IntervalYearMonth(Some(of.months)), None)
        }
        (_, DataType::Interval(IntervalUnit::YearMonth)) => expr,
        (_, data_type) if *data_type == DURATION_TYPE => expr,
        (_, DataType::Duration(_)) => cast(expr, DURATION_TYPE),
        _ => call(DURATION, vec![expr]),
    }
}

/// `TIMESTAMP` and `TIME` have milliseconds.
#[derive(Debug)]
pub(super) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            ast::DataType::Timestamp(_, zone) | ast::DataType::Time(_, zone)
                if !matches!(
                    zone,
                    ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone
                ) =>
            {
                return Ok(None);
            }
            ast::DataType::Timestamp(..) => TIMESTAMP_TYPE,
            ast::DataType::Time(..) => DataType::Time32(arrow::datatypes::TimeUnit::Millisecond),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}
