//! `GROUPING SETS`, `ROLLUP` and `CUBE`: every row once per set, with NULL for the keys that the set
//! leaves out and the number of the set, grouped by all of them.
//!
//! ```text
//!   rows ─┬─► (a, b,    0) ─┐
//!         ├─► (a, NULL, 1) ─┼─► aggregate by (a, b, number)
//!         └─► (NULL, b, 2) ─┘
//! ```
//!
//! The set without keys is an aggregation of its own: it has a row before the first row has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::{Aggregate, Expr};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::union::UnionSpec;

use super::aggregate::replace;
use super::columns::Columns;
use super::{Translator, column};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

/// Which keys a set leaves out.
type LeftOut = Vec<bool>;

impl Translator<'_> {
    pub(super) fn grouping_sets(
        &mut self,
        aggregate: &Aggregate,
        input: NodeId,
        sets: &GroupingSet,
    ) -> Result<NodeId, SqlError> {
        let keys = sets.distinct_expr();
        let mut columns = Columns::over(aggregate.input.schema());
        let keys_at: Vec<usize> = keys.iter().map(|key| columns.add(key)).collect();
        let calls: Vec<Expr> =
            aggregate.aggr_expr.iter().map(|call| replace(call, &mut columns)).collect();
        let base = columns.schema()?;
        let projected = self.project(input, columns.physical()?, &base);
        // The keys come again behind the columns: an aggregate may read the same column whole.
        let number = aggregate.schema.field(keys.len()).data_type().clone();
        let fields = base.fields().iter().map(|field| field.as_ref().clone());
        let again = keys_at.iter().enumerate().map(|(place, key)| {
            base.field(*key).clone().with_name(format!("__key_{place}")).with_nullable(true)
        });
        let number_field = Field::new(Aggregate::INTERNAL_GROUPING_ID, number.clone(), false);
        let fields: Vec<Field> = fields.chain(again).chain([number_field]).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let mut occurrences: BTreeMap<LeftOut, u64> = BTreeMap::new();
        let (mut expanded, mut parts) = (Vec::new(), Vec::new());
        for left_out in left_out(sets, &keys) {
            let seen = occurrences.entry(left_out.clone()).or_default();
            let id = id_literal(grouping_id(&left_out, *seen), &number)?;
            *seen += 1;
            if left_out.iter().all(|is_out| *is_out) {
                parts.push(self.grand_total(aggregate, projected, &calls, id)?);
            } else {
                let exprs = projection(&base, &keys_at, &left_out, id)?;
                expanded.push(self.project(projected, exprs, &schema));
            }
        }
        let output: SchemaRef = Arc::new(aggregate.schema.as_arrow().clone());
        if !expanded.is_empty() {
            let expanded = self.union(expanded, &schema);
            let first = base.fields().len();
            let keys = (first..=first + keys.len()).collect();
            parts.push(self.aggregated(&output, expanded, keys, &calls)?);
        }
        Ok(self.union(parts, &output))
    }

    /// The set without keys: one row, also of no rows.
    fn grand_total(
        &mut self,
        aggregate: &Aggregate,
        input: NodeId,
        calls: &[Expr],
        id: ScalarValue,
    ) -> Result<NodeId, SqlError> {
        let output: SchemaRef = Arc::new(aggregate.schema.as_arrow().clone());
        let keys = output.fields().len() - calls.len() - 1;
        let total = if calls.is_empty() {
            self.one_row()?
        } else {
            let results = Arc::new(Schema::new(output.fields()[keys + 1..].to_vec()));
            self.aggregated(&results, input, Vec::new(), calls)?
        };
        let results = Arc::clone(&self.dataflow.node(total).schema);
        let mut exprs = Vec::with_capacity(output.fields().len());
        for key in &output.fields()[..keys] {
            exprs.push(null(key.data_type())?);
        }
        exprs.push(Arc::new(Literal::new(id)));
        exprs.extend((0..calls.len()).map(|place| column(&results, place)));
        Ok(self.project(total, exprs, &output))
    }

    fn union(&mut self, parts: Vec<NodeId>, schema: &SchemaRef) -> NodeId {
        if let [part] = parts.as_slice() {
            return *part;
        }
        let updating = parts.iter().any(|part| self.dataflow.node(*part).updating);
        let spec = UnionSpec { schema: Arc::clone(schema), updating };
        self.operator(Arc::clone(schema), updating, parts, spec)
    }
}

/// The keys each set leaves out.
fn left_out(sets: &GroupingSet, keys: &[&Expr]) -> Vec<LeftOut> {
    match sets {
        GroupingSet::Rollup(_) => {
            (0..=keys.len()).map(|kept| (0..keys.len()).map(|key| key >= kept).collect()).collect()
        }
        GroupingSet::Cube(_) => {
            let all = 0..1_u32 << keys.len().min(31);
            all.map(|set| (0..keys.len()).map(|key| set >> key & 1 == 1).collect()).collect()
        }
        GroupingSet::GroupingSets(sets) => sets
            .iter()
            .map(|set| keys.iter().map(|key| !set.iter().any(|in_set| in_set == *key)).collect())
            .collect(),
    }
}

/// A bit per key that is left out, the last key's lowest; above them, which one of equal sets it is.
fn grouping_id(left_out: &[bool], occurrence: u64) -> u64 {
    let bits = left_out.iter().fold(0, |bits, is_out| bits << 1 | u64::from(*is_out));
    occurrence << left_out.len() | bits
}

fn id_literal(id: u64, data_type: &DataType) -> Result<ScalarValue, SqlError> {
    let literal = ScalarValue::UInt64(Some(id)).cast_to(data_type);
    literal.map_err(|error| from_datafusion(&error))
}

fn projection(
    base: &Schema,
    keys: &[usize],
    left_out: &[bool],
    id: ScalarValue,
) -> Result<Vec<Arc<dyn PhysicalExpr>>, SqlError> {
    let mut exprs: Vec<Arc<dyn PhysicalExpr>> =
        (0..base.fields().len()).map(|place| column(base, place)).collect();
    for (key, is_out) in keys.iter().zip(left_out) {
        exprs.push(if *is_out { null(base.field(*key).data_type())? } else { column(base, *key) });
    }
    exprs.push(Arc::new(Literal::new(id)));
    Ok(exprs)
}

fn null(data_type: &DataType) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    let null = ScalarValue::try_from(data_type).map_err(|error| from_datafusion(&error))?;
    Ok(Arc::new(Literal::new(null)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_set_has_a_bit_per_key_left_out() {
        assert_eq!(grouping_id(&[false, false], 0), 0);
        assert_eq!(grouping_id(&[false, true], 0), 1);
        assert_eq!(grouping_id(&[true, false], 1), 0b110);
    }
}
