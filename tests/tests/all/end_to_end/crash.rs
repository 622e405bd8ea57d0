//! Killed at any moment, started again, sometimes twice at once, sometimes with other lanes: in the end
//! the output is what it would have been, and nobody ever saw anything else.
//!
//! Forty kills in a normal run; `MILLSTREAM_KILLS=1000` for as many as one likes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_tests::peers::python;
use millstream_tests::program::{Program, Running};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::files::files_below;

/// Events in the files.
const EVENTS: usize = 60_000;

/// Kills of a normal run.
const KILLS: usize = 40;

const APPLICATION: &str = "
CREATE STREAM jobs (n INTEGER, company VARCHAR(16), happened TIMESTAMP,
  WATERMARK FOR happened AS happened - INTERVAL '1' SECOND)
  WITH (connector = 'file', path = 'in/jobs', format = 'csv', ordered = 'true');
CREATE STREAM companies (company VARCHAR(16), industry VARCHAR(16))
  WITH (connector = 'file', path = 'in/companies.csv');
CREATE SINK passed FROM jobs
  WITH (connector = 'file', path = 'out/passed', format = 'csv', file_size = '100kB',
        roll_interval = '300ms');
CREATE SINK counted
  WITH (connector = 'file', path = 'out/counted', format = 'parquet', roll_interval = '1s')
  AS SELECT STREAM FLOOR(happened TO MINUTE) AS m, company, COUNT(*) AS jobs, SUM(n) AS total
     FROM jobs GROUP BY FLOOR(happened TO MINUTE), company;
CREATE SINK joined
  WITH (connector = 'file', path = 'out/joined', format = 'csv', partition_by = 'industry')
  AS SELECT STREAM j.n, c.industry FROM jobs AS j JOIN companies AS c ON j.company = c.company;
SET unbounded_state = 'allow';
";

/// What must come of the events `0..n`.
pub(super) struct Expected {
    pub(super) passed: Vec<String>,
    pub(super) counted: Vec<String>,
    pub(super) joined: Vec<String>,
}

impl Expected {
    pub(super) fn of(events: usize) -> Self {
        let mut expected = Self { passed: Vec::new(), counted: Vec::new(), joined: Vec::new() };
        let mut groups: BTreeMap<(usize, usize), (usize, usize)> = BTreeMap::new();
        for n in 0..events {
            let (company, minute) = (n * 7 % 23, n / 50 / 60);
            expected.passed.push(format!("{n},c{company}"));
            let group = groups.entry((minute, company)).or_default();
            *group = (group.0 + 1, group.1 + n);
            if company < 20 {
                expected.joined.push(format!("{n},i{}", company % 4));
            }
        }
        let line = |((_, company), (jobs, total)): (_, _)| format!("c{company},{jobs},{total}");
        expected.counted = groups.into_iter().map(|((m, c), v)| line(((m, c), v))).collect();
        expected.passed.sort();
        expected.counted.sort();
        expected.joined.sort();
        expected
    }
}

/// Writes the companies that the events are of.
pub(super) fn write_companies(file: &Path) {
    let companies: Vec<String> = (0..20).map(|c| format!("c{c},i{}", c % 4)).collect();
    fs::write(file, format!("company,industry\n{}\n", companies.join("\n"))).unwrap();
}

/// Writes the input and says what must come of it.
fn write_input(folder: &Path) -> Expected {
    fs::create_dir_all(folder.join("in/jobs")).unwrap();
    write_companies(&folder.join("in/companies.csv"));
    for part in 0..4 {
        let mut text = "n,company,happened\n".to_owned();
        for n in part * EVENTS / 4..(part + 1) * EVENTS / 4 {
            let (company, second) = (n * 7 % 23, n / 50);
            let (hour, minute) = (second / 3600, second / 60 % 60);
            text.push_str(&format!(
                "{n},c{company},2026-01-01 {hour:02}:{minute:02}:{:02}\n",
                second % 60
            ));
        }
        fs::write(folder.join(format!("in/jobs/{part}.csv")), text).unwrap();
    }
    Expected::of(EVENTS)
}

/// The files that readers see.
pub(super) fn visible(folder: &Path) -> Vec<PathBuf> {
    let hidden =
        |file: &PathBuf| file.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
    let files = files_below(folder).into_iter().filter(|file| !hidden(file));
    files.map(|file| folder.join(file)).collect()
}

/// Looks at the output all the time: a file that is there is whole, and stays as it is.
pub(super) struct Reader {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<usize>,
}

