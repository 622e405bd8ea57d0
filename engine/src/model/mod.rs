//! Models that learn from rows while they judge them, one after another: pure functions of the rows so
//! far. [`crate::operators::model`] runs them continuously, a batch query runs them on all rows.

mod bytes;
pub mod forest;
pub mod hotspots;

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, RecordBatch, StringBuilder,
};
use arrow::array::{StringArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, UInt64Type};

use crate::error::{Error, Result};
use forest::{Forest, ForestOptions, Scores};
use hotspots::{HotspotOptions, Hotspots};

/// Which model, and how it is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ModelKind {
    /// Anomaly scores, and whether they are explained, with the direction of what is odd or without.
    Forest(ForestOptions),
    /// Regions where points are dense.
    Hotspots(HotspotOptions),
}

/// A column that a model gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelColumn {
    /// The score of a row, a `DOUBLE`.
    Score,
    /// What each number adds to the score, as JSON.
    Explanation {
        /// Whether it says if the number is too high or too low.
        directions: bool,
    },
    /// The regions, as JSON.
    Hotspots,
}

impl ModelColumn {
    /// The type of its values.
    #[must_use]
    pub fn data_type(self) -> DataType {
        match self {
            Self::Score => DataType::Float64,
            Self::Explanation { .. } | Self::Hotspots => DataType::Utf8,
        }
    }
}

/// The name of a column in a snapshot: which part it is.
const PART: &str = "part";

/// The name of a column in a snapshot: what the part is.
const BYTES: &str = "bytes";

/// A model and what it has learned.
#[derive(Debug)]
pub struct Model {
    columns: Vec<ModelColumn>,
    names: Vec<String>,
    learned: Learned,
    is_changed: bool,
}

#[derive(Debug)]
enum Learned {
    Forest(Forest),
    Hotspots(Hotspots),
}

impl Model {
    /// A model that has seen nothing, over columns of these names, giving `columns`.
    #[must_use]
    pub fn new(kind: ModelKind, names: Vec<String>, columns: Vec<ModelColumn>) -> Self {
        let learned = match kind {
            ModelKind::Forest(options) => Learned::Forest(Forest::new(options, names.len())),
            ModelKind::Hotspots(options) => Learned::Hotspots(Hotspots::new(options, names.len())),
        };
        Self { columns, names, learned, is_changed: false }
    }

    /// Takes rows in; returns the columns for them. A row without all its numbers is not taken in, and
    /// gets NULL.
    ///
    /// # Errors
    ///
    /// When a column does not hold numbers.
    pub fn run(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
        let floats = columns.iter().map(|column| cast(column, &DataType::Float64));
        let floats = floats.collect::<std::result::Result<Vec<_>, _>>()?;
        let floats: Vec<&Float64Array> =
            floats.iter().map(|column| column.as_primitive::<Float64Type>()).collect();
        let is_whole = |row: &usize| floats.iter().all(|column| column.is_valid(*row));
        let whole: Vec<usize> = (0..rows).filter(is_whole).collect();
        let mut numbers = Vec::with_capacity(whole.len() * floats.len());
        for row in &whole {
            numbers.extend(floats.iter().map(|column| column.value(*row)));
        }
        self.is_changed |= !whole.is_empty();
        let explains =
            self.columns.iter().any(|column| matches!(column, ModelColumn::Explanation { .. }));
        match &mut self.learned {
            Learned::Forest(forest) => {
                let scores = forest.run(&numbers, explains);
                let columns = self.columns.iter().map(|column| match column {
                    ModelColumn::Explanation { directions } => {
                        explanations(&scores, &self.names, (&whole, rows), *directions)
                    }
                    ModelColumn::Score | ModelColumn::Hotspots => {
                        let mut values = vec![None; rows];
                        for (row, score) in whole.iter().zip(&scores.scores) {
                            values[*row] = Some(*score);
                        }
                        Arc::new(Float64Array::from(values)) as ArrayRef
                    }
                });
                Ok(columns.collect())
            }
            Learned::Hotspots(hotspots) => {
                let mut built = StringBuilder::new();
                let mut next =
                    whole.iter().zip(numbers.chunks_exact(self.names.len().max(1))).peekable();
                for row in 0..rows {
                    match next.next_if(|(whole, _)| **whole == row) {
                        Some((_, numbers)) => built.append_value(hotspots.run(numbers)),
                        None => built.append_null(),
                    }
                }
                Ok(vec![Arc::new(built.finish())])
            }
        }
    }

