//! Casts from text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, StringArray,
};
use arrow::datatypes::{
    DataType, Date32Type, DurationMillisecondType, Float64Type, IntervalYearMonthType,
    Time32MillisecondType, TimestampMillisecondType,
};
use datafusion::common::{Result, exec_err};

use super::super::calendar::{DAY_MS, Day, HOUR_MS, MINUTE_MS, SECOND_MS};
use super::super::call::exact_cast;
use super::super::pattern::Pattern;
use super::{Target, number};
use crate::interval::Amount;

/// What `texts` say as values of the target, whose type is `to`.
pub(super) fn cast(texts: &ArrayRef, to: &DataType, target: &Target) -> Result<ArrayRef> {
    let texts = texts.as_string::<i32>();
    let values = Reader { texts, target };
    match to {
        DataType::Boolean => {
            let read = (0..texts.len()).map(|row| values.read(row, boolean).map(Option::flatten));
            Ok(Arc::new(read.collect::<Result<BooleanArray>>()?))
        }
        DataType::Date32 => values.all::<Date32Type>(|text| i32::try_from(date(text.trim())?).ok()),
        DataType::Time32(_) => {
            values.all::<Time32MillisecondType>(|text| i32::try_from(time(text.trim())?).ok())
        }
        DataType::Timestamp(..) => {
            values.all::<TimestampMillisecondType>(|text| timestamp(text.trim()))
        }
        DataType::Duration(_) => values.all::<DurationMillisecondType>(|text| {
            Amount::of_text(text, &target.qualifier)?.fixed_ms()
        }),
        DataType::Interval(_) => values.all::<IntervalYearMonthType>(|text| {
            i32::try_from(Amount::of_text(text, &target.qualifier)?.months).ok()
        }),
        to => numbers(texts, to),
    }
}

/// What `texts` say in the letters of `pattern`, as a kind of time.
pub(super) fn by_pattern(texts: &ArrayRef, pattern: &Pattern, target: &Target) -> Result<ArrayRef> {
    let values = Reader { texts: texts.as_string::<i32>(), target };
    values.all::<TimestampMillisecondType>(|text| pattern.read(text))
}

struct Reader<'a> {
    texts: &'a StringArray,
    target: &'a Target,
}

impl Reader<'_> {
    fn all<T: ArrowPrimitiveType>(
        &self,
        read: impl Fn(&str) -> Option<T::Native>,
    ) -> Result<ArrayRef> {
        let values = (0..self.texts.len()).map(|row| self.read(row, &read));
        let values = values.collect::<Result<Vec<Option<T::Native>>>>()?;
        Ok(Arc::new(values.into_iter().collect::<PrimitiveArray<T>>()))
    }

    fn read<T>(&self, row: usize, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        if self.texts.is_null(row) {
            return Ok(None);
        }
        let text = self.texts.value(row);
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => exec_err!("'{text}' is no {}", self.target.name),
        }
    }
}

/// Whole numbers are read exactly; a fraction or an exponent goes through the wider kinds.
fn numbers(texts: &StringArray, to: &DataType) -> Result<ArrayRef> {
    let trimmed: StringArray = texts.iter().map(|text| text.map(str::trim)).collect();
    let trimmed: ArrayRef = Arc::new(trimmed);
    let has = |signs: &[char]| {
        trimmed.as_string::<i32>().iter().flatten().any(|text| text.contains(signs))
    };
    if to.is_floating() {
        return floating(&trimmed, to);
    }
    if has(&['e', 'E']) {
        // Only those with an exponent, so that what a row gives does not depend on the others.
        let texts = trimmed.as_string::<i32>();
        let is_approximate: BooleanArray =
            texts.iter().map(|text| text.map(|text| text.contains(['e', 'E']))).collect();
        let is_exact = arrow::compute::not(&is_approximate)?;
        let only = |kept: &BooleanArray| -> Result<ArrayRef> {
            let others = arrow::compute::not(kept)?;
            Ok(arrow::compute::nullif(&trimmed, &others)?)
        };
        let approximate = number(&exact_cast(&only(&is_approximate)?, &DataType::Float64)?, to)?;
        let exact = numbers(only(&is_exact)?.as_string::<i32>(), to)?;
        return Ok(arrow::compute::kernels::zip::zip(&is_approximate, &approximate, &exact)?);
    }
    let between = match to {
        to if to.is_integer() && has(&['.']) => DataType::Decimal128(38, 10),
        to => return exact_cast(&trimmed, to),
    };
    number(&exact_cast(&trimmed, &between)?, to)
}

/// Approximate numbers; NaN and what is infinite, by name or for its size, are none.
fn floating(texts: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let values = exact_cast(texts, to)?;
    let wide = exact_cast(&values, &DataType::Float64)?;
    let wide = wide.as_primitive::<Float64Type>();
    match wide.iter().position(|value| value.is_some_and(|value| !value.is_finite())) {
        None => Ok(values),
        Some(row) => {
            let name = if *to == DataType::Float32 { "REAL" } else { "DOUBLE" };
            exec_err!("'{}' is no {name}", texts.as_string::<i32>().value(row))
        }
    }
}

/// The outer option is whether it is one, the inner its value: `UNKNOWN` is NULL.
fn boolean(text: &str) -> Option<Option<bool>> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(Some(true)),
        "false" => Some(Some(false)),
        "unknown" => Some(None),
        _ => None,
    }
}

/// `yyyy-MM-dd` as days since the Unix epoch.
pub(super) fn date(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) =
        (digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?);
    let given = Day { year, month, day };
    // A day the calendar does not have would count on into the next month.
    (Day::of(given.number()) == given).then(|| given.number())
}

/// `HH:mm:ss[.fraction]` as milliseconds since midnight.
pub(super) fn time(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let (hour, minute) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let seconds = parts.next()?;
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let second = digits(second)?;
    if hour > 23 || minute > 59 || second > 59 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    let ms: i64 = thousandths.parse().ok()?;
    Some(hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + ms)
}

/// `yyyy-MM-dd HH:mm:ss[.fraction]` as milliseconds since the Unix epoch.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    let (day, in_day) = text.split_once([' ', 'T'])?;
    date(day)?.checked_mul(DAY_MS)?.checked_add(time(in_day.trim_start())?)
}

fn digits(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}
