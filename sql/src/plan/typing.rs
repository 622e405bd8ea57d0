//! Which types may meet: values are compared, computed and mixed within one family only.
//!
//! Numbers go with numbers, texts with texts, each kind of time with itself, as in Kinesis Data
//! Analytics: in pumps, which only that knows, and the views they read. DataFusion turns one side into
//! the type of the other without a word (`k = 5` of a text `'05'` is false), and so do all other queries;
//! so this looks at the plan of a pump before its rules do. A text *literal* beside a time is read as one when the query is planned; a
//! wrong one is found there.
//!
//! Source: "Type conversion" of the Kinesis Data Analytics SQL reference.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{
    AggregateFunction, InList, InSubquery, ScalarFunction, SetComparison,
};
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator,
};

use datafusion::sql::sqlparser::ast;

use super::errors::{from_datafusion, span_of};
use super::padded::is_comparison;
use crate::error::SqlError;
use crate::functions::{CEIL_TO, EXTRACT, Family, GIVEN, PART, SCALE, written};

/// Which types may meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typing {
    /// Those of one family: in a pump.
    Families,
    /// Those that DataFusion makes one of. Only what a `CREATE FUNCTION` declares is kept to.
    Coerced,
}

/// Refuses a plan, not optimised yet, in which types meet that may not.
pub(super) fn checked(plan: &LogicalPlan, typing: Typing) -> Result<(), SqlError> {
    let mut refused = None;
    let visited = plan.apply_with_subqueries(|node| {
        refused = node_refused(node, typing)?;
        Ok(match refused {
            None => TreeNodeRecursion::Continue,
            Some(_) => TreeNodeRecursion::Stop,
        })
    });
    visited.map_err(|error| from_datafusion(&error))?;
    refused.map_or(Ok(()), Err)
}

/// Refuses an operator of which DataFusion would say in its own words that there is none.
pub(super) fn operator_refused(expr: &RawBinaryExpr, schema: &DFSchema) -> Option<SqlError> {
    use ast::BinaryOperator as Written;
    let op = match expr.op {
        Written::Eq => Operator::Eq,
        Written::NotEq => Operator::NotEq,
        Written::Lt => Operator::Lt,
        Written::LtEq => Operator::LtEq,
        Written::Gt => Operator::Gt,
        Written::GtEq => Operator::GtEq,
        Written::Plus => Operator::Plus,
        Written::Minus => Operator::Minus,
        Written::Multiply => Operator::Multiply,
        Written::Divide => Operator::Divide,
        Written::Modulo => Operator::Modulo,
        _ => return None,
    };
    let types = [&expr.left, &expr.right].map(|side| side.get_type(schema).ok());
    let [Some(left), Some(right)] = types else { return None };
    match BinaryTypeCoercer::new(&left, &op, &right).get_result_type() {
        Ok(_) => None,
        Err(_) => Seen { schema }.operator(&expr.left, op, &expr.right),
    }
}

fn node_refused(node: &LogicalPlan, typing: Typing) -> Result<Option<SqlError>> {
    let inputs = node.inputs();
    let mut schema = DFSchema::empty();
    for input in &inputs {
        schema.merge(input.schema());
    }
    let seen = Seen { schema: &schema };
    if typing == Typing::Coerced {
        return expressions_refused(node, |expr| seen.given_refused(expr));
    }
    if let LogicalPlan::Union(_) = node {
        return Ok(union_refused(node));
    }
    let condition = match node {
        LogicalPlan::Filter(filter) => Some(&filter.predicate),
        LogicalPlan::Join(join) => join.filter.as_ref(),
        _ => None,
    };
    if let Some(error) = condition.and_then(|condition| seen.condition(condition)) {
        return Ok(Some(error));
    }
    if let LogicalPlan::Join(join) = node {
        let error = join.on.iter().find_map(|(left, right)| seen.pair(left, right, "compared"));
        if error.is_some() {
            return Ok(error);
        }
    }
    expressions_refused(node, |expr| seen.refused(expr))
}

