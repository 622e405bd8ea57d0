//! Rows of one `ROWTIME` in the order in which they arrived, for those who count in it: windows by row,
//! and `FIRST_VALUE` and `LAST_VALUE` of a group.
//!
//! An operator that spreads rows over lanes by a key gives those of different keys in no order of theirs.
//! That is no loss to one whose own keys contain that key. Below any other, it stays on one lane.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::physical_expr::expressions::Column;
use millstream_engine::dataflow::{Distribution, NodeId, NodeKind, OperatorSpec};
use millstream_engine::operators::filter::FilterSpec;
use millstream_engine::operators::hash_join::Side;
use millstream_engine::operators::lookup_join::LookupJoinSpec;
use millstream_engine::operators::one_lane::OneLaneSpec;
use millstream_engine::operators::project::ProjectSpec;
use millstream_engine::operators::sliding_window::SlidingWindowSpec;
use millstream_engine::operators::union::UnionSpec;

use super::Translator;

/// What an operator does to the order of its rows.
enum Step {
    /// It keeps it; the keys known of its inputs.
    Keeps(Vec<usize>),
    /// It spreads its rows by a key that the operator above does not have.
    Spreads,
    /// Its rows have an order of their own.
    Ends,
}

impl Translator<'_> {
    /// Makes `node` give the rows that are equal in `keys` in the order of their arrival.
    pub(super) fn in_arrival_order(&mut self, node: NodeId, keys: &[usize]) {
        let mut open = vec![(node, keys.to_vec())];
        let mut seen = BTreeSet::new();
        while let Some((id, keys)) = open.pop() {
            let NodeKind::Operator(spec) = &self.dataflow.node(id).kind else { continue };
            if !seen.insert(id) {
                continue;
            }
            let spec = Arc::clone(spec);
            let keys = match step(spec.as_ref(), &keys) {
                Step::Keeps(keys) => keys,
                Step::Spreads => {
                    let alone = NodeKind::Operator(Arc::new(OneLaneSpec { operator: spec }));
                    self.dataflow.nodes[id.0].kind = alone;
                    Vec::new()
                }
                Step::Ends => continue,
            };
            let inputs = self.dataflow.node(id).inputs.iter();
            open.extend(inputs.map(|input| (*input, keys.clone())));
        }
    }
}

fn step(spec: &dyn OperatorSpec, keys: &[usize]) -> Step {
    let plain: &dyn Any = spec;
    if let Some(project) = plain.downcast_ref::<ProjectSpec>() {
        let below = keys.iter().filter_map(|key| {
            let expr: &dyn Any = project.exprs.get(*key)?.as_ref();
            expr.downcast_ref::<Column>().map(Column::index)
        });
        return Step::Keeps(below.collect());
    }
    if plain.is::<FilterSpec>() || plain.is::<UnionSpec>() {
        return Step::Keeps(keys.to_vec());
    }
    if plain.is::<OneLaneSpec>() {
        return Step::Keeps(Vec::new());
    }
    let below: Vec<usize> = if let Some(window) = plain.downcast_ref::<SlidingWindowSpec>() {
        let passed_on = window.input_schema.fields().len();
        keys.iter().copied().filter(|key| *key < passed_on).collect()
    } else if let Some(join) = plain.downcast_ref::<LookupJoinSpec>() {
        let from_stream = |key: &usize| match join.output.get(*key) {
            Some((Side::Left, column)) => Some(*column),
            _ => None,
        };
        keys.iter().filter_map(from_stream).collect()
    } else {
        return Step::Ends;
    };
    match spec.distribution(0) {
        Distribution::Hash(spread) if spread.iter().any(|key| !below.contains(key)) => {
            Step::Spreads
        }
        _ => Step::Keeps(below),
    }
}
