//! Joins: two streams, both kept, or as long as their times lie close together; or a stream and a table,
//! which is looked up.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::{Expr, Join, LogicalPlan};
use datafusion::physical_plan::joins::utils::JoinFilter;
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::hash_join::{HashJoinSpec, Side};
use millstream_engine::operators::interval_join::{IntervalJoinSpec, TimedSide};
use millstream_engine::operators::lookup_join::{LookupJoinSpec, LookupKind};

use super::columns::Columns;
use super::interval::{Interval, interval_of, same_time};
use super::rows_join::windows_of;
use super::temporal::as_of;
use super::{Translator, joined_time, physical};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

/// One side of a join: its node and which of the node's columns are the keys.
pub(super) struct Half {
    pub(super) node: NodeId,
    pub(super) keys: Vec<usize>,
    /// The columns the join passes on; the node may have more, for its keys.
    width: usize,
}

impl Translator<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<NodeId, SqlError> {
        let over_columns = joined_time::over_columns(join);
        if let Some(plan) = over_columns.map_err(|error| from_datafusion(&error))? {
            return self.plan(&plan);
        }
        if let Some((windows, join)) = windows_of(join) {
            return self.rows_join(&join, &windows);
        }
        let times = as_of(join);
        let join = times.as_ref().map_or(join, |(_, join)| join);
        let left = self.half(&join.left, join.on.iter().map(|(left, _)| left))?;
        let right = self.half(&join.right, join.on.iter().map(|(_, right)| right))?;
        if let Some((times, join)) = &times {
            return self.temporal_join(join, times, [&left, &right]);
        }
        let of_stream = match (self.is_table(left.node), self.is_table(right.node)) {
            (false, true) => Some(Side::Left),
            (true, false) => Some(Side::Right),
            _ => None,
        };
        let node = |side| if side == Side::Left { left.node } else { right.node };
        let kind = of_stream
            // What a stream took back would have to be looked up in the table as it was.
            .filter(|side| !self.dataflow.node(node(*side)).updating)
            .and_then(|side| lookup_kind(join, side));
        if let Some(kind) = kind {
            return self.lookup(join, left, right, kind);
        }
        let both = [left.node, right.node];
        let only_grow = both.iter().all(|id| !self.dataflow.node(*id).updating);
        let timed = both.map(|node| self.timed(node));
        match interval_of(join, [&timed[0], &timed[1]]).filter(|_| only_grow) {
            Some(interval) => self.interval_join(join, [&left, &right], interval),
            None => self.stream_join(join, left, right),
        }
    }

    /// Joins rows whose times lie close together, which need not be kept for ever.
    fn interval_join(
        &mut self,
        join: &Join,
        [left, right]: [&Half; 2],
        interval: Interval,
    ) -> Result<NodeId, SqlError> {
        let schema = Arc::new(join.schema.as_arrow().clone());
        let residual = join.filter.as_ref().map(|filter| residual(filter, join, false));
        let output = output_of(join, left, right);
        let side = |half: &Half, plan: &LogicalPlan, time: usize| TimedSide {
            schema: Arc::clone(&self.dataflow.node(half.node).schema),
            keys: half.keys.clone(),
            time,
            same_time: same_time(plan, time, &self.timed(half.node)),
        };
        let spec = IntervalJoinSpec {
            join_type: join.join_type,
            left: side(left, &join.left, interval.left),
            right: side(right, &join.right, interval.right),
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            residual: residual.transpose()?,
            lowest: interval.lowest,
            highest: interval.highest,
            few: self.few(join.join_type, left.node, right.node),
            output,
            schema: Arc::clone(&schema),
        };
        Ok(self.operator(schema, false, vec![left.node, right.node], spec))
    }

    /// The side that has one row for each window, unless both have: its rows are cheaper to copy than
    /// those of the other side are to move.
    fn few(&self, join_type: JoinType, left: NodeId, right: NodeId) -> Option<Side> {
        match (self.has_one_row_per_window(left), self.has_one_row_per_window(right)) {
            (true, false) => Some(Side::Left),
            (false, true) => Some(Side::Right),
            _ => None,
        }
        .filter(|_| join_type == JoinType::Inner)
    }

    /// One side, with its keys as columns: those it has not got come last.
    fn half<'e>(
        &mut self,
        plan: &LogicalPlan,
        keys: impl Iterator<Item = &'e Expr>,
    ) -> Result<Half, SqlError> {
        let input = self.plan(plan)?;
        let mut columns = Columns::all(plan.schema());
        let keys = keys.map(|key| columns.add(key)).collect();
        let width = plan.schema().fields().len();
        let node = if columns.is_input() {
            input
        } else {
            let schema = columns.schema()?;
            self.project(input, columns.physical()?, &schema)
        };
        Ok(Half { node, keys, width })
    }

    fn stream_join(&mut self, join: &Join, left: Half, right: Half) -> Result<NodeId, SqlError> {
        if join.null_aware && (join.filter.is_some() || left.keys.len() != 1) {
            return Err(SqlError::new("NOT IN with a further condition cannot run continuously")
                .with_hint("write NOT EXISTS (SELECT 1 FROM … WHERE …) instead"));
        }
        let updating = [left.node, right.node].iter().any(|id| self.dataflow.node(*id).updating);
        let schema = Arc::new(join.schema.as_arrow().clone());
        let residual = join.filter.as_ref().map(|filter| residual(filter, join, false));
        let output = output_of(join, &left, &right);
        let spec = HashJoinSpec {
            join_type: join.join_type,
            null_aware: join.null_aware,
            left_keys: left.keys,
            right_keys: right.keys,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            residual: residual.transpose()?,
            output,
            left_schema: Arc::clone(&self.dataflow.node(left.node).schema),
            right_schema: Arc::clone(&self.dataflow.node(right.node).schema),
            schema: Arc::clone(&schema),
            updating,
        };
        if let Some(node) = self.window_join(&spec, (left.node, right.node)) {
            return Ok(node);
        }
        let updating = spec.is_updating();
        Ok(self.operator(schema, updating, vec![left.node, right.node], spec))
    }

    /// Looks the rows of the stream up in the table, whichever side of the query each is.
    fn lookup(
        &mut self,
        join: &Join,
        left: Half,
        right: Half,
        kind: LookupKind,
    ) -> Result<NodeId, SqlError> {
        let swapped = self.is_table(left.node);
        let residual = join.filter.as_ref().map(|filter| residual(filter, join, swapped));
        let sides = if swapped { (Side::Right, Side::Left) } else { (Side::Left, Side::Right) };
        let from_left = (0..left.width).map(|column| (sides.0, column));
        let from_right = (0..right.width).map(|column| (sides.1, column));
        let pairs_come_out = matches!(kind, LookupKind::Inner | LookupKind::Left);
        let comes_out = |from: &(Side, usize)| pairs_come_out || from.0 == Side::Left;
        let output = from_left.chain(from_right).filter(comes_out).collect();
        let (stream, table) = if swapped { (right, left) } else { (left, right) };
        let schema = Arc::new(join.schema.as_arrow().clone());
        let updating = self.dataflow.node(stream.node).updating;
        let spec = LookupJoinSpec {
            kind,
            stream_keys: stream.keys,
            table_keys: table.keys,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            residual: residual.transpose()?,
            output,
            stream_schema: Arc::clone(&self.dataflow.node(stream.node).schema),
            table_schema: Arc::clone(&self.dataflow.node(table.node).schema),
            schema: Arc::clone(&schema),
        };
        Ok(self.operator(schema, updating, vec![stream.node, table.node], spec))
    }
}

