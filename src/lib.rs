//! drover drives herds of Kafka consumers: one process hosts N supervised logical consumers of one group, writes what
//! they read to PostgreSQL exactly once, sets poison messages aside, restarts what fails, and shows all of it live.
//!
//! The modules, in reading order:

pub mod board;
pub mod config;
pub mod domain;
pub mod http;
pub mod metrics;
pub mod store;
pub mod telemetry;
