//! The tests that span all crates, in one program because each is minutes of linking.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod cost;
mod end_to_end;
mod oracle;
mod slt;
