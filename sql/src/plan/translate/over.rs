//! `OVER` with standard SQL's meaning: any function, order and frame. In the order of time, with frames
//! that reach a bounded way, each row comes out once, and so it does where the partitions are of a time
//! that passes; else what came out is kept up to date.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, Window};
use datafusion::physical_plan::WindowExpr;
use datafusion::physical_planner::create_window_expr;
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::ordered_window::{OrderedFunction, OrderedWindowSpec, Reach};
use millstream_engine::operators::per_window::{Emission, PerWindowSpec};
use millstream_engine::operators::top_n::can_be_ordered;
use millstream_engine::operators::updating_window::UpdatingWindowSpec;

use super::columns::{Columns, unqualified};
use super::rank::Ordering;
use super::reach::{Reaching, reach};
use super::{Translator, column};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

/// Window functions of one partitioning and order.
struct Group {
    ordering: Ordering,
    /// Their numbers among those of the plan, and what they compute.
    calls: Vec<(usize, Expr)>,
}

impl Translator<'_> {
    /// The node of window functions.
    pub(super) fn over(&mut self, window: &Window) -> Result<NodeId, SqlError> {
        let input = self.plan(&window.input)?;
        let width = window.input.schema().fields().len();
        let mut columns = Columns::all(window.input.schema());
        let groups = groups(window, &mut columns)?;
        let mut node = self.projected(input, &columns)?;
        let named = columns.schema()?;
        let logical = unqualified(&named)?;
        let output = Arc::new(window.schema.as_arrow().clone());
        let mut passed: Vec<usize> = (0..width).collect();
        passed.resize(output.fields().len(), 0);
        for Group { ordering, calls } in groups {
            let below = Arc::clone(&self.dataflow.node(node).schema);
            if !can_be_ordered(&below) {
                return Err(SqlError::new("rows with a column of this type cannot be ordered")
                    .with_hint("leave MAP columns out of the rows below the window"));
            }
            let mut fields: Vec<_> = below.fields().iter().map(Arc::clone).collect();
            let mut windows: Vec<Arc<dyn WindowExpr>> = Vec::with_capacity(calls.len());
            for (number, call) in &calls {
                let expr = create_window_expr(call, &logical, &ExecutionProps::new());
                windows.push(expr.map_err(|error| from_datafusion(&error))?);
                passed[width + number] = fields.len();
                fields.push(Arc::clone(&output.fields()[width + number]));
            }
            let schema = Arc::new(Schema::new(fields));
            let once = self.reaches(node, &ordering, &calls);
            let Ordering { partition_by, order_by } = ordering;
            node = match once {
                Some(reaches) => {
                    let spec = OrderedWindowSpec {
                        partition_by,
                        order_by,
                        reach: reaches.iter().fold(Reach::default(), |all, r| all.max(r.reach())),
                        functions: functions(&reaches, windows),
                        input_schema: below,
                        schema: Arc::clone(&schema),
                    };
                    self.operator(schema, false, vec![node], spec)
                }
                None => {
                    let spec = UpdatingWindowSpec {
                        partition_by,
                        order_by,
                        windows,
                        input_schema: below,
                        schema: Arc::clone(&schema),
                    };
                    match self.at_close(node, &spec) {
                        Some(closing) => self.operator(schema, false, vec![node], closing),
                        None => self.operator(schema, true, vec![node], spec),
                    }
                }
            };
        }
        let wide = Arc::clone(&self.dataflow.node(node).schema);
        if wide == output && passed.is_sorted() {
            return Ok(node);
        }
        let exprs = passed.into_iter().map(|index| column(&wide, index)).collect();
        Ok(self.project(node, exprs, &output))
    }
}

impl Translator<'_> {
    /// The windows once each, when the watermark has passed them: where rows are only added, and
    /// partitioned by a time with a watermark.
    fn at_close(&self, node: NodeId, spec: &UpdatingWindowSpec) -> Option<PerWindowSpec> {
        if self.dataflow.node(node).updating {
            return None;
        }
        let known = self.timed(node);
        let keys = spec.partition_by.iter().copied();
        let mut times: Vec<usize> = keys.filter(|key| known.get(*key).is_some()).collect();
        times.dedup();
        let times_out = times.iter().enumerate().map(|(at, column)| (*column, at)).collect();
        (!times.is_empty()).then(|| PerWindowSpec {
            inner: Arc::new(spec.clone()),
            times: vec![times],
            times_out,
            emission: Emission::AtClose,
            input_schemas: vec![Arc::clone(&spec.input_schema)],
            schema: Arc::clone(&spec.schema),
        })
    }

    /// How far these functions reach, if each row can come out once: over rows that are only added, in
    /// the order of a time with a watermark.
    fn reaches(
        &self,
        node: NodeId,
        ordering: &Ordering,
        calls: &[(usize, Expr)],
    ) -> Option<Vec<Reaching>> {
        let below = self.dataflow.node(node);
        let (time, options) = ordering.order_by.first()?;
        let is_plain = !options.descending && !options.nulls_first;
        if below.updating || !is_plain || self.timed(node).get(*time).is_none() {
            return None;
        }
        let data_type = below.schema.field(*time).data_type();
        calls.iter().map(|(_, call)| reach(call, data_type)).collect()
    }
}

fn functions(reaches: &[Reaching], windows: Vec<Arc<dyn WindowExpr>>) -> Vec<OrderedFunction> {
    let each = reaches.iter().zip(windows);
    each.map(|(reaching, window)| match reaching {
        Reaching::Counted(rank) => OrderedFunction::Counted(*rank),
        Reaching::Framed(_) => OrderedFunction::Framed(window),
    })
    .collect()
}

/// The functions of a window node, over plain columns, by what they have in common.
fn groups(window: &Window, columns: &mut Columns<'_>) -> Result<Vec<Group>, SqlError> {
    let mut groups: Vec<Group> = Vec::new();
    for (number, expr) in window.window_expr.iter().enumerate() {
        let Expr::WindowFunction(call) = expr.clone().unalias() else {
            return Err(SqlError::new(format!("{expr} is no window function")));
        };
        let WindowFunction { fun, mut params } = *call;
        let ordering = Ordering::new(columns, &params.partition_by, &params.order_by);
        params.args = params.args.iter().map(|arg| columns.replace(arg)).collect();
        params.filter = params.filter.map(|filter| Box::new(columns.replace(&filter)));
        for key in &mut params.partition_by {
            *key = columns.replace(key);
        }
        for sort in &mut params.order_by {
            sort.expr = columns.replace(&sort.expr);
        }
        let call = (number, Expr::WindowFunction(Box::new(WindowFunction { fun, params })));
        match groups.iter_mut().find(|group| group.ordering == ordering) {
            Some(group) => group.calls.push(call),
            None => groups.push(Group { ordering, calls: vec![call] }),
        }
    }
    Ok(groups)
}
