//! A file of lines, read in pieces: CSV or JSON.
//!
//! ```text
//!   file ─► piece ─► whole lines ─► chunk ─┬─► decoder ─┬─► batches, in the file's order
//!                        │                 └─► decoder ─┘
//!                        └─ the rest waits for the next piece
//! ```
//!
//! Memory is bounded by the pieces being decoded and the longest line. What a piece holds of whole
//! lines is decoded at once, so a lone row never waits for another; a line that goes over the end of a
//! piece waits for its rest.

mod chunk;
mod framing;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use futures::StreamExt;
use futures::stream::BoxStream;
use millstream_engine::fault::BadRow;
use millstream_engine::{Error, Result};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use tokio::task::JoinHandle;

use self::framing::Framer;
pub(super) use self::framing::LinePosition;
use super::location::{FileMeta, store_error};
use crate::decode::{Format, RowDecoder};

/// The first piece is small, so that the first row comes soon.
const FIRST_PIECE_BYTES: u64 = 64 << 10;

/// A local piece: decoding one takes a few milliseconds.
const LOCAL_PIECE_BYTES: u64 = 1 << 20;

/// A piece of an object: large enough that the way there and back does not count.
const REMOTE_PIECE_BYTES: u64 = 4 << 20;

/// What to do with a last line that no newline ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLine {
    /// It is a whole line: the file is complete.
    Whole,
    /// It is still being written.
    Growing,
}

/// How the bytes of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What the name's ending says.
    pub(super) fn of(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::None,
        }
    }
}

enum Bytewise {
    /// Piece by piece, up to where the file is known to go.
    Pieces,
    /// From beginning to end: what is packed can only be unpacked in order.
    Packed(Compression),
    Unpacking(BoxStream<'static, Result<Bytes, DataFusionError>>),
}

/// A file of lines being read.
pub(super) struct LineReader {
    store: Arc<dyn ObjectStore>,
    file: Arc<FileMeta>,
    bytewise: Bytewise,
    /// How much of the file was read.
    read: u64,
    framer: Framer,
    /// Knows the header; the decoders that work are its clones.
    decoder: RowDecoder,
    /// Decoders without work.
    idle: Vec<RowDecoder>,
    /// Chunks being decoded, in the file's order.
    decoding: VecDeque<Decoding>,
    /// How many may be: twice as many as decoders, so that none is without work while rows are taken.
    decoding_max: usize,
}

/// Rows, and records that are none.
type Decoded = (RecordBatch, Vec<BadRow>);

/// A chunk being decoded.
struct Decoding {
    task: JoinHandle<(RowDecoder, Result<Decoded>)>,
    /// Where it begins.
    before: LinePosition,
}

impl fmt::Debug for LineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineReader({} after {})", self.file.shown, self.framer.position())
    }
}

