//! The memory that state may hold: beyond, its coldest rows go to the local disk; when nothing more can
//! go, the job ends before the machine ends it, and says what holds how much.

use std::path::PathBuf;
use std::sync::Arc;

use crate::dataflow::{Dataflow, NodeKind};
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

    /// Makes room; returns the bytes that state holds then.
    ///
    /// # Errors
    ///
    /// When the disk takes no more, or too little of the state can go there.
    pub(super) fn check(&self, executor: &mut Executor) -> Result<usize> {
        let held = executor.memory_bytes();
        let Some((bytes_max, store)) = self.budget.as_ref().filter(|(max, _)| held > *max) else {
            return Ok(held);
        };
        executor.spill(store, held - bytes_max + bytes_max / FREED_SHARE)?;
        let held = executor.memory_bytes();
        if held <= *bytes_max { Ok(held) } else { Err(self.exceeded(held, *bytes_max, executor)) }
    }

    fn exceeded(&self, held: usize, bytes_max: usize, executor: &Executor) -> Error {
        let mega = |bytes: usize| format!("{:.1} MB", bytes as f64 / 1e6);
        let mut message =
            format!("state needs {} of memory and may have {}", mega(held), mega(bytes_max));
        if self.spilled_bytes() > 0 {
            let on_disk = usize::try_from(self.spilled_bytes()).unwrap_or(usize::MAX);
            message.push_str(&format!(", beside {} on the disk", mega(on_disk)));
        }
        for (id, bytes) in executor.memory_by_operator().into_iter().take(OPERATORS_NAMED) {
            let node = self.dataflow.node(id);
            if let (NodeKind::Operator(spec), true) = (&node.kind, bytes > 0) {
                let (name, owner) = (spec.name(), &node.owner);
                message.push_str(&format!("\n  {name} of {owner} holds {}", mega(bytes)));
            }
        }
        Error::settings(message)
            .with_hint("bound what it keeps with a window, or give it more: --memory")
    }
}
