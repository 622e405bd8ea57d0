//! Millstream's SQL: text to statements, statements to a dataflow. Pure: no I/O happens here.
//!
//! ```text
//!   text ──tokens──► [statement] ──► Statement ──► [catalog] ──► Catalog
//!                                                                  │ [plan]: DataFusion plans and
//!                                                                  ▼ optimises, we put in our operators
//!                                                               Dataflow
//! ```

pub mod catalog;
pub mod error;
pub mod plan;
pub mod statement;

pub use catalog::Catalog;
pub use error::{Position, Span, SqlError};
pub use statement::{Statement, StatementKind, parse};
