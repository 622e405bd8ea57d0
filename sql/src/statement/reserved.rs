//! Words that cannot be a name unless they are quoted.
//!
//! Kinesis Data Analytics reserves many more. Reserved here is only what the grammar would read as
//! something else where a name may stand; a test asks the parser about every keyword it knows.

/// Words that are no name unless quoted, upper case, sorted.
pub(crate) const RESERVED: &[&str] =
    &["ALL", "ANALYZE", "AND", "AS", "BETWEEN", "BY", "CASE", "SELECT"];

/// Whether `word` is reserved, in any case.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word.to_ascii_uppercase().as_str()).is_ok()
}
