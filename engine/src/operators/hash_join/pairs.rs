//! Pairs of rows that meet: equal keys, then the condition, then what comes out of them.

use arrow::array::{Int64Array, UInt32Array};

use super::Side;
use super::preserved::Yields;
use crate::delta::Delta;
use crate::error::Result;
use crate::operators::join_output::{JoinOutput, Rows};
use crate::operators::row_index::{Cursor, KeyedRows, Pairs, RowIndex};
use crate::operators::{EpochContext, Output};

/// How the rows of one side meet the kept rows of the other.
#[derive(Debug, Clone, Copy)]
pub(in crate::operators) struct Meeting<'a> {
    pub(in crate::operators) cx: &'a EpochContext,
    pub(in crate::operators) output: &'a JoinOutput,
    /// The side of the rows that probe, and its key columns.
    pub(in crate::operators) side: Side,
    pub(in crate::operators) keys: &'a [usize],
    /// Whether pairs are output; else they only tell what matches.
    pub(in crate::operators) pairs_come_out: bool,
    /// Whether what comes out carries weights.
    pub(in crate::operators) updating: bool,
}

/// Some pairs that met.
#[derive(Debug)]
pub(in crate::operators) struct Met {
    holding: Pairs,
    /// Pairs the condition failed on.
    failed: Pairs,
}

impl Met {
    /// The pairs that count as matches: a row that a condition failed on is neither known to match,
    /// so that it may come out for that, nor known to match nothing.
    pub(in crate::operators) fn counted(
        &self,
        yields: Yields,
    ) -> impl Iterator<Item = (u32, u32)> + '_ {
        let failed = (yields == Yields::Unmatched).then_some(&self.failed);
        let parts = std::iter::once(&self.holding).chain(failed);
        parts.flat_map(|pairs| pairs.probe.iter().copied().zip(pairs.kept.iter().copied()))
    }
}

impl Meeting<'_> {
    /// The next pairs of `rows` and `kept`, a bounded number; `None` at the end.
    pub(in crate::operators) fn next(
        &self,
        rows: &KeyedRows,
        kept: &RowIndex,
        cursor: &mut Cursor,
        output: &mut Output,
    ) -> Result<Option<Met>> {
        let Some(mut pairs) = kept.matches(rows, self.keys, cursor)? else { return Ok(None) };
        let mut failed = Pairs::default();
        if pairs.len() > 0 && self.output.residual.is_some() {
            let (probe, found) = sides(rows, kept, &pairs)?;
            let in_order = self.in_order(&probe, &found);
            let verdict = self.output.judge(self.cx, in_order, pairs.len(), &mut output.bad)?;
            if let Some(verdict) = verdict {
                failed.probe.extend(verdict.failed.iter().map(|pair| pairs.probe[*pair]));
                failed.kept.extend(verdict.failed.iter().map(|pair| pairs.kept[*pair]));
                pairs.retain(&verdict.holds);
            }
        }
        if self.pairs_come_out && pairs.len() > 0 {
            let (probe, found) = sides(rows, kept, &pairs)?;
            let batch = self.output.batch(self.in_order(&probe, &found), pairs.len())?;
            let weights = self.updating.then(|| weights(rows, kept, &pairs));
            output.deltas.push(Delta { batch, weights });
        }
        Ok(Some(Met { holding: pairs, failed }))
    }

    fn in_order<'b>(
        &self,
        probe: &'b Rows<'b>,
        found: &'b Rows<'b>,
    ) -> (&'b Rows<'b>, &'b Rows<'b>) {
        match self.side {
            Side::Left => (probe, found),
            Side::Right => (found, probe),
        }
    }
}

fn sides<'a>(
    rows: &'a KeyedRows,
    kept: &'a RowIndex,
    pairs: &Pairs,
) -> Result<(Rows<'a>, Rows<'a>)> {
    let probe = Rows::Probe(&rows.batch, UInt32Array::from(pairs.probe.clone()));
    Ok((probe, Rows::Kept(kept.pick(&pairs.kept)?)))
}

/// The product of the weights of each pair.
fn weights(rows: &KeyedRows, kept: &RowIndex, pairs: &Pairs) -> Int64Array {
    let pairs = pairs.probe.iter().zip(&pairs.kept);
    pairs.map(|(probe, row)| rows.weight(*probe as usize) * kept.weight(*row)).collect()
}
