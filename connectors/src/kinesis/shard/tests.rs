//! A shard whose answers come from a script, on a clock that skips what is slept.

use std::sync::Mutex;

use async_trait::async_trait;
use millstream_engine::{ErrorKind, ManualClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::kinesis::sequence::SequenceNumber;

/// A clock on which every sleep is over at once.
#[derive(Debug)]
struct SkippingClock(ManualClock);

#[async_trait]
impl Clock for SkippingClock {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    async fn sleep(&self, duration: Duration) {
        self.0.advance(duration);
        tokio::task::yield_now().await;
    }
}

/// A shard that answers from a script, and notes what it was asked and when.
#[derive(Debug)]
struct Script {
    clock: Arc<SkippingClock>,
    iterators: Mutex<VecDeque<Result<String, Failure>>>,
    pages: Mutex<VecDeque<Result<Page, Failure>>>,
    asked: Mutex<Vec<Resume>>,
    read_at: Mutex<Vec<Duration>>,
}

#[async_trait]
impl KinesisApi for Script {
    async fn list_shards(
        &self,
        _: Option<String>,
    ) -> Result<(Vec<ShardInfo>, Option<String>), Failure> {
        panic!("a shard's reader lists no shards");
    }
    async fn shard_iterator(&self, _: &str, resume: &Resume) -> Result<String, Failure> {
        self.asked.lock().unwrap().push(resume.clone());
        self.iterators.lock().unwrap().pop_front().unwrap_or_else(|| Ok("i".into()))
    }
    async fn retention(&self) -> Result<Duration, Failure> {
        Ok(Duration::from_secs(48 * 3600))
    }
    async fn get_records(&self, _: &str) -> Result<Page, Failure> {
        self.read_at.lock().unwrap().push(self.clock.monotonic());
        self.pages.lock().unwrap().pop_front().expect("the script is over")
    }
}

/// How a shard that `api` answers for is read, by the second, without a limit.
pub(in crate::kinesis) fn reading(api: Arc<dyn KinesisApi>, clock: Arc<dyn Clock>) -> Reading {
    Reading {
        beside: Arc::clone(&api),
        api,
        pushed: false,
        clock,
        stream: "stream 's'".into(),
        poll_interval: Duration::from_secs(1),
        idle_timeout: Duration::ZERO,
        caught_up_at_ms: None,
        limited: false,
        on_data_loss: OnDataLoss::Fail,
        metrics: Metrics::default(),
        alignment: Alignment::default(),
        room: Room::default(),
    }
}

const RUN_BEGAN_MS: i64 = 1_000_000;

struct Shard {
    api: Arc<Script>,
    reader: ShardReader,
    told: Vec<Option<String>>,
}

fn shard(resume: Resume, pages: Vec<Result<Page, Failure>>) -> Shard {
    let clock = Arc::new(SkippingClock(ManualClock::new(RUN_BEGAN_MS)));
    let api = Arc::new(Script {
        clock: Arc::clone(&clock),
        iterators: Mutex::default(),
        pages: Mutex::new(pages.into()),
        asked: Mutex::default(),
        read_at: Mutex::default(),
    });
    let reading = Reading { limited: true, ..reading(Arc::clone(&api) as _, clock) };
    let standing = Standing { resume, read_until_ms: None };
    let reader = ShardReader::new(reading, "shard-0".into(), (standing, None), 1);
    Shard { api, reader, told: Vec::new() }
}

impl Shard {
    fn until_caught_up(mut self) -> Self {
        self.reader.reading.caught_up_at_ms = Some(RUN_BEGAN_MS);
        self
    }

    async fn next(&mut self) -> Result<String> {
        let told = &mut self.told;
        let step = self.reader.next(&mut |trouble| told.push(trouble.map(str::to_owned))).await;
        Ok(match step? {
            Step::Records(records) => {
                let numbers: Vec<_> =
                    records.iter().map(|record| record.sequence_number.as_str()).collect();
                numbers.join(" ")
            }
            Step::Drained(children) => format!("drained {}", children.len()),
            step => format!("{step:?}"),
        })
    }

    async fn steps(&mut self, count: usize) -> Vec<String> {
        let mut steps = Vec::new();
        for _ in 0..count {
            steps.push(self.next().await.unwrap());
        }
        steps
    }

    fn asked(&self) -> Vec<Resume> {
        self.api.asked.lock().unwrap().clone()
    }
}

fn page(numbers: &[u64], millis_behind: i64) -> Page {
    let record = |number: &u64| Record {
        sequence_number: SequenceNumber::new(number.to_string()),
        partition_key: None,
        arrival_ms: i64::try_from(*number).unwrap(),
        data: Vec::new(),
    };
    let records = numbers.iter().map(record).collect();
    Page { records, next: Some("i".into()), millis_behind, ..Page::default() }
}

fn last(numbers: &[u64]) -> Page {
    Page { next: None, ..page(numbers, 5) }
}

fn failed(code: &str) -> Result<Page, Failure> {
    Err(Failure::answered(code, "words", Some(400)))
}

fn after(number: u64) -> Resume {
    Resume::After(SequenceNumber::new(number.to_string()))
}

#[tokio::test]
async fn the_last_page_may_hold_records() {
    let mut shard = shard(Resume::TrimHorizon, vec![Ok(page(&[1, 2], 9)), Ok(last(&[3]))]);
    assert_eq!(shard.steps(3).await, ["1 2", "3", "drained 0"]);
}

#[tokio::test]
async fn an_empty_page_behind_the_tip_means_nothing() {
    let mut pages: Vec<_> = (0..200).map(|_| Ok(page(&[], 60_000))).collect();
    pages.extend([Ok(page(&[7], 0)), Ok(page(&[], 0)), Ok(page(&[], 0))]);
    let mut shard = shard(Resume::TrimHorizon, pages).until_caught_up();
    assert_eq!(shard.steps(2).await, ["7", "CaughtUp"]);
}

#[tokio::test]
async fn idle_is_told_after_two_empty_answers_and_once() {
    let empty = || Ok(page(&[], 0));
    let pages = vec![
        Ok(page(&[1], 0)),
        empty(),
        failed("InternalFailure"),
        Ok(page(&[2], 0)),
        empty(),
        empty(),
        empty(),
        empty(),
        Ok(page(&[3], 0)),
        empty(),
        empty(),
    ];
    let mut shard = shard(Resume::TrimHorizon, pages);
    assert_eq!(shard.steps(5).await, ["1", "2", "Idle", "3", "Idle"]);
}

/// K33, K37: the position moves with the continuation number, though no record comes.
#[tokio::test]
async fn a_subscription_goes_on_from_its_continuation_number() {
    let at = |numbers: &[u64], number: u64| {
        let continuation = Some(SequenceNumber::new(number.to_string()));
        Ok(Page { continuation, ..page(numbers, 0) })
    };
    let over = || Err(Failure::new(Class::Renew, "SubscriptionEnded", ""));
    let pages = vec![at(&[3, 5], 5), at(&[], 8), over(), at(&[9], 9), Ok(last(&[]))];
    let mut shard = shard(Resume::TrimHorizon, pages);
    shard.reader.reading.pushed = true;
    assert_eq!(shard.steps(3).await, ["3 5", "9", "drained 0"]);
    assert_eq!(shard.asked(), [Resume::TrimHorizon, after(8)]);
}

/// K43: nobody knows what is in a shard that can no longer be read.
#[tokio::test]
async fn an_idle_shard_that_cannot_be_read_is_not_idle() {
    let empty = || Ok(page(&[], 0));
    let pages = vec![empty(), empty(), failed("InternalFailure"), empty(), empty()];
    let mut shard = shard(Resume::TrimHorizon, pages);
    assert_eq!(shard.steps(3).await, ["Idle", "Unknown", "Idle"]);
}

#[tokio::test]
async fn a_shard_is_idle_only_after_a_while() {
    let pages = (0..9).map(|_| Ok(page(&[], 0))).collect();
    let mut shard = shard(Resume::TrimHorizon, pages);
    shard.reader.reading.idle_timeout = Duration::from_secs(5);
    assert_eq!(shard.steps(1).await, ["Idle"]);
    let read_at = shard.api.read_at.lock().unwrap().clone();
    assert_eq!(read_at.last().unwrap().as_secs(), 5, "{read_at:?}");
}

#[tokio::test]
async fn an_expired_iterator_is_renewed_from_our_own_position() {
    let expired = || failed("ExpiredIteratorException");
    let pages = vec![expired(), Ok(page(&[9, 10], 1)), expired(), expired(), Ok(last(&[11]))];
    let mut shard = shard(Resume::AtTimestamp(5), pages);
    assert_eq!(shard.steps(3).await, ["9 10", "11", "drained 0"]);
    let pinned = Resume::AtTimestamp(5);
    assert_eq!(shard.asked(), [pinned.clone(), pinned, after(10), after(10)]);
}

#[tokio::test]
async fn a_position_at_the_shards_maximum_is_its_end() {
    let mut shard = shard(after(10), Vec::new());
    let words = "sequence number has reached max possible value for the shard";
    let failure = Failure::answered("InvalidArgumentException", words, Some(400));
    shard.api.iterators.lock().unwrap().push_back(Err(failure));
    assert_eq!(shard.steps(1).await, ["drained 0"]);
}

#[tokio::test]
async fn a_throttled_shard_recovers_and_is_never_read_too_often() {
    let throttled = "ProvisionedThroughputExceededException";
    let mut pages: Vec<_> = (0..300).map(|_| failed(throttled)).collect();
    pages.extend((1..=50).map(|number| Ok(page(&[number], 1_000))));
    let mut shard = shard(Resume::TrimHorizon, pages);
    assert_eq!(shard.steps(50).await.last().unwrap(), "50");
    let read_at = shard.api.read_at.lock().unwrap().clone();
    let fastest = read_at.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(fastest >= Duration::from_millis(200), "{fastest:?}");
    // Said once, not three hundred times; and that it is over.
    assert!(shard.told[0].as_deref().unwrap().contains("ProvisionedThroughput"));
    assert_eq!(shard.told[1..], [None]);
}

#[tokio::test]
async fn an_idle_shard_is_asked_ever_less_often() {
    let mut pages: Vec<_> = (0..20).map(|_| Ok(page(&[], 0))).collect();
    pages.push(Ok(page(&[1], 0)));
    let mut shard = shard(Resume::TrimHorizon, pages);
    shard.steps(2).await;
    let read_at = shard.api.read_at.lock().unwrap().clone();
    assert_eq!(read_at[20] - read_at[19], Duration::from_secs(1));
}

#[tokio::test]
async fn what_a_person_must_mend_ends_the_start_but_not_the_run() {
    let mut refused = shard(Resume::TrimHorizon, vec![failed("AccessDeniedException")]);
    let error = refused.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.message().contains("shard-0 of stream 's'"), "{error}");
    assert!(error.hint().unwrap().contains("kinesis:GetRecords"));

    let disabled = || failed("KMSDisabledException");
    let pages = vec![Ok(page(&[1], 0)), disabled(), disabled(), Ok(page(&[2], 0))];
    let mut run = shard(Resume::TrimHorizon, pages);
    assert_eq!(run.steps(2).await, ["1", "2"]);
    assert!(run.told[0].as_deref().unwrap().contains("KMSDisabled"));
    assert_eq!(run.told.last().unwrap(), &None);
}

