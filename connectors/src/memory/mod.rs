//! Memory: what a test feeds and reads, and what a terminal prints.

mod sink;
mod source;

pub use sink::{ChannelSink, MemoryRows, MemorySink};
pub use source::MemorySource;
