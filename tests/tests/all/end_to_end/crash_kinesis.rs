//! Killed at any moment between real servers: from Kinesis, whose shards are split and merged meanwhile,
//! to S3, where the state is too; behind proxies that lose answers. In the end nothing is lost and
//! nothing is there twice, and nobody ever saw half a file.
//!
//! A few kills in a normal run; `MILLSTREAM_KILLS=1000` for as many as one likes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use millstream_tests::peers::kinesis::KinesisServer;
use millstream_tests::peers::{Server, aws_environment, python, s3};
use millstream_tests::program::{Program, Running};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::crash::{Expected, write_companies};

/// Kills of a normal run.
const KILLS: usize = 6;

/// The share of pieces on the wire that meet a fault, in percent.
const FAULTS_PERCENT: u32 = 5;

const APPLICATION: &str = "
CREATE STREAM jobs (n INTEGER, company VARCHAR(16), happened TIMESTAMP,
  WATERMARK FOR happened AS happened - INTERVAL '60' SECOND)
  WITH (connector = 'kinesis', stream = 'jobs', endpoint = 'KINESIS', poll_interval = '300ms');
CREATE STREAM companies (company VARCHAR(16), industry VARCHAR(16))
  WITH (connector = 'file', path = 'companies.csv');
CREATE SINK passed
  WITH (connector = 'file', path = 's3://out/passed', format = 'csv', roll_interval = '500ms')
  AS SELECT STREAM n, company FROM jobs WHERE n >= 0;
CREATE SINK counted
  WITH (connector = 'file', path = 's3://out/counted', format = 'parquet', roll_interval = '1s')
  AS SELECT STREAM FLOOR(happened TO MINUTE) AS m, company, COUNT(*) AS jobs, SUM(n) AS total
     FROM jobs WHERE n >= 0 GROUP BY FLOOR(happened TO MINUTE), company;
CREATE SINK joined
  WITH (connector = 'file', path = 's3://out/joined', format = 'csv', partition_by = 'industry')
  AS SELECT STREAM j.n, c.industry FROM jobs AS j JOIN companies AS c ON j.company = c.company
     WHERE j.n >= 0;
CREATE SINK aside WITH (connector = 'file', path = 's3://aside/rows', format = 'json')
  AS SELECT STREAM error_name, raw FROM error_stream;
SET unbounded_state = 'allow';
";

