//! The groups of one window or pane, as what they are between two snapshots.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use super::groups::{GroupLayout, Groups};
use crate::error::{Error, Result};

/// The groups of one window or pane.
#[derive(Debug, Default)]
pub(in crate::operators) struct Partials {
    /// What came since the groups were last read.
    live: Option<Groups>,
    /// Partial states of earlier rows: keys and states, oldest first.
    parts: Vec<RecordBatch>,
    /// Those of them that no snapshot has, if one has any.
    unsaved: Vec<RecordBatch>,
    /// Whether a snapshot holds some of it, and so must hear of its end.
    saved: bool,
}

impl Partials {
    /// Where rows are accumulated.
    pub(in crate::operators) fn live(&mut self, layout: &Arc<GroupLayout>) -> Result<&mut Groups> {
        if self.live.is_none() {
            self.live = Some(Groups::new(layout)?);
        }
        self.live.as_mut().ok_or_else(|| Error::bug("a window lost its groups"))
    }

    /// Whether a snapshot holds some of it.
    pub(in crate::operators) fn is_saved(&self) -> bool {
        self.saved
    }

    /// Turns what came into a partial state. Reading accumulators empties them, hence it stays behind.
    fn settle(&mut self, layout: &Arc<GroupLayout>) -> Result<()> {
        let Some(live) = self.live.take() else { return Ok(()) };
        let part = live.into_state()?;
        if self.saved {
            self.unsaved.push(part.clone());
        }
        self.push(layout, part)
    }

    /// Adds partial states; merges so that each part is at least twice as large as the next. A state
    /// is thus merged a logarithmic number of times, however many snapshots are taken.
    fn push(&mut self, layout: &Arc<GroupLayout>, part: RecordBatch) -> Result<()> {
        self.parts.push(part);
        while let [.., older, newer] = self.parts.as_slice()
            && older.num_rows() < 2 * newer.num_rows()
        {
            let mut merged = Groups::new(layout)?;
            merged.merge(older)?;
            merged.merge(newer)?;
            self.parts.truncate(self.parts.len() - 2);
            self.parts.push(merged.into_state()?);
        }
        Ok(())
    }

    fn merged(&self, layout: &Arc<GroupLayout>) -> Result<Groups> {
        let mut merged = Groups::new(layout)?;
        self.parts.iter().try_for_each(|part| merged.merge(part))?;
        Ok(merged)
    }

    /// The partial states of all rows so far.
    pub(in crate::operators) fn state(&mut self, layout: &Arc<GroupLayout>) -> Result<RecordBatch> {
        self.settle(layout)?;
        if self.parts.len() != 1 {
            self.parts = vec![self.merged(layout)?.into_state()?];
        }
        self.parts.first().cloned().ok_or_else(|| Error::bug("a window without a state"))
    }

    /// The partial states that no snapshot has yet; all together, if none has any.
    pub(in crate::operators) fn unsaved(
        &mut self,
        layout: &Arc<GroupLayout>,
    ) -> Result<Vec<RecordBatch>> {
        if !self.saved {
            let all = self.state(layout)?;
            self.saved = true;
            return Ok(vec![all]);
        }
        self.settle(layout)?;
        Ok(std::mem::take(&mut self.unsaved))
    }

    /// Makes the next snapshot hold all of it.
    pub(in crate::operators) fn forget_snapshots(&mut self) {
        self.saved = false;
        self.unsaved.clear();
    }

    /// Adds what a snapshot holds.
    pub(in crate::operators) fn restore(
        &mut self,
        layout: &Arc<GroupLayout>,
        part: RecordBatch,
    ) -> Result<()> {
        self.saved = true;
        self.push(layout, part)
    }

    /// The number of groups, their keys and their results.
    pub(in crate::operators) fn close(
        self,
        layout: &Arc<GroupLayout>,
    ) -> Result<(usize, Vec<ArrayRef>)> {
        if self.parts.is_empty() {
            return self.live.map_or_else(|| Groups::new(layout), Ok)?.into_results();
        }
        let mut all = self.merged(layout)?;
        if let Some(live) = self.live {
            all.merge(&live.into_state()?)?;
        }
        all.into_results()
    }

    /// How many partial states there are.
    pub(in crate::operators) fn num_rows(&self) -> usize {
        let parts: usize = self.parts.iter().map(RecordBatch::num_rows).sum();
        parts + self.live.as_ref().map_or(0, Groups::count)
    }

    pub(in crate::operators) fn memory_bytes(&self) -> usize {
        let live = self.live.as_ref().map_or(0, Groups::memory_bytes);
        let parts = self.parts.iter().chain(&self.unsaved).map(RecordBatch::get_array_memory_size);
        size_of::<Self>() + live + parts.sum::<usize>()
    }
}
