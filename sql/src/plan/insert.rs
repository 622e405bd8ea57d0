//! Pumps: fitting a query's rows into a stream.
//!
//! Columns match by position, values are cast to the stream's types within KDA's type families, longer
//! texts are cut as KDA does, and `ROWTIME` comes along.
//!
//! Source: "INSERT" and "Data types" of the Kinesis Data Analytics SQL reference.

use arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, col, lit,
};
use millstream_engine::definition::{ColumnDef, ROWTIME, RelationDef, TIMESTAMP_TYPE};

use super::application::scanned;
use super::errors::from_datafusion;
use super::functions::{call, not_null};
use super::relations::{Planned, Scope};
use crate::catalog::Catalog;
use crate::error::{Span, SqlError};
use crate::functions::{CAST, FIT, Family, cast_target, written};
use crate::rowtime::HIDDEN_ROWTIME;
use crate::spelling::suggest;
use crate::statement::Pump;

/// The started pumps that feed `stream`.
pub(super) fn pumps_into<'c>(
    catalog: &'c Catalog,
    stream: &str,
) -> impl Iterator<Item = &'c Pump> + use<'c> {
    let stream = stream.to_owned();
    catalog.pumps.values().filter(move |pump| pump.started && pump.target.value == stream)
}

/// The plan of what `pump` inserts into `target`: the stream's columns and `ROWTIME`, not optimised.
pub(super) fn plan(
    scope: &Scope<'_>,
    pump: &Pump,
    target: &RelationDef,
) -> Result<LogicalPlan, SqlError> {
    let mut planned = scope.plan_pump(&pump.query, true)?;
    // A list of columns may name the row's time.
    let own_time = pump.columns.iter().position(|name| name.value == ROWTIME);
    if !planned.has_rowtime && own_time.is_none() && scanned(&planned.plan)?.is_empty() {
        // Rows that the pump spells out are there when it starts.
        planned = at_start(planned, scope.catalog.now_ms)?;
    }
    if !planned.has_rowtime && own_time.is_none() {
        let reason = planned.untimed.map(|reason| format!(": {reason}")).unwrap_or_default();
        let message = format!("the rows of this pump have no ROWTIME{reason}");
        return Err(SqlError::at(pump.query.span, message)
            .with_hint("select a time AS ROWTIME, or group by a window such as STEP(s.ROWTIME BY INTERVAL '1' MINUTE)"));
    }
    let mut values = unique_columns(&planned.plan);
    let passed_on = if planned.has_rowtime { values.pop() } else { None };
    let targets = targets(pump, target)?;
    if values.len() != targets.len() {
        return Err(SqlError::at(
            pump.query.span,
            format!(
                "the query has {} columns but {} takes {}",
                values.len(),
                target.name,
                targets.len()
            ),
        )
        .with_hint("the columns match by position; ROWTIME comes along by itself"));
    }
    let schema = planned.plan.schema();
    let mut exprs = Vec::with_capacity(target.columns.len() + 1);
    for column in &target.columns {
        let position = targets.iter().position(|name| *name == column.name);
        let value = match position {
            None if !column.nullable => {
                let message = format!("no value for {}, which is NOT NULL", column.name);
                return Err(SqlError::at(pump.target.span, message)
                    .with_hint("name it among the columns, or declare it without NOT NULL"));
            }
            None => lit(ScalarValue::try_from(&column.data_type).unwrap_or(ScalarValue::Null)),
            Some(position) => {
                let value = Expr::Column(values[position].clone());
                let from = value.get_type(schema.as_ref()).map_err(|e| from_datafusion(&e))?;
                fit(value, &from, column, pump.query.span)?
            }
        };
        exprs.push(value.alias(column.name.as_str()));
    }
    let rowtime = match (own_time.and_then(|at| values.get(at)), passed_on) {
        (Some(named), _) => {
            let value = Expr::Column(named.clone());
            let from = value.get_type(schema.as_ref()).map_err(|e| from_datafusion(&e))?;
            fit(value, &from, &ColumnDef::new(ROWTIME, TIMESTAMP_TYPE), pump.query.span)?
        }
        (None, Some(time)) => {
            let value = Expr::Column(time);
            let from = value.get_type(schema.as_ref()).map_err(|e| from_datafusion(&e))?;
            if !matches!(from, DataType::Timestamp(..)) {
                let message = format!("ROWTIME is a TIMESTAMP, not {}", written(&from));
                return Err(SqlError::at(pump.query.span, message)
                    .with_hint("make it one: TO_TIMESTAMP of milliseconds, CAST of a text"));
            }
            cast(value, TIMESTAMP_TYPE)
        }
        (None, None) => return Err(SqlError::at(pump.query.span, "nothing to insert")),
    };
    exprs.push(rowtime.alias(ROWTIME));
    LogicalPlanBuilder::from(planned.plan.clone())
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| from_datafusion(&error).or_at(pump.query.span))
}

