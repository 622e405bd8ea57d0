//! The input of a stream inside the application that no pump feeds: it has no rows, and has ended.

use async_trait::async_trait;
use millstream_engine::Result;
use millstream_engine::port::{Source, SourceEvent};

/// A source without partitions.
#[derive(Debug)]
pub(crate) struct SilentSource;

#[async_trait]
impl Source for SilentSource {
    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        Ok(None)
    }
}
