//! CSV records: RFC 4180, with what is common beside it.
//!
//! A field may be quoted, with `""` for a quote inside, and blanks may stand around the quotes. An
//! empty field without quotes is NULL; `""` is an empty text (and NULL in a column of another type).
//! Blank rows are none. A row with fewer fields than columns is bad; further fields are ignored where
//! columns go by position. Rows are lines, unless something else is said to end them.

use std::borrow::Cow;

use memchr::memchr;
use millstream_engine::fault::Reason;
use millstream_engine::{Error, Result};

use super::RecordAddress;
use super::delimiters::{Delimiters, Ends};
use super::rows::{FieldDef, Rows};

/// Reads CSV records.
#[derive(Debug, Clone)]
pub(super) struct CsvReader {
    delimiters: Delimiters,
    /// For each field of a line, the columns that take it.
    targets: Vec<Vec<usize>>,
    /// The number of fields a line must have, if there is a header.
    header_fields: Option<usize>,
}

/// A field as it stands in the line.
#[derive(Debug, PartialEq)]
struct Field<'a> {
    text: Cow<'a, [u8]>,
    quoted: bool,
}

impl CsvReader {
    pub(super) fn new(delimiters: Delimiters, fields: &[FieldDef]) -> Self {
        let mut reader = Self { delimiters, targets: Vec::new(), header_fields: None };
        reader.set_positions(fields, &[]);
        reader
    }

    /// Columns go by position, except the declared ones in `elsewhere`, which are not in the line.
    pub(super) fn set_positions(&mut self, fields: &[FieldDef], elsewhere: &[usize]) {
        self.header_fields = None;
        self.targets.clear();
        for (index, field) in fields.iter().enumerate() {
            let here = field.position.filter(|position| !elsewhere.contains(position));
            if let Some(position) = here {
                let before = elsewhere.iter().filter(|absent| **absent < position).count();
                let place = position - before;
                if self.targets.len() <= place {
                    self.targets.resize(place + 1, Vec::new());
                }
                self.targets[place].push(index);
            }
        }
    }

    pub(super) fn set_header(&mut self, line: &[u8], fields: &[FieldDef]) -> Result<()> {
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        let mut names = Vec::new();
        let mut parser = Line::new(line, &self.delimiters);
        while let Some(field) = parser.next_field() {
            let field = field.map_err(|why| Error::data(format!("bad header line: {why}")))?;
            names.push(String::from_utf8_lossy(&field.text).trim().to_owned());
        }
        let mut targets = vec![Vec::new(); names.len()];
        for (index, field) in fields.iter().enumerate() {
            let position =
                field.mapping.as_deref().and_then(position).filter(|at| *at < names.len());
            if let Some(position) = position {
                targets[position].push(index);
                continue;
            }
            let wanted = match &field.mapping {
                Some(mapping) => mapping.strip_prefix("$.").unwrap_or(mapping),
                None => &field.name,
            };
            let exact = names.iter().position(|name| name == wanted);
            let found = exact.or_else(|| {
                names.iter().position(|name| name.to_lowercase() == wanted.to_lowercase())
            });
            if let Some(found) = found {
                targets[found].push(index);
            }
        }
        let none = targets.iter().all(Vec::is_empty);
        if none && !fields.is_empty() {
            let wanted: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(Error::data(format!(
                "the first line, '{}', names none of the columns {}",
                names.join(&String::from_utf8_lossy(self.delimiters.field())),
                wanted.join(", ")
            ))
            .with_hint("say header = 'false' if the file has no header line"));
        }
        self.header_fields = Some(names.len());
        self.targets = targets;
        Ok(())
    }

    pub(super) fn read(&mut self, record: &[u8], rows: &mut Rows, address: &RecordAddress<'_>) {
        let mut rest = record.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(record);
        while !rest.is_empty() {
            let first_line = self.delimiters.row_end(rest).unwrap_or(rest.len());
            if self.delimiters.without_end(&rest[..first_line]).trim_ascii().is_empty() {
                rest = &rest[first_line..];
                continue;
            }
            let mut line = Line::new(rest, &self.delimiters);
            let length = match self.line(&mut line, rows) {
                Ok(()) => {
                    rows.end_row(self.delimiters.without_end(&rest[..line.at]), address);
                    line.at
                }
                // The line that cannot be read is bad alone, wherever its quote would close.
                Err(message) => {
                    let raw = self.delimiters.without_end(&rest[..first_line]);
                    rows.reject(Reason::Undecodable, message, raw, address);
                    first_line
                }
            };
            rest = &rest[length..];
        }
    }