#[tokio::test]
async fn a_lost_position_is_an_error_that_names_it() {
    let mut shard =
        shard(Resume::TrimHorizon, vec![Ok(page(&[41], 0)), failed("ExpiredIteratorException")]);
    shard.api.iterators.lock().unwrap().extend([
        Ok("i".into()),
        Err(Failure::answered("InvalidArgumentException", "not of this stream", Some(400))),
    ]);
    assert_eq!(shard.steps(1).await, ["41"]);
    let error = shard.next().await.unwrap_err();
    assert!(error.message().contains("after sequence number 41"), "{error}");
}

/// The same where a run may go on: it is said once, and the position is not asked for again.
#[tokio::test]
async fn a_position_that_is_refused_is_left() {
    let mut shard = shard(after(9), vec![Ok(page(&[20], 0)), Ok(last(&[]))]);
    shard.reader.reading.on_data_loss = OnDataLoss::Continue;
    let refused = Failure::answered("InvalidArgumentException", "not of this stream", Some(400));
    shard.api.iterators.lock().unwrap().push_back(Err(refused));
    let steps = shard.steps(3).await;
    assert!(steps[0].starts_with("Lost(Loss"), "{steps:?}");
    assert_eq!(steps[1..], ["20", "drained 0"]);
    assert_eq!(shard.asked(), [after(9), Resume::AtTimestamp(0)]);
}

