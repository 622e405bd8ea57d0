//! Models over the rows of a query as window functions: [`crate::rewrite::model`] writes the calls with
//! their settings; here the columns with numbers join them. Batch queries run them on all rows;
//! continuous ones know them by name.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    Expr, LogicalPlan, Signature, Volatility, Window, WindowFunctionDefinition, WindowUDF, lit,
};
use millstream_engine::model::forest::ForestOptions;
use millstream_engine::model::hotspots::HotspotOptions;
use millstream_engine::model::{Model, ModelColumn, ModelKind};
use std::sync::Arc;

use super::over_partition::over_partition;
use crate::rewrite::model::{FOREST_EXPLANATION, FOREST_SCORE, HOTSPOTS, NUMBERS_MAX};

/// The window functions.
pub(super) fn window() -> impl Iterator<Item = WindowUDF> {
    [FOREST_SCORE, FOREST_EXPLANATION, HOTSPOTS].into_iter().map(|name| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        let type_of = |name: &str, _: Option<&DataType>| {
            Ok(if name == FOREST_SCORE { DataType::Float64 } else { DataType::Utf8 })
        };
        over_partition(name, signature, of_model, type_of)
    })
}

/// The model that a call is of, and the column it is.
pub(super) fn model_of(name: &str, settings: &str) -> Option<(ModelKind, ModelColumn)> {
    let settings: Vec<f64> = settings.split(' ').filter_map(|word| word.parse().ok()).collect();
    match (name, settings.as_slice()) {
        (HOTSPOTS, &[window, radius, points]) => {
            let options = HotspotOptions { window: count(window), radius, points: count(points) };
            Some((ModelKind::Hotspots(options), ModelColumn::Hotspots))
        }
        (FOREST_SCORE | FOREST_EXPLANATION, &[trees, sample, decay, shingle, directions]) => {
            let options = ForestOptions {
                trees: count(trees),
                sample: count(sample),
                decay: count(decay) as u64,
                shingle: count(shingle),
            };
            let explained = ModelColumn::Explanation { directions: directions > 0.0 };
            let column = if name == FOREST_SCORE { ModelColumn::Score } else { explained };
            Some((ModelKind::Forest(options), column))
        }
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the settings were checked where they were written: small whole numbers"
)]
fn count(setting: f64) -> usize {
    setting as usize
}

/// A text that an argument is.
pub(super) fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// Puts the columns with numbers, and their names, into the calls that have only their settings.
pub(super) fn over_numbers(window: Window) -> Result<Transformed<LogicalPlan>> {
    let is_open = |expr: &Expr| call_of(expr).is_some_and(|call| call.params.args.len() == 1);
    if !window.window_expr.iter().any(is_open) {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let schema = window.input.schema();
    let is_number =
        |field: &Field| field.data_type().is_integer() || field.data_type().is_floating();
    let numbers: Vec<Column> = schema
        .iter()
        .filter(|(_, field)| is_number(field))
        .map(|(qualifier, field)| Column::new(qualifier.cloned(), field.name()))
        .collect();
    if numbers.is_empty() {
        return plan_err!(
            "there is no column of numbers here: TINYINT to BIGINT, REAL and DOUBLE are ones, DECIMAL is none"
        );
    }
    if numbers.len() > NUMBERS_MAX {
        return plan_err!("{} columns of numbers are more than {NUMBERS_MAX}", numbers.len());
    }
    let names: Vec<&str> = numbers.iter().map(|column| column.name.as_str()).collect();
    let names = names.join("\n");
    let exprs = window.window_expr.iter().map(|expr| {
        if !is_open(expr) {
            return expr.clone();
        }
        let name = expr.schema_name().to_string();
        let mut expr = expr.clone().unalias();
        if let Expr::WindowFunction(call) = &mut expr {
            call.params.args.push(lit(names.clone()));
            call.params.args.extend(numbers.iter().cloned().map(Expr::Column));
        }
        expr.alias(name)
    });
    let filled = Window::try_new(exprs.collect(), Arc::clone(&window.input))?;
    Ok(Transformed::yes(LogicalPlan::Window(filled)))
}

/// The call of a model that an expression is.
pub(super) fn call_of(expr: &Expr) -> Option<&datafusion::logical_expr::expr::WindowFunction> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::WindowUDF(function)
                if [FOREST_SCORE, FOREST_EXPLANATION, HOTSPOTS].contains(&function.name()) =>
            {
                Some(call)
            }
            _ => None,
        },
        _ => None,
    }
}

/// A model on all rows at once.
fn of_model(name: &str, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let [settings, names, numbers @ ..] = values else {
        return exec_err!("a model has settings and columns");
    };
    let text = |values: &ArrayRef| -> Option<String> {
        let values = values.as_string_opt::<i32>()?;
        (!values.is_empty()).then(|| values.value(0).to_owned())
    };
    let (Some(settings), Some(names)) = (text(settings), text(names)) else {
        return ScalarValue::Null.to_array_of_size(rows);
    };
    let Some((kind, column)) = model_of(name, &settings) else {
        return exec_err!("a model has other settings");
    };
    let names = names.split('\n').map(str::to_owned).collect();
    let mut model = Model::new(kind, names, vec![column]);
    let columns = model.run(numbers, rows).map_err(|e| DataFusionError::External(Box::new(e)))?;
    let first = columns.into_iter().next();
    first.ok_or_else(|| DataFusionError::Internal("a model gives a column".to_owned()))
}
