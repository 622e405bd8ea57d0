//! Queries nobody thought of: random compositions of filters, projections, joins of every type,
//! subqueries, aggregates with HAVING and ROLLUP, DISTINCT, set operations, window functions, first rows
//! and windows over random tables, each held to the law.
//!
//! A failure is shrunk to a small query over few rows and names its seed; `MILLSTREAM_SEED=n` runs that
//! seed alone.

mod table;

use std::cell::Cell;
use std::fmt::Write;

use millstream_tests::pipeline::Pipeline;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::table::{Table, Type, table};
use crate::law::{Compared, Law, seeds};

/// Seeds in a run of the tests, and cases of each.
const SEEDS: u64 = 8;
const CASES: u32 = 12;

/// Relations a query reads at most.
const LEAVES_MAX: u32 = 4;

/// How deep operators are nested at most.
const DEPTH_MAX: u32 = 3;

/// The shape of a query; each number is the chance its details are drawn from.
#[derive(Debug, Clone)]
enum Shape {
    Stream(bool),
    Window(bool, u32),
    Filter(Box<Self>, u32),
    Project(Box<Self>, u32),
    Aggregate(Box<Self>, u32),
    Distinct(Box<Self>),
    Union(Box<Self>, Box<Self>, u32),
    First(Box<Self>, u32),
    Over(Box<Self>, u32),
    Where(Box<Self>, Box<Self>, u32),
    Join(Box<Self>, Box<Self>, u32),
}

/// Draws details from a number, one after another.
struct Draw(u32);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        let limit = u32::try_from(limit.max(1)).unwrap();
        let drawn = self.0 % limit;
        // What is left decides the next; mixed so that it does not run out.
        self.0 = (self.0 / limit).wrapping_mul(0x9E37_79B9) ^ (self.0 >> 7);
        usize::try_from(drawn).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

/// A relation as text in our dialect and in DataFusion's; its columns are c0, c1, ….
struct Relation {
    ours: String,
    batch: String,
    types: Vec<Type>,
    windowed: bool,
}

/// Writes queries.
struct Writer<'a> {
    tables: &'a [Table; 2],
    aliases: Cell<u32>,
}

