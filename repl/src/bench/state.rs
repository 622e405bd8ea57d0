//! `millstream bench state`: what it costs that state survives, and that it may be larger than memory.
//!
//! An aggregate over many keys is filled, changed a little, restarted and squeezed; each figure stands
//! beside the one it is to be compared with. Everything runs as a user runs it: files in, checkpoints in
//! a local folder.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_engine::checkpoint::recovery::Discard;
use millstream_engine::job::Progress;
use millstream_engine::{Clock, SystemClock};

use super::pipeline::Scratch;
use crate::cli::{BenchState, End, JobArgs, StateFigure};
use crate::commands::{runtime, session};
use crate::failure::Failure;
use crate::interrupt::Stop;
use crate::output::Format;
use crate::session::{Manner, StatePlace, StateSettings};

/// A checkpoint that never comes before the end of a run.
const NEVER: Duration = Duration::from_secs(1 << 20);

/// The share of keys that changes between two checkpoints: one of so many.
const CHANGED: u64 = 100;

/// How often each key comes when throughput is measured.
const ROUNDS: u64 = 4;

/// How much larger than its memory state is to be: where each key takes more memory than that, less.
const SQUEEZES: [usize; 4] = [10, 5, 3, 2];

/// The exponent of the skewed choice of keys.
const ZIPF: f64 = 1.1;

/// Runs the benchmarks and prints their figures.
///
/// # Errors
///
/// When a run fails: then the figures mean nothing.
pub(super) fn bench(args: &BenchState) -> Result<(), Failure> {
    let scratch = Scratch::new(args.seed)?;
    let bench = Bench { folder: scratch.0.clone(), args };
    let wanted = |figure| args.only.is_none_or(|only| only == figure);
    if wanted(StateFigure::Checkpoint) {
        bench.checkpoint()?;
    }
    if wanted(StateFigure::Throughput) {
        bench.throughput()?;
    }
    if wanted(StateFigure::Memory) {
        bench.memory("uniform", |_, random, keys| random % keys)?;
        bench.memory("Zipf 1.1", |_, random, keys| zipf(random, keys))?;
    }
    Ok(())
}

struct Bench<'a> {
    folder: PathBuf,
    args: &'a BenchState,
}

/// What a run has left behind.
struct Ran {
    took: Duration,
    progress: Progress,
}

