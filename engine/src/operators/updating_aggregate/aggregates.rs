//! The aggregates, by how they follow a change: our own table, not what accumulators say of
//! themselves (that of MIN takes back the oldest value only).
//!
//! | class | when | state of a group |
//! |---|---|---|
//! | merged | rows are only added | what DataFusion's accumulator says, merged with the new rows |
//! | exact | COUNT; SUM and AVG of integers and decimals | the count and the sum of weighted values |
//! | extreme | MIN and MAX where rows may be taken back | the result: an end of the ordered values |
//! | rows | all others | the result; it is computed anew from the group's rows |
//!
//! DISTINCT forms of the exact ones are of the same class, over the values that begin or cease to be
//! there ([`super::distinct`]), whether rows are only added or not. So are MIN and MAX, with DISTINCT or
//! without: to them it is all the same how often a value is there.
//!
//! Sums of floating-point numbers are of the last class: taking back what was added does not give what
//! was before.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    UInt64Array,
};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Decimal128Type, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::CastExpr;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};

use super::exact::{Sums, counted_weights};
use super::touched::Contribution;
use crate::error::{Error, Result};

/// Sums of integers that an average divides: no sum of 2⁶³ rows leaves it.
const WIDE: DataType = DataType::Decimal128(38, 0);

/// The aggregates whose accumulators hold a few numbers or a single value.
const CONSTANT: [&str; 19] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "var",
    "var_pop",
    "stddev",
    "stddev_pop",
    "corr",
    "covar_samp",
    "covar_pop",
    "first_value",
    "last_value",
];

/// How an aggregate follows a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    Merged,
    Count,
    /// The type is that of the sum.
    Sum(DataType),
    /// Of decimals; the type is that of the sum.
    Average(DataType),
    /// Of integers, which DataFusion averages as floating-point numbers.
    IntegerAverage,
    /// MAX, or MIN.
    Extreme {
        greatest: bool,
    },
    Rows,
}

/// An aggregate as the operator computes it.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    function: Arc<AggregateFunctionExpr>,
    pub(super) class: Class,
    /// What it reads of a row: its arguments, then what it is ordered by.
    pub(super) arguments: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) filter: Option<Arc<dyn PhysicalExpr>>,
    /// How many columns its state has.
    pub(super) width: usize,
    /// Whether there is one group that may have no row. Only accumulators of a single group know what
    /// nothing adds up to; those of many take each group to have a row.
    global: bool,
}

impl Aggregate {
    pub(super) fn new(
        function: &Arc<AggregateFunctionExpr>,
        filter: Option<&Arc<dyn PhysicalExpr>>,
        input: &SchemaRef,
        (updating, global): (bool, bool),
    ) -> Result<Self> {
        let order = function.order_bys().iter().map(|order| Arc::clone(&order.expr));
        let mut arguments: Vec<_> = function.expressions().into_iter().chain(order).collect();
        let class = match classify(function, input)? {
            Class::Extreme { .. } if !updating => Class::Merged,
            exact if exact != Class::Rows && (updating || function.is_distinct()) => exact,
            _ if updating => Class::Rows,
            _ => Class::Merged,
        };
        if class == Class::IntegerAverage {
            arguments = arguments.iter().filter_map(integer_inside).collect();
        }
        let width = match class {
            Class::Merged => function.state_fields()?.len(),
            Class::Count | Class::Extreme { .. } | Class::Rows => 1,
            Class::Sum(_) | Class::Average(_) | Class::IntegerAverage => 2,
        };
        let (function, filter) = (Arc::clone(function), filter.map(Arc::clone));
        Ok(Self { function, class, arguments, filter, width, global })
    }

    /// Whether each value of its arguments counts once per group.
    pub(super) fn is_over_distinct_values(&self) -> bool {
        match self.class {
            Class::Extreme { .. } => true,
            Class::Rows | Class::Merged => false,
            _ => self.function.is_distinct(),
        }
    }

    /// The same, computed from kept rows where that is possible at all.
    pub(super) fn over_rows(self) -> Self {
        match self.class {
            Class::Extreme { .. } => Self { class: Class::Rows, ..self },
            _ => self,
        }
    }

    /// Whether its state stays of a size, however many rows a group has.
    pub(super) fn has_constant_state(&self) -> bool {
        let constant = match self.class {
            Class::Rows => false,
            Class::Merged => CONSTANT.contains(&self.function.fun().name()),
            _ => true,
        };
        constant && !self.function.is_distinct() && !self.is_over_distinct_values()
    }

