//! What a run took, and the lines that say so.

use std::io::Write;
use std::time::Duration;

use millstream_engine::Clock;

use super::input::Input;
use crate::bench::measure::cpu_time;
use crate::cli::NexmarkArgs;
use crate::failure::Failure;

/// What a run took.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) wall: Duration,
    cpu: Option<Duration>,
    /// The most memory the process had in the run.
    peak_bytes: Option<u64>,
    /// Rows of the result.
    pub(super) rows: i64,
    /// How long each epoch took, the wait for its input included.
    epochs: Vec<Duration>,
}

/// A run in progress.
pub(super) struct Meter {
    wall: Duration,
    cpu: Option<Duration>,
}

impl Meter {
    pub(super) fn start(clock: &dyn Clock) -> Self {
        // Makes the system forget the peak so far (Linux: proc(5)). Where it cannot, the peak is that
        // of all runs.
        let _forgotten = std::fs::write("/proc/self/clear_refs", "5");
        Self { wall: clock.monotonic(), cpu: cpu_time() }
    }

    pub(super) fn stop(self, clock: &dyn Clock, rows: i64, mut epochs: Vec<Duration>) -> Measured {
        let cpu = cpu_time().zip(self.cpu).map(|(after, before)| after.saturating_sub(before));
        epochs.sort_unstable();
        let wall = clock.monotonic().saturating_sub(self.wall);
        Measured { wall, cpu, peak_bytes: peak_bytes(), rows, epochs }
    }
}

/// The most memory since the peak was forgotten (Linux: proc(5), `VmHWM`).
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb << 10)
}

/// A query's two sides.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) events: u64,
    pub(super) ours: Measured,
    pub(super) batch: Measured,
}

/// Prints what is measured and the names of the columns.
pub(super) fn heading(args: &NexmarkArgs, input: &Input) -> Result<(), Failure> {
    let events: u64 = input.events.values().sum();
    print(&format!(
        "{events} events, {:.1} MB of JSON; {} run(s), {} lane(s)\n\
         {:<5} {:>9} {:>10} {:>10} {:>8} {:>8} {:>8} {:>11} {:>10} {:>9} {:>6} {:>6}\n",
        input.bytes as f64 / 1e6,
        args.runs,
        args.lanes,
        "query",
        "rows",
        "events/s",
        "per core",
        "peak MB",
        "p50 ms",
        "p99 ms",
        "batch ev/s",
        "per core",
        "peak MB",
        "speed",
        "cpu",
    ))
}

/// Prints a query's line.
pub(super) fn line(line: &Line) -> Result<(), Failure> {
    let rate = |took: Duration| line.events as f64 / took.as_secs_f64().max(1e-9);
    let per_core = |side: &Measured| known(side.cpu.map(rate), 0);
    let megabytes = |side: &Measured| known(side.peak_bytes.map(|bytes| bytes as f64 / 1e6), 0);
    let (ours, batch) = (&line.ours, &line.batch);
    let cpu = ours.cpu.zip(batch.cpu).filter(|(ours, _)| !ours.is_zero());
    let epoch = |percent: usize| {
        let at = ours.epochs.len().saturating_sub(1) * percent / 100;
        known(ours.epochs.get(at).map(|took| took.as_secs_f64() * 1e3), 1)
    };
    print(&format!(
        "{:<5} {:>9} {:>10.0} {:>10} {:>8} {:>8} {:>8} {:>11.0} {:>10} {:>9} {:>6.2} {:>6}\n",
        line.name,
        ours.rows,
        rate(ours.wall),
        per_core(ours),
        megabytes(ours),
        epoch(50),
        epoch(99),
        rate(batch.wall),
        per_core(batch),
        megabytes(batch),
        batch.wall.as_secs_f64() / ours.wall.as_secs_f64().max(1e-9),
        known(cpu.map(|(ours, batch)| batch.as_secs_f64() / ours.as_secs_f64()), 2),
    ))
}

/// Prints why a query has no line.
pub(super) fn refused(name: &str, reason: &str) -> Result<(), Failure> {
    let first = reason.lines().next().unwrap_or_default();
    let short: String = first.chars().take(80).collect();
    print(&format!("{name:<5} not run: {short}\n"))
}

/// Prints what the columns mean.
pub(super) fn legend() -> Result<(), Failure> {
    print(
        "events: of the streams the query reads; per core: by processor time; p50, p99: time of an \
         epoch with\nthe wait for its input; batch: DataFusion; speed and cpu: ours over batch's, above \
         1 is faster\n",
    )
}

fn known(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "?".to_owned(), |value| format!("{value:.decimals$}"))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
