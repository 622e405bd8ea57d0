//! `OVER`: KDA's sliding windows.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    AggregateUDF, Expr, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::sliding_window::{Frame, SlidingAggregate, SlidingWindowSpec};

use super::columns::{Columns, unqualified};
use super::{Translator, column, physical};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;
use crate::rewrite::ARRIVAL_ORDER;

/// One `OVER` column, its arguments over the projection below the operator.
struct Call<'a> {
    function: &'a Arc<AggregateUDF>,
    params: &'a WindowFunctionParams,
    args: Vec<Expr>,
    frame: Frame,
}

impl Translator<'_> {
    pub(super) fn window(&mut self, window: &Window) -> Result<NodeId, SqlError> {
        if window.window_expr.iter().any(is_in_arrival_order) {
            return self.sliding_window(window);
        }
        self.over(window)
    }

    fn sliding_window(&mut self, window: &Window) -> Result<NodeId, SqlError> {
        let input = self.plan(&window.input)?;
        let mut columns = Columns::all(window.input.schema());
        let width = window.input.schema().fields().len();
        let mut calls = Vec::with_capacity(window.window_expr.len());
        let mut order: Option<(usize, Vec<usize>)> = None;
        for expr in &window.window_expr {
            let (function, params) = aggregate_call(expr)?;
            let time = columns.add(arrival_order(params)?);
            let keys: Vec<usize> = params.partition_by.iter().map(|key| columns.add(key)).collect();
            if *order.get_or_insert_with(|| (time, keys.clone())) != (time, keys) {
                return Err(SqlError::new("windows of one SELECT differ in PARTITION BY")
                    .with_hint("compute them one after another, in nested SELECTs"));
            }
            let args = params.args.iter().map(|arg| columns.plain(arg)).collect();
            calls.push(Call { function, params, args, frame: frame(&params.window_frame)? });
        }
        let (time, partition_by) =
            order.ok_or_else(|| SqlError::new("a window without a function"))?;
        let schema = columns.schema()?;
        let projected = if columns.is_input() {
            input
        } else {
            self.project(input, columns.physical()?, &schema)
        };
        if self.timed(projected).get(time).is_none() {
            return Err(SqlError::new(
                "the rows of a sliding window need a ROWTIME with a watermark",
            )
            .with_hint("read a stream, or SELECT a time AS ROWTIME below"));
        }
        if self.dataflow.node(projected).updating {
            return Err(SqlError::new(
                "a sliding window over rows that may be taken back cannot run",
            )
            .with_hint("put the window below the aggregate or join that updates its rows"));
        }
        let logical = unqualified(&schema)?;
        let windows = calls.iter().map(|call| {
            let args = call.args.iter().map(|arg| physical(arg, &logical));
            let args = args.collect::<Result<Vec<_>, _>>()?;
            let built = AggregateExprBuilder::new(Arc::clone(call.function), args)
                .schema(Arc::clone(&schema))
                .alias(call.function.name())
                .with_distinct(call.params.distinct)
                .build()
                .map_err(|error| from_datafusion(&error))?;
            Ok(SlidingAggregate { aggregate: Arc::new(built), frame: call.frame })
        });
        let windows = windows.collect::<Result<_, SqlError>>()?;
        let output = Arc::new(window.schema.as_arrow().clone());
        let below = Arc::clone(&self.dataflow.node(projected).schema);
        let results = output.fields().iter().skip(width).map(Arc::clone);
        let fields = below.fields().iter().map(Arc::clone).chain(results);
        let wide = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.in_arrival_order(projected, &partition_by);
        let spec = SlidingWindowSpec {
            partition_by,
            time,
            windows,
            input_schema: Arc::clone(&below),
            schema: Arc::clone(&wide),
        };
        let node = self.operator(Arc::clone(&wide), false, vec![projected], spec);
        if wide.fields().len() == output.fields().len() {
            return Ok(node);
        }
        // The columns that were only needed below go.
        let passed = (0..width).chain(below.fields().len()..wide.fields().len());
        let exprs = passed.map(|index| column(&wide, index)).collect();
        Ok(self.project(node, exprs, &output))
    }
}

fn aggregate_call(expr: &Expr) -> Result<(&Arc<AggregateUDF>, &WindowFunctionParams), SqlError> {
    match expr {
        Expr::Alias(alias) => aggregate_call(&alias.expr),
        Expr::WindowFunction(call) => {
            let WindowFunction { fun, params } = call.as_ref();
            match fun {
                WindowFunctionDefinition::AggregateUDF(function) if params.filter.is_none() => {
                    Ok((function, params))
                }
                other => {
                    Err(SqlError::new(format!("{} OVER cannot run continuously", other.name()))
                        .with_hint("aggregates such as COUNT, SUM, AVG, MIN and MAX can"))
                }
            }
        }
        other => Err(SqlError::new(format!("{other} is no window function"))),
    }
}

/// Whether a window is one of KDA's: a frame without an order.
fn is_in_arrival_order(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_in_arrival_order(&alias.expr),
        Expr::WindowFunction(call) => arrival_order(&call.params).is_ok(),
        _ => false,
    }
}

/// The time a KDA window is ordered by.
pub(super) fn arrival_order(params: &WindowFunctionParams) -> Result<&Expr, SqlError> {
    let refused = || {
        SqlError::new("OVER with ORDER BY cannot run continuously")
            .with_hint("leave ORDER BY out: rows come in the order of ROWTIME, as in KDA")
    };
    match params.order_by.as_slice() {
        [sort] => match &sort.expr {
            Expr::ScalarFunction(call) if call.func.name() == ARRIVAL_ORDER => {
                call.args.first().ok_or_else(refused)
            }
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

fn frame(frame: &WindowFrame) -> Result<Frame, SqlError> {
    let refused = || {
        SqlError::new(format!("the frame {frame} cannot run continuously"))
            .with_hint("write RANGE INTERVAL '…' … PRECEDING or ROWS n PRECEDING")
    };
    if frame.end_bound != WindowFrameBound::CurrentRow
        && !matches!(&frame.end_bound, WindowFrameBound::Preceding(value) if is_zero(value))
    {
        return Err(refused());
    }
    match (&frame.units, &frame.start_bound) {
        (_, WindowFrameBound::CurrentRow) => Ok(Frame::Rows(0)),
        (_, WindowFrameBound::Preceding(start)) if start.is_null() => Ok(Frame::Rows(u64::MAX)),
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows)))) => {
            Ok(Frame::Rows(*rows))
        }
        (WindowFrameUnits::Range, WindowFrameBound::Preceding(width)) => {
            let length = interval_ms(width).filter(|length| *length >= 0);
            let preceding = length.ok_or_else(refused)?;
            Ok(Frame::Range { preceding })
        }
        _ => Err(refused()),
    }
}

fn is_zero(value: &ScalarValue) -> bool {
    matches!(value, ScalarValue::UInt64(Some(0)))
}

/// A day-time interval in milliseconds.
pub(in crate::plan) fn interval_ms(value: &ScalarValue) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            Some(i64::from(interval.days) * DAY_MS + interval.nanoseconds / 1_000_000)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Some(i64::from(interval.days) * DAY_MS + i64::from(interval.milliseconds))
        }
        ScalarValue::DurationMillisecond(width) => *width,
        _ => None,
    }
}
