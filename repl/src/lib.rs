//! The program: one session, and the doors to it.
//!
//! ```text
//!   millstream run FILE ──┐
//!   millstream sql TEXT ──┼──► [session] ──► sql: text to dataflow
//!   millstream ───────────┘        │    ├──► connectors: sources, tables, sinks
//!     [terminal]                   │    └──► engine: the job
//!                                  ▼
//!                              [output], [progress], [failure]
//! ```
//!
//! It is a library as well, so that a test can hold a session without starting a process.

pub mod bench;
pub mod cli;
pub mod commands;
pub mod discover;
pub mod failure;
pub mod import;
pub mod interrupt;
pub mod metrics;
pub mod output;
pub mod progress;
pub mod session;
pub mod terminal;
pub mod transcript;

pub use failure::Failure;
pub use session::{Console, Manner, Session, Settings};
