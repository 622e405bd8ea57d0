//! Windows of event time that overlap: which of them a time is in, and which are over.
//!
//! ```text
//!   hop       slide ├──┤               cumulate   step ├──┤
//!             ├───────────┤ size                  ├──┤
//!                ├───────────┤                    ├─────┤
//!                   ├───────────┤                 ├────────┤ size
//! ```
//!
//! A window is known by one number, such that windows follow each other in the order in which they end:
//! hopping windows by their start, cumulating ones by their end. All numbers are in one unit.

/// The start of the window of `width` that `time` is in, where one begins at `offset`.
pub fn tumble(time: i64, width: i64, offset: i64) -> i64 {
    time.saturating_sub(time.wrapping_sub(offset).rem_euclid(width.max(1)))
}

/// Windows that overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overlapping {
    /// One of `size` begins every `slide`.
    Hop {
        /// How far apart windows begin.
        slide: i64,
        /// How long they are.
        size: i64,
        /// Where one begins.
        offset: i64,
    },
    /// One ends every `step` and begins with the last multiple of `size`, which `step` divides.
    Cumulate {
        /// How far apart windows end.
        step: i64,
        /// How long the longest are.
        size: i64,
        /// Where one begins.
        offset: i64,
    },
}

impl Overlapping {
    /// The first window, in the order of their ends, that ends behind `time`.
    pub fn first_open(self, time: i64) -> i64 {
        match self {
            Self::Hop { slide, size, offset } => {
                tumble(time.saturating_sub(size), slide, offset).saturating_add(slide)
            }
            Self::Cumulate { step, offset, .. } => tumble(time, step, offset).saturating_add(step),
        }
    }

    /// The windows that `time` is in.
    pub fn of(self, time: i64) -> impl Iterator<Item = i64> {
        let first = self.first_open(time);
        let holds = move |window: &i64| self.start(*window) <= time;
        std::iter::successors(Some(first), move |window| self.next(*window)).take_while(holds)
    }

    /// The window that ends next after `window`; none at the end of time.
    pub fn next(self, window: i64) -> Option<i64> {
        window.checked_add(match self {
            Self::Hop { slide, .. } => slide,
            Self::Cumulate { step, .. } => step,
        })
    }

    /// When `window` begins.
    pub fn start(self, window: i64) -> i64 {
        match self {
            Self::Hop { .. } => window,
            Self::Cumulate { size, offset, .. } => tumble(window.saturating_sub(1), size, offset),
        }
    }

    /// When `window` ends: the first time behind it.
    pub fn end(self, window: i64) -> i64 {
        match self {
            Self::Hop { size, .. } => window.saturating_add(size),
            Self::Cumulate { .. } => window,
        }
    }

    /// How long panes are: the longest pieces of time, beginning at `offset`, that every window is made
    /// of whole.
    pub fn pane_width(self) -> i64 {
        match self {
            Self::Hop { slide, size, .. } => gcd(slide, size),
            Self::Cumulate { step, .. } => step,
        }
    }

    /// Where a pane begins.
    pub fn offset(self) -> i64 {
        match self {
            Self::Hop { offset, .. } | Self::Cumulate { offset, .. } => offset,
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs().max(1) } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shapes() -> impl Strategy<Value = Overlapping> {
        let hop = (1..20_i64, 1..60_i64, -9..9_i64)
            .prop_map(|(slide, size, offset)| Overlapping::Hop { slide, size, offset });
        let cumulate = (1..12_i64, 1..8_i64, -9..9_i64).prop_map(|(step, times, offset)| {
            Overlapping::Cumulate { step, size: step * times, offset }
        });
        prop_oneof![hop, cumulate]
    }

    proptest! {
        /// Against the definition: every window there is, asked whether it holds the time.
        #[test]
        fn a_time_is_in_the_windows_around_it(shape in shapes(), time in -200..200_i64) {
            let all = |window: &i64| shape.start(*window) <= time && time < shape.end(*window);
            let first = match shape {
                Overlapping::Hop { slide, offset, .. } => offset - 400 * slide,
                Overlapping::Cumulate { step, offset, .. } => offset - 400 * step,
            };
            let every = std::iter::successors(Some(first), |w| shape.next(*w)).take(2_000);
            let every: Vec<i64> = every.collect();
            let expected: Vec<i64> = every.iter().copied().filter(all).collect();
            prop_assert_eq!(shape.of(time).collect::<Vec<_>>(), expected);
            let open = every.iter().copied().find(|window| shape.end(*window) > time);
            prop_assert_eq!(Some(shape.first_open(time)), open);
        }

        #[test]
        fn windows_are_made_of_whole_panes(shape in shapes(), time in -200..200_i64) {
            let width = shape.pane_width();
            for window in shape.of(time) {
                for edge in [shape.start(window), shape.end(window)] {
                    prop_assert_eq!(tumble(edge, width, shape.offset()), edge);
                }
            }
        }
    }

    #[test]
    fn extreme_times_stay_within_range() {
        let shape = Overlapping::Hop { slide: 7, size: 20, offset: 3 };
        for time in [i64::MIN, i64::MAX] {
            assert!(shape.of(time).count() <= 3);
        }
    }
}
