//! What ends a field and what ends a row of CSV: mostly a comma and the end of a line, but any two
//! texts may, as in the mapping of a Kinesis Analytics input.
//!
//! The invariant: neither is empty or has a quote in it, and they differ. Where one begins with the
//! other, the longer one is meant.

use memchr::{memchr, memchr_iter, memchr2_iter, memmem};

use crate::options::{OptionError, Options};

/// What stands between the fields of a row, and behind a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delimiters {
    field: Box<[u8]>,
    row: Box<[u8]>,
}

/// What a delimiter ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Field,
    Row,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self { field: Box::from(*b","), row: Box::from(*b"\n") }
    }
}

impl Delimiters {
    /// What the options `delimiter` and `row_delimiter` say.
    ///
    /// # Errors
    ///
    /// When both are the same.
    pub fn of(options: &Options<'_>) -> Result<Self, OptionError> {
        let field = options.exact_text("delimiter").and_then(parse);
        let row = options.exact_text("row_delimiter").and_then(parse);
        let default = Self::default();
        let found = Self { field: field.unwrap_or(default.field), row: row.unwrap_or(default.row) };
        if found.field == found.row {
            let message = "fields and rows cannot end alike";
            return Err(OptionError::value("delimiter", message));
        }
        Ok(found)
    }

    /// Whether rows end with their lines; then a carriage return before the end belongs to it.
    pub(crate) fn rows_are_lines(&self) -> bool {
        *self.row == *b"\n"
    }

    /// The byte between fields, if that is one and rows are lines: what other readers know.
    pub(crate) fn common(&self) -> Option<u8> {
        match *self.field {
            [byte] if self.rows_are_lines() => Some(byte),
            _ => None,
        }
    }

    /// What stands between fields.
    pub(crate) fn field(&self) -> &[u8] {
        &self.field
    }

    /// What stands behind a row.
    pub(crate) fn row(&self) -> &[u8] {
        &self.row
    }

    /// The first delimiter in `bytes`: where it begins, how long it is, and what it ends.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<(usize, usize, Ends)> {
        memchr2_iter(self.field[0], self.row[0], bytes).find_map(|at| {
            let (length, ends) = self.starting(&bytes[at..])?;
            Some((at, length, ends))
        })
    }

    /// The delimiter that `bytes` begin with: how long it is, and what it ends.
    pub(super) fn starting(&self, bytes: &[u8]) -> Option<(usize, Ends)> {
        let field = bytes.starts_with(&self.field).then_some((self.field.len(), Ends::Field));
        let row = bytes.starts_with(&self.row).then_some((self.row.len(), Ends::Row));
        // A field's that begins with the row's own is the longer one, and the other way round.
        if self.row.len() > self.field.len() { row.or(field) } else { field.or(row) }
    }

    /// Where the first row of `bytes` ends, behind its delimiter, whatever quotes say.
    pub(crate) fn row_end(&self, bytes: &[u8]) -> Option<usize> {
        let at = match *self.row {
            [byte] => memchr(byte, bytes),
            _ => memmem::find(bytes, &self.row),
        };
        at.map(|at| at + self.row.len())
    }

    /// How many rows end in `bytes`.
    pub(crate) fn rows_in(&self, bytes: &[u8]) -> u64 {
        let count = match *self.row {
            [byte] => memchr_iter(byte, bytes).count(),
            _ => memmem::find_iter(bytes, &self.row).count(),
        };
        count as u64
    }

    /// `row` without what ends it.
    pub(crate) fn without_end<'a>(&self, row: &'a [u8]) -> &'a [u8] {
        let text = row.strip_suffix(&*self.row).unwrap_or(row);
        if self.rows_are_lines() { text.strip_suffix(b"\r").unwrap_or(text) } else { text }
    }

    /// Whether `value` could be misread without quotes.
    pub(crate) fn occur_in(&self, value: &[u8]) -> bool {
        let (field, row) = (self.field[0], self.row[0]);
        value
            .iter()
            .any(|&byte| matches!(byte, b'"' | b'\n' | b'\r') || byte == field || byte == row)
    }
}

/// A delimiter as an option gives it: taken as it stands, but for `\t`, `\n`, `\r` and `\\`. The end
/// of a line is one with or without a carriage return.
pub(crate) fn parse(value: &str) -> Option<Box<[u8]>> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes().peekable();
    while let Some(byte) = rest.next() {
        let escaped = match rest.peek() {
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b'\\') => b'\\',
            _ => 0,
        };
        if byte == b'\\' && escaped != 0 {
            rest.next();
            bytes.push(escaped);
        } else {
            bytes.push(byte);
        }
    }
    if bytes == b"\r\n" {
        bytes = b"\n".to_vec();
    }
    (!bytes.is_empty() && !bytes.contains(&b'"')).then(|| bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_white_space() {
        let parsed = |text| parse(text).map(|bytes| String::from_utf8(bytes.into()).unwrap());
        let good = [
            (";", ";"),
            ("\\t", "\t"),
            ("\\r\\n", "\n"),
            ("\r\n", "\n"),
            ("\\r", "\r"),
            ("|\\|", "|\\|"),
            ("\\\\n", "\\n"),
            (" ", " "),
            ("||", "||"),
            ("é", "é"),
        ];
        for (written, meant) in good {
            assert_eq!(parsed(written).as_deref(), Some(meant), "{written}");
        }
        assert_eq!((parsed(""), parsed("a\"")), (None, None));
    }

    #[test]
    fn the_longer_delimiter_is_meant() {
        let between =
            |field: &[u8], row: &[u8]| Delimiters { field: field.into(), row: row.into() };
        let rows = between(b"|", b"||");
        assert_eq!(rows.find(b"a|b||"), Some((1, 1, Ends::Field)));
        assert_eq!(rows.find(b"b||"), Some((1, 2, Ends::Row)));
        let fields = between(b"##", b"#");
        assert_eq!(fields.find(b"a##b#"), Some((1, 2, Ends::Field)));
        assert_eq!(fields.find(b"b#"), Some((1, 1, Ends::Row)));
        assert_eq!(fields.find(b"b"), None);
        assert_eq!(between(b"::", b"\n").find(b"a:b::c"), Some((3, 2, Ends::Field)));
    }
}
