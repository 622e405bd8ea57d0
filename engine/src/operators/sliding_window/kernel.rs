//! Aggregates over frames that only move forward.
//!
//! What can be folded from two parts (a sum from two sums, a minimum from two minima) needs no
//! inverse: rows are folded into two stacks, in constant amortised time per row.
//!
//! ```text
//!        start            split          the row
//!          │   front        │    back      │
//!          ▼                ▼              ▼
//!          ■■■■■■■■■■■■■■■■ □□□□□□□□□□□□□□■      result = front[start] + back
//!          folds of all rows  one fold of
//!          from here to split all its rows
//! ```
//!
//! When the start passes the split, the rows behind it are folded anew into the front. Nothing is ever
//! subtracted: sums of floats do not drift, and an infinity leaves with its row.
//!
//! The stacks are a cache: any gap between them and the history (after a restart, or when rows were
//! forgotten) is closed by folding the frame from the history again.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, Float64Array, Int64Array,
    PrimitiveArray, downcast_primitive,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float64Type, Int8Type, Int64Type, Schema, UInt64Type,
};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;

use super::column_of;
use super::frame::Frames;
use super::history::{History, Source, retain};
use super::refold::Refold;
use crate::error::{Error, Result};

/// Computes one aggregate.
pub(super) trait Kernel: Debug + Send {
    /// The result for each row of an epoch, as the rows are grouped. They are in the history already;
    /// `sources` are their values.
    fn run(
        &mut self,
        frames: &Frames<'_>,
        history: &History,
        sources: &[ArrayRef],
    ) -> Result<ArrayRef>;

    /// Keeps the partitions that are `alive` and numbers them anew, in the same order.
    fn retain(&mut self, alive: &[bool]);

    fn memory_bytes(&self) -> usize;
}

/// The kernel for `aggregate`; adds what it needs of a row to `sources`.
pub(super) fn new_kernel(
    aggregate: &Arc<AggregateFunctionExpr>,
    schema: &Schema,
    sources: &mut Vec<Source>,
) -> Result<Box<dyn Kernel>> {
    let arguments = aggregate.expressions();
    let name = aggregate.fun().name();
    let plain = !aggregate.is_distinct() && arguments.len() == 1;
    if plain && name == "count" {
        let argument: &dyn std::any::Any = arguments[0].as_ref();
        if argument.downcast_ref::<Literal>().is_some_and(|literal| !literal.value().is_null()) {
            return Ok(Box::new(CountRows));
        }
    }
    if let [argument] = arguments.as_slice()
        && let Some(column) = column_of(argument).filter(|_| plain)
    {
        if name == "count" {
            let source = source_index(sources, Source::Presence(column));
            let fold = Fold { join: |a, _| a, finish: Finish::Count, source };
            return Ok(Box::new(Folding::<Int8Type>::new(fold, DataType::Int64)));
        }
        let from = schema.field(column).data_type();
        let to = aggregate.field().data_type().clone();
        let source = Source::Value(column);
        let known = sources.contains(&source);
        let index = source_index(sources, source);
        if let Some(kernel) = folding(name, from, to, index) {
            return Ok(kernel);
        }
        if !known {
            sources.pop();
        }
    }
    Ok(Box::new(Refold::new(aggregate, schema, sources)?))
}

/// The place of `source` among the sources.
pub(super) fn source_index(sources: &mut Vec<Source>, source: Source) -> usize {
    sources.iter().position(|known| *known == source).unwrap_or_else(|| {
        sources.push(source);
        sources.len() - 1
    })
}

/// A kernel that folds, if there is one for this function and these types.
fn folding(name: &str, from: &DataType, to: DataType, source: usize) -> Option<Box<dyn Kernel>> {
    match (name, from, &to) {
        ("sum", DataType::Int64, DataType::Int64) => Some(sum::<Int64Type>(to, source)),
        ("sum", DataType::UInt64, DataType::UInt64) => Some(sum::<UInt64Type>(to, source)),
        ("sum", DataType::Float64, DataType::Float64) => Some(sum::<Float64Type>(to, source)),
        ("sum", DataType::Decimal128(_, s), DataType::Decimal128(_, t)) if s == t => {
            Some(sum::<Decimal128Type>(to, source))
        }
        ("sum", DataType::Decimal256(_, s), DataType::Decimal256(_, t)) if s == t => {
            Some(sum::<Decimal256Type>(to, source))
        }
        ("avg", DataType::Float64, DataType::Float64) => {
            let fold = Fold { join: |a: f64, b| a + b, finish: Finish::Average, source };
            Some(Box::new(Folding::<Float64Type>::new(fold, to)))
        }
        ("min" | "max", DataType::Interval(_), _) => None,
        ("min" | "max", ..) if *from == to => extreme(name == "min", to, source),
        _ => None,
    }
}

