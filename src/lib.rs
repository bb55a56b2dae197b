//! drover drives herds of Kafka consumers: one process hosts N supervised logical consumers of one group, writes what
//! they read to PostgreSQL exactly once, sets poison messages aside, restarts what fails, and shows all of it live.
//!
//! The modules, in reading order:

pub mod actors;
pub mod app;
pub mod board;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod domain;
pub mod feed;
pub mod history;
pub mod http;
pub mod kafka;
pub mod metrics;
pub mod processor;
pub mod store;
pub mod telemetry;