impl Writer<'_> {
    fn alias(&self) -> String {
        self.aliases.set(self.aliases.get() + 1);
        format!("r{}", self.aliases.get())
    }

    fn relation(&self, shape: &Shape) -> Relation {
        match shape {
            Shape::Stream(second) => self.stream(*second),
            Shape::Window(second, chance) => self.window(*second, Draw(*chance)),
            Shape::Filter(input, chance) => {
                let input = self.relation(input);
                let predicate = predicate(&input.types, &mut Draw(*chance));
                self.over(input, "*", &format!("WHERE {predicate}"), None)
            }
            Shape::Project(input, chance) => {
                let input = self.relation(input);
                let (columns, types) = projected(&input.types, Draw(*chance));
                self.over(input, &columns, "", Some(types))
            }
            Shape::Aggregate(input, chance) => {
                let input = self.relation(input);
                let (columns, grouped, types) = aggregated(&input.types, Draw(*chance));
                self.over(input, &columns, &grouped, Some(types))
            }
            Shape::Distinct(input) => self.over(self.relation(input), "DISTINCT *", "", None),
            Shape::Union(left, right, chance) => self.union(left, right, Draw(*chance)),
            Shape::First(input, chance) => self.first(input, Draw(*chance)),
            Shape::Over(input, chance) => self.windows(input, Draw(*chance)),
            Shape::Where(input, other, chance) => self.subquery(input, other, Draw(*chance)),
            Shape::Join(left, right, chance) => self.join(left, right, Draw(*chance)),
        }
    }

    fn stream(&self, second: bool) -> Relation {
        let types = self.tables[usize::from(second)].types.clone();
        let name = if second { "b" } else { "a" };
        let text = format!("SELECT {} FROM {name}", columns("", types.len(), 0));
        Relation { ours: text.clone(), batch: text, types, windowed: false }
    }

    /// A tumbling aggregate of a stream.
    fn window(&self, second: bool, mut draw: Draw) -> Relation {
        let types = &self.tables[usize::from(second)].types;
        let name = if second { "b" } else { "a" };
        let key = draw.below(types.len());
        let seconds = [1, 10, 60][draw.below(3)];
        let (value, value_type) = aggregate(types, &mut draw);
        let text = |window: &str| {
            format!("SELECT c{key} AS c0, {value} AS c1 FROM {name} GROUP BY c{key}, {window}")
        };
        Relation {
            ours: text(&format!("STEP({name}.t BY INTERVAL '{seconds}' SECOND)")),
            batch: text(&format!("date_bin(INTERVAL '{seconds} seconds', t)")),
            types: vec![types[key], value_type],
            windowed: true,
        }
    }

    fn over(
        &self,
        input: Relation,
        columns: &str,
        rest: &str,
        types: Option<Vec<Type>>,
    ) -> Relation {
        let alias = self.alias();
        let text = |from: &str| format!("SELECT {columns} FROM ({from}) AS {alias} {rest}");
        Relation {
            ours: text(&input.ours),
            batch: text(&input.batch),
            types: types.unwrap_or(input.types),
            windowed: input.windowed,
        }
    }

    fn union(&self, left: &Shape, right: &Shape, mut draw: Draw) -> Relation {
        let op = ["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"][draw.below(5)];
        let (left, right) = (self.relation(left), self.relation(right));
        let width = left.types.len().min(right.types.len());
        let same = left.types[..width] == right.types[..width];
        let list = |from: &str, types: &[Type]| {
            let column = |n: usize| match same {
                true => format!("c{n}"),
                false => format!("{} AS c{n}", types[n].as_text(&format!("c{n}"))),
            };
            let columns: Vec<String> = (0..width).map(column).collect();
            format!("SELECT {} FROM ({from}) AS {}", columns.join(", "), self.alias())
        };
        let text =
            |l: &str, r: &str| format!("{} {op} {}", list(l, &left.types), list(r, &right.types));
        Relation {
            ours: text(&left.ours, &right.ours),
            batch: match op {
                // DataFusion loses the NULLs of an INTERSECT whose rows are sorted next; rows that are
                // grouped first are not.
                "INTERSECT" => {
                    let names = (0..width).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
                    let (rows, alias) = (text(&left.batch, &right.batch), self.alias());
                    format!("SELECT {names} FROM ({rows}) AS {alias} GROUP BY {names}")
                }
                _ => text(&left.batch, &right.batch),
            },
            types: if same { left.types[..width].to_vec() } else { vec![Type::Text; width] },
            windowed: left.windowed || right.windowed,
        }
    }

    /// The first rows of each key, in an order that leaves open only which of equal rows comes first.
    fn first(&self, input: &Shape, mut draw: Draw) -> Relation {
        let input = self.relation(input);
        let width = input.types.len();
        let rank = ["ROW_NUMBER", "RANK", "DENSE_RANK"][draw.below(3)];
        let (key, most) = (draw.below(width), 1 + draw.below(3));
        let by = if draw.one_in(3) { String::new() } else { format!("PARTITION BY c{key} ") };
        let (all, order) = (columns("", width, 0), ordered(width, &mut draw));
        let ranked = self.over(
            input,
            &format!("{all}, {rank}() OVER ({by}ORDER BY {order}) AS n"),
            "",
            None,
        );
        self.over(ranked, &all, &format!("WHERE n <= {most}"), None)
    }

    /// Each row with what a window function says of it.
    fn windows(&self, input: &Shape, mut draw: Draw) -> Relation {
        let input = self.relation(input);
        let width = input.types.len();
        let (key, value) = (draw.below(width), draw.below(width));
        let data_type = input.types[value];
        let order = ordered(width, &mut draw);
        let (call, given, rows) = match draw.below(5) {
            0 => (format!("COUNT(c{value})"), Type::Big, String::new()),
            1 => (format!("MAX(c{value})"), data_type, String::new()),
            2 => (format!("LAG(c{value})"), data_type, format!(" ORDER BY {order}")),
            3 => (
                format!("COUNT(c{value})"),
                Type::Big,
                format!(" ORDER BY {order} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"),
            ),
            _ => ("RANK()".to_owned(), Type::Big, format!(" ORDER BY {order}")),
        };
        let of = format!("{call} OVER (PARTITION BY c{key}{rows})");
        let of = if call == "RANK()" { format!("CAST({of} AS BIGINT)") } else { of };
        let all = columns("", width, 0);
        let types = input.types.iter().copied().chain([given]).collect();
        self.over(input, &format!("{all}, {of} AS c{width}"), "", Some(types))
    }

    /// The rows that a subquery says something of.
    fn subquery(&self, input: &Shape, other: &Shape, mut draw: Draw) -> Relation {
        let (input, other) = (self.relation(input), self.relation(other));
        let (i, j) = (draw.below(input.types.len()), draw.below(other.types.len()));
        let inner = self.alias();
        let kind = draw.below(6);
        let (left, right) = if input.types[i] == other.types[j] {
            (format!("c{i}"), format!("{inner}.c{j}"))
        } else {
            let right = other.types[j].as_text(&format!("{inner}.c{j}"));
            (input.types[i].as_text(&format!("c{i}")), right)
        };
        let more = predicate(&input.types, &mut draw);
        let condition = |from: &str| match kind {
            0 => format!("{left} IN (SELECT {right} FROM ({from}) AS {inner})"),
            1 => format!("{left} NOT IN (SELECT {right} FROM ({from}) AS {inner})"),
            2 => format!("{left} > (SELECT MIN({right}) FROM ({from}) AS {inner})"),
            3 => format!("{left} = (SELECT MAX({right}) FROM ({from}) AS {inner})"),
            4 => format!("({more}) OR {left} IN (SELECT {right} FROM ({from}) AS {inner})"),
            _ => format!("(SELECT COUNT(*) FROM ({from}) AS {inner}) > 3 AND ({more})"),
        };
        let outer = self.alias();
        let text = |from: &str, inner: &str| {
            format!("SELECT * FROM ({from}) AS {outer} WHERE {}", condition(inner))
        };
        Relation {
            ours: text(&input.ours, &other.ours),
            batch: text(&input.batch, &other.batch),
            types: input.types,
            windowed: input.windowed || other.windowed,
        }
    }

    fn join(&self, left: &Shape, right: &Shape, mut draw: Draw) -> Relation {
        let (left, right) = (self.relation(left), self.relation(right));
        let (l, r) = (self.alias(), self.alias());
        let (i, j) = (draw.below(left.types.len()), draw.below(right.types.len()));
        let mut on = if left.types[i] == right.types[j] {
            format!("{l}.c{i} = {r}.c{j}")
        } else {
            let (a, b) = (format!("{l}.c{i}"), format!("{r}.c{j}"));
            format!("{} = {}", left.types[i].as_text(&a), right.types[j].as_text(&b))
        };
        let pair = (0..left.types.len())
            .flat_map(|i| (0..right.types.len()).map(move |j| (i, j)))
            .find(|(i, j)| left.types[*i] == right.types[*j]);
        if let (Some((i, j)), true) = (pair, draw.one_in(3)) {
            write!(on, " AND {l}.c{i} <= {r}.c{j}").unwrap();
        }
        let kind = draw.below(6);
        let both =
            [columns(&l, left.types.len(), 0), columns(&r, right.types.len(), left.types.len())];
        let text = |a: &str, b: &str| match kind {
            0..=3 => {
                let kind = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"][kind];
                format!("SELECT {} FROM ({a}) AS {l} {kind} ({b}) AS {r} ON {on}", both.join(", "))
            }
            _ => {
                let not = if kind == 4 { "" } else { "NOT " };
                format!(
                    "SELECT * FROM ({a}) AS {l} WHERE {not}EXISTS (SELECT 1 FROM ({b}) AS {r} WHERE {on})"
                )
            }
        };
        let mut types = left.types.clone();
        if kind <= 3 {
            types.extend(&right.types);
        }
        Relation {
            ours: text(&left.ours, &right.ours),
            batch: text(&left.batch, &right.batch),
            types,
            windowed: left.windowed || right.windowed,
        }
    }
}