fn sum<T: ArrowPrimitiveType + Debug>(to: DataType, source: usize) -> Box<dyn Kernel> {
    let fold = Fold { join: ArrowNativeTypeOp::add_wrapping, finish: Finish::Value, source };
    Box::new(Folding::<T>::new(fold, to))
}

fn extreme(min: bool, to: DataType, source: usize) -> Option<Box<dyn Kernel>> {
    macro_rules! kernel {
        ($t:ty) => {{
            // As in DataFusion: NaN is above all other numbers.
            let fold: Fold<Native<$t>> = if min {
                let join = |a: Native<$t>, b: Native<$t>| if b.is_lt(a) { b } else { a };
                Fold { join, finish: Finish::Value, source }
            } else {
                let join = |a: Native<$t>, b: Native<$t>| if b.is_gt(a) { b } else { a };
                Fold { join, finish: Finish::Value, source }
            };
            Some(Box::new(Folding::<$t>::new(fold, to)))
        }};
    }
    downcast_primitive! {
        to => (kernel),
        _ => None,
    }
}

type Native<T> = <T as ArrowPrimitiveType>::Native;

/// How values are folded.
#[derive(Debug, Clone, Copy)]
struct Fold<N> {
    join: fn(N, N) -> N,
    finish: Finish,
    /// Which of the sources it reads.
    source: usize,
}

/// What becomes of the fold of a frame.
#[derive(Debug, Clone, Copy)]
enum Finish {
    /// The value itself; NULL of no values.
    Value,
    /// It, divided by the number of values; NULL of no values.
    Average,
    /// The number of values.
    Count,
}

/// The fold of some rows.
#[derive(Debug, Clone, Copy)]
struct Part<N> {
    /// Meaningless where `count` is 0.
    value: N,
    /// How many of the rows have a value.
    count: i64,
}

/// The two stacks of a partition.
#[derive(Debug)]
struct Stacks<N> {
    start: u64,
    split: u64,
    /// The number of the row that comes next.
    end: u64,
    /// The folds of the rows from each number below `split` to `split`; that of `start` is last.
    front: Vec<Part<N>>,
    /// The fold of the rows from `split` to `end`.
    back: Part<N>,
}

#[derive(Debug)]
struct Folding<T: ArrowPrimitiveType + Debug> {
    fold: Fold<T::Native>,
    data_type: DataType,
    partitions: Vec<Stacks<T::Native>>,
}

impl<T: ArrowPrimitiveType + Debug> Folding<T> {
    fn new(fold: Fold<T::Native>, data_type: DataType) -> Self {
        Self { fold, data_type, partitions: Vec::new() }
    }

    /// The folds of all frames.
    fn parts(
        &mut self,
        frames: &Frames<'_>,
        history: &History,
        sources: &[ArrayRef],
    ) -> Result<Vec<Part<T::Native>>> {
        let fold = self.fold;
        let values = sources[fold.source].as_primitive::<T>();
        let mut parts = Vec::with_capacity(frames.starts.len());
        let mut starts = frames.starts.iter();
        let mut values = values.iter();
        for run in frames.runs {
            if self.partitions.len() <= run.partition {
                self.partitions.resize_with(run.partition + 1, Stacks::empty);
            }
            let kept = history.values::<T>(fold.source, run.partition);
            let kept = kept.ok_or_else(|| Error::bug("the history has another type"))?;
            let base = history.partition(run.partition).base;
            let earlier = |rows: std::ops::Range<u64>| {
                // Rows that are kept are in memory, so their places fit.
                let place = |row: u64| usize::try_from(row - base).unwrap_or(usize::MAX);
                kept.range(place(rows.start)..place(rows.end)).copied()
            };
            let stacks = &mut self.partitions[run.partition];
            for row in (run.first..).take(run.rows) {
                let start = starts.next().copied().unwrap_or(row);
                stacks.advance(start, row, fold.join, &earlier);
                stacks.push(values.next().flatten(), fold.join);
                parts.push(stacks.result(fold.join));
            }
        }
        Ok(parts)
    }
}