#[tokio::test]
async fn a_shard_is_left_when_a_record_arrived_after_the_run_began() {
    let newer = u64::try_from(RUN_BEGAN_MS + CLOCK_SKEW_MS).unwrap();
    let pages = vec![Ok(page(&[1, newer], 500)), Ok(page(&[newer + 1], 500))];
    let mut shard = shard(Resume::TrimHorizon, pages).until_caught_up();
    let both = [format!("1 {newer}"), format!("{}", newer + 1), "CaughtUp".into()];
    assert_eq!(shard.steps(3).await, both);
}

#[tokio::test]
async fn records_already_handed_on_are_not_handed_on_again() {
    // AFTER that answers like AT, as some services do.
    let mut shard = shard(after(9), vec![Ok(page(&[9, 10, 11], 0)), Ok(last(&[]))]);
    assert_eq!(shard.steps(2).await, ["10 11", "drained 0"]);
}

#[tokio::test]
async fn records_before_the_asked_time_are_skipped_at_the_front_only() {
    let mut late = page(&[60, 61], 0);
    late.records[1].arrival_ms = 3;
    let mut shard =
        shard(Resume::AtTimestamp(50), vec![Ok(page(&[1, 2], 9)), Ok(late), Ok(last(&[]))]);
    assert_eq!(shard.steps(2).await, ["60 61", "drained 0"]);
}

