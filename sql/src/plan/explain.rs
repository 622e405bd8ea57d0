//! The dataflow as a picture.

use std::collections::BTreeSet;
use std::fmt::Write;

use millstream_engine::dataflow::{
    Dataflow, Distribution, NodeId, NodeKind, SortKey, SourceNode, TimeOrder,
};
use millstream_engine::job::Progress;
use millstream_engine::port::SinkReport;

/// The dataflow, one line per operator, each above what it reads; a node read by several is shown once.
/// Where `progress` has its figures, one more line says what the node did.
pub(super) fn picture(dataflow: &Dataflow, progress: &Progress) -> String {
    let mut readers = vec![0; dataflow.nodes.len()];
    dataflow.nodes.iter().flat_map(|node| &node.inputs).for_each(|input| readers[input.0] += 1);
    let (text, shown) = (String::new(), BTreeSet::new());
    let mut picture = Picture { dataflow, progress, readers, text, shown };
    let is_end = |kind: &NodeKind| matches!(kind, NodeKind::Sink(_) | NodeKind::View(_));
    let ends: Vec<NodeId> =
        dataflow.iter().filter(|(_, node)| is_end(&node.kind)).map(|(id, _)| id).collect();
    for end in ends {
        picture.node(end, 0, (&Distribution::Any, &dataflow.node(end).owner));
    }
    picture.text
}

struct Picture<'a> {
    dataflow: &'a Dataflow,
    progress: &'a Progress,
    /// How many nodes read each node.
    readers: Vec<usize>,
    text: String,
    shown: BTreeSet<NodeId>,
}

impl Picture<'_> {
    /// Adds `id`, which its reader takes so `distribution`; `reader` is what that one belongs to.
    fn node(&mut self, id: NodeId, depth: usize, (distribution, reader): (&Distribution, &str)) {
        let node = self.dataflow.node(id);
        let indent = "  ".repeat(depth);
        let mut line = format!("{indent}[{}] {}", id.0, self.title(id));
        if !self.shown.insert(id) {
            line.push_str("  (as above)");
            self.line(&line);
            return;
        }
        line.push_str(if node.updating { "  updating" } else { "  append-only" });
        if self.readers[id.0] > 1 {
            // Writing into a String cannot fail.
            let _infallible = write!(line, "  shared by {}", self.readers[id.0]);
        }
        match distribution {
            Distribution::Any => {}
            Distribution::Broadcast => line.push_str("  to every lane"),
            Distribution::Single => line.push_str("  to one lane"),
            Distribution::Hash(columns) => {
                let names = columns.iter().map(|column| node.schema.field(*column).name().as_str());
                let names = names.collect::<Vec<_>>().join(", ");
                let _infallible = write!(line, "  by hash of ({names})");
            }
        }
        if !self.progress.nodes.is_empty() && self.is_end_of_another(id, reader) {
            let _infallible = write!(line, "  of {}", node.owner);
        }
        self.line(&line);
        let explanation = self.dataflow.explain(id);
        if !explanation.keeps.is_empty() {
            let freed = match explanation.freed_by.as_str() {
                "" => "nothing: it grows for ever",
                freed => freed,
            };
            self.line(&format!("{indent}      keeps {}; freed by {freed}", explanation.keeps));
        }
        if let Some(done) = self.progress.nodes.get(id.0) {
            self.line(&format!("{indent}      {}", done.in_words()));
        }
        if let Some((_, report)) = self.progress.sinks.iter().find(|(sink, _)| *sink == id)
            && matches!(&node.kind, NodeKind::Sink(name) if !name.is_empty())
        {
            self.line(&format!("{indent}      {}", written(report)));
        }
        for (number, input) in node.inputs.iter().enumerate() {
            let distribution = match &node.kind {
                NodeKind::Operator(spec) => spec.distribution(number),
                _ => Distribution::Any,
            };
            self.node(*input, depth + 1, (&distribution, &node.owner));
        }
    }

    /// Whether `id` is what a pump or view gives to what belongs to `reader`.
    fn is_end_of_another(&self, id: NodeId, reader: &str) -> bool {
        let node = self.dataflow.node(id);
        matches!(node.kind, NodeKind::Operator(_))
            && !node.owner.is_empty()
            && *node.owner != *reader
    }

    /// The order in which the result of `id` is shown.
    fn order(&self, id: NodeId) -> String {
        let Some(keys) = self.dataflow.orders.get(&id) else { return String::new() };
        let schema = &self.dataflow.node(id).schema;
        let key = |key: &SortKey| {
            let direction = if key.descending { " DESC" } else { "" };
            format!("{}{direction}", schema.field(key.column).name())
        };
        format!(" ordered by {}", keys.iter().map(key).collect::<Vec<_>>().join(", "))
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(&readable(line));
        self.text.push('\n');
    }

    fn title(&self, id: NodeId) -> String {
        let node = self.dataflow.node(id);
        let columns = || {
            let names = node.schema.fields().iter().map(|field| field.name().as_str());
            names.collect::<Vec<_>>().join(", ")
        };
        match &node.kind {
            NodeKind::Source(source) => {
                format!("Stream {} ({}), {}", source.stream, columns(), rowtime(source))
            }
            NodeKind::ErrorStream => "Stream ERROR_STREAM".to_owned(),
            NodeKind::Table(table) => format!("Table {} ({})", table.table, columns()),
            NodeKind::Sink(name) if name.is_empty() => format!("Output{}", self.order(id)),
            NodeKind::Sink(name) => format!("Sink {name}{}", self.order(id)),
            NodeKind::View(name) => format!("View {name}"),
            NodeKind::Operator(spec) => {
                format!("{} {}", spec.name(), spec.explain().detail).trim_end().to_owned()
            }
        }
    }
}

