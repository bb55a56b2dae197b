//! Leases: names that one process at a time may have, for as long as a session of its own with the store lives.
//!
//! A lease ends with its session, however that ends: a process that dies gives its names back by dying. Bounded by the
//! names that a process asks for. Nothing here waits for a name: whoever finds it taken is told by whom and decides.

use super::StoreError;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// A session with the store, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionName {
    /// The server's process.
    pub pid: i32,
    /// When it began, in microseconds since the epoch, by the clock of the store.
    pub started_us: i64,
    /// Who opened it, as the server keeps it.
    pub application_name: String,
}

/// Who has a name, as far as the store knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseHolder {
    /// Process and host, as that process gave them.
    pub who: Option<String>,
    /// The address that it came from.
    pub address: Option<String>,
    /// The server's process of its session.
    pub session: Option<i32>,
    /// Since when it has the session, in milliseconds since the epoch, by the clock of the store.
    pub since_ms: Option<i64>,
}

impl fmt::Display for LeaseHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Some(who) => f.write_str(who)?,
            None => f.write_str("another process")?,
        }
        if let Some(address) = &self.address {
            write!(f, ", connected from {address}")?;
        }
        if let Some(at) = self.since_ms.and_then(chrono::DateTime::from_timestamp_millis) {
            write!(f, " since {}", at.format("%Y-%m-%dT%H:%M:%SZ"))?;
        }
        match self.session {
            Some(pid) => write!(f, " (PostgreSQL's process {pid})"),
            None => Ok(()),
        }
    }
}

/// A session that holds names.
pub trait LeaseSession: Send + Sync + 'static {
    /// Takes a name, or says who has it. A session must not take a name twice.
    ///
    /// # Errors
    /// The store does not answer; whether the name was taken is then unknown, and the session must be dropped.
    fn take<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<LeaseHolder>, StoreError>>;

    /// Gives a name back that this session took: it is anybody's at once, and the session's other names stay.
    ///
    /// # Errors
    /// The store does not answer; the name is then given back with the session at the latest.
    fn give_back<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Ready when the session has ended: its names are anybody's.
    fn ended(&self) -> BoxFuture<'_, ()>;

    /// Whether it has ended.
    fn has_ended(&self) -> bool;

    /// What the store knows it by; `None` where a session needs no name.
    fn name(&self) -> Option<SessionName>;
}

/// The part of a store that lends names.
pub trait LeaseStore: Send + Sync + 'static {
    /// Opens a session. `who` tells others who has a name: process and host. A session of this process that it takes the
    /// place of is ended on the server first, which may not know yet that it is gone.
    fn lease_session<'a>(
        &'a self,
        who: &'a str,
        instead_of: Option<SessionName>,
    ) -> BoxFuture<'a, Result<Arc<dyn LeaseSession>, StoreError>>;
}
