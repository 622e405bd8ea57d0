//! The dataflow as a picture.

use std::collections::BTreeSet;
use std::fmt::Write;

use millstream_engine::dataflow::{
    Dataflow, Distribution, NodeId, NodeKind, SourceNode, TimeOrder,
};

/// The dataflow, one line per operator, each above what it reads; a node read by several is shown once.
pub(super) fn picture(dataflow: &Dataflow) -> String {
    let mut picture = Picture { dataflow, text: String::new(), shown: BTreeSet::new() };
    let sinks = dataflow.iter().filter(|(_, node)| matches!(node.kind, NodeKind::Sink(_)));
    let sinks: Vec<NodeId> = sinks.map(|(id, _)| id).collect();
    for sink in sinks {
        picture.node(sink, 0, &Distribution::Any);
    }
    picture.text
}

struct Picture<'a> {
    dataflow: &'a Dataflow,
    text: String,
    shown: BTreeSet<NodeId>,
}

impl Picture<'_> {
    fn node(&mut self, id: NodeId, depth: usize, distribution: &Distribution) {
        let node = self.dataflow.node(id);
        let indent = "  ".repeat(depth);
        let mut line = format!("{indent}[{}] {}", id.0, self.title(id));
        if !self.shown.insert(id) {
            line.push_str("  (as above)");
            self.line(&line);
            return;
        }
        line.push_str(if node.updating { "  updating" } else { "  append-only" });
        match distribution {
            Distribution::Any => {}
            Distribution::Broadcast => line.push_str("  to every lane"),
            Distribution::Single => line.push_str("  to one lane"),
            Distribution::Hash(columns) => {
                let names = columns.iter().map(|column| node.schema.field(*column).name().as_str());
                let names = names.collect::<Vec<_>>().join(", ");
                // Writing into a String cannot fail.
                let _infallible = write!(line, "  by hash of ({names})");
            }
        }
        self.line(&line);
        let NodeKind::Operator(spec) = &node.kind else {
            node.inputs.iter().for_each(|input| self.node(*input, depth + 1, &Distribution::Any));
            return;
        };
        let explanation = spec.explain();
        if !explanation.keeps.is_empty() {
            let freed = match explanation.freed_by.as_str() {
                "" => "nothing: it grows for ever",
                freed => freed,
            };
            self.line(&format!("{indent}      keeps {}; freed by {freed}", explanation.keeps));
        }
        for (number, input) in node.inputs.iter().enumerate() {
            self.node(*input, depth + 1, &spec.distribution(number));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
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
                format!("Stream {} ({}), {}", source.stream, columns(), order(source))
            }
            NodeKind::ErrorStream => "Stream ERROR_STREAM".to_owned(),
            NodeKind::Table(table) => format!("Table {} ({})", table.table, columns()),
            NodeKind::Sink(name) if name.is_empty() => "Output".to_owned(),
            NodeKind::Sink(name) => format!("Sink {name}"),
            NodeKind::Operator(spec) => {
                format!("{} {}", spec.name(), spec.explain().detail).trim_end().to_owned()
            }
        }
    }
}

fn order(source: &SourceNode) -> String {
    match source.order {
        TimeOrder::Arrival => "ROWTIME is the arrival".to_owned(),
        TimeOrder::Ascending => "ROWTIME is a field".to_owned(),
        TimeOrder::Bounded(delay_ms) => format!("rows at most {delay_ms} ms out of order"),
    }
}
