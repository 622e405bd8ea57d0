//! An operator once per window: where what belongs together has the same times, and the times only
//! grow, each window has an operator and a state of its own, gone when the watermark passes it.
//!
//! ```text
//!   left  ──┐  by window   ┌─►  12:00  join   { rows of both sides }    passed: out, forgotten
//!   right ──┴──────────────┴─►  12:01  join   { rows of both sides }    open
//! ```
//!
//! That makes a join of two streams by window a join with bounded state. What an operator would take
//! back later (an outer join: the row without a match) it need not give before the window is over: then
//! it runs [at the close](Emission::AtClose) on all rows at once, and what comes out is appended.
//!
//! Invariant: nothing is kept of a window of which a time is below its watermark.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::window_aggregate::split::{
    WindowKey, restored_rows, rows_by_time, saved_rows, saved_windows,
};
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::to_numbers;
use crate::watermark::{Watermark, Watermarks};

/// The windows that are gone since the last snapshot.
const CLOSED: &str = "closed windows";

/// The rows that wait for the close, by input.
const WAITING: [&str; 2] = ["waiting left", "waiting right"];

/// When the operator of a window runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emission {
    /// In every epoch that brings it rows; it gives what is appended only.
    AsItComes,
    /// Once, when the window is over.
    AtClose,
}

/// An operator per window, as planned. Its inputs are append-only.
#[derive(Debug, Clone)]
pub struct PerWindowSpec {
    /// The operator; what it keeps of different windows has nothing to do with one another.
    pub inner: Arc<dyn OperatorSpec>,
    /// The times of the window in each input: columns with watermarks, as many in each, in the same
    /// order.
    pub times: Vec<Vec<usize>>,
    /// The output columns that hold one of the times, and which.
    pub times_out: Vec<(usize, usize)>,
    /// When it runs.
    pub emission: Emission,
    /// The columns of each input.
    pub input_schemas: Vec<SchemaRef>,
    /// The columns of the output.
    pub schema: SchemaRef,
}

impl PerWindowSpec {
    fn bound(&self, time: usize, inputs: &[Watermarks]) -> Option<Watermark> {
        let of = |(columns, input): (&Vec<usize>, &Watermarks)| {
            columns.get(time).and_then(|column| input.get(*column))
        };
        let bounds: Option<Vec<Watermark>> = self.times.iter().zip(inputs).map(of).collect();
        bounds?.into_iter().min()
    }

    /// A window of which a time is below its bound is over.
    fn bounds(&self, inputs: &[Watermarks]) -> Vec<Watermark> {
        let count = self.times.first().map_or(0, Vec::len);
        (0..count).map(|time| self.bound(time, inputs).unwrap_or(Watermark::Unknown)).collect()
    }
}

impl OperatorSpec for PerWindowSpec {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn explain(&self) -> Explanation {
        let inner = self.inner.explain();
        let columns = self.times.first().into_iter().flatten();
        let name = |column: &usize| self.input_schemas.first().map(|s| s.field(*column).name());
        let times: Vec<_> = columns.filter_map(name).map(String::as_str).collect();
        let times = times.join(", ");
        let when = match self.emission {
            Emission::AsItComes => "",
            Emission::AtClose => " at close",
        };
        Explanation {
            detail: format!("per window{when} {}", inner.detail),
            keeps: format!("{} of every open {times}", inner.keeps),
            freed_by: format!("the watermark of both sides passing {times}"),
        }
    }

    fn distribution(&self, input: usize) -> Distribution {
        self.inner.distribution(input)
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = Watermarks::none(self.schema.fields().len());
        for (column, time) in &self.times_out {
            watermarks.0[*column] = self.bound(*time, inputs);
        }
        watermarks
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        if part == CLOSED {
            return Some(StateShare::Shared);
        }
        let share = match WAITING.iter().position(|waiting| *waiting == part) {
            Some(input) => match self.inner.distribution(input) {
                Distribution::Hash(columns) => StateShare::Keys(columns),
                Distribution::Single => StateShare::First,
                Distribution::Any | Distribution::Broadcast => return None,
            },
            None => self.inner.state_share(part)?,
        };
        // The times of the window come first.
        let times = self.times.first().map_or(0, Vec::len);
        Some(match share {
            StateShare::Keys(columns) => {
                StateShare::Keys(columns.into_iter().map(|column| column + times).collect())
            }
            other => other,
        })
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let count = self.times.first().map_or(0, Vec::len);
        if count == 0 || self.times.iter().any(|times| times.len() != count) {
            return Err(Error::bug("a window has the same times in every input"));
        }
        if self.times.len() > WAITING.len() {
            return Err(Error::bug("an operator per window has two inputs at most"));
        }
        Ok(Box::new(PerWindow { spec: self.clone(), windows: BTreeMap::new(), closed: Vec::new() }))
    }
}

