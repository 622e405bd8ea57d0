//! What the names in a query stand for.
//!
//! A stream or table is a scan; a view is planned and takes its name's place, so that DataFusion
//! optimises through it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};
use millstream_engine::definition::{ROWTIME, RelationDef, Rowtime, TIMESTAMP_TYPE};
use millstream_engine::fault::{ERROR_STREAM, error_stream_schema};

use super::logical;
use super::typing::{self, Typing};
use crate::catalog::Catalog;
use crate::error::SqlError;
use crate::functions::fix_time;
use crate::rewrite::inline;
use crate::rowtime::{RelationShape, Relations, ResolvedQuery, WindowEnds, resolve};
use crate::spelling::suggest;
use crate::statement::Query;

/// A planned view: its plan, and whether its last column is `ROWTIME`.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) plan: LogicalPlan,
    pub(super) has_rowtime: bool,
    /// Its columns that say when the window of a row ends.
    pub(super) window_ends: WindowEnds,
    /// Its columns with a watermark of their own.
    pub(super) times: Vec<String>,
    /// Why the rows of its groups have no time.
    pub(super) untimed: Option<String>,
}

/// The catalog as queries see it.
pub(super) struct Scope<'a> {
    pub(super) catalog: &'a Catalog,
    /// Batch only: where the rows of streams, tables and sinks are.
    provided: Option<&'a HashMap<String, Arc<dyn TableSource>>>,
    /// Views (and, in batch, in-application streams) planned so far.
    derived: RefCell<BTreeMap<String, Planned>>,
    /// Those being planned, to notice circles.
    open: RefCell<Vec<String>>,
}

impl<'a> Scope<'a> {
    /// For continuous queries.
    pub(super) fn streaming(catalog: &'a Catalog) -> Self {
        Self::new(catalog, None)
    }

    /// For batch queries over what `provided` holds.
    pub(super) fn batch(
        catalog: &'a Catalog,
        provided: &'a HashMap<String, Arc<dyn TableSource>>,
    ) -> Self {
        Self::new(catalog, Some(provided))
    }

    fn new(
        catalog: &'a Catalog,
        provided: Option<&'a HashMap<String, Arc<dyn TableSource>>>,
    ) -> Self {
        Self { catalog, provided, derived: RefCell::default(), open: RefCell::default() }
    }

    /// The logical plan of `query`, not optimised; with `ROWTIME` as its last column if that was wanted
    /// and can be had.
    pub(super) fn plan(&self, query: &Query, want_rowtime: bool) -> Result<Planned, SqlError> {
        self.plan_typed(query, want_rowtime, Typing::Coerced)
    }

    /// The same of what a pump selects.
    pub(super) fn plan_pump(&self, query: &Query, want_rowtime: bool) -> Result<Planned, SqlError> {
        self.plan_typed(query, want_rowtime, Typing::Families)
    }

    fn plan_typed(
        &self,
        query: &Query,
        want_rowtime: bool,
        typing: Typing,
    ) -> Result<Planned, SqlError> {
        let mut written = query.ast.clone();
        inline::functions(&mut written, &self.catalog.functions)
            .map_err(|error| error.or_at(query.span))?;
        let ttl = query.state_ttl.filter(|_| self.provided.is_none());
        let resolved = resolve(&written, &Counted { scope: self, ttl }, want_rowtime);
        let ResolvedQuery { ast, has_rowtime, window_ends, times, untimed } =
            resolved.map_err(|e| e.or_at(query.span))?;
        let at_time = |plan| fix_time(plan, self.catalog.now_ms, self.provided.is_some());
        let plan = logical::plan(&ast, &|name| self.source(name), at_time);
        let plan = plan.map_err(|error| error.or_at(query.span))?;
        typing::checked(&plan, typing).map_err(|error| error.or_at(query.span))?;
        let plan = super::padded::compared(plan, self.catalog)
            .and_then(super::approximate::met)
            .and_then(super::qualifiers::known)
            .map_err(|error| super::errors::from_datafusion(&error).or_at(query.span))?;
        Ok(Planned { plan, has_rowtime, window_ends, times, untimed })
    }

    /// What to scan for the relation `name`.
    fn source(&self, name: &str) -> Result<Arc<dyn TableSource>, SqlError> {
        if let Some(source) = self.provided.and_then(|provided| provided.get(name)) {
            return Ok(Arc::clone(source));
        }
        if let Some(query) = self.catalog.views.get(name) {
            let view = self.derived(name, || self.plan(query, true))?;
            return Ok(Arc::new(Derived::new(view.plan)));
        }
        if let Some(def) = self.catalog.streams.get(name) {
            if self.provided.is_some() && is_fed_by_pumps(self.catalog, name) {
                let stream = self.derived(name, || self.plan_pumps(def))?;
                return Ok(Arc::new(Derived::new(stream.plan)));
            }
            return Ok(Arc::new(Scan(stream_schema(def))));
        }
        if name == ERROR_STREAM {
            return Ok(Arc::new(Scan(error_stream_schema())));
        }
        if let Some(def) = self.catalog.tables.get(name) {
            return Ok(Arc::new(Scan(def.declared_schema())));
        }
        Err(self.unknown(name))
    }

    /// In batch, an in-application stream is the union of what its pumps select.
    fn plan_pumps(&self, def: &RelationDef) -> Result<Planned, SqlError> {
        let pumps = super::insert::pumps_into(self.catalog, &def.name);
        let plans = pumps.map(|pump| super::insert::plan(self, pump, def));
        let mut plans = plans.collect::<Result<Vec<_>, _>>()?.into_iter();
        let first = plans.next().ok_or_else(|| self.unknown(&def.name))?;
        let union = plans.try_fold(first, |a, b| LogicalPlanBuilder::from(a).union(b)?.build());
        let plan = union.map_err(|error| super::errors::from_datafusion(&error))?;
        Ok(Planned {
            plan,
            has_rowtime: true,
            window_ends: Vec::new(),
            times: Vec::new(),
            untimed: None,
        })
    }

