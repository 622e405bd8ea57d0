//! Aggregation by windows that overlap, `GROUP BY` a window of `HOP` or `CUMULATE` and other keys:
//! by panes, the pieces that windows share.
//!
//! A row is accumulated once, in its pane, however many windows it is in. When the watermark passes a
//! window, the partial states of its panes are merged and come out; what neighbouring windows share is
//! merged once and kept, in a tree over the panes:
//!
//! ```text
//!   panes        0   1   2   3   4   5   6   7   8
//!   level 1      ╰─┬─╯   ╰─┬─╯   ╰─┬─╯   ╰─┬─╯
//!   level 2        ╰───┬───╯       ╰───┬───╯
//!   window [1, 7)    1  ╰2-3╯  ╰4-5╯  6              at most two nodes of a level
//! ```
//!
//! So a window costs the groups of a logarithmic number of nodes, and a row the same for 5 panes as
//! for 100. Nodes are made of panes and not saved.
//!
//! Invariant: a window comes out in the step in which the watermark passes its end, never before and
//! never twice; a pane is gone when the last window it is in has come out.

#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{SchemaRef, TimestampMillisecondType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use self::tree::Tree;
use super::consolidate::Joined;
use super::window_aggregate::groups::{GroupLayout, Groups, Rows};
use super::window_aggregate::partials::Partials;
use super::window_aggregate::split::{
    Split, WindowKey, WindowTime, restored_rows, saved_rows, split_by_time,
};
use super::window_table::{described, first_open};
use super::{EpochContext, Input, Operator, Output, StateBatch, conformed};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::event_window::Overlapping;
use crate::watermark::{Watermark, Watermarks};

const GROUPS: &str = "groups";
const FREED: &str = "freed";
const EMITTED: &str = "emitted";

/// An aggregation by windows that overlap, as planned. Its input is append-only, not expanded, and
/// keeps a watermark on its time.
#[derive(Debug, Clone)]
pub struct PaneAggregateSpec {
    /// The windows, in milliseconds.
    pub windows: Overlapping,
    /// The input column with the time, a TIMESTAMP in milliseconds.
    pub time: usize,
    /// The other keys: columns of the input.
    pub keys: Vec<usize>,
    /// What is computed per group.
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// The `FILTER (WHERE …)` of each aggregate.
    pub filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: the window, the other keys, the aggregates.
    pub schema: SchemaRef,
}

impl OperatorSpec for PaneAggregateSpec {
    fn name(&self) -> &'static str {
        "PaneAggregate"
    }

    fn explain(&self) -> Explanation {
        let keys = self.schema.fields().iter().skip(1).take(self.keys.len());
        let keys: Vec<_> = keys.map(|field| field.name().as_str()).collect();
        let aggregates: Vec<_> = self.aggregates.iter().map(|a| a.name()).collect();
        Explanation {
            detail: format!(
                "{} keys=[{}] aggregates=[{}]",
                described(self.windows),
                keys.join(", "),
                aggregates.join(", ")
            ),
            keeps: format!("one row per group of every pane of {} ms", self.windows.pane_width()),
            freed_by: "the watermark passing the last window of the pane".to_owned(),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::by_keys(&self.keys)
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        let time = inputs.first().and_then(|input| input.get(self.time));
        watermarks.0[0] = time.map(|time| first_open(self.windows, time));
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        match part {
            // What is over is over on every lane.
            FREED | EMITTED => Some(StateShare::Shared),
            GROUPS if self.keys.is_empty() => Some(StateShare::First),
            // The number of the pane comes first.
            GROUPS => Some(StateShare::Keys((1..=self.keys.len()).collect())),
            _ => None,
        }
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.running()?))
    }
}

impl PaneAggregateSpec {
    fn running(&self) -> Result<PaneAggregate> {
        if self.filters.len() != self.aggregates.len()
            || self.schema.fields().len() != 1 + self.keys.len() + self.aggregates.len()
        {
            return Err(Error::bug("the columns of a windowed aggregate do not match its schema"));
        }
        let named = self.keys.iter().zip(self.schema.fields().iter().skip(1));
        let keys = named.map(|(key, field)| {
            self.input_schema.field(*key).clone().with_name(field.name()).with_nullable(true)
        });
        let layout = Arc::new(GroupLayout::new(keys.collect(), self.aggregates.clone())?);
        Ok(PaneAggregate {
            spec: self.clone(),
            tree: Tree::new(&layout),
            layout,
            panes: BTreeMap::new(),
            freed: Vec::new(),
            emitted: None,
            emitted_saved: None,
            indices: Vec::new(),
        })
    }
}

#[derive(Debug)]
struct PaneAggregate {
    spec: PaneAggregateSpec,
    layout: Arc<GroupLayout>,
    /// By number: how many panes after the offset they begin.
    panes: BTreeMap<i64, Partials>,
    tree: Tree,
    /// Panes in earlier snapshots that are gone since.
    freed: Vec<i64>,
    /// The last window that has come out.
    emitted: Option<i64>,
    emitted_saved: Option<i64>,
    /// Reused between batches: the group of each row.
    indices: Vec<usize>,
}

impl PaneAggregate {
    fn pane_of(&self, time: i64) -> i64 {
        let windows = self.spec.windows;
        time.saturating_sub(windows.offset()).div_euclid(windows.pane_width())
    }

    /// When the pane begins.
    fn time_of(&self, pane: i64) -> i64 {
        let windows = self.spec.windows;
        pane.saturating_mul(windows.pane_width()).saturating_add(windows.offset())
    }