/// A script that goes on beside the test.
pub(super) struct Beside {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Beside {
    pub(super) fn start(
        script: &str,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Self {
        let mut command = python::command(script, arguments);
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// The next line it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, which closing its input may bring about, and returns its next line.
    pub(super) fn finish(mut self) -> String {
        drop(self.stdin.take());
        let line = self.line();
        assert!(self.child.wait().unwrap().success(), "it says above what is wrong");
        line
    }
}

/// The servers, the proxies before them, and what the producer needs.
struct World {
    kinesis: Server,
    s3: Server,
    proxies: [Server; 2],
}

/// A proxy in front of `upstream` that loses things, or only does `fault`; what it did is in `log`.
pub(super) fn fault_proxy(
    upstream: &Server,
    percent: u32,
    seed: u32,
    log: &Path,
    fault: &[&str],
) -> Server {
    let [upstream, percent, seed] =
        [u32::from(upstream.port()), percent, seed].map(|number| number.to_string());
    let log = log.to_str().unwrap();
    Server::start("the fault proxy", |port| {
        let port = port.to_string();
        let arguments = [&[port.as_str(), &upstream, &percent, &seed, log][..], fault].concat();
        python::command("fault_proxy.py", &arguments)
    })
}

impl World {
    fn start(server: KinesisServer, faults: &Path) -> Self {
        let (kinesis, s3) = (server.start(), s3::start());
        let proxy = |upstream, seed| fault_proxy(upstream, FAULTS_PERCENT, seed, faults, &[]);
        let proxies = [proxy(&kinesis, 1), proxy(&s3, 2)];
        Self { kinesis, s3, proxies }
    }

    fn program(&self, folder: &Path) -> Program {
        write_companies(&folder.join("companies.csv"));
        let text = APPLICATION.replace("KINESIS", &self.proxies[0].url());
        fs::write(folder.join("app.sql"), text).unwrap();
        Program::in_folder(folder).with(&aws_environment(&self.proxies[1].url()))
    }

    fn rows(&self, folder: &str, format: &str, columns: &str) -> Vec<String> {
        let path = format!("s3://out/{folder}");
        let arguments = ["duckdb", format, &path, columns];
        python::rows("read_files.py", &arguments, &self.s3.environment())
    }
}

fn start(program: &Program, dice: &mut StdRng, more: &[&str]) -> Running {
    let lanes = dice.random_range(1..=4_u8).to_string();
    let state = ["run", "app.sql", "--state", "s3://state/app", "--checkpoint-interval", "300ms"];
    program.start(&[&state[..], &["--parallelism", &lanes], more].concat())
}

/// Kills until the producer is done and there were `kills` of them.
fn kill(program: &Program, dice: &mut StdRng, producer: &mut Beside, kills: usize) -> usize {
    let mut done = 0;
    while done < kills || !producer.has_ended() {
        let first = start(program, dice, &[]);
        let second = (dice.random_range(0..4) == 0).then(|| start(program, dice, &[]));
        std::thread::sleep(Duration::from_millis(dice.random_range(300..2500)));
        for process in std::iter::once(first).chain(second) {
            let mut process = process;
            if !process.has_ended() {
                process.signal("KILL");
            }
            let killed = process.wait();
            assert!(matches!(killed.status, None | Some(3)), "{}", killed.stderr);
        }
        done += 1;
    }
    done
}

fn one_life(server: KinesisServer, (events, per_second): (usize, u32), kills: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("faults");
    let world = World::start(server, &faults);
    let environment = world.s3.environment();
    for bucket in ["out", "state", "aside"] {
        python::run("s3.py", &["create", bucket], "", &environment);
    }
    let program = world.program(folder.path());
    let (events_text, per_second) = (events.to_string(), per_second.to_string());
    let arguments = ["jobs", &events_text, &per_second, "8", "7"];
    let mut producer =
        Beside::start("kinesis_reshard.py", &arguments, &world.kinesis.environment());
    assert_eq!(producer.line(), "begun");
    let watcher = Beside::start("s3_watch.py", &["out", ""], &environment);
    let mut dice = StdRng::seed_from_u64(kills as u64);
    let kills = kill(&program, &mut dice, &mut producer, kills);
    let shards: usize = producer.finish().parse().unwrap();
    assert!(shards > 8, "{shards} shards");
    let last = start(&program, &mut dice, &["--until", "caught-up"]).wait();
    assert_eq!(last.status, Some(0), "{}", last.stderr);
    let files: usize = watcher.finish().parse().unwrap();
    assert!(files > 3, "the output came file by file");
    let expected = Expected::of(events);
    assert_eq!(world.rows("passed", "csv", "n,company"), expected.passed);
    assert_eq!(world.rows("joined", "csv", "n,industry"), expected.joined);
    assert_eq!(world.rows("counted", "parquet", "company,jobs,total"), expected.counted);
    assert_eq!(python::run("s3.py", &["list", "aside"], "", &environment), "", "nothing was late");
    let faults = fs::read_to_string(&faults).unwrap().lines().count();
    assert!(faults > 3, "{faults} faults on the wire");
    kills
}

/// As many lives as it takes for all kills; returns how many there were.
fn lives(server: KinesisServer, events: (usize, u32)) -> usize {
    let kills = std::env::var("MILLSTREAM_KILLS").ok().and_then(|n| n.parse().ok());
    let kills: usize = kills.unwrap_or(KILLS);
    let mut done = 0;
    while done < kills {
        done += one_life(server, events, KILLS.min(kills - done));
    }
    done
}

#[test]
fn from_the_embedded_endpoint_to_s3_nothing_is_lost_or_twice() {
    let kills = lives(KinesisServer::Embedded, (12_000, 1_500));
    println!("evidence P1 embedded endpoint to S3, faults: {kills} kills, 0 rows lost, 0 twice");
    println!("evidence P2 embedded endpoint: split and merged, {kills} kills, 0 rows late");
}

#[test]
fn from_kinesis_local_to_s3_nothing_is_lost_or_twice() {
    let kills = lives(KinesisServer::KinesisLocal, (4_000, 500));
    println!("evidence P1 kinesis-local to S3, faults: {kills} kills, 0 rows lost, 0 twice");
    println!("evidence P2 kinesis-local: split and merged, {kills} kills, 0 rows late");
}

/// Killed before the first record, a run that began at the tip goes on from where that was.
#[test]
fn a_start_at_the_tip_is_settled_once() {
    let server = KinesisServer::KinesisLocal.start();
    let environment = server.environment();
    let put = |numbers: std::ops::Range<u32>| {
        let lines: String = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
        python::run("kinesis_put.py", &["jobs", "2", "n"], &lines, &environment);
    };
    put(0..5);
    // The tip is dated back by a second, should it have to be found again.
    std::thread::sleep(Duration::from_millis(1_500));
    let folder = tempfile::tempdir().unwrap();
    let text = "
        CREATE STREAM jobs (n INTEGER)
          WITH (connector = 'kinesis', stream = 'jobs', start = 'latest');
        CREATE SINK o FROM jobs WITH (connector = 'file', path = 'out', format = 'csv');";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path()).with(&environment);
    let running = program.start(&["run", "app.sql", "--state", "state"]);
    let begun = || program.run(&["state", "inspect", "state"]).stdout.contains('@');
    assert!((0..200).any(|_| begun() || {
        std::thread::sleep(Duration::from_millis(50));
        false
    }));
    running.signal("KILL");
    assert_eq!(running.wait().status, None);
    put(10..20);
    program.succeed(&["run", "app.sql", "--state", "state", "--until", "caught-up"]);
    let out = folder.path().join("out");
    let rows = python::rows("read_files.py", &["duckdb", "csv", out.to_str().unwrap(), "n"], &[]);
    assert_eq!(rows, (10..20).map(|n| n.to_string()).collect::<Vec<_>>());
}
