//! What the audit remembers: how far everything was found accounted for, closed incarnations, and its last result.
//!
//! Bound: one mark per partition and incarnation, one result. The right to audit is held by one process at a time, so that
//! twenty replicas do not each read the whole store. Fails as the store does.

use super::StoreError;
use crate::domain::audit::{AuditResult, OffsetRange};
use futures::future::BoxFuture;

/// A partition of an incarnation of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncarnationId {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Incarnation of the topic.
    pub incarnation: i32,
}

/// Everything below `next_offset` was found accounted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditMark {
    /// Of what.
    pub id: IncarnationId,
    /// First offset that no clean audit has seen.
    pub next_offset: i64,
}

/// What an audit makes of a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The mark from now on; lower than before where something was found below.
    pub mark: AuditMark,
    /// First offset that the audit looked at, 0 for all. Where the mark was set back below it meanwhile, it stays there.
    pub from: i64,
}

/// A partition of an incarnation that nothing is added to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastIncarnation {
    /// Which.
    pub id: IncarnationId,
    /// What was stored of it.
    pub offsets: OffsetRange,
}

/// The right to audit, given back when dropped.
pub type AuditTurn = Box<dyn Send>;

/// The part of a store that serves the audit.
pub trait AuditStore: Send + Sync + 'static {
    /// All marks.
    fn audit_marks(&self) -> BoxFuture<'_, Result<Vec<AuditMark>, StoreError>>;

    /// Writes marks down, in the place of those that are there, unless one was set back meanwhile below what was looked at.
    fn set_audit_marks<'a>(&'a self, marks: &'a [Audited]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// All closed incarnations.
    fn past_incarnations(&self) -> BoxFuture<'_, Result<Vec<PastIncarnation>, StoreError>>;

    /// The right to audit; `None` while another process has it.
    fn audit_turn(&self) -> BoxFuture<'_, Result<Option<AuditTurn>, StoreError>>;

    /// Writes the result of an audit of all topics down, in the place of the last one.
    fn set_audit_result<'a>(&'a self, result: &'a AuditResult) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The result of the last audit of all topics, whoever made it.
    fn audit_result(&self) -> BoxFuture<'_, Result<Option<AuditResult>, StoreError>>;
}
