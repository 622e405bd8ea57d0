//! Window functions of a whole partition at once: what all of ours are in batch.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, WindowUDF, WindowUDFImpl};

/// The values of a function for the rows of a partition, of its arguments for them; the first argument
/// is the function's name.
type Values = fn(&str, &[ArrayRef], usize) -> Result<ArrayRef>;

/// The type of a function, of that of its first argument.
type TypeOf = fn(&str, Option<&DataType>) -> Result<DataType>;

/// The function `name`, which may be NULL.
pub(super) fn over_partition(
    name: &'static str,
    signature: Signature,
    values: Values,
    type_of: TypeOf,
) -> WindowUDF {
    WindowUDF::from(OverPartition { name, signature, values, type_of })
}

#[derive(Debug)]
struct OverPartition {
    name: &'static str,
    signature: Signature,
    values: Values,
    type_of: TypeOf,
}

/// No two have one name.
impl PartialEq for OverPartition {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for OverPartition {}

impl Hash for OverPartition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl WindowUDFImpl for OverPartition {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator { name: self.name, values: self.values }))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        let first = args.input_fields().first().map(|field| field.data_type());
        Ok(Arc::new(Field::new(args.name(), (self.type_of)(self.name, first)?, true)))
    }
}

#[derive(Debug)]
struct Evaluator {
    name: &'static str,
    values: Values,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        (self.values)(self.name, values, rows)
    }
}
