//! Window functions in the order of time: each row comes out once, when the watermark has made its
//! frame final.
//!
//! ```text
//!   partition    [ looked back at ][ final now ][ known, frame still open ][ not before the watermark ]
//!                      kept    ◄────── evaluated ──────────────────────►
//! ```
//!
//! The frames reach back and ahead by a number of rows or a time. What no later row can look back at
//! is forgotten; `ROW_NUMBER`, `RANK` and `DENSE_RANK` go on from how much that was. Evaluated are the
//! partitions with a row that has become final, each as one batch with DataFusion's own evaluation.
//!
//! Invariant: the rows that came out are those of the batch answer whose frames are final.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use datafusion::physical_plan::WindowExpr;

use super::consolidate::Joined;
use super::ordered_rows::{Kept, Key, OrderedRows};
use super::top_n::{RankFunction, order_text};
use super::{EpochContext, Input, Operator, Output, StateBatch, conformed};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::error::{Error, Result};
use crate::monotonic::to_numbers;
use crate::watermark::{Watermark, Watermarks};

const PARTITIONS: &str = "partitions";

/// How far the frames of some functions reach from a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Rows before it.
    pub rows_back: u64,
    /// Rows after it.
    pub rows_ahead: u64,
    /// Time before it, in the unit of the time column.
    pub time_back: i64,
    /// Time after it.
    pub time_ahead: i64,
}

impl Reach {
    /// What covers both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            rows_back: self.rows_back.max(other.rows_back),
            rows_ahead: self.rows_ahead.max(other.rows_ahead),
            time_back: self.time_back.max(other.time_back),
            time_ahead: self.time_ahead.max(other.time_ahead),
        }
    }
}

/// A window function.
#[derive(Debug, Clone)]
pub enum OrderedFunction {
    /// Evaluated over the rows of its frame.
    Framed(Arc<dyn WindowExpr>),
    /// Counted from the beginning of the partition.
    Counted(RankFunction),
}

/// Window functions in the order of time as planned. The input is append-only.
#[derive(Debug, Clone)]
pub struct OrderedWindowSpec {
    /// The columns whose equal values make a partition.
    pub partition_by: Vec<usize>,
    /// The columns that order the rows of a partition: first, ascending, a time with a watermark.
    pub order_by: Vec<(usize, SortOptions)>,
    /// What is computed.
    pub functions: Vec<OrderedFunction>,
    /// How far all of them reach.
    pub reach: Reach,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: those of the input, then one per function.
    pub schema: SchemaRef,
}

impl OrderedWindowSpec {
    fn time(&self) -> usize {
        self.order_by.first().map_or(0, |(column, _)| *column)
    }

    fn counts(&self) -> bool {
        self.functions.iter().any(|function| matches!(function, OrderedFunction::Counted(_)))
    }
}

impl OperatorSpec for OrderedWindowSpec {
    fn name(&self) -> &'static str {
        "OrderedWindow"
    }

    fn explain(&self) -> Explanation {
        let name = |column: &usize| self.input_schema.field(*column).name().as_str();
        let keys = self.partition_by.iter().map(name).collect::<Vec<_>>().join(", ");
        let order = order_text(&self.input_schema, &self.order_by);
        let functions = self.functions.iter().map(|function| match function {
            OrderedFunction::Framed(window) => window.name().to_owned(),
            OrderedFunction::Counted(rank) => rank.to_string(),
        });
        let functions = functions.collect::<Vec<_>>().join(", ");
        let time = self.input_schema.field(self.time()).name();
        let mut keeps =
            vec!["the rows whose frames are open or that an open frame reaches".to_owned()];
        let of_each = if keys.is_empty() { String::new() } else { format!(" of every {keys}") };
        let rows = self.reach.rows_back.max(self.reach.rows_ahead);
        if rows > 0 {
            keeps.push(format!("the last {rows} rows{of_each}"));
        }
        if self.counts() {
            keeps.push(format!("a count{of_each}"));
        }
        let is_bounded = keeps.len() == 1 || keys.is_empty();
        let freed_by = format!("the watermark passing {time} and the frames");
        Explanation {
            detail: format!("partition_by=[{keys}] order_by=[{order}] windows=[{functions}]"),
            keeps: keeps.join("; "),
            freed_by: if is_bounded { freed_by } else { String::new() },
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::by_keys(&self.partition_by)
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        // A row that waits for the next one of its partition may be of any age.
        if self.reach.rows_ahead == 0 {
            let watermark = inputs.first().and_then(|input| input.get(self.time()));
            watermarks.0[self.time()] = watermark.map(|watermark| match watermark {
                Watermark::At(bound) => Watermark::At(bound.saturating_sub(self.reach.time_ahead)),
                other => other,
            });
        }
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        if part != PARTITIONS {
            return OrderedRows::state_share(part, &self.partition_by);
        }
        // A column named twice is there once.
        let mut distinct: Vec<usize> = Vec::new();
        let place = |column: &usize| {
            distinct.iter().position(|known| known == column).unwrap_or_else(|| {
                distinct.push(*column);
                distinct.len() - 1
            })
        };
        Some(StateShare::Keys(self.partition_by.iter().map(place).collect()))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.running()?))
    }
}

