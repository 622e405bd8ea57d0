//! The memory that state may hold: beyond, its coldest rows go to the local disk; when nothing more can
//! go, the job ends before the machine ends it, and says what holds how much.

use std::path::PathBuf;
use std::sync::Arc;

use crate::dataflow::{Dataflow, NodeId, NodeKind};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::spill::SpillStore;

/// Operators that are named when state needs too much memory.
const OPERATORS_NAMED: usize = 3;

/// What part of the memory is made free at once, so that not every epoch goes to the disk.
const FREED_SHARE: usize = 4;

/// How much memory state may hold, and where it goes beyond.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    /// Bytes.
    pub bytes: usize,
    /// A folder on the local disk.
    pub spill: PathBuf,
}

/// Keeps state within its memory.
#[derive(Debug)]
pub(super) struct Memory {
    dataflow: Arc<Dataflow>,
    budget: Option<(usize, SpillStore)>,
}

impl Memory {
    pub(super) fn new(dataflow: &Arc<Dataflow>, budget: Option<MemoryBudget>) -> Self {
        let budget = budget.map(|budget| (budget.bytes, SpillStore::new(budget.spill)));
        Self { dataflow: Arc::clone(dataflow), budget }
    }

    /// Bytes of state on the disk.
    pub(super) fn spilled_bytes(&self) -> u64 {
        self.budget.as_ref().map_or(0, |(_, store)| store.bytes())
    }

    /// Makes room; returns the bytes that each node holds then, largest first.
    ///
    /// # Errors
    ///
    /// When the disk takes no more, or too little of the state can go there.
    pub(super) fn check(&self, executor: &mut Executor) -> Result<Vec<(NodeId, usize)>> {
        let held = executor.memory_by_node();
        let Some((bytes_max, store)) = self.budget.as_ref() else { return Ok(held) };
        let bytes = total(&held);
        if bytes <= *bytes_max {
            return Ok(held);
        }
        executor.spill(store, bytes - bytes_max + bytes_max / FREED_SHARE)?;
        let held = executor.memory_by_node();
        if total(&held) <= *bytes_max { Ok(held) } else { Err(self.exceeded(&held, *bytes_max)) }
    }

    fn exceeded(&self, held: &[(NodeId, usize)], bytes_max: usize) -> Error {
        let mega = |bytes: usize| format!("{:.1} MB", bytes as f64 / 1e6);
        let mut message =
            format!("state needs {} of memory and may have {}", mega(total(held)), mega(bytes_max));
        if self.spilled_bytes() > 0 {
            let on_disk = usize::try_from(self.spilled_bytes()).unwrap_or(usize::MAX);
            message.push_str(&format!(", beside {} on the disk", mega(on_disk)));
        }
        for (id, bytes) in held.iter().filter(|(_, bytes)| *bytes > 0).take(OPERATORS_NAMED) {
            let node = self.dataflow.node(*id);
            let what = match &node.kind {
                NodeKind::Operator(spec) => spec.name(),
                _ => "the result",
            };
            message.push_str(&format!("\n  {what} of {} holds {}", node.owner, mega(*bytes)));
        }
        Error::settings(message)
            .with_hint("bound what it keeps with a window, or give it more: --memory")
    }
}

fn total(held: &[(NodeId, usize)]) -> usize {
    held.iter().map(|(_, bytes)| bytes).sum()
}
