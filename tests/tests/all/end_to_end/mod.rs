//! The program as a user runs it, on real files, servers and terminals; what it wrote is read by
//! programs that no one here wrote.

mod changed;
mod compacted;
mod company_jobs;
mod crash;
mod crash_kinesis;
mod crash_steps;
mod demo;
mod endurance;
mod error_rows;
mod faults;
mod files;
mod imported;
mod interrupt;
mod kinesis;
mod kinesis_sink;
mod mapping;
mod metrics;
mod models;
mod prompt;
mod queries;
mod s3;
