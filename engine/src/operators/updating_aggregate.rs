//! Aggregation without a window: `GROUP BY` keys that no watermark closes, or none at all.
//!
//! Every epoch takes back the rows of the groups it touches and gives their new ones; a row that is
//! the same as before does not come out.
//!
//! ```text
//!   rows ─► touched groups ─► old state ──┬─► new state ─► versions (and the next snapshot)
//!                                         │       │
//!                                  old row: -1   new row: +1
//! ```
//!
//! State is never read destructively: an epoch merges the old state of the touched groups with what it
//! brings into new, immutable rows (`versions`). Aggregates that cannot take back what they have
//! seen are computed anew from the rows of the touched groups (`kept`).
//!
//! Keys alone (`DISTINCT`) over rows that are only added need no taking back: each key comes out once.
//!
//! Invariant: after every epoch the sum of the output is the batch answer for the sum of the input.

mod aggregates;
mod change;
mod distinct;
mod exact;
mod kept;
mod ordered;
mod snapshot;
#[cfg(test)]
mod tests;
mod touched;
mod versions;

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use self::aggregates::{Aggregate, Class};
use self::distinct::DistinctValues;
use self::kept::KeptRows;
use self::touched::{Rows, Touched};
use self::versions::Versions;
use super::isolate::isolate;
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::spill::SpillStore;
use crate::watermark::Watermarks;

const GROUPS: &str = "groups";
const ROWS: &str = "rows";

/// Which of the distinct values an aggregate is over, and as which member.
type Member = (usize, usize);

/// An aggregation without a window as planned.
#[derive(Debug, Clone)]
pub struct UpdatingAggregateSpec {
    /// The columns of the input to group by. Without any there is one group, which is never empty of
    /// a result: it has a row before the first row of the input has come.
    pub keys: Vec<usize>,
    /// What is computed per group, over columns and literals. An AVG of integers is cheap to take back
    /// if the cast that DataFusion plans for it is part of the argument, dear if it is a column's.
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// The `FILTER (WHERE …)` of each aggregate.
    pub filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: the keys, then the aggregates.
    pub schema: SchemaRef,
    /// Whether the input can take back rows.
    pub input_updating: bool,
}

impl UpdatingAggregateSpec {
    /// Whether the output takes back no row and so carries no weights: that of keys alone over an
    /// input that takes back none.
    pub fn is_append_only(&self) -> bool {
        self.aggregates.is_empty() && !self.input_updating
    }

    fn aggregates(&self) -> Result<Vec<Aggregate>> {
        let flags = (self.input_updating, self.keys.is_empty());
        let each = self.aggregates.iter().zip(&self.filters);
        let aggregates = each.map(|(aggregate, filter)| {
            Aggregate::new(aggregate, filter.as_ref(), &self.input_schema, flags)
        });
        let aggregates = aggregates.collect::<Result<Vec<_>>>()?;
        let over_values = aggregates.iter().filter(|a| a.is_over_distinct_values()).count();
        if over_values <= distinct::PARTS.len() {
            return Ok(aggregates);
        }
        // MIN and MAX can do without a place for their values.
        Ok(aggregates.into_iter().map(Aggregate::over_rows).collect())
    }

    /// The distinct values to keep, and for each aggregate which of them it is over, as which member.
    fn distinct_values(
        &self,
        aggregates: &[Aggregate],
        keys: &SchemaRef,
    ) -> Result<(Vec<DistinctValues>, Vec<Option<Member>>)> {
        let (mut distinct, mut values_of) = (Vec::<DistinctValues>::new(), Vec::new());
        for (number, aggregate) in aggregates.iter().enumerate() {
            if !aggregate.is_over_distinct_values() {
                values_of.push(None);
                continue;
            }
            let extreme = matches!(aggregate.class, Class::Extreme { .. });
            let place = self.shared(&mut distinct, aggregates, number);
            let (values, member) = match place {
                Some(place) => place,
                None => {
                    let (input, updating) = (&self.input_schema, self.input_updating);
                    distinct.push(DistinctValues::new(number, aggregate, keys, input, updating)?);
                    (distinct.len() - 1, 0)
                }
            };
            if extreme && let Some(values) = distinct.get_mut(values) {
                values.keep_order()?;
            }
            values_of.push(Some((values, member)));
        }
        if distinct.len() > distinct::PARTS.len() {
            let most = distinct::PARTS.len();
            return Err(Error::sql(format!(
                "more than {most} DISTINCT aggregates of different arguments"
            ))
            .with_hint("split the query in two and join their results on the keys"));
        }
        Ok((distinct, values_of))
    }

