//! The time of a source: watermarks per partition, and rows that come too late.
//!
//! Each partition has its own watermark, found from its own rows alone; the stream's is the lowest of
//! those that still matter. So what is late does not depend on how partitions are interleaved or how
//! input is cut into epochs, and a replay sets the same rows aside.
//!
//! ```text
//!   Discovered ─► Active ◄──► Idle          idle: out of the minimum (or on the clock)
//!                    │                      finished: out of the minimum for good
//!                    └──────► Finished      none left: the stream's watermark stands still
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMillisecondArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMillisecondType;

use crate::checkpoint::manifest::{PartitionRecord, PartitionStatus, SourceRecord};
use crate::dataflow::{SourceNode, TimeOrder};
use crate::error::{Error, Result};
use crate::fault::{BadRow, Reason, rowtime_of};
use crate::operators::row_text;
use crate::port::{PartitionId, Position, SourceBatch, SourceEvent};
use crate::watermark::Watermark;

/// What is kept per partition.
#[derive(Debug, Clone)]
struct Partition {
    /// Its watermark; [`i64::MIN`] before its first row.
    watermark: i64,
    status: Status,
    position: Option<Position>,
    parents: Vec<PartitionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Active,
    Idle,
    Finished,
}

/// The running state of a source node.
#[derive(Debug, Clone)]
pub(super) struct SourceState {
    stream: Arc<str>,
    rowtime: usize,
    time_columns: Vec<usize>,
    order: TimeOrder,
    partitions: BTreeMap<PartitionId, Partition>,
    watermark: Watermark,
    ended: bool,
}

/// What an event brought.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Rows, in the order they came.
    pub(super) rows: Vec<RecordBatch>,
    /// Bad and late rows.
    pub(super) bad: Vec<BadRow>,
}

impl SourceState {
    pub(super) fn new(node: &SourceNode) -> Self {
        Self {
            stream: node.stream.as_str().into(),
            rowtime: node.rowtime,
            time_columns: node.time_columns.clone(),
            order: node.order,
            partitions: BTreeMap::new(),
            watermark: Watermark::Unknown,
            ended: false,
        }
    }

    /// No event will follow.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes an event in.
    pub(super) fn take(&mut self, event: SourceEvent, arrived: &mut Arrived) -> Result<()> {
        match event {
            SourceEvent::Discovered { partition, parents } => self.discover(partition, parents),
            SourceEvent::Rows(batch) => return self.rows(batch, arrived),
            SourceEvent::Moved { partition, position } => {
                self.partition(&partition).position = Some(position);
            }
            SourceEvent::Bound { partition, rowtime_ms } => {
                let promised = self.watermark.bound();
                let partition = self.partition(&partition);
                if partition.status == Status::Idle {
                    // While it was idle the stream went on without it: that promise stands.
                    partition.watermark = partition.watermark.max(promised);
                }
                partition.status = Status::Active;
                partition.watermark = partition.watermark.max(rowtime_ms);
            }
            SourceEvent::Idle { partition } => self.partition(&partition).status = Status::Idle,
            SourceEvent::Finished { partition } => {
                self.partition(&partition).status = Status::Finished;
            }
        }
        Ok(())
    }

    fn discover(&mut self, id: PartitionId, parents: Vec<PartitionId>) {
        let promised = self.watermark.bound();
        if let Some(known) = self.partitions.get_mut(&id) {
            // Discovered again after a restart: it holds the watermark until it is idle again.
            if known.status == Status::Idle {
                known.status = Status::Active;
                known.watermark = known.watermark.max(promised);
            }
            return;
        }
        let inherited = parents.iter().filter_map(|parent| self.partitions.get(parent));
        let watermark = inherited.map(|parent| parent.watermark).min().unwrap_or(i64::MIN);
        let partition = Partition { watermark, status: Status::Active, position: None, parents };
        self.partitions.insert(id, partition);
    }

    /// Where the source stands; it is the source of `node`.
    pub(super) fn record(&self, node: usize) -> SourceRecord {
        let known = |watermark: i64| (watermark != i64::MIN).then_some(watermark);
        let partitions = self.partitions.iter().map(|(id, partition)| PartitionRecord {
            name: id.to_string(),
            position: partition.position.as_ref().map(|position| position.0.clone()),
            watermark: known(partition.watermark),
            status: match partition.status {
                Status::Active => PartitionStatus::Active,
                Status::Idle => PartitionStatus::Idle,
                Status::Finished => PartitionStatus::Finished,
            },
            parents: partition.parents.iter().map(ToString::to_string).collect(),
        });
        SourceRecord {
            node,
            stream: self.stream.to_string(),
            watermark: known(self.watermark.bound()),
            partitions: partitions.collect(),
        }
    }

