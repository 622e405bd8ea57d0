//! The queries of TPC-H as views kept up to date: orders and their lines are inserted and, as the
//! benchmark's refresh functions do, deleted; after every epoch the view is what DataFusion says about
//! the tables as they are then.
//!
//! The queries are those of the crate `tpchgen`, with parameters that give rows at this scale. ORDER BY
//! is left out where it only orders the whole result: a view is a set.

use std::fmt::Display;
use std::sync::OnceLock;

use arrow::array::RecordBatch;
use millstream_connectors::decode::{Delimiters, Format};
use millstream_tests::pipeline::Pipeline;
use tpchgen::csv::{
    CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv,
};
use tpchgen::distribution::Distributions;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen::q_and_a::queries;
use tpchgen::text::TextPool;

use crate::law::{Compared, Law, decode};

/// Queries whose result may be empty at this scale, with the benchmark's own parameters.
const MAY_BE_EMPTY: &[i32] = &[2, 18, 21];

/// The size of the tables: 1 is the benchmark's unit, six million lines of orders.
const SCALE: f64 = 0.005;

/// The text that comments are cut from; the benchmark's own is 300 MB.
const TEXT_BYTES: i32 = 1 << 20;

/// Of so many orders one is deleted.
const DELETED: i64 = 11;

/// How many digits the quotient or mean of decimals has is the dialect's own rule. Divided as DOUBLE
/// they are the same in both.
const QUOTIENTS: [(&str, &str); 7] = [
    ("avg(l_quantity) as", "cast(sum(l_quantity) as double) / count(l_quantity) as"),
    ("avg(l_extendedprice) as", "cast(sum(l_extendedprice) as double) / count(l_extendedprice) as"),
    ("avg(l_discount) as", "cast(sum(l_discount) as double) / count(l_discount) as"),
    ("end) / sum(volume)", "end) as double) / cast(sum(volume) as double)"),
    ("100.00 * sum(case", "cast(100 as double) * cast(sum(case"),
    (
        "end) / sum(l_extendedprice * (1 - l_discount)) as promo",
        "end) as double) / cast(sum(l_extendedprice * (1 - l_discount)) as double) as promo",
    ),
    ("o_year,\n\tsum(case", "o_year,\n\tcast(sum(case"),
];

const DECLARATIONS: &str = "
CREATE STREAM region (r_regionkey BIGINT, r_name VARCHAR(25), r_comment VARCHAR(152));
CREATE STREAM nation (n_nationkey BIGINT, n_name VARCHAR(25), n_regionkey BIGINT,
  n_comment VARCHAR(152));
CREATE STREAM supplier (s_suppkey BIGINT, s_name VARCHAR(25), s_address VARCHAR(40),
  s_nationkey BIGINT, s_phone VARCHAR(15), s_acctbal DECIMAL(15, 2), s_comment VARCHAR(101));
CREATE STREAM customer (c_custkey BIGINT, c_name VARCHAR(25), c_address VARCHAR(40),
  c_nationkey BIGINT, c_phone VARCHAR(15), c_acctbal DECIMAL(15, 2), c_mktsegment VARCHAR(10),
  c_comment VARCHAR(117));
CREATE STREAM part (p_partkey BIGINT, p_name VARCHAR(55), p_mfgr VARCHAR(25), p_brand VARCHAR(10),
  p_type VARCHAR(25), p_size INTEGER, p_container VARCHAR(10), p_retailprice DECIMAL(15, 2),
  p_comment VARCHAR(23));
CREATE STREAM partsupp (ps_partkey BIGINT, ps_suppkey BIGINT, ps_availqty INTEGER,
  ps_supplycost DECIMAL(15, 2), ps_comment VARCHAR(199));
CREATE STREAM new_orders (o_orderkey BIGINT, o_custkey BIGINT, o_orderstatus VARCHAR(1),
  o_totalprice DECIMAL(15, 2), o_orderdate DATE, o_orderpriority VARCHAR(15), o_clerk VARCHAR(15),
  o_shippriority INTEGER, o_comment VARCHAR(79));
