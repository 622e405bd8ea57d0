//! What a stream or table holds now, as a table for a batch query.
//!
//! It is read when the query runs, only the columns the query needs, as a stream of batches: a large
//! file is never in memory whole, and a `LIMIT` stops the reading.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session as QuerySession, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::{BoxStream, StreamExt, TryStreamExt, once, try_unfold};
use millstream_connectors::{Context, Until, open_source, open_table};
use millstream_engine::definition::RelationDef;
use millstream_engine::fault::BadRow;
use millstream_engine::port::{Resume, SourceEvent};

/// Bad rows kept as examples while a query reads.
const EXAMPLES_MAX: usize = 5;

/// Bad rows of a stream that a query over `error_stream` sees: bounds its memory.
const BAD_ROWS_MAX: usize = 100_000;

/// What was set aside while a query read its inputs.
#[derive(Debug, Clone, Default)]
pub(super) struct SetAside(Arc<Mutex<(u64, Vec<BadRow>)>>);

impl SetAside {
    fn add(&self, rows: Vec<BadRow>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += u64::try_from(rows.len()).unwrap_or(0);
        let room = EXAMPLES_MAX.saturating_sub(inner.1.len());
        inner.1.extend(rows.into_iter().take(room));
    }

    /// How many rows, and the first of them.
    pub(super) fn take(&self) -> (u64, Vec<BadRow>) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which of the two ways of reading a relation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A stream, from its oldest record to what is there now.
    Stream,
    /// A table.
    Table,
    /// Files without a declaration: they have no time, and may be too many to be held as a table.
    Files,
    /// Nothing: a sink that has written no file yet.
    Nothing,
}

/// A stream or table, read when it is scanned.
#[derive(Debug)]
pub(super) struct Held {
    def: RelationDef,
    kind: Kind,
    schema: SchemaRef,
    context: Context,
    set_aside: SetAside,
}

impl Held {
    /// The relation `def`; rows that are none are reported to `set_aside`.
    pub(super) fn new(
        mut def: RelationDef,
        kind: Kind,
        context: &Context,
        set_aside: SetAside,
    ) -> Self {
        let context = bounded(context);
        let schema = match kind {
            Kind::Stream => def.stream_schema(),
            Kind::Table | Kind::Files | Kind::Nothing => def.declared_schema(),
        };
        from_the_beginning(&mut def);
        Self { def, kind, schema, context, set_aside }
    }
}

/// A batch query is about all that is there, wherever a job of the stream would start.
fn from_the_beginning(def: &mut RelationDef) {
    let continuous = ["start", "start_timestamp", "follow"];
    def.options.retain(|(name, _)| !continuous.contains(&name.as_str()));
    if def.option("connector") == Some("kinesis") {
        def.options.push(("start".to_owned(), "trim_horizon".to_owned()));
    }
}

fn bounded(context: &Context) -> Context {
    Context { until: Until::CaughtUp, ..context.clone() }
}

/// The records of the stream `def` that are no rows, as far as it reaches now; the first
/// [`BAD_ROWS_MAX`] of them.
pub(super) async fn bad_rows_held(
    def: &RelationDef,
    context: &Context,
) -> millstream_engine::Result<Vec<BadRow>> {
    let mut def = def.clone();
    from_the_beginning(&mut def);
    // What is wrong with a column shows only if it is read.
    let columns: Vec<usize> = (0..def.columns.len()).collect();
    let mut source = open_source(&def, &columns, &Resume::default(), &bounded(context)).await?;
    let mut bad = Vec::new();
    while bad.len() < BAD_ROWS_MAX
        && let Some(event) = source.next().await?
    {
        if let SourceEvent::Rows(batch) = event {
            bad.extend(batch.bad);
        }
    }
    bad.truncate(BAD_ROWS_MAX);
    Ok(bad)
}

#[async_trait]
impl TableProvider for Held {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn QuerySession,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let reading = Reading {
            def: self.def.clone(),
            kind: self.kind,
            schema: Arc::new(self.schema.project(&wanted)?),
            wanted,
            context: self.context.clone(),
            set_aside: self.set_aside.clone(),
        };
        let schema = Arc::clone(&reading.schema);
        let partitions: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(reading)];
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?))
    }
}

/// A scan: opens the relation when it is polled.
#[derive(Debug, Clone)]
struct Reading {
    def: RelationDef,
    kind: Kind,
    schema: SchemaRef,
    wanted: Vec<usize>,
    context: Context,
    set_aside: SetAside,
}

impl PartitionStream for Reading {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let opened = once(self.clone().open()).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(schema, opened))
    }
}

impl Reading {
    async fn open(self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        // `COUNT(*)` needs no column at all; a reader needs at least one to count rows by.
        let columns = if self.wanted.is_empty() { vec![0] } else { self.wanted.clone() };
        match self.kind {
            Kind::Nothing => Ok(futures::stream::empty().boxed()),
            Kind::Table => {
                let mut table =
                    open_table(&self.def, &columns, &self.context).await.map_err(external)?;
                let (batches, bad) = table.load().await.map_err(external)?;
                self.set_aside.add(bad);
                let batches = batches.into_iter().map(move |batch| self.shaped(&batch));
                Ok(futures::stream::iter(batches).boxed())
            }
            Kind::Stream | Kind::Files => {
                let begin = Resume::default();
                let source = open_source(&self.def, &columns, &begin, &self.context);
                let source = source.await.map_err(external)?;
                Ok(try_unfold((source, self), |(mut source, reading)| async move {
                    while let Some(event) = source.next().await.map_err(external)? {
                        if let SourceEvent::Rows(batch) = event {
                            reading.set_aside.add(batch.bad);
                            let rows = reading.shaped(&batch.rows)?;
                            return Ok(Some((rows, (source, reading))));
                        }
                    }
                    Ok(None)
                })
                .boxed())
            }
        }
    }

    /// `batch` with the columns of the scan: none, if none were asked for.
    fn shaped(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.wanted.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let schema = Arc::new(Schema::empty());
            return Ok(RecordBatch::try_new_with_options(schema, Vec::new(), &options)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?)
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
