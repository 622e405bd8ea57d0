//! Which joins of two streams are by time: those whose condition bounds how far apart the times of two
//! rows may lie, in any of its spellings.
//!
//! ```text
//!   a.t BETWEEN b.t - x AND b.t + y       a.t >= b.t - x AND a.t <= b.t + y
//!   a.t - b.t <= y                        a.t + x > b.t
//! ```
//!
//! Each comparison is read as a sum of one time of either side and a span, and gives a bound on the
//! difference of the two times.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Join, LogicalPlan, Operator};
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::watermark::Watermarks;

/// Nanoseconds in a millisecond, the unit of a stream's times.
const MILLISECOND: i128 = 1_000_000;

/// How the times of the two sides of a join are tied together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    /// The column of the left side's time.
    pub(super) left: usize,
    /// The column of the right side's time.
    pub(super) right: usize,
    /// The least `left - right`, in milliseconds.
    pub(super) lowest: Option<i64>,
    /// The greatest.
    pub(super) highest: Option<i64>,
}

/// The interval that `join` is by, if the watermarks of both sides can decide it; `timed` says which
/// columns have one.
pub(super) fn interval_of(join: &Join, timed: [&Watermarks; 2]) -> Option<Interval> {
    if join.null_aware {
        return None;
    }
    let sides = Sides { left: join.left.schema(), right: join.right.schema(), timed };
    let mut found: Option<Interval> = None;
    let mut tighten = |bound: Interval| {
        let known = found.get_or_insert(Interval { lowest: None, highest: None, ..bound });
        if (known.left, known.right) == (bound.left, bound.right) {
            known.lowest = known.lowest.max(bound.lowest);
            known.highest = match (known.highest, bound.highest) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    };
    for (left, right) in &join.on {
        sides.compare(left, Operator::Eq, right).into_iter().for_each(&mut tighten);
    }
    for part in join.filter.iter().flat_map(split_conjunction) {
        sides.bounds(part).into_iter().for_each(&mut tighten);
    }
    let interval = found?;
    let (lowest, highest) = (interval.lowest.is_some(), interval.highest.is_some());
    // A row that comes out for want of a match needs a time from which on that is certain.
    let decided = match join.join_type {
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => lowest || highest,
        JoinType::Left | JoinType::LeftAnti | JoinType::LeftMark => lowest,
        JoinType::Right | JoinType::RightAnti | JoinType::RightMark => highest,
        JoinType::Full => lowest && highest,
    };
    decided.then_some(interval)
}

struct Sides<'a> {
    left: &'a DFSchema,
    right: &'a DFSchema,
    timed: [&'a Watermarks; 2],
}

/// A sum of at most one time of either side, each taken once with a sign, and a span.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    left: Option<(usize, i8)>,
    right: Option<(usize, i8)>,
    span_ns: i128,
}

impl Sum {
    fn negated(self) -> Self {
        let turn = |(column, sign): (usize, i8)| (column, -sign);
        Self { left: self.left.map(turn), right: self.right.map(turn), span_ns: -self.span_ns }
    }

    fn plus(self, other: Self) -> Option<Self> {
        let one = |a: Option<_>, b: Option<_>| match (a, b) {
            (Some(_), Some(_)) => None,
            (a, b) => Some(a.or(b)),
        };
        Some(Self {
            left: one(self.left, other.left)?,
            right: one(self.right, other.right)?,
            span_ns: self.span_ns.checked_add(other.span_ns)?,
        })
    }
}

