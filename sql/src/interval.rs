//! Interval literals: `INTERVAL '1:30' HOUR TO MINUTE` and its kin, read as the standard means them.
//!
//! DataFusion knows only one unit without precisions; and in a window frame it drops the second unit in
//! silence. So every literal is brought into the one form that everything behind understands.

use arrow::compute::kernels::cast_utils::{
    IntervalParseConfig, IntervalUnit, parse_interval_month_day_nano_config,
};
use datafusion::sql::sqlparser::ast::{
    DateTimeField, Expr, Interval, Spanned, UnaryOperator, Value, ValueWithSpan,
};

use crate::error::SqlError;
use crate::source::span_of;
use crate::syntax;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const NANOS_PER_MS: i64 = 1_000_000;

/// How long an interval is: whole months, which vary, and milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) months: i64,
    pub(crate) ms: i64,
}

/// The units of the standard, in its order.
const UNITS: [(DateTimeField, Amount); 6] = [
    (DateTimeField::Year, Amount { months: 12, ms: 0 }),
    (DateTimeField::Month, Amount { months: 1, ms: 0 }),
    (DateTimeField::Day, Amount { months: 0, ms: DAY_MS }),
    (DateTimeField::Hour, Amount { months: 0, ms: HOUR_MS }),
    (DateTimeField::Minute, Amount { months: 0, ms: MINUTE_MS }),
    (DateTimeField::Second, Amount { months: 0, ms: SECOND_MS }),
];

/// The qualifier of what intervals of two qualifiers make together, or may both be: from the first unit of
/// either to the last one.
///
/// Source: ISO/IEC 9075-2, result type of an interval value expression.
pub(crate) fn spanned(one: &str, other: &str) -> String {
    let places = |qualifier: &str| {
        let (first, last) = qualifier.split_once(" TO ").unwrap_or((qualifier, qualifier));
        let place = |unit: &str| UNITS.iter().position(|(known, _)| known.to_string() == unit);
        Some((place(first)?, place(last)?))
    };
    match (places(one), places(other)) {
        (Some((a, b)), Some((c, d))) => {
            let (first, last) = (&UNITS[a.min(c)].0, &UNITS[b.max(d)].0);
            if first == last { first.to_string() } else { format!("{first} TO {last}") }
        }
        _ => one.to_owned(),
    }
}

impl Amount {
    /// Reads a literal.
    pub(crate) fn read(interval: &Interval) -> Result<Self, SqlError> {
        let (negative, written) = literal(interval)?;
        let amount = match &interval.leading_field {
            None => read_words(&written),
            Some(first) => {
                let last = interval.last_field.as_ref().unwrap_or(first);
                match (place_of(first), place_of(last)) {
                    (Some(first), Some(last)) if first <= last => {
                        read_fields(&written, first, last)
                    }
                    (None, None) => read_words(&format!("{written} {first}")),
                    _ => None,
                }
            }
        };
        let amount = amount.ok_or_else(|| malformed(interval))?;
        Ok(if negative { Self { months: -amount.months, ms: -amount.ms } } else { amount })
    }

    /// Reads the text of a literal with this qualifier: `HOUR`, `DAY TO SECOND`.
    pub(crate) fn of_text(text: &str, qualifier: &str) -> Option<Self> {
        let (first, last) = qualifier.split_once(" TO ").unwrap_or((qualifier, qualifier));
        let named = |name: &str| UNITS.iter().position(|(unit, _)| unit.to_string() == name);
        read_fields(text.trim(), named(first)?, named(last)?)
    }

    /// Reads a text such as `1 day 2 hours`.
    pub(crate) fn of_words(text: &str) -> Option<Self> {
        read_words(text)
    }

    /// The length in milliseconds; none if months are in it, which have no fixed length.
    pub(crate) fn fixed_ms(self) -> Option<i64> {
        (self.months == 0).then_some(self.ms)
    }

    /// The literal that DataFusion understands; none for a mixture of months and milliseconds.
    fn canonical(self) -> Option<Expr> {
        if self.months != 0 {
            return (self.ms == 0)
                .then(|| syntax::interval(self.months.to_string(), DateTimeField::Month));
        }
        let units = [
            (DateTimeField::Day, DAY_MS),
            (DateTimeField::Hour, HOUR_MS),
            (DateTimeField::Minute, MINUTE_MS),
            (DateTimeField::Second, SECOND_MS),
        ];
        let whole = units.into_iter().find(|(_, ms)| self.ms != 0 && self.ms % ms == 0);
        let (unit, ms) = whole.unwrap_or((DateTimeField::Millisecond, 1));
        Some(syntax::interval((self.ms / ms).to_string(), unit))
    }
}

