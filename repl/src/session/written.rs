//! Files as tables: what a sink has written, what lies at a path, and what columns files have.
//!
//! Names of columns are folded as identifiers are, so that a query need not quote the `company_id` of
//! a CSV header. Folders of the form `name=value` are columns as well.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::catalog::view::ViewTable;
use datafusion::common::Column;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use millstream_engine::definition::{ColumnDef, RelationDef, TIMESTAMP_TYPE};
use millstream_sql::plan;

use super::Session;
use super::batch::session_context;
use crate::failure::Failure;

/// What is known about files before they are opened.
#[derive(Debug, Clone, Default)]
struct Shape {
    /// `csv`, `json` or `parquet`; else the files' names tell.
    format: Option<String>,
    /// csv: whether the first line names the columns.
    header: Option<bool>,
    /// csv: what stands between fields.
    delimiter: Option<u8>,
    /// The columns, for what the files themselves do not say.
    columns: Option<SchemaRef>,
}

impl Shape {
    fn of(def: &RelationDef) -> Self {
        let flag = |value: &str| !value.eq_ignore_ascii_case("false");
        Self {
            format: def.option("format").map(str::to_lowercase),
            header: def.option("header").map(flag),
            delimiter: def.option("delimiter").and_then(|value| value.bytes().next()),
            columns: None,
        }
    }
}

/// Files that were found.
struct Found {
    url: ListingTableUrl,
    options: ListingOptions,
    schema: SchemaRef,
}

impl Session {
    /// What the sink `def` has written so far.
    pub(super) async fn files_of_sink(
        &self,
        context: &SessionContext,
        def: &RelationDef,
    ) -> Result<Arc<dyn TableProvider>, Failure> {
        let columns = plan::describe(&self.catalog, &def.name).map_err(|e| self.failure(&e))?;
        let Some(path) = def.option("path") else {
            return Err(Failure::with_hint(
                format_args!("sink {} writes no files that could be read", def.name),
                "only sinks with connector = 'file' can be queried",
            ));
        };
        let format = def.option("format").unwrap_or("parquet").to_lowercase();
        let shape =
            Shape { columns: Some(Arc::clone(&columns)), format: Some(format), ..Shape::of(def) };
        match self.find(context, &format!("{}/", path.trim_end_matches('/')), &shape).await? {
            Some(found) => self.table(found),
            None => Ok(Arc::new(MemTable::try_new(columns, vec![Vec::new()])?)),
        }
    }

    /// The files at `path`: a file, a folder, a glob or a URL.
    pub(super) async fn files_at(
        &self,
        context: &SessionContext,
        path: &str,
    ) -> Result<Arc<dyn TableProvider>, Failure> {
        match self.find(context, path, &Shape::default()).await? {
            Some(found) => self.table(found),
            None => Err(nothing_at(path)),
        }
    }

    /// The columns of the files of a table that was declared without any.
    pub(super) async fn columns_of_files(
        &self,
        def: &RelationDef,
    ) -> Result<Vec<ColumnDef>, Failure> {
        let path = def.option("path").unwrap_or_default();
        let context = session_context(1);
        let found = self.find(&context, path, &Shape::of(def)).await?;
        let schema = found.ok_or_else(|| nothing_at(path))?.schema;
        let column = |field: &Arc<Field>| {
            ColumnDef::new(self.folded(field.name()), declarable(field.data_type()))
        };
        Ok(schema.fields().iter().map(column).collect())
    }

    /// Finds the files at `path`, their format and columns; `None` if there are none.
    async fn find(
        &self,
        context: &SessionContext,
        path: &str,
        shape: &Shape,
    ) -> Result<Option<Found>, Failure> {
        let url = self.url(path)?;
        self.register_store(context, &url).await?;
        let state = context.state();
        let Some(extension) = first_extension(context, &url, shape.format.as_deref()).await? else {
            return Ok(None);
        };
        let name = shape.format.clone().unwrap_or_else(|| extension.to_lowercase());
        let format = file_format(&name, shape).ok_or_else(|| {
            Failure::with_hint(
                format_args!("cannot tell the format of the files at '{path}'"),
                "a file's name must end in .parquet, .csv, .json, .ndjson or .jsonl",
            )
        })?;
        let options = ListingOptions::new(format).with_file_extension(extension);
        let partitions = options.infer_partitions(&state, &url).await?;
        let typed = |name: &String| {
            let known = shape.columns.as_ref().and_then(|s| s.field_with_name(name).ok());
            (name.clone(), known.map_or(DataType::Utf8, |field| field.data_type().clone()))
        };
        let options = options.with_table_partition_cols(partitions.iter().map(typed).collect());
        let inferred = options.infer_schema(&state, &url).await?;
        let schema = match (&shape.columns, name.as_str()) {
            // Parquet knows its types; text has to be told what it was made from.
            (Some(columns), "csv" | "json") => retyped(&inferred, columns),
            _ => inferred,
        };
        Ok(Some(Found { url, options, schema }))
    }