    /// What it has learned since the last snapshot; nothing if it has seen nothing since.
    ///
    /// # Errors
    ///
    /// When Arrow refuses the batch: our bug.
    pub fn snapshot(&mut self) -> Result<Option<RecordBatch>> {
        if !std::mem::take(&mut self.is_changed) {
            return Ok(None);
        }
        let parts = match &mut self.learned {
            Learned::Forest(forest) => forest.write(),
            Learned::Hotspots(hotspots) => vec![(0, hotspots.write())],
        };
        let numbers: ArrayRef = Arc::new(parts.iter().map(|(n, _)| *n).collect::<UInt64Array>());
        let bytes: ArrayRef =
            Arc::new(BinaryArray::from_iter_values(parts.iter().map(|(_, bytes)| bytes)));
        Ok(Some(RecordBatch::try_from_iter([(PART, numbers), (BYTES, bytes)])?))
    }

    /// Makes the next snapshot hold all it has learned.
    pub fn forget_snapshots(&mut self) {
        self.is_changed = true;
        if let Learned::Forest(forest) = &mut self.learned {
            forest.forget_written();
        }
    }

    /// Takes in a snapshot.
    ///
    /// # Errors
    ///
    /// When it is not one of this model's.
    pub fn restore(&mut self, rows: &RecordBatch) -> Result<()> {
        let not_ours = || Error::bug("not what this model has learned");
        let (Some(numbers), Some(bytes)) = (
            rows.column_by_name(PART).and_then(|c| c.as_primitive_opt::<UInt64Type>()),
            rows.column_by_name(BYTES).and_then(|c| c.as_binary_opt::<i32>()),
        ) else {
            return Err(not_ours());
        };
        for (number, bytes) in numbers.values().iter().zip(bytes.iter().flatten()) {
            let known = match &mut self.learned {
                Learned::Forest(forest) => forest.read(*number, bytes),
                Learned::Hotspots(hotspots) => hotspots.read(bytes),
            };
            if !known {
                return Err(not_ours());
            }
        }
        Ok(())
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.learned {
            Learned::Forest(forest) => forest.memory_bytes(),
            Learned::Hotspots(hotspots) => hotspots.memory_bytes(),
        }
    }
}

/// The shares as JSON: `{"rate":{"DIRECTION":"HIGH","STRENGTH":"0.0922","ATTRIBUTION_SCORE":"0.3792"}}`. The
/// strength is how much of a number's share its direction has more than the other.
fn explanations(
    Scores { shares, .. }: &Scores,
    names: &[String],
    (whole, rows): (&[usize], usize),
    directions: bool,
) -> ArrayRef {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let mut built: Vec<Option<String>> = vec![None; rows];
    for (row, shares) in whole.iter().zip(shares.chunks_exact(2 * names.len().max(1))) {
        let (high, low) = shares.split_at(names.len());
        let mut json = String::from("{");
        for ((name, high), low) in names.iter().zip(high).zip(low) {
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(name);
            json.push_str(":{");
            if directions {
                let sum = high + low;
                let strength = if sum > 0.0 { (high - low).abs() / sum } else { 0.0 };
                let direction = if high > low { "HIGH" } else { "LOW" };
                // A text takes whatever is written.
                let _written =
                    write!(json, "\"DIRECTION\":\"{direction}\",\"STRENGTH\":\"{strength:.4}\",");
            }
            let _written = write!(json, "\"ATTRIBUTION_SCORE\":\"{:.4}\"}}", high + low);
        }
        json.push('}');
        built[*row] = Some(json);
    }
    Arc::new(StringArray::from(built))
}

/// A name as a JSON string.
fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}
