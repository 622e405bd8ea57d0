//! One column under construction, with values coerced to its SQL type and rows that can be taken
//! back.
//!
//! A slot of the present row may be written more than once (a JSON key that comes twice: the last one
//! wins) or not at all. The invariant: after [`Column::truncate`] nothing of a row is left.
//!
//! The coercions are those of the KDA developer guide's mapping of JSON types to SQL types, with
//! these additions: a whole number in a TIMESTAMP column is milliseconds since the Unix epoch, `1.0`
//! and `1e3` are INTEGERs, and text in a VARBINARY column may be base64 (how KDA writes it) besides
//! `X'…'`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
};
use base64::Engine;
use millstream_engine::definition::ColumnDef;
use millstream_engine::fault::Reason;
use millstream_engine::{Error, Result};

use super::number::{parse_decimal, parse_float, parse_integer};
use super::time::{parse_date, parse_time, parse_timestamp};

/// Why a value cannot stand in a column.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) message: String,
}

/// The SQL type values are coerced to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Boolean,
    /// Whole numbers within these bounds.
    Integer(i64, i64),
    Real,
    Double,
    Decimal(u8, i8),
    Text,
    Binary,
    Date,
    /// Units per second.
    Time(i64),
    /// Units per second.
    Timestamp(i64),
}

/// The values so far; one that is NULL has the type's zero.
#[derive(Debug, Clone)]
enum Values {
    Boolean(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I128(Vec<i128>),
    Bytes { ends: Vec<i32>, data: Vec<u8> },
}

/// A column under construction.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) nullable: bool,
    data_type: DataType,
    length_max: Option<usize>,
    /// How long a value is made at least: characters, or bytes.
    length_min: usize,
    kind: Kind,
    values: Values,
    valid: Vec<bool>,
    nulls: usize,
    /// Whether the present row's value came from a key spelled exactly as the column.
    pub(super) exact: bool,
    /// What stands in the column where the record says nothing.
    pub(super) absent: Option<String>,
}

