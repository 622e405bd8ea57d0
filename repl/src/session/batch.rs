//! Queries over what is there now: streams as far as they reach, tables, views, and written files.
//!
//! The query itself runs in DataFusion; this file decides where each name in it gets its rows from.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use millstream_engine::fault::{ERROR_STREAM, error_stream_batch};
use millstream_engine::job::Progress;
use millstream_sql::plan;
use millstream_sql::statement::Query;

use super::Session;
use super::application::stop_or;
use super::background::Kept;
use super::held::{Held, Kind, SetAside, bad_rows_held};
use crate::failure::Failure;
use crate::interrupt::Stop;
use crate::output::{Widths, printer};
use crate::progress::set_aside;

/// A batch query, planned.
pub(super) struct BatchQuery {
    pub(super) plan: LogicalPlan,
    pub(super) context: SessionContext,
    set_aside: SetAside,
}

impl Session {
    /// Runs a batch query and prints its result.
    pub(super) async fn select(&mut self, query: &Query, stop: &Stop) -> Result<(), Failure> {
        let Some(planned) = stop_or(stop, self.plan_batch(query)).await? else { return Ok(()) };
        let state = planned.context.state();
        let physical = state.create_physical_plan(&planned.plan).await.map_err(|error| {
            let refused = plan::batch_refused(query, &error);
            refused.map_or_else(|| Failure::from(error), |refused| self.failure(&refused))
        })?;
        let mut stream = execute_stream(physical, planned.context.task_ctx())?;
        let schema = stream.schema();
        let mut printer = printer(self.console.format, &schema, Widths::FitAll);
        loop {
            let batch = tokio::select! {
                batch = stream.next() => batch,
                () = stop.asked() => None,
            };
            let Some(batch) = batch else { break };
            printer.rows(&batch?, self.console.out.as_mut())?;
        }
        printer.end(self.console.out.as_mut())?;
        let (rows_bad, bad_examples) = planned.set_aside.take();
        let bad = Progress { rows_bad, bad_examples, ..Progress::default() };
        if rows_bad > 0 {
            self.console.note(&set_aside(&bad));
        }
        Ok(())
    }

    /// Plans a batch query, with each of its inputs bound to where its rows are.
    pub(super) async fn plan_batch(&self, query: &Query) -> Result<BatchQuery, Failure> {
        let context = session_context(self.settings.lanes);
        let set_aside = SetAside::default();
        let mut relations: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
        let (inputs, kept) = self.inputs(query).await?;
        for name in inputs {
            let provider: Arc<dyn TableProvider> = match self.held(&name, &set_aside) {
                _ if kept.contains_key(&name) => Arc::clone(&kept[&name]),
                Some(held) => Arc::new(held),
                None if name == ERROR_STREAM => self.errors_held().await?,
                None => Arc::new(self.written(&name, &set_aside).await?),
            };
            relations.insert(name, provider_as_source(provider));
        }
        let plan = plan::batch_query(&self.catalog, query, &relations);
        let plan = plan.map_err(|error| self.failure(&error.or_at(query.span)))?;
        Ok(BatchQuery { plan, context, set_aside })
    }

    /// The names of what a query reads, and the rows of the views among it that a job keeps.
    async fn inputs(&self, query: &Query) -> Result<(Vec<String>, Kept), Failure> {
        let inputs = |kept: &BTreeSet<String>| {
            let inputs = plan::batch_inputs(&self.catalog, query, kept);
            inputs.map_err(|error| self.failure(&error))
        };
        let names = inputs(&self.kept_views())?;
        match self.read_kept(&names).await? {
            Some(kept) => Ok((names, kept)),
            // Its job has ended just now: then the views are computed.
            None => Ok((inputs(&BTreeSet::new())?, Kept::new())),
        }
    }

    /// The stream or table `name`, to be read when the query runs.
    fn held(&self, name: &str, set_aside: &SetAside) -> Option<Held> {
        let context = &self.settings.context;
        let held = |def: &millstream_engine::definition::RelationDef, kind| {
            Held::new(def.clone(), kind, context, set_aside.clone())
        };
        let stream = self.catalog.streams.get(name).map(|def| held(def, Kind::Stream));
        stream.or_else(|| self.catalog.tables.get(name).map(|def| held(def, Kind::Table)))
    }

    /// `error_stream` as a batch: the rows that are set aside when the streams are read as far as they
    /// reach now.
    async fn errors_held(&self) -> Result<Arc<dyn TableProvider>, Failure> {
        let context = &self.settings.context;
        let external =
            self.catalog.streams.values().filter(|def| def.option("connector").is_some());
        let mut bad = Vec::new();
        for def in external {
            bad.extend(bad_rows_held(def, context).await?);
        }
        let rows = error_stream_batch(&bad, context.clock.now_ms())?;
        Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
    }
}

/// A DataFusion session for one query: made when it is needed, because it takes longer to make than
/// a prompt takes to appear.
fn session_context(lanes: usize) -> SessionContext {
    let config = SessionConfig::from(plan::batch_config()).with_target_partitions(lanes.max(1));
    let context = SessionContext::new_with_config(config);
    for function in plan::batch_functions() {
        context.register_udf(function.as_ref().clone());
    }
    context
}
