//! The functions of Kinesis Data Analytics, on Arrow columns.
//!
//! Each group is a file; each function in it is a [`Function`]: its name, its parameters, the type of
//! its result and what it computes. Their names take precedence over DataFusion's, because where both
//! have a function the dialect means its own. Names that begin with two underscores are what the
//! rewrites put in the place of forms that are no calls.
//!
//! What fails, fails for a row: the executor sets that row aside and goes on.
//!
//! Source: "Functions" of the Kinesis Data Analytics SQL reference.

mod arithmetic;
mod bytes;
mod calendar;
mod call;
mod cast;
mod clock;
mod datetime;
mod family;
mod interval;
mod json;
mod log;
mod number;
mod pattern;
mod regex;
mod rounding;
mod step;
mod text;
mod to_char;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

pub(crate) use arithmetic::{ADD, AVERAGE, DIVIDE, MULTIPLY, REMAINDER, SUBTRACT};
pub(crate) use bytes::{CONCAT, FIT};
use call::Call;
pub(crate) use call::{cast_target, written};
pub(crate) use cast::CAST;
pub(crate) use clock::{CLOCK, bind_clock, fix_time};
pub(crate) use datetime::EXTRACT;
pub(crate) use family::Family;
pub(crate) use interval::{DIFFERENCE, DURATION, DURATION_TYPE, PART, SCALE, SHIFT};
pub(crate) use json::{
    IS_JSON, JSON_ARRAY, JSON_ARRAY_OF, JSON_ELEMENT, JSON_EXISTS, JSON_GET, JSON_GET_TEXT,
    JSON_MEMBER, JSON_OBJECT, JSON_OBJECT_OF, JSON_QUERY, JSON_VALUE,
};
pub(crate) use rounding::CEIL_TO;
pub(crate) use step::{STEP, of_dates_too};
pub(crate) use text::{LIKE_PATTERN, OVERLAY, SUBSTR, SUBSTRING, SUBSTRING_SIMILAR, TRIM};
pub(crate) use to_char::once_per_text;

/// A predicate between periods as a call; [`crate::rewrite`] puts comparisons in its place.
pub(crate) const PERIOD: &str = "__period";

/// A value where one of a declared type is wanted: itself, once its type is found to be of the same
/// family as the one that the second argument names.
pub(crate) const GIVEN: &str = "__given";

fn given() -> Function {
    let returns = |types: &[DataType], _: &[Option<&ScalarValue>]| Ok(types[0].clone());
    Function::new(GIVEN, &[&[Param::Any, Param::Text]], returns, |call| call.expanded(0))
}

/// All functions of ours.
pub(crate) fn scalar() -> Vec<ScalarUDF> {
    let groups = [
        arithmetic::functions(),
        bytes::functions(),
        cast::functions(),
        datetime::functions(),
        vec![given()],
        interval::functions(),
        json::functions(),
        log::functions(),
        number::functions(),
        rounding::functions(),
        step::functions(),
        text::functions(),
    ];
    let plain = groups.into_iter().flatten().map(ScalarUDF::from);
    plain.chain(clock::functions()).chain(json::constructors()).collect()
}

/// What an argument may be, and what it is turned into before the function sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Param {
    /// Any text; becomes `Utf8`.
    Text,
    /// Any bytes; become `Binary`.
    Bytes,
    /// Any whole number; becomes `Int64`.
    Integer,
    /// A `TIMESTAMP`; becomes one of milliseconds.
    Timestamp,
    /// A `DATE`.
    Date,
    /// A `TIME`; becomes one of milliseconds.
    Time,
    /// Anything, as it is.
    Any,
}

impl Param {
    fn accepts(self, data_type: &DataType) -> bool {
        data_type.is_null()
            || match self {
                Self::Text => is_text(data_type),
                Self::Bytes => bytes::is_bytes(data_type),
                Self::Integer => data_type.is_integer(),
                Self::Timestamp => matches!(data_type, DataType::Timestamp(..)),
                Self::Date => matches!(data_type, DataType::Date32 | DataType::Date64),
                Self::Time => matches!(data_type, DataType::Time32(_) | DataType::Time64(_)),
                Self::Any => true,
            }
    }

