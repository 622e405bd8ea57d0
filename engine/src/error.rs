//! The one error type of the engine and its ports.
//!
//! An error is named by what its reader must do next ([`ErrorKind`]) and reads as three parts:
//! *primary* (lower case, no full stop), *detail* and *hint*. The display shows the primary and the
//! detail; a terminal adds the hint on a line of its own.

use std::fmt;

use datafusion::error::DataFusionError;

/// What the reader of an error must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Change the SQL text.
    Sql,
    /// Change a setting, an option in `WITH (…)`, a path, an endpoint or a credential.
    Settings,
    /// Nothing is wrong with the request: try again later.
    Retry,
    /// The input data is bad.
    Data,
    /// Nothing: another process has taken the application over and goes on with it.
    Superseded,
    /// Report it: this is our bug.
    Bug,
}

/// An error with a kind, a place and, where there is one, a hint.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` whose primary text is `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// The user must change the SQL text.
    pub fn sql(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Sql, message)
    }

    /// The user must change an option, a path, an endpoint or a credential.
    pub fn settings(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Settings, message)
    }

    /// The input data is bad.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// Something outside is unavailable; the same call may succeed later.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, message)
    }

    /// A broken expectation of ours.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message)
    }

    /// Adds what the reader should try.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the reader must do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened and where, without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the reader should try, if we know.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let kind = match error.find_root() {
            DataFusionError::Plan(_) | DataFusionError::SchemaError(..) => ErrorKind::Sql,
            DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => ErrorKind::Data,
            DataFusionError::ResourcesExhausted(_) => ErrorKind::Settings,
            _ => ErrorKind::Bug,
        };
        Self::new(kind, words_of(&error))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::new(ErrorKind::Data, without_kind(&error.to_string()))
    }
}

/// What the libraries below put before their messages: the kinds of errors they have.
const KINDS: [&str; 6] = [
    "External error: ",
    "Execution error: ",
    "Arrow error: ",
    "Cast error: ",
    "Compute error: ",
    "Invalid argument error: ",
];

/// What `error` says to a person.
pub fn words_of(error: &DataFusionError) -> String {
    without_kind(&error.strip_backtrace()).to_owned()
}

fn without_kind(message: &str) -> &str {
    let behind = KINDS.iter().find_map(|kind| message.strip_prefix(kind));
    behind.map_or(message, without_kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_the_primary_text_alone() {
        let error = Error::settings("bucket b does not exist")
            .with_hint("create it")
            .with_source(std::io::Error::other("404"));
        assert_eq!(error.to_string(), "bucket b does not exist");
        assert_eq!(error.hint(), Some("create it"));
        assert!(std::error::Error::source(&error).is_some());
    }
}
