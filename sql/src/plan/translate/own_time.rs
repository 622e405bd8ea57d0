//! Pumps that give their rows a time of their own (`t AS ROWTIME`): a row earlier than the one before it is
//! late.
//!
//! Which row is before another must not depend on how much of either pump an epoch took: the rows of a
//! stream that several pumps feed are put in the order of their `ROWTIME` first, where the faster pump
//! waits for the slower.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::LogicalPlan;
use millstream_engine::dataflow::{NodeId, NodeKind, SortKey};
use millstream_engine::definition::ROWTIME;
use millstream_engine::operators::sorted_stream::SortedStreamSpec;
use millstream_engine::operators::time_sort::TimeSortSpec;
use millstream_engine::operators::union::UnionSpec;

use super::Translator;
use crate::error::SqlError;
use crate::plan::application::scanned;

impl Translator<'_> {
    /// The rows of a pump, which `node` gives and nodes from `before` on make of `plan`, without those that
    /// are late. What groups or joins make of times is in the order of its windows.
    pub(super) fn in_order(
        &mut self,
        node: NodeId,
        plan: &LogicalPlan,
        before: usize,
    ) -> Result<NodeId, SqlError> {
        let schema = Arc::clone(&self.dataflow.node(node).schema);
        let Some(time) = schema.fields().len().checked_sub(1) else { return Ok(node) };
        let computes = |plan: &LogicalPlan| {
            Ok(matches!(
                plan,
                LogicalPlan::Aggregate(_) | LogicalPlan::Join(_) | LogicalPlan::Union(_)
            ))
        };
        let is_plain = matches!(plan.exists(computes), Ok(false));
        if !is_plain || self.dataflow.node(node).updating || self.timed(node).get(time).is_some() {
            return Ok(node);
        }
        let node = self.over_merged(node, plan, before)?;
        let spec =
            TimeSortSpec { keys: vec![ascending(time)], within: 0, schema: Arc::clone(&schema) };
        Ok(self.operator(schema, false, vec![node], spec))
    }

    /// The node of `plan` again, over streams of several pumps in the order of time.
    fn over_merged(
        &mut self,
        node: NodeId,
        plan: &LogicalPlan,
        before: usize,
    ) -> Result<NodeId, SqlError> {
        let names: Vec<String> = scanned(plan)?.into_keys().collect();
        let merged = |name: &String| {
            let (id, _) = self.relations.get(name)?;
            self.is_of_several(*id).then(|| (name.clone(), *id))
        };
        let merged: Vec<(String, NodeId)> = names.iter().filter_map(merged).collect();
        if merged.is_empty() {
            return Ok(node);
        }
        self.dataflow.nodes.truncate(before);
        self.shared.retain(|_, node| node.0 < before);
        let relations = self.relations.clone();
        for (name, id) in merged {
            let schema = Arc::clone(&self.dataflow.node(id).schema);
            let Ok(time) = schema.index_of(ROWTIME) else { continue };
            let spec =
                SortedStreamSpec { keys: vec![ascending(time)], schema: Arc::clone(&schema) };
            let sorted = self.operator(schema, false, vec![id], spec);
            if let Some((known, _)) = self.relations.get_mut(&name) {
                *known = sorted;
            }
        }
        // What was planned over them as they come is something else.
        let shared = std::mem::take(&mut self.shared);
        let node = self.plan(plan);
        self.shared = shared;
        self.relations = relations;
        node
    }

    /// Whether a node puts the rows of several pumps together, for good and with a time.
    fn is_of_several(&self, id: NodeId) -> bool {
        let node = self.dataflow.node(id);
        let NodeKind::Operator(spec) = &node.kind else { return false };
        let spec: &dyn Any = spec.as_ref();
        let time = node.schema.index_of(ROWTIME).ok();
        spec.is::<UnionSpec>()
            && node.inputs.len() > 1
            && !node.updating
            && time.is_some_and(|time| self.timed(id).get(time).is_some())
    }
}

fn ascending(column: usize) -> SortKey {
    SortKey { column, descending: false, nulls_first: false }
}