CREATE STREAM new_lineitems (l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT,
  l_linenumber INTEGER, l_quantity DECIMAL(15, 2), l_extendedprice DECIMAL(15, 2),
  l_discount DECIMAL(15, 2), l_tax DECIMAL(15, 2), l_returnflag VARCHAR(1), l_linestatus VARCHAR(1),
  l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR(25),
  l_shipmode VARCHAR(10), l_comment VARCHAR(44));
CREATE STREAM deleted (orderkey BIGINT);
";

/// The tables as they are: what was inserted and not deleted.
const VIEWS: [&str; 2] = [
    "CREATE VIEW orders AS SELECT o_orderkey, o_custkey, o_orderstatus, o_totalprice, o_orderdate,
       o_orderpriority, o_clerk, o_shippriority, o_comment FROM new_orders
     WHERE NOT EXISTS (SELECT 1 FROM deleted WHERE orderkey = o_orderkey)",
    "CREATE VIEW lineitem AS SELECT l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity,
       l_extendedprice, l_discount, l_tax, l_returnflag, l_linestatus, l_shipdate, l_commitdate,
       l_receiptdate, l_shipinstruct, l_shipmode, l_comment FROM new_lineitems
     WHERE NOT EXISTS (SELECT 1 FROM deleted WHERE orderkey = l_orderkey)",
];

/// What stands for `:1`, `:2` … of a query.
fn parameters(number: i32) -> &'static [&'static str] {
    match number {
        1 => &["90"],
        2 => &["15", "BRASS", "EUROPE"],
        3 => &["BUILDING", "1995-03-15"],
        4 => &["1993-07-01"],
        5 => &["ASIA", "1994-01-01"],
        6 => &["1994-01-01", "0.06", "24"],
        7 => &["FRANCE", "CHINA"],
        8 => &["BRAZIL", "AMERICA", "ECONOMY ANODIZED STEEL"],
        9 => &["green"],
        10 => &["1993-10-01"],
        11 => &["GERMANY", "0.0100"],
        12 => &["MAIL", "SHIP", "1994-01-01"],
        13 => &["special", "requests"],
        14 => &["1995-09-01"],
        15 => &["1996-01-01"],
        16 => &["Brand#45", "MEDIUM POLISHED", "49", "14", "23", "45", "19", "3", "36", "9"],
        17 => &["Brand#23", "MED BOX"],
        18 => &["250"],
        19 => &["Brand#12", "Brand#23", "Brand#34", "1", "10", "20"],
        20 => &["f", "1994-01-01", "CANADA"],
        21 => &["SAUDI ARABIA"],
        22 => &["13", "31", "23", "29", "30", "18", "17"],
        _ => &[],
    }
}

/// How many rows of the order a query asks for, as the benchmark says beside its text.
fn limit(number: i32) -> Option<u32> {
    match number {
        2 | 18 | 21 => Some(100),
        3 => Some(10),
        10 => Some(20),
        _ => None,
    }
}

/// The text of a query.
fn query(number: i32) -> String {
    let mut text = queries::query(number).expect("there are 22 queries").to_owned();
    if number == 15 {
        // Its view becomes a part of the query.
        let (view, rest) = text.split_once(";").expect("a view, then the query");
        let (_, view) = view.split_once(" as\n").expect("what the view shows");
        let (query, _) = rest.split_once("drop view").expect("the view is dropped");
        text = format!("with revenue (supplier_no, total_revenue) as ({view}){query}")
            .replace("revenue:s", "revenue");
    }
    for (at, value) in parameters(number).iter().enumerate().rev() {
        text = text.replace(&format!(":{}", at + 1), value);
    }
    for (written, meant) in QUOTIENTS {
        text = text.replace(written, meant);
    }
    // The number of digits of an interval says nothing that its value does not.
    text = text.replace("day (3)", "day");
    let text = text.trim().trim_end_matches(';');
    let (unordered, _) = text.rsplit_once("order by").unwrap_or((text, ""));
    match limit(number) {
        Some(limit) => format!("{text} limit {limit}"),
        None => unordered.trim().to_owned(),
    }
}

fn lines<T>(rows: impl Iterator<Item = T>, csv: impl Fn(T) -> String) -> Vec<String> {
    rows.map(csv).collect()
}

