//! What is shared with the end-to-end tests: the binary as a process, the database, and the proxy that cuts a COMMIT.
#![allow(dead_code, reason = "the end-to-end tests use what the matrix does not")]

#[path = "../it/support/database.rs"]
pub mod database;
#[path = "../it/support/drover.rs"]
pub mod drover;
#[path = "../it/support/events.rs"]
pub mod events;
#[path = "../it/support/proxy.rs"]
pub mod proxy;
#[path = "../it/support/wait.rs"]
pub mod wait;
