//! Millstream's SQL: text to statements, statements to a dataflow. Pure: no I/O happens here.
//!
//! ```text
//!   text ──tokens──► [statement] ──► Statement ──► [catalog] ──► Catalog
//!                                                                  │ [plan]: DataFusion plans and
//!                                                                  ▼ optimises, we put in our operators
//!                                                               Dataflow
//! ```

pub mod catalog;
mod dialect;
pub mod error;
mod functions;
mod interval;
mod keywords;
pub mod plan;
mod rewrite;
pub mod rowtime;
mod source;
pub mod spelling;
mod stack;
mod state_ttl;
pub mod statement;
mod syntax;
pub mod tokens;

pub use catalog::Catalog;
pub use error::{Position, Span, SqlError};
pub use keywords::KEYWORDS;
pub use rewrite::ARRIVAL_ORDER;
pub use spelling::suggest;
pub use statement::{Statement, StatementKind, parse, parse_folding};
pub use tokens::{Folding, statement_is_complete};
