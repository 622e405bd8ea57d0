//! One output file under construction, in memory, in its format.
//!
//! Types are made such that every reader understands them: timestamps are INT64 milliseconds or
//! microseconds, never INT96 or nanoseconds; text in JSON and CSV is UTF-8, binary is base64 as in
//! KDA. CSV follows RFC 4180: NULL is an empty field and an empty text is `""`. JSON is one object
//! per line with a key for every column, NULL or not, so that a reader that guesses the columns from
//! the first lines finds all of them.

use std::fmt::Write;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine;
use millstream_engine::{Error, Result};

use super::options::{FileFormat, FileSinkOptions};
use crate::decode::{Delimiters, Format, csv_record_end};

/// How rows become bytes: the same for all files of a sink.
#[derive(Debug, Clone)]
pub(crate) struct Encoding {
    format: FileFormat,
    header: bool,
    delimiters: Delimiters,
    compression: Compression,
    /// The columns of a file, with their stored types.
    schema: SchemaRef,
}

/// A row that cannot be stored: which one, and the column that is to blame.
pub(crate) type Unstorable = (usize, String);

/// An open file.
#[derive(Debug)]
pub(super) struct Encoder {
    encoding: Encoding,
    output: Output,
    pub(super) rows: u64,
}

#[derive(Debug)]
enum Output {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Text(Vec<u8>),
}

