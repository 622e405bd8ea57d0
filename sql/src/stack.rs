//! Room for recursion over syntax trees.
//!
//! The walks over sqlparser's trees are derived code with frames of tens of kilobytes in a debug build,
//! one per level. How deep a tree can be is limited by [`crate::tokens`]; here is the stack for it,
//! whatever thread the caller is on.

/// Enough for a tree of the greatest depth in a debug build, with as much again to spare.
const STACK_BYTES: usize = 128 << 20;

/// What must be left of the caller's stack for it to be used.
const LEFT_BYTES: usize = 64 << 20;

/// Runs `walk` with enough stack: on the caller's if that is large, else on a new one, which costs
/// address space but only as much memory as is touched.
pub(crate) fn with_room<T>(walk: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEFT_BYTES, STACK_BYTES, walk)
}
