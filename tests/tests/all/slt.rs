//! One test per `.slt` file, so that each is run, named and timed by itself.

use std::path::Path;

macro_rules! scripts {
    ($($name:ident: $file:literal,)*) => {
        $(
            #[test]
            fn $name() {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
                if let Err(error) = millstream_tests::slt::run_file(&folder.join($file)) {
                    panic!("{error}");
                }
            }
        )*
    };
}

scripts! {
    error_stream: "errors/error_stream.slt",
    error_texts: "errors/texts.slt",
    join_by_time: "join/by_time.slt",
    join_of_a_stream_with_a_table: "join/table.slt",
    join_of_two_streams: "join/two_streams.slt",
    kda_arrival: "kda/arrival.slt",
    kda_chains: "kda/chains.slt",
    kda_arrival_order: "kda/arrival_order.slt",
    kda_char: "kda/char.slt",
    kda_distinct: "kda/distinct.slt",
    kda_examples_applications: "kda/examples_applications.slt",
    kda_examples_between: "kda/examples_between.slt",
    kda_examples_guide: "kda/examples_guide.slt",
    kda_examples_reference: "kda/examples_reference.slt",
    kda_functions_of_ones_own: "kda/functions_of_ones_own.slt",
    kda_functions_assign: "kda/functions_assign.slt",
    kda_group_rank: "kda/group_rank.slt",
    kda_heartbeat: "kda/heartbeat.slt",
    kda_items: "kda/items.slt",
    kda_models: "kda/models.slt",
    kda_monotonic: "kda/monotonic.slt",
    kda_monotonic_clock: "kda/monotonic_clock.slt",
    kda_monotonic_event_time: "kda/monotonic_event_time.slt",
    kda_numbers_and_intervals: "kda/numbers_and_intervals.slt",
    kda_order: "kda/order.slt",
    kda_order_of_a_union: "kda/order_union.slt",
    kda_pumps: "kda/pumps.slt",
    kda_queries: "kda/queries.slt",
    kda_pumps_merged: "kda/pumps_merged.slt",
    kda_refused: "kda/refused.slt",
    kda_stagger: "kda/stagger.slt",
    kda_time_sort: "kda/time_sort.slt",
    kda_vectors_table_functions: "kda/vectors_table_functions.slt",
    kda_vectors_windows: "kda/vectors_windows.slt",
    kda_windowed_join: "kda/windowed_join.slt",
    kda_statements: "kda/statements.slt",
    kda_windowed_join_that_follows: "kda/windowed_join_following.slt",
    kda_windowed_join_by_rows: "kda/windowed_join_rows.slt",
    kda_windowed_outer_join: "kda/windowed_outer_join.slt",
    kda_aggregates: "kda/functions/aggregates.slt",
    kda_cast: "kda/functions/cast.slt",
    kda_cast_matrix: "kda/functions/cast_matrix.slt",
    kda_clock: "kda/functions/clock.slt",
    kda_datetime: "kda/functions/datetime.slt",
    kda_errors: "kda/functions/errors.slt",
    kda_interval: "kda/functions/interval.slt",
    kda_log: "kda/functions/log.slt",
    kda_log_malformed: "kda/functions/log_malformed.slt",
    kda_number: "kda/functions/number.slt",
    kda_operators: "kda/functions/operators.slt",
    kda_period: "kda/functions/period.slt",
    kda_period_edges: "kda/functions/period_edges.slt",
    kda_row_value: "kda/functions/row_value.slt",
    kda_text: "kda/functions/text.slt",
    kda_extremes: "kda/functions/extremes.slt",
    kda_vectors: "kda/functions/vectors.slt",
    json: "select/json.slt",
    pumps_in_a_chain: "select/chain.slt",
    filter_and_project: "select/filter.slt",
    identifiers: "select/identifiers.slt",
    order_by_limit: "select/order_limit.slt",
    patterns: "select/patterns.slt",
    quantified: "select/quantified.slt",
    state_ttl: "select/state_ttl.slt",
    subqueries: "select/subqueries.slt",
    subqueries_as_values: "select/subqueries_as_values.slt",
    union_all: "select/union.slt",
    calendar_windows: "window/calendar.slt",
    first_rows: "window/first_rows.slt",
    nulls_passed_over: "window/ignore_nulls.slt",
    first_rows_per_window: "window/first_rows_per_window.slt",
    out_of_order_rows: "window/out_of_order.slt",
    repeated_by_producer: "window/repeated_by_producer.slt",
    sliding_windows: "window/sliding.slt",
    window_functions: "window/over.slt",
    window_functions_in_time: "window/over_in_time.slt",
    tumbling_windows: "window/tumbling.slt",
    window_table_functions: "window/table_functions.slt",
}