impl Reader {
    pub(super) fn start(folder: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                for file in visible(&folder) {
                    let bytes = fs::read(&file).expect("what is visible stays");
                    let whole = match file.extension().and_then(|e| e.to_str()) {
                        Some("parquet") => bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"),
                        _ => bytes.ends_with(b"\n"),
                    };
                    assert!(whole, "{} is not whole", file.display());
                    match seen.get(&file) {
                        Some(before) => assert!(*before == bytes, "{} changed", file.display()),
                        None => drop(seen.insert(file, bytes)),
                    }
                }
                let there = visible(&folder);
                assert!(seen.keys().all(|file| there.contains(file)), "a file vanished");
                std::thread::sleep(Duration::from_millis(20));
            }
            seen.len()
        });
        Self { stop, thread }
    }

    /// How many files it saw.
    pub(super) fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the reader found nothing wrong")
    }
}

fn start(program: &Program, dice: &mut StdRng) -> Running {
    let lanes = dice.random_range(1..=4_u8).to_string();
    program.start(&[
        "run",
        "app.sql",
        "--state",
        "state",
        "--checkpoint-interval",
        "100ms",
        "--parallelism",
        &lanes,
    ])
}

pub(super) fn rows(folder: &Path, format: &str, columns: &str) -> Vec<String> {
    python::rows("read_files.py", &["duckdb", format, folder.to_str().unwrap(), columns], &[])
}

#[test]
fn whatever_is_killed_the_output_is_what_it_would_have_been() {
    let kills = std::env::var("MILLSTREAM_KILLS").ok().and_then(|n| n.parse().ok());
    let kills: usize = kills.unwrap_or(KILLS);
    let mut dice = StdRng::seed_from_u64(kills as u64);
    let mut done = 0;
    let mut files = 0;
    while done < kills {
        let life = one_life(&mut dice, kills - done);
        (done, files) = (done + life.0, files + life.1);
    }
    println!("evidence P1 files to files: {done} kills, 0 rows lost, 0 twice");
    println!("evidence P6 files to files: {files} files seen as they came, 0 not whole, 0 changed");
}

/// Runs the application over new input to its end, with up to `kills_max` kills on the way. Returns how
/// many there were, and how many files came.
fn one_life(dice: &mut StdRng, kills_max: usize) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let expected = write_input(folder.path());
    fs::write(folder.path().join("app.sql"), APPLICATION).unwrap();
    fs::create_dir_all(folder.path().join("out")).unwrap();
    let reader = Reader::start(folder.path().join("out"));
    let program = Program::in_folder(folder.path());
    let mut kills = 0;
    while kills < kills_max {
        let mut first = start(&program, dice);
        let second = (dice.random_range(0..4) == 0).then(|| start(&program, dice));
        std::thread::sleep(Duration::from_millis(dice.random_range(50..800)));
        let ended = first.has_ended();
        if !ended {
            first.signal("KILL");
        }
        let killed = first.wait();
        if let Some(second) = second {
            second.signal("KILL");
            let killed = second.wait();
            assert!(matches!(killed.status, None | Some(0 | 3)), "{}", killed.stderr);
        }
        assert!(matches!(killed.status, None | Some(0 | 3)), "{}", killed.stderr);
        kills += 1;
        if ended && killed.status == Some(0) {
            break;
        }
    }
    let last = start(&program, dice).wait();
    assert_eq!(last.status, Some(0), "{}", last.stderr);
    // Another process may have been the last to be alive; then this one had to come after it.
    let files = reader.stop();
    assert!(files > 3, "the output came file by file");
    let out = folder.path().join("out");
    assert_eq!(rows(&out.join("passed"), "csv", "n,company"), expected.passed);
    assert_eq!(rows(&out.join("counted"), "parquet", "company,jobs,total"), expected.counted);
    assert_eq!(rows(&out.join("joined"), "csv", "n,industry"), expected.joined);
    let again = program.run(&["run", "app.sql", "--state", "state"]);
    assert!(again.stderr.contains("has ended already"), "{}", again.stderr);
    (kills, files)
}

#[test]
fn of_two_processes_the_younger_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("in/1.csv"), "n\n1\n2\n").unwrap();
    let text = "
        CREATE STREAM s (n INTEGER) WITH (connector = 'file', path = 'in/*.csv', follow = 'true');
        CREATE SINK o FROM s WITH (connector = 'file', path = 'out', format = 'csv');
        SELECT STREAM n FROM s;";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path());
    let arguments = ["run", "app.sql", "--format", "csv", "--checkpoint-interval", "200ms"];
    let mut older = program.start(&arguments);
    older.line_with("2");
    let mut younger = program.start(&arguments);
    let older = older.wait();
    assert_eq!(older.status, Some(3), "{}", older.stderr);
    assert!(older.stderr.contains("another process has taken over"), "{}", older.stderr);
    fs::write(folder.path().join("in/2.csv"), "n\n3\n").unwrap();
    younger.line_with("3");
    younger.signal("INT");
    let younger = younger.wait();
    assert_eq!(younger.status, Some(0), "{}", younger.stderr);
    assert_eq!(rows(&folder.path().join("out"), "csv", "n"), ["1", "2", "3"]);
}

