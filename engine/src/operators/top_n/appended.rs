//! A few first rows of each partition, where rows are only added: the common case, made fast.
//!
//! ```text
//!   partition ──► worst ──► better ──► best        one chain of row numbers per partition
//! ```
//!
//! Most rows of a large partition are worse than its worst first row, which one comparison of numbers
//! says: a row's place in the order is its first sixteen bytes as [`super::OrderedRows`] would have them.
//! Where these are equal the bytes of the whole row decide; they are made for the batches and rows that
//! need them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::row::Rows;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::{Emission, RankFunction, TopNSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operators::consolidate::BATCH_ROWS;
use crate::operators::ordered_rows::{Key, PLAIN, Section};
use crate::operators::row_index::compact;
use crate::operators::segments::{NONE, Segments};
use crate::operators::{EpochContext, Input, Operator, Output, StateBatch};

const ROWS: &str = "rows";

/// Rows per partition up to which a chain is walked: longer ones cost more than a sorted tree.
const LENGTH_MAX: u64 = 64;

/// A row is there.
const ALIVE: u8 = 1;

/// A row is in a snapshot.
const SAVED: u8 = 2;

/// A row came in this epoch.
const NEW: u8 = 4;

/// A row's number is listed as unsaved, whatever row it is of.
const LISTED: u8 = 8;

/// What is known of a row beside its columns.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// The beginning of its place in the order.
    order: u128,
    /// The next better row of its partition.
    better: u32,
    flags: u8,
}

const NO_LINK: Link = Link { order: 0, better: NONE, flags: 0 };

/// The first rows of a partition.
#[derive(Debug, Clone, Copy)]
struct Chain {
    worst: u32,
    length: u8,
    /// The epoch's changes of it began; its rows before are noted.
    touched: bool,
}

const EMPTY: Chain = Chain { worst: NONE, length: 0, touched: false };

/// The first rows of each partition.
pub(super) struct AppendedTopN {
    spec: TopNSpec,
    /// `None` where there is one partition.
    partitions: Option<Box<dyn GroupValues>>,
    chains: Vec<Chain>,
    links: Vec<Link>,
    rows: Segments,
    free: Vec<u32>,
    /// The `ORDER BY`, and all columns beside it and the partition.
    sections: [Section; 2],
    /// The whole bytes of kept rows that were equal to another in their first.
    ties: HashMap<u32, Key>,
    /// Rows since the last snapshot; some are gone by now.
    unsaved: Vec<u32>,
}

impl std::fmt::Debug for AppendedTopN {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppendedTopN").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// The changes of an epoch so far.
#[derive(Debug, Default)]
struct Changes {
    /// Rows that came in this epoch, some of which are gone again.
    born: Vec<u32>,
    /// Rows from before that are gone. They are forgotten when they have come out.
    dead: Vec<u32>,
    /// Partitions whose numbers may change, and where their rows end in `before`.
    touched: Vec<(u32, usize)>,
    /// The rows of these partitions before, worst first.
    before: Vec<u32>,
}

/// A batch of rows on their way in.
struct Arriving {
    batch: RecordBatch,
    order: Option<Rows>,
    /// The other columns as bytes, once a row needs them.
    others: Option<Option<Rows>>,
    /// For each row its number, if it has one.
    numbers: Vec<u32>,
}

impl Arriving {
    fn order_bytes(&self, row: usize) -> &[u8] {
        self.order.as_ref().map_or(&[], |rows| rows.row(row).data())
    }

    /// The beginning of a row's place in the order.
    fn order(&self, row: usize) -> u128 {
        let bytes = self.order_bytes(row);
        let mut first = [0; 16];
        let length = bytes.len().min(16);
        first[..length].copy_from_slice(&bytes[..length]);
        u128::from_be_bytes(first)
    }

    /// All of a row but its partition.
    fn bytes(&self, row: usize) -> Key {
        let others = self.others.iter().flatten().next().map_or(&[][..], |o| o.row(row).data());
        [self.order_bytes(row), others].concat().into_boxed_slice()
    }
}

impl AppendedTopN {
    /// Whether this operator is one for `spec`.
    pub(super) fn is_for(spec: &TopNSpec) -> bool {
        !spec.input_updating
            && spec.emission == Emission::Changes
            && spec.function == RankFunction::RowNumber
            && spec.ranks.iter().all(|rank| *rank == RankFunction::RowNumber)
            && spec.skip == 0
            && (1..=LENGTH_MAX).contains(&spec.limit)
    }

