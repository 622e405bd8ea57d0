//! The tests that span all crates, in one program because each is minutes of linking.

mod slt;