    /// The pane of each row. Neighbours mostly share one, so the division is rare.
    fn panes(&self, batch: &RecordBatch) -> Result<Int64Array> {
        let times = batch.column(self.spec.time).as_primitive_opt::<TimestampMillisecondType>();
        let times = times.ok_or_else(|| Error::bug("the time of a window is no TIMESTAMP"))?;
        let (mut pane, mut start, mut end) = (0, i64::MIN, i64::MIN);
        let of = times.values().iter().map(|&time| {
            if time < start || time >= end {
                pane = self.pane_of(time);
                start = self.time_of(pane);
                end = start.saturating_add(self.spec.windows.pane_width());
            }
            pane
        });
        Ok(Int64Array::new(of.collect(), times.nulls().cloned()))
    }

    fn accumulate(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let keys = self.spec.keys.iter().map(|key| Arc::clone(batch.column(*key))).collect();
        let rows = self.layout.rows(batch, keys, &self.spec.filters)?;
        match split_by_time(&[self.panes(batch)?]) {
            Split::One(pane) => self.add(&pane, &rows, batch.num_rows()),
            Split::Many { order, windows } => {
                let rows = rows.reordered(&order)?;
                windows.into_iter().try_for_each(|(pane, range)| {
                    self.add(&pane, &rows.slice(range.start, range.len()), range.len())
                })
            }
        }
    }

    fn add(&mut self, pane: &WindowKey, rows: &Rows, count: usize) -> Result<()> {
        // A row without a time is in no window.
        let Some(number) = pane.0.first().and_then(|pane| pane.number()) else { return Ok(()) };
        let pane = self.panes.entry(number).or_default();
        pane.live(&self.layout)?.update(rows, count, &mut self.indices)
    }

    /// Brings out the windows that the watermark has passed, in the order of their ends, and frees the
    /// panes that are in no other.
    fn close(&mut self, watermark: Watermark) -> Result<Vec<Delta>> {
        let windows = self.spec.windows;
        let mut output = Joined::new(&self.spec.schema);
        while let Some((&first, _)) = self.panes.first_key_value() {
            let begins = self.time_of(first);
            let after = self.emitted.and_then(|emitted| windows.next(emitted));
            let window = windows.first_open(begins).max(after.unwrap_or(i64::MIN));
            if windows.start(window) > begins {
                self.free(first);
                continue;
            }
            if windows.end(window) > watermark.bound() {
                break;
            }
            output.push(self.window(window)?)?;
            self.emitted = Some(window);
        }
        output.finish()
    }

    fn free(&mut self, pane: i64) {
        if self.panes.remove(&pane).is_some_and(|pane| pane.is_saved()) {
            self.freed.push(pane);
        }
        self.tree.free(pane);
    }

    /// The groups of a window.
    fn window(&mut self, window: i64) -> Result<RecordBatch> {
        let windows = self.spec.windows;
        let from = self.pane_of(windows.start(window));
        let to = self.pane_of(windows.end(window));
        let mut groups = Groups::new(&self.layout)?;
        for state in self.tree.cover(&mut self.panes, from..to)? {
            groups.merge(&state)?;
        }
        let (count, computed) = groups.into_results()?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(1 + computed.len());
        columns.push(Arc::new(TimestampMillisecondArray::from(vec![window; count])));
        columns.extend(computed);
        conformed(columns, &self.spec.schema)
    }
}

impl Operator for PaneAggregate {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        for delta in input.deltas {
            self.accumulate(&delta.appended()?)?;
        }
        let watermark = input.watermarks.get(self.spec.time).unwrap_or(Watermark::Unknown);
        Ok(self.close(watermark)?.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = Vec::new();
        let numbers = |part: &'static str, name: &str, numbers: Vec<i64>| -> Result<StateBatch> {
            let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
            Ok(StateBatch { part, rows: RecordBatch::try_from_iter([(name, numbers)])? })
        };
        if !self.freed.is_empty() {
            state.push(numbers(FREED, "pane", std::mem::take(&mut self.freed))?);
        }
        if self.emitted != self.emitted_saved {
            state.push(numbers(EMITTED, "window", self.emitted.into_iter().collect())?);
            self.emitted_saved = self.emitted;
        }
        for (number, pane) in &mut self.panes {
            for part in pane.unsaved(&self.layout)? {
                let pane = WindowKey(vec![WindowTime::At(*number)]);
                state.push(StateBatch { part: GROUPS, rows: saved_rows(&pane, &part)? });
            }
        }
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.freed.clear();
        self.emitted_saved = None;
        self.panes.values_mut().for_each(Partials::forget_snapshots);
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for StateBatch { part, rows } in state {
            for (key, rows) in restored_rows(1, &rows)? {
                let Some(number) = key.0.first().and_then(|time| time.number()) else { continue };
                match part {
                    FREED => drop(self.panes.remove(&number)),
                    EMITTED => self.emitted = self.emitted.max(Some(number)),
                    GROUPS => self.panes.entry(number).or_default().restore(&self.layout, rows)?,
                    _ => return Err(Error::bug("not the state of an aggregate by panes")),
                }
            }
        }
        self.emitted_saved = self.emitted;
        Ok(())
    }

    fn state_rows(&self) -> usize {
        self.panes.values().map(Partials::num_rows).sum()
    }

    fn memory_bytes(&self) -> usize {
        let panes: usize = self.panes.values().map(Partials::memory_bytes).sum();
        panes
            + self.tree.memory_bytes()
            + self.indices.capacity() * size_of::<usize>()
            + self.freed.capacity() * size_of::<i64>()
    }
}
