//! The first rows of each partition: `ROW_NUMBER`, `RANK` and `DENSE_RANK` under a filter with an upper
//! bound, and `ORDER BY … LIMIT`.
//!
//! DataFusion plans the former as a window below a filter. Together they are one operator that keeps
//! the first rows alone; what else the filter says stays a filter above it.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunctionParams};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Filter, Limit, LogicalPlan, Operator, Projection, SkipType, Sort,
    Window, WindowFunctionDefinition,
};
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::filter::FilterSpec;
use millstream_engine::operators::top_n::{Emission, RankFunction, TopNSpec, can_be_ordered};

use super::columns::Columns;
use super::{Translator, column, physical, physical_all, refuse_limit};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

/// How rows are partitioned and ordered, over the columns of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ordering {
    pub(super) partition_by: Vec<usize>,
    pub(super) order_by: Vec<(usize, SortOptions)>,
}

impl Ordering {
    pub(super) fn new(columns: &mut Columns<'_>, partition: &[Expr], order: &[SortExpr]) -> Self {
        let partition_by = partition.iter().map(|key| columns.add(key)).collect();
        let order_by = order.iter().map(|sort| {
            let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
            (columns.add(&sort.expr), options)
        });
        Self { partition_by, order_by: order_by.collect() }
    }
}

/// The rows of a partition that are asked for.
#[derive(Debug, Clone, Copy)]
struct Range {
    function: RankFunction,
    skip: u64,
    limit: u64,
}

/// A filter that asks for the first rows of each partition of a window below it.
struct FirstRows<'a> {
    window: &'a Window,
    range: Range,
    /// What the window computes.
    ranks: Vec<RankFunction>,
    params: &'a WindowFunctionParams,
    /// What the filter asks beside.
    rest: Vec<Expr>,
}

