//! Random changes in random epochs, against the same functions in batch SQL after every one of them.
//! The functions themselves are built from that SQL, as DataFusion plans them.

use proptest::prelude::*;

use super::*;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, batch_sql, cases, changed, fates, integrate, multiset,
};
use crate::operators::ordered_rows::tests::{Changes, Table, changes, schema, window_functions};

/// All with one partitioning and a total order, so that there is one answer.
const FUNCTIONS: [&str; 20] = [
    "row_number()",
    "rank()",
    "dense_rank()",
    "percent_rank()",
    "cume_dist()",
    "ntile(3)",
    "lag(v)",
    "lag(v, 2, 7)",
    "lead(v)",
    "lead(f, 2)",
    "first_value(v)",
    "last_value(f)",
    "nth_value(v, 2)",
    "sum(v % 1000)",
    "count(*)",
    "count(v)",
    "min(v)",
    "max(f)",
    "avg(f)",
    "array_agg(f)",
];

const FRAMES: [&str; 8] = [
    "",
    "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
    "ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING",
    "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
];

/// Orders that leave no tie, for functions that see the order of ties; and one that does, for those
/// that do not.
const TOTAL: &str = "ORDER BY v DESC, k, t, f NULLS LAST";
const PEERS: &str = "ORDER BY t";

fn query(window: &str, functions: &[&str]) -> String {
    let over = functions.iter().enumerate();
    let over: Vec<_> = over.map(|(n, f)| format!("{f} OVER ({window}) AS c{n}")).collect();
    format!("SELECT *, {} FROM t", over.join(", "))
}

fn spec(sql: &str, order_by: Vec<(usize, SortOptions)>, keys: &[usize]) -> UpdatingWindowSpec {
    let (partition_by, input_schema) = (keys.to_vec(), schema());
    let (windows, schema) = window_functions(sql);
    UpdatingWindowSpec { partition_by, order_by, windows, input_schema, schema }
}

fn follows(
    sql: &str,
    spec: &UpdatingWindowSpec,
    epochs: &[(Changes, Fate)],
) -> Result<(), TestCaseError> {
    let (mut table, mut seen) = (Table::default(), Multiset::new());
    let mut operator = Restarted::new(spec);
    for (change, fate) in epochs {
        let output = operator.step(vec![changed(table.change(change, true), 4)], *fate);
        integrate(&mut seen, &output);
        prop_assert_eq!(&seen, &multiset(&batch_sql(&[("t", table.batch())], sql)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn functions_are_those_of_batch(
        epochs in prop::collection::vec((changes(), fates()), 1..6),
        functions in prop::sample::subsequence(FUNCTIONS.to_vec(), 1..4),
        frame in prop::sample::select(FRAMES.to_vec()),
        keyed in any::<bool>(),
    ) {
        let partition = if keyed { "PARTITION BY k" } else { "" };
        // Without partitions every function goes by the order of the rows.
        let sql = query(&format!("{partition} {TOTAL} {frame}"), &functions);
        let down = SortOptions { descending: true, nulls_first: true };
        let up = SortOptions { descending: false, nulls_first: false };
        let order = vec![(2, down), (0, up), (1, up), (3, up)];
        let keys: &[usize] = if keyed { &[0] } else { &[] };
        follows(&sql, &spec(&sql, order, keys), &epochs)?;
    }

    #[test]
    fn peers_are_those_of_batch(
        epochs in prop::collection::vec((changes(), fates()), 1..6),
        frame in prop::sample::select(vec![
            "",
            "RANGE BETWEEN INTERVAL '3 milliseconds' PRECEDING AND CURRENT ROW",
            "RANGE BETWEEN INTERVAL '2 milliseconds' PRECEDING AND INTERVAL '1 millisecond' FOLLOWING",
            "GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
        ]),
    ) {
        let functions = ["rank()", "cume_dist()", "count(*)", "sum(v % 1000)", "max(f)"];
        let sql = query(&format!("PARTITION BY k {PEERS} {frame}"), &functions);
        let up = SortOptions { descending: false, nulls_first: false };
        follows(&sql, &spec(&sql, vec![(1, up)], &[0]), &epochs)?;
    }
}
