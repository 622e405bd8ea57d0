//! A state file: a manifest and the rows it speaks of.
//!
//! ```text
//!   "MSTATE\r\n"  version: u32  length: u64  manifest: JSON   Arrow IPC stream (LZ4) …   crc32: u32
//!   └──────────────────── numbers are little endian ─────────┴── offsets count from here ──┘
//! ```
//!
//! The checksum is of everything before it, so that a file cut short or damaged is known as such
//! before any of it is believed. The same content gives the same bytes.

use std::borrow::Cow;
use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;

use super::manifest::{Manifest, PartKind, PartRecord};
use crate::dataflow::NodeId;
use crate::error::{Error, Result};
use crate::operators::StateBatch;

/// The version of the format.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"MSTATE\r\n";

/// Magic, version, and the length of the manifest.
const HEAD_BYTES: usize = 8 + 4 + 8;

const CHECKSUM_BYTES: usize = 4;

/// Rows to be written.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) node: usize,
    pub(crate) kind: PartKind,
    pub(crate) lane: usize,
    pub(crate) name: Cow<'static, str>,
    pub(crate) rows: RecordBatch,
}

impl Part {
    /// Rows of a node as a whole.
    pub(crate) fn of(node: NodeId, kind: PartKind, rows: RecordBatch) -> Self {
        Self { node: node.0, kind, lane: 0, name: "rows".into(), rows }
    }

    /// The state of operators, by node and lane.
    pub(crate) fn of_operators(
        operators: Vec<(NodeId, usize, Vec<StateBatch>)>,
    ) -> impl Iterator<Item = Self> {
        operators.into_iter().flat_map(|(node, lane, state)| {
            state.into_iter().map(move |StateBatch { part, rows }| {
                let (node, name) = (node.0, part.into());
                Self { node, kind: PartKind::Operator, lane, name, rows }
            })
        })
    }

    /// The rows of tables.
    pub(crate) fn of_tables(tables: Vec<(NodeId, Vec<RecordBatch>)>) -> impl Iterator<Item = Self> {
        tables.into_iter().flat_map(|(node, rows)| {
            rows.into_iter().map(move |rows| Self::of(node, PartKind::Table, rows))
        })
    }
}

/// A state file that was read.
#[derive(Debug, Clone)]
pub struct StateFile {
    /// Its manifest.
    pub manifest: Manifest,
    name: String,
    streams: Bytes,
}

/// The file of `manifest` and `parts`, whose places it notes in the manifest.
///
/// # Errors
///
/// When Arrow refuses to write the rows: our bug.
pub(crate) fn encode(manifest: &mut Manifest, parts: Vec<Part>) -> Result<Bytes> {
    let mut streams: Vec<u8> = Vec::new();
    manifest.parts.clear();
    let mut parts = parts.into_iter().peekable();
    while let Some(part) = parts.next() {
        let offset = streams.len() as u64;
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let schema = part.rows.schema();
        let mut writer = StreamWriter::try_new_with_options(&mut streams, &schema, options)?;
        writer.write(&part.rows)?;
        let mut rows = part.rows.num_rows() as u64;
        let belongs = |next: &Part| {
            (next.node, next.kind, next.lane, &next.name)
                == (part.node, part.kind, part.lane, &part.name)
                && next.rows.schema() == schema
        };
        while let Some(next) = parts.next_if(belongs) {
            rows += next.rows.num_rows() as u64;
            writer.write(&next.rows)?;
        }
        writer.finish()?;
        drop(writer);
        manifest.parts.push(PartRecord {
            node: part.node,
            kind: part.kind,
            lane: part.lane,
            name: part.name.into_owned(),
            offset,
            length: streams.len() as u64 - offset,
            rows,
        });
    }
    let head = serde_json::to_vec(manifest)
        .map_err(|error| Error::bug(format!("a manifest cannot be written: {error}")))?;
    let mut file = Vec::with_capacity(HEAD_BYTES + head.len() + streams.len() + CHECKSUM_BYTES);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&(head.len() as u64).to_le_bytes());
    file.extend_from_slice(&head);
    file.extend_from_slice(&streams);
    let checksum = crc32fast::hash(&file);
    file.extend_from_slice(&checksum.to_le_bytes());
    Ok(Bytes::from(file))
}

