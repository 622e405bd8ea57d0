//! The rows under construction: the columns a reader fills, and the system columns.
//!
//! The invariant: between records all columns have the same length, and a row that failed has left
//! nothing but a [`BadRow`].

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::temporal_conversions::timestamp_ms_to_datetime;
use millstream_engine::definition::{
    ColumnDef, ROWTIME, RelationDef, Rowtime, SYSTEM_COLUMNS, TIMESTAMP_TYPE,
};
use millstream_engine::fault::{BadRow, Reason};
use millstream_engine::{Error, Result};

use super::RecordAddress;
use super::column::{Column, Fault};

/// What a record's field is to the reader that fills it.
#[derive(Debug, Clone)]
pub(super) struct FieldDef {
    /// The column's name, or the name of the field that holds the `ROWTIME`.
    pub(super) name: String,
    /// The path of `MAPPING '…'`.
    pub(super) mapping: Option<String>,
    /// The declared column's place; `None` for a field that is no column.
    pub(super) position: Option<usize>,
}

/// What an output column is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Output {
    /// The field of this index.
    Field(usize),
    /// The system column of this index.
    System(usize),
}

/// What a system column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum System {
    Arrival,
    PartitionKey,
    SequenceNumber,
    ShardId,
}

/// The rows under construction.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    stream: Arc<str>,
    schema: SchemaRef,
    fields: Vec<FieldDef>,
    columns: Vec<Column>,
    system: Vec<(System, Column)>,
    outputs: Vec<Output>,
    /// The field that holds `ROWTIME`, if it is read and a field does.
    rowtime: Option<usize>,
    rowtime_is_arrival: bool,
    /// By how many milliseconds a `ROWTIME` may be later than the arrival of its record.
    ahead_max_ms: Option<i64>,
    len: usize,
    fault: Option<Box<Fault>>,
    bad: Vec<BadRow>,
}

impl Rows {
    pub(super) fn new(def: &RelationDef, projection: &[usize]) -> Result<Self> {
        let mut rows = Self {
            stream: def.name.as_str().into(),
            schema: Arc::new(def.stream_schema().project(projection)?),
            fields: Vec::new(),
            columns: Vec::new(),
            system: Vec::new(),
            outputs: Vec::new(),
            rowtime: None,
            rowtime_is_arrival: def.rowtime == Rowtime::Arrival,
            ahead_max_ms: None,
            len: 0,
            fault: None,
            bad: Vec::new(),
        };
        let schema = def.stream_schema();
        for &index in projection {
            let output = match def.columns.get(index) {
                Some(_) => Output::Field(rows.declared(def, index)?),
                None => rows.system_output(def, schema.field(index).name())?,
            };
            rows.outputs.push(output);
        }
        Ok(rows)
    }

    /// The field of a declared column, made if it is not there yet.
    fn declared(&mut self, def: &RelationDef, index: usize) -> Result<usize> {
        if let Some(found) = self.fields.iter().position(|field| field.position == Some(index)) {
            return Ok(found);
        }
        let column = &def.columns[index];
        self.columns.push(Column::new(column)?);
        let (name, mapping) = (column.name.clone(), column.mapping.clone());
        self.fields.push(FieldDef { name, mapping, position: Some(index) });
        Ok(self.fields.len() - 1)
    }

    fn system_output(&mut self, def: &RelationDef, name: &str) -> Result<Output> {
        let kind = match (name, &def.rowtime) {
            (ROWTIME, Rowtime::Column { column, .. }) => {
                let field = self.declared(def, *column)?;
                self.rowtime = Some(field);
                return Ok(Output::Field(field));
            }
            (ROWTIME, Rowtime::Field(field)) => {
                // A declared column of that name may have another type, so this is a field apart.
                self.columns.push(Column::new(&ColumnDef::new(field, TIMESTAMP_TYPE))?);
                let position = def.columns.iter().position(|column| column.name == *field);
                self.fields.push(FieldDef { name: field.clone(), mapping: None, position: None });
                let index = self.fields.len() - 1;
                self.fields[index].mapping = position
                    .and_then(|position| def.columns[position].mapping.clone())
                    .or_else(|| field.starts_with('$').then(|| field.clone()));
                self.rowtime = Some(index);
                return Ok(Output::Field(index));
            }
            (ROWTIME | "APPROXIMATE_ARRIVAL_TIME", _) => System::Arrival,
            ("PARTITION_KEY", _) => System::PartitionKey,
            ("SEQUENCE_NUMBER", _) => System::SequenceNumber,
            ("SHARD_ID", _) => System::ShardId,
            _ => return Err(Error::bug(format!("no system column is called {name}"))),
        };
        if let Some(found) = self.system.iter().position(|(present, _)| *present == kind) {
            return Ok(Output::System(found));
        }
        let data_type = SYSTEM_COLUMNS.iter().find(|(system, _)| *system == name);
        let data_type = data_type.map_or(DataType::Utf8, |(_, data_type)| data_type.clone());
        self.system.push((kind, Column::new(&ColumnDef::new(name, data_type))?));
        Ok(Output::System(self.system.len() - 1))
    }

    pub(super) fn set_ahead_max(&mut self, ms: i64) {
        self.ahead_max_ms = Some(ms);
    }

