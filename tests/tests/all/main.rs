//! The tests that span all crates, in one program because each is minutes of linking.

mod cost;
mod end_to_end;
mod oracle;
mod slt;