/// The first expression of a node, or within one, that `look` refuses.
fn expressions_refused(
    node: &LogicalPlan,
    look: impl Fn(&Expr) -> Option<SqlError>,
) -> Result<Option<SqlError>> {
    let mut refused = None;
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            refused = look(expr);
            Ok(match refused {
                None => TreeNodeRecursion::Continue,
                Some(_) => TreeNodeRecursion::Stop,
            })
        })
    })?;
    Ok(refused)
}

/// Refuses a union in which any two branches may not meet in a column.
fn union_refused(union: &LogicalPlan) -> Option<SqlError> {
    let mut branches = Vec::new();
    branches_of(union, &mut branches);
    let fields: Vec<_> = branches.iter().map(|branch| branch.schema().fields()).collect();
    let columns = fields.first()?.iter().enumerate();
    columns.into_iter().find_map(|(at, column)| {
        let types = fields.iter().filter_map(|fields| Some(fields.get(at)?.data_type()));
        let mut known = types.filter(|data_type| Family::of(data_type) != Family::Other);
        let one = known.next()?;
        let two = known.find(|other| Family::of(other) != Family::of(one))?;
        let message = format!(
            "column {} is {} in one branch and {} in another",
            column.name(),
            written(one),
            written(two)
        );
        Some(SqlError::new(message).with_hint("CAST one of them to the type of the other"))
    })
}

/// The branches of a union that are no unions themselves.
fn branches_of<'p>(plan: &'p LogicalPlan, branches: &mut Vec<&'p LogicalPlan>) {
    match plan {
        LogicalPlan::Union(union) => {
            union.inputs.iter().for_each(|input| branches_of(input, branches));
        }
        branch => branches.push(branch),
    }
}

/// The functions of DataFusion that take texts, as far as the dialect has them.
const OF_TEXTS: [&str; 10] = [
    "lower",
    "upper",
    "initcap",
    "character_length",
    "btrim",
    "ltrim",
    "rtrim",
    "strpos",
    "replace",
    "reverse",
];

/// The functions whose arguments are alternatives.
pub(super) const MIXED: [&str; 6] = ["coalesce", "nvl", "ifnull", "nullif", "greatest", "least"];

/// The functions whose second argument is a time, or the text of one.
const OF_TIMES: [&str; 4] = ["date_trunc", "date_bin", CEIL_TO, EXTRACT];

/// The expressions over the inputs of a node.
struct Seen<'a> {
    schema: &'a DFSchema,
}

