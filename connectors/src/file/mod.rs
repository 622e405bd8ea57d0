//! Files: a local folder or an S3 prefix, read and written as Parquet, CSV or JSON.
//!
//! ```text
//!   path ──► location: which files are there ──► lines | parquet: one file, batch by batch
//!                                                     └──► source (a partition per file), table
//!   rows ──► sink: split by partition ──► encode: one open file each ──► publish: whole files only
//!   result ──► snapshot ──► encode: one file ──► publish: in place of the one before
//! ```
//!
//! The invariants: an input file is read once, in its own order; an output file has its final name
//! only when it is complete, and is never overwritten, but for a snapshot, which a whole one replaces.

pub mod options;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod table;

pub(crate) mod encode;
mod hive;
mod lines;
pub(crate) mod location;
mod parquet;
mod publish;
mod reader;
pub(crate) mod s3;
mod split;
#[cfg(test)]
mod tests;

pub use table::{has_files, infer_schema, read_all};
