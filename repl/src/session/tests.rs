//! A session on files, without a process: what it says, what it writes, what it refuses.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_connectors::{Context, Until};
use millstream_engine::{Clock, SystemClock};
use tempfile::TempDir;

use super::{Changes, Console, Manner, Session, Settings};
use crate::failure::Failure;
use crate::interrupt::Stop;
use crate::output::Format;

/// How long something that should happen at once may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A writer whose text can be looked at.
#[derive(Debug, Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A session in a folder of its own.
struct Bench {
    session: Session,
    folder: TempDir,
    out: Page,
    notes: Page,
    clock: Arc<SystemClock>,
}

impl Bench {
    fn new(manner: Manner, format: Format) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new());
        let context = Context {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            until: Until::Ended,
            seed: 7,
            base: folder.path().to_owned(),
            decoders: 2,
            troubles: millstream_engine::Troubles::default(),
        };
        let (out, notes) = (Page::default(), Page::default());
        let console = Console {
            out: Box::new(out.clone()),
            notes: Box::new(notes.clone()),
            format,
            status: false,
            terminal: false,
            changes: Changes::Drawn,
            lines: || 8,
        };
        let session = Session::new(
            Settings { manner, context, lanes: 2, memory: None, state: None },
            console,
        );
        Self { session, folder, out, notes, clock }
    }

    fn script() -> Self {
        Self::new(Manner::Script, Format::Csv)
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    async fn run(&mut self, text: &str) -> Result<(), Failure> {
        self.session.run_script(&[("test.sql", text)], &Stop::default()).await
    }

    /// What `text` answers, line by line.
    async fn answer(&mut self, text: &str) -> Vec<String> {
        self.out.take();
        self.session.converse(text, &Stop::default()).await.unwrap();
        self.out.take().lines().map(str::to_owned).collect()
    }
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

const NUMBERS: &str = "CREATE STREAM numbers (n INTEGER, word VARCHAR(8))
    WITH (connector = 'file', path = 'numbers.csv', format = 'csv');\n";

fn queries() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../queries"))
}

/// A session in whose folder the shipped queries and their data are.
fn beside_the_queries() -> Bench {
    let bench = Bench::script();
    let data = bench.folder.path().join("queries/data");
    std::fs::create_dir_all(&data).unwrap();
    for entry in std::fs::read_dir(queries().join("data")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), data.join(entry.file_name())).unwrap();
    }
    bench
}

