//! Aggregation by windows: `GROUP BY` times that only grow, and other keys.
//!
//! Each distinct value of the time keys (mostly one, or the start and the end of the same window) is a
//! window of its own, with its own groups and accumulators. A row is accumulated as it comes and forgotten; when the watermark passes a window, its
//! groups come out, once, and the window is gone.
//!
//! ```text
//!   rows ──split by time──►  window 12:00  { live groups, partial states … }   closed: evaluate, drop
//!                            window 12:01  { live groups, partial states … }   open
//! ```
//!
//! A snapshot turns a window's *live* groups into one immutable batch of partial states, which is the
//! snapshot's delta and stays behind in the window to be merged when it closes. So a snapshot costs
//! what changed since the last one, although reading an accumulator's state empties it.
//!
//! Invariant: a group leaves in the step in which the watermark passes its window, never before and
//! never twice.

pub(super) mod groups;
pub(super) mod partials;
pub(super) mod split;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;

use self::groups::{GroupLayout, Rows};
use self::partials::Partials;
use self::split::{Split, WindowKey, restored_rows, saved_rows, saved_windows, split_by_time};
use super::consolidate::Joined;
use super::{EpochContext, Input, Operator, Output, StateBatch, conformed};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::{from_number, to_numbers};
use crate::watermark::{Watermark, Watermarks};

const GROUPS: &str = "groups";
const CLOSED: &str = "closed";

/// A windowed aggregation as planned. Its input is append-only.
#[derive(Debug, Clone)]
pub struct WindowAggregateSpec {
    /// The `GROUP BY` expressions with their output names. The planner makes them plain columns.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    /// Which of `keys` are times that only grow: their columns have watermarks. At least one.
    pub time_keys: Vec<usize>,
    /// What is computed per group.
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// The `FILTER (WHERE …)` of each aggregate.
    pub filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: the keys, then the aggregates.
    pub schema: SchemaRef,
}

impl WindowAggregateSpec {
    /// Windows of which a time is below its bound are complete: no row of that time will come.
    fn bounds(&self, watermarks: &Watermarks) -> Vec<Watermark> {
        let columns = self.key_columns().unwrap_or_default();
        let bound = |key: &usize| columns.get(*key).and_then(|column| watermarks.get(*column));
        self.time_keys.iter().map(|key| bound(key).unwrap_or(Watermark::Unknown)).collect()
    }

    fn is_time(&self, key: usize) -> bool {
        self.time_keys.contains(&key)
    }

    fn key_columns(&self) -> Option<Vec<usize>> {
        let column = |(key, _): &(Arc<dyn PhysicalExpr>, String)| {
            let key: &dyn std::any::Any = key.as_ref();
            key.downcast_ref::<Column>().map(Column::index)
        };
        self.keys.iter().map(column).collect()
    }
}

impl OperatorSpec for WindowAggregateSpec {
    fn name(&self) -> &'static str {
        "WindowAggregate"
    }

    fn explain(&self) -> Explanation {
        let keys: Vec<_> = self.keys.iter().map(|(_, name)| name.as_str()).collect();
        let aggregates: Vec<_> = self.aggregates.iter().map(|a| a.name()).collect();
        let times = self.time_keys.iter().filter_map(|key| keys.get(*key).copied());
        let time = times.collect::<Vec<_>>().join(", ");
        Explanation {
            detail: format!("keys=[{}] aggregates=[{}]", keys.join(", "), aggregates.join(", ")),
            keeps: format!("one row per group of every open {time}"),
            freed_by: format!("the watermark passing {time}"),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        // Keys that are no columns are refused by `build`.
        self.key_columns().map_or(Distribution::Single, Distribution::Hash)
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        // A window is open only while none of its times is passed, so what comes out later has all of
        // them at or above their bounds.
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        let columns = self.key_columns().unwrap_or_default();
        for key in &self.time_keys {
            let column = columns.get(*key);
            watermarks.0[*key] = column.and_then(|column| inputs.first()?.get(*column));
        }
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        match part {
            CLOSED => Some(StateShare::Shared),
            GROUPS => {
                // The times come first, then the other keys.
                let mut others = self.time_keys.len()..;
                let column = |key| {
                    let time = self.time_keys.iter().position(|time| *time == key);
                    time.or_else(|| others.next())
                };
                (0..self.keys.len()).map(column).collect::<Option<_>>().map(StateShare::Keys)
            }
            _ => None,
        }
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let out_of_range = self.time_keys.iter().any(|key| *key >= self.keys.len());
        if self.key_columns().is_none() || self.time_keys.is_empty() || out_of_range {
            return Err(Error::bug(
                "the keys of a windowed aggregate must be columns of its input",
            ));
        }
        if self.filters.len() != self.aggregates.len()
            || self.schema.fields().len() != self.keys.len() + self.aggregates.len()
        {
            return Err(Error::bug("the columns of a windowed aggregate do not match its schema"));
        }
        let keys = self.keys.iter().enumerate().filter(|(i, _)| !self.is_time(*i));
        let keys = keys
            .map(|(_, (key, name))| {
                Ok(key.return_field(&self.input_schema)?.as_ref().clone().with_name(name))
            })
            .collect::<Result<Vec<_>>>()?;
        let layout = Arc::new(GroupLayout::new(keys, self.aggregates.clone())?);
        Ok(Box::new(WindowAggregate {
            spec: self.clone(),
            layout,
            windows: BTreeMap::new(),
            closed: Vec::new(),
            indices: Vec::new(),
        }))
    }
}

