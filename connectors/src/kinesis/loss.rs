//! Records that Kinesis threw away before they were read.
//!
//! A stream keeps records for its retention only, and says nothing when it drops them: an iterator
//! after a record that is gone simply begins at the oldest one left. So a position that was up to date
//! longer ago than the retention is compared with that oldest record.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millstream_engine::port::{PartitionId, Resume as Resumed};
use millstream_engine::{Error, Result};

use super::api::{Resume, ShardInfo};
use super::failure::{Class, Failure};
use super::position::Standing;
use super::sequence::SequenceNumber;
use super::shard::Reading;

/// The shortest retention a stream can have. Source: `DecreaseStreamRetentionPeriod`, Kinesis API
/// reference.
const RETENTION_MIN: Duration = Duration::from_secs(24 * 3600);

/// How long before the retention has passed records are looked for: trimming is not to the second.
const MARGIN: Duration = Duration::from_secs(3600);

/// Between two reads while the oldest record is looked for.
const READ_INTERVAL: Duration = Duration::from_millis(250);

/// How many empty answers at the tip mean that a shard has no record left.
const EMPTY_ANSWERS: u32 = 3;

/// Records of a shard that may be gone: those after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The last record that was read.
    pub(crate) after: SequenceNumber,
    /// The oldest record left, if there is one.
    pub(crate) oldest: Option<SequenceNumber>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "records after {} were thrown away before they were read", self.after)?;
        match &self.oldest {
            Some(oldest) => write!(f, ": the oldest one left is {oldest}"),
            None => write!(f, ": none is left"),
        }
    }
}

/// The error for records that are lost, where that ends the run. `what` names shard and loss.
pub(crate) fn lost(what: impl fmt::Display) -> Error {
    Error::data(what.to_string()).with_hint(
        "on_data_loss = 'continue' goes on with what is left; error_stream then says what was lost",
    )
}

/// Whether records of `shard` after `after` may be gone, everything until `read_until_ms` having been
/// read.
///
/// # Errors
///
/// When Kinesis cannot be asked at present.
pub(crate) async fn look(
    reading: &Reading,
    shard: &str,
    after: &SequenceNumber,
    read_until_ms: i64,
) -> Result<Option<Loss>, Failure> {
    let age_ms = reading.clock.now_ms().saturating_sub(read_until_ms);
    let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
    if age < RETENTION_MIN - MARGIN {
        return Ok(None);
    }
    let retention = match reading.beside.retention().await {
        Ok(retention) => retention,
        // Not everyone may ask for it; then it is taken for the shortest.
        Err(failure) if failure.class == Class::Operator => RETENTION_MIN,
        Err(failure) => return Err(failure),
    };
    if age < retention.saturating_sub(MARGIN) {
        return Ok(None);
    }
    let oldest = oldest(reading, shard).await?;
    let kept = oldest.as_ref().is_some_and(|oldest| oldest <= after);
    Ok((!kept).then(|| Loss { after: after.clone(), oldest }))
}

async fn oldest(reading: &Reading, shard: &str) -> Result<Option<SequenceNumber>, Failure> {
    let mut iterator = reading.beside.shard_iterator(shard, &Resume::TrimHorizon).await?;
    let mut empty = 0;
    loop {
        let page = reading.beside.get_records(&iterator).await?;
        if let Some(first) = page.records.into_iter().next() {
            return Ok(Some(first.sequence_number));
        }
        empty = if page.millis_behind <= 0 { empty + 1 } else { 0 };
        match page.next {
            Some(next) if empty < EMPTY_ANSWERS => iterator = next,
            _ => return Ok(None),
        }
        reading.clock.sleep(READ_INTERVAL).await;
    }
}

/// What an earlier run and the stream as it is now say of each other.
#[derive(Debug, Default)]
pub(crate) struct Reconciled {
    /// Shards that were not read to their ends and are gone, and how far they were read.
    pub(crate) vanished: Vec<(Arc<str>, Option<Standing>)>,
    /// Shards that the earlier run passed over: a descendant of theirs was read.
    pub(crate) passed: Vec<Arc<str>>,
}