impl OrderedWindowSpec {
    fn running(&self) -> Result<OrderedWindow> {
        let inputs = self.input_schema.fields().len();
        if self.schema.fields().len() != inputs + self.functions.len() || self.order_by.is_empty() {
            return Err(Error::bug("the columns of a window do not match its schema"));
        }
        Ok(OrderedWindow {
            rows: OrderedRows::new(&self.input_schema, &self.partition_by, &self.order_by)?,
            spec: self.clone(),
            partitions: BTreeMap::new(),
            due: BTreeSet::new(),
            changed: BTreeSet::new(),
            saved: false,
            rows_read: 0,
        })
    }
}

/// What is known of a partition beside its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Partition {
    /// Its first rows, which have come out and are kept to be looked back at.
    released: u64,
    /// Rows that came out and are forgotten.
    forgotten: u64,
    /// Of how many different places in the order those were.
    forgotten_peers: u64,
    /// The last of the rows that have come out and are kept, and how many equal to it have.
    last: Option<(Key, usize)>,
    /// The time that the watermark must pass to make its next row final, as bytes; `None` while that
    /// row waits for others.
    next: Option<Key>,
}

#[derive(Debug)]
struct OrderedWindow {
    spec: OrderedWindowSpec,
    rows: OrderedRows,
    partitions: BTreeMap<Key, Partition>,
    /// The partitions that wait for the watermark, by the time they wait for.
    due: BTreeSet<(Key, Key)>,
    /// Partitions that changed since the last snapshot, if there was one.
    changed: BTreeSet<Key>,
    saved: bool,
    /// Rows looked at to find out what comes out: the test that it stays in proportion reads it.
    rows_read: u64,
}

/// What comes out of a partition.
struct Released {
    output: Option<RecordBatch>,
    state: Partition,
    /// The rows it can forget.
    forget: Vec<Key>,
    rows_read: usize,
}

/// Those rows of a partition whose time the watermark has passed, decoded.
struct Decoded<'a> {
    keys: Vec<(&'a Key, Kept)>,
    batch: RecordBatch,
    times: Int64Array,
    nulls: usize,
}