/// K12: records came a moment ago, then nothing does, and the lag stays.
#[tokio::test]
async fn a_lag_that_stays_after_young_records_does_not_keep_the_run() {
    let now = u64::try_from(RUN_BEGAN_MS).unwrap();
    let mut pages = vec![Ok(page(&[now - 30_000], 10))];
    pages.extend((0..EMPTY_ANSWERS).map(|_| Ok(page(&[], 3_600_000))));
    let mut shard = shard(Resume::TrimHorizon, pages).until_caught_up();
    assert_eq!(shard.steps(2).await, [format!("{}", now - 30_000), "CaughtUp".into()]);
}

/// K12: the same of a shard whose records are old, after a longer while.
#[tokio::test]
async fn a_lag_that_never_shrinks_does_not_hold_the_watermark() {
    let mut pages: Vec<_> = (0..2_000).map(|_| Ok(page(&[], 3_600_000))).collect();
    pages.insert(0, Ok(page(&[1], 3_600_000)));
    let mut shard = shard(Resume::TrimHorizon, pages);
    assert_eq!(shard.steps(2).await, ["1", "Idle"]);
    let read_at = shard.api.read_at.lock().unwrap().clone();
    assert!(*read_at.last().unwrap() >= STUCK, "{read_at:?}");
    assert_eq!(shard.reader.standing().resume, after(1));
}

/// K10: a stretch without records is scanned, however long that takes.
#[tokio::test]
async fn a_lag_that_shrinks_is_not_stuck() {
    let mut pages: Vec<_> = (0..2_000).map(|n| Ok(page(&[], 3_600_000 - n * 500))).collect();
    pages.push(Ok(page(&[7], 9)));
    let mut shard = shard(Resume::TrimHorizon, pages).until_caught_up();
    assert_eq!(shard.steps(1).await, ["7"]);
}

/// K16: an answer of 10 MiB is paid for with five seconds.
#[tokio::test]
async fn a_large_answer_is_paid_for_before_the_next() {
    let mut large = page(&[1], 9);
    large.records[0].data = vec![0; 10 << 20];
    let mut shard = shard(Resume::TrimHorizon, vec![Ok(large), Ok(last(&[2]))]);
    assert_eq!(shard.steps(2).await, ["1", "2"]);
    let read_at = shard.api.read_at.lock().unwrap().clone();
    assert_eq!(read_at[1] - read_at[0], Duration::from_secs(5));
}

