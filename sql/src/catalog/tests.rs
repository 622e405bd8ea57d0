//! What the catalog takes and what it refuses.

use super::*;
use crate::parse_folding;

/// Applies every statement of `text`.
fn run(catalog: &mut Catalog, text: &str) -> Result<(), SqlError> {
    for statement in parse_folding(text, catalog.folding())? {
        catalog.apply(&statement)?;
    }
    Ok(())
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let text = "CREATE STREAM jobs (id INT) WITH (connector = 'file', path = 'x');
        CREATE STREAM enriched (id INT);
        CREATE TABLE firms (id INT);
        CREATE VIEW busy AS SELECT id FROM jobs;
        CREATE PUMP fill AS INSERT INTO enriched SELECT STREAM id FROM jobs;
        CREATE SINK files FROM enriched WITH (connector = 'file', path = 'y');";
    run(&mut catalog, text).unwrap();
    catalog
}

/// What is wrong with `text` after the statements of [`catalog`].
fn refused(text: &str) -> String {
    let mut after = catalog();
    let error = run(&mut after, text).unwrap_err();
    assert!(error.span.is_some(), "{text}: an error without a place");
    assert_eq!(format!("{after:?}"), format!("{:?}", catalog()), "{text} changed the catalog");
    format!("{}: {}", error.message, error.hint.unwrap_or_default())
}

#[test]
fn what_is_declared_is_found() {
    let catalog = catalog();
    assert_eq!(catalog.names(Kind::Stream), ["ENRICHED", "JOBS"]);
    assert_eq!(catalog.names(Kind::Table), ["FIRMS"]);
    assert_eq!(catalog.names(Kind::View), ["BUSY"]);
    assert_eq!(catalog.names(Kind::Pump), ["FILL"]);
    assert_eq!(catalog.names(Kind::Sink), ["FILES"]);
}

#[test]
fn a_name_is_taken_once() {
    let cases = [
        (
            "CREATE STREAM jobs (a INT)",
            "stream JOBS exists already: CREATE OR REPLACE STREAM JOBS replaces it",
        ),
        (
            "CREATE TABLE jobs (a INT)",
            "JOBS is a stream already: streams, tables and views share their names; choose another",
        ),
        (
            "CREATE OR REPLACE VIEW firms AS SELECT 1",
            "FIRMS is a table already: streams, tables and views share their names; choose another",
        ),
        (
            "CREATE PUMP fill AS INSERT INTO enriched SELECT id FROM jobs",
            "pump FILL exists already: CREATE OR REPLACE PUMP FILL replaces it",
        ),
        (
            "CREATE SINK files FROM busy WITH (a = b)",
            "sink FILES exists already: CREATE OR REPLACE SINK FILES replaces it",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text), message, "{text}");
    }
    let mut catalog = catalog();
    run(&mut catalog, "CREATE OR REPLACE STREAM jobs (a INT, b INT)").unwrap();
    assert_eq!(catalog.streams["JOBS"].columns.len(), 2);
    run(&mut catalog, "CREATE SINK jobs FROM jobs WITH (a = b)").unwrap();
}

#[test]
fn what_is_missing_is_said_with_what_there_is() {
    let cases = [
        ("DROP STREAM jbos", "there is no stream JBOS: did you mean JOBS?"),
        ("DROP STREAM busy", "there is no stream BUSY: BUSY is a view"),
        ("DROP SINK nowhere", "there is no sink NOWHERE: the sinks are FILES"),
        (
            "DROP STREAM error_stream",
            "there is no stream ERROR_STREAM: error_stream belongs to the session and stays",
        ),
        ("START PUMP fil", "there is no pump FIL: did you mean FILL?"),
        (
            "CREATE PUMP p AS INSERT INTO enrichd SELECT id FROM jobs",
            "there is no stream ENRICHD: did you mean ENRICHED?",
        ),
        (
            "CREATE PUMP p AS INSERT INTO firms SELECT id FROM jobs",
            "FIRMS is a table, not a stream: a pump feeds a stream: CREATE STREAM first",
        ),
        (
            "CREATE PUMP p AS INSERT INTO error_stream SELECT id FROM jobs",
            "nothing can be inserted into error_stream: late and bad rows come there by themselves; it can be read",
        ),
        (
            "CREATE SINK s FROM busi WITH (a = b)",
            "there is no stream or view BUSI: did you mean BUSY?",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text), message, "{text}");
    }
    let mut catalog = catalog();
    run(&mut catalog, "DROP STREAM IF EXISTS nothing").unwrap();
    run(&mut catalog, "CREATE SINK bad FROM error_stream WITH (a = b)").unwrap();
}

