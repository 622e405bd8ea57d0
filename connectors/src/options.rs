//! The options of `WITH (…)`: one definition per option feeds validation, error hints, completion and
//! the reference page.

use std::fmt;

/// What an option list belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// `CREATE STREAM`.
    Stream,
    /// `CREATE TABLE`.
    Table,
    /// `CREATE SINK`.
    Sink,
}

/// An option that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// The option, if one is to blame, and whether its value (not its name) is.
    pub option: Option<(String, Blame)>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Which half of an option is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Its name.
    Name,
    /// Its value.
    Value,
}

impl OptionError {
    /// An error that no single option is to blame for (one is missing).
    pub fn general(message: impl Into<String>) -> Self {
        Self { option: None, message: message.into(), hint: None }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OptionError {}
