//! Where lines end, and how far a file is read.

use std::fmt;

use memchr::{memchr, memchr_iter, memrchr};
use millstream_engine::Result;

use super::chunk::{Chunk, TooLong};
use crate::decode::{Delimiters, Format, RowDecoder, csv_record_end};

/// The longest line. What is longer is a bad row, of which the beginning is kept.
const LINE_BYTES_MAX: usize = 16 << 20;

/// How much of a line that is too long is kept.
const LONG_LINE_BYTES_KEPT: usize = 1 << 10;

/// How far away a quote may close. What is behind it are lines of their own, not a text with newlines.
const QUOTED_BYTES_MAX: usize = 1 << 20;

/// How bytes are cut into records.
#[derive(Debug, Clone, Default)]
enum Framing {
    #[default]
    Json,
    Csv {
        delimiters: Delimiters,
        header: Header,
    },
}

impl Framing {
    fn rows_are_lines(&self) -> bool {
        match self {
            Self::Json => true,
            Self::Csv { delimiters, .. } => delimiters.rows_are_lines(),
        }
    }

    /// Where the first row ends, whatever quotes say.
    fn row_end(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Json => memchr(b'\n', bytes).map(|newline| newline + 1),
            Self::Csv { delimiters, .. } => delimiters.row_end(bytes),
        }
    }

    fn rows_in(&self, bytes: &[u8]) -> u64 {
        match self {
            Self::Json => memchr_iter(b'\n', bytes).count() as u64,
            Self::Csv { delimiters, .. } => delimiters.rows_in(bytes),
        }
    }

    /// The length of what ends a row.
    fn row_end_bytes(&self) -> usize {
        match self {
            Self::Json => 1,
            Self::Csv { delimiters, .. } => delimiters.row().len(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Header {
    /// The next line is it.
    Expected,
    NoneOrRead,
}

/// A place between two lines (or, while one that is too long is passed over, inside it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file) struct LinePosition {
    pub(super) byte: u64,
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
    pub(in crate::file) fn parse(text: &str) -> Option<Self> {
        let (text, skipping) =
            text.strip_suffix(INSIDE).map_or((text, false), |before| (before, true));
        let (byte, line) = text.strip_prefix("byte ")?.split_once(" line ")?;
        Some(Self { byte: byte.parse().ok()?, line: line.parse().ok()?, skipping })
    }
}

/// Cuts what is read of a file into chunks of whole lines.
#[derive(Debug, Default)]
pub(super) struct Framer {
    framing: Framing,
    /// What was read but is not yet a whole line.
    buffer: Vec<u8>,
    /// Lines before `buffer`.
    lines: u64,
    /// Bytes (unpacked) before `buffer`.
    cut: u64,
    /// Whether the rest of a line that is too long is being passed over.
    skipping: bool,
    /// Where decoding begins: what is before was processed in an earlier run.
    resume: Option<LinePosition>,
    /// Whether the file can only be read from its beginning.
    packed: bool,
}

/// What [`Framer::pass_over`] found.
enum Passed {
    /// There is nothing to pass over.
    Nothing,
    /// Nothing of the buffer is left.
    All,
    /// Nothing of the buffer is left, and the file goes on at this byte.
    To(u64),
}

impl Framer {
    /// For lines of JSON; `packed` says that the file can only be read from its beginning.
    pub(super) fn new(packed: bool) -> Self {
        Self { packed, ..Self::default() }
    }

    pub(super) fn set_format(&mut self, format: &Format, header: bool) {
        self.framing = match format {
            Format::Json => Framing::Json,
            Format::Csv(delimiters) => {
                let header = if header { Header::Expected } else { Header::NoneOrRead };
                Framing::Csv { delimiters: delimiters.clone(), header }
            }
        };
    }

    pub(super) fn resume_from(&mut self, position: LinePosition) {
        self.resume = Some(position);
    }

    /// How far the file is cut.
    pub(super) fn position(&self) -> LinePosition {
        let (byte, line, skipping) = (self.cut, self.lines, self.skipping);
        self.resume.unwrap_or(LinePosition { byte, line, skipping })
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Cuts off the whole lines; a header goes to `decoder`. Where reading must go on from elsewhere,
    /// the second value is the byte.
    ///
    /// # Errors
    ///
    /// When a header names none of the columns.
    pub(super) fn cut(
        &mut self,
        to_the_end: bool,
        decoder: &mut RowDecoder,
    ) -> Result<(Chunk, Option<u64>)> {
        match self.pass_over() {
            Passed::Nothing => {}
            Passed::All => return Ok((Chunk::default(), None)),
            Passed::To(byte) => return Ok((Chunk::default(), Some(byte))),
        }
        let lacks_newline = self.buffer.last().is_some_and(|byte| *byte != b'\n');
        if to_the_end && lacks_newline && self.framing.rows_are_lines() {
            self.buffer.push(b'\n');
            // Not of the file.
            self.cut = self.cut.wrapping_sub(1);
        }
        if self.skipping {
            let Some(end) = self.framing.row_end(&self.buffer) else {
                self.give_up_line();
                return Ok((Chunk::default(), None));
            };
            self.take(end);
            self.skipping = false;
        }
        while let Framing::Csv { header: Header::Expected, .. } = self.framing {
            let Some(end) = self.record_end(0, to_the_end) else {
                return Ok((Chunk::default(), None));
            };
            let line = self.take(end);
            if line.trim_ascii().is_empty() {
                continue;
            }
            if let Framing::Csv { header, .. } = &mut self.framing {
                *header = Header::NoneOrRead;
            }
            decoder.set_csv_header(&line)?;
            match self.pass_over() {
                Passed::Nothing => {}
                Passed::All => return Ok((Chunk::default(), None)),
                Passed::To(byte) => return Ok((Chunk::default(), Some(byte))),
            }
        }
        Ok((self.cut_records(to_the_end), None))
    }

    fn cut_records(&mut self, to_the_end: bool) -> Chunk {
        let first_line = self.lines + 1;
        let (end, ends) = match &self.framing {
            Framing::Json => (memrchr(b'\n', &self.buffer).map_or(0, |newline| newline + 1), None),
            Framing::Csv { delimiters, .. } => {
                let (mut end, mut ends) = (0, Vec::new());
                while let Some(next) = self.record_end(end, to_the_end) {
                    end = next;
                    ends.push(end);
                }
                (end, Some((ends, delimiters.clone())))
            }
        };
        let bytes = self.take(end);
        let too_long = (self.buffer.len() > LINE_BYTES_MAX).then(|| {
            let kept = self.buffer[..LONG_LINE_BYTES_KEPT].to_vec();
            let message = format!("a line of more than {} MiB", LINE_BYTES_MAX >> 20);
            TooLong { kept, message, line: self.lines + 1 }
        });
        if too_long.is_some() {
            self.give_up_line();
        }
        Chunk { bytes, ends, first_line, too_long }
    }

    /// Where the record that begins at `start` ends.
    fn record_end(&self, start: usize, to_the_end: bool) -> Option<usize> {
        let rest = self.buffer.get(start..).filter(|rest| !rest.is_empty())?;
        let end = match &self.framing {
            Framing::Json => self.framing.row_end(rest),
            Framing::Csv { delimiters, .. } => csv_record_end(rest, delimiters, QUOTED_BYTES_MAX),
        };
        // At the end an open quote closes nowhere: its row is bad alone.
        let first = || self.framing.row_end(rest).unwrap_or(rest.len());
        let end = end.or_else(|| to_the_end.then(first));
        end.map(|end| start + end)
    }

    /// Takes the first `end` bytes off, which are whole lines.
    fn take(&mut self, end: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(end);
        let taken = std::mem::replace(&mut self.buffer, rest);
        self.lines += self.framing.rows_in(&taken);
        self.cut = self.cut.wrapping_add(end as u64);
        taken
    }

    /// Passes over what an earlier run has processed: at once where the file can be read from anywhere,
    /// else as it is unpacked.
    fn pass_over(&mut self) -> Passed {
        let expects_header = matches!(self.framing, Framing::Csv { header: Header::Expected, .. });
        let Some(resume) = self.resume.filter(|_| !expects_header) else { return Passed::Nothing };
        let buffered = self.cut + self.buffer.len() as u64;
        if buffered < resume.byte && self.packed {
            self.cut = buffered;
            self.buffer.clear();
            return Passed::All;
        }
        self.resume = None;
        let Some(behind) = resume.byte.checked_sub(self.cut) else { return Passed::Nothing };
        (self.cut, self.lines) = (resume.byte, resume.line);
        self.skipping = resume.skipping;
        if buffered < resume.byte {
            self.buffer.clear();
            return Passed::To(resume.byte);
        }
        self.buffer.drain(..usize::try_from(behind).unwrap_or(usize::MAX));
        if self.buffer.is_empty() { Passed::All } else { Passed::Nothing }
    }

    /// Passes over the rest of a line that is too long.
    fn give_up_line(&mut self) {
        self.skipping = true;
        // Its end may have begun.
        let given_up = self.buffer.len().saturating_sub(self.framing.row_end_bytes() - 1);
        self.cut += given_up as u64;
        self.buffer.drain(..given_up);
    }
}
