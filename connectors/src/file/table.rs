//! Files as a table: read whole, and again when they have changed.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use async_trait::async_trait;
use millstream_engine::definition::{ColumnDef, RelationDef, TIMESTAMP_TYPE};
use millstream_engine::fault::BadRow;
use millstream_engine::port::Table;
use millstream_engine::{Clock, Error, Result};
use object_store::ObjectStoreExt;

use super::lines::{Compression, LastLine};
use super::location::{FileMeta, Location, store_error};
use super::options::{FileFormat, FileOptions};
use super::parquet::file_schema;
use super::reader::ReadPlan;
use super::source::no_files;
use crate::Context;
use crate::options::RelationKind;

/// How much of a file is looked at to find its columns.
const SAMPLE_BYTES: u64 = 1 << 20;

/// How many rows are.
const SAMPLE_ROWS: usize = 10_000;

/// The files of a path as a table.
#[derive(Debug)]
pub struct FileTable {
    plan: ReadPlan,
    location: Location,
    clock: Arc<dyn Clock>,
    refresh: Option<Duration>,
    /// The files as they were when they were read.
    read: Vec<FileMeta>,
}

impl FileTable {
    /// Opens the table `def`, reading the columns `projection` of its declared ones.
    ///
    /// # Errors
    ///
    /// When the path does not exist or no file is there.
    pub async fn open(def: &RelationDef, projection: &[usize], context: &Context) -> Result<Self> {
        let options = FileOptions::parse(RelationKind::Table, def)?;
        let location = Location::open(&options.path, &context.base).await?;
        if location.list().await?.is_empty() {
            return Err(no_files(&options.path));
        }
        let refresh = options.refresh;
        let plan = ReadPlan {
            def: Arc::new(def.clone()),
            projection: projection.to_vec(),
            options,
            decoders: context.decoders,
        };
        Ok(Self { plan, location, clock: Arc::clone(&context.clock), refresh, read: Vec::new() })
    }
}

#[async_trait]
impl Table for FileTable {
    async fn load(&mut self) -> Result<(Vec<RecordBatch>, Vec<BadRow>)> {
        self.read = self.location.list().await?;
        let (mut batches, mut bad_rows) = (Vec::new(), Vec::new());
        for file in &self.read {
            let mut reader = self.plan.open(&self.location.store, file, None)?;
            while let Some((rows, bad)) = reader.next(LastLine::Whole).await? {
                batches.push(rows);
                bad_rows.extend(bad);
            }
        }
        batches.retain(|batch| batch.num_rows() > 0);
        Ok((batches, bad_rows))
    }

    async fn changed(&mut self) {
        let Some(refresh) = self.refresh else { return std::future::pending().await };
        loop {
            self.clock.sleep(refresh).await;
            match self.location.list().await {
                Ok(files) if files == self.read => {}
                // A failed look says nothing; the table stays as it is until one succeeds.
                Err(error) if error.kind() == millstream_engine::ErrorKind::Retry => {}
                _ => return,
            }
        }
    }
}

/// Reads the files of `def` whole: a batch query's input.
///
/// # Errors
///
/// When the path does not exist, cannot be read, or no file is there.
pub async fn read_all(
    def: &RelationDef,
    projection: &[usize],
    context: &Context,
) -> Result<(Vec<RecordBatch>, Vec<BadRow>)> {
    FileTable::open(def, projection, context).await?.load().await
}

/// Whether there is a file at the path of `def`: a sink that has written nothing has none.
///
/// # Errors
///
/// When the path does not exist or cannot be read.
pub async fn has_files(def: &RelationDef, context: &Context) -> Result<bool> {
    let options = FileOptions::parse(RelationKind::Table, def)?;
    let location = Location::open(&options.path, &context.base).await?;
    Ok(!location.list().await?.is_empty())
}

