//! A Parquet file: the columns that are read, cast to their declared types.
//!
//! A value that does not fit its column makes its row a bad row, as in the other formats. A declared
//! column that the file does not have is NULL, or what the file's folders say.

use std::fmt;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::async_reader::{
    ParquetObjectReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder,
};
use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMillisecondArray,
    new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::substring::substring_by_char;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use millstream_engine::definition::{
    ColumnDef, ROWTIME, RelationDef, Rowtime, SYSTEM_COLUMNS, TIMESTAMP_TYPE,
};
use millstream_engine::fault::{BadRow, Reason};
use millstream_engine::{Error, Result};
use object_store::ObjectStore;

use super::location::FileMeta;
use super::reader::ReadPlan;

/// Before the number of rows in a position.
const ROW: &str = "row ";

/// Rows decoded at once.
const BATCH_ROWS: usize = 8_192;

/// A column of the result.
#[derive(Debug, Clone)]
struct Wanted {
    column: ColumnDef,
    from: From,
    is_rowtime: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    /// The file's column of that name.
    File,
    /// When the file was written.
    Arrival,
    /// Nothing: a system column that files do not know.
    Nowhere,
}

/// A Parquet file being read.
pub(super) struct ParquetReader {
    store: Arc<dyn ObjectStore>,
    file: FileMeta,
    stream: Arc<str>,
    rowtime_is_arrival: bool,
    schema: SchemaRef,
    wanted: Vec<Wanted>,
    opened: Option<Opened>,
    /// Rows before the next one.
    rows: u64,
}

/// A file whose footer was read.
struct Opened {
    batches: ParquetRecordBatchStream<ParquetObjectReader>,
    /// For each wanted column, its place in the batches.
    places: Vec<Option<usize>>,
}

impl fmt::Debug for ParquetReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParquetReader({} after row {})", self.file.shown, self.rows)
    }
}