fn columns(relation: &str, count: usize, first: usize) -> String {
    let dot = if relation.is_empty() { "" } else { "." };
    let column = |n| format!("{relation}{dot}c{n} AS c{}", first + n);
    (0..count).map(column).collect::<Vec<_>>().join(", ")
}

/// An order by all columns, beginning anywhere.
fn ordered(width: usize, draw: &mut Draw) -> String {
    let first = draw.below(width);
    let column = |n: usize| {
        let direction = ["ASC NULLS LAST", "DESC NULLS FIRST"][draw.below(2)];
        format!("c{} {direction}", (first + n) % width)
    };
    (0..width).map(column).collect::<Vec<_>>().join(", ")
}

fn predicate(types: &[Type], draw: &mut Draw) -> String {
    let n = draw.below(types.len());
    let literal = types[n].literal();
    match draw.below(6) {
        0 => format!("c{n} IS NULL"),
        1 => format!("c{n} IS NOT NULL"),
        2 => format!("c{n} > {literal}"),
        3 => format!("c{n} <> {literal} OR c{n} IS NULL"),
        4 => format!("c{n} IN ({literal}, NULL)"),
        _ => format!("NOT (c{n} <= {literal})"),
    }
}

fn projected(types: &[Type], mut draw: Draw) -> (String, Vec<Type>) {
    let (mut texts, mut given) = (Vec::new(), Vec::new());
    for at in 0..=draw.below(4) {
        let n = draw.below(types.len());
        let (data_type, literal) = (types[n], types[n].literal());
        let (text, data_type) = match draw.below(5) {
            0 => (format!("COALESCE(c{n}, {literal})"), data_type),
            1 => (format!("CASE WHEN c{n} > {literal} THEN 'b' ELSE 'a' END"), Type::Text),
            2 => (format!("CASE WHEN c{n} = {literal} THEN NULL ELSE c{n} END"), data_type),
            3 if data_type == Type::Text => (format!("UPPER(c{n})"), data_type),
            _ => (format!("c{n}"), data_type),
        };
        texts.push(format!("{text} AS c{at}"));
        given.push(data_type);
    }
    (texts.join(", "), given)
}