impl Sides<'_> {
    /// The bounds a part of the condition puts on the difference of two times.
    fn bounds(&self, part: &Expr) -> Vec<Interval> {
        match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                self.compare(left, *op, right).into_iter().collect()
            }
            Expr::Between(Between { expr, negated: false, low, high }) => {
                let low = self.compare(expr, Operator::GtEq, low);
                low.into_iter().chain(self.compare(expr, Operator::LtEq, high)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn compare(&self, left: &Expr, op: Operator, right: &Expr) -> Option<Interval> {
        let sum = self.sum(left)?.plus(self.sum(right)?.negated())?;
        let ((left, sign), (right, other)) = (sum.left?, sum.right?);
        if sign == other {
            return None;
        }
        // Now it says: sign · (left − right) + span  op  0.
        let (op, span_ns) = if sign > 0 { (op, -sum.span_ns) } else { (op.swap()?, sum.span_ns) };
        let floor = i64::try_from(span_ns.div_euclid(MILLISECOND)).ok()?;
        let ceil = i64::try_from(-(-span_ns).div_euclid(MILLISECOND)).ok()?;
        let (lowest, highest) = match op {
            Operator::Eq => (Some(ceil), Some(floor)),
            Operator::GtEq => (Some(ceil), None),
            Operator::Gt => (Some(floor.checked_add(1)?), None),
            Operator::LtEq => (None, Some(floor)),
            Operator::Lt => (None, Some(ceil.checked_sub(1)?)),
            _ => return None,
        };
        Some(Interval { left, right, lowest, highest })
    }

    fn sum(&self, expr: &Expr) -> Option<Sum> {
        match expr {
            Expr::Column(column) => self.column(column),
            Expr::Literal(value, _) => Some(Sum { span_ns: span(value)?, ..Sum::default() }),
            Expr::Cast(cast) if is_exact(cast.field.data_type()) => self.sum(&cast.expr),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
                self.sum(left)?.plus(self.sum(right)?)
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
                self.sum(left)?.plus(self.sum(right)?.negated())
            }
            _ => None,
        }
    }

    fn column(&self, column: &Column) -> Option<Sum> {
        let of = |schema: &DFSchema, timed: &Watermarks| {
            let at = schema.maybe_index_of_column(column)?;
            let is_time = *schema.field(at).data_type() == TIMESTAMP_TYPE;
            (is_time && timed.get(at).is_some()).then_some((at, 1))
        };
        let (left, right) = (of(self.left, self.timed[0]), of(self.right, self.timed[1]));
        (left.is_some() || right.is_some()).then_some(Sum { left, right, span_ns: 0 })
    }
}

/// Whether a cast to this type leaves a time of milliseconds, or the difference of two, what it is.
fn is_exact(to: &DataType) -> bool {
    match to {
        DataType::Timestamp(unit, None) | DataType::Duration(unit) => *unit != TimeUnit::Second,
        DataType::Interval(_) => true,
        _ => false,
    }
}

/// A span of time that has one length, in nanoseconds.
fn span(value: &ScalarValue) -> Option<i128> {
    const DAY: i128 = 86_400_000 * MILLISECOND;
    match value {
        ScalarValue::IntervalMonthDayNano(Some(span)) if span.months == 0 => {
            Some(i128::from(span.days) * DAY + i128::from(span.nanoseconds))
        }
        ScalarValue::IntervalDayTime(Some(span)) => {
            Some(i128::from(span.days) * DAY + i128::from(span.milliseconds) * MILLISECOND)
        }
        ScalarValue::DurationSecond(Some(span)) => Some(i128::from(*span) * 1_000 * MILLISECOND),
        ScalarValue::DurationMillisecond(Some(span)) => Some(i128::from(*span) * MILLISECOND),
        ScalarValue::DurationMicrosecond(Some(span)) => Some(i128::from(*span) * 1_000),
        ScalarValue::DurationNanosecond(Some(span)) => Some(i128::from(*span)),
        _ => None,
    }
}

/// The other columns of `plan` that hold the same time as `column`: a stream shows its time as `ROWTIME`
/// and as the column its watermark is declared for.
pub(super) fn same_time(plan: &LogicalPlan, column: usize, timed: &Watermarks) -> Vec<usize> {
    if !is_time_of_scan(plan, column) {
        return Vec::new();
    }
    let all = 0..plan.schema().fields().len();
    let others = all.filter(|other| *other != column && timed.get(*other).is_some());
    others.filter(|other| is_time_of_scan(plan, *other)).collect()
}

