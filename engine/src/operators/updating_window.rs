//! Window functions over partitions that may change anywhere: any function, frame and order.
//!
//! The rows of every partition are kept, in order. An epoch evaluates the partitions it touches anew,
//! each as one batch with DataFusion's own evaluation, and gives the difference to what they were
//! before. Rows that the order leaves equal follow each other by all their other columns
//! (`super::ordered_rows`), so that frames of rows mean the same in every run.
//!
//! Invariant: after every epoch the sum of the output is the batch answer for the sum of the input.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{SortOptions, concat};
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::WindowExpr;

use super::consolidate::consolidated;
use super::ordered_rows::{Kept, Key, OrderedRows};
use super::top_n::order_text;
use super::{EpochContext, Input, Operator, Output, StateBatch, conformed};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::Watermarks;

/// Rows evaluated before their results are handed on.
const CHUNK_ROWS: usize = 32_768;

/// Window functions of one partitioning and order as planned.
#[derive(Debug, Clone)]
pub struct UpdatingWindowSpec {
    /// The columns whose equal values make a partition.
    pub partition_by: Vec<usize>,
    /// The columns that order the rows of a partition.
    pub order_by: Vec<(usize, SortOptions)>,
    /// What is computed, over columns of the input.
    pub windows: Vec<Arc<dyn WindowExpr>>,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: those of the input, then one per window.
    pub schema: SchemaRef,
}

impl OperatorSpec for UpdatingWindowSpec {
    fn name(&self) -> &'static str {
        "UpdatingWindow"
    }

    fn explain(&self) -> Explanation {
        let name = |column: &usize| self.input_schema.field(*column).name().as_str();
        let keys = self.partition_by.iter().map(name).collect::<Vec<_>>().join(", ");
        let order = order_text(&self.input_schema, &self.order_by);
        let windows: Vec<_> = self.windows.iter().map(|window| window.name()).collect();
        Explanation {
            detail: format!(
                "partition_by=[{keys}] order_by=[{order}] windows=[{}]",
                windows.join(", ")
            ),
            keeps: match keys.as_str() {
                "" => "every row; each epoch evaluates all of them anew".to_owned(),
                keys => {
                    format!("every row of every {keys}; each epoch evaluates those it touches anew")
                }
            },
            freed_by: String::new(),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::by_keys(&self.partition_by)
    }

    fn watermarks(&self, _inputs: &[Watermarks]) -> Watermarks {
        // A row of any age may change.
        Watermarks::none(self.schema.fields().len())
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        OrderedRows::state_share(part, &self.partition_by)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let inputs = self.input_schema.fields().len();
        if self.schema.fields().len() != inputs + self.windows.len() {
            return Err(Error::bug("the columns of a window do not match its schema"));
        }
        let rows = OrderedRows::new(&self.input_schema, &self.partition_by, &self.order_by)?;
        Ok(Box::new(UpdatingWindow { spec: self.clone(), rows }))
    }
}

#[derive(Debug)]
struct UpdatingWindow {
    spec: UpdatingWindowSpec,
    rows: OrderedRows,
}

impl UpdatingWindow {
    /// The output rows of these partitions, each with this weight.
    fn results(&self, partitions: &[Key], weight: i64) -> Result<Vec<Delta>> {
        let mut deltas = Vec::new();
        let mut rows: Vec<(&Key, Kept)> = Vec::new();
        let mut ends: Vec<usize> = Vec::new();
        for partition in partitions {
            for (key, kept) in self.rows.of(partition) {
                // Below zero only while a row is taken back before it was added.
                let times = usize::try_from(kept.weight).unwrap_or(0);
                rows.extend(std::iter::repeat_n((key, kept), times));
            }
            ends.push(rows.len());
            if rows.len() >= CHUNK_ROWS {
                deltas.extend(self.evaluated(&rows, &ends, weight)?);
                rows.clear();
                ends.clear();
            }
        }
        deltas.extend(self.evaluated(&rows, &ends, weight)?);
        Ok(deltas)
    }

    /// The output rows of whole partitions, which end at these places.
    fn evaluated(
        &self,
        rows: &[(&Key, Kept)],
        ends: &[usize],
        weight: i64,
    ) -> Result<Option<Delta>> {
        if rows.is_empty() {
            return Ok(None);
        }
        let batch = self.rows.decode(rows.iter().copied())?;
        let mut columns = batch.columns().to_vec();
        for window in &self.spec.windows {
            let mut parts: Vec<ArrayRef> = Vec::with_capacity(ends.len());
            let mut from = 0;
            for &end in ends.iter().filter(|end| **end > 0) {
                if end > from {
                    parts.push(window.evaluate(&batch.slice(from, end - from))?);
                }
                from = end;
            }
            let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&parts)?);
        }
        let batch = conformed(columns, &self.spec.schema)?;
        let weights = Some(vec![weight; batch.num_rows()].into());
        Ok(Some(Delta { batch, weights }))
    }
}

impl Operator for UpdatingWindow {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        let encoded = input.deltas.iter().map(|delta| self.rows.encode(delta));
        let encoded = encoded.collect::<Result<Vec<_>>>()?;
        let partitions = OrderedRows::partitions(&encoded);
        let mut deltas = self.results(&partitions, -1)?;
        encoded.iter().try_for_each(|rows| self.rows.apply(rows))?;
        deltas.extend(self.results(&partitions, 1)?);
        Ok(consolidated(deltas)?.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        self.rows.snapshot()
    }

    fn forget_snapshots(&mut self) {
        self.rows.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        self.rows.restore_all(state)
    }

    fn state_rows(&self) -> usize {
        self.rows.len()
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes()
    }
}
