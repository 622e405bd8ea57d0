//! Models over the rows of a stream.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::logical_expr::{Expr, Window};
use millstream_engine::dataflow::NodeId;
use millstream_engine::model::{ModelColumn, ModelKind};
use millstream_engine::operators::model::ModelSpec;

use super::columns::Columns;
use super::window::arrival_order;
use super::{Translator, column};
use crate::error::SqlError;
use crate::plan::models::{call_of, model_of, text_of};

/// What calls over the same rows ask for.
struct Asked<'a> {
    kind: ModelKind,
    columns: Vec<ModelColumn>,
    names: Vec<String>,
    numbers: &'a [Expr],
    time: &'a Expr,
}

impl<'a> Asked<'a> {
    fn of(window: &'a Window) -> Option<Self> {
        let mut asked: Option<Self> = None;
        for expr in &window.window_expr {
            let call = call_of(expr)?;
            let [settings, names, numbers @ ..] = call.params.args.as_slice() else { return None };
            let (kind, column) = model_of(call.fun.name(), text_of(settings)?)?;
            let time = arrival_order(&call.params).ok()?;
            match &mut asked {
                Some(asked) if asked.kind == kind => asked.columns.push(column),
                Some(_) => return None,
                None => {
                    let names = text_of(names)?.split('\n').map(str::to_owned).collect();
                    asked = Some(Self { kind, columns: vec![column], names, numbers, time });
                }
            }
        }
        asked
    }
}

impl Translator<'_> {
    /// The node of a model; none if the window is another.
    pub(super) fn model(&mut self, window: &Window) -> Result<Option<NodeId>, SqlError> {
        let Some(asked) = Asked::of(window) else { return Ok(None) };
        let input = self.plan(&window.input)?;
        let mut columns = Columns::all(window.input.schema());
        let width = window.input.schema().fields().len();
        let time = columns.add(asked.time);
        let numbers: Vec<usize> = asked.numbers.iter().map(|number| columns.add(number)).collect();
        let projected = self.projected(input, &columns)?;
        if self.dataflow.node(projected).updating {
            return Err(SqlError::new("a model over rows that may be taken back cannot run")
                .with_hint(
                    "what it has learned from a row stays: put it below the aggregate or join",
                ));
        }
        if self.timed(projected).get(time).is_none() {
            return Err(SqlError::new("the rows of a model need a ROWTIME with a watermark")
                .with_hint("read a stream, or SELECT a time AS ROWTIME below"));
        }
        let output = Arc::new(window.schema.as_arrow().clone());
        let below = Arc::clone(&self.dataflow.node(projected).schema);
        let results = output.fields().iter().skip(width).map(Arc::clone);
        let fields = below.fields().iter().map(Arc::clone).chain(results);
        let wide = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let spec = ModelSpec {
            kind: asked.kind,
            time,
            numbers: numbers.into_iter().zip(asked.names).collect(),
            columns: asked.columns,
            input_schema: Arc::clone(&below),
            schema: Arc::clone(&wide),
        };
        let node = self.operator(Arc::clone(&wide), false, vec![projected], spec);
        if wide.fields().len() == output.fields().len() {
            return Ok(Some(node));
        }
        // The columns that were only needed below go.
        let passed = (0..width).chain(below.fields().len()..wide.fields().len());
        let exprs = passed.map(|index| column(&wide, index)).collect();
        Ok(Some(self.project(node, exprs, &output)))
    }
}
