//! The options of `connector = 'file'`.

use crate::options::RelationKind::{Sink, Stream, Table};
use crate::options::{ConnectorSpec, OptionSpec, RelationKind, ValueKind};

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
            ValueKind::Character,
            Some(","),
            &RelationKind::ALL,
            "csv: what stands between fields",
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
            "how long rows may wait until their file is published",
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
             ('+' or '-') and `_epoch`; snapshot: the result as it is at the end",
        ),
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