impl OrderedWindow {
    /// The rows of a partition of times below `bound`, as bytes, each as often as it is there.
    fn keys_of<'a>(&'a self, partition: &'a [u8], bound: Option<&Key>) -> Vec<(&'a Key, Kept)> {
        let is_below =
            |(key, kept): &(&Key, Kept)| bound.is_none_or(|bound| kept.order(key) < bound.as_ref());
        let rows = self.rows.of(partition).take_while(is_below);
        rows.flat_map(|(key, kept)| {
            std::iter::repeat_n((key, kept), usize::try_from(kept.weight).unwrap_or(0))
        })
        .collect()
    }

    /// The rows of a partition that have not come out, each as often as it has not.
    fn open<'a>(&'a self, partition: &'a Key) -> impl Iterator<Item = (&'a Key, Kept)> + 'a {
        let last = self.partitions.get(partition).and_then(|partition| partition.last.as_ref());
        let from = last.map_or(partition, |(key, _)| key);
        self.rows.from(partition, from).flat_map(move |(key, kept)| {
            let out = last.filter(|(last, _)| last == key).map_or(0, |(_, out)| *out);
            let times = usize::try_from(kept.weight).unwrap_or(0).saturating_sub(out);
            std::iter::repeat_n((key, kept), times)
        })
    }

    /// Finds out what the next row of a partition waits for.
    fn schedule(&mut self, partition: &Key, time_width: usize) {
        let ahead = usize::try_from(self.spec.reach.rows_ahead).unwrap_or(usize::MAX);
        let next = self.open(partition).nth(ahead);
        let next = next
            .map(|(key, kept)| Key::from(kept.order(key).get(..time_width).unwrap_or_default()));
        let entry = self.partitions.entry(partition.clone()).or_default();
        if entry.next == next {
            return;
        }
        if let Some(before) = std::mem::replace(&mut entry.next, next.clone()) {
            self.due.remove(&(before, partition.clone()));
        }
        self.due.extend(next.map(|next| (next, partition.clone())));
    }

    /// The partitions with a row that may be final.
    fn due_before(&self, watermark: Watermark, bound: Option<&Key>) -> Vec<Key> {
        let is_open = |key: &&Key| self.open(key).next().is_some();
        match (watermark, bound) {
            (Watermark::End, _) => self.partitions.keys().filter(is_open).cloned().collect(),
            (_, Some(bound)) => {
                let due = self.due.iter().take_while(|(time, _)| time < bound);
                due.map(|(_, partition)| partition.clone()).collect()
            }
            (_, None) => Vec::new(),
        }
    }

    fn decoded<'a>(&'a self, partition: &'a [u8], bound: Option<&Key>) -> Result<Decoded<'a>> {
        let keys = self.keys_of(partition, bound);
        let batch = self.rows.decode(keys.iter().copied())?;
        let times = to_numbers(batch.column(self.spec.time()))?;
        let times = times.as_primitive::<Int64Type>().clone();
        let nulls = times.null_count();
        Ok(Decoded { keys, batch, times, nulls })
    }

    /// How many rows of a partition have times below `bound`; all at the end. Rows without a time are
    /// last.
    fn known(rows: &Decoded<'_>, watermark: Watermark) -> usize {
        match watermark {
            Watermark::End => rows.keys.len(),
            Watermark::Unknown => 0,
            Watermark::At(bound) => {
                let timed = rows.keys.len() - rows.nulls;
                rows.times.values()[..timed].partition_point(|time| *time < bound)
            }
        }
    }

    /// What comes out of a partition; `bound` is the watermark as bytes.
    fn release(
        &self,
        partition: &Key,
        watermark: Watermark,
        bound: Option<&Key>,
    ) -> Result<Released> {
        let state = self.partitions.get(partition).cloned().unwrap_or_default();
        let rows = self.decoded(partition, bound)?;
        let reach = self.spec.reach;
        let known = rows.keys.len();
        let from = usize::try_from(state.released).unwrap_or(usize::MAX).min(known);
        let shifted = match watermark {
            Watermark::At(bound) => Watermark::At(bound.saturating_sub(reach.time_ahead)),
            other => other,
        };
        let ahead = usize::try_from(reach.rows_ahead).unwrap_or(usize::MAX);
        let waits = if watermark == Watermark::End { 0 } else { ahead };
        let to = Self::known(&rows, shifted).min(known.saturating_sub(waits)).max(from);
        let output = (to > from).then(|| self.results(&rows, &state, (from, to, known)));
        let output = output.transpose()?;
        let keep_from = self.keep_from(&rows, to, watermark);
        let mut forget: Vec<Key> = Vec::new();
        let last = last_of(rows.keys.get(keep_from..to).unwrap_or_default());
        let mut after = Partition { released: u64::try_from(to).unwrap_or(0), last, ..state };
        let mut peers: Option<&[u8]> = None;
        for (key, kept) in &rows.keys[..keep_from] {
            if peers != Some(kept.peers(key)) {
                peers = Some(kept.peers(key));
                after.forgotten_peers += 1;
            }
            if forget.last() != Some(*key) {
                forget.push((*key).clone());
            }
            after.released -= 1;
            after.forgotten += 1;
        }
        Ok(Released { output, state: after, forget, rows_read: known })
    }

    /// The first row that a later one may look back at, or an equal one of it in the order.
    fn keep_from(&self, rows: &Decoded<'_>, to: usize, watermark: Watermark) -> usize {
        if watermark == Watermark::End {
            return to;
        }
        let reach = self.spec.reach;
        let by_rows = to.saturating_sub(usize::try_from(reach.rows_back).unwrap_or(usize::MAX));
        let timed = rows.keys.len() - rows.nulls;
        let next = if to < timed { rows.times.value(to) } else { i64::MAX };
        let next = next.min(watermark.bound()).saturating_sub(reach.time_back);
        let by_time = rows.times.values()[..timed].partition_point(|time| *time < next);
        let mut from = by_rows.min(by_time).min(to);
        let peers = |at: usize| rows.keys.get(at).map(|(key, kept)| kept.peers(key));
        while from > 0 && peers(from - 1) == peers(from) {
            from -= 1;
        }
        from
    }

    /// The output rows `from..to` of a partition of which `known` rows are known.
    fn results(
        &self,
        rows: &Decoded<'_>,
        state: &Partition,
        (from, to, known): (usize, usize, usize),
    ) -> Result<RecordBatch> {
        let batch = rows.batch.slice(0, known);
        let mut columns: Vec<ArrayRef> =
            batch.columns().iter().map(|column| column.slice(from, to - from)).collect();
        for function in &self.spec.functions {
            let results = match function {
                OrderedFunction::Framed(window) => window.evaluate(&batch)?,
                OrderedFunction::Counted(rank) => counted(&rows.keys[..known], state, *rank),
            };
            columns.push(results.slice(from, to - from));
        }
        conformed(columns, &self.spec.schema)
    }

    fn note(&mut self, partition: &Key) {
        if self.saved {
            self.changed.insert(partition.clone());
        }
    }

    /// Replaces what is known of a partition; one that nothing is known of is forgotten.
    fn keep(&mut self, partition: &Key, state: Partition) {
        let nothing = Partition { next: state.next.clone(), ..Partition::default() };
        let is_empty = self.rows.of(partition).next().is_none();
        if is_empty && (state == nothing || !self.spec.counts()) {
            if let Some(next) = self.partitions.remove(partition).and_then(|p| p.next) {
                self.due.remove(&(next, partition.clone()));
            }
        } else {
            self.partitions.insert(partition.clone(), state);
        }
        self.note(partition);
    }
}