impl LineReader {
    /// A reader of lines of JSON; `decoders` pieces are decoded at the same time.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        file: FileMeta,
        compression: Compression,
        decoder: RowDecoder,
        decoders: usize,
    ) -> Self {
        let bytewise = match compression {
            Compression::None => Bytewise::Pieces,
            packed => Bytewise::Packed(packed),
        };
        Self {
            store,
            file: Arc::new(file),
            bytewise,
            read: 0,
            framer: Framer::new(compression != Compression::None),
            decoder,
            idle: Vec::new(),
            decoding: VecDeque::new(),
            decoding_max: decoders.max(1) * 2,
        }
    }

    /// The same reader, going on from `position`. A header is read all the same.
    ///
    /// # Errors
    ///
    /// When the file is shorter than that.
    pub(super) fn resumed(mut self, position: LinePosition) -> Result<Self> {
        let packed = !matches!(self.bytewise, Bytewise::Pieces);
        if !packed && self.file.size < position.byte {
            let message = format!(
                "{} has {} bytes, but {} of it were processed: it is another file now",
                self.file.shown, self.file.size, position.byte
            );
            return Err(Error::data(message)
                .with_hint("put the file back, or start anew without the state"));
        }
        self.framer.resume_from(position);
        Ok(self)
    }

    pub(super) fn with_framing(mut self, format: &Format, header: bool) -> Self {
        self.framer.set_format(format, header);
        self
    }

    pub(super) fn grow(&mut self, file: &FileMeta) {
        self.file = Arc::new(file.clone());
    }

    /// Where the file goes on behind what [`Self::next`] returned last.
    pub(super) fn position(&self) -> String {
        let next = self.decoding.front().map(|first| first.before);
        next.unwrap_or_else(|| self.framer.position()).to_string()
    }

    /// The next rows; `None` at the present end. A call that is dropped has taken nothing.
    pub(super) async fn next(&mut self, last_line: LastLine) -> Result<Option<Decoded>> {
        loop {
            let at_end = self.fill(last_line).await?;
            let Some(first) = self.decoding.front_mut() else {
                if at_end {
                    return Ok(None);
                }
                continue;
            };
            let done = (&mut first.task).await;
            self.decoding.pop_front();
            let (decoder, decoded) =
                done.map_err(|error| Error::bug(format!("decoding ended early: {error}")))?;
            self.idle.push(decoder);
            let (rows, bad) = decoded?;
            if rows.num_rows() + bad.len() > 0 {
                return Ok(Some((rows, bad)));
            }
        }
    }

    /// Reads on and hands chunks to decoders until all have work, or all but the first one, which is
    /// done. Returns whether the present end is reached.
    async fn fill(&mut self, last_line: LastLine) -> Result<bool> {
        loop {
            let is_done = self.decoding.front().is_some_and(|first| first.task.is_finished());
            let enough = if is_done { self.decoding_max / 2 + 1 } else { self.decoding_max };
            if self.decoding.len() >= enough {
                return Ok(false);
            }
            // What is awaited is only the next piece.
            let piece = self.piece().await?;
            let was_last = matches!(self.bytewise, Bytewise::Pieces) && self.read >= self.file.size;
            let at_end = piece.is_none() || was_last;
            if let Some(piece) = piece {
                self.framer.push(&piece);
            }
            self.hand_out(at_end && last_line == LastLine::Whole)?;
            if at_end {
                return Ok(true);
            }
        }
    }

    /// Hands the whole lines that are there to a decoder.
    fn hand_out(&mut self, to_the_end: bool) -> Result<()> {
        let before = self.framer.position();
        let cut = self.framer.cut(to_the_end, &mut self.decoder);
        let (chunk, read_from) = cut.map_err(|error| {
            let placed = Error::data(format!("{}: {}", self.file.shown, error.message()));
            match error.hint() {
                Some(hint) => placed.with_hint(hint),
                None => placed,
            }
        })?;
        self.read = read_from.unwrap_or(self.read);
        if chunk.is_empty() {
            return Ok(());
        }
        let file = Arc::clone(&self.file);
        let mut decoder = self.idle.pop().unwrap_or_else(|| self.decoder.clone());
        let task = tokio::task::spawn_blocking(move || {
            let decoded = chunk.decode(&mut decoder, &file);
            (decoder, decoded)
        });
        self.decoding.push_back(Decoding { task, before });
        Ok(())
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        let failed = |error| store_error(&self.file.shown, error);
        if let Bytewise::Packed(compression) = self.bytewise {
            let got = self.store.get(&self.file.location).await.map_err(failed)?;
            let packed = got.into_stream().map(|bytes| Ok(bytes?)).boxed();
            let variant = match compression {
                Compression::Zstd => CompressionTypeVariant::ZSTD,
                _ => CompressionTypeVariant::GZIP,
            };
            let unpacked = FileCompressionType::from(variant).convert_stream(packed)?;
            // At its end it is asked again.
            self.bytewise = Bytewise::Unpacking(unpacked.fuse().boxed());
        }
        if let Bytewise::Unpacking(stream) = &mut self.bytewise {
            return match stream.next().await {
                Some(Ok(bytes)) => Ok(Some(bytes)),
                Some(Err(error)) => Err(Error::data(format!(
                    "cannot unpack {}: {}",
                    self.file.shown,
                    error.strip_backtrace()
                ))),
                None => Ok(None),
            };
        }
        if self.read >= self.file.size {
            return Ok(None);
        }
        let step = match (self.read, &self.file.e_tag) {
            (0, _) => FIRST_PIECE_BYTES,
            (_, None) => LOCAL_PIECE_BYTES,
            (_, Some(_)) => REMOTE_PIECE_BYTES,
        };
        let range = self.read..(self.read + step).min(self.file.size);
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.file.e_tag.clone(),
            ..GetOptions::default()
        };
        let got = self.store.get_opts(&self.file.location, options).await.map_err(failed)?;
        let piece = got.bytes().await.map_err(failed)?;
        self.read += piece.len() as u64;
        Ok(Some(piece))
    }
}