impl StateFile {
    /// Reads the file `name`.
    ///
    /// # Errors
    ///
    /// When it is damaged, or of a version that is not known.
    pub fn decode(name: &str, file: &Bytes) -> Result<Self> {
        let damaged = |what: &str| {
            Error::data(format!("the state file {name} is damaged: {what}"))
                .with_hint("look at the state with: millstream state verify")
        };
        if file.len() < HEAD_BYTES + CHECKSUM_BYTES || !file.starts_with(MAGIC) {
            return Err(damaged("it does not begin as one"));
        }
        let version = u32::from_le_bytes(fixed(&file[8..12]));
        if version != VERSION {
            return Err(Error::settings(format!(
                "the state file {name} has format {version}, and this program knows {VERSION}"
            ))
            .with_hint("use the version of the program that wrote it"));
        }
        let body = file.len() - CHECKSUM_BYTES;
        if crc32fast::hash(&file[..body]) != u32::from_le_bytes(fixed(&file[body..])) {
            return Err(damaged("its checksum is not that of its content"));
        }
        let length = u64::from_le_bytes(fixed(&file[12..HEAD_BYTES]));
        let end = usize::try_from(length).ok().and_then(|length| HEAD_BYTES.checked_add(length));
        let end = end.filter(|end| *end <= body).ok_or_else(|| damaged("its manifest is cut"))?;
        let manifest: Manifest = serde_json::from_slice(&file[HEAD_BYTES..end])
            .map_err(|error| damaged(&format!("its manifest: {error}")))?;
        let streams = file.slice(end..body);
        // One behind the other, without a gap: what begins elsewhere is no part.
        let follows = |end: Option<u64>, part: &PartRecord| {
            end.filter(|end| *end == part.offset)?.checked_add(part.length)
        };
        if manifest.parts.iter().fold(Some(0), follows) != Some(streams.len() as u64) {
            return Err(damaged("its parts do not fit in it"));
        }
        let is_node = |part: &PartRecord| part.node < manifest.nodes.len();
        if !manifest.parts.iter().all(is_node) {
            return Err(damaged("its parts belong to no node"));
        }
        Ok(Self { manifest, name: name.to_owned(), streams })
    }

    /// The rows of one of its parts.
    ///
    /// # Errors
    ///
    /// When they are damaged.
    pub fn rows(&self, part: &PartRecord) -> Result<Vec<RecordBatch>> {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let stream = self.streams.slice(place(part.offset)..place(part.offset + part.length));
        let read = || StreamReader::try_new(Cursor::new(stream), None)?.collect();
        let batches: Result<Vec<RecordBatch>, arrow::error::ArrowError> = read();
        batches.map_err(|error| {
            Error::data(format!("the state file {} is damaged: {error}", self.name))
        })
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;
    use crate::checkpoint::manifest::NodeRecord;

    fn batch(rows: i64) -> RecordBatch {
        let numbers = Arc::new(Int64Array::from_iter_values(0..rows));
        let texts: StringArray = (0..rows).map(|n| (n % 3 > 0).then(|| n.to_string())).collect();
        RecordBatch::try_from_iter([("n", numbers as _), ("t", Arc::new(texts) as _)]).unwrap()
    }

    fn part(lane: usize, rows: RecordBatch) -> Part {
        Part { node: 0, kind: PartKind::Operator, lane, name: "left".into(), rows }
    }

    fn file(sizes: &[i64]) -> (Manifest, Bytes) {
        let nodes = vec![NodeRecord::default()];
        let mut manifest = Manifest { number: 7, nodes, ..Manifest::default() };
        let parts = sizes.iter().enumerate().map(|(i, rows)| part(i / 2, batch(*rows)));
        let bytes = encode(&mut manifest, parts.collect()).unwrap();
        (manifest, bytes)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sizes in prop::collection::vec(0..50_i64, 0..6)) {
            let (manifest, bytes) = file(&sizes);
            prop_assert_eq!(&bytes, &file(&sizes).1);
            let read = StateFile::decode("f", &bytes).unwrap();
            prop_assert_eq!(&read.manifest, &manifest);
            let rows = read.manifest.parts.iter().flat_map(|part| read.rows(part).unwrap());
            prop_assert_eq!(rows.collect::<Vec<_>>(), sizes.iter().map(|n| batch(*n)).collect::<Vec<_>>());
        }

        /// No damage passes: not one changed bit, not one missing byte.
        #[test]
        fn damage_is_known(at: prop::sample::Index, bit in 0..8_u32, cut: bool) {
            let (_, bytes) = file(&[5, 6]);
            let at = at.index(bytes.len());
            let mut damaged = bytes.to_vec();
            if cut {
                damaged.truncate(at);
            } else {
                damaged[at] ^= 1 << bit;
            }
            prop_assert!(StateFile::decode("f", &Bytes::from(damaged)).is_err());
        }

        /// Whatever stands in a manifest whose file has the right checksum, reading it is an answer and no
        /// panic.
        #[test]
        fn nonsense_is_refused(noise in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index) {
            let (_, bytes) = file(&[5]);
            let mut nonsense = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
            let at = 12 + at.index(nonsense.len() - 12);
            nonsense.splice(at.., noise);
            let checksum = crc32fast::hash(&nonsense);
            nonsense.extend_from_slice(&checksum.to_le_bytes());
            if let Ok(read) = StateFile::decode("f", &Bytes::from(nonsense)) {
                prop_assert_eq!(read.manifest.nodes.len(), 1);
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let (_, bytes) = file(&[]);
        let mut newer = bytes.to_vec();
        newer[8] = 2;
        let error = StateFile::decode("f", &Bytes::from(newer)).unwrap_err();
        assert!(error.message().contains("has format 2"));
    }
}
