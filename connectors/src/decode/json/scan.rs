//! Where strings and numbers end, several bytes at a time.

const LANES: u64 = u64::from_le_bytes([1; 8]);
const HIGH_BITS: u64 = LANES << 7;

/// Where the string ends that begins at `at`, behind its opening quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StringEnd {
    /// At the closing quote here; nothing before it is escaped.
    Quote(usize),
    /// It has an escape.
    Escaped,
    /// It does not end, or holds a byte that a string may not hold.
    Wrong,
}

/// Finds the end of the string whose first byte is `bytes[at]`.
pub(super) fn string_end(bytes: &[u8], mut at: usize) -> StringEnd {
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let ends = ends_in(u64::from_le_bytes(*word));
        if ends != 0 {
            return end_at(bytes, at + (ends.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    match bytes.get(at..).and_then(|rest| rest.iter().position(ends)) {
        Some(behind) => end_at(bytes, at + behind),
        None => StringEnd::Wrong,
    }
}

fn end_at(bytes: &[u8], at: usize) -> StringEnd {
    match bytes[at] {
        b'"' => StringEnd::Quote(at),
        b'\\' => StringEnd::Escaped,
        _ => StringEnd::Wrong,
    }
}

/// The high bit of each byte of `word` that is a quote, a backslash or a control character. Only the
/// lowest one is certain: a borrow can set bits above it (Mycroft's test for a zero byte).
fn ends_in(word: u64) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(LANES) & !word;
    let equal = |byte: u8| zeros(word ^ (LANES * u64::from(byte)));
    let control = word.wrapping_sub(LANES * 0x20) & !word;
    (equal(b'"') | equal(b'\\') | control) & HIGH_BITS
}

/// Where the number ends whose first byte is `bytes[at]`; `None` if it is none by the grammar of
/// JSON (RFC 8259, section 6).
pub(super) fn number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = |from: usize| {
        let digits = bytes.get(from..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (digits > 0).then_some(from + digits)
    };
    let start = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut end = digits(start)?;
    if bytes[start] == b'0' && end > start + 1 {
        return None;
    }
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(signed))?;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use jiter::{Jiter, Peek};
    use proptest::prelude::*;

    use super::*;

    /// The model: byte by byte.
    fn model(bytes: &[u8]) -> StringEnd {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => return StringEnd::Quote(at),
                b'\\' => return StringEnd::Escaped,
                0..0x20 => return StringEnd::Wrong,
                _ => {}
            }
        }
        StringEnd::Wrong
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn strings_end_where_the_model_says(
            bytes in prop::collection::vec(
                prop_oneof![6 => Just(b'a'), 2 => any::<u8>(), 1 => prop::sample::select(b"\"\\\x1f\x20\x21\x5b\x5d\x00\x80\xff".to_vec())],
                0..40,
            ),
            start in 0..8_usize,
        ) {
            let padded = [vec![b'"'; start], bytes.clone()].concat();
            let moved = match model(&bytes) {
                StringEnd::Quote(at) => StringEnd::Quote(at + start),
                other => other,
            };
            prop_assert_eq!(string_end(&padded, start), moved);
        }

        /// The oracle: the parser that records of new shapes go through.
        #[test]
        fn numbers_end_where_the_parser_says(text in "-?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?[,}x.]") {
            let mut jiter = Jiter::new(text.as_bytes());
            let theirs = match jiter.peek() {
                Ok(peek) if peek.is_num() && peek != Peek::NaN && peek != Peek::Infinity => {
                    jiter.known_number_bytes(peek).ok().map(<[u8]>::len)
                }
                _ => None,
            };
            if let Some(end) = number_end(text.as_bytes(), 0) {
                prop_assert_eq!(Some(end), theirs, "{}", text);
            }
        }
    }
}
