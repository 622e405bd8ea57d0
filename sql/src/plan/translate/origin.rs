//! Where a column comes from: columns that are the same expression of the same column of the same node
//! have the same values.

use std::any::Any;

use datafusion::physical_expr::expressions::Column;
use millstream_engine::dataflow::{NodeId, NodeKind};
use millstream_engine::operators::filter::FilterSpec;
use millstream_engine::operators::pane_aggregate::PaneAggregateSpec;
use millstream_engine::operators::project::ProjectSpec;
use millstream_engine::operators::window_aggregate::WindowAggregateSpec;

use super::Translator;

/// A column of a node, or an expression over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Column(NodeId, usize),
    Expression(NodeId, String),
}

impl Translator<'_> {
    /// Where `column` of `node` comes from.
    pub(super) fn origin(&self, node: NodeId, column: usize) -> Origin {
        let (mut node, mut column) = (node, column);
        while let NodeKind::Operator(spec) = &self.dataflow.node(node).kind {
            let spec: &dyn Any = spec.as_ref();
            let Some(&input) = self.dataflow.node(node).inputs.first() else { break };
            if let Some(project) = spec.downcast_ref::<ProjectSpec>() {
                let Some(expr) = project.exprs.get(column) else { break };
                let plain: &dyn Any = expr.as_ref();
                match plain.downcast_ref::<Column>() {
                    Some(plain) => column = plain.index(),
                    None => return Origin::Expression(input, expr.to_string()),
                }
            } else if !spec.is::<FilterSpec>() {
                break;
            }
            node = input;
        }
        Origin::Column(node, column)
    }

    /// Whether `node` has a row for each window at most: an aggregation by nothing else, and what passes its
    /// rows on.
    pub(super) fn has_one_row_per_window(&self, mut node: NodeId) -> bool {
        while let NodeKind::Operator(spec) = &self.dataflow.node(node).kind {
            let spec: &dyn Any = spec.as_ref();
            if let Some(aggregate) = spec.downcast_ref::<WindowAggregateSpec>() {
                return aggregate.keys.len() == aggregate.time_keys.len();
            }
            if let Some(aggregate) = spec.downcast_ref::<PaneAggregateSpec>() {
                return aggregate.keys.is_empty();
            }
            let passes_on = spec.is::<ProjectSpec>() || spec.is::<FilterSpec>();
            match self.dataflow.node(node).inputs.first() {
                Some(&input) if passes_on => node = input,
                _ => return false,
            }
        }
        false
    }

    /// The columns of `node` that have the same values as its column `column`, that one included.
    pub(super) fn same_as(&self, node: NodeId, column: usize) -> Vec<usize> {
        let origin = self.origin(node, column);
        let columns = 0..self.dataflow.node(node).schema.fields().len();
        columns.filter(|other| *other == column || self.origin(node, *other) == origin).collect()
    }
}
