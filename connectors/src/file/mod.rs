//! Files: a local folder or an S3 prefix, read and written as Parquet, CSV or JSON.

pub mod options;
