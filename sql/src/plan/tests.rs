//! Queries as the planner sees them: what runs, what is refused and why.

use super::*;
use crate::statement::{Query, StatementKind, parse};

/// What `text` declares, and its last query.
pub(super) fn read(text: &str) -> Result<(Catalog, Option<Query>), SqlError> {
    let (mut catalog, mut query) = (Catalog::default(), None);
    for statement in parse(text)? {
        if !catalog.apply(&statement)?
            && let StatementKind::Query(parsed) = statement.kind
        {
            query = Some(parsed);
        }
    }
    Ok((catalog, query))
}

/// The picture of the last query of `text`, or the error.
pub(super) fn plan(text: &str) -> Result<String, SqlError> {
    let (catalog, query) = read(text)?;
    let planned = match query {
        Some(query) => stream_query(&catalog, &query)?,
        None => application(&catalog)?,
    };
    Ok(explain(&planned))
}

const STREAMS: &str = "
    CREATE STREAM jobs (company_id VARCHAR(16), userid VARCHAR(16), n INTEGER, t TIMESTAMP,
        WATERMARK FOR t AS t - INTERVAL '5' SECOND) WITH (connector = 'file', path = 'x.csv');
    CREATE STREAM companies (company_id VARCHAR(16), industry VARCHAR(16))
        WITH (connector = 'file', path = 'y.csv');
    CREATE TABLE firms (sym VARCHAR(16), firm VARCHAR(16)) WITH (connector = 'file', path = 'z.csv');
";

fn planned(query: &str) -> String {
    plan(&format!("{STREAMS}{query}")).unwrap_or_else(|error| error.render("test.sql", query))
}

fn refused(query: &str) -> SqlError {
    plan(&format!("{STREAMS}{query}")).expect_err("the query should be refused")
}

#[test]
fn filter_and_project_keep_nothing() {
    let picture = planned("SELECT STREAM userid, n + 1 AS m FROM jobs WHERE n > 3;");
    assert!(picture.contains("Filter") && picture.contains("Project"), "{picture}");
    assert!(!picture.contains("keeps"), "{picture}");
}

#[test]
fn star_is_the_declared_columns() {
    let picture = planned("SELECT STREAM * FROM companies;");
    assert!(picture.contains("COMPANY_ID") && picture.contains("INDUSTRY"), "{picture}");
    assert!(!picture.contains("SHARD_ID"), "{picture}");
}

#[test]
fn a_step_of_rowtime_is_a_window_the_watermark_frees() {
    let picture = planned(
        "SELECT STREAM company_id, COUNT(*) AS c FROM jobs
         GROUP BY company_id, STEP(jobs.ROWTIME BY INTERVAL '1' MINUTE);",
    );
    assert!(picture.contains("WindowAggregate"), "{picture}");
    assert!(!picture.contains("for ever"), "{picture}");
}

#[test]
fn rowtime_goes_through_pumps_so_that_windows_can_follow() {
    let picture = planned(
        "CREATE STREAM per_minute (company_id VARCHAR(16), c BIGINT);
         CREATE PUMP p AS INSERT INTO per_minute SELECT STREAM company_id, COUNT(*) FROM jobs
           GROUP BY company_id, STEP(jobs.ROWTIME BY INTERVAL '1' MINUTE);
         SELECT STREAM company_id, SUM(c) AS c FROM per_minute AS m
           GROUP BY company_id, STEP(m.ROWTIME BY INTERVAL '1' HOUR);",
    );
    assert_eq!(picture.matches("WindowAggregate").count(), 2, "{picture}");
}

#[test]
fn a_sliding_window_needs_no_order() {
    let picture = planned(
        "SELECT STREAM userid, COUNT(*) OVER (PARTITION BY company_id RANGE INTERVAL '1' HOUR
           PRECEDING) AS c FROM jobs;",
    );
    assert!(picture.contains("SlidingWindow"), "{picture}");
}