impl Seen<'_> {
    /// The type of `expr`; none where it is not known here, as of a column of the query around it.
    fn type_of(&self, expr: &Expr) -> Option<DataType> {
        expr.get_type(self.schema).ok()
    }

    fn family(&self, expr: &Expr) -> Family {
        self.type_of(expr).map_or(Family::Other, |data_type| Family::of(&data_type))
    }

    fn refused(&self, expr: &Expr) -> Option<SqlError> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.operator(left, *op, right),
            Expr::Not(condition)
            | Expr::IsTrue(condition)
            | Expr::IsFalse(condition)
            | Expr::IsUnknown(condition)
            | Expr::IsNotTrue(condition)
            | Expr::IsNotFalse(condition)
            | Expr::IsNotUnknown(condition) => self.condition(condition),
            Expr::Negative(value) => self.wanted(value, "- is for numbers and intervals", |of| {
                matches!(of, Family::Number | Family::Interval)
            }),
            Expr::Between(Between { expr, low, high, .. }) => {
                self.pair(expr, low, "compared").or_else(|| self.pair(expr, high, "compared"))
            }
            Expr::InList(InList { expr, list, .. }) => {
                list.iter().find_map(|value| self.pair(expr, value, "compared"))
            }
            Expr::InSubquery(InSubquery { expr, subquery, .. })
            | Expr::SetComparison(SetComparison { expr, subquery, .. }) => {
                let column = subquery.subquery.schema().fields().first()?.data_type().clone();
                meet((expr, &self.type_of(expr)?), (expr, &column), "compared")
            }
            Expr::Like(like) | Expr::SimilarTo(like) => {
                let text =
                    |expr| self.wanted(expr, "patterns are for texts", |of| of == Family::Text);
                text(&like.expr).or_else(|| text(&like.pattern))
            }
            Expr::Case(case) => self.case(case),
            Expr::ScalarFunction(call) => self.given_refused(expr).or_else(|| self.call(call)),
            Expr::AggregateFunction(call) => self.aggregate(call),
            _ => None,
        }
    }

    fn operator(&self, left: &Expr, op: Operator, right: &Expr) -> Option<SqlError> {
        match op {
            op if is_comparison(op) => self.pair(left, right, "compared"),
            Operator::And | Operator::Or => self.condition(left).or_else(|| self.condition(right)),
            Operator::StringConcat => {
                let text = |expr| {
                    self.wanted(expr, "|| puts texts together", |of| {
                        matches!(of, Family::Text | Family::Bytes)
                    })
                };
                text(left).or_else(|| text(right))
            }
            Operator::Plus
            | Operator::Minus
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo => self.arithmetic(left, op, right),
            _ => None,
        }
    }

    fn arithmetic(&self, left: &Expr, op: Operator, right: &Expr) -> Option<SqlError> {
        let (a, b) = (self.family(left), self.family(right));
        let counts = |expr: &Expr| {
            let message = format!("{op} is for numbers, times and intervals");
            self.wanted(expr, &message, |of| of == Family::Number || of.is_temporal())
        };
        if let Some(error) = counts(left).or_else(|| counts(right)) {
            return Some(error);
        }
        let is_mixed =
            |a: Family, b: Family| a == Family::Number && b.is_temporal() && b != Family::Interval;
        let is_point = |of: Family| of.is_temporal() && of != Family::Interval;
        let is_difference = op == Operator::Minus && a == b;
        let are_points = is_point(a) && is_point(b) && !is_difference;
        if !is_mixed(a, b) && !is_mixed(b, a) && !are_points {
            return None;
        }
        let (one, two) = (self.name_of(left), self.name_of(right));
        let message = format!("{one} {op} {two} has no meaning");
        let hint = "a time and an interval can be added: n * INTERVAL '1' SECOND; UNIX_TIMESTAMP \
                    makes a number of a time";
        Some(placed(SqlError::new(message).with_hint(hint), [left, right]))
    }

    fn case(&self, case: &Case) -> Option<SqlError> {
        let whens = case.when_then_expr.iter().map(|(when, _)| when.as_ref());
        let error = match &case.expr {
            Some(operand) => {
                whens.into_iter().find_map(|when| self.pair(operand, when, "compared"))
            }
            None => whens.into_iter().find_map(|when| self.condition(when)),
        };
        let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
        error.or_else(|| self.alternatives(results.chain(case.else_expr.as_deref())))
    }

    /// Refuses alternatives of which any two may not meet.
    fn alternatives<'e>(&self, values: impl Iterator<Item = &'e Expr>) -> Option<SqlError> {
        // One for each family stands for all of it; a literal meets more than other values do.
        let mut before: Vec<(Family, bool, &Expr)> = Vec::new();
        for value in values {
            let (family, is_literal) = (self.family(value), matches!(value, Expr::Literal(..)));
            let error = before.iter().find_map(|(_, _, one)| self.pair(one, value, "alternatives"));
            if error.is_some() {
                return error;
            }
            if !before.iter().any(|(a, b, _)| (*a, *b) == (family, is_literal)) {
                before.push((family, is_literal, value));
            }
        }
        None
    }

    /// Refuses an argument or result of a `CREATE FUNCTION` that is not of its type.
    fn given_refused(&self, expr: &Expr) -> Option<SqlError> {
        match expr {
            Expr::ScalarFunction(call) if call.func.name() == GIVEN => {
                let mut args = call.args.iter();
                self.given(args.next()?, args.next()?)
            }
            _ => None,
        }
    }

    fn call(&self, call: &ScalarFunction) -> Option<SqlError> {
        let name = call.func.name();
        let mut args = call.args.iter();
        if OF_TEXTS.contains(&name) {
            let message = format!("{} is for texts", name.to_uppercase());
            return args.find_map(|arg| self.wanted(arg, &message, |of| of == Family::Text));
        }
        if MIXED.contains(&name) {
            return self.alternatives(args);
        }
        if OF_TIMES.contains(&name) {
            return args.nth(1).and_then(|time| {
                let is_text =
                    matches!(time, Expr::Literal(..)) && self.family(time) == Family::Text;
                self.wanted(time, "a time is wanted", |of| is_text || of.is_temporal())
            });
        }
        if name == SCALE || name == PART {
            let message = "an interval is multiplied or divided by a number";
            return args.nth(1).and_then(|by| self.wanted(by, message, |of| of == Family::Number));
        }
        None
    }

    /// An argument or a result of a function, which is assigned as a column is.
    fn given(&self, value: &Expr, wanted: &Expr) -> Option<SqlError> {
        let Expr::Literal(ScalarValue::Utf8(Some(wanted)), _) = wanted else { return None };
        let family = Family::named(wanted);
        let given = self.type_of(value)?;
        if Family::of(&given).goes_with(family) {
            return None;
        }
        let given = name(value, &given);
        let message = format!("the function wants or returns {wanted}, not {given}");
        let hint = format!("CAST({} AS {wanted})", shown(value));
        Some(placed(SqlError::new(message).with_hint(hint), [value]))
    }

    fn aggregate(&self, call: &AggregateFunction) -> Option<SqlError> {
        let name = call.func.name();
        let value = call.params.args.first()?;
        let wanted: fn(Family) -> bool = match name {
            "sum" | "avg" | "stddev" | "stddev_pop" | "var" | "var_pop" => {
                |of| of == Family::Number
            }
            "bool_and" | "bool_or" => |of| of == Family::Boolean,
            _ => return None,
        };
        let message = format!("{} is not for such values", name.to_uppercase());
        self.wanted(value, &message, wanted)
    }

    fn condition(&self, expr: &Expr) -> Option<SqlError> {
        self.wanted(expr, "a condition is TRUE or FALSE", |of| of == Family::Boolean)
    }

    /// The error for a value that is none of those it is for.
    fn wanted(
        &self,
        expr: &Expr,
        message: &str,
        is_wanted: impl Fn(Family) -> bool,
    ) -> Option<SqlError> {
        let data_type = self.type_of(expr)?;
        let family = Family::of(&data_type);
        if family == Family::Other || is_wanted(family) {
            return None;
        }
        let message = format!("{message}, {} is {}", shown(expr), name(expr, &data_type));
        let hint = match family {
            _ if is_wanted(Family::Boolean) => format!("compare it: {} <> …", shown(expr)),
            Family::Boolean if is_wanted(Family::Number) => {
                format!("CASE WHEN {} THEN 1 ELSE 0 END is a number", shown(expr))
            }
            Family::Text if is_wanted(Family::Number) => {
                format!("CAST({} AS INTEGER), or AS DECIMAL or DOUBLE", shown(expr))
            }
            Family::Interval if is_wanted(Family::Number) => {
                format!(
                    "CAST({} AS BIGINT) counts its units, TSDIFF(a, b) milliseconds",
                    shown(expr)
                )
            }
            Family::Text => format!("CAST({} AS TIMESTAMP)", shown(expr)),
            _ if is_wanted(Family::Text) => format!("CAST({} AS VARCHAR(32))", shown(expr)),
            _ => "CAST it to another type".to_owned(),
        };
        Some(placed(SqlError::new(message).with_hint(hint), [expr]))
    }

    /// The error for two values that are no alternatives of one another.
    fn pair(&self, left: &Expr, right: &Expr, verb: &str) -> Option<SqlError> {
        let (one, two) = (self.type_of(left)?, self.type_of(right)?);
        let literal = |expr: &Expr, of: &DataType, beside: &DataType| {
            matches!(expr, Expr::Literal(..))
                && Family::of(of) == Family::Text
                && Family::of(beside).is_temporal()
        };
        if literal(left, &one, &two) || literal(right, &two, &one) {
            return None;
        }
        if let (Expr::Literal(..), false) = (left, matches!(right, Expr::Literal(..))) {
            return meet((right, &two), (left, &one), verb);
        }
        meet((left, &one), (right, &two), verb)
    }

    fn name_of(&self, expr: &Expr) -> String {
        self.type_of(expr).map_or_else(String::new, |data_type| name(expr, &data_type))
    }
}

