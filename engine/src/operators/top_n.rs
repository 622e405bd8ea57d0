//! The first rows of each partition: `ROW_NUMBER`, `RANK` or `DENSE_RANK` with an upper bound, and
//! `ORDER BY … LIMIT`.
//!
//! ```text
//!   rows ─► partitions touched ─► first rows before ─┬─► those that left: -1, those that came: +1
//!                                 first rows after  ─┘
//! ```
//!
//! Rows that the order leaves equal are ordered by all their other columns (`super::ordered_rows`).
//! Where rows are only added, what is behind the first ones is forgotten: nothing brings it back. Where
//! a partition column has a watermark, the first rows come out once, when it closes the partition.
//!
//! Invariant: after every epoch the sum of the output is the batch answer for the sum of the input, or
//! for the closed partitions of it.

mod appended;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::UInt64Array;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;

use self::appended::AppendedTopN;
use super::ordered_rows::{Encoded, Kept, Key, OrderedRows};
use super::{EpochContext, Input, Operator, Output, StateBatch, conformed};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::{Watermark, Watermarks};

/// How the rows of a partition are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankFunction {
    /// Each row has a number of its own.
    RowNumber,
    /// Equal rows have the number of the first of them.
    Rank,
    /// Equal rows have the same number, and the next ones the next.
    DenseRank,
}

impl fmt::Display for RankFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RowNumber => "row_number",
            Self::Rank => "rank",
            Self::DenseRank => "dense_rank",
        })
    }
}

/// When rows come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emission {
    /// In every epoch what changed: an updating output.
    Changes,
    /// When the watermark passes this column, one of those of the partition. The input is append-only.
    Closed(usize),
}

/// The first rows of each partition as planned.
#[derive(Debug, Clone)]
pub struct TopNSpec {
    /// The columns whose equal values make a partition.
    pub partition_by: Vec<usize>,
    /// The columns that order the rows of a partition.
    pub order_by: Vec<(usize, SortOptions)>,
    /// What is counted.
    pub function: RankFunction,
    /// Rows up to this number do not come out.
    pub skip: u64,
    /// Rows above this number do not come out.
    pub limit: u64,
    /// The numbers that become columns behind those of the input.
    pub ranks: Vec<RankFunction>,
    /// When rows come out.
    pub emission: Emission,
    /// Whether the input can take back rows.
    pub input_updating: bool,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: those of the input, then the numbers.
    pub schema: SchemaRef,
}

impl TopNSpec {
    fn name_of(&self, column: usize) -> &str {
        self.input_schema.field(column).name()
    }

    fn names(&self, columns: &[usize]) -> String {
        columns.iter().map(|column| self.name_of(*column)).collect::<Vec<_>>().join(", ")
    }

    /// The columns that make a partition, the one that closes it first.
    fn partition(&self) -> Vec<usize> {
        let first = match self.emission {
            Emission::Closed(column) => Some(column),
            Emission::Changes => None,
        };
        let others = self.partition_by.iter().copied().filter(|column| Some(*column) != first);
        first.into_iter().chain(others).collect()
    }
}