impl Column {
    /// # Errors
    ///
    /// When nothing can be decoded into the column's type.
    pub(super) fn new(def: &ColumnDef) -> Result<Self> {
        let Some((kind, values)) = kind_and_values(&def.data_type) else {
            let message = format!("column {}: cannot decode a {}", def.name, def.data_type);
            return Err(Error::sql(message).with_hint("declare it as VARCHAR"));
        };
        Ok(Self {
            name: def.name.clone(),
            nullable: def.nullable,
            data_type: def.data_type.clone(),
            length_max: def.length_max,
            length_min: def.length_max.filter(|_| def.padded).unwrap_or_default(),
            kind,
            values,
            valid: Vec::new(),
            nulls: 0,
            exact: false,
            absent: None,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Whether text goes in as it is, so that a blank is a value.
    pub(super) fn is_text(&self) -> bool {
        self.kind == Kind::Text
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        !self.valid.get(row).copied().unwrap_or(false)
    }

    /// Forgets `row` and all behind it.
    pub(super) fn truncate(&mut self, row: usize) {
        self.exact = false;
        if self.valid.len() <= row {
            return;
        }
        self.nulls -= self.valid[row..].iter().filter(|valid| !**valid).count();
        self.valid.truncate(row);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(row),
            Values::I8(values) => values.truncate(row),
            Values::I16(values) => values.truncate(row),
            Values::I32(values) => values.truncate(row),
            Values::I64(values) => values.truncate(row),
            Values::F32(values) => values.truncate(row),
            Values::F64(values) => values.truncate(row),
            Values::I128(values) => values.truncate(row),
            Values::Bytes { ends, data } => {
                data.truncate(bytes_start(ends, row));
                ends.truncate(row);
            }
        }
    }

    pub(super) fn set_null(&mut self, row: usize) {
        match &mut self.values {
            Values::Boolean(values) => put(values, row, false),
            Values::I8(values) => put(values, row, 0),
            Values::I16(values) => put(values, row, 0),
            Values::I32(values) => put(values, row, 0),
            Values::I64(values) => put(values, row, 0),
            Values::F32(values) => put(values, row, 0.0),
            Values::F64(values) => put(values, row, 0.0),
            Values::I128(values) => put(values, row, 0),
            Values::Bytes { ends, data } => {
                let start = bytes_start(ends, row);
                data.truncate(start);
                put(ends, row, i32::try_from(start).unwrap_or(i32::MAX));
            }
        }
        self.set_valid(row, false);
    }

    pub(super) fn set_bool(&mut self, row: usize, value: bool) -> Result<(), Box<Fault>> {
        match self.kind {
            Kind::Boolean => self.put_bool(row, value),
            Kind::Integer(..) => self.put_integer(row, value.into()),
            Kind::Real | Kind::Double => self.put_float(row, value.into()),
            Kind::Text => return self.put_text(row, if value { "true" } else { "false" }),
            Kind::Binary => return self.put_bytes(row, &[value.into()]),
            Kind::Decimal(..) => return self.set_number(row, if value { "1" } else { "0" }),
            Kind::Date | Kind::Time(_) | Kind::Timestamp(_) => {
                return Err(self.fault(if value { "true" } else { "false" }));
            }
        }
        Ok(())
    }

    /// Takes a number as it was written.
    pub(super) fn set_number(&mut self, row: usize, text: &str) -> Result<(), Box<Fault>> {
        match self.kind {
            Kind::Boolean => match parse_float(text) {
                Some(value) => self.put_bool(row, value != 0.0),
                None => return Err(self.fault(text)),
            },
            Kind::Text => return self.put_text(row, text),
            Kind::Timestamp(per_second) => {
                let ms = parse_integer(text).map(|ms| (ms, per_second));
                let units = ms.and_then(|(ms, per_second)| match per_second {
                    1 => Some(ms.div_euclid(1_000)),
                    _ => ms.checked_mul(per_second / 1_000),
                });
                match units {
                    Some(units) => self.put_integer(row, units),
                    None => return Err(self.fault(text)),
                }
            }
            Kind::Date | Kind::Time(_) | Kind::Binary => return Err(self.fault(text)),
            _ => return self.put_number(row, text),
        }
        Ok(())
    }

    /// Takes text: of a JSON string or a CSV field.
    pub(super) fn set_text(&mut self, row: usize, text: &str) -> Result<(), Box<Fault>> {
        match self.kind {
            Kind::Text => return self.put_text(row, text),
            Kind::Boolean => self.put_bool(row, text.trim_ascii().eq_ignore_ascii_case("true")),
            Kind::Binary => match parse_binary(text) {
                Some(bytes) => return self.put_bytes(row, &bytes),
                None => return Err(self.fault(text)),
            },
            Kind::Date => match parse_date(text) {
                Some(days) => self.put_integer(row, days.into()),
                None => return Err(self.fault(text)),
            },
            Kind::Time(per_second) => {
                match parse_time(text).and_then(|time| time.in_units(per_second)) {
                    Some(units) => self.put_integer(row, units),
                    None => return Err(self.fault(text)),
                }
            }
            Kind::Timestamp(per_second) => {
                match parse_timestamp(text).and_then(|moment| moment.in_units(per_second)) {
                    Some(units) => self.put_integer(row, units),
                    None => return Err(self.fault(text)),
                }
            }
            _ => return self.put_number(row, text.trim_ascii()),
        }
        Ok(())
    }

    /// Takes the source text of a JSON array or object.
    pub(super) fn set_nested(&mut self, row: usize, source: &[u8]) -> Result<(), Box<Fault>> {
        match std::str::from_utf8(source) {
            Ok(text) if self.kind == Kind::Text => self.put_text(row, text),
            Ok(text) => Err(self.fault(text)),
            Err(_) => Err(self.fault(&String::from_utf8_lossy(source))),
        }
    }

    /// Takes a time of a column that holds milliseconds.
    pub(super) fn put_timestamp_ms(&mut self, row: usize, ms: i64) {
        self.put_integer(row, ms);
    }

    /// The time at `row` in milliseconds since the Unix epoch, of a column of timestamps.
    pub(super) fn timestamp_ms(&self, row: usize) -> Option<i64> {
        let (Values::I64(values), Kind::Timestamp(per_second)) = (&self.values, &self.kind) else {
            return None;
        };
        let units = *values.get(row)?;
        match per_second {
            1 => units.checked_mul(1_000),
            _ => Some(units.div_euclid(per_second / 1_000)),
        }
    }

    fn put_number(&mut self, row: usize, text: &str) -> Result<(), Box<Fault>> {
        let put = match self.kind {
            Kind::Integer(min, max) => parse_integer(text)
                .filter(|value| (min..=max).contains(value))
                .map(|value| self.put_integer(row, value)),
            Kind::Decimal(precision, scale) => {
                parse_decimal(text, precision, scale).map(|value| self.put_decimal(row, value))
            }
            // A number too large for a REAL is no REAL, rather than an infinite one.
            Kind::Real => parse_float(text)
                .filter(|value| !value.is_finite() || value.abs() <= f64::from(f32::MAX))
                .map(|value| self.put_float(row, value)),
            Kind::Double => parse_float(text).map(|value| self.put_float(row, value)),
            _ => None,
        };
        put.ok_or_else(|| self.fault(text))
    }

    fn put_bool(&mut self, row: usize, value: bool) {
        if let Values::Boolean(values) = &mut self.values {
            put(values, row, value);
        }
        self.set_valid(row, true);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the kind's bounds were checked")]
    fn put_integer(&mut self, row: usize, value: i64) {
        match &mut self.values {
            Values::I8(values) => put(values, row, value as i8),
            Values::I16(values) => put(values, row, value as i16),
            Values::I32(values) => put(values, row, value as i32),
            Values::I64(values) => put(values, row, value),
            _ => {}
        }
        self.set_valid(row, true);
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest REAL")]
    fn put_float(&mut self, row: usize, value: f64) {
        match &mut self.values {
            Values::F32(values) => put(values, row, value as f32),
            Values::F64(values) => put(values, row, value),
            _ => {}
        }
        self.set_valid(row, true);
    }

    fn put_decimal(&mut self, row: usize, value: i128) {
        if let Values::I128(values) = &mut self.values {
            put(values, row, value);
        }
        self.set_valid(row, true);
    }

    fn put_text(&mut self, row: usize, text: &str) -> Result<(), Box<Fault>> {
        let text = match self.length_max {
            // As many bytes as characters are allowed: it cannot be too long.
            Some(max) if text.len() > max => match text.char_indices().nth(max) {
                Some((end, _)) => text.split_at(end).0,
                None => text,
            },
            _ => text,
        };
        let missing = match self.length_min {
            0 => 0,
            length => length.saturating_sub(text.chars().count()),
        };
        self.put_raw(row, text.as_bytes(), (missing, b' '))
    }

    fn put_bytes(&mut self, row: usize, bytes: &[u8]) -> Result<(), Box<Fault>> {
        let length = self.length_max.unwrap_or(usize::MAX).min(bytes.len());
        let missing = self.length_min.saturating_sub(length);
        self.put_raw(row, &bytes[..length], (missing, 0))
    }

    /// Takes `bytes`, with as many of one byte behind them.
    fn put_raw(
        &mut self,
        row: usize,
        bytes: &[u8],
        (missing, filler): (usize, u8),
    ) -> Result<(), Box<Fault>> {
        if let Values::Bytes { ends, data } = &mut self.values {
            data.truncate(bytes_start(ends, row));
            let Ok(end) = i32::try_from(data.len() + bytes.len() + missing) else {
                return Err(self.fault("more than 2 GiB of text in one batch"));
            };
            data.extend_from_slice(bytes);
            data.resize(data.len() + missing, filler);
            put(ends, row, end);
        }
        self.set_valid(row, true);
        Ok(())
    }

    fn set_valid(&mut self, row: usize, valid: bool) {
        match self.valid.get_mut(row) {
            Some(slot) => {
                self.nulls = self.nulls + usize::from(!valid) - usize::from(!*slot);
                *slot = valid;
            }
            None => {
                self.valid.push(valid);
                self.nulls += usize::from(!valid);
            }
        }
    }

    #[cold]
    fn fault(&self, value: &str) -> Box<Fault> {
        let mut shown: String = value.chars().take(VALUE_SHOWN).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        let message = format!("column {}: '{shown}' is not {}", self.name, self.type_name());
        Box::new(Fault { reason: Reason::Coercion, message })
    }

    fn type_name(&self) -> String {
        match self.kind {
            Kind::Boolean => "a BOOLEAN".into(),
            Kind::Integer(_, max) if max == i64::from(i8::MAX) => "a TINYINT".into(),
            Kind::Integer(_, max) if max == i64::from(i16::MAX) => "a SMALLINT".into(),
            Kind::Integer(_, max) if max == i64::from(i32::MAX) => "an INTEGER".into(),
            Kind::Integer(0, max) => format!("a number from 0 to {max}"),
            Kind::Integer(..) => "a BIGINT".into(),
            Kind::Real => "a REAL".into(),
            Kind::Double => "a DOUBLE".into(),
            Kind::Decimal(precision, scale) => format!("a DECIMAL({precision}, {scale})"),
            Kind::Text => "a VARCHAR".into(),
            Kind::Binary => "a VARBINARY".into(),
            Kind::Date => "a DATE".into(),
            Kind::Time(_) => "a TIME".into(),
            Kind::Timestamp(_) => "a TIMESTAMP".into(),
        }
    }

    /// The column so far, as an array; starts again from nothing.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let valid = take(&mut self.valid);
        let nulls = (std::mem::take(&mut self.nulls) > 0).then(|| NullBuffer::from(valid));
        let array: ArrayRef = match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(take(values).into(), nulls)),
            Values::I8(values) => primitive::<Int8Type>(values, nulls),
            Values::I16(values) => primitive::<Int16Type>(values, nulls),
            Values::I32(values) => primitive::<Int32Type>(values, nulls),
            Values::I64(values) => primitive::<Int64Type>(values, nulls),
            Values::F32(values) => primitive::<Float32Type>(values, nulls),
            Values::F64(values) => primitive::<Float64Type>(values, nulls),
            Values::I128(values) => {
                let array = Decimal128Array::new(take(values).into(), nulls);
                match self.kind {
                    Kind::Decimal(precision, scale) => {
                        Arc::new(array.with_precision_and_scale(precision, scale)?)
                    }
                    _ => Arc::new(array),
                }
            }
            Values::Bytes { ends, data } => {
                let offsets: Vec<i32> = std::iter::once(0).chain(ends.drain(..)).collect();
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                let data = Buffer::from_vec(take(data));
                match self.kind {
                    Kind::Text => Arc::new(StringArray::try_new(offsets, data, nulls)?),
                    _ => Arc::new(BinaryArray::try_new(offsets, data, nulls)?),
                }
            }
        };
        if array.data_type() == &self.data_type {
            return Ok(array);
        }
        Ok(cast(&array, &self.data_type)?)
    }
}

/// How many characters of a wrong value a message shows.
const VALUE_SHOWN: usize = 64;

fn primitive<T: arrow::datatypes::ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(take(values).into(), nulls))
}

