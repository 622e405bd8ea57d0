//! Kinesis sequence numbers: decimal numbers too long for any integer type.
//!
//! Maintains: a longer number is a greater one (Kinesis writes them without leading zeros), so they
//! are compared by length and then digit by digit, never as plain text.

use std::cmp::Ordering;
use std::fmt;

/// The place of a record in its shard: a decimal number of up to 129 digits.
///
/// Source: pattern `0|([1-9]\d{0,128})` of the Kinesis API reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SequenceNumber(String);

impl SequenceNumber {
    /// The number with these decimal digits.
    pub(crate) fn new(digits: impl Into<String>) -> Self {
        Self(digits.into())
    }

    /// Its decimal digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn compares_as_the_number_it_is(a: u128, b: u128, shift in 0..2_usize) {
            // Numbers of very different lengths: the lower ones are cut short.
            let a = a >> (96 * shift);
            let order = SequenceNumber::new(a.to_string()).cmp(&SequenceNumber::new(b.to_string()));
            prop_assert_eq!(order, a.cmp(&b));
        }

        #[test]
        fn appending_digits_keeps_the_order_of_long_numbers(a: u64, b: u64, tail in "[0-9]{40}") {
            let number = |n: u64| SequenceNumber::new(format!("1{n:020}{tail}"));
            prop_assert_eq!(number(a).cmp(&number(b)), a.cmp(&b));
        }
    }
}