/// What is kept of a window.
#[derive(Debug)]
struct Window {
    /// Its operator, where it runs as rows come.
    operator: Option<Box<dyn Operator>>,
    /// The rows that wait for the close, by input.
    waiting: Vec<Vec<RecordBatch>>,
    /// How many of them are in a snapshot, by input.
    saved_rows: Vec<usize>,
    /// Whether a snapshot holds some of it, and so must hear of its end.
    saved: bool,
}

#[derive(Debug)]
struct PerWindow {
    spec: PerWindowSpec,
    windows: BTreeMap<WindowKey, Window>,
    /// Windows in earlier snapshots that are over since.
    closed: Vec<WindowKey>,
}

/// The rows of an epoch for one window, by input.
type Arrived = BTreeMap<WindowKey, Vec<Vec<RecordBatch>>>;

impl PerWindow {
    fn inputs(&self) -> usize {
        self.spec.times.len()
    }

    fn new_window(&self) -> Result<Window> {
        let operator = match self.spec.emission {
            Emission::AsItComes => Some(self.spec.inner.build()?),
            Emission::AtClose => None,
        };
        let waiting = vec![Vec::new(); self.inputs()];
        Ok(Window { operator, waiting, saved_rows: vec![0; self.inputs()], saved: false })
    }

    /// Spreads the rows of an input over the windows.
    fn spread(&self, number: usize, batch: &RecordBatch, arrived: &mut Arrived) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let times = self.spec.times[number].iter().map(|column| {
            Ok(to_numbers(batch.column(*column))?.as_primitive::<Int64Type>().clone())
        });
        let times = times.collect::<Result<Vec<_>>>()?;
        let inputs = self.inputs();
        let mut add = |window: WindowKey, batch: RecordBatch| {
            arrived.entry(window).or_insert_with(|| vec![Vec::new(); inputs])[number].push(batch);
        };
        for (window, rows) in rows_by_time(batch, &times)? {
            add(window, rows);
        }
        Ok(())
    }

    fn run(
        &self,
        cx: &EpochContext,
        operator: &mut dyn Operator,
        rows: Vec<Vec<RecordBatch>>,
        output: &mut Output,
    ) -> Result<()> {
        let input = |(rows, schema): (Vec<RecordBatch>, &SchemaRef)| Input {
            deltas: rows.into_iter().map(Delta::append).collect(),
            watermarks: Watermarks::none(schema.fields().len()),
        };
        let inputs = rows.into_iter().zip(&self.spec.input_schemas).map(input).collect();
        let Output { deltas, bad } = operator.step(cx, inputs)?;
        output.bad.extend(bad);
        for delta in deltas.into_iter().filter(|delta| delta.num_rows() > 0) {
            output.deltas.push(appended(delta)?);
        }
        Ok(())
    }

    fn close(
        &mut self,
        cx: &EpochContext,
        bounds: &[Watermark],
        output: &mut Output,
    ) -> Result<()> {
        let over = |key: &WindowKey, _: &mut Window| key.is_below(bounds);
        let over: Vec<_> = self.windows.extract_if(.., over).collect();
        for (key, window) in over {
            if window.saved {
                self.closed.push(key);
            }
            if self.spec.emission == Emission::AtClose {
                let mut operator = self.spec.inner.build()?;
                self.run(cx, operator.as_mut(), window.waiting, output)?;
            }
        }
        Ok(())
    }
}

/// A change that takes nothing back, as rows that are appended.
fn appended(delta: Delta) -> Result<Delta> {
    let Some(weights) = &delta.weights else { return Ok(delta) };
    if weights.values().iter().all(|weight| *weight == 1) {
        return Ok(Delta::append(delta.batch));
    }
    let mut rows = Vec::with_capacity(delta.num_rows());
    for (row, weight) in (0_u32..).zip(weights.values()) {
        let times = usize::try_from(*weight)
            .map_err(|_| Error::bug("a window took back a row that never came out"))?;
        rows.extend(std::iter::repeat_n(row, times));
    }
    Ok(Delta::append(take_record_batch(&delta.batch, &UInt32Array::from(rows))?))
}

