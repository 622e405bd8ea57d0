//! The options of `connector = 'file'`.

use std::time::Duration;

use millstream_engine::definition::{RelationDef, Rowtime};

use crate::decode::Delimiters;
use crate::names::{self, ColumnNames};
use crate::options::RelationKind::{Sink, Stream, Table};
use crate::options::{ConnectorSpec, OptionError, OptionSpec, Options, RelationKind, ValueKind};

/// Files, local or on S3.
pub const SPEC: ConnectorSpec = ConnectorSpec {
    name: "file",
    help: "Files in a local folder or under an S3 prefix",
    relations: &RelationKind::ALL,
    options: &[
        option(
            "path",
            ValueKind::Text,
            None,
            &RelationKind::ALL,
            "a file, a folder, a glob or `s3://bucket/prefix`; a sink takes a folder or a prefix",
        )
        .required(),
        option(
            "format",
            ValueKind::OneOf(&["csv", "json", "parquet"]),
            Some("(by the file name; for a sink parquet)"),
            &RelationKind::ALL,
            "json is one object per line",
        ),
        option(
            "header",
            ValueKind::Flag,
            Some("true"),
            &RelationKind::ALL,
            "csv: whether the first line of a file holds the column names",
        ),
        option(
            "delimiter",
            ValueKind::Delimiter,
            Some(","),
            &RelationKind::ALL,
            "csv: what stands between fields",
        ),
        option(
            "row_delimiter",
            ValueKind::Delimiter,
            Some("\\n"),
            &RelationKind::ALL,
            "csv: what ends a row",
        ),
        option(
            "ordered",
            ValueKind::Flag,
            Some("false"),
            &[Stream],
            "reads the files one after another in name order as one partition",
        ),
        option(
            "follow",
            ValueKind::Flag,
            Some("false"),
            &[Stream],
            "keeps watching for new files and appended lines",
        ),
        option(
            "rowtime",
            ValueKind::Text,
            None,
            &[Stream],
            "the field of the record that holds its ROWTIME; it need not be a column",
        ),
        option(
            "refresh",
            ValueKind::Duration,
            Some("(never)"),
            &[Table],
            "how often to look whether the files have changed and read them again",
        ),
        option(
            "partition_by",
            ValueKind::Names,
            None,
            &[Sink],
            "columns that become folders, `name=value`, and are left out of the files",
        ),
        option(
            "compression",
            ValueKind::OneOf(&["zstd", "snappy", "none"]),
            Some("zstd"),
            &[Sink],
            "parquet: how pages are compressed",
        ),
        option(
            "roll_interval",
            ValueKind::Duration,
            Some("60s"),
            &[Sink],
            "how long rows may wait until their file is published (snapshot: 10s by default)",
        ),
        option(
            "file_size",
            ValueKind::Bytes,
            Some("128MB"),
            &[Sink],
            "a file is published when it has about this size",
        ),
        option(
            "mode",
            ValueKind::OneOf(&["append", "changelog", "snapshot"]),
            Some("append"),
            &[Sink],
            "append: rows, never retracted; changelog: every change, with leading columns `_op` \
             ('+' or '-') and `_epoch`; snapshot: the result as it is, in one file that is replaced \
             whole when it has changed, every `roll_interval`",
        ),
        names::OPTION,
    ],
};

const fn option(
    name: &'static str,
    value: ValueKind,
    default: Option<&'static str>,
    relations: &'static [RelationKind],
    help: &'static str,
) -> OptionSpec {
    OptionSpec { name, value, default, required: false, relations, help }
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Comma-separated values.
    Csv,
    /// One JSON object per line.
    Json,
    /// Apache Parquet.
    Parquet,
}

/// How the files of a stream make partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Each file is one, read to its end.
    Files,
    /// All of them, in name order, are one.
    Ordered,
    /// Each file is one, and both may grow: files and their number.
    Follow,
}

/// How a sink writes changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rows, never retracted.
    Append,
    /// Every change, with leading columns `_op` and `_epoch`.
    Changelog,
    /// The result as it is, in one file that is replaced whole.
    Snapshot,
}

impl Mode {
    fn roll_interval(self) -> Duration {
        Duration::from_secs(if self == Self::Snapshot { 10 } else { 60 })
    }
}

/// The options as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Where the files are.
    pub path: String,
    /// Their format, if it does not follow from their names.
    pub format: Option<FileFormat>,
    /// CSV: whether the first line of a file holds the column names.
    pub header: bool,
    /// CSV: what stands between fields, and behind rows.
    pub delimiters: Delimiters,
    /// Streams: how the files make partitions.
    pub reading: Reading,
    /// Tables: how often to look for changes.
    pub refresh: Option<Duration>,
}

/// The options of a sink as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSinkOptions {
    /// The folder or prefix.
    pub path: String,
    /// The format.
    pub format: FileFormat,
    /// CSV: whether a file begins with a line of column names.
    pub header: bool,
    /// CSV: what stands between fields, and behind rows.
    pub delimiters: Delimiters,
    /// The columns that become folders, as written.
    pub partition_by: Vec<String>,
    /// Parquet: `zstd`, `snappy` or `none`.
    pub compression: &'static str,
    /// How long rows may wait until their file is published.
    pub roll_interval: Duration,
    /// The size at which a file is published, in bytes.
    pub file_size: u64,
    /// How changes are written.
    pub mode: Mode,
    /// How columns are called.
    pub names: ColumnNames,
}

