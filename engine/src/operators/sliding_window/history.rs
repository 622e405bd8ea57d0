//! What later rows may look back at: per partition the times and arguments of its latest rows.
//!
//! Rows are numbered from the beginning of their partition; the numbers stay when rows are forgotten.
//! Invariant: a row is kept while the frame of a row to come may reach it, and is forgotten with the
//! next row of its partition, or when the watermark has left it behind.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int8Array, Int64Array, PrimitiveArray,
    RecordBatch, downcast_primitive, new_empty_array,
};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema};
use datafusion::scalar::ScalarValue;

use super::frame::{Frame, Run};
use crate::error::Result;
use crate::watermark::Watermark;

/// Below this many partitions without rows none is forgotten.
const DEAD_PARTITIONS: usize = 1024;

/// What is kept of a row for the aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A column's value.
    Value(usize),
    /// Whether a column has a value: all that `COUNT` asks.
    Presence(usize),
}

impl Source {
    pub(super) fn data_type(self, schema: &Schema) -> DataType {
        match self {
            Self::Value(column) => schema.field(column).data_type().clone(),
            Self::Presence(_) => DataType::Int8,
        }
    }

    /// It, for each row of `batch`.
    pub(super) fn values(self, batch: &RecordBatch) -> Result<ArrayRef> {
        Ok(match self {
            Self::Value(column) => ArrayRef::clone(batch.column(column)),
            Self::Presence(column) => {
                let nulls = batch.column(column).logical_nulls();
                let zeros = vec![0; batch.num_rows()].into();
                Arc::new(Int8Array::try_new(zeros, nulls)?)
            }
        })
    }
}

/// The times of a partition's rows.
#[derive(Debug, Default)]
pub(super) struct Partition {
    times: VecDeque<i64>,
    /// The number of the first row that is kept.
    pub(super) base: u64,
    /// How many of the rows, the latest ones, are in no snapshot.
    unsaved: usize,
    /// Whether it is among those that the watermark will empty.
    expiring: bool,
}

impl Partition {
    /// The time of row number `row`, which is kept.
    pub(super) fn time(&self, row: u64) -> i64 {
        self.times[self.offset(row)]
    }

    /// The number of the first kept row of this time or a later one.
    pub(super) fn first_at_or_after(&self, time: i64) -> u64 {
        self.base + self.times.partition_point(|t| *t < time) as u64
    }

    fn offset(&self, row: u64) -> usize {
        // What is kept is in memory, so the difference fits.
        usize::try_from(row - self.base).unwrap_or(usize::MAX)
    }

    /// The number of the row that comes next.
    fn end(&self) -> u64 {
        self.base + self.times.len() as u64
    }
}

/// What later rows may look back at.
#[derive(Debug)]
pub(super) struct History {
    frames: Vec<Frame>,
    partitions: Vec<Partition>,
    columns: Vec<Box<dyn Column>>,
    /// The partitions that the watermark will empty, by a time no later than that of their first row.
    expiring: BinaryHeap<Reverse<(i64, usize)>>,
    /// Partitions without rows that some row once belonged to.
    dead: usize,
    /// Partitions with rows that are in no snapshot.
    touched: Vec<usize>,
}

impl History {
    pub(super) fn new(frames: Vec<Frame>, sources: &[Source], schema: &Schema) -> Self {
        let columns = sources.iter().map(|source| new_column(&source.data_type(schema)));
        Self {
            frames,
            partitions: Vec::new(),
            columns: columns.collect(),
            expiring: BinaryHeap::new(),
            dead: 0,
            touched: Vec::new(),
        }
    }

    /// Makes room for `partitions` partitions.
    pub(super) fn grow(&mut self, partitions: usize) {
        self.dead += partitions - self.partitions.len();
        self.partitions.resize_with(partitions, Partition::default);
        self.columns.iter_mut().for_each(|column| column.grow(partitions));
    }

    pub(super) fn partition(&self, partition: usize) -> &Partition {
        &self.partitions[partition]
    }

