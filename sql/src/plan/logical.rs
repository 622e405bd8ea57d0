//! Syntax tree to optimised logical plan, all by DataFusion.
//!
//! Streaming and batch queries go through here alike, so that both mean the same.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result as DfResult, TableReference, plan_err};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast;

use super::distinct_on;
use super::errors::from_datafusion;
use super::functions::{Functions, functions};
use super::markers::placed;
use super::operators::Types;
use crate::error::SqlError;

/// Finds the relations of a query.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Result<Arc<dyn TableSource>, SqlError> + 'a;

/// The logical plan of `query`, not optimised yet; `at_time` puts the time of planning where it is asked
/// for.
pub(super) fn plan(
    query: &ast::Query,
    lookup: &Lookup<'_>,
    at_time: impl FnOnce(LogicalPlan) -> DfResult<LogicalPlan>,
) -> Result<LogicalPlan, SqlError> {
    let missing = RefCell::new(None);
    let provider =
        Provider { options: config(), functions: functions(), lookup, missing: &missing };
    let options = ParserOptions {
        parse_float_as_decimal: true,
        enable_ident_normalization: false,
        support_varchar_with_length: true,
        collect_spans: true,
        map_string_types_to_utf8view: false,
        ..ParserOptions::default()
    };
    SqlToRel::new_with_options(&provider, options)
        .sql_statement_to_plan(ast::Statement::Query(Box::new(query.clone())))
        .and_then(at_time)
        .and_then(placed)
        .map_err(|error| {
            let converted = from_datafusion(&error);
            // DataFusion knows the place of a relation that is not there, we know the hint.
            match missing.take() {
                Some(SqlError { message, hint, span }) if converted.message == message => {
                    SqlError { message, hint, span: converted.span.or(span) }
                }
                _ => converted,
            }
        })
}

/// `plan`, checked and optimised.
pub(super) fn optimize(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let first_rows = |node| match node {
        LogicalPlan::Distinct(distinct) => distinct_on::rewritten(distinct),
        other => Ok(Transformed::no(other)),
    };
    let plan = plan.transform_up_with_subqueries(first_rows);
    let plan = plan.map_err(|error| from_datafusion(&error))?.data;
    let config = config();
    let analyzed = Analyzer::new().execute_and_check(plan, &config, |_, _| {});
    let context = OptimizerContext::new_with_config_options(Arc::new(config));
    analyzed
        .and_then(|plan| Optimizer::new().optimize(plan, &context, |_, _| {}))
        .map_err(|error| from_datafusion(&error))
}

/// The settings both the streaming and the batch side plan with.
pub(super) fn config() -> ConfigOptions {
    let mut config = ConfigOptions::default();
    config.sql_parser.enable_ident_normalization = false;
    config.sql_parser.map_string_types_to_utf8view = false;
    config.sql_parser.collect_spans = true;
    // The order of a stream passes on from a subquery.
    config.sql_parser.enable_subquery_sort_elimination = false;
    // Filters that learn while they run give wrong rows when a plan runs more than once.
    config.optimizer.enable_dynamic_filter_pushdown = false;
    // A scalar subquery becomes a join, which has an incremental form.
    config.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    config
}

struct Provider<'a> {
    options: ConfigOptions,
    functions: &'static Functions,
    lookup: &'a Lookup<'a>,
    /// The last relation that was not found.
    missing: &'a RefCell<Option<SqlError>>,
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        match (self.lookup)(name.table()) {
            Ok(source) => Ok(source),
            Err(error) => {
                let message = error.message.clone();
                self.missing.replace(Some(error));
                plan_err!("{message}")
            }
        }
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: SchemaRef,
    ) -> DfResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar.get(name).map(Arc::clone)
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(name).map(Arc::clone)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(name).map(Arc::clone)
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.planners
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        // Names that begin with two underscores are ours alone, not suggestions for anyone.
        let names = self.functions.scalar.keys().filter(|name| !name.starts_with("__"));
        names.cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window.keys().cloned().collect()
    }
}
