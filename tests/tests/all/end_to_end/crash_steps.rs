//! Dead at each step of a checkpoint, asleep while another process goes on, or with its state moved
//! elsewhere: the output is what it would have been.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_engine::checkpoint::fail_point::FailPoint;
use millstream_tests::program::{Program, Running};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::crash::{Reader, rows, visible};

/// An application over lines that are appended all the time.
const APPLICATION: &str = "
CREATE STREAM s (n INTEGER, t TIMESTAMP, WATERMARK FOR t AS t)
  WITH (connector = 'file', path = 'in/*.csv', follow = 'true');
CREATE SINK passed
  WITH (connector = 'file', path = 'out/passed', format = 'csv', roll_interval = '100ms')
  AS SELECT STREAM n FROM s;
CREATE SINK counted
  WITH (connector = 'file', path = 'out/counted', format = 'csv', roll_interval = '100ms')
  AS SELECT STREAM FLOOR(t TO MINUTE) AS m, COUNT(*) AS c, SUM(n) AS total
     FROM s GROUP BY FLOOR(t TO MINUTE);
";

const RUN: [&str; 4] = ["run", "app.sql", "--checkpoint-interval", "100ms"];

/// The application and its input: numbers, one a second of their own time, as long as one likes.
pub(super) struct Endless {
    folder: tempfile::TempDir,
    pub(super) program: Program,
    stop: Arc<AtomicBool>,
    appending: Option<std::thread::JoinHandle<usize>>,
    reader: Option<Reader>,
}

impl Endless {
    /// With a reader that looks at the output all the time.
    fn start() -> Self {
        let mut endless = Self::unwatched();
        endless.reader = Some(Reader::start(endless.out()));
        endless
    }

