//! What the tests of Millstream share: the script runner, and the servers and programs they talk to.
//!
//! The tests themselves are in `tests/`; everything here is there to let them say what they mean in a
//! few lines, and to fail with a sentence that says what was missing.

pub mod peers;
pub mod pipeline;
pub mod planted;
pub mod program;
pub mod slt;
