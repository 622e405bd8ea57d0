//! `--metrics`: what a running application counts, as Prometheus would ask for it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use millstream_tests::peers::kinesis::KinesisServer;
use millstream_tests::peers::{free_port, python};
use millstream_tests::program::Program;

/// What `GET path` on this machine's `port` answers, head and body; empty if nobody listens.
fn ask(port: u16, path: &str) -> String {
    let mut answer = String::new();
    let question = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
        stream.write_all(question.as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    // Whoever asks too early asks again.
    drop(asked);
    answer
}

/// The sum of the samples whose line begins with `begin`, if there is one.
fn value(text: &str, begin: &str) -> Option<f64> {
    let lines = text.lines().filter(|line| line.starts_with(begin));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.reduce(|a, b| a + b)
}

#[test]
fn a_running_application_is_scraped() {
    let server = KinesisServer::Embedded.start();
    let environment = server.environment();
    let folder = tempfile::tempdir().unwrap();
    let good = (0..100).map(|n| format!("{{\"k\":\"{n}\",\"n\":{n}}}\n"));
    let lines: String = good.chain(["{\"k\":\"x\",\"n\":\"?\"}\n".to_owned()]).collect();
    python::run("kinesis_put.py", &["numbers", "2", "k"], &lines, &environment);
    let text = "
        CREATE STREAM numbers (k VARCHAR(8), n INTEGER)
          WITH (connector = 'kinesis', stream = 'numbers', idle_timeout = '1ms');
        CREATE SINK counted
          WITH (connector = 'file', path = 'out', format = 'csv', mode = 'changelog', roll_interval = '200ms')
          AS SELECT STREAM n, COUNT(*) AS c FROM numbers GROUP BY n;
        SET unbounded_state = 'allow';";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let port = free_port();
    let program = Program::in_folder(folder.path()).with(&environment);
    let mut running = program.start(&[
        "run",
        "app.sql",
        "--metrics",
        &port.to_string(),
        "--checkpoint-interval",
        "200ms",
    ]);
    running.wait_until("everything is read, committed and written", || {
        let text = ask(port, "/metrics");
        let is = |begin: &str, least: f64| value(&text, begin).is_some_and(|v| v >= least);
        is("millstream_rows_read_total ", 100.0)
            && is("millstream_checkpoints_total ", 1.0)
            && is("millstream_sink_rows_total{sink=\"COUNTED\"} ", 100.0)
            && is("millstream_source_watermark_seconds{stream=\"NUMBERS\"} ", 1e9)
    });
    let text = ask(port, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{text}");
    let sums = [
        ("millstream_shard_records_total{stream=\"NUMBERS\",shard=\"shardId-00000000000", 101.0),
        ("millstream_shard_millis_behind_latest{stream=\"NUMBERS\",shard=\"shardId-", 0.0),
        ("millstream_rows_bad_total ", 1.0),
        ("millstream_rows_late_total ", 0.0),
        ("millstream_rows_set_aside_total{by=\"NUMBERS\",reason=\"bad\"} ", 1.0),
        ("millstream_sink_unwritable_rows_total{sink=\"COUNTED\"} ", 0.0),
        ("millstream_state_spilled_bytes ", 0.0),
    ];
    for (begin, expected) in sums {
        assert_eq!(value(&text, begin), Some(expected), "{begin}\n{text}");
    }
    for begin in [
        "millstream_epochs_total ",
        "millstream_shard_bytes_total{stream=\"NUMBERS\",",
        "millstream_state_bytes{operator=\"UpdatingAggregate\",owner=\"COUNTED\",",
        "millstream_checkpoint_last_bytes ",
        "millstream_checkpoint_last_seconds ",
    ] {
        assert!(value(&text, begin).is_some_and(|v| v > 0.0), "{begin}\n{text}");
    }
    assert!(ask(port, "/").starts_with("HTTP/1.1 404"));
    // A port that is taken is said before anything is done.
    let second = program.run(&["run", "app.sql", "--fresh", "--metrics", &port.to_string()]);
    assert_eq!(second.status, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("metrics cannot be served"), "{}", second.stderr);
    running.signal("INT");
    let finished = running.wait();
    assert_eq!(finished.status, Some(0), "{}", finished.stderr);
}
