//! The decoder against its oracles: Arrow's decoders on valid records, and itself without the bad
//! record on the others.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int32Type, TimeUnit, TimestampMillisecondType};
use arrow::util::display::array_value_to_string;
use millstream_engine::definition::{ColumnDef, ROWTIME, RelationDef, Rowtime, TIMESTAMP_TYPE};
use millstream_engine::fault::{BadRow, Reason};
use proptest::prelude::*;

use super::{Delimiters, Format, RecordAddress, RowDecoder};

pub(crate) fn columns() -> Vec<ColumnDef> {
    vec![
        ColumnDef::new("NAME", DataType::Utf8),
        ColumnDef::new("COUNT", DataType::Int32),
        ColumnDef::new("PRICE", DataType::Float64),
        ColumnDef::new("PAID", DataType::Boolean),
        ColumnDef::new("AT", TIMESTAMP_TYPE),
        ColumnDef::new("AMOUNT", DataType::Decimal128(12, 2)),
        ColumnDef::new("DAY", DataType::Date32),
    ]
}

pub(crate) fn stream(columns: Vec<ColumnDef>) -> RelationDef {
    RelationDef { name: "S".into(), columns, options: vec![], rowtime: Rowtime::Arrival }
}

fn decoder(def: &RelationDef, format: &Format) -> RowDecoder {
    let projection: Vec<usize> = (0..def.columns.len()).collect();
    RowDecoder::new(def, &projection, format).unwrap()
}

fn push(decoder: &mut RowDecoder, record: &[u8], position: usize) {
    push_at(decoder, record, position, 1_000);
}

fn push_at(decoder: &mut RowDecoder, record: &[u8], position: usize, arrival_ms: i64) {
    let partition = Arc::from("file.json");
    let address = RecordAddress {
        arrival_ms,
        partition: &partition,
        position: &format_args!("line {position}"),
        partition_key: Some("key"),
        sequence_number: Some("49"),
        shard_id: None,
    };
    decoder.push(record, &address);
}

pub(crate) fn decode(
    def: &RelationDef,
    format: &Format,
    records: &[&[u8]],
) -> (RecordBatch, Vec<BadRow>) {
    let mut decoder = decoder(def, format);
    for (index, record) in records.iter().enumerate() {
        push(&mut decoder, record, index + 1);
    }
    decoder.finish().unwrap()
}

fn csv() -> Format {
    Format::Csv(Delimiters::default())
}

/// A row of [`columns`], as its values are written in JSON.
fn row() -> impl Strategy<Value = Vec<Option<String>>> {
    let text = prop::string::string_regex("[a-zA-Z0-9 ,\"\\\\é€😀\n]{0,12}").unwrap();
    let null = |strategy: BoxedStrategy<String>| prop::option::weighted(0.8, strategy);
    (
        null(text.prop_map(|text| serde_json::to_string(&text).unwrap()).boxed()),
        null(any::<i32>().prop_map(|n| n.to_string()).boxed()),
        null((-1e9..1e9).prop_map(|n: f64| n.to_string()).boxed()),
        null(any::<bool>().prop_map(|b| b.to_string()).boxed()),
        null((0..4_000_000_000_000_i64).prop_map(|ms| format!("\"{}\"", iso(ms))).boxed()),
        null((0..1_000_000, 0..100).prop_map(|(w, f)| format!("{w}.{f:02}")).boxed()),
        null((0..40_000_i64).prop_map(|d| format!("\"{:.10}\"", iso(d * 86_400_000))).boxed()),
    )
        .prop_map(|r| vec![r.0, r.1, r.2, r.3, r.4, r.5, r.6])
}

/// A time as Arrow writes it, which is ISO 8601.
fn iso(ms: i64) -> String {
    let array = arrow::array::TimestampMillisecondArray::from(vec![ms]);
    array_value_to_string(&array, 0).unwrap()
}