/// `ORDER BY` as a text.
pub(super) fn order_text(schema: &SchemaRef, order_by: &[(usize, SortOptions)]) -> String {
    let one = |(column, options): &(usize, SortOptions)| {
        format!("{} {options}", schema.field(*column).name())
    };
    order_by.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Whether an operator can keep rows of this type in order.
pub fn can_be_ordered(schema: &SchemaRef) -> bool {
    OrderedRows::supports(schema)
}

impl OperatorSpec for TopNSpec {
    fn name(&self) -> &'static str {
        "TopN"
    }

    fn explain(&self) -> Explanation {
        let keys = self.names(&self.partition_by);
        let mut detail = format!("{} <= {}", self.function, self.limit);
        if self.skip > 0 {
            detail = format!("{} < {detail}", self.skip);
        }
        if !keys.is_empty() {
            detail = format!("{detail} partition_by=[{keys}]");
        }
        let order = order_text(&self.input_schema, &self.order_by);
        let of_each = if keys.is_empty() { String::new() } else { format!(" of every {keys}") };
        let first = match self.function {
            RankFunction::RowNumber => format!("the first {} rows{of_each}", self.limit),
            _ => format!("the first {} rows{of_each} and what equals the last", self.limit),
        };
        let bounded = keys.is_empty() && self.function == RankFunction::RowNumber;
        let (keeps, freed_by) = match self.emission {
            _ if self.input_updating => (format!("every row{of_each}"), String::new()),
            Emission::Closed(column) => {
                (first, format!("the watermark passing {}", self.name_of(column)))
            }
            Emission::Changes if bounded => (first, "nothing, it does not grow".to_owned()),
            Emission::Changes => (first, String::new()),
        };
        Explanation { detail: format!("{detail} order_by=[{order}]"), keeps, freed_by }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::by_keys(&self.partition_by)
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        if let Emission::Closed(column) = self.emission {
            // What is kept has values that the watermark has not passed.
            watermarks.0[column] = inputs.first().and_then(|input| input.get(column));
        }
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        OrderedRows::state_share(part, &self.partition_by)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let inputs = self.input_schema.fields().len();
        if self.schema.fields().len() != inputs + self.ranks.len() {
            return Err(Error::bug("the columns of the first rows do not match their schema"));
        }
        if self.input_updating && self.emission != Emission::Changes {
            return Err(Error::bug("rows that may be taken back do not come out once"));
        }
        if AppendedTopN::is_for(self) {
            return Ok(Box::new(AppendedTopN::new(self.clone())?));
        }
        let rows = OrderedRows::new(&self.input_schema, &self.partition(), &self.order_by)?;
        Ok(Box::new(TopN { spec: self.clone(), rows }))
    }
}

#[derive(Debug)]
struct TopN {
    spec: TopNSpec,
    rows: OrderedRows,
}

/// A row that is among the first, with the numbers that come out.
#[derive(Debug, Clone)]
struct Ranked {
    key: Key,
    kept: Kept,
    /// In the order of [`TopNSpec::ranks`]; what is not asked for is 0.
    ranks: [u64; 3],
}

impl Ranked {
    fn compare(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then_with(|| self.ranks.cmp(&other.ranks))
    }
}

impl TopN {
    /// The first rows among those of one partition, which come in order; and how many of these were
    /// looked at.
    fn first<'a>(
        &self,
        rows: impl Iterator<Item = (&'a Key, Kept)>,
        first: &mut Vec<Ranked>,
    ) -> usize {
        let (mut place, mut rank, mut dense) = (0_u64, 0_u64, 0_u64);
        let mut peers: &[u8] = &[];
        let mut seen = 0;
        for (key, kept) in rows {
            if kept.weight > 0 {
                if place == 0 || kept.peers(key) != peers {
                    (peers, rank, dense) = (kept.peers(key), place + 1, dense + 1);
                }
                let start = place;
                for _ in 0..kept.weight {
                    place += 1;
                    let number = |function: RankFunction| match function {
                        RankFunction::RowNumber => place,
                        RankFunction::Rank => rank,
                        RankFunction::DenseRank => dense,
                    };
                    let counted = number(self.spec.function);
                    if counted > self.spec.limit {
                        // It stays if it is there several times and among the first once.
                        return seen + usize::from(place > start + 1);
                    }
                    if counted > self.spec.skip {
                        let mut ranks = [0; 3];
                        let wanted = self.spec.ranks.iter();
                        ranks.iter_mut().zip(wanted).for_each(|(to, f)| *to = number(*f));
                        first.push(Ranked { key: key.clone(), kept, ranks });
                    }
                }
            }
            seen += 1;
        }
        seen
    }

