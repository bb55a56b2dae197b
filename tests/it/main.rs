//! What drover does, tested against the real thing. The list of modules is the table of contents.
#![allow(missing_docs, reason = "tests are named by sentences")]
#![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]

mod support;

mod embedding;
mod fuzz_corpus;
mod offsets;
mod openapi;
mod operations;
mod readme;
mod tidy;

mod bench;
mod commands;
mod crash;
mod drills;
mod gaps;
mod group;
mod holds;
mod http;
mod http_events;
mod http_orders;
mod lost_answer;
mod memory;
mod outage;
mod poison;
mod positions;
mod processing;
mod replicas;
mod rights;
mod roles;
mod rolling;
mod scheduled_audit;
mod shutdown;
mod startup;
mod store_audit;
mod store_audit_log;
mod store_contract;
mod store_errors;
mod store_events;
mod store_holds;
mod store_migrations;
mod store_offsets;
mod store_postgres;
mod store_replicas;
mod store_rewind;
mod store_sqlite;
mod storm;
mod stream;
mod transactions;
mod watchdog;
mod zombie;