#[test]
fn streams_join_and_tables_are_looked_up() {
    let join = "SELECT STREAM j.userid, c.industry FROM jobs AS j
                JOIN companies AS c ON j.company_id = c.company_id;";
    let picture = planned(join);
    assert!(picture.contains("HashJoin") && picture.contains("for ever"), "{picture}");
    let lookup = "SELECT STREAM j.userid, f.firm FROM jobs AS j
                  LEFT JOIN firms AS f ON j.company_id = f.sym;";
    assert!(planned(lookup).contains("LookupJoin"));
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_a_hint() {
    let error = refused("SELECT STREAM usrid FROM jobs;");
    assert!(error.message.contains("USRID"), "{error:?}");
    assert!(error.span.is_some() && error.hint.is_some(), "{error:?}");
    let error = refused("SELECT STREAM * FROM job;");
    assert_eq!(error.hint.as_deref(), Some("did you mean JOBS?"), "{error:?}");
}

#[test]
fn what_cannot_run_for_ever_is_refused_with_the_way_out() {
    for query in [
        "SELECT STREAM userid FROM jobs LIMIT 3;",
        "SELECT STREAM userid FROM jobs ORDER BY userid;",
        "WITH RECURSIVE c AS (SELECT n FROM jobs UNION ALL SELECT n + 1 FROM c WHERE n < 5)
         SELECT STREAM n FROM c;",
    ] {
        let error = refused(query);
        assert!(error.hint.is_some() && error.span.is_some(), "{query}: {error:?}");
    }
}

#[test]
fn what_the_first_rows_keep_and_what_frees_it() {
    let first = |partition: &str, from: &str| {
        planned(&format!(
            "SELECT STREAM company_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {partition}
               ORDER BY n DESC) AS place FROM {from}) WHERE place <= 3;"
        ))
    };
    let picture = first("company_id", "jobs");
    assert!(picture.contains("the first 3 rows of every COMPANY_ID"), "{picture}");
    assert!(picture.contains("Output  updating") && !picture.contains("Filter"), "{picture}");
    let picture =
        first("w", "(SELECT STEP(jobs.ROWTIME BY INTERVAL '1' MINUTE) AS w, * FROM jobs)");
    assert!(picture.contains("freed by the watermark passing W"), "{picture}");
    assert!(picture.contains("Output  append-only"), "{picture}");
    let picture =
        first("company_id", "(SELECT company_id, SUM(n) AS n FROM jobs GROUP BY company_id)");
    assert!(picture.contains("every row of every COMPANY_ID"), "{picture}");
    let picture = planned("SELECT STREAM n FROM jobs ORDER BY n LIMIT 3;");
    assert!(picture.contains("it does not grow"), "{picture}");
}

#[test]
fn a_window_in_the_order_of_time_gives_each_row_once() {
    let over = |function: &str, frame: &str| {
        planned(&format!(
            "SELECT STREAM userid, {function} OVER (PARTITION BY company_id ORDER BY t {frame}) AS x
             FROM jobs;"
        ))
    };
    let picture = over("SUM(n)", "RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW");
    assert!(picture.contains("OrderedWindow") && picture.contains("append-only"), "{picture}");
    assert!(picture.contains("freed by the watermark passing T"), "{picture}");
    let picture = over("LAG(n)", "");
    assert!(picture.contains("the last 1 rows of every COMPANY_ID"), "{picture}");
    let picture = over("SUM(n)", "");
    assert!(
        picture.contains("UpdatingWindow") && picture.contains("Output  updating"),
        "{picture}"
    );
}

#[test]
fn more_distinct_aggregates_than_there_are_places_for_are_refused() {
    let counts: Vec<_> = (0..17).map(|n| format!("COUNT(DISTINCT n + {n}) AS c{n}")).collect();
    let error = refused(&format!("SELECT STREAM {} FROM jobs;", counts.join(", ")));
    assert!(error.message.contains("more than 16 DISTINCT"), "{error:?}");
    assert!(error.span.is_some() && error.hint.is_some(), "{error:?}");
}

#[test]
fn a_pump_must_fit_its_stream() {
    let error = refused(
        "CREATE STREAM s (a INTEGER, b INTEGER);
         CREATE PUMP p AS INSERT INTO s SELECT STREAM n FROM jobs;
         SELECT STREAM * FROM s;",
    );
    assert!(error.message.contains("1 columns but S takes 2"), "{error:?}");
    let error = refused(
        "CREATE STREAM s (a INTEGER);
         CREATE PUMP p AS INSERT INTO s SELECT STREAM userid FROM jobs;
         SELECT STREAM * FROM s;",
    );
    assert!(error.message.contains("cannot be inserted"), "{error:?}");
}