    pub(super) fn unwatched() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("in")).unwrap();
        fs::create_dir_all(folder.path().join("out")).unwrap();
        fs::write(folder.path().join("app.sql"), APPLICATION).unwrap();
        let program = Program::in_folder(folder.path());
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, file) = (Arc::clone(&stop), folder.path().join("in/1.csv"));
        fs::write(&file, "n,t\n").unwrap();
        let appending = std::thread::spawn(move || append(&file, &stopped));
        Self { folder, program, stop, appending: Some(appending), reader: None }
    }

    pub(super) fn run(&self) -> Running {
        self.program.start(&RUN)
    }

    /// A run that is killed when it has written so many files.
    fn run_and_kill(&self, files: usize) {
        let (mut run, out) = (self.run(), self.out().join("passed"));
        run.wait_until("files are written", || visible(&out).len() >= files);
        run.signal("KILL");
        run.wait();
    }

    /// A folder of the state.
    pub(super) fn state(&self, folder: &str) -> PathBuf {
        self.folder.path().join(".millstream/app").join(folder)
    }

    /// The objects of a folder of the state, by name.
    pub(super) fn objects(&self, folder: &str) -> Vec<String> {
        let files = fs::read_dir(self.state(folder)).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !name.contains('#')).collect();
        names.sort();
        names
    }

    /// The name of the newest commit; empty before the first.
    pub(super) fn commits(&self) -> String {
        self.objects("commits").pop().unwrap_or_default()
    }

    pub(super) fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Ends the input; returns how many numbers there are.
    pub(super) fn end(&mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.appending.take().unwrap().join().unwrap()
    }

    /// Waits until `process` has written all `count` numbers, stops it and looks at what was written.
    /// Returns how many files came, as a reader saw it.
    pub(super) fn finish(&mut self, mut process: Running, count: usize) -> usize {
        let lines =
            |file: PathBuf| fs::read_to_string(file).unwrap_or_default().lines().count() - 1;
        let passed = self.out().join("passed");
        process.wait_until("all is written", || {
            visible(&passed).into_iter().map(lines).sum::<usize>() >= count
        });
        process.signal("INT");
        let ended = process.wait();
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        self.check(count);
        self.reader.take().map_or(0, Reader::stop)
    }

    fn check(&self, count: usize) {
        let numbers: Vec<usize> = (0..count).collect();
        let mut passed: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        passed.sort();
        assert_eq!(rows(&self.out().join("passed"), "csv", "n"), passed);
        // The last minute is still open, unless it was just complete.
        let line = |minute: &[usize]| format!("60,{}", minute.iter().sum::<usize>());
        let closed = numbers.chunks_exact(60).take((count - 1) / 60);
        let mut counted: Vec<String> = closed.map(line).collect();
        counted.sort();
        assert_eq!(rows(&self.out().join("counted"), "csv", "c,total"), counted);
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn append(file: &Path, stopped: &AtomicBool) -> usize {
    let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
    let mut n = 0;
    while !stopped.load(Ordering::Relaxed) {
        let (day, hour, minute, second) = (n / 86_400 + 1, n / 3600 % 24, n / 60 % 60, n % 60);
        writeln!(file, "{n},2026-01-{day:02} {hour:02}:{minute:02}:{second:02}").unwrap();
        n += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    n
}

/// O1: each step is reached, and dying behind it changes nothing.
#[test]
fn o1_a_death_at_any_step_of_a_checkpoint_changes_nothing() {
    let mut endless = Endless::start();
    let mut deaths = 0;
    // Those of each commit once more, at a later one.
    let often = [
        FailPoint::SnapshotTaken,
        FailPoint::CommitEncoded,
        FailPoint::CommitCreated,
        FailPoint::CommitOwned,
        FailPoint::FilePublished,
        FailPoint::Published,
    ];
    let first = FailPoint::ALL.into_iter().map(|point| (point, 1));
    for (point, arrival) in first.chain(often.into_iter().map(|point| (point, 4))) {
        let at = format!("{}:{arrival}", point.name());
        let doomed = endless.program.clone().with_variable("MILLSTREAM_DIE_AT", &at);
        let died = doomed.run(&RUN);
        assert_eq!(died.status, None, "it does not come to {at}:\n{}", died.stderr);
        deaths += 1;
    }
    let count = endless.end();
    let last = endless.run();
    let files = endless.finish(last, count);
    let points = FailPoint::ALL.len();
    println!(
        "evidence P1 fail points: {points} of {points} reached, {deaths} deaths, 0 rows lost, 0 twice"
    );
    println!("evidence P6 fail points: {files} files seen as they came, 0 not whole, 0 changed");
}

/// O3, S2: processes that sleep while another one goes on change nothing when they wake up.
#[test]
fn o3_of_processes_that_sleep_one_goes_on() {
    let mut endless = Endless::start();
    let mut dice = StdRng::seed_from_u64(3);
    let mut sleeping: Vec<Running> = Vec::new();
    let mut woken = 0;
    let mut wake = |zombie: Running| {
        zombie.signal("CONT");
        let ended = zombie.wait();
        assert_eq!(ended.status, Some(3), "{}", ended.stderr);
        woken += 1;
    };
    for _ in 0..6 {
        let before = endless.commits();
        let mut process = endless.run();
        process.wait_until("it has claimed the application", || endless.commits() > before);
        std::thread::sleep(Duration::from_millis(dice.random_range(0..500)));
        process.signal("STOP");
        sleeping.push(process);
        if sleeping.len() == 3 {
            wake(sleeping.remove(dice.random_range(0..2)));
        }
    }
    let count = endless.end();
    let last = endless.run();
    endless.finish(last, count);
    sleeping.into_iter().for_each(&mut wake);
    endless.check(count);
    println!(
        "evidence P4 processes: {woken} of {woken} sleepers end with status 3, 0 rows twice, 0 lost"
    );
}

/// S7: a copy of the state is as good as the state.
#[test]
fn s7_a_copied_state_goes_on() {
    let mut endless = Endless::start();
    endless.run_and_kill(3);
    let folder = endless.folder.path();
    let copy = |from: &Path, to: &Path| {
        let status = std::process::Command::new("cp").arg("-r").args([from, to]).status();
        assert!(status.unwrap().success());
    };
    copy(&folder.join(".millstream/app"), &folder.join("copied"));
    fs::remove_dir_all(folder.join(".millstream")).unwrap();
    let count = endless.end();
    let second = endless.program.start(&[&RUN[..], &["--state", "copied"]].concat());
    endless.finish(second, count);
}

/// O8: what a state that was put back to an earlier commit would publish is there already.
#[test]
fn o8_a_state_that_was_put_back_is_refused() {
    let mut endless = Endless::start();
    endless.run_and_kill(5);
    let markers = endless.objects("committed");
    let published = markers.last().unwrap().trim_end_matches(".json");
    let commits = endless.objects("commits");
    for commit in commits.iter().filter(|commit| commit.as_str() >= published) {
        fs::remove_file(endless.state("commits").join(commit)).unwrap();
    }
    for _ in 0..2 {
        let refused = endless.program.run(&RUN);
        assert_eq!(refused.status, Some(1), "{}", refused.stderr);
        let number = published.trim_start_matches('0');
        let said = format!("the output of commit {number} is published");
        assert!(refused.stderr.contains(&said), "{}", refused.stderr);
        assert!(refused.stderr.contains("--fresh"), "{}", refused.stderr);
    }
    assert_eq!(endless.objects("committed"), markers, "nothing was touched");
    // Begun anew it goes on from there, also the next time.
    for arguments in [&["--fresh"][..], &[]] {
        let before = endless.commits();
        let mut again = endless.program.start(&[&RUN[..], arguments].concat());
        again.wait_until("it has claimed the application", || endless.commits() > before);
        again.signal_until_it_ends("INT");
        let again = again.wait();
        assert_eq!(again.status, Some(0), "{}", again.stderr);
    }
    endless.end();
    endless.reader.take().map(Reader::stop);
}