/// The rows of a query that reads nothing, with the time of planning as their `ROWTIME`.
fn at_start(planned: Planned, now_ms: i64) -> Result<Planned, SqlError> {
    let now = lit(ScalarValue::TimestampMillisecond(Some(now_ms), None)).alias(HIDDEN_ROWTIME);
    let columns = planned.plan.schema().columns().into_iter().map(Expr::Column).chain([now]);
    let columns: Vec<Expr> = columns.collect();
    let plan = LogicalPlanBuilder::from(planned.plan)
        .project(columns)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| from_datafusion(&error))?;
    Ok(Planned { plan, has_rowtime: true, ..planned })
}

/// The columns of `plan` by name; where names repeat, DataFusion's qualified ones tell them apart.
fn unique_columns(plan: &LogicalPlan) -> Vec<Column> {
    plan.schema().columns()
}

/// The names of the columns the pump feeds.
fn targets<'a>(pump: &'a Pump, target: &'a RelationDef) -> Result<Vec<&'a str>, SqlError> {
    let declared = || target.columns.iter().map(|column| column.name.as_str());
    if pump.columns.is_empty() {
        return Ok(declared().collect());
    }
    for name in &pump.columns {
        if name.value != ROWTIME && !declared().any(|declared| declared == name.value) {
            let message = format!("{} has no column {}", target.name, name.value);
            let error = SqlError::at(name.span, message);
            return Err(match suggest(&name.value, declared()) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint(format!(
                    "its columns are {}",
                    declared().collect::<Vec<_>>().join(", ")
                )),
            });
        }
    }
    Ok(pump.columns.iter().map(|name| name.value.as_str()).collect())
}

/// `value` as a value of `column`.
fn fit(value: Expr, from: &DataType, column: &ColumnDef, span: Span) -> Result<Expr, SqlError> {
    let to = &column.data_type;
    if !assignable(from, to) {
        let (from, to) = (written(from), written(to));
        let message = format!("{from} cannot be inserted into {}, which is {to}", column.name);
        return Err(SqlError::at(span, message)
            .with_hint(format!("CAST the value to the type of {}", column.name)));
    }
    let mut value = if from == to {
        value
    } else if from.is_numeric() {
        // A number is rounded as CAST rounds it, and fails where it has no room.
        let (name, precision, scale) = cast_target(to);
        call(CAST, vec![value, lit(name), lit(precision), lit(scale), lit("")])
    } else {
        cast(value, to.clone())
    };
    if let Some(length) = column.length_max {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        value = call(FIT, vec![value, lit(length), lit(i64::from(column.padded))]);
    }
    Ok(if column.nullable { value } else { not_null(value, &column.name) })
}

/// Whether KDA converts by itself: within the families of numbers, of texts, of bytes, and each of the
/// date and time types to itself.
fn assignable(from: &DataType, to: &DataType) -> bool {
    let (a, b) = (Family::of(from), Family::of(to));
    let is_converted = a == b && !matches!(a, Family::Interval | Family::Other);
    from == to || from.is_null() || is_converted
}

/// The columns of `stream` without system columns, as a projection of a scan of it.
pub(super) fn declared_columns(
    plan: LogicalPlan,
    names: &[String],
) -> Result<LogicalPlan, SqlError> {
    LogicalPlanBuilder::from(plan)
        .project(names.iter().map(|name| col(Column::from_name(name))))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| from_datafusion(&error))
}
