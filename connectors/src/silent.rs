//! A stream without rows: one inside the application that no pump feeds, or one declared as an input
//! (with its system columns) that nothing comes by. It has ended.

use async_trait::async_trait;
use millstream_engine::Result;
use millstream_engine::port::{Source, SourceEvent};

use crate::options::{ConnectorSpec, RelationKind};

/// `connector = 'none'`.
pub(crate) const CONNECTOR: ConnectorSpec = ConnectorSpec {
    name: "none",
    help: "No input: the stream has the columns of one, and no rows",
    relations: &[RelationKind::Stream],
    options: &[],
};

/// A source without partitions.
#[derive(Debug)]
pub(crate) struct SilentSource;

#[async_trait]
impl Source for SilentSource {
    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        Ok(None)
    }
}
