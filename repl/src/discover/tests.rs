//! The documented examples of discovery, and types that a sample proves.

use super::*;

fn discovered(text: &str) -> Vec<String> {
    let schema = discover(&[text.as_bytes().to_vec()], Origin::File).unwrap();
    let column = |column: &Column| {
        let mapping = column.mapping.as_deref().unwrap_or("-");
        format!("{} {} {mapping}", column.name, column.sql_type)
    };
    schema.columns.iter().map(column).collect()
}

#[test]
fn names_that_cannot_stand_unquoted_get_a_prefix() {
    let text = r#"{"USER":"a","USER@DOMAIN":"b","@@":"c","year":2018,"9lives":1,"plain":true}"#;
    let names: Vec<String> = discovered(text);
    // serde_json orders keys by their text.
    assert_eq!(
        names,
        [
            "COL_9lives INTEGER $['9lives']".replace("['9lives']", ".9lives"),
            "COL_1 VARCHAR(4) $['@@']".to_owned(),
            "COL_USER VARCHAR(4) $.USER".to_owned(),
            "COL_USERDOMAIN VARCHAR(4) $['USER@DOMAIN']".to_owned(),
            "plain BOOLEAN $.plain".to_owned(),
            "COL_year INTEGER $.year".to_owned(),
        ]
    );
}

#[test]
fn types_are_as_wide_as_the_sample_says() {
    let text = concat!(
        r#"{"a":1,"b":1,"c":"2018-05-09T12:50:41.337510","d":"abcdefghi","e":null,"f":1}"#,
        r#"{"a":5000000000,"b":1.5,"c":"2018-05-09 12:50:41","d":"x","f":"x"}"#,
    );
    assert_eq!(
        discovered(text),
        [
            "a BIGINT $.a",
            "b DOUBLE $.b",
            "c TIMESTAMP $.c",
            "d VARCHAR(16) $.d",
            "e VARCHAR(4) $.e",
            "f VARCHAR(4) $.f",
        ]
    );
}

#[test]
fn objects_are_flattened_and_one_array_is_taken_apart() {
    let text = r#"{"home":{"city":"Oslo"},"items":[{"id":7},{"id":8}],"tags":["a"]}"#;
    assert_eq!(
        discovered(text),
        ["city VARCHAR(4) $.home.city", "id INTEGER $.items[0:].id", "tags VARCHAR(8) $.tags"]
    );
}

#[test]
fn a_header_names_the_columns_of_csv() {
    let text = "Sym, Firm, N\nAAA,\"Alpha, Inc\",1\nBBB, Beta,22\n";
    assert_eq!(discovered(text), ["Sym VARCHAR(4) -", "Firm VARCHAR(16) -", "N INTEGER -"]);
    assert_eq!(discovered("1;x\n2;y\n"), ["COL_0 INTEGER -", "COL_1 VARCHAR(4) -"]);
    let schema = discover(&[b"1\t2\n".to_vec()], Origin::Stream).unwrap();
    assert_eq!(schema.options, [("delimiter", "\\t".to_owned())]);
    let schema = discover(&[b"1,2\n".to_vec()], Origin::File).unwrap();
    assert_eq!(schema.options, [("header", "false".to_owned())]);
}

#[test]
fn the_statement_declares_the_stream() {
    let schema = discover(&[br#"{"it's":"a"}"#.to_vec()], Origin::File).unwrap();
    let sql = statement("S", &schema, &[("connector", "file".into()), ("path", "a.json".into())]);
    let parsed = millstream_sql::parse(&sql).unwrap();
    assert_eq!(parsed.len(), 1, "{sql}");
    assert!(discover(&[], Origin::File).unwrap_err().text().contains("no record"));
}

#[test]
fn a_file_is_read_by_the_names_in_its_header() {
    assert_eq!(
        discovered("\u{feff}Sym,Name of it,value,Sym,sym,\"a\"\"b\"\nAA,abc,1,BB,CC,x\n"),
        [
            "Sym VARCHAR(4) -",
            "COL_Nameofit VARCHAR(4) $.Name of it",
            "COL_value INTEGER $.value",
            "Sym_3 VARCHAR(4) $[3]",
            "sym_4 VARCHAR(4) $.sym",
            "COL_ab VARCHAR(4) $.a\"b",
        ]
    );
    // Dates are no names.
    assert_eq!(
        discovered("2018-11-01,AAA\n2018-11-02,BB\n"),
        ["COL_0 VARCHAR(16) -", "COL_1 VARCHAR(4) -"]
    );
}

#[test]
fn an_array_of_records_is_json() {
    assert_eq!(
        discovered(r#"[{"a":1,"b":[{"c":1}]},{"a":2}]"#),
        ["a INTEGER $[0:].a", "b VARCHAR(16) $[0:].b"]
    );
    assert_eq!(discovered("[Sun] x,1\n[Mon] y,2\n"), ["COL_0 VARCHAR(8) -", "COL_1 INTEGER -"]);
    let failure = discover(&[b"{\n\"a\": 1\n}\n".to_vec()], Origin::File).unwrap_err();
    assert!(failure.text().contains("no JSON"), "{}", failure.text());
}
