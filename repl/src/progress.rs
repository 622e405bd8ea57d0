//! What a person sees of a running job: one line that refreshes itself, and a summary at the end.
//!
//! Both go to standard error, the line only if that is a terminal, so that a pipe sees nothing but
//! rows on standard output and the summary of a `run` on standard error.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use arrow::array::TimestampMillisecondArray;
use millstream_engine::dataflow::{Dataflow, NodeKind};
use millstream_engine::job::Progress;
use millstream_engine::metrics::PartitionMetrics;

use crate::output::{cell_text, printable};

/// How often those who see no status line are told of troubles: what is over by then is not told.
pub const TROUBLES_EVERY: Duration = Duration::from_secs(5);

/// How long until the same trouble is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(300);

/// How often the line is drawn anew: fast enough to look alive, slow enough to be read.
pub const REFRESH: Duration = Duration::from_millis(200);

/// Rows set aside that the summary shows in full.
const EXAMPLES_MAX: usize = 5;

/// Characters of a bad row's text that the summary shows.
const RAW_CHARS_MAX: usize = 100;

/// The line that shows how far a job is.
#[derive(Debug, Default)]
pub struct StatusLine {
    /// Rows read and time at the last drawing.
    last: (u64, Duration),
    drawn: bool,
}

impl StatusLine {
    /// Draws the line for `progress` over the one before. `now` is the time since the start.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn draw(
        &mut self,
        progress: &Progress,
        now: Duration,
        terminal: &mut dyn Write,
    ) -> io::Result<()> {
        let per_second =
            rate(progress.rows_in - self.last.0.min(progress.rows_in), now, self.last.1);
        self.last = (progress.rows_in, now);
        self.drawn = true;
        // Without line wrap, a narrow terminal cuts the line instead of scrolling a new one each time.
        write!(terminal, "\r\x1b[2K\x1b[?7l{}\x1b[?7h", status(progress, per_second, now))?;
        terminal.flush()
    }

    /// Takes the line away, so that something else can be written in its place.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn clear(&mut self, terminal: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.drawn) {
            write!(terminal, "\r\x1b[2K")?;
            terminal.flush()?;
        }
        Ok(())
    }
}

fn rate(rows: u64, now: Duration, last: Duration) -> u64 {
    let micros = now.saturating_sub(last).as_micros().max(1);
    u64::try_from(u128::from(rows) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

fn status(progress: &Progress, per_second: u64, now: Duration) -> String {
    let mut line = format!(
        "in {} rows ({}/s) · out {}",
        grouped(progress.rows_in),
        grouped(per_second),
        grouped(progress.rows_out),
    );
    // Writing into a String cannot fail.
    if progress.rows_bad > 0 {
        let _infallible = write!(line, " · bad {}", grouped(progress.rows_bad));
    }
    if progress.rows_late > 0 {
        let _infallible = write!(line, " · late {}", grouped(progress.rows_late));
    }
    if let Some((first, others)) = progress.troubles.split_first() {
        let _infallible = write!(line, " · waiting: {}", printable(first));
        if !others.is_empty() {
            let _infallible = write!(line, " and {} more", others.len());
        }
    }
    if let Some(watermark) = progress.watermark_ms.and_then(timestamp) {
        let _infallible = write!(line, " · watermark {watermark}");
    }
    if let Some(lag_ms) = progress.lag_ms {
        let lag = Duration::from_millis(u64::try_from(lag_ms).unwrap_or(0));
        let _infallible = write!(line, " · lag {}", elapsed(lag));
    }
    let _infallible = write!(line, " · {}", elapsed(now));
    line
}

/// The summary of a job that has ended.
pub fn summary(progress: &Progress, dataflow: &Dataflow) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        let _infallible = writeln!(text, "{label:<9}{value}");
    };
    line("read", &count(progress.rows_in, "row"));
    for (stream, total) in by_stream(progress, dataflow) {
        let mut value =
            format!("{} ({}) of {stream}", count(total.records, "record"), bytes(total.bytes));
        let counted = [
            (total.throttled, "throttled"),
            (total.failed, "repeated"),
            (total.expired, "expired"),
        ];
        for (calls, what) in counted.into_iter().filter(|(calls, _)| *calls > 0) {
            let _infallible = write!(value, ", {} {what}", count(calls, "call"));
        }
        line("shards", &value);
    }
    line("bad", &count(progress.rows_bad, "row"));
    line("late", &count(progress.rows_late, "row"));
    let expired =
        dataflow.iter().zip(&progress.nodes).filter(|((id, _), _)| dataflow.expires_rows(*id));
    let expired: u64 = expired.map(|(_, done)| done.taken_back).sum();
    if expired > 0 {
        line("expired", &format!("{} by state_ttl", count(expired, "row")));
    }
    for (id, report) in &progress.sinks {
        let NodeKind::Sink(name) = &dataflow.node(*id).kind else { continue };
        if name.is_empty() {
            continue;
        }
        let mut value = format!(
            "{} in {} ({}) by {name}",
            count(report.rows, "row"),
            match report.calls {
                0 => count(report.files, "file"),
                calls => count(calls, "call"),
            },
            bytes(report.bytes)
        );
        if report.bad > 0 {
            let _infallible = write!(value, ", {} refused", count(report.bad, "row"));
        }
        line("written", &value);
    }
    if progress.spilled_bytes > 0 {
        let held = u64::try_from(progress.state_bytes).unwrap_or(u64::MAX);
        let value = format!("{} in memory, {} on disk", bytes(held), bytes(progress.spilled_bytes));
        line("state", &value);
    }
    line("elapsed", &elapsed(progress.elapsed));
    text.push_str(&set_aside(progress));
    text
}

