//! Sinks that keep rows in memory, or hand them to another task.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use millstream_engine::delta::total_rows;
use millstream_engine::fault::BadRow;
use millstream_engine::port::{Flush, Sink, SinkReport};
use millstream_engine::{Delta, Result};
use tokio::sync::mpsc;

/// Keeps all rows; they are published at once.
#[derive(Debug)]
pub struct MemorySink {
    rows: MemoryRows,
    report: SinkReport,
}

/// The rows of a [`MemorySink`], for whoever looks at them while the sink is the job's.
#[derive(Debug, Clone, Default)]
pub struct MemoryRows(Arc<Mutex<Vec<(u64, Delta)>>>);

impl MemorySink {
    /// A sink and the handle to its rows.
    pub fn new() -> (Self, MemoryRows) {
        let rows = MemoryRows::default();
        (Self { rows: rows.clone(), report: SinkReport::default() }, rows)
    }
}

impl MemoryRows {
    /// The rows so far, with their epochs.
    pub fn get(&self) -> Vec<(u64, Delta)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rows so far, which are forgotten.
    pub fn take(&self) -> Vec<(u64, Delta)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn write(&mut self, epoch: u64, rows: Vec<Delta>) -> Result<Vec<BadRow>> {
        self.report.rows += total_rows(&rows) as u64;
        let mut kept = self.rows.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(rows.into_iter().map(|delta| (epoch, delta)));
        Ok(Vec::new())
    }

    async fn flush(&mut self, _: Flush) -> Result<()> {
        Ok(())
    }

    fn report(&self) -> SinkReport {
        self.report
    }
}

/// Sends each epoch's rows over a bounded channel, to a printer. When nobody listens any more, rows
/// are dropped: whoever stopped listening stops the job.
#[derive(Debug)]
pub struct ChannelSink {
    rows: mpsc::Sender<(u64, Vec<Delta>)>,
    report: SinkReport,
}

impl ChannelSink {
    /// A sink and the channel its rows come out of, which holds `capacity` epochs.
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<(u64, Vec<Delta>)>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { rows: sender, report: SinkReport::default() }, receiver)
    }
}

#[async_trait]
impl Sink for ChannelSink {
    async fn write(&mut self, epoch: u64, rows: Vec<Delta>) -> Result<Vec<BadRow>> {
        let count = total_rows(&rows) as u64;
        if count > 0 && self.rows.send((epoch, rows)).await.is_ok() {
            self.report.rows += count;
        }
        Ok(Vec::new())
    }

    async fn flush(&mut self, _: Flush) -> Result<()> {
        Ok(())
    }

    fn report(&self) -> SinkReport {
        self.report
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{RecordBatch, RecordBatchOptions};
    use arrow::datatypes::Schema;

    use super::*;

    fn rows(count: usize) -> Vec<Delta> {
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let schema = Arc::new(Schema::empty());
        let batch = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();
        vec![Delta::append(batch)]
    }

    #[tokio::test]
    async fn rows_are_seen_through_the_handle() {
        let (mut sink, handle) = MemorySink::new();
        sink.write(7, rows(3)).await.unwrap();
        assert_eq!(sink.report().rows, 3);
        let taken = handle.take();
        assert_eq!((taken.len(), taken[0].0, taken[0].1.num_rows()), (1, 7, 3));
        assert!(handle.get().is_empty());
    }

    #[tokio::test]
    async fn a_full_channel_holds_the_sink_back_and_a_closed_one_does_not() {
        let (mut sink, mut printer) = ChannelSink::new(1);
        sink.write(1, rows(1)).await.unwrap();
        {
            let mut second = sink.write(2, rows(2));
            let waits = futures::poll!(second.as_mut()).is_pending();
            assert!(waits);
            assert_eq!(printer.recv().await.unwrap().0, 1);
            second.await.unwrap();
        }
        drop(printer);
        sink.write(3, rows(3)).await.unwrap();
        assert_eq!(sink.report().rows, 3);
    }
}
