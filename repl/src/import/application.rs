//! What a description of an application says, whichever of the two APIs it is from. The names with
//! `Description` at their end are those of describe-application, those without are those of
//! create-application; both are read.

use serde_json::Value;

/// An application.
#[derive(Debug, Default)]
pub(super) struct Application {
    pub(super) name: String,
    /// The SQL text, or where it lies.
    pub(super) code: Code,
    pub(super) inputs: Vec<Input>,
    pub(super) references: Vec<Reference>,
    pub(super) outputs: Vec<Output>,
}

/// The code of an application.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Code {
    /// There is none.
    #[default]
    None,
    /// The text.
    Text(String),
    /// An object in S3.
    Object(String),
}

/// A streaming input.
#[derive(Debug)]
pub(super) struct Input {
    /// The in-application streams it feeds.
    pub(super) streams: Vec<String>,
    pub(super) source: Resource,
    pub(super) schema: Schema,
    /// The function that transforms its records.
    pub(super) processor: Option<String>,
    /// Where reading starts, as the API names it.
    pub(super) start: Option<String>,
}

/// Reference data in S3.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) table: String,
    /// `s3://bucket/key`.
    pub(super) path: String,
    pub(super) schema: Schema,
}

/// An output.
#[derive(Debug)]
pub(super) struct Output {
    /// The in-application stream.
    pub(super) stream: String,
    pub(super) target: Resource,
    /// `JSON` or `CSV`.
    pub(super) format: String,
}

/// A resource outside the application.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// A data stream, by ARN.
    Stream(String),
    /// A delivery stream, by ARN.
    Firehose(String),
    /// A function, by ARN.
    Lambda(String),
    /// None that we know.
    Unknown,
}

/// How records become rows.
#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) columns: Vec<Column>,
    /// `JSON` or `CSV`.
    pub(super) format: String,
    /// JSON: the path of what becomes a row.
    pub(super) row_path: Option<String>,
    /// CSV: what stands between rows.
    pub(super) row_delimiter: Option<String>,
    /// CSV: what stands between columns.
    pub(super) column_delimiter: Option<String>,
    pub(super) encoding: Option<String>,
}

/// A column of a schema.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) sql_type: String,
    pub(super) mapping: Option<String>,
}

/// Reads a description.
pub(super) fn read(json: &Value) -> Result<Application, String> {
    let detail = json.get("ApplicationDetail").unwrap_or(json);
    let runtime = text(detail, "RuntimeEnvironment");
    if let Some(runtime) = runtime.filter(|runtime| !runtime.starts_with("SQL")) {
        return Err(format!("the application runs on {runtime}, not on SQL"));
    }
    let configuration = either(detail, "ApplicationConfiguration");
    let sql = configuration.and_then(|all| either(all, "SqlApplicationConfiguration"));
    let sql = sql.unwrap_or(detail);
    let inputs = list(sql, "Input").map(input).collect::<Vec<_>>();
    let application = Application {
        name: text(detail, "ApplicationName").unwrap_or_default(),
        code: code(detail, configuration),
        references: list(sql, "ReferenceDataSource").map(reference).collect(),
        outputs: list(sql, "Output").map(output).collect(),
        inputs,
    };
    if application.inputs.is_empty() && application.code == Code::None {
        return Err("it describes no application: neither inputs nor code".to_owned());
    }
    Ok(application)
}

fn code(detail: &Value, configuration: Option<&Value>) -> Code {
    if let Some(code) = text(detail, "ApplicationCode") {
        return Code::Text(code);
    }
    let content = configuration
        .and_then(|all| either(all, "ApplicationCodeConfiguration"))
        .and_then(|code| either(code, "CodeContent"));
    let Some(content) = content else { return Code::None };
    if let Some(code) = text(content, "TextContent") {
        return Code::Text(code);
    }
    let places = ["S3ApplicationCodeLocationDescription", "S3ContentLocation"];
    let place = places.iter().find_map(|name| content.get(name));
    match place.and_then(|place| object(place, "BucketARN", "FileKey")) {
        Some(path) => Code::Object(path),
        None => Code::None,
    }
}