fn json_of(row: &[Option<String>], lower: bool) -> String {
    let fields = columns().into_iter().zip(row).filter_map(|(column, value)| {
        let key = if lower { column.name.to_lowercase() } else { column.name };
        // Every third NULL is a missing key.
        let value = value.clone().or((key.len() % 3 > 0).then(|| "null".to_owned()))?;
        Some(format!("\"{key}\":{value},\"other\":[1,{{\"x\":\"}}\"}}]"))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

proptest! {
    #[test]
    fn valid_json_decodes_as_arrow_decodes_it(
        rows in prop::collection::vec(row(), 1..20),
        together: bool,
    ) {
        let def = stream(columns());
        let records: Vec<String> = rows.iter().map(|row| json_of(row, true)).collect();
        let joined = records.join("");
        let ours = if together {
            decode(&def, &Format::Json, &[joined.as_bytes()])
        } else {
            let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
            decode(&def, &Format::Json, &records)
        };
        prop_assert_eq!(&ours.1, &vec![]);
        let plain: Vec<String> = rows.iter().map(|row| json_of(row, false)).collect();
        let mut arrow = arrow::json::ReaderBuilder::new(def.declared_schema())
            .build_decoder()
            .unwrap();
        arrow.decode(plain.join("\n").as_bytes()).unwrap();
        prop_assert_eq!(&ours.0, &arrow.flush().unwrap().unwrap());
    }

    #[test]
    fn valid_csv_decodes_as_arrow_decodes_it(rows in prop::collection::vec(row(), 1..20)) {
        let def = stream(columns());
        let field = |value: &Option<String>| match value {
            Some(json) if json.starts_with('"') => {
                let text: String = serde_json::from_str(json).unwrap();
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Some(number) => number.clone(),
            None => String::new(),
        };
        // Arrow reads "" as NULL, we as an empty text: not compared.
        prop_assume!(rows.iter().all(|row| row[0].as_deref() != Some("\"\"")));
        let lines: Vec<String> = rows
            .iter()
            .map(|row| row.iter().map(field).collect::<Vec<_>>().join(","))
            .collect();
        let records: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let (ours, bad) = decode(&def, &csv(), &records);
        prop_assert_eq!(&bad, &vec![]);
        let text = lines.join("\n");
        let arrow = arrow::csv::ReaderBuilder::new(def.declared_schema())
            .build(text.as_bytes())
            .unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        prop_assert_eq!(&ours, &concat_batches(&def.declared_schema(), &arrow).unwrap());
    }

    /// Whatever happens to one record, the rows of the others are the same.
    #[test]
    fn a_broken_record_harms_no_other(
        rows in prop::collection::vec(row(), 2..8),
        victim: prop::sample::Index,
        at: prop::sample::Index,
        byte: u8,
        cut: bool,
    ) {
        let mut columns = columns();
        columns[1].nullable = false;
        let def = stream(columns);
        let mut records: Vec<Vec<u8>> =
            rows.iter().map(|row| json_of(row, true).into_bytes()).collect();
        let victim = victim.index(records.len());
        let at = at.index(records[victim].len());
        if cut { records[victim].truncate(at) } else { records[victim][at] = byte }
        let single = |i: usize| decode(&def, &Format::Json, &[&records[i]]);
        let all: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let (batch, bad) = decode(&def, &Format::Json, &all);
        let alone: Vec<_> = (0..records.len()).map(single).collect();
        let batches = alone.iter().map(|(batch, _)| batch);
        prop_assert_eq!(batch, concat_batches(&def.declared_schema(), batches).unwrap());
        prop_assert_eq!(bad.len(), alone.iter().map(|(_, bad)| bad.len()).sum::<usize>());
        prop_assert!(alone[victim].1.len() <= 1 || !cut);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), csv: bool) {
        let def = stream(columns());
        let format = if csv { self::csv() } else { Format::Json };
        let (batch, bad) = decode(&def, &format, &[&bytes]);
        prop_assert!(batch.num_rows() + bad.len() > 0);
    }
}

/// What `value` becomes in a column of `data_type`: its text, `None` for NULL, or the complaint.
fn coerced(data_type: DataType, value: &str) -> Result<Option<String>, String> {
    let def = stream(vec![ColumnDef { length_max: Some(3), ..ColumnDef::new("C", data_type) }]);
    let record = format!("{{\"C\":{value}}}");
    let (batch, bad) = decode(&def, &Format::Json, &[record.as_bytes()]);
    match bad.first() {
        Some(bad) => {
            assert_eq!((bad.reason, batch.num_rows()), (Reason::Coercion, 0));
            Err(bad.message.clone())
        }
        None if batch.column(0).is_null(0) => Ok(None),
        None => Ok(Some(array_value_to_string(batch.column(0), 0).unwrap())),
    }
}

#[test]
fn values_are_coerced_as_the_kda_matrix_says() {
    use DataType::{Binary, Boolean, Decimal128, Float32, Float64, Int8, Int32, Int64, Utf8};
    let day = DataType::Date32;
    let good = [
        (Int32, "true", "1"),
        (Int32, "\" 12 \"", "12"),
        (Int32, "1.0", "1"),
        (Int64, "9007199254740993", "9007199254740993"),
        (Float64, "false", "0.0"),
        (Float64, "\"1e3\"", "1000.0"),
        (Decimal128(20, 3), "12345678901234567.125", "12345678901234567.125"),
        (Decimal128(4, 0), "true", "1"),
        (Utf8, "true", "tru"),
        (Utf8, "1.50", "1.5"),
        (Utf8, "\"äöüß\"", "äöü"),
        (Utf8, "[1, 2]", "[1,"),
        (Boolean, "0.0", "false"),
        (Boolean, "-3", "true"),
        (Boolean, "\"TRUE\"", "true"),
        (Boolean, "\"yes\"", "false"),
        (Binary, "true", "01"),
        (Binary, "\"X'00fF'\"", "00ff"),
        (Binary, "\"AP8=\"", "00ff"),
        (TIMESTAMP_TYPE, "\"1992-02-14\"", "1992-02-14T00:00:00"),
        (TIMESTAMP_TYPE, "\"1992-02-14 18:35:44.0\"", "1992-02-14T18:35:44"),
        (TIMESTAMP_TYPE, "\"2022-01-02T03:04:05.678901+01:00\"", "2022-01-02T02:04:05.678"),
        (TIMESTAMP_TYPE, "1500", "1970-01-01T00:00:01.500"),
        (day.clone(), "\"1992-02-14\"", "1992-02-14"),
    ];
    for (data_type, value, expected) in good {
        assert_eq!(coerced(data_type, value), Ok(Some(expected.to_owned())), "{value}");
    }
    let bad = [
        (Int32, "1.5"),
        (Int32, "2147483648"),
        (Int32, "\"x\""),
        (Int32, "\"\""),
        (Int32, "[1]"),
        (Int8, "128"),
        (Int64, "1e30"),
        (Float32, "1e39"),
        (Float64, "1e999"),
        (Decimal128(4, 2), "100"),
        (Boolean, "{}"),
        (Binary, "1"),
        (Binary, "\"X'0'\""),
        (TIMESTAMP_TYPE, "true"),
        (TIMESTAMP_TYPE, "1.5"),
        (TIMESTAMP_TYPE, "\"12/01/2022 09:12:10\""),
        (day.clone(), "\"1992-02-14 18:35:44\""),
        (day, "7"),
    ];
    for (data_type, value) in bad {
        let message = coerced(data_type, value).unwrap_err();
        assert!(message.starts_with("column C: '"), "{message}");
    }
    assert_eq!(coerced(Int32, "null"), Ok(None));
    assert_eq!(coerced(Int32, "\"x\"").unwrap_err(), "column C: 'x' is not an INTEGER");
}

fn two() -> RelationDef {
    let nested =
        ColumnDef { mapping: Some("$.q.p".into()), ..ColumnDef::new("P", DataType::Int32) };
    stream(vec![ColumnDef::new("A", DataType::Int32), nested])
}

fn ints(batch: &RecordBatch, column: usize) -> Vec<Option<i32>> {
    batch.column(column).as_primitive::<Int32Type>().iter().collect()
}

#[test]
fn keys_find_their_columns() {
    let records: [&[u8]; 6] = [
        b"{\"a\":1,\"q\":{\"p\":2,\"x\":3}}",
        b"{\"q\":{\"p\":null},\"A\":4}",
        // Spelled exactly beats spelled otherwise, in either order; else the last one wins.
        b"{\"A\":5,\"a\":6}",
        b"{\"a\":6,\"A\":5}",
        b"{\"A\":7,\"A\":8,\"q\":[1]}",
        b"{}",
    ];
    let (batch, bad) = decode(&two(), &Format::Json, &records);
    assert_eq!(bad, vec![]);
    assert_eq!(ints(&batch, 0), [Some(1), Some(4), Some(5), Some(5), Some(8), None]);
    assert_eq!(ints(&batch, 1), [Some(2), None, None, None, None, None]);
}

#[test]
fn elements_of_arrays_find_their_columns() {
    let mapped = |name: &str, path: &str| ColumnDef {
        mapping: Some(path.into()),
        ..ColumnDef::new(name, DataType::Int32)
    };
    let def = stream(vec![
        mapped("FIRST", "$.items[0].price"),
        mapped("THIRD", "$.items[2].price"),
        mapped("INNER", "$.grid[1][0]"),
    ]);
    let records: [&[u8]; 4] = [
        b"{\"items\":[{\"price\":1},{\"price\":2,\"x\":[0]},{\"price\":3}],\"grid\":[[9],[4,5]]}",
        b"{\"items\":[{\"price\":6}],\"grid\":[]}",
        b"{\"items\":{\"price\":7},\"grid\":[[1],8]}",
        b"{}",
    ];
    let (batch, bad) = decode(&def, &Format::Json, &records);
    assert_eq!(bad, vec![]);
    assert_eq!(ints(&batch, 0), [Some(1), Some(6), None, None]);
    assert_eq!(ints(&batch, 1), [Some(3), None, None, None]);
    assert_eq!(ints(&batch, 2), [Some(4), None, None, None]);
}

#[test]
fn only_the_bad_one_of_several_objects_is_set_aside() {
    let record = b"{\"a\":1}{\"a\":\"x\",\"q\":{\"p\":9}} {\"a\":2}\n{\"a\":3,\n{\"a\":4}\nrest {";
    let (batch, bad) = decode(&two(), &Format::Json, &[record]);
    assert_eq!(ints(&batch, 0), [Some(1), Some(2), Some(4)]);
    assert_eq!(ints(&batch, 1), [None, None, None]);
    let raw: Vec<&[u8]> = bad.iter().map(|row| row.raw.as_slice()).collect();
    assert_eq!(raw, [&b"{\"a\":\"x\",\"q\":{\"p\":9}}"[..], b"{\"a\":3,", b"rest {"]);
    assert_eq!(bad[0].reason, Reason::Coercion);
    assert_eq!(bad[2].reason, Reason::Undecodable);
    assert_eq!((&*bad[0].partition, bad[0].position.as_str()), ("file.json", "line 1"));
    assert_eq!(bad[0].rowtime_ms, Some(1_000));
}

#[test]
fn null_in_a_not_null_column_is_a_bad_row_only_where_the_column_is_read() {
    let mut def = two();
    def.columns[0].nullable = false;
    let records: [&[u8]; 2] = [b"{\"a\":1}", b"{\"q\":{\"p\":2}}"];
    let (batch, bad) = decode(&def, &Format::Json, &records);
    assert_eq!((batch.num_rows(), bad[0].reason), (1, Reason::NotNull));
    assert_eq!(bad[0].message, "column A: NULL, but it is NOT NULL");
    let mut other = RowDecoder::new(&def, &[1], &Format::Json).unwrap();
    push(&mut other, records[1], 1);
    assert_eq!(other.rows(), 1);
}

#[test]
fn csv_fields_go_by_position_or_by_header() {
    let def =
        stream(vec![ColumnDef::new("A", DataType::Int32), ColumnDef::new("T", DataType::Utf8)]);
    let records: [&[u8]; 4] = [b"1,x,more\r\n", b"2,\n3,\"\"\n", b"4", b"5,\"a\n6,b\n"];
    let (batch, bad) = decode(&def, &csv(), &records);
    assert_eq!(ints(&batch, 0), [Some(1), Some(2), Some(3), Some(6)]);
    let texts: Vec<_> = batch.column(1).as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("x"), None, Some(""), Some("b")]);
    let messages: Vec<&str> = bad.iter().map(|row| row.message.as_str()).collect();
    assert_eq!(messages, ["1 fields where 2 were expected", "a quote is not closed"]);

    let mut named = decoder(&def, &csv());
    named.set_csv_header(b"\xEF\xBB\xBFt,Z,a").unwrap();
    push(&mut named, b"x,0,7", 2);
    push(&mut named, b"x,0", 3);
    push(&mut named, b"x,0,7,8", 4);
    let (batch, bad) = named.finish().unwrap();
    assert_eq!((ints(&batch, 0), bad.len()), (vec![Some(7)], 2));
    let error = named.set_csv_header(b"1,x").unwrap_err();
    assert_eq!(error.message(), "the first line, '1,x', names none of the columns A, T");
}

#[test]
fn a_place_in_the_line_tells_columns_of_one_name() {
    let second = ColumnDef { mapping: Some("$[2]".into()), ..ColumnDef::new("B", DataType::Int32) };
    let def = stream(vec![ColumnDef::new("A", DataType::Int32), second]);
    let mut named = decoder(&def, &csv());
    named.set_csv_header(b"a,x,a").unwrap();
    push(&mut named, b"1,2,3", 2);
    let (batch, bad) = named.finish().unwrap();
    assert_eq!((ints(&batch, 0), ints(&batch, 1)), (vec![Some(1)], vec![Some(3)]));
    assert_eq!(bad, vec![]);
}

#[test]
fn a_column_can_be_the_record_as_it_is() {
    let mapped = |name: &str, path: &str| ColumnDef {
        mapping: Some(path.into()),
        ..ColumnDef::new(name, DataType::Utf8)
    };
    let texts = |batch: &RecordBatch, column: usize| -> Vec<String> {
        batch.column(column).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    };
    let def = stream(vec![mapped("DOC", "$"), mapped("A", "$.a")]);
    let records: [&[u8]; 2] = [b" {\"a\": 1}{\"a\":2}", b"{\"a\":3 }"];
    let (batch, bad) = decode(&def, &Format::Json, &records);
    assert_eq!(texts(&batch, 0), ["{\"a\": 1}", "{\"a\":2}", "{\"a\":3 }"]);
    assert_eq!((texts(&batch, 1).concat().as_str(), bad), ("123", vec![]));
    // Every row of an array has its record.
    let def = stream(vec![mapped("DOC", "$"), mapped("X", "$.l[0:].x")]);
    let record = b"{\"l\":[{\"x\":1},{\"x\":2}]}";
    let (batch, _) = decode(&def, &Format::Json, &[record]);
    let whole = std::str::from_utf8(record).unwrap();
    assert_eq!(texts(&batch, 0), [whole, whole]);
    assert_eq!(texts(&batch, 1), ["1", "2"]);
}

#[test]
fn a_record_can_be_an_array_of_objects() {
    let path = Some("$[0:].a".into());
    let def = stream(vec![ColumnDef { mapping: path, ..ColumnDef::new("C", DataType::Int32) }]);
    let records: [&[u8]; 4] =
        [b"[{\"a\":1}, {\"a\":2} ]{\"a\":3}", b"[]", b"[{\"a\":4},5]", b"[{\"a\":6}"];
    let (batch, bad) = decode(&def, &Format::Json, &records);
    assert_eq!(ints(&batch, 0), [Some(1), Some(2), Some(3), None, Some(4)]);
    let bad: Vec<&str> = bad.iter().map(|row| row.message.as_str()).collect();
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert_eq!(bad[0], "not a JSON object");
    let (batch, bad) = decode(&two(), &Format::Json, &[b"[{\"a\":1}]"]);
    assert_eq!((batch.num_rows(), bad.len()), (0, 1), "unless a mapping says so");
}

#[test]
fn folders_fill_the_columns_a_file_does_not_have() {
    let def = stream(vec![
        ColumnDef::new("A", DataType::Int32),
        ColumnDef::new("YEAR", DataType::Int32),
        ColumnDef::new("T", DataType::Utf8),
    ]);
    for (format, record) in [(csv(), &b"1,x"[..]), (Format::Json, b"{\"a\":1,\"t\":\"x\"}")] {
        let mut decoder = decoder(&def, &format);
        decoder.set_absent(&[("year".into(), Some("2026".into())), ("zone".into(), None)]);
        push(&mut decoder, record, 1);
        push(&mut decoder, record, 2);
        let (batch, bad) = decoder.finish().unwrap();
        assert_eq!(bad, vec![]);
        assert_eq!(ints(&batch, 1), [Some(2026), Some(2026)]);
        assert_eq!(batch.column(2).as_string::<i32>().value(1), "x");
    }
}

#[test]
fn system_columns_come_from_the_address() {
    let def = two();
    let projection: Vec<usize> = (1..def.stream_schema().fields().len()).collect();
    let mut decoder = RowDecoder::new(&def, &projection, &Format::Json).unwrap();
    push(&mut decoder, b"{\"a\":\"not read\"}", 1);
    let (batch, _) = decoder.finish().unwrap();
    assert_eq!(batch.schema(), Arc::new(def.stream_schema().project(&projection).unwrap()));
    let texts: Vec<_> = batch
        .columns()
        .iter()
        .map(|c| {
            cast(c, &DataType::Utf8)
                .unwrap()
                .as_string::<i32>()
                .iter()
                .next()
                .unwrap()
                .map(str::to_owned)
        })
        .collect();
    let time = || Some("1970-01-01T00:00:01".to_owned());
    assert_eq!(texts, [None, time(), time(), Some("key".into()), Some("49".into()), None]);
}

#[test]
fn rowtime_comes_from_its_column_or_field_and_is_never_null() {
    let at = |batch: &RecordBatch, column: usize| -> Vec<i64> {
        batch.column(column).as_primitive::<TimestampMillisecondType>().values().to_vec()
    };
    let mut def = stream(columns());
    def.rowtime = Rowtime::Column { column: 4, delay_ms: 0 };
    let mut decoder = RowDecoder::new(&def, &[7], &Format::Json).unwrap();
    push(&mut decoder, b"{\"at\":2000}", 1);
    push(&mut decoder, b"{\"name\":\"x\"}", 2);
    let (batch, bad) = decoder.finish().unwrap();
    assert_eq!((at(&batch, 0), bad[0].reason), (vec![2000], Reason::NotNull));
    assert_eq!(bad[0].message, "column AT: NULL, but it is the ROWTIME");

    def.rowtime = Rowtime::Field("when".into());
    let mut decoder = RowDecoder::new(&def, &[1, 7], &Format::Json).unwrap();
    push(&mut decoder, b"{\"count\":3,\"when\":\"1970-01-01 00:00:03\"}", 1);
    push(&mut decoder, b"{\"count\":3}", 2);
    let (batch, bad) = decoder.finish().unwrap();
    assert_eq!((at(&batch, 1), bad.len()), (vec![3000], 1));
}

#[test]
fn an_empty_record_is_a_bad_row_and_a_batch_may_have_no_columns() {
    let mut decoder = RowDecoder::new(&two(), &[], &Format::Json).unwrap();
    push(&mut decoder, b" \n", 1);
    push(&mut decoder, b"{\"a\":1}", 2);
    let (batch, bad) = decoder.finish().unwrap();
    assert_eq!((batch.num_rows(), bad.len()), (1, 1));
    assert_eq!(decoder.finish().unwrap().0.num_rows(), 0);
}

/// Columns of text mapped to these paths.
fn mapped(paths: &[&str]) -> RelationDef {
    let columns = paths.iter().enumerate().map(|(at, path)| {
        let mapping = Some((*path).to_owned());
        ColumnDef { mapping, ..ColumnDef::new(format!("C{at}"), DataType::Utf8) }
    });
    stream(columns.collect())
}

fn decoded(paths: &[&str], record: &str) -> Vec<String> {
    let (batch, bad) = decode(&mapped(paths), &Format::Json, &[record.as_bytes()]);
    assert!(bad.is_empty(), "{bad:?}");
    let row = |row| {
        let values = batch.columns().iter().map(|column| {
            if column.is_null(row) {
                "NULL".to_owned()
            } else {
                array_value_to_string(column, row).unwrap()
            }
        });
        values.collect::<Vec<_>>().join("|")
    };
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn the_elements_of_one_array_become_rows() {
    const RECORD: &str = r#"{"who":"Ann","items":[{"id":"7"},{"id":"8","deep":{"x":1}},{"ID":"9"}],
        "home":{"city":"Oslo"},"tags":["a","b"]}"#;
    let rows = |paths: &[&str]| decoded(paths, RECORD);
    assert_eq!(rows(&["$.who", "$.home.city"]), ["Ann|Oslo"]);
    assert_eq!(rows(&["$.who", "$.items[0:].id"]), ["Ann|7", "Ann|8", "Ann|9"]);
    let tags = r#"["a","b"]"#;
    assert_eq!(
        rows(&["$.items[0:].id", "$.tags[0:]", "$.home.city"]),
        [format!("7|{tags}|Oslo"), format!("8|{tags}|Oslo"), format!("9|{tags}|Oslo")]
    );
    assert_eq!(rows(&["$.items[0:].deep.x", "$.who"]), ["NULL|Ann", "1|Ann", "NULL|Ann"]);
    let whole = r#"[{"id":"7"},{"id":"8","deep":{"x":1}},{"ID":"9"}]"#;
    let both = rows(&["$.items[0:]", "$.items[0:].id"]);
    assert_eq!(both, [format!("{whole}|7"), format!("{whole}|8"), format!("{whole}|9")]);
    assert_eq!(rows(&["$.items[0:].nope", "$.who"]), ["NULL|Ann"]);
    assert_eq!(rows(&["$.tags[0:].x", "$.who"]), ["NULL|Ann"]);
    assert_eq!(rows(&["$.who[0:].x", "$.who"]), ["NULL|Ann"]);
    let none = r#"{"who":"Ann","items":[]}{"who":"Bob"}"#;
    assert_eq!(decoded(&["$.who", "$.items[0:].id"], none), ["Ann|NULL", "Bob|NULL"]);
    let nested = r#"{"order":{"lines":[{"q":1},{"q":2}],"no":5}} {"order":{"lines":[{"q":3}]}}"#;
    let paths = ["$.order.no", "$.order.lines[0:].q"];
    assert_eq!(decoded(&paths, nested), ["5|1", "5|2", "NULL|3"]);
}

#[test]
fn a_second_array_is_refused_and_a_bad_element_harms_no_other() {
    let def = mapped(&["$.a[0:].x", "$.b[0:].y"]);
    let error = RowDecoder::new(&def, &[0, 1], &Format::Json).unwrap_err().to_string();
    assert!(error.contains("second array"), "{error}");
    let mut def = mapped(&["$.who", "$.items[0:].n"]);
    def.columns[1].data_type = DataType::Int32;
    let record = br#"{"items":[{"n":1},{"n":"x"},{"n":3}],"who":"Ann"}"#;
    let (batch, bad) = decode(&def, &Format::Json, &[record]);
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().values(), &[1, 3]);
    assert_eq!(bad.len(), 1);
    assert_eq!((bad[0].reason, bad[0].raw.as_slice()), (Reason::Coercion, record.as_slice()));
}