/// Where the columns of a join come from.
pub(super) fn output_of(join: &Join, left: &Half, right: &Half) -> Vec<(Side, usize)> {
    let (from_left, from_right) = match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (left.width, 0),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (0, right.width),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            (left.width, right.width)
        }
    };
    let from_left = (0..from_left).map(|column| (Side::Left, column));
    let from_right = (0..from_right).map(|column| (Side::Right, column));
    from_left.chain(from_right).collect()
}

/// How the rows of a stream, which is that side of a join, are looked up in a table. `None` where rows
/// of the table come out by themselves: those come and go with the rows of the stream.
fn lookup_kind(join: &Join, stream: Side) -> Option<LookupKind> {
    if join.null_aware && (join.filter.is_some() || join.on.len() != 1) {
        return None;
    }
    match (join.join_type, stream) {
        (JoinType::Inner, _) => Some(LookupKind::Inner),
        (JoinType::Left, Side::Left) | (JoinType::Right, Side::Right) => Some(LookupKind::Left),
        (JoinType::LeftSemi, Side::Left) | (JoinType::RightSemi, Side::Right) => {
            Some(LookupKind::Semi)
        }
        (JoinType::LeftAnti, Side::Left) if join.null_aware => Some(LookupKind::NullAwareAnti),
        (JoinType::LeftAnti, Side::Left) | (JoinType::RightAnti, Side::Right) => {
            Some(LookupKind::Anti)
        }
        (JoinType::LeftMark, Side::Left) | (JoinType::RightMark, Side::Right) => {
            Some(LookupKind::Mark)
        }
        _ => None,
    }
}

/// The part of `ON` that is no equality, over the columns it reads of both sides; `swapped` says that
/// the operator's left input is the query's right one.
pub(super) fn residual(filter: &Expr, join: &Join, swapped: bool) -> Result<JoinFilter, SqlError> {
    let read = filter.column_refs();
    let of_side = |schema: &DFSchema| -> Vec<usize> {
        let mut columns: Vec<usize> =
            read.iter().filter_map(|column| schema.maybe_index_of_column(column)).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    };
    let (left, right) = (of_side(join.left.schema()), of_side(join.right.schema()));
    let fields = |schema: &DFSchema, columns: &[usize]| {
        let fields = columns.iter().map(|&column| {
            let (qualifier, field) = schema.qualified_field(column);
            (qualifier.cloned(), Arc::clone(field))
        });
        fields.collect::<Vec<_>>()
    };
    let mut all = fields(join.left.schema(), &left);
    all.extend(fields(join.right.schema(), &right));
    let arrow = Schema::new(all.iter().map(|(_, field)| Arc::clone(field)).collect::<Vec<_>>());
    let schema = DFSchema::new_with_metadata(all, std::collections::HashMap::new())
        .map_err(|error| from_datafusion(&error))?;
    let expression = physical(filter, &schema)?;
    let mut indices = JoinFilter::build_column_indices(left, right);
    if swapped {
        indices.iter_mut().for_each(|index| index.side = index.side.negate());
    }
    Ok(JoinFilter::new(expression, indices, Arc::new(arrow)))
}