fn stood(number: u64, hours_ago: i64) -> Standing {
    Standing { resume: after(number), read_until_ms: Some(RUN_BEGAN_MS - hours_ago * 3_600_000) }
}

/// K4, K26, K27: the scripted stream keeps records for 48 hours.
#[tokio::test]
async fn records_thrown_away_before_they_were_read_end_the_run() {
    let mut lost = shard(after(9), vec![Ok(page(&[20], 9))]);
    lost.reader.read_until_ms = stood(9, 50).read_until_ms;
    let error = lost.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("records after 9 were thrown away"), "{error}");
    assert!(error.message().contains("the oldest one left is 20"), "{error}");
    // Nothing is left, and nobody knows what was there.
    let mut gone = shard(after(9), (0..3).map(|_| Ok(page(&[], 0))).collect());
    gone.reader.read_until_ms = stood(9, 50).read_until_ms;
    assert!(gone.next().await.unwrap_err().message().contains("none is left"));
}

#[tokio::test]
async fn what_is_still_there_is_no_loss() {
    // The last record that was read is still there: so is what follows it.
    let mut kept = shard(after(9), vec![Ok(page(&[8], 9)), Ok(page(&[9, 10], 0))]);
    kept.reader.read_until_ms = stood(9, 50).read_until_ms;
    assert_eq!(kept.steps(1).await, ["10"]);
    assert_eq!(kept.asked(), [Resume::TrimHorizon, after(9)]);
    // Within the retention nothing needs to be asked.
    let mut recent = shard(after(9), vec![Ok(page(&[12], 0))]);
    recent.reader.read_until_ms = stood(9, 46).read_until_ms;
    assert_eq!(recent.steps(1).await, ["12"]);
    assert_eq!(recent.asked(), [after(9)]);
}

#[tokio::test]
async fn a_run_that_may_go_on_says_what_was_lost() {
    let mut shard = shard(after(9), vec![Ok(page(&[20], 9)), Ok(page(&[20, 21], 0))]);
    shard.reader.read_until_ms = stood(9, 50).read_until_ms;
    shard.reader.reading.on_data_loss = OnDataLoss::Continue;
    let steps = shard.steps(2).await;
    assert!(steps[0].starts_with("Lost(Loss") && steps[1] == "20 21", "{steps:?}");
}

#[tokio::test]
async fn calls_that_failed_are_counted_and_said() {
    let pages = vec![
        failed("ProvisionedThroughputExceededException"),
        failed("ExpiredIteratorException"),
        failed("InternalFailure"),
        Ok(page(&[1], 0)),
    ];
    let mut shard = shard(Resume::TrimHorizon, pages);
    shard.steps(1).await;
    let (_, counted) = shard.reader.reading.metrics.list()[0];
    assert_eq!((counted.throttled, counted.expired, counted.failed), (1, 1, 1));
    assert_eq!((counted.records, counted.lag_ms), (1, Some(0)));
    assert!(shard.told.iter().flatten().any(|told| told.contains("ExpiredIterator")));
}

/// A shard that should be there and is not: never taken for one that has ended.
#[tokio::test]
async fn k24_a_shard_that_is_not_found_is_no_end() {
    let pages = vec![Ok(page(&[1], 9)), failed("ResourceNotFoundException")];
    let mut shard = shard(Resume::TrimHorizon, pages);
    assert_eq!(shard.steps(1).await, ["1"]);
    let error = shard.next().await.unwrap_err();
    assert!(error.message().contains("shard-0 of stream 's' no longer exists"), "{error}");
    assert!(error.message().contains("after sequence number 1"), "{error}");
}

