//! Random rows and changes, for the operators that keep rows in order, and the order itself.

use arrow::array::{Float64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::TimeUnit;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::WindowExpr;
use datafusion::physical_planner::create_window_expr;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use super::*;
use crate::operators::oracle::texts;

/// `k`, `t`, `v`, `f`.
pub(in crate::operators) type Row = (Option<u8>, i64, Option<i64>, Option<i8>);

pub(in crate::operators) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("v", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
    ]))
}

pub(in crate::operators) fn batch(rows: &[Row]) -> RecordBatch {
    let text = rows.iter().map(|r| r.0.map(|k| "a key of some length, ".repeat(usize::from(k))));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(text.collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| Some(r.1)).collect::<TimestampMillisecondArray>()),
        Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.3.map(f64::from)).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub(in crate::operators) fn row() -> impl Strategy<Value = Row> {
    let value = prop_oneof![6 => -3..4_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    (
        prop::option::weighted(0.8, 0..3_u8),
        0..12_i64,
        prop::option::weighted(0.8, value),
        prop::option::weighted(0.8, -2..3_i8),
    )
}

/// Rows to add, and which of those that are there to take back.
pub(in crate::operators) type Changes = (Vec<Row>, Vec<prop::sample::Index>);

pub(in crate::operators) fn changes() -> impl Strategy<Value = Changes> {
    let some = prop::collection::vec(row(), 0..10);
    let taken_back = prop::collection::vec(any::<prop::sample::Index>(), 0..8);
    prop_oneof![6 => (some, taken_back), 1 => Just((Vec::new(), Vec::new()))]
}

/// What a table holds, and what changes it.
#[derive(Debug, Default)]
pub(in crate::operators) struct Table(pub(in crate::operators) Vec<Row>);

impl Table {
    /// Adds rows and, with `weights`, takes rows back, some of them of this very epoch.
    pub(in crate::operators) fn change(
        &mut self,
        (added, taken_back): &Changes,
        weights: bool,
    ) -> Vec<Delta> {
        let mut changed: Vec<(Row, i64)> = added.iter().map(|row| (*row, 1)).collect();
        self.0.extend(added);
        for index in taken_back.iter().filter(|_| weights) {
            if !self.0.is_empty() {
                changed.push((self.0.swap_remove(index.index(self.0.len())), -1));
            }
        }
        let (first, second) = changed.split_at(changed.len() / 2);
        let delta = |changed: &[(Row, i64)]| {
            let rows: Vec<Row> = changed.iter().map(|(row, _)| *row).collect();
            let of_rows = changed.iter().map(|(_, weight)| *weight).collect();
            Delta { batch: batch(&rows), weights: weights.then_some(of_rows) }
        };
        vec![delta(first), delta(second)]
    }

    /// What it holds.
    pub(in crate::operators) fn batch(&self) -> RecordBatch {
        batch(&self.0)
    }
}

#[test]
fn rows_come_back_as_they_were_in_the_order_asked_for() {
    let down = SortOptions { descending: true, nulls_first: true };
    let mut rows = OrderedRows::new(&schema(), &[0], &[(2, down)]).unwrap();
    let all = [
        (Some(1), 5, Some(2), None),
        (None, 1, Some(9), Some(1)),
        (Some(1), 4, None, Some(2)),
        (Some(1), 4, Some(2), Some(-1)),
        (Some(1), 4, Some(3), Some(-1)),
        (Some(2), 7, Some(8), Some(0)),
    ];
    let encoded = rows.encode(&Delta::append(batch(&all))).unwrap();
    rows.apply(&encoded).unwrap();
    let partitions = OrderedRows::partitions(&[encoded]);
    assert_eq!(partitions.len(), 3);
    let of = rows.of(&partitions[0]);
    let decoded = rows.decode(of.collect::<Vec<_>>().into_iter()).unwrap();
    let expected = [all[2], all[4], all[3], all[0]];
    assert_eq!(texts(&decoded), texts(&batch(&expected)));
}

#[test]
fn what_is_before_a_bound_is_taken_out_once() {
    let mut rows = OrderedRows::new(&schema(), &[1, 0], &[]).unwrap();
    let all = [(Some(1), 5, None, None), (None, 4, None, None), (Some(2), 6, None, None)];
    rows.apply(&rows.encode(&Delta::append(batch(&all))).unwrap()).unwrap();
    let times = |taken: &[(Key, Kept)], rows: &OrderedRows| {
        texts(&rows.decode(taken.iter().map(|(key, kept)| (key, *kept))).unwrap())
    };
    let taken = rows.take_before(Some(5)).unwrap();
    assert_eq!(times(&taken, &rows), texts(&batch(&all[1..2])));
    assert!(rows.take_before(Some(5)).unwrap().is_empty());
    assert_eq!(rows.take_before(None).unwrap().len(), 2);
    assert_eq!(rows.memory_bytes(), 0);
}

/// The window functions of a query over `t`, and the columns of its result: those of `t`, then `c0` ….
pub(in crate::operators) fn window_functions(sql: &str) -> (Vec<Arc<dyn WindowExpr>>, SchemaRef) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let plan = runtime.block_on(async {
        let context = SessionContext::new();
        let table = MemTable::try_new(schema(), vec![vec![batch(&[])]]).unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        context.state().optimize(&plan).unwrap()
    });
    let mut open = &plan;
    let window = loop {
        match open {
            LogicalPlan::Window(window) => break window,
            other => open = other.inputs()[0],
        }
    };
    let build = |expr: &Expr| {
        create_window_expr(expr, window.input.schema(), &ExecutionProps::new()).unwrap()
    };
    let fields = schema().fields().iter().map(|f| f.as_ref().clone()).collect::<Vec<_>>();
    let results = window.schema.fields().iter().skip(4).enumerate();
    let results =
        results.map(|(n, f)| Field::new(format!("c{n}"), DataType::clone(f.data_type()), true));
    let schema = Schema::new(fields.into_iter().chain(results).collect::<Vec<_>>());
    (window.window_expr.iter().map(build).collect(), Arc::new(schema))
}
