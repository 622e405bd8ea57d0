//! A file of lines, read in pieces: CSV or JSON.
//!
//! Memory is bounded by a piece and the longest line. What a piece holds of whole lines is decoded at
//! once, so a lone row never waits for another; a line that goes over the end of a piece waits for
//! its rest.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use futures::StreamExt;
use futures::stream::BoxStream;
use memchr::{memchr, memchr_iter};
use millstream_engine::fault::{BadRow, Reason};
use millstream_engine::{Error, Result};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::location::{FileMeta, store_error};
use crate::decode::{Format, RecordAddress, RowDecoder, csv_record_end};

/// The first piece is small, so that the first row comes soon.
const FIRST_PIECE_BYTES: u64 = 64 << 10;

/// A local piece: decoding one takes a few milliseconds.
const LOCAL_PIECE_BYTES: u64 = 1 << 20;

/// A piece of an object: large enough that the way there and back does not count.
const REMOTE_PIECE_BYTES: u64 = 4 << 20;

/// The longest line. What is longer is a bad row, of which the beginning is kept.
const LINE_BYTES_MAX: usize = 16 << 20;

/// How much of a line that is too long is kept.
const LONG_LINE_BYTES_KEPT: usize = 1 << 10;

/// How far away a quote may close. What is behind it are lines of their own, not a text with newlines.
const QUOTED_BYTES_MAX: usize = 1 << 20;

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

/// How bytes are cut into records.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Json,
    Csv { delimiter: u8, header: Header },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Header {
    /// The next line is it.
    Expected,
    NoneOrRead,
}

/// A file of lines being read.
pub(super) struct LineReader {
    store: Arc<dyn ObjectStore>,
    file: FileMeta,
    bytewise: Bytewise,
    framing: Framing,
    decoder: RowDecoder,
    /// What was read but is not yet a whole line.
    buffer: Vec<u8>,
    /// How much of the file was read.
    read: u64,
    /// Lines before `buffer`.
    lines: u64,
    /// Bytes (unpacked) before `buffer`.
    decoded: u64,
    /// Whether the rest of a line that is too long is being passed over.
    skipping: bool,
    /// Where decoding begins: what is before was processed in an earlier run.
    resume: Option<LinePosition>,
}

/// A place between two lines (or, while one that is too long is passed over, inside it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinePosition {
    byte: u64,
    line: u64,
    skipping: bool,
}

/// Behind the position of a reader that is passing over a line.
const INSIDE: &str = " inside";

impl fmt::Display for LinePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = if self.skipping { INSIDE } else { "" };
        write!(f, "byte {} line {}{inside}", self.byte, self.line)
    }
}

impl LinePosition {
    /// The position that [`LinePosition`]'s display is the text of.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, skipping) =
            text.strip_suffix(INSIDE).map_or((text, false), |before| (before, true));
        let (byte, line) = text.strip_prefix("byte ")?.split_once(" line ")?;
        Some(Self { byte: byte.parse().ok()?, line: line.parse().ok()?, skipping })
    }
}

impl fmt::Debug for LineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineReader({} after line {})", self.file.shown, self.lines)
    }
}

/// `line n`.
struct LineNumber(u64);

impl fmt::Display for LineNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.0)
    }
}

