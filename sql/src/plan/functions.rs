//! The functions a query may call: DataFusion's, and a few of ours that carry meaning from the text to
//! the dataflow.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, WindowUDF,
};
use millstream_engine::fault::NullInNotNull;

use super::arrival;
use super::markers::markers;
use super::models;
use super::operators::Operators;
use super::window_functions;
use crate::functions::{of_dates_too, once_per_text};
use crate::rewrite::ARRIVAL_ORDER;
use crate::rowtime::AS_OF;

/// The name of the function that fails on NULL.
const NOT_NULL: &str = "__not_null";

/// Everything a query may call, by name.
#[derive(Debug)]
pub(crate) struct Functions {
    pub(crate) scalar: HashMap<String, Arc<ScalarUDF>>,
    pub(crate) aggregate: HashMap<String, Arc<AggregateUDF>>,
    pub(crate) window: HashMap<String, Arc<WindowUDF>>,
    pub(crate) planners: Vec<Arc<dyn ExprPlanner>>,
}

/// The functions, built once.
pub(crate) fn functions() -> &'static Functions {
    static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
    FUNCTIONS.get_or_init(Functions::new)
}

impl Functions {
    fn new() -> Self {
        let mut scalar = HashMap::new();
        let ours = [
            ScalarUDF::from(ArrivalOrder::new()),
            ScalarUDF::from(AsOf::new()),
            ScalarUDF::from(NotNull::new()),
        ];
        let theirs = SessionStateDefaults::default_scalar_functions();
        let ours = ours.into_iter().chain(markers()).chain(window_functions::scalar());
        let ours = ours.chain(crate::functions::scalar());
        let theirs = theirs.into_iter().map(|function| match function.name() {
            "to_char" => Arc::new(once_per_text(function)),
            "date_bin" => Arc::new(of_dates_too(function)),
            _ => function,
        });
        for function in theirs.chain(ours.map(Arc::new)) {
            for alias in function.aliases() {
                scalar.insert(alias.clone(), Arc::clone(&function));
            }
            scalar.insert(function.name().to_owned(), function);
        }
        let mut aggregate = HashMap::new();
        for function in SessionStateDefaults::default_aggregate_functions() {
            for alias in function.aliases() {
                aggregate.insert(alias.clone(), Arc::clone(&function));
            }
            aggregate.insert(function.name().to_owned(), function);
        }
        let in_arrival = arrival::aggregates().map(Arc::new);
        aggregate.extend(in_arrival.map(|function| (function.name().to_owned(), function)));
        let every = aggregate.get("bool_and").map(Arc::clone);
        aggregate.extend(every.map(|every| ("every".to_owned(), every)));
        let mut window = HashMap::new();
        let ours = window_functions::window().chain(models::window()).map(Arc::new);
        for function in SessionStateDefaults::default_window_functions().into_iter().chain(ours) {
            for alias in function.aliases() {
                window.insert(alias.clone(), Arc::clone(&function));
            }
            window.insert(function.name().to_owned(), function);
        }
        let ours: [Arc<dyn ExprPlanner>; 1] = [Arc::new(Operators)];
        let planners = ours.into_iter().chain(SessionStateDefaults::default_expr_planners());
        Self { scalar, aggregate, window, planners: planners.collect() }
    }
}

/// The call of a function of ours.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&functions().scalar[name]), args))
}

/// `expr`, failing on rows where it is NULL; `column` is named in the message.
pub(crate) fn not_null(expr: Expr, column: &str) -> Expr {
    let function = Arc::clone(&functions().scalar[NOT_NULL]);
    let name = Expr::Literal(ScalarValue::from(column), None);
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![expr, name]))
}

/// Returns its argument; only its name matters, to the planner.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrivalOrder {
    signature: Signature,
}

impl ArrivalOrder {
    fn new() -> Self {
        // Volatile, so that the optimizer does not compute it once for several windows and leave them
        // ordered by a column that no longer says what it is.
        Self { signature: Signature::any(1, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for ArrivalOrder {
    fn name(&self) -> &'static str {
        ARRIVAL_ORDER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        first(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        first(&args.args)
    }
}

/// Stands for `FOR SYSTEM_TIME AS OF` in the condition of a join; the planner takes it out.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AsOf {
    signature: Signature,
}

impl AsOf {
    fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for AsOf {
    fn name(&self) -> &'static str {
        AS_OF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("FOR SYSTEM_TIME AS OF runs continuously only, between streams: SELECT STREAM")
    }
}

/// Returns its first argument, or fails where it is NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NotNull {
    signature: Signature,
}

impl NotNull {
    fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for NotNull {
    fn name(&self) -> &'static str {
        NOT_NULL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        first(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values: ArrayRef = first(&args.args)?.into_array(args.number_rows)?;
        if values.null_count() > 0 {
            let name = args.args.get(1).map(|name| match name {
                ColumnarValue::Scalar(name) => name.to_string(),
                ColumnarValue::Array(_) => String::new(),
            });
            let column = name.unwrap_or_default();
            return Err(DataFusionError::External(Box::new(NullInNotNull { column })));
        }
        Ok(ColumnarValue::Array(values))
    }
}

fn first<T: Clone>(arguments: &[T]) -> Result<T> {
    arguments
        .first()
        .cloned()
        .ok_or_else(|| DataFusionError::Internal("a marker function without argument".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rowtime::AGGREGATES;

    #[test]
    fn every_aggregate_is_known_where_the_time_of_rows_is_resolved() {
        let known = |name: &&String| {
            let name = name.to_uppercase();
            name.starts_with("__") || AGGREGATES.contains(&name.as_str())
        };
        let unknown: Vec<&String> =
            functions().aggregate.keys().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