    /// Whether the distinct values of `other` are also its own, but for the filter.
    pub(super) fn shares_arguments_with(&self, other: &Self) -> bool {
        let casts = |aggregate: &Self| aggregate.class == Class::IntegerAverage;
        self.arguments == other.arguments && casts(self) == casts(other)
    }

    /// The types of what it reads of a row.
    pub(super) fn argument_types(&self, input: &SchemaRef) -> Result<Vec<DataType>> {
        if self.class == Class::IntegerAverage {
            return Ok(vec![WIDE; self.arguments.len()]);
        }
        self.arguments.iter().map(|argument| Ok(argument.data_type(input)?)).collect()
    }

    pub(super) fn name(&self) -> &str {
        self.function.name()
    }

    /// What it reads of the rows of `batch`.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, DataFusionError> {
        let evaluate = |argument: &Arc<dyn PhysicalExpr>| {
            let values = argument.evaluate(batch)?.into_array(batch.num_rows())?;
            if self.class == Class::IntegerAverage {
                return Ok(cast(&values, &WIDE)?);
            }
            Ok(values)
        };
        self.arguments.iter().map(evaluate).collect()
    }

    /// Accumulators without any group.
    pub(super) fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if !self.global && self.function.groups_accumulator_supported() {
            return Ok(self.function.create_groups_accumulator()?);
        }
        let function = Arc::clone(&self.function);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())))
    }

    /// The types of its state's columns; none for those only an accumulator knows.
    pub(super) fn state_types(&self) -> Vec<DataType> {
        match &self.class {
            Class::Merged => Vec::new(),
            Class::Count => vec![DataType::Int64],
            Class::Sum(sum) | Class::Average(sum) => vec![DataType::Int64, sum.clone()],
            Class::IntegerAverage => vec![DataType::Int64, WIDE],
            Class::Extreme { .. } | Class::Rows => vec![self.function.field().data_type().clone()],
        }
    }

    /// The state of `groups` groups after some rows. The first groups had a state before: `old`, which
    /// is empty if there is none of them. Not for [`Class::Rows`] and [`Class::Extreme`].
    pub(super) fn advance(
        &self,
        old: &[ArrayRef],
        parts: &[Contribution<'_>],
        groups: usize,
    ) -> Result<Vec<ArrayRef>> {
        match &self.class {
            Class::Merged => self.merge(old, parts),
            Class::Extreme { .. } | Class::Rows => {
                Err(Error::bug("an aggregate over kept rows or values has no state to advance"))
            }
            Class::Count => Ok(vec![self.counts(old, parts, groups)?]),
            Class::Sum(sum) | Class::Average(sum) => self.sums(old, parts, (groups, sum)),
            Class::IntegerAverage => self.sums(old, parts, (groups, &WIDE)),
        }
    }

    fn merge(&self, old: &[ArrayRef], parts: &[Contribution<'_>]) -> Result<Vec<ArrayRef>> {
        let mut accumulator = self.accumulator()?;
        if let Some(first) = old.first() {
            let indices: Vec<usize> = (0..first.len()).collect();
            accumulator.merge_batch(old, &indices, None, first.len())?;
        }
        for part in parts {
            let Contribution { arguments, filter, groups, groups_so_far, .. } = *part;
            accumulator.update_batch(arguments, groups, filter, groups_so_far)?;
        }
        Ok(accumulator.state(EmitTo::All)?)
    }

    fn counts(
        &self,
        old: &[ArrayRef],
        parts: &[Contribution<'_>],
        groups: usize,
    ) -> Result<ArrayRef> {
        let mut counts = old_counts(old, groups)?;
        for part in parts {
            for (group, weight) in part.groups.iter().zip(counted_weights(part)) {
                counts[*group] += weight;
            }
        }
        Ok(Arc::new(Int64Array::from(counts)))
    }

    fn sums(
        &self,
        old: &[ArrayRef],
        parts: &[Contribution<'_>],
        (groups, sum_type): (usize, &DataType),
    ) -> Result<Vec<ArrayRef>> {
        let mut counts = old_counts(old, groups)?;
        let mut sums = Sums::new(sum_type, old.get(1), groups)?;
        for part in parts {
            let weights = counted_weights(part);
            for (group, weight) in part.groups.iter().zip(&weights) {
                counts[*group] += weight;
            }
            sums.add(&part.arguments[0], part.groups, &weights)?;
        }
        Ok(vec![Arc::new(Int64Array::from(counts)), sums.into_array(sum_type)?])
    }

    /// The results of groups with these states, of which there is at least one.
    pub(super) fn results(&self, state: &[ArrayRef]) -> Result<ArrayRef> {
        match &self.class {
            Class::Count | Class::Extreme { .. } | Class::Rows => Ok(Arc::clone(&state[0])),
            Class::Merged if self.states_its_result() => Ok(Arc::clone(&state[0])),
            Class::Merged => self.merged(state),
            Class::Sum(_) => Ok(nullif(&state[1], &is_zero(&state[0]))?),
            Class::Average(_) => {
                let none = is_zero(&state[0]);
                let counts: ArrayRef =
                    Arc::new(
                        state[0]
                            .as_primitive::<arrow::datatypes::Int64Type>()
                            .unary::<_, arrow::datatypes::UInt64Type>(|c| {
                            u64::try_from(c).unwrap_or(0)
                        }),
                    );
                let counts: ArrayRef =
                    Arc::new(UInt64Array::from(nullif(&counts, &none)?.to_data()));
                self.merged(&[counts, nullif(&state[1], &none)?])
            }
            Class::IntegerAverage => Ok(Arc::new(quotients(&state[0], &state[1]))),
        }
    }

    /// Whether the state of DataFusion's accumulator is the result already.
    fn states_its_result(&self) -> bool {
        self.width == 1
            && !self.function.is_distinct()
            && ["count", "sum", "min", "max"].contains(&self.function.fun().name())
    }

    fn merged(&self, state: &[ArrayRef]) -> Result<ArrayRef> {
        let rows = state.first().map_or(0, |column| column.len());
        let indices: Vec<usize> = (0..rows).collect();
        let mut accumulator = self.accumulator()?;
        accumulator.merge_batch(state, &indices, None, rows)?;
        Ok(accumulator.evaluate(EmitTo::All)?)
    }
}

fn classify(function: &AggregateFunctionExpr, input: &SchemaRef) -> Result<Class> {
    if *function.fun() == *count_udaf() {
        return Ok(Class::Count);
    }
    let arguments = function.expressions();
    let [argument] = arguments.as_slice() else { return Ok(Class::Rows) };
    let data_type = argument.data_type(input)?;
    let result = function.field().data_type().clone();
    if *function.fun() == *sum_udaf() {
        return Ok(match &data_type {
            DataType::Int64 | DataType::UInt64 if result == data_type => Class::Sum(result),
            DataType::Decimal128(..) if matches!(result, DataType::Decimal128(..)) => {
                Class::Sum(result)
            }
            _ => Class::Rows,
        });
    }
    for (extreme, greatest) in [(min_udaf(), false), (max_udaf(), true)] {
        // How nested values with NULLs inside compare is for DataFusion to say.
        if *function.fun() == *extreme && result == data_type && !data_type.is_nested() {
            return Ok(Class::Extreme { greatest });
        }
    }
    if *function.fun() == *avg_udaf() {
        return Ok(match data_type {
            // The accumulator of the DISTINCT form, which has to divide, takes no sums.
            DataType::Decimal128(..) if !function.is_distinct() => Class::Average(data_type),
            DataType::Float64
                if integer_inside(argument).is_some_and(|inner| {
                    inner.data_type(input).is_ok_and(|data_type| data_type.is_integer())
                }) =>
            {
                Class::IntegerAverage
            }
            _ => Class::Rows,
        });
    }
    Ok(Class::Rows)
}

/// What a cast is of.
fn integer_inside(argument: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let argument: &dyn std::any::Any = argument.as_ref();
    argument.downcast_ref::<CastExpr>().map(|cast| Arc::clone(cast.expr()))
}

/// Counts to go on from.
fn old_counts(old: &[ArrayRef], groups: usize) -> Result<Vec<i64>> {
    let mut counts = Vec::with_capacity(groups);
    if let Some(old) = old.first() {
        let old = old.as_primitive_opt::<arrow::datatypes::Int64Type>();
        let old = old.ok_or_else(|| Error::bug("the state of an aggregate has no count"))?;
        counts.extend_from_slice(old.values());
    }
    counts.resize(groups, 0);
    Ok(counts)
}

fn is_zero(counts: &ArrayRef) -> BooleanArray {
    let counts = counts.as_primitive::<arrow::datatypes::Int64Type>();
    counts.values().iter().map(|count| Some(*count == 0)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "an average of integers is a rounded quotient")]
fn quotients(counts: &ArrayRef, sums: &ArrayRef) -> Float64Array {
    let counts = counts.as_primitive::<arrow::datatypes::Int64Type>().values();
    let sums: &Decimal128Array = sums.as_primitive::<Decimal128Type>();
    let pairs = counts.iter().zip(sums.values());
    pairs.map(|(count, sum)| (*count != 0).then(|| *sum as f64 / *count as f64)).collect()
}