impl Translator<'_> {
    /// The node of a filter over a window, if it asks for the first rows of each partition.
    pub(super) fn first_rows(&mut self, filter: &Filter) -> Result<Option<NodeId>, SqlError> {
        let Some(first) = FirstRows::of(filter) else { return Ok(None) };
        let node = self.ranked(&first, true)?;
        let LogicalPlan::Projection(passed) = filter.input.as_ref() else { return Ok(Some(node)) };
        let exprs = physical_all(&passed.expr, &first.window.schema)?;
        Ok(Some(self.project(node, exprs, &Arc::new(passed.schema.as_arrow().clone()))))
    }

    /// The same below a projection that does not ask for the numbers, so that a row does not come out
    /// again when its number changes.
    pub(super) fn unnumbered(
        &mut self,
        projection: &Projection,
    ) -> Result<Option<NodeId>, SqlError> {
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return Ok(None) };
        let Some(first) = FirstRows::of(filter) else { return Ok(None) };
        let mut reading = projection.expr.iter().chain(&first.rest);
        if reading.any(|expr| first.reads_a_rank(expr)) {
            return Ok(None);
        }
        let node = self.ranked(&first, false)?;
        let exprs = physical_all(&projection.expr, &first.window.schema)?;
        let schema = Arc::new(projection.schema.as_arrow().clone());
        Ok(Some(self.project(node, exprs, &schema)))
    }

    /// The first rows, numbered or not.
    fn ranked(&mut self, first: &FirstRows<'_>, numbered: bool) -> Result<NodeId, SqlError> {
        let FirstRows { window, range, ranks, params, rest } = first;
        let mut columns = Columns::all(window.input.schema());
        let ordering = Ordering::new(&mut columns, &params.partition_by, &params.order_by);
        let ranks = if numbered { ranks.clone() } else { Vec::new() };
        let input = self.plan(&window.input)?;
        let output = window.schema.as_arrow();
        let node = self.top_n(input, &columns, (ordering, *range), (ranks, output))?;
        let Some(predicate) = conjunction(rest.iter().cloned()) else { return Ok(node) };
        let predicate = physical(&predicate, &window.schema)?;
        let below = self.dataflow.node(node);
        let (schema, updating) = (Arc::clone(&below.schema), below.updating);
        Ok(self.operator(schema, updating, vec![node], FilterSpec { predicate }))
    }

    /// Puts the operator above `input`. Its output has the first columns of `output`: those of the
    /// input, then `ranks`.
    fn top_n(
        &mut self,
        input: NodeId,
        columns: &Columns<'_>,
        (ordering, range): (Ordering, Range),
        (ranks, output): (Vec<RankFunction>, &Schema),
    ) -> Result<NodeId, SqlError> {
        let width = self.dataflow.node(input).schema.fields().len();
        let projected = self.projected(input, columns)?;
        let below = Arc::clone(&self.dataflow.node(projected).schema);
        if !can_be_ordered(&below) {
            return Err(SqlError::new("rows with a column of this type cannot be ordered")
                .with_hint("leave MAP columns out of the rows that are ranked"));
        }
        let input_updating = self.dataflow.node(projected).updating;
        let timed = self.timed(projected);
        let closing = ordering.partition_by.iter().find(|key| timed.get(**key).is_some());
        let emission = match closing {
            Some(column) if !input_updating => Emission::Closed(*column),
            _ => Emission::Changes,
        };
        let numbers = output.fields().iter().skip(width).take(ranks.len()).map(Arc::clone);
        let fields = below.fields().iter().map(Arc::clone).chain(numbers);
        let wide = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let passed: Vec<usize> =
            (0..width).chain(below.fields().len()..wide.fields().len()).collect();
        let spec = TopNSpec {
            partition_by: ordering.partition_by,
            order_by: ordering.order_by,
            function: range.function,
            skip: range.skip,
            limit: range.limit,
            ranks,
            emission,
            input_updating,
            input_schema: below,
            schema: Arc::clone(&wide),
        };
        let updating = emission == Emission::Changes;
        let node = self.operator(Arc::clone(&wide), updating, vec![projected], spec);
        let fields = output.fields().iter().take(passed.len()).map(Arc::clone);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        if passed.len() == wide.fields().len() && schema == wide {
            return Ok(node);
        }
        let exprs = passed.into_iter().map(|index| column(&wide, index)).collect();
        Ok(self.project(node, exprs, &schema))
    }

    /// `input` with the columns that an operator above it wants.
    pub(super) fn projected(
        &mut self,
        input: NodeId,
        columns: &Columns<'_>,
    ) -> Result<NodeId, SqlError> {
        if columns.is_input() {
            return Ok(input);
        }
        Ok(self.project(input, columns.physical()?, &columns.schema()?))
    }

    /// The node of `ORDER BY` with or without `LIMIT`: which rows there are, or in which order they
    /// come.
    pub(super) fn ordered(&mut self, sort: &Sort) -> Result<NodeId, SqlError> {
        match sort.fetch {
            Some(limit) => self.first_sorted(sort, (0, limit)),
            None => self.sort(sort),
        }
    }

    /// The node of `LIMIT … OFFSET …`, which needs an order.
    pub(super) fn limit(&mut self, limit: &Limit) -> Result<NodeId, SqlError> {
        let skip = limit.get_skip_type().map_err(|error| from_datafusion(&error))?;
        let fetch = limit.get_fetch_type().map_err(|error| from_datafusion(&error))?;
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (skip, fetch) else {
            return Err(refuse_limit());
        };
        self.limited(&limit.input, (skip, fetch))
    }

    fn limited(
        &mut self,
        plan: &LogicalPlan,
        (skip, fetch): (usize, Option<usize>),
    ) -> Result<NodeId, SqlError> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.limited(&alias.input, (skip, fetch)),
            LogicalPlan::Projection(projection) => {
                let input = self.limited(&projection.input, (skip, fetch))?;
                let exprs = physical_all(&projection.expr, projection.input.schema())?;
                Ok(self.project(input, exprs, &Arc::new(plan.schema().as_arrow().clone())))
            }
            LogicalPlan::Sort(sort) => {
                let bound = fetch.map(|fetch| fetch.saturating_add(skip));
                let limit = bound.into_iter().chain(sort.fetch).min().unwrap_or(usize::MAX);
                self.first_sorted(sort, (skip, limit))
            }
            _ => Err(refuse_limit()),
        }
    }

    fn first_sorted(
        &mut self,
        sort: &Sort,
        (skip, limit): (usize, usize),
    ) -> Result<NodeId, SqlError> {
        let number = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
        let range =
            Range { function: RankFunction::RowNumber, skip: number(skip), limit: number(limit) };
        let mut columns = Columns::all(sort.input.schema());
        let ordering = Ordering::new(&mut columns, &[], &sort.expr);
        let input = self.plan(&sort.input)?;
        let output = sort.input.schema().as_arrow();
        self.top_n(input, &columns, (ordering, range), (Vec::new(), output))
    }
}