    /// What is wrong with the `ROWTIME` of the present row: one far in the future would close every
    /// window that is open.
    fn ahead(&self, arrival_ms: i64) -> Option<String> {
        let time = self.columns.get(self.rowtime?)?.timestamp_ms(self.len)?;
        let ahead_ms = time.saturating_sub(arrival_ms);
        if arrival_ms <= 0 || ahead_ms <= self.ahead_max_ms? {
            return None;
        }
        let (days, hours) = (ahead_ms / 86_400_000, ahead_ms / 3_600_000 % 24);
        let time = timestamp_ms_to_datetime(time)
            .map_or_else(|| format!("{time} ms"), |time| time.to_string());
        Some(format!(
            "ROWTIME {time} is {days} days and {hours} hours later than the record's arrival"
        ))
    }

    pub(super) fn fields(&self) -> &[FieldDef] {
        &self.fields
    }

    pub(super) fn set_absent(&mut self, values: &[(String, Option<String>)]) {
        for column in &mut self.columns {
            let named = |(name, _): &&(String, _)| name.eq_ignore_ascii_case(&column.name);
            column.absent = values.iter().find(named).and_then(|(_, value)| value.clone());
        }
    }

    /// Rows since the last [`Self::finish`].
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Rows and bad rows since the last [`Self::finish`].
    pub(super) fn decided(&self) -> usize {
        self.len + self.bad.len()
    }

    pub(super) fn is_text(&self, field: usize) -> bool {
        self.columns[field].is_text()
    }

    /// Gives `field` of the present row a value. A failure is kept until the row ends, so that the
    /// reader can go on to where that is.
    pub(super) fn set(
        &mut self,
        field: usize,
        set: impl FnOnce(&mut Column, usize) -> Result<(), Box<Fault>>,
    ) {
        if let Err(fault) = set(&mut self.columns[field], self.len) {
            self.fault.get_or_insert(fault);
        }
    }

    /// Whether a key may fill `field`: one spelled exactly as the column shuts out the others.
    pub(super) fn admits(&mut self, field: usize, exact: bool) -> bool {
        let column = &mut self.columns[field];
        let admitted = exact || !column.exact;
        column.exact |= exact;
        admitted
    }

    /// Ends the present row, which was read from `raw`: it is one more, or a bad one.
    pub(super) fn end_row(&mut self, raw: &[u8], address: &RecordAddress<'_>) {
        self.fill_absent();
        if let Some(fault) = self.fault.take() {
            return self.reject(fault.reason, fault.message, raw, address);
        }
        if let Some(message) = self.ahead(address.arrival_ms) {
            return self.reject(Reason::Future, message, raw, address);
        }
        let row = self.len;
        for (kind, column) in &mut self.system {
            let text = match kind {
                System::Arrival => {
                    column.put_timestamp_ms(row, address.arrival_ms);
                    continue;
                }
                System::PartitionKey => address.partition_key,
                System::SequenceNumber => address.sequence_number,
                System::ShardId => address.shard_id,
            };
            let set = text.map(|text| column.set_text(row, text));
            match set {
                Some(Ok(())) => {}
                Some(Err(fault)) => {
                    return self.reject(fault.reason, fault.message, raw, address);
                }
                None => column.set_null(row),
            }
        }
        self.len += 1;
    }

    /// Completes the columns that the record did not mention, and finds forbidden NULLs.
    fn fill_absent(&mut self) {
        let row = self.len;
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.exact = false;
            if column.len() == row {
                match column.absent.take() {
                    Some(text) => {
                        if let Err(fault) = column.set_text(row, &text) {
                            self.fault.get_or_insert(fault);
                        }
                        column.absent = Some(text);
                    }
                    None => column.set_null(row),
                }
            }
            let is_rowtime = self.rowtime == Some(index);
            if self.fault.is_none() && (is_rowtime || !column.nullable) && column.is_null(row) {
                let message = if is_rowtime {
                    format!("column {}: NULL, but it is the ROWTIME", column.name)
                } else {
                    format!("column {}: NULL, but it is NOT NULL", column.name)
                };
                self.fault = Some(Box::new(Fault { reason: Reason::NotNull, message }));
            }
        }
    }

    /// Takes the present row back and sets `raw` aside.
    pub(super) fn reject(
        &mut self,
        reason: Reason,
        message: String,
        raw: &[u8],
        address: &RecordAddress<'_>,
    ) {
        self.fault = None;
        let system = self.system.iter_mut().map(|(_, column)| column);
        for column in self.columns.iter_mut().chain(system) {
            column.truncate(self.len);
        }
        self.bad.push(BadRow {
            reason,
            message,
            stream: Arc::clone(&self.stream),
            partition: Arc::clone(address.partition),
            position: address.position.to_string(),
            rowtime_ms: self.rowtime_is_arrival.then_some(address.arrival_ms),
            raw: raw.to_vec(),
        });
    }

    pub(super) fn finish(&mut self) -> Result<(RecordBatch, Vec<BadRow>)> {
        let fields = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>>>()?;
        let system = self.system.iter_mut().map(|(_, column)| column.finish());
        let system = system.collect::<Result<Vec<_>>>()?;
        let columns = self.outputs.iter().zip(self.schema.fields()).map(|(output, field)| {
            let column = match output {
                Output::Field(index) => &fields[*index],
                Output::System(index) => &system[*index],
            };
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                Ok(cast(column, field.data_type())?)
            }
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.len)));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok((batch, std::mem::take(&mut self.bad)))
    }
}
