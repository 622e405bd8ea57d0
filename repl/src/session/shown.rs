//! How the rows of continuous queries get from their job to the screen.
//!
//! A query is a sink like any other; its rows come back to the session through a bounded channel. Rows
//! that stay are printed as they come. A result whose rows change is redrawn in its place where that
//! can be seen: one query, as a table, on a terminal, unless the changes themselves were asked for.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::dataflow::{Node, SortKey};
use millstream_engine::fault::BadRow;
use millstream_engine::port::{Flush, Sink, SinkReport};
use millstream_engine::{Clock, Contents, Delta, delta};
use tokio::sync::mpsc;

use super::Console;
use crate::failure::Failure;
use crate::output::{Format, Printer, Screen, Widths, printed_rows, printed_schema, printer};

/// Epochs whose rows may wait to be shown before the job waits for the terminal.
const QUEUE_EPOCHS: usize = 16;

/// The queries of a job and their rows as they come.
#[derive(Debug)]
pub(super) struct ShownQueries {
    queries: BTreeMap<usize, Shown>,
    sender: mpsc::Sender<(usize, Vec<Delta>)>,
    /// The query whose rows were shown last, where there are several.
    last: Option<usize>,
}

/// What arrives for the queries.
pub(super) type Arriving = mpsc::Receiver<(usize, Vec<Delta>)>;

#[derive(Debug)]
struct Shown {
    updating: bool,
    face: Face,
    title: String,
}

#[derive(Debug)]
enum Face {
    Changes(Box<dyn Printer>),
    Redrawn(Box<Screen>),
}

impl ShownQueries {
    /// No queries yet, and where their rows will arrive.
    pub(super) fn new() -> (Self, Arriving) {
        let (sender, arriving) = mpsc::channel(QUEUE_EPOCHS);
        (Self { queries: BTreeMap::new(), sender, last: None }, arriving)
    }

    /// Adds the query `index` of `count`, whose rows are those of `node`; returns its sink.
    pub(super) fn add(
        &mut self,
        console: &Console,
        (index, count): (usize, usize),
        (node, order): (&Node, Vec<SortKey>),
        title: &str,
    ) -> Box<dyn Sink> {
        let redraws = node.updating && count == 1 && console.redraws();
        let face = if redraws {
            let contents = Contents::new(Arc::clone(&node.schema), true);
            Face::Redrawn(Box::new(Screen::new(contents, order)))
        } else {
            let schema = printed_schema(&node.schema, node.updating);
            Face::Changes(printer(console.format, &schema, Widths::FitFirst))
        };
        let title = title.lines().next().unwrap_or_default().to_owned();
        self.queries.insert(index, Shown { updating: node.updating, face, title });
        let rows = self.sender.clone();
        Box::new(QuerySink { index, rows, report: SinkReport::default() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Shows rows of a query, or takes them for the next drawing.
    pub(super) fn take(
        &mut self,
        console: &mut Console,
        index: usize,
        deltas: &[Delta],
    ) -> Result<(), Failure> {
        self.headline(console, index)?;
        let Some(query) = self.queries.get_mut(&index) else { return Ok(()) };
        match &mut query.face {
            Face::Redrawn(screen) => screen.take(deltas)?,
            Face::Changes(printer) => {
                for delta in deltas {
                    let rows = printed_rows(delta, query.updating)?;
                    printer.rows(&rows, console.out.as_mut())?;
                }
            }
        }
        Ok(())
    }

    /// How long to wait at `now` before [`Self::draw`]; `None` if there is nothing to draw.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        self.queries.values().find_map(|query| match &query.face {
            Face::Redrawn(screen) => screen.wait(now),
            Face::Changes(_) => None,
        })
    }

    /// Draws what has changed.
    pub(super) fn draw(&mut self, console: &mut Console, clock: &dyn Clock) -> Result<(), Failure> {
        for query in self.queries.values_mut() {
            if let Face::Redrawn(screen) = &mut query.face {
                let began = clock.monotonic();
                screen.draw((console.lines)(), console.out.as_mut())?;
                screen.drawn(began, clock.monotonic());
            }
        }
        Ok(())
    }

    /// Ends the results. Of one that `stopped` early the last drawing stays.
    pub(super) fn end(&mut self, console: &mut Console, stopped: bool) -> Result<(), Failure> {
        let prints = |query: &Shown| matches!(query.face, Face::Changes(_));
        if console.terminal && stopped && self.queries.values().any(prints) {
            // The terminal has written `^C` where the cursor is.
            writeln!(console.out)?;
        }
        let indices: Vec<usize> = self.queries.keys().copied().collect();
        for index in indices {
            self.headline(console, index)?;
            let Some(query) = self.queries.get_mut(&index) else { continue };
            match &mut query.face {
                Face::Changes(printer) => printer.end(console.out.as_mut())?,
                Face::Redrawn(screen) if stopped => {
                    screen.draw((console.lines)(), console.out.as_mut())?;
                }
                Face::Redrawn(screen) => screen.end(console.out.as_mut())?,
            }
        }
        Ok(())
    }

    /// Says which query the next rows are of, where there are several.
    fn headline(&mut self, console: &mut Console, index: usize) -> Result<(), Failure> {
        let several = self.queries.len() > 1 && console.format == Format::Table;
        if several && self.last.replace(index) != Some(index) {
            let title = self.queries.get(&index).map_or("", |query| &query.title);
            writeln!(console.out, "-- {title}")?;
        }
        Ok(())
    }
}

/// Brings the rows of a continuous query back to the session.
#[derive(Debug)]
struct QuerySink {
    index: usize,
    rows: mpsc::Sender<(usize, Vec<Delta>)>,
    report: SinkReport,
}

#[async_trait]
impl Sink for QuerySink {
    async fn write(
        &mut self,
        _epoch: u64,
        rows: Vec<Delta>,
    ) -> millstream_engine::Result<Vec<BadRow>> {
        self.report.rows += u64::try_from(delta::total_rows(&rows)).unwrap_or(0);
        // A session that no longer listens has said so by asking the job to stop.
        let _stopped = self.rows.send((self.index, rows)).await;
        Ok(Vec::new())
    }

    async fn flush(&mut self, _flush: Flush) -> millstream_engine::Result<()> {
        Ok(())
    }

    fn report(&self) -> SinkReport {
        self.report
    }
}
