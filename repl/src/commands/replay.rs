//! `millstream replay`: records that were set aside are put back where the application reads.
//!
//! `error_stream` has the bytes of every record that could not be decoded. When the declaration, or what
//! wrote them, is mended, they are read again like any others. Late rows and those whose expression failed
//! were decoded: they are not records any more, and are only counted.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use millstream_connectors::kinesis::StreamRef;
use millstream_connectors::kinesis::client::{ConnectOptions, connect};
use millstream_connectors::kinesis::producer::Producer;
use serde_json::{Map, Value};

use super::{context, runtime, session};
use crate::cli::{End, JobArgs, ReplayArgs};
use crate::failure::Failure;
use crate::interrupt::Stop;
use crate::output::Format;
use crate::session::Manner;

/// The values of `ERROR_NAME` whose rows are still the records that were read.
const RECORDS: [&str; 4] = ["UNDECODABLE", "COERCION", "NOT_NULL", "FUTURE"];

/// A record that was set aside.
struct Aside {
    /// Where it stood, which spreads the records over shards again.
    position: String,
    bytes: Vec<u8>,
}

/// `millstream replay PATH --to …`.
///
/// # Errors
///
/// When the rows cannot be read, have no bytes, or the place cannot be written to.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    runtime()?.block_on(Box::pin(async {
        let rows = rows(&args.path).await?;
        let total = rows.len();
        let records = rows.iter().filter(|row| wanted(row, args.stream.as_deref()));
        let records = records.map(record).collect::<Result<Vec<_>, _>>()?;
        match args.to.strip_prefix("kinesis://") {
            Some(stream) => to_kinesis(stream, &records).await?,
            None => to_file(Path::new(&args.to), &records)?,
        }
        let (count, rest) = (records.len(), total - records.len());
        writeln!(std::io::stderr(), "{count} records put back, {rest} rows left alone")?;
        Ok(())
    }))
}

/// The rows at `path`, which an `error_stream` was written to.
async fn rows(path: &str) -> Result<Vec<Map<String, Value>>, Failure> {
    let mut session = session(Manner::Script, Format::Json, &JobArgs::default())?;
    let printed = Printed::default();
    let console = session.console_mut();
    (console.out, console.status) = (Box::new(printed.clone()), false);
    let query = format!("SELECT * FROM '{}';", path.replace('\'', "''"));
    session.run_script(&[("the rows to replay", &query)], &Stop::default()).await?;
    drop(session);
    let printed = std::mem::take(&mut *printed.0.lock().unwrap_or_else(PoisonError::into_inner));
    let lines = printed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let rows = lines.map(|line| match serde_json::from_slice(line) {
        Ok(Value::Object(row)) => {
            Ok(row.into_iter().map(|(name, value)| (name.to_uppercase(), value)).collect())
        }
        _ => Err(Failure::new(format_args!("{path} has rows that are no rows of error_stream"))),
    });
    rows.collect()
}

/// What a session prints, kept.
#[derive(Debug, Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn text<'a>(row: &'a Map<String, Value>, column: &str) -> Option<&'a str> {
    row.get(column).and_then(Value::as_str)
}

/// Whether the row is a record of the stream that is asked for.
fn wanted(row: &Map<String, Value>, stream: Option<&str>) -> bool {
    let of_stream =
        |name: &str| text(row, "STREAM_NAME").is_some_and(|s| s.eq_ignore_ascii_case(name));
    let is_record = text(row, "ERROR_NAME").is_none_or(|name| RECORDS.contains(&name));
    is_record && stream.is_none_or(of_stream)
}

fn record(row: &Map<String, Value>) -> Result<Aside, Failure> {
    let bytes = match text(row, "DATA_ROW") {
        Some(hex) => from_hex(hex),
        None => text(row, "RAW").map(|raw| raw.as_bytes().to_vec()),
    };
    let bytes = bytes.ok_or_else(|| {
        Failure::with_hint(
            "the rows have no bytes of their records",
            "the sink must have DATA_ROW (or RAW): CREATE SINK … AS SELECT STREAM * FROM error_stream",
        )
    })?;
    Ok(Aside { position: text(row, "POSITION").unwrap_or("-").to_owned(), bytes })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

async fn to_kinesis(stream: &str, records: &[Aside]) -> Result<(), Failure> {
    let client = connect(&ConnectOptions::default()).await?.client;
    let mut producer = Producer::new(client, StreamRef::parse(stream), &context(End::default())?);
    for record in records {
        producer.put(&record.position, record.bytes.clone()).await?;
    }
    Ok(producer.flush().await?)
}

/// Writes the records as lines of a new file, which appears when it is whole.
fn to_file(path: &Path, records: &[Aside]) -> Result<(), Failure> {
    let cannot = |error| Failure::new(format_args!("cannot write {}: {error}", path.display()));
    if path.exists() {
        return Err(Failure::with_hint(
            format_args!("{} is there already", path.display()),
            "name a new file, in the folder that the stream reads",
        ));
    }
    let mut lines = Vec::new();
    for record in records {
        lines.extend_from_slice(record.bytes.strip_suffix(b"\n").unwrap_or(&record.bytes));
        lines.push(b'\n');
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = path.with_file_name(format!(".{name}.half"));
    std::fs::write(&half, lines).and_then(|()| std::fs::rename(&half, path)).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pairs_of_digits_are_bytes() {
        assert_eq!(from_hex("00fFa0"), Some(vec![0, 255, 160]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        assert!(from_hex("0").is_none() && from_hex("0x").is_none() && from_hex("é").is_none());
    }
}