impl ParquetReader {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        file: FileMeta,
        plan: &ReadPlan,
    ) -> Result<Self> {
        let schema = Arc::new(plan.def.stream_schema().project(&plan.projection)?);
        let all = plan.def.stream_schema();
        let of = |&index: &usize| wanted(&plan.def, index, all.field(index).name());
        let mut wanted = plan.projection.iter().map(of).collect::<Result<Vec<_>>>()?;
        // A column that is the ROWTIME is so under its own name as well.
        if let Rowtime::Column { column, .. } = &plan.def.rowtime {
            let name = &plan.def.columns[*column].name;
            let reads_time = wanted.iter().any(|wanted| wanted.is_rowtime);
            for wanted in wanted.iter_mut().filter(|wanted| wanted.column.name == *name) {
                wanted.is_rowtime |= reads_time;
            }
        }
        Ok(Self {
            store,
            file,
            stream: plan.def.name.as_str().into(),
            rowtime_is_arrival: plan.def.rowtime == Rowtime::Arrival,
            schema,
            wanted,
            opened: None,
            rows: 0,
        })
    }

    pub(super) fn position(&self) -> String {
        format!("{ROW}{}", self.rows)
    }

    /// The same reader, going on behind the first `rows` rows.
    pub(super) fn resumed(mut self, rows: u64) -> Self {
        self.rows = rows;
        self
    }

    /// The rows before the position of which `text` is the text.
    pub(super) fn parse_position(text: &str) -> Option<u64> {
        text.strip_prefix(ROW)?.parse().ok()
    }

    pub(super) async fn next(&mut self) -> Result<Option<(RecordBatch, Vec<BadRow>)>> {
        if self.opened.is_none() {
            self.opened = Some(self.open().await?);
        }
        let Some(opened) = &mut self.opened else { return Ok(None) };
        match opened.batches.next().await {
            Some(Ok(batch)) => self.convert(&batch).map(Some),
            Some(Err(error)) => Err(self.unreadable(&error)),
            None => Ok(None),
        }
    }

    fn unreadable(&self, error: &dyn fmt::Display) -> Error {
        Error::data(format!("cannot read {} as Parquet: {error}", self.file.shown))
    }

    async fn open(&mut self) -> Result<Opened> {
        let reader = ParquetObjectReader::new(Arc::clone(&self.store), self.file.location.clone())
            .with_file_size(self.file.size);
        let builder = ParquetRecordBatchStreamBuilder::new(reader)
            .await
            .map_err(|error| self.unreadable(&error))?;
        let places = self.wanted.iter().map(|wanted| {
            let found = || find(builder.schema(), wanted.column.mapping.as_deref(), &wanted.column);
            (wanted.from == From::File).then(found).flatten()
        });
        let places: Vec<Option<usize>> = places.collect();
        let mut roots: Vec<usize> = places.iter().copied().flatten().collect();
        roots.sort_unstable();
        roots.dedup();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
        let batches = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .with_offset(usize::try_from(self.rows).unwrap_or(usize::MAX))
            .build()
            .map_err(|error| self.unreadable(&error))?;
        let in_batch = |place: usize| roots.binary_search(&place).ok();
        let places = places.into_iter().map(|place| place.and_then(in_batch)).collect();
        Ok(Opened { batches, places })
    }

    fn convert(&mut self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<BadRow>)> {
        let places = self.opened.as_ref().map(|opened| opened.places.clone()).unwrap_or_default();
        let folders = self.file.folder_values();
        let rows = batch.num_rows();
        let mut complaints: Vec<Option<(Reason, String)>> = vec![None; rows];
        let mut columns = Vec::with_capacity(self.wanted.len());
        for (wanted, place) in self.wanted.iter().zip(places) {
            let column = match (wanted.from, place) {
                (From::Arrival, _) => {
                    let times = vec![self.file.modified_ms; rows];
                    Arc::new(TimestampMillisecondArray::from(times)) as ArrayRef
                }
                (_, Some(place)) => coerce(batch.column(place), &wanted.column, &mut complaints)?,
                (_, None) => absent(&wanted.column, &folders, rows)?,
            };
            if wanted.is_rowtime || !wanted.column.nullable {
                forbid_nulls(&column, wanted, &mut complaints);
            }
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let good = BooleanBuffer::collect_bool(rows, |row| complaints[row].is_none());
        let schema = Arc::clone(&self.schema);
        let first_row = self.rows;
        self.rows += rows as u64;
        if good.count_set_bits() == rows {
            return Ok((RecordBatch::try_new_with_options(schema, columns, &options)?, Vec::new()));
        }
        let good = BooleanArray::new(good, None);
        let filtered = columns.iter().map(|column| arrow::compute::filter(column, &good));
        let filtered = filtered.collect::<Result<Vec<_>, _>>()?;
        let options = options.with_row_count(Some(good.true_count()));
        let result = RecordBatch::try_new_with_options(schema, filtered, &options)?;
        Ok((result, self.bad_rows(batch, complaints, first_row)?))
    }

    fn bad_rows(
        &self,
        batch: &RecordBatch,
        complaints: Vec<Option<(Reason, String)>>,
        first_row: u64,
    ) -> Result<Vec<BadRow>> {
        let mut bad = Vec::new();
        for (row, complaint) in complaints.into_iter().enumerate() {
            let Some((reason, message)) = complaint else { continue };
            bad.push(BadRow {
                reason,
                message,
                stream: Arc::clone(&self.stream),
                partition: Arc::clone(&self.file.shown),
                position: format!("row {}", first_row + row as u64 + 1),
                rowtime_ms: self.rowtime_is_arrival.then_some(self.file.modified_ms),
                raw: row_text(batch, row)?,
            });
        }
        Ok(bad)
    }
}

fn wanted(def: &RelationDef, index: usize, name: &str) -> Result<Wanted> {
    if let Some(column) = def.columns.get(index) {
        return Ok(Wanted { column: column.clone(), from: From::File, is_rowtime: false });
    }
    let (column, from) = match (name, &def.rowtime) {
        (ROWTIME, Rowtime::Column { column, .. }) => {
            let declared = &def.columns[*column];
            let column = ColumnDef { data_type: TIMESTAMP_TYPE, ..declared.clone() };
            (column, From::File)
        }
        (ROWTIME, Rowtime::Field(field)) => (ColumnDef::new(field, TIMESTAMP_TYPE), From::File),
        (ROWTIME | "APPROXIMATE_ARRIVAL_TIME", _) => {
            (ColumnDef::new(name, TIMESTAMP_TYPE), From::Arrival)
        }
        _ => {
            let system = SYSTEM_COLUMNS.iter().find(|(system, _)| *system == name);
            let Some((_, data_type)) = system else {
                return Err(Error::bug(format!("no system column is called {name}")));
            };
            (ColumnDef::new(name, data_type.clone()), From::Nowhere)
        }
    };
    Ok(Wanted { column, from, is_rowtime: name == ROWTIME })
}

