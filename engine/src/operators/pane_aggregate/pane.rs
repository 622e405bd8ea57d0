//! A pane: the groups of a piece of time that no window divides.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};

use crate::error::{Error, Result};
use crate::operators::window_aggregate::groups::{GroupLayout, Groups};

/// The groups of one pane.
#[derive(Debug, Default)]
pub(super) struct Pane {
    /// What came since the last snapshot or window.
    live: Option<Groups>,
    /// Partial states of earlier rows.
    parts: Vec<RecordBatch>,
    /// Those of them that no snapshot has.
    unsaved: Vec<RecordBatch>,
    /// Whether a snapshot holds some of it, and so must hear of its end.
    saved: bool,
}

impl Pane {
    pub(super) fn live(&mut self, layout: &Arc<GroupLayout>) -> Result<&mut Groups> {
        if self.live.is_none() {
            self.live = Some(Groups::new(layout)?);
        }
        self.live.as_mut().ok_or_else(|| Error::bug("a pane lost its groups"))
    }

    pub(super) fn is_saved(&self) -> bool {
        self.saved
    }

    /// The partial states of all rows so far.
    pub(super) fn state(&mut self, layout: &Arc<GroupLayout>) -> Result<RecordBatch> {
        if let Some(live) = self.live.take() {
            let part = live.into_state()?;
            self.unsaved.push(part.clone());
            self.parts.push(part);
        }
        if self.parts.len() != 1 {
            let mut merged = Groups::new(layout)?;
            self.parts.iter().try_for_each(|part| merged.merge(part))?;
            self.parts = vec![merged.into_state()?];
        }
        self.parts.first().cloned().ok_or_else(|| Error::bug("a pane without a state"))
    }

    /// The partial states that no snapshot has yet.
    pub(super) fn unsaved(&mut self, layout: &Arc<GroupLayout>) -> Result<Vec<RecordBatch>> {
        if let Some(live) = self.live.take() {
            let part = live.into_state()?;
            self.unsaved.push(part.clone());
            self.push(layout, part)?;
        }
        let unsaved = std::mem::take(&mut self.unsaved);
        self.saved |= !unsaved.is_empty();
        Ok(unsaved)
    }

    pub(super) fn restore(&mut self, layout: &Arc<GroupLayout>, part: RecordBatch) -> Result<()> {
        self.saved = true;
        self.push(layout, part)
    }

    /// Adds partial states; merges so that each part is at least twice as large as the next. A state is
    /// thus merged a logarithmic number of times, however many snapshots are taken.
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

    pub(super) fn memory_bytes(&self) -> usize {
        let live = self.live.as_ref().map_or(0, Groups::memory_bytes);
        let parts = self.parts.iter().chain(&self.unsaved).map(RecordBatch::get_array_memory_size);
        size_of::<Self>() + live + parts.sum::<usize>()
    }
}

/// Partial states with the number of their pane in front, to be saved.
pub(super) fn numbered(pane: i64, part: &RecordBatch) -> Result<RecordBatch> {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![pane; part.num_rows()]));
    let fields = part.schema();
    let fields = fields.fields().iter().zip(part.columns());
    let columns = fields.map(|(field, column)| (field.name().clone(), Arc::clone(column), true));
    let first = std::iter::once(("pane".to_owned(), numbers, true));
    Ok(RecordBatch::try_from_iter_with_nullable(first.chain(columns))?)
}