    /// A column's values of a partition.
    pub(super) fn values<T: ArrowPrimitiveType + Debug>(
        &self,
        column: usize,
        partition: usize,
    ) -> Option<&VecDeque<Option<T::Native>>> {
        let column: &dyn std::any::Any = self.columns[column].as_ref();
        column.downcast_ref::<Primitives<T>>().map(|column| &column.rows[partition])
    }

    /// A column's values of the rows with these numbers, which are kept.
    pub(super) fn array(
        &self,
        column: usize,
        partition: usize,
        rows: Range<u64>,
    ) -> Result<ArrayRef> {
        let of_one = &self.partitions[partition];
        let rows = of_one.offset(rows.start)..of_one.offset(rows.end);
        self.columns[column].array(partition, rows)
    }

    /// Adds the rows of an epoch, grouped by partition; `groups` says which and how many.
    pub(super) fn extend(
        &mut self,
        groups: &[(usize, usize)],
        times: &Int64Array,
        sources: &[ArrayRef],
    ) -> Result<Vec<Run>> {
        let expires = !self.frames.iter().any(|frame| matches!(frame, Frame::Rows(_)));
        let mut runs = Vec::with_capacity(groups.len());
        let mut at = 0;
        for &(partition, rows) in groups {
            let of_one = &mut self.partitions[partition];
            runs.push(Run { partition, rows, first: of_one.end() });
            self.dead -= usize::from(of_one.times.is_empty());
            of_one.times.extend(&times.values()[at..at + rows]);
            if of_one.unsaved == 0 {
                self.touched.push(partition);
            }
            of_one.unsaved += rows;
            if expires && !of_one.expiring {
                of_one.expiring = true;
                self.expiring.push(Reverse((of_one.times[0], partition)));
            }
            at += rows;
        }
        for (column, values) in self.columns.iter_mut().zip(sources) {
            column.extend(groups, values)?;
        }
        Ok(runs)
    }

    /// Forgets, in the partitions of these runs, what the frames of later rows cannot reach.
    pub(super) fn trim(&mut self, runs: &[Run]) {
        for run in runs {
            let of_one = &self.partitions[run.partition];
            let (end, last) = (of_one.end(), of_one.times.back().copied().unwrap_or(i64::MIN));
            let first = self.frames.iter().map(|frame| match *frame {
                Frame::Rows(preceding) => end.saturating_sub(preceding),
                Frame::Range { preceding } => {
                    of_one.first_at_or_after(last.saturating_sub(preceding))
                }
            });
            let first = first.min().unwrap_or(end);
            self.forget(run.partition, first);
        }
    }

    /// Forgets what the watermark has left behind, of whatever partition.
    pub(super) fn expire(&mut self, watermark: Watermark) {
        let reach = self.frames.iter().map(|frame| match *frame {
            Frame::Range { preceding } => preceding,
            Frame::Rows(_) => i64::MAX,
        });
        let Some(reach) = reach.max().filter(|_| watermark != Watermark::Unknown) else { return };
        let all = watermark == Watermark::End;
        let bound = watermark.bound().saturating_sub(if all { 0 } else { reach });
        while let Some(Reverse((time, partition))) = self.expiring.peek().copied() {
            if time >= bound && !all {
                break;
            }
            self.expiring.pop();
            let of_one = &self.partitions[partition];
            let first = if all { of_one.end() } else { of_one.first_at_or_after(bound) };
            self.forget(partition, first);
            let of_one = &mut self.partitions[partition];
            match of_one.times.front() {
                Some(time) => self.expiring.push(Reverse((*time, partition))),
                None => of_one.expiring = false,
            }
        }
    }

    /// Forgets the rows of a partition before number `first`.
    fn forget(&mut self, partition: usize, first: u64) {
        let of_one = &mut self.partitions[partition];
        let count = of_one.offset(first.clamp(of_one.base, of_one.end()));
        if count == 0 {
            return;
        }
        of_one.times.drain(..count);
        shrink(&mut of_one.times);
        of_one.base += count as u64;
        of_one.unsaved = of_one.unsaved.min(of_one.times.len());
        self.dead += usize::from(of_one.times.is_empty());
        self.columns.iter_mut().for_each(|column| column.forget(partition, count));
    }

