//! Relations that read nothing: `VALUES`, and the one row of a `SELECT` without `FROM`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{EmptyRelation, Values};
use datafusion::physical_expr::PhysicalExpr;
use millstream_engine::dataflow::{Dataflow, NodeId, NodeKind};
use millstream_engine::operators::constant::ConstantSpec;

use super::{Translator, physical};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

impl Translator<'_> {
    /// The rows of `VALUES`, computed here: nothing they are made of changes.
    pub(super) fn values(&mut self, values: &Values) -> Result<NodeId, SqlError> {
        let one = one_row(&Arc::new(Schema::empty()))?;
        let nothing = DFSchema::empty();
        let schema: SchemaRef = Arc::new(values.schema.as_arrow().clone());
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (place, field) in schema.fields().iter().enumerate() {
            let value = |row: &Vec<_>| -> Result<ArrayRef, SqlError> {
                let value = physical(&row[place], &nothing)?.evaluate(&one);
                let value = value.and_then(|value| value.cast_to(field.data_type(), None));
                let value = value.and_then(|value| value.into_array(1));
                value.map_err(|error| from_datafusion(&error))
            };
            let values = values.values.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            let values: Vec<_> = values.iter().map(AsRef::as_ref).collect();
            columns.push(match values.as_slice() {
                [] => new_empty_array(field.data_type()),
                values => concat(values).map_err(from_arrow)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(values.values.len()));
        let rows = RecordBatch::try_new_with_options(schema, columns, &options);
        Ok(self.constant(rows.map_err(from_arrow)?))
    }

    /// No row, or one without columns.
    pub(super) fn empty(&mut self, empty: &EmptyRelation) -> Result<NodeId, SqlError> {
        let schema: SchemaRef = Arc::new(empty.schema.as_arrow().clone());
        let is_row = empty.produce_one_row && schema.fields().is_empty();
        let rows = if is_row { one_row(&schema)? } else { RecordBatch::new_empty(schema) };
        Ok(self.constant(rows))
    }

    /// One row without columns.
    pub(super) fn one_row(&mut self) -> Result<NodeId, SqlError> {
        let row = one_row(&Arc::new(Schema::empty()))?;
        Ok(self.constant(row))
    }

    pub(super) fn constant(&mut self, rows: RecordBatch) -> NodeId {
        self.operator(rows.schema(), false, Vec::new(), ConstantSpec { rows })
    }
}

/// What a projection makes of rows that the query spells out; none where it is of others, or fails on
/// one of them: that is for the running query to say.
pub(super) fn projected(
    dataflow: &Dataflow,
    input: NodeId,
    exprs: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
) -> Option<RecordBatch> {
    let NodeKind::Operator(spec) = &dataflow.node(input).kind else { return None };
    let spec: &dyn std::any::Any = spec.as_ref();
    let rows = &spec.downcast_ref::<ConstantSpec>()?.rows;
    let columns = exprs.iter().map(|expr| expr.evaluate(rows)?.into_array(rows.num_rows()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let columns = columns.collect::<Result<Vec<_>, _>>().ok()?;
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).ok()
}

/// One row without columns.
fn one_row(schema: &SchemaRef) -> Result<RecordBatch, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::clone(schema), Vec::new(), &options);
    row.map_err(from_arrow)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands over the error")]
fn from_arrow(error: arrow::error::ArrowError) -> SqlError {
    SqlError::new(error.to_string())
}