impl Encoding {
    /// The encoding of rows of `schema` (output names, partition columns left out).
    ///
    /// # Errors
    ///
    /// When the format cannot hold a column.
    pub(super) fn new(options: &FileSinkOptions, schema: &Schema) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| {
            let stored = stored_type(field.data_type());
            Field::new(field.name(), stored, true)
        });
        let fields: Vec<Field> = fields.collect();
        if fields.is_empty() {
            return Err(Error::settings(
                "every column is a partition column: the files would be empty",
            )
            .with_hint("leave a column out of partition_by"));
        }
        let nested = fields.iter().find(|field| field.data_type().is_nested());
        if let (Some(field), FileFormat::Csv) = (nested, options.format) {
            let message = format!("column {}: CSV cannot hold a nested value", field.name());
            return Err(Error::settings(message).with_hint("use format = 'json' or 'parquet'"));
        }
        let compression = match options.compression {
            "snappy" => Compression::SNAPPY,
            "none" => Compression::UNCOMPRESSED,
            _ => Compression::ZSTD(ZstdLevel::default()),
        };
        Ok(Self {
            format: options.format,
            header: options.header,
            delimiters: options.delimiters.clone(),
            compression,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The encoding of rows of `schema` as records of their own, without a header.
    ///
    /// # Errors
    ///
    /// When the format cannot hold a column.
    pub(crate) fn of_records(format: &Format, schema: &Schema) -> Result<Self> {
        let (format, delimiters) = match format {
            Format::Json => (FileFormat::Json, Delimiters::default()),
            Format::Csv(delimiters) => (FileFormat::Csv, delimiters.clone()),
        };
        let stored = |field: &Field| Field::new(field.name(), stored_type(field.data_type()), true);
        let fields: Vec<Field> = schema.fields().iter().map(|field| stored(field)).collect();
        let nested = fields.iter().find(|field| field.data_type().is_nested());
        if let (Some(field), FileFormat::Csv) = (nested, format) {
            let message = format!("column {}: CSV cannot hold a nested value", field.name());
            return Err(Error::settings(message).with_hint("use format = 'json'"));
        }
        let (compression, schema) = (Compression::UNCOMPRESSED, Arc::new(Schema::new(fields)));
        Ok(Self { format, header: false, delimiters, compression, schema })
    }

    /// Each of `rows` as text, without the end of the line.
    ///
    /// # Errors
    ///
    /// When a value has no text: our bug.
    pub(crate) fn records(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let mut text = Vec::new();
        let csv = self.format == FileFormat::Csv;
        if csv {
            write_csv(&mut text, rows, &self.delimiters)?;
        } else {
            write_json(&mut text, rows)?;
        }
        let (mut rest, mut records) = (text.as_slice(), Vec::with_capacity(rows.num_rows()));
        while !rest.is_empty() {
            let end = match self.format {
                FileFormat::Csv => csv_record_end(rest, &self.delimiters, rest.len()),
                _ => memchr::memchr(b'\n', rest).map(|at| at + 1),
            };
            let (record, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let end = if csv { self.delimiters.row() } else { b"\n" };
            records.push(record.strip_suffix(end).unwrap_or(record).to_vec());
            rest = behind;
        }
        Ok(records)
    }

    /// The ending of a file's name.
    pub(super) fn ending(&self) -> &'static str {
        match self.format {
            FileFormat::Csv => "csv",
            FileFormat::Json => "json",
            FileFormat::Parquet => "parquet",
        }
    }

    /// An empty file.
    pub(super) fn begin(&self) -> Result<Encoder> {
        let output = if self.format == FileFormat::Parquet {
            let properties = WriterProperties::builder().set_compression(self.compression).build();
            let schema = Arc::clone(&self.schema);
            let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties));
            Output::Parquet(Box::new(writer.map_err(|error| parquet_error(&error))?))
        } else {
            let mut text = Vec::new();
            if self.format == FileFormat::Csv && self.header {
                for (index, field) in self.schema.fields().iter().enumerate() {
                    if index > 0 {
                        text.extend_from_slice(self.delimiters.field());
                    }
                    csv_field(&mut text, field.name(), &self.delimiters);
                }
                text.extend_from_slice(self.delimiters.row());
            }
            Output::Text(text)
        };
        Ok(Encoder { encoding: self.clone(), output, rows: 0 })
    }

    /// `rows` with the stored types, without those whose timestamps the format cannot hold; and which
    /// those are, with the name of a column that cannot be held.
    ///
    /// # Errors
    ///
    /// When a type has no stored form: our bug.
    pub(crate) fn storable(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<Unstorable>)> {
        let strict = CastOptions { safe: true, ..CastOptions::default() };
        let mut lost: Vec<bool> = Vec::new();
        let mut unstorable = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns());
        for (column, field) in rows.columns().iter().zip(self.schema.fields()) {
            if column.data_type() == field.data_type() {
                columns.push(Arc::clone(column));
                continue;
            }
            let stored = cast_with_options(column, field.data_type(), &strict)?;
            if stored.null_count() > column.null_count() {
                lost.resize(rows.num_rows(), false);
                for (row, lost) in lost.iter_mut().enumerate() {
                    if !*lost && stored.is_null(row) && column.is_valid(row) {
                        *lost = true;
                        unstorable.push((row, field.name().clone()));
                    }
                }
            }
            columns.push(stored);
        }
        let stored = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        if lost.is_empty() {
            return Ok((stored, unstorable));
        }
        let kept = lost.iter().map(|lost| Some(!lost)).collect();
        Ok((arrow::compute::filter_record_batch(&stored, &kept)?, unstorable))
    }
}

impl Encoder {
    /// Appends rows that [`Encoding::storable`] returned.
    ///
    /// # Errors
    ///
    /// When the writer refuses them: our bug.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match &mut self.output {
            Output::Parquet(writer) => writer.write(rows).map_err(|error| parquet_error(&error))?,
            Output::Text(text) if self.encoding.format == FileFormat::Csv => {
                write_csv(text, rows, &self.encoding.delimiters)?;
            }
            Output::Text(text) => write_json(text, rows)?,
        }
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// About how large the file is, in bytes.
    pub(super) fn size(&self) -> u64 {
        match &self.output {
            Output::Parquet(writer) => (writer.bytes_written() + writer.in_progress_size()) as u64,
            Output::Text(text) => text.len() as u64,
        }
    }

    /// The complete file.
    ///
    /// # Errors
    ///
    /// When the writer refuses: our bug.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        match self.output {
            Output::Parquet(writer) => writer.into_inner().map_err(|error| parquet_error(&error)),
            Output::Text(text) => Ok(text),
        }
    }
}