/// The file's column for `column`: by its mapping's key, else by its name, else by its name in other
/// letters.
fn find(schema: &Schema, mapping: Option<&str>, column: &ColumnDef) -> Option<usize> {
    let wanted = match mapping {
        Some(mapping) => mapping.strip_prefix("$.").unwrap_or(mapping),
        None => &column.name,
    };
    let exact = schema.fields().iter().position(|field| field.name() == wanted);
    exact.or_else(|| {
        let wanted = wanted.to_lowercase();
        schema.fields().iter().position(|field| field.name().to_lowercase() == wanted)
    })
}

/// `values` in the column's type. What cannot be cast is a complaint about its row.
fn coerce(
    values: &ArrayRef,
    column: &ColumnDef,
    complaints: &mut [Option<(Reason, String)>],
) -> Result<ArrayRef> {
    let lossy = CastOptions { safe: true, ..CastOptions::default() };
    let result = if values.data_type() == &column.data_type {
        Arc::clone(values)
    } else {
        cast_with_options(values, &column.data_type, &lossy).map_err(|error| {
            Error::data(format!("column {}: {error}", column.name))
                .with_hint("declare the column with the type it has in the file")
        })?
    };
    if result.null_count() > values.null_count() {
        let shown = cast(values, &DataType::Utf8).ok();
        for (row, complaint) in complaints.iter_mut().enumerate() {
            if result.is_null(row) && values.is_valid(row) && complaint.is_none() {
                let value = shown.as_ref().map(|shown| {
                    arrow::util::display::array_value_to_string(shown, row).unwrap_or_default()
                });
                let message = format!(
                    "column {}: '{}' is not a {}",
                    column.name,
                    value.unwrap_or_default(),
                    column.data_type
                );
                *complaint = Some((Reason::Coercion, message));
            }
        }
    }
    let strings = result.as_any().downcast_ref::<arrow::array::StringArray>();
    match (column.length_max, strings) {
        (Some(max), Some(strings)) if column.padded => {
            // Rust counts the width of a padded text in characters, as the dialect does.
            let padded = strings.iter().map(|text| {
                text.map(|text| format!("{:<max$}", text.chars().take(max).collect::<String>()))
            });
            Ok(Arc::new(padded.collect::<arrow::array::StringArray>()))
        }
        (Some(max), Some(strings)) if strings.value_data().len() > max => {
            Ok(Arc::new(substring_by_char(strings, 0, Some(max as u64))?))
        }
        _ => Ok(result),
    }
}

/// What stands in a column that the file does not have.
fn absent(
    column: &ColumnDef,
    folders: &[(String, Option<String>)],
    rows: usize,
) -> Result<ArrayRef> {
    let named = |(name, _): &&(String, _)| name.eq_ignore_ascii_case(&column.name);
    match folders.iter().find(named) {
        Some((name, Some(value))) => {
            let value =
                ScalarValue::try_from_string(value.clone(), &column.data_type).map_err(|_| {
                    let wanted = &column.data_type;
                    Error::data(format!("folder {name}={value}: not a {wanted}"))
                })?;
            Ok(value.to_array_of_size(rows)?)
        }
        _ => Ok(new_null_array(&column.data_type, rows)),
    }
}

fn forbid_nulls(column: &ArrayRef, wanted: &Wanted, complaints: &mut [Option<(Reason, String)>]) {
    if column.null_count() == 0 {
        return;
    }
    let what = if wanted.is_rowtime { "the ROWTIME" } else { "NOT NULL" };
    for (row, complaint) in complaints.iter_mut().enumerate() {
        if column.is_null(row) && complaint.is_none() {
            let message = format!("column {}: NULL, but it is {what}", wanted.column.name);
            *complaint = Some((Reason::NotNull, message));
        }
    }
}

/// A row as a JSON object: what is left of it for a person to look at.
fn row_text(batch: &RecordBatch, row: usize) -> Result<Vec<u8>> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(&batch.slice(row, 1))?;
    writer.finish()?;
    Ok(writer.into_inner().trim_ascii_end().to_vec())
}

/// The columns of a Parquet file.
pub(super) async fn file_schema(store: &Arc<dyn ObjectStore>, file: &FileMeta) -> Result<Schema> {
    let reader = ParquetObjectReader::new(Arc::clone(store), file.location.clone())
        .with_file_size(file.size);
    let opened = ParquetRecordBatchStreamBuilder::new(reader).await;
    let opened = opened
        .map_err(|error| Error::data(format!("cannot read {} as Parquet: {error}", file.shown)))?;
    Ok(opened.schema().as_ref().clone())
}