/// What a sink has published.
fn written(report: &SinkReport) -> String {
    let SinkReport { rows, files, calls, bytes, bad } = report;
    let (count, unit) = if *calls > 0 { (calls, "call") } else { (files, "file") };
    let plural = if *count == 1 { "" } else { "s" };
    let into = format!("{count} {unit}{plural}");
    let refused = if *bad > 0 { format!(", {bad} refused") } else { String::new() };
    format!("wrote {rows} rows in {into}, {bytes} bytes{refused}")
}

fn rowtime(source: &SourceNode) -> String {
    match source.order {
        TimeOrder::Arrival => "ROWTIME is the arrival".to_owned(),
        TimeOrder::Ascending => "ROWTIME is a field".to_owned(),
        TimeOrder::Bounded(delay_ms) => format!("rows at most {delay_ms} ms out of order"),
    }
}

/// DataFusion prints intervals as Rust values; a person reads them as SQL.
fn readable(line: &str) -> String {
    const OPEN: &str = "IntervalMonthDayNano { months: ";
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let Some((fields, behind)) = after.split_once(" }") else { break };
        let mut numbers = fields.split(", ").map(|field| {
            let number = field.rsplit(' ').next().unwrap_or(field);
            number.parse::<i64>().unwrap_or(0)
        });
        let mut next = || numbers.next().unwrap_or(0);
        text.push_str(before.strip_suffix("IntervalMonthDayNano(\"").unwrap_or(before));
        text.push_str(&interval(next(), next(), next()));
        rest = if before.ends_with("IntervalMonthDayNano(\"") {
            behind.strip_prefix("\")").unwrap_or(behind)
        } else {
            behind
        };
    }
    text.push_str(rest);
    text
}

fn interval(months: i64, days: i64, nanoseconds: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    let (number, unit) = match (months, days, nanoseconds) {
        (months, 0, 0) if months != 0 => (months.to_string(), "MONTH"),
        (0, days, 0) if days != 0 => (days.to_string(), "DAY"),
        (0, 0, ns) if ns % (3_600 * SECOND) == 0 => ((ns / (3_600 * SECOND)).to_string(), "HOUR"),
        (0, 0, ns) if ns % (60 * SECOND) == 0 => ((ns / (60 * SECOND)).to_string(), "MINUTE"),
        (0, 0, ns) if ns % SECOND == 0 => ((ns / SECOND).to_string(), "SECOND"),
        (0, 0, ns) => (format!("{}.{:09}", ns / SECOND, ns.abs() % SECOND), "SECOND"),
        _ => (format!("{months} months {days} days {nanoseconds} ns"), "MIXED"),
    };
    format!("INTERVAL '{number}' {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_as_sql() {
        let raw = "date_bin(IntervalMonthDayNano(\"IntervalMonthDayNano { months: 0, days: 0, \
                   nanoseconds: 60000000000 }\"),T) + IntervalMonthDayNano { months: 0, days: 1, \
                   nanoseconds: 0 }";
        assert_eq!(readable(raw), "date_bin(INTERVAL '1' MINUTE,T) + INTERVAL '1' DAY");
    }
}