/// The literal `interval` in the one form that DataFusion understands.
pub(crate) fn canonical(interval: &Interval) -> Result<Expr, SqlError> {
    let (negative, written) = literal(interval)?;
    let whole: Option<i64> = written.parse().ok();
    if let (Some(count), Some(unit), None) = (whole, &interval.leading_field, &interval.last_field)
        && place_of(unit).is_some()
    {
        let count = if negative { -count } else { count };
        return Ok(syntax::interval(count.to_string(), singular(unit)));
    }
    let amount = Amount::read(interval)?;
    if let Some(canonical) = amount.canonical() {
        return Ok(canonical);
    }
    let sign = if negative { "-" } else { "" };
    let words = syntax::text(format!("{sign}{written}"));
    Ok(Expr::Interval(Interval {
        value: Box::new(words),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }))
}

/// The sign before the quotes and the text between them.
fn literal(interval: &Interval) -> Result<(bool, String), SqlError> {
    let (negative, value) = match interval.value.as_ref() {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => (true, expr.as_ref()),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => (false, expr.as_ref()),
        value => (false, value),
    };
    match value {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text) | Value::Number(text, _),
            ..
        }) => Ok((negative, text.trim().to_owned())),
        _ => Err(malformed(interval)),
    }
}

fn malformed(interval: &Interval) -> SqlError {
    let error = SqlError::new(format!("{interval} is no interval")).with_hint(
        "INTERVAL '5' MINUTE, INTERVAL '1:30' HOUR TO MINUTE, INTERVAL '0.5' SECOND; for a number \
         from a column multiply: n * INTERVAL '1' SECOND",
    );
    match span_of(interval.value.span()) {
        Some(span) => error.or_at(span),
        None => error,
    }
}

fn place_of(unit: &DateTimeField) -> Option<usize> {
    let unit = singular(unit);
    UNITS.iter().position(|(known, _)| *known == unit)
}

fn singular(unit: &DateTimeField) -> DateTimeField {
    match unit {
        DateTimeField::Years => DateTimeField::Year,
        DateTimeField::Months => DateTimeField::Month,
        DateTimeField::Days => DateTimeField::Day,
        DateTimeField::Hours => DateTimeField::Hour,
        DateTimeField::Minutes => DateTimeField::Minute,
        DateTimeField::Seconds => DateTimeField::Second,
        other => other.clone(),
    }
}

/// Reads `[+|-] a-b` (years to months) or `[+|-] d h:m:s.f`, from the unit `first` to the unit `last`.
fn read_fields(text: &str, first: usize, last: usize) -> Option<Amount> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut rest = text.trim();
    let mut sum = Amount { months: 0, ms: 0 };
    for at in first..=last {
        let (field, behind) = if at == last {
            (rest, "")
        } else {
            let separator = match UNITS.get(at)?.0 {
                DateTimeField::Year => '-',
                DateTimeField::Day => ' ',
                DateTimeField::Month => return None,
                _ => ':',
            };
            rest.split_once(separator)?
        };
        let amount = scaled(field.trim(), UNITS.get(at)?.1)?;
        // What stands behind another unit is less than one of it; the first may be any number.
        let within = (UNITS.get(at.wrapping_sub(1)))
            .is_none_or(|(_, above)| amount.months < above.months || amount.ms < above.ms);
        if at > first && !within {
            return None;
        }
        sum.months = sum.months.checked_add(amount.months)?;
        sum.ms = sum.ms.checked_add(amount.ms)?;
        rest = behind.trim();
    }
    Some(if negative { Amount { months: -sum.months, ms: -sum.ms } } else { sum })
}

/// `digits[.digits]` times `unit`; none unless that is a whole number of months or milliseconds.
fn scaled(number: &str, unit: Amount) -> Option<Amount> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if number.is_empty() || number == "." || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let denominator = 10_i64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parse = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i64>().ok() };
    let numerator = parse(whole)?.checked_mul(denominator)?.checked_add(parse(fraction)?)?;
    let times = |unit: i64| {
        let product = numerator.checked_mul(unit)?;
        (product % denominator == 0).then_some(product / denominator)
    };
    Some(Amount { months: times(unit.months)?, ms: times(unit.ms)? })
}

/// Reads `5 minutes 3 seconds`, the form of `PostgreSQL`, as DataFusion does.
fn read_words(text: &str) -> Option<Amount> {
    // A number alone does not say of what.
    text.contains(char::is_alphabetic).then_some(())?;
    let config = IntervalParseConfig::new(IntervalUnit::Second);
    let read = parse_interval_month_day_nano_config(text, config).ok()?;
    if read.nanoseconds % NANOS_PER_MS != 0 {
        return None;
    }
    let days_ms = i64::from(read.days) * DAY_MS;
    let ms = days_ms.checked_add(read.nanoseconds / NANOS_PER_MS)?;
    Some(Amount { months: i64::from(read.months), ms })
}
