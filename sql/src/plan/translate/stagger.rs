//! `WINDOWED BY STAGGER`: the window below the aggregate that [`crate::plan`] has made of it.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::logical_expr::{Expr, Window, WindowFunctionDefinition};
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::stagger_window::StaggerWindowSpec;

use super::columns::Columns;
use super::{Translator, column};
use crate::error::SqlError;
use crate::plan::markers::{STAGGER_END, length_ms};

/// The call of the stagger window that a window node is, if it is one.
fn call(window: &Window) -> Option<&datafusion::logical_expr::expr::WindowFunctionParams> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let mut expr = expr;
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    match expr {
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) if function.name() == STAGGER_END => {
                Some(&call.params)
            }
            _ => None,
        },
        _ => None,
    }
}

impl Translator<'_> {
    /// The node of a stagger window; none if the window is another.
    pub(super) fn stagger(&mut self, window: &Window) -> Result<Option<NodeId>, SqlError> {
        let Some(params) = call(window) else { return Ok(None) };
        let [time, Expr::Literal(length, _)] = params.args.as_slice() else {
            return Err(SqlError::new("the length of a stagger window is no constant")
                .with_hint("write RANGE INTERVAL '1' MINUTE"));
        };
        let length = length_ms(length).ok_or_else(|| {
            SqlError::new(format!("{length} is no length of a stagger window"))
                .with_hint("count it in days, hours, minutes or seconds, more than none")
        })?;
        let input = self.plan(&window.input)?;
        let mut columns = Columns::all(window.input.schema());
        let width = window.input.schema().fields().len();
        let time = columns.add(time);
        let partition_by = params.partition_by.iter().map(|key| columns.add(key)).collect();
        let below = columns.schema()?;
        let projected = if columns.is_input() {
            input
        } else {
            self.project(input, columns.physical()?, &below)
        };
        let node = self.dataflow.node(projected);
        if node.updating {
            return Err(SqlError::new(
                "a stagger window over rows that may be taken back cannot run",
            )
            .with_hint("put the window below the aggregate or join that updates its rows"));
        }
        let below = Arc::clone(&node.schema);
        if self.timed(projected).get(time).is_none() {
            return Err(SqlError::new(
                "the rows of a stagger window need a ROWTIME with a watermark",
            )
            .with_hint("read a stream, or SELECT a time AS ROWTIME below"));
        }
        let output = Arc::new(window.schema.as_arrow().clone());
        let end = output.field(width).clone();
        let fields = below.fields().iter().map(|field| field.as_ref().clone()).chain([end]);
        let wide = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let spec = StaggerWindowSpec {
            partition_by,
            time,
            length,
            input_schema: Arc::clone(&below),
            schema: Arc::clone(&wide),
        };
        let node = self.operator(Arc::clone(&wide), false, vec![projected], spec);
        // The columns that were only needed below go.
        let passed = (0..width).chain([wide.fields().len() - 1]);
        let exprs = passed.map(|index| column(&wide, index)).collect();
        Ok(Some(self.project(node, exprs, &output)))
    }
}
