//! Streams, tables and sinks as the SQL text declared them.
//!
//! These are values that `sql` produces and `connectors` consumes; the two never see each other.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The system column that carries a row's time; the last declared-or-system column a stream's
/// readers see by default.
pub const ROWTIME: &str = "ROWTIME";

/// The type of `ROWTIME` and of every `TIMESTAMP`: milliseconds since the Unix epoch, UTC, no zone.
pub const TIMESTAMP_TYPE: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// A declared column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    /// The name after identifier folding.
    pub name: String,
    /// Its Arrow type.
    pub data_type: DataType,
    /// The `n` of `VARCHAR(n)` or `CHAR(n)`, in characters, or of `VARBINARY(n)` or `BINARY(n)`, in
    /// bytes: longer input is cut silently, as in KDA.
    pub length_max: Option<usize>,
    /// Whether shorter input is filled up to that length, with blanks or zero bytes: `CHAR(n)` and
    /// `BINARY(n)`.
    pub padded: bool,
    /// Whether NULL is allowed. A NULL in a `NOT NULL` column makes the row a bad row.
    pub nullable: bool,
    /// The JSON path of `MAPPING '$.a.b'`, else the column is found by its name.
    pub mapping: Option<String>,
}

impl ColumnDef {
    /// A nullable column found by its name.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        let (name, mapping) = (name.into(), None);
        Self { name, data_type, length_max: None, padded: false, nullable: true, mapping }
    }
}

/// How a stream's rows get their `ROWTIME`.
#[derive(Debug, Clone, PartialEq)]
pub enum Rowtime {
    /// When the source received the row, made non-decreasing per source partition.
    Arrival,
    /// A declared column, from `WATERMARK FOR column AS column - delay`.
    Column {
        /// Index into the declared columns.
        column: usize,
        /// How far behind the newest row an older one may come, in milliseconds.
        delay_ms: i64,
    },
    /// A field of the record that need not be a declared column, from `rowtime = 'field'`. Made
    /// non-decreasing per source partition, like an arrival time.
    Field(String),
}

/// A declared stream, table or sink.
#[derive(Debug, Clone, PartialEq)]
pub struct RelationDef {
    /// The name after identifier folding.
    pub name: String,
    /// The declared columns, in order, without system columns.
    pub columns: Vec<ColumnDef>,
    /// The options of `WITH (…)`: names in lower case, in order of appearance.
    pub options: Vec<(String, String)>,
    /// How rows get their time; of no meaning for tables and sinks.
    pub rowtime: Rowtime,
}

impl RelationDef {
    /// The value of the option `name`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The declared columns as an Arrow schema. `NOT NULL` is not in it: a bad row is set aside while
    /// decoding, and the optimizer must not rely on what a file of someone else's says.
    pub fn declared_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.declared_fields()))
    }

    /// What readers of the stream see: the declared columns, then [`SYSTEM_COLUMNS`].
    pub fn stream_schema(&self) -> SchemaRef {
        let mut fields = self.declared_fields();
        for (name, data_type) in SYSTEM_COLUMNS {
            if !self.columns.iter().any(|column| column.name == name) {
                fields.push(Field::new(name, data_type, name != ROWTIME));
            }
        }
        Arc::new(Schema::new(fields))
    }

    fn declared_fields(&self) -> Vec<Field> {
        self.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect()
    }
}

/// The system columns of a stream, in this order behind the declared ones. `ROWTIME` exists on every
/// stream; the others are NULL where the connector does not know them. None of them is in `*`.
pub const SYSTEM_COLUMNS: [(&str, DataType); 5] = [
    (ROWTIME, TIMESTAMP_TYPE),
    ("APPROXIMATE_ARRIVAL_TIME", TIMESTAMP_TYPE),
    ("PARTITION_KEY", DataType::Utf8),
    ("SEQUENCE_NUMBER", DataType::Utf8),
    ("SHARD_ID", DataType::Utf8),
];