/// Within five seconds of a subscription the next one is refused: it is waited for.
#[tokio::test]
async fn k35_a_subscription_that_is_in_use_is_waited_for() {
    let in_use = || Err(Failure::answered("ResourceInUseException", "", Some(400)));
    let mut shard = shard(after(4), vec![Ok(page(&[5], 0)), Ok(last(&[]))]);
    shard.reader.reading.pushed = true;
    shard.api.iterators.lock().unwrap().extend((0..20).map(|_| in_use()));
    assert_eq!(shard.steps(2).await, ["5", "drained 0"]);
    assert_eq!(shard.asked(), vec![after(4); 21]);
    let waited = shard.api.read_at.lock().unwrap()[0];
    assert!(waited >= Duration::from_secs(5), "{waited:?}");
    assert!(shard.told[0].as_deref().unwrap().contains("ResourceInUse"), "{:?}", shard.told);
}

/// A reader that was held up says nothing of its shard: only what it then reads does.
#[tokio::test]
async fn w9_time_spent_waiting_for_a_sink_makes_no_shard_idle() {
    let mut pages = vec![Ok(page(&[1], 0)), Ok(page(&[2], 60_000)), Ok(page(&[], 30_000))];
    pages.extend((0..200).map(|_| Ok(page(&[], 0))));
    let mut shard = shard(Resume::TrimHorizon, pages);
    shard.reader.reading.idle_timeout = Duration::from_secs(30);
    assert_eq!(shard.steps(1).await, ["1"]);
    shard.api.clock.0.advance(Duration::from_secs(600));
    assert_eq!(shard.steps(2).await, ["2", "Idle"]);
    let read_at = shard.api.read_at.lock().unwrap().clone();
    assert!(*read_at.last().unwrap() - read_at[1] >= Duration::from_secs(30), "{read_at:?}");
}

/// Shards that are further on wait for none that has nothing to say, whatever lag it reports.
#[tokio::test]
async fn an_idle_shard_holds_up_no_other() {
    let last = u64::try_from(RUN_BEGAN_MS).unwrap();
    for lag_ms in [0, 60_000] {
        let mut pages = vec![Ok(page(&[last], 0))];
        pages.extend((0..200).map(|_| Ok(page(&[], lag_ms))));
        let mut shard = shard(Resume::TrimHorizon, pages);
        shard.reader.reading.idle_timeout = Duration::from_secs(30);
        let alignment = shard.reader.reading.alignment.clone();
        let is_near = || alignment.is_near(RUN_BEGAN_MS + DAY_MS);
        assert_eq!(shard.steps(1).await, [last.to_string()]);
        assert!(!is_near(), "more of that time may come");
        assert_eq!(shard.steps(1).await, ["Idle"]);
        assert!(is_near(), "with a lag of {lag_ms} ms");
    }
}

/// A record of tomorrow, by the clock of Kinesis, does not make its shard wait until then.
#[tokio::test]
async fn k41_a_time_to_come_holds_up_nobody() {
    let tomorrow = u64::try_from(RUN_BEGAN_MS + 86_400_000).unwrap();
    let pages = vec![Ok(page(&[tomorrow], 0)), Ok(page(&[tomorrow + 1], 0)), Ok(last(&[]))];
    let mut shard = shard(Resume::TrimHorizon, pages);
    shard.reader.reading.alignment.reach(&"other".into(), RUN_BEGAN_MS - 1_000);
    let both = [tomorrow.to_string(), (tomorrow + 1).to_string(), "drained 0".to_owned()];
    assert_eq!(shard.steps(3).await, both);
}

const DAY_MS: i64 = 86_400_000;

/// A shard that forgets what is older than a day. The number of a record is when it arrived.
#[derive(Debug)]
struct Forgetful {
    clock: Arc<SkippingClock>,
    records: Mutex<Vec<u64>>,
}

impl Forgetful {
    fn kept_after(&self, number: u64) -> Vec<u64> {
        let from = u64::try_from(self.clock.now_ms() - DAY_MS).unwrap();
        let records = self.records.lock().unwrap();
        records.iter().copied().filter(|record| *record >= from && *record > number).collect()
    }
}

