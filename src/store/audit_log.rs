//! The audit log: who did what through the API or the command line, as the store keeps it.
//!
//! Grows by one row per command and is never changed. A command that changes the store appends its entry in the
//! transaction of the change; what changes something else appends it here. Fails as the store does.

use super::StoreError;
use futures::future::BoxFuture;
use serde::Serialize;

/// Most entries of one answer.
pub const MAX_ENTRIES: u32 = 1_000;

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Who: `user@host` of a command line, or the name of a token.
    pub actor: String,
    /// What: the command, such as `offsets.rewind`.
    pub action: String,
    /// To what, such as `user_events [3]`.
    pub target: String,
    /// `ok`, or why not.
    pub outcome: String,
    /// What else there is to know.
    pub detail: Option<serde_json::Value>,
}

/// An entry as it was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LoggedEntry {
    /// Ascending in the order of writing.
    pub id: i64,
    /// When, in milliseconds since the epoch, by the clock of the store.
    pub at_ms: i64,
    /// What.
    #[serde(flatten)]
    pub entry: AuditEntry,
}

/// The part of a store that keeps the audit log.
pub trait AuditLogStore: Send + Sync + 'static {
    /// Appends an entry and gives back its id.
    fn append_audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<i64, StoreError>>;

    /// The newest entries, newest first, at most [`MAX_ENTRIES`].
    fn audit_log(&self, limit: u32) -> BoxFuture<'_, Result<Vec<LoggedEntry>, StoreError>>;
}