    /// Stands where `record` says.
    pub(super) fn restore(&mut self, record: &SourceRecord) {
        self.watermark = match record.watermark {
            None => Watermark::Unknown,
            Some(i64::MAX) => Watermark::End,
            Some(at) => Watermark::At(at),
        };
        let partitions = record.partitions.iter().map(|partition| {
            let restored = Partition {
                watermark: partition.watermark.unwrap_or(i64::MIN),
                status: match partition.status {
                    PartitionStatus::Active => Status::Active,
                    PartitionStatus::Idle => Status::Idle,
                    PartitionStatus::Finished => Status::Finished,
                },
                position: partition.position.clone().map(Position),
                parents: partition.parents.iter().map(|p| PartitionId::from(p.as_str())).collect(),
            };
            (PartitionId::from(partition.name.as_str()), restored)
        });
        self.partitions = partitions.collect();
    }

    /// The partition `id`, discovered now if the source did not announce it.
    fn partition(&mut self, id: &PartitionId) -> &mut Partition {
        self.partitions.entry(id.clone()).or_insert(Partition {
            watermark: i64::MIN,
            status: Status::Active,
            position: None,
            parents: Vec::new(),
        })
    }

    fn rows(&mut self, batch: SourceBatch, arrived: &mut Arrived) -> Result<()> {
        let promised = self.watermark.bound();
        let (order, rowtime) = (self.order, self.rowtime);
        let partition = self.partition(&batch.partition);
        if partition.status == Status::Idle {
            // While it was idle the stream went on without it: that promise stands.
            partition.watermark = partition.watermark.max(promised);
        }
        partition.status = Status::Active;
        partition.position = Some(batch.position.clone());
        arrived.bad.extend(batch.bad);
        if batch.rows.num_rows() == 0 {
            return Ok(());
        }
        let times = batch.rows.column(rowtime).as_primitive_opt::<TimestampMillisecondType>();
        let times = times.ok_or_else(|| Error::bug("ROWTIME is not a TIMESTAMP"))?.clone();
        let rows = match order {
            TimeOrder::Arrival | TimeOrder::Ascending => {
                let ascending = ascending(&times, &mut partition.watermark);
                self.with_times(&batch.rows, ascending)?
            }
            TimeOrder::Bounded(delay_ms) => {
                let on_time = on_time(&times, delay_ms, &mut partition.watermark);
                self.without_late(
                    batch.rows,
                    &on_time,
                    (&batch.partition, &batch.position),
                    arrived,
                )?
            }
        };
        if rows.num_rows() > 0 {
            arrived.rows.push(rows);
        }
        Ok(())
    }

    fn with_times(
        &self,
        rows: &RecordBatch,
        times: Option<TimestampMillisecondArray>,
    ) -> Result<RecordBatch> {
        let Some(times) = times else { return Ok(rows.clone()) };
        let times: ArrayRef = Arc::new(times);
        let mut columns = rows.columns().to_vec();
        for &column in self.time_columns.iter().chain([&self.rowtime]) {
            columns[column] = Arc::clone(&times);
        }
        Ok(RecordBatch::try_new(rows.schema(), columns)?)
    }

    fn without_late(
        &self,
        rows: RecordBatch,
        on_time: &BooleanArray,
        (partition, position): (&PartitionId, &Position),
        arrived: &mut Arrived,
    ) -> Result<RecordBatch> {
        if on_time.true_count() == rows.num_rows() {
            return Ok(rows);
        }
        for late in (0..rows.num_rows()).filter(|&row| !on_time.value(row)) {
            arrived.bad.push(BadRow {
                reason: Reason::Late,
                message: "the row is older than its partition's watermark".to_owned(),
                stream: Arc::clone(&self.stream),
                partition: Arc::clone(&partition.0),
                position: format!("at or before {}", position.0),
                rowtime_ms: rowtime_of(&rows, late),
                raw: row_text(&rows, late).into_bytes(),
            });
        }
        Ok(filter_record_batch(&rows, on_time)?)
    }

    /// Brings the stream's watermark up to date, at the end of an epoch's input.
    pub(super) fn advance(&mut self, now_ms: i64) -> Watermark {
        if self.ended {
            self.watermark = Watermark::End;
            return self.watermark;
        }
        if self.order == TimeOrder::Arrival {
            let idle = self.partitions.values_mut().filter(|p| p.status == Status::Idle);
            idle.for_each(|p| p.watermark = p.watermark.max(now_ms));
        }
        let follows_clock = self.order == TimeOrder::Arrival;
        let matters = |p: &&Partition| match p.status {
            Status::Active => true,
            Status::Idle => follows_clock,
            Status::Finished => false,
        };
        let lowest = self.partitions.values().filter(matters).map(|p| p.watermark).min();
        // When all are idle none goes on without another: what all of them promised holds.
        let unfinished = self.partitions.values().filter(|p| p.status != Status::Finished);
        let lowest = lowest.or_else(|| unfinished.map(|p| p.watermark).min());
        if let Some(lowest) = lowest.filter(|&lowest| lowest > self.watermark.bound()) {
            self.watermark = Watermark::At(lowest);
        }
        self.watermark
    }

