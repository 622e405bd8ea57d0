//! Records of the Kinesis Producer Library: many user records in one.
//!
//! ```text
//!   F3 89 9A C2 │ AggregatedRecord, a protobuf message │ MD5 of the message
//!     1: partition keys     2: explicit hash keys     3: records { 1: key, 2: hash key, 3: data }
//! ```
//!
//! What does not have this form to the last byte is a record like any other. What has the magic and
//! the right digest but contradicts itself is an aggregate that is damaged: it is set aside whole, since
//! a part of it would look like all of it.
//!
//! Source: `aggregation-format.md` of awslabs/amazon-kinesis-producer.

use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

const DIGEST_BYTES: usize = 16;

/// What a record holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Contents<'a> {
    /// Itself.
    Plain,
    /// The user records of an aggregate, in order.
    Aggregate(Vec<UserRecord<'a>>),
    /// An aggregate that contradicts itself, and how.
    Damaged(&'static str),
}

/// A record as its producer put it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserRecord<'a> {
    /// Its partition key.
    pub(crate) partition_key: &'a str,
    /// Its bytes.
    pub(crate) data: &'a [u8],
}

/// What the record with these bytes holds.
pub(crate) fn contents(record: &[u8]) -> Contents<'_> {
    let Some(message) = message(record) else { return Contents::Plain };
    match aggregate(message) {
        Ok(Some(records)) => Contents::Aggregate(records),
        Ok(None) => Contents::Plain,
        Err(why) => Contents::Damaged(why),
    }
}

/// The protobuf message of an aggregate whose digest is right.
fn message(record: &[u8]) -> Option<&[u8]> {
    let rest = record.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST_BYTES)?)?;
    (Md5::digest(message).as_slice() == digest).then_some(message)
}

/// The user records of `message`; `None` if it is no such message.
fn aggregate(message: &[u8]) -> Result<Option<Vec<UserRecord<'_>>>, &'static str> {
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    for field in Fields(message) {
        match field {
            None => return Ok(None),
            Some((1, Value::Bytes(key))) => keys.push(key),
            Some((3, Value::Bytes(record))) => records.push(record),
            // Explicit hash keys say where a record goes, and it is here already.
            Some(_) => {}
        }
    }
    let records = records.into_iter().map(|record| user_record(record, &keys));
    records.collect::<Result<_, _>>().map(Some)
}

fn user_record<'a>(message: &'a [u8], keys: &[&'a [u8]]) -> Result<UserRecord<'a>, &'static str> {
    let (mut key, mut data) = (None, None);
    for field in Fields(message) {
        match field {
            None => return Err("a user record of the aggregate is cut off"),
            Some((1, Value::Number(index))) => key = Some(index),
            Some((3, Value::Bytes(bytes))) => data = Some(bytes),
            Some(_) => {}
        }
    }
    let index = key.ok_or("a user record of the aggregate has no partition key")?;
    let key = usize::try_from(index).ok().and_then(|index| keys.get(index));
    let key =
        key.ok_or("a user record of the aggregate names a partition key that is not there")?;
    let partition_key =
        std::str::from_utf8(key).map_err(|_| "a partition key of the aggregate is not UTF-8")?;
    let data = data.ok_or("a user record of the aggregate has no data")?;
    Ok(UserRecord { partition_key, data })
}

/// The value of a protobuf field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message: number and value, or `None` and no more where it is none.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(mut n: u64, to: &mut Vec<u8>) {
        while n >= 0x80 {
            to.push(u8::try_from(n & 0x7F).unwrap() | 0x80);
            n >>= 7;
        }
        to.push(u8::try_from(n).unwrap());
    }

    fn bytes(field: u64, bytes: &[u8], to: &mut Vec<u8>) {
        number(field << 3 | 2, to);
        number(bytes.len() as u64, to);
        to.extend_from_slice(bytes);
    }

    /// `message` between magic and digest.
    pub(crate) fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, Md5::digest(message).as_slice()].concat()
    }

    fn user(key: u64, data: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        number(1 << 3, &mut record);
        number(key, &mut record);
        bytes(3, data, &mut record);
        record
    }

    /// An aggregate as a producer makes it: each user record has a key of its own.
    pub(crate) fn sealed_records(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut message = Vec::new();
        records.iter().for_each(|(key, _)| bytes(1, key.as_bytes(), &mut message));
        for (index, (_, data)) in records.iter().enumerate() {
            bytes(3, &user(index as u64, data), &mut message);
        }
        sealed(&message)
    }

    #[test]
    fn an_aggregate_is_its_user_records() {
        let record = sealed_records(&[("k", b"one"), ("l", b""), ("k", &[7; 300])]);
        let Contents::Aggregate(records) = contents(&record) else { panic!("no aggregate") };
        let pairs: Vec<_> = records.iter().map(|r| (r.partition_key, r.data)).collect();
        assert_eq!(pairs, [("k", &b"one"[..]), ("l", b""), ("k", &[7; 300])]);
    }

    /// K30: what only looks like an aggregate is a record like any other.
    #[test]
    fn what_only_begins_like_an_aggregate_is_plain() {
        let mut wrong = sealed_records(&[("k", b"one")]);
        *wrong.last_mut().unwrap() ^= 1;
        for record in [&MAGIC[..], &[MAGIC, MAGIC].concat(), &wrong, b"", b"{}"] {
            assert_eq!(contents(record), Contents::Plain, "{record:?}");
        }
        // The digest is right, but this is no protobuf message: a length beyond the end, a group.
        for message in [&[0x0A, 0x7F][..], &[0x0B], &[0xFF; 11]] {
            assert_eq!(contents(&sealed(message)), Contents::Plain, "{message:?}");
        }
    }

    /// K30: an index beyond the table, a user record without data.
    #[test]
    fn an_aggregate_that_contradicts_itself_is_damaged() {
        let with = |record: &[u8]| {
            let mut message = Vec::new();
            bytes(1, b"k", &mut message);
            bytes(3, record, &mut message);
            sealed(&message)
        };
        for record in [&user(1, b"x")[..], &[0x08, 0x00], &[0x1A, 0x01, 0x78], &[0x1A, 0x09]] {
            let sealed = with(record);
            assert!(matches!(contents(&sealed), Contents::Damaged(_)), "{record:?}");
        }
        assert!(matches!(contents(&with(&user(0, b"x"))), Contents::Aggregate(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(message: Vec<u8>) {
            contents(&message);
            contents(&sealed(&message));
        }

        #[test]
        fn what_is_packed_is_unpacked(records: Vec<(String, Vec<u8>)>) {
            let records: Vec<_> = records.iter().map(|(k, d)| (k.as_str(), d.as_slice())).collect();
            let sealed = sealed_records(&records);
            let Contents::Aggregate(found) = contents(&sealed) else { panic!("no aggregate") };
            let found: Vec<_> = found.iter().map(|r| (r.partition_key, r.data)).collect();
            prop_assert_eq!(found, records);
        }
    }
}