    /// The values among `distinct` that aggregate `number` is over as well, and as which member: of one
    /// with the same filter, or as another member.
    fn shared(
        &self,
        distinct: &mut [DistinctValues],
        aggregates: &[Aggregate],
        number: usize,
    ) -> Option<Member> {
        let aggregate = &aggregates[number];
        let extreme = matches!(aggregate.class, Class::Extreme { .. });
        for (place, values) in distinct.iter_mut().enumerate() {
            let first = &aggregates[values.members()[0]];
            if !aggregate.shares_arguments_with(first) {
                continue;
            }
            let same =
                values.members().iter().position(|m| aggregates[*m].filter == aggregate.filter);
            match same {
                Some(member) if !extreme || values.members().len() == 1 => {
                    return Some((place, member));
                }
                None if !extreme && values.takes_members() => {
                    return Some((place, values.add_member(number)));
                }
                _ => {}
            }
        }
        None
    }

    fn key_schema(&self) -> Result<SchemaRef> {
        Ok(Arc::new(self.input_schema.project(&self.keys)?))
    }
}

impl OperatorSpec for UpdatingAggregateSpec {
    fn name(&self) -> &'static str {
        "UpdatingAggregate"
    }

    fn explain(&self) -> Explanation {
        let keys: Vec<_> =
            self.schema.fields().iter().take(self.keys.len()).map(|f| f.name().as_str()).collect();
        let names: Vec<_> = self.aggregates.iter().map(|a| a.name()).collect();
        let aggregates = self.aggregates().unwrap_or_default();
        // The state of a single group does not grow, unless it holds its rows or its values.
        let bounded = self.keys.is_empty() && aggregates.iter().all(Aggregate::has_constant_state);
        Explanation {
            detail: format!("keys=[{}] aggregates=[{}]", keys.join(", "), names.join(", ")),
            keeps: keeps(&aggregates),
            freed_by: if bounded { "nothing, it does not grow".into() } else { String::new() },
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::by_keys(&self.keys)
    }

    fn watermarks(&self, _inputs: &[Watermarks]) -> Watermarks {
        // A group of any age may change: no bound on the times among its columns holds.
        Watermarks::none(self.schema.fields().len())
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        let _all_begin_with_the_keys = part;
        Some(StateShare::Keys((0..self.keys.len()).collect()))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.keys.is_empty() && self.aggregates.is_empty() {
            return Err(Error::bug("an aggregation needs a key or an aggregate"));
        }
        if self.filters.len() != self.aggregates.len()
            || self.schema.fields().len() != self.keys.len() + self.aggregates.len()
        {
            return Err(Error::bug("the columns of an aggregation do not match its schema"));
        }
        let (aggregates, key_schema) = (self.aggregates()?, self.key_schema()?);
        let kept = KeptRows::new(&aggregates, &key_schema, &self.input_schema)?;
        let (distinct, values_of) = self.distinct_values(&aggregates, &key_schema)?;
        Ok(Box::new(UpdatingAggregate {
            spec: self.clone(),
            aggregates,
            key_schema,
            versions: Versions::new(),
            distinct,
            values_of,
            kept,
        }))
    }
}

#[derive(Debug)]
struct UpdatingAggregate {
    spec: UpdatingAggregateSpec,
    aggregates: Vec<Aggregate>,
    key_schema: SchemaRef,
    /// Per group: its keys, with an updating input the sum of its rows' weights, and the state of each
    /// aggregate.
    versions: Versions,
    /// The values of DISTINCT aggregates.
    distinct: Vec<DistinctValues>,
    /// For each aggregate which of these are its own, and as which member.
    values_of: Vec<Option<Member>>,
    /// The rows of every group, if an aggregate needs them.
    kept: Option<KeptRows>,
}

impl UpdatingAggregate {
    fn is_global(&self) -> bool {
        self.spec.keys.is_empty()
    }