fn input(json: &Value) -> Input {
    let prefix = text(json, "NamePrefix").unwrap_or_default();
    let named = json.get("InAppStreamNames").and_then(Value::as_array);
    let named = named.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let mut streams: Vec<String> = named.collect();
    if streams.is_empty() {
        let count = either(json, "InputParallelism").and_then(|all| all.get("Count"));
        let count = count.and_then(Value::as_u64).unwrap_or(1).clamp(1, 64);
        streams.extend((1..=count).map(|number| format!("{prefix}_{number:03}")));
    }
    let processing = either(json, "InputProcessingConfiguration");
    let processor = processing.and_then(|all| either(all, "InputLambdaProcessor"));
    let start = json
        .get("InputStartingPositionConfiguration")
        .and_then(|start| text(start, "InputStartingPosition"));
    Input {
        streams,
        source: resource(json, "Input"),
        schema: json.get("InputSchema").map(schema).unwrap_or_default(),
        processor: processor.and_then(|processor| text(processor, "ResourceARN")),
        start,
    }
}

fn reference(json: &Value) -> Reference {
    let place = either(json, "S3ReferenceDataSource");
    Reference {
        table: text(json, "TableName").unwrap_or_default(),
        path: place.and_then(|place| object(place, "BucketARN", "FileKey")).unwrap_or_default(),
        schema: json.get("ReferenceSchema").map(schema).unwrap_or_default(),
    }
}

fn output(json: &Value) -> Output {
    let format = json.get("DestinationSchema").and_then(|all| text(all, "RecordFormatType"));
    Output {
        stream: text(json, "Name").unwrap_or_default(),
        target: resource(json, "Output"),
        format: format.unwrap_or_else(|| "JSON".to_owned()),
    }
}

fn resource(json: &Value, direction: &str) -> Resource {
    let arn = |kind: &str| {
        let resource = either(json, &format!("{kind}{direction}"))?;
        text(resource, "ResourceARN")
    };
    if let Some(arn) = arn("KinesisStreams") {
        return Resource::Stream(arn);
    }
    if let Some(arn) = arn("KinesisFirehose") {
        return Resource::Firehose(arn);
    }
    arn("Lambda").map_or(Resource::Unknown, Resource::Lambda)
}

fn schema(json: &Value) -> Schema {
    let format = json.get("RecordFormat");
    let parameters = format.and_then(|format| format.get("MappingParameters"));
    let of = |kind: &str, name: &str| text(parameters?.get(kind)?, name);
    let columns = json.get("RecordColumns").and_then(Value::as_array);
    let column = |column: &Value| Column {
        name: text(column, "Name").unwrap_or_default(),
        sql_type: text(column, "SqlType").unwrap_or_default(),
        mapping: text(column, "Mapping"),
    };
    Schema {
        columns: columns.into_iter().flatten().map(column).collect(),
        format: format
            .and_then(|format| text(format, "RecordFormatType"))
            .unwrap_or_else(|| "JSON".to_owned()),
        row_path: of("JSONMappingParameters", "RecordRowPath"),
        row_delimiter: of("CSVMappingParameters", "RecordRowDelimiter"),
        column_delimiter: of("CSVMappingParameters", "RecordColumnDelimiter"),
        encoding: text(json, "RecordEncoding"),
    }
}

/// The member `name`, as described or as created.
fn either<'a>(json: &'a Value, name: &str) -> Option<&'a Value> {
    json.get(format!("{name}Description")).or_else(|| json.get(name))
}

/// The list of members `name`, as described or as created.
fn list<'a>(json: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let members = json.get(format!("{name}Descriptions")).or_else(|| json.get(format!("{name}s")));
    members.and_then(Value::as_array).into_iter().flatten()
}

fn text(json: &Value, name: &str) -> Option<String> {
    json.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// The object of a bucket by ARN and a key.
fn object(json: &Value, bucket: &str, key: &str) -> Option<String> {
    let arn = text(json, bucket)?;
    let bucket = arn.rsplit(':').next()?;
    Some(format!("s3://{bucket}/{}", text(json, key)?))
}
