//! What the tests of the operators compare with: DataFusion's batch answer to the same question.
//!
//! Results are compared as multisets of rows in text form, so that neither the order of rows nor the
//! cut into batches matters.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::JoinType;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, lit};
use datafusion::prelude::SessionContext;

use super::{EpochContext, Input, Operator, StateBatch};
use crate::dataflow::OperatorSpec;
use crate::definition::TIMESTAMP_TYPE;
use crate::delta::Delta;
use crate::spill::SpillStore;
use crate::watermark::{Watermark, Watermarks};

/// A multiset of rows, as text, with how often each occurs.
pub(super) type Multiset = BTreeMap<String, i64>;

/// The rows DataFusion returns for `sql` over these tables.
pub(super) fn batch_sql(tables: &[(&str, RecordBatch)], sql: &str) -> Vec<RecordBatch> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        for (name, batch) in tables {
            let table = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap();
            context.register_table(*name, Arc::new(table)).unwrap();
        }
        context.sql(sql).await.unwrap().collect().await.unwrap()
    })
}

/// Each row of `batch` as text.
pub(super) fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    let row = |i| columns.iter().map(|c| c.value(i).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// The rows of `batches`.
pub(super) fn multiset(batches: &[RecordBatch]) -> Multiset {
    let mut rows = Multiset::new();
    for row in batches.iter().flat_map(texts) {
        *rows.entry(row).or_default() += 1;
    }
    rows
}

/// Adds `deltas` to `rows`; rows that cancel out are gone.
pub(super) fn integrate(rows: &mut Multiset, deltas: &[Delta]) {
    for delta in deltas {
        for (i, row) in texts(&delta.batch).into_iter().enumerate() {
            *rows.entry(row).or_default() += delta.weights.as_ref().map_or(1, |w| w.value(i));
        }
    }
    rows.retain(|_, weight| *weight != 0);
}

/// Some epoch.
pub(super) fn epoch() -> EpochContext {
    EpochContext { epoch: 1, now_ms: 0, owner: "TEST".into(), ended: false }
}

/// An input that appends `batch`, with one watermark on `column`.
pub(super) fn appended(batch: RecordBatch, column: usize, watermark: Watermark) -> Input {
    let mut watermarks = Watermarks::none(batch.num_columns());
    watermarks.0[column] = Some(watermark);
    Input { deltas: vec![Delta::append(batch)], watermarks }
}

/// An input with these changes and no watermark.
pub(super) fn changed(deltas: Vec<Delta>, columns: usize) -> Input {
    Input { deltas, watermarks: Watermarks::none(columns) }
}

/// `name` over columns of `schema`; without columns, over the literal 1, as DataFusion plans
/// `COUNT(*)`.
pub(super) fn aggregate(
    function: Arc<AggregateUDF>,
    columns: &[&str],
    schema: &SchemaRef,
) -> AggregateExprBuilder {
    let column = |name: &&str| -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new_with_schema(name, schema).unwrap())
    };
    let mut arguments: Vec<_> = columns.iter().map(column).collect();
    if arguments.is_empty() {
        arguments.push(lit(1_i64));
    }
    let alias = format!("{}({})", function.name(), columns.join(","));
    AggregateExprBuilder::new(function, arguments).schema(Arc::clone(schema)).alias(alias)
}

/// The aggregate as the operators take it.
pub(super) fn built(builder: AggregateExprBuilder) -> Arc<AggregateFunctionExpr> {
    Arc::new(builder.build().unwrap())
}

/// An operator that is snapshotted, and sometimes lost and restored, between epochs.
#[derive(Debug)]
pub(super) struct Restarted<'a> {
    spec: &'a dyn OperatorSpec,
    snapshots: Vec<StateBatch>,
    store: SpillStore,
    /// The operator.
    pub(super) operator: Box<dyn Operator>,
}

/// What happens to an operator after an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Runs,
    /// A snapshot is taken.
    Snapshot,
    /// A snapshot is taken, and a fresh operator goes on from all snapshots so far.
    Restart,
    /// The same, and all snapshots so far become one.
    Fold,
    /// What can go to the disk goes there.
    Spill,
}

impl<'a> Restarted<'a> {
    /// A fresh operator.
    pub(super) fn new(spec: &'a dyn OperatorSpec) -> Self {
        Self {
            spec,
            snapshots: Vec::new(),
            store: SpillStore::new(std::env::temp_dir()),
            operator: spec.build().unwrap(),
        }
    }

    /// Runs an epoch.
    pub(super) fn step(&mut self, inputs: Vec<Input>, fate: Fate) -> Vec<Delta> {
        let output = self.operator.step(&epoch(), inputs).unwrap();
        assert!(output.bad.is_empty());
        if fate == Fate::Spill {
            self.operator.spill(&self.store, usize::MAX).unwrap();
        } else if fate != Fate::Runs {
            self.snapshots.extend(self.operator.snapshot().unwrap());
        }
        if matches!(fate, Fate::Restart | Fate::Fold) {
            self.operator = self.spec.build().unwrap();
            self.operator.restore(self.snapshots.clone()).unwrap();
        }
        if fate == Fate::Fold {
            self.operator.forget_snapshots();
            self.snapshots = self.operator.snapshot().unwrap();
        }
        output.deltas
    }
}

/// Rows of these times cut into epochs: each has its count of rows and a watermark so far behind all
/// rows still to come (behind `last`, where there are none). The last epoch has the rest, and the end.
pub(super) fn cut(
    times: &[i64],
    cuts: &[(usize, i64)],
    last: i64,
) -> Vec<(std::ops::Range<usize>, Watermark)> {
    let (mut from, mut highest, mut epochs) = (0, i64::MIN, Vec::new());
    for (count, slack) in cuts {
        let to = (from + count).min(times.len());
        let later = times[to..].iter().copied().min().unwrap_or(last);
        highest = highest.max(later.saturating_sub(*slack));
        epochs.push((from..to, Watermark::At(highest)));
        from = to;
    }
    epochs.push((from..times.len(), Watermark::End));
    epochs
}

/// A row with a key, a time and a value.
pub(super) type TimedRow = (Option<u8>, Option<i64>, i64);

/// The columns of such rows: `k`, `t`, `v`.
pub(super) fn timed_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("t", TIMESTAMP_TYPE, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

/// Such rows.
pub(super) fn timed_batch(rows: &[TimedRow]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0.map(i64::from)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<TimestampMillisecondArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(timed_schema(), columns).unwrap()
}

/// Every type of join but the ones that batch does not have.
pub(super) const JOIN_TYPES: [JoinType; 10] = [
    JoinType::Inner,
    JoinType::Left,
    JoinType::Right,
    JoinType::Full,
    JoinType::LeftSemi,
    JoinType::RightSemi,
    JoinType::LeftAnti,
    JoinType::RightAnti,
    JoinType::LeftMark,
    JoinType::RightMark,
];

/// How often a property is tried. A failing case is printed and not written to a file.
pub(super) fn cases(cases: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config { cases, failure_persistence: None, ..Default::default() }
}

/// Any fate; mostly nothing happens.
pub(super) fn fates() -> impl proptest::strategy::Strategy<Value = Fate> {
    proptest::prop_oneof![
        3 => proptest::strategy::Just(Fate::Runs),
        1 => proptest::strategy::Just(Fate::Snapshot),
        1 => proptest::strategy::Just(Fate::Restart),
        1 => proptest::strategy::Just(Fate::Fold),
        1 => proptest::strategy::Just(Fate::Spill),
    ]
}
