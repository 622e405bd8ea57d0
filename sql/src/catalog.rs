//! What a session has declared so far.

use std::collections::BTreeMap;

use millstream_engine::definition::RelationDef;

use crate::error::SqlError;
use crate::spelling::did_you_mean;
use crate::statement::{Pump, Query, SinkInput, Statement};

/// The name of the stream of late and bad rows. It exists in every session, can be read and attached to
/// a sink, and cannot be created.
pub const ERROR_STREAM: &str = "ERROR_STREAM";

/// The setting that says how unquoted identifiers are folded.
pub const IDENTIFIER_FOLDING: &str = "identifier_folding";

/// The setting that says whether a query may keep state that grows for ever.
pub const UNBOUNDED_STATE: &str = "unbounded_state";

/// A setting of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name, lower case.
    pub name: &'static str,
    /// The values it can have, lower case; the first is the default.
    pub values: &'static [&'static str],
    /// What it does.
    pub about: &'static str,
}

/// The settings there are.
pub const SETTINGS: [Setting; 2] = [
    Setting {
        name: IDENTIFIER_FOLDING,
        values: &["upper", "lower"],
        about: "how identifiers without quotes are read",
    },
    Setting {
        name: UNBOUNDED_STATE,
        values: &["refuse", "allow"],
        about: "whether a query may keep state that grows for ever",
    },
];

/// Checks that the setting `key` exists and can be `value`.
pub(crate) fn check_setting(key: &str, value: &str) -> Result<(), SqlError> {
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
        let names = SETTINGS.iter().map(|setting| setting.name);
        return Err(SqlError::new(format!("there is no setting {key}"))
            .with_hint(did_you_mean(key, names, "settings")));
    };
    if setting.values.contains(&value.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(SqlError::new(format!("{key} cannot be '{value}'"))
        .with_hint(format!("it is one of {}", setting.values.join(", "))))
}

/// The objects of a session, by name. Streams, tables and views share one name space; pumps and sinks
/// have one each.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Streams: external ones have the option `connector`, in-application ones do not.
    pub streams: BTreeMap<String, RelationDef>,
    /// Tables.
    pub tables: BTreeMap<String, RelationDef>,
    /// Views.
    pub views: BTreeMap<String, Query>,
    /// Pumps.
    pub pumps: BTreeMap<String, Pump>,
    /// Sinks with what they write.
    pub sinks: BTreeMap<String, (RelationDef, SinkInput)>,
    /// Settings by name, lower case.
    pub settings: BTreeMap<String, String>,
}

impl Catalog {
    /// Carries out a statement that declares, drops or sets something; returns false for one that does
    /// not (a query, `SHOW` …), which the session carries out itself.
    ///
    /// # Errors
    ///
    /// When a name is taken, missing or reserved, or a setting is unknown; the catalog is unchanged.
    pub fn apply(&mut self, statement: &Statement) -> Result<bool, SqlError> {
        Err(SqlError::new(format!("unfinished: {}", statement.text)))
    }
}
