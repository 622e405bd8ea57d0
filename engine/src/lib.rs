//! Millstream's incremental engine.
//!
//! Work happens in *epochs*: an epoch takes what has arrived from every source partition since the
//! last one and pushes it once through a dataflow of incremental operators. The engine is thus a
//! function `(state, input of epoch n) -> (state', output of epoch n)`, and the law every operator
//! obeys is *stream equals batch*: the sum of an operator's outputs over the epochs 1..n is what the
//! batch operator returns for the sum of its inputs.
//!
//! The folders are the stages of that idea:
//!
//! - [`definition`]: streams, tables and sinks as the SQL text declared them (values, no behaviour)
//! - [`dataflow`]: the planned application, a value: operators and how they are connected
//! - [`operators`]: one incremental operator per file
//! - [`executor`]: runs one epoch of a dataflow; pure and synchronous
//! - [`checkpoint`]: makes epochs durable, and goes on from them
//! - [`job`]: feeds an executor from [`port::Source`]s and drains it into [`port::Sink`]s
//!
//! The engine knows neither SQL text nor AWS, reads no clock but the one it is given, and starts no
//! I/O of its own.

pub mod checkpoint;
pub mod clock;
pub mod dataflow;
pub mod definition;
pub mod delta;
pub mod error;
pub mod event_window;
pub mod executor;
pub mod fault;
pub mod job;
pub mod key_group;
pub mod metrics;
pub mod model;
pub mod monotonic;
pub mod operators;
pub mod port;
pub mod spill;
pub mod task;
pub mod trouble;
pub mod watermark;

pub use clock::{Clock, ManualClock, SystemClock};
pub use delta::Delta;
pub use error::{Error, ErrorKind, Result};
pub use metrics::Metrics;
pub use operators::contents::Contents;
pub use trouble::Troubles;
