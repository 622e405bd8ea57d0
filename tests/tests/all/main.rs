//! The tests that span all crates, in one program because each is minutes of linking.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

mod bank;
mod combining;
mod cost;
mod end_to_end;
mod generated;
mod lanes;
mod law;
mod nexmark;
mod oracle;
mod selected;
mod slt;
mod statements;
mod tpch;
