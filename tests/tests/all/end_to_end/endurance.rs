//! What is promised of long runs, in short ones: back soon after a kill, and nothing that grows although
//! nothing is kept.
//!
//! `MILLSTREAM_KEYS` and `MILLSTREAM_SOAK` (seconds) make them as long as one likes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use millstream_engine::{Clock, SystemClock};
use millstream_tests::program::{Program, Running};

use super::crash::visible;
use super::crash_steps::Endless;

/// Keys that a restart has to know again.
const KEYS: usize = 20_000;

/// Restarts that are measured.
const RESTARTS: usize = 5;

/// A restart may take so long until new rows are out.
const BACK_MAX: Duration = Duration::from_secs(30);

/// Seconds of a run that should not grow.
const SOAK_SECONDS: u64 = 15;

/// Objects of a state: a tail of commits, bases, markers.
const OBJECTS_MAX: usize = 600;

/// What a process may hold more at the end than in the middle of its run, in kilobytes: a third of a
/// minute's epochs are encoded and published all the time, and freed memory is not always given back.
const GROWTH_MAX_KB: u64 = 16_384;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|n| n.parse().ok())
}

fn contains(folder: &Path, text: &str) -> bool {
    visible(folder).iter().any(|file| fs::read_to_string(file).is_ok_and(|t| t.contains(text)))
}

/// P11: killed with much state, it has new rows out within seconds.
#[test]
fn p11_a_killed_process_is_back_soon() {
    let keys = number("MILLSTREAM_KEYS").map_or(KEYS, |n| usize::try_from(n).unwrap());
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("in")).unwrap();
    fs::create_dir_all(folder.path().join("out/passed")).unwrap();
    let text = "
        CREATE STREAM s (k VARCHAR(100), n INTEGER)
          WITH (connector = 'file', path = 'in/*.csv', follow = 'true');
        CREATE SINK counted
          WITH (connector = 'file', path = 'out/counted', format = 'csv', mode = 'changelog')
          AS SELECT STREAM k, COUNT(*) AS c, SUM(n) AS total FROM s GROUP BY k;
        CREATE SINK passed
          WITH (connector = 'file', path = 'out/passed', format = 'csv', roll_interval = '50ms')
          AS SELECT STREAM k FROM s WHERE n < 0;
        SET unbounded_state = 'allow';";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let mut lines: String = (0..keys).map(|n| format!("key {n:060},{n}\n")).collect();
    lines.push_str("filled,-1\n");
    fs::write(folder.path().join("in/1.csv"), format!("k,n\n{lines}")).unwrap();
    let program = Program::in_folder(folder.path());
    let run = ["run", "app.sql", "--checkpoint-interval", "100ms"];
    let (passed, input) = (folder.path().join("out/passed"), folder.path().join("in/1.csv"));
    let mut process = program.start(&run);
    process.wait_until("the state is there", || contains(&passed, "filled"));
    let mut took: Vec<Duration> = Vec::new();
    for restart in 0..RESTARTS {
        process.signal("KILL");
        process.wait();
        let mut input = fs::OpenOptions::new().append(true).open(&input).unwrap();
        writeln!(input, "back {restart},-1").unwrap();
        let clock = SystemClock::new();
        process = program.start(&run);
        let line = format!("back {restart}");
        process.wait_until("a new row is out", || contains(&passed, &line));
        took.push(clock.monotonic());
    }
    process.signal_until_it_ends("INT");
    took.sort();
    let (median, slowest) = (took[RESTARTS / 2], took[RESTARTS - 1]);
    assert!(slowest < BACK_MAX, "{took:?}");
    println!(
        "evidence P11 restart: {RESTARTS} kills with {keys} keys of state, new rows after {:.1} s, at \
         most {:.1} s",
        median.as_secs_f64(),
        slowest.as_secs_f64()
    );
}

/// What a process holds: kilobytes of memory, open files.
fn held(process: &Running) -> (u64, usize) {
    let id = process.id();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|line| line.split_whitespace().next()?.parse().ok());
    (resident.unwrap(), fs::read_dir(format!("/proc/{id}/fd")).unwrap().count())
}

/// P15: a run that keeps little stays small, however many checkpoints, files and windows it has made.
#[test]
fn p15_what_keeps_nothing_does_not_grow() {
    let mut endless = Endless::unwatched();
    let seconds = number("MILLSTREAM_SOAK").unwrap_or(SOAK_SECONDS);
    let run = ["run", "app.sql", "--checkpoint-interval", "100ms"];
    let mut process = endless.program.start(&run);
    let out = endless.out().join("passed");
    process.wait_until("something is written", || visible(&out).len() > 2);
    let (clock, mut seen, mut objects_max) = (SystemClock::new(), Vec::new(), 0);
    while clock.monotonic() < Duration::from_secs(seconds) {
        assert!(!process.has_ended(), "it ended by itself");
        seen.push(held(&process));
        let folders = ["commits", "bases", "committed", "probes"];
        let objects = folders.map(|folder| endless.objects(folder).len());
        objects_max = objects.iter().sum::<usize>().max(objects_max);
        std::thread::sleep(Duration::from_millis(100));
    }
    let third = seen.len() / 3;
    let most = |samples: &[(u64, usize)]| {
        (samples.iter().map(|s| s.0).max().unwrap(), samples.iter().map(|s| s.1).max().unwrap())
    };
    let (middle, end) = (most(&seen[third..2 * third]), most(&seen[2 * third..]));
    assert!(end.0 <= middle.0 + GROWTH_MAX_KB, "from {} kB to {} kB", middle.0, end.0);
    assert!(end.1 <= middle.1 + 2, "from {} open files to {}", middle.1, end.1);
    assert!(objects_max <= OBJECTS_MAX, "{objects_max} objects of state");
    let commits: u64 = endless.commits().parse().unwrap();
    assert!(commits > 4 * seconds, "{commits} commits in {seconds} s");
    let files = visible(&endless.out()).len();
    let count = endless.end();
    process.signal("KILL");
    drop(process);
    let last = endless.run();
    endless.finish(last, count);
    println!(
        "evidence P15 soak: {seconds} s, {commits} commits, {files} files; memory from {} to {} MB, open \
         files from {} to {}, at most {objects_max} objects of state",
        middle.0 / 1024,
        end.0 / 1024,
        middle.1,
        end.1
    );
}