/// Every operator that keeps much: what it is called, and a query.
const KEEPERS: [(&str, &str); 9] = [
    ("UpdatingAggregate", "SELECT STREAM n, COUNT(*) AS c FROM s GROUP BY n"),
    ("UpdatingAggregate", "SELECT STREAM DISTINCT n FROM s"),
    ("WindowAggregate", "SELECT STREAM n, COUNT(*) AS c FROM s GROUP BY n, FLOOR(t TO DAY)"),
    (
        "OrderedWindow",
        "SELECT STREAM SUM(n) OVER (ORDER BY t RANGE INTERVAL '1' DAY PRECEDING) AS x FROM s",
    ),
    ("HashJoin", "SELECT STREAM a.n FROM s AS a JOIN s AS b ON a.n = b.n + 1"),
    (
        "TopN",
        "SELECT STREAM n FROM (SELECT n, ROW_NUMBER() OVER (PARTITION BY n ORDER BY t DESC) AS r FROM s) WHERE r = 1",
    ),
    ("TopN", "SELECT STREAM n FROM s ORDER BY n LIMIT 15000"),
    (
        "SessionWindow",
        "SELECT STREAM n, COUNT(*) AS c FROM TABLE(SESSION(TABLE s PARTITION BY n, DESCRIPTOR(t), INTERVAL '1' HOUR)) GROUP BY n, window_start, window_end",
    ),
    ("UpdatingWindow", "SELECT STREAM n, RANK() OVER (ORDER BY n) AS r FROM s"),
];

#[test]
fn too_much_state_ends_with_the_name_of_what_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: String = (0..20_000)
        .map(|n| format!("{n},2026-01-01 00:{:02}:{:02}\n", n / 600, n / 10 % 60))
        .collect();
    fs::write(folder.path().join("in.csv"), format!("n,t\n{numbers}")).unwrap();
    let program = Program::in_folder(folder.path());
    for (operator, query) in KEEPERS {
        let text = format!(
            "CREATE STREAM s (n INTEGER, t TIMESTAMP, WATERMARK FOR t AS t)
               WITH (connector = 'file', path = 'in.csv');
             CREATE SINK o WITH (connector = 'file', path = 'out', format = 'csv', mode = 'changelog')
               AS {query};
             SET unbounded_state = 'allow';"
        );
        fs::write(folder.path().join("app.sql"), text).unwrap();
        let refused = program.run(&["run", "app.sql", "--memory", "100kB"]);
        assert_eq!(refused.status, Some(1), "{query}: {}", refused.stderr);
        let said = &refused.stderr;
        assert!(said.contains(&format!("{operator} of O holds")), "{query}: {said}");
        assert!(said.contains("of memory and may have 0.1 MB"), "{said}");
        assert!(said.contains("--memory"), "{said}");
    }
    program.succeed(&["run", "app.sql", "--memory", "1GB"]);
    println!("evidence P10 state: {0} of {0} operators named when memory was short", KEEPERS.len());
}

#[test]
fn state_beyond_its_memory_goes_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    let keys: String = (0..60_000).map(|n| format!("{n:0200}\n")).collect();
    for file in ["1.csv", "2.csv"] {
        fs::write(folder.path().join("in").join(file), format!("k\n{keys}")).unwrap();
    }
    let text = "
        CREATE STREAM s (k VARCHAR(200))
          WITH (connector = 'file', path = 'in/*.csv', ordered = 'true');
        CREATE SINK o WITH (connector = 'file', path = 'out', format = 'csv', mode = 'changelog')
          AS SELECT STREAM k, COUNT(*) AS c FROM s GROUP BY k;";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path());
    // The rows alone are 13 MB.
    let ran = program.succeed(&["run", "app.sql", "--memory", "8MB", "--spill", "spilled"]);
    assert!(ran.stderr.contains("MB on disk"), "{}", ran.stderr);
    let net = "SELECT c, SUM(CASE _op WHEN '+' THEN 1 ELSE -1 END) AS n FROM 'out' GROUP BY c";
    let found = program.succeed(&["sql", "--format", "csv", net]).stdout;
    let found: BTreeMap<&str, &str> =
        found.lines().skip(1).filter_map(|line| line.split_once(',')).collect();
    assert_eq!(found["2"], "60000", "{found:?}");
    assert!(found.get("1").is_none_or(|n| *n == "0"), "{found:?}");
    assert_eq!(fs::read_dir(folder.path().join("spilled")).unwrap().count(), 0);
}
