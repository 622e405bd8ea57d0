//! Rows in the order of their times through a model that learns from them, such as a forest that
//! scores anomalies: each comes out once, with what the model says of it.
//!
//! State: what the model has learned, and the rows that the watermark has not reached. A model sees all
//! rows, so they pass one lane.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::waiting::InOrder;
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::model::{Model, ModelColumn, ModelKind};
use crate::watermark::{Watermark, Watermarks};

const LEARNED: &str = "learned";

/// A model as planned. The input is append-only.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// Which model.
    pub kind: ModelKind,
    /// The time the rows are in the order of; a column with a watermark.
    pub time: usize,
    /// The columns with its numbers, and what they are called in explanations.
    pub numbers: Vec<(usize, String)>,
    /// What it gives, behind the columns of the input.
    pub columns: Vec<ModelColumn>,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output.
    pub schema: SchemaRef,
}

impl OperatorSpec for ModelSpec {
    fn name(&self) -> &'static str {
        match self.kind {
            ModelKind::Forest(_) => "RandomCutForest",
            ModelKind::Hotspots(_) => "Hotspots",
        }
    }

    fn explain(&self) -> Explanation {
        let names: Vec<&str> = self.numbers.iter().map(|(_, name)| name.as_str()).collect();
        let (settings, keeps) = match self.kind {
            ModelKind::Forest(o) => (
                format!(
                    "trees={} sample={} decay={} shingle={}",
                    o.trees, o.sample, o.decay, o.shingle
                ),
                format!("{} trees of {} points", o.trees, o.sample),
            ),
            ModelKind::Hotspots(o) => (
                format!("window={} radius={} points={}", o.window, o.radius, o.points),
                format!("the last {} rows", o.window),
            ),
        };
        let time = self.input_schema.field(self.time).name();
        Explanation {
            detail: format!("{settings} over=[{}] order_by={time}", names.join(", ")),
            keeps,
            freed_by: "newer rows".to_owned(),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Single
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        watermarks.0[self.time] = inputs.first().and_then(|input| input.get(self.time));
        watermarks
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let inputs = self.input_schema.fields().len();
        if self.schema.fields().len() != inputs + self.columns.len() || self.time >= inputs {
            return Err(Error::bug("the columns of a model do not match its schema"));
        }
        let names = self.numbers.iter().map(|(_, name)| name.clone()).collect();
        Ok(Box::new(Running {
            waiting: InOrder::new(self.time),
            model: Model::new(self.kind, names, self.columns.clone()),
            spec: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct Running {
    spec: ModelSpec,
    waiting: InOrder,
    model: Model,
}

impl Operator for Running {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        self.waiting.take_in(input.deltas)?;
        let watermark = input.watermarks.get(self.spec.time).unwrap_or(Watermark::Unknown);
        let mut deltas = Vec::new();
        if let Some((rows, _)) = self.waiting.release(watermark)? {
            let numbers: Vec<_> =
                self.spec.numbers.iter().map(|(at, _)| Arc::clone(rows.column(*at))).collect();
            let mut columns = rows.columns().to_vec();
            columns.extend(self.model.run(&numbers, rows.num_rows())?);
            let batch = RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?;
            deltas.push(Delta::append(batch));
        }
        Ok(deltas.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = self.waiting.snapshot()?;
        state.extend(self.model.snapshot()?.map(|rows| StateBatch { part: LEARNED, rows }));
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.waiting.forget_snapshots();
        self.model.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for state in state {
            match self.waiting.restore(state)? {
                None => {}
                Some(StateBatch { part: LEARNED, rows }) => self.model.restore(&rows)?,
                Some(_) => return Err(Error::bug("not the state of a model")),
            }
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        self.waiting.num_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.waiting.memory_bytes() + self.model.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array, TimestampMillisecondArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::definition::TIMESTAMP_TYPE;
    use crate::model::forest::ForestOptions;
    use crate::model::hotspots::HotspotOptions;
    use crate::operators::oracle::{Restarted, appended, cases, fates, texts};

    fn spec(kind: ModelKind, columns: Vec<ModelColumn>) -> ModelSpec {
        let mut fields =
            vec![Field::new("t", TIMESTAMP_TYPE, false), Field::new("v", DataType::Float64, true)];
        let input_schema = Arc::new(Schema::new(fields.clone()));
        fields.extend(
            columns
                .iter()
                .enumerate()
                .map(|(at, c)| Field::new(format!("c{at}"), c.data_type(), true)),
        );
        ModelSpec {
            kind,
            time: 0,
            numbers: vec![(1, "v".to_owned())],
            columns,
            input_schema,
            schema: Arc::new(Schema::new(fields)),
        }
    }

    fn batch(spec: &ModelSpec, rows: &[(i64, Option<f64>)]) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>()),
        ];
        RecordBatch::try_new(Arc::clone(&spec.input_schema), columns).unwrap()
    }

    fn specs() -> [ModelSpec; 2] {
        let forest = ForestOptions { trees: 5, sample: 10, decay: 50, shingle: 1 };
        let hotspots = HotspotOptions { window: 12, radius: 2.0, points: 3 };
        [
            spec(
                ModelKind::Forest(forest),
                vec![ModelColumn::Score, ModelColumn::Explanation { directions: true }],
            ),
            spec(ModelKind::Hotspots(hotspots), vec![ModelColumn::Hotspots]),
        ]
    }

    proptest! {
        #![proptest_config(cases(32))]
        /// Rows out of order, any cut, any restarts: what comes out is what the model says of all rows
        /// in the order of their times.
        #[test]
        fn rows_get_what_the_model_says_of_all_of_them(
            epochs in prop::collection::vec(
                (prop::collection::vec((0..5_i64, prop::option::weighted(0.9, -9..9_i8)), 0..12), 0..6_i64, fates()),
                1..10,
            ),
        ) {
            for spec in specs() {
                let mut operator = Restarted::new(&spec);
                let (mut rows, mut found): (Vec<(i64, Option<f64>)>, Vec<String>) = (Vec::new(), Vec::new());
                let (mut watermark, count) = (0, epochs.len());
                for (at, (new, step, fate)) in epochs.clone().into_iter().enumerate() {
                    let first = rows.len();
                    rows.extend(new.into_iter().map(|(t, v)| (watermark + 1 + t, v.map(f64::from))));
                    let input = batch(&spec, &rows[first..]);
                    watermark += step;
                    let bound = if at + 1 == count { Watermark::End } else { Watermark::At(watermark) };
                    let output = operator.step(vec![appended(input, 0, bound)], fate);
                    found.extend(output.iter().flat_map(|delta| texts(&delta.batch)));
                }
                rows.sort_by_key(|row| row.0);
                let all = batch(&spec, &rows);
                let mut model = Model::new(spec.kind, vec!["v".to_owned()], spec.columns.clone());
                let mut columns = all.columns().to_vec();
                columns.extend(model.run(&[Arc::clone(all.column(1))], rows.len()).unwrap());
                let expected = RecordBatch::try_new(Arc::clone(&spec.schema), columns).unwrap();
                prop_assert_eq!(&found, &texts(&expected));
            }
        }
    }
}