/// Compares where an earlier run stood with a complete list of the stream's shards.
///
/// # Errors
///
/// When the shards are those of another stream: the one that was read was deleted, and one of the same
/// name created.
pub(crate) fn reconcile(
    stream: &str,
    resumed: &Resumed,
    listed: &[ShardInfo],
) -> Result<Reconciled> {
    let mut reconciled = Reconciled::default();
    for (id, progress) in &resumed.partitions {
        let standing = progress.position.as_ref().map(Standing::read).transpose()?;
        let info = listed.iter().find(|info| info.id == id.0);
        let Some(info) = info else {
            if !progress.finished {
                reconciled.vanished.push((Arc::clone(&id.0), standing));
            }
            continue;
        };
        if let (Some(Standing { resume: Resume::After(number), .. }), Some(first)) =
            (&standing, &info.first_number)
            && number < first
        {
            return Err(Error::data(format!(
                "{stream} is not the stream that was read: its shard {id} begins after {number}"
            ))
            .with_hint("it was deleted and created again: begin anew with --fresh"));
        }
        pass_ancestors(info, resumed, listed, &mut reconciled.passed);
    }
    Ok(reconciled)
}

fn pass_ancestors(
    info: &ShardInfo,
    resumed: &Resumed,
    listed: &[ShardInfo],
    passed: &mut Vec<Arc<str>>,
) {
    for parent in &info.parents {
        let known = resumed.partitions.contains_key(&PartitionId(Arc::clone(parent)));
        let parent = listed.iter().find(|listed| listed.id == *parent);
        if let (false, Some(parent)) = (known, parent)
            && !passed.contains(&parent.id)
        {
            passed.push(Arc::clone(&parent.id));
            pass_ancestors(parent, resumed, listed, passed);
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_engine::port::{PartitionProgress, Position};

    use super::*;

    fn shard(id: &str, parents: &[&str], first: u32) -> ShardInfo {
        ShardInfo {
            id: id.into(),
            parents: parents.iter().map(|id| Arc::from(*id)).collect(),
            closed: false,
            first_number: Some(SequenceNumber::new(first.to_string())),
        }
    }

    fn resumed(shards: &[(&str, Option<&str>, bool)]) -> Resumed {
        let progress = |(id, position, finished): &(&str, Option<&str>, bool)| {
            let position = position.map(|text| Position(text.to_owned()));
            let finished = *finished;
            (PartitionId::from(*id), PartitionProgress { position, finished, parents: Vec::new() })
        };
        Resumed { partitions: shards.iter().map(progress).collect() }
    }

    /// K3, K4: a shard that is gone is lost, unless it was read to its end.
    #[test]
    fn only_what_was_not_read_to_its_end_is_lost() {
        let resumed = resumed(&[("a", Some("7@1"), true), ("b", Some("8@1"), false)]);
        let listed = [shard("c", &["a", "b"], 20)];
        let found = reconcile("s", &resumed, &listed).unwrap();
        let standing = Standing::read(&Position("8@1".into())).unwrap();
        assert_eq!(found.vanished, [("b".into(), Some(standing))]);
        assert!(found.passed.is_empty());
    }

    /// K25: the numbers of a stream that was created again are above those of the one before.
    #[test]
    fn a_stream_created_again_is_not_the_stream_that_was_read() {
        let resumed = resumed(&[("a", Some("7@1"), false)]);
        assert!(reconcile("s", &resumed, &[shard("a", &[], 7)]).is_ok());
        let error = reconcile("s", &resumed, &[shard("a", &[], 8)]).unwrap_err();
        assert!(error.message().contains("is not the stream that was read"), "{error}");
    }

    /// K6: what was closed before a run that began at the tip is not read by the next one either.
    #[test]
    fn what_was_passed_over_stays_so() {
        let resumed = resumed(&[("d", Some("@5"), false)]);
        let listed = [
            shard("a", &[], 0),
            shard("b", &["a"], 2),
            shard("d", &["b"], 4),
            shard("e", &["d"], 9),
        ];
        let found = reconcile("s", &resumed, &listed).unwrap();
        assert_eq!(found.passed, ["b".into(), "a".into()]);
    }
}