    pub(super) fn new(spec: TopNSpec) -> Result<Self> {
        let schema = &spec.input_schema;
        let keys = Arc::new(schema.project(&spec.partition_by)?);
        let partitions = (!spec.partition_by.is_empty())
            .then(|| new_group_values(keys, &GroupOrdering::None))
            .transpose()?;
        let mut seen = spec.partition_by.clone();
        let mut order = Vec::new();
        for (column, options) in &spec.order_by {
            if !seen.contains(column) {
                seen.push(*column);
                order.push((*column, *options));
            }
        }
        let others = (0..schema.fields().len()).filter(|column| !seen.contains(column));
        let others: Vec<_> = others.map(|column| (column, PLAIN)).collect();
        let sections = [Section::new(schema, &order)?, Section::new(schema, &others)?];
        let chains = if partitions.is_none() { vec![EMPTY] } else { Vec::new() };
        Ok(Self {
            spec,
            partitions,
            chains,
            links: Vec::new(),
            rows: Segments::default(),
            free: Vec::new(),
            sections,
            ties: HashMap::new(),
            unsaved: Vec::new(),
        })
    }

    fn partitions_of(&mut self, batch: &RecordBatch) -> Result<Vec<usize>> {
        let mut of_row = Vec::with_capacity(batch.num_rows());
        match &mut self.partitions {
            None => of_row.resize(batch.num_rows(), 0),
            Some(partitions) => {
                let keys = self.spec.partition_by.iter().map(|key| Arc::clone(batch.column(*key)));
                partitions.intern(&keys.collect::<Vec<_>>(), &mut of_row)?;
                self.chains.resize(partitions.len(), EMPTY);
            }
        }
        Ok(of_row)
    }

    /// Takes in a batch of rows.
    fn take_in(&mut self, batch: RecordBatch, changes: &mut Changes) -> Result<()> {
        let rows = batch.num_rows();
        let of_row = self.partitions_of(&batch)?;
        let order = self.sections[0].encode(&batch)?;
        let numbers = vec![NONE; rows];
        let mut arriving = Arriving { batch, order, others: None, numbers };
        let first_born = changes.born.len();
        for (row, partition) in of_row.into_iter().enumerate() {
            self.offer(partition, row, &mut arriving, changes)?;
        }
        if changes.born.len() == first_born {
            return Ok(());
        }
        // Some may have come and gone within the batch.
        let gone = arriving.numbers.iter_mut().filter(|number| !self.is_alive(**number));
        gone.for_each(|number| *number = NONE);
        let batch = compact(&arriving.batch)?;
        self.rows.put(arriving.numbers, batch.columns())
    }

    /// Puts a row into the chain of its partition, if it is among the first.
    fn offer(
        &mut self,
        partition: usize,
        row: usize,
        arriving: &mut Arriving,
        changes: &mut Changes,
    ) -> Result<()> {
        let order = arriving.order(row);
        let Chain { worst, length, .. } = self.chains[partition];
        let is_full = u64::from(length) == self.spec.limit;
        if is_full && self.compare(order, row, arriving, worst)? != Ordering::Less {
            return Ok(());
        }
        let (mut worse, mut better) = (NONE, worst);
        while better != NONE && self.compare(order, row, arriving, better)? == Ordering::Less {
            worse = better;
            better = self.links[better as usize].better;
        }
        self.touch(partition, changes);
        let number = self.born(Link { order, better, flags: ALIVE | NEW }, changes)?;
        arriving.numbers[row] = number;
        if arriving.others.is_some() {
            self.ties.insert(number, arriving.bytes(row));
        }
        match self.links.get_mut(worse as usize) {
            Some(worse) => worse.better = number,
            None => self.chains[partition].worst = number,
        }
        if is_full {
            let worst = self.chains[partition].worst;
            self.chains[partition].worst = self.links[worst as usize].better;
            self.drop_row(worst, changes);
        } else {
            self.chains[partition].length += 1;
        }
        Ok(())
    }

