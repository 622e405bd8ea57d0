//! Random changes in random epochs, against the same question in batch SQL after every one of them.

use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, appended, batch_sql, cases, changed, fates, integrate, multiset,
};
use crate::operators::ordered_rows::tests::{Changes, Row, Table, batch, changes, row, schema};

const DOWN: SortOptions = SortOptions { descending: true, nulls_first: true };

fn spec(partition_by: &[usize], function: RankFunction, (skip, limit): (u64, u64)) -> TopNSpec {
    TopNSpec {
        partition_by: partition_by.to_vec(),
        order_by: vec![(2, DOWN)],
        function,
        skip,
        limit,
        ranks: Vec::new(),
        emission: Emission::Changes,
        input_updating: false,
        input_schema: schema(),
        schema: schema(),
    }
}

fn numbered(spec: TopNSpec, ranks: Vec<RankFunction>) -> TopNSpec {
    let field = |rank: &RankFunction| Field::new(rank.to_string(), DataType::UInt64, false);
    let fields = schema().fields().iter().map(|f| f.as_ref().clone()).collect::<Vec<_>>();
    let fields = fields.into_iter().chain(ranks.iter().map(field)).collect::<Vec<_>>();
    TopNSpec { ranks, schema: Arc::new(Schema::new(fields)), ..spec }
}

/// The same question to DataFusion: the order is made total where rows are numbered.
fn sql(spec: &TopNSpec) -> String {
    let names = ["k", "t", "v", "f"];
    let partition = match spec.partition_by.as_slice() {
        [] => String::new(),
        keys => {
            let keys: Vec<_> = keys.iter().map(|key| names[*key]).collect();
            format!("PARTITION BY {}", keys.join(", "))
        }
    };
    let over = format!("OVER ({partition} ORDER BY v DESC NULLS FIRST)");
    let total = format!("OVER ({partition} ORDER BY v DESC NULLS FIRST, k, t, f NULLS LAST)");
    let ranks: Vec<_> = spec.ranks.iter().map(ToString::to_string).collect();
    let columns: Vec<_> = names.into_iter().chain(ranks.iter().map(String::as_str)).collect();
    format!(
        "SELECT {} FROM (SELECT *, row_number() {total} AS row_number, rank() {over} AS rank, \
         dense_rank() {over} AS dense_rank FROM t) WHERE {} > {} AND {} <= {}",
        columns.join(", "),
        spec.function,
        spec.skip,
        spec.function,
        spec.limit
    )
}

/// After every epoch the output is the batch answer for the rows so far.
fn follows(spec: &TopNSpec, epochs: &[(Changes, Fate)]) -> Result<(), TestCaseError> {
    let (mut table, mut seen) = (Table::default(), Multiset::new());
    let mut operator = Restarted::new(spec);
    for (change, fate) in epochs {
        let deltas = table.change(change, spec.input_updating);
        let output = operator.step(vec![changed(deltas, 4)], *fate);
        let mut twice = Multiset::new();
        output.iter().for_each(|delta| integrate(&mut twice, std::slice::from_ref(delta)));
        let rows: usize = output.iter().map(Delta::num_rows).sum();
        let net: i64 = twice.values().map(|weight| weight.abs()).sum();
        prop_assert_eq!(i64::try_from(rows).unwrap(), net, "a row came and went in one epoch");
        integrate(&mut seen, &output);
        prop_assert_eq!(&seen, &multiset(&batch_sql(&[("t", table.batch())], &sql(spec))));
    }
    Ok(())
}

const ALL: [RankFunction; 3] =
    [RankFunction::RowNumber, RankFunction::Rank, RankFunction::DenseRank];

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn first_rows_are_those_of_batch(
        epochs in prop::collection::vec((changes(), fates()), 1..8),
        function in prop::sample::select(ALL.to_vec()),
        ranks in prop::sample::subsequence(ALL.to_vec(), 0..=3),
        partition in prop::sample::select(vec![vec![], vec![0], vec![0, 3]]),
        (skip, limit) in (0..2_u64, 0..5_u64),
        input_updating in any::<bool>(),
    ) {
        let spec = numbered(spec(&partition, function, (skip, limit)), ranks);
        follows(&TopNSpec { input_updating, ..spec }, &epochs)?;
    }

    #[test]
    fn closed_partitions_come_out_once(
        epochs in prop::collection::vec((prop::collection::vec(row(), 0..12), fates()), 1..6),
        function in prop::sample::select(ALL.to_vec()),
        limit in 1..4_u64,
    ) {
        let spec = numbered(spec(&[0, 1], function, (0, limit)), ALL.to_vec());
        let spec = TopNSpec { emission: Emission::Closed(1), ..spec };
        let (mut all, mut seen): (Vec<Row>, _) = (Vec::new(), Multiset::new());
        let mut operator = Restarted::new(&spec);
        let last = epochs.len() - 1;
        for (number, (rows, fate)) in epochs.iter().enumerate() {
            // Each epoch brings rows of later times only.
            let bound = i64::try_from(number).unwrap() * 4;
            let rows: Vec<Row> = rows.iter().map(|r| (r.0, bound + r.1 % 6, r.2, r.3)).collect();
            all.extend(&rows);
            let next = if number == last { Watermark::End } else { Watermark::At(bound + 4) };
            let output = operator.step(vec![appended(batch(&rows), 1, next)], *fate);
            prop_assert!(output.iter().all(|delta| delta.weights.is_none()));
            integrate(&mut seen, &output);
            let closed: Vec<Row> = all.iter().filter(|r| r.1 < next.bound()).copied().collect();
            prop_assert_eq!(&seen, &multiset(&batch_sql(&[("t", batch(&closed))], &sql(&spec))));
        }
        operator.operator.snapshot().unwrap();
        prop_assert_eq!(operator.operator.memory_bytes(), 0);
    }
}

#[test]
fn what_is_behind_the_first_rows_is_forgotten() {
    let spec = spec(&[0], RankFunction::RowNumber, (0, 3));
    let mut operator = spec.build().unwrap();
    let mut bytes = Vec::new();
    for epoch in 0..50_i64 {
        let rows: Vec<Row> = (0..20).map(|n| (Some(1), n, Some(epoch * 20 + n), None)).collect();
        let input = changed(vec![Delta::append(batch(&rows))], 4);
        operator.step(&crate::operators::oracle::epoch(), vec![input]).unwrap();
        bytes.push(operator.memory_bytes());
    }
    assert!(bytes[49] < 2 * bytes[9], "{bytes:?}");
}