fn line(row: impl Display) -> String {
    row.to_string()
}

/// The rows of every stream.
fn streams(declared: &Pipeline) -> Vec<(&'static str, RecordBatch)> {
    static TEXT: OnceLock<TextPool> = OnceLock::new();
    let words = Distributions::static_default();
    let text = TEXT.get_or_init(|| TextPool::new(TEXT_BYTES, words));
    let regions = RegionGenerator::new_with_distributions_and_text_pool(words, text);
    let nations = NationGenerator::new_with_distributions_and_text_pool(words, text);
    let suppliers =
        SupplierGenerator::new_with_distributions_and_text_pool(SCALE, 1, 1, words, text);
    let customers =
        CustomerGenerator::new_with_distributions_and_text_pool(SCALE, 1, 1, words, text);
    let parts = PartGenerator::new_with_distributions_and_text_pool(SCALE, 1, 1, words, text);
    let offers = PartSuppGenerator::new_with_text_pool(SCALE, 1, 1, text);
    let orders = OrderGenerator::new_with_distributions_and_text_pool(SCALE, 1, 1, words, text);
    let items = LineItemGenerator::new_with_distributions_and_text_pool(SCALE, 1, 1, words, text);
    let deleted: Vec<String> = orders
        .iter()
        .map(|order| order.o_orderkey)
        .filter(|key| key % DELETED == 0)
        .map(|key| key.to_string())
        .collect();
    let rows = [
        ("REGION", lines(regions.iter(), |row| line(RegionCsv::new(row)))),
        ("NATION", lines(nations.iter(), |row| line(NationCsv::new(row)))),
        ("SUPPLIER", lines(suppliers.iter(), |row| line(SupplierCsv::new(row)))),
        ("CUSTOMER", lines(customers.iter(), |row| line(CustomerCsv::new(row)))),
        ("PART", lines(parts.iter(), |row| line(PartCsv::new(row)))),
        ("PARTSUPP", lines(offers.iter(), |row| line(PartSuppCsv::new(row)))),
        ("NEW_ORDERS", lines(orders.iter(), |row| line(OrderCsv::new(row)))),
        ("NEW_LINEITEMS", lines(items.iter(), |row| line(LineItemCsv::new(row)))),
        ("DELETED", deleted),
    ];
    let format = Format::Csv(Delimiters::default());
    let decoded = rows
        .into_iter()
        .map(|(name, lines)| (name, decode(declared.stream(name), &format, lines.into_iter())));
    decoded.collect()
}

fn check(number: i32) {
    let declarations = format!("{DECLARATIONS}{};\n{};", VIEWS[0], VIEWS[1]);
    let text = query(number);
    let streaming = format!("SELECT STREAM * FROM ({text}) AS q");
    let planned = Pipeline::try_new(&declarations, &streaming, 1);
    let planned = planned.unwrap_or_else(|reason| panic!("query {number}: {reason}"));
    let law = Law {
        declarations: &declarations,
        query: &streaming,
        views: &VIEWS.map(str::to_owned),
        batch: &text,
        streams: &streams(&planned),
        tables: &[],
        epochs_max: 3,
        compared: Compared::EveryEpoch,
    };
    match law.check(u64::from(number.unsigned_abs())) {
        Ok(rows) => assert!(
            rows > 0 || MAY_BE_EMPTY.contains(&number),
            "query {number} gives nothing, so nothing is compared"
        ),
        Err(difference) => panic!("query {number}: {difference}"),
    }
}

macro_rules! queries {
    ($($name:ident: $number:literal,)*) => {
        $(
            #[test]
            fn $name() {
                check($number);
            }
        )*
    };
}

queries! {
    q01: 1,
    q02: 2,
    q03: 3,
    q04: 4,
    q05: 5,
    q06: 6,
    q07: 7,
    q08: 8,
    q09: 9,
    q10: 10,
    q11: 11,
    q12: 12,
    q13: 13,
    q14: 14,
    q15: 15,
    q16: 16,
    q17: 17,
    q18: 18,
    q19: 19,
    q20: 20,
    q21: 21,
    q22: 22,
}
