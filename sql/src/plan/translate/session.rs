//! `SESSION`: rows with the session they are in.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::{Expr, Window, WindowFunctionDefinition, cast};
use millstream_engine::dataflow::NodeId;
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::operators::session_window::{SessionColumn, SessionWindowSpec};

use super::columns::Columns;
use super::{Translator, column};
use crate::error::SqlError;
use crate::rewrite::window_table::{SESSION_END, SESSION_START};

impl Translator<'_> {
    /// The node of a session's columns; none if the window is another one.
    pub(super) fn session(&mut self, window: &Window) -> Result<Option<NodeId>, SqlError> {
        let calls: Option<Vec<_>> = window.window_expr.iter().map(session_call).collect();
        let Some(calls) = calls else { return Ok(None) };
        let Some((_, params)) = calls.first() else { return Ok(None) };
        let (Some(time), Some(gap_ms)) = (params.args.first(), params.args.get(1).and_then(number))
        else {
            return Ok(None);
        };
        if calls.iter().any(|(_, other)| other != params) {
            return Err(SqlError::new("two SESSIONs over the same rows at once")
                .with_hint("compute them one after another, in nested SELECTs"));
        }
        let input = self.plan(&window.input)?;
        let mut columns = Columns::all(window.input.schema());
        let width = window.input.schema().fields().len();
        let time = columns.add(&cast_to_time(time, &columns)?);
        let keys = params.partition_by.iter().map(|key| columns.add(key)).collect();
        let below = columns.schema()?;
        let projected = if columns.is_input() {
            input
        } else {
            self.project(input, columns.physical()?, &below)
        };
        if self.dataflow.node(projected).updating {
            return Err(SqlError::new("a SESSION over rows that may be taken back cannot run")
                .with_hint("put SESSION below the aggregate or join that updates its rows"));
        }
        if self.timed(projected).get(time).is_none() {
            return Err(SqlError::new("the time of a SESSION needs a watermark").with_hint(
                "DESCRIPTOR(ROWTIME), or the column of WATERMARK FOR, of a stream or of a query \
                 that passes it on",
            ));
        }
        let output = Arc::new(window.schema.as_arrow().clone());
        let input_schema = Arc::clone(&self.dataflow.node(projected).schema);
        let shown = output.fields().iter().skip(width).map(Arc::clone);
        let fields = input_schema.fields().iter().map(Arc::clone).chain(shown);
        let wide = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let of_input = input_schema.fields().len();
        let spec = SessionWindowSpec {
            keys,
            time,
            gap_ms,
            columns: calls.iter().map(|(column, _)| *column).collect(),
            input_schema,
            schema: Arc::clone(&wide),
        };
        let node = self.operator(Arc::clone(&wide), false, vec![projected], spec);
        let passed = (0..width).chain(of_input..wide.fields().len());
        let exprs = passed.map(|index| column(&wide, index)).collect();
        Ok(Some(self.project(node, exprs, &output)))
    }
}

fn session_call(expr: &Expr) -> Option<(SessionColumn, &WindowFunctionParams)> {
    match expr {
        Expr::Alias(alias) => session_call(&alias.expr),
        Expr::WindowFunction(call) => {
            let WindowFunctionDefinition::WindowUDF(function) = &call.fun else { return None };
            let column = match function.name() {
                SESSION_START => SessionColumn::Start,
                SESSION_END => SessionColumn::End,
                _ => return None,
            };
            Some((column, &call.params))
        }
        _ => None,
    }
}

fn number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(number), _) => *number,
        _ => None,
    }
}

/// The time in milliseconds.
fn cast_to_time(time: &Expr, columns: &Columns<'_>) -> Result<Expr, SqlError> {
    let is_ms = columns.type_of(time)? == TIMESTAMP_TYPE;
    Ok(if is_ms { time.clone() } else { cast(time.clone(), TIMESTAMP_TYPE) })
}