    fn derived(
        &self,
        name: &str,
        plan: impl FnOnce() -> Result<Planned, SqlError>,
    ) -> Result<Planned, SqlError> {
        if let Some(planned) = self.derived.borrow().get(name) {
            return Ok(planned.clone());
        }
        if self.open.borrow().iter().any(|open| open == name) {
            return Err(SqlError::new(format!("{name} is defined in terms of itself"))
                .with_hint("break the circle"));
        }
        self.open.borrow_mut().push(name.to_owned());
        let planned = plan();
        self.open.borrow_mut().pop();
        let planned = planned?;
        self.derived.borrow_mut().insert(name.to_owned(), planned.clone());
        Ok(planned)
    }

    /// The plan of a scan of the relation `name`.
    pub(super) fn scan(&self, name: &str) -> Result<LogicalPlan, SqlError> {
        LogicalPlanBuilder::scan(TableReference::bare(name), self.source(name)?, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| super::errors::from_datafusion(&error))
    }

    /// The columns of the relation `name`, without system columns.
    pub(super) fn columns(&self, name: &str) -> Option<Vec<String>> {
        self.relation(name).map(|shape| shape.columns)
    }

    /// The error for a relation nobody declared.
    pub(super) fn unknown(&self, name: &str) -> SqlError {
        let catalog = self.catalog;
        let error = SqlError::new(format!("relation {name} does not exist"));
        let names = catalog.streams.keys().chain(catalog.tables.keys()).chain(catalog.views.keys());
        let names: Vec<&str> = names.map(String::as_str).collect();
        match suggest(name, names.iter().copied()) {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None if names.is_empty() => error.with_hint("nothing is declared yet: CREATE STREAM …"),
            None => error.with_hint(format!("there are {}", names.join(", "))),
        }
    }
}

/// The relations of a query whose rows count for some time only.
struct Counted<'s, 'a> {
    scope: &'s Scope<'a>,
    ttl: Option<i64>,
}

impl Relations for Counted<'_, '_> {
    fn relation(&self, name: &str) -> Option<RelationShape> {
        self.scope.relation(name)
    }

    fn state_ttl(&self, name: &str) -> Option<i64> {
        // What a view is made of, the view says.
        self.ttl.filter(|_| self.scope.catalog.streams.contains_key(name))
    }
}

impl Relations for Scope<'_> {
    fn relation(&self, name: &str) -> Option<RelationShape> {
        if let Some(source) = self.provided.and_then(|provided| provided.get(name))
            && !self.catalog.streams.contains_key(name)
            && !self.catalog.views.contains_key(name)
            && name != ERROR_STREAM
        {
            return Some(shape(&source.schema(), 0));
        }
        if let Some(def) = self.catalog.streams.get(name) {
            let times = match def.rowtime {
                Rowtime::Column { column, .. } => def.columns.get(column),
                Rowtime::Arrival | Rowtime::Field(_) => None,
            };
            let times = times.map(|column| column.name.clone()).into_iter().collect();
            return Some(RelationShape { times, ..shape(&stream_schema(def), def.columns.len()) });
        }
        if name == ERROR_STREAM {
            let schema = error_stream_schema();
            return Some(shape(&schema, schema.fields().len() - 1));
        }
        if let Some(def) = self.catalog.tables.get(name) {
            return Some(shape(&def.declared_schema(), def.columns.len()));
        }
        let query = self.catalog.views.get(name)?;
        // A view that cannot be planned is reported where it is scanned.
        let view = self.derived(name, || self.plan(query, true)).ok()?;
        let columns = view.plan.schema().fields().len();
        let declared = columns - usize::from(view.has_rowtime);
        let shape = shape(view.plan.schema().as_arrow(), declared);
        Some(RelationShape { window_ends: view.window_ends, times: view.times, ..shape })
    }
}

/// The first `declared` columns of `schema` are a relation's own (0 means all); the others are system
/// columns.
fn shape(schema: &Schema, declared: usize) -> RelationShape {
    let mut columns: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let system_columns =
        if declared == 0 { Vec::new() } else { columns.split_off(declared.min(columns.len())) };
    RelationShape { columns, system_columns, window_ends: Vec::new(), times: Vec::new() }
}

/// The columns of a stream as queries see them: an in-application stream has no system column but
/// `ROWTIME`.
pub(super) fn stream_schema(def: &RelationDef) -> SchemaRef {
    if def.option("connector").is_some() {
        return def.stream_schema();
    }
    let declared = def.declared_schema();
    let mut fields: Vec<Field> = declared.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(ROWTIME, TIMESTAMP_TYPE, false));
    Arc::new(Schema::new(fields))
}

/// Whether a started pump feeds the stream.
pub(super) fn is_fed_by_pumps(catalog: &Catalog, stream: &str) -> bool {
    super::insert::pumps_into(catalog, stream).next().is_some()
}

/// A relation to be scanned.
#[derive(Debug)]
struct Scan(SchemaRef);

impl TableSource for Scan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }
}

/// A relation that a plan stands for.
#[derive(Debug)]
struct Derived {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl Derived {
    fn new(plan: LogicalPlan) -> Self {
        Self { schema: Arc::new(plan.schema().as_arrow().clone()), plan }
    }
}

impl TableSource for Derived {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}
