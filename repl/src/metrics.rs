//! What a job counts, for Prometheus: `millstream run --metrics 9100`, then `GET /metrics`.
//!
//! ```text
//!   job ── Progress after every epoch ──► watch ──► text when somebody asks
//! ```
//!
//! A question costs the job nothing: the answer is made of the last epoch's [`Progress`]. Labels are
//! names of the application and of shards, never values of its rows, so that their number is bounded.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use millstream_engine::dataflow::{Dataflow, NodeId, NodeKind};
use millstream_engine::job::Progress;
use millstream_engine::metrics::PartitionMetrics;
use millstream_engine::port::SinkReport;
use millstream_engine::task::OwnedTask;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::failure::Failure;

/// The format of the answer.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The address that `text` means: a port of this machine only, or an address and a port.
///
/// # Errors
///
/// When it is neither.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let parsed = text.parse().map(local).or_else(|_| text.parse::<SocketAddr>());
    parsed.map_err(|_| "expected a port, such as 9100, or ADDRESS:PORT".to_owned())
}

/// Answers on its address as long as it lives.
#[derive(Debug)]
pub struct MetricsServer {
    /// Where it listens.
    pub address: SocketAddr,
    _task: OwnedTask<()>,
}

impl MetricsServer {
    /// Listens on `wanted`; port 0 is a free one.
    ///
    /// # Errors
    ///
    /// When the address cannot be used.
    pub async fn start(
        wanted: SocketAddr,
        dataflow: Arc<Dataflow>,
        progress: watch::Receiver<Progress>,
    ) -> Result<Self, Failure> {
        let taken = |error: std::io::Error| {
            Failure::with_hint(
                format_args!("metrics cannot be served on {wanted}: {error}"),
                "choose another port, or end the process that uses it",
            )
        };
        let listener = TcpListener::bind(wanted).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let answer = move || {
            let text = exposition(&progress.borrow(), &dataflow);
            async { ([(CONTENT_TYPE, FORMAT)], text).into_response() }
        };
        let app = Router::new().route("/metrics", get(answer));
        let task = OwnedTask::spawn(async move {
            // It ends with its owner; a connection that breaks harms no other.
            drop(axum::serve(listener, app).await);
        });
        Ok(Self { address, _task: task })
    }
}

/// What is known of a job, in Prometheus' text format.
pub fn exposition(progress: &Progress, dataflow: &Dataflow) -> String {
    let mut text = Text::default();
    rows(&mut text, progress);
    shards(&mut text, progress, dataflow);
    sinks(&mut text, progress, dataflow);
    state(&mut text, progress, dataflow);
    checkpoints(&mut text, progress);
    text.0
}

fn rows(text: &mut Text, progress: &Progress) {
    text.one("epochs_total", "counter", "Epochs run.", progress.epochs);
    text.one("uptime_seconds", "gauge", "Time since the job began.", seconds(progress.elapsed));
    text.one("rows_read_total", "counter", "Rows read from the sources.", progress.rows_in);
    text.one("rows_written_total", "counter", "Rows handed to the sinks.", progress.rows_out);
    let aside = "Rows set aside for error_stream.";
    text.one("rows_bad_total", "counter", "Rows set aside as bad.", progress.rows_bad);
    text.one("rows_late_total", "counter", "Rows set aside as late.", progress.rows_late);
    text.family("rows_set_aside_total", "counter", aside);
    for (owner, (bad, late)) in &progress.set_aside {
        for (reason, count) in [("bad", bad), ("late", late)] {
            text.sample("rows_set_aside_total", &[("by", owner), ("reason", reason)], count);
        }
    }
    let waiting = "Things that sources wait for: throttling, keys, an endpoint that is silent.";
    text.one("source_troubles", "gauge", waiting, progress.troubles.len());
}

fn shards(text: &mut Text, progress: &Progress, dataflow: &Dataflow) {
    let name = "source_watermark_seconds";
    text.family(name, "gauge", "Watermark of a stream, in seconds since the Unix epoch.");
    for (node, watermark_ms) in &progress.watermarks {
        let stream = stream(dataflow, *node);
        text.sample(name, &[("stream", stream)], *watermark_ms as f64 / 1e3);
    }
    let name = "shard_millis_behind_latest";
    text.family(name, "gauge", "How far reading is behind the newest record, in milliseconds.");
    for (node, shard, counted) in &progress.partitions {
        if let Some(lag_ms) = counted.lag_ms {
            text.sample(name, &[("stream", stream(dataflow, *node)), ("shard", shard)], lag_ms);
        }
    }
    type Count = fn(&PartitionMetrics) -> u64;
    let counts: [(&str, &str, Count); 5] = [
        ("shard_records_total", "Records read.", |m| m.records),
        ("shard_bytes_total", "Bytes of records read.", |m| m.bytes),
        ("shard_throttled_total", "Calls refused for being too many.", |m| m.throttled),
        ("shard_failed_total", "Calls that failed otherwise and were repeated.", |m| m.failed),
        ("shard_expired_total", "Iterators and subscriptions renewed.", |m| m.expired),
    ];
    for (name, help, count) in counts {
        text.family(name, "counter", help);
        for (node, shard, counted) in &progress.partitions {
            let labels = [("stream", stream(dataflow, *node)), ("shard", shard)];
            text.sample(name, &labels, count(counted));
        }
    }
}