/// The error for two values of these types, if they cannot meet.
fn meet(
    (left, one): (&Expr, &DataType),
    (right, two): (&Expr, &DataType),
    verb: &str,
) -> Option<SqlError> {
    let (a, b) = (Family::of(one), Family::of(two));
    if a.goes_with(b) {
        return None;
    }
    let (first, second) = (name(left, one), name(right, two));
    let message = match verb {
        "alternatives" => format!("{first} and {second} cannot be alternatives of one another"),
        _ => format!("{first} cannot be {verb} with {second}"),
    };
    let hint = match (a, b) {
        (Family::Boolean, Family::Number) => format!("{} is TRUE or FALSE", shown(left)),
        (Family::Number, Family::Boolean) => format!("compare {} with a number", shown(left)),
        (Family::Timestamp, Family::Number) => {
            format!("UNIX_TIMESTAMP({}) is a number", shown(left))
        }
        (Family::Number, Family::Timestamp) => {
            format!("TO_TIMESTAMP({}) is a time", shown(left))
        }
        _ => format!("CAST({} AS {second})", shown(left)),
    };
    Some(placed(SqlError::new(message).with_hint(hint), [left, right]))
}

/// A type as a statement has it; a whole number that fits is an `INTEGER`.
fn name(expr: &Expr, data_type: &DataType) -> String {
    match (expr, data_type) {
        (Expr::Literal(ScalarValue::Int64(Some(number)), _), _)
            if i32::try_from(*number).is_ok() =>
        {
            "INTEGER".to_owned()
        }
        (_, DataType::Dictionary(_, values)) => written(values),
        _ => written(data_type),
    }
}

