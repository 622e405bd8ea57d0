//! A continuous query in this process: text to dataflow to executor, driven event by event, with no
//! clock and no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use millstream_engine::dataflow::{Dataflow, NodeId, NodeKind};
use millstream_engine::definition::RelationDef;
use millstream_engine::executor::{EpochInput, EpochOutput, Executor, Snapshot, fold};
use millstream_engine::port::{PartitionId, Position, SourceBatch, SourceEvent};
use millstream_sql::{Catalog, StatementKind, parse, plan};

/// What happens to a partition of a stream.
#[derive(Debug, Clone)]
pub enum Happening {
    /// It is there.
    Discovered,
    /// It has rows, in the whole [`RelationDef::stream_schema`].
    Rows(RecordBatch),
    /// It will have none earlier than this, in milliseconds since the Unix epoch.
    Bound(i64),
    /// It has come to its end.
    Finished,
}

/// Something that happens in an epoch: stream, partition, what.
pub type Event = (String, String, Happening);

/// A continuous query at work.
#[derive(Debug)]
pub struct Pipeline {
    catalog: Catalog,
    dataflow: Arc<Dataflow>,
    executor: Executor,
    lanes: usize,
    tables: BTreeMap<String, RecordBatch>,
    /// Whether the executor has the tables already.
    loaded: bool,
    snapshots: Vec<Snapshot>,
}

impl Pipeline {
    /// Plans `query`, a `SELECT STREAM`, over what `declarations` declare.
    ///
    /// # Panics
    ///
    /// When either is not accepted: with the message a user would see.
    pub fn new(declarations: &str, query: &str, lanes: usize) -> Self {
        Self::try_new(declarations, query, lanes).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// Plans `query`, a `SELECT STREAM`, over what `declarations` declare.
    ///
    /// # Errors
    ///
    /// When either is not accepted: the message a user would see.
    pub fn try_new(declarations: &str, query: &str, lanes: usize) -> Result<Self, String> {
        let mut catalog = Catalog::default();
        let declared = parse(declarations);
        for statement in declared.map_err(|e| e.render("declarations", declarations))? {
            let applied = catalog.apply(&statement);
            applied.map_err(|e| e.render("declarations", declarations))?;
        }
        let statements = parse(query).map_err(|e| e.render("query", query))?;
        let Some(StatementKind::Query(parsed)) = statements.first().map(|first| &first.kind) else {
            return Err(format!("not a query: {query}"));
        };
        let planned = plan::stream_query(&catalog, parsed);
        let dataflow = Arc::new(planned.map_err(|e| e.render("query", query))?.dataflow);
        let executor = start(&dataflow, lanes);
        let (tables, snapshots) = (BTreeMap::new(), Vec::new());
        Ok(Self { catalog, dataflow, executor, lanes, tables, loaded: false, snapshots })
    }

    /// The declaration of a stream.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    pub fn stream(&self, name: &str) -> &RelationDef {
        &self.catalog.streams[name]
    }

    /// Gives the table `name` its rows (its declared columns), before the first epoch.
    pub fn load(&mut self, name: &str, rows: RecordBatch) {
        self.tables.insert(name.to_owned(), rows);
    }

    /// Runs one epoch.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn epoch(&mut self, events: &[Event]) -> EpochOutput {
        let mut input = EpochInput::default();
        for (id, node) in self.dataflow.iter() {
            match &node.kind {
                NodeKind::Source(source) => {
                    let of_it = events.iter().filter(|(stream, ..)| *stream == source.stream);
                    let events = of_it.map(|event| (id, source_event(event, &source.projection)));
                    input.events.extend(events);
                }
                NodeKind::Table(table) if !self.loaded => {
                    let rows = self.tables[&table.table].project(&table.projection);
                    input.tables.push((id, vec![rows.expect("its columns are there")]));
                }
                _ => {}
            }
        }
        self.loaded = true;
        self.executor.step(0, input).expect("the epoch succeeds")
    }

    /// Runs the last epoch: every stream has ended.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn end(&mut self) -> EpochOutput {
        let sources = self.dataflow.iter().filter(|(_, n)| matches!(n.kind, NodeKind::Source(_)));
        let ended: Vec<NodeId> = sources.map(|(id, _)| id).collect();
        let input = EpochInput { ended, ..EpochInput::default() };
        self.executor.step(0, input).expect("the epoch succeeds")
    }

    /// Takes a snapshot, forgets the executor and goes on with a new one that is restored from all
    /// snapshots so far: with another number of lanes, and every other time from what the snapshots
    /// amount to.
    ///
    /// # Panics
    ///
    /// When the state cannot be taken, spread anew or restored.
    pub fn restart(&mut self) {
        self.snapshots.push(self.executor.snapshot().expect("the state can be taken"));
        if self.snapshots.len() > 2 {
            let snapshots = std::mem::take(&mut self.snapshots);
            let folded = fold(&self.dataflow, self.lanes, snapshots);
            self.snapshots = vec![folded.expect("the state can be folded")];
        }
        self.lanes = self.lanes % 3 + 1;
        self.executor = start(&self.dataflow, self.lanes);
        let restored = self.executor.restore(self.snapshots.clone());
        restored.unwrap_or_else(|error| unreachable!("the state cannot be restored: {error}"));
        self.loaded = false;
    }

    /// The types of the operators that do the work, as they are specified.
    pub fn operators(&self) -> Vec<String> {
        let specs = self.dataflow.iter().filter_map(|(_, node)| match &node.kind {
            NodeKind::Operator(spec) => Some(format!("{spec:?}")),
            _ => None,
        });
        specs.filter_map(|spec| spec.split_whitespace().next().map(str::to_owned)).collect()
    }
}

fn start(dataflow: &Arc<Dataflow>, lanes: usize) -> Executor {
    Executor::new(Arc::clone(dataflow), lanes).expect("its operators can be built")
}

fn source_event((_, partition, happening): &Event, projection: &[usize]) -> SourceEvent {
    let partition = PartitionId::from(partition.as_str());
    match happening {
        Happening::Discovered => SourceEvent::Discovered { partition, parents: Vec::new() },
        Happening::Rows(rows) => SourceEvent::Rows(SourceBatch {
            partition,
            rows: rows.project(projection).expect("its columns are there"),
            bad: Vec::new(),
            position: Position(String::new()),
        }),
        Happening::Bound(rowtime_ms) => SourceEvent::Bound { partition, rowtime_ms: *rowtime_ms },
        Happening::Finished => SourceEvent::Finished { partition },
    }
}