fn sinks(text: &mut Text, progress: &Progress, dataflow: &Dataflow) {
    type Count = fn(&SinkReport) -> u64;
    let counts: [(&str, &str, Count); 5] = [
        ("sink_rows_total", "Rows in published output.", |r| r.rows),
        ("sink_files_total", "Files published.", |r| r.files),
        ("sink_calls_total", "Calls made by a sink that writes no files.", |r| r.calls),
        ("sink_bytes_total", "Bytes published.", |r| r.bytes),
        ("sink_unwritable_rows_total", "Rows that the format cannot carry.", |r| r.bad),
    ];
    for (name, help, count) in counts {
        text.family(name, "counter", help);
        for (node, report) in &progress.sinks {
            if let NodeKind::Sink(sink) = &dataflow.node(*node).kind {
                text.sample(name, &[("sink", sink)], count(report));
            }
        }
    }
}

fn state(text: &mut Text, progress: &Progress, dataflow: &Dataflow) {
    text.family("state_bytes", "gauge", "Memory that state holds, by operator.");
    for (id, bytes) in &progress.held {
        let node = dataflow.node(*id);
        let operator = match &node.kind {
            NodeKind::Operator(spec) => spec.name(),
            _ => "result",
        };
        let number = id.0.to_string();
        let labels = [("operator", operator), ("owner", &*node.owner), ("node", &*number)];
        text.sample("state_bytes", &labels, bytes);
    }
    let help = "State on the local disk, beyond what memory had room for.";
    text.one("state_spilled_bytes", "gauge", help, progress.spilled_bytes);
}

fn checkpoints(text: &mut Text, progress: &Progress) {
    let counted = &progress.checkpoints;
    text.one("checkpoints_total", "counter", "Checkpoints committed.", counted.commits);
    text.one("checkpoint_number", "gauge", "Number of the newest commit.", counted.number);
    text.one("checkpoint_bytes_total", "counter", "Bytes of all commits.", counted.bytes);
    text.one("checkpoint_last_bytes", "gauge", "Bytes of the newest one.", counted.bytes_last);
    let all = seconds(counted.duration);
    text.one("checkpoint_seconds_total", "counter", "From snapshot to published, for all.", all);
    let last = seconds(counted.duration_last);
    text.one("checkpoint_last_seconds", "gauge", "The same for the newest one.", last);
    let pause = seconds(counted.pause_max);
    let help = "The longest that epochs had to wait for a snapshot.";
    text.one("checkpoint_pause_max_seconds", "gauge", help, pause);
}

fn stream(dataflow: &Dataflow, node: NodeId) -> &str {
    match &dataflow.node(node).kind {
        NodeKind::Source(source) => &source.stream,
        _ => "",
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Families of samples.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let text = &mut self.0;
        let _infallible = writeln!(text, "# HELP millstream_{name} {help}");
        let _infallible = writeln!(text, "# TYPE millstream_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _infallible = write!(self.0, "millstream_{name}");
        for (index, (label, value)) in labels.iter().enumerate() {
            let opening = if index == 0 { '{' } else { ',' };
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _infallible = write!(self.0, "{opening}{label}=\"{value}\"");
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        let _infallible = writeln!(self.0, "{closing} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_of_this_machine() {
        assert_eq!(address("9100").unwrap().to_string(), "127.0.0.1:9100");
        assert_eq!(address("0.0.0.0:1").unwrap().to_string(), "0.0.0.0:1");
        assert!(address("metrics").unwrap_err().contains("9100"));
    }

    #[test]
    fn each_family_is_told_once_and_labels_cannot_break_out() {
        let mut progress = Progress { rows_in: 7, ..Progress::default() };
        progress.set_aside.insert("a\"b\\c\nd".into(), (1, 2));
        let text = exposition(&progress, &Dataflow::default());
        assert!(text.contains("\nmillstream_rows_read_total 7\n"), "{text}");
        let odd = r#"millstream_rows_set_aside_total{by="a\"b\\c\nd",reason="late"} 2"#;
        assert!(text.lines().any(|line| line == odd), "{text}");
        let mut types: Vec<&str> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), all);
    }
}