/// Whether a column of a plan over one stream is that stream's time, as it is.
fn is_time_of_scan(plan: &LogicalPlan, column: usize) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_time_of_scan(&alias.input, column),
        LogicalPlan::Filter(filter) => is_time_of_scan(&filter.input, column),
        LogicalPlan::Projection(projection) => {
            let Expr::Column(from) = projection.expr[column].clone().unalias() else {
                return false;
            };
            let at = projection.input.schema().maybe_index_of_column(&from);
            at.is_some_and(|at| is_time_of_scan(&projection.input, at))
        }
        // A column of an external stream has a watermark only if it is the stream's time.
        LogicalPlan::TableScan(scan) => {
            *scan.projected_schema.as_arrow().field(column).data_type() == TIMESTAMP_TYPE
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {

    fn bounds(on: &str) -> Option<(Option<i64>, Option<i64>)> {
        let declarations = "
            CREATE STREAM a (t TIMESTAMP, k INTEGER, WATERMARK FOR t AS t - INTERVAL '1' SECOND)
                WITH (connector = 'file', path = 'a.csv');
            CREATE STREAM b (t TIMESTAMP, k INTEGER, WATERMARK FOR t AS t - INTERVAL '1' SECOND)
                WITH (connector = 'file', path = 'b.csv');";
        let query = format!("SELECT STREAM a.k, b.t FROM a JOIN b ON a.k = b.k AND {on};");
        let text = crate::plan::tests::plan(&format!("{declarations}{query}")).unwrap();
        let line = text.lines().find(|line| line.contains("IntervalJoin"))?;
        let (_, range) = line.split_once(" in [")?;
        let (range, _) = range.split_once(']')?;
        let (low, high) = range.split_once(", ")?;
        let number = |text: &str| text.strip_suffix(" ms").and_then(|n| n.parse().ok());
        Some((number(low), number(high)))
    }

    #[test]
    fn every_spelling_of_an_interval_is_read() {
        let minute = 60_000;
        let both = Some((Some(-minute), Some(2 * minute)));
        for on in [
            "a.t BETWEEN b.t - INTERVAL '1' MINUTE AND b.t + INTERVAL '2' MINUTE",
            "a.t >= b.t - INTERVAL '1' MINUTE AND a.t <= b.t + INTERVAL '2' MINUTE",
            "b.t BETWEEN a.t - INTERVAL '2' MINUTE AND a.t + INTERVAL '1' MINUTE",
            "b.t - INTERVAL '1' MINUTE <= a.t AND b.t + INTERVAL '2' MINUTE >= a.t",
            "a.t + INTERVAL '1' MINUTE >= b.t AND a.t - INTERVAL '2' MINUTE <= b.t",
            "a.t - b.t BETWEEN INTERVAL '-1' MINUTE AND INTERVAL '2' MINUTE",
            "a.t BETWEEN b.t - INTERVAL '1' MINUTE AND b.t + INTERVAL '2' MINUTE
               AND a.t < b.t + INTERVAL '1' DAY",
        ] {
            assert_eq!(bounds(on), both, "{on}");
        }
        let strict = "a.t > b.t - INTERVAL '1' MINUTE AND a.t < b.t + INTERVAL '2' MINUTE";
        assert_eq!(bounds(strict), Some((Some(1 - minute), Some(2 * minute - 1))));
        assert_eq!(bounds("a.t >= b.t"), Some((Some(0), None)));
        assert_eq!(bounds("a.t < b.t"), Some((None, Some(-1))));
        assert_eq!(bounds("a.t = b.t"), Some((Some(0), Some(0))));
    }

    #[test]
    fn what_bounds_nothing_is_no_interval() {
        for on in ["a.t <> b.t", "a.k < b.k", "a.t > TIMESTAMP '2024-01-01 00:00:00'"] {
            assert_eq!(bounds(on), None, "{on}");
        }
        let months = "a.t BETWEEN b.t AND b.t + INTERVAL '1' MONTH";
        assert_eq!(bounds(months), Some((Some(0), None)), "a month has no one length");
    }
}
