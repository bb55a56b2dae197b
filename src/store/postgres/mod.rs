//! PostgreSQL.

pub mod connect;
pub mod statements;
pub mod tls;
pub mod writer;
