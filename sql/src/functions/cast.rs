//! `CAST` by the rules of Kinesis Data Analytics.
//!
//! A value that has no counterpart fails, and with it its row: it does not become NULL. Numbers are
//! rounded to fewer digits, half away from zero. Text is never cut, except that of an interval; what is
//! too long fails. Where DataFusion's cast means the same, it takes this one's place when the query is
//! optimised.
//!
//! Source: "CAST" of the Kinesis Data Analytics SQL reference.

mod from_text;
mod to_text;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, IntervalUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use millstream_engine::definition::TIMESTAMP_TYPE;

use super::Param::{Any, Integer, Text};
use super::call::{Call, exact_cast, written};
use super::interval::{DURATION_TYPE, duration};
use super::pattern::Pattern;
use super::{Family, Function, TIME_TYPE, is_text};

/// `CAST(value AS type)` as a call: the value, the name of the type, its length or precision, its
/// scale, and the qualifier of the interval in it; what it has not is 0 or empty.
pub(crate) const CAST: &str = "__cast";

pub(super) fn functions() -> Vec<Function> {
    let form: &[&[super::Param]] = &[&[Any, Text, Integer, Integer, Text]];
    vec![Function::new(CAST, form, cast_type, cast)]
}

/// What `texts` say as values of `target`, their time in the letters of `pattern` if there is one.
pub(super) fn read(
    texts: &ArrayRef,
    pattern: Option<&Pattern>,
    target: &Target,
) -> Result<ArrayRef> {
    let to = target.data_type()?;
    match pattern {
        None => from_text::cast(texts, &to, target),
        Some(pattern) => {
            let moments = from_text::by_pattern(texts, pattern, target)?;
            if to.is_temporal() { time(&moments, &to) } else { exact_cast(&moments, &to) }
        }
    }
}

/// What is written behind `AS`.
pub(super) struct Target {
    name: String,
    /// The length or precision; 0 for none.
    length: usize,
    scale: i8,
    /// The qualifier of an interval, as target or as source.
    qualifier: String,
}

impl Target {
    /// A type by its name, with its length or precision and its scale; 0 where it has none.
    pub(super) fn named(name: &str, length: usize, scale: i8) -> Self {
        Self { name: name.to_owned(), length, scale, qualifier: String::new() }
    }

    /// As much of `text` as the type has room for, filled up with blanks if it is a `CHAR`.
    pub(super) fn stored<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let end = text.char_indices().nth(self.length).filter(|_| self.length > 0);
        let text = end.and_then(|(end, _)| text.get(..end)).unwrap_or(text);
        let missing = self.length.saturating_sub(text.chars().count());
        if self.name != "CHAR" || missing == 0 {
            return text.into();
        }
        format!("{text}{}", " ".repeat(missing)).into()
    }

    /// The type that the literals from `first` on say.
    pub(super) fn of(literals: &[Option<&ScalarValue>], first: usize) -> Self {
        let text = |at: usize| {
            let literal = literals.get(first + at).copied().flatten();
            literal.map(ToString::to_string).unwrap_or_default()
        };
        let number = |at: usize| text(at).parse::<i64>().unwrap_or_default();
        Self::new(&text(0), number(1), number(2), &text(3))
    }

    /// The type that the arguments of a call say.
    pub(super) fn new(name: &str, length: i64, scale: i64, qualifier: &str) -> Self {
        Self {
            name: name.to_owned(),
            length: usize::try_from(length).unwrap_or_default(),
            scale: i8::try_from(scale).unwrap_or_default(),
            qualifier: qualifier.to_owned(),
        }
    }

    /// `texts` as values of this type, which is `returns`.
    pub(super) fn of_texts(&self, texts: &ArrayRef, returns: &DataType) -> Result<ArrayRef> {
        match returns {
            DataType::Utf8 => self.to_texts(texts),
            DataType::Binary => binary(texts, self),
            _ => from_text::cast(texts, returns, self),
        }
    }

    /// `values` as texts.
    pub(super) fn to_texts(&self, values: &ArrayRef) -> Result<ArrayRef> {
        to_text::cast(&Call::without_arguments(values.len(), &DataType::Utf8), values, self)
    }

    /// As a type of Arrow's.
    pub(super) fn data_type(&self) -> Result<DataType> {
        Ok(match self.name.as_str() {
            "VARCHAR" | "CHAR" => DataType::Utf8,
            "TINYINT" => DataType::Int8,
            "SMALLINT" => DataType::Int16,
            "INTEGER" => DataType::Int32,
            "BIGINT" => DataType::Int64,
            "REAL" => DataType::Float32,
            "DOUBLE" => DataType::Float64,
            "DECIMAL" => {
                let precision = u8::try_from(self.length).unwrap_or(u8::MAX);
                if precision > arrow::datatypes::DECIMAL128_MAX_PRECISION || self.scale > 38 {
                    return plan_err!("DECIMAL({precision}, {}) has too many digits", self.scale);
                }
                DataType::Decimal128(precision, self.scale)
            }
            "BOOLEAN" => DataType::Boolean,
            "DATE" => DataType::Date32,
            "TIME" => TIME_TYPE,
            "TIMESTAMP" => TIMESTAMP_TYPE,
            "INTERVAL" if self.is_of_months() => DataType::Interval(IntervalUnit::YearMonth),
            "INTERVAL" => DURATION_TYPE,
            "BINARY" | "VARBINARY" => DataType::Binary,
            other => return plan_err!("there is no type {other}"),
        })
    }

    fn is_of_months(&self) -> bool {
        self.qualifier.starts_with("YEAR") || self.qualifier.starts_with("MONTH")
    }
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

