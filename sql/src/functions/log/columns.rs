//! Columns described in a text: `A TYPE VARCHAR(3) START 0 FOR 3, B TYPE TIMESTAMP 'dd/MM/yyyy' NOT NULL`.
//!
//! A field that a line does not have is NULL, and so is an empty one that is no text; fields without a
//! column are left alone. A text that is longer than its type is cut, as in the mapping of an input.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Word};
use millstream_engine::fault::NullInNotNull;

use super::super::call::Call;
use super::super::cast;
use super::super::pattern::Pattern;
use super::wrong;
use crate::tokens::is_word;

/// Columns of a row value.
pub(super) struct Columns {
    columns: Vec<Column>,
}

struct Column {
    name: String,
    target: cast::Target,
    is_nullable: bool,
    /// How its times are written.
    pattern: Option<Pattern>,
    /// Where it begins, in characters from 0, and how long it is.
    place: Option<(usize, Option<usize>)>,
}

impl Columns {
    /// The columns of `VARIABLE_COLUMN_LOG_PARSE`: a number of texts, or described.
    pub(super) fn variable(described: Option<&ScalarValue>) -> Result<Self> {
        let text = described.map(ToString::to_string).unwrap_or_default();
        let Ok(count) = text.trim().parse::<usize>() else { return Self::parse(&text) };
        if !(1..=1_000).contains(&count) {
            return Err(wrong(&text, "there are 1 to 1000 columns"));
        }
        let column = |at: usize| Column {
            name: format!("COLUMN{at}"),
            target: cast::Target::named("VARCHAR", 1_024, 0),
            is_nullable: true,
            pattern: None,
            place: None,
        };
        Ok(Self { columns: (1..=count).map(column).collect() })
    }

    /// The columns of `FIXED_COLUMN_LOG_PARSE`, each with its place.
    pub(super) fn fixed(described: &str) -> Result<Self> {
        let columns = Self::parse(described)?;
        match columns.columns.iter().find(|column| column.place.is_none()) {
            Some(column) => Err(wrong(
                described,
                &format!("{} does not say where it is: START 0 FOR 3", column.name),
            )),
            None => Ok(columns),
        }
    }

    fn parse(described: &str) -> Result<Self> {
        let tokens = Tokenizer::new(&GenericDialect {}, described).tokenize();
        let tokens = tokens.map_err(|error| wrong(described, &error.message))?;
        let tokens: Vec<Token> =
            tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
        let mut reader = Reader { described, tokens: &tokens };
        let mut columns = vec![reader.column()?];
        while reader.accept(&Token::Comma) {
            columns.push(reader.column()?);
        }
        match reader.tokens.first() {
            None => Ok(Self { columns }),
            Some(left) => Err(wrong(described, &format!("expected a comma before {left}"))),
        }
    }

    /// The type of the row value.
    pub(super) fn data_type(&self) -> DataType {
        let fields = self.columns.iter().map(|column| {
            let data_type = column.target.data_type().unwrap_or(DataType::Utf8);
            Field::new(&column.name, data_type, true)
        });
        DataType::Struct(fields.collect::<Fields>())
    }

    /// Row values of the lines, cut into parts by `split`.
    pub(super) fn read(
        &self,
        call: &Call<'_>,
        split: impl Fn(&str, &mut Vec<String>),
    ) -> Result<ArrayRef> {
        let lines = call.texts(0)?;
        let mut texts: Vec<StringBuilder> =
            self.columns.iter().map(|_| StringBuilder::new()).collect();
        let mut parts = Vec::new();
        for row in 0..call.rows {
            parts.clear();
            if let Some(line) = lines.get(row) {
                split(line, &mut parts);
            }
            for (at, (column, built)) in self.columns.iter().zip(&mut texts).enumerate() {
                let part = parts.get(at).map(String::as_str);
                let part = part.filter(|part| column.is_text() || !part.trim().is_empty());
                if part.is_none() && !column.is_nullable && lines.get(row).is_some() {
                    let column = column.name.clone();
                    return Err(DataFusionError::External(Box::new(NullInNotNull { column })));
                }
                built.append_option(part);
            }
        }
        let values = self.columns.iter().zip(&mut texts);
        let values = values.map(|(column, texts)| column.values(texts.finish()));
        let values = values.collect::<Result<Vec<_>>>()?;
        let DataType::Struct(fields) = self.data_type() else {
            return exec_err!("a row value is a struct");
        };
        Ok(Arc::new(StructArray::try_new_with_length(fields, values, None, call.rows)?))
    }

    /// The parts of a line at the columns' places.
    pub(super) fn cut(&self, line: &str, parts: &mut Vec<String>) {
        for column in &self.columns {
            let (start, length) = column.place.unwrap_or_default();
            let rest = line.chars().skip(start);
            parts.push(match length {
                Some(length) => rest.take(length).collect(),
                None => rest.collect(),
            });
        }
        // What a short line does not reach is not there.
        let characters = line.chars().count();
        let reached = self
            .columns
            .iter()
            .take_while(|column| column.place.is_some_and(|(start, _)| start < characters));
        parts.truncate(reached.count());
    }
}

impl Column {
    fn is_text(&self) -> bool {
        matches!(self.target.data_type(), Ok(DataType::Utf8))
    }

