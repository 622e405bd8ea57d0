//! `millstream discover`: the statement that declares a stream, from a sample of its records.

use std::io::{Read, Write};
use std::path::Path;

use millstream_connectors::kinesis::StreamRef;
use millstream_connectors::kinesis::client::ConnectOptions;
use millstream_connectors::kinesis::sample::sample;

use super::runtime;
use crate::cli::DiscoverArgs;
use crate::discover::{Origin, discover as schema_of, statement};
use crate::failure::Failure;

/// The most records of a stream that are looked at.
const RECORDS_MAX: usize = 1_000;

/// The most bytes of a file that are looked at.
const BYTES_MAX: u64 = 1 << 20;

/// `millstream discover SOURCE`.
///
/// # Errors
///
/// When the source cannot be read, or nothing can be said about it.
pub fn discover(args: &DiscoverArgs) -> Result<(), Failure> {
    let (records, origin, source) = match args.source.strip_prefix("kinesis://") {
        Some(stream) => {
            let records = runtime()?.block_on(sample(
                &ConnectOptions::default(),
                &StreamRef::parse(stream),
                RECORDS_MAX,
            ))?;
            let source = vec![("connector", "kinesis".to_owned()), ("stream", stream.to_owned())];
            (records, Origin::Stream, source)
        }
        None => {
            let path = args.source.clone();
            let records = vec![beginning(Path::new(&path))?];
            (records, Origin::File, vec![("connector", "file".to_owned()), ("path", path)])
        }
    };
    let sql = statement(&args.name, &schema_of(&records, origin)?, &source);
    std::io::stdout().write_all(sql.as_bytes()).map_err(|_| Failure::OutputClosed)
}

/// The first whole lines of a file.
fn beginning(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot = |error| Failure::new(format_args!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 == BYTES_MAX
        && let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n')
    {
        bytes.truncate(end + 1);
    }
    Ok(bytes)
}
