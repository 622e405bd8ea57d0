//! The aggregates that do not fold: DataFusion's accumulators, one per partition.
//!
//! Rows leave a frame in the order in which they came, which is all that `retract_batch` is good for.
//! Over floats retracting drifts and an infinity never leaves, and some aggregates forget that nothing
//! is left (`BIT_XOR` says 0 instead of NULL); those, and what cannot retract, are evaluated from the
//! history for each row, at the cost of the frame.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

use super::column_of;
use super::frame::Frames;
use super::history::{History, Source, retain};
use super::kernel::{Kernel, source_index};
use crate::error::{Error, Result};

/// The aggregates that keep the rows of their frame one by one, so that any of them can leave.
const KEEPING: [&str; 2] = ["__nth", "__exp_avg"];

/// The aggregates whose `retract_batch` is an exact inverse of the oldest rows, NULLs included.
const RETRACTING: [&str; 5] = ["avg", "count", "max", "min", "sum"];

#[derive(Debug)]
enum Argument {
    Source(usize),
    Literal(ScalarValue),
}

struct Sliding {
    accumulator: Box<dyn Accumulator>,
    start: u64,
    end: u64,
}

/// An aggregate by DataFusion's accumulators.
pub(super) struct Refold {
    aggregate: Arc<AggregateFunctionExpr>,
    arguments: Vec<Argument>,
    retracts: bool,
    partitions: Vec<Option<Sliding>>,
}

impl fmt::Debug for Refold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aggregate = self.aggregate.name();
        f.debug_struct("Refold").field("aggregate", &aggregate).finish_non_exhaustive()
    }
}

impl Refold {
    pub(super) fn new(
        aggregate: &Arc<AggregateFunctionExpr>,
        schema: &Schema,
        sources: &mut Vec<Source>,
    ) -> Result<Self> {
        let mut arguments = Vec::new();
        let mut exact = true;
        for argument in aggregate.expressions() {
            exact &= !argument.data_type(schema)?.is_floating();
            arguments.push(new_argument(&argument, sources)?);
        }
        let exact = exact && !matches!(aggregate.field().data_type(), DataType::Float64);
        let name = aggregate.fun().name();
        let retracts = (KEEPING.contains(&name) || (exact && RETRACTING.contains(&name)))
            && aggregate.create_sliding_accumulator().is_ok();
        let aggregate = Arc::clone(aggregate);
        Ok(Self { aggregate, arguments, retracts, partitions: Vec::new() })
    }

    /// The arguments of a partition's earlier rows.
    fn earlier(
        &self,
        history: &History,
        partition: usize,
        rows: std::ops::Range<u64>,
    ) -> Result<Vec<ArrayRef>> {
        let count = usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX);
        let argument = |argument: &Argument| match argument {
            Argument::Source(source) => history.array(*source, partition, rows.clone()),
            Argument::Literal(value) => Ok(value.to_array_of_size(count)?),
        };
        self.arguments.iter().map(argument).collect()
    }

    /// The result for row number `row` of a partition over the rows from `start` on.
    fn retracting(
        &mut self,
        history: &History,
        partition: usize,
        (start, row): (u64, u64),
    ) -> Result<ScalarValue> {
        let base = history.partition(partition).base;
        let mut sliding = match self.partitions[partition].take() {
            Some(s) if s.end == row && s.start >= base && s.start <= start => s,
            _ => Sliding {
                accumulator: self.aggregate.create_sliding_accumulator()?,
                start,
                end: start,
            },
        };
        if sliding.start < start {
            let gone = self.earlier(history, partition, sliding.start..start)?;
            sliding.accumulator.retract_batch(&gone)?;
            sliding.start = start;
        }
        let new = self.earlier(history, partition, sliding.end..row + 1)?;
        sliding.accumulator.update_batch(&new)?;
        sliding.end = row + 1;
        let value = sliding.accumulator.evaluate()?;
        self.partitions[partition] = Some(sliding);
        Ok(value)
    }
}

fn new_argument(argument: &Arc<dyn PhysicalExpr>, sources: &mut Vec<Source>) -> Result<Argument> {
    if let Some(column) = column_of(argument) {
        return Ok(Argument::Source(source_index(sources, Source::Value(column))));
    }
    let any: &dyn std::any::Any = argument.as_ref();
    let literal = any.downcast_ref::<Literal>().map(|literal| literal.value().clone());
    literal
        .map(Argument::Literal)
        .ok_or_else(|| Error::bug("the arguments of a sliding aggregate must be columns"))
}

impl Kernel for Refold {
    fn run(&mut self, frames: &Frames<'_>, history: &History, _: &[ArrayRef]) -> Result<ArrayRef> {
        let mut results = Vec::with_capacity(frames.starts.len());
        let mut starts = frames.starts.iter().copied();
        for run in frames.runs {
            if self.partitions.len() <= run.partition {
                self.partitions.resize_with(run.partition + 1, || None);
            }
            for row in (run.first..).take(run.rows) {
                let start = starts.next().unwrap_or(row);
                results.push(if self.retracts {
                    self.retracting(history, run.partition, (start, row))?
                } else {
                    let mut accumulator = self.aggregate.create_accumulator()?;
                    let rows = self.earlier(history, run.partition, start..row + 1)?;
                    accumulator.update_batch(&rows)?;
                    accumulator.evaluate()?
                });
            }
        }
        Ok(ScalarValue::iter_to_array(results)?)
    }

    fn retain(&mut self, alive: &[bool]) {
        retain(&mut self.partitions, alive);
    }

    fn memory_bytes(&self) -> usize {
        let accumulators = self.partitions.iter().flatten().map(|s| s.accumulator.size());
        accumulators.sum::<usize>() + self.partitions.capacity() * size_of::<Option<Sliding>>()
    }
}