    /// The number of columns of a version in front of the states.
    fn weight_width(&self) -> usize {
        usize::from(self.spec.input_updating)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<Rows, DataFusionError> {
        let mut rows = Rows {
            keys: self.spec.keys.iter().map(|key| Arc::clone(batch.column(*key))).collect(),
            ..Rows::default()
        };
        for aggregate in &self.aggregates {
            rows.arguments.push(aggregate.evaluate(batch)?);
            let filter = aggregate.filter.as_ref();
            let filter = filter.map(|f| f.evaluate(batch)?.into_array(batch.num_rows()));
            rows.filters.push(filter.transpose()?.map(|filter| filter.as_boolean().clone()));
        }
        Ok(rows)
    }

    /// Takes in the rows of the epoch.
    fn take_in(
        &mut self,
        cx: &EpochContext,
        deltas: Vec<Delta>,
        output: &mut Output,
    ) -> Result<Touched> {
        let mut touched = Touched::new(&self.key_schema)?;
        for delta in deltas.into_iter().filter(|delta| delta.num_rows() > 0) {
            if delta.weights.is_some() && !self.spec.input_updating {
                return Err(Error::bug(
                    "an aggregation planned for added rows cannot take rows back",
                ));
            }
            let parts = isolate(cx, delta, &|batch| self.evaluate(batch), &mut output.bad)?;
            for (Delta { batch, weights }, rows) in parts {
                if let Some(kept) = &mut self.kept {
                    kept.apply(&rows, weights.as_ref())?;
                }
                touched.add(rows, weights, batch.num_rows())?;
            }
        }
        if self.is_global() && touched.count() == 0 && self.versions.is_empty() {
            let nothing =
                self.evaluate(&RecordBatch::new_empty(Arc::clone(&self.spec.input_schema)))?;
            touched.add(nothing, None, 0)?;
        }
        Ok(touched)
    }
}

/// What is kept for these aggregates.
fn keeps(aggregates: &[Aggregate]) -> String {
    let named = |holds: &dyn Fn(&Aggregate) -> bool| {
        let names = aggregates.iter().filter(|aggregate| holds(aggregate)).map(Aggregate::name);
        names.collect::<Vec<_>>().join(", ")
    };
    let mut keeps = match aggregates.len() {
        0 => "every group".to_owned(),
        1 => "the state of 1 aggregate per group".to_owned(),
        many => format!("the state of {many} aggregates per group"),
    };
    let distinct = named(&Aggregate::is_over_distinct_values);
    if !distinct.is_empty() {
        keeps.push_str(&format!("; every distinct value per group, for {distinct}"));
    }
    let rows = named(&|aggregate| aggregate.class == Class::Rows);
    if !rows.is_empty() {
        keeps.push_str(&format!("; every row per group, for {rows}"));
    }
    keeps
}

impl Operator for UpdatingAggregate {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        let mut output = Output::default();
        let touched = self.take_in(cx, input.deltas, &mut output)?;
        if touched.count() > 0 {
            let change = self.change(touched)?;
            output.deltas = self.output(&change)?;
            self.keep(&change)?;
        }
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let part = |part: &'static str| move |rows| StateBatch { part, rows };
        let types: Vec<_> = self.aggregates.iter().flat_map(Aggregate::state_types).collect();
        let groups = self.versions.snapshot(&types)?;
        let mut state: Vec<_> = groups.into_iter().map(part(GROUPS)).collect();
        for (values, name) in self.distinct.iter_mut().zip(distinct::PARTS) {
            state.extend(values.snapshot()?.into_iter().map(part(name)));
        }
        if let Some(kept) = &mut self.kept {
            state.extend(kept.snapshot()?.into_iter().map(part(ROWS)));
        }
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.versions.forget_snapshots();
        self.distinct.iter_mut().for_each(DistinctValues::forget_snapshots);
        self.kept.iter_mut().for_each(KeptRows::forget_snapshots);
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        let not_ours = || Error::bug("not the state of an aggregation");
        let widths: usize = self.aggregates.iter().map(|aggregate| aggregate.width).sum();
        let width = self.spec.keys.len() + self.weight_width() + widths;
        for StateBatch { part, rows } in state {
            match part {
                GROUPS if rows.num_columns() == width => {
                    // The only group of an aggregation without keys is never gone.
                    let weighted = self.spec.input_updating && !self.is_global();
                    self.versions.restore(&rows, &self.key_schema, weighted)?;
                }
                ROWS => self.kept.as_mut().ok_or_else(not_ours)?.restore(&rows)?,
                _ => {
                    let at = distinct::PARTS.iter().position(|name| *name == part);
                    let values = at.and_then(|at| self.distinct.get_mut(at));
                    values.ok_or_else(not_ours)?.restore(&rows)?;
                }
            }
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        let distinct: usize = self.distinct.iter().map(DistinctValues::num_rows).sum();
        self.versions.len() + distinct + self.kept.as_ref().map_or(0, KeptRows::num_rows)
    }

    fn memory_bytes(&self) -> usize {
        let distinct: usize = self.distinct.iter().map(DistinctValues::memory_bytes).sum();
        let kept = self.kept.as_ref().map_or(0, KeptRows::memory_bytes);
        self.versions.memory_bytes() + distinct + kept
    }

    fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<usize> {
        let mut freed = self.versions.rows.spill(store, bytes)?;
        for distinct in &mut self.distinct {
            freed += distinct.spill(store, bytes.saturating_sub(freed))?;
        }
        if let Some(kept) = &mut self.kept {
            freed += kept.spill(store, bytes.saturating_sub(freed))?;
        }
        Ok(freed)
    }
}