/// The columns found in the first file of `def`, as it spells them, and those its folders name. CSV
/// and JSON files are sampled; a CSV file without a header has columns `C1`, `C2`, ….
///
/// # Errors
///
/// When the path does not exist, no file is there, or its columns cannot be made out.
pub async fn infer_schema(def: &RelationDef, context: &Context) -> Result<Vec<ColumnDef>> {
    let options = FileOptions::parse(RelationKind::Table, def)?;
    let location = Location::open(&options.path, &context.base).await?;
    let files = location.list().await?;
    let Some(file) = files.first() else { return Err(no_files(&options.path)) };
    let schema = match options.format_of(&file.shown)? {
        FileFormat::Parquet => file_schema(&location.store, file).await?,
        format => sample(&location, file, &options, format).await?,
    };
    let mut columns: Vec<ColumnDef> =
        schema.fields().iter().map(|f| ColumnDef::new(f.name(), stored(f.data_type()))).collect();
    let folders: Vec<_> = files.iter().flat_map(FileMeta::folder_values).collect();
    for (name, _) in file.folder_values() {
        if !columns.iter().any(|column| column.name.eq_ignore_ascii_case(&name)) {
            let mut values = folders.iter().filter(|(other, _)| *other == name);
            let whole = values.all(|(_, v)| v.as_ref().is_none_or(|v| v.parse::<i64>().is_ok()));
            let data_type = if whole { DataType::Int64 } else { DataType::Utf8 };
            columns.push(ColumnDef::new(name, data_type));
        }
    }
    Ok(columns)
}

/// What a column found in a file is declared as: the types of the dialect.
fn stored(found: &DataType) -> DataType {
    match found {
        DataType::Timestamp(..) | DataType::Date64 => TIMESTAMP_TYPE,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Dictionary(_, values) => stored(values),
        other => other.clone(),
    }
}

async fn sample(
    location: &Location,
    file: &FileMeta,
    options: &FileOptions,
    format: FileFormat,
) -> Result<Schema> {
    if Compression::of(&file.shown) != Compression::None {
        return Err(Error::settings(format!("cannot find the columns of packed {}", file.shown))
            .with_hint("declare the columns"));
    }
    let range = 0..file.size.min(SAMPLE_BYTES);
    let bytes = if range.is_empty() {
        bytes::Bytes::new()
    } else {
        let read = location.store.get_range(&file.location, range).await;
        read.map_err(|error| store_error(&file.shown, error))?
    };
    // A last line that the sample cut is left out.
    let cut = file.size > SAMPLE_BYTES;
    let end = memchr::memrchr(b'\n', &bytes).filter(|_| cut).map_or(bytes.len(), |at| at + 1);
    let sample = &bytes[..end];
    let found = match format {
        FileFormat::Csv => {
            let Some(delimiter) = options.delimiters.common() else {
                let message =
                    "columns are found only where one character divides the fields of lines";
                return Err(Error::settings(message).with_hint("declare the columns"));
            };
            let format = arrow::csv::reader::Format::default()
                .with_header(options.header)
                .with_delimiter(delimiter);
            let (schema, _) = format.infer_schema(sample, Some(SAMPLE_ROWS))?;
            if options.header { schema } else { numbered(&schema) }
        }
        _ => {
            let (schema, _) = arrow::json::reader::infer_json_schema(sample, Some(SAMPLE_ROWS))?;
            as_text(&schema)
        }
    };
    if found.fields().is_empty() {
        return Err(Error::data(format!("{} is empty: it has no columns", file.shown))
            .with_hint("declare the columns"));
    }
    Ok(found)
}

fn numbered(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().zip(1..);
    let named = fields.map(|(field, n)| field.as_ref().clone().with_name(format!("C{n}")));
    Schema::new(named.collect::<Vec<_>>())
}

/// JSON objects and arrays are carried as their text.
fn as_text(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| {
        let field = field.as_ref().clone();
        if field.data_type().is_nested() { field.with_data_type(DataType::Utf8) } else { field }
    });
    Schema::new(fields.collect::<Vec<_>>())
}