fn aggregated(types: &[Type], mut draw: Draw) -> (String, String, Vec<Type>) {
    let keys: Vec<usize> = (0..draw.below(3)).map(|_| draw.below(types.len())).collect();
    let mut texts: Vec<String> =
        keys.iter().enumerate().map(|(at, n)| format!("c{n} AS c{at}")).collect();
    let mut given: Vec<Type> = keys.iter().map(|n| types[*n]).collect();
    for _ in 0..=draw.below(2) {
        let (text, data_type) = aggregate(types, &mut draw);
        texts.push(format!("{text} AS c{}", given.len()));
        given.push(data_type);
    }
    let names: Vec<String> = keys.iter().map(|n| format!("c{n}")).collect();
    let is_distinct = keys.first() != keys.get(1);
    let mut grouped = match names.is_empty() {
        true => String::new(),
        false if is_distinct && draw.one_in(4) => format!("GROUP BY ROLLUP ({})", names.join(", ")),
        false => format!("GROUP BY {}", names.join(", ")),
    };
    if draw.one_in(4) {
        grouped.push_str(" HAVING COUNT(*) > 1");
    }
    (texts.join(", "), grouped, given)
}

/// An aggregate whose result does not depend on the order of its input: no sums of floats, no averages
/// of numbers too large for a float.
fn aggregate(types: &[Type], draw: &mut Draw) -> (String, Type) {
    let n = draw.below(types.len());
    let data_type = types[n];
    let distinct = if draw.one_in(4) { "DISTINCT " } else { "" };
    let (text, data_type) = match (draw.below(6), data_type) {
        (0, _) => (format!("MIN(c{n})"), data_type),
        (1, _) => (format!("MAX(c{n})"), data_type),
        (2, Type::Int | Type::Big) => (format!("SUM({distinct}c{n})"), Type::Big),
        (3, Type::Int) => (format!("AVG(CAST(c{n} AS DOUBLE))"), Type::Double),
        (4, _) => ("COUNT(*)".to_owned(), Type::Big),
        _ => (format!("COUNT({distinct}c{n})"), Type::Big),
    };
    match draw.one_in(5) {
        true => (format!("{text} FILTER (WHERE {})", predicate(types, draw)), data_type),
        false => (text, data_type),
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        5 => any::<bool>().prop_map(Shape::Stream),
        1 => (any::<bool>(), any::<u32>()).prop_map(|(s, c)| Shape::Window(s, c)),
    ];
    leaf.prop_recursive(DEPTH_MAX, 12, LEAVES_MAX, |inner| {
        let one = || inner.clone().prop_map(Box::new);
        prop_oneof![
            1 => (one(), any::<u32>()).prop_map(|(i, c)| Shape::Filter(i, c)),
            1 => (one(), any::<u32>()).prop_map(|(i, c)| Shape::Project(i, c)),
            2 => (one(), any::<u32>()).prop_map(|(i, c)| Shape::Aggregate(i, c)),
            1 => one().prop_map(Shape::Distinct),
            2 => (one(), one(), any::<u32>()).prop_map(|(l, r, c)| Shape::Union(l, r, c)),
            1 => (one(), any::<u32>()).prop_map(|(i, c)| Shape::First(i, c)),
            1 => (one(), any::<u32>()).prop_map(|(i, c)| Shape::Over(i, c)),
            1 => (one(), one(), any::<u32>()).prop_map(|(l, r, c)| Shape::Where(l, r, c)),
            3 => (one(), one(), any::<u32>()).prop_map(|(l, r, c)| Shape::Join(l, r, c)),
        ]
    })
}