fn parquet_error(error: &::parquet::errors::ParquetError) -> Error {
    Error::bug(format!("cannot write Parquet: {error}"))
}

/// The type a column is written as.
fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Time64(TimeUnit::Nanosecond) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        // Parquet has no intervals that readers agree on; their text is what SQL prints.
        DataType::Interval(_) | DataType::Duration(_) | DataType::Null => DataType::Utf8,
        DataType::Dictionary(_, values) => stored_type(values),
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        other => other.clone(),
    }
}

/// How values read in CSV: what a person and Hive expect of a timestamp.
pub(crate) fn csv_format() -> FormatOptions<'static> {
    FormatOptions::new().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
}

fn write_csv(text: &mut Vec<u8>, rows: &RecordBatch, delimiters: &Delimiters) -> Result<()> {
    let columns: Vec<ArrayRef> = rows.columns().iter().map(base64_text).collect();
    let format = csv_format();
    let formatters = columns.iter().map(|column| ArrayFormatter::try_new(column, &format));
    let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
    let mut number = String::new();
    for row in 0..rows.num_rows() {
        for (index, (column, formatter)) in columns.iter().zip(&formatters).enumerate() {
            if index > 0 {
                text.extend_from_slice(delimiters.field());
            }
            if column.is_null(row) {
                // A line of one empty field would be a blank line, which is no row to any reader.
                if columns.len() == 1 {
                    text.extend_from_slice(b"\"\"");
                }
                continue;
            }
            match column.as_string_opt::<i32>() {
                Some(strings) => csv_field(text, strings.value(row), delimiters),
                None => {
                    number.clear();
                    write!(number, "{}", formatter.value(row))
                        .map_err(|error| Error::bug(format!("a value has no text: {error}")))?;
                    csv_field(text, &number, delimiters);
                }
            }
        }
        text.extend_from_slice(delimiters.row());
    }
    Ok(())
}

/// Writes a field, in quotes if it needs them. An empty text has them, to differ from NULL.
fn csv_field(text: &mut Vec<u8>, value: &str, delimiters: &Delimiters) {
    let blank_edge = value.starts_with(' ') || value.ends_with(' ');
    if !value.is_empty() && !blank_edge && !delimiters.occur_in(value.as_bytes()) {
        text.extend_from_slice(value.as_bytes());
        return;
    }
    text.push(b'"');
    for byte in value.bytes() {
        if byte == b'"' {
            text.push(b'"');
        }
        text.push(byte);
    }
    text.push(b'"');
}

/// Binary as base64; other columns as they are.
fn base64_text(column: &ArrayRef) -> ArrayRef {
    match column.as_binary_opt::<i32>() {
        Some(values) => {
            let engine = base64::engine::general_purpose::STANDARD;
            let texts = values.iter().map(|value| value.map(|bytes| engine.encode(bytes)));
            Arc::new(texts.collect::<StringArray>())
        }
        None => Arc::clone(column),
    }
}

fn write_json(text: &mut Vec<u8>, rows: &RecordBatch) -> Result<()> {
    let columns = rows.columns().iter().map(json_column).collect::<Result<Vec<_>>>()?;
    let schema = rows.schema();
    let fields = schema.fields().iter().zip(&columns);
    let fields: Vec<Field> =
        fields.map(|(f, c)| Field::new(f.name(), c.data_type().clone(), true)).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut *text);
    writer.write(&batch)?;
    Ok(writer.finish()?)
}

/// A column in the types that JSON has: timestamps as CSV writes them, binary as base64.
fn json_column(column: &ArrayRef) -> Result<ArrayRef> {
    let data_type = column.data_type();
    if data_type.is_temporal() {
        let format = csv_format();
        let options = CastOptions { format_options: format, ..CastOptions::default() };
        return Ok(cast_with_options(column, &DataType::Utf8, &options)?);
    }
    if let DataType::Float16 = data_type {
        return Ok(cast(column, &DataType::Float32)?);
    }
    Ok(base64_text(column))
}