impl<'a> FirstRows<'a> {
    fn of(filter: &'a Filter) -> Option<Self> {
        let window = match filter.input.as_ref() {
            LogicalPlan::Window(window) => window,
            // Some columns of the window may be left out; the others keep their names.
            LogicalPlan::Projection(passed) => match passed.input.as_ref() {
                LogicalPlan::Window(window)
                    if passed.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) =>
                {
                    window
                }
                _ => return None,
            },
            _ => return None,
        };
        let mut calls = window.window_expr.iter().map(rank_call);
        let (function, params) = calls.next()??;
        let mut ranks = vec![function];
        for call in calls {
            let (function, other) = call?;
            let same =
                other.partition_by == params.partition_by && other.order_by == params.order_by;
            same.then(|| ranks.push(function))?;
        }
        if ranks.len() > 3 {
            return None;
        }
        let width = window.input.schema().fields().len();
        let mut bound: Option<(usize, u64)> = None;
        let mut rest = Vec::new();
        for condition in split_conjunction(&filter.predicate) {
            match upper_bound(condition, window, width) {
                Some(upper) if bound.is_none_or(|known| known.0 == upper.rank) => {
                    let least = bound.map_or(upper.limit, |known| known.1.min(upper.limit));
                    bound = Some((upper.rank, least));
                    if !upper.is_all {
                        rest.push(condition.clone());
                    }
                }
                _ => rest.push(condition.clone()),
            }
        }
        let (rank, limit) = bound?;
        let range = Range { function: ranks[rank], skip: 0, limit };
        Some(Self { window, range, ranks, params, rest })
    }

    fn reads_a_rank(&self, expr: &Expr) -> bool {
        let width = self.window.input.schema().fields().len();
        let is_rank = |column: &&Column| {
            self.window.schema.maybe_index_of_column(column).is_none_or(|index| index >= width)
        };
        expr.column_refs().iter().any(is_rank)
    }
}

/// A condition that bounds the number of a row.
struct Upper {
    /// Which of the numbers.
    rank: usize,
    limit: u64,
    /// Whether that is all it says.
    is_all: bool,
}

fn upper_bound(condition: &Expr, window: &Window, width: usize) -> Option<Upper> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (column, op, literal) = match (column_in(left), column_in(right)) {
        (Some(column), None) => (column, *op, right),
        (None, Some(column)) => (column, op.swap()?, left),
        _ => return None,
    };
    let index = window.schema.maybe_index_of_column(column)?;
    let rank = index.checked_sub(width)?;
    let Expr::Literal(value, _) = literal.as_ref() else { return None };
    let ScalarValue::Int64(Some(value)) = value.cast_to(&arrow::datatypes::DataType::Int64).ok()?
    else {
        return None;
    };
    let (limit, is_all) = match op {
        Operator::LtEq => (value, true),
        Operator::Lt => (value.saturating_sub(1), true),
        // Numbers begin at 1.
        Operator::Eq => (value, value == 1),
        _ => return None,
    };
    Some(Upper { rank, limit: u64::try_from(limit).unwrap_or(0), is_all })
}

/// A column, cast or not.
fn column_in(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Cast(cast) if cast.field.data_type().is_integer() => column_in(&cast.expr),
        _ => None,
    }
}

/// The rank function an `OVER` column is, if it is one.
pub(super) fn rank_call(expr: &Expr) -> Option<(RankFunction, &WindowFunctionParams)> {
    match expr {
        Expr::Alias(alias) => rank_call(&alias.expr),
        Expr::WindowFunction(call) => {
            let WindowFunctionDefinition::WindowUDF(function) = &call.fun else { return None };
            let function = match function.name() {
                "row_number" => RankFunction::RowNumber,
                "rank" => RankFunction::Rank,
                "dense_rank" => RankFunction::DenseRank,
                _ => return None,
            };
            Some((function, &call.params))
        }
        _ => None,
    }
}
