//! Joins: two streams, both kept; or a stream and a table, which is looked up.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::{Expr, Join, LogicalPlan};
use datafusion::physical_plan::joins::utils::JoinFilter;
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::hash_join::{HashJoinSpec, Side};
use millstream_engine::operators::lookup_join::{LookupJoinSpec, LookupKind};

use super::columns::Columns;
use super::{Translator, physical};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

/// One side of a join: its node and which of the node's columns are the keys.
struct Half {
    node: NodeId,
    keys: Vec<usize>,
    /// The columns the join passes on; the node may have more, for its keys.
    width: usize,
}

impl Translator<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<NodeId, SqlError> {
        if join.on.is_empty() {
            return Err(SqlError::new("a join needs an equality between its sides")
                .with_hint("add ON a.key = b.key; further conditions may follow it with AND"));
        }
        let left = self.half(&join.left, join.on.iter().map(|(left, _)| left))?;
        let right = self.half(&join.right, join.on.iter().map(|(_, right)| right))?;
        match (self.is_table(left.node), self.is_table(right.node), join.join_type) {
            (false, false, _) => self.stream_join(join, left, right),
            (false, true, JoinType::Inner) => self.lookup(join, left, right, LookupKind::Inner),
            (false, true, JoinType::Left) => self.lookup(join, left, right, LookupKind::Left),
            (true, false, JoinType::Inner) => self.lookup(join, left, right, LookupKind::Inner),
            (true, false, JoinType::Right) => self.lookup(join, left, right, LookupKind::Left),
            (true, true, _) => Err(SqlError::new("the query joins tables alone")
                .with_hint("ask once instead: SELECT without STREAM")),
            (_, _, other) => {
                Err(SqlError::new(format!("{other} JOIN cannot run continuously here"))
                    .with_hint("a stream joins a table by JOIN or LEFT JOIN"))
            }
        }
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
        let (from_left, from_right) = match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (left.width, 0),
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (0, right.width),
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                (left.width, right.width)
            }
        };
        let from_left = (0..from_left).map(|column| (Side::Left, column));
        let from_right = (0..from_right).map(|column| (Side::Right, column));
        let spec = HashJoinSpec {
            join_type: join.join_type,
            null_aware: join.null_aware,
            left_keys: left.keys,
            right_keys: right.keys,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            residual: residual.transpose()?,
            output: from_left.chain(from_right).collect(),
            left_schema: Arc::clone(&self.dataflow.node(left.node).schema),
            right_schema: Arc::clone(&self.dataflow.node(right.node).schema),
            schema: Arc::clone(&schema),
            updating,
        };
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
        let output = from_left.chain(from_right).collect();
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

/// The part of `ON` that is no equality, over the columns it reads of both sides; `swapped` says that
/// the operator's left input is the query's right one.
fn residual(filter: &Expr, join: &Join, swapped: bool) -> Result<JoinFilter, SqlError> {
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
