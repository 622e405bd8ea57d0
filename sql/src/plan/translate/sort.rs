//! `ORDER BY` on a stream, and the time-sort `ORDER BY … WITHIN`.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::{Expr, Sort};
use millstream_engine::dataflow::{NodeId, SortKey};
use millstream_engine::operators::sorted_stream::SortedStreamSpec;
use millstream_engine::operators::time_sort::TimeSortSpec;

use super::columns::Columns;
use super::{Translator, column, interval_ms};
use crate::error::SqlError;
use crate::plan::markers::arguments;
use crate::statement::clauses::WITHIN;

impl Translator<'_> {
    /// The node of an order without a limit.
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<NodeId, SqlError> {
        let input = self.plan(&sort.input)?;
        if self.dataflow.node(input).updating {
            return Err(SqlError::new("ORDER BY on rows that may be taken back cannot run")
                .with_hint("leave ORDER BY out, or group by a window below it"));
        }
        let mut columns = Columns::all(sort.input.schema());
        let width = sort.input.schema().fields().len();
        let first = sort.expr.first().ok_or_else(|| SqlError::new("an ORDER BY without a key"))?;
        let within = arguments(&first.expr, WITHIN);
        let mut keys = Vec::with_capacity(sort.expr.len());
        for key in &sort.expr {
            let expr = arguments(&key.expr, WITHIN).and_then(<[Expr]>::first).unwrap_or(&key.expr);
            let column = columns.add(expr);
            keys.push(SortKey { column, descending: !key.asc, nulls_first: key.nulls_first });
        }
        let projected = if columns.is_input() {
            input
        } else {
            let schema = columns.schema()?;
            self.project(input, columns.physical()?, &schema)
        };
        let schema = Arc::clone(&self.dataflow.node(projected).schema);
        let node = match within {
            Some([_, within]) => self.time_sort(projected, keys, within, &schema)?,
            _ => {
                let leading = keys.first().filter(|key| !key.descending);
                let timed = self.timed(projected);
                if leading.is_none_or(|key| timed.get(key.column).is_none()) {
                    return Err(no_time(&first.expr, first.asc));
                }
                let spec = SortedStreamSpec { keys, schema: Arc::clone(&schema) };
                self.operator(Arc::clone(&schema), false, vec![projected], spec)
            }
        };
        if schema.fields().len() == width {
            return Ok(node);
        }
        let output = Arc::new(sort.input.schema().as_arrow().clone());
        let exprs = (0..width).map(|index| column(&schema, index)).collect();
        Ok(self.project(node, exprs, &output))
    }

    fn time_sort(
        &mut self,
        input: NodeId,
        keys: Vec<SortKey>,
        within: &Expr,
        schema: &SchemaRef,
    ) -> Result<NodeId, SqlError> {
        let time = keys.first().map(|key| schema.field(key.column).data_type());
        if !matches!(time, Some(DataType::Timestamp(..))) {
            return Err(SqlError::new("ORDER BY … WITHIN sorts by a TIMESTAMP")
                .with_hint("CAST the time to TIMESTAMP, and select that AS ROWTIME"));
        }
        let length = match within {
            Expr::Literal(length, _) => interval_ms(length).filter(|length| *length >= 0),
            _ => None,
        };
        let within = length.ok_or_else(|| {
            SqlError::new("the interval of ORDER BY … WITHIN is no fixed length of time")
                .with_hint("count it in days, hours, minutes or seconds")
        })?;
        let spec = TimeSortSpec { keys, within, schema: Arc::clone(schema) };
        Ok(self.operator(Arc::clone(schema), false, vec![input], spec))
    }
}

fn no_time(key: &Expr, ascending: bool) -> SqlError {
    let message = if ascending {
        format!("a stream cannot be ordered by {key} first: the order would never be final")
    } else {
        "a stream cannot be ordered by a time that descends".to_owned()
    };
    SqlError::new(message).with_hint(
        "begin with a time that only grows: ORDER BY FLOOR(s.ROWTIME TO SECOND), …; \
             or add LIMIT n to keep the first n rows",
    )
}