#[test]
fn equal_subplans_are_one_node() {
    let picture = planned(
        "CREATE SINK a WITH (connector = 'file', path = 'a', format = 'csv') AS
           SELECT STREAM company_id, COUNT(*) AS c FROM jobs
           GROUP BY company_id, STEP(jobs.ROWTIME BY INTERVAL '1' MINUTE);
         CREATE SINK b WITH (connector = 'file', path = 'b', format = 'json') AS
           SELECT STREAM company_id, COUNT(*) AS c FROM jobs
           GROUP BY company_id, STEP(jobs.ROWTIME BY INTERVAL '1' MINUTE);",
    );
    assert_eq!(picture.matches("WindowAggregate").count(), 1, "{picture}");
}

#[test]
fn a_group_without_a_window_is_kept_up_to_date() {
    let picture = planned("SELECT STREAM company_id, COUNT(*) AS c FROM jobs GROUP BY company_id;");
    assert!(picture.contains("UpdatingAggregate") && picture.contains("updating"), "{picture}");
    let distinct = planned("SELECT STREAM DISTINCT company_id FROM jobs;");
    assert!(distinct.contains("Output  append-only"), "{distinct}");
}

#[test]
fn outer_joins_and_subqueries_of_streams_update() {
    for query in [
        "SELECT STREAM j.userid, c.industry FROM jobs AS j
           LEFT JOIN companies AS c ON j.company_id = c.company_id;",
        "SELECT STREAM userid FROM jobs AS j
           WHERE NOT EXISTS (SELECT 1 FROM companies AS c WHERE c.company_id = j.company_id);",
    ] {
        let picture = planned(query);
        assert!(picture.contains("HashJoin") && picture.contains("Output  updating"), "{picture}");
    }
}

#[test]
fn rows_that_may_be_taken_back_do_not_go_through_a_pump() {
    let error = refused(
        "CREATE STREAM s (company_id VARCHAR(16), c BIGINT);
         CREATE PUMP p AS INSERT INTO s
           SELECT STREAM company_id, COUNT(*) AS c, MAX(jobs.ROWTIME) AS ROWTIME FROM jobs
           GROUP BY company_id;
         SELECT STREAM * FROM s;",
    );
    assert!(error.message.contains("may be taken back"), "{error:?}");
}

#[test]
fn rows_that_count_for_some_time_bound_the_state_behind_them() {
    let both = planned(
        "SELECT STREAM industry, COUNT(*) AS c FROM jobs AS j WITH (state_ttl = '36 hours')
         JOIN companies AS k WITH (state_ttl = '1 day') ON j.company_id = k.company_id
         WHERE n > 3 GROUP BY industry;",
    );
    assert!(both.contains("Expire rows count for 36 hours of ROWTIME"), "{both}");
    assert!(both.contains("keeps the rows of the last 1 day; freed by the watermark"), "{both}");
    assert!(both.contains("freed by the expiry of its input"), "{both}");
    assert!(!both.contains("for ever"), "{both}");
    let expire = both.find("Expire rows count for 36").zip(both.find("Filter"));
    assert!(expire.is_some_and(|(expire, filter)| expire < filter), "filtered first: {both}");
    let one = planned(
        "SELECT STREAM userid FROM jobs AS j WITH (state_ttl = '1 day')
         JOIN companies AS k ON j.company_id = k.company_id;",
    );
    assert!(one.contains("it grows for ever"), "the other side is kept: {one}");
    let view = planned(
        "CREATE VIEW v WITH (state_ttl = '2 hours') AS SELECT userid, COUNT(*) AS c FROM jobs
         GROUP BY userid;
         CREATE SINK s WITH (connector = 'file', path = 'out', format = 'csv', mode = 'changelog',
           state_ttl = '1 day') AS SELECT STREAM c, COUNT(*) AS d FROM v, companies GROUP BY c;",
    );
    assert!(view.contains("2 hours") && view.contains("1 day"), "{view}");
    assert!(!view.contains("for ever"), "{view}");
}