impl FileOptions {
    /// The options of the stream or table `def`.
    ///
    /// # Errors
    ///
    /// Names the option that is wrong.
    pub fn parse(kind: RelationKind, def: &RelationDef) -> Result<Self, OptionError> {
        let options = Options::new(kind, &def.options)?;
        let format = format_option(&options);
        let path = options.text("path").unwrap_or_default().to_owned();
        for name in ["header", "delimiter", "row_delimiter"] {
            let known = format.or_else(|| format_of_name(&path));
            if options.given(name) && known.is_some_and(|format| format != FileFormat::Csv) {
                let message = format!("option '{name}' has a meaning for format = 'csv' only");
                return Err(OptionError::name(name, message));
            }
        }
        let reading = match (options.flag("ordered"), options.flag("follow")) {
            (true, true) => {
                let message = "a stream cannot be both ordered and followed";
                return Err(OptionError::value("follow", message)
                    .with_hint("which file is the last one would never be known"));
            }
            (true, false) => Reading::Ordered,
            (false, true) => Reading::Follow,
            (false, false) => Reading::Files,
        };
        let parsed = Self {
            path,
            format,
            header: options.flag("header"),
            delimiters: Delimiters::of(&options)?,
            reading,
            refresh: options.duration("refresh"),
        };
        parsed.check_rowtime(def)?;
        Ok(parsed)
    }

    /// Without a header, a field of a CSV line has a name only if it is a column.
    fn check_rowtime(&self, def: &RelationDef) -> Result<(), OptionError> {
        let Rowtime::Field(field) = &def.rowtime else { return Ok(()) };
        let declared = def.columns.iter().any(|column| column.name.eq_ignore_ascii_case(field));
        if self.format == Some(FileFormat::Csv) && !self.header && !declared {
            let message =
                format!("'{field}' is no column, and the files have no header to find it");
            return Err(OptionError::value("rowtime", message).with_hint("declare it as a column"));
        }
        Ok(())
    }

    /// The format of the file `name`.
    ///
    /// # Errors
    ///
    /// When neither the option nor the name says it.
    pub fn format_of(&self, name: &str) -> Result<FileFormat, millstream_engine::Error> {
        self.format.or_else(|| format_of_name(name)).ok_or_else(|| {
            millstream_engine::Error::settings(format!("the format of '{name}' is not known"))
                .with_hint("add format = 'csv', 'json' or 'parquet'")
        })
    }
}

impl FileSinkOptions {
    /// The options of the sink `def`.
    ///
    /// # Errors
    ///
    /// Names the option that is wrong.
    pub fn parse(def: &RelationDef) -> Result<Self, OptionError> {
        let options = Options::new(Sink, &def.options)?;
        let path = options.text("path").unwrap_or_default().to_owned();
        if path.contains(['*', '?']) {
            let message = format!("'{path}' is a pattern, and a sink writes to one place");
            return Err(OptionError::value("path", message).with_hint("name a folder or a prefix"));
        }
        let format = format_option(&options).unwrap_or(FileFormat::Parquet);
        for (name, belongs) in [
            ("header", FileFormat::Csv),
            ("delimiter", FileFormat::Csv),
            ("row_delimiter", FileFormat::Csv),
            ("compression", FileFormat::Parquet),
        ] {
            if options.given(name) && format != belongs {
                let message = format!("option '{name}' has no meaning for this format");
                return Err(OptionError::name(name, message));
            }
        }
        let mode = match options.word("mode") {
            Some("changelog") => Mode::Changelog,
            Some("snapshot") => Mode::Snapshot,
            _ => Mode::Append,
        };
        // Several files could not be replaced at once: a reader would see some of one result and some
        // of another.
        let several = ["partition_by", "file_size"].into_iter().find(|name| options.given(name));
        if let (Mode::Snapshot, Some(name)) = (mode, several) {
            let message = format!("option '{name}' has no meaning with mode = 'snapshot'");
            return Err(OptionError::name(name, message)
                .with_hint("a snapshot is one file, so that readers never see half of two"));
        }
        Ok(Self {
            path,
            format,
            header: options.flag("header"),
            delimiters: Delimiters::of(&options)?,
            partition_by: options.names("partition_by"),
            compression: options.word("compression").unwrap_or("zstd"),
            roll_interval: options.duration("roll_interval").unwrap_or(mode.roll_interval()),
            file_size: options.bytes("file_size").unwrap_or(128_000_000),
            mode,
            names: ColumnNames::of(&options),
        })
    }
}

fn format_option(options: &Options<'_>) -> Option<FileFormat> {
    match options.word("format")? {
        "csv" => Some(FileFormat::Csv),
        "json" => Some(FileFormat::Json),
        _ => Some(FileFormat::Parquet),
    }
}

fn format_of_name(name: &str) -> Option<FileFormat> {
    let name = name.to_ascii_lowercase();
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    match plain.rsplit_once('.')?.1 {
        "csv" => Some(FileFormat::Csv),
        "json" | "jsonl" | "ndjson" => Some(FileFormat::Json),
        "parquet" => Some(FileFormat::Parquet),
        _ => None,
    }
}
