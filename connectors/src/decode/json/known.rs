//! Records of a shape that was seen before: read along what was learned of it, without a parser.
//!
//! Whatever is not as expected, or not JSON, is left to the parser, which reads the record again from
//! its beginning: it says what is wrong and learns what is new. Until there both have given the same
//! columns the same values, so nothing needs to be taken back.

use jiter::{Jiter, Peek};

use super::scan::{StringEnd, number_end, string_end};
use super::shape::Place;
use super::{Found, JsonReader, for_each};
use crate::decode::rows::Rows;

impl JsonReader {
    /// Reads the object of `node` that `source` begins with, and says how long it is; `None` leaves
    /// it to the parser.
    pub(super) fn known_object(
        &mut self,
        node: usize,
        source: &[u8],
        rows: &mut Rows,
    ) -> Option<usize> {
        let mut at = 0;
        let mut place = Place::BEGINNING;
        loop {
            let rest = source.get(at..)?;
            if place != Place::BEGINNING && rest.first() == Some(&b'}') {
                return Some(at + 1);
            }
            let (value, found, behind) = self.nodes[node].shape.follow(place, rest)?;
            let rest = &rest[value..];
            at += value;
            at += match found {
                Some(found) => self.known_value(node, found, rest, rows)?,
                None => value_length(rest)?,
            };
            place = behind;
        }
    }

    /// Reads the value that `source` begins with, and says how long it is.
    fn known_value(
        &mut self,
        node: usize,
        found: Found,
        source: &[u8],
        rows: &mut Rows,
    ) -> Option<usize> {
        let target = &self.nodes[node].targets[found.target];
        let fields = target.fields.as_slice();
        match source.first()? {
            b'"' => match string_end(source, 1) {
                StringEnd::Quote(end) => {
                    let text = std::str::from_utf8(&source[1..end]).ok()?;
                    for_each(fields, found.exact, rows, |column, row| column.set_text(row, text));
                    Some(end + 1)
                }
                StringEnd::Escaped => {
                    let mut jiter = Jiter::with_tape(source, std::mem::take(&mut self.tape));
                    let text = jiter.next_str().ok()?;
                    for_each(fields, found.exact, rows, |column, row| column.set_text(row, text));
                    let end = jiter.current_index();
                    self.tape = jiter.into_tape();
                    Some(end)
                }
                StringEnd::Wrong => None,
            },
            b'-' | b'0'..=b'9' => {
                let end = number_end(source, 0)?;
                let text = std::str::from_utf8(&source[..end]).ok()?;
                for_each(fields, found.exact, rows, |column, row| column.set_number(row, text));
                Some(end)
            }
            first @ (b'{' | b'[') => {
                let end = match target.node {
                    Some(deeper) if *first == b'{' => self.known_object(deeper, source, rows)?,
                    _ => value_length(source)?,
                };
                let fields = self.nodes[node].targets[found.target].fields.as_slice();
                let text = &source[..end];
                for_each(fields, found.exact, rows, |column, row| column.set_nested(row, text));
                Some(end)
            }
            _ => known_word(fields, found, source, rows),
        }
    }
}

/// Reads `true`, `false` or `null`, and says how long it is.
fn known_word(fields: &[usize], found: Found, source: &[u8], rows: &mut Rows) -> Option<usize> {
    for (word, value) in [(&b"true"[..], Some(true)), (b"false", Some(false)), (b"null", None)] {
        if source.starts_with(word) {
            for_each(fields, found.exact, rows, |column, row| match value {
                Some(value) => column.set_bool(row, value),
                None => {
                    column.set_null(row);
                    Ok(())
                }
            });
            return Some(word.len());
        }
    }
    None
}

/// How long the value is that `source` begins with and nobody reads.
fn value_length(source: &[u8]) -> Option<usize> {
    match source.first()? {
        b'-' | b'0'..=b'9' => return number_end(source, 0),
        b'"' => {
            if let StringEnd::Quote(end) = string_end(source, 1) {
                return Some(end + 1);
            }
        }
        _ => {}
    }
    let mut jiter = Jiter::new(source);
    match jiter.peek().ok()? {
        // No JSON, though the parser can read them: it decides.
        Peek::NaN | Peek::Infinity => None,
        peek => {
            jiter.known_skip(peek).ok()?;
            Some(jiter.current_index())
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::concat_batches;
    use arrow::datatypes::DataType;
    use millstream_engine::definition::ColumnDef;
    use proptest::prelude::*;

    use crate::decode::Format;
    use crate::decode::tests::{decode, stream};

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => "-?[0-9]{1,3}(\\.[0-9]{1,2})?(e-?[0-9])?",
            3 => prop::string::string_regex("\"[a-z€{},:]{0,20}\"").unwrap(),
            1 => Just(r#""a\"b\u00e9\n""#.to_owned()),
            2 => prop::sample::select(vec!["true", "false", "null", "NaN", "{}", "[]", "[1, \"]\"]"])
                .prop_map(str::to_owned),
            1 => Just(r#"{"IN": 5, "x": {"y": "}"}}"#.to_owned()),
            1 => Just(r#"{"in": 6}"#.to_owned()),
        ]
    }

    /// Objects of a few producers: keys that may be left out, come twice or in another case, each
    /// producer with white space of its own.
    fn object() -> impl Strategy<Value = String> {
        let keys = vec!["a", "B", "b", "c", "deep", "other", "A"];
        let keys = prop::sample::subsequence(keys, 0..=7);
        let space = prop::sample::select(vec!["", " ", "\t"]);
        (keys, prop::collection::vec(value(), 7), space, any::<bool>()).prop_map(
            |(keys, values, space, twice)| {
                let again = keys.first().filter(|_| twice);
                let keys = keys.iter().chain(again).zip(values.iter().cycle());
                let members: Vec<String> =
                    keys.map(|(key, value)| format!("{space}\"{key}\":{space}{value}")).collect();
                format!("{{{}{space}}}", members.join(&format!("{space},")))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// The oracle: each record alone, which only the parser has seen.
        #[test]
        fn what_was_learned_changes_nothing(
            mut objects in prop::collection::vec(object(), 1..12),
            victim: prop::sample::Index,
            at: prop::sample::Index,
            byte: u8,
        ) {
            let mut deep = ColumnDef::new("D", DataType::Int32);
            deep.mapping = Some("$.deep.in".into());
            let mut whole = ColumnDef::new("W", DataType::Utf8);
            whole.mapping = Some("$.deep".into());
            let text = |name| ColumnDef::new(name, DataType::Utf8);
            let def = stream(vec![text("A"), text("b"), ColumnDef::new("C", DataType::Float64), deep, whole]);
            // Twice, so that every record is once of a shape that was learned.
            objects.extend_from_within(..);
            let mut records: Vec<Vec<u8>> = objects.into_iter().map(String::into_bytes).collect();
            let victim = victim.index(records.len());
            let at = at.index(records[victim].len());
            records[victim][at] = byte;

            let together: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            let (batch, bad) = decode(&def, &Format::Json, &together);
            let alone: Vec<_> =
                together.iter().map(|record| decode(&def, &Format::Json, &[record])).collect();
            let batches = alone.iter().map(|(batch, _)| batch);
            prop_assert_eq!(batch, concat_batches(&def.declared_schema(), batches).unwrap());
            let said = |row: &millstream_engine::fault::BadRow| (row.message.clone(), row.raw.clone());
            let alone: Vec<_> = alone.iter().flat_map(|(_, bad)| bad).map(said).collect();
            prop_assert_eq!(bad.iter().map(said).collect::<Vec<_>>(), alone);
        }
    }
}
