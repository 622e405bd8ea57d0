//! The incremental operators, one per file, and the trait they implement.
//!
//! The law each of them obeys: after any number of epochs, the sum of its outputs is what the batch
//! operator returns for the sum of its inputs (restricted, for windows, to those the watermark has
//! closed).

mod consolidate;
pub mod constant;
pub mod contents;
pub mod epoch_order;
pub mod expire;
pub mod filter;
pub mod hash_join;
mod held;
pub mod interval_join;
mod isolate;
mod join_output;
pub mod lookup_join;
pub mod model;
mod number_table;
pub mod one_lane;
#[cfg(test)]
mod oracle;
mod ordered_rows;
pub mod ordered_window;
pub mod pane_aggregate;
mod partitions;
pub mod per_window;
pub mod project;
mod row_index;
pub mod rows_join;
mod segments;
pub mod session_window;
pub mod sliding_window;
pub mod sorted_stream;
pub mod stagger_window;
pub mod temporal_join;
pub mod time_sort;
mod timed_rows;
pub mod top_n;
pub mod union;
pub mod unnest;
pub mod updating_aggregate;
pub mod updating_window;
mod waiting;
pub mod window_aggregate;
pub mod window_table;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, SchemaRef};

use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::fault::BadRow;
use crate::spill::SpillStore;
use crate::watermark::Watermarks;

/// What an operator knows about the epoch it works in.
#[derive(Debug, Clone)]
pub struct EpochContext {
    /// The epoch's number, from 1.
    pub epoch: u64,
    /// The clock when the epoch began, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The pump, view, sink or query the operator belongs to.
    pub owner: Arc<str>,
    /// Whether its inputs have ended: no more rows will come, whether a column tells it or none.
    pub ended: bool,
}

/// One input of an operator in one epoch.
#[derive(Debug)]
pub struct Input {
    /// What changed.
    pub deltas: Vec<Delta>,
    /// What holds after these changes.
    pub watermarks: Watermarks,
}

impl Input {
    /// The inputs of an operator that has this many.
    ///
    /// # Errors
    ///
    /// When there are more or fewer: our bug.
    pub(crate) fn exactly<const N: usize>(inputs: Vec<Self>) -> Result<[Self; N]> {
        let many = |inputs: Vec<Self>| {
            Error::bug(format!("an operator of {N} inputs was given {}", inputs.len()))
        };
        <[Self; N]>::try_from(inputs).map_err(many)
    }
}

/// What an operator made of an epoch.
#[derive(Debug, Default)]
pub struct Output {
    /// What changed downstream.
    pub deltas: Vec<Delta>,
    /// Rows its expressions failed on.
    pub bad: Vec<BadRow>,
}

impl From<Vec<Delta>> for Output {
    fn from(deltas: Vec<Delta>) -> Self {
        Self { deltas, bad: Vec::new() }
    }
}

/// A piece of an operator's state: what was added or replaced since the last snapshot.
#[derive(Debug, Clone)]
pub struct StateBatch {
    /// Which of the operator's parts it belongs to (`left`, `right`, `groups` …).
    pub part: &'static str,
    /// Immutable rows; the meaning of the columns is the operator's own.
    pub rows: RecordBatch,
}

/// One lane's share of an operator: the rows of its key-groups and the state for them.
///
/// Synchronous and pure: what it does depends on its state and its arguments alone.
pub trait Operator: fmt::Debug + Send {
    /// Takes the epoch's changes of its inputs and returns those of its output. When it returns,
    /// everything that can be emitted has been.
    ///
    /// # Errors
    ///
    /// Only for what stops the application; a row that fails alone goes to [`Output::bad`].
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output>;

    /// The state changes since the last snapshot, as immutable batches: restoring every snapshot so
    /// far, in order, gives the present state.
    ///
    /// # Errors
    ///
    /// When Arrow refuses the batches: our bug.
    fn snapshot(&mut self) -> Result<Vec<StateBatch>>;

    /// Makes the next snapshot hold the whole state, so that earlier ones are not needed any more.
    fn forget_snapshots(&mut self);

    /// Adds snapshots, in the order they were taken, to an operator without state.
    ///
    /// # Errors
    ///
    /// When a batch is not one of this operator's.
    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()>;

    /// Bytes of memory its state holds.
    fn memory_bytes(&self) -> usize;

    /// Rows its state holds, on the disk or not: those it keeps of its inputs, or one for each group or
    /// partition it knows. Counting them may take as long as reading them.
    fn state_rows(&self) -> usize;

    /// Moves rows of its state to the disk, those first that have not changed for long, until `bytes`
    /// of memory are free. Returns how much that freed: less where it has no more that can go.
    ///
    /// # Errors
    ///
    /// When the disk does not take them.
    fn spill(&mut self, _store: &SpillStore, _bytes: usize) -> Result<usize> {
        Ok(0)
    }

    /// What holds of the rows it has still to give, for operators whose rows set their own time; of the
    /// columns that have a watermark by its specification. Others follow their specification.
    fn watermarks(&self) -> Option<Watermarks> {
        None
    }
}

pub(crate) use isolate::row_text;

/// Columns as a batch of `schema`: those of another type are cast.
fn conformed(columns: Vec<ArrayRef>, schema: &SchemaRef) -> Result<RecordBatch> {
    let cast_to = |(column, field): (ArrayRef, &FieldRef)| {
        let same = column.data_type() == field.data_type();
        if same { Ok(column) } else { cast(&column, field.data_type()) }
    };
    let columns = columns.into_iter().zip(schema.fields()).map(cast_to);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)?)
}

/// An operator that keeps nothing: it maps a change to a change.
trait Linear: fmt::Debug + Send {
    /// The change of the output that a change of the inputs makes.
    fn map(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output>;
}

impl<L: Linear> Operator for L {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        self.map(cx, inputs)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        Ok(Vec::new())
    }

    fn forget_snapshots(&mut self) {}

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        let is_empty = state.is_empty();
        is_empty.then_some(()).ok_or_else(|| Error::bug("state for an operator that keeps nothing"))
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn state_rows(&self) -> usize {
        0
    }
}
