//! The peer: DataFusion over the same files, with its own JSON reader.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use millstream_engine::definition::RelationDef;
use millstream_engine::{Error, SystemClock};

use super::input::{BenchQuery, Input, STREAMS};
use super::table::{Measured, Meter};
use crate::failure::Failure;

/// Runs `query` once, from opening the files to the last row.
///
/// # Errors
///
/// When it fails.
pub(super) fn run(input: &Input, query: &BenchQuery, lanes: usize) -> Result<Measured, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(lanes)
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(error.to_string()))?;
    let text = query.batch.map_or_else(|| as_batch(query.text), str::to_owned);
    let clock = SystemClock::new();
    let meter = Meter::start(&clock);
    let rows = runtime.block_on(Box::pin(rows(input, &text, lanes))).map_err(Error::from)?;
    Ok(meter.stop(&clock, rows, Vec::new()))
}

/// Our text for a batch engine: without STREAM and without the sink it may be in.
fn as_batch(text: &str) -> String {
    let query = text.split_once(") AS\n").map_or(text, |(_, query)| query);
    query.replace("SELECT STREAM", "SELECT")
}

async fn rows(input: &Input, text: &str, lanes: usize) -> DfResult<i64> {
    // Decimal literals are exact, as ours are.
    let mut config = SessionConfig::new().with_target_partitions(lanes);
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    let context = SessionContext::new_with_config(config);
    for (file, relation) in STREAMS {
        let schema = lower_case(&input.catalog.streams[relation]);
        let path = input.folder.join(file).with_extension("json");
        let options = JsonReadOptions::default().schema(&schema);
        context.register_json(file, path.display().to_string(), options).await?;
    }
    let side_input = &input.catalog.tables["SIDE_INPUT"];
    let schema = lower_case(side_input);
    let path = side_input.option("path").unwrap_or_default();
    context.register_csv("side_input", path, CsvReadOptions::new().schema(&schema)).await?;
    let mut batches = context.sql(text).await?.execute_stream().await?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += i64::try_from(batch?.num_rows()).unwrap_or(0);
    }
    Ok(rows)
}

fn lower_case(def: &RelationDef) -> SchemaRef {
    let schema = def.declared_schema();
    let fields = schema.fields().iter();
    let lower = fields.map(|field| field.as_ref().clone().with_name(field.name().to_lowercase()));
    Arc::new(Schema::new(lower.collect::<Vec<_>>()))
}
