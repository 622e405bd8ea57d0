//! A source whose events are written down beforehand.

use std::collections::VecDeque;

use async_trait::async_trait;
use millstream_engine::Result;
use millstream_engine::port::{Source, SourceEvent};

/// Yields the events it was given, in order, then ends.
#[derive(Debug)]
pub struct MemorySource {
    events: VecDeque<Result<SourceEvent>>,
}

impl MemorySource {
    /// A source of these events.
    pub fn new(events: impl IntoIterator<Item = SourceEvent>) -> Self {
        Self { events: events.into_iter().map(Ok).collect() }
    }

    /// A source of these events and failures; it should not be asked again after a failure.
    pub fn failing(events: impl IntoIterator<Item = Result<SourceEvent>>) -> Self {
        Self { events: events.into_iter().collect() }
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        self.events.pop_front().transpose()
    }
}