    fn target(self, data_type: &DataType) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Integer => DataType::Int64,
            Self::Timestamp => millstream_engine::definition::TIMESTAMP_TYPE,
            Self::Date => DataType::Date32,
            Self::Time => TIME_TYPE,
            Self::Any => data_type.clone(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Bytes => "bytes",
            Self::Integer => "a whole number",
            Self::Timestamp => "a TIMESTAMP",
            Self::Date => "a DATE",
            Self::Time => "a TIME",
            Self::Any => "a value",
        }
    }
}

/// The type of a `TIME`.
const TIME_TYPE: DataType = DataType::Time32(arrow::datatypes::TimeUnit::Millisecond);

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The type of a result, from the arguments' types and the values of those that are literals.
type Returns = fn(&[DataType], &[Option<&ScalarValue>]) -> Result<DataType>;

/// A function of ours.
struct Function {
    name: &'static str,
    /// The ways to call it: one list of parameters each.
    forms: &'static [&'static [Param]],
    returns: Returns,
    run: fn(&Call<'_>) -> Result<ArrayRef>,
    signature: Signature,
}

impl Function {
    fn new(
        name: &'static str,
        forms: &'static [&'static [Param]],
        returns: Returns,
        run: fn(&Call<'_>) -> Result<ArrayRef>,
    ) -> Self {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Self { name, forms, returns, run, signature }
    }

    /// The parameters these arguments are for.
    fn form(&self, types: &[DataType]) -> Option<&'static [Param]> {
        self.forms.iter().copied().find(|form| {
            form.len() == types.len()
                && form.iter().zip(types).all(|(param, data_type)| param.accepts(data_type))
        })
    }

    /// The name as it is written.
    fn written(&self) -> String {
        self.name.trim_start_matches('_').to_uppercase()
    }

    fn refused(&self, types: &[DataType]) -> Result<&'static [Param]> {
        let name = self.written();
        let Some(form) = self.forms.iter().find(|form| form.len() == types.len()) else {
            let mut counts: Vec<usize> = self.forms.iter().map(|form| form.len()).collect();
            counts.sort_unstable();
            counts.dedup();
            let what = if counts == [1] { "argument" } else { "arguments" };
            let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
            return plan_err!(
                "{name} takes {} {what}, here are {}",
                counts.join(" or "),
                types.len()
            );
        };
        let wrong = form.iter().zip(types).position(|(param, given)| !param.accepts(given));
        let at = wrong.unwrap_or_default();
        match (form.get(at), types.get(at)) {
            (Some(param), Some(given)) => {
                plan_err!(
                    "argument {} of {name} is {}, not {}",
                    at + 1,
                    param.name(),
                    written(given)
                )
            }
            _ => plan_err!("{name} cannot be called so"),
        }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        internal_err!("the result of {} depends on its literals", self.name)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        if self.form(&types).is_none() {
            self.refused(&types)?;
        }
        let data_type = (self.returns)(&types, args.scalar_arguments)?;
        Ok(Arc::new(Field::new(self.name, data_type, true)))
    }

    /// A cast that DataFusion does as well becomes its own, which its rules and ours see through.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let ([value, _], true) = (args.as_slice(), self.name == GIVEN) {
            return Ok(ExprSimplifyResult::Simplified(value.clone()));
        }
        let ([value, rest @ ..], true) = (args.as_slice(), self.name == CAST) else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let literals = std::iter::once(None).chain(rest.iter().map(|arg| match arg {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        }));
        let from = info.get_data_type(value)?;
        let plain = cast::plain(&from, &literals.collect::<Vec<_>>())?;
        Ok(match plain {
            None => ExprSimplifyResult::Original(args),
            Some(to) if to == from => ExprSimplifyResult::Simplified(value.clone()),
            Some(to) => {
                ExprSimplifyResult::Simplified(datafusion::logical_expr::cast(value.clone(), to))
            }
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let form = match self.form(&types) {
            Some(form) => form,
            None => self.refused(&types)?,
        };
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let call = Call::new(&args, form)?;
        let result = (self.run)(&call)?;
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}
