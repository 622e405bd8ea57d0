//! A relation the query itself spells out: `VALUES`, or a `SELECT` without `FROM`. Its rows come once,
//! in the first epoch.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::DataType;

use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::{Watermark, Watermarks};

const GIVEN: &str = "given";

/// A constant relation as planned. It has no input.
#[derive(Debug)]
pub struct ConstantSpec {
    /// Its rows.
    pub rows: RecordBatch,
}

impl OperatorSpec for ConstantSpec {
    fn name(&self) -> &'static str {
        "Constant"
    }

    fn explain(&self) -> Explanation {
        let detail = match self.rows.num_rows() {
            1 => "1 row".to_owned(),
            rows => format!("{rows} rows"),
        };
        Explanation { detail, ..Explanation::default() }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Single
    }

    fn watermarks(&self, _inputs: &[Watermarks]) -> Watermarks {
        // No row comes after those of the first epoch.
        let schema = self.rows.schema();
        let of = |data_type: &DataType| {
            matches!(data_type, DataType::Timestamp(..)).then_some(Watermark::End)
        };
        Watermarks(schema.fields().iter().map(|field| of(field.data_type())).collect())
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let rows = self.rows.clone();
        Ok(Box::new(Constant { rows, is_given: false, is_saved: false }))
    }
}

#[derive(Debug)]
struct Constant {
    rows: RecordBatch,
    is_given: bool,
    /// Whether a snapshot says that the rows were given.
    is_saved: bool,
}

impl Operator for Constant {
    fn step(&mut self, _cx: &EpochContext, _inputs: Vec<Input>) -> Result<Output> {
        if std::mem::replace(&mut self.is_given, true) || self.rows.num_rows() == 0 {
            return Ok(Output::default());
        }
        Ok(vec![Delta::append(self.rows.clone())].into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        if !self.is_given || std::mem::replace(&mut self.is_saved, true) {
            return Ok(Vec::new());
        }
        let given = std::sync::Arc::new(BooleanArray::from(vec![true])) as _;
        Ok(vec![StateBatch { part: GIVEN, rows: RecordBatch::try_from_iter([(GIVEN, given)])? }])
    }

    fn forget_snapshots(&mut self) {
        self.is_saved = false;
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        if state.iter().any(|state| state.part != GIVEN) {
            return Err(Error::bug("not the state of a constant"));
        }
        self.is_given = !state.is_empty();
        self.is_saved = self.is_given;
        Ok(())
    }

    fn state_rows(&self) -> usize {
        0
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;
    use crate::operators::oracle::{Fate, Multiset, Restarted, integrate, multiset};

    #[test]
    fn the_rows_come_once_also_across_restarts() {
        let column = Arc::new(Int64Array::from(vec![1, 2, 2])) as _;
        let rows = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let spec = ConstantSpec { rows: rows.clone() };
        let mut constant = Restarted::new(&spec);
        let mut given = Multiset::new();
        for fate in [Fate::Snapshot, Fate::Restart, Fate::Runs, Fate::Restart, Fate::Runs] {
            integrate(&mut given, &constant.step(Vec::new(), fate));
            assert_eq!(given, multiset(std::slice::from_ref(&rows)));
        }
        assert_eq!(spec.watermarks(&[]), Watermarks(vec![None]));
    }

    #[test]
    fn no_column_is_a_row_as_well() {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let rows = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();
        let mut constant = ConstantSpec { rows }.build().unwrap();
        let cx = crate::operators::oracle::epoch();
        assert_eq!(constant.step(&cx, Vec::new()).unwrap().deltas[0].num_rows(), 1);
        assert!(constant.step(&cx, Vec::new()).unwrap().deltas.is_empty());
    }
}
