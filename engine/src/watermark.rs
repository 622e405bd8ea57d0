//! Watermarks: what is known about the times of rows still to come.

/// A lower bound on the times of all rows still to come on a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watermark {
    /// Nothing is known yet.
    Unknown,
    /// No row earlier than this will come, in the unit of the column it belongs to.
    At(i64),
    /// No row will come at all.
    End,
}

impl Watermark {
    /// The bound as a number: [`i64::MIN`] where nothing is known, [`i64::MAX`] at the end.
    pub fn bound(self) -> i64 {
        match self {
            Self::Unknown => i64::MIN,
            Self::At(bound) => bound,
            Self::End => i64::MAX,
        }
    }
}

/// The watermarks of an edge, one entry per column: `None` for a column that no watermark is kept
/// for. Whether an entry is `Some` is decided when the dataflow is planned and never changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watermarks(pub Vec<Option<Watermark>>);

impl Watermarks {
    /// No column of `columns` has a watermark.
    pub fn none(columns: usize) -> Self {
        Self(vec![None; columns])
    }

    /// The watermark of `column`, if one is kept.
    pub fn get(&self, column: usize) -> Option<Watermark> {
        self.0.get(column).copied().flatten()
    }

    /// Whether any column has a watermark.
    pub fn any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// What holds for the rows of both edges: per column the lower bound, none where either has none.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        let both = self.0.iter().zip(&other.0);
        Self(both.map(|(a, b)| a.zip(*b).map(|(a, b)| a.min(b))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_is_what_both_sides_promise() {
        let a = Watermarks(vec![Some(Watermark::At(5)), Some(Watermark::End), None]);
        let b = Watermarks(vec![Some(Watermark::Unknown), Some(Watermark::At(1)), None]);
        assert_eq!(a.min(&b).0, vec![Some(Watermark::Unknown), Some(Watermark::At(1)), None]);
    }
}
