//! The rows of one epoch, and which groups they touch.

use std::fmt;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use crate::error::Result;

/// What the aggregates read of some rows, evaluated.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) keys: Vec<ArrayRef>,
    /// Per aggregate.
    pub(super) arguments: Vec<Vec<ArrayRef>>,
    /// Per aggregate.
    pub(super) filters: Vec<Option<BooleanArray>>,
}

/// Rows with the groups they belong to.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) rows: Rows,
    /// `None` where every row counts once.
    pub(super) weights: Option<Int64Array>,
    /// The group of each row, as a number of this epoch.
    pub(super) groups: Vec<usize>,
    /// The groups of this part and those before it are the numbers below this one.
    pub(super) groups_so_far: usize,
}

/// What one aggregate reads of some rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contribution<'a> {
    pub(super) arguments: &'a [ArrayRef],
    pub(super) filter: Option<&'a BooleanArray>,
    pub(super) weights: Option<&'a [i64]>,
    pub(super) groups: &'a [usize],
    pub(super) groups_so_far: usize,
}

impl Part {
    /// What aggregate number `number` reads.
    pub(super) fn of(&self, number: usize) -> Contribution<'_> {
        Contribution {
            arguments: &self.rows.arguments[number],
            filter: self.rows.filters[number].as_ref(),
            weights: self.weights.as_ref().map(|weights| &weights.values()[..]),
            groups: &self.groups,
            groups_so_far: self.groups_so_far,
        }
    }
}

/// The rows of one epoch, and which groups they touch.
pub(super) struct Touched {
    /// `None` where there are no keys: there is one group.
    keys: Option<Box<dyn GroupValues>>,
    pub(super) parts: Vec<Part>,
}

impl fmt::Debug for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Touched").field("groups", &self.count()).finish_non_exhaustive()
    }
}

impl Touched {
    pub(super) fn new(keys: &SchemaRef) -> Result<Self> {
        let keys = (!keys.fields().is_empty())
            .then(|| new_group_values(SchemaRef::clone(keys), &GroupOrdering::None))
            .transpose()?;
        Ok(Self { keys, parts: Vec::new() })
    }

    /// Adds rows, `count` of them.
    pub(super) fn add(
        &mut self,
        rows: Rows,
        weights: Option<Int64Array>,
        count: usize,
    ) -> Result<()> {
        let mut groups = Vec::with_capacity(count);
        match &mut self.keys {
            Some(keys) => keys.intern(&rows.keys, &mut groups)?,
            None => groups.resize(count, 0),
        }
        let groups_so_far = self.keys.as_ref().map_or(1, |keys| keys.len());
        self.parts.push(Part { rows, weights, groups, groups_so_far });
        Ok(())
    }

    /// The number of groups touched.
    pub(super) fn count(&self) -> usize {
        self.parts.last().map_or(0, |part| part.groups_so_far)
    }

    /// The keys of the groups touched, in the order of their numbers.
    pub(super) fn take_keys(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(self.keys.as_mut().map(|keys| keys.emit(EmitTo::All)).transpose()?.unwrap_or_default())
    }

    /// Gives the groups other numbers: group `order[n]` becomes number `n`. The groups that are first
    /// in `order` are the `old` ones; those after them keep the order they had among themselves.
    pub(super) fn renumber(&mut self, order: &[u32], old: usize) {
        let mut numbers = vec![0_usize; order.len()];
        for (number, group) in order.iter().enumerate() {
            numbers[*group as usize] = number;
        }
        for part in &mut self.parts {
            part.groups.iter_mut().for_each(|group| *group = numbers[*group]);
            let new = order[old..].partition_point(|group| (*group as usize) < part.groups_so_far);
            part.groups_so_far = old + new;
        }
    }
}