    /// Which partitions have rows, if most have none.
    pub(super) fn mostly_dead(&self) -> Option<Vec<bool>> {
        let mostly = self.dead >= DEAD_PARTITIONS && self.dead * 2 > self.partitions.len();
        mostly.then(|| self.partitions.iter().map(|p| !p.times.is_empty()).collect())
    }

    /// Keeps the partitions that are `alive` and numbers them anew, in the same order.
    pub(super) fn retain(&mut self, alive: &[bool]) {
        retain(&mut self.partitions, alive);
        self.columns.iter_mut().for_each(|column| column.retain(alive));
        let mut next = 0;
        let mut number = Vec::with_capacity(alive.len());
        for alive in alive {
            number.push(alive.then_some(next));
            next += usize::from(*alive);
        }
        let expiring = std::mem::take(&mut self.expiring).into_iter();
        let renumbered = |Reverse((time, partition)): Reverse<(i64, usize)>| {
            number[partition].map(|partition| Reverse((time, partition)))
        };
        self.expiring = expiring.filter_map(renumbered).collect();
        let touched = std::mem::take(&mut self.touched).into_iter();
        self.touched = touched.filter_map(|partition| number[partition]).collect();
        self.dead = 0;
    }

    /// The rows that are kept and in no snapshot: the partition of each; times, then columns.
    pub(super) fn snapshot(&mut self) -> Result<Option<(Vec<usize>, Vec<ArrayRef>)>> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        let mut partitions = Vec::new();
        let mut times: Vec<i64> = Vec::new();
        let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.columns.len()];
        for partition in touched {
            let of_one = &mut self.partitions[partition];
            let rows = of_one.times.len() - of_one.unsaved..of_one.times.len();
            of_one.unsaved = 0;
            if rows.is_empty() {
                continue;
            }
            partitions.extend(std::iter::repeat_n(partition, rows.len()));
            times.extend(of_one.times.range(rows.clone()));
            for (column, parts) in self.columns.iter().zip(&mut parts) {
                parts.push(column.array(partition, rows.clone())?);
            }
        }
        if partitions.is_empty() {
            return Ok(None);
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(times))];
        for parts in parts {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&parts)?);
        }
        Ok(Some((partitions, columns)))
    }

    /// Makes the next snapshot hold all rows.
    pub(super) fn forget_snapshots(&mut self) {
        self.touched = (0..self.partitions.len()).collect();
        self.partitions.iter_mut().for_each(|partition| partition.unsaved = partition.times.len());
    }

    /// Declares all rows to be in a snapshot.
    pub(super) fn all_saved(&mut self) {
        for partition in std::mem::take(&mut self.touched) {
            self.partitions[partition].unsaved = 0;
        }
    }

    /// How many rows are kept.
    pub(super) fn num_rows(&self) -> usize {
        self.partitions.iter().map(|partition| partition.times.len()).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let times = self.partitions.iter().map(|p| p.times.capacity() * size_of::<i64>());
        let columns = self.columns.iter().map(|column| column.memory_bytes());
        times.sum::<usize>()
            + columns.sum::<usize>()
            + self.partitions.capacity() * size_of::<Partition>()
            + self.expiring.capacity() * size_of::<(i64, usize)>()
    }
}

/// Keeps the items that are `alive`.
pub(super) fn retain<T>(items: &mut Vec<T>, alive: &[bool]) {
    let mut at = 0;
    items.retain(|_| {
        at += 1;
        alive.get(at - 1).copied().unwrap_or(false)
    });
}

/// Gives back the memory of a queue that has become much smaller.
fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > 16 && queue.len() * 4 < queue.capacity() {
        queue.shrink_to(queue.len() * 2);
    }
}

