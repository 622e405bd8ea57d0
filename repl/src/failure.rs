//! How a command ends when it does not end well: one message and one exit status.
//!
//! Invariant: whatever goes wrong is said once, on standard error, in the form
//! `error: what is wrong`, then where, then what to do.

use std::fmt::Write;
use std::{fmt, io};

use datafusion::error::DataFusionError;
use millstream_engine::{Error, ErrorKind};

/// Success.
pub const STATUS_OK: u8 = 0;
/// Something was wrong with the request, the input or the world.
pub const STATUS_ERROR: u8 = 1;
/// The command line itself was wrong.
pub const STATUS_USAGE: u8 = 2;
/// Another process has taken the application over.
pub const STATUS_SUPERSEDED: u8 = 3;
/// Stopped by a second Ctrl-C: 128 and the number of the signal, as shells count.
pub const STATUS_INTERRUPTED: u8 = 130;

/// Why a command ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Something went wrong; the text is complete, ready to be shown.
    Said(String),
    /// Another process goes on with the application; the text says so.
    Superseded(String),
    /// Nobody reads standard output any more (`millstream … | head`): no reason to complain.
    OutputClosed,
    /// A person wanted it to end at once.
    Interrupted,
}

impl Failure {
    /// A failure with the message `message` and advice.
    pub fn with_hint(message: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Said(format!("error: {message}\n  hint: {hint}"))
    }

    /// A failure with the message `message`.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::Said(format!("error: {message}"))
    }

    /// The exit status of a process that ends with this failure.
    pub fn status(&self) -> u8 {
        match self {
            Self::Said(_) => STATUS_ERROR,
            Self::Superseded(_) => STATUS_SUPERSEDED,
            Self::OutputClosed => STATUS_OK,
            Self::Interrupted => STATUS_INTERRUPTED,
        }
    }

    /// What to show on standard error; empty where there is nothing to say.
    pub fn text(&self) -> &str {
        match self {
            Self::Said(text) | Self::Superseded(text) => text,
            Self::OutputClosed | Self::Interrupted => "",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut text = format!("error: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            // Writing into a String cannot fail. Libraries like to repeat their cause in their own text.
            let said = error.to_string();
            if !text.contains(&said) {
                let _infallible = write!(text, "\n  cause: {said}");
            }
            cause = error.source();
        }
        if let Some(hint) = error.hint() {
            let _infallible = write!(text, "\n  hint: {hint}");
        }
        if error.kind() == ErrorKind::Superseded {
            return Self::Superseded(text);
        }
        Self::Said(text)
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        // An error of ours that travelled through a DataFusion stream comes out as it went in.
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) => (*ours).into(),
                Err(other) => Self::new(other),
            },
            DataFusionError::Context(_, inner) => (*inner).into(),
            other => Error::from(other).into(),
        }
    }
}

impl From<arrow::error::ArrowError> for Failure {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::from(error).into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::new(format_args!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_to_do() {
        let error = Error::settings("cannot open jobs.csv")
            .with_source(io::Error::other("no such file"))
            .with_hint("check the option path");
        assert_eq!(
            Failure::from(error).text(),
            "error: cannot open jobs.csv\n  cause: no such file\n  hint: check the option path"
        );
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.status(), failure.text()), (STATUS_OK, ""));
    }

    #[test]
    fn our_errors_survive_the_way_through_datafusion() {
        let inside = Error::data("shard 3 is gone").with_hint("start again");
        let outside = DataFusionError::External(Box::new(inside)).context("while reading");
        assert_eq!(Failure::from(outside).text(), "error: shard 3 is gone\n  hint: start again");
    }
}
