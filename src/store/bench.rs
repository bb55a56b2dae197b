//! What a benchmark asks of a store: positions while it is filled, what it cost the server, what is in it afterwards.
//!
//! One session per measured schema (or file), on one light connection; it writes nothing and, at the end, removes what was
//! measured. Every question is bounded, by [`ASK_TIMEOUT`] or, where it reads all rows, by [`COUNT_TIMEOUT`]. Fails as the
//! store does.

use super::{StoreError, pg_settings, postgres, sqlite};
use crate::config::StoreConfig;
use crate::domain::failure::FailureClass;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a question may take that reads a few rows.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a question may take that reads all rows, or removes them.
pub const COUNT_TIMEOUT: Duration = Duration::from_secs(1_800);
/// What the name of a measured schema, or the name of a measured file, begins with. Nothing else is ever removed.
pub const NAME_PREFIX: &str = "drover_bench_";
/// The field of an event that tells when it was handed to the producer, in microseconds since the epoch.
pub const SENT_FIELD: &str = "sent_at_us";

/// What the server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerFacts {
    /// Its version, such as `PostgreSQL 15.8`.
    pub version: String,
    /// Whether it keeps the time of every commit.
    pub commit_timestamps: bool,
    /// Settings that decide what a rate means, by name.
    pub settings: BTreeMap<String, String>,
    /// The process that serves this session, where the store is a server.
    pub backend: Option<Backend>,
}

/// A process of the server, as the server knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Its process id, on the server's machine.
    pub pid: i32,
    /// The port from which this session came, if it came over TCP: its process's title names it.
    pub client_port: Option<i32>,
}

/// What is stored of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Rows.
    pub rows: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Distinct offsets among both.
    pub distinct: u64,
}

/// One event's way, in microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// When it was handed to the producer, as it says itself.
    pub sent_us: i64,
    /// When it was committed; where the store keeps no such time, when its transaction began.
    pub stored_us: i64,
}

/// See the module.
pub trait BenchSession: Send {
    /// What the server says of itself.
    fn facts(&mut self) -> BoxFuture<'_, Result<ServerFacts, StoreError>>;

    /// Offsets of the topic that are accounted for, all partitions together.
    fn stored<'a>(&'a mut self, topic: &'a str) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Bytes of write-ahead log that the server has written since it was made; `None` where it does not tell.
    fn wal_bytes(&mut self) -> BoxFuture<'_, Result<Option<u64>, StoreError>>;

    /// Process ids of drover's sessions that are younger than this one; none where the store is no server.
    fn backends(&mut self) -> BoxFuture<'_, Result<Vec<i32>, StoreError>>;

    /// Counts what is stored of a topic.
    fn account<'a>(&'a mut self, topic: &'a str) -> BoxFuture<'a, Result<Account, StoreError>>;

    /// The ways of all rows of a topic that carry [`SENT_FIELD`].
    fn passages<'a>(&'a mut self, topic: &'a str) -> BoxFuture<'a, Result<Vec<Passage>, StoreError>>;

    /// Removes the schema or file and all that is in it.
    fn remove(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// A session of the store that `config` names, whose schema or file must begin with [`NAME_PREFIX`].
///
/// # Errors
/// Class configuration for another name; as a connection does.
pub async fn open(config: &StoreConfig) -> Result<Box<dyn BenchSession>, StoreError> {
    if config.url.starts_with("sqlite:") {
        return Ok(Box::new(sqlite::bench::SqliteBench::open(&config.url)?));
    }
    Ok(Box::new(postgres::bench::PgBench::open(&pg_settings(config)).await?))
}

/// Refuses to measure, and so to remove, what is not a benchmark's own.
pub(super) fn own(name: &str) -> Result<(), StoreError> {
    if name.starts_with(NAME_PREFIX) {
        return Ok(());
    }
    Err(StoreError {
        class: FailureClass::Configuration,
        code: None,
        message: format!("{name:?} is not a benchmark's own: its name does not begin with {NAME_PREFIX}"),
    })
}
