//! Applications of Kinesis Data Analytics: what `aws kinesisanalyticsv2 describe-application` printed (or
//! the older `aws kinesisanalytics describe-application`), turned into a script that runs.
//!
//! ```text
//!   application.json ──► [application]: inputs, reference data, code, outputs
//!                             └──► [script]: CREATE STREAM, CREATE TABLE, the code, CREATE SINK
//!                                      and what a person has to decide
//! ```
//!
//! The code is not touched. What the script cannot do as the application did is a decision, said above
//! the statement it is about and again on standard error.

mod application;
mod script;
#[cfg(test)]
mod tests;

use crate::failure::Failure;

/// A script made from an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The application's name.
    pub name: String,
    /// The script.
    pub sql: String,
    /// What a person has to decide, one sentence each.
    pub decisions: Vec<String>,
}

/// Whether `text` is the description of an application rather than a script.
pub fn is_application(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with('{')
}

/// The script of the application that `text` describes; `name` is the file's, for errors.
///
/// # Errors
///
/// When the text is no JSON or describes no SQL application.
pub fn import(name: &str, text: &str) -> Result<Imported, Failure> {
    let text = text.trim_start_matches('\u{feff}');
    let json = serde_json::from_str(text).map_err(|error| {
        Failure::with_hint(
            format_args!("{name} is not JSON: {error}"),
            "it is what `aws kinesisanalyticsv2 describe-application --application-name NAME` prints",
        )
    })?;
    let application = application::read(&json).map_err(|what| {
        Failure::with_hint(
            format_args!("{name}: {what}"),
            "it is what `aws kinesisanalyticsv2 describe-application --application-name NAME` prints",
        )
    })?;
    Ok(script::write(&application))
}