impl Operator for PerWindow {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        if inputs.len() != self.inputs() {
            return Err(Error::bug("an operator per window has other inputs than planned"));
        }
        let watermarks: Vec<_> = inputs.iter().map(|input| input.watermarks.clone()).collect();
        let mut arrived = Arrived::new();
        for (number, input) in inputs.into_iter().enumerate() {
            for delta in input.deltas {
                self.spread(number, &delta.appended()?, &mut arrived)?;
            }
        }
        let mut output = Output::default();
        for (key, rows) in arrived {
            let mut window = match self.windows.remove(&key) {
                Some(window) => window,
                None => self.new_window()?,
            };
            match &mut window.operator {
                Some(operator) => self.run(cx, operator.as_mut(), rows, &mut output)?,
                None => {
                    for (waiting, rows) in window.waiting.iter_mut().zip(rows) {
                        // Slices of an epoch's batch would keep all of it.
                        waiting.extend(rows.iter().map(compact).collect::<Result<Vec<_>>>()?);
                    }
                }
            }
            self.windows.insert(key, window);
        }
        self.close(cx, &self.spec.bounds(&watermarks), &mut output)?;
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = Vec::new();
        if !self.closed.is_empty() {
            let closed = std::mem::take(&mut self.closed);
            let count = self.spec.times[0].len();
            let rows = saved_windows(count, &closed)?;
            state.push(StateBatch { part: CLOSED, rows });
        }
        for (key, window) in &mut self.windows {
            let mut parts = Vec::new();
            if let Some(operator) = &mut window.operator {
                parts.extend(operator.snapshot()?);
            }
            for (number, waiting) in window.waiting.iter().enumerate() {
                let unsaved = waiting.get(window.saved_rows[number]..).unwrap_or_default();
                window.saved_rows[number] = waiting.len();
                let part = WAITING[number];
                parts.extend(unsaved.iter().map(|rows| StateBatch { part, rows: rows.clone() }));
            }
            window.saved |= !parts.is_empty();
            for StateBatch { part, rows } in parts {
                state.push(StateBatch { part, rows: saved_rows(key, &rows)? });
            }
        }
        Ok(state)
    }

    fn forget_snapshots(&mut self) {
        self.closed.clear();
        for window in self.windows.values_mut() {
            window.operator.iter_mut().for_each(|operator| operator.forget_snapshots());
            window.saved = false;
            window.saved_rows.fill(0);
        }
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        let mut windows: BTreeMap<WindowKey, Vec<StateBatch>> = BTreeMap::new();
        let count = self.spec.times[0].len();
        for StateBatch { part, rows } in state {
            for (key, rows) in restored_rows(count, &rows)? {
                if part == CLOSED {
                    windows.remove(&key);
                } else {
                    windows.entry(key).or_default().push(StateBatch { part, rows });
                }
            }
        }
        for (key, parts) in windows {
            let window = self.restored(parts)?;
            self.windows.insert(key, window);
        }
        Ok(())
    }

    fn state_rows(&self) -> usize {
        let of = |window: &Window| {
            let operator = window.operator.as_ref().map_or(0, |operator| operator.state_rows());
            operator + window.waiting.iter().flatten().map(RecordBatch::num_rows).sum::<usize>()
        };
        self.windows.values().map(of).sum()
    }

    fn memory_bytes(&self) -> usize {
        let of = |window: &Window| {
            let operator = window.operator.as_ref().map_or(0, |operator| operator.memory_bytes());
            let waiting = window.waiting.iter().flatten().map(RecordBatch::get_array_memory_size);
            operator + waiting.sum::<usize>() + size_of::<(WindowKey, Window)>()
        };
        self.windows.values().map(of).sum::<usize>()
            + self.closed.capacity() * size_of::<WindowKey>()
    }
}

impl PerWindow {
    /// A window from what snapshots hold of it.
    fn restored(&self, parts: Vec<StateBatch>) -> Result<Window> {
        let mut window = self.new_window()?;
        window.saved = true;
        let Some(operator) = &mut window.operator else {
            for StateBatch { part, rows } in parts {
                let number = WAITING.iter().position(|name| *name == part);
                let number = number.filter(|number| *number < self.inputs());
                let number =
                    number.ok_or_else(|| Error::bug("not the state of an operator per window"))?;
                let schema = Arc::clone(&self.spec.input_schemas[number]);
                window.waiting[number].push(RecordBatch::try_new(schema, rows.columns().to_vec())?);
                window.saved_rows[number] += 1;
            }
            return Ok(window);
        };
        operator.restore(parts)?;
        Ok(window)
    }
}

/// The rows in memory of their own.
fn compact(rows: &RecordBatch) -> Result<RecordBatch> {
    let all = UInt32Array::from_iter_values((0_u32..).take(rows.num_rows()));
    let columns = rows.columns().iter().map(|column| take(column, &all, None));
    Ok(RecordBatch::try_new(rows.schema(), columns.collect::<Result<_, _>>()?)?)
}
