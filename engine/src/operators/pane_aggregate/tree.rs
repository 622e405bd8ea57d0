//! What neighbouring panes are together: a node of level n is 2ⁿ panes, made when a window first needs
//! it and kept until one of its panes goes.
//!
//! Where panes share few groups, a node is hardly smaller than its halves and saves nothing; it is
//! then left apart, and windows go on to the halves.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::operators::window_aggregate::groups::{GroupLayout, Groups};
use crate::operators::window_aggregate::partials::Partials;

/// A node is worth keeping when it has at most this share of its halves' groups, in percent.
const WORTH_PERCENT: usize = 75;

/// Some panes together.
#[derive(Debug, Clone)]
enum Node {
    /// None of them has rows.
    Empty,
    /// Their groups.
    Merged(RecordBatch),
    /// They share too little to be merged.
    Apart,
}

/// The nodes above the panes.
#[derive(Debug)]
pub(super) struct Tree {
    layout: Arc<GroupLayout>,
    /// By level, beginning with 1, and number.
    levels: Vec<BTreeMap<i64, Node>>,
    /// Groups merged so far, those of windows included: the test that it stays in proportion reads it.
    pub(super) groups_merged: u64,
}

impl Tree {
    pub(super) fn new(layout: &Arc<GroupLayout>) -> Self {
        Self { layout: Arc::clone(layout), levels: Vec::new(), groups_merged: 0 }
    }

    /// The partial states that make up the panes of `range`; nothing is added to those any more.
    pub(super) fn cover(
        &mut self,
        panes: &mut BTreeMap<i64, Partials>,
        range: Range<i64>,
    ) -> Result<Vec<RecordBatch>> {
        let mut states = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let fits = range.end.abs_diff(at).max(1).ilog2();
            let level = at.trailing_zeros().min(fits).min(62);
            self.collect(panes, level, at >> level, &mut states)?;
            at += 1 << level;
        }
        self.groups_merged += states.iter().map(|state| state.num_rows() as u64).sum::<u64>();
        Ok(states)
    }

    fn collect(
        &mut self,
        panes: &mut BTreeMap<i64, Partials>,
        level: u32,
        number: i64,
        states: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        match self.node(panes, level, number)? {
            Node::Empty => {}
            Node::Merged(state) => states.push(state),
            Node::Apart => {
                self.collect(panes, level - 1, 2 * number, states)?;
                self.collect(panes, level - 1, 2 * number + 1, states)?;
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        panes: &mut BTreeMap<i64, Partials>,
        level: u32,
        number: i64,
    ) -> Result<Node> {
        if level == 0 {
            return Ok(match panes.get_mut(&number) {
                Some(pane) => Node::Merged(pane.state(&self.layout)?),
                None => Node::Empty,
            });
        }
        let at = level as usize - 1;
        if let Some(node) = self.levels.get(at).and_then(|nodes| nodes.get(&number)) {
            return Ok(node.clone());
        }
        // Where no rows are, nothing is looked at one by one.
        if panes.range(number << level..(number + 1) << level).next().is_none() {
            return Ok(Node::Empty);
        }
        let first = self.node(panes, level - 1, 2 * number)?;
        let second = self.node(panes, level - 1, 2 * number + 1)?;
        let node = match (first, second) {
            (Node::Empty, other) | (other, Node::Empty) if !matches!(other, Node::Apart) => other,
            (Node::Merged(first), Node::Merged(second)) => self.merged(&first, &second)?,
            _ => Node::Apart,
        };
        if self.levels.len() <= at {
            self.levels.resize_with(at + 1, BTreeMap::new);
        }
        self.levels[at].insert(number, node.clone());
        Ok(node)
    }

    fn merged(&mut self, first: &RecordBatch, second: &RecordBatch) -> Result<Node> {
        let mut groups = Groups::new(&self.layout)?;
        groups.merge(first)?;
        groups.merge(second)?;
        let merged = groups.into_state()?;
        let apart = first.num_rows() + second.num_rows();
        self.groups_merged += apart as u64;
        let is_worth = merged.num_rows() * 100 <= apart * WORTH_PERCENT;
        Ok(if is_worth { Node::Merged(merged) } else { Node::Apart })
    }

    /// Forgets the nodes that `pane` and earlier ones are part of.
    pub(super) fn free(&mut self, pane: i64) {
        for (level, nodes) in (1..).zip(&mut self.levels) {
            while let Some(node) = nodes.first_entry()
                && *node.key() <= pane >> level
            {
                node.remove();
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let bytes = |node: &Node| {
            let merged = match node {
                Node::Merged(state) => state.get_array_memory_size(),
                Node::Empty | Node::Apart => 0,
            };
            merged + size_of::<(i64, Node)>()
        };
        self.levels.iter().flat_map(BTreeMap::values).map(bytes).sum()
    }
}