fn cast_type(types: &[DataType], literals: &[Option<&ScalarValue>]) -> Result<DataType> {
    let target = Target::of(literals, 1);
    let to = target.data_type()?;
    let from = &types[0];
    if to.is_numeric() && is_interval(from) && target.qualifier.contains(" TO ") {
        return plan_err!(
            "an interval of several units ({}) is no number: cast it to one unit first, such as \
             CAST(… AS INTERVAL SECOND)",
            target.qualifier
        );
    }
    if has_counterpart(from, &to) {
        return Ok(to);
    }
    let instead = match (from, &to) {
        (DataType::Timestamp(..), to) if to.is_numeric() => {
            ": UNIX_TIMESTAMP counts its milliseconds"
        }
        (from, DataType::Timestamp(..)) if from.is_numeric() => {
            ": TO_TIMESTAMP takes a number of milliseconds"
        }
        (DataType::Boolean, to) if to.is_numeric() => ": write CASE WHEN … THEN 1 ELSE 0 END",
        (from, DataType::Boolean) if from.is_numeric() => ": compare it, as in x <> 0",
        (from, to) if from.is_numeric() && is_interval(to) => {
            ": multiply an interval, as in x * INTERVAL '1' SECOND"
        }
        _ => "",
    };
    plan_err!("{} cannot be cast to {}{instead}", written(from), target.name)
}

/// Whether there is a cast from one type to the other at all.
fn has_counterpart(from: &DataType, to: &DataType) -> bool {
    use Family::{Boolean, Bytes, Date, Interval, Number, Other, Text, Time, Timestamp};
    match (Family::of(from), Family::of(to)) {
        // What is not of the dialect is left to its own rules; texts and bytes are each other in UTF-8.
        (Other, _) | (_, Other) | (Text, _) => true,
        (Number | Boolean | Date | Time | Timestamp | Interval | Bytes, Text) => true,
        (Date, Timestamp) | (Time, Timestamp) | (Timestamp, Date | Time) => true,
        (Interval, Number) => true,
        (from, to) => from == to,
    }
}

fn cast(call: &Call<'_>) -> Result<ArrayRef> {
    let (name, length, scale) =
        (call.texts(1)?, call.values::<Int64Type>(2)?, call.values::<Int64Type>(3)?);
    let target = Target::new(
        name.get(0).unwrap_or_default(),
        length.get(0).unwrap_or_default(),
        scale.get(0).unwrap_or_default(),
        call.texts(4)?.get(0).unwrap_or_default(),
    );
    let values = call.expanded(0)?;
    let from = values.data_type().clone();
    let to = call.returns;
    if from.is_null() {
        return Ok(arrow::array::new_null_array(to, call.rows));
    }
    match to {
        DataType::Utf8 => to_text::cast(call, &values, &target),
        DataType::Binary => binary(&values, &target),
        _ if is_text(&from) => from_text::cast(&arrow_cast(&values, &DataType::Utf8)?, to, &target),
        to if is_interval(to) => {
            if target.is_of_months() {
                exact_cast(&values, to)
            } else {
                duration(&values)
            }
        }
        to if to.is_numeric() && is_interval(&from) => {
            units(&values, &target.qualifier).and_then(|count| number(&count, to))
        }
        to if to.is_numeric() => number(&values, to),
        DataType::Timestamp(..) if matches!(from, DataType::Time32(_) | DataType::Time64(_)) => {
            exact_cast(&super::datetime::milliseconds(&values)?, to)
        }
        DataType::Timestamp(..) | DataType::Date32 | DataType::Time32(_) if from.is_temporal() => {
            time(&values, to)
        }
        _ => exact_cast(&values, to),
    }
}