#[derive(Debug)]
struct WindowAggregate {
    spec: WindowAggregateSpec,
    layout: Arc<GroupLayout>,
    windows: BTreeMap<WindowKey, Partials>,
    /// Windows in earlier snapshots that have closed since.
    closed: Vec<WindowKey>,
    /// Reused between batches: the group of each row.
    indices: Vec<usize>,
}

impl WindowAggregate {
    fn accumulate(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let evaluate = |expr: &Arc<dyn PhysicalExpr>| -> Result<ArrayRef> {
            Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?)
        };
        let mut keys = Vec::with_capacity(self.spec.keys.len());
        let mut times = vec![Int64Array::new_null(0); self.spec.time_keys.len()];
        for (number, (key, _)) in self.spec.keys.iter().enumerate() {
            let values = evaluate(key)?;
            match self.spec.time_keys.iter().position(|time| *time == number) {
                Some(at) => times[at] = to_numbers(&values)?.as_primitive::<Int64Type>().clone(),
                None => keys.push(values),
            }
        }
        let rows = self.layout.rows(batch, keys, &self.spec.filters)?;
        match split_by_time(&times) {
            Split::One(window) => self.add(window, &rows, batch.num_rows()),
            Split::Many { order, windows } => {
                let rows = rows.reordered(&order)?;
                windows.into_iter().try_for_each(|(window, range)| {
                    self.add(window, &rows.slice(range.start, range.len()), range.len())
                })
            }
        }
    }

    fn add(&mut self, window: WindowKey, rows: &Rows, count: usize) -> Result<()> {
        let window = self.windows.entry(window).or_default();
        window.live(&self.layout)?.update(rows, count, &mut self.indices)
    }

    /// Takes out the windows that the watermark has passed, in the order of time.
    fn passed(&mut self, bounds: &[Watermark]) -> Vec<(WindowKey, Partials)> {
        if bounds.len() > 1 {
            return self.windows.extract_if(.., |key, _| key.is_below(bounds)).collect();
        }
        let mut passed = Vec::new();
        while let Some(entry) = self.windows.first_entry()
            && entry.key().is_below(bounds)
        {
            passed.push(entry.remove_entry());
        }
        passed
    }

    /// Closes what the watermark has passed.
    fn close(&mut self, bounds: &[Watermark]) -> Result<Vec<Delta>> {
        let mut output = Joined::new(&self.spec.schema);
        for (key, window) in self.passed(bounds) {
            if window.is_saved() {
                self.closed.push(key.clone());
            }
            let (groups, columns) = window.close(&self.layout)?;
            output.push(self.output(&key, groups, columns)?)?;
        }
        output.finish()
    }

    /// The other keys and the results of a window as a batch of the output.
    fn output(
        &self,
        key: &WindowKey,
        groups: usize,
        computed: Vec<ArrayRef>,
    ) -> Result<RecordBatch> {
        let repeat = UInt32Array::from(vec![0; groups]);
        let mut computed = computed.into_iter();
        let mut columns = Vec::with_capacity(self.spec.schema.fields().len());
        for (at, field) in self.spec.schema.fields().iter().enumerate() {
            let time = self.spec.time_keys.iter().position(|time| *time == at);
            if let Some(time) = time.and_then(|time| key.0.get(time)) {
                let one = Int64Array::from(vec![time.number()]);
                columns.push(take(&from_number(&one, field.data_type())?, &repeat, None)?);
            } else {
                columns.extend(computed.next());
            }
        }
        conformed(columns, &self.spec.schema)
    }
}

impl Operator for WindowAggregate {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        for delta in input.deltas {
            self.accumulate(&delta.appended()?)?;
        }
        let bounds = self.spec.bounds(&input.watermarks);
        Ok(self.close(&bounds)?.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = Vec::new();
        if !self.closed.is_empty() {
            let closed = std::mem::take(&mut self.closed);
            let rows = saved_windows(self.spec.time_keys.len(), &closed)?;
            state.push(StateBatch { part: CLOSED, rows });
        }
        for (key, window) in &mut self.windows {
            for part in window.unsaved(&self.layout)? {
                state.push(StateBatch { part: GROUPS, rows: saved_rows(key, &part)? });
            }
        }
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.closed.clear();
        self.windows.values_mut().for_each(Partials::forget_snapshots);
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for StateBatch { part, rows } in state {
            for (key, rows) in restored_rows(self.spec.time_keys.len(), &rows)? {
                match part {
                    CLOSED => drop(self.windows.remove(&key)),
                    GROUPS => self.windows.entry(key).or_default().restore(&self.layout, rows)?,
                    _ => return Err(Error::bug("not the state of a windowed aggregate")),
                }
            }
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        self.windows.values().map(Partials::num_rows).sum()
    }

    fn memory_bytes(&self) -> usize {
        let windows: usize = self.windows.values().map(Partials::memory_bytes).sum();
        windows
            + self.indices.capacity() * size_of::<usize>()
            + self.closed.capacity() * size_of::<WindowKey>()
    }
}