    fn line(&self, line: &mut Line<'_>, rows: &mut Rows) -> Result<(), String> {
        let mut count = 0;
        while let Some(field) = line.next_field() {
            let field = field?;
            for &column in self.targets.get(count).into_iter().flatten() {
                let text = std::str::from_utf8(&field.text)
                    .map_err(|_| format!("field {} is not UTF-8", count + 1))?;
                let is_null = match rows.is_text(column) {
                    true => text.is_empty() && !field.quoted,
                    false => text.trim_ascii().is_empty(),
                };
                if is_null {
                    rows.set(column, |slot, row| {
                        slot.set_null(row);
                        Ok(())
                    });
                } else {
                    rows.set(column, |slot, row| slot.set_text(row, text));
                }
            }
            count += 1;
        }
        let (expected, right) = match self.header_fields {
            Some(fields) => (fields, count == fields),
            None => (self.targets.len(), count >= self.targets.len()),
        };
        if right { Ok(()) } else { Err(format!("{count} fields where {expected} were expected")) }
    }
}

/// The field of a line that the mapping `$[2]` names: two columns of a file may have one name.
fn position(mapping: &str) -> Option<usize> {
    mapping.strip_prefix("$[")?.strip_suffix(']')?.parse().ok()
}

/// The fields of one row, which ends at the first row delimiter outside quotes.
struct Line<'a> {
    bytes: &'a [u8],
    delimiters: &'a Delimiters,
    at: usize,
    ended: bool,
    /// Whether the bytes ended inside quotes.
    open: bool,
}

impl<'a> Line<'a> {
    fn new(bytes: &'a [u8], delimiters: &'a Delimiters) -> Self {
        Self { bytes, delimiters, at: 0, ended: false, open: false }
    }

    /// How many blanks `rest` begins with that only stand around quotes.
    fn blanks(&self, rest: &[u8]) -> usize {
        if self.delimiters.field().starts_with(b" ") {
            return 0;
        }
        rest.iter().take_while(|byte| **byte == b' ').count()
    }

    fn next_field(&mut self) -> Option<Result<Field<'a>, String>> {
        if self.ended {
            return None;
        }
        let rest = &self.bytes[self.at..];
        let blanks = self.blanks(rest);
        if rest.get(blanks) == Some(&b'"') {
            return Some(self.quoted(self.at + blanks + 1));
        }
        let (end, length, ends) = self.delimiters.find(rest).unwrap_or((rest.len(), 0, Ends::Row));
        self.ended = ends == Ends::Row;
        self.at += end + length;
        let text = &rest[..end];
        let text = if self.ended && self.delimiters.rows_are_lines() {
            text.strip_suffix(b"\r").unwrap_or(text)
        } else {
            text
        };
        Some(Ok(Field { text: text.into(), quoted: false }))
    }

    /// The field whose text begins at `start`, behind its quote.
    fn quoted(&mut self, start: usize) -> Result<Field<'a>, String> {
        let mut text = Cow::Borrowed(&[][..]);
        let mut from = start;
        let close = loop {
            let Some(quote) = memchr(b'"', &self.bytes[from..]) else {
                (self.ended, self.open) = (true, true);
                return Err("a quote is not closed".into());
            };
            let piece = &self.bytes[from..from + quote];
            if text.is_empty() {
                text = Cow::Borrowed(piece);
            } else {
                text.to_mut().extend_from_slice(piece);
            }
            from += quote + 1;
            if self.bytes.get(from) != Some(&b'"') {
                break from;
            }
            text.to_mut().push(b'"');
            from += 1;
        };
        let rest = &self.bytes[close..];
        let behind = close + self.blanks(rest);
        let rest = &self.bytes[behind..];
        let (length, ends) = match (self.delimiters.starting(rest), rest) {
            (Some(delimiter), _) => delimiter,
            (None, []) => (0, Ends::Row),
            (None, [b'\r']) if self.delimiters.rows_are_lines() => (1, Ends::Row),
            (None, [b'\r', b'\n', ..]) if self.delimiters.rows_are_lines() => (2, Ends::Row),
            (None, _) => {
                (self.at, self.ended) = (behind, true);
                return Err("text follows a closing quote".into());
            }
        };
        (self.at, self.ended) = (behind + length, ends == Ends::Row);
        Ok(Field { text, quoted: true })
    }
}

