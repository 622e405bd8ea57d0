//! Positions in a shard, as checkpoints keep them.
//!
//! ```text
//!   4965…7@1767225600000    after this record; what arrived before that time has been read
//!   @1767225600000          at the first record that arrived then or later
//! ```
//!
//! The time says how long ago the position was up to date, and so whether records behind it may have
//! passed the stream's retention in between.

use millstream_engine::port::Position;
use millstream_engine::{Error, Result};

use super::api::Resume;
use super::sequence::SequenceNumber;

/// Where reading a shard stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Where it goes on.
    pub(crate) resume: Resume,
    /// What arrived before this has been read, in milliseconds since the Unix epoch, if that is known.
    pub(crate) read_until_ms: Option<i64>,
}

impl Standing {
    /// The standing that a checkpoint kept as `position`.
    ///
    /// # Errors
    ///
    /// When it is no position in a shard.
    pub(crate) fn read(position: &Position) -> Result<Self> {
        let text = &position.0;
        let (number, time) = match text.split_once('@') {
            Some((number, time)) => (number, Some(time.parse().map_err(|_| unreadable(text))?)),
            None => (text.as_str(), None),
        };
        let digits = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit());
        match (number, time) {
            ("", Some(ms)) => Ok(Self { resume: Resume::AtTimestamp(ms), read_until_ms: None }),
            ("", None) => Err(unreadable(text)),
            _ if digits(number) => {
                Ok(Self { resume: Resume::After(SequenceNumber::new(number)), read_until_ms: time })
            }
            _ => Err(unreadable(text)),
        }
    }

    /// As a checkpoint keeps it; `None` for a shard that is read from its beginning.
    pub(crate) fn position(&self) -> Option<Position> {
        match (&self.resume, self.read_until_ms) {
            (Resume::After(number), Some(ms)) => Some(Position(format!("{number}@{ms}"))),
            (Resume::After(number), None) => Some(Position(number.to_string())),
            (Resume::AtTimestamp(ms), _) => Some(Position(format!("@{ms}"))),
            (Resume::TrimHorizon | Resume::Latest, _) => None,
        }
    }
}

fn unreadable(text: &str) -> Error {
    Error::data(format!("'{}' is no position in a shard", text.escape_debug()))
        .with_hint("the state is of another source: begin anew with --fresh")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_checkpoint_keeps_is_read_again(number in "[1-9][0-9]{0,128}", ms: Option<i64>) {
            let after = Resume::After(SequenceNumber::new(number));
            let standing = Standing { resume: after, read_until_ms: ms };
            prop_assert_eq!(Standing::read(&standing.position().unwrap()).unwrap(), standing);
            if let Some(ms) = ms {
                let standing = Standing { resume: Resume::AtTimestamp(ms), read_until_ms: None };
                prop_assert_eq!(Standing::read(&standing.position().unwrap()).unwrap(), standing);
            }
        }

        #[test]
        fn any_text_is_a_position_or_an_error(text: String) {
            if let Ok(standing) = Standing::read(&Position(text)) {
                prop_assert!(standing.position().is_some());
            }
        }
    }

    #[test]
    fn what_is_no_position_is_named() {
        for text in ["", "x", "12@", "12@x", "@", "-1", "1@2@3"] {
            let error = Standing::read(&Position(text.into())).unwrap_err();
            assert!(error.message().contains("is no position"), "{text}: {error}");
        }
    }
}