/// What was counted of each stream whose source counts.
fn by_stream<'a>(
    progress: &Progress,
    dataflow: &'a Dataflow,
) -> BTreeMap<&'a str, PartitionMetrics> {
    let mut totals: BTreeMap<&str, PartitionMetrics> = BTreeMap::new();
    for (node, _, counted) in &progress.partitions {
        if let NodeKind::Source(source) = &dataflow.node(*node).kind {
            totals.entry(source.stream.as_str()).or_default().add(counted);
        }
    }
    totals
}

/// What a job waits for, in words for those who see no status line: when it begins, when it changes, and
/// now and then.
#[derive(Debug, Default)]
pub struct TroubleLog {
    last: Option<(Duration, String)>,
}

impl TroubleLog {
    /// A line to write at `now`, if there is something to say.
    pub fn line(&mut self, troubles: &[String], now: Duration) -> Option<String> {
        let line = match (troubles.split_first(), &self.last) {
            (None, None) => return None,
            (None, Some(_)) => "no longer waiting".to_owned(),
            (Some((first, [])), _) => format!("waiting: {}", printable(first)),
            (Some((first, others)), _) => {
                format!("waiting: {} and {} more", printable(first), others.len())
            }
        };
        let told = self.last.as_ref();
        if told.is_some_and(|(at, told)| *told == line && now.saturating_sub(*at) < TOLD_AGAIN) {
            return None;
        }
        self.last = (!troubles.is_empty()).then(|| (now, line.clone()));
        Some(line)
    }
}

/// The first rows that were set aside, with their addresses and reasons; empty if there are none.
pub fn set_aside(progress: &Progress) -> String {
    let total = progress.rows_bad + progress.rows_late;
    let shown = &progress.bad_examples[..progress.bad_examples.len().min(EXAMPLES_MAX)];
    if shown.is_empty() {
        return String::new();
    }
    let mut text = if total > u64::try_from(shown.len()).unwrap_or(0) {
        format!(
            "set aside, the first {} of {} (all are in error_stream):\n",
            shown.len(),
            grouped(total)
        )
    } else {
        "set aside (also in error_stream):\n".to_owned()
    };
    for row in shown {
        let raw: String = String::from_utf8_lossy(&row.raw).trim_end().escape_debug().collect();
        let mut cut: String = raw.chars().take(RAW_CHARS_MAX).collect();
        if cut.len() < raw.len() {
            cut.push('…');
        }
        let place = [&*row.stream, &row.partition, &row.position];
        let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
        let _infallible = writeln!(
            text,
            "  {} {}: {}\n    {cut}",
            row.reason.name(),
            place.join(" "),
            row.message
        );
    }
    text
}

/// `12 rows`, `1 row`.
fn count(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(number: u64) -> String {
    for (unit, size) in [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)] {
        if number >= size {
            return format!("{}.{} {unit}", number / size, number % size * 10 / size);
        }
    }
    format!("{number} B")
}

fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{}.{} s", seconds, time.subsec_millis() / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn timestamp(ms: i64) -> Option<String> {
    cell_text(&TimestampMillisecondArray::from(vec![ms]), 0).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, FieldRef};
    use millstream_engine::executor::{EpochInput, Executor};
    use millstream_engine::fault::{BadRow, Reason};
    use millstream_engine::port::{PartitionId, Position, SourceBatch, SourceEvent};
    use millstream_sql::{Catalog, parse, plan};

    use super::*;

    fn progress() -> Progress {
        Progress {
            rows_in: 1_234_567,
            rows_out: 12,
            rows_bad: 2,
            watermark_ms: Some(1_704_067_200_000),
            lag_ms: Some(1_500),
            elapsed: Duration::from_millis(3_210),
            bad_examples: vec![BadRow {
                reason: Reason::Coercion,
                message: "'x' is not an INTEGER".to_owned(),
                stream: "JOBS".into(),
                partition: "jobs.csv".into(),
                position: "line 4".to_owned(),
                rowtime_ms: None,
                raw: b"a,b,x\n".to_vec(),
            }],
            ..Progress::default()
        }
    }

    /// Rows of these hours through a count of the stream `TIMED`, an epoch each.
    fn counted(options: &str, hours: &[i64]) -> (Dataflow, Progress) {
        let text = format!(
            "CREATE STREAM timed (word VARCHAR(4), t TIMESTAMP, WATERMARK FOR t AS t)
               WITH (connector = 'file', path = 'timed.csv', format = 'csv');
             CREATE SINK counts WITH (connector = 'file', path = 'out', format = 'csv',
               mode = 'changelog'{options})
               AS SELECT STREAM word, COUNT(*) AS c FROM timed GROUP BY word;"
        );
        let mut catalog = Catalog::default();
        for statement in parse(&text).unwrap() {
            catalog.apply(&statement).unwrap();
        }
        let dataflow = plan::application(&catalog).unwrap().dataflow;
        let mut executor = Executor::new(Arc::new(dataflow.clone()), 2).unwrap();
        let source = dataflow.iter().find_map(|(id, node)| match &node.kind {
            NodeKind::Source(source) => Some((id, source.projection.clone())),
            _ => None,
        });
        let (id, projection) = source.unwrap();
        let schema = catalog.streams["TIMED"].stream_schema().project(&projection).unwrap();
        let partition = PartitionId::from("timed.csv");
        for hour in hours {
            let column = |field: &FieldRef| -> ArrayRef {
                match field.data_type() {
                    DataType::Utf8 => Arc::new(StringArray::from(vec!["a"])),
                    _ => Arc::new(TimestampMillisecondArray::from(vec![hour * 3_600_000])),
                }
            };
            let columns = schema.fields().iter().map(column).collect();
            let rows = SourceBatch {
                partition: partition.clone(),
                rows: RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap(),
                bad: Vec::new(),
                position: Position(String::new()),
            };
            let parents = Vec::new();
            let discovered = SourceEvent::Discovered { partition: partition.clone(), parents };
            let events = vec![(id, discovered), (id, SourceEvent::Rows(rows))];
            executor.step(0, EpochInput { events, ..EpochInput::default() }).unwrap();
        }
        (dataflow, Progress { nodes: executor.figures(), ..Progress::default() })
    }

    #[test]
    fn the_summary_says_how_many_rows_expired() {
        let expired = |options: &str| {
            let (dataflow, progress) = counted(options, &[0, 1, 2, 5, 6]);
            // The count before is taken back as well, which is no expiry.
            assert!(progress.nodes.iter().map(|node| node.taken_back).sum::<u64>() > 3);
            let summary = summary(&progress, &dataflow);
            summary.lines().find(|line| line.starts_with("expired")).map(str::to_owned)
        };
        let hours = ", state_ttl = '2 hours'";
        assert_eq!(expired(hours).as_deref(), Some("expired  3 rows by state_ttl"));
        assert_eq!(expired(""), None);
    }

    #[test]
    fn the_line_has_rows_rate_watermark_and_lag() {
        assert_eq!(
            status(&progress(), 1_000, Duration::from_secs(75)),
            "in 1,234,567 rows (1,000/s) · out 12 · bad 2 · watermark 2024-01-01 00:00:00.000 · \
             lag 1.5 s · 1 min 15 s"
        );
    }

    #[test]
    fn the_line_says_what_a_source_waits_for() {
        let troubles = ["'s3://b' is\u{1b}[2J slow", "shard 2 does not answer"].map(str::to_owned);
        let progress = Progress { troubles: troubles.to_vec(), ..Progress::default() };
        let line = status(&progress, 0, Duration::from_secs(1));
        assert!(line.contains(r"waiting: 's3://b' is\u{1b}[2J slow and 1 more"), "{line}");
    }

    #[test]
    fn a_trouble_is_told_once_and_when_it_is_over() {
        let mut log = TroubleLog::default();
        let (seconds, slow) = (Duration::from_secs, ["shard 1 is throttled".to_owned()]);
        assert_eq!(log.line(&[], seconds(0)), None);
        assert_eq!(log.line(&slow, seconds(5)).unwrap(), "waiting: shard 1 is throttled");
        assert_eq!(log.line(&slow, seconds(10)), None);
        assert!(log.line(&slow, seconds(305)).is_some());
        assert_eq!(log.line(&[], seconds(310)).unwrap(), "no longer waiting");
        assert_eq!(log.line(&[], seconds(315)), None);
    }

    #[test]
    fn the_rate_is_that_since_the_last_drawing() {
        assert_eq!(rate(500, Duration::from_millis(1_250), Duration::from_secs(1)), 2_000);
    }

    #[test]
    fn the_summary_says_where_a_bad_row_is_and_why() {
        assert_eq!(
            summary(&progress(), &Dataflow::default()),
            "read     1,234,567 rows\nbad      2 rows\nlate     0 rows\nelapsed  3.2 s\n\
             set aside, the first 1 of 2 (all are in error_stream):\n  \
             COERCION JOBS jobs.csv line 4: 'x' is not an INTEGER\n    a,b,x\n"
        );
    }

    #[test]
    fn the_line_disappears_only_if_it_was_drawn() {
        let mut line = StatusLine::default();
        let mut terminal = Vec::new();
        line.clear(&mut terminal).unwrap();
        assert!(terminal.is_empty());
        line.draw(&progress(), Duration::from_secs(1), &mut terminal).unwrap();
        line.clear(&mut terminal).unwrap();
        assert!(terminal.ends_with(b"\r\x1b[2K"));
    }
}
