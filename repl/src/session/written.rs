//! Files as tables: what a sink has written, what lies at a path, and what columns files have.
//!
//! They are read by the same reader as streams and tables of `connector = 'file'`, so a file means the
//! same wherever it is named. Names of columns are folded as identifiers are, so that a query need not
//! quote the `company_id` of a CSV header.

use std::collections::BTreeSet;

use millstream_connectors::file::{has_files, infer_schema, snapshot};
use millstream_engine::definition::{ColumnDef, RelationDef, Rowtime};
use millstream_sql::plan;

use super::Session;
use super::held::{Held, Kind, SetAside};
use crate::failure::Failure;

/// Options of a sink that its reader needs as well.
const SHARED_OPTIONS: [&str; 5] = ["path", "format", "header", "delimiter", "row_delimiter"];

impl Session {
    /// The files of the sink `name`, or those at the path `name`.
    pub(super) async fn written(&self, name: &str, set_aside: &SetAside) -> Result<Held, Failure> {
        let context = &self.settings.context;
        let mut def = match self.catalog.sinks.get(name) {
            Some((sink, _)) => readable(sink)?,
            None => files_at(name),
        };
        if self.catalog.sinks.contains_key(name) {
            let known = plan::describe(&self.catalog, name).map_err(|e| self.failure(&e))?;
            if !has_files(&def, context).await? {
                let fields = known.fields().iter();
                def.columns =
                    fields.map(|f| ColumnDef::new(f.name(), f.data_type().clone())).collect();
                return Ok(Held::new(def, Kind::Nothing, context, set_aside.clone()));
            }
            def.columns = self.columns_of_files(&def).await?;
            // Text has forgotten the types it was made from; the sink has not.
            for column in &mut def.columns {
                if let Ok(field) = known.field_with_name(&column.name) {
                    column.data_type = field.data_type().clone();
                }
            }
        } else {
            def.columns = self.columns_of_files(&def).await?;
        }
        Ok(Held::new(def, Kind::Files, context, set_aside.clone()))
    }

    /// The columns of the files of `def`.
    pub(super) async fn columns_of_files(
        &self,
        def: &RelationDef,
    ) -> Result<Vec<ColumnDef>, Failure> {
        let found = infer_schema(def, &self.settings.context).await?;
        let folded: Vec<String> = found.iter().map(|column| self.folded(&column.name)).collect();
        let unique = folded.iter().collect::<BTreeSet<_>>().len() == folded.len();
        if !unique {
            // `a` and `A` are two columns; they keep their names, to be quoted.
            return Ok(found);
        }
        let named = found.into_iter().zip(folded);
        Ok(named.map(|(column, name)| ColumnDef { name, ..column }).collect())
    }

    fn folded(&self, name: &str) -> String {
        match self.catalog.settings.get("identifier_folding").map(String::as_str) {
            Some("lower") => name.to_lowercase(),
            _ => name.to_uppercase(),
        }
    }
}

/// What reads the output of the sink `def`.
fn readable(def: &RelationDef) -> Result<RelationDef, Failure> {
    if def.option("connector") != Some("file") {
        return Err(Failure::with_hint(
            format_args!("sink {} writes no files that could be read", def.name),
            "only sinks with connector = 'file' can be queried",
        ));
    }
    let mut reader = files(&def.name);
    let shared = def.options.iter().filter(|(name, _)| SHARED_OPTIONS.contains(&name.as_str()));
    reader.options.extend(shared.cloned());
    if let Some(file) = snapshot::path(def)
        && let Some((_, path)) = reader.options.iter_mut().find(|(name, _)| name == "path")
    {
        *path = file;
    }
    if def.option("format").is_none() {
        reader.options.push(("format".to_owned(), "parquet".to_owned()));
    }
    Ok(reader)
}

/// What reads the files at `path`: a file, a folder, a glob or a URL.
pub(super) fn files_at(path: &str) -> RelationDef {
    let mut reader = files(path);
    reader.options.push(("path".to_owned(), path.to_owned()));
    reader
}

fn files(name: &str) -> RelationDef {
    RelationDef {
        name: name.to_owned(),
        columns: Vec::new(),
        options: vec![("connector".to_owned(), "file".to_owned())],
        rowtime: Rowtime::Arrival,
    }
}
