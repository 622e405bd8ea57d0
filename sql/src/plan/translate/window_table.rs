//! Windows that overlap, `HOP` and `CUMULATE`: as rows that come out once per window, and, below a
//! `GROUP BY` of the window, by panes.

mod lowered;

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Aggregate, Expr, Unnest};
use millstream_engine::dataflow::NodeId;
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::operators::hash_join::{HashJoinSpec, Side};
use millstream_engine::operators::pane_aggregate::PaneAggregateSpec;
use millstream_engine::operators::per_window::{Emission, PerWindowSpec};
use millstream_engine::operators::window_table::WindowTableSpec;

use self::lowered::{Lowered, Windowed};
use super::aggregate::{calls_over, replace};
use super::columns::{Columns, unqualified};
use super::{Translator, column, physical};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

/// The window in the expressions above a pane aggregate.
const WINDOW: &str = "window";

impl Translator<'_> {
    /// Rows in windows that overlap, once per window; none if other lists are unnested.
    pub(super) fn window_table(&mut self, unnest: &Unnest) -> Result<Option<NodeId>, SqlError> {
        let Some(windowed) = Windowed::of(unnest) else { return Ok(None) };
        let input = self.plan(&windowed.input)?;
        let node = self.dataflow.node(input);
        let updating = node.updating;
        let schema = Arc::new(unnest.schema.as_arrow().clone());
        let fields = node.schema.fields().iter().zip(schema.fields());
        let fields = fields.map(|(field, named)| field.as_ref().clone().with_name(named.name()));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let spec = WindowTableSpec {
            windows: windowed.windows,
            time: windowed.column,
            schema: Arc::clone(&schema),
        };
        Ok(Some(self.operator(schema, updating, vec![input], spec)))
    }

    /// A `GROUP BY` of a window that overlaps others, by panes; none if it is something else, or cannot
    /// be done so.
    pub(super) fn pane_aggregate(
        &mut self,
        aggregate: &Aggregate,
    ) -> Result<Option<NodeId>, SqlError> {
        let Some(lowered) = Lowered::of(&aggregate.input) else { return Ok(None) };
        let keys = lowered.all(&aggregate.group_expr)?;
        let calls = lowered.all(&aggregate.aggr_expr)?;
        let of_window = |key: &Expr| lowered.reads_window_alone(key);
        let free = |expr: &Expr| !lowered.reads_window(expr);
        let fits = keys.iter().all(|key| of_window(key) || free(key))
            && keys.iter().any(|key| lowered.tells_window(key))
            && calls.iter().chain(&lowered.filters).all(free)
            && !keys.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
        if !fits {
            return Ok(None);
        }
        let below = lowered.filtered().map_err(|error| from_datafusion(&error))?;
        let input = self.plan(&below)?;
        if self.dataflow.node(input).updating {
            return Ok(None);
        }
        let mut columns = Columns::over(below.schema());
        let time = columns.add(&lowered.time(below.schema()));
        let others: Vec<&Expr> = keys.iter().filter(|key| !of_window(key)).collect();
        let other_keys: Vec<usize> = others.iter().map(|key| columns.add(key)).collect();
        let calls: Vec<Expr> = calls.iter().map(|call| replace(call, &mut columns)).collect();
        let schema = columns.schema()?;
        let projected = self.project(input, columns.physical()?, &schema);
        if self.timed(projected).get(time).is_none() {
            return Ok(None);
        }
        let (aggregates, filters) = calls_over(&schema, &calls)?;
        let mut fields = vec![Field::new(WINDOW, TIMESTAMP_TYPE, true)];
        fields.extend(other_keys.iter().zip(&others).map(|(key, expr)| {
            schema.field(*key).clone().with_name(expr.schema_name().to_string()).with_nullable(true)
        }));
        let results = aggregate.schema.fields().iter().skip(aggregate.group_expr.len());
        fields.extend(results.map(|field| field.as_ref().clone()));
        let wide = Arc::new(Schema::new(fields));
        let spec = PaneAggregateSpec {
            windows: lowered.windowed.windows,
            time,
            keys: other_keys,
            aggregates,
            filters,
            input_schema: schema,
            schema: Arc::clone(&wide),
        };
        let node = self.operator(Arc::clone(&wide), false, vec![projected], spec);
        self.window_keys(node, aggregate, &keys, &lowered).map(Some)
    }

    /// The columns of `aggregate` from those of the pane aggregate `node`.
    fn window_keys(
        &mut self,
        node: NodeId,
        aggregate: &Aggregate,
        keys: &[Expr],
        lowered: &Lowered,
    ) -> Result<NodeId, SqlError> {
        let wide = Arc::clone(&self.dataflow.node(node).schema);
        // Other columns may have any names, the window's own stands alone.
        let window = Schema::new(vec![wide.field(0).clone()]);
        let logical = unqualified(&Arc::new(window))?;
        let mut other = 1..;
        let mut exprs = Vec::with_capacity(wide.fields().len());
        for key in keys {
            exprs.push(if lowered.reads_window_alone(key) {
                physical(&lowered.over(key, &Column::from_name(WINDOW))?, &logical)?
            } else {
                column(&wide, other.next().unwrap_or_default())
            });
        }
        let results = other.next().unwrap_or_default()..wide.fields().len();
        exprs.extend(results.map(|result| column(&wide, result)));
        let output = Arc::new(aggregate.schema.as_arrow().clone());
        Ok(self.project(node, exprs, &output))
    }

    /// A join by window, if among its keys are times that keep watermarks on both sides.
    pub(super) fn window_join(
        &mut self,
        spec: &HashJoinSpec,
        (left, right): (NodeId, NodeId),
    ) -> Option<NodeId> {
        if spec.updating || spec.null_aware {
            return None;
        }
        let (of_left, of_right) = (self.timed(left), self.timed(right));
        let timed = spec.left_keys.iter().copied().zip(spec.right_keys.iter().copied());
        let timed = timed.filter(|(l, r)| of_left.get(*l).is_some() && of_right.get(*r).is_some());
        let (left_times, right_times): (Vec<usize>, Vec<usize>) = timed.unzip();
        if left_times.is_empty() {
            return None;
        }
        let mut times_out = Vec::new();
        for (number, (l, r)) in left_times.iter().zip(&right_times).enumerate() {
            let (same_left, same_right) = (self.same_as(left, *l), self.same_as(right, *r));
            let holds = |(side, column): &(Side, usize)| match side {
                Side::Left => same_left.contains(column),
                Side::Right => same_right.contains(column),
            };
            let columns = spec.output.iter().enumerate().filter(|(_, from)| holds(from));
            times_out.extend(columns.map(|(column, _)| (column, number)));
        }
        let emission = if spec.is_updating() { Emission::AtClose } else { Emission::AsItComes };
        let schema = Arc::clone(&spec.schema);
        let spec = PerWindowSpec {
            inner: Arc::new(spec.clone()),
            times: vec![left_times, right_times],
            times_out,
            emission,
            input_schemas: vec![Arc::clone(&spec.left_schema), Arc::clone(&spec.right_schema)],
            schema: Arc::clone(&schema),
        };
        Some(self.operator(schema, false, vec![left, right], spec))
    }
}

/// `expr` with its columns replaced by what `by` gives for each.
fn with_columns(expr: &Expr, by: &dyn Fn(&Column) -> Option<Expr>) -> Result<Expr, SqlError> {
    let replaced = expr.clone().transform(|expr| {
        Ok(match &expr {
            Expr::Column(column) => match by(column) {
                Some(given) => Transformed::yes(given),
                None => Transformed::no(expr),
            },
            _ => Transformed::no(expr),
        })
    });
    Ok(replaced.map_err(|error| from_datafusion(&error))?.data)
}
