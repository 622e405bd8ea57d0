//! How far the frame of a window function reaches, before and behind a row.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use millstream_engine::operators::ordered_window::Reach;
use millstream_engine::operators::top_n::RankFunction;

use super::rank::rank_call;
use super::window::interval_ms;

/// A function that needs a bounded part of its partition.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reaching {
    /// The rows of its frame.
    Framed(Reach),
    /// How many rows came before.
    Counted(RankFunction),
}

impl Reaching {
    pub(super) fn reach(&self) -> Reach {
        match self {
            Self::Framed(reach) => *reach,
            Self::Counted(_) => Reach::default(),
        }
    }
}

/// How far a call in the order of a time of this type reaches; `None` where that may be the whole
/// partition.
pub(super) fn reach(call: &Expr, time: &DataType) -> Option<Reaching> {
    if let Some((rank, _)) = rank_call(call) {
        return Some(Reaching::Counted(rank));
    }
    let Expr::WindowFunction(call) = call else { return None };
    let WindowFunction { fun, params } = call.as_ref();
    let framed = match fun {
        WindowFunctionDefinition::AggregateUDF(_) => of_frame(&params.window_frame, time),
        WindowFunctionDefinition::WindowUDF(function) => match function.name() {
            "lag" => of_shift(params, 1),
            "lead" => of_shift(params, -1),
            "first_value" | "last_value" | "nth_value" => of_frame(&params.window_frame, time),
            _ => None,
        },
    };
    framed.map(Reaching::Framed)
}

/// `LAG` and `LEAD` by a number of rows; `sign` is 1 for `LAG`.
fn of_shift(params: &WindowFunctionParams, sign: i64) -> Option<Reach> {
    if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        return None;
    }
    let rows = match params.args.get(1) {
        None => 1,
        Some(Expr::Literal(value, _)) => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(rows)) => rows,
            _ => return None,
        },
        Some(_) => return None,
    };
    let back = rows.checked_mul(sign)?;
    let count = back.unsigned_abs();
    Some(match back > 0 {
        true => Reach { rows_back: count, ..Reach::default() },
        false => Reach { rows_ahead: count, ..Reach::default() },
    })
}

fn of_frame(frame: &WindowFrame, time: &DataType) -> Option<Reach> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let mut reach = Reach::default();
    match frame.units {
        WindowFrameUnits::Rows => {
            match &frame.start_bound {
                Preceding(rows) => reach.rows_back = count(rows)?,
                CurrentRow | Following(_) => {}
            }
            match &frame.end_bound {
                Following(rows) => reach.rows_ahead = count(rows)?,
                CurrentRow | Preceding(_) => {}
            }
        }
        WindowFrameUnits::Range => {
            if *time != DataType::Timestamp(TimeUnit::Millisecond, None) {
                return None;
            }
            match &frame.start_bound {
                Preceding(width) => reach.time_back = interval_ms(width)?,
                CurrentRow | Following(_) => {}
            }
            match &frame.end_bound {
                Following(width) => reach.time_ahead = interval_ms(width)?,
                CurrentRow | Preceding(_) => {}
            }
        }
        WindowFrameUnits::Groups => return None,
    }
    Some(reach)
}

/// A number of rows; `None` for all of them.
fn count(rows: &ScalarValue) -> Option<u64> {
    match rows {
        ScalarValue::UInt64(rows) => *rows,
        _ => None,
    }
}