/// The values of one argument, per partition.
trait Column: Debug + Send + std::any::Any {
    fn grow(&mut self, partitions: usize);
    fn extend(&mut self, groups: &[(usize, usize)], values: &ArrayRef) -> Result<()>;
    fn forget(&mut self, partition: usize, count: usize);
    /// The values at these places of the partition's queue.
    fn array(&self, partition: usize, rows: Range<usize>) -> Result<ArrayRef>;
    fn retain(&mut self, alive: &[bool]);
    fn memory_bytes(&self) -> usize;
}

fn new_column(data_type: &DataType) -> Box<dyn Column> {
    macro_rules! primitives {
        ($t:ty) => {
            Box::new(Primitives::<$t> { data_type: data_type.clone(), rows: Vec::new() })
        };
    }
    downcast_primitive! {
        data_type => (primitives),
        _ => Box::new(Scalars { data_type: data_type.clone(), rows: Vec::new() }),
    }
}

#[derive(Debug)]
struct Primitives<T: ArrowPrimitiveType + Debug> {
    data_type: DataType,
    rows: Vec<VecDeque<Option<T::Native>>>,
}

impl<T: ArrowPrimitiveType + Debug> Column for Primitives<T> {
    fn grow(&mut self, partitions: usize) {
        self.rows.resize_with(partitions, VecDeque::new);
    }

    fn extend(&mut self, groups: &[(usize, usize)], values: &ArrayRef) -> Result<()> {
        let mut values = values.as_primitive::<T>().iter();
        for &(partition, rows) in groups {
            self.rows[partition].extend(values.by_ref().take(rows));
        }
        Ok(())
    }

    fn forget(&mut self, partition: usize, count: usize) {
        self.rows[partition].drain(..count);
        shrink(&mut self.rows[partition]);
    }

    fn array(&self, partition: usize, rows: Range<usize>) -> Result<ArrayRef> {
        let values: PrimitiveArray<T> = self.rows[partition].range(rows).copied().collect();
        Ok(Arc::new(values.with_data_type(self.data_type.clone())))
    }

    fn retain(&mut self, alive: &[bool]) {
        retain(&mut self.rows, alive);
    }

    fn memory_bytes(&self) -> usize {
        let values = self.rows.iter().map(|rows| rows.capacity() * size_of::<Option<T::Native>>());
        values.sum::<usize>() + self.rows.capacity() * size_of::<VecDeque<Option<T::Native>>>()
    }
}

/// Texts and other values without a fixed width. Only the rarer aggregates read them.
#[derive(Debug)]
struct Scalars {
    data_type: DataType,
    rows: Vec<VecDeque<ScalarValue>>,
}

impl Column for Scalars {
    fn grow(&mut self, partitions: usize) {
        self.rows.resize_with(partitions, VecDeque::new);
    }

    fn extend(&mut self, groups: &[(usize, usize)], values: &ArrayRef) -> Result<()> {
        let mut at = 0;
        for &(partition, rows) in groups {
            for row in at..at + rows {
                self.rows[partition].push_back(ScalarValue::try_from_array(values, row)?);
            }
            at += rows;
        }
        Ok(())
    }

    fn forget(&mut self, partition: usize, count: usize) {
        self.rows[partition].drain(..count);
        shrink(&mut self.rows[partition]);
    }

    fn array(&self, partition: usize, rows: Range<usize>) -> Result<ArrayRef> {
        if rows.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        Ok(ScalarValue::iter_to_array(self.rows[partition].range(rows).cloned())?)
    }

    fn retain(&mut self, alive: &[bool]) {
        retain(&mut self.rows, alive);
    }

    fn memory_bytes(&self) -> usize {
        let value = |value: &ScalarValue| value.size() - size_of::<ScalarValue>();
        let values = self.rows.iter().map(|rows| {
            let room = rows.capacity() * size_of::<ScalarValue>();
            room + rows.iter().map(value).sum::<usize>()
        });
        values.sum::<usize>() + self.rows.capacity() * size_of::<VecDeque<ScalarValue>>()
    }
}