    /// Where an arriving row is in the order, compared with a kept one.
    fn compare(
        &mut self,
        order: u128,
        row: usize,
        arriving: &mut Arriving,
        kept: u32,
    ) -> Result<Ordering> {
        let first = order.cmp(&self.links[kept as usize].order);
        if first != Ordering::Equal {
            return Ok(first);
        }
        if arriving.others.is_none() {
            arriving.others = Some(self.sections[1].encode(&arriving.batch)?);
            let numbered = arriving.numbers.iter().enumerate().filter(|(_, n)| self.is_alive(**n));
            let bytes = numbered.map(|(row, number)| (*number, arriving.bytes(row)));
            let bytes: Vec<(u32, Key)> = bytes.collect();
            self.ties.extend(bytes);
        }
        if !self.ties.contains_key(&kept) {
            let bytes = self.bytes_of(kept)?;
            self.ties.insert(kept, bytes);
        }
        Ok(arriving.bytes(row).cmp(&self.ties[&kept]))
    }

    /// The bytes of a kept row.
    fn bytes_of(&self, number: u32) -> Result<Key> {
        let row = self.picked(&[number])?;
        let parts = [self.sections[0].encode(&row)?, self.sections[1].encode(&row)?];
        let parts: Vec<&[u8]> = parts.iter().flatten().map(|rows| rows.row(0).data()).collect();
        Ok(parts.concat().into_boxed_slice())
    }

    fn picked(&self, numbers: &[u32]) -> Result<RecordBatch> {
        let columns = self.rows.pick(numbers)?.columns()?;
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        let schema = SchemaRef::clone(&self.spec.input_schema);
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// Notes the rows of a partition before the epoch, where their numbers come out.
    fn touch(&mut self, partition: usize, changes: &mut Changes) {
        let Chain { worst, touched, .. } = self.chains[partition];
        if touched || self.spec.ranks.is_empty() {
            return;
        }
        self.chains[partition].touched = true;
        self.walk(worst, &mut changes.before);
        // Partitions are numbered as rows are.
        changes.touched.push((u32::try_from(partition).unwrap_or(NONE), changes.before.len()));
    }

    /// The rows from one to the best.
    fn walk(&self, from: u32, rows: &mut Vec<u32>) {
        let mut row = from;
        while row != NONE {
            rows.push(row);
            row = self.links[row as usize].better;
        }
    }

    fn born(&mut self, link: Link, changes: &mut Changes) -> Result<u32> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.links.push(NO_LINK);
                self.rows.add_number()?
            }
        };
        let listed = self.links[number as usize].flags & LISTED;
        if listed == 0 {
            self.unsaved.push(number);
        }
        self.links[number as usize] = Link { flags: link.flags | LISTED, ..link };
        changes.born.push(number);
        Ok(number)
    }

    fn drop_row(&mut self, number: u32, changes: &mut Changes) {
        let flags = &mut self.links[number as usize].flags;
        *flags &= !ALIVE;
        if *flags & NEW == 0 {
            changes.dead.push(number);
        }
        self.ties.remove(&number);
    }

    /// Whether a row has this number.
    fn is_alive(&self, number: u32) -> bool {
        self.links.get(number as usize).is_some_and(|link| link.flags & ALIVE != 0)
    }

    /// Rows that come and go, without numbers.
    fn plain_output(&self, changes: &Changes) -> Result<Vec<Delta>> {
        let enter = changes.born.iter().copied().filter(|number| self.is_alive(*number));
        let enter: Vec<u32> = enter.collect();
        let mut deltas = Vec::new();
        self.deltas(&changes.dead, None, -1, &mut deltas)?;
        self.deltas(&enter, None, 1, &mut deltas)?;
        Ok(deltas)
    }

    /// Rows that come and go or get another number.
    fn numbered_output(&mut self, changes: &Changes) -> Result<Vec<Delta>> {
        let (mut leave, mut enter) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let mut from = 0;
        let mut after = Vec::new();
        for &(partition, end) in &changes.touched {
            let chain = &mut self.chains[partition as usize];
            chain.touched = false;
            let worst = chain.worst;
            after.clear();
            self.walk(worst, &mut after);
            let before = &changes.before[from..end];
            from = end;
            // From the best on: those at the same place stay.
            let (mut old, mut new) = (before.iter().rev(), after.iter().rev());
            for place in 1_u64.. {
                let (old, new) = (old.next(), new.next());
                if old.is_none() && new.is_none() {
                    break;
                }
                if old == new {
                    continue;
                }
                if let Some(row) = old {
                    leave.0.push(*row);
                    leave.1.push(place);
                }
                if let Some(row) = new {
                    enter.0.push(*row);
                    enter.1.push(place);
                }
            }
        }
        let mut deltas = Vec::new();
        self.deltas(&leave.0, Some(&leave.1), -1, &mut deltas)?;
        self.deltas(&enter.0, Some(&enter.1), 1, &mut deltas)?;
        Ok(deltas)
    }

    fn deltas(
        &self,
        rows: &[u32],
        places: Option<&[u64]>,
        weight: i64,
        deltas: &mut Vec<Delta>,
    ) -> Result<()> {
        for first in (0..rows.len()).step_by(BATCH_ROWS) {
            let range = first..rows.len().min(first + BATCH_ROWS);
            let mut columns = self.rows.pick(&rows[range.clone()])?.columns()?;
            if let Some(places) = places {
                let places: ArrayRef = Arc::new(UInt64Array::from(places[range.clone()].to_vec()));
                for field in self.spec.schema.fields().iter().skip(columns.len()) {
                    columns.push(cast(&places, field.data_type())?);
                }
            }
            let batch = RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?;
            deltas.push(Delta { batch, weights: Some(vec![weight; range.len()].into()) });
        }
        Ok(())
    }

    /// Frees the numbers of rows that are gone.
    fn settle(&mut self, changes: &Changes) -> Result<()> {
        self.rows.forget(&changes.dead)?;
        for &number in &changes.dead {
            self.links[number as usize].flags &= LISTED;
            self.free.push(number);
        }
        let mut died_young = Vec::new();
        for &number in &changes.born {
            let flags = &mut self.links[number as usize].flags;
            *flags &= !NEW;
            if *flags & ALIVE == 0 {
                if self.rows.has_row(number) {
                    died_young.push(number);
                }
                self.free.push(number);
            }
        }
        self.rows.forget(&died_young)
    }
}