/// Holds one generated query to the law; whether it could be planned.
fn check(tables: &[Table; 2], shape: &Shape, seed: u64) -> Result<bool, String> {
    let writer = Writer { tables, aliases: Cell::new(0) };
    let relation = writer.relation(shape);
    let declarations = tables[0].declaration("a") + &tables[1].declaration("b");
    let query = format!("SELECT STREAM * FROM ({}) AS q", relation.ours);
    let Ok(declared) = Pipeline::try_new(&declarations, &query, 1) else { return Ok(false) };
    let stream = |name, table: &Table| table.batch(&declared.stream(name).stream_schema());
    let law = Law {
        declarations: &declarations,
        query: &query,
        views: &[],
        batch: &relation.batch,
        streams: &[("A", stream("A", &tables[0])), ("B", stream("B", &tables[1]))],
        tables: &[],
        epochs_max: 6,
        compared: if relation.windowed { Compared::AtTheEnd } else { Compared::EveryEpoch },
    };
    law.check(seed).map(|_| true).map_err(|difference| format!("{difference}\n{query}"))
}

#[test]
fn generated_queries_keep_the_law() {
    let seeds = seeds(SEEDS);
    let (planned, all) = (Cell::new(0_u32), Cell::new(0_u32));
    for seed in seeds {
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            max_shrink_time: 60_000,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let cases = ([table(), table()], shape(), any::<u64>());
        let run = TestRunner::new_with_rng(config, rng).run(&cases, |(tables, shape, cut)| {
            all.set(all.get() + 1);
            let done = check(&tables, &shape, cut).map_err(TestCaseError::fail)?;
            planned.set(planned.get() + u32::from(done));
            Ok(())
        });
        match run {
            Ok(()) => {}
            Err(TestError::Fail(reason, (tables, _, cut))) => {
                panic!(
                    "MILLSTREAM_SEED={seed}, cut {cut}: {reason}\na: {:?}\nb: {:?}",
                    tables[0], tables[1]
                )
            }
            Err(TestError::Abort(reason)) => panic!("MILLSTREAM_SEED={seed}: {reason}"),
        }
    }
    let (planned, all) = (planned.get(), all.get());
    assert!(planned * 10 >= all * 8, "only {planned} of {all} queries could be planned");
    println!(
        "evidence P7 generated queries: {planned} give the batch answer for any cut and restart"
    );
}