/// The last of some rows, and how many are equal to it.
fn last_of(rows: &[(&Key, Kept)]) -> Option<(Key, usize)> {
    let (last, _) = rows.last()?;
    let equal = rows.iter().rev().take_while(|(key, _)| key == last).count();
    Some(((*last).clone(), equal))
}

/// The numbers of rows that follow `state`.
fn counted(rows: &[(&Key, Kept)], state: &Partition, function: RankFunction) -> ArrayRef {
    let (mut place, mut rank, mut dense) = (state.forgotten, 0, state.forgotten_peers);
    let mut peers: Option<&[u8]> = None;
    let number = rows.iter().map(|(key, kept)| {
        place += 1;
        if peers != Some(kept.peers(key)) {
            peers = Some(kept.peers(key));
            rank = place;
            dense += 1;
        }
        match function {
            RankFunction::RowNumber => place,
            RankFunction::Rank => rank,
            RankFunction::DenseRank => dense,
        }
    });
    Arc::new(number.collect::<UInt64Array>())
}

impl Operator for OrderedWindow {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        if input.deltas.iter().any(|delta| delta.weights.is_some()) {
            return Err(Error::bug("rows were taken back from an append-only input"));
        }
        let encoded = input.deltas.iter().map(|delta| self.rows.encode(delta));
        let encoded = encoded.collect::<Result<Vec<_>>>()?;
        encoded.iter().try_for_each(|rows| self.rows.apply(rows))?;
        let width = self.rows.order_bytes(0)?.len();
        for partition in OrderedRows::partitions(&encoded) {
            self.schedule(&partition, width);
        }
        let watermark = input.watermarks.get(self.spec.time()).unwrap_or(Watermark::Unknown);
        let mut output = Joined::new(&self.spec.schema);
        let bound = match watermark {
            Watermark::At(bound) => Some(self.rows.order_bytes(bound)?),
            Watermark::Unknown | Watermark::End => None,
        };
        for partition in self.due_before(watermark, bound.as_ref()) {
            let released = self.release(&partition, watermark, bound.as_ref())?;
            let Released { output: rows, state, forget, rows_read } = released;
            self.rows_read += rows_read as u64;
            rows.map_or(Ok(()), |rows| output.push(rows))?;
            forget.into_iter().for_each(|key| self.rows.remove(key));
            self.keep(&partition, state);
            if self.partitions.contains_key(&partition) {
                self.schedule(&partition, width);
            }
        }
        Ok(output.finish()?.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = self.rows.snapshot()?;
        let changed = std::mem::take(&mut self.changed);
        let keys: Vec<&Key> = match self.saved {
            true => changed.iter().collect(),
            false => self.partitions.keys().collect(),
        };
        self.saved = true;
        if keys.is_empty() {
            return Ok(state);
        }
        let mut columns = self.rows.decode_partitions(&keys)?;
        let unknown = Partition::default();
        let of = |number: fn(&Partition) -> u64| -> ArrayRef {
            let numbers = keys.iter().map(|key| self.partitions.get(*key).unwrap_or(&unknown));
            Arc::new(numbers.map(number).collect::<UInt64Array>())
        };
        columns.push(of(|partition| partition.released));
        columns.push(of(|partition| partition.forgotten));
        columns.push(of(|partition| partition.forgotten_peers));
        let fields = columns.iter().enumerate().map(|(number, column)| {
            Field::new(format!("column_{number}"), DataType::clone(column.data_type()), true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = RecordBatch::try_new(schema, columns)?;
        state.push(StateBatch { part: PARTITIONS, rows });
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.rows.forget_snapshots();
        self.changed.clear();
        self.saved = false;
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for state in state {
            let Some(StateBatch { rows, .. }) = self.rows.restore(state)? else { continue };
            let keys = rows.num_columns().saturating_sub(3);
            let numbers = rows.columns()[keys..].iter();
            let numbers = numbers.map(|column| column.as_primitive_opt::<UInt64Type>());
            let numbers = numbers.collect::<Option<Vec<_>>>();
            let numbers = numbers.filter(|numbers| numbers.len() == 3);
            let numbers = numbers.ok_or_else(|| Error::bug("not the state of a window"))?;
            let partitions =
                self.rows.encode_partitions(&rows.columns()[..keys], rows.num_rows())?;
            for (row, key) in partitions.into_iter().enumerate() {
                let partition = Partition {
                    released: numbers[0].value(row),
                    forgotten: numbers[1].value(row),
                    forgotten_peers: numbers[2].value(row),
                    last: None,
                    next: None,
                };
                self.partitions.insert(key, partition);
            }
        }
        self.saved = true;
        let width = self.rows.order_bytes(0)?.len();
        let unknown = Partition::default();
        self.partitions.retain(|_, partition| *partition != unknown);
        for partition in self.rows.all_partitions() {
            let released = self.partitions.get(&partition).map_or(0, |known| known.released);
            let rows = self.keys_of(&partition, None);
            let released = usize::try_from(released).unwrap_or(usize::MAX).min(rows.len());
            let last = last_of(&rows[..released]);
            if let Some(known) = self.partitions.get_mut(&partition) {
                known.last = last;
            }
            self.schedule(&partition, width);
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        self.rows.len()
    }

    fn memory_bytes(&self) -> usize {
        let of = |(key, partition): (&Key, &Partition)| {
            let next = partition.next.as_ref().map_or(0, |next| 2 * next.len() + key.len());
            let last = partition.last.as_ref().map_or(0, |(last, _)| last.len());
            key.len() + next + last + 2 * size_of::<Partition>()
        };
        self.rows.memory_bytes() + self.partitions.iter().map(of).sum::<usize>()
    }
}
