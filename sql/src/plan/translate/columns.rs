//! A projection below an operator that wants plain columns.
//!
//! Operators find keys and arguments by column. Expressions are computed below them, once each, where
//! a row they fail on is set aside like any other.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable};
use datafusion::physical_expr::PhysicalExpr;

use super::physical;
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

/// The columns of a projection under construction.
pub(super) struct Columns<'a> {
    input: &'a DFSchema,
    exprs: Vec<Expr>,
    names: Vec<String>,
}

impl<'a> Columns<'a> {
    /// Nothing yet, over an input of this schema.
    pub(super) fn over(input: &'a DFSchema) -> Self {
        Self { input, exprs: Vec::new(), names: Vec::new() }
    }

    /// All columns of the input, in order.
    pub(super) fn all(input: &'a DFSchema) -> Self {
        let mut columns = Self::over(input);
        // Each is there once, so each gets a column.
        input.columns().into_iter().for_each(|column| columns.push(Expr::Column(column)));
        columns
    }

    /// The column that holds `expr`: added, unless it is there.
    pub(super) fn add(&mut self, expr: &Expr) -> usize {
        let expr = expr.clone().unalias();
        self.exprs.iter().position(|known| *known == expr).unwrap_or_else(|| {
            self.push(expr);
            self.exprs.len() - 1
        })
    }

    /// Adds a column, named as a person knows it: by its own name, or by what it is computed from.
    fn push(&mut self, expr: Expr) {
        let mut name = match &expr {
            Expr::Column(column) => column.name.clone(),
            other => other.schema_name().to_string(),
        };
        while self.names.contains(&name) {
            name = format!("{name}:{}", self.names.len());
        }
        self.names.push(name);
        self.exprs.push(expr);
    }

    /// The type of `expr`, over the input.
    pub(super) fn type_of(&self, expr: &Expr) -> Result<DataType, SqlError> {
        expr.get_type(self.input).map_err(|error| from_datafusion(&error))
    }

    /// `expr` as an expression over the projection: a literal stays, all else becomes a column.
    pub(super) fn replace(&mut self, expr: &Expr) -> Expr {
        match expr {
            Expr::Literal(..) => expr.clone(),
            // Whole numbers stay whole below an aggregate: their sums can be taken back exactly.
            Expr::Cast(cast) if widens_integer(cast, self.input) => {
                let inner = Box::new(self.replace(&cast.expr));
                Expr::Cast(Cast { expr: inner, field: Arc::clone(&cast.field) })
            }
            _ => self.plain(expr),
        }
    }

    /// `expr` as a column of the projection, or a literal.
    pub(super) fn plain(&mut self, expr: &Expr) -> Expr {
        if matches!(expr, Expr::Literal(..)) {
            return expr.clone();
        }
        let index = self.add(expr);
        Expr::Column(Column::from_name(self.names[index].as_str()))
    }

    /// An aggregate's arguments, filter and order over the projection.
    pub(super) fn replace_aggregate(
        &mut self,
        params: &AggregateFunctionParams,
    ) -> AggregateFunctionParams {
        let mut params = params.clone();
        params.args = params.args.iter().map(|arg| self.replace(arg)).collect();
        params.filter = params.filter.map(|filter| Box::new(self.replace(&filter)));
        for sort in &mut params.order_by {
            sort.expr = self.replace(&sort.expr);
        }
        params
    }

    /// Whether the projection is the input as it is.
    pub(super) fn is_input(&self) -> bool {
        let input = self.input.columns();
        self.exprs.len() == input.len()
            && self.exprs.iter().zip(input).all(|(expr, column)| *expr == Expr::Column(column))
    }

    /// The projection's schema.
    pub(super) fn schema(&self) -> Result<SchemaRef, SqlError> {
        let fields = self.exprs.iter().zip(&self.names).map(|(expr, name)| {
            let (_, field) = expr.to_field(self.input)?;
            Ok(field.as_ref().clone().with_name(name))
        });
        let fields = fields.collect::<Result<Vec<_>, _>>();
        Ok(Arc::new(Schema::new(fields.map_err(|error| from_datafusion(&error))?)))
    }

    /// The projection's expressions.
    pub(super) fn physical(&self) -> Result<Vec<Arc<dyn PhysicalExpr>>, SqlError> {
        self.exprs.iter().map(|expr| physical(expr, self.input)).collect()
    }
}

/// Whether a cast turns integers into floating point numbers, which never fails.
fn widens_integer(cast: &Cast, input: &DFSchema) -> bool {
    *cast.field.data_type() == DataType::Float64
        && cast.expr.get_type(input).is_ok_and(|from| from.is_integer())
}

/// `schema` for planning expressions over it.
pub(super) fn unqualified(schema: &SchemaRef) -> Result<DFSchema, SqlError> {
    DFSchema::try_from(Arc::clone(schema)).map_err(|error| from_datafusion(&error))
}
