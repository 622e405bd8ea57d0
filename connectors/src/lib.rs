//! Millstream's connectors: how rows come in from and go out to the world.
//!
//! Each connector is a folder that answers the same questions in files of the same names:
//! `options.rs` (what may stand in `WITH (…)`), `source.rs`, `table.rs`, `sink.rs`.

pub mod decode;
#[cfg(feature = "embedded-kinesis")]
pub mod embedded;
pub mod file;
pub mod generator;
pub mod kinesis;
pub mod memory;
mod names;
pub mod options;
mod silent;
pub mod state;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millstream_engine::definition::RelationDef;
use millstream_engine::port::{Resume, Sink, Source, Table};
use millstream_engine::{Clock, Error, Result, Troubles};

use crate::options::{ConnectorSpec, OptionError, RelationKind};

/// The connectors and their options.
pub const CONNECTORS: &[ConnectorSpec] =
    &[file::options::SPEC, kinesis::options::SPEC, generator::options::SPEC, silent::CONNECTOR];

#[cfg(test)]
mod fuzz;

/// What a connector is given from outside: nothing else is read from the process.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// When sources end.
    pub until: Until,
    /// Seeds whatever is random: jitter, generated data, the names of output files.
    pub seed: u64,
    /// The folder that relative local paths start from.
    pub base: PathBuf,
    /// Pieces of a file that are decoded at the same time.
    pub decoders: usize,
    /// Where sinks say what they wait for.
    pub troubles: Troubles,
}

/// When a source ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When its input does: files end, a Kinesis stream does not.
    Ended,
    /// When everything that was there at the start has been read.
    CaughtUp,
}

/// Checks the options of a declared stream, table or sink, without touching the world.
///
/// # Errors
///
/// Names the option that is unknown, missing or has a value that makes no sense.
pub fn validate(kind: RelationKind, def: &RelationDef) -> Result<(), OptionError> {
    let connector = options::check(kind, &def.options)?;
    match (connector.name, kind) {
        ("file", RelationKind::Sink) => file::options::FileSinkOptions::parse(def).map(drop),
        ("file", _) => file::options::FileOptions::parse(kind, def).map(drop),
        ("kinesis", RelationKind::Sink) => {
            kinesis::options::KinesisSinkOptions::parse(def).map(drop)
        }
        ("kinesis", _) => kinesis::options::KinesisOptions::parse(def).map(drop),
        ("generator", _) => generator::options::GeneratorOptions::parse(def, 0).map(drop),
        _ => Ok(()),
    }
}

/// Opens the stream `def`, reading the columns `projection` of [`RelationDef::stream_schema`], to go
/// on from `resume`. A stream without options is one inside the application that nothing feeds: it has
/// no rows.
///
/// # Errors
///
/// When it does not exist or cannot be reached.
pub async fn open_source(
    def: &RelationDef,
    projection: &[usize],
    resume: &Resume,
    context: &Context,
) -> Result<Box<dyn Source>> {
    if def.options.is_empty() {
        return Ok(Box::new(silent::SilentSource));
    }
    Ok(match options::check(RelationKind::Stream, &def.options)?.name {
        "file" => {
            let opened = file::source::FileSource::open(def, projection, resume, context);
            Box::new(Box::pin(opened).await?)
        }
        "kinesis" => {
            let opened = kinesis::source::KinesisSource::open(def, projection, resume, context);
            Box::new(Box::pin(opened).await?)
        }
        "generator" => {
            Box::new(generator::source::GeneratorSource::open(def, projection, resume, context)?)
        }
        "none" => Box::new(silent::SilentSource),
        other => return Err(Error::bug(format!("connector '{other}' reads no stream"))),
    })
}

/// Opens the table `def`, reading the columns `projection` of its declared ones.
///
/// # Errors
///
/// When it does not exist or cannot be reached.
pub async fn open_table(
    def: &RelationDef,
    projection: &[usize],
    context: &Context,
) -> Result<Box<dyn Table>> {
    match options::check(RelationKind::Table, &def.options)?.name {
        "file" => {
            let opened = file::table::FileTable::open(def, projection, context);
            Ok(Box::new(Box::pin(opened).await?))
        }
        other => Err(Error::bug(format!("connector '{other}' reads no table"))),
    }
}

/// Opens the sink `def` for rows of `schema`. `updating` says whether rows may carry weights.
///
/// # Errors
///
/// When its place does not exist, cannot be reached or cannot hold such rows.
pub async fn open_sink(
    def: &RelationDef,
    schema: SchemaRef,
    updating: bool,
    context: &Context,
) -> Result<Box<dyn Sink>> {
    match options::check(RelationKind::Sink, &def.options)?.name {
        "file" if file::snapshot::is_snapshot(def)? => {
            let opened = file::snapshot::SnapshotSink::open(def, &schema, context);
            Ok(Box::new(Box::pin(opened).await?))
        }
        "file" => {
            let opened = file::sink::FileSink::open(def, schema, updating, context);
            Ok(Box::new(Box::pin(opened).await?))
        }
        "kinesis" => {
            let opened = kinesis::sink::KinesisSink::open(def, schema, updating, context);
            Ok(Box::new(Box::pin(opened).await?))
        }
        other => Err(Error::bug(format!("connector '{other}' writes no sink"))),
    }
}