/// Runs a shipped application and compares what its sink has written with what is expected.
async fn shipped(application: &str, sink: &str, expected: &str) {
    let mut bench = beside_the_queries();
    let text = std::fs::read_to_string(queries().join(application)).unwrap();
    bench.run(&text).await.unwrap();
    let expected = std::fs::read_to_string(queries().join("expected").join(expected)).unwrap();
    let (columns, expected) = expected.split_once('\n').unwrap();
    let written = bench.answer(&format!("SELECT {columns} FROM {sink};")).await.split_off(1);
    // A file leaves out a fraction of zero, an answer keeps its times aligned.
    let written = written.iter().map(|line| line.replace(".000,", ",")).collect();
    assert_eq!(sorted(written), sorted(lines(expected)), "{application} into {sink}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn company_jobs_writes_what_is_expected_in_both_formats() {
    shipped("company_jobs.sql", "company_jobs_csv", "company_jobs.csv").await;
    shipped("company_jobs.sql", "company_jobs_parquet", "company_jobs.csv").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_count_events_that_come_out_of_order() {
    shipped("jobs_per_minute.sql", "jobs_per_minute", "jobs_per_minute.csv").await;
    shipped("active_companies.sql", "active_companies", "active_companies.csv").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_summary_counts_what_was_read_set_aside_and_written() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\nx,b\n3,c\n");
    let sink = "CREATE SINK out WITH (connector = 'file', path = 'out', format = 'json')
        AS SELECT STREAM n, word FROM numbers;";
    bench.run(&format!("{NUMBERS}{sink}")).await.unwrap();
    let summary = bench.notes.text();
    assert!(summary.contains("read     2 rows\nbad      1 row\nlate     0 rows\n"), "{summary}");
    assert!(summary.contains("written  2 rows in 1 file"), "{summary}");
    assert!(summary.contains("COERCION NUMBERS"), "{summary}");
    assert!(summary.contains("numbers.csv") && summary.contains("line 3"), "{summary}");
    assert_eq!(bench.answer("SELECT SUM(n) AS s FROM out;").await, ["S", "4"]);
    let errors = bench.answer("SELECT error_name, raw FROM error_stream;").await;
    assert_eq!(errors, ["ERROR_NAME,RAW", "COERCION,\"x,b\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_stream_can_be_followed() {
    let mut bench = Bench::new(Manner::Interactive, Format::Csv);
    bench.file("numbers.csv", "n,word\n1,a\nx,b\n");
    bench.answer(NUMBERS).await;
    let rows = bench.answer("SELECT STREAM error_name, position FROM error_stream;").await;
    assert_eq!(rows, ["ERROR_NAME,POSITION", "COERCION,line 3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continuous_query_gives_the_rows_of_the_batch_query() {
    let mut bench = Bench::new(Manner::Interactive, Format::Json);
    bench.file("numbers.csv", "n,word\n1,a\n2,b\n3,\n");
    bench.answer(NUMBERS).await;
    let continuous = bench.answer("SELECT STREAM n * 2 AS m, word FROM numbers WHERE n > 1;").await;
    let batch = bench.answer("SELECT n * 2 AS m, word FROM numbers WHERE n > 1;").await;
    assert_eq!(continuous.len(), 2);
    assert_eq!(sorted(continuous), sorted(batch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_of_a_script_run_beside_and_after_its_sinks() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n2,b\n");
    let text = "SELECT COUNT(*) AS written FROM out;
        SELECT STREAM word FROM numbers WHERE n = 2;
        CREATE SINK out WITH (connector = 'file', path = 'out', format = 'parquet')
        AS SELECT STREAM n FROM numbers;";
    bench.run(&format!("{NUMBERS}{text}")).await.unwrap();
    assert_eq!(bench.out.text(), "WORD\nb\nWRITTEN\n2\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_misspelt_option_is_an_error_at_its_place_and_nothing_runs() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n");
    let sink = "CREATE SINK out WITH (connector = 'file', pth = 'out')\n  AS SELECT STREAM n FROM numbers;";
    let failure = bench.run(&format!("{NUMBERS}{sink}")).await.unwrap_err();
    let text = failure.text();
    assert!(text.contains("test.sql:3:43") && text.contains("^^^"), "{text}");
    assert!(text.contains("path"), "the hint names the right one: {text}");
    assert!(!bench.folder.path().join("out").exists(), "nothing half-written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_input_leaves_no_output_behind() {
    let mut bench = Bench::script();
    let sink =
        "CREATE SINK out WITH (connector = 'file', path = 'out') AS SELECT STREAM n FROM numbers;";
    let failure = bench.run(&format!("{NUMBERS}{sink}")).await.unwrap_err();
    assert!(failure.text().contains("numbers.csv"), "{failure}");
    assert_eq!(failure.status(), 1);
    assert!(!bench.folder.path().join("out").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_grows_for_ever_is_refused_on_endless_input() {
    let join = "CREATE SINK pairs WITH (connector = 'file', path = 'out')
        AS SELECT STREAM a.n FROM numbers AS a JOIN numbers AS b ON a.n = b.n;";
    let endless = NUMBERS.replace("format = 'csv'", "format = 'csv', follow = 'true'");
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n");
    let failure = bench.run(&format!("{endless}{join}")).await.unwrap_err();
    assert!(failure.text().contains("SET unbounded_state = 'allow'"), "{failure}");
    // So many rows of every key are what was asked for, all rows are not.
    for (frame, runs) in [("ROWS 2 PRECEDING", true), ("ROWS UNBOUNDED PRECEDING", false)] {
        let mut bench = Bench::script();
        bench.file("numbers.csv", "n,word\n1,a\n");
        let sum = format!("SELECT STREAM SUM(n) OVER (PARTITION BY word {frame}) FROM numbers;");
        let stop = Stop::default();
        stop.ask();
        let text = format!("{endless}{sum}");
        let ran = bench.session.run_script(&[("test.sql", &text)], &stop).await;
        assert_eq!(ran.is_ok(), runs, "{frame}: {ran:?}");
        assert_eq!(bench.notes.text().contains("warning: "), runs, "{}", bench.notes.text());
    }
    // On input that ends it is a warning.
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n");
    bench.run(&format!("{NUMBERS}{join}")).await.unwrap();
    assert!(bench.notes.text().contains("warning: "), "{}", bench.notes.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_row_is_shown_at_once_and_a_stop_commits_all() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n");
    let text = NUMBERS.replace("format = 'csv'", "format = 'csv', follow = 'true'")
        + "SELECT STREAM word FROM numbers;
           CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv')
           AS SELECT STREAM word FROM numbers;";
    let stop = Stop::default();
    let (out, clock) = (bench.out.clone(), Arc::clone(&bench.clock));
    let path = bench.folder.path().join("numbers.csv");
    let person = async {
        wait_for(clock.as_ref(), || out.text().ends_with("a\n")).await;
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"2,b\n").unwrap();
        wait_for(clock.as_ref(), || out.text().ends_with("b\n")).await;
        stop.ask();
    };
    let texts = [("test.sql", text.as_str())];
    let (done, ()) = tokio::join!(bench.session.run_script(&texts, &stop), person);
    done.unwrap();
    let written = bench.answer("SELECT word FROM out ORDER BY word;").await;
    assert_eq!(written, ["WORD", "a", "b"]);
}

async fn wait_for(clock: &SystemClock, happened: impl Fn() -> bool) {
    let began = clock.monotonic();
    while !happened() {
        assert!(clock.monotonic() - began < PATIENCE, "it did not happen in time");
        clock.sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_columns_has_those_of_its_file() {
    let mut bench = Bench::new(Manner::Interactive, Format::Csv);
    bench.file("firms.csv", "sym,Firm,shares\nA,Acme,10\nB,Bolt,20\n");
    bench.answer("CREATE TABLE firms WITH (connector = 'file', path = 'firms.csv');").await;
    let described = bench.answer("DESCRIBE firms;").await;
    assert_eq!(described, ["COLUMN,TYPE", "SYM,VARCHAR", "FIRM,VARCHAR", "SHARES,BIGINT"]);
    let rows = bench.answer("SELECT firm, shares FROM firms WHERE sym = 'B';").await;
    assert_eq!(rows, ["FIRM,SHARES", "Bolt,20"]);
    let tables = bench.answer("SHOW TABLES;").await;
    assert_eq!(tables.len(), 2, "{tables:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_queried_by_path_with_their_folders_as_columns() {
    let mut bench = Bench::script();
    for (folder, text) in [("k=a", "N\n1\n2\n"), ("k=b", "N\n4\n")] {
        std::fs::create_dir_all(bench.folder.path().join("tree").join(folder)).unwrap();
        bench.file(&format!("tree/{folder}/x.csv"), text);
    }
    let rows = bench.answer("SELECT k, SUM(n) AS s FROM 'tree' GROUP BY k ORDER BY k;").await;
    assert_eq!(rows, ["K,S", "a,3", "b,4"]);
    assert_eq!(bench.answer("DESCRIBE 'tree';").await, ["COLUMN,TYPE", "N,BIGINT", "K,VARCHAR"]);
    let count = bench.answer("SELECT COUNT(*) AS c FROM 'tree';").await;
    assert_eq!(count, ["C", "3"]);
    let failure = bench.session.converse("SELECT * FROM 'nix/';", &Stop::default()).await;
    assert!(failure.unwrap_err().text().contains("nix"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_wrote_nothing_is_an_empty_relation() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n");
    let text = "CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv')
        AS SELECT STREAM n FROM numbers WHERE n > 1;
        SELECT COUNT(*) AS c, SUM(n) AS s FROM out;";
    bench.run(&format!("{NUMBERS}{text}")).await.unwrap();
    assert_eq!(bench.out.text(), "C,S\n0,\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declarations_are_confirmed_to_a_person_and_sinks_wait_for_run() {
    let mut bench = Bench::new(Manner::Interactive, Format::Csv);
    bench.file("numbers.csv", "n,word\n1,a\n");
    bench.answer(NUMBERS).await;
    let sink =
        "CREATE SINK out FROM numbers WITH (connector = 'file', path = 'out', format = 'csv');";
    bench.answer(sink).await;
    assert_eq!(
        bench.notes.take(),
        "stream NUMBERS created\nsink OUT created; \\run or START JOB starts it\n"
    );
    assert_eq!(bench.session.pending_sinks(), ["OUT"]);
    bench.session.run_sinks(&Stop::default()).await.unwrap();
    assert!(bench.session.pending_sinks().is_empty());
    let jobs = bench.answer("SHOW JOBS;").await;
    assert_eq!(jobs[1], "1,OUT,,ended,1,1,0,0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_points_into_the_file_that_declared_it() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n");
    let texts = [("a.sql", NUMBERS), ("b.sql", "\nSELECT STREAM nix FROM numbers;")];
    let failure = bench.session.run_script(&texts, &Stop::default()).await.unwrap_err();
    assert!(failure.text().contains("b.sql:2:15"), "{failure}");
    assert!(failure.text().to_lowercase().contains("nix"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_the_dataflow_and_the_batch_plan() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n");
    bench.answer(NUMBERS).await;
    let continuous = bench.answer("EXPLAIN SELECT STREAM n FROM numbers WHERE n > 1;").await;
    assert!(continuous.join("\n").contains("NUMBERS"), "{continuous:?}");
    let batch = bench.answer("EXPLAIN SELECT n FROM numbers WHERE n > 1;").await;
    assert!(batch.join("\n").contains("TableScan"), "{batch:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_analyze_shows_what_each_operator_did() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n2,b\n3,a\n");
    bench.answer(NUMBERS).await;
    let query = "EXPLAIN ANALYZE SELECT STREAM word, COUNT(*) AS c FROM numbers GROUP BY word;";
    let answer = bench.answer(query).await.join("\n");
    let place = |text: &str| answer.find(text).unwrap_or_else(|| panic!("no {text}: {answer}"));
    let aggregate = place("UpdatingAggregate");
    let did = answer.get(aggregate..).and_then(|rest| rest.lines().nth(2)).unwrap_or_default();
    assert!(did.contains("3 rows in, 2 out") && did.contains("keeps 2 rows in "), "{answer}");
    assert!(place("Stream NUMBERS") > aggregate && answer.contains(" ms"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_analyze_runs_a_sink_and_says_what_it_and_its_pumps_did() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n2,b\n3,a\n");
    let pump = "CREATE STREAM odd (n INTEGER);
        CREATE PUMP p AS INSERT INTO odd SELECT STREAM n FROM numbers WHERE n % 2 = 1;";
    bench.answer(&format!("{NUMBERS}{pump}")).await;
    let sink = "EXPLAIN ANALYZE CREATE SINK kept FROM odd
        WITH (connector = 'file', path = 'out', format = 'csv');";
    let answer = bench.answer(sink).await.join("\n");
    let line = |text: &str| answer.find(text).unwrap_or_else(|| panic!("no {text}: {answer}"));
    let wrote = line("wrote 2 rows in 1 file, ");
    assert!(line("Sink KEPT") < wrote && wrote < line("  of P\n"), "{answer}");
    assert!(line("Stream NUMBERS") > wrote, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_sink_holds_the_result_of_the_batch_query_in_its_order() {
    for format in ["csv", "json", "parquet"] {
        let mut bench = Bench::script();
        bench.file("numbers.csv", "n,word\n1,a\n2,b\n3,a\n4,c\n5,a\n");
        let query =
            "SELECT STREAM word, COUNT(*) AS c FROM numbers GROUP BY word ORDER BY c DESC, word";
        let sink = format!(
            "CREATE SINK top WITH (connector = 'file', path = 'out', format = '{format}',
                mode = 'snapshot') AS {query};"
        );
        // What another sink writes to the same folder is not part of it.
        let beside = "CREATE SINK beside WITH (connector = 'file', path = 'out', format = 'csv')
            AS SELECT STREAM n FROM numbers;";
        bench.run(&format!("{NUMBERS}{sink}{beside}")).await.unwrap();
        let written = bench.answer("SELECT word, c FROM top;").await;
        let batch = bench.answer(&format!("{};", query.replace("STREAM ", ""))).await;
        assert_eq!(written, ["WORD,C", "a,3", "b,1", "c,1"]);
        assert_eq!(written, batch);
        assert!(bench.folder.path().join(format!("out/top.{format}")).exists());
        let notes = bench.notes.text();
        assert!(notes.contains("written  3 rows in 1 file"), "{notes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_kept_only_where_a_result_is_shown_as_a_whole() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n");
    let query = "SELECT STREAM word, COUNT(*) AS c FROM numbers GROUP BY word ORDER BY c";
    let sink = format!(
        "CREATE SINK s WITH (connector = 'file', path = 'out', mode = 'changelog') AS {query};"
    );
    let failure = bench.run(&format!("{NUMBERS}{sink}")).await.unwrap_err();
    assert!(failure.text().contains("ORDER BY"), "{failure}");
    let failure = bench.run("SELECT STREAM n FROM numbers ORDER BY n;").await.unwrap_err();
    assert!(failure.text().contains("ORDER BY"), "rows that stay come as they come: {failure}");
    // A result that only grows, and is written whole, would grow for ever.
    let endless = NUMBERS.replace("format = 'csv'", "format = 'csv', follow = 'true'");
    let sink = "CREATE SINK s WITH (connector = 'file', path = 'out', mode = 'snapshot') AS SELECT STREAM n FROM numbers;";
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,a\n");
    let failure = bench.run(&format!("{endless}{sink}")).await.unwrap_err();
    assert!(failure.text().contains("every row of the result"), "{failure}");
}

/// What grows while a job reads it.
fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

impl Bench {
    /// Asks again and again until the answer is `expected`.
    async fn answers(&mut self, text: &str, expected: &[&str]) {
        let clock = Arc::clone(&self.clock);
        let began = clock.monotonic();
        loop {
            let answer = self.answer(text).await;
            if answer == expected {
                return;
            }
            assert!(clock.monotonic() - began < PATIENCE, "{text} still answers {answer:?}");
            clock.sleep(Duration::from_millis(5)).await;
        }
    }

    async fn refused(&mut self, text: &str) -> String {
        let failure = self.session.converse(text, &Stop::default()).await.unwrap_err();
        failure.text().to_owned()
    }
}

fn following() -> String {
    NUMBERS.replace("format = 'csv'", "format = 'csv', follow = 'true'")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_of_a_running_job_are_read_at_one_epoch() {
    let mut bench = Bench::new(Manner::Interactive, Format::Csv);
    bench.file("numbers.csv", "n,word\n");
    let path = bench.folder.path().join("numbers.csv");
    bench.answer(&following()).await;
    // Two views over one stream, one of them of the other; every row changes both.
    bench
        .answer(
            "CREATE VIEW by_word AS SELECT word, COUNT(*) AS c, SUM(n) AS s FROM numbers GROUP BY word;
             CREATE VIEW total AS SELECT SUM(c) AS c, SUM(s) AS s FROM by_word;
             CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv', mode = 'snapshot')
               AS SELECT STREAM word, c FROM by_word;
             START JOB;",
        )
        .await;
    assert!(
        bench.notes.text().contains("job 1 runs OUT, BY_WORD, TOTAL"),
        "{}",
        bench.notes.text()
    );
    let same = "SELECT t.c = w.c AND t.s = w.s AS same FROM total t,
        (SELECT SUM(c) AS c, SUM(s) AS s FROM by_word) w;";
    for round in 0..40 {
        append(&path, &format!("{round},a\n{round},b\n"));
        let answer = bench.answer(same).await;
        assert!(answer == ["SAME", "true"] || answer == ["SAME", "\"\""], "{answer:?}");
    }
    bench.answers("SELECT c FROM total;", &["C", "80"]).await;
    bench.answers("SELECT word, c FROM by_word ORDER BY word;", &["WORD,C", "a,40", "b,40"]).await;
    let views = bench.answer("SHOW VIEWS;").await;
    assert_eq!(views[1], "BY_WORD,\"WORD, C, S\",kept by job 1");
    let jobs = bench.answer("SHOW JOBS;").await;
    assert!(jobs[1].starts_with("1,OUT,\"BY_WORD, TOTAL\",running,80,"), "{jobs:?}");
    // One source, one aggregate, for two views and a sink.
    let plan = bench.answer("EXPLAIN SELECT * FROM total;").await.join("\n");
    assert!(plan.contains("TableScan: TOTAL"), "what is kept is read, not computed: {plan}");

    bench.answer("STOP JOB;").await;
    assert!(bench.notes.text().contains("job 1 ended"), "{}", bench.notes.text());
    assert_eq!(bench.answer("SELECT c FROM total;").await, ["C", "80"], "computed when asked");
    assert_eq!(bench.answer("SELECT * FROM out ORDER BY word;").await, ["WORD,C", "a,40", "b,40"]);
    assert_eq!(bench.answer("SHOW VIEWS;").await[2], "TOTAL,\"C, S\",computed when asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_running_job_uses_stays() {
    let mut bench = Bench::new(Manner::Interactive, Format::Csv);
    bench.file("numbers.csv", "n,word\n1,a\n");
    bench.answer(&following()).await;
    assert!(bench.refused("START JOB;").await.contains("nothing to start"));
    assert!(bench.refused("STOP JOB;").await.contains("no job runs"));
    bench
        .answer(
            "CREATE STREAM inner_numbers (n INTEGER);
             CREATE PUMP p AS INSERT INTO inner_numbers SELECT STREAM n FROM numbers;
             CREATE VIEW total AS SELECT SUM(n) AS s FROM inner_numbers;
             CREATE VIEW latest AS SELECT n FROM numbers ORDER BY n DESC LIMIT 1 OFFSET 1;
             CREATE STREAM other (n INTEGER);
             START JOB;",
        )
        .await;
    for (drop, kind) in [
        ("DROP VIEW total;", "view TOTAL"),
        ("CREATE OR REPLACE VIEW total AS SELECT n FROM numbers;", "view TOTAL"),
        ("DROP PUMP p;", "pump P"),
        ("CREATE OR REPLACE STREAM numbers (n INTEGER);", "stream NUMBERS"),
    ] {
        let refused = bench.refused(drop).await;
        assert!(refused.contains(&format!("{kind} is used by job 1")), "{refused}");
        assert!(refused.contains("STOP JOB 1 first"), "{refused}");
    }
    bench.answer("DROP STREAM other;").await;
    bench.answer("STOP PUMP p;").await;
    assert!(bench.notes.text().contains("job 1 goes on as it was started"));
    bench.answer("START PUMP p;").await;
    bench.answers("SELECT s FROM total;", &["S", "1"]).await;
    // A second job keeps what is new.
    bench.answer("CREATE VIEW words AS SELECT word FROM numbers; START JOB;").await;
    bench.answers("SELECT word FROM words;", &["WORD", "a"]).await;
    assert!(bench.refused("STOP JOB 7;").await.contains("job 7 does not run"));
    bench.answer("STOP JOB 1; DROP VIEW total; STOP JOB 2;").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_checked_when_it_is_made_and_replaced() {
    let mut bench = Bench::new(Manner::Interactive, Format::Csv);
    bench.file("numbers.csv", "n,word\n1,a\n");
    bench.answer(NUMBERS).await;
    assert!(bench.refused("CREATE VIEW v AS SELECT nix FROM numbers;").await.contains("NIX"));
    assert_eq!(bench.answer("SHOW VIEWS;").await.len(), 1, "it was not made");
    bench.answer("CREATE VIEW v AS SELECT n FROM numbers; CREATE VIEW w AS SELECT n FROM v;").await;
    let circle = bench.refused("CREATE OR REPLACE VIEW v AS SELECT n FROM w;").await;
    assert!(circle.contains("itself"), "{circle}");
    let broken = bench.refused("CREATE OR REPLACE VIEW v AS SELECT word FROM numbers;").await;
    assert!(broken.contains("view W would not work any more"), "{broken}");
    bench.answer("CREATE OR REPLACE VIEW v AS SELECT n + 1 AS n FROM numbers;").await;
    assert_eq!(bench.answer("SELECT n FROM w;").await, ["N", "2"]);
    let used = bench.refused("DROP VIEW v;").await;
    assert!(used.contains("view W reads view V"), "{used}");
    // One over files cannot be known before they are read.
    bench.answer("CREATE VIEW f AS SELECT \"n\" FROM 'numbers.csv';").await;
    let mut script = Bench::script();
    script.file("numbers.csv", "n,word\n1,a\n");
    let failure = script.run(&format!("{NUMBERS}CREATE VIEW v AS SELECT nix FROM numbers;")).await;
    assert!(failure.unwrap_err().text().contains("NIX"));
    let failure = script.run("START JOB;").await.unwrap_err();
    assert!(failure.text().contains("a script is one job"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_ends_is_reported_before_the_next_statement() {
    let mut bench = Bench::new(Manner::Interactive, Format::Csv);
    bench.file("numbers.csv", "n,word\n1,a\n2,b\n");
    bench.answer(NUMBERS).await;
    bench.answer("CREATE VIEW total AS SELECT SUM(n) AS s FROM numbers; START JOB;").await;
    bench.answers("SHOW VIEWS;", &["VIEW,COLUMNS,STATE", "TOTAL,S,computed when asked"]).await;
    assert!(bench.notes.text().contains("job 1 ended\nread     2 rows"), "{}", bench.notes.text());
    assert_eq!(bench.answer("SELECT s FROM total;").await, ["S", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_changes_is_redrawn_on_a_terminal_and_printed_as_changes_elsewhere() {
    let query = "SELECT STREAM word, COUNT(*) AS c FROM numbers GROUP BY word ORDER BY c DESC;";
    let mut bench = Bench::new(Manner::Interactive, Format::Table);
    bench.file("numbers.csv", "n,word\n1,a\n2,b\n3,b\n");
    bench.answer(NUMBERS).await;
    bench.session.console_mut().terminal = true;
    let last = bench.answer(query).await.join("\n");
    assert!(last.ends_with(" WORD | C\n------+---\n b    | 2\n a    | 1\n(2 rows)"), "{last:?}");
    assert!(!last.contains("_op"), "{last}");
    bench.session.console_mut().changes = Changes::Printed;
    let changes = bench.answer(query).await;
    assert!(changes[0].starts_with(" _op ") && changes[0].contains("| WORD"), "{changes:?}");
    bench.session.console_mut().changes = Changes::Drawn;
    bench.session.console_mut().format = Format::Csv;
    assert_eq!(bench.answer(query).await[0], "_op,WORD,C");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pumps_are_checked_though_nothing_reads_their_streams() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,one\n2,two\n");
    let text = format!(
        "{NUMBERS} CREATE STREAM o (a INTEGER);
         CREATE PUMP p AS INSERT INTO o SELECT STREAM nope FROM numbers;"
    );
    let refused = bench.run(&text).await.unwrap_err().to_string();
    assert!(refused.contains("column NOPE does not exist") && refused.contains("test.sql:4"));
    let mut bench = Bench::script();
    let text = format!(
        "{NUMBERS} CREATE STREAM o (a INTEGER);
         CREATE PUMP p AS INSERT INTO o SELECT STREAM n FROM numbers;"
    );
    bench.run(&text).await.unwrap();
    assert!(bench.notes.text().contains("nothing runs"), "{}", bench.notes.text());
    let mut bench = Bench::script();
    let again = bench.run(&format!("{text} CREATE OR REPLACE STREAM o (b DOUBLE);")).await;
    assert!(again.unwrap_err().to_string().contains("stream O has the pump P already"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_pumps_are_stopped_has_no_rows() {
    let mut bench = Bench::script();
    bench.file("numbers.csv", "n,word\n1,one\n2,two\n");
    let text = format!(
        "{NUMBERS} CREATE STREAM o (a INTEGER); CREATE STREAM none (a INTEGER);
         CREATE PUMP p STOPPED AS INSERT INTO o SELECT STREAM n FROM numbers;
         SELECT STREAM n FROM numbers UNION ALL SELECT STREAM a FROM o UNION ALL SELECT STREAM a FROM none;
         SELECT COUNT(*) AS c FROM o;"
    );
    bench.run(&text).await.unwrap();
    assert_eq!(sorted(lines(&bench.out.text())), ["0", "1", "2", "C", "N"].map(str::to_owned));
    let notes = bench.notes.text();
    assert!(notes.contains("stream O has no rows") && notes.contains("stream NONE has no rows"));
}