/// Where the first record of `bytes` ends, behind its row delimiter; `None` if it is not there yet. One
/// inside quotes is none, unless the quotes do not close within `open_max` bytes: then the record is bad
/// anyhow, and its first line alone is.
pub(crate) fn record_end(bytes: &[u8], delimiters: &Delimiters, open_max: usize) -> Option<usize> {
    let first_line = delimiters.row_end(bytes)?;
    if memchr(b'"', &bytes[..first_line]).is_none() {
        return Some(first_line);
    }
    let mut line = Line::new(&bytes[..bytes.len().min(open_max)], delimiters);
    let broken = loop {
        match line.next_field() {
            Some(Ok(_)) => {}
            Some(Err(_)) => break !line.open,
            None => break false,
        }
    };
    if !broken && !line.open && line.bytes[..line.at].ends_with(delimiters.row()) {
        return Some(line.at);
    }
    // What is still open may close in bytes to come, until it has had its chance.
    (broken || bytes.len() >= open_max).then_some(first_line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(line: &[u8]) -> Vec<String> {
        let delimiters = Delimiters::default();
        let mut parser = Line::new(line, &delimiters);
        let next = || parser.next_field();
        std::iter::from_fn(next)
            .map(|field| String::from_utf8(field.unwrap().text.into_owned()).unwrap())
            .collect()
    }

    fn end(bytes: &[u8], open_max: usize) -> Option<usize> {
        record_end(bytes, &Delimiters::default(), open_max)
    }

    proptest! {
        /// The oracle is another reader of the same format.
        #[test]
        fn fields_split_as_csv_core_splits_them(
            texts in prop::collection::vec("[a-c ,\"\n\r]{0,8}", 1..6),
        ) {
            let quoted: Vec<String> =
                texts.iter().map(|text| format!("\"{}\"", text.replace('"', "\"\""))).collect();
            let line = quoted.join(",") + "\r\n";
            let (mut out, mut ends) = ([0; 256], [0; 16]);
            let (_, _, _, count) =
                csv_core::Reader::new().read_record(line.as_bytes(), &mut out, &mut ends);
            let starts = std::iter::once(0).chain(ends);
            let theirs: Vec<String> = starts.zip(ends).take(count)
                .map(|(start, end)| String::from_utf8(out[start..end].to_vec()).unwrap())
                .collect();
            prop_assert_eq!(&fields(line.as_bytes()), &theirs);
            prop_assert_eq!(theirs, texts);
            prop_assert_eq!(end(line.as_bytes(), 1 << 20), Some(line.len()));
            for cut in 0..line.len() {
                prop_assert_eq!(end(&line.as_bytes()[..cut], 1 << 20), None);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop::sample::select(b"a,\"\r\n ".to_vec()), 0..30)) {
            let delimiters = Delimiters::default();
            let mut line = Line::new(&bytes, &delimiters);
            for _ in 0..100 {
                if line.next_field().is_none_or(|field| field.is_err()) { break; }
            }
            if let Some(end) = end(&bytes, 10) {
                prop_assert!(end > 0 && end <= bytes.len());
            }
        }
    }

    #[test]
    fn blanks_may_stand_around_quotes() {
        assert_eq!(fields(b"\"a\" , \"b,c\",d e, f"), ["a", "b,c", "d e", " f"]);
        assert_eq!(fields(b"a,,\"\"\n"), ["a", "", ""]);
    }

    #[test]
    fn an_open_quote_ends_with_its_line_in_the_end() {
        assert_eq!(end(b"a,\"b\nc,d\n", 1 << 20), None);
        assert_eq!(end(b"a,\"b\nc,d\n", 4), Some(5));
        assert_eq!(end(b"a,\"b\"x\nc,d\n", 1 << 20), Some(7));
    }
}
