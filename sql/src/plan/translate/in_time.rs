//! The order in which a sink is given the rows of a stream: that of their `ROWTIME`, as far as an epoch
//! reaches.

use std::any::Any;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use millstream_engine::dataflow::{Distribution, NodeId, NodeKind};
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::operators::epoch_order::EpochOrderSpec;
use millstream_engine::operators::hash_join::HashJoinSpec;
use millstream_engine::operators::sorted_stream::SortedStreamSpec;
use millstream_engine::operators::time_sort::TimeSortSpec;

use super::{Translator, column, project};
use crate::error::SqlError;
use crate::plan::application::Timed;

impl Translator<'_> {
    /// The node that gives the rows of `plan`, which is that of `timed`, in the order of their time; `None`
    /// where they have no time for good, or come as they are read or in an order that was asked for.
    pub(super) fn in_time(
        &mut self,
        plan: &LogicalPlan,
        timed: &Timed,
    ) -> Result<Option<NodeId>, SqlError> {
        let before = self.dataflow.nodes.len();
        let node = match self.plan(plan) {
            Ok(node) if self.has_time(node, timed.time) && self.mixes(node) => node,
            // What is wrong is said of the plan without the time.
            Ok(_) | Err(_) => {
                self.dataflow.nodes.truncate(before);
                self.shared.retain(|_, node| node.0 < before);
                return Ok(None);
            }
        };
        let schema = Arc::clone(&self.dataflow.node(node).schema);
        let spec = EpochOrderSpec { time: timed.time, schema: Arc::clone(&schema) };
        let ordered = self.operator(Arc::clone(&schema), false, vec![node], spec);
        if schema.fields().len() == timed.width {
            return Ok(Some(ordered));
        }
        let shown: Vec<usize> = (0..timed.width).collect();
        let exprs = shown.iter().map(|at| column(&schema, *at)).collect();
        Ok(Some(self.project(ordered, exprs, &project(&schema, &shown)?)))
    }

    /// Whether `node` has its rows for good, and their time in column `time`.
    fn has_time(&self, node: NodeId, time: usize) -> bool {
        let node = self.dataflow.node(node);
        let time = node.schema.fields().get(time).map(|field| field.data_type());
        !node.updating && time == Some(&TIMESTAMP_TYPE)
    }

    /// Whether the rows of `node` come out of several inputs, or keys, in whatever order.
    fn mixes(&self, mut node: NodeId) -> bool {
        loop {
            let at = self.dataflow.node(node);
            let NodeKind::Operator(spec) = &at.kind else { return false };
            let plain: &dyn Any = spec.as_ref();
            if plain.is::<SortedStreamSpec>() || plain.is::<TimeSortSpec>() {
                return false;
            }
            // A join whose rows may meet at any time has no order to keep, and would keep every row's time.
            if plain.is::<HashJoinSpec>() {
                return false;
            }
            match at.inputs.as_slice() {
                [input] if spec.distribution(0) == Distribution::Any => node = *input,
                inputs => return !inputs.is_empty(),
            }
        }
    }
}