/// The values so far. The next batch is probably as large, so the room for it is made at once.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

/// Writes the slot of `row`, which is the last one or the next.
fn put<T>(values: &mut Vec<T>, row: usize, value: T) {
    match values.get_mut(row) {
        Some(slot) => *slot = value,
        None => values.push(value),
    }
}

/// Where the bytes of `row` begin. Ends are never negative.
fn bytes_start(ends: &[i32], row: usize) -> usize {
    let end = row.checked_sub(1).and_then(|previous| ends.get(previous));
    end.map_or(0, |end| usize::try_from(*end).unwrap_or(0))
}

fn kind_and_values(data_type: &DataType) -> Option<(Kind, Values)> {
    let integer = |min: i64, max: i64| Kind::Integer(min, max);
    let bytes = Values::Bytes { ends: Vec::new(), data: Vec::new() };
    Some(match data_type {
        DataType::Boolean => (Kind::Boolean, Values::Boolean(Vec::new())),
        DataType::Int8 => (integer(i8::MIN.into(), i8::MAX.into()), Values::I8(Vec::new())),
        DataType::Int16 => (integer(i16::MIN.into(), i16::MAX.into()), Values::I16(Vec::new())),
        DataType::Int32 => (integer(i32::MIN.into(), i32::MAX.into()), Values::I32(Vec::new())),
        DataType::Int64 => (integer(i64::MIN, i64::MAX), Values::I64(Vec::new())),
        DataType::UInt8 => (integer(0, u8::MAX.into()), Values::I64(Vec::new())),
        DataType::UInt16 => (integer(0, u16::MAX.into()), Values::I64(Vec::new())),
        DataType::UInt32 => (integer(0, u32::MAX.into()), Values::I64(Vec::new())),
        DataType::Float32 => (Kind::Real, Values::F32(Vec::new())),
        DataType::Float64 => (Kind::Double, Values::F64(Vec::new())),
        DataType::Decimal128(precision, scale) => {
            (Kind::Decimal(*precision, *scale), Values::I128(Vec::new()))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => (Kind::Text, bytes),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => (Kind::Binary, bytes),
        DataType::Date32 => (Kind::Date, Values::I32(Vec::new())),
        DataType::Time32(unit) => (Kind::Time(per_second(*unit)), Values::I32(Vec::new())),
        DataType::Time64(unit) => (Kind::Time(per_second(*unit)), Values::I64(Vec::new())),
        DataType::Timestamp(unit, _) => {
            (Kind::Timestamp(per_second(*unit)), Values::I64(Vec::new()))
        }
        _ => return None,
    })
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// `X'00ff'` or base64.
fn parse_binary(text: &str) -> Option<Vec<u8>> {
    let hex = text.strip_prefix(['X', 'x']).and_then(|rest| rest.strip_prefix('\''));
    let Some(hex) = hex.and_then(|rest| rest.strip_suffix('\'')) else {
        return base64::engine::general_purpose::STANDARD.decode(text).ok();
    };
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some((nibble(*high)? << 4) | nibble(*low)?),
            _ => None,
        })
        .collect()
}
