//! Random tables: columns of every type, few values so that keys meet, extremes and NULL.

use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::SchemaRef;
use millstream_engine::definition::ROWTIME;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// Rows of a stream at most.
const ROWS_MAX: usize = 40;

/// Out of order by less than the watermark's delay, in milliseconds.
const DELAY_MS: u16 = 5_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Big,
    Double,
    Text,
}

impl Type {
    const fn sql(self) -> &'static str {
        match self {
            Self::Int => "INTEGER",
            Self::Big => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Text => "VARCHAR(8)",
        }
    }

    /// A value most rows are near of.
    pub(super) const fn literal(self) -> &'static str {
        match self {
            Self::Int | Self::Big => "1",
            Self::Double => "CAST(0.5 AS DOUBLE)",
            Self::Text => "'b'",
        }
    }

    /// `column` as text that no two dialects write differently.
    pub(super) fn as_text(self, column: &str) -> String {
        match self {
            Self::Text => column.to_owned(),
            Self::Int | Self::Big => format!("CAST({column} AS VARCHAR(32))"),
            Self::Double => {
                format!("CASE WHEN {column} > {} THEN 'b' ELSE 'a' END", self.literal())
            }
        }
    }

    /// A column of these values: small numbers so that keys meet, extremes, and NULL.
    fn column(self, values: &[u8]) -> ArrayRef {
        let small = |value: u8| i32::from(value % 4);
        match self {
            Self::Int => Arc::new(Int32Array::from_iter(values.iter().map(|v| match v % 16 {
                0 => None,
                1 => Some(i32::MAX),
                2 => Some(i32::MIN),
                _ => Some(small(*v)),
            }))),
            Self::Big => Arc::new(Int64Array::from_iter(values.iter().map(|v| match v % 16 {
                0 => None,
                1 => Some(i64::MAX),
                2 => Some(i64::MIN),
                _ => Some(i64::from(small(*v))),
            }))),
            Self::Double => {
                Arc::new(Float64Array::from_iter(values.iter().map(|v| match v % 16 {
                    0 => None,
                    1 => Some(f64::MAX),
                    2 => Some(f64::INFINITY),
                    _ => Some(f64::from(small(*v)) / 2.0),
                })))
            }
            Self::Text => Arc::new(StringArray::from_iter(values.iter().map(|v| match v % 16 {
                0 => None,
                1 => Some(""),
                2 => Some("é"),
                _ => ["a", "b", "c", "B"].get(usize::from(v % 4)).copied(),
            }))),
        }
    }
}

/// A stream's columns and rows: time, and a value per column.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) types: Vec<Type>,
    rows: Vec<(u16, u16, [u8; 4])>,
}

impl Table {
    pub(super) fn declaration(&self, name: &str) -> String {
        let mut text = format!("CREATE STREAM {name} (t TIMESTAMP");
        for (n, data_type) in self.types.iter().enumerate() {
            write!(text, ", c{n} {}", data_type.sql()).unwrap();
        }
        text + ", WATERMARK FOR t AS t - INTERVAL '5' SECOND);\n"
    }

    pub(super) fn batch(&self, schema: &SchemaRef) -> RecordBatch {
        let mut now = 1_541_066_400_000_i64;
        let times: Vec<i64> = self
            .rows
            .iter()
            .map(|(step, late, _)| {
                now += i64::from(step % 2_000);
                now - i64::from(late % DELAY_MS)
            })
            .collect();
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times));
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            let number = field.name().strip_prefix('C').and_then(|n| n.parse::<usize>().ok());
            match (field.name().as_str(), number) {
                ("T" | ROWTIME, _) => Arc::clone(&times),
                (_, Some(n)) => {
                    let values: Vec<u8> = self.rows.iter().map(|(.., v)| v[n]).collect();
                    self.types[n].column(&values)
                }
                _ => arrow::array::new_null_array(field.data_type(), self.rows.len()),
            }
        });
        RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.types, self.rows)
    }
}

/// Any table.
pub(super) fn table() -> impl Strategy<Value = Table> {
    let data_type = prop_oneof![
        3 => Just(Type::Int),
        2 => Just(Type::Big),
        1 => Just(Type::Double),
        2 => Just(Type::Text)
    ];
    let rows = vec((any::<u16>(), any::<u16>(), any::<[u8; 4]>()), 0..=ROWS_MAX);
    (vec(data_type, 1..=4), rows).prop_map(|(types, rows)| Table { types, rows })
}
