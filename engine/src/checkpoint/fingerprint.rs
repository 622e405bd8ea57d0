//! What a node computes, as a number: how a restart knows which state belongs to which node.
//!
//! The fingerprint of a node is made of what it does, its columns and the fingerprints of its inputs.
//! So a node that is unchanged by itself but reads something else has another one: what it keeps is
//! not what it would have kept.

use std::fmt::Write;

use super::manifest::NodeRecord;
use super::recovery::source_name;
use crate::dataflow::{Dataflow, Node, NodeKind};
use crate::fault::ERROR_STREAM;
use crate::key_group::{hash_text, mix_number};

/// The nodes of `dataflow`, as a manifest lists them. `details` says what else makes a source, table or
/// sink what it is: where it is and of which format.
pub fn nodes(dataflow: &Dataflow, details: &dyn Fn(&NodeKind) -> String) -> Vec<NodeRecord> {
    let mut hashes: Vec<u64> = Vec::with_capacity(dataflow.nodes.len());
    let mut records = Vec::with_capacity(dataflow.nodes.len());
    for (id, node) in dataflow.iter() {
        let (name, text) = description(node);
        let mut hash = hash_text(&format!("{text}|{}", details(&node.kind)));
        for input in &node.inputs {
            hash = mix_number(hash, hashes[input.0]);
        }
        hashes.push(hash);
        let stateful = match &node.kind {
            NodeKind::Operator(spec) => !spec.explain().keeps.is_empty(),
            _ => dataflow.keeps_result(id),
        };
        records.push(NodeRecord {
            fingerprint: format!("{hash:016x}"),
            name,
            owner: node.owner.to_string(),
            stateful,
            since: 0,
        });
    }
    records
}

/// The name of a node, and all that makes it compute what it computes.
fn description(node: &Node) -> (String, String) {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let name = match &node.kind {
        NodeKind::Source(source) => {
            let _infallible = write!(text, "{:?} {:?}", source.order, source.rowtime);
            source_name(&source.stream)
        }
        NodeKind::ErrorStream => ERROR_STREAM.to_owned(),
        NodeKind::Table(table) => format!("table {}", table.table),
        NodeKind::Operator(spec) => {
            let explanation = spec.explain();
            let _infallible = write!(text, "{}|{}", explanation.detail, explanation.keeps);
            spec.name().to_owned()
        }
        NodeKind::Sink(name) => format!("sink {name}"),
        NodeKind::View(name) => format!("view {name}"),
    };
    let _infallible = write!(text, "|{name}|{}", node.updating);
    for field in node.schema.fields() {
        let _infallible = write!(text, "|{} {}", field.name(), field.data_type());
    }
    (name, text)
}