impl LineReader {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        file: FileMeta,
        compression: Compression,
        decoder: RowDecoder,
    ) -> Self {
        let bytewise = match compression {
            Compression::None => Bytewise::Pieces,
            packed => Bytewise::Packed(packed),
        };
        Self {
            store,
            file,
            bytewise,
            framing: Framing::Json,
            decoder,
            buffer: Vec::new(),
            read: 0,
            lines: 0,
            decoded: 0,
            skipping: false,
            resume: None,
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
        self.resume = Some(position);
        Ok(self)
    }

    pub(super) fn with_framing(mut self, format: &Format, header: bool) -> Self {
        self.framing = match format {
            Format::Json => Framing::Json,
            Format::Csv { delimiter } => {
                let header = if header { Header::Expected } else { Header::NoneOrRead };
                Framing::Csv { delimiter: *delimiter, header }
            }
        };
        self
    }

    pub(super) fn grow(&mut self, file: &FileMeta) {
        self.file = file.clone();
    }

    pub(super) fn position(&self) -> String {
        let (byte, line, skipping) = (self.decoded, self.lines, self.skipping);
        self.resume.unwrap_or(LinePosition { byte, line, skipping }).to_string()
    }

    pub(super) async fn next(
        &mut self,
        last_line: LastLine,
    ) -> Result<Option<(RecordBatch, Vec<BadRow>)>> {
        loop {
            // What is awaited is only the next piece: a call dropped there has taken nothing.
            let piece = self.piece().await?;
            let was_last = matches!(self.bytewise, Bytewise::Pieces) && self.read >= self.file.size;
            let at_end = piece.is_none() || was_last;
            if let Some(piece) = piece {
                self.buffer.extend_from_slice(&piece);
            }
            self.decode(at_end && last_line == LastLine::Whole)?;
            let (rows, bad) = self.decoder.finish()?;
            if rows.num_rows() + bad.len() > 0 {
                return Ok(Some((rows, bad)));
            }
            if at_end {
                return Ok(None);
            }
        }
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
            self.bytewise = Bytewise::Unpacking(unpacked);
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

    /// Passes over what an earlier run has processed: at once where the file can be read from
    /// anywhere, else as it is unpacked. Returns whether nothing of the buffer is left.
    fn pass_over(&mut self) -> bool {
        let expects_header = matches!(self.framing, Framing::Csv { header: Header::Expected, .. });
        let Some(resume) = self.resume.filter(|_| !expects_header) else { return false };
        let buffered = self.decoded + self.buffer.len() as u64;
        if buffered < resume.byte && !matches!(self.bytewise, Bytewise::Pieces) {
            self.decoded = buffered;
            self.buffer.clear();
            return true;
        }
        self.resume = None;
        let Some(behind) = resume.byte.checked_sub(self.decoded) else { return false };
        if buffered < resume.byte {
            self.buffer.clear();
            self.read = resume.byte;
        } else {
            self.buffer.drain(..usize::try_from(behind).unwrap_or(usize::MAX));
        }
        (self.decoded, self.lines) = (resume.byte, resume.line);
        self.skipping = resume.skipping;
        self.buffer.is_empty()
    }

    /// Decodes the whole lines of the buffer.
    fn decode(&mut self, to_the_end: bool) -> Result<()> {
        if self.pass_over() {
            return Ok(());
        }
        let lacks_newline = self.buffer.last().is_some_and(|byte| *byte != b'\n');
        if to_the_end && lacks_newline {
            self.buffer.push(b'\n');
            // Not of the file.
            self.decoded = self.decoded.wrapping_sub(1);
        }
        let mut start = 0;
        while start < self.buffer.len() {
            let rest = &self.buffer[start..];
            let found = match self.framing {
                _ if self.skipping => memchr(b'\n', rest).map(|newline| newline + 1),
                Framing::Json => memchr(b'\n', rest).map(|newline| newline + 1),
                Framing::Csv { delimiter, .. } => csv_record_end(rest, delimiter, QUOTED_BYTES_MAX),
            };
            let end = match found {
                Some(end) => end,
                // At the end an open quote closes nowhere: its line is bad alone.
                None if to_the_end => memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1),
                None => break,
            };
            self.record(start..start + end)?;
            start += end;
            // Only a header is read before that.
            if self.resume.is_some() {
                self.decoded += std::mem::take(&mut start) as u64;
                self.buffer.drain(..end);
                if self.pass_over() {
                    return Ok(());
                }
            }
        }
        self.decoded = self.decoded.wrapping_add(start as u64);
        self.buffer.drain(..start);
        if self.buffer.len() > LINE_BYTES_MAX {
            self.give_up_line();
        }
        Ok(())
    }

    fn record(&mut self, range: std::ops::Range<usize>) -> Result<()> {
        let record = &self.buffer[range];
        let number = LineNumber(self.lines + 1);
        self.lines += memchr_iter(b'\n', record).count() as u64;
        if std::mem::take(&mut self.skipping) || record.trim_ascii().is_empty() {
            return Ok(());
        }
        if let Framing::Csv { header: header @ Header::Expected, .. } = &mut self.framing {
            *header = Header::NoneOrRead;
            return self.decoder.set_csv_header(record).map_err(|error| {
                let placed = Error::data(format!("{}: {}", self.file.shown, error.message()));
                match error.hint() {
                    Some(hint) => placed.with_hint(hint),
                    None => placed,
                }
            });
        }
        self.decoder.push(record, &address(&self.file, &number));
        Ok(())
    }

    /// Sets the beginning of a line that does not end aside, and passes over its rest.
    fn give_up_line(&mut self) {
        if !self.skipping {
            let kept = &self.buffer[..LONG_LINE_BYTES_KEPT];
            let message = format!("a line of more than {} MiB", LINE_BYTES_MAX >> 20);
            let number = LineNumber(self.lines + 1);
            let address = address(&self.file, &number);
            self.decoder.reject(Reason::Undecodable, message, kept, &address);
        }
        self.skipping = true;
        self.decoded += self.buffer.len() as u64;
        self.buffer.clear();
    }
}

fn address<'a>(file: &'a FileMeta, number: &'a LineNumber) -> RecordAddress<'a> {
    RecordAddress {
        arrival_ms: file.modified_ms,
        partition: &file.shown,
        position: number,
        partition_key: None,
        sequence_number: None,
        shard_id: None,
    }
}