    /// The columns that carry the stream's watermark.
    pub(super) fn timed_columns(&self) -> impl Iterator<Item = usize> {
        self.time_columns.iter().copied().chain([self.rowtime])
    }
}

/// `times` with each one raised to the largest so far, `None` if they are in order already; `highest`
/// is the largest before and, afterwards, after them.
fn ascending(
    times: &TimestampMillisecondArray,
    highest: &mut i64,
) -> Option<TimestampMillisecondArray> {
    let values = times.values();
    let in_order = times.null_count() == 0
        && values.first().is_some_and(|first| first >= highest)
        && values.is_sorted();
    if in_order {
        *highest = values.last().copied().unwrap_or(*highest);
        return None;
    }
    let mut raise = |time: Option<i64>| {
        *highest = (*highest).max(time.unwrap_or(i64::MIN));
        *highest
    };
    Some(times.iter().map(&mut raise).collect::<Vec<_>>().into())
}

/// Which rows are not older than the watermark when they come: the largest time before them less
/// `delay_ms`.
fn on_time(times: &TimestampMillisecondArray, delay_ms: i64, watermark: &mut i64) -> BooleanArray {
    let mut check = |&time: &i64| {
        let on_time = time >= *watermark;
        *watermark = (*watermark).max(time.saturating_sub(delay_ms));
        on_time
    };
    times.values().iter().map(&mut check).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::definition::{ROWTIME, TIMESTAMP_TYPE};

    fn source(order: TimeOrder) -> SourceState {
        let node = SourceNode {
            stream: "S".into(),
            projection: vec![0],
            rowtime: 0,
            time_columns: vec![],
            order,
        };
        SourceState::new(&node)
    }

    fn rows(partition: &str, times: &[i64]) -> SourceEvent {
        let schema = Arc::new(Schema::new(vec![Field::new(ROWTIME, TIMESTAMP_TYPE, false)]));
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times.to_vec()));
        SourceEvent::Rows(SourceBatch {
            partition: partition.into(),
            rows: RecordBatch::try_new(schema, vec![times]).unwrap(),
            bad: vec![],
            position: Position("p".into()),
        })
    }

    fn take(source: &mut SourceState, event: SourceEvent) -> (Vec<i64>, usize) {
        let mut arrived = Arrived::default();
        source.take(event, &mut arrived).unwrap();
        let times = arrived.rows.iter().flat_map(|batch| {
            batch.column(0).as_primitive::<TimestampMillisecondType>().values().to_vec()
        });
        (times.collect(), arrived.bad.len())
    }

    #[test]
    fn the_slowest_partition_holds_the_watermark_until_it_is_idle_or_finished() {
        let mut s = source(TimeOrder::Bounded(10));
        let discover = |p: &str| SourceEvent::Discovered { partition: p.into(), parents: vec![] };
        take(&mut s, discover("a"));
        take(&mut s, discover("b"));
        take(&mut s, rows("a", &[100]));
        assert_eq!(s.advance(0), Watermark::Unknown);
        take(&mut s, rows("b", &[50]));
        assert_eq!(s.advance(0), Watermark::At(40));
        take(&mut s, SourceEvent::Idle { partition: "b".into() });
        assert_eq!(s.advance(0), Watermark::At(90));
        // What comes back below what was promised meanwhile is late.
        assert_eq!(take(&mut s, rows("b", &[60, 95])), (vec![95], 1));
        take(&mut s, SourceEvent::Finished { partition: "a".into() });
        take(&mut s, SourceEvent::Finished { partition: "b".into() });
        assert_eq!(s.advance(0), Watermark::At(90));
        s.end();
        assert_eq!(s.advance(0), Watermark::End);
    }

    #[test]
    fn rows_count_although_their_partition_is_idle_by_the_end_of_the_epoch() {
        let mut s = source(TimeOrder::Bounded(0));
        for partition in ["a", "b"] {
            take(&mut s, rows(partition, &[5]));
        }
        for partition in ["a", "b"] {
            take(&mut s, rows(partition, &[10]));
            take(&mut s, SourceEvent::Idle { partition: partition.into() });
        }
        assert_eq!(s.advance(0), Watermark::At(10));
        // One of them is heard of again: it holds the watermark, and what was promised stands.
        let bound = SourceEvent::Bound { partition: "a".into(), rowtime_ms: i64::MIN };
        take(&mut s, bound);
        take(&mut s, rows("b", &[20]));
        assert_eq!(s.advance(0), Watermark::At(10));
        assert_eq!(take(&mut s, rows("a", &[7, 12])), (vec![12], 1));
    }

    #[test]
    fn a_child_shard_starts_where_its_parents_stand() {
        let mut s = source(TimeOrder::Arrival);
        take(&mut s, rows("p", &[100]));
        let parents = vec!["p".into()];
        take(&mut s, SourceEvent::Discovered { partition: "c".into(), parents });
        take(&mut s, SourceEvent::Finished { partition: "p".into() });
        assert_eq!(s.advance(0), Watermark::At(100));
        assert_eq!(take(&mut s, rows("c", &[90, 120, 110])), (vec![100, 120, 120], 0));
    }

    /// As it is with Kinesis: children are begun when their parents have been read to the end.
    #[test]
    fn a_child_begun_after_its_parents_have_ended_starts_where_they_stood() {
        let mut s = source(TimeOrder::Bounded(10));
        take(&mut s, rows("a", &[100]));
        take(&mut s, rows("b", &[60]));
        for parent in ["a", "b"] {
            take(&mut s, SourceEvent::Finished { partition: parent.into() });
        }
        let parents = vec!["a".into(), "b".into()];
        take(&mut s, SourceEvent::Discovered { partition: "c".into(), parents });
        assert_eq!(take(&mut s, rows("c", &[55, 49, 70])), (vec![55, 70], 1));
        assert_eq!(s.advance(0), Watermark::At(60));
    }

    /// A merged shard goes on from the slower one of its parents.
    #[test]
    fn w6_a_merged_shard_is_not_ahead_of_its_slower_parent() {
        let mut s = source(TimeOrder::Bounded(0));
        take(&mut s, rows("a", &[100]));
        take(&mut s, rows("b", &[40]));
        let parents = vec!["a".into(), "b".into()];
        take(&mut s, SourceEvent::Discovered { partition: "c".into(), parents });
        for parent in ["a", "b"] {
            take(&mut s, SourceEvent::Finished { partition: parent.into() });
        }
        assert_eq!(s.advance(0), Watermark::At(40));
        assert_eq!(take(&mut s, rows("c", &[41, 120, 60])), (vec![41, 120], 1));
    }

    /// Hours without a row from anywhere: the watermark stands, and goes on with the next row.
    #[test]
    fn w5_when_all_are_idle_the_watermark_stands() {
        let mut s = source(TimeOrder::Bounded(10));
        for partition in ["a", "b"] {
            take(&mut s, rows(partition, &[100]));
            take(&mut s, SourceEvent::Idle { partition: partition.into() });
        }
        assert_eq!(s.advance(86_400_000), Watermark::At(90));
        assert_eq!(take(&mut s, rows("a", &[95, 200])), (vec![95, 200], 0));
        assert_eq!(s.advance(86_400_000), Watermark::At(190));
    }

    #[test]
    fn idle_arrival_times_follow_the_clock_and_rows_never_undercut_it() {
        let mut s = source(TimeOrder::Arrival);
        take(&mut s, rows("p", &[100]));
        take(&mut s, SourceEvent::Idle { partition: "p".into() });
        assert_eq!(s.advance(5_000), Watermark::At(5_000));
        assert_eq!(take(&mut s, rows("p", &[4_990])), (vec![5_000], 0));
    }

    proptest! {
        /// Which rows are late depends on the partition's order alone, not on the cut into batches, nor
        /// on restarts between them.
        #[test]
        fn lateness_does_not_depend_on_the_cut(
            times in prop::collection::vec(0..200_i64, 1..60), cuts in prop::collection::vec(0..60_usize, 0..6),
        ) {
            let whole = take(&mut source(TimeOrder::Bounded(20)), rows("p", &times));
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(times.len())).collect();
            cuts.extend([0, times.len()]);
            cuts.sort_unstable();
            let mut cut = source(TimeOrder::Bounded(20));
            let mut parts = (Vec::new(), 0);
            for pair in cuts.windows(2) {
                let (kept, late) = take(&mut cut, rows("p", &times[pair[0]..pair[1]]));
                parts.0.extend(kept);
                parts.1 += late;
                cut.advance(0);
                let record = cut.record(0);
                cut = source(TimeOrder::Bounded(20));
                cut.restore(&record);
            }
            prop_assert_eq!(whole, parts);
        }
    }
}