#[async_trait]
impl KinesisApi for Forgetful {
    async fn list_shards(
        &self,
        _: Option<String>,
    ) -> Result<(Vec<ShardInfo>, Option<String>), Failure> {
        panic!("a shard's reader lists no shards");
    }
    async fn shard_iterator(&self, _: &str, resume: &Resume) -> Result<String, Failure> {
        Ok(match resume {
            Resume::After(number) => number.as_str().to_owned(),
            _ => "0".to_owned(),
        })
    }
    async fn retention(&self) -> Result<Duration, Failure> {
        Ok(Duration::from_secs(24 * 3600))
    }
    async fn get_records(&self, iterator: &str) -> Result<Page, Failure> {
        let after: u64 = iterator.parse().unwrap();
        let kept = self.kept_after(after);
        let numbers = &kept[..kept.len().min(5)];
        let next = Some(numbers.last().unwrap_or(&after).to_string());
        Ok(Page { next, ..page(numbers, if kept.len() > 5 { 1_000 } else { 0 }) })
    }
}

/// What a run that goes on from `standing` reads, what it says is lost, and where it stands then.
async fn run_once(api: &Arc<Forgetful>, standing: Standing) -> (Vec<u64>, Vec<Loss>, Standing) {
    let reading = Reading {
        on_data_loss: OnDataLoss::Continue,
        caught_up_at_ms: Some(api.clock.now_ms()),
        ..reading(Arc::clone(api) as _, Arc::clone(&api.clock) as _)
    };
    let mut reader = ShardReader::new(reading, "shard-0".into(), (standing, None), 1);
    let (mut read, mut lost) = (Vec::new(), Vec::new());
    loop {
        match reader.next(&mut |_| ()).await.unwrap() {
            Step::Records(records) => {
                let numbers = records.iter().map(|record| record.sequence_number.as_str());
                read.extend(numbers.map(|number| number.parse::<u64>().unwrap()));
            }
            Step::Lost(loss) => lost.push(loss),
            Step::CaughtUp => return (read, lost, reader.standing()),
            _ => {}
        }
    }
}

/// A thousand applications that are stopped for a while, again and again. Half of them never for as long
/// as the stream keeps its records.
#[tokio::test]
async fn p3_what_was_thrown_away_unread_is_said_and_nothing_else() {
    const HISTORIES: u64 = 1_000;
    let (mut losses, mut said, mut clean) = (0, 0, 0);
    for seed in 1..=HISTORIES {
        let mut random = StdRng::seed_from_u64(seed);
        let mut below = |bound: u64| random.random_range(0..bound);
        let clock = Arc::new(SkippingClock(ManualClock::new(100 * DAY_MS)));
        let first = u64::try_from(clock.now_ms()).unwrap() - 1;
        let records = Mutex::new(vec![first]);
        let api = Arc::new(Forgetful { clock: Arc::clone(&clock), records });
        let standing = Standing { resume: Resume::TrimHorizon, read_until_ms: None };
        let (read, _, mut standing) = run_once(&api, standing).await;
        assert_eq!(read, [first]);
        let (mut last, is_short) = (first, seed % 2 == 0);
        for _ in 0..4 {
            let now = u64::try_from(clock.now_ms()).unwrap();
            let pause = 60_000 + below(if is_short { 22 } else { 60 } * 3_600_000);
            let mut arrived: Vec<u64> = (0..below(8)).map(|_| now + below(pause)).collect();
            arrived.sort_unstable();
            arrived.dedup();
            api.records.lock().unwrap().extend(&arrived);
            clock.0.advance(Duration::from_millis(pause));
            let kept = api.kept_after(last);
            let (read, lost, stands) = run_once(&api, standing).await;
            assert_eq!(read, kept, "seed {seed}");
            if kept.len() < arrived.len() {
                let oldest = api.kept_after(0).first().map(|n| SequenceNumber::new(n.to_string()));
                let after = SequenceNumber::new(last.to_string());
                assert_eq!(lost, [Loss { after, oldest }], "seed {seed}");
                losses += 1;
                said += lost.len();
            } else if is_short {
                assert_eq!(lost, [], "seed {seed}");
            }
            standing = stands;
            last = read.last().copied().unwrap_or(last);
        }
        clean += u64::from(is_short);
    }
    println!(
        "evidence P3 histories: {said} of {losses} losses said with their place, 0 false alarms in {clean} \
         clean histories"
    );
    assert!(losses > 100, "{losses}");
}