    /// The files as a table whose columns are named as identifiers are folded.
    fn table(&self, found: Found) -> Result<Arc<dyn TableProvider>, Failure> {
        let config = ListingTableConfig::new(found.url)
            .with_listing_options(found.options)
            .with_schema(found.schema);
        let files: Arc<dyn TableProvider> = Arc::new(ListingTable::try_new(config)?);
        let schema = files.schema();
        let names: Vec<String> = schema.fields().iter().map(|f| self.folded(f.name())).collect();
        let same = names.iter().zip(schema.fields()).all(|(name, field)| name == field.name());
        let unique = names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len();
        if same || !unique {
            return Ok(files);
        }
        let columns = schema.fields().iter().zip(&names).map(|(field, name)| {
            Expr::Column(Column::new_unqualified(field.name().clone())).alias(name)
        });
        let plan = LogicalPlanBuilder::scan("files", provider_as_source(files), None)?
            .project(columns.collect::<Vec<_>>())?
            .build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }

    fn folded(&self, name: &str) -> String {
        match self.catalog.settings.get("identifier_folding").map(String::as_str) {
            Some("lower") => name.to_lowercase(),
            _ => name.to_uppercase(),
        }
    }

    fn url(&self, path: &str) -> Result<ListingTableUrl, Failure> {
        let absolute = if path.contains("://") {
            path.to_owned()
        } else {
            let joined = self.settings.context.base.join(Path::new(path));
            std::path::absolute(joined)
                .map_err(|error| Failure::new(format_args!("'{path}' is no path: {error}")))?
                .display()
                .to_string()
        };
        Ok(ListingTableUrl::parse(absolute)?)
    }

    /// Makes the object store of a URL known to the query.
    async fn register_store(
        &self,
        context: &SessionContext,
        url: &ListingTableUrl,
    ) -> Result<(), Failure> {
        if url.scheme() == "file" {
            return Ok(());
        }
        let _todo = context;
        std::future::ready(Err(Failure::new("unfinished"))).await
    }
}

fn nothing_at(path: &str) -> Failure {
    Failure::with_hint(
        format_args!("there are no files at '{path}'"),
        "a relative path starts from the current folder",
    )
}

/// The extension of the first file at `url`: of the format, if that is known.
async fn first_extension(
    context: &SessionContext,
    url: &ListingTableUrl,
    format: Option<&str>,
) -> Result<Option<String>, Failure> {
    let store = context.runtime_env().object_store(url)?;
    let state = context.state();
    let mut files = url.list_all_files(&state, store.as_ref(), "").await?;
    loop {
        let file = match files.try_next().await {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(error) if is_not_found(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let name = file.location.filename().unwrap_or_default();
        let hidden = name.starts_with(['.', '_']);
        let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
        let single = !url.is_collection() || url.get_glob().is_some();
        let fits = format.is_none_or(|format| single || formats_of(extension) == Some(format));
        if !hidden && fits && file.size > 0 {
            return Ok(Some(extension.to_owned()));
        }
    }
}

fn is_not_found(error: &datafusion::error::DataFusionError) -> bool {
    use datafusion::error::DataFusionError;
    let DataFusionError::ObjectStore(error) = error.find_root() else { return false };
    matches!(error.as_ref(), object_store::Error::NotFound { .. })
}

/// The format that files with this extension have.
fn formats_of(extension: &str) -> Option<&'static str> {
    match extension.to_lowercase().as_str() {
        "csv" => Some("csv"),
        "json" | "ndjson" | "jsonl" => Some("json"),
        "parquet" => Some("parquet"),
        _ => None,
    }
}

fn file_format(name: &str, shape: &Shape) -> Option<Arc<dyn FileFormat>> {
    match formats_of(name)? {
        "csv" => Some(Arc::new(
            CsvFormat::default()
                .with_has_header(shape.header.unwrap_or(true))
                .with_delimiter(shape.delimiter.unwrap_or(b',')),
        )),
        "json" => Some(Arc::new(JsonFormat::default())),
        _ => Some(Arc::new(ParquetFormat::default())),
    }
}

/// `inferred` with the types of `known` for the columns of the same name.
fn retyped(inferred: &Schema, known: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| match known.field_with_name(field.name()) {
        Ok(known) => Arc::new(known.clone().with_nullable(true)),
        Err(_) => Arc::clone(field),
    };
    Arc::new(Schema::new(inferred.fields().iter().map(field).collect::<Vec<_>>()))
}

/// The type a declared column has for what was found in a file: one the decoders know.
fn declarable(found: &DataType) -> DataType {
    match found {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::Timestamp(
            TimeUnit::Second | TimeUnit::Microsecond | TimeUnit::Nanosecond,
            None,
        ) => TIMESTAMP_TYPE,
        other => other.clone(),
    }
}