impl Bench<'_> {
    /// Bytes and pauses of a checkpoint of few changes beside one of everything, and restarts.
    fn checkpoint(&self) -> Result<(), Failure> {
        let (keys, input, state) = (self.args.keys, self.place("in"), self.place("state"));
        self.write(&input.join("1.csv"), keys, |row, _| row)?;
        let durable = Some((state.as_path(), NEVER));
        let full = self.run(&input, durable, None)?;
        let recovered = self.run(&input, durable, None)?;
        let changed = keys.div_ceil(CHANGED);
        self.write(&input.join("2.csv"), changed, |_, random| random % keys)?;
        let change = self.run(&input, durable, None)?;
        let fresh = self.place("one");
        self.write(&fresh.join("1.csv"), 1, |row, _| row)?;
        let first = self.run(&fresh, Some((&self.place("none"), NEVER)), None)?;
        let again = self.run(&fresh, Some((&self.place("none"), NEVER)), None)?;
        let (all, few) = (full.progress.checkpoints, change.progress.checkpoints);
        let mut text = String::new();
        let bytes = (mega(all.bytes_last), mega(few.bytes_last));
        let ratio = few.bytes_last as f64 / (all.bytes_last as f64).max(1.0);
        let _infallible = writeln!(
            text,
            "checkpoint of 1 in {CHANGED} of {keys} keys: {:.1} MB, of all {:.1} MB: {ratio:.3} of it",
            bytes.1, bytes.0
        );
        let _infallible = writeln!(
            text,
            "longest pause of processing for it: {} ms, for all keys {} ms",
            few.pause_max.as_millis(),
            all.pause_max.as_millis()
        );
        let _infallible = writeln!(
            text,
            "restart with {:.0} MB of state, {:.1} MB on disk: {:.2} s; {:.0} MB of state a second",
            mega(recovered.progress.state_bytes as u64),
            bytes.0,
            recovered.took.as_secs_f64(),
            mega(recovered.progress.state_bytes as u64) / recovered.took.as_secs_f64().max(1e-3)
        );
        let _infallible = writeln!(
            text,
            "restart with nothing to read: {} ms, the first start {} ms",
            again.took.as_millis(),
            first.took.as_millis()
        );
        say(&text)
    }

    /// The time of a run without checkpoints beside one with them.
    fn throughput(&self) -> Result<(), Failure> {
        let (keys, input) = (self.args.keys, self.place("rounds"));
        for round in 1..=ROUNDS {
            self.write(&input.join(format!("{round}.csv")), keys, |_, random| random % keys)?;
        }
        let without = self.run(&input, None, None)?;
        let state = self.place("often");
        let with = self.run(&input, Some((&state, self.args.interval)), None)?;
        say(&format!(
            "{} rows without checkpoints: {:.1} s, with one every {:?} ({} of them): {:.1} s; {:.2} of the \
             speed\n",
            keys * ROUNDS,
            without.took.as_secs_f64(),
            self.args.interval,
            with.progress.checkpoints.commits,
            with.took.as_secs_f64(),
            without.took.as_secs_f64() / with.took.as_secs_f64().max(1e-3)
        ))
    }

    /// The time of a run whose state fits into memory beside one that has a tenth of that.
    fn memory(&self, name: &str, choose: impl Fn(u64, u64, u64) -> u64) -> Result<(), Failure> {
        let (keys, input) = (self.args.keys, self.place(name));
        let key = |row, random| choose(row, random, keys);
        // Every key is there before the choice begins.
        self.write(&input.join("0.csv"), keys, |row, _| row)?;
        for round in 1..=ROUNDS {
            self.write(&input.join(format!("{round}.csv")), keys, key)?;
        }
        let fits = self.run(&input, None, None)?;
        let bytes = fits.progress.state_bytes;
        let tried = SQUEEZES.iter().map(|by| (by, self.run(&input, None, Some(bytes / by))));
        let squeezed = tried.into_iter().find_map(|(by, ran)| Some((by, ran.ok()?)));
        fs::remove_dir_all(&input).map_err(failed)?;
        let (mega_bytes, seconds) = (mega(bytes as u64), fits.took.as_secs_f64());
        let fits = format!("{keys} keys, {name}: {mega_bytes:.1} MB in memory {seconds:.1} s");
        let Some((by, squeezed)) = squeezed else {
            return say(&format!("{fits}; not with half of it\n"));
        };
        say(&format!(
            "{fits}, with 1/{by} of that ({:.1} MB on disk) {:.1} s; {:.2} of the speed\n",
            mega(squeezed.progress.spilled_bytes),
            squeezed.took.as_secs_f64(),
            seconds / squeezed.took.as_secs_f64().max(1e-3)
        ))
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file of `rows` rows; `key` chooses a key by the number of the row and a random one.
    fn write(&self, path: &Path, rows: u64, key: impl Fn(u64, u64) -> u64) -> Result<(), Failure> {
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(failed)?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?);
        let mut random = self.args.seed;
        let lines = (0..rows).try_for_each(|row| {
            random = mix(random.wrapping_add(0x9e37_79b9_7f4a_7c15));
            // Neighbours are not neighbours in the state.
            let (key, width) = (mix(key(row, random)) >> 1, self.args.key_bytes);
            writeln!(file, "{key:0width$},{}", random % 1000)
        });
        lines.and_then(|()| file.flush()).map_err(failed)
    }

    /// Counts and sums by key what is in `input`, until all of it is read.
    fn run(
        &self,
        input: &Path,
        state: Option<(&Path, Duration)>,
        memory: Option<usize>,
    ) -> Result<Ran, Failure> {
        let key = match self.args.key_bytes {
            0 => "BIGINT".to_owned(),
            bytes => format!("VARCHAR({})", bytes.max(20)),
        };
        let text = format!(
            "CREATE STREAM s (k {key}, v BIGINT) WITH (connector = 'file', path = '{}/*.csv', format = 'csv',
               header = 'false', follow = 'true');
             CREATE SINK totals WITH (connector = 'file', path = '{}', format = 'csv', mode = 'changelog') AS
             SELECT STREAM COUNT(*) AS n, SUM(c) AS c, SUM(total) AS total
             FROM (SELECT k, COUNT(*) AS c, SUM(v) AS total FROM s GROUP BY k);
             SET unbounded_state = 'allow';",
            input.display(),
            self.place("out").display(),
        );
        let memory = memory.map(|bytes| bytes as u64);
        let job = JobArgs {
            parallelism: u16::try_from(self.args.lanes).ok(),
            until: End::CaughtUp,
            // Without a limit, so that what is measured is not spilling.
            memory: Some(memory.unwrap_or(1 << 50)),
            spill: Some(self.place("spilled")),
            ..JobArgs::default()
        };
        let mut session = session(Manner::Script, Format::Table, &job)?;
        session.keep_state(state.map(|(place, interval)| StateSettings {
            place: StatePlace::Given(place.display().to_string()),
            interval,
            discard: Discard::default(),
        }));
        let console = session.console_mut();
        (console.out, console.notes, console.status) =
            (Box::new(io::sink()), Box::new(io::sink()), false);
        let (clock, progress) = (SystemClock::new(), session.progress());
        let work = async { session.run_script(&[("application", &text)], &Stop::default()).await };
        runtime()?.block_on(Box::pin(work))?;
        let progress = progress.borrow().clone();
        Ok(Ran { took: clock.monotonic(), progress })
    }
}

/// A number that looks random, of each number another one.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A key below `keys`, the lower the more often.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and keys"
)]
fn zipf(random: u64, keys: u64) -> u64 {
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    let end = (keys as f64).powf(1.0 - ZIPF);
    let rank = (1.0 + share * (end - 1.0)).powf(1.0 / (1.0 - ZIPF));
    (rank as u64).saturating_sub(1).min(keys - 1)
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn say(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives it away")]
fn failed(error: io::Error) -> Failure {
    Failure::new(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_there_at_a_small_size() {
        for only in [StateFigure::Checkpoint, StateFigure::Throughput, StateFigure::Memory] {
            let interval = Duration::from_millis(100);
            let args = BenchState {
                keys: 2_000,
                key_bytes: 200,
                only: Some(only),
                interval,
                lanes: 1,
                seed: 7,
            };
            bench(&args).unwrap();
        }
    }

    #[test]
    fn few_keys_are_chosen_often() {
        let keys: Vec<u64> = (0..10_000).map(|n| zipf(mix(n), 1_000)).collect();
        assert!(keys.iter().all(|key| *key < 1_000));
        let low = keys.iter().filter(|key| **key < 10).count();
        assert!((3_000..7_000).contains(&low), "{low}");
        assert!(keys.iter().any(|key| *key > 500));
    }
}
