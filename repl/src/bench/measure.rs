//! Measuring a thing beside its peer.

use std::io::Write;
use std::time::Duration;

use millstream_engine::{Clock, SystemClock};

use crate::failure::Failure;

/// Processor time below this is too little, in ticks of 10 ms, to make a ratio of.
const CPU_TIME_MIN: Duration = Duration::from_millis(50);

/// How long a run took, by the wall and by the processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    wall: Duration,
    cpu: Option<Duration>,
}

/// A thing and its peer, measured in turn.
#[derive(Debug)]
pub(super) struct Comparison {
    name: String,
    events: u64,
    ours: Took,
    peer: Took,
}

/// Runs `ours` and `peer` in turn, `runs` times each after one warm-up, and keeps the medians.
///
/// # Errors
///
/// What either fails with.
pub(super) fn compare(
    name: &str,
    events: u64,
    runs: u32,
    mut ours: impl FnMut() -> Result<(), Failure>,
    mut peer: impl FnMut() -> Result<(), Failure>,
) -> Result<Comparison, Failure> {
    let clock = SystemClock::new();
    ours()?;
    peer()?;
    let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
    for _ in 0..runs.max(1) {
        our_times.push(time(&clock, &mut ours)?);
        peer_times.push(time(&clock, &mut peer)?);
    }
    let (ours, peer) = (median(our_times), median(peer_times));
    Ok(Comparison { name: name.to_owned(), events, ours, peer })
}

fn time(
    clock: &SystemClock,
    run: &mut impl FnMut() -> Result<(), Failure>,
) -> Result<Took, Failure> {
    let (wall, cpu) = (clock.monotonic(), cpu_time());
    run()?;
    let cpu = cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before));
    Ok(Took { wall: clock.monotonic().saturating_sub(wall), cpu })
}

fn median(mut times: Vec<Took>) -> Took {
    times.sort_by_key(|took| took.wall);
    times[times.len() / 2]
}

/// Processor time of this process so far, where the system tells (Linux: proc(5), fields utime and
/// stime, in ticks of 10 ms).
pub(super) fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may itself hold blanks and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |at: usize| fields.split_whitespace().nth(at)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// The table of a run.
#[derive(Debug)]
pub(super) struct Report {
    notes: Vec<String>,
    comparisons: Vec<Comparison>,
}

impl Report {
    pub(super) fn new(runs: u32) -> Self {
        let comparisons = Vec::with_capacity(usize::try_from(runs).unwrap_or(0));
        Self { notes: Vec::new(), comparisons }
    }

    pub(super) fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    pub(super) fn add(&mut self, comparison: Comparison) {
        self.comparisons.push(comparison);
    }

    /// Prints it on standard output.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(super) fn print(&self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let mut text = String::new();
        for note in &self.notes {
            text.push_str(note);
            text.push('\n');
        }
        text.push_str(&format!(
            "{:<44} {:>14} {:>14} {:>10} {:>10} {:>7} {:>7}\n",
            "what (peer)", "events/s", "peer's", "cpu s", "peer's", "speed", "cpu",
        ));
        for comparison in &self.comparisons {
            text.push_str(&comparison.line());
            text.push('\n');
        }
        text.push_str("speed and cpu: ours over the peer's; above 1 is faster than the peer\n");
        out.write_all(text.as_bytes()).map_err(|error| Failure::new(error.to_string()))
    }
}

impl Comparison {
    fn line(&self) -> String {
        let rate = |took: Took| {
            let events = self.events as f64;
            format!("{:.0}", events / took.wall.as_secs_f64().max(1e-9))
        };
        let cpu = |took: Took| {
            took.cpu.map_or_else(|| "?".to_owned(), |cpu| format!("{:.2}", cpu.as_secs_f64()))
        };
        let ratio = |ours: f64, peer: f64| format!("{:.2}", peer / ours.max(1e-9));
        let known = self.ours.cpu.zip(self.peer.cpu);
        let known = known.filter(|(ours, peer)| ours.min(peer) >= &CPU_TIME_MIN);
        let cpu_ratio = known.map_or_else(
            || "?".to_owned(),
            |(ours, peer)| ratio(ours.as_secs_f64(), peer.as_secs_f64()),
        );
        format!(
            "{:<44} {:>14} {:>14} {:>10} {:>10} {:>7} {:>7}",
            self.name,
            rate(self.ours),
            rate(self.peer),
            cpu(self.ours),
            cpu(self.peer),
            ratio(self.ours.wall.as_secs_f64(), self.peer.wall.as_secs_f64()),
            cpu_ratio,
        )
    }
}
