//! What the model's processes do not ask of the store: the audit, its log and orders to move positions.

use super::store::{SimStore, not_here};
use drover::domain::audit::AuditResult;
use drover::store::audit_log::{AuditEntry, AuditLogStore, LoggedEntry};
use drover::store::audit_marks::{AuditMark, AuditStore, AuditTurn, PastIncarnation};
use drover::store::offsets::{OffsetChange, OffsetStore};
use drover::store::{StoreError, StoreIdentity};
use futures::future::BoxFuture;

impl AuditLogStore for SimStore {
    fn append_audit<'a>(&'a self, _entry: &'a AuditEntry) -> BoxFuture<'a, Result<i64, StoreError>> {
        not_here()
    }

    fn audit_log(&self, _limit: u32) -> BoxFuture<'_, Result<Vec<LoggedEntry>, StoreError>> {
        not_here()
    }
}

impl AuditStore for SimStore {
    fn audit_marks(&self) -> BoxFuture<'_, Result<Vec<AuditMark>, StoreError>> {
        not_here()
    }

    fn set_audit_marks<'a>(&'a self, _marks: &'a [AuditMark]) -> BoxFuture<'a, Result<(), StoreError>> {
        not_here()
    }

    fn past_incarnations(&self) -> BoxFuture<'_, Result<Vec<PastIncarnation>, StoreError>> {
        not_here()
    }

    fn audit_turn(&self) -> BoxFuture<'_, Result<Option<AuditTurn>, StoreError>> {
        not_here()
    }

    fn set_audit_result<'a>(&'a self, _result: &'a AuditResult) -> BoxFuture<'a, Result<(), StoreError>> {
        not_here()
    }

    fn audit_result(&self) -> BoxFuture<'_, Result<Option<AuditResult>, StoreError>> {
        not_here()
    }
}

impl OffsetStore for SimStore {
    fn identity(&self) -> BoxFuture<'_, Result<Option<StoreIdentity>, StoreError>> {
        not_here()
    }

    fn change_offsets<'a>(
        &'a self,
        _change: &'a OffsetChange,
        _entry: &'a AuditEntry,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        not_here()
    }
}