/// An expression as a message shows it.
fn shown(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.name.clone(),
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => format!("'{text}'"),
        Expr::Literal(value, _) => value.to_string(),
        _ => "the value".to_owned(),
    }
}

/// `error` at the first column of the expressions.
fn placed<'e>(error: SqlError, exprs: impl IntoIterator<Item = &'e Expr>) -> SqlError {
    let mut found = None;
    for expr in exprs {
        let looked = expr.apply(|expr| {
            found = match expr {
                Expr::Column(column) => column.spans.first().and_then(span_of),
                _ => None,
            };
            Ok::<_, DataFusionError>(match found {
                None => TreeNodeRecursion::Continue,
                Some(_) => TreeNodeRecursion::Stop,
            })
        });
        if looked.is_err() || found.is_some() {
            break;
        }
    }
    found.into_iter().fold(error, SqlError::or_at)
}

#[cfg(test)]
mod tests {
    use super::Family::{Boolean, Bytes, Date, Number, Text, Time, Timestamp};
    use super::*;
    use crate::plan::application;
    use crate::plan::logical::optimize;
    use crate::plan::relations::Scope;
    use crate::plan::tests::read;

    /// The types of the dialect, each a column `c0`, `c1` …
    const TYPES: [(&str, Family); 15] = [
        ("TINYINT", Number),
        ("SMALLINT", Number),
        ("INTEGER", Number),
        ("BIGINT", Number),
        ("DECIMAL(8, 2)", Number),
        ("REAL", Number),
        ("DOUBLE", Number),
        ("CHAR(4)", Text),
        ("VARCHAR(8)", Text),
        ("BINARY(4)", Bytes),
        ("VARBINARY(8)", Bytes),
        ("BOOLEAN", Boolean),
        ("DATE", Date),
        ("TIME", Time),
        ("TIMESTAMP", Timestamp),
    ];

    fn declared() -> String {
        let columns = TYPES.iter().enumerate().map(|(i, (name, _))| format!("c{i} {name}"));
        format!("CREATE STREAM m ({});", columns.collect::<Vec<_>>().join(", "))
    }

    /// Plans the query at the end of `text` as a pump's is planned, or what is declared.
    fn plan(text: &str) -> Result<(), SqlError> {
        let (catalog, query) = read(text)?;
        match query {
            Some(query) => {
                let planned = Scope::streaming(&catalog).plan_pump(&query, false)?;
                optimize(planned.plan).map(|_| ()).map_err(|error| error.or_at(query.span))
            }
            None => application(&catalog).map(|_| ()),
        }
    }