impl Operator for AppendedTopN {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        let mut changes = Changes::default();
        for delta in input.deltas {
            self.take_in(delta.appended()?, &mut changes)?;
        }
        let deltas = match self.spec.ranks.is_empty() {
            true => self.plain_output(&changes)?,
            false => self.numbered_output(&changes)?,
        };
        self.settle(&changes)?;
        Ok(deltas.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut unsaved = std::mem::take(&mut self.unsaved);
        unsaved.retain(|number| {
            let flags = &mut self.links[*number as usize].flags;
            let is_new = *flags & (ALIVE | SAVED) == ALIVE;
            *flags = (*flags & !LISTED) | if is_new { SAVED } else { 0 };
            is_new
        });
        if unsaved.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![StateBatch { part: ROWS, rows: self.picked(&unsaved)? }])
    }

    fn forget_snapshots(&mut self) {
        self.unsaved.clear();
        for (number, link) in (0_u32..).zip(&mut self.links) {
            link.flags &= !(SAVED | LISTED);
            if link.flags & ALIVE != 0 {
                link.flags |= LISTED;
                self.unsaved.push(number);
            }
        }
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for StateBatch { part, rows } in state {
            if part != ROWS {
                return Err(Error::bug("not the state of first rows"));
            }
            // What was among the first and is so no more is pushed out again by what came later.
            let schema = SchemaRef::clone(&self.spec.input_schema);
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let columns = rows.columns().to_vec();
            let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
            let mut changes = Changes::default();
            self.take_in(batch, &mut changes)?;
            for (partition, _) in &changes.touched {
                self.chains[*partition as usize].touched = false;
            }
            self.settle(&changes)?;
        }
        self.unsaved.clear();
        for link in &mut self.links {
            link.flags &= !LISTED;
            link.flags |= if link.flags & ALIVE != 0 { SAVED } else { 0 };
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        self.rows.num_rows()
    }

    fn memory_bytes(&self) -> usize {
        let partitions = self.partitions.as_ref().map_or(0, |partitions| partitions.size());
        let ties = self.ties.values().map(|key| key.len() + size_of::<(u32, Key)>());
        let numbers = self.free.capacity() + self.unsaved.capacity();
        self.rows.memory_bytes()
            + partitions
            + ties.sum::<usize>()
            + self.chains.capacity() * size_of::<Chain>()
            + self.links.capacity() * size_of::<Link>()
            + numbers * size_of::<u32>()
    }
}
