//! What a session has declared so far.

use std::collections::BTreeMap;

use millstream_engine::definition::RelationDef;

use crate::error::SqlError;
use crate::statement::{Pump, Query, SinkInput, Statement};

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