/// From one kind of time to another, counting in milliseconds.
fn time(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    use super::calendar::split;
    let ms = super::datetime::milliseconds(values)?;
    let ms = ms.as_primitive::<Int64Type>();
    let int = |values: arrow::array::Int64Array| -> Result<ArrayRef> {
        exact_cast(&exact_cast(&(Arc::new(values) as ArrayRef), &DataType::Int32)?, to)
    };
    match to {
        DataType::Date32 => int(ms.unary(|ms| split(ms).0)),
        DataType::Time32(_) => int(ms.unary(|ms| split(ms).1)),
        _ => exact_cast(&(Arc::new(ms.clone()) as ArrayRef), to),
    }
}

/// How many of its unit an interval is.
fn units(values: &ArrayRef, qualifier: &str) -> Result<ArrayRef> {
    use super::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
    let (values, unit) = match qualifier {
        "YEAR" | "MONTH" => {
            let months = arrow_cast(values, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            let months = months.as_primitive::<arrow::datatypes::IntervalMonthDayNanoType>();
            let months = months.unary::<_, Int64Type>(|interval| i64::from(interval.months));
            (Arc::new(months) as ArrayRef, if qualifier == "YEAR" { 12 } else { 1 })
        }
        "DAY" => (duration(values)?, DAY_MS),
        "HOUR" => (duration(values)?, HOUR_MS),
        "MINUTE" => (duration(values)?, MINUTE_MS),
        "SECOND" => {
            // A second has its milliseconds behind the point.
            let ms = arrow_cast(&duration(values)?, &DataType::Int64)?;
            let ms = exact_cast(&ms, &DataType::Decimal128(19, 0))?;
            let ms = ms.as_primitive::<arrow::datatypes::Decimal128Type>().clone();
            return Ok(Arc::new(ms.with_precision_and_scale(19, 3)?));
        }
        _ => (duration(values)?, SECOND_MS),
    };
    let counts = arrow_cast(&values, &DataType::Int64)?;
    Ok(Arc::new(counts.as_primitive::<Int64Type>().unary::<_, Int64Type>(|count| count / unit)))
}

/// From one kind of number to another, rounding.
fn number(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = values.data_type();
    if to.is_integer() && from.is_floating() {
        let values = arrow_cast(values, &DataType::Float64)?;
        let values: &Float64Array = values.as_primitive::<Float64Type>();
        let rounded: Float64Array = values.unary(f64::round);
        return exact_cast(&(Arc::new(rounded) as ArrayRef), to);
    }
    if let (true, DataType::Decimal128(precision, scale)) = (to.is_integer(), from)
        && *scale > 0
    {
        let whole = exact_cast(values, &DataType::Decimal128(*precision, 0))?;
        return exact_cast(&whole, to);
    }
    if let (DataType::Float32, DataType::Float64) = (to, from) {
        let narrow = arrow_cast(values, to)?;
        let wide = values.as_primitive::<Float64Type>();
        let fits = narrow.as_primitive::<arrow::datatypes::Float32Type>();
        if wide.iter().zip(fits).any(|(wide, narrow)| {
            wide.is_some_and(f64::is_finite) && !narrow.is_some_and(f32::is_finite)
        }) {
            return exec_err!("a number is too large for a REAL");
        }
        return Ok(narrow);
    }
    exact_cast(values, to)
}

/// Bytes, cut to `VARBINARY(n)` and filled up to `BINARY(n)`.
fn binary(values: &ArrayRef, target: &Target) -> Result<ArrayRef> {
    let bytes = exact_cast(values, &DataType::Binary)?;
    if target.length == 0 {
        return Ok(bytes);
    }
    let mut built = BinaryBuilder::new();
    let mut buffer = Vec::new();
    for value in bytes.as_binary::<i32>() {
        match value {
            None => built.append_null(),
            Some(bytes) if bytes.len() > target.length => {
                return exec_err!(
                    "{} bytes are longer than {}({})",
                    bytes.len(),
                    target.name,
                    target.length
                );
            }
            Some(bytes) => {
                buffer.clear();
                buffer.extend_from_slice(bytes);
                if target.name == "BINARY" {
                    buffer.resize(target.length, 0);
                }
                built.append_value(&buffer);
            }
        }
    }
    Ok(Arc::new(built.finish()))
}

/// The plain cast that means the same, if there is one.
pub(super) fn plain(
    from: &DataType,
    literals: &[Option<&ScalarValue>],
) -> Result<Option<DataType>, DataFusionError> {
    let to = Target::of(literals, 1).data_type()?;
    let bits = |t: &DataType| t.primitive_width().unwrap_or_default();
    let widens = from.is_signed_integer() && to.is_signed_integer() && bits(from) <= bits(&to);
    let to_double = to == DataType::Float64 && from.is_numeric();
    let same = *from == to && !is_text(&to) && to != DataType::Binary;
    let to_time = matches!(
        (from, &to),
        (DataType::Date32, DataType::Timestamp(..)) | (DataType::Timestamp(..), DataType::Date32)
    );
    Ok((widens || to_double || same || to_time).then_some(to))
}