#[test]
fn what_is_in_use_is_not_dropped() {
    assert_eq!(refused("DROP STREAM jobs"), "view BUSY reads stream JOBS: drop view BUSY first");
    assert_eq!(
        refused("DROP STREAM enriched"),
        "pump FILL feeds stream ENRICHED: drop pump FILL first"
    );
    let mut catalog = catalog();
    run(&mut catalog, "DROP VIEW busy").unwrap();
    let error = run(&mut catalog, "DROP STREAM jobs").unwrap_err();
    assert_eq!(error.message, "pump FILL reads stream JOBS");
    run(&mut catalog, "DROP PUMP fill; DROP STREAM jobs").unwrap();
    let error = run(&mut catalog, "DROP STREAM enriched").unwrap_err();
    assert_eq!(error.message, "sink FILES reads stream ENRICHED");
    run(&mut catalog, "DROP SINK files; DROP STREAM enriched; DROP TABLE firms").unwrap();
    assert!(catalog.streams.is_empty() && catalog.tables.is_empty());
}

#[test]
fn a_name_that_the_query_defines_is_not_read() {
    let mut catalog = catalog();
    run(&mut catalog, "CREATE VIEW v AS WITH firms AS (SELECT id FROM jobs) SELECT id FROM firms")
        .unwrap();
    run(&mut catalog, "DROP TABLE firms").unwrap();
}

#[test]
fn settings_have_known_values() {
    let mut catalog = catalog();
    assert!(!catalog.allows_unbounded_state());
    run(&mut catalog, "SET UNBOUNDED_STATE = 'Allow'").unwrap();
    assert!(catalog.allows_unbounded_state());
    run(&mut catalog, "SET identifier_folding = lower").unwrap();
    assert_eq!(catalog.folding(), Folding::Lower);
    run(&mut catalog, "CREATE STREAM New (a INT)").unwrap();
    assert!(catalog.streams.contains_key("new"));
    assert_eq!(
        refused("SET unbound_state = 'allow'"),
        "there is no setting unbound_state: did you mean unbounded_state?"
    );
    assert_eq!(
        refused("SET unbounded_state = 'yes'"),
        "unbounded_state cannot be 'yes': it is one of refuse, allow"
    );
    assert_eq!(catalog.state_ttl(), None);
    run(&mut catalog, "SET state_ttl = '36 hours'").unwrap();
    assert_eq!(catalog.state_ttl(), Some(36 * 3_600_000));
    run(&mut catalog, "SET state_ttl = 'none'").unwrap();
    assert_eq!(catalog.state_ttl(), None);
    assert!(refused("SET state_ttl = 'soon'").contains("'soon' is no length of time"));
}

#[test]
fn pumps_are_switched() {
    let mut catalog = catalog();
    run(&mut catalog, "STOP PUMP fill").unwrap();
    assert!(!catalog.pumps["FILL"].started);
    run(&mut catalog, "ALTER PUMP fill START").unwrap();
    assert!(catalog.pumps["FILL"].started);
}

#[test]
fn queries_are_left_to_the_session() {
    let mut catalog = catalog();
    for text in ["SELECT 1", "SHOW PUMPS", "DESCRIBE jobs", "EXPLAIN SELECT 1"] {
        let statement = crate::parse(text).unwrap().remove(0);
        assert_eq!(catalog.apply(&statement), Ok(false), "{text}");
    }
}