    fn refused(text: &str) -> SqlError {
        let text = format!("{}{text}", declared());
        let error = plan(&text).expect_err(&text);
        assert!(error.span.is_some(), "no place: {}", error.render("t", &text));
        // The message of a difference says itself what to do.
        let says = error.hint.is_some() || error.message.contains("must be the same kind of time");
        assert!(says, "no hint: {}", error.render("t", &text));
        error
    }

    /// Every pair of types in every form of `forms`, where `a` and `b` stand for the two.
    fn cells(forms: &[&str], is_allowed: impl Fn(Family, Family) -> bool) {
        let mut allowed = Vec::new();
        for form in forms {
            for (i, (_, a)) in TYPES.iter().enumerate() {
                for (j, (_, b)) in TYPES.iter().enumerate() {
                    let expr =
                        form.replace("$a", &format!("m.c{i}")).replace("$b", &format!("m.c{j}"));
                    if is_allowed(*a, *b) {
                        allowed.push(expr);
                    } else {
                        refused(&format!("SELECT STREAM {expr} FROM m;"));
                    }
                }
            }
        }
        let text = format!("{}SELECT STREAM {} FROM m;", declared(), allowed.join(", "));
        if let Err(error) = plan(&text) {
            panic!("{}", error.render("t", &text));
        }
    }

    #[test]
    fn values_of_one_family_are_compared() {
        cells(
            &["$a = $b", "$a BETWEEN $b AND $a", "$a IN ($a, $b)", "$a IS DISTINCT FROM $b"],
            |a, b| a == b,
        );
    }

    #[test]
    fn alternatives_are_of_one_family() {
        let forms =
            ["CASE WHEN c11 THEN $a ELSE $b END", "COALESCE($a, $b)", "CASE $a WHEN $b THEN 1 END"];
        cells(&forms, |a, b| a == b);
    }

