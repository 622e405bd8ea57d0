//! Which expressions preserve order.