impl<N: ArrowNativeTypeOp> Stacks<N> {
    fn empty() -> Self {
        Self { start: 0, split: 0, end: 0, front: Vec::new(), back: Part::none() }
    }

    /// Moves the start of the frame to `start`, for the row numbered `row` to come next.
    fn advance<I: DoubleEndedIterator<Item = Option<N>>>(
        &mut self,
        start: u64,
        row: u64,
        join: fn(N, N) -> N,
        earlier: &impl Fn(std::ops::Range<u64>) -> I,
    ) {
        if self.end == row && self.start <= start && start <= self.split {
            // It stays in front of the split, where each row has its fold.
            let gone = usize::try_from(start - self.start).unwrap_or(usize::MAX);
            self.front.truncate(self.front.len().saturating_sub(gone));
        } else {
            self.front.clear();
            let mut fold = Part::none();
            for value in earlier(start..row).rev() {
                fold = Part::of(value).join(fold, join);
                self.front.push(fold);
            }
            self.split = row;
            self.back = Part::none();
            self.end = row;
        }
        self.start = start;
    }

    fn push(&mut self, value: Option<N>, join: fn(N, N) -> N) {
        self.back = self.back.join(Part::of(value), join);
        self.end += 1;
    }

    fn result(&self, join: fn(N, N) -> N) -> Part<N> {
        self.front.last().map_or(self.back, |front| front.join(self.back, join))
    }
}

impl<N: ArrowNativeTypeOp> Part<N> {
    fn none() -> Self {
        Self { value: N::ZERO, count: 0 }
    }

    fn of(value: Option<N>) -> Self {
        Self { value: value.unwrap_or(N::ZERO), count: i64::from(value.is_some()) }
    }

    fn join(self, later: Self, join: fn(N, N) -> N) -> Self {
        match (self.count, later.count) {
            (_, 0) => self,
            (0, _) => later,
            (a, b) => Self { value: join(self.value, later.value), count: a + b },
        }
    }
}

impl<T: ArrowPrimitiveType + Debug> Kernel for Folding<T> {
    fn run(
        &mut self,
        frames: &Frames<'_>,
        history: &History,
        sources: &[ArrayRef],
    ) -> Result<ArrayRef> {
        let parts = self.parts(frames, history, sources)?;
        let value = |part: &Part<T::Native>| (part.count > 0).then_some(part.value);
        Ok(match self.fold.finish {
            Finish::Count => Arc::new(parts.iter().map(|p| p.count).collect::<Int64Array>()),
            Finish::Value => {
                let values: PrimitiveArray<T> = parts.iter().map(value).collect();
                Arc::new(values.with_data_type(self.data_type.clone()))
            }
            Finish::Average => {
                let sums: PrimitiveArray<T> = parts.iter().map(value).collect();
                let sums: ArrayRef = Arc::new(sums);
                let sums = sums.as_primitive_opt::<Float64Type>();
                let sums = sums.ok_or_else(|| Error::bug("an average of no floats"))?;
                #[expect(clippy::cast_precision_loss, reason = "as DataFusion's AVG divides")]
                let average =
                    |(sum, part): (Option<f64>, &Part<_>)| sum.map(|s| s / part.count as f64);
                Arc::new(sums.iter().zip(&parts).map(average).collect::<Float64Array>())
            }
        })
    }

    fn retain(&mut self, alive: &[bool]) {
        retain(&mut self.partitions, alive);
    }

    fn memory_bytes(&self) -> usize {
        let room = size_of::<Part<T::Native>>();
        let stacks = self.partitions.iter().map(|stacks| stacks.front.capacity() * room);
        stacks.sum::<usize>() + self.partitions.capacity() * size_of::<Stacks<T::Native>>()
    }
}

/// `COUNT(*)`: the length of the frame.
#[derive(Debug)]
struct CountRows;

impl Kernel for CountRows {
    fn run(&mut self, frames: &Frames<'_>, _: &History, _: &[ArrayRef]) -> Result<ArrayRef> {
        let rows = frames.runs.iter().flat_map(|run| (run.first..).take(run.rows));
        let count = |(row, start): (u64, &u64)| i64::try_from(row - start + 1).unwrap_or(i64::MAX);
        Ok(Arc::new(rows.zip(&frames.starts).map(count).collect::<Int64Array>()))
    }

    fn retain(&mut self, _: &[bool]) {}

    fn memory_bytes(&self) -> usize {
        0
    }
}