    #[test]
    fn every_alternative_goes_with_every_other() {
        let text = "'2018-11-01 00:00:00'";
        let values = [text, "NULL", "c14", "c8"];
        for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
            let mut order = values;
            order.swap(0, a);
            order.swap(1, b);
            let [w, x, y, z] = order;
            let case =
                format!("CASE c2 WHEN 1 THEN {w} WHEN 2 THEN {x} WHEN 3 THEN {y} ELSE {z} END");
            let error = refused(&format!("SELECT STREAM {case} FROM m;"));
            assert!(error.message.contains("cannot be alternatives"), "{case}: {}", error.message);
            refused(&format!("SELECT STREAM COALESCE({}) FROM m;", order.join(", ")));
        }
        let fine = format!(
            "SELECT STREAM CASE c2 WHEN 1 THEN NULL WHEN 2 THEN {text} ELSE c14 END FROM m;"
        );
        plan(&format!("{}{fine}", declared())).unwrap();
    }

    #[test]
    fn arithmetic_is_for_numbers_and_a_difference_for_times() {
        cells(&["$a + $b", "$a * $b", "$a / $b"], |a, b| a == Number && b == Number);
        cells(&["($a - $b) SECOND"], |a, b| a == b && matches!(a, Timestamp | Time | Date));
    }

    #[test]
    fn values_are_inserted_within_their_family() {
        for (to, b) in TYPES {
            for (i, (_, a)) in TYPES.iter().enumerate() {
                let text = format!(
                    "CREATE STREAM d (x {to}); CREATE PUMP p AS INSERT INTO d SELECT STREAM c{i} FROM m;
                     CREATE SINK o FROM d WITH (connector = 'file', path = 'o');"
                );
                if *a == b {
                    plan(&format!("{}{text}", declared())).unwrap();
                } else {
                    refused(&text);
                }
            }
        }
    }

    #[test]
    fn each_argument_is_of_its_family() {
        let forms: [(&str, &[Family]); 14] = [
            ("CHAR_LENGTH($)", &[Text]),
            ("UPPER($)", &[Text]),
            ("TRIM(BOTH FROM $)", &[Text]),
            ("'x' || $", &[Text]),
            ("$ LIKE 'x'", &[Text]),
            ("CASE WHEN $ THEN 1 END", &[Boolean]),
            ("NOT $", &[Boolean]),
            ("$ AND TRUE", &[Boolean]),
            ("$ IS TRUE", &[Boolean]),
            ("- $", &[Number]),
            ("ABS($)", &[Number]),
            ("INTERVAL '1' DAY * $", &[Number]),
            ("FLOOR($ TO MINUTE)", &[Time, Timestamp, Date]),
            ("UNIX_TIMESTAMP($)", &[Timestamp]),
        ];
        for (form, wanted) in forms {
            for (i, (_, family)) in TYPES.iter().enumerate() {
                let text = format!("SELECT STREAM {} FROM m;", form.replace('$', &format!("c{i}")));
                let planned = plan(&format!("{}{text}", declared()));
                assert_eq!(planned.is_ok(), wanted.contains(family), "{text} {planned:?}");
            }
        }
    }

    #[test]
    fn what_to_do_is_said_at_its_place() {
        let error = refused("\nSELECT STREAM c8 FROM m WHERE 5 = c8;");
        assert_eq!(error.message, "VARCHAR cannot be compared with INTEGER");
        assert_eq!(error.hint.as_deref(), Some("CAST(C8 AS INTEGER)"));
        assert_eq!(error.span.map(|span| (span.start.line, span.start.column)), Some((2, 35)));
        let error = refused("SELECT STREAM c12 > c14 FROM m;");
        assert_eq!(error.hint.as_deref(), Some("CAST(C12 AS TIMESTAMP)"));
        let error = refused("SELECT STREAM c2 FROM m WHERE c2;");
        assert!(error.message.contains("non-boolean predicate"), "{}", error.message);
        let error = refused("SELECT STREAM NOT c2 FROM m;");
        assert_eq!(error.message, "a condition is TRUE or FALSE, C2 is INTEGER");
        let error = refused("SELECT STREAM c2 FROM m UNION ALL SELECT STREAM c8 FROM m;");
        assert!(error.message.contains("INTEGER in one branch and VARCHAR"), "{}", error.message);
        for branches in ["NULL c8 c2", "c2 NULL c8", "NULL NULL c8 c14 c2"] {
            let branches = branches.split(' ').map(|c| format!("SELECT STREAM {c} AS c FROM m"));
            let union = branches.collect::<Vec<_>>().join(" UNION ALL ");
            let error = refused(&format!("{union};"));
            assert!(error.message.contains("in one branch and"), "{}", error.message);
        }
        let on = "SELECT STREAM a.c2 FROM m AS a JOIN m AS b ON a.c2 = b.c8;";
        assert_eq!(refused(on).message, "INTEGER cannot be compared with VARCHAR");
    }

    #[test]
    fn the_text_of_a_time_is_read_as_one() {
        let text =
            "SELECT STREAM c14 FROM m WHERE c14 >= '2018-11-01 00:00:00' AND c12 < '2018-11-02';";
        plan(&format!("{}{text}", declared())).unwrap();
        let wrong = format!("{}SELECT STREAM c14 FROM m WHERE c14 >= 'noon';", declared());
        assert!(plan(&wrong).is_err());
    }

    #[test]
    fn functions_are_given_what_they_declare() {
        let function = "CREATE FUNCTION f (p VARCHAR(3), n DECIMAL(5, 2)) RETURNS VARCHAR(4) RETURN p || CAST(n AS VARCHAR(8));";
        plan(&format!("{}{function}SELECT STREAM f(c8, c2) FROM m;", declared())).unwrap();
        let error = refused(&format!("{function}SELECT STREAM f(c2, c2) FROM m;"));
        assert_eq!(error.message, "the function wants or returns VARCHAR, not INTEGER");
        let wrong = "CREATE FUNCTION g (n INTEGER) RETURNS VARCHAR(4) RETURN n + 1;";
        refused(&format!("{wrong}SELECT STREAM g(c2) FROM m;"));
    }
}