/// What a `ROWTIME` may be ahead of its record's arrival, in every unit; and a source that does not know
/// when its records arrived sets nothing aside for it.
#[test]
fn w7_a_time_too_far_in_the_future_is_set_aside() {
    let tolerated = 5_000;
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond] {
        let columns = vec![ColumnDef::new("AT", DataType::Timestamp(unit, None))];
        let mut def = stream(columns);
        def.rowtime = Rowtime::Column { column: 0, delay_ms: 0 };
        let rowtime = def.stream_schema().index_of(ROWTIME).unwrap();
        let records: [&[u8]; 3] = [
            br#"{"AT":"1970-01-01 00:00:06"}"#,
            br#"{"AT":"1970-01-01 00:00:07"}"#,
            br#"{"AT":"1969-12-31 23:59:59"}"#,
        ];
        let decoded = |arrival_ms: i64| {
            let mut decoder = RowDecoder::new(&def, &[0, rowtime], &Format::Json).unwrap();
            decoder.set_ahead_max(tolerated);
            for (index, record) in records.iter().enumerate() {
                push_at(&mut decoder, record, index, arrival_ms);
            }
            decoder.finish().unwrap()
        };
        let (rows, bad) = decoded(1_000);
        assert_eq!(rows.num_rows(), 2, "{unit:?}");
        assert_eq!((bad.len(), bad[0].reason), (1, Reason::Future), "{unit:?}");
        assert_eq!(bad[0].raw, records[1]);
        assert!(bad[0].message.contains("1970-01-01 00:00:07"), "{}", bad[0].message);
        let (rows, bad) = decoded(0);
        assert_eq!((rows.num_rows(), bad.len()), (3, 0), "{unit:?}");
    }
}