    fn values(&self, texts: StringArray) -> Result<ArrayRef> {
        if self.is_text() {
            let stored = texts.iter().map(|text| text.map(|text| self.target.stored(text)));
            return Ok(Arc::new(stored.collect::<StringArray>()));
        }
        let texts: ArrayRef = Arc::new(texts);
        cast::read(&texts, self.pattern.as_ref(), &self.target)
    }
}

struct Reader<'a> {
    described: &'a str,
    tokens: &'a [Token],
}

impl Reader<'_> {
    fn wrong(&self, reason: &str) -> DataFusionError {
        wrong(self.described, reason)
    }

    fn accept(&mut self, token: &Token) -> bool {
        match self.tokens.split_first() {
            Some((first, rest)) if first == token => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn word(&mut self) -> Option<Word> {
        let (Token::Word(word), rest) = self.tokens.split_first()? else { return None };
        self.tokens = rest;
        Some(word.clone())
    }

    fn accept_word(&mut self, wanted: &str) -> bool {
        let is_next =
            matches!(self.tokens.first(), Some(Token::Word(word)) if is_word(word, wanted));
        if is_next {
            self.word();
        }
        is_next
    }

    fn number(&mut self) -> Result<usize> {
        let Some((Token::Number(digits, _), rest)) = self.tokens.split_first() else {
            return Err(self.wrong("expected a number"));
        };
        self.tokens = rest;
        digits.parse().map_err(|_| self.wrong("expected a whole number"))
    }

    /// `type [(length [, scale])]`.
    fn target(&mut self) -> Result<cast::Target> {
        let kind = self.word().ok_or_else(|| self.wrong("expected a type"))?;
        let mut kind = kind.value.to_uppercase();
        if kind == "DOUBLE" {
            self.accept_word("PRECISION");
        }
        if self.accept_word("VARYING") {
            kind = format!("VAR{kind}");
        }
        let (mut length, mut scale) = (0, 0);
        if self.accept(&Token::LParen) {
            length = self.number()?;
            if self.accept(&Token::Comma) {
                scale = self.number()?;
            }
            if !self.accept(&Token::RParen) {
                return Err(self.wrong("expected a )"));
            }
        }
        let kind = match kind.as_str() {
            "INT" => "INTEGER",
            "DEC" | "NUMERIC" => "DECIMAL",
            "FLOAT" => "DOUBLE",
            "CHARACTER" => "CHAR",
            "VARCHARACTER" => "VARCHAR",
            kind => kind,
        };
        let length = if kind == "DECIMAL" && length == 0 { 18 } else { length };
        let target = cast::Target::named(kind, length, i8::try_from(scale).unwrap_or(i8::MAX));
        target.data_type()?;
        Ok(target)
    }

    /// `name TYPE type ['pattern'] [NOT NULL] [START n [FOR n]]`.
    fn column(&mut self) -> Result<Column> {
        let name = self.word().ok_or_else(|| self.wrong("expected the name of a column"))?;
        let name = if name.quote_style.is_some() { name.value } else { name.value.to_uppercase() };
        if !self.accept_word("TYPE") {
            return Err(self.wrong(&format!("{name} has no TYPE")));
        }
        let target = self.target()?;
        let pattern = match self.tokens.split_first() {
            Some((Token::SingleQuotedString(pattern), rest)) => {
                self.tokens = rest;
                Some(Pattern::parse(pattern)?)
            }
            _ => None,
        };
        let is_nullable = !(self.accept_word("NOT") && self.accept_word("NULL"));
        let place = if self.accept_word("START") {
            let start = self.number()?;
            let length = if self.accept_word("FOR") { Some(self.number()?) } else { None };
            Some((start, length))
        } else {
            None
        };
        Ok(Column { name, target, is_nullable, pattern, place })
    }
}

/// Cuts lines at a delimiter.
pub(super) struct Splitter {
    delimiter: String,
    escape: Option<char>,
    /// What begins and what ends a quoted part.
    quotes: Option<(char, char)>,
}

impl Splitter {
    pub(super) fn new(delimiter: &str, escape: &str, quotes: &str) -> Result<Self> {
        if delimiter.is_empty() {
            return exec_err!("a delimiter has at least one character");
        }
        if escape.chars().count() > 1 || quotes.chars().count() > 2 {
            return exec_err!(
                "an escape is one character, quotes are one or two: what begins and what ends"
            );
        }
        let mut marks = quotes.chars();
        let quotes = marks.next().map(|begin| (begin, marks.next().unwrap_or(begin)));
        Ok(Self { delimiter: delimiter.to_owned(), escape: escape.chars().next(), quotes })
    }

    /// The parts of `line`.
    pub(super) fn split(&self, line: &str, parts: &mut Vec<String>) {
        let mut part = String::new();
        let mut end_quote = None;
        let mut rest = line;
        while let Some(letter) = rest.chars().next() {
            let behind = rest.get(letter.len_utf8()..).unwrap_or_default();
            if Some(letter) == self.escape {
                let escaped = behind.chars().next();
                part.extend(escaped);
                rest = behind.get(escaped.map_or(0, char::len_utf8)..).unwrap_or_default();
            } else if end_quote == Some(letter) {
                end_quote = None;
                rest = behind;
            } else if end_quote.is_some() {
                part.push(letter);
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix(self.delimiter.as_str()) {
                parts.push(std::mem::take(&mut part));
                rest = behind;
            } else if let Some((begin, end)) = self.quotes
                && begin == letter
            {
                end_quote = Some(end);
                rest = behind;
            } else {
                part.push(letter);
                rest = behind;
            }
        }
        parts.push(part);
    }
}
