//! Files, written and read again: every type through every format, hostile folder names, readers
//! while a writer writes.

mod committed;
mod reading;
mod resuming;
mod round_trip;
mod snapshot;
mod writing;

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::DataType;
use millstream_engine::definition::{ColumnDef, RelationDef, Rowtime};
use millstream_engine::{Clock, ManualClock, Troubles};

use crate::{Context, Until};

/// A context whose clock stands still until the test moves it.
fn context(base: &Path, clock: &ManualClock) -> Context {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let (base, troubles) = (base.to_owned(), Troubles::default());
    Context { clock, until: Until::Ended, seed: 7, base, decoders: 2, troubles }
}

/// A relation of a text `A` and a number `N`, with these options.
fn relation(options: &[(&str, &str)]) -> RelationDef {
    let columns = vec![ColumnDef::new("A", DataType::Utf8), ColumnDef::new("N", DataType::Int32)];
    with_columns(columns, options)
}

fn with_columns(columns: Vec<ColumnDef>, options: &[(&str, &str)]) -> RelationDef {
    let options = [("connector", "file")].iter().chain(options);
    let options = options.map(|(name, value)| ((*name).into(), (*value).into())).collect();
    RelationDef { name: "T".into(), columns, options, rowtime: Rowtime::Arrival }
}
