//! `TO_CHAR` of timestamps: each text is made once, however many rows of a batch have it.
//!
//! A pattern of days gives one text for all the times of a day, so the times of a batch, which are near
//! each other, have few. DataFusion's function writes those; each row gets a copy.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::calendar::{DAY_MS, HOUR_MS, MINUTE_MS};

/// DataFusion's `TO_CHAR`, which is called for no text twice.
pub(crate) fn once_per_text(inner: Arc<ScalarUDF>) -> ScalarUDF {
    ScalarUDF::from(ToChar { inner })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Array(times), ColumnarValue::Scalar(pattern)] = args.args.as_slice()
        else {
            return self.inner.invoke_with_args(args);
        };
        let unit_ms = match (times.data_type(), pattern) {
            (
                DataType::Timestamp(TimeUnit::Millisecond, None),
                ScalarValue::Utf8(Some(pattern)),
            ) => unit_of(pattern),
            _ => None,
        };
        let Some(unit_ms) = unit_ms else { return self.inner.invoke_with_args(args) };
        let (units, rows) = distinct(times.as_primitive(), unit_ms);
        args.number_rows = units.len();
        args.args[0] = ColumnarValue::Array(units);
        let texts: ArrayRef = match self.inner.invoke_with_args(args)? {
            ColumnarValue::Array(texts) => texts,
            constant @ ColumnarValue::Scalar(_) => return Ok(constant),
        };
        Ok(ColumnarValue::Array(take(&texts, &rows, None)?))
    }
}

/// The longest unit within which a pattern gives one text; `None` where that is less than a second, or
/// not known.
fn unit_of(pattern: &str) -> Option<i64> {
    let mut unit_ms = DAY_MS;
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            continue;
        }
        let mut field = chars.next()?;
        if matches!(field, '-' | '_' | '0') {
            field = chars.next()?;
        }
        unit_ms = unit_ms.min(match field {
            'Y' | 'C' | 'y' | 'q' | 'm' | 'b' | 'B' | 'h' | 'd' | 'e' | 'a' | 'A' | 'w' | 'u'
            | 'U' | 'W' | 'G' | 'g' | 'V' | 'j' | 'D' | 'x' | 'F' | 'v' | 't' | 'n' | '%' => DAY_MS,
            'H' | 'k' | 'I' | 'l' | 'P' | 'p' => HOUR_MS,
            'M' | 'R' => MINUTE_MS,
            'S' | 'T' | 'X' | 'r' | 's' => 1000,
            _ => return None,
        });
    }
    Some(unit_ms)
}

/// The first moments of the units that `times` are in, and for each row which of them is its own.
fn distinct(times: &TimestampMillisecondArray, unit_ms: i64) -> (ArrayRef, UInt32Array) {
    let mut starts: Vec<i64> = Vec::new();
    let mut places: HashMap<i64, u32> = HashMap::new();
    let mut last: Option<(i64, u32)> = None;
    let rows = times.iter().map(|time| {
        let time = time?;
        // Neighbours mostly share a unit, so that a division and a look-up are rare.
        if let Some((start, place)) = last
            && time >= start
            && time - start < unit_ms
        {
            return Some(place);
        }
        let start = time.div_euclid(unit_ms).checked_mul(unit_ms).unwrap_or(time);
        let next = u32::try_from(starts.len()).unwrap_or(u32::MAX);
        let place = *places.entry(start).or_insert_with(|| {
            starts.push(start);
            next
        });
        last = Some((start, place));
        Some(place)
    });
    let rows = rows.collect();
    let starts: TimestampMillisecondArray =
        arrow::array::PrimitiveArray::<TimestampMillisecondType>::from(starts);
    (Arc::new(starts), rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;
    use datafusion::common::config::ConfigOptions;
    use datafusion::functions::datetime::to_char;

    use super::*;

    #[test]
    fn the_texts_are_those_of_each_time_by_itself() {
        // Near each other, with a few that are not.
        let times = (0..500_i64).map(|n| {
            let near = 1_700_000_000_000 + (n * 7_919_777) % 200_000_000;
            let far = (n - 250) * 123_456_789_012;
            (n % 9 > 0).then_some(if n % 5 > 0 { near } else { far })
        });
        let times: ArrayRef = Arc::new(times.collect::<TimestampMillisecondArray>());
        let call = |function: &ScalarUDF, pattern: &str| {
            let pattern = ScalarValue::from(pattern);
            let field = |data_type: DataType| Arc::new(Field::new("", data_type, true));
            let args = ScalarFunctionArgs {
                arg_fields: vec![field(times.data_type().clone()), field(DataType::Utf8)],
                args: vec![
                    ColumnarValue::Array(Arc::clone(&times)),
                    ColumnarValue::Scalar(pattern),
                ],
                number_rows: times.len(),
                return_field: field(DataType::Utf8),
                config_options: Arc::new(ConfigOptions::default()),
            };
            function.invoke_with_args(args).unwrap().into_array(times.len()).unwrap()
        };
        let (theirs, ours) = (to_char(), once_per_text(to_char()));
        for pattern in [
            "%Y-%m-%d",
            "%H:%M",
            "%d.%m.%y %I %p",
            "%F %T",
            "%s",
            "%H:%M:%S%.3f",
            "%-d %B %% %a %j",
            "%c",
            "no field",
        ] {
            assert_eq!(&call(&ours, pattern), &call(&theirs, pattern), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_of_days_gives_one_text_a_day() {
        assert_eq!(unit_of("%Y-%m-%d"), Some(DAY_MS));
        assert_eq!(unit_of("%H:%M"), Some(MINUTE_MS));
        assert_eq!(unit_of("%H:%M:%S"), Some(1000));
        assert_eq!(unit_of("%3f"), None);
        let times =
            TimestampMillisecondArray::from(vec![Some(-1), Some(0), None, Some(DAY_MS - 1)]);
        let (units, rows) = distinct(&times, DAY_MS);
        assert_eq!(units.as_primitive::<TimestampMillisecondType>().values(), &[-DAY_MS, 0]);
        assert_eq!(rows, UInt32Array::from(vec![Some(0), Some(1), None, Some(1)]));
    }
}