    /// The first rows of these partitions.
    fn first_of(&self, partitions: &[Key]) -> Vec<Ranked> {
        let mut first = Vec::new();
        for partition in partitions {
            self.first(self.rows.of(partition), &mut first);
        }
        first
    }

    /// Forgets what is behind the first rows of these partitions.
    fn forget_rest(&mut self, partitions: &[Key]) {
        let mut looked_at = Vec::new();
        for partition in partitions {
            looked_at.clear();
            let seen = self.first(self.rows.of(partition), &mut looked_at);
            let rest = self.rows.of(partition).skip(seen).map(|(key, _)| key.clone());
            let rest: Vec<Key> = rest.collect();
            rest.into_iter().for_each(|key| self.rows.remove(key));
        }
    }

    /// Rows as a change of the output.
    fn delta(&self, rows: &[&Ranked], weight: Option<i64>) -> Result<Option<Delta>> {
        if rows.is_empty() {
            return Ok(None);
        }
        let batch = self.rows.decode(rows.iter().map(|row| (&row.key, row.kept)))?;
        let mut columns = batch.columns().to_vec();
        for number in 0..self.spec.ranks.len() {
            let ranks = rows.iter().map(|row| row.ranks[number]);
            columns.push(Arc::new(ranks.collect::<UInt64Array>()));
        }
        let batch = conformed(columns, &self.spec.schema)?;
        let weights = weight.map(|weight| vec![weight; rows.len()].into());
        Ok(Some(Delta { batch, weights }))
    }

    /// What two lists of first rows differ in. Both are in order.
    fn difference(&self, before: &[Ranked], after: &[Ranked]) -> Result<Vec<Delta>> {
        let (mut leave, mut enter) = (Vec::new(), Vec::new());
        let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.compare(new),
            };
            if order == Ordering::Less {
                leave.extend(old.next());
            } else if order == Ordering::Greater {
                enter.extend(new.next());
            } else {
                old.next();
                new.next();
            }
        }
        let leave = self.delta(&leave, Some(-1))?;
        Ok(leave.into_iter().chain(self.delta(&enter, Some(1))?).collect())
    }

    /// What comes out of the partitions that the watermark closes.
    fn close(&mut self, watermark: Watermark) -> Result<Vec<Delta>> {
        let bound = match watermark {
            Watermark::Unknown => return Ok(Vec::new()),
            Watermark::At(bound) => Some(bound),
            Watermark::End => None,
        };
        let closed = self.rows.take_before(bound)?;
        let mut first = Vec::new();
        for partition in closed.chunk_by(|(a, ka), (b, kb)| ka.partition(a) == kb.partition(b)) {
            self.first(partition.iter().map(|(key, kept)| (key, *kept)), &mut first);
        }
        let rows: Vec<&Ranked> = first.iter().collect();
        Ok(self.delta(&rows, None)?.into_iter().collect())
    }

    fn apply(&mut self, encoded: &[Encoded], partitions: &[Key]) -> Result<()> {
        encoded.iter().try_for_each(|rows| self.rows.apply(rows))?;
        if !self.spec.input_updating {
            self.forget_rest(partitions);
        }
        Ok(())
    }
}

impl Operator for TopN {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        if !self.spec.input_updating && input.deltas.iter().any(|delta| delta.weights.is_some()) {
            return Err(Error::bug("rows were taken back from an append-only input"));
        }
        let encoded = input.deltas.iter().map(|delta| self.rows.encode(delta));
        let encoded = encoded.collect::<Result<Vec<_>>>()?;
        let partitions = OrderedRows::partitions(&encoded);
        match self.spec.emission {
            Emission::Changes => {
                let before = self.first_of(&partitions);
                self.apply(&encoded, &partitions)?;
                Ok(self.difference(&before, &self.first_of(&partitions))?.into())
            }
            Emission::Closed(column) => {
                self.apply(&encoded, &partitions)?;
                let watermark = input.watermarks.get(column).unwrap_or(Watermark::Unknown);
                Ok(self.close(watermark)?.into())
            }
        }
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