#[test]
fn a_setting_says_for_how_long_rows_count_where_state_would_grow() {
    let grows = planned(
        "SET state_ttl = '1 day';
         CREATE VIEW v AS SELECT userid, COUNT(*) AS c FROM jobs GROUP BY userid;
         SELECT STREAM c, COUNT(*) AS d FROM v GROUP BY c;",
    );
    assert!(grows.contains("Expire rows count for 1 day of ROWTIME"), "{grows}");
    assert!(!grows.contains("for ever"), "{grows}");
    let says_so_itself = planned(
        "SET state_ttl = '1 day';
         SELECT STREAM userid, COUNT(*) AS c FROM jobs AS j WITH (state_ttl = '2 hours')
         GROUP BY userid;",
    );
    assert!(says_so_itself.contains("2 hours") && !says_so_itself.contains("1 day"));
    let bounded = planned("SET state_ttl = '1 day'; SELECT STREAM userid FROM jobs WHERE n > 1;");
    assert!(!bounded.contains("Expire"), "{bounded}");
    let one_of_two = planned(
        "SET state_ttl = '1 day';
         CREATE SINK s WITH (connector = 'file', path = 'a', format = 'csv', mode = 'changelog') AS
         SELECT STREAM userid, COUNT(*) AS c FROM jobs GROUP BY userid;
         CREATE SINK t WITH (connector = 'file', path = 'b', format = 'csv') AS
         SELECT STREAM userid FROM jobs;",
    );
    assert_eq!(one_of_two.matches("Expire").count(), 1, "{one_of_two}");
}

#[test]
fn a_pump_takes_no_rows_that_expire() {
    let error = plan(&format!(
        "{STREAMS} CREATE STREAM out (userid VARCHAR(16));
         CREATE PUMP p AS INSERT INTO out SELECT STREAM userid FROM jobs WITH (state_ttl = '1 day');
         CREATE SINK s FROM out WITH (connector = 'file', path = 'out', format = 'csv');"
    ))
    .expect_err("a pump only adds rows");
    assert!(error.message.contains("pump P expire by state_ttl"), "{error:?}");
    assert!(error.hint.is_some_and(|hint| hint.contains("where the stream is read")));
    assert!(error.span.is_some(), "it points at the pump");
    let error = plan(&format!(
        "{STREAMS} CREATE STREAM out (n BIGINT);
         CREATE PUMP p AS INSERT INTO out SELECT STREAM COUNT(*) FROM jobs GROUP BY userid;
         CREATE SINK s FROM out WITH (connector = 'file', path = 'out', format = 'csv');"
    ))
    .expect_err("its groups change");
    assert!(!error.message.contains("state_ttl"), "{error:?}");
    let error = refused("CREATE SINK s FROM jobs WITH (connector = 'file', state_ttl = '1 day');");
    assert!(error.message.contains("has no state_ttl"), "{error:?}");
}

/// What is wrong with the pumps of `text`.
fn pumps_refused(text: &str) -> Option<String> {
    let (catalog, _) = read(&format!("{STREAMS}{text}")).unwrap();
    check_pumps(&catalog).err().map(|error| error.message)
}

#[test]
fn a_pump_that_nothing_reads_is_checked() {
    let into = "CREATE STREAM o (n BIGINT, k VARCHAR(4)); CREATE PUMP p AS INSERT INTO o";
    for (query, says) in [
        ("SELECT STREAM nope, userid FROM jobs", "column NOPE does not exist"),
        ("SELECT STREAM userid, userid FROM jobs", "VARCHAR cannot be inserted into N"),
        ("SELECT STREAM n FROM jobs", "the query has 1 columns but O takes 2"),
        (
            "SELECT STREAM COUNT(*), userid FROM jobs GROUP BY userid",
            "the rows of this pump have no ROWTIME",
        ),
        ("SELECT STREAM n, userid FROM jobs ORDER BY n", "cannot be ordered by"),
    ] {
        let error = pumps_refused(&format!("{into} {query};"));
        assert!(error.as_ref().is_some_and(|e| e.contains(says)), "{query}: {error:?}");
        let stopped = into.replace("PUMP p", "PUMP p STOPPED");
        let error = pumps_refused(&format!("{stopped} {query};"));
        assert!(error.is_some() || query.contains("ORDER"), "{query}: {error:?}");
    }
    assert_eq!(pumps_refused(&format!("{into} SELECT STREAM n, userid FROM jobs;")), None);
}

#[test]
fn a_join_of_three_by_time_frees_its_rows() {
    let picture = planned(
        "SELECT STREAM a.n, b.n AS m, c.n AS l FROM jobs OVER w AS a JOIN jobs OVER w AS b ON a.userid = b.userid
           JOIN jobs OVER w AS c ON c.userid = b.userid
         WINDOW w AS (RANGE INTERVAL '1' MINUTE PRECEDING);",
    );
    assert_eq!(picture.matches("IntervalJoin").count(), 2, "{picture}");
    assert!(!picture.contains("HashJoin"), "{picture}");
}
