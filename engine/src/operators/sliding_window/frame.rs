//! Which rows of its partition a row looks back at.

use std::fmt;

use super::history::History;

/// How far a window reaches back from a row, which it includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Rows at most this much earlier, in the unit of the time column. The bound is inclusive.
    Range {
        /// The reach.
        preceding: i64,
    },
    /// At most this many rows before the row; [`u64::MAX`] are all of them.
    Rows(u64),
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { preceding } => write!(f, "range {preceding} preceding"),
            Self::Rows(u64::MAX) => f.write_str("all rows preceding"),
            Self::Rows(rows) => write!(f, "rows {rows} preceding"),
        }
    }
}

/// New rows of one partition, next to each other in the epoch's rows as they are grouped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) partition: usize,
    /// How many.
    pub(super) rows: usize,
    /// The number of the first of them in its partition, counted from the partition's beginning.
    pub(super) first: u64,
}

/// The frames of an epoch's rows.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    pub(super) runs: &'a [Run],
    /// For each row, as they are grouped, the number in its partition of the first row it looks back
    /// at. Its own number is the last of its frame.
    pub(super) starts: Vec<u64>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(frame: Frame, runs: &'a [Run], history: &History) -> Self {
        let mut starts = Vec::with_capacity(runs.iter().map(|run| run.rows).sum());
        for run in runs {
            let of_one = history.partition(run.partition);
            let rows = (run.first..).take(run.rows);
            match frame {
                Frame::Rows(preceding) => {
                    starts.extend(rows.map(|row| row.saturating_sub(preceding).max(of_one.base)));
                }
                Frame::Range { preceding } => {
                    let earliest = |row| of_one.time(row).saturating_sub(preceding);
                    let mut start = of_one.first_at_or_after(earliest(run.first));
                    for row in rows {
                        let earliest = earliest(row);
                        while start < row && of_one.time(start) < earliest {
                            start += 1;
                        }
                        starts.push(start.min(row));
                    }
                }
            }
        }
        Self { runs, starts }
    }
}
